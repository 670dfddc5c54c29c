//! What a rule set means, and what a session promises: small rule sets against small requests.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "helpers of tests"
)]

mod injection;
mod loading;
mod promises;
mod run;
mod semantics;
mod start;
