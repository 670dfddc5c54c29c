//! What came of a request against what was expected of it.

use bartizan_model::document::policy_test::{ExpectedLimit, ExpectedWould, TestDecision, TestExpectation};
use bartizan_telemetry::WouldDeny;
use http::HeaderMap;

use crate::rehearsal::{Decision, Outcome, StageOutcome};

/// One thing that is not as expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Miss {
    /// What: a field of `expect`.
    pub field: String,
    /// What the test expects.
    pub expected: String,
    /// What came.
    pub got: String,
}

/// What there is not.
const NONE: &str = "none";

impl Miss {
    fn new(field: impl Into<String>, expected: impl Into<String>, got: impl Into<String>) -> Self {
        Miss { field: field.into(), expected: expected.into(), got: got.into() }
    }

    /// The request could not even be sent.
    pub(super) fn unsendable(why: String) -> Self {
        Miss::new("request", "can be sent", why)
    }
}

/// Everything that differs.
pub(super) fn misses(expect: &TestExpectation, outcome: &Outcome) -> Vec<Miss> {
    let mut misses = Vec::new();
    if let Decision::NotJudgeable(stage) = &outcome.decision {
        misses.push(Miss::new(
            "decision",
            "can be judged",
            format!("{stage} cannot be judged by what the test gives"),
        ));
        return misses;
    }
    ending(expect, outcome, &mut misses);
    sending(expect, outcome, &mut misses);
    for (name, expected) in &expect.headers {
        let field = format!("headers.{name}");
        one_header(field, expected.as_deref(), &outcome.headers, name, &mut misses);
    }
    if let Some(wait) = expect.wait
        && wait.get() != outcome.waited
    {
        misses.push(Miss::new("wait", ms(wait.get()), ms(outcome.waited)));
    }
    for limit in &expect.limits {
        one_limit(limit, outcome, &mut misses);
    }
    if let Some(expected) = &expect.would_deny {
        would_deny(expected.iter().map(|one| &one.value), &outcome.would_deny, &mut misses);
    }
    misses
}

fn ms(time: std::time::Duration) -> String {
    format!("{} ms", time.as_millis())
}

fn word(misses: &mut Vec<Miss>, field: &str, expected: Option<&str>, got: Option<&str>) {
    if let Some(expected) = expected
        && got != Some(expected)
    {
        misses.push(Miss::new(field, expected, got.unwrap_or(NONE)));
    }
}

fn ending(expect: &TestExpectation, outcome: &Outcome, misses: &mut Vec<Miss>) {
    let decision = &outcome.decision;
    word(misses, "decision", expect.decision.map(TestDecision::as_str), Some(decision.as_str()));
    if let Some(status) = expect.status
        && status != outcome.status
    {
        let got =
            if outcome.status == 0 { "none, it is forwarded".to_owned() } else { outcome.status.to_string() };
        misses.push(Miss::new("status", status.to_string(), got));
    }
    word(
        misses,
        "reason",
        expect.reason.map(|reason| reason.as_str()),
        decision.reason().map(|reason| reason.as_str()),
    );
    let stage = match decision {
        Decision::Forwarded(_) => None,
        _ => outcome.stages.last().map(|last: &StageOutcome| last.stage.as_str()),
    };
    word(misses, "stage", expect.stage.map(|stage| stage.as_str()), stage);
    word(
        misses,
        "policy",
        expect.policy.as_ref().map(|policy| policy.as_str()),
        decision.policy().map(|policy| &**policy),
    );
    if let Some(detail) = &expect.detail
        && !decision.detail().is_some_and(|got| got.contains(detail))
    {
        misses.push(Miss::new("detail", format!("…{detail}…"), decision.detail().unwrap_or(NONE)));
    }
    word(misses, "route", expect.route.as_ref().map(|route| route.as_str()), outcome.route.as_deref());
    word(misses, "consumer", expect.consumer.as_ref().map(|name| name.as_str()), outcome.consumer.as_deref());
}

fn sending(expect: &TestExpectation, outcome: &Outcome, misses: &mut Vec<Miss>) {
    let Decision::Forwarded(sending) = &outcome.decision else {
        let asks = expect.upstream.is_some() || expect.path.is_some() || !expect.upstream_headers.is_empty();
        if asks && misses.iter().all(|miss| miss.field != "decision") {
            misses.push(Miss::new("decision", "forward", outcome.decision.as_str()));
        }
        return;
    };
    word(misses, "upstream", expect.upstream.as_ref().map(|name| name.as_str()), Some(&sending.upstream));
    let path = sending.target.path_and_query().map_or("/", |path| path.as_str());
    word(misses, "path", expect.path.as_deref(), Some(path));
    for (name, expected) in &expect.upstream_headers {
        let field = format!("upstreamHeaders.{name}");
        one_header(field, expected.as_deref(), &sending.headers, name, misses);
    }
}

/// One of the header's values is the expected one, or there is none where none is expected.
fn one_header(
    field: String,
    expected: Option<&str>,
    headers: &HeaderMap,
    name: &str,
    misses: &mut Vec<Miss>,
) {
    let got: Vec<String> = headers
        .get_all(name)
        .iter()
        .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
        .collect();
    let holds = match expected {
        Some(expected) => got.iter().any(|value| value == expected),
        None => got.is_empty(),
    };
    if !holds {
        let shown = if got.is_empty() { NONE.to_owned() } else { got.join(", ") };
        misses.push(Miss::new(field, expected.unwrap_or(NONE), shown));
    }
}

fn one_limit(expected: &ExpectedLimit, outcome: &Outcome, misses: &mut Vec<Miss>) {
    let name = expected.policy.as_str();
    let field = format!("limits.{name}");
    let found = outcome.limits.iter().find(|state| {
        state.policy.split_once('/').is_some_and(|(_, policy)| policy == name)
            && state.limit == usize::from(expected.limit)
    });
    let Some(state) = found else {
        let all: Vec<&str> = outcome.limits.iter().map(|state| &*state.policy).collect();
        let got = if all.is_empty() { "no limit was asked".to_owned() } else { all.join(", ") };
        misses.push(Miss::new(field, "is asked", got));
        return;
    };
    if let Some(remaining) = expected.remaining
        && remaining != state.remaining
    {
        let field = format!("{field}.remaining");
        misses.push(Miss::new(
            field,
            remaining.to_string(),
            format!("{} of {}", state.remaining, state.quota),
        ));
    }
    if let Some(bucket) = &expected.bucket
        && state.bucket.as_ref() != Some(bucket)
    {
        misses.push(Miss::new(format!("{field}.bucket"), bucket, state.bucket.as_deref().unwrap_or(NONE)));
    }
}

/// The list must be the whole of it, in any order.
fn would_deny<'e>(
    expected: impl Iterator<Item = &'e ExpectedWould>,
    got: &[WouldDeny],
    misses: &mut Vec<Miss>,
) {
    let mut left: Vec<&WouldDeny> = got.iter().collect();
    for one in expected {
        let is_meant = |would: &&WouldDeny| {
            *would.policy == *one.policy.as_str() && one.reason.is_none_or(|reason| reason == would.reason)
        };
        match left.iter().position(is_meant) {
            Some(at) => {
                left.swap_remove(at);
            }
            None => {
                let reason = one.reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
                misses.push(Miss::new("wouldDeny", format!("{}{reason}", one.policy.as_str()), listed(got)));
            }
        }
    }
    for would in left {
        let got = format!("{} would have said {}", would.policy, would.reason);
        misses.push(Miss::new("wouldDeny", "nothing further", got));
    }
}

fn listed(got: &[WouldDeny]) -> String {
    if got.is_empty() {
        return NONE.to_owned();
    }
    got.iter().map(|would| format!("{} ({})", would.policy, would.reason)).collect::<Vec<_>>().join(", ")
}
