//! A scrape as its readers see it.

use std::{
    io::Write,
    net::SocketAddr,
    process::{Command, Stdio},
    sync::Arc,
    thread,
    time::{Duration, Instant, UNIX_EPOCH},
};

use bartizan_model::{Denial, Fault, Mode, OnFault, Reason, Stage};
use http::Method;

use super::*;
use crate::{
    plan::RecordPlan,
    record::{ModelRecord, Protocol, RequestRecord, Would, WouldDeny},
    rules::{RuleMatch, RuleRole},
};

fn metrics() -> Arc<Metrics> {
    Metrics::new("1.2.3", UNIX_EPOCH + Duration::from_millis(1_500))
}

fn record(route_id: RouteId, status: u16) -> Box<RequestRecord> {
    let peer = SocketAddr::from(([127, 0, 0, 1], 1));
    let mut record = RequestRecord::open(0, Instant::now(), peer, Protocol::Http2, Arc::default());
    record.route_id = route_id;
    record.status = status;
    record
}

/// Metrics in which every family has a sample, with names as hostile as can be.
fn everything() -> Arc<Metrics> {
    let metrics = metrics();
    let hostile = "a\"} 1\nevil{b=\"\\ü\u{2028}";
    let [one, two] = [metrics.core(), metrics.core()];
    let (listener, upstream) = (metrics.listener(hostile), metrics.upstream(hostile));
    let (endpoint, policy) = (metrics.endpoint(hostile, "[::1]:80"), metrics.policy(hostile));
    metrics.set_endpoint_healthy(endpoint, Some(true));
    metrics.set_endpoint_connections(endpoint, Some((1, 2)));
    let used = ModelRecord {
        model: Some(hostile.into()),
        input_tokens: Some(11),
        usage_source: "provider",
        cost_pico: Some(5_000),
        first_token: Some(Duration::from_millis(3)),
        failures: vec![(hostile.into(), "server_error")],
        ..ModelRecord::default()
    };
    metrics.usage().add(0, None, &used);
    metrics.usage().add(0, None, &ModelRecord { cost_pico: None, ..used.clone() });
    metrics.usage().add(0, None, &ModelRecord { usage_source: "", ..used });
    for core in [&one, &two] {
        let mut full = record(metrics.route(hostile), 429);
        full.listener_id = listener;
        full.upstream_id = upstream;
        full.upstream_time = Some(Duration::from_millis(3));
        full.total = Duration::from_millis(4);
        full.request_bytes = 10;
        full.response_bytes = 20;
        full.refuse(Stage::Limit, Denial::new(Reason::RateExceeded));
        full.would_deny(WouldDeny {
            stage: Stage::Authorize,
            policy: hostile.into(),
            outcome: Would::Deny,
            reason: Reason::NotAllowed,
            detail: None,
        });
        full.rules.push(RuleMatch {
            policy: hostile.into(),
            rule: 8_110_010,
            group: metrics.rule_group(hostile, "8110"),
            role: RuleRole::Matched,
            half: "request",
            at: "sql.conf:7".into(),
            message: "SQL".into(),
            variable: "ARGS:q".into(),
            transforms: "none".into(),
            excerpt: "***".into(),
            exclusion: None,
        });
        full.cached = Some((policy, Cached::Miss));
        core.refreshed(policy, Refreshed::Renewed);
        core.inspected(policy, Inspected::Refused, Mode::Enforce);
        core.opened();
        core.opened();
        core.close(&full);
        core.policy_fault(policy, OnFault::Allow);
        core.rate_limit(policy, Decision::Throttle, Mode::Shadow);
        core.auth_failure(Reason::CredentialMissing);
        core.failure_counter_filled(FailureCounter::Account);
        core.upstream_attempt(endpoint, Outcome::Timeout);
        core.retried(upstream);
        core.connection_opened(listener);
        core.connection_refused(listener, RefusedConnection::AddressFull);
        core.handshake_failed(listener);
        core.handshake_done(listener, Duration::from_millis(2));
    }
    metrics.fetches().note(FetchPurpose::KeySet, FetchOutcome::Answered, Duration::from_millis(3));
    metrics.set_limit(5, 1, 2);
    metrics.set_cache(3, 4_096);
    metrics.set_overload(OverloadFigures {
        memory: 925,
        event_loop: 10,
        limit_bytes: 1 << 30,
        worst_bytes: 1 << 40,
        held_bytes: 77,
        taken: vec![("shed", 3)],
        ..OverloadFigures::default()
    });
    metrics.set_audit(&[("high", 2), ("low", 0)], UNIX_EPOCH + Duration::from_secs(100));
    metrics.set_rollout(RolloutFigures {
        share: 0.1,
        sides: [[5, 1, 1], [90, 0, 2]],
        shadow: vec![("same", 7)],
    });
    metrics.config_applied(hostile, UNIX_EPOCH + Duration::from_secs(100));
    metrics.config_refused();
    metrics
}

fn has(text: &str, line: &str) {
    assert!(text.lines().any(|there| there == line), "no line {line:?} in\n{text}");
}

#[test]
fn counts_of_all_cores_are_summed() {
    let metrics = metrics();
    let route = metrics.route("orders");
    thread::scope(|scope| {
        for _ in 0..4 {
            let core = metrics.core();
            scope.spawn(move || {
                for _ in 0..1000 {
                    core.opened();
                    let mut record = record(route, 200);
                    record.total = Duration::from_millis(2);
                    record.response_bytes = 3;
                    core.close(&record);
                }
            });
        }
    });
    let text = metrics.expose(Format::Prometheus);
    has(&text, "bartizan_http_requests_total{route=\"orders\",method=\"GET\",code=\"200\"} 4000");
    has(&text, "bartizan_http_response_bytes_total{route=\"orders\"} 12000");
    has(&text, "bartizan_http_request_duration_seconds_bucket{route=\"orders\",le=\"0.001\"} 0");
    has(&text, "bartizan_http_request_duration_seconds_bucket{route=\"orders\",le=\"0.0025\"} 4000");
    has(&text, "bartizan_http_request_duration_seconds_bucket{route=\"orders\",le=\"+Inf\"} 4000");
    has(&text, "bartizan_http_request_duration_seconds_sum{route=\"orders\"} 8.0");
    has(&text, "bartizan_http_request_duration_seconds_count{route=\"orders\"} 4000");
    has(&text, "bartizan_http_in_flight_requests 0");
}

#[test]
fn the_duration_is_split_between_gateway_and_upstream() {
    let metrics = metrics();
    let core = metrics.core();
    let mut record = record(metrics.route("r"), 200);
    record.upstream_id = metrics.upstream("u");
    record.total = Duration::from_millis(10);
    record.upstream_time = Some(Duration::from_millis(7));
    record.waited = Duration::from_millis(2);
    core.opened();
    core.close(&record);
    let text = metrics.expose(Format::Prometheus);
    has(&text, "bartizan_http_gateway_duration_seconds_sum{route=\"r\"} 0.001");
    has(&text, "bartizan_http_upstream_duration_seconds_sum{upstream=\"u\"} 0.007");
    has(&text, "bartizan_http_request_duration_seconds_sum{route=\"r\"} 0.01");
}

#[test]
fn refusals_are_counted_by_stage_reason_and_mode_and_an_undecided_one_in_its_stage() {
    let metrics = everything();
    let core = metrics.core();
    let mut faulted = record(RouteId::NONE, 503);
    faulted.refuse_for_fault(None, Fault::new(Stage::Identify, "x"));
    core.opened();
    core.close(&faulted);
    let text = metrics.expose(Format::Prometheus);
    has(&text, "bartizan_refusals_total{stage=\"limit\",reason=\"RateExceeded\",mode=\"enforce\"} 2");
    has(&text, "bartizan_refusals_total{stage=\"authorize\",reason=\"NotAllowed\",mode=\"shadow\"} 2");
    has(&text, "bartizan_refusals_total{stage=\"identify\",reason=\"JudgeUnavailable\",mode=\"enforce\"} 1");
    has(&text, "bartizan_http_requests_total{route=\"_none\",method=\"GET\",code=\"503\"} 1");
}

#[test]
fn what_a_caller_chooses_makes_no_new_series() {
    let metrics = metrics();
    let core = metrics.core();
    let route = metrics.route("r");
    for n in 0..500_u16 {
        let mut record = record(route, 600 + n);
        record.method = Method::from_bytes(format!("M{n}").as_bytes()).unwrap();
        core.opened();
        core.close(&record);
    }
    let text = metrics.expose(Format::Prometheus);
    has(&text, "bartizan_http_requests_total{route=\"r\",method=\"_other\",code=\"none\"} 500");
    assert_eq!(text.matches("bartizan_http_requests_total{").count(), 1);
}

#[test]
fn routes_beyond_the_limit_are_counted_together() {
    let metrics = metrics();
    let core = metrics.core();
    for n in 0..5000 {
        core.opened();
        core.close(&record(metrics.route(&format!("r{n}")), 200));
    }
    let text = metrics.expose(Format::Prometheus);
    // Two numbers of the 4,096 are those of `_none` and `_overflow`.
    has(&text, "bartizan_http_requests_total{route=\"_overflow\",method=\"GET\",code=\"200\"} 906");
    assert_eq!(text.matches("bartizan_http_requests_total{").count(), 4095);
}

#[test]
fn counts_survive_a_reload_and_the_end_of_a_core() {
    let metrics = metrics();
    let first = metrics.core();
    first.opened();
    first.close(&record(metrics.route("r"), 200));
    drop(first);
    let second = metrics.core();
    second.opened();
    second.close(&record(metrics.route("r"), 200));
    has(
        &metrics.expose(Format::Prometheus),
        "bartizan_http_requests_total{route=\"r\",method=\"GET\",code=\"200\"} 2",
    );
}

#[test]
fn connections_and_health_come_and_go() {
    let metrics = everything();
    let endpoint = metrics.endpoint("u", "e:80");
    let core = metrics.core();
    metrics.set_endpoint_healthy(endpoint, Some(false));
    metrics.set_endpoint_connections(endpoint, Some((0, 1)));
    core.upstream_attempt(endpoint, Outcome::Answered);
    let text = metrics.expose(Format::Prometheus);
    has(&text, "bartizan_upstream_connections{upstream=\"u\",endpoint=\"e:80\",state=\"active\"} 0");
    has(&text, "bartizan_upstream_connections{upstream=\"u\",endpoint=\"e:80\",state=\"idle\"} 1");
    has(&text, "bartizan_endpoint_healthy{upstream=\"u\",endpoint=\"e:80\"} 0");
    metrics.set_endpoint_healthy(endpoint, None);
    assert!(!metrics.expose(Format::Prometheus).contains("bartizan_endpoint_healthy{upstream=\"u\""));
}

#[test]
fn a_policy_that_is_off_decides_nothing() {
    let metrics = metrics();
    metrics.core().rate_limit(metrics.policy("p"), Decision::Deny, Mode::Off);
    assert!(!metrics.expose(Format::Prometheus).contains("ratelimit_decisions_total{"));
}

#[test]
fn the_configuration_tells_only_the_revision_that_serves() {
    let metrics = metrics();
    assert!(!metrics.expose(Format::Prometheus).contains("timestamp_seconds 0"));
    metrics.config_applied("r1", UNIX_EPOCH + Duration::from_secs(100));
    metrics.config_applied("r2", UNIX_EPOCH + Duration::from_secs(200));
    metrics.config_refused();
    let text = metrics.expose(Format::Prometheus);
    has(&text, "bartizan_config_revision_info{revision=\"r2\"} 1");
    assert!(!text.contains("\"r1\""));
    has(&text, "bartizan_config_last_reload_success_timestamp_seconds 200.0");
    has(&text, "bartizan_config_reloads_total{outcome=\"applied\"} 2");
    has(&text, "bartizan_config_reloads_total{outcome=\"refused\"} 1");
    has(&text, "process_start_time_seconds 1.5");
    has(&text, "bartizan_build_info{version=\"1.2.3\"} 1");
}

#[test]
fn what_was_fetched_is_counted_by_purpose_and_outcome() {
    let metrics = metrics();
    let fetches = metrics.fetches();
    fetches.note(FetchPurpose::KeySet, FetchOutcome::Answered, Duration::from_millis(3));
    fetches.note(FetchPurpose::KeySet, FetchOutcome::TimedOut, Duration::from_millis(2_000));
    fetches.note(FetchPurpose::Token, FetchOutcome::Refused, Duration::from_millis(5));
    let text = metrics.expose(Format::Prometheus);
    has(&text, r#"bartizan_fetches_total{purpose="key_set",outcome="answered"} 1"#);
    has(&text, r#"bartizan_fetches_total{purpose="key_set",outcome="timed_out"} 1"#);
    has(&text, r#"bartizan_fetches_total{purpose="token",outcome="refused"} 1"#);
    has(&text, r#"bartizan_fetch_duration_seconds_total{purpose="key_set"} 2.003"#);
    assert!(!text.contains("introspection"), "what was never asked for has no sample");
}

#[test]
fn every_family_has_help_and_type_once_and_a_sample() {
    for format in [Format::Prometheus, Format::OpenMetrics] {
        let text = everything().expose(format);
        for family in table::ALL {
            let name = match (format, family.kind) {
                (Format::OpenMetrics, table::Kind::Counter) => family.name.strip_suffix("_total").unwrap(),
                _ => family.name,
            };
            let [help, kind] =
                ["HELP", "TYPE"].map(|word| text.matches(&format!("# {word} {name} ")).count());
            assert_eq!((help, kind), (1, 1), "{name}");
            let is_sample = |line: &str| {
                line.strip_prefix(family.name).is_some_and(|rest| rest.starts_with(['{', ' ', '_']))
            };
            // What only Linux tells may be absent elsewhere.
            let optional = !cfg!(target_os = "linux") && family.name.starts_with("process_");
            assert!(optional || text.lines().any(is_sample), "{name} has no sample");
        }
    }
}

#[test]
fn hostile_names_stay_within_their_quotes() {
    let text = everything().expose(Format::Prometheus);
    for line in text.lines() {
        assert!(
            line.starts_with("# ") || line.starts_with("bartizan_") || line.starts_with("process_"),
            "{line:?}"
        );
    }
    assert!(!text.contains("\nevil"));
}

/// Sends `text` to `promtool check metrics`; `None` where it is not installed.
fn promtool(text: &str) -> Option<(bool, String)> {
    let mut child = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .ok()?;
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    Some((output.status.success(), String::from_utf8(said).unwrap()))
}

#[test]
fn promtool_finds_nothing_to_say() {
    let Some((is_good, said)) = promtool(&everything().expose(Format::Prometheus)) else {
        println!("skipped: promtool is not installed");
        return;
    };
    assert!(is_good && said.is_empty(), "{said}");
    let (is_good, _) = promtool("bartizan_x{\"} 1\n").unwrap();
    assert!(!is_good, "it would notice a broken exposition");
}

#[test]
fn a_plan_without_a_log_counts_all_the_same() {
    let metrics = metrics();
    let core = metrics.core();
    let mut record = record(metrics.route("r"), 204);
    let mut plan = RecordPlan::default();
    plan.access_log = false;
    record.plan = Arc::new(plan);
    core.opened();
    core.close(&record);
    assert!(metrics.expose(Format::Prometheus).contains("code=\"204\"} 1"));
}
