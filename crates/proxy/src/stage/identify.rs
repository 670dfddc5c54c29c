//! **identify**: who is it?
//!
//! The methods of the route's AuthenticationPolicy are tried in order, each in its own file. The first credential that
//! is there decides: one that is present and invalid is refused whatever comes after it, since invalid is never absent.

use std::sync::Arc;

use bartizan_config::snapshot::{AuthenticationPlan, Captures, ConsumerPlan, MethodPlan, RoutePlan};
use bartizan_identity::{CredentialId, Identity};
use bartizan_message::RequestHead;
use bartizan_model::{Denial, Fault, Mode, OnFault, Reason, Stage};
use bartizan_telemetry::{WouldDeny, record::Would};
use http::header;

use super::{Routed, route::mode_for};
use crate::exchange::{Exchange, Shared, Stop};

mod api_key;
mod rehearsed;

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
    /// A credential is there and cannot be judged.
    Faulted(Fault),
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
}

/// Finds out who the caller is.
pub async fn identify(x: Exchange<Routed>) -> Result<Exchange<Identified>, Stop> {
    let mut x = x;
    let plan = x.proof.plan().clone();
    for policy in &plan.authentication.shadow {
        watch(&mut x.shared, policy, x.proof.head());
    }
    let Some(policy) = &plan.authentication.enforced else {
        return Ok(x.prove(|routed| Identified { routed, caller: Caller::nobody() }));
    };
    let mode = mode_for(&x.shared, policy.bite, x.proof.head());
    let denial = match judge(&x.shared, policy, x.proof.head(), true) {
        Judged::Known(caller) => {
            note(&mut x.shared, &caller);
            return Ok(x.prove(|routed| Identified { routed, caller }));
        }
        Judged::Refused(denial) => {
            x.shared.core.metrics.auth_failure(denial.reason);
            x.shared.weigh(mode, Stage::Identify, &policy.label, denial)
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
            challenge(&mut x.shared, policy);
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
        None => {}
    }
}

fn watch(shared: &mut Shared, policy: &AuthenticationPlan, head: &RequestHead) {
    match judge(shared, policy, head, false) {
        Judged::Known(_) => {}
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

/// Judges by one policy.
fn judge(shared: &Shared, policy: &AuthenticationPlan, head: &RequestHead, notes_use: bool) -> Judged {
    if let Some(judged) = rehearsed::judge(shared, policy) {
        return judged;
    }
    let call = Call { shared, head, now_ms: shared.unix_ms(Stage::Identify), notes_use };
    for method in &policy.methods {
        let attempt = match method {
            MethodPlan::ApiKey(plan) => api_key::judge(&call, plan),
        };
        match attempt {
            Attempt::Absent => {}
            Attempt::Known(caller) => return Judged::Known(caller),
            Attempt::Refused(denial) => return Judged::Refused(denial),
            Attempt::Faulted(fault) => return Judged::Faulted(fault),
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
        };
        if let Some(value) = value {
            shared.dress(header::WWW_AUTHENTICATE, value);
        }
    }
}
