//! `Upstream`: the services behind the gateway.

use crate::{
    read::Spanned,
    scalar::{
        Count, EndpointUrl, FetchUrl, HeaderName, HeaderValue, HostText, Name, PathText, Percent, Time,
    },
    secret::Reference,
};

crate::choice! {
    /// What kind of service it is.
    pub enum UpstreamKind {
        /// An HTTP service.
        Http = "Http",
        /// A provider of models. Only Models send to it, never a Route by itself.
        Llm = "Llm",
    }
}

crate::choice! {
    /// The HTTP version spoken to the endpoints.
    pub enum UpstreamProtocolName {
        /// HTTP/1.1
        Http1 = "Http1",
        /// HTTP/2, by ALPN over TLS and by prior knowledge in clear text. gRPC needs it.
        Http2 = "Http2",
    }
}

crate::document! {
    /// A service behind the gateway: its endpoints, how one is chosen, and how they are watched.
    pub struct UpstreamSpec {
        /// What kind of service it is.
        pub kind: UpstreamKind = UpstreamKind::Http,
        /// Where it can be reached; all with the same scheme. Required unless `llm` names a provider whose address is
        /// known.
        pub endpoints: Vec<Spanned<EndpointSpec>> = Vec::new(),
        /// With `kind: Llm`: which provider it is.
        pub llm: Option<Spanned<LlmSpec>>,
        /// The HTTP version spoken.
        pub protocol: UpstreamProtocolName = UpstreamProtocolName::Http1,
        /// How its certificate is verified; only with `https` endpoints.
        pub tls: Option<Spanned<UpstreamTls>>,
        /// How an endpoint is chosen.
        pub load_balancing: LoadBalancing = LoadBalancing::default(),
        /// How endpoints are watched.
        pub health: Health = Health::default(),
        /// A credential that is added to each request. Callers never see it.
        pub credential: Option<Spanned<CredentialSpec>>,
        /// Time to connect, TLS included.
        pub connect_timeout: Spanned<Time> = Time::seconds(5).into(),
        /// How long an idle connection is kept.
        pub idle_timeout: Spanned<Time> = Time::seconds(60).into(),
        /// Most open connections per endpoint and core.
        pub connections: Count = Count::of(1_024),
    }
}

crate::choice! {
    /// A provider of models, or a kind of server that people run themselves.
    pub enum LlmProvider {
        /// OpenAI.
        OpenAi = "OpenAi",
        /// Anthropic.
        Anthropic = "Anthropic",
        /// Gemini, by API key.
        Gemini = "Gemini",
        /// Mistral.
        Mistral = "Mistral",
        /// Alibaba's Model Studio: Tongyi Qianwen.
        DashScope = "DashScope",
        /// DeepSeek.
        DeepSeek = "DeepSeek",
        /// Groq.
        Groq = "Groq",
        /// OpenRouter.
        OpenRouter = "OpenRouter",
        /// Ollama, by its own dialect.
        Ollama = "Ollama",
        /// Any server of OpenAI's dialect: llama.cpp, vLLM, SGLang and others. Needs `endpoints`.
        Compatible = "Compatible",
    }
}

crate::choice! {
    /// Which of a provider's dialects is spoken.
    pub enum LlmDialect {
        /// OpenAI's, where the provider has it.
        Compatible = "Compatible",
        /// The provider's own.
        Native = "Native",
    }
}

crate::document! {
    /// A provider of models.
    pub struct LlmSpec {
        /// Which one.
        pub provider: Spanned<LlmProvider>,
        /// With `provider: DashScope`: `intl` (where absent), `cn`, `hk` or `us`. Keys belong to one region.
        pub region: Option<Spanned<String>>,
        /// With `provider: DashScope`: which dialect is spoken; `Compatible` where absent.
        pub dialect: Option<Spanned<LlmDialect>>,
        /// With `provider: Anthropic`: the pinned `anthropic-version`; `2023-06-01` where absent.
        pub version: Option<Spanned<HeaderValue>>,
        /// What stands before the provider's paths instead of the usual, for example `/openai/v1`.
        pub base_path: Option<Spanned<PathText>>,
        /// Its keys. One that the provider refuses or that is used up rests, and the next one serves. Callers never
        /// see them.
        pub keys: Vec<Spanned<LlmKey>> = Vec::new(),
    }
}

crate::document! {
    /// A provider's key.
    pub struct LlmKey {
        /// Where it lies.
        pub value_ref: Option<Reference>,
        /// The name of a `Secret` document, instead of `valueRef`.
        pub secret_name: Option<Spanned<Name>>,
    }
}

crate::document! {
    /// One address of a service.
    pub struct EndpointSpec {
        /// `http://host:port` or `https://host:port`.
        pub url: EndpointUrl,
        /// Its share relative to its siblings.
        pub weight: Count = Count::of(1),
    }
}

crate::document! {
    /// How a TLS upstream is verified.
    pub struct UpstreamTls {
        /// The name in SNI and certificate; the endpoint's host where absent.
        pub server_name: Option<Spanned<HostText>>,
        /// PEM bundle of the authorities trusted; the system's where absent.
        pub authorities_ref: Option<Reference>,
        /// The certificate that the gateway shows, for upstreams that ask for one.
        pub client_certificate: Option<Spanned<UpstreamClientCertificate>>,
        /// Accept any certificate. Whoever stands between can then read and change everything.
        pub danger_accept_any_certificate: bool = false,
    }
}

crate::document! {
    /// The gateway's own certificate toward an upstream.
    pub struct UpstreamClientCertificate {
        /// PEM file with the chain, the leaf first.
        pub chain_ref: Reference,
        /// PEM file with the private key.
        pub key_ref: Reference,
    }
}

crate::choice! {
    /// How an endpoint is chosen.
    pub enum LoadBalancingAlgorithm {
        /// In turn, by weight.
        RoundRobin = "RoundRobin",
        /// The one with the fewest requests in flight, by weight.
        LeastRequest = "LeastRequest",
        /// The better of two chosen at random.
        PowerOfTwo = "PowerOfTwo",
        /// The same key always to the same endpoint.
        ConsistentHash = "ConsistentHash",
    }
}

crate::choice! {
    /// What a consistent hash is taken of.
    pub enum HashOn {
        /// The consumer, else the client address.
        Consumer = "consumer",
        /// The client address.
        ClientAddress = "clientAddress",
        /// The header named by `header`, else the client address.
        Header = "header",
        /// The path.
        Path = "path",
    }
}

crate::document! {
    /// How an endpoint is chosen.
    pub struct LoadBalancing: Default {
        /// The algorithm.
        pub algorithm: LoadBalancingAlgorithm = LoadBalancingAlgorithm::PowerOfTwo,
        /// With `ConsistentHash`: what the hash is taken of.
        pub hash_on: HashOn = HashOn::Consumer,
        /// With `hashOn: header`: the header's name.
        pub header: Option<Spanned<HeaderName>>,
        /// Give endpoints that come, or come back, their share little by little; not with `ConsistentHash`.
        pub slow_start: Option<Spanned<SlowStart>>,
    }
}

crate::document! {
    /// How endpoints that are new, healthy again, or back from an ejection get their share.
    pub struct SlowStart {
        /// From a tenth of the share to all of it in this time.
        pub window: Spanned<Time>,
    }
}

crate::document! {
    /// How endpoints are watched.
    pub struct Health: Default {
        /// Ask them regularly.
        pub active: Option<ActiveHealth>,
        /// Watch the answers to real requests.
        pub passive: Option<PassiveHealth> = Some(PassiveHealth::default()),
        /// Where fewer than this percentage of the endpoints are well, all are asked as if nothing was known of them;
        /// 0 never.
        pub panic_threshold: Percent = Percent::of(0),
    }
}

crate::document! {
    /// Regular `GET` requests to each endpoint.
    pub struct ActiveHealth {
        /// The path asked for.
        pub path: Spanned<PathText>,
        /// Time between two checks, varied by a tenth.
        pub interval: Spanned<Time> = Time::seconds(10).into(),
        /// Longest time for an answer.
        pub timeout: Spanned<Time> = Time::seconds(2).into(),
        /// Answers that count as healthy: `200`, or a range `200-299`.
        pub statuses: Vec<Spanned<String>> = vec![Spanned::from("200-299".to_owned())],
        /// Passed checks in a row until an endpoint counts as healthy again.
        pub healthy_threshold: Count = Count::of(2),
        /// Failed checks in a row until an endpoint counts as unhealthy.
        pub unhealthy_threshold: Count = Count::of(3),
    }
}

crate::document! {
    /// Ejection of endpoints that fail.
    pub struct PassiveHealth: Default {
        /// Failures in a row that eject an endpoint: connect errors, resets, timeouts, 502, 503, 504.
        pub consecutive_failures: Count = Count::of(5),
        /// How long the first ejection lasts; each further one lasts longer.
        pub eject_for: Spanned<Time> = Time::seconds(30).into(),
        /// Largest share of endpoints ejected at once.
        pub max_ejected_percent: Percent = Percent::of(50),
    }
}

crate::document! {
    /// A credential for the upstream, in one of its forms: a header with a secret, a name with a password, or a bearer
    /// token. Callers never see it; a field of its name that a caller sends is replaced.
    pub struct CredentialSpec {
        /// A header with a secret: its name.
        pub header: Option<Spanned<HeaderName>>,
        /// With `header`: a word before the secret, with a space between them.
        pub prefix: Option<Spanned<HeaderValue>>,
        /// With `header`: where the secret lies.
        pub value_ref: Option<Reference>,
        /// With `header`: the name of a `Secret` document, instead of `valueRef`.
        pub secret_name: Option<Spanned<Name>>,
        /// `Authorization: Basic`.
        pub basic: Option<Spanned<BasicCredentialSpec>>,
        /// `Authorization: Bearer` with a token that somebody else renews.
        pub bearer: Option<Spanned<BearerCredentialSpec>>,
        /// `Authorization: Bearer` with a token that the gateway gets and renews by itself.
        pub client_credentials: Option<Spanned<ClientCredentialsSpec>>,
        /// `Authorization: Bearer` with a token that the gateway gets for the caller's own.
        pub token_exchange: Option<Spanned<TokenExchangeSpec>>,
    }
}

crate::choice! {
    /// How the gateway proves who it is to a token endpoint, RFC 6749 §2.3.1.
    pub enum TokenClientAuthentication {
        /// In `Authorization: Basic`.
        Basic = "basic",
        /// In the form.
        Post = "post",
    }
}

crate::document! {
    /// Tokens by OAuth 2.0 client credentials, RFC 6749 §4.4. One is fetched before the first request, kept, and renewed
    /// before it ends; without a token nothing is sent.
    pub struct ClientCredentialsSpec {
        /// The token endpoint.
        pub token_url: Spanned<FetchUrl>,
        /// The gateway's name there.
        pub client_id: Spanned<String>,
        /// Where the gateway's secret lies.
        pub client_secret_ref: Option<Reference>,
        /// The name of a `Secret` document, instead of `clientSecretRef`.
        pub secret_name: Option<Spanned<Name>>,
        /// Scopes asked for.
        pub scopes: Vec<Spanned<String>> = Vec::new(),
        /// Whom the token is for, in `audience`.
        pub audience: Option<Spanned<String>>,
        /// How the gateway proves who it is.
        pub authentication: TokenClientAuthentication = TokenClientAuthentication::Basic,
        /// PEM bundle of the authorities trusted; the system's where absent.
        pub authorities_ref: Option<Reference>,
        /// The token endpoint may be on this machine or in a private network.
        pub allow_private_network: bool = false,
        /// `http` may be used, to such addresses only. Whoever stands between can then read secret and tokens.
        pub danger_allow_clear_text: bool = false,
        /// Longest time for an answer.
        pub timeout: Spanned<Time> = Time::seconds(5).into(),
    }
}

crate::choice! {
    /// What the caller's token is called in an exchange, RFC 8693 §3.
    pub enum SubjectTokenType {
        /// An access token, whatever its form.
        AccessToken = "accessToken",
        /// A JWT.
        Jwt = "jwt",
    }
}

crate::document! {
    /// Tokens in exchange for the caller's verified one, RFC 8693. Each is kept for the caller's token until it ends;
    /// without one nothing is sent, and callers who were not known by a token are refused.
    pub struct TokenExchangeSpec {
        /// The token endpoint.
        pub token_url: Spanned<FetchUrl>,
        /// The gateway's name there.
        pub client_id: Spanned<String>,
        /// Where the gateway's secret lies.
        pub client_secret_ref: Option<Reference>,
        /// The name of a `Secret` document, instead of `clientSecretRef`.
        pub secret_name: Option<Spanned<Name>>,
        /// Scopes asked for.
        pub scopes: Vec<Spanned<String>> = Vec::new(),
        /// Whom the token is for by name, in `audience`.
        pub audience: Option<Spanned<String>>,
        /// Whom the token is for as an absolute URI, in `resource`; sent as it is written.
        pub resource: Option<Spanned<String>>,
        /// What the caller's token is called.
        pub subject_token_type: SubjectTokenType = SubjectTokenType::AccessToken,
        /// How the gateway proves who it is.
        pub authentication: TokenClientAuthentication = TokenClientAuthentication::Basic,
        /// PEM bundle of the authorities trusted; the system's where absent.
        pub authorities_ref: Option<Reference>,
        /// The token endpoint may be on this machine or in a private network.
        pub allow_private_network: bool = false,
        /// `http` may be used, to such addresses only. Whoever stands between can then read secret and tokens.
        pub danger_allow_clear_text: bool = false,
        /// Longest time for an answer.
        pub timeout: Spanned<Time> = Time::seconds(5).into(),
    }
}

crate::document! {
    /// A name and a password for the upstream, RFC 7617.
    pub struct BasicCredentialSpec {
        /// The name; it has no colon.
        pub user: Spanned<String>,
        /// Where the password lies.
        pub password_ref: Option<Reference>,
        /// The name of a `Secret` document, instead of `passwordRef`.
        pub secret_name: Option<Spanned<Name>>,
    }
}

crate::document! {
    /// A bearer token for the upstream, RFC 6750.
    pub struct BearerCredentialSpec {
        /// Where the token lies; a file is read anew when it changes.
        pub token_ref: Option<Reference>,
        /// The name of a `Secret` document, instead of `tokenRef`.
        pub secret_name: Option<Spanned<Name>>,
    }
}
