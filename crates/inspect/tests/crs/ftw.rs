//! Tests in the go-ftw format: what a client sends, as a server would hand it to the engine, and which rule ids must
//! or must not be reported. Answers come from a stand-in for the test backend: `/reflect` answers as its body asks.

use std::{fs, path::Path, sync::Arc};

use bartizan_inspect::{Exchange, Overlay, RequestHead, ResponseHead, RuleSet, Session, Verdict};

use crate::yaml::Yaml;

/// One request and what is expected of it.
#[derive(Clone, Debug)]
pub(crate) struct Stage {
    pub(crate) request: Request,
    pub(crate) expected: Vec<u32>,
    pub(crate) unexpected: Vec<u32>,
    pub(crate) nothing_logged: bool,
    pub(crate) status: Option<u16>,
    pub(crate) refused_by_server: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Test {
    pub(crate) name: String,
    pub(crate) stages: Vec<Stage>,
}

/// A request as it arrives on the wire.
#[derive(Clone, Debug, Default)]
pub(crate) struct Request {
    pub(crate) method: Vec<u8>,
    pub(crate) target: Vec<u8>,
    pub(crate) protocol: Vec<u8>,
    pub(crate) headers: Vec<(Vec<u8>, Vec<u8>)>,
    pub(crate) body: Vec<u8>,
}

/// All tests below a folder, sorted.
pub(crate) fn tests(folder: &Path) -> Vec<Test> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "yaml") {
                files.push(path);
            }
        }
    }
    files.sort();
    files.iter().flat_map(|file| file_tests(file)).collect()
}

fn file_tests(file: &Path) -> Vec<Test> {
    let text = fs::read_to_string(file).unwrap();
    let document = Yaml::parse(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let rule = file.file_stem().unwrap().to_string_lossy().into_owned();
    let tests = document.get("tests").map(Yaml::list).unwrap_or_default();
    tests
        .iter()
        .map(|test| Test {
            name: format!("{rule}-{}", test.get("test_id").and_then(Yaml::text).unwrap_or("?")),
            stages: test.get("stages").map(Yaml::list).unwrap_or_default().iter().map(stage).collect(),
        })
        .collect()
}

fn stage(stage: &Yaml) -> Stage {
    let empty = Yaml::Map(Vec::new());
    let output = stage.get("output").unwrap_or(&empty);
    let log = output.get("log").unwrap_or(&empty);
    let ids = |key: &str| -> Vec<u32> {
        log.get(key)
            .map(Yaml::list)
            .unwrap_or_default()
            .iter()
            .filter_map(|id| id.text()?.parse().ok())
            .collect()
    };
    Stage {
        request: Request::from_input(stage.get("input").unwrap_or(&empty)),
        expected: ids("expect_ids"),
        unexpected: ids("no_expect_ids"),
        nothing_logged: log
            .get("no_match_regex")
            .and_then(Yaml::text)
            .is_some_and(|text| text.contains("\\d+")),
        status: output.get("status").and_then(Yaml::text).and_then(|status| status.parse().ok()),
        refused_by_server: output.get("expect_error").is_some(),
    }
}

impl Request {
    fn from_input(input: &Yaml) -> Self {
        let text =
            |key: &str, default: &str| input.get(key).and_then(Yaml::text).unwrap_or(default).to_owned();
        if let Some(encoded) = input.get("encoded_request").and_then(Yaml::text) {
            return Self::from_wire(&base64(encoded));
        }
        let mut headers: Vec<(String, String)> = match input.get("headers") {
            Some(Yaml::Map(entries)) => entries
                .iter()
                .map(|(name, value)| (name.clone(), value.text().unwrap_or_default().to_owned()))
                .collect(),
            _ => Vec::new(),
        };
        let find = |headers: &[(String, String)], name: &str| {
            headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.clone())
        };
        let complete = input.get("autocomplete_headers").and_then(Yaml::text) != Some("false");
        let mut body = text("data", "").into_bytes();
        let method = text("method", "GET");
        if complete && !body.is_empty() {
            if find(&headers, "Content-Type").is_none() {
                headers.push(("Content-Type".to_owned(), "application/x-www-form-urlencoded".to_owned()));
            }
            if find(&headers, "Content-Type").as_deref() == Some("application/x-www-form-urlencoded")
                && !body.contains(&b'%')
                && !body.contains(&b'+')
            {
                body = encoded_form(&body);
            }
        }
        if find(&headers, "Content-Type").is_some_and(|kind| kind.starts_with("multipart/form-data;")) {
            body = String::from_utf8_lossy(&body).replace('\n', "\r\n").into_bytes();
        }
        if complete {
            if find(&headers, "Connection").is_none() {
                headers.push(("Connection".to_owned(), "close".to_owned()));
            }
            let may_have_body = matches!(method.as_str(), "POST" | "PUT" | "PATCH" | "DELETE");
            if (!body.is_empty() || may_have_body) && find(&headers, "Content-Length").is_none() {
                headers.push(("Content-Length".to_owned(), body.len().to_string()));
            }
        }
        Self {
            method: method.into_bytes(),
            target: text("uri", "/").into_bytes(),
            protocol: text("version", "HTTP/1.1").into_bytes(),
            headers: headers
                .into_iter()
                .map(|(name, value)| (name.into_bytes(), value.trim().as_bytes().to_vec()))
                .collect(),
            body,
        }
        .framed()
    }

    fn from_wire(bytes: &[u8]) -> Self {
        let mut request = Self::default();
        let mut rest = bytes;
        let mut lines = Vec::new();
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let line = rest[..end].strip_suffix(b"\r").unwrap_or(&rest[..end]);
            rest = &rest[end + 1..];
            if line.is_empty() {
                break;
            }
            lines.push(line.to_vec());
        }
        let mut words = lines.first().map(|line| line.splitn(3, |byte| *byte == b' ')).into_iter().flatten();
        request.method = words.next().unwrap_or_default().to_vec();
        request.target = words.next().unwrap_or_default().to_vec();
        request.protocol = words.next().unwrap_or_default().to_vec();
        for line in lines.iter().skip(1) {
            let at = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
            request
                .headers
                .push((line[..at].to_vec(), line.get(at + 1..).unwrap_or_default().trim_ascii().to_vec()));
        }
        request.body = rest.to_vec();
        request.framed()
    }

    /// RFC 9112 §6.3: without a length there is no body, and a chunked one has no other length.
    fn framed(mut self) -> Self {
        let has = |headers: &[(Vec<u8>, Vec<u8>)], name: &str| {
            headers.iter().any(|(known, _)| known.eq_ignore_ascii_case(name.as_bytes()))
        };
        if has(&self.headers, "transfer-encoding") {
            self.headers.retain(|(name, _)| !name.eq_ignore_ascii_case(b"content-length"));
            self.body = unchunked(&self.body);
        } else if !has(&self.headers, "content-length") {
            self.body.clear();
        }
        self
    }

    /// Whether a careful server hands the request on: the head's grammar, RFC 9112 §3 and §5.
    fn is_wellformed(&self) -> bool {
        let is_token = |text: &[u8]| {
            !text.is_empty()
                && text.iter().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte))
        };
        let host_fits = self
            .headers
            .iter()
            .filter(|(name, _)| name.eq_ignore_ascii_case(b"host"))
            .all(|(_, value)| !value.is_empty() && !value.contains(&b'%'));
        let target_fits = match self.method.as_slice() {
            b"CONNECT" => self.target.contains(&b':') && !self.target.contains(&b'/'),
            b"OPTIONS" if self.target == b"*" => true,
            _ => self.target.starts_with(b"/") || self.target.to_ascii_lowercase().starts_with(b"http"),
        };
        let protocol_fits = matches!(self.protocol.as_slice(), b"HTTP/1.1" | b"HTTP/1.0");
        is_token(&self.method)
            && target_fits
            && host_fits
            && protocol_fits
            && !self.target.iter().any(|byte| byte.is_ascii_control() || matches!(byte, b' ' | b'#'))
            && self.headers.iter().all(|(name, value)| is_token(name) && !value.contains(&b'\r'))
    }

    /// Whether a server would answer 400 or close.
    pub(crate) fn is_refused(&self) -> bool {
        let all = |name: &str| {
            self.headers
                .iter()
                .filter(|(known, _)| known.eq_ignore_ascii_case(name.as_bytes()))
                .collect::<Vec<_>>()
        };
        let lengths = all("content-length");
        !self.is_wellformed()
            || (self.protocol == b"HTTP/1.1" && all("host").len() != 1)
            || lengths.iter().any(|(_, value)| value.is_empty() || !value.iter().all(u8::is_ascii_digit))
    }
}

type Headers = Vec<(Vec<u8>, Vec<u8>)>;

/// What the stand-in backend answers.
fn answer(request: &Request) -> (u16, Headers, Vec<u8>) {
    let plain = || (200, vec![(b"Content-Type".to_vec(), b"text/plain".to_vec())], Vec::new());
    if !request.target.starts_with(b"/reflect") {
        return plain();
    }
    let Ok(spec) = serde_json::from_slice::<serde_json::Value>(&request.body) else { return plain() };
    let status = spec["status"].as_u64().map_or(200, |status| u16::try_from(status).unwrap_or(200));
    let body = match spec["encodedBody"].as_str() {
        Some(encoded) => base64(encoded),
        None => spec["body"].as_str().unwrap_or_default().as_bytes().to_vec(),
    };
    let mut headers: Vec<(Vec<u8>, Vec<u8>)> = spec["headers"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, value)| {
            (name.as_bytes().to_vec(), value.as_str().unwrap_or_default().as_bytes().to_vec())
        })
        .collect();
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case(b"content-type")) {
        headers.push((b"Content-Type".to_vec(), b"text/html".to_vec()));
    }
    (status, headers, body)
}

/// Runs one request through all phases.
pub(crate) fn run(set: &Arc<RuleSet>, overlay: Option<&Arc<Overlay>>, request: &Request) -> Verdict {
    let exchange = Exchange {
        id: "Y0Zf3n8dK2x7".to_owned(),
        client: Some([127, 0, 0, 1].into()),
        client_port: 40_000,
        server: Some([127, 0, 0, 1].into()),
        server_port: 80,
        now_seconds: 1_700_000_000,
    };
    let mut session = Session::new(Arc::clone(set), overlay.cloned(), exchange);
    let headers: Vec<(&[u8], &[u8])> =
        request.headers.iter().map(|(name, value)| (name.as_slice(), value.as_slice())).collect();
    session.request_head(&RequestHead {
        method: &request.method,
        target: &request.target,
        protocol: &request.protocol,
        headers: &headers,
    });
    let mut refused = judged(&mut session);
    if !refused {
        for piece in request.body.chunks(4096) {
            session.request_body(piece);
        }
        session.request_end();
        refused = judged(&mut session);
    }
    if !refused {
        let (status, headers, body) = answer(request);
        let headers: Vec<(&[u8], &[u8])> =
            headers.iter().map(|(name, value)| (name.as_slice(), value.as_slice())).collect();
        session.response_head(&ResponseHead { status, protocol: b"HTTP/1.1", headers: &headers });
        refused = judged(&mut session);
        if !refused {
            session.response_body(&body);
            session.response_end();
            judged(&mut session);
        }
    }
    session.end();
    judged(&mut session);
    session.into_verdict()
}

fn judged(session: &mut Session) -> bool {
    loop {
        match session.step(50_000) {
            bartizan_inspect::Step::More => {}
            bartizan_inspect::Step::Done(decision) => return decision.is_refusal(),
        }
    }
}

fn encoded_form(data: &[u8]) -> Vec<u8> {
    let escape = |text: &[u8]| -> Vec<u8> {
        text.iter()
            .flat_map(|byte| match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => vec![*byte],
                b' ' => vec![b'+'],
                _ => format!("%{byte:02X}").into_bytes(),
            })
            .collect()
    };
    let fields: Vec<Vec<u8>> = data
        .split(|byte| *byte == b'&')
        .map(|field| match field.iter().position(|byte| *byte == b'=') {
            Some(at) => [escape(&field[..at]), b"=".to_vec(), escape(&field[at + 1..])].concat(),
            None => escape(field),
        })
        .collect();
    fields.join(&b'&')
}

fn unchunked(mut rest: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(end) = rest.windows(2).position(|pair| pair == b"\r\n") {
        let size = std::str::from_utf8(&rest[..end])
            .ok()
            .and_then(|text| usize::from_str_radix(text.trim(), 16).ok());
        let Some(size) = size.filter(|size| *size > 0) else { break };
        let start = end + 2;
        body.extend_from_slice(rest.get(start..start + size).unwrap_or(&rest[start..]));
        rest = rest.get(start + size + 2..).unwrap_or_default();
    }
    body
}

fn base64(text: &str) -> Vec<u8> {
    let compact: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let mut out = Vec::new();
    assert!(bartizan_inspect::transform::Transform::Base64Decode.apply(&compact, &mut out));
    out
}
