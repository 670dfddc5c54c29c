//! Signing in at an OpenID provider (`OpenIdConnect`), in `AuthenticationPolicy`.

use super::token::{ClaimMapping, DiscoverySpec, FetchSpec, TokenAlgorithm};
use crate::{
    read::Spanned,
    scalar::{PathText, Time},
    secret::Reference,
};

crate::document! {
    /// Browsers sign in at an OpenID provider, by the authorization code flow with PKCE, and are then known by a
    /// session cookie. Only navigations are sent to the provider; every other call without a session is answered 401.
    /// The callback and the logout path must be within a route of the policy.
    pub struct OpenIdConnectMethod {
        /// The provider's name: what `issuer` is in its discovery document, and `iss` in its tokens.
        pub issuer: Spanned<String>,
        /// The gateway's own name at the provider.
        pub client_id: Spanned<String>,
        /// The gateway's own secret at the provider; without one the client is public, and PKCE alone protects the code.
        pub client_secret_ref: Option<Reference>,
        /// What is asked for. `openid` always is; `offline_access` brings a refresh token at many providers.
        pub scopes: Vec<Spanned<String>> = vec![Spanned::from("openid".to_owned())],
        /// What the provider may sign ID tokens with.
        pub algorithms: Vec<Spanned<TokenAlgorithm>> = vec![
            TokenAlgorithm::Rs256.into(),
            TokenAlgorithm::Ps256.into(),
            TokenAlgorithm::Es256.into(),
            TokenAlgorithm::EdDsa.into(),
        ],
        /// Where the discovery document is.
        pub discovery: DiscoverySpec = DiscoverySpec::default(),
        /// How the provider may be asked.
        pub fetch: FetchSpec = FetchSpec::default(),
        /// Longest time for an answer of the provider.
        pub timeout: Spanned<Time> = Time::seconds(5).into(),
        /// Where browsers come back to. `https://<host><redirectPath>` must be registered at the provider.
        pub redirect_path: Spanned<PathText> = PathText::known("/oauth2/callback").into(),
        /// Where browsers sign out, here and at the provider.
        pub logout_path: Spanned<PathText> = PathText::known("/oauth2/logout").into(),
        /// Where they go afterwards. `https://<host><afterLogoutPath>` should be registered at the provider.
        pub after_logout_path: Spanned<PathText> = PathText::known("/").into(),
        /// How long somebody stays signed in.
        pub session: SessionSpec = SessionSpec::default(),
        /// Other origins (`https://app.example.com`) whose pages may change something with a session of this one.
        /// Without any, requests that could change something are taken from this origin's own pages only.
        pub trusted_origins: Vec<Spanned<String>> = Vec::new(),
        /// How far clocks may differ; five minutes at most.
        pub clock_skew: Spanned<Time> = Time::seconds(60).into(),
        /// What the claims of ID tokens mean here.
        pub claims: ClaimMapping = ClaimMapping::default(),
    }
}

crate::document! {
    /// How long somebody stays signed in, and how the browser remembers it.
    pub struct SessionSpec: Default {
        /// The cookie's name; it must begin with `__Host-`, so that browsers keep it to this host and to TLS.
        pub cookie_name: Spanned<String> = Spanned::from("__Host-bartizan-session".to_owned()),
        /// From signing in to signing in again, however much it is used.
        pub lifetime: Spanned<Time> = Time::seconds(12 * 3600).into(),
        /// Without a request.
        pub idle: Spanned<Time> = Time::seconds(3600).into(),
        /// What seals the cookie: a text with a key per line, as `openssl rand -base64 32` makes them. The first seals,
        /// all open, so a key is changed by putting a new one in front. Without it the gateway keeps a key of its own in
        /// its data directory; several nodes need one written here.
        pub keys_ref: Option<Reference>,
    }
}
