//! **authorize**: may they?
//!
//! Judged by the head alone, before a byte of the body is read. Every policy that applies must allow: the route's from
//! wide to narrow, then the consumer's. Policies in shadow are judged in any case, also behind one that denied.

use std::{borrow::Cow, net::IpAddr, sync::Arc};

use bartizan_access::{Asked, Claims, Ground, Subject, Verdict};
use bartizan_config::snapshot::{AuthorizationPlan, Captures, ConsumerPlan, RoutePlan};
use bartizan_identity::{
    Identity, Method,
    json::{Json, Number},
    jwt::TokenIdentity,
};
use bartizan_message::RequestHead;
use bartizan_model::{Denial, Fault, Mode, OnFault, Reason, Stage};
use bartizan_telemetry::{WouldDeny, record::Would};

use super::{Granted, Identified, Routed, route::mode_for};
use crate::exchange::{Exchange, Shared, Stop};

/// The proof that the caller may do what the head asks for.
#[must_use]
pub struct Authorized {
    who: Identified,
    ground: Option<Ground>,
}

impl Authorized {
    /// The head.
    pub(crate) fn head(&self) -> &RequestHead {
        self.who.head()
    }

    /// The rule.
    pub(crate) fn plan(&self) -> &Arc<RoutePlan> {
        self.who.plan()
    }

    /// Who it is.
    pub(crate) fn identity(&self) -> &Identity {
        self.who.identity()
    }

    /// The consumer's plan.
    pub(crate) fn consumer(&self) -> Option<&Arc<ConsumerPlan>> {
        self.who.consumer()
    }

    /// The rule and role by which the narrowest policy allows it; `None` where no policy is enforced.
    pub fn ground(&self) -> Option<&Ground> {
        self.ground.as_ref()
    }

    /// What the caller's token grants.
    pub(crate) fn granted(&self) -> Option<&Arc<Granted>> {
        self.who.granted()
    }

    /// The proof of the route, for whoever sends the request on.
    pub(super) fn into_routed(self) -> Routed {
        self.who.into_routed()
    }
}

/// Why a request may not go on.
enum Refusal {
    Denied(Denial),
    Faulted(Arc<str>, Fault),
}

/// Judges by the head whether the caller may.
pub fn authorize(x: Exchange<Identified>) -> Result<Exchange<Authorized>, Stop> {
    let client = x.proof.head().client();
    if let Some(denial) = x.proof.consumer().and_then(|consumer| judge_consumer(consumer, client)) {
        return Err(x.deny(Stage::Authorize, denial));
    }
    // Most routes have no policy; one without costs this branch.
    if x.proof.plan().authorization.is_empty()
        && x.proof.consumer().is_none_or(|consumer| consumer.authorization.is_empty())
    {
        return Ok(x.prove(|who| Authorized { who, ground: None }));
    }
    let mut x = x;
    match judge(&mut x.shared, &x.proof) {
        Ok(ground) => Ok(x.prove(|who| Authorized { who, ground })),
        Err(Refusal::Denied(denial)) => Err(x.deny(Stage::Authorize, denial)),
        Err(Refusal::Faulted(policy, fault)) => Err(x.fault(Some(policy), fault)),
    }
}

/// Whether a consumer may call at all, and from this address.
pub fn judge_consumer(consumer: &ConsumerPlan, client: IpAddr) -> Option<Denial> {
    let at_home = consumer.addresses.as_ref().is_none_or(|addresses| addresses.contains(client));
    let detail = match (consumer.enabled, at_home) {
        (true, true) => return None,
        (false, _) => "the consumer is disabled",
        (true, false) => "the consumer may not call from this address",
    };
    let policy = format!("Consumer/{}", consumer.name);
    Some(Denial::new(Reason::NotAllowed).because(detail).by(policy.into()))
}

/// Who asks, for what and when: all that an authorization policy looks at.
#[derive(Clone, Copy)]
pub struct Inquiry<'a> {
    /// The caller.
    pub subject: Subject<'a>,
    /// The head.
    pub head: &'a RequestHead,
    /// The rule.
    pub plan: &'a RoutePlan,
    /// What stands in the path for the variables of the rule's template.
    pub captures: &'a Captures<'a>,
    /// The time.
    pub now_ms: u64,
}

/// What a policy says, whether or not it bites.
///
/// # Errors
///
/// A fault when it cannot be decided.
pub fn judge_policy(policy: &AuthorizationPlan, inquiry: &Inquiry<'_>) -> Result<Verdict, Fault> {
    let Inquiry { subject, head, plan, captures, now_ms } = inquiry;
    let asked = Asked {
        route: &plan.route,
        method: head.method(),
        path: head.path().as_str(),
        host: head.authority().host(),
        headers: head.headers(),
        query: head.raw_query(),
        variables: *captures,
        client: head.client(),
    };
    policy.policy.allows(subject, &asked, *now_ms)
}

/// The policies that apply: the rule's, wide → narrow, then the consumer's; each once.
pub fn policies<'p>(
    plan: &'p RoutePlan,
    consumer: Option<&'p ConsumerPlan>,
) -> impl Iterator<Item = &'p Arc<AuthorizationPlan>> {
    let of_consumer = consumer.into_iter().flat_map(|consumer| &consumer.authorization);
    let is_new =
        |policy: &&Arc<AuthorizationPlan>| !plan.authorization.iter().any(|known| Arc::ptr_eq(known, policy));
    plan.authorization.iter().chain(of_consumer.filter(is_new))
}

/// A caller as policies see it. A key has no subject of its own, so its consumer's name is one.
pub fn subject(consumer: Option<&ConsumerPlan>, method: Method) -> Subject<'_> {
    let Some(consumer) = consumer else { return Subject { method: method.as_str(), ..Subject::NOBODY } };
    Subject {
        consumer: Some(&consumer.name),
        sub: Some(&consumer.name),
        roles: &consumer.role_set,
        role_names: &consumer.roles,
        tags: &[],
        method: method.as_str(),
        claims: None,
    }
}

/// A caller with a credential that brings more than its consumer's name: what it grants and says stands beside that.
fn subject_of<'a>(who: &'a Identified, said: Option<&'a Said<'a>>) -> Subject<'a> {
    let consumer = who.consumer().map(|consumer| &**consumer);
    let mut subject = subject(consumer, who.identity().method());
    if let Some(granted) = who.granted() {
        subject.roles = &granted.role_set;
        subject.role_names = &granted.roles;
        subject.tags = &granted.tags;
    }
    if let Some(said) = said {
        subject.sub = said.0.subject();
        subject.claims = Some(said);
    }
    subject
}

/// What the caller's token says.
#[derive(Debug)]
struct Said<'a>(&'a TokenIdentity);

impl Claims for Said<'_> {
    fn get(&self, name: &str) -> Option<Vec<Cow<'_, str>>> {
        fn text(value: &Json) -> Option<Cow<'_, str>> {
            match value {
                Json::Text(value) => Some(Cow::Borrowed(value)),
                Json::Bool(value) => Some(Cow::Owned(value.to_string())),
                Json::Number(Number::Unsigned(value)) => Some(Cow::Owned(value.to_string())),
                Json::Number(Number::Signed(value)) => Some(Cow::Owned(value.to_string())),
                Json::Number(Number::Fraction(value)) => Some(Cow::Owned(value.to_string())),
                Json::Null | Json::List(_) | Json::Object(_) => None,
            }
        }
        match self.0.claims().get(name)? {
            Json::List(values) => values.iter().map(text).collect(),
            value => Some(vec![text(value)?]),
        }
    }
}

/// Asks every policy; the first enforced one that does not allow decides.
fn judge(shared: &mut Shared, who: &Identified) -> Result<Option<Ground>, Refusal> {
    let (head, plan) = (who.head(), who.plan());
    let consumer = who.consumer().map(|consumer| &**consumer);
    let captures = who.captures();
    let now_ms = shared.unix_ms(Stage::Authorize);
    let said = who.identity().token().map(Said);
    let subject = subject_of(who, said.as_ref());
    let inquiry = Inquiry { subject, head, plan, captures: &captures, now_ms };
    let mut decision = Ok(None);
    for policy in policies(plan, consumer) {
        let mode = mode_for(shared, policy.bite, head);
        // Behind a refusal only the policies in shadow have something to say.
        if mode == Mode::Off || (mode == Mode::Enforce && decision.is_err()) {
            continue;
        }
        match weigh(shared, policy, mode, judge_policy(policy, &inquiry)) {
            Ok(Some(ground)) if decision.is_ok() => decision = Ok(Some(ground)),
            Ok(_) => {}
            Err(refusal) => decision = Err(refusal),
        }
    }
    decision
}

/// Carries a verdict out, or only notes it, as the mode says.
fn weigh(
    shared: &mut Shared,
    policy: &AuthorizationPlan,
    mode: Mode,
    verdict: Result<Verdict, Fault>,
) -> Result<Option<Ground>, Refusal> {
    match verdict {
        Ok(Verdict::Allowed(ground)) => Ok((mode == Mode::Enforce).then_some(ground)),
        Ok(Verdict::Denied(refused)) => {
            let denial = Denial::new(Reason::NotAllowed).because(refused.describe());
            shared
                .weigh(mode, Stage::Authorize, &policy.label, denial)
                .map_or(Ok(None), |denial| Err(Refusal::Denied(denial)))
        }
        Err(fault) if mode == Mode::Enforce => {
            let id = shared.live.policy_id(&policy.label);
            shared.core.metrics.policy_fault(id, policy.bite.on_fault);
            match policy.bite.on_fault {
                OnFault::Deny => Err(Refusal::Faulted(policy.label.clone(), fault)),
                OnFault::Allow => {
                    shared.record.passed_fault(Some(policy.label.clone()), fault);
                    Ok(None)
                }
            }
        }
        Err(fault) => {
            shared.record.would_deny(would(policy, fault));
            Ok(None)
        }
    }
}

/// What a policy in shadow would have made of a fault.
fn would(policy: &AuthorizationPlan, fault: Fault) -> WouldDeny {
    let outcome = match policy.bite.on_fault {
        OnFault::Deny => Would::Deny,
        OnFault::Allow => Would::Incomplete,
    };
    let (policy, reason) = (policy.label.clone(), Reason::JudgeUnavailable);
    WouldDeny { stage: Stage::Authorize, policy, outcome, reason, detail: Some(fault.what) }
}
