//! **limit**: how much?
//!
//! Every limit of the route and of the consumer is asked at once: all reserve or none. A call over its rate may wait
//! for its own slot where the policy throttles; it waits here, once, before its body is read.

mod quota;
mod rehearsed;

use std::sync::Arc;

use bartizan_config::snapshot::{Bite as Extent, ConsumerPlan, RoutePlan};
use bartizan_identity::Identity;
use bartizan_limit::{
    Ask, Bite, Decision, Few, HeaderValues, Key, KeyFacts, Nanos, Policy, Refusal, State, Verdict, Waiting,
    Would, header as fields,
};
use bartizan_message::RequestHead;
use bartizan_model::{Denial, Mode, Reason, Stage};
use bartizan_telemetry::{
    WouldDeny,
    capture::CellNote,
    metrics::{Decision as Counted, PolicyId},
    record::Would as Outcome,
};
use http::{HeaderName, HeaderValue, header};

pub(crate) use self::quota::{Charges, Held, Most, before_model, is_budgeted};
use super::{Authorized, Granted, Routed, route::mode_for};
use crate::{
    exchange::{Exchange, Shared, Stop},
    live::LimitMark,
    share::block_key,
};

/// The proof that every limit was asked and admitted the call.
#[must_use]
pub struct Metered {
    authorized: Authorized,
}

impl Metered {
    /// The head.
    pub(crate) fn head(&self) -> &RequestHead {
        self.authorized.head()
    }

    /// The rule.
    pub(crate) fn plan(&self) -> &Arc<RoutePlan> {
        self.authorized.plan()
    }

    /// Who it is.
    pub(crate) fn identity(&self) -> &Identity {
        self.authorized.identity()
    }

    /// The consumer's plan.
    pub(crate) fn consumer(&self) -> Option<&Arc<ConsumerPlan>> {
        self.authorized.consumer()
    }

    /// What the caller's token grants.
    pub(crate) fn granted(&self) -> Option<&Arc<Granted>> {
        self.authorized.granted()
    }

    /// The proof of the route, for whoever sends the request on.
    pub(super) fn into_routed(self) -> Routed {
        self.authorized.into_routed()
    }
}

/// A policy that bears on the call.
struct Bearing {
    policy: Arc<Policy>,
    mark: LimitMark,
    key: u128,
    bite: Bite,
}

/// What the limits said.
#[expect(
    clippy::large_enum_variant,
    reason = "nearly every request is the large one, and a box would cost it an allocation"
)]
pub enum Limited {
    /// Go on.
    Admitted(Exchange<Metered>),
    /// Wait for a slot first.
    Waits(Box<Wait>),
}

/// A call that waits for its own slot. Boxed by [`Limited`]: waiting is rare, and its state would make every request's
/// future larger.
pub struct Wait {
    x: Exchange<Authorized>,
    until: Nanos,
    reservation: Waiting,
}

/// Asks all limits.
pub fn limit(x: Exchange<Authorized>) -> Result<Limited, Stop> {
    let mut x = x;
    // Most routes have a limit or two; a route without any costs this branch.
    let plan = x.proof.plan();
    let is_free = |consumer: &Arc<ConsumerPlan>| consumer.limits.is_empty() && consumer.quotas.is_empty();
    if plan.limits.is_empty() && plan.quotas.is_empty() && x.proof.consumer().is_none_or(is_free) {
        return Ok(Limited::Admitted(x.prove(|authorized| Metered { authorized })));
    }
    let call = Call { plan: x.proof.plan(), consumer: x.proof.consumer(), head: x.proof.head() };
    let bearings = match bearings(&mut x.shared, &call) {
        Ok(bearings) => bearings,
        Err(denial) => return Err(x.deny(Stage::Limit, denial)),
    };
    let verdict = reserve(&mut x.shared, &bearings, None);
    rehearsed::note(&mut x.shared, &call, &bearings, &verdict.states);
    tell(&mut x.shared, &bearings, &verdict.states);
    count(&mut x.shared, &bearings, &verdict);
    if let Decision::Refuse(refusal) = &verdict.decision {
        let denial = refuse(&mut x.shared, &bearings, refusal);
        return Err(x.deny(Stage::Limit, denial));
    }
    // After the rates: a call that is refused for its pace uses up no quota.
    if let Some(denial) = quota::before_body(&mut x.shared, &call) {
        return Err(x.deny(Stage::Limit, denial));
    }
    match verdict.decision {
        Decision::Admit(reservation) => x.shared.reservation = Some(reservation),
        Decision::Wait { until, reservation } => {
            return Ok(Limited::Waits(Box::new(Wait { x, until, reservation })));
        }
        Decision::Refuse(_) => {}
    }
    Ok(Limited::Admitted(x.prove(|authorized| Metered { authorized })))
}

/// What a call is known by.
struct Call<'a> {
    plan: &'a Arc<RoutePlan>,
    consumer: Option<&'a Arc<ConsumerPlan>>,
    head: &'a RequestHead,
}

impl Call<'_> {
    fn team(&self) -> Option<&str> {
        self.consumer.and_then(|consumer| consumer.team.as_ref()).map(|team| &*team.name)
    }
}

/// Waits for the call's own slot.
pub async fn wait(wait: Box<Wait>) -> Result<Exchange<Metered>, Stop> {
    let Wait { mut x, until, reservation } = *wait;
    let (begun, until) = (x.shared.instant(), x.shared.core.runtime.instant(until));
    // A slot behind the route's time limit is as good as none. It stays taken, as for a caller that leaves.
    let limit = x.proof.plan().timeouts.request;
    if limit.is_some_and(|limit| x.shared.record.started + limit < until) {
        let wait = until.saturating_duration_since(begun);
        x.shared.dress(header::RETRY_AFTER, fields::retry_after(wait).into());
        let denial = Denial::new(Reason::RateExceeded);
        return Err(x.deny(Stage::Limit, denial.because("its slot comes after the route's time limit")));
    }
    x.shared.record.waited = match &x.shared.rehearsing {
        None => {
            tokio::time::sleep_until(until.into()).await;
            begun.elapsed()
        }
        // Nothing waits in a rehearsal.
        Some(_) => until.saturating_duration_since(begun),
    };
    x.shared.reservation = Some(reservation.start());
    Ok(x.prove(|authorized| Metered { authorized }))
}

/// The policies that bear on the call, the route's before the consumer's.
fn bearings(shared: &mut Shared, call: &Call<'_>) -> Result<Vec<Bearing>, Denial> {
    let Call { plan, consumer, head } = *call;
    let header = |name: &str, each: &mut dyn FnMut(&[u8])| values_of(head, name, each);
    let facts = key_facts(call, &header);
    let live = shared.live.clone();
    let of_route = plan.limits.iter().zip(live.route_limit_marks(plan));
    let of_consumer = consumer
        .into_iter()
        .flat_map(|consumer| consumer.limits.iter().zip(live.consumer_limit_marks(consumer)))
        // A policy attached to the route as well as to the consumer is asked once.
        .filter(|(policy, _)| !plan.limits.iter().any(|wider| Arc::ptr_eq(wider, policy)));
    let mut bearings = Vec::with_capacity(2);
    let mut denied = None;
    for (policy, mark) in of_route.chain(of_consumer) {
        let bite = match (policy.mode, policy.enforce_percent) {
            (Mode::Enforce, 100) => Bite::Enforce,
            _ => bite_for(shared, policy, head),
        };
        match shared.core.runtime.cells().key_of(policy, &facts) {
            Key::Of(key) => {
                bearings.push(Bearing { policy: policy.clone(), mark: mark.clone(), key, bite });
            }
            Key::Skip => {}
            Key::Deny => {
                let denial = deny_absent(shared, policy, mark.id, bite);
                denied = denied.or(denial);
            }
        }
    }
    denied.map_or(Ok(bearings), Err)
}

/// Calls `each` with every value of a header.
fn values_of(head: &RequestHead, name: &str, each: &mut dyn FnMut(&[u8])) {
    head.headers().get_all(name).iter().for_each(|value| each(value.as_bytes()));
}

/// What keys are made of.
fn key_facts<'a>(call: &'a Call<'_>, header: &'a HeaderValues<'a>) -> KeyFacts<'a> {
    KeyFacts {
        route: &call.plan.route,
        consumer: call.consumer.map(|consumer| &*consumer.name),
        team: call.team(),
        client: block_key(call.head.client()),
        header,
    }
}

/// A part of the key is absent, and the policy says to deny.
fn deny_absent(shared: &mut Shared, policy: &Policy, id: PolicyId, bite: Bite) -> Option<Denial> {
    let mode = match bite {
        Bite::Enforce => Mode::Enforce,
        Bite::Shadow => Mode::Shadow,
        Bite::Off => return None,
    };
    shared.core.metrics.rate_limit(id, Counted::Deny, mode);
    let denial = Denial::new(Reason::RateExceeded).because("a part of the key is absent");
    shared.weigh(mode, Stage::Limit, &policy.label, denial)
}

/// How a policy with a share, or one that only watches, bears on this caller.
fn bite_for(shared: &Shared, policy: &Policy, head: &RequestHead) -> Bite {
    let extent = Extent { mode: policy.mode, percent: policy.enforce_percent, on_fault: policy.on_fault };
    match mode_for(shared, extent, head) {
        Mode::Enforce => Bite::Enforce,
        Mode::Shadow => Bite::Shadow,
        Mode::Off => Bite::Off,
    }
}

fn reserve(shared: &mut Shared, bearings: &[Bearing], tokens: Option<u64>) -> Verdict {
    let asks: Vec<Ask<'_>> = bearings
        .iter()
        .map(|bearing| Ask { policy: &bearing.policy, key: bearing.key, bite: bearing.bite, cost: 1, tokens })
        .collect();
    let now = shared.core.runtime.nanos(shared.instant());
    if tokens.is_none() {
        rehearsed::put_cells(shared, now, &asks);
        if shared.record.capture.is_some() {
            return reserve_noting(shared, now, &asks);
        }
    }
    shared.core.runtime.cells().reserve(&mut shared.core.cells.borrow_mut(), now, &asks)
}

/// Asks the limits of a call that is captured, and notes what they held.
fn reserve_noting(shared: &mut Shared, now: Nanos, asks: &[Ask<'_>]) -> Verdict {
    let mut seen = Vec::with_capacity(asks.len());
    let cells = shared.core.runtime.cells();
    let verdict = cells.reserve_noting(&mut shared.core.cells.borrow_mut(), now, asks, Some(&mut seen));
    if let Some(note) = &mut shared.record.capture {
        note.limit_nanos = Some(now.0);
        let cells = seen.into_iter().filter_map(|seen| {
            let policy = asks.get(seen.ask)?.policy.label.clone();
            Some(CellNote {
                policy,
                limit: seen.limit,
                shadow: seen.shadow,
                word: seen.word,
                bound: seen.bound,
            })
        });
        note.cells.extend(cells);
    }
    verdict
}

/// Tells the caller where its limits stand: draft-ietf-httpapi-ratelimit-headers.
fn tell(shared: &mut Shared, bearings: &[Bearing], states: &Few<State>) {
    const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
    const LIMIT: HeaderName = HeaderName::from_static("ratelimit");
    let policy = |ask: usize| bearings.get(ask).map(|bearing| &*bearing.policy);
    let Some(stated) = stated(bearings) else { return };
    shared.dress(POLICY, stated);
    let mut text = String::new();
    fields::write_states(&mut text, states, policy);
    if let Ok(value) = HeaderValue::try_from(text) {
        shared.dress(LIMIT, value);
    }
    if let Some(legacy) = fields::legacy(states, policy) {
        shared.dress(HeaderName::from_static("x-ratelimit-limit"), legacy.limit.into());
        shared.dress(HeaderName::from_static("x-ratelimit-remaining"), legacy.remaining.into());
        shared.dress(HeaderName::from_static("x-ratelimit-reset"), legacy.reset_seconds.into());
    }
}

/// What `RateLimit-Policy` says; `None` where there is nothing to say.
fn stated(bearings: &[Bearing]) -> Option<HeaderValue> {
    let mut enforced = bearings.iter().filter(|bearing| bearing.bite == Bite::Enforce);
    let first = enforced.next()?;
    if enforced.next().is_none() {
        return (!first.mark.stated.is_empty()).then(|| first.mark.stated.clone());
    }
    let all = bearings.iter().filter(|bearing| bearing.bite == Bite::Enforce);
    let mut text = String::new();
    fields::write_policies(&mut text, all.map(|bearing| &*bearing.policy));
    HeaderValue::try_from(text).ok().filter(|value| !value.is_empty())
}

fn count(shared: &mut Shared, bearings: &[Bearing], verdict: &Verdict) {
    let refused = match &verdict.decision {
        Decision::Refuse(refusal) => Some(refusal.ask),
        Decision::Admit(_) | Decision::Wait { .. } => None,
    };
    let waits = matches!(verdict.decision, Decision::Wait { .. });
    for (ask, bearing) in bearings.iter().enumerate().filter(|(_, bearing)| bearing.bite == Bite::Enforce) {
        let decision = match refused {
            Some(refusing) if refusing == ask => Counted::Deny,
            _ if waits => Counted::Throttle,
            _ => Counted::Allow,
        };
        shared.core.metrics.rate_limit(bearing.mark.id, decision, Mode::Enforce);
    }
    for (ask, bearing) in bearings.iter().enumerate().filter(|(_, bearing)| bearing.bite == Bite::Shadow) {
        let would = verdict.would.iter().find(|would| would_ask(would) == ask);
        let (decision, outcome) = match would {
            Some(Would::Deny(_)) => (Counted::Deny, Some(Outcome::Deny)),
            Some(Would::Throttle { wait, .. }) => (Counted::Throttle, Some(Outcome::Throttle(*wait))),
            None => (Counted::Allow, None),
        };
        shared.core.metrics.rate_limit(bearing.mark.id, decision, Mode::Shadow);
        if let Some(outcome) = outcome {
            shared.record.would_deny(WouldDeny {
                stage: Stage::Limit,
                policy: bearing.policy.label.clone(),
                outcome,
                reason: Reason::RateExceeded,
                detail: None,
            });
        }
    }
}

fn would_ask(would: &Would) -> usize {
    match would {
        Would::Deny(refusal) => refusal.ask,
        Would::Throttle { ask, .. } => *ask,
    }
}

fn refuse(shared: &mut Shared, bearings: &[Bearing], refusal: &Refusal) -> Denial {
    shared.dress(header::RETRY_AFTER, fields::retry_after(refusal.retry_after).into());
    let denial = Denial::new(Reason::RateExceeded).because(format!(
        "{}: limit {}",
        refusal.cause.as_str(),
        refusal.limit
    ));
    match bearings.get(refusal.ask) {
        Some(bearing) => denial.by(bearing.policy.label.clone()),
        None => denial,
    }
}
