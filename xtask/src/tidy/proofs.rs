//! A proof is made in its own file only.
//!
//! The compiler keeps this as long as a proof's fields are private, so the rule guards what would open it: a public
//! field, a public constructor, a derive that copies or conjures a proof. The compile-fail cases test the types; this
//! tests that nobody loosened them.

use super::{Finding, Report, source, source::Source};
use crate::Result;

const STAGES: &str = "crates/proxy/src/stage";

/// Each stage's file and its proof, in the order of the pipeline.
const PROOFS: [(&str, &str); 9] = [
    ("admit", "Admitted"),
    ("route", "Routed"),
    ("identify", "Identified"),
    ("authorize", "Authorized"),
    ("limit", "Metered"),
    ("inspect", "Inspected"),
    ("cache", "Missed"),
    ("forward", "Forwarded"),
    ("screen", "Screened"),
];

/// Derives that make a proof without its stage.
const CONJURING: [&str; 4] = ["Clone", "Copy", "Default", "Deserialize"];

pub(super) fn check() -> Result<Report> {
    let (mut report, sources) = (Report::default(), source::production("crates/proxy/src")?);
    for (stage, proof) in PROOFS {
        let own = |source: &&Source| {
            source.path == format!("{STAGES}/{stage}.rs")
                || source.path.starts_with(&format!("{STAGES}/{stage}/"))
        };
        match sources.iter().filter(own).find_map(|source| defined(source, proof).map(|at| (source, at))) {
            Some((source, at)) => {
                report.findings.extend(definition(source, at, proof));
                let constructors = sources.iter().filter(own).flat_map(|source| constructors(source, proof));
                report.findings.extend(constructors);
                let others = sources.iter().filter(|source| !own(source));
                report.findings.extend(others.flat_map(|source| literals(source, proof, stage)));
            }
            None => report.skipped.push(format!("{STAGES}/{stage}.rs defines no {proof} yet")),
        }
    }
    Ok(report)
}

/// Where (as an index into the lines) a proof is defined.
fn defined(source: &Source, proof: &str) -> Option<usize> {
    source.lines.iter().position(|(_, line)| {
        ["struct", "enum"].iter().any(|word| words(line).windows(2).any(|pair| pair == [*word, proof]))
    })
}

/// Private fields, nothing conjured, not dropped silently.
fn definition(source: &Source, at: usize, proof: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let attributes: Vec<&str> = source
        .lines
        .get(..at)
        .unwrap_or_default()
        .iter()
        .rev()
        .map(|(_, line)| line.trim())
        // Comments were blanked out, so documentation is an empty line here.
        .take_while(|line| line.is_empty() || line.starts_with("#[") || line.ends_with(")]"))
        .collect();
    let line = source.lines.get(at).map_or(0, |(line, _)| *line);
    let mut tell = |line: usize, what: String, remedy: &str| {
        findings.push(Finding::new(&source.path, line, what, remedy));
    };
    for derive in attributes.iter().filter(|line| line.contains("derive(")) {
        for word in words(derive).into_iter().filter(|word| CONJURING.contains(word)) {
            tell(
                line,
                format!("{proof} derives {word}"),
                "only its stage makes a proof, and the next one consumes it",
            );
        }
    }
    if !attributes.iter().any(|line| line.contains("must_use")) {
        tell(
            line,
            format!("{proof} is not #[must_use]"),
            "a proof that is dropped is a stage that is skipped",
        );
    }
    let is_struct = source.lines.get(at).is_some_and(|(_, line)| words(line).contains(&"struct"));
    let body = source.lines.iter().skip(at + 1).take_while(|(_, line)| !line.starts_with('}'));
    let one_line = source.lines.get(at).is_some_and(|(_, line)| line.trim_end().ends_with([';', '}']));
    if is_struct && !one_line {
        for (line, text) in body.filter(|(_, text)| words(text).first() == Some(&"pub")) {
            let what = format!("{proof} has the field `{}` in public", text.trim());
            tell(*line, what, "keep it private and offer a getter");
        }
    } else if let Some((line, text)) = source.lines.get(at).filter(|_| is_struct) {
        let opened = text.split_once(['{', '(']).map_or("", |(_, fields)| fields);
        if words(opened).contains(&"pub") {
            tell(*line, format!("{proof} has a field in public"), "keep it private and offer a getter");
        }
    }
    findings
}

/// Functions in the proof's own file that give it to anyone who asks: visible, and without a proof before it.
fn constructors(source: &Source, proof: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let (mut inside, mut signature): (bool, Option<(usize, String)>) = (false, None);
    for (line, text) in &source.lines {
        if text.starts_with("impl") {
            inside = words(text).contains(&proof) && !words(text).contains(&"for");
        } else if text.starts_with('}') {
            inside = false;
        }
        let begins = words(text).first() == Some(&"pub") && words(text).contains(&"fn");
        if inside && begins {
            signature = Some((*line, String::new()));
        }
        let Some((begun, so_far)) = &mut signature else { continue };
        so_far.push_str(text);
        if text.contains('{') || text.contains(';') {
            let gives = so_far.split_once("->").map(|(_, result)| words(result));
            if gives.is_some_and(|gives| gives.iter().any(|word| *word == "Self" || *word == proof)) {
                let what = format!("a visible function of {proof} makes one");
                findings.push(Finding::new(
                    &source.path,
                    *begun,
                    what,
                    "make it private to the stage's file",
                ));
            }
            signature = None;
        }
    }
    findings
}

/// Literals of a proof in another file. The compiler refuses them as long as the fields are private.
fn literals(source: &Source, proof: &str, stage: &str) -> Vec<Finding> {
    let makes = |line: &str| {
        line.match_indices(proof).any(|(at, _)| {
            let (before, after) =
                (line.get(..at).unwrap_or_default(), line.get(at + proof.len()..).unwrap_or_default());
            let whole_word = !before.ends_with(|c: char| c.is_alphanumeric() || c == '_');
            let previous = words(before).last().copied().unwrap_or_default().to_owned();
            let names =
                before.trim_end().ends_with("->") || ["impl", "for", "struct", "enum"].contains(&&*previous);
            whole_word && !names && after.starts_with(" {")
        })
    };
    let found = source.lines.iter().filter(|(_, line)| makes(line));
    found
        .map(|(line, _)| {
            let remedy = format!("only {STAGES}/{stage}.rs makes one; take it by value instead");
            Finding::new(&source.path, *line, format!("{proof} is constructed outside its stage"), remedy)
        })
        .collect()
}

fn words(line: &str) -> Vec<&str> {
    line.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        Source { path: "x.rs".to_owned(), lines: source::lines(text) }
    }

    #[test]
    fn a_closed_proof_passes_and_each_way_to_open_it_is_found() {
        let closed = "/// Why.\n#[derive(Debug)]\n#[must_use]\npub struct Admitted {\n    head: Head,\n}\n\n\
                      impl Admitted {\n    pub fn head(&self) -> &Head {\n    }\n    fn new() -> Self {\n    }\n}\n";
        let cases = [
            (closed.to_owned(), 0),
            (closed.replace("    head:", "    pub head:"), 1),
            (closed.replace("    head:", "    pub(crate) head:"), 1),
            (closed.replace("Debug", "Debug, Clone"), 1),
            (closed.replace("#[must_use]\n", ""), 1),
            (closed.replace("    fn new", "    pub fn new"), 1),
            (closed.replace("    fn new", "    pub(crate) fn new"), 1),
            (closed.replace("fn new() -> Self", "pub fn new(\n        a: u8,\n    ) -> Option<Admitted>"), 1),
        ];
        for (text, expected) in cases {
            let source = source(&text);
            let at = defined(&source, "Admitted").unwrap();
            let mut findings = definition(&source, at, "Admitted");
            findings.extend(constructors(&source, "Admitted"));
            assert_eq!(findings.len(), expected, "{text}\n{findings:?}");
        }
    }

    #[test]
    fn a_literal_in_another_file_is_found_and_a_mention_is_not() {
        let cases = [
            ("let x = Admitted { head };", true),
            ("fn admit() -> Admitted {", false),
            ("impl Admitted {", false),
            ("impl Stage for Admitted {", false),
            ("fn f(x: Exchange<Admitted>) {", false),
            ("NotAdmitted { x }", false),
            ("// Admitted { x }", false),
        ];
        for (line, expected) in cases {
            assert_eq!(!literals(&source(line), "Admitted", "admit").is_empty(), expected, "{line}");
        }
    }
}
