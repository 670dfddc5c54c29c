//! Every kind of document has its schema, its page, an example and a golden file.

use super::{Finding, Report};
use crate::{
    Result,
    shell::{self, root},
};

const KINDS: &str = "crates/model/src/document/mod.rs";

/// Where a kind has a file named after it: the folder and what the file ends in.
const NAMED: [(&str, &str); 2] = [("schema", ".json"), ("docs/kinds", ".md")];

/// Where some document of the kind must stand.
const USED: [&str; 2] = ["examples", "crates/config/testdata"];

/// The names of all kinds.
pub(super) fn all() -> Result<Vec<String>> {
    Ok(kinds(&shell::read(KINDS)?).into_iter().map(|(_, kind)| kind).collect())
}

pub(super) fn check() -> Result<Report> {
    let mut report = Report::default();
    let Ok(text) = shell::read(KINDS) else {
        report.skipped.push(format!("{KINDS} does not exist yet"));
        return Ok(report);
    };
    let kinds = kinds(&text);
    if kinds.is_empty() {
        return Err(format!("{KINDS} lists no kind; the rule does not understand it any more"));
    }
    for (folder, ending) in NAMED {
        if !root().join(folder).is_dir() {
            report.skipped.push(format!("{folder} does not exist yet"));
            continue;
        }
        // `RateLimitPolicy.json`, `rate-limit-policy.json`, `ratelimitpolicy.schema.json`: compared without case and
        // punctuation, so that the folder's own habit stands.
        let files: Vec<String> = shell::files(folder)
            .iter()
            .filter_map(|path| path.file_name()?.to_str()?.strip_suffix(ending).map(plain))
            .collect();
        for (line, kind) in kinds.iter().filter(|(_, kind)| !files.iter().any(|file| names(file, kind))) {
            let what = format!("{kind} has no file in {folder}");
            report.findings.push(Finding::new(KINDS, *line, what, "run `cargo xtask fixtures`"));
        }
        // A common schema and an index have their place; a page that is named like a policy and is none has not.
        let left =
            |file: &&String| file.ends_with("policy") && !kinds.iter().any(|(_, kind)| names(file, kind));
        for file in files.iter().filter(left) {
            let what = format!("`{file}{ending}` is of no kind");
            report.findings.push(Finding::new(folder, 0, what, "remove what is left of a kind that is gone"));
        }
    }
    for folder in USED {
        if !root().join(folder).is_dir() {
            report.skipped.push(format!("{folder} does not exist yet"));
            continue;
        }
        let documents: Vec<String> =
            shell::files(folder).iter().filter_map(|path| shell::read(path).ok()).collect();
        for (line, kind) in kinds.iter().filter(|(_, kind)| !documents.iter().any(|text| is_used(text, kind)))
        {
            let what = format!("no document in {folder} is a {kind}");
            let remedy = "add one that shows its fields at work";
            report.findings.push(Finding::new(KINDS, *line, what, remedy));
        }
    }
    Ok(report)
}

/// The rows `Name => path::Spec, "plural";` of the table, with their lines.
fn kinds(text: &str) -> Vec<(usize, String)> {
    let table = text.lines().enumerate().skip_while(|(_, line)| line.trim() != "kinds! {");
    let rows = table.skip(1).take_while(|(_, line)| !line.starts_with('}'));
    let read = |(index, line): (usize, &str)| Some((index + 1, line.trim().split_once(" => ")?.0.to_owned()));
    rows.filter_map(read).collect()
}

fn plain(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

fn names(file: &str, kind: &str) -> bool {
    file.strip_suffix("schema").unwrap_or(file) == plain(kind)
}

/// `kind: Route` in YAML, `"kind": "Route"` in JSON, also within `{ … }`; not as a reference within `targetRefs`,
/// which YAML writes the same way, so a line that also has `name:` does not count.
fn is_used(text: &str, kind: &str) -> bool {
    text.lines().any(|line| {
        let bare: String = line.chars().filter(|c| !matches!(c, '"' | '\'' | ' ')).collect();
        let stands = bare.match_indices("kind:").any(|(at, word)| {
            let rest = bare.get(at + word.len()..).unwrap_or_default();
            rest.strip_prefix(kind).is_some_and(|rest| !rest.starts_with(char::is_alphanumeric))
        });
        stands && (bare.contains("apiVersion") || !bare.contains("name:"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_read_with_its_lines() {
        let text = "macro_rules! kinds {\n}\nkinds! {\n    Route => route::RouteSpec, \"routes\";\n}\n";
        assert_eq!(kinds(text), [(4, "Route".to_owned())]);
    }

    #[test]
    fn a_document_of_the_kind_is_told_from_a_reference_to_it() {
        let cases = [
            ("kind: Route", true),
            ("  \"kind\": \"Route\",", true),
            (
                "{ \"apiVersion\": \"management.v1\", \"kind\": \"Route\", \"metadata\": { \"name\": \"a\" }",
                true,
            ),
            ("targetRefs: [{ kind: Route, name: orders }]", false),
            ("kind: Routes", false),
            ("kind: Listener", false),
        ];
        for (text, expected) in cases {
            assert_eq!(is_used(text, "Route"), expected, "{text}");
        }
    }

    #[test]
    fn a_file_is_named_after_the_kind_in_any_habit() {
        for file in ["RateLimitPolicy", "rate-limit-policy", "rate_limit_policy.schema"] {
            assert!(names(&plain(file), "RateLimitPolicy"), "{file}");
        }
        assert!(!names(&plain("RateLimit"), "RateLimitPolicy"));
    }
}
