//! What is known of a connection before its first request: the facts that stages judge.

use std::{
    cell::Cell,
    net::{IpAddr, SocketAddr},
    rc::Rc,
    sync::Arc,
    time::Instant,
};

use bartizan_config::snapshot::ListenerPlan;
use bartizan_identity::ClientCertificate;
use bartizan_message::{AddressValue, PeerFacts};

use super::{
    ticket::TlsTrust,
    watch::{Order, Watch},
};

/// A connection, as the stages see it. One per connection, shared by its requests.
#[derive(Debug)]
pub struct ConnectionFacts {
    /// The listener as it was when the connection was accepted.
    pub listener: Arc<ListenerPlan>,
    /// The other end of the socket.
    pub peer: SocketAddr,
    /// The client: the peer, or whom a declared proxy named in its PROXY protocol header.
    pub client: SocketAddr,
    /// The client's address as a header's value, shared by the requests.
    pub address: AddressValue,
    /// Our end, as the client addressed it (from the PROXY protocol header where there is one).
    pub local: SocketAddr,
    /// TLS, if it is spoken.
    pub tls: Option<TlsFacts>,
    /// Whether HTTP/2 is spoken.
    pub http2: bool,
    /// The core that serves it.
    pub core: usize,
    /// When it was accepted.
    pub opened: Instant,
    /// Requests begun so far, this one included.
    pub requests: Cell<u64>,
    pub(crate) watch: Rc<Watch>,
}

impl ConnectionFacts {
    /// The client's address, IPv4 also where the socket is IPv6.
    pub fn client_address(&self) -> IpAddr {
        self.client.ip().to_canonical()
    }

    /// The facts that `admit` judges a head with.
    pub fn peer_facts(&self) -> PeerFacts {
        PeerFacts { peer: self.client, local: self.local, tls: self.tls.is_some() }
    }

    /// Whether the connection was told to close: long streams should take their leave.
    pub fn is_closing(&self) -> bool {
        self.watch.order() != Order::Serve
    }
}

/// What the TLS handshake settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFacts {
    /// `TLSv1.2` or `TLSv1.3`.
    pub version: &'static str,
    /// The name the client asked for, lower-case.
    pub server_name: Option<Arc<str>>,
    /// The protocol settled by ALPN: `h2`, `http/1.1`, or none.
    pub alpn: Option<&'static str>,
    /// The cipher suite's name.
    pub cipher: &'static str,
    /// Whether an earlier session was resumed.
    pub resumed: bool,
    /// The client's certificate, verified under `trust`; `None` where it showed none or was asked for none.
    pub client: Option<Arc<ClientCertificate>>,
    /// What the handshake proves.
    pub trust: TlsTrust,
}
