//! Whether an endpoint is well: what exchanges show (passive) and what asking it shows (active).
//!
//! Passive checks eject: failures in a row keep an endpoint out for a while, longer each time it follows soon, and
//! never more endpoints at once than the plan allows. Active checks ask each endpoint in turn on a thread of their
//! own; only their verdict can leave an upstream without any endpoint. Changes are logged once, by whoever made them.

use std::{
    hash::{BuildHasher, RandomState},
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use bartizan_config::snapshot::upstream::{ActiveCheckPlan, PassiveCheckPlan};
use bytes::Bytes;
use http::{Request, StatusCode, Uri, header};
use http_body_util::Empty;
use hyper_util::rt::TokioIo;
use tokio::task::JoinSet;
use tracing::{info, warn};

use super::{
    balance::{Dice, ejected_max},
    connect,
    io::HeadWatch,
    prepare::{PreparedEndpoint, PreparedUpstream, UpstreamSet, is_http2},
    resolve::Resolver,
    state::{EndpointState, nanos, nanos_of},
};

/// An ejection lasts at most this many times the first one.
const EJECTION_GROWTH_MAX: u32 = 10;

/// How an exchange ended, as far as the endpoint's health goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A response with this status; 502, 503 and 504 count as failures.
    Answered(StatusCode),
    /// No connection, no answer in time, or a broken one.
    Failed,
}

impl Outcome {
    fn is_failure(self) -> bool {
        match self {
            Outcome::Failed => true,
            Outcome::Answered(status) => matches!(
                status,
                StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT
            ),
        }
    }
}

/// Takes note of how an exchange with endpoint `index` of `upstream` ended.
///
/// `send` reports what it sees itself: answers, and failures up to the response head. The caller reports what only he
/// sees: his deadline passed, or the response's body broke off.
pub fn report(upstream: &PreparedUpstream, index: usize, outcome: Outcome, now: Instant) {
    let Some(plan) = &upstream.plan.passive else { return };
    let Some(endpoint) = upstream.endpoints.get(index) else { return };
    if outcome.is_failure() {
        failed(upstream, plan, endpoint, now);
    } else {
        succeeded(upstream, plan, endpoint, now);
    }
}

/// Writes only what has to change: on the way of a plain request these are three loads.
fn succeeded(
    upstream: &PreparedUpstream,
    plan: &PassiveCheckPlan,
    endpoint: &PreparedEndpoint,
    now: Instant,
) {
    let state = &*endpoint.state;
    if state.consecutive_failures.load(Relaxed) != 0 {
        state.consecutive_failures.store(0, Relaxed);
    }
    if state.was_ever_ejected() && state.take_return(nanos(now)) {
        info!(upstream = %upstream.plan.name, endpoint = %endpoint.plan.authority, "endpoint is back after ejection");
    }
    if state.ejection_count.load(Relaxed) != 0 && !state.was_ever_ejected() {
        let well_for = nanos(now).saturating_sub(state.returned_at.load(Relaxed));
        if well_for > nanos_of(plan.eject_for.saturating_mul(EJECTION_GROWTH_MAX)) {
            state.ejection_count.store(0, Relaxed);
        }
    }
}

fn failed(upstream: &PreparedUpstream, plan: &PassiveCheckPlan, endpoint: &PreparedEndpoint, now: Instant) {
    let state = &*endpoint.state;
    let failures = state.consecutive_failures.fetch_add(1, Relaxed).saturating_add(1);
    if failures < plan.failures.max(1) {
        return;
    }
    let now = nanos(now);
    let others = upstream.endpoints.iter().filter(|other| !Arc::ptr_eq(&other.state, &endpoint.state));
    let ejected = others.filter(|other| other.state.is_ejected(now)).count();
    if ejected >= ejected_max(upstream.endpoints.len(), plan.ejected_percent_max) {
        return;
    }
    let duration = ejection(plan.eject_for, state.ejection_count.load(Relaxed));
    if state.eject(now, now.saturating_add(nanos_of(duration))) {
        state.ejection_count.fetch_add(1, Relaxed);
        state.consecutive_failures.store(0, Relaxed);
        warn!(
            upstream = %upstream.plan.name, endpoint = %endpoint.plan.authority, failures,
            seconds = duration.as_secs_f32(), "endpoint ejected"
        );
    }
}

/// How long the ejection after `before` earlier ones lasts.
fn ejection(first: Duration, before: u32) -> Duration {
    let growth = 1u32.checked_shl(before).unwrap_or(u32::MAX).min(EJECTION_GROWTH_MAX);
    first.saturating_mul(growth)
}

/// Runs the active checks of `set` until `stop` is done. Needs a local runtime (it spawns on the current thread).
pub async fn run_checks(set: Arc<UpstreamSet>, stop: impl Future<Output = ()>) {
    let mut checks = JoinSet::new();
    for upstream in set.iter().filter(|upstream| upstream.plan.active.is_some()) {
        for index in 0..upstream.endpoints.len() {
            let seed = RandomState::new().hash_one((upstream.id, index));
            checks.spawn_local(check_again_and_again(Arc::clone(upstream), index, Dice::new(seed)));
        }
    }
    // Dropping the set ends the checks, also those that wait for an answer.
    stop.await;
}

async fn check_again_and_again(upstream: Arc<PreparedUpstream>, index: usize, dice: Dice) {
    let (Some(plan), Some(endpoint)) = (&upstream.plan.active, upstream.endpoints.get(index)) else { return };
    let resolver = Resolver::default();
    // Spread over the first interval, but soon: an endpoint that is down should be known before its turn comes often.
    tokio::time::sleep(plan.interval.min(Duration::from_secs(1)).mul_f64(fraction(dice.roll()))).await;
    loop {
        let checked = tokio::time::timeout(plan.timeout, probe(&resolver, &upstream, endpoint, plan)).await;
        let failure = match checked {
            Ok(Ok(status)) if is_healthy_status(plan, status) => None,
            Ok(Ok(status)) => Some(format!("status {}", status.as_u16())),
            Ok(Err(detail)) => Some(detail),
            Err(_) => Some("no answer in time".to_owned()),
        };
        tell(&upstream, endpoint, plan, failure);
        resolver.sweep();
        tokio::time::sleep(jittered(plan.interval, dice.roll())).await;
    }
}

fn tell(
    upstream: &PreparedUpstream,
    endpoint: &PreparedEndpoint,
    plan: &ActiveCheckPlan,
    failure: Option<String>,
) {
    let (name, authority) = (&upstream.plan.name, &endpoint.plan.authority);
    let changed = tally(&endpoint.state, failure.is_none(), plan, nanos(Instant::now()));
    match (changed, failure) {
        (false, _) => {}
        (true, None) => info!(upstream = %name, endpoint = %authority, "endpoint is healthy"),
        (true, Some(why)) => warn!(upstream = %name, endpoint = %authority, why, "endpoint is unhealthy"),
    }
}

/// Counts a check's result; whether the verdict changed with it.
pub(super) fn tally(state: &EndpointState, passed: bool, plan: &ActiveCheckPlan, now: u64) -> bool {
    let before = state.checks_in_row.load(Relaxed);
    let row = if passed { before.max(0).saturating_add(1) } else { before.min(0).saturating_sub(1) };
    state.checks_in_row.store(row, Relaxed);
    let needed = if passed { plan.healthy_after } else { plan.unhealthy_after };
    state.is_healthy() != passed && row.unsigned_abs() >= needed && state.set_healthy(passed, now)
}

fn is_healthy_status(plan: &ActiveCheckPlan, status: StatusCode) -> bool {
    plan.statuses.iter().any(|(first, last)| (*first..=*last).contains(&status.as_u16()))
}

/// Within ±10 % of `interval`.
fn jittered(interval: Duration, number: u64) -> Duration {
    interval.mul_f64(0.9 + 0.2 * fraction(number))
}

/// A number of [0, 1).
fn fraction(number: u64) -> f64 {
    f64::from(u32::try_from(number >> 32).unwrap_or(0)) / (f64::from(u32::MAX) + 1.0)
}

/// Asks once, over a connection of its own: what is checked is also that one can be had.
async fn probe(
    resolver: &Resolver,
    upstream: &PreparedUpstream,
    endpoint: &PreparedEndpoint,
    plan: &ActiveCheckPlan,
) -> Result<StatusCode, String> {
    let request = question(upstream, endpoint, plan)?;
    let watch = HeadWatch::new();
    watch.arm();
    let io = connect::connect(resolver, upstream, endpoint, watch).await;
    let io = TokioIo::new(io.map_err(|failure| failure.detail)?);
    let said = |error: hyper::Error| error.to_string();
    // A `JoinSet` ends what it holds when dropped, so a check that is given up leaves no connection behind.
    let mut connection = JoinSet::new();
    let response = if is_http2(upstream) {
        let (mut sender, task) = connect::http2().handshake(io).await.map_err(said)?;
        connection.spawn_local(async move { task.await.is_ok() });
        sender.send_request(request).await
    } else {
        let (mut sender, task) = connect::http1().handshake(io).await.map_err(said)?;
        connection.spawn_local(async move { task.await.is_ok() });
        sender.send_request(request).await
    };
    response.map(|response| response.status()).map_err(said)
}

/// The check's request. It carries no credential: an answer to it is not worth one.
fn question(
    upstream: &PreparedUpstream,
    endpoint: &PreparedEndpoint,
    plan: &ActiveCheckPlan,
) -> Result<Request<Empty<Bytes>>, String> {
    let builder = Request::get(&*plan.path).header(header::USER_AGENT, "bartizan-health-check");
    let built = if is_http2(upstream) {
        let uri = Uri::builder()
            .scheme(upstream.scheme())
            .authority(&*endpoint.plan.authority)
            .path_and_query(&*plan.path)
            .build()
            .map_err(|error| error.to_string())?;
        builder.uri(uri).body(Empty::new())
    } else {
        builder
            .header(header::HOST, &*endpoint.plan.authority)
            .header(header::CONNECTION, "close")
            .body(Empty::new())
    };
    built.map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ejection_doubles_up_to_ten_times_the_first() {
        let lasts: Vec<_> = (0..6).map(|before| ejection(Duration::from_secs(3), before).as_secs()).collect();
        assert_eq!(lasts, [3, 6, 12, 24, 30, 30]);
        assert_eq!(ejection(Duration::from_secs(3), u32::MAX), Duration::from_secs(30));
    }

    #[test]
    fn only_enough_checks_in_a_row_change_the_verdict() {
        let plan = ActiveCheckPlan {
            path: "/".into(),
            interval: Duration::from_secs(1),
            timeout: Duration::from_secs(1),
            statuses: vec![(200, 299)],
            healthy_after: 2,
            unhealthy_after: 3,
        };
        let state = EndpointState::default();
        let told: Vec<_> = [false, false, true, false, false, false, false, true, true, true]
            .into_iter()
            .map(|passed| (tally(&state, passed, &plan, 1), state.is_healthy()))
            .collect();
        let changed: Vec<_> = told.iter().map(|(changed, _)| *changed).collect();
        assert_eq!(changed, [false, false, false, false, false, true, false, false, true, false]);
        assert!(told.last().is_some_and(|(_, healthy)| *healthy));
        assert_eq!(state.counts().health_changes, 2);
        assert!(is_healthy_status(&plan, StatusCode::NO_CONTENT));
        assert!(!is_healthy_status(&plan, StatusCode::FOUND));
    }

    #[test]
    fn jitter_stays_within_a_tenth() {
        let interval = Duration::from_secs(10);
        assert_eq!(jittered(interval, 0), Duration::from_secs(9));
        let most = jittered(interval, u64::MAX);
        assert!(most > Duration::from_millis(10_999) && most <= Duration::from_secs(11), "{most:?}");
    }
}
