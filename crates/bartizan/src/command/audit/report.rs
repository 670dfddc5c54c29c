//! How findings read: as a table, with their fixes, as JSON, and beside the lines of the documents.

use std::{collections::BTreeSet, error::Error, fs, path::Path};

use bartizan_config::audit::{Finding, Fix, Gravity, Identity, RULES, timeless};
use serde_json::{Value, json};

use super::super::{
    print::{self, BOLD, BOLD_GREEN, BOLD_RED, NONE, PLAIN, clean, counted},
    sarif::{self, Level, Rule},
    set::Sound,
};

/// The findings of a former report.
pub(super) fn baseline(path: &Path) -> Result<BTreeSet<Identity>, Box<dyn Error>> {
    let shown = path.display();
    let text = fs::read(path).map_err(|error| format!("{shown} cannot be read: {error}"))?;
    let report: Value =
        serde_json::from_slice(&text).map_err(|error| format!("{shown} is not a report: {error}"))?;
    let findings = report.get("findings").and_then(Value::as_array);
    let findings =
        findings.ok_or_else(|| format!("{shown} is not a report of `bartizan audit --format json`"))?;
    let text = |finding: &Value, key| finding.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let identity = |one| (text(one, "rule"), text(one, "document"), timeless(&text(one, "message")));
    Ok(findings.iter().map(identity).collect())
}

pub(super) fn text(sound: &Sound, findings: &[Finding], fixes: bool) -> String {
    let mut out = String::new();
    if fixes {
        for finding in findings {
            out.push_str(&detail(sound, finding));
        }
    } else if !findings.is_empty() {
        let header = ["GRAVITY", "RULE", "WHAT", "WHERE", "OWASP", "FIX"];
        let rows = findings.iter().map(|finding| {
            vec![
                finding.gravity.to_string(),
                finding.rule.id.to_owned(),
                finding.message.clone(),
                sound.place(finding.at).unwrap_or_else(|| NONE.to_owned()),
                finding.rule.owasp.id().to_owned(),
                finding.fix.as_ref().map_or_else(|| NONE.to_owned(), headline),
            ]
        });
        out.push_str(&print::table(&header, rows));
        out.push('\n');
    }
    out.push_str(&summary(sound, findings));
    out
}

fn summary(sound: &Sound, findings: &[Finding]) -> String {
    let count = |gravity| findings.iter().filter(|finding| finding.gravity == gravity).count();
    let parts: Vec<String> = Gravity::ALL
        .into_iter()
        .rev()
        .filter(|gravity| count(*gravity) > 0)
        .map(|gravity| format!("{} {gravity}", count(gravity)))
        .collect();
    let documents = counted(sound.set.documents.len() as u64, "document");
    let colour = match (count(Gravity::High), findings.len()) {
        (0, 0) => BOLD_GREEN,
        (0, _) => BOLD,
        _ => BOLD_RED,
    };
    let what = if parts.is_empty() { "nothing found".to_owned() } else { parts.join(", ") };
    format!("{colour}{documents}, {} rules: {what}{PLAIN}\n", RULES.len())
}

fn headline(fix: &Fix) -> String {
    match fix.target.as_str() {
        "" => fix.kind.as_str().to_owned(),
        target => format!("{} {target}", fix.kind.as_str()),
    }
}

fn detail(sound: &Sound, finding: &Finding) -> String {
    let rule = finding.rule;
    let colour = if finding.gravity == Gravity::High { BOLD_RED } else { BOLD };
    let mut out = format!(
        "{colour}{}{PLAIN}  {BOLD}{} {}{PLAIN}  {} {}\n",
        finding.gravity,
        rule.id,
        rule.name,
        rule.owasp.id(),
        rule.owasp.title()
    );
    if let Some(place) = sound.place(finding.at) {
        out.push_str(&format!("  {}\n", clean(&place)));
    }
    out.push_str(&format!("  {}\n  why: {}\n", clean(&finding.message), rule.why));
    if let Some(fix) = &finding.fix {
        let note = fix.note.map(|note| format!(" ({note})")).unwrap_or_default();
        out.push_str(&format!("  fix: {}{note}\n", clean(&headline(fix))));
        for line in fix.yaml.lines() {
            out.push_str(&format!("    {}\n", clean(line)));
        }
    }
    out.push('\n');
    out
}

pub(super) fn json(sound: &Sound, findings: &[Finding]) -> Value {
    let count = |gravity| findings.iter().filter(|finding| finding.gravity == gravity).count();
    json!({
        "revision": &*sound.snapshot.revision.id,
        "rules": RULES.len(),
        "counts": {
            "high": count(Gravity::High),
            "medium": count(Gravity::Medium),
            "low": count(Gravity::Low),
        },
        "findings": findings.iter().map(|finding| one(sound, finding)).collect::<Vec<_>>(),
    })
}

fn one(sound: &Sound, finding: &Finding) -> Value {
    let rule = finding.rule;
    let file = sound.set.sources.get(finding.at.file).map(|source| source.name());
    json!({
        "rule": rule.id,
        "name": rule.name,
        "gravity": finding.gravity.as_str(),
        "owasp": { "id": rule.owasp.id(), "title": rule.owasp.title() },
        "document": finding.document,
        "file": file,
        "line": finding.at.is_place().then_some(finding.at.line),
        "message": finding.message,
        "why": rule.why,
        "fix": finding.fix.as_ref().map(|fix| json!({
            "kind": fix.kind.as_str(),
            "target": fix.target,
            "patch": fix.yaml,
            "note": fix.note,
        })),
    })
}

/// The rules as SARIF has them.
pub(super) fn rules() -> Vec<Rule> {
    RULES
        .iter()
        .map(|rule| Rule {
            id: rule.id,
            name: rule.name,
            text: rule.what.into(),
            help: "https://bartizan.dev/docs/guides/audit-rules.md".into(),
            level: level(rule.gravity),
        })
        .collect()
}

const fn level(gravity: Gravity) -> Level {
    match gravity {
        Gravity::High => Level::Error,
        Gravity::Medium => Level::Warning,
        Gravity::Low => Level::Note,
    }
}

pub(super) fn sarif(sound: &Sound, findings: &[Finding]) -> Vec<sarif::Finding> {
    findings
        .iter()
        .map(|finding| sarif::Finding {
            rule: finding.rule.id,
            level: level(finding.gravity),
            message: format!("{} ({}). {}", finding.message, finding.rule.owasp.id(), finding.rule.why),
            file: sound.set.sources.get(finding.at.file).map(|source| source.name().to_owned()),
            line: finding.at.line,
            column: finding.at.column,
        })
        .collect()
}
