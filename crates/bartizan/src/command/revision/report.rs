//! A comparison in words: what changes, what becomes reachable, what becomes weaker, whom it touches.

use bartizan_config::compare::{
    Change, Comparison, Direction, DocumentChange, FieldChange, Finding, Place, Reach, Weight,
};
use bartizan_store::RevisionRow;
use serde_json::{Value, json};

use super::base::Base;
use crate::command::print::{BOLD, BOLD_GREEN, BOLD_RED, PLAIN, clean, counted};

/// The whole plan.
pub(super) fn plan(comparison: &Comparison, base: &Base) -> String {
    let mut out = String::new();
    if comparison.is_empty() {
        return format!("{BOLD}nothing changes{PLAIN}\n");
    }
    documents(comparison, &mut out);
    surface("becomes reachable", "+", &comparison.opened, &mut out);
    surface("is no longer reachable", "-", &comparison.closed, &mut out);
    for (direction, title) in [
        (Direction::Weaker, "becomes weaker"),
        (Direction::Different, "becomes different"),
        (Direction::Stronger, "becomes stronger"),
    ] {
        findings(comparison, direction, title, &mut out);
    }
    out.push_str(&summary(comparison, base));
    out
}

/// One line: how much changes, and whom it touches.
fn summary(comparison: &Comparison, base: &Base) -> String {
    let [added, changed, removed] = comparison.counts();
    let weaker = comparison.count(Direction::Weaker);
    let colour = if weaker > 0 { BOLD_RED } else { BOLD_GREEN };
    format!(
        "{BOLD}against {}: {added} added, {changed} changed, {removed} removed; touches {} and {}{PLAIN}; {colour}{weaker} \
         weaker{PLAIN}, {} stronger\n",
        base.name(),
        counted(comparison.routes.len() as u64, "route"),
        counted(comparison.consumers.len() as u64, "consumer"),
        comparison.count(Direction::Stronger),
    )
}

/// The plan for programs.
pub(super) fn to_json(comparison: &Comparison, base: Option<&RevisionRow>, digest: &str) -> Value {
    let [added, changed, removed] = comparison.counts();
    json!({
        "base": base.map(|row| json!({ "revision": row.number, "etag": row.tag(), "digest": row.digest.hex() })),
        "digest": digest,
        "counts": {
            "added": added,
            "changed": changed,
            "removed": removed,
            "opened": comparison.opened.len(),
            "closed": comparison.closed.len(),
            "weaker": comparison.count(Direction::Weaker),
            "different": comparison.count(Direction::Different),
            "stronger": comparison.count(Direction::Stronger),
        },
        "changes": comparison,
    })
}

/// Documents and their fields.
pub(super) fn documents(comparison: &Comparison, out: &mut String) {
    if comparison.documents.is_empty() {
        return;
    }
    title("documents", out);
    for document in comparison.documents.iter().take(LISTED_MAX) {
        out.push_str(&one_document(document));
    }
    rest(comparison.documents.len(), out);
}

fn one_document(document: &DocumentChange) -> String {
    let (sign, colour) = match document.change {
        Change::Added => ("+", BOLD_GREEN),
        Change::Changed => ("~", BOLD),
        Change::Removed => ("-", BOLD_RED),
    };
    let place = place(document.place.as_ref());
    let mut out = format!("  {colour}{sign}{PLAIN} {}/{}{place}\n", document.kind, clean(&document.name));
    for field in document.fields.iter().take(FIELDS_MAX) {
        out.push_str(&format!("      {}\n", one_field(field)));
    }
    if let Some(more) = document.fields.len().checked_sub(FIELDS_MAX).filter(|more| *more > 0) {
        out.push_str(&format!("      … and {}\n", counted(more as u64, "more field")));
    }
    out
}

fn one_field(field: &FieldChange) -> String {
    let path = clean(&field.path);
    match (&field.before, &field.after) {
        (Some(before), Some(after)) => format!("{path}: {} → {}", value(before), value(after)),
        (None, Some(after)) => format!("{path}: + {}", value(after)),
        (Some(before), None) => format!("{path}: - {}", value(before)),
        (None, None) => path,
    }
}

fn value(value: &Value) -> String {
    let text = match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let text = clean(&text).replace('\n', " ");
    if text.chars().count() <= VALUE_MAX {
        text
    } else {
        text.chars().take(VALUE_MAX).chain(['…']).collect()
    }
}

fn surface(name: &str, sign: &str, list: &[Reach], out: &mut String) {
    if list.is_empty() {
        return;
    }
    title(name, out);
    for one in list.iter().take(LISTED_MAX) {
        let methods = if one.methods.is_empty() { "any method".to_owned() } else { one.methods.join(" ") };
        let host = if one.host == "any" { "any host, " } else { &one.host };
        let conditions: String = one.conditions.iter().map(|condition| format!(", {condition}")).collect();
        let kind = if one.path_type == "Exact" { String::new() } else { format!(" ({})", one.path_type) };
        let other = match (&one.other, sign) {
            (Some(other), "+") => format!(", until now answered by {other}"),
            (Some(other), _) => format!(", from now on answered by {other}"),
            (None, _) => String::new(),
        };
        out.push_str(&format!(
            "  {sign} {} {}: Route/{}{}\n      guarded by: {}\n",
            methods,
            clean(&format!("{host}{}{kind}{conditions} on {}", one.path, one.listener)),
            clean(&one.route),
            clean(&other),
            clean(&one.guards.join(", ")),
        ));
    }
    rest(list.len(), out);
}

fn findings(comparison: &Comparison, direction: Direction, name: &str, out: &mut String) {
    let found: Vec<&Finding> =
        comparison.findings.iter().filter(|finding| finding.direction == direction).collect();
    if found.is_empty() {
        return;
    }
    title(name, out);
    for finding in found.iter().take(LISTED_MAX) {
        let colour = match (direction, finding.weight) {
            (Direction::Weaker, Weight::Grave) => BOLD_RED,
            (Direction::Weaker, _) => BOLD,
            _ => "",
        };
        let routes = routes(finding);
        out.push_str(&format!(
            "  {colour}{}{PLAIN}: {}{routes}{}\n",
            finding.weight.as_str(),
            clean(&finding.message),
            place(finding.place.as_ref())
        ));
    }
    rest(found.len(), out);
}

/// The routes concerned, as far as they can be read in a line.
fn routes(finding: &Finding) -> String {
    let names: Vec<String> = finding.routes.iter().take(ROUTES_MAX).map(|name| clean(name)).collect();
    match finding.routes.len().checked_sub(ROUTES_MAX) {
        _ if names.is_empty() => String::new(),
        Some(more) if more > 0 => format!(" [{} and {more} more routes]", names.join(", ")),
        _ => format!(" [{}]", names.join(", ")),
    }
}

fn place(place: Option<&Place>) -> String {
    place.map_or_else(String::new, |place| format!("  {}:{}", clean(&place.file), place.line))
}

fn title(name: &str, out: &mut String) {
    out.push_str(&format!("{BOLD}{name}{PLAIN}\n"));
}

fn rest(all: usize, out: &mut String) {
    if let Some(more) = all.checked_sub(LISTED_MAX).filter(|more| *more > 0) {
        out.push_str(&format!("  … and {more} more (`--format json` has all)\n"));
    }
    out.push('\n');
}

/// More than this in one list is read by nobody on a terminal.
const LISTED_MAX: usize = 50;
const FIELDS_MAX: usize = 20;
const ROUTES_MAX: usize = 5;
const VALUE_MAX: usize = 80;
