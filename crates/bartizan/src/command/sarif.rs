//! SARIF 2.1.0: findings in the form that code hosts show beside the lines they are about.

use std::{
    borrow::Cow,
    path::{Component, Path},
};

use serde_json::{Value, json};

/// A rule that findings break.
pub(crate) struct Rule {
    /// Its stable id.
    pub(crate) id: &'static str,
    /// Its name in Pascal case.
    pub(crate) name: &'static str,
    /// What it asks for, one sentence.
    pub(crate) text: Cow<'static, str>,
    /// Where more is said.
    pub(crate) help: Cow<'static, str>,
    /// How grave it is.
    pub(crate) level: Level,
}

/// How grave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    /// To be mended.
    Error,
    /// Probably to be mended.
    Warning,
    /// To be known.
    Note,
}

impl Level {
    const fn as_str(self) -> &'static str {
        match self {
            Level::Error => "error",
            Level::Warning => "warning",
            Level::Note => "note",
        }
    }
}

/// Something found.
pub(crate) struct Finding {
    /// The rule's id.
    pub(crate) rule: &'static str,
    /// How grave it is here.
    pub(crate) level: Level,
    /// What is wrong.
    pub(crate) message: String,
    /// The file, as it was named.
    pub(crate) file: Option<String>,
    /// The line, from 1; 0 is the file as a whole.
    pub(crate) line: u32,
    /// The column, from 1.
    pub(crate) column: u32,
}

/// The log of one run.
pub(crate) fn log(rules: &[Rule], findings: &[Finding]) -> Value {
    let rules_json: Vec<Value> = rules
        .iter()
        .map(|rule| {
            json!({
                "id": rule.id,
                "name": rule.name,
                "shortDescription": { "text": rule.text },
                "helpUri": rule.help,
                "defaultConfiguration": { "level": rule.level.as_str() },
            })
        })
        .collect();
    let results: Vec<Value> = findings.iter().map(|finding| result(rules, finding)).collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "bartizan",
                "version": env!("CARGO_PKG_VERSION"),
                "informationUri": "https://bartizan.dev",
                "rules": rules_json,
            } },
            "results": results,
        }],
    })
}

fn result(rules: &[Rule], finding: &Finding) -> Value {
    let mut value = json!({
        "ruleId": finding.rule,
        "ruleIndex": rules.iter().position(|rule| rule.id == finding.rule),
        "level": finding.level.as_str(),
        "message": { "text": finding.message },
    });
    if let Some(file) = &finding.file {
        let mut place = json!({ "artifactLocation": { "uri": uri(file) } });
        if finding.line > 0
            && let Some(place) = place.as_object_mut()
        {
            let region = json!({ "startLine": finding.line, "startColumn": finding.column.max(1) });
            place.insert("region".to_owned(), region);
        }
        if let Some(result) = value.as_object_mut() {
            result.insert("locations".to_owned(), json!([{ "physicalLocation": place }]));
        }
    }
    value
}

/// A file's name as a relative reference (RFC 3986): forward slashes, without `./`, everything else escaped.
fn uri(file: &str) -> String {
    let path = Path::new(file);
    let mut out = String::new();
    for part in path.components() {
        match part {
            Component::CurDir => continue,
            Component::RootDir | Component::Prefix(_) => {
                out.push_str("file://");
                continue;
            }
            Component::ParentDir | Component::Normal(_) => {}
        }
        if !out.is_empty() {
            out.push('/');
        }
        for byte in part.as_os_str().as_encoded_bytes() {
            match byte {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                    out.push(char::from(*byte))
                }
                byte => out.push_str(&format!("%{byte:02X}")),
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_named_by_a_uri() {
        for (file, expected) in [
            ("./policies/a b.yaml", "policies/a%20b.yaml"),
            ("policies/ü.yaml", "policies/%C3%BC.yaml"),
            ("../x.yaml", "../x.yaml"),
            ("/etc/x.yaml", "file:///etc/x.yaml"),
        ] {
            assert_eq!(uri(file), expected);
        }
    }

    #[test]
    fn a_finding_without_a_place_has_no_location() {
        let rules = [Rule { id: "r", name: "R", text: "t".into(), help: "h".into(), level: Level::Error }];
        let finding = |file: Option<&str>, line| Finding {
            rule: "r",
            level: Level::Note,
            message: "m".to_owned(),
            file: file.map(str::to_owned),
            line,
            column: 0,
        };
        let log = log(&rules, &[finding(None, 0), finding(Some("a.yaml"), 0), finding(Some("a.yaml"), 3)]);
        let results = &log["runs"][0]["results"];
        assert!(results[0].get("locations").is_none());
        assert!(results[1]["locations"][0]["physicalLocation"].get("region").is_none());
        assert_eq!(results[2]["locations"][0]["physicalLocation"]["region"]["startLine"], 3);
        assert_eq!(results[2]["ruleIndex"], 0);
    }
}
