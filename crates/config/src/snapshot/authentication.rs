//! Compiled `AuthenticationPolicy` documents: the methods of a policy, in the order in which they are tried.
//!
//! One variant per method, each with a plan of its own, so that a method is added in four places: here, where it is
//! compiled (`compile/authentication.rs`), where it is judged (`proxy/src/stage/identify.rs`) and where it is
//! explained.

use std::sync::Arc;

use bartizan_identity::CertificateRule;
use bartizan_limit::FailurePolicy;
use bartizan_model::Reference;
use http::{HeaderName, HeaderValue};

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
    /// How often callers may fail; `None` where nobody counts.
    pub failures: Option<Arc<FailurePolicy>>,
}

/// A way to prove who one is.
#[derive(Clone, Debug)]
pub enum MethodPlan {
    /// An API key in a header.
    ApiKey(ApiKeyPlan),
    /// A client's certificate, verified by the listener.
    ClientCertificate(ClientCertificatePlan),
    /// A name and a password.
    Basic(Arc<BasicPlan>),
}

/// Whose names and passwords.
#[derive(Clone, Debug)]
pub struct BasicPlan {
    /// The file with the users.
    pub users: Reference,
    /// `Basic realm="…", charset="UTF-8"`.
    pub challenge: HeaderValue,
}

/// How a certificate becomes a consumer.
#[derive(Clone, Debug)]
pub struct ClientCertificatePlan {
    /// Which of its names count, and how.
    pub rule: CertificateRule,
    /// Whether the upstream gets it (RFC 9440).
    pub pass_on: bool,
}

/// Where an API key is.
#[derive(Clone, Debug)]
pub struct ApiKeyPlan {
    /// The header.
    pub header: HeaderName,
}

impl AuthenticationPlan {
    /// Where callers may prove themselves by name and password.
    pub fn basic(&self) -> impl Iterator<Item = &Arc<BasicPlan>> {
        self.methods.iter().filter_map(|method| match method {
            MethodPlan::Basic(plan) => Some(plan),
            _ => None,
        })
    }

    /// Headers that may carry an API key, in order.
    pub fn api_key_headers(&self) -> impl Iterator<Item = &HeaderName> {
        self.methods.iter().filter_map(|method| match method {
            MethodPlan::ApiKey(plan) => Some(&plan.header),
            MethodPlan::ClientCertificate(_) | MethodPlan::Basic(_) => None,
        })
    }

    /// Headers that carry a credential for the gateway alone: no upstream gets them, whatever its route.
    pub fn credential_headers(&self) -> impl Iterator<Item = &HeaderName> {
        self.api_key_headers()
    }
}
