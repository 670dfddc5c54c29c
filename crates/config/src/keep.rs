//! A set as a revision keeps it: names that mean the same everywhere, and nothing in it that must not be kept.
//!
//! A revision lies in no folder, so its files are named relative to what was given, and a document in it may not refer
//! to a file relative to its own. Texts are kept, sent and shown as they are, comments included, so a secret in one of
//! them would be everywhere at once: what looks like one is refused, also where the document language would take it.

use std::{
    collections::BTreeSet,
    path::{Component, Path, PathBuf},
};

use bartizan_identity::KeyId;
use bartizan_model::{
    node::{Node, Value},
    problem::{Code, FileId, Problem, Problems, Span, shown},
    read::Path as Field,
};

use crate::{
    Set, parse,
    policy_test::{Case, run_all},
    rehearsal::Rehearsal,
    source::{Source, Sources},
};

/// Two files of a set would have the same name in a revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamesClash {
    /// The name.
    pub name: String,
}

impl std::fmt::Display for NamesClash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "two files would both be called {} in the revision; give one directory that holds both",
            self.name
        )
    }
}

impl std::error::Error for NamesClash {}

/// The texts of a set that was read from `roots` under the names that a revision gives them: relative to the directory
/// that was given, the bare name of a file that was given. With several roots each one's own name comes first.
///
/// # Errors
///
/// [`NamesClash`] where two would be the same.
pub fn kept(sources: &Sources, roots: &[PathBuf]) -> Result<Vec<(String, String)>, NamesClash> {
    let mut seen = BTreeSet::new();
    let mut kept = Vec::with_capacity(sources.len());
    for (_, source) in sources.iter() {
        let name = name_in(source, roots);
        if !seen.insert(name.clone()) {
            return Err(NamesClash { name });
        }
        kept.push((name, source.text().to_owned()));
    }
    Ok(kept)
}

fn name_in(source: &Source, roots: &[PathBuf]) -> String {
    let Some(path) = source.path() else { return "stdin.yaml".to_owned() };
    let root = roots.iter().filter(|root| path.starts_with(root)).max_by_key(|root| root.as_os_str().len());
    let own = root.and_then(|root| root.file_name()).map(|name| name.to_string_lossy().into_owned());
    let below = match root {
        Some(root) if *root != path => path.strip_prefix(root).ok(),
        _ => None,
    };
    match (below, own) {
        (Some(below), Some(own)) if roots.len() > 1 => format!("{own}/{}", slashed(below)),
        (Some(below), _) => slashed(below),
        (None, Some(own)) => own,
        (None, None) => slashed(path.file_name().map_or(path, Path::new)),
    }
}

fn slashed(path: &Path) -> String {
    let parts = path.components().filter_map(|component| match component {
        Component::Normal(part) => Some(part.to_string_lossy().into_owned()),
        _ => None,
    });
    parts.collect::<Vec<_>>().join("/")
}

/// Why a set cannot be kept as a revision; empty when it can.
pub fn problems(sources: &Sources) -> Problems {
    let mut problems = Problems::new();
    for (file, source) in sources.iter() {
        secrets_in_text(file, source.text(), &mut problems);
    }
    // What is wrong with the documents themselves was told when they were compiled.
    for node in parse::parse(sources, &mut Problems::new()) {
        walk(&node, None, &mut Field::root(), &mut problems);
    }
    problems
}

/// Why a set that compiles must not become the active revision all the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Against {
    /// What nobody can waive.
    pub grounds: Vec<String>,
    /// How many PolicyTests were run.
    pub tests: usize,
    /// Those that failed, each with its first miss. Somebody may take them upon themselves, with a reason.
    pub failing: Vec<String>,
}

impl Against {
    /// Everything that refuses the set, where failing tests are waived or not.
    pub fn standing(&self, tests_are_waived: bool) -> impl Iterator<Item = &str> {
        let failing = self.failing.iter().filter(move |_| !tests_are_waived);
        self.grounds.iter().chain(failing).map(String::as_str)
    }

    /// The reason that a revision keeps: where tests failed and were waived, also that and why.
    pub fn reason(&self, reason: &str, waiver: Option<&str>) -> String {
        match waiver {
            Some(why) if !self.failing.is_empty() => {
                format!(
                    "{reason} [{} of {} tests failed; applied all the same: {why}]",
                    self.failing.len(),
                    self.tests
                )
            }
            _ => reason.to_owned(),
        }
    }
}

/// Judges whether a set that compiles may become the active revision: it must publish something, and its PolicyTests
/// must pass. One function for commands and API, so that whatever else is to refuse a change has one place to go.
pub fn reasons_against(set: &Set, rehearsal: &dyn Rehearsal) -> Against {
    let mut against = Against::default();
    let snapshot = set.compiled.snapshot.as_ref();
    let Some(snapshot) = snapshot.filter(|one| !one.listeners.is_empty() && !one.routes.is_empty()) else {
        against.grounds.push("the set has no Listener or no Route: an empty set never goes live".to_owned());
        return against;
    };
    let report = run_all(&set.documents, snapshot, rehearsal);
    against.tests = report.cases.len();
    against.failing = report.cases.iter().filter(|case| !case.passed()).map(failure).collect();
    against
}

fn failure(case: &Case) -> String {
    let missed = case.steps.iter().find_map(|step| Some((step, step.misses.first()?)));
    let what = missed.map(|(step, miss)| {
        format!(": {}: {} expected {}, got {}", step.name, miss.field, miss.expected, miss.got)
    });
    format!("PolicyTest/{} fails{}", case.name, what.unwrap_or_default())
}

/// What is wrong with names that somebody else gave: they must be relative, stay below where they lie, and differ.
pub fn name_problems<'n>(names: impl IntoIterator<Item = &'n str>) -> Problems {
    let mut problems = Problems::new();
    let mut seen = BTreeSet::new();
    for (file, name) in (0_u32..).map(FileId).zip(names) {
        let plain = Path::new(name).components().all(|part| matches!(part, Component::Normal(_)));
        let sound =
            !name.is_empty() && plain && !name.contains(['\\', '\0']) && !name.contains(char::is_control);
        if !sound || !seen.insert(name) {
            let message = format!("{} is not the name of a file in a set, or is there twice", shown(name));
            problems.push(Problem::new(Code::BadName, Span::whole(file), "", message));
        }
    }
    problems
}

/// Looks at every value of a document. `within` is the name of the list that the value is an item of.
fn walk(node: &Node, within: Option<&str>, path: &mut Field, problems: &mut Problems) {
    match &node.value {
        Value::Text { text, .. } => {
            if let Some(rest) = text.strip_prefix("file://")
                && !rest.starts_with('/')
            {
                problems.push(
                    path.problem(
                        Code::RelativeReference,
                        node.at,
                        "a revision lies in no folder: the path is relative",
                    )
                    .hint(
                        "write the absolute path on the gateway's machine, `file:///…`, or use `env://NAME`",
                    ),
                );
            }
        }
        Value::List(items) => {
            for (index, item) in items.iter().enumerate() {
                path.index(index, |path| walk(item, within, path, problems));
            }
        }
        Value::Map(entries) => {
            if matches!(within, Some("set" | "add")) {
                credential(node, path, problems);
            }
            for (key, value) in entries {
                path.field(&key.name, |path| walk(value, Some(&key.name), path, problems));
            }
        }
        _ => {}
    }
}

/// A header that carries credentials, with its value written out.
fn credential(node: &Node, path: &Field, problems: &mut Problems) {
    let Some(name) = node.get("name").and_then(Node::text) else { return };
    let is_credential = CREDENTIALS.iter().any(|known| known.eq_ignore_ascii_case(name));
    if let Some(value) = node.get("value")
        && is_credential
        && value.text().is_some_and(|text| !text.is_empty())
    {
        problems.push(
            Problem::new(
                Code::SecretInDocument,
                value.at,
                path.child("value"),
                format!("the value of `{name}` is a credential and would be kept in clear text"),
            )
            .hint("use `Upstream.spec.credential` with a `valueRef`"),
        );
    }
}

/// What looks like a secret anywhere in a text, comments included.
fn secrets_in_text(file: FileId, text: &str, problems: &mut Problems) {
    let mut start = 0;
    for (number, line) in (1_u32..).zip(text.split_inclusive('\n')) {
        let mut found = |column: usize, length: usize, what: &str| {
            let offset = |at: usize| u32::try_from(start + at).unwrap_or(u32::MAX);
            let characters = line.get(..column).map_or(0, |before| before.chars().count());
            let at = Span {
                file,
                start: offset(column),
                end: offset(column + length),
                line: number,
                column: u32::try_from(characters + 1).unwrap_or(u32::MAX),
            };
            problems.push(
                Problem::new(Code::SecretInDocument, at, "", format!("{what} stands in the text"))
                    .hint("take it out and refer to it (`file:///…`, `env://NAME`); then make a new one, this one was seen"),
            );
        };
        if let Some(column) = line.find("-----BEGIN ")
            && line.get(column..).is_some_and(|rest| rest.contains("PRIVATE KEY-----"))
        {
            found(column, "-----BEGIN ".len(), "a private key");
        }
        for (column, _) in line.match_indices("bzk_") {
            let rest = line.get(column..).unwrap_or_default();
            let length =
                rest.bytes().take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b'_').count();
            let word = rest.get(..length).unwrap_or_default();
            // The id alone is no secret; the whole key with its checksum is.
            if word.matches('_').count() == 2 && KeyId::recognise(word).is_some() {
                found(column, length, "an API key");
            }
        }
        start += line.len();
    }
}

/// Headers whose values let somebody in.
const CREDENTIALS: [&str; 6] =
    ["authorization", "proxy-authorization", "cookie", "x-api-key", "api-key", "x-auth-token"];

#[cfg(test)]
mod tests {
    use super::*;

    fn codes(text: &str) -> Vec<(Code, u32, u32, String)> {
        let sources = Sources::from_texts([("a.yaml", text)]);
        problems(&sources)
            .iter()
            .map(|one| (one.code, one.at.line, one.at.column, one.path.clone()))
            .collect()
    }

    #[test]
    fn what_a_revision_must_not_keep_is_refused_with_its_place() {
        let (secret, relative) = (Code::SecretInDocument, Code::RelativeReference);
        for (text, expected) in [
            ("a: file:///etc/key.pem\nb: env://KEY\n", vec![]),
            ("a: file://key.pem\n", vec![(relative, 1, 4, "a")]),
            ("x:\n  - keyRef: file://certs/key.pem\n", vec![(relative, 2, 13, "x[0].keyRef")]),
            ("# -----BEGIN RSA PRIVATE KEY-----\na: 1\n", vec![(secret, 1, 3, "")]),
            ("a: |\n  -----BEGIN CERTIFICATE-----\n", vec![]),
            (
                "change: { set: [{ name: Authorization, value: Basic eDp5 }] }",
                vec![(secret, 1, 47, "change.set[0].value")],
            ),
            ("change: { set: [{ name: X-Mark, value: one }], remove: [Authorization] }", vec![]),
            ("check: [{ name: authorization, value: x }]", vec![]),
            ("a: bzk_AAAAAAAAAAAA\n", vec![]),
        ] {
            let expected: Vec<_> = expected
                .into_iter()
                .map(|(code, line, column, path)| (code, line, column, path.to_owned()))
                .collect();
            assert_eq!(codes(text), expected, "{text}");
        }
    }

    #[test]
    fn a_whole_api_key_is_a_secret_also_in_a_comment() {
        let key = bartizan_identity::api_key::mint(&[7; bartizan_identity::api_key::MINT_BYTES]).text;
        let found = codes(&format!("a: 1 # was {}\n", key.expose()));
        assert_eq!(found, [(Code::SecretInDocument, 1, 12, String::new())]);
    }

    #[test]
    fn names_do_not_depend_on_where_the_directory_lies() {
        let names = |files: &[&str], roots: &[&str]| {
            let sources = Sources::from_texts(files.iter().map(|file| (*file, "")));
            let roots: Vec<PathBuf> = roots.iter().map(PathBuf::from).collect();
            kept(&sources, &roots).map(|kept| kept.into_iter().map(|(name, _)| name).collect::<Vec<_>>())
        };
        let ok = |list: &[&str]| Ok(list.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>());
        assert_eq!(
            names(&["/srv/p/a.yaml", "/srv/p/sub/b.yaml"], &["/srv/p"]),
            ok(&["a.yaml", "sub/b.yaml"])
        );
        assert_eq!(names(&["./p/a.yaml"], &["./p"]), ok(&["a.yaml"]));
        assert_eq!(names(&["p/a.yaml"], &["p/a.yaml"]), ok(&["a.yaml"]));
        assert_eq!(names(&["a/x.yaml", "b/x.yaml"], &["a", "b"]), ok(&["a/x.yaml", "b/x.yaml"]));
        assert_eq!(
            names(&["one/p/x.yaml", "two/p/x.yaml"], &["one/p", "two/p"]),
            Err(NamesClash { name: "p/x.yaml".to_owned() })
        );
    }
}
