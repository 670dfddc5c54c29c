//! What HTTP/2 carries that HTTP/1.1 reads otherwise, bodies of another length, trailers: cases 12, 13, 16.

use std::time::Duration;

use bartizan_e2e::{Expect, House, Row, run, table::Rows};
use bartizan_testkit::{
    Client, Frames, Received,
    frames::{self, Outcome, flag, kind},
};

/// A stream error, or the refusal of a malformed head.
const BAD: Expect = Expect::Closes(&[0, 400]);

pub(crate) fn rows() -> Vec<Row> {
    [downgrade(), lengths(), trailers()].into_iter().flat_map(Rows::done).collect()
}

type Fields = Vec<(Vec<u8>, Vec<u8>)>;

fn owned(fields: &[(&[u8], &[u8])]) -> Fields {
    fields.iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect()
}

/// An ordinary request with further fields.
fn with(fields: &[(&[u8], &[u8])]) -> Fields {
    let mut all = owned(&run::request("GET", "/public/get"));
    all.extend(owned(fields));
    all
}

/// An ordinary request with another pseudo-header field.
fn pseudo(name: &[u8], value: &[u8]) -> Fields {
    let mut all = owned(&run::request("GET", "/public/get"));
    for field in &mut all {
        if field.0 == name {
            field.1 = value.to_vec();
        }
    }
    all
}

fn without(name: &[u8]) -> Fields {
    let mut all = owned(&run::request("GET", "/public/get"));
    all.retain(|field| field.0 != name);
    all
}

fn downgrade() -> Rows {
    let smuggled = b"x\r\n\r\nGET /public/smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n".as_slice();
    let fields: [(&str, &[u8], &[u8]); 25] = [
        ("a request in a value", b"x-a", smuggled),
        ("a CR in a value", b"x-a", b"b\rc"),
        ("an LF in a value", b"x-a", b"b\nc"),
        ("a NUL in a value", b"x-a", b"b\0c"),
        ("a name with a capital", b"X-A", b"b"),
        ("a name with a blank", b"x a", b"b"),
        ("a name with a colon", b"x:a", b"b"),
        ("a name with a line end", b"x-a\r\nx-b", b"c"),
        ("a field in a name", b"transfer-encoding: chunked\r\nx", b"y"),
        ("an empty name", b"", b"b"),
        ("`transfer-encoding`", b"transfer-encoding", b"chunked"),
        ("`connection`", b"connection", b"close"),
        ("`connection` that names a credential", b"connection", b"x-api-key"),
        ("`keep-alive`", b"keep-alive", b"timeout=5"),
        ("`proxy-connection`", b"proxy-connection", b"keep-alive"),
        ("`upgrade`", b"upgrade", b"websocket"),
        ("`te` that is not `trailers`", b"te", b"gzip"),
        ("another `host`", b"host", b"b.test"),
        ("an unknown pseudo-header field", b":proto", b"x"),
        ("a pseudo-header field of answers", b":status", b"200"),
        ("a pseudo-header field behind the fields", b":path", b"/admin"),
        ("a second method", b":method", b"DELETE"),
        ("a length that is a list", b"content-length", b"0, 0"),
        ("a length with a sign", b"content-length", b"+0"),
        ("a length of five and no body", b"content-length", b"5"),
    ];
    let pseudos: [(&str, Fields); 28] = [
        ("a blank in the path", pseudo(b":path", b"/public/a b")),
        (
            "a request line in the path",
            pseudo(b":path", b"/public HTTP/1.1\r\nHost: a.test\r\n\r\nGET /public/smuggled"),
        ),
        ("a NUL in the path", pseudo(b":path", b"/public/\0")),
        ("an empty path", pseudo(b":path", b"")),
        ("a path without a slash", pseudo(b":path", b"public/get")),
        ("a URL as the path", pseudo(b":path", b"http://a.test/admin")),
        ("an asterisk as the path of GET", pseudo(b":path", b"*")),
        ("a byte above 127 in the path", pseudo(b":path", b"/public/\xff")),
        ("no path", without(b":path")),
        ("a method with a target", pseudo(b":method", b"GET /admin HTTP/1.1\r\nX-A:")),
        ("a method with a blank", pseudo(b":method", b"GET ")),
        ("an empty method", pseudo(b":method", b"")),
        ("no method", without(b":method")),
        ("no scheme", without(b":scheme")),
        ("an empty scheme", pseudo(b":scheme", b"")),
        ("a URL as the scheme", pseudo(b":scheme", b"http://a.test/admin?x=")),
        ("a scheme of another protocol", pseudo(b":scheme", b"ftp")),
        ("no authority", without(b":authority")),
        ("an empty authority", pseudo(b":authority", b"")),
        ("a line end in the authority", pseudo(b":authority", b"a.test\r\nX-Consumer-Name: root")),
        ("a path in the authority", pseudo(b":authority", b"a.test/admin")),
        ("a user in the authority", pseudo(b":authority", b"x@a.test")),
        ("a blank in the authority", pseudo(b":authority", b"a.test b.test")),
        ("a port that is none", pseudo(b":authority", b"a.test:x")),
        ("two paths", with_front(b":path", b"/admin")),
        ("two authorities", with_front(b":authority", b"b.test")),
        ("two lengths", with(&[(b"content-length", b"0"), (b"content-length", b"0")])),
        ("two hosts", with(&[(b"host", b"a.test"), (b"host", b"a.test")])),
    ];
    let mut rows = Rows::of(12);
    for (name, field, value) in fields {
        rows = rows.fields(name, with(&[(field, value)]), BAD);
    }
    for (name, fields) in pseudos {
        rows = rows.fields(name, fields, BAD);
    }
    rows.fields("a fragment in the path", pseudo(b":path", b"/public/get#/../admin"), BAD)
    .known("the `http` crate cuts a fragment off before anybody sees it; what is judged and forwarded has none")
    .fields(
        "a blank before a value",
        with(&[(b"x-a", b" b")]),
        BAD,
    )
    .fields(
        "crumbs of a cookie are one cookie for an HTTP/1.1 upstream",
        with(&[(b"cookie", b"a=1"), (b"cookie", b"b=2")]),
        Expect::Serves("served; the origin gets `a=1; b=2`", |received| match received.header("cookie") {
            Some("a=1; b=2") => Ok(()),
            other => Err(format!("it got {other:?}")),
        }),
    )
    .fields(
        "`te: trailers` and the same `host`",
        with(&[(b"te", b"trailers"), (b"host", b"a.test")]),
        Expect::Serves("served; the origin gets one host", |received| match received.authority.as_deref() {
            Some("a.test") => Ok(()),
            other => Err(format!("it got {other:?}")),
        }),
    )
}

fn with_front(name: &[u8], value: &[u8]) -> Fields {
    let mut all = owned(&[(name, value)]);
    all.extend(owned(&run::request("GET", "/public/get")));
    all
}

/// The bodies of case 13: the length said, the DATA frames sent, whether the head ends the stream.
fn lengths() -> Rows {
    fn send(house: &House, length: &str, data: &[(&str, bool)], head_ends: bool) -> Result<(), String> {
        let mut frames = Frames::connect(house.plain(), &[]);
        let mut fields = run::request("POST", "/public/post").to_vec();
        fields.push((b"content-length", length.as_bytes()));
        frames.request(1, &fields, head_ends);
        for (text, last) in data {
            frames.send(kind::DATA, if *last { flag::END_STREAM } else { 0 }, 1, text.as_bytes());
        }
        match frames.outcome(1, Duration::from_secs(5)) {
            Outcome::Answered(status, _) if status < 400 => Err(format!("it was answered with {status}")),
            Outcome::Silence => Err("nothing came".to_owned()),
            _ => run::no_complete_request(house),
        }
    }
    const SAYS: &str = "the stream is reset or refused; the origin sees no complete request";
    Rows::of(13)
        .script("fewer bytes than said", SAYS, |house| send(house, "10", &[("hello", true)], false))
        .script("fewer bytes than said, in two frames", SAYS, |house| {
            send(house, "10", &[("hel", false), ("lo", true)], false)
        })
        .script("no byte of five", SAYS, |house| send(house, "5", &[("", true)], false))
        .script("no byte of five, and the head is the end", SAYS, |house| send(house, "5", &[], true))
        .script("more bytes than said", SAYS, |house| send(house, "3", &[("hello", true)], false))
        .script("more bytes than said, in two frames", SAYS, |house| {
            send(house, "3", &[("hel", false), ("lo", true)], false)
        })
        .script("a length of nothing and a body", SAYS, |house| send(house, "0", &[("hello", true)], false))
        .script("after each of them the pool is clean", "the next callers get their own answers", |house| {
            for number in 0..20 {
                let _ = send(house, "10", &[("hello", true)], false);
                let target = format!("/public/clean/{number}");
                let answer = house.caller().get(&target, &[]);
                if answer.text() != format!("GET {target}") {
                    return Err(format!("{target} got {:?}", answer.text()));
                }
            }
            house.origin.take();
            Ok(())
        })
}

/// Fields that must not be in trailers, with a value that would be noticed.
const FORBIDDEN: [&str; 18] = [
    "content-length",
    "transfer-encoding",
    "host",
    "connection",
    "te",
    "trailer",
    "upgrade",
    "authorization",
    "cookie",
    "x-api-key",
    "x-consumer-name",
    "x-forwarded-for",
    "x-forwarded-host",
    "forwarded",
    "x-client-ipaddress",
    "x-request-id",
    "content-type",
    "x_forwarded_for",
];

/// A body, and `:path` behind it (RFC 9113 §8.1 forbids that).
fn pseudo_trailer(house: &House) -> Outcome {
    let mut frames = Frames::connect(house.plain(), &[]);
    frames.request(1, &run::request("POST", "/public/post"), false);
    frames.send(kind::DATA, 0, 1, b"hello");
    let block = frames::block(&[(b":path", b"/admin")]);
    frames.send(kind::HEADERS, flag::END_HEADERS | flag::END_STREAM, 1, &block);
    frames.outcome(1, Duration::from_secs(5))
}

fn trailers() -> Rows {
    fn judge(received: &Received) -> Result<(), String> {
        let trailers = received.trailers.clone().unwrap_or_default();
        let passed: Vec<&str> = FORBIDDEN
            .into_iter()
            .filter(|name| {
                trailers.contains_key(*name)
                    || received.headers.get_all(*name).iter().any(|value| value.as_bytes() == b"forged")
            })
            .collect();
        if passed.is_empty() { Ok(()) } else { Err(format!("{passed:?} passed")) }
    }
    fn one(house: &House) -> Result<(), String> {
        match house.reached()?.as_slice() {
            [received] if &*received.body == b"hello" => {
                judge(received)?;
                let sum = received.trailers.as_ref().and_then(|trailers| trailers.get("x-sum"));
                if sum.is_some_and(|sum| sum == "7") {
                    Ok(())
                } else {
                    Err("the honest trailer is gone".to_owned())
                }
            }
            other => Err(format!("the origin got {other:?}")),
        }
    }
    let forged: String = FORBIDDEN.iter().map(|name| format!("{name}: forged\r\n")).collect();
    Rows::of(16)
        .bytes(
            "trailers of chunks that frame, route, authenticate or identify",
            format!(
                "POST /public/post HTTP/1.1\r\nHost: a.test\r\nTE: trailers\r\nTrailer: x-sum\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n{forged}\r\n"
            ),
            Expect::Serves("served; the origin gets none of them", judge),
        )
        .script("an honest trailer in HTTP/1.1", "it passes", |house| {
            let mut raw = house.raw();
            raw.send("POST /public/post HTTP/1.1\r\nHost: a.test\r\nTrailer: x-sum\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nx-sum: 7\r\n\r\n");
            raw.try_answer_to("POST")?;
            one(house)
        })
        .script("trailers of HTTP/2 that frame, route, authenticate or identify", "only the honest one passes", |house| {
            let mut frames = Frames::connect(house.plain(), &[]);
            let mut fields = run::request("POST", "/public/post").to_vec();
            fields.push((b"trailer", b"x-sum"));
            frames.request(1, &fields, false);
            frames.send(kind::DATA, 0, 1, b"hello");
            // Connection-specific fields are a stream error in HTTP/2 already.
            let mut trailers: Vec<(&[u8], &[u8])> = vec![(b"x-sum", b"7")];
            let allowed = |name: &&str| !matches!(*name, "transfer-encoding" | "connection" | "upgrade" | "te");
            trailers.extend(FORBIDDEN.iter().filter(|name| allowed(name)).map(|name| (name.as_bytes(), b"forged".as_slice())));
            frames.send(kind::HEADERS, flag::END_HEADERS | flag::END_STREAM, 1, &frames::block(&trailers));
            match frames.outcome(1, Duration::from_secs(5)) {
                Outcome::Answered(200, _) => one(house),
                // The length among them contradicts the body: to end the stream is right, too.
                Outcome::Reset(_) => run::no_complete_request(house),
                other => Err(format!("it got {other:?}")),
            }
        })
        .script("a pseudo-header field in trailers", "the stream is reset; the origin sees no complete request", |house| {
            match pseudo_trailer(house) {
                outcome @ (Outcome::Answered(200, _) | Outcome::Silence) => Err(format!("it got {outcome:?}")),
                _ => run::no_complete_request(house),
            }
        })
        .known("h2 drops it and goes on; it is passed on in no form (the next row)")
        .script("a pseudo-header field in trailers is not passed on", "the origin gets the path of the head, and no trailer", |house| {
            let outcome = pseudo_trailer(house);
            let reached = house.reached()?;
            let clean = |received: &Received| received.target == "/public/post" && received.trailers.is_none();
            if reached.iter().all(clean) { Ok(()) } else { Err(format!("{outcome:?}: {reached:?}")) }
        })
        .script("trailers of an upstream that frame, set cookies or forge the id", "only the honest one passes", |house| {
            let answer = Client::http2(house.plain()).with_authority("a.test").get("/public/trailers", &[("te", "trailers")]);
            let trailers = answer.trailers.unwrap_or_default();
            let names: Vec<&str> = trailers.keys().map(|name| name.as_str()).collect();
            if names == ["x-sum"] { Ok(()) } else { Err(format!("{names:?} passed")) }
        })
}
