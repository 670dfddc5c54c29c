//! Recorded exchanges with model providers, read from beside the repository.
//!
//! The recordings are public data that the repository does not contain: `BARTIZAN_AI_WIRE`, default
//! `../shared/data/ai-wire`. Without them a test says in one line that it was skipped. Three forms of YAML are read.

use std::{
    fs,
    path::{Path, PathBuf},
};

use saphyr_parser::{Event, Parser, ScalarStyle};
use serde_json::{Map, Value};

/// One request and what came back.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// The file, below the folder of recordings.
    pub source: String,
    /// The folder's or the host's name of the provider.
    pub provider: String,
    /// The request's path without its query.
    pub path: String,
    /// The request's body.
    pub request: Vec<u8>,
    /// The answer's status.
    pub status: u16,
    /// The answer's headers.
    pub headers: Vec<(String, String)>,
    /// The answer's body.
    pub body: Vec<u8>,
}

impl Exchange {
    /// Whether the answer is a stream: events, or lines of JSON.
    pub fn is_stream(&self) -> bool {
        let kind = |name: &str| self.headers.iter().any(|(_, value)| value.contains(name));
        kind("event-stream") || kind("ndjson")
    }
}

/// The folder of recordings, or a line that says why a test is skipped.
pub fn folder() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/ai-wire");
    let folder = std::env::var_os("BARTIZAN_AI_WIRE").map_or(beside, PathBuf::from);
    if folder.join("rig").is_dir() {
        return Some(folder);
    }
    eprintln!("skipped: no recorded exchanges at {} (BARTIZAN_AI_WIRE)", folder.display());
    None
}

/// All exchanges that are text, in the order of their files.
pub fn exchanges() -> Option<Vec<Exchange>> {
    let folder = folder()?;
    let mut files = Vec::new();
    list(&folder, &mut files);
    files.sort();
    let mut all = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).expect("a recording is text");
        let source = file.strip_prefix(&folder).unwrap_or(&file).display().to_string();
        for document in documents(&text) {
            read(&source, &document, &mut all);
        }
    }
    Some(all)
}

fn list(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("the folder can be listed").flatten() {
        let path = entry.path();
        if path.is_dir() {
            list(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "yaml") {
            files.push(path);
        }
    }
}

fn read(source: &str, document: &Value, all: &mut Vec<Exchange>) {
    if let (Some(when), Some(then)) = (document.get("when"), document.get("then")) {
        if then.get("body_encoding").is_some() {
            return;
        }
        let provider = source.split('/').nth(1).unwrap_or_default();
        all.push(Exchange {
            source: source.to_owned(),
            provider: provider.to_owned(),
            path: text(when, "path"),
            request: text(when, "body").into_bytes(),
            status: status(then.get("status")),
            headers: then.get("header").map(pairs).unwrap_or_default(),
            body: text(then, "body").into_bytes(),
        });
    }
    for interaction in document.get("interactions").and_then(Value::as_array).into_iter().flatten() {
        let (Some(request), Some(response)) = (interaction.get("request"), interaction.get("response"))
        else {
            continue;
        };
        let uri = if request.get("uri").is_some() { text(request, "uri") } else { text(request, "url") };
        let Some((host, path)) = uri.split_once("://").and_then(|(_, rest)| rest.split_once('/')) else {
            continue;
        };
        all.push(Exchange {
            source: source.to_owned(),
            provider: host.to_owned(),
            path: format!("/{}", path.split('?').next().unwrap_or_default()),
            request: body(request),
            status: status(response.get("status").or(response.get("code"))),
            headers: response.get("headers").map(pairs).unwrap_or_default(),
            body: body(response),
        });
    }
}

fn text(value: &Value, name: &str) -> String {
    value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn body(side: &Value) -> Vec<u8> {
    if let Some(parsed) = side.get("parsed_body") {
        return parsed.to_string().into_bytes();
    }
    let body = side.get("body").unwrap_or(&Value::Null);
    body.as_str().map_or_else(|| text(body, "string"), str::to_owned).into_bytes()
}

fn status(value: Option<&Value>) -> u16 {
    let value = value.unwrap_or(&Value::Null);
    let number = value.as_u64().or_else(|| value.get("code")?.as_u64());
    let word = value.as_str().and_then(|word| word.get(..3)?.parse().ok());
    number.or(word).and_then(|status| u16::try_from(status).ok()).unwrap_or(200)
}

/// Headers as a list of `{name, value}` or as a mapping to lists.
fn pairs(value: &Value) -> Vec<(String, String)> {
    match value {
        Value::Array(list) => list.iter().map(|pair| (text(pair, "name"), text(pair, "value"))).collect(),
        Value::Object(map) => {
            let first = |value: &Value| value.get(0).and_then(Value::as_str).unwrap_or_default().to_owned();
            map.iter().map(|(name, value)| (name.to_ascii_lowercase(), first(value))).collect()
        }
        _ => Vec::new(),
    }
}

/// The documents of a text as JSON values.
fn documents(text: &str) -> Vec<Value> {
    let mut done = Vec::new();
    // Open collections: a list, or a mapping with the key that waits for its value.
    let mut open: Vec<(Value, Option<String>)> = Vec::new();
    for event in Parser::new_from_str(text) {
        let (event, _) = event.expect("a recording is YAML");
        let value = match event {
            Event::Scalar(text, style, ..) => scalar(&text, style),
            Event::SequenceStart(..) => {
                open.push((Value::Array(Vec::new()), None));
                continue;
            }
            Event::MappingStart(..) => {
                open.push((Value::Object(Map::new()), None));
                continue;
            }
            Event::SequenceEnd | Event::MappingEnd => open.pop().expect("what ends was begun").0,
            _ => continue,
        };
        match open.last_mut() {
            None => done.push(value),
            Some((Value::Array(list), _)) => list.push(value),
            Some((Value::Object(map), key)) => match key.take() {
                Some(key) => {
                    map.insert(key, value);
                }
                None => *key = Some(value.as_str().map_or_else(|| value.to_string(), str::to_owned)),
            },
            Some(_) => unreachable!("only collections are open"),
        }
    }
    done
}

fn scalar(text: &str, style: ScalarStyle) -> Value {
    if !matches!(style, ScalarStyle::Plain) {
        return Value::String(text.to_owned());
    }
    match text {
        "" | "~" | "null" => Value::Null,
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        number if number.starts_with(|first: char| first.is_ascii_digit() || first == '-') => {
            serde_json::from_str(number).unwrap_or_else(|_| Value::String(number.to_owned()))
        }
        word => Value::String(word.to_owned()),
    }
}
