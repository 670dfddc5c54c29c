//! What is known about a request before its head is read: the connection, the limits, and whom to believe.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::{address::AddressSet, path::Tolerate};

/// The scheme a caller used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// Clear text.
    Http,
    /// TLS.
    Https,
}

impl Scheme {
    /// `http` or `https`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
        }
    }

    /// The port that an authority without one means.
    pub const fn default_port(self) -> u16 {
        match self {
            Scheme::Http => 80,
            Scheme::Https => 443,
        }
    }
}

/// The connection a request came over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerFacts {
    /// The other end: of the socket, or as stated by a PROXY protocol header where the listener demands one.
    pub peer: SocketAddr,
    /// Our end.
    pub local: SocketAddr,
    /// Whether TLS ended here.
    pub tls: bool,
}

impl PeerFacts {
    /// The scheme of the connection itself.
    pub const fn scheme(&self) -> Scheme {
        if self.tls { Scheme::Https } else { Scheme::Http }
    }

    /// A connection over loopback, for tests.
    #[doc(hidden)]
    pub const fn for_test() -> Self {
        PeerFacts {
            peer: SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7)), 40_000),
            local: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080),
            tls: false,
        }
    }
}

/// How large a head may be, and what is tolerated in its path. The defaults are the listener's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadLimits {
    /// Most bytes of header names and values. Each field counts 4 bytes more in HTTP/1 (`: ` and the line end) and
    /// 32 more in HTTP/2 (RFC 9113 §6.5.2), so that many tiny fields cannot hide a large memory cost.
    pub header_bytes: usize,
    /// Most header fields; each cookie crumb of HTTP/2 is one.
    pub header_count: usize,
    /// Most bytes of the request target.
    pub uri_bytes: usize,
    /// Which ambiguities of the path are settled instead of refused.
    pub tolerate: Tolerate,
}

impl Default for HeadLimits {
    /// 64 KiB and 100 fields bound the memory of one head (HTTP/2 header bombs); 8 KiB is what peers admit as a target.
    fn default() -> Self {
        HeadLimits {
            header_bytes: 64 * 1024,
            header_count: 100,
            uri_bytes: 8 * 1024,
            tolerate: Tolerate::default(),
        }
    }
}

/// Whose word about the caller is believed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trust {
    /// Peers whose `Forwarded`, `X-Forwarded-*` and `X-Client-IPAddress` are believed.
    pub proxies: AddressSet,
}

impl Trust {
    /// Whether `address` is a trusted proxy.
    pub fn believes(&self, address: IpAddr) -> bool {
        !self.proxies.is_empty() && self.proxies.contains(address)
    }
}
