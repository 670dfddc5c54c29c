//! Compiled `AuthenticationPolicy` documents: the methods of a policy, in the order in which they are tried.
//!
//! One variant per method, each with a plan of its own, so that a method is added in four places: here, where it is
//! compiled (`compile/authentication.rs`), where it is judged (`proxy/src/stage/identify.rs`) and where it is
//! explained.

use std::sync::Arc;

use bartizan_identity::{CertificateGrants, CertificateRule, jwt::ConsumerRule};
use bartizan_limit::FailurePolicy;
use bartizan_model::Reference;
use http::{HeaderName, HeaderValue};

use super::{
    Bite, ChallengePlan, IntrospectionPlan, JwtPlan, KeySetPlan, MappingPlan, OpenIdConnectPlan,
    TokenPlacePlan,
};

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
    /// A token that its issuer signed.
    Jwt(Arc<JwtPlan>),
    /// A token that its issuer is asked about.
    Introspection(Arc<IntrospectionPlan>),
    /// A session that began with signing in at an OpenID provider.
    OpenIdConnect(Arc<OpenIdConnectPlan>),
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
    /// What everyone brings who is known by it.
    pub grants: CertificateGrants,
    /// Whether a certificate may bring roles: these, or those of a consumer's document.
    pub brings_roles: bool,
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
            MethodPlan::ClientCertificate(_)
            | MethodPlan::Basic(_)
            | MethodPlan::Jwt(_)
            | MethodPlan::Introspection(_)
            | MethodPlan::OpenIdConnect(_) => None,
        })
    }

    /// Where browsers may sign in; at most one way.
    pub fn sign_in(&self) -> Option<&Arc<OpenIdConnectPlan>> {
        self.methods.iter().find_map(|method| match method {
            MethodPlan::OpenIdConnect(plan) => Some(plan),
            _ => None,
        })
    }

    /// Headers that carry a credential, for records that must not show it.
    pub fn secret_headers(&self) -> impl Iterator<Item = &HeaderName> {
        let of_tokens = self.methods.iter().flat_map(|method| method.places());
        self.api_key_headers().chain(of_tokens.filter_map(TokenPlacePlan::own_header))
    }

    /// Headers that carry a credential for the gateway alone: no upstream gets them, whatever its route.
    pub fn credential_headers(&self) -> impl Iterator<Item = &HeaderName> {
        let own = self.methods.iter().filter(|method| !method.forwards());
        let of_tokens = own.flat_map(|method| method.places());
        self.api_key_headers().chain(of_tokens.filter_map(TokenPlacePlan::own_header))
    }

    /// The places of tokens that end here, on the routes of this policy.
    pub fn kept_places(&self) -> impl Iterator<Item = &TokenPlacePlan> {
        self.methods.iter().filter(|method| !method.forwards()).flat_map(|method| method.places())
    }

    /// Whether it publishes which tokens it takes (RFC 9728).
    pub fn publishes(&self) -> bool {
        self.methods.iter().any(|method| method.challenge().is_some_and(|challenge| challenge.metadata))
    }

    /// The key sets that must be fetched for it.
    pub fn key_sets(&self) -> impl Iterator<Item = &KeySetPlan> {
        let issuers = self.methods.iter().flat_map(|method| match method {
            MethodPlan::Jwt(plan) => plan.issuers.as_slice(),
            MethodPlan::ApiKey(_)
            | MethodPlan::ClientCertificate(_)
            | MethodPlan::Basic(_)
            | MethodPlan::Introspection(_)
            | MethodPlan::OpenIdConnect(_) => &[],
        });
        let of_tokens = issuers.filter_map(|issuer| issuer.keys.fetched());
        of_tokens.chain(self.sign_in().map(|plan| &plan.key_set))
    }
}

impl MethodPlan {
    /// Where it looks for a token.
    pub fn places(&self) -> &[TokenPlacePlan] {
        match self {
            MethodPlan::ApiKey(_)
            | MethodPlan::ClientCertificate(_)
            | MethodPlan::Basic(_)
            | MethodPlan::OpenIdConnect(_) => &[],
            MethodPlan::Jwt(plan) => &plan.places,
            MethodPlan::Introspection(plan) => &plan.places,
        }
    }

    /// Whether it may know a caller as the consumer of this name.
    pub fn may_know(&self, consumer: &str) -> bool {
        let knows = |mapping: &MappingPlan| match &mapping.consumer {
            Some(ConsumerRule::Claim(_)) => true,
            Some(ConsumerRule::Fixed(name)) => **name == *consumer,
            None => false,
        };
        match self {
            MethodPlan::ApiKey(_) | MethodPlan::ClientCertificate(_) | MethodPlan::Basic(_) => true,
            MethodPlan::Jwt(plan) => plan.issuers.iter().any(|issuer| knows(&issuer.mapping)),
            MethodPlan::Introspection(plan) => knows(&plan.mapping),
            MethodPlan::OpenIdConnect(plan) => knows(&plan.mapping),
        }
    }

    /// Whether it may know a caller for whom there is no consumer's document.
    pub fn knows_without_consumer(&self) -> bool {
        let knows = |mapping: &MappingPlan| mapping.consumer.is_none() || mapping.allows_unknown;
        match self {
            MethodPlan::ApiKey(_) | MethodPlan::ClientCertificate(_) | MethodPlan::Basic(_) => false,
            MethodPlan::Jwt(plan) => plan.issuers.iter().any(|issuer| knows(&issuer.mapping)),
            MethodPlan::Introspection(plan) => knows(&plan.mapping),
            MethodPlan::OpenIdConnect(plan) => knows(&plan.mapping),
        }
    }

    /// Whether its credentials may bring roles.
    pub fn maps_roles(&self) -> bool {
        match self {
            MethodPlan::ApiKey(_) | MethodPlan::Basic(_) => false,
            MethodPlan::ClientCertificate(plan) => plan.brings_roles,
            MethodPlan::Jwt(plan) => plan.issuers.iter().any(|issuer| issuer.mapping.roles.is_some()),
            MethodPlan::Introspection(plan) => plan.mapping.roles.is_some(),
            MethodPlan::OpenIdConnect(plan) => plan.mapping.roles.is_some(),
        }
    }

    /// What it is read from beside its document.
    pub fn references(&self) -> Vec<&Reference> {
        match self {
            MethodPlan::ApiKey(_) | MethodPlan::ClientCertificate(_) => Vec::new(),
            MethodPlan::Basic(plan) => vec![&plan.users],
            MethodPlan::Jwt(plan) => {
                plan.issuers.iter().flat_map(|issuer| issuer.keys.references()).collect()
            }
            MethodPlan::Introspection(plan) => {
                std::iter::once(&plan.client_secret).chain(&plan.fetch.authorities).collect()
            }
            MethodPlan::OpenIdConnect(plan) => {
                let own = plan.client_secret.iter().chain(&plan.keys);
                own.chain(&plan.fetch.authorities).collect()
            }
        }
    }

    /// Whether it takes tokens.
    pub fn takes_tokens(&self) -> bool {
        self.challenge().is_some()
    }

    /// What it asks for, for people.
    pub fn describe(&self) -> String {
        match self {
            MethodPlan::ApiKey(plan) => format!("API key in {}", plan.header),
            MethodPlan::ClientCertificate(_) => "client certificate".to_owned(),
            MethodPlan::Basic(_) => "name and password".to_owned(),
            MethodPlan::Jwt(plan) => {
                let issuers: Vec<&str> = plan.issuers.iter().map(|issuer| &*issuer.name).collect();
                format!("token of {}", issuers.join(" or "))
            }
            MethodPlan::Introspection(plan) => format!("token known to {}", plan.url),
            MethodPlan::OpenIdConnect(plan) => format!("session of {}", plan.issuer),
        }
    }

    /// What callers without a valid token are told; `None` where it takes no tokens.
    pub fn challenge(&self) -> Option<&ChallengePlan> {
        match self {
            MethodPlan::ApiKey(_)
            | MethodPlan::ClientCertificate(_)
            | MethodPlan::Basic(_)
            | MethodPlan::OpenIdConnect(_) => None,
            MethodPlan::Jwt(plan) => Some(&plan.challenge),
            MethodPlan::Introspection(plan) => Some(&plan.challenge),
        }
    }

    fn forwards(&self) -> bool {
        match self {
            MethodPlan::ApiKey(_)
            | MethodPlan::ClientCertificate(_)
            | MethodPlan::Basic(_)
            | MethodPlan::OpenIdConnect(_) => false,
            MethodPlan::Jwt(plan) => plan.forward,
            MethodPlan::Introspection(plan) => plan.forward,
        }
    }
}
