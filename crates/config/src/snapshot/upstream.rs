//! A compiled `Upstream`: where requests go and how an endpoint is chosen.

use std::{net::SocketAddr, num::NonZeroU32, sync::Arc, time::Duration};

use bartizan_model::{Reference, scalar::FetchUrl};

/// One upstream, flat and final. Compiling it opened nothing; TLS material and credentials are read in `prepare`.
#[derive(Clone, Debug, PartialEq)]
pub struct UpstreamPlan {
    /// The document's name; the metric label `upstream`.
    pub name: Arc<str>,
    /// Set for a provider of models.
    pub llm: Option<Arc<super::LlmPlan>>,
    /// At least one endpoint, in document order.
    pub endpoints: Vec<EndpointPlan>,
    /// HTTP version spoken to the endpoints.
    pub protocol: UpstreamProtocol,
    /// Set when the endpoints are `https`.
    pub tls: Option<UpstreamTlsPlan>,
    /// How an endpoint is chosen.
    pub balancing: Balancing,
    /// Active health checks, if asked for.
    pub active: Option<ActiveCheckPlan>,
    /// Passive checks (ejection after failures), if asked for.
    pub passive: Option<PassiveCheckPlan>,
    /// Below this percentage of well endpoints all are asked; 0 never.
    pub panic_percent: u8,
    /// How long an endpoint that comes, or comes back, gets less than its share.
    pub slow_start: Option<Duration>,
    /// A credential added to each request, which callers never see.
    pub credential: Option<CredentialPlan>,
    /// Time to connect, TLS included.
    pub connect_timeout: Duration,
    /// How long an idle connection is kept.
    pub idle_timeout: Duration,
    /// Most open connections per endpoint and core.
    pub connections_max: usize,
    /// Most idle connections kept per endpoint and core.
    pub idle_max: usize,
}

/// One address requests can be sent to.
#[derive(Clone, Debug, PartialEq)]
pub struct EndpointPlan {
    /// `host:port` as written; the metric label `endpoint` and the default `Host` for health checks.
    pub authority: Arc<str>,
    /// What to connect to.
    pub address: EndpointAddress,
    /// Share of the traffic relative to its siblings.
    pub weight: NonZeroU32,
}

/// What an endpoint's authority stands for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum EndpointAddress {
    /// An IP literal and port.
    Socket(SocketAddr),
    /// A name resolved by the system's resolver, and a port.
    Name(Arc<str>, u16),
}

/// HTTP version toward the upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpstreamProtocol {
    /// HTTP/1.1 with keep-alive.
    Http1,
    /// HTTP/2; by ALPN over TLS, by prior knowledge in clear text (gRPC needs this).
    Http2,
}

/// How a TLS upstream is verified.
#[derive(Clone, Debug, PartialEq)]
pub struct UpstreamTlsPlan {
    /// The name in SNI and in the certificate; the endpoint's host where absent.
    pub server_name: Option<Arc<str>>,
    /// PEM bundle of trusted roots; the system's roots where absent.
    pub authorities: Option<Reference>,
    /// The gateway's own certificate, for upstreams that ask for one.
    pub client: Option<ClientIdentityPlan>,
    /// No verification at all: listed as an exposure.
    pub danger_accept_any_certificate: bool,
}

/// The gateway's own certificate toward an upstream.
#[derive(Clone, Debug, PartialEq)]
pub struct ClientIdentityPlan {
    /// PEM chain, leaf first.
    pub chain: Reference,
    /// PEM private key.
    pub key: Reference,
}

/// How an endpoint is chosen among the healthy ones.
#[derive(Clone, Debug, PartialEq)]
pub enum Balancing {
    /// Smooth weighted round robin, per core.
    RoundRobin,
    /// Fewest requests in flight relative to weight, over all cores.
    LeastRequest,
    /// The better of two random endpoints.
    PowerOfTwo,
    /// The same key goes to the same endpoint (Maglev); a lost endpoint moves only its own keys.
    ConsistentHash(HashKey),
}

/// What a consistent hash is taken of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HashKey {
    /// The verified consumer, else the client address.
    Consumer,
    /// The trusted client address.
    ClientAddress,
    /// A request header's first value, else the client address. Lower-case name.
    Header(Arc<str>),
    /// The canonical path.
    Path,
}

/// Active health checks.
#[derive(Clone, Debug, PartialEq)]
pub struct ActiveCheckPlan {
    /// The path of the `GET`.
    pub path: Arc<str>,
    /// Time between two checks of one endpoint, jittered by ±10 %.
    pub interval: Duration,
    /// A check that takes longer has failed.
    pub timeout: Duration,
    /// Statuses that count as healthy, inclusive ranges.
    pub statuses: Vec<(u16, u16)>,
    /// Passed checks in a row before an unhealthy endpoint counts as healthy.
    pub healthy_after: u32,
    /// Failed checks in a row before a healthy endpoint counts as unhealthy.
    pub unhealthy_after: u32,
}

/// Passive health checks.
#[derive(Clone, Debug, PartialEq)]
pub struct PassiveCheckPlan {
    /// Failures in a row (connect errors, resets, timeouts, 502, 503, 504) that eject an endpoint.
    pub failures: u32,
    /// How long the first ejection lasts; it doubles with each one that follows, up to ten times this.
    pub eject_for: Duration,
    /// Largest share of the endpoints that may be ejected at once, in percent; beyond it ejection is ignored.
    pub ejected_percent_max: u8,
}

/// A credential for the upstream.
#[derive(Clone, Debug, PartialEq)]
pub enum CredentialPlan {
    /// A header with a secret.
    Header(HeaderCredentialPlan),
    /// `Authorization: Basic`.
    Basic(BasicCredentialPlan),
    /// `Authorization: Bearer` with a token by client credentials.
    Token(TokenPlan),
    /// `Authorization: Bearer` with a token in exchange for the caller's.
    Exchange(ExchangePlan),
}

/// Tokens in exchange for the caller's (RFC 8693).
#[derive(Clone, Debug, PartialEq)]
pub struct ExchangePlan {
    /// The endpoint, the gateway's credentials there, and what is asked for.
    pub token: TokenPlan,
    /// Whom the token is for, as an address.
    pub resource: Option<Arc<str>>,
    /// The URN of the caller's token's type.
    pub subject_token_type: &'static str,
}

impl UpstreamPlan {
    /// Whether it is sent a token in exchange for the caller's.
    pub fn exchanges_tokens(&self) -> bool {
        matches!(self.credential, Some(CredentialPlan::Exchange(_)))
    }
}

/// How a token endpoint is asked: by client credentials, or as part of an exchange.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenPlan {
    /// The token endpoint.
    pub url: FetchUrl,
    /// The gateway's name there.
    pub client_id: Arc<str>,
    /// Where its secret lies.
    pub secret: Reference,
    /// The scopes, with blanks between them; may be empty.
    pub scope: Arc<str>,
    /// Whom the token is for.
    pub audience: Option<Arc<str>>,
    /// Whether the secret goes into the form instead of `Authorization`.
    pub secret_in_form: bool,
    /// PEM bundle of the authorities trusted.
    pub authorities: Option<Reference>,
    /// Whether it may be in a private network.
    pub private_network: bool,
    /// Whether it may be asked without TLS: listed as an exposure.
    pub clear_text: bool,
    /// Longest time for an answer.
    pub timeout: Duration,
}

impl CredentialPlan {
    /// The header that carries it, lower-case.
    pub fn header(&self) -> &str {
        match self {
            CredentialPlan::Header(plan) => &plan.header,
            CredentialPlan::Basic(_) | CredentialPlan::Token(_) | CredentialPlan::Exchange(_) => {
                "authorization"
            }
        }
    }

    /// The secrets it is made of.
    pub fn references(&self) -> impl Iterator<Item = &Reference> {
        let (secret, authorities) = match self {
            CredentialPlan::Header(plan) => (&plan.secret, None),
            CredentialPlan::Basic(plan) => (&plan.password, None),
            CredentialPlan::Token(plan) | CredentialPlan::Exchange(ExchangePlan { token: plan, .. }) => {
                (&plan.secret, plan.authorities.as_ref())
            }
        };
        std::iter::once(secret).chain(authorities)
    }
}

/// A name and a password for the upstream.
#[derive(Clone, Debug, PartialEq)]
pub struct BasicCredentialPlan {
    /// The name.
    pub user: Arc<str>,
    /// Where the password lies.
    pub password: Reference,
}

/// A header for the upstream: `name: prefix + secret`.
#[derive(Clone, Debug, PartialEq)]
pub struct HeaderCredentialPlan {
    /// Lower-case header name, for example `authorization`.
    pub header: Arc<str>,
    /// What stands before the secret, for example `Bearer `.
    pub prefix: Arc<str>,
    /// Where the secret lies.
    pub secret: Reference,
}
