//! The upstream side against real origins on loopback: connections, framing, HTTP/2, TLS, health.

#![allow(missing_docs, unreachable_pub)]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "the helpers of tests, which clippy does not take for tests"
)]

mod framing;
mod health;
mod http2;
mod reuse;
mod support;
mod tls;
