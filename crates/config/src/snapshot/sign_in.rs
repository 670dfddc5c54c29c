//! Compiled `OpenIdConnect` methods: where browsers sign in, and how they are known afterwards.

use std::{sync::Arc, time::Duration};

use bartizan_identity::SignatureAlgorithm;
use bartizan_model::{Reference, scalar::FetchUrl};

use super::{FetchPlan, KeySetPlan, MappingPlan};

/// Signing in at one provider.
#[derive(Clone, Debug)]
pub struct OpenIdConnectPlan {
    /// Unique in the snapshot, counted from 0.
    pub index: usize,
    /// The provider's name.
    pub issuer: Arc<str>,
    /// The gateway's name there.
    pub client_id: Arc<str>,
    /// The gateway's secret there; `None` for a public client.
    pub client_secret: Option<Reference>,
    /// What is asked for beside `openid`.
    pub scopes: Vec<Box<str>>,
    /// What ID tokens may be signed with.
    pub algorithms: Vec<SignatureAlgorithm>,
    /// The discovery document.
    pub discovery: FetchUrl,
    /// How the provider may be asked.
    pub fetch: FetchPlan,
    /// Its keys.
    pub key_set: KeySetPlan,
    /// Longest time for an answer.
    pub timeout: Duration,
    /// Where browsers come back to.
    pub redirect_path: Arc<str>,
    /// Where they sign out.
    pub logout_path: Arc<str>,
    /// Where they go afterwards.
    pub after_logout_path: Arc<str>,
    /// The session's cookie. Further cookies of the method have this name, a dot, and more.
    pub cookie: Arc<str>,
    /// How long a session lasts.
    pub lifetime: Duration,
    /// How long without a request.
    pub idle: Duration,
    /// What seals the cookie; `None`: the gateway's own.
    pub keys: Option<Reference>,
    /// Origins whose pages may change something.
    pub trusted_origins: Vec<Box<str>>,
    /// How far clocks may differ.
    pub leeway: Duration,
    /// What the claims mean.
    pub mapping: MappingPlan,
}

impl OpenIdConnectPlan {
    /// Whether a cookie of this name belongs to the method, so that no upstream gets it.
    pub fn owns_cookie(&self, name: &[u8]) -> bool {
        name.strip_prefix(self.cookie.as_bytes())
            .is_some_and(|rest| matches!(rest.first(), None | Some(b'.')))
    }
}
