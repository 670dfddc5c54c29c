//! A compiled `Listener`: where connections are accepted, and what a head may look like.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bartizan_message::{AddressSet, Tolerate, Trust};
use bartizan_model::Reference;

/// One listener, flat and final. Compiling it bound nothing and read no key.
#[derive(Clone, Debug)]
pub struct ListenerPlan {
    /// The document's name; the metric label `listener`.
    pub name: Arc<str>,
    /// Socket addresses; port 0 lets the system choose.
    pub addresses: Vec<SocketAddr>,
    /// Clear text, or TLS with these certificates.
    pub tls: Option<TlsPlan>,
    /// Whether HTTP/2 is spoken (by ALPN over TLS, by prior knowledge in clear text).
    pub http2: bool,
    /// Host names served: exact, or `*.suffix`; empty means any.
    pub hostnames: Vec<HostPattern>,
    /// Instead of serving, answer every request with a 308 to https on this port.
    pub redirect_https_port: Option<u16>,
    /// The `Strict-Transport-Security` value added to answers over TLS.
    pub hsts: Option<Arc<str>>,
    /// Peers whose `Forwarded`, `X-Forwarded-*` and `X-Client-IPAddress` are believed.
    pub trust: Trust,
    /// Peers that must send a PROXY protocol header (v1 or v2); from others it is not read at all.
    pub proxy_protocol_from: Option<AddressSet>,
    /// Where owners of API keys replace them by themselves.
    pub key_endpoints: Option<KeyEndpointsPlan>,
    /// What is admitted.
    pub admission: AdmissionPlan,
}

/// Where owners of API keys replace them by themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyEndpointsPlan {
    /// The path above `/rotate`, `/leaked` and `/claim`, without a slash at its end.
    pub path: Arc<str>,
    /// How many requests there one client address may make in a minute.
    pub requests_per_minute: u64,
}

/// TLS on a listener.
#[derive(Clone, Debug, PartialEq)]
pub struct TlsPlan {
    /// Chosen by SNI: exact name, then wildcard; the first is the default for a client without SNI only when it
    /// has no host names of its own.
    pub certificates: Vec<CertificatePlan>,
    /// Lowest version spoken.
    pub minimum: TlsVersion,
    /// How certificates of clients are verified, where they are asked for.
    pub clients: Option<ClientAuthenticationPlan>,
}

/// How certificates of clients are verified.
#[derive(Clone, Debug, PartialEq)]
pub struct ClientAuthenticationPlan {
    /// Whether a handshake without one is refused.
    pub required: bool,
    /// PEM bundles of the authorities trusted; at least one.
    pub authorities: Vec<Reference>,
    /// Most intermediate certificates a client may send.
    pub intermediates_max: usize,
    /// Revocation, if lists are given.
    pub revocation: Option<RevocationPlan>,
}

/// How revocation lists are read.
#[derive(Clone, Debug, PartialEq)]
pub struct RevocationPlan {
    /// PEM files with lists; at least one.
    pub lists: Vec<Reference>,
    /// Whether intermediates are asked for too.
    pub whole_chain: bool,
    /// Whether a certificate that no list speaks for is taken for good: listed as an exposure.
    pub allow_unknown: bool,
    /// Whether a list past its next update still speaks: listed as an exposure.
    pub allow_expired: bool,
}

/// One certificate chain with its key.
#[derive(Clone, Debug, PartialEq)]
pub struct CertificatePlan {
    /// Names it is used for; empty: the names the certificate itself states.
    pub hostnames: Vec<HostPattern>,
    /// PEM chain, leaf first.
    pub chain: Reference,
    /// PEM private key.
    pub key: Reference,
}

/// A TLS protocol version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// TLS 1.2
    Tls12,
    /// TLS 1.3
    Tls13,
}

/// A host name in a listener, certificate or route: lower-case, without port or trailing dot.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum HostPattern {
    /// Exactly this name.
    Exact(Arc<str>),
    /// One or more labels before this suffix (`*.example.com` is stored as `example.com`).
    Suffix(Arc<str>),
}

impl HostPattern {
    /// Whether some host is meant by both.
    pub fn overlaps(&self, other: &HostPattern) -> bool {
        match (self, other) {
            (HostPattern::Exact(host), pattern) | (pattern, HostPattern::Exact(host)) => {
                pattern.matches(host)
            }
            (HostPattern::Suffix(one), HostPattern::Suffix(two)) => {
                one == two || other.matches(one) || self.matches(two)
            }
        }
    }

    /// Whether `host` (lower-case, without port) is meant.
    pub fn matches(&self, host: &str) -> bool {
        match self {
            HostPattern::Exact(name) => **name == *host,
            HostPattern::Suffix(suffix) => host
                .strip_suffix(&**suffix)
                .and_then(|rest| rest.strip_suffix('.'))
                .is_some_and(|labels| !labels.is_empty()),
        }
    }
}

/// Limits on connections and heads. Each field's default is `security.md` section D's.
#[derive(Clone, Debug)]
pub struct AdmissionPlan {
    /// Clients admitted; `None`: all that are not denied.
    pub allow: Option<AddressSet>,
    /// Clients refused.
    pub deny: AddressSet,
    /// Most connections on this listener.
    pub connections_max: usize,
    /// Most connections from one address (IPv6 by /64).
    pub connections_per_address: u32,
    /// Most connections from one /24 (IPv6 by /48).
    pub connections_per_prefix: u32,
    /// Time for the TLS handshake and for a PROXY protocol header.
    pub handshake_timeout: Duration,
    /// Time for a complete head, from its first byte.
    pub header_timeout: Duration,
    /// How long a connection may be silent between requests.
    pub idle_timeout: Duration,
    /// Most bytes of header names and values.
    pub header_bytes_max: usize,
    /// Most header fields.
    pub header_count_max: usize,
    /// Most bytes of the request target.
    pub uri_bytes_max: usize,
    /// Most bytes of a request body, unless the route raises it.
    pub body_bytes_max: u64,
    /// Lowest rate at which a body must arrive, in bytes per second, after `body_rate_grace`.
    pub body_rate_min: u32,
    /// See `body_rate_min`.
    pub body_rate_grace: Duration,
    /// Most HTTP/2 streams open at once on a connection.
    pub streams_max: u32,
    /// Most HTTP/2 stream resets, by either side, in ten seconds.
    pub resets_max: u32,
    /// Requests per client address, judged before anything else costs CPU.
    pub rate_per_address: Option<Arc<bartizan_limit::Policy>>,
    /// Which ambiguities of a path are settled instead of refused.
    pub tolerate: Tolerate,
}
