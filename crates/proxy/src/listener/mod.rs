//! The downstream side of the data plane: from a bound socket to a request in the pipeline's hands.
//!
//! One single-threaded runtime per core, each with its own sockets; no lock and no timer on a request's way. What is
//! decided here is decided before a request exists: who may connect, how often, in which protocol, how slowly. Reading
//! order: [`bind`] (sockets), [`core`] (threads and commands) with `balance`, `accept` (admission) with [`caps`],
//! [`proxy_protocol`] and [`tls`] ([`certificate`], [`client`], [`ticket`]), `http` (hyper and its limits), [`body`], then time:
//! `flow` (bytes), `watch` (requests), `sweep` (deadlines), and `drain` (the end).

mod accept;
mod balance;
pub mod bind;
pub mod body;
pub mod caps;
pub mod certificate;
pub mod client;
pub mod core;
mod drain;
pub mod facts;
mod flow;
mod http;
pub mod proxy_protocol;
mod rehearsed;
mod slots;
mod socket;
mod sweep;
pub mod ticket;
pub mod tls;
mod watch;

use std::{future::Future, rc::Rc};

pub use self::{
    bind::{BindError, Bound},
    body::{BodyError, Pace, Paced, PacedError, Tracked},
    caps::ConnectionCaps,
    certificate::CertificateFacts,
    client::ClientTrust,
    core::{CoreId, CoreOptions, CoreThreads, ReadyListener},
    facts::{ConnectionFacts, TlsFacts},
    ticket::{TicketKeys, TlsTrust},
    tls::{PreparedTls, prepare_tls},
};
pub(crate) use self::{rehearsed::connection as rehearsed_connection, watch::Watch};

/// What serves requests: the pipeline, one per core.
pub trait Serve: 'static {
    /// The response's body.
    type Body: http_body::Body<Data = bytes::Bytes, Error = BodyError> + 'static;

    /// Answers one request. Dropping the future is how a client's reset arrives.
    fn serve(
        self: Rc<Self>,
        connection: Rc<ConnectionFacts>,
        request: ::http::Request<hyper::body::Incoming>,
    ) -> impl Future<Output = ::http::Response<Self::Body>> + 'static;
}

/// Who hears what happens on listeners. Called on the cores: an implementation counts and returns.
pub trait ListenerEvents: Send + Sync + 'static {
    /// A connection was refused before a byte of HTTP was read.
    fn refused(&self, _listener: &str, _why: Refused) {}
    /// A TLS handshake succeeded and took this long.
    fn handshaken(&self, _listener: &str, _took: std::time::Duration) {}
    /// A connection speaks HTTP now.
    fn opened(&self, _listener: &str, _http2: bool, _tls: bool) {}
    /// A connection that spoke HTTP has ended.
    fn closed(&self, _listener: &str, _how: Ended) {}
    /// HTTP/2 streams were reset because their client took no data.
    fn streams_stalled(&self, _listener: &str, _streams: usize) {}
    /// A socket could not be accepted; the core waits a moment and goes on.
    fn accept_failed(&self, _listener: &str, _error: &std::io::Error) {}
    /// A fresh socket was handed to a less loaded core.
    fn handed_over(&self, _listener: &str, _from: usize, _to: usize) {}
}

/// Events nobody listens to.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoEvents;

impl ListenerEvents for NoEvents {}

macro_rules! labelled {
    ($(#[$meta:meta])* $name:ident { $($(#[doc = $doc:literal])+ $variant:ident => $label:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl $name {
            /// All variants.
            pub const ALL: &'static [$name] = &[$($name::$variant,)+];

            /// The metric label.
            pub const fn as_str(self) -> &'static str {
                match self { $($name::$variant => $label,)+ }
            }
        }
    };
}

labelled! {
    /// Why a connection was refused before it spoke HTTP.
    Refused {
        /// The client's address is denied, or not among those allowed.
        AddressDenied => "address_denied",
        /// The client's address has its most connections open.
        AddressFull => "address_full",
        /// The process has no file descriptor left.
        DescriptorsExhausted => "descriptors_exhausted",
        /// The listener or the process is closing.
        Closing => "closing",
        /// The listener has its most connections open.
        ListenerFull => "listener_full",
        /// The first bytes began to come and did not go on in time; it was answered with 408.
        HeadTimeout => "head_timeout",
        /// The client's network has its most connections open.
        PrefixFull => "prefix_full",
        /// A declared proxy sent no PROXY protocol header, a broken one or too large a one.
        ProxyHeaderInvalid => "proxy_header_invalid",
        /// A declared proxy's PROXY protocol header did not arrive in time.
        ProxyHeaderTimeout => "proxy_header_timeout",
        /// Nothing came in time.
        Silent => "silent",
        /// The socket broke before anything was decided.
        SocketBroken => "socket_broken",
        /// The connection broke in the handshake.
        TlsBroken => "tls_broken",
        /// The client's certificate is past its time, or before it.
        TlsCertificateExpired => "tls_certificate_expired",
        /// The client showed no certificate, and the listener requires one.
        TlsCertificateMissing => "tls_certificate_missing",
        /// No valid revocation list speaks for the client's chain.
        TlsCertificateRevocationUnknown => "tls_certificate_revocation_unknown",
        /// A certificate of the client's chain is revoked.
        TlsCertificateRevoked => "tls_certificate_revoked",
        /// The client's certificate was verified and states names that cannot be read.
        TlsCertificateUnreadable => "tls_certificate_unreadable",
        /// No authority that the listener trusts vouches for the client's certificate.
        TlsCertificateUntrusted => "tls_certificate_untrusted",
        /// The client ended the handshake with an alert: it does not like what we offer.
        TlsClientAlert => "tls_client_alert",
        /// Nothing in common: versions, cipher suites or protocols.
        TlsIncompatible => "tls_incompatible",
        /// What arrived is not TLS, or broken TLS.
        TlsMalformed => "tls_malformed",
        /// The client named no server, and none is the default.
        TlsNameMissing => "tls_name_missing",
        /// The client asked for a name that no certificate serves.
        TlsNameUnknown => "tls_name_unknown",
        /// The handshake took too long, or waited too long for its turn.
        TlsTimeout => "tls_timeout",
    }
}

labelled! {
    /// How a connection that spoke HTTP ended.
    Ended {
        /// The client left within a request or an answer, or an answer could not be completed.
        BrokenOff => "broken_off",
        /// By agreement: the client left, or the last response said so.
        Closed => "closed",
        /// The gateway is closing.
        Drained => "drained",
        /// Serving it failed in a bug of ours.
        Failed => "failed",
        /// An HTTP/2 client sent frames that carry nothing.
        FrameFlood => "frame_flood",
        /// A head did not arrive in time.
        HeadTimeout => "head_timeout",
        /// It was silent between requests for too long.
        Idle => "idle",
        /// The listener is gone or does not admit this client or this trust any more.
        ListenerChanged => "listener_changed",
        /// What the client sent was not HTTP.
        ProtocolError => "protocol_error",
        /// An HTTP/2 client had too many streams reset.
        ResetFlood => "reset_flood",
        /// It became another protocol.
        Upgraded => "upgraded",
        /// The client took no data for too long.
        WriteStalled => "write_stalled",
    }
}
