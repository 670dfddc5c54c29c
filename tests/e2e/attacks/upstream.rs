//! Answers of upstreams that are none, and connections that must not be used again: case 11, and 50.
//!
//! Every misbehaving origin reads one head, answers as its script says, and then waits for another head, to which it
//! would answer `poison`. Two callers ask after each other: the second must get its own answer, on another connection.

use std::time::Duration;

use bartizan_e2e::{House, Row, table::Rows};
use bartizan_testkit::origin::Step;

/// What a caller gets.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Gets {
    /// 502.
    Refusal,
    /// The head, and then the end of the connection before the body is whole.
    Half,
    /// This status and body; the connection is then not used again.
    Answer(u16, &'static str),
}

/// The misbehaving origins: the path below `/bad/`, the attack, what the origin sends, what a caller gets.
fn answers() -> Vec<(&'static str, &'static str, Vec<u8>, Gets)> {
    let ok = |fields: &str, body: &str| format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n{body}").into_bytes();
    let refused = |name, attack, bytes| (name, attack, bytes, Gets::Refusal);
    let poison = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison";
    let chunks = "5\r\nhello\r\n0\r\n\r\n";
    vec![
        refused(
            "both",
            "a length beside chunks",
            ok("Content-Length: 5\r\nTransfer-Encoding: chunked", chunks),
        ),
        refused(
            "both-turned",
            "chunks beside a length",
            ok("Transfer-Encoding: chunked\r\nContent-Length: 5", chunks),
        ),
        refused(
            "two-lengths",
            "two lengths that differ",
            ok("Content-Length: 5\r\nContent-Length: 6", "hello"),
        ),
        refused("equal-lengths", "two equal lengths", ok("Content-Length: 5\r\nContent-Length: 5", "hello")),
        refused("length-list", "a list of lengths", ok("Content-Length: 5, 5", "hello")),
        refused("length-sign", "a length with a sign", ok("Content-Length: +5", "hello")),
        refused("length-hex", "a length in hexadecimal", ok("Content-Length: 0x5", "hello")),
        refused("length-empty", "an empty length", ok("Content-Length:", "hello")),
        refused(
            "length-wraps",
            "a length beyond 64 bits",
            ok("Content-Length: 18446744073709551616", "hello"),
        ),
        refused("length-63", "a length beyond 63 bits", ok("Content-Length: 9223372036854775808", "hello")),
        refused("coding", "a coding that is not `chunked`", ok("Transfer-Encoding: xchunked", chunks)),
        refused("coding-gzip", "a coding before `chunked`", ok("Transfer-Encoding: gzip, chunked", chunks)),
        refused(
            "coding-after",
            "a coding behind `chunked`",
            ok("Transfer-Encoding: chunked, identity", chunks),
        ),
        refused(
            "coding-twice",
            "`chunked` in two lines",
            ok("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", chunks),
        ),
        refused(
            "coding-tab",
            "`chunked` behind a vertical tab",
            ok("Transfer-Encoding: \x0bchunked", chunks),
        ),
        refused(
            "coding-old",
            "chunks in HTTP/1.0",
            format!("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}").into(),
        ),
        refused("garbage", "bytes that are no HTTP", b"hello, I am a printer\r\n\r\n".to_vec()),
        refused("version", "another version", b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec()),
        refused(
            "status-short",
            "a status of two digits",
            b"HTTP/1.1 99 OK\r\nContent-Length: 0\r\n\r\n".to_vec(),
        ),
        refused(
            "status-long",
            "a status of four digits",
            b"HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n".to_vec(),
        ),
        refused(
            "status-high",
            "a status above 599",
            b"HTTP/1.1 999 OK\r\nContent-Length: 0\r\n\r\n".to_vec(),
        ),
        refused("colon", "a blank before a colon", ok("Content-Length: 5\r\nX-A : b", "hello")),
        refused("folded", "a folded field", ok("Content-Length: 5\r\nX-A: b\r\n c", "hello")),
        refused("nul", "a NUL in a field", ok("Content-Length: 5\r\nX-A: b\0c", "hello")),
        refused("return", "a CR alone in a field", ok("Content-Length: 5\r\nX-A: b\rX-B: c", "hello")),
        refused("name", "a field without a name", ok("Content-Length: 5\r\n: b", "hello")),
        refused(
            "huge-field",
            "a field of 1 MB",
            ok(&format!("Content-Length: 5\r\nX-A: {}", "x".repeat(1_000_000)), "hello"),
        ),
        refused(
            "many-fields",
            "10,000 fields",
            ok(&format!("Content-Length: 5{}", "\r\nX-A: b".repeat(10_000)), "hello"),
        ),
        refused(
            "switch",
            "a switch of protocols that nobody asked for",
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n".to_vec(),
        ),
        refused(
            "interim-flood",
            "100,000 interim answers",
            "HTTP/1.1 100 Continue\r\n\r\n".repeat(100_000).into(),
        ),
        refused(
            "interim-large",
            "interim answers with large fields",
            format!("HTTP/1.1 103 Early Hints\r\nLink: {}\r\n\r\n", "x".repeat(8_000)).repeat(60).into(),
        ),
        refused(
            "interim-only",
            "an interim answer and nothing more",
            b"HTTP/1.1 100 Continue\r\n\r\n".to_vec(),
        ),
        refused("half-head", "half a head", b"HTTP/1.1 200 OK\r\nContent-Le".to_vec()),
        refused("silence", "nothing", Vec::new()),
        refused(
            "connection-length",
            "`Connection` names the length",
            ok("Connection: content-length\r\nContent-Length: 5", "hello"),
        ),
        ("short", "a body shorter than its length", ok("Content-Length: 50", "hello"), Gets::Half),
        (
            "chunks-cut",
            "chunks without an end",
            ok("Transfer-Encoding: chunked", "5\r\nhello\r\n"),
            Gets::Half,
        ),
        (
            "chunks-broken",
            "a chunk longer than its size",
            ok("Transfer-Encoding: chunked", "3\r\nhello\r\n0\r\n\r\n"),
            Gets::Half,
        ),
        (
            "chunks-size",
            "a chunk size that is no number",
            ok("Transfer-Encoding: chunked", "5\r\nhello\r\nzz\r\n\r\n"),
            Gets::Half,
        ),
        (
            "trailing",
            "bytes behind the body",
            ok("Content-Length: 5", "helloworld"),
            Gets::Answer(200, "hello"),
        ),
        (
            "second",
            "a second answer behind the first",
            ok("Content-Length: 5", &format!("hello{poison}")),
            Gets::Answer(200, "hello"),
        ),
        (
            "second-chunked",
            "a second answer behind chunks",
            ok("Transfer-Encoding: chunked", &format!("{chunks}{poison}")),
            Gets::Answer(200, "hello"),
        ),
        (
            "no-content",
            "a body behind a 204",
            format!("HTTP/1.1 204 No Content\r\n\r\n{poison}").into(),
            Gets::Answer(204, ""),
        ),
        (
            "not-modified",
            "a body behind a 304",
            format!("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n{poison}").into(),
            Gets::Answer(304, ""),
        ),
        (
            "old",
            "an answer in HTTP/1.0",
            b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello".to_vec(),
            Gets::Answer(200, "hello"),
        ),
        (
            "close",
            "an answer that ends the connection",
            ok("Connection: close\r\nContent-Length: 5", "hello"),
            Gets::Answer(200, "hello"),
        ),
    ]
}

/// The misbehaving origins for the house.
pub(crate) fn origins() -> Vec<(&'static str, Vec<Step>)> {
    let poison = || Step::Send(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison".to_vec());
    let mut origins: Vec<(&'static str, Vec<Step>)> = answers()
        .into_iter()
        .map(|(name, _, bytes, gets)| {
            let mut script = vec![Step::ReadHead, Step::Send(bytes)];
            // What never ends has to end here, or the caller would wait for a clock.
            let ends =
                gets == Gets::Half || matches!(name, "half-head" | "silence" | "interim-only" | "garbage");
            script.extend(if ends { vec![] } else { vec![Step::ReadHead, poison()] });
            (name, script)
        })
        .collect();
    let ok = |body: &str| {
        Step::Send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into())
    };
    origins.push(("no-upgrade", vec![Step::ReadHead, ok("plain"), Step::ReadHead, poison()]));
    origins.push(("early", vec![Step::ReadHead, ok("early"), Step::ReadHead, poison()]));
    origins.push((
        "late-bytes",
        vec![
            Step::ReadHead,
            ok("hello"),
            Step::Wait(Duration::from_millis(100)),
            poison(),
            Step::ReadHead,
            poison(),
        ],
    ));
    origins.push(("never", vec![Step::ReadHead, Step::Wait(Duration::from_secs(20))]));
    origins.push(("cut", Vec::new()));
    origins
}

pub(crate) fn rows() -> Vec<Row> {
    let mut rows = Rows::of(11);
    for (name, attack, _, gets) in answers() {
        let says = match gets {
            Gets::Refusal => "502 for each caller, and the upstream's connection is not used again",
            Gets::Half => "broken off for each caller, and the upstream's connection is not used again",
            Gets::Answer(..) => {
                "the answer alone for each caller, and the upstream's connection is not used again"
            }
        };
        rows = rows.named_script(format!("{attack} (`/bad/{name}`)"), says, name, twice);
    }
    let rows = rows
        .script(
            "bytes that come later on an idle connection",
            "they are no answer to the next caller",
            |house| {
                get(house, "late-bytes", Gets::Answer(200, "hello"))?;
                std::thread::sleep(Duration::from_millis(300));
                get(house, "late-bytes", Gets::Answer(200, "hello"))?;
                connections(house, "late-bytes", 2)
            },
        )
        .script(
            "an upstream that closes at once",
            "502 and a sentence that says nothing of the inside",
            |house| {
                let answer = answer(house, "cut")??;
                let port = house.bad.get("cut").ok_or("no such origin")?.address().port().to_string();
                match (answer.status, answer.text().contains(&port)) {
                    (502, false) => Ok(()),
                    other => Err(format!("it got {other:?}: {}", answer.text())),
                }
            },
        )
        .beside("an upstream that never answers", "504 when its time is over", |house| {
            let answer = answer(house, "never")??;
            if answer.status == 504 { Ok(()) } else { Err(format!("{} instead of 504", answer.status)) }
        });
    rows.done().into_iter().chain(shared_answers().done()).collect()
}

/// Two callers after each other.
fn twice(house: &House, name: &str) -> Result<(), String> {
    let (_, _, _, gets) = answers().into_iter().find(|(given, ..)| *given == name).ok_or("no such origin")?;
    get(house, name, gets)?;
    get(house, name, gets)?;
    let received = house.bad.get(name).ok_or("no such origin")?.received();
    if let Some(twice) = received.iter().find(|bytes| heads(bytes) > 1) {
        return Err(format!("the connection was used again: {}", twice.escape_ascii()));
    }
    Ok(())
}

fn heads(bytes: &[u8]) -> usize {
    bytes.windows(4).filter(|four| *four == b"\r\n\r\n").count()
}

fn connections(house: &House, name: &str, count: usize) -> Result<(), String> {
    let received = house.bad.get(name).ok_or("no such origin")?.received();
    let used = received.iter().filter(|bytes| !bytes.is_empty()).count();
    if used == count { Ok(()) } else { Err(format!("{used} connections instead of {count}")) }
}

fn answer(house: &House, name: &str) -> Result<Result<bartizan_testkit::RawAnswer, String>, String> {
    let mut raw = house.raw().with_timeout(Duration::from_secs(8));
    raw.send(format!("GET /bad/{name} HTTP/1.1\r\nHost: a.test\r\n\r\n"));
    let answer = raw.try_answer_to("GET");
    // However it ended, the caller's connection never carries what the upstream sent behind.
    let (rest, _) = raw.with_timeout(Duration::from_millis(20)).read_to_end();
    if answer.is_ok() && !rest.is_empty() {
        return Err(format!("more was sent: {}", rest.escape_ascii()));
    }
    Ok(answer)
}

fn get(house: &House, name: &str, gets: Gets) -> Result<(), String> {
    let answer = answer(house, name)?;
    match (gets, answer) {
        (Gets::Half, Err(_)) => Ok(()),
        (Gets::Refusal, Ok(answer)) if answer.status == 502 && answer.text().contains("\"code\"") => Ok(()),
        (Gets::Answer(status, body), Ok(answer)) if answer.status == status && answer.text() == body => {
            Ok(())
        }
        (_, other) => Err(format!("a caller got {other:?}")),
    }
}

/// Case 50: there is no cache, and nothing that works like one.
fn shared_answers() -> Rows {
    Rows::of(50)
        .script(
            "two callers ask the same, one with a credential",
            "each reaches the origin and gets its own answer, also when the first was `public`",
            |house| {
                let mut texts = Vec::new();
                for fields in ["Authorization: Bearer one\r\n", "Authorization: Bearer two\r\n", ""] {
                    let mut raw = house.raw();
                    raw.send(format!("GET /public/private HTTP/1.1\r\nHost: a.test\r\n{fields}\r\n"));
                    texts.push(raw.try_answer_to("GET")?.text().to_owned());
                }
                let own = texts.first().is_some_and(|text| text.contains("one"))
                    && texts.get(1).is_some_and(|text| text.contains("two"))
                    && texts.get(2).is_some_and(|text| text.contains("None"));
                let reached = house.reached()?.len();
                if own && reached == 3 {
                    Ok(())
                } else {
                    Err(format!("{reached} reached the origin: {texts:?}"))
                }
            },
        )
        .script("the same path by another host, scheme and method", "each reaches the origin", |house| {
            for request in [
                "GET /public/same HTTP/1.1\r\nHost: a.test\r\n\r\n",
                "GET /public/same HTTP/1.1\r\nHost: b.test\r\n\r\n",
                "HEAD /public/same HTTP/1.1\r\nHost: a.test\r\n\r\n",
                "GET /public/same HTTP/1.1\r\nHost: a.test\r\nAccept-Encoding: gzip\r\n\r\n",
            ] {
                let method = request.split(' ').next().unwrap_or_default();
                let answer = house.raw().send(request).try_answer_to(method)?;
                if answer.status != 200 {
                    return Err(format!("{} instead of 200", answer.status));
                }
            }
            let mut tls =
                bartizan_testkit::Raw::connect_tls(house.at("tls"), "a.test", &house.ca, &["http/1.1"])
                    .map_err(|error| error.to_string())?;
            tls.send("GET /public/same HTTP/1.1\r\nHost: a.test\r\n\r\n").try_answer_to("GET")?;
            match house.reached()?.len() {
                5 => Ok(()),
                other => Err(format!("{other} reached the origin instead of 5")),
            }
        })
        .script("an answer that says whose it is", "the request id is ours, not the upstream's", |house| {
            let mut raw = house.raw();
            raw.send("GET /public/private HTTP/1.1\r\nHost: a.test\r\nX-Request-ID: mine-1\r\n\r\n");
            let answer = raw.try_answer_to("GET")?;
            match answer.header("x-request-id") {
                Some("mine-1") => Ok(()),
                other => Err(format!("it was {other:?}")),
            }
        })
}
