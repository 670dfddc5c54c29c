//! Identification by given facts instead of a credential: a rehearsal holds no secrets.
//!
//! The methods are asked in their order like those of live traffic. What a token says and what a certificate states is judged
//! by the same judges; that it is genuine is taken for given.

use bartizan_config::{
    rehearsal::{Credential, GivenToken},
    snapshot::{AuthenticationPlan, IntrospectionPlan, JwtPlan, MappingPlan, MethodPlan, OpenIdConnectPlan},
};
use bartizan_identity::{
    BasicIdentity, Claim, Identity, Method,
    jwt::{TokenClaim, TokenFlaw},
    oidc::SessionRules,
};
use bartizan_message::RequestHead;
use bartizan_model::{Denial, Fault, Reason, Stage};

use super::{Attempt, Call, Caller, Judged, browser, caller, certificate};
use crate::{introspect::answer_spec, stage::route::resource};

/// What a policy says of the caller that a rehearsal names; `None` where the headers are judged as they were sent, as
/// they always are in live traffic.
pub(super) fn judge(call: &Call<'_>, policy: &AuthenticationPlan) -> Option<Judged> {
    let given = &call.shared.rehearsing.as_ref()?.credential;
    if matches!(given, Credential::AsSent) {
        return None;
    }
    for method in &policy.methods {
        let attempt = match method {
            MethodPlan::ClientCertificate(plan) => certificate::judge(call, plan),
            method => by_given(call, method, given),
        };
        match attempt {
            Attempt::Absent => {}
            Attempt::Known(caller) => return Some(Judged::Known(caller)),
            Attempt::Refused(denial) | Attempt::Ended(denial) => return Some(Judged::Refused(denial)),
            Attempt::Spent(detail) => {
                let denial = Denial::new(Reason::CredentialInvalid).because(detail);
                return Some(Judged::Refused(denial));
            }
            Attempt::Faulted(fault) => return Some(Judged::Faulted(fault)),
            // Nothing that is given needs anything from outside.
            Attempt::Needs(lookup) => return Some(Judged::Faulted(lookup.fault())),
        }
    }
    // A credential of a kind that the policy does not take is none to it.
    Some(if policy.anonymous {
        Judged::Known(Caller::nobody())
    } else {
        Judged::Refused(Denial::new(Reason::CredentialMissing))
    })
}

fn by_given(call: &Call<'_>, method: &MethodPlan, given: &Credential) -> Attempt {
    match (method, given) {
        (MethodPlan::ApiKey(_), Credential::ApiKey { key, consumer, flaw: None }) => {
            match call.shared.snapshot().consumers.get(consumer) {
                Some(plan) => known(Identity::rehearsed_api_key(consumer.clone(), *key), plan.clone()),
                None => Attempt::Refused(
                    Denial::new(Reason::CredentialInvalid)
                        .because(format!("key {key}: its consumer is not in the documents")),
                ),
            }
        }
        (MethodPlan::ApiKey(_), Credential::ApiKey { key, flaw: Some(flaw), .. }) => {
            Attempt::Refused(Denial::new(flaw.reason()).because(format!("key {key}: {}", flaw.as_str())))
        }
        (MethodPlan::Basic(_), Credential::User(consumer)) => {
            match call.shared.snapshot().consumers.get(consumer) {
                Some(plan) => {
                    known(Identity::from(BasicIdentity::rehearsed_user(consumer.clone())), plan.clone())
                }
                None => Attempt::Spent("the user's consumer is not in the documents".into()),
            }
        }
        (MethodPlan::Jwt(plan), Credential::Token(token)) => signed(call, plan, token),
        (MethodPlan::Introspection(plan), Credential::Token(token)) => asked(call, plan, token),
        (MethodPlan::OpenIdConnect(plan), Credential::Token(token)) => session(call, plan, token),
        (method, Credential::Refused(refusal)) if refusal.is_of(means(method)) => {
            Attempt::Refused(Denial::new(refusal.reason).because(refusal.detail.clone()))
        }
        _ => Attempt::Absent,
    }
}

fn known(identity: Identity, plan: std::sync::Arc<bartizan_config::snapshot::ConsumerPlan>) -> Attempt {
    Attempt::Known(Caller { identity, consumer: Some(plan), aged: None, granted: None, session: None })
}

const fn means(method: &MethodPlan) -> Method {
    match method {
        MethodPlan::ApiKey(_) => Method::ApiKey,
        MethodPlan::ClientCertificate(_) => Method::ClientCertificate,
        MethodPlan::Basic(_) => Method::Basic,
        MethodPlan::Jwt(_) => Method::Jwt,
        MethodPlan::Introspection(_) => Method::Introspection,
        MethodPlan::OpenIdConnect(_) => Method::OpenIdConnect,
    }
}

/// Whether a method of this kind looks at the token. One of which the kind is not told is looked at by whoever takes its
/// issuer.
fn is_for(token: &GivenToken, means: Method, takes_issuer: impl FnOnce(&str) -> bool) -> bool {
    match token.means {
        Some(known) => known == means,
        None => token.facts.issuer().is_some_and(takes_issuer),
    }
}

fn signed(call: &Call<'_>, plan: &JwtPlan, token: &GivenToken) -> Attempt {
    let takes = |issuer: &str| plan.issuers.iter().any(|known| *known.name == *issuer);
    if !is_for(token, Method::Jwt, takes) || (plan.leaves_opaque && !token.is_signed_form) {
        return Attempt::Absent;
    }
    let Some(prepared) = call.shared.live.prepared.tokens.judge(plan) else {
        return Attempt::Faulted(Fault::new(Stage::Identify, "the token method is not prepared"));
    };
    let claim = prepared.judge.rehearsed_token(&token.facts, call.now_ms);
    let mapping = match &claim {
        Claim::Valid(token) => plan.issuers.iter().find(|issuer| issuer.name == *token.issuer()),
        _ => None,
    };
    mapped(call, claim, mapping.map(|issuer| &issuer.mapping))
}

fn asked(call: &Call<'_>, plan: &IntrospectionPlan, token: &GivenToken) -> Attempt {
    let takes = |issuer: &str| plan.issuer.as_ref().is_none_or(|known| **known == *issuer);
    if !is_for(token, Method::Introspection, takes) {
        return Attempt::Absent;
    }
    let claim = answer_spec(plan).rehearsed_answer(&token.facts, call.now_ms);
    mapped(call, claim, Some(&plan.mapping))
}

fn session(call: &Call<'_>, plan: &OpenIdConnectPlan, token: &GivenToken) -> Attempt {
    if !is_for(token, Method::OpenIdConnect, |issuer| *plan.issuer == *issuer) {
        return Attempt::Absent;
    }
    let mapping = &plan.mapping;
    let rules = SessionRules {
        issuer: &plan.issuer,
        consumer: mapping.consumer.as_ref(),
        roles: mapping.roles.as_ref(),
        tags: &mapping.tags,
    };
    let identity = match rules.rehearsed_session(&token.facts) {
        Ok(identity) => identity,
        Err(flaw) => return Attempt::Spent(format!("session: {flaw}").into()),
    };
    if comes_from_elsewhere(call.head, plan) {
        let denial = Denial::new(Reason::CrossSite);
        return Attempt::Refused(denial.because("a session came with a request of another site's page"));
    }
    match caller::of(call, identity, mapping) {
        Attempt::Refused(denial) => Attempt::Spent(denial.detail.unwrap_or_default()),
        other => other,
    }
}

fn comes_from_elsewhere(head: &RequestHead, plan: &OpenIdConnectPlan) -> bool {
    browser::may_change(head)
        && !browser::is_own_page(head.headers(), &resource::origin(head), &plan.trusted_origins)
}

/// In the words of live traffic, which records are compared by.
fn mapped(call: &Call<'_>, claim: TokenClaim, mapping: Option<&MappingPlan>) -> Attempt {
    match (claim, mapping) {
        (Claim::Valid(token), Some(mapping)) => caller::of(call, token, mapping),
        (Claim::Valid(_), None) => {
            Attempt::Faulted(Fault::new(Stage::Identify, "the token's issuer has no plan"))
        }
        (Claim::Invalid(wrong), _) => {
            let issuer = wrong.issuer.map(|issuer| format!(" of {issuer}")).unwrap_or_default();
            let flaw: TokenFlaw = wrong.flaw;
            Attempt::Refused(Denial::new(flaw.reason()).because(format!("token{issuer}: {flaw}")))
        }
        (Claim::Absent, _) => Attempt::Absent,
    }
}
