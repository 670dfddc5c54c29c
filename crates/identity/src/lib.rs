//! Who is it: API keys.
