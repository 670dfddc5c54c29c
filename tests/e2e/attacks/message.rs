//! One message at a time: expectations, upgrades, early answers, hosts, methods. Cases 6 to 8, 10, 17, 18.

use std::time::Duration;

use bartizan_e2e::{
    Expect, House, Row, run,
    run::{closes, nothing_reached},
    table::Rows,
};
use bartizan_testkit::{Frames, Received, frames::Outcome};

const BAD: Expect = Expect::Closes(&[400]);

pub(crate) fn rows() -> Vec<Row> {
    [expectations(), upgrades(), early_answers(), hosts(), connect(), methods()]
        .into_iter()
        .flat_map(Rows::done)
        .collect()
}

fn with(fields: &str) -> String {
    format!("GET /public/get HTTP/1.1\r\nHost: a.test\r\n{fields}\r\n\r\n")
}

fn any(_: &Received) -> Result<(), String> {
    Ok(())
}

fn hello(received: &Received) -> Result<(), String> {
    if &*received.body == b"hello" { Ok(()) } else { Err("the body is not `hello`".to_owned()) }
}

fn expectations() -> Rows {
    let expects = |expect: &str| {
        format!(
            "POST /public/post HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\nExpect: {expect}\r\n\r\nhello"
        )
    };
    const UNKNOWN: Expect = Expect::Closes(&[400, 417]);
    let odd = [
        "x",
        "100-continue, x",
        "x, 100-continue",
        "100-continue;x",
        "y 100-continue",
        "100-continu",
        "200-ok",
    ];
    Rows::of(6)
        .bytes("the body behind `100-continue` without waiting", expects("100-continue"), Expect::Serves("served", hello))
        .bytes("`100-Continue` in other letters", expects("100-Continue"), Expect::Serves("served", hello))
        .all_bytes(UNKNOWN, odd.iter().map(|value| (format!("`Expect: {value}`"), expects(value))))
        .bytes("two expectations", expects("100-continue\r\nExpect: 100-continue"), UNKNOWN)
        .script(
            "who may not call is not asked for the body",
            "401 and no `100 Continue`; the origin sees nothing; what was sent as the body is no request",
            |house| {
                let mut raw = house.raw();
                raw.send("POST /admin/post HTTP/1.1\r\nHost: a.test\r\nContent-Length: 60\r\nExpect: 100-continue\r\n\r\n");
                let answer = raw.try_answer_to("POST")?;
                if answer.status != 401 {
                    return Err(format!("{} instead of 401", answer.status));
                }
                raw.send("GET /public/smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n");
                std::thread::sleep(Duration::from_millis(100));
                nothing_reached(house)
            },
        )
        .script(
            "a caller that waits is told to go on once it was judged",
            "100, then 200",
            |house| {
                let mut raw = house.raw();
                raw.send("POST /public/post HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
                let interim = raw.try_answer_to("POST")?;
                if interim.status != 100 {
                    return Err(format!("{} instead of 100", interim.status));
                }
                let answer = raw.send("hello").try_answer_to("POST")?;
                if answer.status == 200 { Ok(()) } else { Err(format!("{} instead of 200", answer.status)) }
            },
        )
}

fn upgrades() -> Rows {
    let upgrade = |fields: &str, rest: &str| {
        format!(
            "GET /public/socket HTTP/1.1\r\nHost: a.test\r\nConnection: upgrade\r\n{fields}\r\n\r\n{rest}"
        )
    };
    Rows::of(7)
        .bytes("an upgrade with a length", upgrade("Upgrade: websocket\r\nContent-Length: 5", "hello"), BAD)
        .bytes(
            "an upgrade with chunks",
            upgrade("Upgrade: websocket\r\nTransfer-Encoding: chunked", "5\r\nhello\r\n0\r\n\r\n"),
            BAD,
        )
        .bytes("an upgrade to a list", upgrade("Upgrade: websocket, h2c", ""), BAD)
        .bytes("two upgrades", upgrade("Upgrade: websocket\r\nUpgrade: foo", ""), BAD)
        .bytes("an upgrade that is no protocol", upgrade("Upgrade: web socket", ""), BAD)
        .bytes("an upgrade in HTTP/1.0", upgrade("Upgrade: websocket", "").replace("HTTP/1.1", "HTTP/1.0"), Expect::Serves("served as an ordinary request, or refused", any))
        .bytes(
            "an upgrade to `h2c` is not passed on",
            "GET /public/get HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
            Expect::Serves("served; the origin gets no `Upgrade`", |received| {
                let passed = ["upgrade", "http2-settings"].iter().any(|name| received.headers.contains_key(*name));
                if passed { Err("the upgrade was passed on".to_owned()) } else { Ok(()) }
            }),
        )
        .bytes(
            "`Upgrade` that `Connection` does not name",
            with("Upgrade: websocket"),
            Expect::Serves("served; the origin gets no `Upgrade`", |received| {
                if received.headers.contains_key("upgrade") { Err("it was passed on".to_owned()) } else { Ok(()) }
            }),
        )
        .script(
            "an upgrade without a credential",
            "401; the origin sees nothing, also not what stands behind",
            |house| {
                let mut raw = house.raw();
                raw.send("GET /admin/socket HTTP/1.1\r\nHost: a.test\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nGET /admin/smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n");
                let answer = raw.try_answer_to("GET")?;
                if answer.status != 401 {
                    return Err(format!("{} instead of 401", answer.status));
                }
                nothing_reached(house)
            },
        )
        .script(
            "bytes behind an upgrade that the upstream answers with 200",
            "never sent to the upstream as they are: a request is judged like any other",
            |house| {
                let mut raw = house.raw();
                raw.send("GET /bad/no-upgrade HTTP/1.1\r\nHost: a.test\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nGET /admin/smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n");
                let answer = raw.try_answer_to("GET")?;
                if answer.status != 200 {
                    return Err(format!("{} instead of 200", answer.status));
                }
                let (_, _) = raw.with_timeout(Duration::from_millis(300)).read_to_end();
                let bad = house.bad.get("no-upgrade").ok_or("no such origin")?;
                let smuggled = bad.received().iter().any(|bytes| bytes.windows(8).any(|eight| eight == b"smuggled"));
                if smuggled { Err("the upstream got the bytes".to_owned()) } else { Ok(()) }
            },
        )
        .script("a switch that was asked for", "101, then bytes both ways", |house| {
            let mut raw = house.raw();
            raw.send(upgrade_request());
            let answer = raw.try_answer_to("GET")?;
            if answer.status != 101 {
                return Err(format!("{} instead of 101", answer.status));
            }
            if raw.send("bytes").bytes(5) == b"bytes" { Ok(()) } else { Err("other bytes came back".to_owned()) }
        })
}

fn upgrade_request() -> &'static str {
    "GET /public/socket HTTP/1.1\r\nHost: a.test\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
}

fn early_answers() -> Rows {
    Rows::of(8)
        .script(
            "refused with a body that never comes whole",
            "401; what follows is taken for the body or not read at all",
            |house| refused_with_body(house, "Content-Length: 100000", "GET /public/smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        )
        .script(
            "refused with a whole body that looks like a request",
            "401; the body is no request",
            |house| refused_with_body(house, "Content-Length: 47", "GET /public/smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        )
        .script(
            "refused with chunks whose data looks like a request",
            "401; the body is no request",
            |house| {
                refused_with_body(
                    house,
                    "Transfer-Encoding: chunked",
                    "2f\r\nGET /public/smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n\r\n0\r\n\r\n",
                )
            },
        )
        .script("nothing published, with a body that never comes whole", "404 and no request out of the body", |house| {
            let mut raw = house.raw();
            raw.send("POST /nothing HTTP/1.1\r\nHost: a.test\r\nContent-Length: 100000\r\n\r\nGET /public/smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n");
            let answer = raw.try_answer_to("POST")?;
            if answer.status != 404 {
                return Err(format!("{} instead of 404", answer.status));
            }
            nothing_reached(house)
        })
        .bytes(
            "a body that is announced too long",
            "POST /public/post HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2000000\r\n\r\nGET /public/smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n",
            Expect::Closes(&[413]),
        )
        .script(
            "chunks that grow too long",
            "413 or closed; the origin sees no complete request",
            |house| {
                let mut raw = house.raw();
                raw.send("POST /public/post HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n");
                let chunk = format!("10000\r\n{}\r\n", "x".repeat(65_536));
                for _ in 0..20 {
                    raw.send(&chunk);
                }
                closes(&mut raw, "POST", &[0, 413])?;
                run::no_complete_request(house)
            },
        )
        .script(
            "an upstream that answers before it read the body",
            "its answer passes; its connection is not used again",
            |house| {
                for _ in 0..2 {
                    let mut raw = house.raw();
                    raw.send("POST /bad/early HTTP/1.1\r\nHost: a.test\r\nContent-Length: 100000\r\n\r\nstart");
                    let answer = raw.try_answer_to("POST")?;
                    if answer.status != 200 {
                        return Err(format!("{} instead of 200", answer.status));
                    }
                }
                let received = house.bad.get("early").ok_or("no such origin")?.received();
                if received.len() == 2 { Ok(()) } else { Err(format!("{} connections instead of 2", received.len())) }
            },
        )
}

fn refused_with_body(house: &House, framing: &str, body: &str) -> Result<(), String> {
    let mut raw = house.raw();
    raw.send(format!("POST /admin/post HTTP/1.1\r\nHost: a.test\r\n{framing}\r\n\r\n{body}"));
    let answer = raw.try_answer_to("POST")?;
    if answer.status != 401 {
        return Err(format!("{} instead of 401", answer.status));
    }
    std::thread::sleep(Duration::from_millis(50));
    nothing_reached(house)
}

fn hosts() -> Rows {
    let host = |host: &str| format!("GET /public/get HTTP/1.1\r\nHost: {host}\r\n\r\n");
    let values = [
        "",
        "a.test, b.test",
        "a.test b.test",
        "a@a.test",
        "user:word@a.test",
        "a.test/",
        "a.test/path",
        "a.test?x",
        "a.test#x",
        "a.test:",
        "a.test:x",
        "a.test:0",
        "a.test:080",
        "a.test:65536",
        "a.test:80:80",
        "a.test:-1",
        "a.test\\b.test",
        "a..test",
        ".a.test",
        "-a.test",
        "a-.test",
        "a.test%00",
        "%61.test",
        "a.test;b",
        "[::1",
        "[::1]x",
        "::1",
        "[::g]",
        "[fe80::1%25eth0]",
        "[v1.x]",
        "0x7f.1",
        "127.1",
        "2130706433",
        "0177.0.0.1",
        "256.1.1.1",
        "a_test/..",
        "http://a.test",
        "a.test\x0b",
        "*.test",
        "<a.test>",
        "a.test'",
        "{a.test}",
        "\u{e4}.test",
    ];
    let lines: [(&str, &str); 14] = [
        ("no host", "GET /public/get HTTP/1.1\r\n\r\n"),
        ("no host in HTTP/1.0", "GET /public/get HTTP/1.0\r\n\r\n"),
        ("two hosts", "GET /public/get HTTP/1.1\r\nHost: a.test\r\nHost: b.test\r\n\r\n"),
        ("two equal hosts", "GET /public/get HTTP/1.1\r\nHost: a.test\r\nHost: a.test\r\n\r\n"),
        ("a folded host", "GET /public/get HTTP/1.1\r\nHost:\r\n a.test\r\n\r\n"),
        ("another host in the target", "GET http://b.test/public/get HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        ("another port in the target", "GET http://a.test:81/public/get HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        ("a user in the target", "GET http://x@a.test/public/get HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        ("another scheme in the target", "GET ftp://a.test/public/get HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        (
            "a scheme of ours that is not the connection's",
            "GET https://a.test/public/get HTTP/1.1\r\nHost: a.test\r\n\r\n",
        ),
        ("a target without a host", "GET http:///public/get HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        ("a host as the target", "GET a.test:80 HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        ("a host and a path as the target", "GET a.test/public/get HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        (
            "a backslash behind the target's host",
            "GET http://a.test\\@b.test/public HTTP/1.1\r\nHost: a.test\r\n\r\n",
        ),
    ];
    Rows::of(10)
        .bytes(
            "a target with the same host is served",
            "GET http://A.test:80/public/get HTTP/1.1\r\nHost: a.test\r\n\r\n",
            Expect::Serves("served; the origin gets the path and one host", |received| {
                match (received.target.as_str(), received.authority.as_deref()) {
                    ("/public/get", Some("a.test" | "a.test:80")) => Ok(()),
                    other => Err(format!("it got {other:?}")),
                }
            }),
        )
        .bytes(
            "a host in capitals and with a dot at its end is one with it",
            host("A.TEST."),
            Expect::Serves("served; the origin gets `a.test`", |received| {
                match received.authority.as_deref() {
                    Some("a.test") => Ok(()),
                    other => Err(format!("it got {other:?}")),
                }
            }),
        )
        .all_bytes(
            BAD,
            values.iter().map(|value| (format!("`Host: {}`", value.escape_default()), host(value))),
        )
        .all_bytes(BAD, lines)
}

fn connect() -> Rows {
    const NEVER: Expect = Expect::Closes(&[400, 405, 501]);
    Rows::of(17)
        .bytes("CONNECT to a host", "CONNECT b.test:443 HTTP/1.1\r\nHost: b.test:443\r\n\r\n", Expect::Refuses(&[405]))
        .bytes("CONNECT to the origin of a route", "CONNECT 127.0.0.1:22 HTTP/1.1\r\nHost: 127.0.0.1:22\r\n\r\n", Expect::Refuses(&[405]))
        .bytes("CONNECT to a path", "CONNECT /public/get HTTP/1.1\r\nHost: a.test\r\n\r\n", Expect::Refuses(&[405]))
        .bytes(
            "CONNECT with early data",
            "CONNECT a.test:80 HTTP/1.1\r\nHost: a.test:80\r\nContent-Length: 47\r\n\r\nGET /public/smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n",
            Expect::Refuses(&[405]),
        )
        .fields(
            "CONNECT in HTTP/2",
            vec![(b":method".to_vec(), b"CONNECT".to_vec()), (b":authority".to_vec(), b"a.test:80".to_vec())],
            Expect::Closes(&[0, 400, 405]),
        )
        .fields(
            "extended CONNECT in HTTP/2 (RFC 8441), which was not offered",
            [(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "http"), (":authority", "a.test"), (":path", "/public/socket")]
                .iter()
                .map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec()))
                .collect(),
            Expect::Closes(&[0, 400, 405]),
        )
        .script("CONNECT with a credential", "405; the origin sees nothing", |house| {
            let mut raw = house.raw();
            raw.send(format!("CONNECT a.test:80 HTTP/1.1\r\nHost: a.test:80\r\nX-API-Key: {}\r\n\r\n", house.key));
            closes_or_refuses(house, &mut raw, 405)
        })
        .bytes("CONNECT in small letters", "connect a.test:80 HTTP/1.1\r\nHost: a.test:80\r\n\r\n", NEVER)
}

fn closes_or_refuses(house: &House, raw: &mut bartizan_testkit::Raw, status: u16) -> Result<(), String> {
    let answer = raw.try_answer_to("GET")?;
    if answer.status == status {
        nothing_reached(house)
    } else {
        Err(format!("{} instead of {status}", answer.status))
    }
}

fn methods() -> Rows {
    let method = |method: &str| format!("{method} /public/get HTTP/1.1\r\nHost: a.test\r\n\r\n");
    let unknown =
        ["get", "Get", "GeT", "FOO", "PROPFIND", "TRACK", "DEBUG", "LINK", "M-SEARCH", "GETT", "GE"];
    let broken = ["G@T", "G,T", "GET\x0b", "\"GET\"", "G\u{c9}T", ""];
    Rows::of(18)
        .bytes("TRACE", method("TRACE"), Expect::Refuses(&[405]))
        .all_bytes(
            Expect::Closes(&[501]),
            unknown.iter().map(|name| (format!("`{name}` is no method"), method(name))),
        )
        .all_bytes(
            BAD,
            broken.iter().map(|name| (format!("`{}` is no token", name.escape_default()), method(name))),
        )
        .bytes("a method of 10,000 letters", method(&"A".repeat(10_000)), Expect::Closes(&[400, 501]))
        .bytes(
            "`PRI`, the preface of HTTP/2, with another target",
            method("PRI"),
            Expect::Closes(&[0, 400, 501]),
        )
        .bytes(
            "a method that the path does not publish",
            "POST /only-get HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0\r\n\r\n",
            Expect::Refuses(&[405]),
        )
        .bytes(
            "another method by header",
            with("X-HTTP-Method-Override: DELETE\r\nX-HTTP-Method: DELETE\r\nX-Method-Override: DELETE"),
            Expect::Serves("served; the origin gets no overriding field", |received| {
                let passed = received.headers.keys().any(|name| name.as_str().contains("method"));
                if passed { Err("an overriding field was passed on".to_owned()) } else { Ok(()) }
            }),
        )
        .script("a small method in HTTP/2", "501; the origin sees nothing", |house| {
            let mut frames = Frames::connect(house.plain(), &[]);
            frames.request(1, &run::request("get", "/public/get"), true);
            match frames.outcome(1, Duration::from_secs(5)) {
                Outcome::Answered(501, _) => nothing_reached(house),
                other => Err(format!("it got {other:?}")),
            }
        })
}
