//! Quotas and budgets: calls before the body is read, tokens and money when it is known what a model is asked.
//!
//! Before the body a quota of calls is spent, and of tokens and money it is asked whether anything is left: who has
//! nothing left is refused before a byte is read. Once the call is known, all that it may use at most is held at
//! once or not at all; `record` settles it ([`Charges`]). What cannot be bounded or priced is refused where a budget must know
//! it.

use std::{sync::Arc, time::Instant};

use bartizan_ai::bound::Output;
use bartizan_config::{
    rehearsal::LimitState,
    snapshot::{Bite as Extent, ConsumerPlan, ModelPlan, RoutePlan},
};
use bartizan_limit::{
    Amounts, Bite, Decision, Holds, Nanos, QuotaAsk, QuotaFacts, QuotaPart, QuotaPolicy, QuotaRefusal,
    QuotaUnit, QuotaVerdict, Reservation, Unit, Used, Waiting,
};
use bartizan_message::RequestHead;
use bartizan_model::{Denial, Mode, OnFault, Reason, Stage};
use bartizan_telemetry::{RequestRecord, metrics::Decision as Counted};
use http::{HeaderName, HeaderValue, header};

use super::{Call, bearings, count, fields, mode_for, refuse, reserve};
use crate::{body::Meter, exchange::Shared, models::ModelState};

/// A wait beyond which clients are told not to try again by themselves: their own retries last seconds.
const RETRY_SECONDS_MAX: u64 = 60;

/// Tells the clients of OpenAI and Anthropic not to try again.
const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");

/// What a call holds until it has ended, and what it takes to settle it.
#[derive(Default)]
pub(crate) struct Charges {
    /// Tokens taken of rates.
    reservation: Reservation,
    /// Tokens and money held of quotas.
    holds: Holds,
    /// How its input was estimated, for whoever estimates next.
    guess: Option<(Arc<ModelState>, u64)>,
    /// A request that a provider has and has not answered: if the caller leaves now, its input is charged.
    pub(crate) sent: Option<Meter>,
}

/// What a call to a model may use at most.
pub(crate) struct Most<'a> {
    /// The model.
    pub(crate) model: &'a Arc<ModelPlan>,
    /// Input tokens, estimated.
    pub(crate) input: u64,
    /// Output tokens.
    pub(crate) output: Output,
}

/// What a token limit says of a call to a model.
pub(crate) enum Held {
    /// It goes.
    Now(Box<Charges>),
    /// It goes when its slot has come.
    At(Nanos, Waiting, Box<Charges>),
}

/// A quota that bears on the call.
struct Bearing {
    policy: Arc<QuotaPolicy>,
    bucket: String,
    bite: Bite,
}

/// Whether a limit of tokens or a budget is enforced for the call, so that its answer must be bounded.
pub(crate) fn is_budgeted(
    shared: &Shared,
    (plan, consumer, head): (&Arc<RoutePlan>, Option<&Arc<ConsumerPlan>>, &RequestHead),
) -> bool {
    let bites =
        |mode, percent, on_fault| mode_for(shared, Extent { mode, percent, on_fault }, head) == Mode::Enforce;
    let limits = plan.limits.iter().chain(consumer.into_iter().flat_map(|consumer| &consumer.limits));
    let mut limits = limits.filter(|policy| policy.counts(Unit::Tokens));
    let quotas = plan.quotas.iter().chain(consumer.into_iter().flat_map(|consumer| &consumer.quotas));
    let mut quotas =
        quotas.filter(|policy| policy.counts(QuotaUnit::Tokens) || policy.counts(QuotaUnit::Cost));
    limits.any(|policy| bites(policy.mode, policy.enforce_percent, policy.on_fault))
        || quotas.any(|policy| bites(policy.mode, policy.enforce_percent, policy.on_fault))
}

/// Before the body is read.
pub(super) fn before_body(shared: &mut Shared, call: &Call<'_>) -> Option<Denial> {
    let wanted = |policy: &QuotaPolicy| !policy.key.contains(&QuotaPart::Model);
    let bearings = match quotas(shared, call, None, &wanted) {
        Ok(bearings) if bearings.is_empty() => return None,
        Ok(bearings) => bearings,
        Err(denial) => return Some(denial),
    };
    let amounts = Amounts { requests: 1, ..Amounts::default() };
    // What is spent stays spent; nothing else is held before the body is known.
    ask(shared, &bearings, &amounts).err()
}

/// Once it is known what a model is asked: takes or holds all that the call may use, or refuses it.
pub(crate) fn before_model(
    shared: &mut Shared,
    (plan, consumer, head): (&Arc<RoutePlan>, Option<&Arc<ConsumerPlan>>, &RequestHead),
    most: &Most<'_>,
) -> Result<Held, Denial> {
    let call = Call { plan, consumer, head };
    let state = shared.core.runtime.models().of(&most.model.name);
    let input = state.corrected(most.input);
    let mut charges = Box::new(Charges { guess: Some((state, most.input)), ..Charges::default() });
    if most.output == Output::Free {
        return Ok(Held::Now(charges));
    }
    let wanted = |_: &QuotaPolicy| true;
    let mut quotas = quotas(shared, &call, Some(&most.model.name), &wanted)?;
    let has_rates = counts_tokens(&call);
    let is_counted = |bearing: &Bearing| {
        bearing.policy.counts(QuotaUnit::Tokens)
            || bearing.policy.counts(QuotaUnit::Cost)
            || bearing.policy.key.contains(&QuotaPart::Model)
    };
    quotas.retain(is_counted);
    if quotas.is_empty() && !has_rates {
        return Ok(Held::Now(charges));
    }
    let output = match most.output {
        Output::AtMost(output) => Some(output),
        Output::Free | Output::Unbounded | Output::Unknown => None,
    };
    let tokens = output.map(|output| input.saturating_add(output));
    let cost = output.and_then(|output| dearest(most.model, input, output));
    drop_undecidable(shared, &mut quotas, most, (tokens, cost))?;
    let mut wait = None;
    if has_rates {
        match rates(shared, &call, tokens, most)? {
            (None, reservation) => charges.reservation = reservation,
            (Some(slot), _) => wait = Some(slot),
        }
    }
    let (by_model, others): (Vec<_>, Vec<_>) =
        quotas.into_iter().partition(|bearing| bearing.policy.key.contains(&QuotaPart::Model));
    // Calls were counted before the body, except where only now it is known whose they are.
    for (bearings, requests) in [(others, 0), (by_model, 1)] {
        charges.holds.join(ask(shared, &bearings, &Amounts { requests, tokens, cost })?);
    }
    Ok(match wait {
        Some((until, waiting)) => Held::At(until, waiting, charges),
        None => Held::Now(charges),
    })
}

impl Charges {
    /// The slot that was waited for has come.
    pub(crate) fn started(&mut self, reservation: Reservation) {
        self.reservation.join(reservation);
    }

    /// In a rehearsal nobody is asked: the call uses all that it may. What is left is what it holds while it runs.
    pub(crate) fn spend(self, unix_ms: u64) -> Reservation {
        self.holds.spend(unix_ms);
        self.reservation
    }

    /// The call has ended at `now`: what it used is spent, the rest comes back.
    pub(crate) fn settle(mut self, nanos: Nanos, record: &mut RequestRecord, now: Instant) {
        let Some(model) = &mut record.model else { return self.reservation.settle(nanos, 0) };
        if let Some(meter) = self.sent.take().filter(|_| model.usage_source.is_empty()) {
            // The caller left while the provider worked: what was sent is charged, and told to be a part.
            meter.settle(None, 0, false, model);
        }
        let (input, output) = (model.input_tokens.unwrap_or(0), model.output_tokens.unwrap_or(0));
        let used = Used { tokens: input.saturating_add(output), cost: model.cost_pico.unwrap_or(0) };
        self.reservation.settle(nanos, used.tokens);
        let unix_ms = record.time_unix_nanos / 1_000_000;
        let passed = now.saturating_duration_since(record.started).as_millis();
        self.holds.settle(unix_ms.saturating_add(u64::try_from(passed).unwrap_or(u64::MAX)), used);
        if let (Some((state, estimate)), "provider") = (self.guess, model.usage_source) {
            state.learn(estimate, input);
        }
    }
}

/// The quotas that bear on the call, the route's before the consumer's.
fn quotas(
    shared: &mut Shared,
    call: &Call<'_>,
    model: Option<&str>,
    wanted: &dyn Fn(&QuotaPolicy) -> bool,
) -> Result<Vec<Bearing>, Denial> {
    let consumer = call.consumer.map(|consumer| &*consumer.name);
    let facts = QuotaFacts { route: &call.plan.route, consumer, team: call.team(), model };
    let of_consumer = call.consumer.into_iter().flat_map(|consumer| &consumer.quotas);
    // A policy attached to the route as well as to the consumer is asked once.
    let of_consumer =
        of_consumer.filter(|policy| !call.plan.quotas.iter().any(|wider| Arc::ptr_eq(wider, policy)));
    let mut found = Vec::new();
    let mut denied = None;
    let knows = shared.core.runtime.quotas().knows();
    for policy in call.plan.quotas.iter().chain(of_consumer).filter(|policy| wanted(policy)) {
        let extent = Extent { mode: policy.mode, percent: policy.enforce_percent, on_fault: policy.on_fault };
        let bite = match mode_for(shared, extent, call.head) {
            Mode::Enforce => Bite::Enforce,
            Mode::Shadow => Bite::Shadow,
            Mode::Off => continue,
        };
        if !knows {
            if bite == Bite::Enforce {
                shared.core.metrics.policy_fault(shared.live.policy_id(&policy.label), policy.on_fault);
                if policy.on_fault == OnFault::Deny {
                    let denial = Denial::new(Reason::JudgeUnavailable).by(policy.label.clone());
                    denied = denied.or(Some(denial.because("what was used before cannot be read yet")));
                }
            }
            continue;
        }
        match policy.bucket(&facts) {
            Ok(bucket) => found.push(Bearing { policy: policy.clone(), bucket, bite }),
            Err(_) if policy.skips_absent => {}
            Err(part) => {
                let why = format!("a part of the key is absent: {part:?}").to_ascii_lowercase();
                let denial = Denial::new(Reason::QuotaExceeded).because(why);
                denied = denied.or(weigh(shared, policy, bite, denial));
            }
        }
    }
    denied.map_or(Ok(found), Err)
}

/// Carries a denial out, or notes it.
fn weigh(shared: &mut Shared, policy: &QuotaPolicy, bite: Bite, denial: Denial) -> Option<Denial> {
    let mode = if bite == Bite::Enforce { Mode::Enforce } else { Mode::Shadow };
    shared.core.metrics.rate_limit(shared.live.policy_id(&policy.label), Counted::Deny, mode);
    shared.weigh(mode, Stage::Limit, &policy.label, denial)
}

/// Asks all quotas at once, and counts and tells what they say.
fn ask(shared: &mut Shared, bearings: &[Bearing], amounts: &Amounts) -> Result<Holds, Denial> {
    let asks: Vec<QuotaAsk<'_>> = bearings
        .iter()
        .map(|bearing| QuotaAsk { policy: &bearing.policy, bucket: &bearing.bucket, bite: bearing.bite })
        .collect();
    let now_ms = shared.unix_ms(Stage::Limit);
    let QuotaVerdict { decision, states, would } =
        shared.core.runtime.quotas().reserve(now_ms, &asks, amounts);
    if let Some(given) = &mut shared.rehearsing {
        let told = states.iter().filter_map(|state| {
            let bearing = bearings.get(state.ask)?;
            let limit = bearing.policy.limits.get(state.limit)?;
            Some(LimitState {
                policy: bearing.policy.label.clone(),
                limit: state.limit,
                bucket: Some(bearing.bucket.clone()),
                quota: limit.amount,
                window_seconds: None,
                remaining: state.remaining,
                reset_seconds: Some(state.reset_ms.saturating_sub(now_ms).div_ceil(1000)),
            })
        });
        // Where it stood before the body is replaced by where it stands after.
        for state in told.collect::<Vec<_>>() {
            given.limits.retain(|one| (&one.policy, one.limit) != (&state.policy, state.limit));
            given.limits.push(state);
        }
    }
    for (index, bearing) in bearings.iter().enumerate() {
        let refused = match &decision {
            Err(refusal) => refusal.ask == index,
            Ok(_) => false,
        };
        let (is_denied, mode) = match bearing.bite {
            Bite::Enforce => (refused, Mode::Enforce),
            Bite::Shadow => (would.iter().any(|one| one.ask == index), Mode::Shadow),
            Bite::Off => continue,
        };
        let counted = if is_denied { Counted::Deny } else { Counted::Allow };
        shared.core.metrics.rate_limit(shared.live.policy_id(&bearing.policy.label), counted, mode);
    }
    for refusal in &would {
        if let Some(bearing) = bearings.get(refusal.ask) {
            let detail = Some(said(bearing, refusal).into());
            shared.would_deny(Stage::Limit, &bearing.policy.label, Reason::QuotaExceeded, detail);
        }
    }
    decision.map_err(|refusal| {
        let seconds = fields::retry_after(refusal.retry_after);
        shared.dress(header::RETRY_AFTER, seconds.into());
        if seconds > RETRY_SECONDS_MAX {
            shared.dress(SHOULD_RETRY, HeaderValue::from_static("false"));
        }
        if let Some(spoken) = &mut shared.dress.spoken {
            // The word by which clients of models know it: one that is not tried again.
            let message = crate::answer::wording(Reason::QuotaExceeded).1.to_owned();
            spoken.say(Reason::QuotaExceeded, "insufficient_quota", message);
        }
        let denial = Denial::new(Reason::QuotaExceeded);
        match bearings.get(refusal.ask) {
            Some(bearing) => denial.because(said(bearing, &refusal)).by(bearing.policy.label.clone()),
            None => denial,
        }
    })
}

/// What a quota says, for the record.
fn said(bearing: &Bearing, refusal: &QuotaRefusal) -> String {
    let Some(limit) = bearing.policy.limits.get(refusal.limit) else { return bearing.bucket.clone() };
    let show = |amount: u64| match limit.unit {
        QuotaUnit::Cost => format!("${}", bartizan_ai::price::Money(amount)),
        QuotaUnit::Requests | QuotaUnit::Tokens => amount.to_string(),
    };
    let what =
        format!("{} per {} of {}", limit.unit.as_str(), limit.calendar.period().as_str(), bearing.bucket);
    match refusal.asked {
        0 => format!("{what}: nothing left of {}", show(limit.amount)),
        asked => {
            format!("{what}: {} asked, {} left of {}", show(asked), show(refusal.left), show(limit.amount))
        }
    }
}

/// Policies that cannot decide without a number that is not known: enforced ones refuse, others note it and are left out.
fn drop_undecidable(
    shared: &mut Shared,
    bearings: &mut Vec<Bearing>,
    most: &Most<'_>,
    (tokens, cost): (Option<u64>, Option<u64>),
) -> Result<(), Denial> {
    let mut denied = None;
    let mut kept = Vec::new();
    for bearing in std::mem::take(bearings) {
        let needs_tokens = bearing.policy.counts(QuotaUnit::Tokens) || bearing.policy.counts(QuotaUnit::Cost);
        let denial = if tokens.is_none() && needs_tokens {
            unknown(most)
        } else if cost.is_none() && bearing.policy.counts(QuotaUnit::Cost) {
            Denial::new(Reason::PriceUnknown).because(format!("Model/{} has no price", most.model.name))
        } else {
            kept.push(bearing);
            continue;
        };
        denied = denied.or(weigh(shared, &bearing.policy, bearing.bite, denial));
    }
    *bearings = kept;
    denied.map_or(Ok(()), Err)
}

/// Why it is not known what a call may use.
fn unknown(most: &Most<'_>) -> Denial {
    let name = &most.model.name;
    match most.output {
        Output::Unknown => {
            Denial::new(Reason::UseUnknown).because("nothing in a call of this path bounds what it uses")
        }
        _ => Denial::new(Reason::OutputUnbounded)
            .because(format!("neither the call nor Model/{name} (`maxOutputTokens`) bounds its answer")),
    }
}

/// What so many tokens cost at the dearest target; `None` where the price of one is not known.
fn dearest(model: &ModelPlan, input: u64, output: u64) -> Option<u64> {
    let costs = model.targets.iter().map(|target| target.price.map(|price| price.at_most(input, output).0));
    costs.collect::<Option<Vec<u64>>>()?.into_iter().max()
}

fn counts_tokens(call: &Call<'_>) -> bool {
    let of_consumer = call.consumer.into_iter().flat_map(|consumer| &consumer.limits);
    let mut all = call.plan.limits.iter().chain(of_consumer);
    all.any(|policy| policy.mode != Mode::Off && policy.counts(Unit::Tokens))
}

/// A slot that is waited for.
type Slot = (Nanos, Waiting);

/// Takes the tokens of all rates.
fn rates(
    shared: &mut Shared,
    call: &Call<'_>,
    tokens: Option<u64>,
    most: &Most<'_>,
) -> Result<(Option<Slot>, Reservation), Denial> {
    let mut bearings = bearings(shared, call)?;
    bearings.retain(|bearing| bearing.policy.counts(Unit::Tokens));
    let Some(tokens) = tokens else {
        let mut denied = None;
        for bearing in &bearings {
            let mode = if bearing.bite == Bite::Enforce { Mode::Enforce } else { Mode::Shadow };
            let denial = shared.weigh(mode, Stage::Limit, &bearing.policy.label, unknown(most));
            denied = denied.or(denial);
        }
        return denied.map_or_else(|| Ok((None, Reservation::default())), Err);
    };
    let verdict = reserve(shared, &bearings, Some(tokens));
    count(shared, &bearings, &verdict);
    match verdict.decision {
        Decision::Admit(reservation) => Ok((None, reservation)),
        Decision::Wait { until, reservation } => Ok((Some((until, reservation)), Reservation::default())),
        Decision::Refuse(refusal) => Err(refuse(shared, &bearings, &refusal)),
    }
}
