//! The main job, end to end: the real binary between real callers and real origins.
//!
//! One module per subject. Every test starts a gateway of its own on free ports, so they run side by side; nothing
//! sleeps where a condition can be waited for.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test says what it expects by failing"
)]
#![allow(clippy::type_complexity, reason = "a table's type is read beside its lines")]

mod harness;

mod at_rest;
mod audit;
mod authorization;
mod balance;
mod basic;
mod budgets;
mod cache;
mod capture;
mod capture_bodies;
mod certificates;
mod cors;
mod credentials;
mod failures;
mod faults;
mod headers;
mod insight;
mod inspection;
mod keys;
mod limits;
mod management;
mod many_keys;
mod models;
mod order;
mod overload;
mod paths;
mod patience;
mod prompts;
mod records;
mod reload;
mod revisions;
mod rollout;
mod rotation;
mod schema;
mod shadow;
mod stale;
mod stop;
mod users;
mod why;
mod wire;
