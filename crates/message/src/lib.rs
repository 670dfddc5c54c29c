//! The HTTP message as Bartizan understands it.
//!
//! What a judge sees has passed through here: one host, one canonical path, one framing, one client address, and no
//! header that a caller could have forged. Nothing in this crate opens a socket, reads a clock or draws a random
//! number. Where a message can be read in two ways it is refused, never repaired; what is tolerated instead is a
//! visible option ([`Tolerate`]).
//!
//! Reading order: [`head`] (the way of a request's head), then what it is made of: [`facts`], [`field`] (the tables of
//! header names), [`framing`], [`connection`], [`authority`], [`method`], [`path`], [`query`], [`forwarded`], [`address`],
//! [`request_id`]; then the way back: [`response`], [`trailers`].

pub mod address;
pub mod authority;
mod blocks;
pub mod connection;
pub mod facts;
pub mod field;
pub mod forwarded;
pub mod framing;
pub mod head;
mod inline;
pub mod method;
pub mod path;
pub mod query;
mod refuse;
pub mod request_id;
pub mod response;
pub mod trailers;

pub use address::{AddressBlock, AddressPrefix, AddressSet, Cidr};
pub use authority::{Authority, AuthorityMemo};
pub use connection::Upgrade;
pub use facts::{HeadLimits, PeerFacts, Scheme, Trust};
pub use forwarded::{AddressValue, Forwarding, RfcForwarded};
pub use framing::Framing;
pub use head::RequestHead;
pub use method::MethodSet;
pub use path::{CanonicalPath, Tolerate};
pub use query::{Pair, Query};
pub use request_id::RequestId;
pub use response::{Misbehaved, RESPONSE_LIMITS, ResponseLimits, clean_response};
pub use trailers::clean_trailers;
