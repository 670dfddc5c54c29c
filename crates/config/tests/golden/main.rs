//! Golden documents: each file of `testdata/` holds a set, a rule line, and what compiling the set says.
//!
//! Above the rule line: documents. A line `=== NAME` begins another file of the set (without one there is a single file
//! named like the golden), and `# ask METHOD HOST PATH [HEADER: VALUE]` asks the compiled tables. Below: problems,
//! then a summary of the snapshot and the answers. `BARTIZAN_GOLDEN=write cargo test -p bartizan-config --test golden`
//! writes what is below anew; review the difference like code.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a test fails by panicking")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    path::{Path, PathBuf},
};

use bartizan_access::{Asked, Subject, Verdict};
use bartizan_config::{
    Set,
    snapshot::{Captures, Lookup, RouteAsk, Snapshot},
    source::Sources,
};
use bartizan_model::problem::{Code, Problem, Span};
use http::{HeaderMap, HeaderName, Method};

mod summary;

const RULE: &str = "# ---8<---";

/// Codes that no golden document can raise: those of preparation, what is not text at all (see `parse/tests.rs`), and what
/// is only wrong in a set that is to be kept as a revision (see `keep.rs`).
const NOT_IN_DOCUMENTS: &[Code] =
    &[Code::FileUnreadable, Code::BindFailed, Code::NotUtf8, Code::RelativeReference];

fn testdata() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata")
}

/// The golden files by name, with their whole text. Anything else in the folder is an orphan.
fn goldens() -> BTreeMap<String, (PathBuf, String)> {
    let mut goldens = BTreeMap::new();
    for file in std::fs::read_dir(testdata()).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let stem = name.strip_suffix(".yaml").unwrap_or_else(|| panic!("an orphan in testdata: {name}"));
        goldens.insert(stem.to_owned(), (path.clone(), std::fs::read_to_string(&path).unwrap()));
    }
    goldens
}

/// The set above the rule line.
fn question(text: &str) -> &str {
    text.split_once(&format!("{RULE}\n")).map_or(text, |(question, _)| question)
}

fn compile(stem: &str, question: &str) -> Set {
    let mut files: Vec<(String, String)> = Vec::new();
    for line in question.lines() {
        if let Some(name) = line.strip_prefix("=== ") {
            files.push((name.to_owned(), String::new()));
            continue;
        }
        if files.is_empty() {
            files.push((format!("{stem}.yaml"), String::new()));
        }
        if let Some((_, text)) = files.last_mut() {
            text.push_str(line);
            text.push('\n');
        }
    }
    // What stands before the first `=== NAME` is for the reader.
    if files.len() > 1 {
        files.remove(0);
    }
    Set::from_sources(Sources::from_texts(files))
}

fn answer(set: &Set, question: &str) -> String {
    let mut out = String::new();
    for problem in set.compiled.problems.iter() {
        write_problem(&mut out, set, problem);
    }
    match &set.compiled.snapshot {
        Some(snapshot) => {
            assert!(!set.compiled.problems.is_refusing());
            summary::write(&mut out, snapshot);
            for line in question.lines().filter_map(|line| line.strip_prefix("# ask ")) {
                let _ = writeln!(out, "{line} → {}", ask(snapshot, line));
            }
            for line in question.lines().filter_map(|line| line.strip_prefix("# may ")) {
                let _ = writeln!(out, "may {line} → {}", may(snapshot, line));
            }
        }
        None => out.push_str("no snapshot\n"),
    }
    out
}

fn write_problem(out: &mut String, set: &Set, problem: &Problem) {
    let place = |at: &Span| match set.sources.get(at.file) {
        Some(source) if at.is_place() => format!("{}:{}:{}", source.name(), at.line, at.column),
        Some(source) => source.name().to_owned(),
        None => "the set".to_owned(),
    };
    let at = place(&problem.at);
    let _ = writeln!(out, "{} {} {at} {}", problem.severity, problem.code, problem.path);
    let _ = writeln!(out, "  {}", problem.message);
    for (at, role) in &problem.also {
        let _ = writeln!(out, "  also {}: {role}", place(at));
    }
    if let Some(hint) = &problem.hint {
        let _ = writeln!(out, "  hint: {hint}");
    }
}

/// What each listener says to a request: `METHOD HOST PATH [HEADER: VALUE]`.
fn ask(snapshot: &Snapshot, line: &str) -> String {
    let mut parts = line.splitn(4, ' ');
    let mut next = || parts.next().unwrap_or_default();
    let (method, host, target, header) = (next(), next(), next(), next());
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    let mut headers = HeaderMap::new();
    if let Some((name, value)) = header.split_once(": ") {
        headers.insert(HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
    }
    let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
    let ask = RouteAsk { host, path, method: &method, headers: &headers, query };
    let answers = snapshot.listeners.iter().map(|listener| {
        let said = match listener.routes.find(&ask) {
            Lookup::Found(found) => format!("{}#{}", found.plan.label, found.plan.index),
            Lookup::OtherMethods(methods) => {
                let methods: Vec<String> = methods.iter().map(|method| method.to_string()).collect();
                format!("only {}", methods.join(", "))
            }
            Lookup::Nothing => "nothing".to_owned(),
        };
        format!("{}: {said}", listener.plan.name)
    });
    answers.collect::<Vec<_>>().join("; ")
}

/// What the policies of the route say to a caller: `CONSUMER METHOD HOST PATH`, where `-` is nobody.
fn may(snapshot: &Snapshot, line: &str) -> String {
    let mut parts = line.split(' ');
    let mut next = || parts.next().unwrap_or_default();
    let (name, method, host, target) = (next(), next(), next(), next());
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
    let headers = HeaderMap::new();
    let ask = RouteAsk { host, path, method: &method, headers: &headers, query };
    let listener = snapshot.listeners.first().unwrap();
    let Lookup::Found(found) = listener.routes.find(&ask) else { return "no route".to_owned() };
    let consumer = (name != "-").then(|| snapshot.consumers.get(name).unwrap());
    let who = match consumer {
        None => Subject::NOBODY,
        Some(consumer) => Subject {
            consumer: Some(&consumer.name),
            sub: Some(&consumer.name),
            roles: &consumer.role_set,
            role_names: &consumer.roles,
            tags: &[],
            method: "api_key",
            claims: None,
        },
    };
    let captures = Captures { template: found.template.map(|template| &**template), path };
    let asked = Asked {
        route: &found.plan.route,
        method: &method,
        path,
        host,
        headers: &headers,
        query,
        variables: &captures,
        client: "192.0.2.1".parse().unwrap(),
    };
    let of_consumer = consumer.into_iter().flat_map(|consumer| &consumer.authorization);
    let said = found.plan.authorization.iter().chain(of_consumer).map(|plan| {
        let said = match plan.policy.allows(&who, &asked, 0) {
            Ok(Verdict::Allowed(ground)) => format!("yes by {}", ground.describe()),
            Ok(Verdict::Denied(refused)) => format!("no: {}", refused.describe()),
            Err(fault) => fault.to_string(),
        };
        format!("{} {said}", plan.label)
    });
    let said: Vec<String> = said.collect();
    if said.is_empty() { "nobody asks".to_owned() } else { said.join("; ") }
}

#[test]
fn each_set_says_what_its_golden_file_says() {
    let write = std::env::var_os("BARTIZAN_GOLDEN").is_some_and(|word| word == "write");
    let mut wrong = Vec::new();
    let goldens = goldens();
    for (stem, (path, text)) in &goldens {
        let question = question(text);
        let said = answer(&compile(stem, question), question);
        let expected = format!("{question}{RULE}\n{}", said.lines().map(comment).collect::<String>());
        if write {
            std::fs::write(path, &expected).unwrap();
        } else if expected != *text {
            wrong.push(format!("{}:\n{said}", path.display()));
        }
    }
    assert!(goldens.len() >= 30, "only {} golden files", goldens.len());
    assert!(wrong.is_empty(), "{}\n{} of {} differ", wrong.join("\n"), wrong.len(), goldens.len());
}

/// The answer is written as comments, so that the whole file stays YAML.
fn comment(line: &str) -> String {
    if line.is_empty() { "#\n".to_owned() } else { format!("# {line}\n") }
}

#[test]
fn every_code_is_raised_by_some_golden_document() {
    let mut raised = BTreeSet::new();
    for (stem, (_, text)) in goldens() {
        raised.extend(compile(&stem, question(&text)).compiled.problems.iter().map(|problem| problem.code));
    }
    let silent: Vec<Code> = Code::ALL.iter().copied().filter(|code| !raised.contains(code)).collect();
    assert_eq!(
        silent.iter().collect::<BTreeSet<_>>(),
        NOT_IN_DOCUMENTS.iter().collect(),
        "raised or not as listed"
    );
}

#[test]
fn every_problem_of_a_field_names_a_line_and_a_field() {
    for (stem, (_, text)) in goldens() {
        for problem in compile(&stem, question(&text)).compiled.problems.iter() {
            let of_set = [Code::SetEmpty, Code::SetIncomplete].contains(&problem.code);
            assert!(of_set || problem.at.is_place(), "{stem}: {problem:?}");
            let of_text = problem.code.as_str().starts_with("BZ-1");
            assert!(
                of_set || of_text || !problem.path.is_empty() || problem.code == Code::WrongType,
                "{stem}: {problem:?}"
            );
            assert!(
                !problem.message.ends_with('.') && !problem.message.contains('\n'),
                "{stem}: {problem:?}"
            );
        }
    }
}

#[test]
fn compiling_is_repeatable() {
    for (stem, (_, text)) in goldens() {
        let question = question(&text);
        assert_eq!(
            answer(&compile(&stem, question), question),
            answer(&compile(&stem, question), question),
            "{stem}"
        );
    }
}
