//! **identify**: who is it?
//!
//! The methods of the route's AuthenticationPolicy are tried in order, each in its own file. The first credential that
//! is there decides: one that is present and invalid is refused whatever comes after it, since invalid is never absent.
//! Who failed too often is refused before anything is judged.

use std::{sync::Arc, time::Instant};

use bartizan_config::snapshot::{AuthenticationPlan, Captures, ConsumerPlan, MethodPlan, RoutePlan};
use bartizan_identity::{CredentialId, Identity};
use bartizan_limit::Held;
use bartizan_message::RequestHead;
use bartizan_model::{Denial, Fault, Mode, OnFault, Reason, Stage};
use bartizan_telemetry::{WouldDeny, record::Would};
use http::header;

use super::{Routed, route::mode_for};
use crate::exchange::{Exchange, Shared, Stop};

mod api_key;
mod basic;
mod certificate;
mod failures;
mod rehearsed;

pub(super) use self::certificate::client_cert;

/// The proof that the caller is known, or that the route admits callers who are not.
#[must_use]
pub struct Identified {
    routed: Routed,
    caller: Caller,
}

/// Who calls.
struct Caller {
    identity: Identity,
    /// `None` for anonymous callers.
    consumer: Option<Arc<ConsumerPlan>>,
}

impl Caller {
    const fn nobody() -> Self {
        Caller { identity: Identity::anonymous(), consumer: None }
    }
}

impl Identified {
    /// The head.
    pub(crate) fn head(&self) -> &RequestHead {
        self.routed.head()
    }

    /// The rule.
    pub(crate) fn plan(&self) -> &Arc<RoutePlan> {
        self.routed.plan()
    }

    /// Who it is.
    pub(crate) fn identity(&self) -> &Identity {
        &self.caller.identity
    }

    /// The consumer's plan; `None` for anonymous callers.
    pub(crate) fn consumer(&self) -> Option<&Arc<ConsumerPlan>> {
        self.caller.consumer.as_ref()
    }

    /// What stands in the path for the variables of the rule's template.
    pub(crate) fn captures(&self) -> Captures<'_> {
        self.routed.captures()
    }

    /// The proof before this one, for whoever sends the request on.
    pub(super) fn into_routed(self) -> Routed {
        self.routed
    }
}

/// What a method judges by.
struct Call<'a> {
    shared: &'a Shared,
    head: &'a RequestHead,
    now_ms: u64,
    /// Whether a valid credential counts as used, which a policy that only watches must not do.
    notes_use: bool,
}

/// What a method makes of a request.
enum Attempt {
    /// It finds nothing: the next method is asked.
    Absent,
    /// It knows the caller.
    Known(Caller),
    /// A credential is there and does not hold.
    Refused(Denial),
    /// A credential is there, is genuine and does not hold any more, for this reason that only the record is told. It is
    /// refused like an invalid one and is no guess.
    Spent(Box<str>),
    /// A credential is there and cannot be judged.
    Faulted(Fault),
    /// A credential is there and is not judged by a policy that only watches.
    Unjudged(&'static str),
    /// While the credential waited to be judged, too many others failed.
    HeldMeanwhile,
}

impl Attempt {
    /// A credential is there and is not valid, for this reason that only the record is told.
    fn invalid(detail: impl Into<String>) -> Self {
        Attempt::Refused(Denial::new(Reason::CredentialInvalid).because(detail.into()))
    }
}

/// What a policy says of a caller: never absent.
enum Judged {
    Known(Caller),
    Refused(Denial),
    Faulted(Fault),
    /// By a policy that only watches.
    Unjudged(&'static str),
    /// It failed too often: not looked at.
    Held(Held),
}

/// Finds out who the caller is.
pub async fn identify(x: Exchange<Routed>) -> Result<Exchange<Identified>, Stop> {
    let mut x = x;
    let plan = x.proof.plan().clone();
    for policy in &plan.authentication.shadow {
        // Boxed, as policies in shadow are few.
        Box::pin(watch(&mut x.shared, policy, x.proof.head())).await;
    }
    let Some(policy) = &plan.authentication.enforced else {
        return Ok(x.prove(|routed| Identified { routed, caller: Caller::nobody() }));
    };
    let mode = mode_for(&x.shared, policy.bite, x.proof.head());
    let judged = judge(&x.shared, policy, x.proof.head(), mode == Mode::Enforce).await;
    let denial = match judged {
        Judged::Known(caller) => {
            note(&mut x.shared, &caller);
            return Ok(x.prove(|routed| Identified { routed, caller }));
        }
        Judged::Refused(denial) => {
            x.shared.core.metrics.auth_failure(denial.reason);
            x.shared.weigh(mode, Stage::Identify, &policy.label, denial)
        }
        Judged::Held(held) => {
            let denial = Denial::new(Reason::TooManyFailures).because(held.by.as_str());
            x.shared.core.metrics.auth_failure(denial.reason);
            let retry_after = bartizan_limit::header::retry_after(held.retry_after);
            x.shared.dress(header::RETRY_AFTER, retry_after.into());
            x.shared.weigh(mode, Stage::Identify, &policy.label, denial)
        }
        Judged::Unjudged(detail) => {
            x.shared.record.would_deny(incomplete(policy, detail));
            None
        }
        Judged::Faulted(fault) if mode == Mode::Enforce => {
            let id = x.shared.live.policy_id(&policy.label);
            x.shared.core.metrics.policy_fault(id, policy.bite.on_fault);
            match policy.bite.on_fault {
                OnFault::Deny => return Err(x.fault(Some(policy.label.clone()), fault)),
                OnFault::Allow => {
                    x.shared.record.passed_fault(Some(policy.label.clone()), fault);
                    None
                }
            }
        }
        Judged::Faulted(fault) => {
            x.shared.record.would_deny(would(policy, fault));
            None
        }
    };
    match denial {
        Some(denial) => {
            if denial.reason != Reason::TooManyFailures {
                challenge(&mut x.shared, policy);
            }
            Err(x.deny(Stage::Identify, denial))
        }
        // For callers outside of `enforcePercent` the policy only watches, and they are nobody.
        None => Ok(x.prove(|routed| Identified { routed, caller: Caller::nobody() })),
    }
}

/// Writes into the record who it is; never the credential.
fn note(shared: &mut Shared, caller: &Caller) {
    shared.record.consumer = caller.consumer.as_ref().map(|consumer| consumer.name.clone());
    match caller.identity.credential() {
        Some(CredentialId::ApiKey(key)) => shared.record.set_credential_id(key.as_str()),
        Some(id @ CredentialId::Certificate(_)) => shared.record.set_credential_id(&id.to_string()),
        None => {}
    }
}

async fn watch(shared: &mut Shared, policy: &AuthenticationPlan, head: &RequestHead) {
    match judge(shared, policy, head, false).await {
        Judged::Known(_) | Judged::Held(_) => {}
        Judged::Unjudged(detail) => shared.record.would_deny(incomplete(policy, detail)),
        Judged::Refused(denial) => {
            shared.weigh(Mode::Shadow, Stage::Identify, &policy.label, denial);
        }
        Judged::Faulted(fault) => shared.record.would_deny(would(policy, fault)),
    }
}

/// What a policy in shadow would have made of a fault.
fn would(policy: &AuthenticationPlan, fault: Fault) -> WouldDeny {
    let outcome = match policy.bite.on_fault {
        OnFault::Deny => Would::Deny,
        OnFault::Allow => Would::Incomplete,
    };
    let (policy, reason) = (policy.label.clone(), Reason::JudgeUnavailable);
    WouldDeny { stage: Stage::Identify, policy, outcome, reason, detail: Some(fault.what) }
}

/// What a policy that only watches did not judge.
fn incomplete(policy: &AuthenticationPlan, detail: &str) -> WouldDeny {
    WouldDeny {
        stage: Stage::Identify,
        policy: policy.label.clone(),
        outcome: Would::Incomplete,
        reason: Reason::JudgeUnavailable,
        detail: Some(detail.into()),
    }
}

/// Judges by one policy. One that only watches neither counts failures nor holds anybody.
async fn judge(shared: &Shared, policy: &AuthenticationPlan, head: &RequestHead, notes_use: bool) -> Judged {
    if let Some(judged) = rehearsed::judge(shared, policy) {
        return judged;
    }
    let call = Call { shared, head, now_ms: shared.unix_ms(Stage::Identify), notes_use };
    let counting = policy.failures.as_deref().filter(|_| notes_use && shared.rehearsing.is_none());
    let counting = counting.and_then(|failures| Some((failures, failures::claimed(&call, policy)?)));
    let held = || {
        let (failures, claimed) = counting.as_ref()?;
        claimed.held(&call, failures, shared.core.runtime.nanos(Instant::now()))
    };
    if let Some(held) = held() {
        return Judged::Held(held);
    }
    for method in &policy.methods {
        let attempt = match method {
            MethodPlan::ApiKey(plan) => api_key::judge(&call, plan),
            MethodPlan::ClientCertificate(plan) => certificate::judge(&call, plan),
            // Boxed: its state would make every request's future larger.
            MethodPlan::Basic(plan) => Box::pin(basic::judge(&call, plan, || held().is_none())).await,
        };
        match attempt {
            Attempt::Absent => {}
            Attempt::Known(caller) => return Judged::Known(caller),
            Attempt::Refused(denial) => {
                if let (Some((failures, claimed)), Reason::CredentialInvalid) = (&counting, denial.reason) {
                    claimed.note_failure(&call, failures, shared.core.runtime.nanos(Instant::now()));
                }
                return Judged::Refused(denial);
            }
            Attempt::Spent(detail) => {
                return Judged::Refused(Denial::new(Reason::CredentialInvalid).because(detail));
            }
            Attempt::Faulted(fault) => return Judged::Faulted(fault),
            // Only a policy that watches may leave something open.
            Attempt::Unjudged(detail) if notes_use => {
                return Judged::Faulted(Fault::new(Stage::Identify, detail));
            }
            Attempt::Unjudged(detail) => return Judged::Unjudged(detail),
            Attempt::HeldMeanwhile => {
                return match held() {
                    Some(held) => Judged::Held(held),
                    // The time passed between the two looks; nothing was judged, so nothing may pass.
                    None => Judged::Faulted(Fault::new(Stage::Identify, "held for a moment")),
                };
            }
        }
    }
    if policy.anonymous {
        return Judged::Known(Caller::nobody());
    }
    Judged::Refused(Denial::new(Reason::CredentialMissing))
}

/// RFC 9110 §11.6.1: one challenge for each way that is open.
fn challenge(shared: &mut Shared, policy: &AuthenticationPlan) {
    for method in &policy.methods {
        let value = match method {
            MethodPlan::ApiKey(plan) => api_key::challenge(plan),
            MethodPlan::ClientCertificate(_) => Some(certificate::challenge()),
            MethodPlan::Basic(plan) => Some(plan.challenge.clone()),
        };
        if let Some(value) = value {
            shared.dress(header::WWW_AUTHENTICATE, value);
        }
    }
}
