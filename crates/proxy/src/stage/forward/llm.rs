//! A call to a model: which target, with which key, in which dialect, and how its answer leaves.
//!
//! Targets are tried in order until one begins to answer. Until its first content nothing is told to the caller, so a
//! failure before it becomes another key, another target, or a status of its own; after it, one error event. The
//! answer leaves as [`Why::Answered`], because its body is made here and not an upstream's; the one exit dresses and
//! records it like any other.

mod ask;
mod reply;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bartizan_ai::{Class, Failure, Refused};
use bartizan_config::{
    rehearsal::Sending,
    snapshot::{LlmPlan, ModelPlan, ModelTargetPlan, RoutePlan},
};
use bartizan_model::{Denial, Reason, document::model::ModelStrategy};
use http::{HeaderMap, HeaderName, HeaderValue};

use self::ask::Place;
use super::Sendable;
use crate::{
    exchange::{Exchange, Shared, Stop, Why},
    models::TargetState,
    stage::inspect::Asking,
    upstream::PreparedUpstream,
};

/// Tries of one call, over all targets and keys: an outage must not be multiplied.
const ATTEMPTS_MAX: usize = 5;
/// How long a key rests that the provider refuses.
const REFUSED_KEY_RESTS: Duration = Duration::from_secs(300);
/// How long a key rests whose account has nothing left.
const EMPTY_KEY_RESTS: Duration = Duration::from_secs(900);
/// How long a key rests that was used too fast, where the provider gives no advice; its advice counts up to two
/// minutes.
const FAST_KEY_RESTS: Duration = Duration::from_secs(5);
const ADVICE_SECONDS_MAX: u32 = 120;
/// The shortest wait before the only target is asked once more; up to twice as long by chance.
const BACKOFF: Duration = Duration::from_millis(500);

/// One call.
struct Call {
    shared: Box<Shared>,
    plan: Arc<RoutePlan>,
    sendable: Sendable,
    asking: Box<Asking>,
    attempts: usize,
    /// The last failure, and the first thing a target cannot be asked.
    failure: Option<Failure>,
    refused: Option<Refused>,
}

/// A target with what it needs.
struct Aim {
    target: ModelTargetPlan,
    prepared: Arc<PreparedUpstream>,
    llm: Arc<LlmPlan>,
}

/// Serves the call.
pub(super) async fn serve(shared: Box<Shared>, sendable: Sendable, asking: Box<Asking>) -> Stop {
    let plan = sendable.plan.clone();
    if let Some(denial) = unjudged(&sendable) {
        return Exchange { shared, proof: () }.deny(denial.reason.stage(), denial);
    }
    let call = Call { shared, plan, sendable, asking, attempts: 0, failure: None, refused: None };
    call.run().await
}

/// Closed: an answer that a policy is to judge does not leave unjudged.
fn unjudged(sendable: &Sendable) -> Option<Denial> {
    sendable.bench.as_ref()?;
    Some(Denial::new(Reason::ResponseRefused).because("this build cannot judge the answers of models"))
}

/// What the target would be sent that live traffic asks first. Nobody is asked, so nothing is known of how fast targets
/// are, and the provider's key is not among the headers: it is read when a set goes live.
pub(super) fn rehearse(
    shared: &mut Shared,
    sendable: &Sendable,
    asking: &Asking,
    draw: u64,
) -> Result<Sending, Denial> {
    if let Some(denial) = unjudged(sendable) {
        return Err(denial);
    }
    let mut refused = None;
    for target in order(&asking.model, draw) {
        let Some(plan) = shared.snapshot().upstreams.get(target.upstream).cloned() else { continue };
        let Some(llm) = plan.llm.as_deref() else { continue };
        let place = Place { target: &target, plan: &plan, llm };
        let asked = match ask::outgoing(asking, place) {
            Ok(asked) => asked,
            Err(why) => {
                refused.get_or_insert(why);
                continue;
            }
        };
        let (from, query) = (sendable.head.headers(), sendable.head.raw_query());
        let Some(request) = ask::request(&asked, place, None, from, asking.is_stream(), query) else {
            continue;
        };
        shared.record.upstream = Some(plan.name.clone());
        let (parts, _) = request.into_parts();
        return Ok(Sending {
            upstream: plan.name.clone(),
            method: parts.method,
            target: parts.uri,
            headers: parts.headers,
        });
    }
    let Some(refused) = refused else {
        return Err(Denial::new(Reason::NoEndpoint).because("the model has no target"));
    };
    if let Some(spoken) = &mut shared.dress.spoken {
        spoken.say_refused(&refused);
    }
    Err(Denial::new(Reason::OperationUnsupported).because(refused.message))
}

impl Aim {
    fn place(&self) -> Place<'_> {
        Place { target: &self.target, plan: &self.prepared.plan, llm: &self.llm }
    }
}

impl Call {
    async fn run(mut self) -> Stop {
        let order = self.order();
        let is_only = order.len() == 1;
        for target in &order {
            if let Some(answer) = self.target(target).await {
                return self.answered(answer);
            }
            if !self.goes_on() {
                break;
            }
        }
        // The only target of a model gets a second chance where its failure passes by itself.
        if is_only
            && self.attempts == 1
            && self.failure.as_ref().is_some_and(|failure| failure.class.is_passing())
        {
            let jitter = BACKOFF.mul_f64((self.shared.core.draw() >> 11) as f64 / (1_u64 << 53) as f64);
            tokio::time::sleep(BACKOFF + jitter).await;
            if let Some(target) = order.first()
                && let Some(answer) = self.target(target).await
            {
                return self.answered(answer);
            }
        }
        self.failed()
    }

    /// The targets in the order in which they are asked.
    fn order(&self) -> Vec<ModelTargetPlan> {
        let model = &self.asking.model;
        let mut targets = order(model, self.shared.core.draw());
        if model.strategy == ModelStrategy::LowestLatency {
            let (stream, now) = (self.asking.is_stream(), self.seconds());
            targets.sort_by_cached_key(|target| {
                self.state(target).map_or(u64::MAX, |state| state.slowness(stream, now))
            });
        }
        targets
    }

    /// What is learned of a target.
    fn state(&self, target: &ModelTargetPlan) -> Option<Arc<TargetState>> {
        let upstream = self.shared.snapshot().upstreams.get(target.upstream)?;
        Some(self.shared.core.runtime.models().target(&upstream.name, &target.model))
    }

    /// Seconds since the process began.
    fn seconds(&self) -> u64 {
        self.shared.core.runtime.nanos(Instant::now()).0 / 1_000_000_000
    }

    /// Whether another target may serve what the last one did not.
    fn goes_on(&self) -> bool {
        self.attempts < ATTEMPTS_MAX
            && self.failure.as_ref().is_none_or(|failure| failure.class.is_elsewhere_possible())
    }

    /// Tries a target with each of its keys until one serves.
    async fn target(
        &mut self,
        target: &ModelTargetPlan,
    ) -> Option<http::Response<crate::answer::AnswerBody>> {
        let prepared = self.shared.live.upstreams.at(target.upstream)?.clone();
        let llm = prepared.plan.llm.clone()?;
        let aim = Aim { target: target.clone(), prepared, llm };
        let outgoing = match ask::outgoing(&self.asking, aim.place()) {
            Ok(outgoing) => outgoing,
            Err(refused) => {
                self.note(&aim, "cannot_be_asked");
                self.refused.get_or_insert(refused);
                return None;
            }
        };
        let mut tried = Vec::new();
        loop {
            let now_ms = unix_ms();
            let key = match &aim.prepared.keys {
                Some(keys) => Some(keys.pick(now_ms, &tried).map(|(at, value)| (at, value.clone()))?),
                None => None,
            };
            self.attempts += 1;
            let begun = Instant::now();
            let attempt = self.attempt(&aim, &outgoing, key.as_ref().map(|(_, value)| value)).await;
            self.shared.record.sends(None);
            self.learn(target, begun, attempt.is_ok());
            let failure = match attempt {
                Ok(answer) => return Some(answer),
                Err(failure) => failure,
            };
            self.note(&aim, failure.class.code());
            let failure = veiled(failure, &aim);
            let (class, advice) = (failure.class, failure.retry_after);
            self.failure = Some(failure);
            let rest = match class {
                Class::Key => REFUSED_KEY_RESTS,
                Class::Quota => EMPTY_KEY_RESTS,
                Class::Rate => advice.map_or(FAST_KEY_RESTS, |seconds| {
                    Duration::from_secs(seconds.clamp(1, ADVICE_SECONDS_MAX).into())
                }),
                _ => return None,
            };
            let (at, _) = key?;
            if let Some(keys) = &aim.prepared.keys {
                let rest = u64::try_from(rest.as_millis()).unwrap_or(u64::MAX);
                keys.rest(at, now_ms.saturating_add(rest));
            }
            tried.push(at);
            if self.attempts >= ATTEMPTS_MAX {
                return None;
            }
        }
    }

    /// How long it took until the target began to answer, or failed.
    fn learn(&self, target: &ModelTargetPlan, begun: Instant, served: bool) {
        if self.asking.model.strategy != ModelStrategy::LowestLatency {
            return;
        }
        let (stream, now) = (self.asking.is_stream(), self.seconds());
        if let Some(state) = self.state(target) {
            match served {
                true => state.note(stream, now, begun.elapsed()),
                false => state.note_failure(stream, now),
            }
        }
    }

    fn note(&mut self, aim: &Aim, why: &'static str) {
        if let Some(record) = &mut self.shared.record.model {
            record.failed(aim.prepared.plan.name.clone(), why);
        }
    }

    fn answered(mut self, mut answer: http::Response<crate::answer::AnswerBody>) -> Stop {
        self.shared.record.upstream_attempts = u16::try_from(self.attempts).unwrap_or(u16::MAX);
        self.tell_target(answer.headers_mut());
        crate::answer::change(&self.shared, &self.plan, answer.headers_mut());
        Stop { shared: self.shared, why: Why::Answered(Box::new(answer)) }
    }

    /// Who served, where the model's document says that callers are told.
    fn tell_target(&self, headers: &mut HeaderMap) {
        let Some(record) = self.shared.record.model.as_ref().filter(|_| self.asking.model.tells_target)
        else {
            return;
        };
        for (name, value) in
            [("x-ai-provider", Some(record.provider)), ("x-ai-model", record.target.as_deref())]
        {
            if let Some(value) = value.and_then(|value| HeaderValue::from_str(value).ok()) {
                headers.insert(HeaderName::from_static(name), value);
            }
        }
    }

    fn failed(mut self) -> Stop {
        self.shared.record.upstream_attempts = u16::try_from(self.attempts).unwrap_or(u16::MAX);
        let denial = match (&self.failure, &self.refused) {
            (Some(failure), _) => {
                if let Some(spoken) = &mut self.shared.dress.spoken {
                    spoken.say_failure(failure);
                }
                let word = failure.class.code();
                let detail = format!("{word}: {} {}", failure.native_status, failure.native_code);
                Denial::new(Reason::ModelFailed).because(detail)
            }
            (None, Some(refused)) => {
                if let Some(spoken) = &mut self.shared.dress.spoken {
                    spoken.say_refused(refused);
                }
                Denial::new(Reason::OperationUnsupported).because(refused.message.clone())
            }
            (None, None) => Denial::new(Reason::NoEndpoint).because("the model has no target"),
        };
        let stage = denial.reason.stage();
        Exchange { shared: self.shared, proof: () }.deny(stage, denial)
    }
}

/// A provider that quotes a key must not make the gateway tell it.
fn veiled(failure: Failure, aim: &Aim) -> Failure {
    let keys = aim.prepared.keys.as_ref();
    let shows = |text: &str| keys.is_some_and(|keys| keys.shows_in(text.as_bytes()));
    if shows(&failure.message) || shows(&failure.native_code) {
        let plain = Failure::of(failure.class);
        return Failure { native_status: failure.native_status, retry_after: failure.retry_after, ..plain };
    }
    failure
}

/// The targets as documents order them, or begun by weight.
fn order(model: &ModelPlan, draw: u64) -> Vec<ModelTargetPlan> {
    let mut targets = model.targets.clone();
    if model.strategy == ModelStrategy::Weighted {
        let total: u64 = targets.iter().map(|target| u64::from(target.weight)).sum();
        let mut point = ((u128::from(draw) * u128::from(total)) >> 64) as u64;
        let drawn = targets.iter().position(|target| {
            let weight = u64::from(target.weight);
            let found = point < weight;
            point = point.saturating_sub(weight);
            found
        });
        if let Some(drawn) = drawn {
            let first = targets.remove(drawn);
            targets.insert(0, first);
        }
    }
    targets
}

fn unix_ms() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_weighted_model_begins_by_weight_and_goes_on_in_order() {
        let target = |upstream, weight| ModelTargetPlan { upstream, model: "m".into(), weight, price: None };
        let model = ModelPlan {
            name: "m".into(),
            targets: vec![target(0, 1), target(1, 3), target(2, 1)],
            strategy: ModelStrategy::Weighted,
            roles: Vec::new(),
            max_output: None,
            tells_target: false,
        };
        let mut first = [0; 3];
        for step in 0..5_u64 {
            let order = order(&model, step * (u64::MAX / 5) + 1);
            let upstreams: Vec<usize> = order.iter().map(|target| target.upstream).collect();
            first[upstreams[0]] += 1;
            assert_eq!(upstreams.len(), 3);
            assert!(upstreams[1] < upstreams[2]);
        }
        assert_eq!(first, [1, 3, 1]);
        let ordered = ModelPlan { strategy: ModelStrategy::Ordered, ..model };
        assert_eq!(order(&ordered, u64::MAX)[0].upstream, 0);
    }
}
