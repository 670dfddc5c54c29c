//! **cache**: is the answer known?
//!
//! The stage stands behind authorization and inspection, so that a hit is judged like any other request. What may be kept
//! and used is the cache crate's judgement; here is whose answer it is, and that what is kept has been screened. A
//! route without a policy costs a branch.

mod class;
mod fill;
mod flight;
mod refresh;

use std::sync::Arc;

use bartizan_cache::{
    Asked, Entry, Found, Key, Moment, Url,
    condition::{is_not_modified, not_modified_headers},
    lookup,
    lookup::Missing,
    range::{Part, part},
    status::{CACHE_STATUS, Handled, value},
};
use bartizan_config::snapshot::{CachePlan, RouteAction};
use bartizan_model::Stage;
use bartizan_telemetry::metrics::Cached;
use http::{HeaderMap, Method, Response, StatusCode, header};

use self::flight::{Flight, Joined};
pub(crate) use self::{
    fill::{Fill, Filled, Keeping},
    flight::Flights,
};
use super::Inspected;
use crate::{
    answer::AnswerBody,
    exchange::{Exchange, Shared, Stop, Why},
};

/// The proof that no stored answer may be used.
#[must_use]
pub struct Missed {
    inspected: Inspected,
    fill: Option<Box<Fill>>,
}

impl Missed {
    /// The proof before this one, for `forward`, and what is to be kept of the answer.
    pub(super) fn into_inspected(self) -> (Inspected, Option<Box<Fill>>) {
        (self.inspected, self.fill)
    }
}

/// What a lookup found.
pub enum Looked {
    /// A stored answer: nobody else is asked.
    Hit(Stop),
    /// Nothing that may be used as it is: the upstream is asked.
    Miss(Exchange<Missed>),
    /// An equal request is on its way; its answer may be this one's too.
    Waits(Box<Collapsing>),
}

/// A request that waits for the answer to an equal one. Boxed by [`Looked`]: it is rare.
pub struct Collapsing {
    x: Exchange<Inspected>,
    flight: Flight,
    policy: Arc<CachePlan>,
}

/// Looks for a stored answer.
pub fn cache(x: Exchange<Inspected>) -> Looked {
    let Some(policy) = x.proof.plan().caching.clone() else {
        return Looked::Miss(x.prove(|inspected| Missed { inspected, fill: None }));
    };
    if x.shared.rehearsing.is_some() {
        // A rehearsal asks what the upstream would be sent, and must neither find nor keep real callers' answers.
        return Looked::Miss(x.prove(|inspected| Missed { inspected, fill: None }));
    }
    let Exchange { mut shared, proof: mut inspected } = x;
    match look(&mut shared, &mut inspected, &policy, Turn::First) {
        Step::Ask(fill) => Looked::Miss(Exchange { shared, proof: Missed { inspected, fill } }),
        Step::Answer(answer) => Looked::Hit(Stop { shared, why: Why::Kept(answer) }),
        Step::AnswerAndRefresh(answer, fill) => {
            refresh::begin(&shared, Missed { inspected, fill: Some(fill) });
            Looked::Hit(Stop { shared, why: Why::Kept(answer) })
        }
        Step::Wait(flight) => {
            let x = Exchange { shared, proof: inspected };
            Looked::Waits(Box::new(Collapsing { x, flight, policy }))
        }
    }
}

/// Waits for the answer to an equal request, and looks again. What is not there then, the request asks for itself.
pub async fn collapse(waiting: Box<Collapsing>) -> Result<Exchange<Missed>, Stop> {
    let Collapsing { x: Exchange { mut shared, proof: mut inspected }, flight, policy } = *waiting;
    let begun = shared.instant();
    let left = inspected.plan().timeouts.request;
    let left = left.map(|limit| (shared.record.started + limit).saturating_duration_since(begun));
    flight.ended(left.map_or(policy.collapse, |left| left.min(policy.collapse))).await;
    shared.record.waited += begun.elapsed();
    match look(&mut shared, &mut inspected, &policy, Turn::Waited) {
        Step::Ask(fill) => Ok(Exchange { shared, proof: Missed { inspected, fill } }),
        Step::Answer(answer) => Err(Stop { shared, why: Why::Kept(answer) }),
        Step::AnswerAndRefresh(answer, fill) => {
            refresh::begin(&shared, Missed { inspected, fill: Some(fill) });
            Err(Stop { shared, why: Why::Kept(answer) })
        }
        // Whoever has waited does not join again.
        Step::Wait(_) => Ok(Exchange { shared, proof: Missed { inspected, fill: None } }),
    }
}

/// Whether a request looks for the first time, or after it waited for an equal one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Turn {
    First,
    Waited,
}

/// What is to be done.
enum Step {
    /// Ask the upstream, and do this with its answer.
    Ask(Option<Box<Fill>>),
    /// This is the answer.
    Answer(Box<Response<AnswerBody>>),
    /// This stale one is, and the upstream is asked for a newer one beside it.
    AnswerAndRefresh(Box<Response<AnswerBody>>, Box<Fill>),
    /// Wait for an equal request first.
    Wait(Flight),
}

fn look(shared: &mut Shared, inspected: &mut Inspected, policy: &Arc<CachePlan>, turn: Turn) -> Step {
    let id = shared.live.cache_id(inspected.plan());
    let note = |shared: &mut Shared, result| shared.record.cached = Some((id, result));
    let head = inspected.head();
    let authority = head.authority();
    let port = authority.port_or_default(head.scheme());
    let target = head.path().target().as_str();
    let url = Url::new(head.scheme().as_str(), authority.host(), port, target);
    if !head.method().is_safe() {
        note(shared, Cached::Bypass);
        return Step::Ask(Some(Box::new(Fill::invalidating(head.method().clone(), url))));
    }
    let class = class::of(inspected, policy).filter(|_| is_cacheable(inspected));
    let key = class.and_then(|class| Key::of(head.method(), url, class, inspected.plan().route.clone()));
    let Some(key) = key else {
        note(shared, Cached::Bypass);
        shared.dress(CACHE_STATUS, value(Handled::SentOn { why: Missing::Bypass, stored: None }));
        return Step::Ask(None);
    };
    let now = moment(shared);
    let passed = shared.live.kept_under(inspected.plan());
    let found = lookup(shared.core.runtime.shelf(), &question(inspected, &key, passed, policy), now);
    let (why, entry) = match found {
        Found::Fresh(entry) => {
            let ttl = entry.ttl(now);
            let (told, result) = match turn {
                Turn::First => (Handled::Hit { ttl }, Cached::Hit),
                Turn::Waited => (Handled::Collapsed { ttl }, Cached::Collapsed),
            };
            note(shared, result);
            shared.dress(CACHE_STATUS, value(told));
            return Step::Answer(Box::new(answer(
                &entry,
                inspected.head().method(),
                inspected.head().headers(),
                now,
            )));
        }
        Found::Stale(entry) => match stale(shared, inspected, policy, (&key, passed), (&entry, now)) {
            Some(step) => {
                note(shared, Cached::Stale);
                return step;
            }
            // Nobody can ask beside it, so it is validated like any other.
            None => match bartizan_cache::validate::conditions(&entry) {
                Some(conditions) => (Missing::Stale, Some((entry, conditions))),
                None => (Missing::Stale, None),
            },
        },
        Found::Validate(entry, conditions) => (Missing::Stale, Some((entry, conditions))),
        // RFC 9111 §5.2.1.7 asks for 504; it is the caller's wish alone, and only where callers are heeded.
        Found::Miss(Missing::OnlyIfCached) => {
            note(shared, Cached::Bypass);
            shared.dress(CACHE_STATUS, value(Handled::SentOn { why: Missing::OnlyIfCached, stored: None }));
            let mut answer = Response::new(AnswerBody::empty());
            *answer.status_mut() = StatusCode::GATEWAY_TIMEOUT;
            answer.headers_mut().insert(header::CONTENT_LENGTH, header::HeaderValue::from_static("0"));
            return Step::Answer(Box::new(answer));
        }
        Found::Miss(why) => (why, None),
    };
    let is_fallback = entry.as_ref().is_some_and(|(entry, _)| {
        bartizan_cache::may_rescue(&question(inspected, &key, passed, policy), entry, now)
    });
    let lead =
        match join(shared, inspected, policy, &key, (why, entry.as_ref().map(|(entry, _)| entry)), turn) {
            Joined::Leads(lead) => Some(lead),
            Joined::Waits(flight) => return Step::Wait(flight),
            Joined::Failing => match entry.as_ref().filter(|_| is_fallback) {
                Some((entry, _)) => {
                    note(shared, Cached::StaleOnError);
                    let ttl = entry.ttl(now);
                    shared.dress(CACHE_STATUS, value(Handled::Rescued { status: None, ttl }));
                    return Step::Answer(Box::new(answer(
                        entry,
                        inspected.head().method(),
                        inspected.head().headers(),
                        now,
                    )));
                }
                None => None,
            },
            Joined::Alone => None,
        };
    note(shared, Cached::Miss);
    let era = shared.core.runtime.shelf().era(key.url());
    let mut fill = Fill::keeping(key, policy.clone(), inspected, (passed, era), id);
    fill.why = why;
    fill.leads(lead);
    if let Some((entry, conditions)) = entry {
        fill.knows(entry, is_fallback, conditions, inspected);
    }
    Step::Ask(Some(Box::new(fill)))
}

/// The request as the cache judges it.
fn question<'a>(inspected: &'a Inspected, key: &'a Key, passed: u64, policy: &'a CachePlan) -> Asked<'a> {
    Asked {
        key,
        method: inspected.head().method(),
        headers: inspected.head().headers(),
        is_identified: fill::is_identified(inspected),
        passed,
        terms: &policy.terms,
    }
}

/// Whether the request asks for others too, or waits for one that does.
fn join(
    shared: &Shared,
    inspected: &Inspected,
    policy: &CachePlan,
    key: &Key,
    (why, entry): (Missing, Option<&Arc<Entry>>),
    turn: Turn,
) -> Joined {
    let head = inspected.head();
    // A caller that is heeded may want an answer of its own, and what is never fresh is nobody else's.
    let is_own = policy.terms.heed_callers
        && (head.headers().contains_key(header::CACHE_CONTROL)
            || head.headers().contains_key(header::PRAGMA));
    if policy.collapse.is_zero()
        || turn == Turn::Waited
        || is_own
        || matches!(why, Missing::Bypass | Missing::Request)
        || entry.is_some_and(|entry| !entry.can_be_fresh())
    {
        return Joined::Alone;
    }
    // Only the answer to a plain GET is one that others can have.
    let asks_for_less = [header::RANGE, header::IF_NONE_MATCH, header::IF_MODIFIED_SINCE];
    let is_plain = *head.method() == Method::GET
        && (entry.is_some() || !asks_for_less.iter().any(|name| head.headers().contains_key(name)));
    shared.core.runtime.flights().join(key, is_plain, moment(shared).steady_ms)
}

/// A stale answer with what asks for a newer one, if somebody has to; nothing if it would have to be asked for, and
/// cannot be beside the answer.
fn stale(
    shared: &mut Shared,
    inspected: &mut Inspected,
    policy: &Arc<CachePlan>,
    (key, passed): (&Key, u64),
    (entry, now): (&Arc<Entry>, Moment),
) -> Option<Step> {
    let is_get = *inspected.head().method() == Method::GET;
    let room = refresh::has_room(shared);
    let lead = match shared.core.runtime.flights().join(key, is_get && room, now.steady_ms) {
        Joined::Leads(lead) => Some(lead),
        // Somebody asks already, or nobody can: the answer is as good as it was.
        Joined::Waits(_) | Joined::Failing => None,
        Joined::Alone if is_get && room => return None,
        Joined::Alone => None,
    };
    shared.dress(CACHE_STATUS, value(Handled::Hit { ttl: entry.ttl(now) }));
    let head = inspected.head();
    let answer = Box::new(answer(entry, head.method(), head.headers(), now));
    let Some(lead) = lead else { return Some(Step::Answer(answer)) };
    let id = shared.live.cache_id(inspected.plan());
    let era = shared.core.runtime.shelf().era(key.url());
    let mut fill = Fill::keeping(key.clone(), policy.clone(), inspected, (passed, era), id);
    fill.why = Missing::Stale;
    fill.leads(Some(lead));
    fill.refreshes(shared);
    let conditions = bartizan_cache::validate::conditions(entry).unwrap_or_default();
    fill.knows(entry.clone(), false, conditions, inspected);
    fill.wants_all(inspected);
    Some(Step::AnswerAndRefresh(answer, Box::new(fill)))
}

/// Whether an answer to such a request could be another's too.
fn is_cacheable(inspected: &Inspected) -> bool {
    let head = inspected.head();
    let plan = inspected.plan();
    matches!(plan.action, RouteAction::Forward(_))
        && !head.framing().announces_body()
        && head.upgrade().is_none()
        // What the upstream is sent, or how its answer is judged, depends on the caller's share, which no key holds.
        && plan.headers.iter().all(|policy| policy.bite.percent >= 100)
        && plan.inspection.iter().all(|policy| policy.bite.percent >= 100)
        // An entry was judged by the policies of its route and not by those of this caller.
        && inspected.consumer().is_none_or(|consumer| {
            consumer.inspection.iter().all(|policy| policy.response.is_none())
        })
}

/// A stored answer as this caller gets it: whole, a part, or that nothing has changed.
pub(super) fn answer(entry: &Entry, method: &Method, asked: &HeaderMap, now: Moment) -> Response<AnswerBody> {
    let (status, headers, body) = if is_not_modified(entry, asked) {
        (StatusCode::NOT_MODIFIED, not_modified_headers(entry, now), AnswerBody::empty())
    } else {
        let part = part(entry, method, asked);
        let mut headers = entry.headers_at(now);
        if let Some(range) = part.content_range(entry.body().len()) {
            headers.insert(header::CONTENT_RANGE, range);
        }
        let (status, body) = match part {
            Part::Whole => (entry.status(), entry.body().clone()),
            // `part` gives ranges within the body only.
            Part::Bytes { first, end } => (StatusCode::PARTIAL_CONTENT, entry.body().slice(first..end)),
            Part::Unsatisfiable => (StatusCode::RANGE_NOT_SATISFIABLE, bytes::Bytes::new()),
        };
        if status != entry.status() {
            headers.insert(header::CONTENT_LENGTH, body.len().into());
        }
        let body = if *method == Method::HEAD { AnswerBody::empty() } else { AnswerBody::whole(body) };
        (status, headers, body)
    };
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    *answer.headers_mut() = headers;
    answer
}

/// What the clocks show.
pub(super) fn moment(shared: &Shared) -> Moment {
    Moment {
        unix_s: shared.unix_ms(Stage::Cache) / 1_000,
        steady_ms: shared.core.runtime.nanos(shared.instant()).0 / 1_000_000,
    }
}
