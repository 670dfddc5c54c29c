//! What a replay found, for people and for programs.

use std::fmt::Write as _;

use bartizan_config::replay::{Cause, Difference, Dimension, Example, Row, Tally};
use serde_json::{Map, Value, json};

use super::Replayed;
use crate::command::{
    print::{self, BOLD, BOLD_GREEN, BOLD_RED, NONE, PLAIN, clean, counted},
    when,
};

/// A replay and what it is told of.
pub(super) struct Told<'r> {
    pub(super) replayed: &'r Replayed,
    pub(super) source: &'r str,
    pub(super) revision: &'r str,
    pub(super) has_base: bool,
    /// Whether limits were judged from what they held.
    pub(super) recorded_limits: bool,
}

/// Most rows of a table for people; the rest is counted.
const ROWS_SHOWN: usize = 20;

/// The report for people.
pub(super) fn text(told: &Told<'_>) -> String {
    let Replayed { tally, .. } = told.replayed;
    let mut out = head(told);
    out.push_str(&counts(tally));
    notes(told, &mut out);
    for dimension in Dimension::ALL {
        table(tally, dimension, &mut out);
    }
    policies(tally, told.has_base, &mut out);
    for difference in Difference::ALL {
        let shown = tally.examples.get(&difference).map(Vec::as_slice).unwrap_or_default();
        examples(difference.as_str(), shown, &mut out);
    }
    for (cause, shown) in &tally.unseen_examples {
        examples(&format!("not judgeable: {}", cause.as_str()), shown, &mut out);
    }
    out
}

fn head(told: &Told<'_>) -> String {
    let tally = &told.replayed.tally;
    let requests = counted(tally.requests, "request");
    let span = tally.span.map(|(first, last)| format!(", {} to {}", moment(first), moment(last)));
    let with = if told.has_base { "what --base says" } else { "what was recorded" };
    format!(
        "{BOLD}{requests}{PLAIN} of {}{}\njudged by revision {}, compared with {with}\n\n",
        clean(told.source),
        span.unwrap_or_default(),
        clean(told.revision)
    )
}

fn moment(unix_nanos: u64) -> String {
    when::moment(unix_nanos / 1_000_000)
}

fn counts(tally: &Tally) -> String {
    let mut out = String::new();
    let mut line = |colour: &str, word: &str, count: u64| {
        let plain = if colour.is_empty() { "" } else { PLAIN };
        let _ = writeln!(out, "  {colour}{word:<28}{plain} {count:>10}");
    };
    line(BOLD_GREEN, "same", tally.same);
    for difference in Difference::ALL {
        let count = tally.differences.get(&difference).copied().unwrap_or(0);
        // The two that matter are told even when there are none.
        let is_grave = matches!(difference, Difference::NewlyRefused | Difference::NewlyAllowed);
        if count > 0 || is_grave {
            line(if count > 0 { BOLD_RED } else { "" }, difference.as_str(), count);
        }
    }
    line("", "not judgeable", tally.not_judgeable());
    let mut causes: Vec<(&Cause, &u64)> = tally.unseen.iter().collect();
    causes.sort_by_key(|(cause, count)| (std::cmp::Reverse(**count), **cause));
    for (cause, count) in causes {
        line("", &format!("  {}", cause.as_str()), *count);
    }
    out
}

fn notes(told: &Told<'_>, out: &mut String) {
    let Replayed { tally, malformed, malformed_examples, lost, late, .. } = told.replayed;
    let has_notes = tally.estimates > 0 || *malformed > 0 || *lost > 0 || *late > 0;
    if has_notes {
        out.push('\n');
    }
    let mut note = |text: String| {
        let _ = writeln!(out, "  {text}");
    };
    if tally.estimates > 0 {
        let differ = counted(tally.estimates, "difference");
        let how = if told.recorded_limits { "what was not recorded of them is" } else { "they are" };
        note(format!("{differ} by limits: {how} recomputed from empty, which is an estimate"));
    }
    if *malformed > 0 {
        note(format!("{} could not be read:", counted(*malformed, "line")));
        for example in malformed_examples {
            note(format!("  {}", clean(example)));
        }
    }
    if *lost > 0 {
        note(format!("the log says that {} are missing in it", counted(*lost, "line")));
    }
    if *late > 0 {
        note(format!(
            "{} came too late to be put in order; limits are less exact for it",
            counted(*late, "line")
        ));
    }
}

/// The rows of a dimension, those with most that is notable first.
fn rows(tally: &Tally, dimension: Dimension) -> Vec<(&str, Row)> {
    let rows = tally.rows.get(&dimension).into_iter().flatten();
    let mut rows: Vec<(&str, Row)> = rows.map(|(name, row)| (&**name, *row)).collect();
    rows.sort_by_key(|(name, row)| (std::cmp::Reverse(row.notable()), *name));
    rows
}

fn table(tally: &Tally, dimension: Dimension, out: &mut String) {
    let mut rows = rows(tally, dimension);
    rows.retain(|(_, row)| row.notable() > 0);
    if rows.is_empty() {
        return;
    }
    let more = rows.len().saturating_sub(ROWS_SHOWN);
    let word = dimension.as_str().to_uppercase();
    let mut header = vec![&*word, "NEWLY REFUSED", "NEWLY ALLOWED", "CHANGED", "NOT JUDGEABLE"];
    // Stages and policies are counted where they had something against a request.
    let has_same = matches!(dimension, Dimension::Route | Dimension::Consumer);
    header.extend(has_same.then_some("SAME"));
    let cell = |count: u64| if count == 0 { NONE.to_owned() } else { count.to_string() };
    let shown = rows.into_iter().take(ROWS_SHOWN).map(|(name, row)| {
        let counts = [row.refused, row.allowed, row.changed, row.unseen].into_iter();
        let counts = counts.chain(has_same.then_some(row.same)).map(cell);
        std::iter::once(name.to_owned()).chain(counts).collect()
    });
    out.push('\n');
    out.push_str(&print::table(&header, shown));
    if more > 0 {
        let _ = writeln!(out, "and {more} more; --format json has them all");
    }
}

/// What limits and policies in shadow did.
fn policies(tally: &Tally, has_base: bool, out: &mut String) {
    for (title, counts) in [("LIMITS HIT", &tally.limited), ("IN SHADOW, WOULD REFUSE", &tally.would)] {
        if counts.is_empty() {
            continue;
        }
        let header: &[&str] = if has_base { &[title, "BASE", "CANDIDATE"] } else { &[title, "CANDIDATE"] };
        let rows = counts.iter().map(|(name, [before, after])| {
            let mut row = vec![name.to_string()];
            row.extend(has_base.then(|| before.to_string()));
            row.push(after.to_string());
            row
        });
        out.push('\n');
        out.push_str(&print::table(header, rows));
    }
}

fn examples(title: &str, examples: &[Example], out: &mut String) {
    if examples.is_empty() {
        return;
    }
    let _ = writeln!(out, "\n{BOLD}{title}{PLAIN}, for example");
    for example in examples {
        let who = example.consumer.as_ref().map(|name| format!("  {name}")).unwrap_or_default();
        let Example { id, request, before, after, .. } = example;
        let line = format!("{}  {request}{who}  {id}", moment(example.unix_nanos));
        let _ = writeln!(out, "  {}", clean(&line));
        if after.is_empty() {
            let _ = writeln!(out, "    {}", clean(before));
        } else {
            let _ = writeln!(out, "    before  {}\n    now     {}", clean(before), clean(after));
        }
    }
}

/// The report for programs.
pub(super) fn json(told: &Told<'_>) -> Value {
    let Replayed { tally, malformed, malformed_examples, lost, late, seconds } = told.replayed;
    let differences: Map<String, Value> = Difference::ALL
        .into_iter()
        .map(|difference| {
            let count = tally.differences.get(&difference).copied().unwrap_or(0);
            let shown = tally.examples.get(&difference).map(Vec::as_slice).unwrap_or_default();
            let shown: Vec<Value> = shown.iter().map(example_json).collect();
            (difference.key().to_owned(), json!({ "count": count, "examples": shown }))
        })
        .collect();
    let unseen: Vec<Value> = tally
        .unseen
        .iter()
        .map(|(cause, count)| {
            let shown = tally.unseen_examples.get(cause).map(Vec::as_slice).unwrap_or_default();
            let shown: Vec<Value> = shown.iter().map(example_json).collect();
            json!({ "cause": cause.as_str(), "count": count, "examples": shown })
        })
        .collect();
    let by: Map<String, Value> = Dimension::ALL
        .into_iter()
        .map(|dimension| {
            let rows = rows(tally, dimension).into_iter().map(|(name, row)| row_json(name, row));
            (dimension.as_str().to_owned(), rows.collect())
        })
        .collect();
    let sides = |counts: &std::collections::BTreeMap<_, [u64; 2]>| -> Vec<Value> {
        let one = |(name, [before, after]): (&std::sync::Arc<str>, &[u64; 2])| json!({ "policy": **name, "base": told.has_base.then_some(before), "candidate": after });
        counts.iter().map(one).collect()
    };
    json!({
        "source": told.source,
        "revision": told.revision,
        "comparedWith": if told.has_base { "base" } else { "recorded" },
        "limits": if told.recorded_limits { "recorded" } else { "simulate" },
        "requests": tally.requests,
        "same": tally.same,
        "different": tally.different(),
        "estimates": tally.estimates,
        "notJudgeable": tally.not_judgeable(),
        "differences": differences,
        "causes": unseen,
        "by": by,
        "limitsHit": sides(&tally.limited),
        "wouldDeny": sides(&tally.would),
        "malformed": { "count": malformed, "examples": malformed_examples },
        "lostLines": lost,
        "lateLines": late,
        "first": tally.span.map(|(first, _)| moment(first)),
        "last": tally.span.map(|(_, last)| moment(last)),
        "seconds": seconds,
    })
}

fn row_json(name: &str, row: Row) -> Value {
    json!({
        "name": name,
        "same": row.same,
        "newlyRefused": row.refused,
        "newlyAllowed": row.allowed,
        "changed": row.changed,
        "notJudgeable": row.unseen,
    })
}

fn example_json(example: &Example) -> Value {
    let Example { id, request, consumer, before, after, .. } = example;
    json!({
        "id": **id,
        "time": moment(example.unix_nanos),
        "request": request,
        "consumer": consumer.as_deref(),
        "before": before,
        "after": (!after.is_empty()).then_some(after),
    })
}
