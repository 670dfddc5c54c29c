//! How much: rates, concurrency, throttling.
