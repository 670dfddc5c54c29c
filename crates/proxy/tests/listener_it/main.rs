//! The listener against real sockets on loopback, with a trivial service behind it.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test says what it needs by panicking"
)]

mod clients;
mod drain;
mod framing;
mod http1;
mod http2;
mod limits;
mod support;
mod tls;
