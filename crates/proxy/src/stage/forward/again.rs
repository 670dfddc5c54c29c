//! Asking under an `UpstreamPolicy`: how many at once, how long each time, and when once more.
//!
//! A request is sent again only if it does no harm twice, and if it can be: its body is empty or was held to be judged. The
//! pause is drawn at random, so that callers who failed together do not come again together. What retries add is bounded by
//! the policy's budget, and in time by the route.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bartizan_config::snapshot::{RetriesPlan, UpstreamPolicyPlan};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri};

use super::{Asking, Failure, mirror};
use crate::{
    body::{RequestBody, Whole},
    upstream::{ForwardErrorKind, Sent},
};

/// 5 s: no pause is longer, however often it doubled.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// Sends the request, again if that is worth it, and gives the last outcome.
pub(super) async fn send(
    asking: &mut Asking,
    policy: Arc<UpstreamPolicyPlan>,
) -> Result<Sent<RequestBody>, Failure> {
    let core = asking.shared.core.clone();
    let governor = core.governor(&policy.label);
    if let Some(concurrency) = policy.concurrency {
        match governor.admit(concurrency) {
            Some(permit) => asking.shared.permit = Some(permit),
            None => return Err(Failure::Shed(policy.label.clone())),
        }
    }
    if let Some(mirror) = &policy.mirror {
        mirror::begin(asking, mirror);
    }
    let again = policy.retries.as_ref().and_then(|retries| {
        governor.earn(retries.budget_percent);
        Some((retries, Copied::for_again(asking)?))
    });
    let whole = asking.head_by;
    loop {
        let begun = Instant::now();
        asking.since = begun;
        asking.head_by = policy.first_byte.map_or(whole, |limit| whole.min(begun + limit));
        tell_deadline(asking, &policy, whole.saturating_duration_since(begun));
        let outcome = asking.send().await;
        if let Some(concurrency) = policy.concurrency {
            let ended = Instant::now();
            let took = outcome.as_ref().ok().map(|_| nanos(ended.saturating_duration_since(begun)));
            governor.note(concurrency, core.runtime.nanos(ended).0, took);
        }
        let Some((retries, copied)) = &again else { return outcome };
        if asking.before >= u16::from(retries.attempts) || !is_worth(&outcome, retries, &policy) {
            return outcome;
        }
        let pause = pause(retries.backoff, asking.before, core.draw());
        if Instant::now() + pause >= whole || !governor.spend() {
            return outcome;
        }
        asking.except = failed_endpoint(asking, &outcome);
        // Its connection is closed with it: nobody wants the rest of that answer.
        drop(outcome);
        core.metrics.retried(asking.shared.live.upstream_id(asking.index));
        tokio::time::sleep(pause).await;
        asking.before += 1;
        asking.request = Some(copied.request());
    }
}

/// What of a request is needed to send it once more.
pub(super) struct Copied {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Option<Whole>,
}

impl Copied {
    /// A copy, if there is one to have: bodies that pass by are not kept.
    pub(super) fn of(asking: &Asking) -> Option<Self> {
        let request = asking.request.as_ref()?;
        let body = match request.body() {
            RequestBody::Empty => None,
            RequestBody::Whole(whole) => Some(whole.clone()),
            RequestBody::Started(..) | RequestBody::Unjudged(_) => return None,
        };
        let (method, uri, headers) =
            (request.method().clone(), request.uri().clone(), request.headers().clone());
        asking.asked.is_none().then_some(Copied { method, uri, headers, body })
    }

    /// RFC 9110 §9.2.2: only what is idempotent does no harm twice.
    fn for_again(asking: &Asking) -> Option<Self> {
        let method = asking.request.as_ref()?.method();
        let is_idempotent =
            [Method::GET, Method::HEAD, Method::OPTIONS, Method::PUT, Method::DELETE].contains(method);
        is_idempotent.then(|| Copied::of(asking)).flatten()
    }

    /// Its headers.
    pub(super) fn headers_mut(&mut self) -> &mut HeaderMap {
        &mut self.headers
    }

    /// The request as it was.
    pub(super) fn request(&self) -> Request<RequestBody> {
        let body = self.body.clone().map_or(RequestBody::Empty, RequestBody::Whole);
        let mut request = Request::new(body);
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.clone();
        request
    }
}

/// Tells the upstream how long anybody waits for its answer.
fn tell_deadline(asking: &mut Asking, policy: &UpstreamPolicyPlan, left: Duration) {
    let limit = policy.first_byte.map_or(left, |limit| left.min(limit));
    if let (Some(name), Some(request)) = (&policy.deadline_header, &mut asking.request) {
        let milliseconds = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
        request.headers_mut().insert(name.clone(), HeaderValue::from(milliseconds));
    }
}

fn is_worth(
    outcome: &Result<Sent<RequestBody>, Failure>,
    retries: &RetriesPlan,
    policy: &UpstreamPolicyPlan,
) -> bool {
    match outcome {
        Ok(sent) => retries.on_gateway_error && is_gateway_error(sent.response.status()),
        Err(Failure::Upstream(error)) => match error.kind {
            ForwardErrorKind::ConnectFailed | ForwardErrorKind::TlsFailed | ForwardErrorKind::Timeout => {
                retries.on_connect
            }
            ForwardErrorKind::Reset => retries.on_reset,
            ForwardErrorKind::Full
            | ForwardErrorKind::Misbehaved
            | ForwardErrorKind::NoEndpoint
            | ForwardErrorKind::RequestBody
            | ForwardErrorKind::Unsendable => false,
        },
        Err(Failure::TooSlow(_)) => retries.on_timeout && policy.first_byte.is_some(),
        Err(Failure::Shed(_)) => false,
    }
}

fn is_gateway_error(status: StatusCode) -> bool {
    matches!(status.as_u16(), 502..=504)
}

fn failed_endpoint(asking: &Asking, outcome: &Result<Sent<RequestBody>, Failure>) -> Option<usize> {
    match outcome {
        Ok(sent) => Some(sent.index),
        Err(Failure::TooSlow(endpoint)) => *endpoint,
        Err(Failure::Upstream(error)) => {
            let authority = error.endpoint.as_ref()?;
            asking.prepared.plan.endpoints.iter().position(|endpoint| endpoint.authority == *authority)
        }
        Err(Failure::Shed(_)) => None,
    }
}

/// A pause drawn between nothing and twice the one before.
fn pause(first: Duration, before: u16, draw: u64) -> Duration {
    let most = first.saturating_mul(1 << before.min(8)).min(PAUSE_MAX);
    most.mul_f64((draw >> 11) as f64 / (1_u64 << 53) as f64)
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_drawn_up_to_twice_the_one_before_and_bounded() {
        let first = Duration::from_millis(25);
        for before in 0..20 {
            let most = pause(first, before, u64::MAX);
            assert_eq!(pause(first, before, 0), Duration::ZERO);
            assert!(most <= PAUSE_MAX, "{most:?}");
            let expected = first.saturating_mul(1 << before.min(8)).min(PAUSE_MAX);
            assert!(most > expected.mul_f64(0.99), "{before}: {most:?} of {expected:?}");
        }
    }
}
