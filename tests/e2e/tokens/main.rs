//! Tokens of a real, certified OpenID provider (`oidc-provider` from the npm registry), which each test starts.
//!
//! Needs node, and `npm ci` in `tests/e2e/oidc` (`cargo xtask test` does it). Where either is missing the tests say so
//! and pass by, except in CI.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails where it stands, and tells why"
)]

mod attack;
mod exchange;
mod house;
mod introspection;
mod keys;
mod mapping;
mod sign_in;
