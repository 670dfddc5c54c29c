//! `Listener`: where connections are accepted and what is admitted.

use std::num::NonZeroU64;

use crate::{
    read::Spanned,
    scalar::{ByteSize, Cidr, Count, HostText, ListenAddress, PathText, Time},
    secret::Reference,
};

crate::choice! {
    /// What is spoken on a listener.
    pub enum ListenerProtocol {
        /// Clear text.
        Http = "HTTP",
        /// TLS.
        Https = "HTTPS",
    }
}

crate::choice! {
    /// A TLS version.
    pub enum TlsMinimum {
        /// TLS 1.2
        Tls12 = "1.2",
        /// TLS 1.3
        Tls13 = "1.3",
    }
}

crate::document! {
    /// Where connections are accepted, with which certificates, and what is admitted at all.
    pub struct ListenerSpec {
        /// Socket addresses to listen on, for example `0.0.0.0:443` or `[::1]:8443`. Port 0 lets the system choose.
        pub addresses: Vec<Spanned<ListenAddress>>,
        /// Clear text or TLS.
        pub protocol: ListenerProtocol = ListenerProtocol::Http,
        /// Certificates and versions; required with `protocol: HTTPS`.
        pub tls: Option<ListenerTls>,
        /// Host names served here, exact or `*.suffix`; other hosts get `WrongHost`. None means any.
        pub hostnames: Vec<Spanned<HostText>> = Vec::new(),
        /// Whether HTTP/2 is spoken too: by ALPN over TLS, by prior knowledge in clear text.
        pub http2: bool = true,
        /// Answer every request with a redirect to https instead of serving it.
        pub redirect_https: Option<RedirectHttps>,
        /// Add `Strict-Transport-Security` to answers over TLS.
        pub hsts: Option<Hsts>,
        /// Proxies in front of the gateway whose `Forwarded`, `X-Forwarded-*` and `X-Client-IPAddress` are believed.
        /// From all others these headers are stripped.
        pub trusted_proxies: Vec<Spanned<Cidr>> = Vec::new(),
        /// Peers that must begin with a PROXY protocol header, version 1 or 2.
        pub proxy_protocol: Option<ProxyProtocol>,
        /// Owners of API keys replace them here by themselves, and report leaks.
        pub key_endpoints: Option<Spanned<KeyEndpoints>>,
        /// What is admitted before any policy is looked at.
        pub admission: Admission = Admission::default(),
    }
}

crate::document! {
    /// TLS of a listener.
    pub struct ListenerTls {
        /// Certificates, chosen by the name the client asks for.
        pub certificates: Vec<Spanned<Certificate>>,
        /// The lowest version spoken.
        pub minimum_version: TlsMinimum = TlsMinimum::Tls12,
        /// Ask clients for certificates. Such a listener resumes no session.
        pub client_authentication: Option<Spanned<ClientAuthentication>>,
    }
}

crate::choice! {
    /// Whether a client must have a certificate.
    pub enum ClientAuthenticationMode {
        /// A handshake without a certificate is refused.
        Required = "required",
        /// A client may have none; one that it shows must hold all the same.
        Optional = "optional",
    }
}

crate::choice! {
    /// What happens where revocation lists leave something open.
    pub enum OnDoubt {
        /// The handshake is refused.
        Deny = "deny",
        /// The certificate is taken for good.
        Allow = "allow",
    }
}

crate::choice! {
    /// Which certificates of a client's chain must not be revoked.
    pub enum RevocationScope {
        /// The client's and every intermediate.
        Chain = "chain",
        /// The client's alone.
        Certificate = "certificate",
    }
}

crate::document! {
    /// How certificates of clients are verified. Who a client then is, an AuthenticationPolicy says.
    pub struct ClientAuthentication {
        /// Whether a client must have one.
        pub mode: ClientAuthenticationMode = ClientAuthenticationMode::Required,
        /// PEM bundles of the authorities whose certificates are accepted. The system's are never used.
        pub ca_certificates: Vec<Spanned<Reference>>,
        /// Most intermediate certificates that a client may send, up to 6.
        pub intermediates: Spanned<u16> = 3.into(),
        /// PEM files with certificate revocation lists. Without any, revocation is not looked at.
        pub crls: Vec<Spanned<Reference>> = Vec::new(),
        /// Which certificates of a chain the lists are asked for.
        pub revocation_of: RevocationScope = RevocationScope::Chain,
        /// With `crls`: what happens to a certificate that no list speaks for.
        pub unknown_revocation: OnDoubt = OnDoubt::Deny,
        /// With `crls`: what happens to a certificate whose list is older than it may be.
        pub expired_crl: OnDoubt = OnDoubt::Deny,
    }
}

crate::document! {
    /// A certificate chain and its key.
    pub struct Certificate {
        /// The names it is used for; none means the names it states itself.
        pub hostnames: Vec<Spanned<HostText>> = Vec::new(),
        /// PEM file with the chain, the leaf first.
        pub chain_ref: Reference,
        /// PEM file with the private key.
        pub key_ref: Reference,
    }
}

crate::document! {
    /// Where owners of keys replace them by themselves.
    pub struct KeyEndpoints {
        /// The path below which it is done: `PATH/rotate`, `PATH/leaked` and `PATH/claim`.
        pub path: Spanned<PathText>,
        /// How many requests there one client address (IPv6 by /64) may make in a minute.
        pub requests_per_minute: Count = Count::of(10),
    }
}

crate::document! {
    /// A redirect to https.
    pub struct RedirectHttps: Default {
        /// The port of the https address; 443 is left out of the address.
        pub port: Spanned<u16> = 443.into(),
    }
}

crate::document! {
    /// HTTP Strict Transport Security, RFC 6797.
    pub struct Hsts: Default {
        /// How long a browser must insist on https.
        pub max_age: Time = Time::seconds(31_536_000),
        /// Whether subdomains are meant too.
        pub include_subdomains: bool = false,
        /// Whether browsers may preload the name.
        pub preload: bool = false,
    }
}

crate::document! {
    /// The PROXY protocol.
    pub struct ProxyProtocol {
        /// Peers that send it. They must; from all others it is not read.
        pub from: Vec<Spanned<Cidr>>,
    }
}

crate::document! {
    /// Limits on connections and request heads, judged before anything else.
    pub struct Admission: Default {
        /// Client addresses admitted; none means all that are not denied.
        pub allow: Vec<Spanned<Cidr>> = Vec::new(),
        /// Client addresses refused.
        pub deny: Vec<Spanned<Cidr>> = Vec::new(),
        /// Most connections on the listener.
        pub connections: Count = Count::of(10_000),
        /// Most connections from one address (IPv6 by /64).
        pub connections_per_address: Count = Count::of(256),
        /// Most connections from one /24 (IPv6 by /48).
        pub connections_per_prefix: Count = Count::of(2_048),
        /// Time for the TLS handshake and for a PROXY protocol header.
        pub handshake_timeout: Spanned<Time> = Time::seconds(5).into(),
        /// Time for a complete head, from its first byte.
        pub header_timeout: Spanned<Time> = Time::seconds(10).into(),
        /// How long a connection may be silent between requests.
        pub idle_timeout: Spanned<Time> = Time::seconds(75).into(),
        /// Most bytes of header names and values together.
        pub header_bytes: Spanned<ByteSize> = ByteSize::kib(64).into(),
        /// Most header fields.
        pub header_count: Count = Count::of(100),
        /// Most bytes of the request target.
        pub uri_bytes: Spanned<ByteSize> = ByteSize::kib(8).into(),
        /// Most bytes of a request body; a route may set its own.
        pub body_bytes: ByteSize = ByteSize::mib(1),
        /// Lowest rate at which a body must arrive, in bytes per second, after five seconds.
        pub body_rate: ByteSize = ByteSize::bytes(500),
        /// Most HTTP/2 streams open at once on a connection.
        pub streams: Count = Count::of(100),
        /// Most HTTP/2 stream resets, by either side, in ten seconds.
        pub resets: Count = Count::of(100),
        /// Requests per client address (IPv6 by /64), judged before a credential is looked at.
        pub rate_per_address: Option<AddressRate>,
        /// Paths that servers read in two ways.
        pub ambiguous_paths: AmbiguousPaths = AmbiguousPaths::default(),
    }
}

crate::document! {
    /// What happens to paths that servers read in two ways. Each is refused with 400; settle one only where every server
    /// behind the listener reads it as said here.
    pub struct AmbiguousPaths: Default {
        /// `.` and `..` as a segment, also encoded.
        pub dot_segments: Spanned<OnDotSegment> = OnDotSegment::Refuse.into(),
        /// Empty segments, as in `/a//b`.
        pub empty_segments: Spanned<OnEmptySegment> = OnEmptySegment::Refuse.into(),
        /// An encoded slash, as in `/packages/@scope%2Fname`.
        pub encoded_slash: Spanned<OnData> = OnData::Refuse.into(),
        /// A semicolon in a segment, as in `/a;v=1/b`.
        pub parameters: Spanned<OnData> = OnData::Refuse.into(),
    }
}

crate::choice! {
    /// What happens to a path with a dot segment.
    pub enum OnDotSegment {
        /// 400.
        Refuse = "refuse",
        /// It is resolved (RFC 3986, section 5.2.4). Climbing above the root is refused all the same.
        Resolve = "resolve",
    }
}

crate::choice! {
    /// What happens to a path with an empty segment.
    pub enum OnEmptySegment {
        /// 400.
        Refuse = "refuse",
        /// Several slashes become one.
        Merge = "merge",
    }
}

crate::choice! {
    /// What happens to a path with a character that some servers take for a separator.
    pub enum OnData {
        /// 400.
        Refuse = "refuse",
        /// It stays as it is and is part of its segment.
        Keep = "keep",
    }
}

crate::document! {
    /// A request rate per client address.
    pub struct AddressRate {
        /// Requests per `timeWindow`.
        pub requests: Count,
        /// The time that `requests` counts for.
        pub time_window: Spanned<Time>,
        /// Requests at once; `requests` where absent.
        pub burst: Option<Count>,
    }
}

impl AddressRate {
    /// The burst that applies.
    pub fn effective_burst(&self) -> NonZeroU64 {
        self.burst.as_ref().map_or(self.requests.get(), |burst| burst.get())
    }
}
