//! What the tests stand on. Dev only: nothing here is built into the gateway.
//!
//! Everything is blocking and real: origins listen on loopback sockets, the gateway is the real binary in a process
//! of its own, and a test reads top to bottom without a runtime. One background thread drives all sockets of the
//! origins and clients. What goes wrong here fails the test at once, so this crate panics where others may not.
//!
//! * [`tmp`] and [`documents`]: directories that vanish, and document sets in them.
//! * [`pki`]: a certificate authority and what it issues.
//! * [`origin`]: an HTTP origin that records what it gets, and a raw one that answers any bytes.
//! * [`gateway`]: the real binary, started with a document set or as the demo.
//! * [`client`]: HTTP/1.1 and HTTP/2 as a well-behaved caller speaks them.
//! * [`raw`]: bytes on a socket, and a strict reader of what comes back.
//! * [`frames`]: HTTP/2 frame by frame, for what no client would send.
//! * [`provider`]: a provider of models that answers by a script.
//! * [`recorded`]: recorded exchanges with model providers, where they lie beside the repository.
//! * [`process`]: what a process uses, read from the system.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test's helper fails the test, and tells why"
)]

pub mod client;
pub mod documents;
pub mod frames;
pub mod gateway;
pub mod origin;
pub mod pki;
pub mod process;
pub mod provider;
pub mod raw;
mod raw_origin;
pub mod recorded;
mod runtime;
pub mod tmp;

pub use client::{Answer, Client};
pub use documents::Documents;
pub use frames::Frames;
pub use gateway::Gateway;
pub use origin::{Origin, RawOrigin, Received, Reply};
pub use pki::Authority;
pub use raw::{Raw, RawAnswer};
pub use tmp::TempDir;
