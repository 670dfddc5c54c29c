//! **identify**: who is it?
//!
//! The methods of the route's AuthenticationPolicy are tried in order, each in its own file. The first credential that
//! is there decides: one that is present and invalid is refused whatever comes after it, since invalid is never absent.
//! Who failed too often is refused before anything is judged.

use std::sync::Arc;

use bartizan_config::snapshot::{AuthenticationPlan, Captures, ConsumerPlan, MethodPlan, RoutePlan};
use bartizan_identity::{CredentialId, Identity, Method};
use bartizan_limit::Held;
use bartizan_message::RequestHead;
use bartizan_model::{Denial, Fault, Mode, OnFault, Reason, Stage};
use bartizan_telemetry::{WouldDeny, record::Would};
use http::{HeaderValue, header};

use super::{
    Routed,
    route::{mode_for, resource},
};
use crate::{
    capture,
    exchange::{Exchange, Shared, Stop},
};

mod aged;
mod api_key;
mod basic;
mod browser;
mod caller;
mod certificate;
mod cookie;
mod failures;
mod introspection;
mod jwt;
mod lookup;
mod place;
mod rehearsed;
mod session;
mod sign_in;

pub(crate) use caller::CallerMemo;
pub use caller::Granted;
pub(super) use certificate::client_cert;
use failures::Counting;
use lookup::{Asked, Lookup};
pub(crate) use place::{Found, find};
pub(super) use place::{remove_cookies, verified_token};
pub(crate) use session::SessionMemo;

/// The proof that the caller is known, or that the route admits callers who are not.
#[must_use]
pub struct Identified {
    routed: Routed,
    caller: Caller,
}

/// Who calls.
#[derive(Clone)]
struct Caller {
    identity: Identity,
    /// `None` for anonymous callers, and for tokens that name none.
    consumer: Option<Arc<ConsumerPlan>>,
    /// What is to be said of its key.
    aged: Option<aged::Aged>,
    /// What a token or a certificate brings beside it.
    granted: Option<Arc<Granted>>,
    /// The session it is known by.
    session: Option<Arc<session::Seen>>,
}

impl Caller {
    const fn nobody() -> Self {
        Caller { identity: Identity::anonymous(), consumer: None, aged: None, granted: None, session: None }
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

    /// What the caller's token or certificate grants; `None` where it grants nothing.
    pub(crate) fn granted(&self) -> Option<&Arc<Granted>> {
        self.caller.granted.as_ref()
    }

    /// The consumer's plan; `None` for anonymous callers, and for tokens that name none.
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
    /// What was looked up for this request.
    asked: Option<&'a Asked>,
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
    /// A session is there and is over: a browser may begin another.
    Ended(Denial),
    /// A credential is there and cannot be judged.
    Faulted(Fault),
    /// A credential is there and can be judged after this.
    Needs(Lookup),
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
    /// Nothing holds, and a browser may sign in.
    SignedOut(Denial),
    Faulted(Fault),
    Needs(Lookup),
    /// It failed too often: not looked at.
    Held(Held),
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
    if let Some((sign_in, errand)) = sign_in::errand(policy, x.proof.head()) {
        // Boxed, like everything that few requests need.
        return Err(Box::pin(sign_in::run(x, policy, (sign_in, errand))).await);
    }
    let mode = mode_for(&x.shared, policy.bite, x.proof.head());
    let now_ms = x.shared.unix_ms(Stage::Identify);
    let judged = match judge(&x.shared, policy, x.proof.head(), true, (None, now_ms)) {
        // A rehearsal asks nobody.
        Judged::Needs(lookup) if x.shared.rehearsing.is_some() => Judged::Faulted(lookup.fault()),
        // Boxed: most requests need nothing, and its state would make every request's future larger.
        Judged::Needs(lookup) => Box::pin(judge_with(&x, policy, lookup)).await,
        judged => judged,
    };
    let denial = match judged {
        Judged::Known(caller) => {
            note(&mut x.shared, &caller);
            if x.shared.record.wants_caller() {
                capture::note_caller(&mut x.shared, x.proof.head(), policy, &caller.identity);
            }
            if let Some(seen) = &caller.session {
                session::keep(&mut x.shared, x.proof.head(), seen, now_ms);
            }
            return Ok(x.prove(|routed| Identified { routed, caller }));
        }
        Judged::Refused(denial) => {
            x.shared.core.metrics.auth_failure(denial.reason);
            x.shared.weigh(mode, Stage::Identify, &policy.label, denial)
        }
        Judged::SignedOut(denial) => {
            let reason = denial.reason;
            x.shared.core.metrics.auth_failure(reason);
            let denial = x.shared.weigh(mode, Stage::Identify, &policy.label, denial);
            if let (Some(_), Some(plan)) = (&denial, policy.sign_in()) {
                match Box::pin(sign_in::begin(&x.shared, x.proof.head(), plan)).await {
                    Ok(answer) => x.shared.dress.instead = answer.map(Box::new),
                    Err(fault) => {
                        let id = x.shared.live.policy_id(&policy.label);
                        x.shared.core.metrics.policy_fault(id, OnFault::Deny);
                        return Err(x.fault(Some(policy.label.clone()), fault));
                    }
                }
            }
            denial
        }
        Judged::Held(held) => {
            let denial = Denial::new(Reason::TooManyFailures).because(held.by.as_str());
            x.shared.core.metrics.auth_failure(denial.reason);
            let denial = x.shared.weigh(mode, Stage::Identify, &policy.label, denial);
            if denial.is_some() {
                let retry_after = bartizan_limit::header::retry_after(held.retry_after);
                x.shared.dress(header::RETRY_AFTER, retry_after.into());
            }
            denial
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
        // `judge_with` answers; should that ever change, nobody passes.
        Judged::Needs(lookup) => return Err(x.fault(Some(policy.label.clone()), lookup.fault())),
    };
    match denial {
        Some(denial) => {
            // A browser that is sent to sign in was told all that there is to say.
            let is_challenged =
                denial.reason != Reason::TooManyFailures && denial.reason != Reason::CrossSite;
            if is_challenged && x.shared.dress.instead.is_none() {
                let metadata = policy.publishes().then(|| resource::address(x.proof.head()));
                challenge(&mut x.shared, policy, denial.reason, metadata.as_deref());
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
    let method = caller.identity.method();
    if let Some(aged) = caller.aged {
        aged.tell(shared);
    }
    shared.record.identified_by = (method != Method::Anonymous).then_some(method.as_str());
    if let Some(token) = caller.identity.token() {
        shared.record.issuer = Some(token.issuer().clone());
        if let Some(subject) = token.subject() {
            shared.record.set_subject(subject);
        }
        shared.record.set_credential_id(&token.id().to_string());
    }
    match caller.identity.credential() {
        Some(CredentialId::ApiKey(key)) => shared.record.set_credential_id(key.as_str()),
        Some(id @ CredentialId::Certificate(_)) => shared.record.set_credential_id(&id.to_string()),
        None => {}
    }
}

fn watch(shared: &mut Shared, policy: &AuthenticationPlan, head: &RequestHead) {
    let now_ms = shared.unix_ms(Stage::Identify);
    match judge(shared, policy, head, false, (None, now_ms)) {
        Judged::Known(_) | Judged::Held(_) => {}
        // A policy that only watches never waits and never sends anything.
        Judged::Needs(lookup) => {
            let (policy, reason) = (policy.label.clone(), Reason::JudgeUnavailable);
            let detail = Some(lookup.fault().what);
            let outcome = Would::Incomplete;
            shared.record.would_deny(WouldDeny { stage: Stage::Identify, policy, outcome, reason, detail });
        }
        Judged::Refused(denial) | Judged::SignedOut(denial) => {
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

/// Looks up what a method needs and judges again, twice at most: a look-up that changes nothing must not be repeated.
async fn judge_with(x: &Exchange<Routed>, policy: &AuthenticationPlan, lookup: Lookup) -> Judged {
    let mut lookup = lookup;
    // Requests are judged by the moment at which their head was complete; what was looked up is newer than that, and is
    // judged by the moment at which it came.
    let mut now_ms = x.shared.unix_ms(Stage::Identify);
    for _ in 0..LOOKUPS_MAX {
        // Asked again when a password's turn comes: much may have failed while it waited.
        let held = || Counting::of(&x.shared, policy, x.proof.head()).and_then(|counting| counting.held());
        let asked = match lookup.run(&x.shared.core.runtime, now_ms, || held().is_none()).await {
            Ok(asked) => asked,
            Err(fault) => return held().map_or(Judged::Faulted(fault), Judged::Held),
        };
        now_ms = self::now_ms();
        match judge(&x.shared, policy, x.proof.head(), true, (Some(&asked), now_ms)) {
            Judged::Needs(more) => lookup = more,
            judged => return judged,
        }
    }
    Judged::Faulted(lookup.fault())
}

const LOOKUPS_MAX: u8 = 2;

fn now_ms() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

/// Judges by one policy, with what was looked up and at the time of that. One that only watches neither counts failures nor holds anybody.
fn judge(
    shared: &Shared,
    policy: &AuthenticationPlan,
    head: &RequestHead,
    notes_use: bool,
    (asked, now_ms): (Option<&Asked>, u64),
) -> Judged {
    let call = Call { shared, head, now_ms, notes_use, asked };
    if let Some(judged) = rehearsed::judge(&call, policy) {
        return judged;
    }
    let counting = Counting::of(shared, policy, head).filter(|_| notes_use);
    if asked.is_none()
        && let Some(held) = counting.as_ref().and_then(Counting::held)
    {
        return Judged::Held(held);
    }
    for method in &policy.methods {
        let attempt = match method {
            MethodPlan::ApiKey(plan) => api_key::judge(&call, plan),
            MethodPlan::ClientCertificate(plan) => certificate::judge(&call, plan),
            MethodPlan::Basic(plan) => basic::judge(&call, plan),
            MethodPlan::Jwt(plan) => jwt::judge(&call, plan),
            MethodPlan::Introspection(plan) => introspection::judge(&call, plan),
            MethodPlan::OpenIdConnect(plan) => session::judge(&call, plan),
        };
        match attempt {
            Attempt::Absent => {}
            Attempt::Known(caller) => return Judged::Known(caller),
            Attempt::Refused(denial) => {
                if let (Some(counting), Reason::CredentialInvalid) = (&counting, denial.reason) {
                    counting.note_failure();
                }
                return Judged::Refused(denial);
            }
            Attempt::Spent(detail) => {
                return Judged::Refused(Denial::new(Reason::CredentialInvalid).because(detail));
            }
            Attempt::Ended(denial) => return Judged::SignedOut(denial),
            Attempt::Faulted(fault) => return Judged::Faulted(fault),
            Attempt::Needs(lookup) => return Judged::Needs(lookup),
        }
    }
    if policy.anonymous {
        return Judged::Known(Caller::nobody());
    }
    Judged::SignedOut(Denial::new(Reason::CredentialMissing))
}

/// RFC 9110 §11.6.1: one challenge for each way that is open.
fn challenge(shared: &mut Shared, policy: &AuthenticationPlan, reason: Reason, metadata: Option<&str>) {
    // RFC 6750 §3.1: no error for whoever brought nothing.
    let error = (reason != Reason::CredentialMissing).then_some("invalid_token");
    let mut bearer = false;
    for method in &policy.methods {
        let value = match method {
            MethodPlan::ApiKey(plan) => api_key::challenge(plan),
            MethodPlan::ClientCertificate(_) => Some(certificate::challenge()),
            MethodPlan::Basic(plan) => Some(plan.challenge.clone()),
            // RFC 9110 §15.5.2 demands a challenge; no registered scheme means a session.
            MethodPlan::OpenIdConnect(_) => Some(HeaderValue::from_static("Cookie")),
            // One challenge for all tokens: whose they may be is not told by it.
            MethodPlan::Jwt(_) | MethodPlan::Introspection(_) if std::mem::replace(&mut bearer, true) => None,
            MethodPlan::Jwt(plan) => plan.challenge.header(error, metadata),
            MethodPlan::Introspection(plan) => plan.challenge.header(error, metadata),
        };
        if let Some(value) = value {
            shared.dress(header::WWW_AUTHENTICATE, value);
        }
    }
}
