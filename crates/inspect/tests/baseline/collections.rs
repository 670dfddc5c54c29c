//! Our baseline beside the Core Rule Set at paranoia level 1, on public collections of attacks and of ordinary
//! values. Nothing of them is kept here. Run with
//! `cargo test -p bartizan-inspect --release --test baseline -- --ignored --nocapture collections`; the folder
//! `BARTIZAN_COLLECTIONS` holds, where they are at hand,
//! - `gotestwaf/testcases`: cases in that tool's format (`false-pos` and its kin are ordinary ones),
//! - `attacks/NAME.txt` and `ordinary/NAME.txt`: one value per line (`.jsonl`: one JSON string per line),
//!
//! and `BARTIZAN_TRAFFIC` (by default `../shared/data/traffic` beside the repository) labelled tables of values. With
//! `BARTIZAN_COLLECTIONS_OUT` what is missed and what is wrongly refused is written into that folder.

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
};

use bartizan_inspect::{EngineMode, Loader, RuleSet, Transform};

use crate::{
    folder,
    ftw::{self, Request},
    place,
    yaml::Yaml,
};

/// One request of a collection, with the words by which a reader finds it again.
struct Case {
    collection: String,
    attack: bool,
    text: String,
    request: Request,
}

#[test]
#[ignore = "a measurement over collections that are not part of the repository"]
fn collections_are_blocked_more_and_refused_less_than_by_the_core_rule_set() {
    let mut cases = Vec::new();
    if let Some(folder) = env::var_os("BARTIZAN_COLLECTIONS").map(PathBuf::from) {
        cases.extend(gotestwaf(&folder.join("gotestwaf/testcases")));
        cases.extend(lines(&folder.join("attacks"), true));
        cases.extend(lines(&folder.join("ordinary"), false));
    } else {
        println!("no collections of others: BARTIZAN_COLLECTIONS names no folder");
    }
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/traffic");
    cases.extend(traffic(&env::var_os("BARTIZAN_TRAFFIC").map_or(beside, PathBuf::from)));
    let ours = judged(&ours(), &cases);
    let theirs = match folder::crs() {
        Some(folder) => judged(&folder::load(&folder, EngineMode::Enforce), &cases),
        None => vec![None; cases.len()],
    };
    report(&cases, &ours, &theirs);
    if let Some(out) = env::var_os("BARTIZAN_COLLECTIONS_OUT").map(PathBuf::from) {
        write(&out, &cases, &ours, &theirs);
    }
}

/// The baseline as compiled in, or as it stands in the folder `BARTIZAN_BASELINE`, for whoever writes a rule.
fn ours() -> Arc<RuleSet> {
    let Some(folder) = env::var_os("BARTIZAN_BASELINE").map(PathBuf::from) else {
        return Arc::new(bartizan_inspect::baseline().unwrap());
    };
    let mut loader = Loader::new(&folder::Folder);
    loader.file(folder.join("*.conf").to_str().unwrap()).unwrap_or_else(|error| panic!("{error}"));
    Arc::new(loader.finish().unwrap_or_else(|error| panic!("{error}")))
}

/// For each case why it was refused, if it was.
fn judged(set: &Arc<RuleSet>, cases: &[Case]) -> Vec<Option<String>> {
    let half = cases.len().div_ceil(2).max(1);
    thread::scope(|scope| {
        let running: Vec<_> = cases
            .chunks(half)
            .map(|cases| {
                scope.spawn(move || cases.iter().map(|case| refused(set, &case.request)).collect::<Vec<_>>())
            })
            .collect();
        running.into_iter().flat_map(|running| running.join().unwrap()).collect()
    })
}

fn refused(set: &Arc<RuleSet>, request: &Request) -> Option<String> {
    let verdict = ftw::run(set, None, request);
    let rules: Vec<String> = verdict.matches.iter().map(|found| found.rule.to_string()).collect();
    match (&verdict.refusal, verdict.incomplete.first()) {
        (Some(_), _) => Some(rules.join(",")),
        (None, Some(cause)) => Some(format!("{cause:?}")),
        (None, None) => None,
    }
}

fn report(cases: &[Case], ours: &[Option<String>], theirs: &[Option<String>]) {
    let mut rows: BTreeMap<(bool, &str), [usize; 3]> = BTreeMap::new();
    for ((case, ours), theirs) in cases.iter().zip(ours).zip(theirs) {
        for name in [case.collection.as_str(), "all"] {
            let row = rows.entry((!case.attack, name)).or_default();
            row[0] += 1;
            row[1] += usize::from(ours.is_some());
            row[2] += usize::from(theirs.is_some());
        }
    }
    let percent = |part: usize, whole: usize| part as f64 * 100.0 / whole as f64;
    for ((ordinary, name), [all, ours, theirs]) in rows {
        println!(
            "{} {name:32} {all:7} cases: baseline {ours:6} ({:6.2} %), core rule set {theirs:6} ({:6.2} %)",
            if ordinary { "ordinary, refused" } else { "attacks,  blocked" },
            percent(ours, all),
            percent(theirs, all)
        );
    }
}

fn write(out: &Path, cases: &[Case], ours: &[Option<String>], theirs: &[Option<String>]) {
    fs::create_dir_all(out).unwrap();
    let (mut missed, mut wronged) = (String::new(), String::new());
    for ((case, ours), theirs) in cases.iter().zip(ours).zip(theirs) {
        let line = |why: &str| format!("{}\t{}\t{why}\n", case.collection, case.text.escape_debug());
        match (case.attack, ours) {
            (true, None) => missed.push_str(&line(theirs.as_deref().unwrap_or("-"))),
            (false, Some(why)) => wronged.push_str(&line(why)),
            _ => {}
        }
    }
    fs::write(out.join("missed.tsv"), missed).unwrap();
    fs::write(out.join("wronged.tsv"), wronged).unwrap();
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.into_iter().flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

fn lines(folder: &Path, attack: bool) -> Vec<Case> {
    let mut cases = Vec::new();
    for path in files(folder) {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let text = String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned();
        let quoted = path.extension().is_some_and(|extension| extension == "jsonl");
        for (at, line) in text.lines().map(|line| line.trim_end_matches('\r')).enumerate() {
            if line.is_empty() {
                continue;
            }
            let line = if quoted { serde_json::from_str(line).unwrap() } else { line.to_owned() };
            let request = if at % 2 == 0 && !quoted { place::query(&line) } else { place::json(&line) };
            cases.push(Case { collection: name.clone(), attack, text: line, request });
        }
    }
    cases
}

fn gotestwaf(folder: &Path) -> Vec<Case> {
    let mut cases = Vec::new();
    for path in files(folder) {
        // That tool's reader takes `\\'` for an apostrophe.
        let text = fs::read_to_string(&path).unwrap().replace("\\'", "'");
        let document = Yaml::parse(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let attack = !path.to_string_lossy().contains("false-pos");
        let list = |key: &str| document.get(key).map(Yaml::list).unwrap_or_default().to_vec();
        for payload in list("payload").iter().filter_map(Yaml::text) {
            for encoder in list("encoder").iter().filter_map(Yaml::text) {
                for placed in list("placeholder") {
                    let name = match &placed {
                        Yaml::Map(entries) => entries[0].0.clone(),
                        other => other.text().unwrap_or_default().to_owned(),
                    };
                    let Some(request) = placed_request(&name, &placed, encoder, payload) else { continue };
                    let start: String =
                        payload.chars().rev().take(200).collect::<Vec<_>>().into_iter().rev().collect();
                    cases.push(Case {
                        collection: "gotestwaf".to_owned(),
                        attack,
                        text: format!("{encoder} {name} {start}"),
                        request,
                    });
                }
            }
        }
    }
    cases
}

fn placed_request(name: &str, placed: &Yaml, encoder: &str, payload: &str) -> Option<Request> {
    let encoded = match encoder {
        "Base64" | "Base64Flat" => {
            let mut out = Vec::new();
            let _ = Transform::Base64Encode.apply(payload.as_bytes(), &mut out);
            let text = String::from_utf8(out).unwrap();
            if encoder == "Base64" { text } else { text.replace('=', "") }
        }
        "URL" => place::escaped(payload.as_bytes()),
        _ => payload.to_owned(),
    };
    // What goes into a URL or a form is sent as the encoder left it; the rest carries it as a value.
    Some(match name {
        "URLParam" => {
            place::request("GET", &format!("/?a1b2={}", encoded.replace([' ', '#'], "%20")), "", b"")
        }
        "URLPath" => place::path(&encoded),
        "HTMLForm" => {
            let body = format!("a1b2={encoded}");
            place::request("POST", "/", "application/x-www-form-urlencoded", body.as_bytes())
        }
        "HTMLMultipartForm" => place::multipart(&encoded),
        "JSONRequest" => place::json(&encoded),
        "JSONBody" => place::request("POST", "/", "application/json", encoded.as_bytes()),
        "Header" => place::header("X-a1b2c3", &encoded),
        "UserAgent" => place::header("User-Agent", &encoded),
        "XMLBody" => place::xml(&encoded),
        "SOAPBody" => {
            let value = encoded.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&#34;");
            place::xml(&format!("<Envelope><Body><ab1>{value}</ab1></Body></Envelope>"))
        }
        "GraphQL" => {
            let map = placed.get("GraphQL").and_then(|settings| settings.get("method")).and_then(Yaml::text);
            if map == Some("GET") {
                place::request(
                    "GET",
                    &format!("/graphql?query={}", place::escaped(payload.as_bytes())),
                    "",
                    b"",
                )
            } else {
                place::request("POST", "/graphql", "application/json", encoded.as_bytes())
            }
        }
        "RawRequest" => {
            let settings = placed.get("RawRequest")?;
            let text = |key: &str| settings.get(key).and_then(Yaml::text).unwrap_or_default().to_owned();
            let kind =
                settings.get("headers").and_then(|headers| headers.get("Content-Type")).and_then(Yaml::text);
            let body = text("body").replace("{{payload}}", &encoded);
            let kind = kind.unwrap_or("text/plain");
            let body = if kind.starts_with("multipart") { body.replace('\n', "\r\n") } else { body };
            place::request(&text("method"), &text("path"), kind, body.as_bytes())
        }
        // gRPC has no reader.
        _ => return None,
    })
}

/// The labelled tables: every value in a query.
fn traffic(folder: &Path) -> Vec<Case> {
    let mut cases = Vec::new();
    for name in ["payload_train.csv", "payload_test.csv"] {
        for row in rows(&folder.join("httpparams").join(name)) {
            let [payload, _, kind, label] = row.as_slice() else { continue };
            cases.push(Case {
                collection: format!("httpparams {kind}"),
                attack: label == "anom",
                text: payload.clone(),
                request: place::query(payload),
            });
        }
    }
    for row in rows(&folder.join("mlwaf/payloads.csv")) {
        let [_, payload, malicious, kind] = row.as_slice() else { continue };
        cases.push(Case {
            collection: format!("mlwaf {kind}"),
            attack: malicious.starts_with('1'),
            text: payload.clone(),
            request: place::query(payload),
        });
    }
    let log = fs::read(folder.join("access-log/semicomplete_apache_logs")).unwrap_or_default();
    for line in String::from_utf8_lossy(&log).lines() {
        let fields: Vec<&str> = line.split('"').collect();
        let [_, head, _, referer, _, agent, ..] = fields.as_slice() else { continue };
        let words: Vec<&str> = head.split(' ').collect();
        let [method, target, _] = words.as_slice() else { continue };
        let mut request = place::request(method, target, "", b"");
        for (name, value) in [("User-Agent", agent), ("Referer", referer)] {
            request.headers.retain(|(known, _)| known != name.as_bytes());
            request.headers.push((name.into(), value.as_bytes().to_vec()));
        }
        let text = format!("{head} {referer} {agent}");
        cases.push(Case { collection: "access log, unlabelled".to_owned(), attack: false, text, request });
    }
    cases
}

/// The rows of a table with commas and quotes, without its head.
fn rows(path: &Path) -> Vec<Vec<String>> {
    let text = String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned();
    let (mut rows, mut row, mut field, mut quoted) = (Vec::new(), Vec::new(), String::new(), false);
    let mut signs = text.chars().peekable();
    while let Some(sign) = signs.next() {
        match sign {
            '"' if quoted && signs.peek() == Some(&'"') => {
                field.push('"');
                signs.next();
            }
            '"' => quoted = !quoted,
            ',' if !quoted => row.push(std::mem::take(&mut field)),
            '\n' if !quoted => {
                row.push(std::mem::take(&mut field).trim_end_matches('\r').to_owned());
                rows.push(std::mem::take(&mut row));
            }
            other => field.push(other),
        }
    }
    rows.into_iter().skip(1).collect()
}
