//! How a report reads: as text, as JSON, and as findings beside the lines of the documents.

use std::{borrow::Cow, time::Duration};

use bartizan_config::{
    Set,
    policy_test::{Case, Step},
    rehearsal::{Decision, End, Outcome, StageOutcome},
    source::Source,
};
use bartizan_model::problem::Span;
use serde_json::{Value, json};

use super::{
    super::{
        print::{BOLD, BOLD_GREEN, BOLD_RED, PLAIN, clean, counted},
        sarif::{Finding, Level, Rule},
    },
    Timed,
};

/// The one rule that a test can break.
pub(super) const RULES: [Rule; 1] = [Rule {
    id: "policy-test",
    name: "PolicyTestFailed",
    text: Cow::Borrowed("The policies do not make of a request what a PolicyTest expects."),
    help: Cow::Borrowed("https://bartizan.dev/docs/guides/testing-policies.md"),
    level: Level::Error,
}];

/// `file:line`.
pub(super) fn place(set: &Set, at: Span) -> String {
    let name = set.sources.get(at.file).map_or("", Source::name);
    if at.is_place() { format!("{name}:{}", at.line) } else { name.to_owned() }
}

/// One test with its time; a failed one with its story.
pub(super) fn text(case: &Case, set: &Set, took: Duration) -> String {
    let (colour, word) = if case.passed() { (BOLD_GREEN, "ok  ") } else { (BOLD_RED, "FAIL") };
    let requests = counted(case.requests, "request");
    let mut out = format!("{colour}{word}{PLAIN}  {}  ({requests}, {})\n", clean(&case.name), time(took));
    if case.passed() {
        return out;
    }
    if let Some(description) = &case.description {
        out.push_str(&format!("      {}\n", clean(description)));
    }
    for step in case.steps.iter().filter(|step| !step.passed()) {
        out.push_str(&clean(&failed(step, &place(set, step.at))));
    }
    out
}

fn failed(step: &Step, place: &str) -> String {
    let which = step.repetition.map(|n| format!(", request {n} of the step")).unwrap_or_default();
    let mut out = format!("      {place}  {}{which}\n", step.name);
    if !step.request.is_empty() {
        out.push_str(&format!("        {}\n", step.request));
    }
    let width = step.misses.iter().map(|miss| miss.field.chars().count()).max().unwrap_or_default();
    for miss in &step.misses {
        out.push_str(&format!(
            "        {:width$}  expected {}, got {}\n",
            miss.field, miss.expected, miss.got
        ));
    }
    if let Some(outcome) = &step.outcome {
        out.push_str("        what came of it:\n");
        for line in story(outcome) {
            out.push_str(&format!("          {line}\n"));
        }
    }
    out
}

/// The stages in their words, then the decision, limits and what shadows would have done.
pub(crate) fn story(outcome: &Outcome) -> Vec<String> {
    let mut lines: Vec<String> = outcome.stages.iter().map(stage).collect();
    match &outcome.decision {
        Decision::Forwarded(sending) => {
            let path = sending.target.path_and_query().map_or("/", |path| path.as_str());
            lines.push(format!("forwarded to {} as {} {path}", sending.upstream, sending.method));
        }
        Decision::Refused(..) | Decision::Faulted(..) => {
            let by = outcome.decision.policy().map(|policy| format!(" by {policy}")).unwrap_or_default();
            let detail = outcome.decision.detail().map(|detail| format!(": {detail}")).unwrap_or_default();
            lines.push(format!("refused with {}{by}{detail}", outcome.status));
        }
        Decision::Answered => lines.push(format!("answered with {}", outcome.status)),
        Decision::NotJudgeable(stage) => {
            lines.push(format!("{stage} cannot be judged by what the test gives"))
        }
    }
    for limit in &outcome.limits {
        let bucket = limit.bucket.as_ref().map(|bucket| format!(" for {bucket}")).unwrap_or_default();
        lines.push(format!("{}{bucket}: {} of {} left", limit.policy, limit.remaining, limit.quota));
    }
    for would in &outcome.would_deny {
        let detail = would.detail.as_ref().map(|detail| format!(": {detail}")).unwrap_or_default();
        lines.push(format!(
            "{} in shadow: {} {}{detail}",
            would.policy,
            would.outcome.as_str(),
            would.reason
        ));
    }
    lines
}

fn stage(one: &StageOutcome) -> String {
    let end = if one.end == End::Passed { "ok" } else { one.end.as_str() };
    format!("{:<10} {end:<8} {}", one.stage.as_str(), one.told).trim_end().to_owned()
}

/// The last line.
pub(super) fn summary(told: &Timed<'_>) -> String {
    let failures = told.report.failures() as u64;
    let passed = told.report.cases.len() as u64 - failures;
    let colour = if failures == 0 { BOLD_GREEN } else { BOLD_RED };
    format!(
        "\n{colour}{} passed, {failures} failed{PLAIN}{BOLD} in {}{PLAIN}\n",
        counted(passed, "test"),
        time(told.took)
    )
}

fn time(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}

/// The report for programs.
pub(super) fn json(told: &Timed<'_>) -> Value {
    let cases: Vec<Value> = told
        .report
        .cases
        .iter()
        .map(|case| {
            json!({
                "name": &*case.name,
                "description": case.description,
                "file": told.set.sources.get(case.at.file).map(Source::name),
                "line": case.at.line,
                "passed": case.passed(),
                "requests": case.requests,
                "ms": told.time_of(case).as_secs_f64() * 1000.0,
                "steps": case.steps.iter().map(step).collect::<Vec<_>>(),
            })
        })
        .collect();
    let failures = told.report.failures();
    json!({
        "ok": failures == 0,
        "passed": told.report.cases.len() - failures,
        "failed": failures,
        "ms": told.took.as_secs_f64() * 1000.0,
        "tests": cases,
    })
}

fn step(step: &Step) -> Value {
    let misses: Vec<Value> = step
        .misses
        .iter()
        .map(|miss| json!({ "field": miss.field, "expected": miss.expected, "got": miss.got }))
        .collect();
    json!({
        "name": step.name,
        "line": step.at.line,
        "request": step.request,
        "passed": step.passed(),
        "repetition": step.repetition,
        "misses": misses,
        "story": step.outcome.as_deref().map(story),
    })
}

/// One finding per failed step.
pub(super) fn findings(told: &Timed<'_>) -> Vec<Finding> {
    let steps = told.report.cases.iter().flat_map(|case| case.steps.iter().map(move |step| (case, step)));
    steps
        .filter(|(_, step)| !step.passed())
        .map(|(case, step)| {
            let misses: Vec<String> = step
                .misses
                .iter()
                .map(|miss| format!("{}: expected {}, got {}", miss.field, miss.expected, miss.got))
                .collect();
            Finding {
                rule: "policy-test",
                level: Level::Error,
                message: format!("{}: {}: {}", case.name, step.name, misses.join("; ")),
                file: told.set.sources.get(step.at.file).map(|source| source.name().to_owned()),
                line: step.at.line,
                column: step.at.column,
            }
        })
        .collect()
}
