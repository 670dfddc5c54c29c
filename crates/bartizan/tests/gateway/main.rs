//! The main job, end to end: the real binary between real callers and real origins.
//!
//! One module per subject. Every test starts a gateway of its own on free ports, so they run side by side; nothing
//! sleeps where a condition can be waited for.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test says what it expects by failing"
)]

mod harness;

mod balance;
mod cors;
mod faults;
mod headers;
mod keys;
mod limits;
mod order;
mod records;
mod reload;
mod shadow;
mod stop;
mod wire;
