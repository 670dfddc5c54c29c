//! The OWASP Core Rule Set and its regression tests, where they are at hand: `BARTIZAN_CRS` names the folder (by
//! default `../shared/data/crs` beside the repository). Without it each test says in one line that it was skipped.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "helpers of tests"
)]

mod blocking;
mod corpus;
mod folder;
mod ftw;
mod gate;
mod regression;
mod speed;
mod yaml;
