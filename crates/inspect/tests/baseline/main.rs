//! Our own rule set: what it refuses, what it lets pass, and how it compares with the Core Rule Set on public
//! collections.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    dead_code,
    reason = "helpers of tests, shared with another target"
)]

mod attacks;
mod collections;
#[path = "../crs/folder.rs"]
mod folder;
#[path = "../crs/ftw.rs"]
mod ftw;
mod ordinary;
mod place;
mod speed;
#[path = "../crs/speed.rs"]
mod timing;
#[path = "../crs/yaml.rs"]
mod yaml;
