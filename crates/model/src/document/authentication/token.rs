//! Tokens in `AuthenticationPolicy`: signed ones (`Jwt`), and those that their issuer is asked about
//! (`Introspection`).

use crate::{
    read::Spanned,
    scalar::{FetchUrl, HeaderName, Name, Time},
    secret::Reference,
};

crate::choice! {
    /// A signature algorithm of JOSE.
    pub enum TokenAlgorithm {
        /// RSASSA-PKCS1-v1_5 with SHA-256.
        Rs256 = "RS256",
        /// RSASSA-PKCS1-v1_5 with SHA-384.
        Rs384 = "RS384",
        /// RSASSA-PKCS1-v1_5 with SHA-512.
        Rs512 = "RS512",
        /// RSASSA-PSS with SHA-256.
        Ps256 = "PS256",
        /// RSASSA-PSS with SHA-384.
        Ps384 = "PS384",
        /// RSASSA-PSS with SHA-512.
        Ps512 = "PS512",
        /// ECDSA over P-256.
        Es256 = "ES256",
        /// ECDSA over P-384.
        Es384 = "ES384",
        /// ECDSA over P-521.
        Es512 = "ES512",
        /// Ed25519.
        EdDsa = "EdDSA",
        /// HMAC with SHA-256: a shared secret, so whoever can check a token can make one.
        Hs256 = "HS256",
        /// HMAC with SHA-384.
        Hs384 = "HS384",
        /// HMAC with SHA-512.
        Hs512 = "HS512",
    }
}

crate::choice! {
    /// What becomes of a caller whose token names a consumer that no document defines.
    pub enum UnknownConsumer {
        /// Refused: only consumers with a document may call.
        Deny = "Deny",
        /// Known by that name, with the roles the token brings.
        Allow = "Allow",
    }
}

crate::document! {
    /// Tokens that an issuer signs (RFC 7519), judged as RFC 8725 asks: `iss`, `aud` and `exp` must be there and
    /// right, and what a token says about how to judge it (`alg`, `jku`, `x5u`, `jwk`) is never followed.
    pub struct JwtMethod {
        /// What `iss` must be, exactly.
        pub issuer: Spanned<String>,
        /// One of these must be in `aud`.
        pub audiences: Vec<Spanned<String>>,
        /// What the issuer may sign with; never taken from the token. Shared-secret algorithms stand alone, with
        /// `keys.secretRef`.
        pub algorithms: Vec<Spanned<TokenAlgorithm>> = vec![
            TokenAlgorithm::Rs256.into(),
            TokenAlgorithm::Ps256.into(),
            TokenAlgorithm::Es256.into(),
            TokenAlgorithm::EdDsa.into(),
        ],
        /// Where its keys come from; by default what its discovery document at
        /// `<issuer>/.well-known/openid-configuration` says.
        pub keys: Option<Spanned<TokenKeys>>,
        /// How key sets and discovery documents may be fetched.
        pub fetch: FetchSpec = FetchSpec::default(),
        /// Where the token is. More than one token in a request is refused.
        pub from: Vec<Spanned<TokenPlace>> = Vec::new(),
        /// What `typ` may be, without `application/`.
        pub types: Vec<Spanned<String>> = vec![Spanned::from("JWT".to_owned()), Spanned::from("at+jwt".to_owned())],
        /// Whether `typ` may be left out.
        pub allow_untyped: bool = true,
        /// Whether the header must name its key.
        pub require_kid: bool = false,
        /// How far clocks may differ; five minutes at most.
        pub clock_skew: Spanned<Time> = Time::seconds(60).into(),
        /// How long after `iat` a token may be used, whatever its `exp` says; `iat` must then be there.
        pub max_age: Option<Spanned<Time>>,
        /// Claims that must be there besides `iss`, `aud` and `exp`.
        pub required_claims: Vec<Spanned<String>> = Vec::new(),
        /// What the claims mean here.
        pub claims: ClaimMapping = ClaimMapping::default(),
        /// The token goes on to the upstream too. Otherwise it ends here.
        pub forward: bool = false,
        /// What a caller without a valid token is told.
        pub challenge: TokenChallenge = TokenChallenge::default(),
    }
}

crate::union! {
    /// Where an issuer's keys come from.
    pub enum TokenKeys {
        /// What the issuer's discovery document says (OpenID Connect Discovery, RFC 8414).
        Discovery(DiscoverySpec),
        /// A published key set (RFC 7517), fetched, kept, and fetched again as keys change.
        JwksUri(FetchUrl),
        /// A key set written here, as JSON text: public keys only.
        Jwks(Spanned<String>),
        /// A file with a key set: public keys only.
        JwksRef(Reference),
        /// A secret shared with this issuer alone; several while one replaces the other.
        SecretRef(crate::read::OneOrMany<Reference>),
    }
}

crate::document! {
    /// Where the discovery document is.
    pub struct DiscoverySpec: Default {
        /// Its address, where it is not `<issuer>/.well-known/openid-configuration`.
        pub url: Option<Spanned<FetchUrl>>,
    }
}

crate::document! {
    /// How something may be fetched. Redirects are never followed; link-local addresses, where clouds keep the
    /// credentials of machines, are never fetched from.
    pub struct FetchSpec: Default {
        /// Addresses on this machine and in private networks may be fetched from too.
        pub allow_private_network: bool = false,
        /// `http` may be used, to such addresses only. Whoever stands between can then replace keys.
        pub danger_allow_clear_text: bool = false,
        /// PEM bundle of the authorities trusted; the system's where absent.
        pub authorities_ref: Option<Reference>,
    }
}

crate::union! {
    /// Where a token is.
    pub enum TokenPlace {
        /// A header. In `Authorization` it stands behind `Bearer`; in any other it stands alone.
        Header(Spanned<HeaderName>),
        /// A cookie of this name.
        Cookie(Spanned<String>),
    }
}

crate::document! {
    /// What claims mean here. A claim is a name (dots and slashes included, so `https://example.com/roles` is one), or
    /// a JSON pointer that begins with `/`, such as `/realm_access/roles`.
    pub struct ClaimMapping: Default {
        /// The claim with the consumer's name; a token without it is refused. A Consumer of that name gives its roles,
        /// limits and allowed addresses.
        pub consumer: Option<Spanned<String>>,
        /// The consumer that every token of this issuer belongs to, instead of `consumer`.
        pub fixed_consumer: Option<Spanned<Name>>,
        /// What becomes of a caller whose token names a consumer that no document defines.
        pub unknown_consumer: Spanned<UnknownConsumer> = UnknownConsumer::Deny.into(),
        /// The claim with roles: a list of strings, or one string with spaces between, as `scope` is.
        pub roles: Option<Spanned<String>>,
        /// Further facts for conditions, as `identity.tags`: each `name=value`.
        pub tags: Vec<Spanned<TagMapping>> = Vec::new(),
    }
}

crate::document! {
    /// A fact from a claim.
    pub struct TagMapping {
        /// Its name.
        pub name: Spanned<Name>,
        /// The claim: a string, a number or a truth value.
        pub claim: Spanned<String>,
    }
}

crate::document! {
    /// What a caller without a valid token is told, in `WWW-Authenticate` (RFC 6750).
    pub struct TokenChallenge: Default {
        /// The realm.
        pub realm: Option<Spanned<String>>,
        /// The scope that is needed here.
        pub scope: Option<Spanned<String>>,
        /// Publishes which issuers' tokens this resource takes, and tells callers where (RFC 9728).
        pub resource_metadata: bool = false,
    }
}

crate::document! {
    /// Tokens that their issuer is asked about (RFC 7662). Answers are kept for a while, so a withdrawn token may be
    /// taken for `cacheFor` longer.
    pub struct IntrospectionMethod {
        /// The introspection endpoint.
        pub url: Spanned<FetchUrl>,
        /// The gateway's own name at the issuer.
        pub client_id: Spanned<String>,
        /// The gateway's own secret at the issuer.
        pub client_secret_ref: Reference,
        /// How it may be asked.
        pub fetch: FetchSpec = FetchSpec::default(),
        /// What `iss` must be, where the answer says one.
        pub issuer: Option<Spanned<String>>,
        /// One of these must be in `aud`.
        pub audiences: Vec<Spanned<String>> = Vec::new(),
        /// Take tokens whatever their `aud`. Every service of the issuer can then act as its callers here.
        pub danger_allow_any_audience: Spanned<bool> = false.into(),
        /// Where the token is. Beside `Jwt` on the same place, tokens of that form are left to `Jwt`.
        pub from: Vec<Spanned<TokenPlace>> = Vec::new(),
        /// How long an answer that a token is active is kept, at most to the token's own end.
        pub cache_for: Spanned<Time> = Time::seconds(30).into(),
        /// How long an answer that a token is not active is kept.
        pub cache_inactive_for: Spanned<Time> = Time::seconds(5).into(),
        /// Longest time for an answer.
        pub timeout: Spanned<Time> = Time::seconds(2).into(),
        /// How far clocks may differ; five minutes at most.
        pub clock_skew: Spanned<Time> = Time::seconds(60).into(),
        /// What the answer's members mean here.
        pub claims: ClaimMapping = ClaimMapping::default(),
        /// The token goes on to the upstream too. Otherwise it ends here.
        pub forward: bool = false,
        /// What a caller without a valid token is told.
        pub challenge: TokenChallenge = TokenChallenge::default(),
    }
}
