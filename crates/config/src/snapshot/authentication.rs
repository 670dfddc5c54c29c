//! Compiled `AuthenticationPolicy` documents: the methods of a policy, in the order in which they are tried.
//!
//! One variant per method, each with a plan of its own, so that a method is added in four places: here, where it is
//! compiled (`compile/authentication.rs`), where it is judged (`proxy/src/stage/identify.rs`) and where it is
//! explained.

use std::sync::Arc;

use http::HeaderName;

use super::Bite;

/// A compiled `AuthenticationPolicy`.
#[derive(Clone, Debug)]
pub struct AuthenticationPlan {
    /// `AuthenticationPolicy/name`.
    pub label: Arc<str>,
    /// How far it bites.
    pub bite: Bite,
    /// The methods, in order.
    pub methods: Vec<MethodPlan>,
    /// Whether callers without a credential pass as nobody.
    pub anonymous: bool,
}

/// A way to prove who one is.
#[derive(Clone, Debug)]
pub enum MethodPlan {
    /// An API key in a header.
    ApiKey(ApiKeyPlan),
}

/// Where an API key is.
#[derive(Clone, Debug)]
pub struct ApiKeyPlan {
    /// The header.
    pub header: HeaderName,
}

impl AuthenticationPlan {
    /// Headers that may carry an API key, in order.
    pub fn api_key_headers(&self) -> impl Iterator<Item = &HeaderName> {
        self.methods.iter().map(|method| match method {
            MethodPlan::ApiKey(plan) => &plan.header,
        })
    }

    /// Headers that carry a credential for the gateway alone: no upstream gets them, whatever its route.
    pub fn credential_headers(&self) -> impl Iterator<Item = &HeaderName> {
        self.api_key_headers()
    }
}
