//! The upstream side of the data plane: from a request that may be forwarded to the origin's answer.
//!
//! Reading order: `prepare` (a plan becomes something requests can be sent to), `state` (what all cores know of an
//! endpoint), [`balance`] (which endpoint), `pool`, `endpoint` and `line` (which connection), `connect`, `resolve`,
//! `tls` and `io` (how one is opened), `send` (one exchange and its single retry), `answer` (which response heads are
//! believed), `body` (when a connection may be used again), `error` and [`health`].
//!
//! Each core owns its connections and never shares them; what cores share is [`EndpointState`], atomics only.
//! The general-purpose client of hyper-util was refused: it has no caps, retries by itself and costs a fifth more.

mod answer;
pub mod balance;
mod body;
mod connect;
mod credential;
mod endpoint;
mod error;
mod exchange;
pub mod governor;
mod health;
mod io;
mod keys;
mod line;
mod pool;
mod prepare;
mod resolve;
mod send;
mod state;
mod tls;
mod token;

pub use body::{InFlight, UpstreamBody, UpstreamBodyError};
pub use error::{ForwardError, ForwardErrorKind, Retry};
pub use exchange::Subject;
pub(crate) use governor::{Governor, Permit};
pub use health::{Outcome, report, run_checks};
pub use keys::ProviderKeys;
pub use pool::{CorePools, PoolCounts};
pub use prepare::{PrepareError, PreparedEndpoint, PreparedUpstream, UpstreamSet};
pub use send::{Pick, Sent, send};
pub use state::{EndpointCounts, EndpointState};

/// Any error, as bodies and sources carry it.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A request body that can be forwarded. Implemented for every body that qualifies.
pub trait RequestBody: http_body::Body<Data = bytes::Bytes, Error: Into<BoxError>> + Unpin + 'static {}

impl<B> RequestBody for B where
    B: http_body::Body<Data = bytes::Bytes, Error: Into<BoxError>> + Unpin + 'static
{
}

#[cfg(test)]
mod simulation_tests;
