//! **cache**: is the answer known?
//!
//! The stage stands behind authorization and inspection, so that a hit is judged like any other request. What may be kept
//! and used is the cache crate's judgement; here is whose answer it is, and that what is kept has been screened. A
//! route without a policy costs a branch.

mod class;
mod fill;

use std::sync::Arc;

use bartizan_cache::{
    Entry, Found, Key, Moment, Url,
    condition::{is_not_modified, not_modified_headers},
    lookup,
    lookup::Missing,
    range::{Part, part},
    status::{CACHE_STATUS, Handled, value},
};
use bartizan_config::snapshot::{CachePlan, RouteAction};
use bartizan_model::Stage;
use http::{HeaderMap, Method, Response, StatusCode, header};

pub(crate) use self::fill::{Fill, Filled, Keeping};
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
    let fill = match look(&mut shared, &mut inspected, &policy) {
        Ok(fill) => fill.map(Box::new),
        Err(answer) => return Looked::Hit(Stop { shared, why: Why::Kept(answer) }),
    };
    Looked::Miss(Exchange { shared, proof: Missed { inspected, fill } })
}

/// What is to be done with the upstream's answer, or the stored answer.
fn look(
    shared: &mut Shared,
    inspected: &mut Inspected,
    policy: &Arc<CachePlan>,
) -> Result<Option<Fill>, Box<Response<AnswerBody>>> {
    let head = inspected.head();
    let authority = head.authority();
    let port = authority.port_or_default(head.scheme());
    let target = head.path().target().as_str();
    let url = Url::new(head.scheme().as_str(), authority.host(), port, target);
    if !head.method().is_safe() {
        return Ok(Some(Fill::invalidating(head.method().clone(), url)));
    }
    let class = class::of(inspected, policy).filter(|_| is_cacheable(inspected));
    let key = class.and_then(|class| Key::of(head.method(), url, class, inspected.plan().route.clone()));
    let Some(key) = key else {
        shared.dress(CACHE_STATUS, value(Handled::SentOn { why: Missing::Bypass, stored: None }));
        return Ok(None);
    };
    let now = moment(shared);
    let shelf = shared.core.runtime.shelf();
    let era = shelf.era(key.url());
    let mut fill = Fill::keeping(key, policy.clone(), inspected, (shared.live.id, era));
    let found = fill.asked().map(|asked| lookup(shelf, &asked, now));
    match found.unwrap_or(Found::Miss(Missing::Bypass)) {
        Found::Fresh(entry) => {
            let ttl = entry.ttl(now);
            shared.dress(CACHE_STATUS, value(Handled::Hit { ttl }));
            let answer = answer(&entry, head.method(), head.headers(), now);
            return Err(Box::new(answer));
        }
        // Nothing asks in the background yet, so a stale answer is validated like any other.
        Found::Stale(entry) => match bartizan_cache::validate::conditions(&entry) {
            Some(conditions) => fill.validates(entry, conditions, inspected),
            None => fill.why = Missing::Stale,
        },
        Found::Validate(entry, conditions) => fill.validates(entry, conditions, inspected),
        // RFC 9111 §5.2.1.7 asks for 504; it is the caller's wish alone, and only where callers are heeded.
        Found::Miss(Missing::OnlyIfCached) => {
            shared.dress(CACHE_STATUS, value(Handled::SentOn { why: Missing::OnlyIfCached, stored: None }));
            let mut answer = Response::new(AnswerBody::empty());
            *answer.status_mut() = StatusCode::GATEWAY_TIMEOUT;
            answer.headers_mut().insert(header::CONTENT_LENGTH, header::HeaderValue::from_static("0"));
            return Err(Box::new(answer));
        }
        Found::Miss(why) => fill.why = why,
    }
    Ok(Some(fill))
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
