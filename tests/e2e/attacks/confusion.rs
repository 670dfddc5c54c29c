//! Paths and arguments that one reads one way and another otherwise: cases 38 to 40, 44, 53, 54.
//!
//! Two doors stand side by side: below `/public` all is open, `/admin` and `/public/admin` ask for a key. Whoever gets
//! behind the second by a spelling of the first is found by the recording origin, which decodes what it gets.

use bartizan_e2e::{Expect, House, Row, run, table::Rows};
use bartizan_testkit::{Frames, Raw, Received, frames::Outcome};

const BAD: Expect = Expect::Closes(&[400]);
const FRAGMENT: &str =
    "the `http` crate cuts a fragment off before anybody sees it; what is judged and forwarded has none";
/// Read as another path altogether, which nothing publishes or which asks for a key.
const NOWHERE: Expect = Expect::Refuses(&[401, 404]);

pub(crate) fn rows() -> Vec<Row> {
    [paths(), stripped(), authorities(), arguments(), overlaps(), behind()]
        .into_iter()
        .flat_map(Rows::done)
        .collect()
}

fn get(target: &str) -> Vec<u8> {
    format!("GET {target} HTTP/1.1\r\nHost: a.test\r\n\r\n").into_bytes()
}

fn fields(target: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    run::request("GET", "/")
        .iter()
        .map(|(name, value)| {
            (name.to_vec(), if *name == b":path" { target.to_vec() } else { value.to_vec() })
        })
        .collect()
}

/// Spellings that some server reads as `/admin` or `/public/admin`, and no honest caller uses.
const TRICKS: [&str; 62] = [
    "/public/../admin",
    "/public/..;/admin",
    "/public/..;x=1/admin",
    "/public/.;/admin",
    "/public/;/../admin",
    "/public/%2e%2e/admin",
    "/public/%2E%2E/admin",
    "/public/.%2e/admin",
    "/public/%2e./admin",
    "/public/..%2fadmin",
    "/public/..%2Fadmin",
    "/public/%2e%2e%2fadmin",
    "/public%2f..%2fadmin",
    "/public/..%5cadmin",
    "/public/..\\admin",
    "/public\\..\\admin",
    "/public/%5c../admin",
    "/public//admin",
    "//admin",
    "///admin",
    "/public/.//admin",
    "/./admin",
    "/public/./admin",
    "/public/x/../admin",
    "/public/x/%2e%2e/admin",
    "/public/%252e%252e/admin",
    "/public/%252e%252e%252fadmin",
    "/public/..%252fadmin",
    "/public/%25%32%65%25%32%65/admin",
    "/public/%c0%ae%c0%ae/admin",
    "/public/%c0%ae%c0%ae%c0%afadmin",
    "/public/..%c0%afadmin",
    "/public/..%e0%80%afadmin",
    "/public/%e0%80%ae%e0%80%ae/admin",
    "/public/%f0%80%80%ae/admin",
    "/public/..%ef%bc%8fadmin/%ff",
    "/public/%u002e%u002e/admin",
    "/public/..%u2215admin",
    "/public/%00/../admin",
    "/public/admin%00",
    "/public/admin%00.html",
    "/public/admin%0a",
    "/public/admin%0d%0aX:%20y",
    "/public/admin%09",
    "/public/admin%7f",
    "/public/admin;x=1",
    "/public/admin;",
    "/admin;.css",
    "/public;/admin",
    "/public/admin/..;/admin",
    "/public/%2fadmin",
    "/public%2fadmin",
    "/public%2Fadmin",
    "/public/admin%2f",
    "/public/admin/.",
    "/public/admin/./",
    "/public/admin//",
    "/public/admin/../admin",
    "/public/%",
    "/public/%2",
    "/public/%zz",
    "/public/%-2",
];

fn paths() -> Rows {
    let encoded = [
        "/public/%61dmin",
        "/public/%61%64%6d%69%6e",
        "/%61dmin/x",
        "/admin/%78",
        "/public/a%64min",
        "/%70ublic/admin",
    ];
    let stray = [
        "/public/a\"b",
        "/public/<a>",
        "/public/a|b",
        "/public/{a}",
        "/public/a^b",
        "/public/`a`",
        "/public/[a]",
    ];
    let bytes: [(&str, &[u8]); 4] = [
        ("a byte above 127", b"GET /public/\xe9 HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        ("an overlong slash in bytes", b"GET /public/..\xc0\xafadmin HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        ("UTF-8 in bytes", b"GET /public/\xc3\xa9 HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        ("a tab", b"GET /public/\t/admin HTTP/1.1\r\nHost: a.test\r\n\r\n"),
    ];
    let mut rows = Rows::of(38)
        .all_bytes(BAD, TRICKS.iter().map(|path| (format!("`{path}`"), get(path))))
        .all_bytes(
            NOWHERE,
            encoded.iter().map(|path| (format!("`{path}` is one with its letters"), get(path))),
        )
        .all_bytes(BAD, stray.iter().map(|path| (format!("`{path}`"), get(path))))
        .all_bytes(BAD, bytes)
        .bytes("`/Admin` is another path, as case counts", get("/Admin"), NOWHERE)
        .bytes(
            "`/admin` with a query that looks like an end",
            get("/admin?/../public"),
            Expect::Refuses(&[401]),
        )
        .bytes("`/publicadmin` is not below `/public`", get("/publicadmin"), NOWHERE)
        .bytes("a fragment is no part of a target", get("/public/get#/../admin"), BAD)
        .known(FRAGMENT)
        .bytes("a fragment before the query", get("/public/get#?x=1"), BAD)
        .known(FRAGMENT)
        .bytes(
            "a fragment is not passed on",
            get("/public/get#/../admin"),
            Expect::Serves("served; the origin gets what stands before it", |received| {
                if received.target == "/public/get" { Ok(()) } else { Err("it was passed on".to_owned()) }
            }),
        )
        .bytes(
            "what the judges saw is what the origin gets",
            get("/public/caf%c3%a9/%7euser?q=%2e%2e%2fadmin"),
            Expect::Serves("served; the origin gets the canonical spelling", |received| {
                if received.target == "/public/caf%C3%A9/~user?q=%2e%2e%2fadmin" {
                    Ok(())
                } else {
                    Err("another spelling".to_owned())
                }
            }),
        );
    for path in TRICKS.iter().step_by(5) {
        rows = rows.fields(format!("`{path}` in HTTP/2"), fields(path.as_bytes()), Expect::Closes(&[0, 400]));
    }
    rows.script(
        "all of them on one connection of a caller with no key",
        "none gets behind the door",
        |house| {
            for path in TRICKS {
                let mut raw = house.raw();
                raw.send(get(path));
                let _ = raw.try_answer_to("GET");
            }
            run::nothing_reached(house)
        },
    )
}

fn stripped() -> Rows {
    fn below(received: &Received) -> Result<(), String> {
        let path = received.target.split('?').next().unwrap_or_default();
        if path == "/inner" || path.starts_with("/inner/") {
            Ok(())
        } else {
            Err("it left the prefix".to_owned())
        }
    }
    const BELOW: Expect = Expect::Serves("served below `/inner`", below);
    let out = [
        "/strip/../admin",
        "/strip/..%2fadmin",
        "/strip/%2e%2e/admin",
        "/strip//admin",
        "/strip/..;/admin",
        "/strip/.",
        "/strip/..",
        "/strip/x/../../../admin",
        "/strip/%2fadmin",
        "/strip\\..\\admin",
        "/strip//",
    ];
    Rows::of(39)
        .bytes("the prefix alone", get("/strip"), BELOW)
        .bytes("the prefix and a slash", get("/strip/"), BELOW)
        .bytes("a path behind it", get("/strip/a/b"), BELOW)
        .bytes(
            "the prefix twice is stripped once",
            get("/strip/strip/a"),
            Expect::Serves("served at `/inner/strip/a`", |received| {
                if received.target == "/inner/strip/a" { Ok(()) } else { Err("another path".to_owned()) }
            }),
        )
        .bytes(
            "a prefix in the query stays",
            get("/strip/a?x=/strip/../admin"),
            Expect::Serves("served at `/inner/a`", |received| {
                if received.target == "/inner/a?x=/strip/../admin" {
                    Ok(())
                } else {
                    Err("another path".to_owned())
                }
            }),
        )
        .all_bytes(BAD, out.iter().map(|path| (format!("`{path}`"), get(path))))
        .bytes("`/stripadmin` is not below the prefix", get("/stripadmin"), NOWHERE)
        .bytes("`/stripped/../admin` behind another prefix", get("/strip%65d/../admin"), BAD)
}

fn authorities() -> Rows {
    let targets = [
        "//admin",
        "//a.test/admin",
        "//b.test/public/get",
        "///admin",
        "/\\a.test/admin",
        "\\\\a.test\\admin",
        "http:/admin",
        "http:admin",
        "http:///admin",
        "http:////admin",
        "http://a.test//admin",
        "http://a.test/public/../admin",
        "http://a.test/public/..;/admin",
        "a.test/admin",
        "?x=/admin",
        "admin",
        "*/admin",
        "http://a.test\\/admin",
        "http://a.test%2fadmin",
        "://a.test/admin",
    ];
    Rows::of(40)
        .all_bytes(BAD, targets.iter().map(|target| (format!("`{target}`"), get(target))))
        .bytes("`http://a.test` has the path `/`, which nothing publishes", get("http://a.test"), NOWHERE)
        .bytes("`http://a.test?x=/admin`", get("http://a.test?x=/admin"), NOWHERE)
        .bytes("`http://a.test/admin` is `/admin`", get("http://a.test/admin"), Expect::Refuses(&[401]))
        .bytes("`*` for another method than OPTIONS", get("*"), BAD)
        .bytes("`OPTIONS *` reaches nothing", "OPTIONS * HTTP/1.1\r\nHost: a.test\r\n\r\n", NOWHERE)
        .fields("`//admin` in HTTP/2", fields(b"//admin"), Expect::Closes(&[0, 400]))
        .fields("`//a.test/admin` in HTTP/2", fields(b"//a.test/admin"), Expect::Closes(&[0, 400]))
}

/// `/order` is published for `id=1` alone.
fn arguments() -> Rows {
    let others = [
        ("another value", "/order?id=2"),
        ("no value", "/order?id"),
        ("no argument", "/order"),
        ("the right value, then another", "/order?id=1&id=2"),
        ("another value, then the right one", "/order?id=2&id=1"),
        ("the right value, then another under an encoded name", "/order?id=1&%69d=2"),
        ("the right value, then an empty one", "/order?id=1&id="),
        ("the right value, then none", "/order?id=1&id"),
        ("the name in capitals", "/order?ID=1"),
        ("an array", "/order?id[]=1"),
        ("a blank behind the value", "/order?id=1+"),
        ("an encoded blank behind the value", "/order?id=1%20"),
        ("an encoded NUL behind the value", "/order?id=1%00"),
        ("the value encoded twice", "/order?id=%2531"),
        ("a blank before the name", "/order?+id=1"),
        ("a name that is empty", "/order?=1"),
        ("the argument in the fragment's place", "/order?x=1%23id=1"),
    ];
    let odd = [
        ("a semicolon between two values", "/order?id=1;id=2"),
        ("a semicolon before another argument", "/order?x=2;id=1"),
    ];
    Rows::of(44)
        .bytes("the value alone", get("/order?id=1"), Expect::Serves("served", |_| Ok(())))
        .bytes("the value encoded", get("/order?%69d=%31"), Expect::Serves("served", |_| Ok(())))
        .all_bytes(Expect::Closes(&[400, 404]), others.iter().map(|(name, target)| (*name, close(target))))
        .all_bytes(Expect::Closes(&[400, 404]), odd.iter().map(|(name, target)| (*name, close(target))))
        .bytes(
            "600 arguments",
            close(&format!("/order?id=1{}", "&x=1".repeat(600))),
            Expect::Closes(&[400, 404, 414]),
        )
        .bytes(
            "an argument behind 600 others",
            close(&format!("/order?id=1{}&id=2", "&x=1".repeat(600))),
            Expect::Closes(&[400, 404, 414]),
        )
}

/// The request asks for the end of the connection, so that 404 and 400 look alike.
fn close(target: &str) -> Vec<u8> {
    format!("GET {target} HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n").into_bytes()
}

fn overlaps() -> Rows {
    let keyed = [
        ("an exact path within an open prefix", "/public/admin"),
        ("the prefix itself", "/admin"),
        ("the prefix with a slash", "/admin/"),
        ("a path below", "/admin/a/b"),
    ];
    Rows::of(53)
        .all_bytes(Expect::Refuses(&[401]), keyed.iter().map(|(name, path)| (*name, get(path))))
        .bytes("what no route names", get("/"), NOWHERE)
        .bytes("a route of another host", get("/only-b"), NOWHERE)
        .bytes(
            "another method on a published path",
            "POST /only-get HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0\r\n\r\n",
            Expect::Refuses(&[405]),
        )
        .script("the management listener's paths on the data plane", "404", |house| {
            for path in ["/metrics", "/healthz", "/readyz"] {
                let answer = house.raw().send(get(path)).try_answer_to("GET")?;
                if answer.status != 404 {
                    return Err(format!("{path} got {}", answer.status));
                }
            }
            Ok(())
        })
}

/// Case 54: a judgement holds for the second request on a connection as for the first.
fn behind() -> Rows {
    Rows::of(54)
        .script("an open request, then a protected one on the same connection", "200, then 401", |house| {
            let mut raw = house.raw();
            raw.send([get("/public/get"), get("/admin/get")].concat());
            statuses(&mut raw, &[200, 401])
        })
        .script(
            "a protected request with a key, then one without on the same connection",
            "200, then 401",
            |house| {
                let mut raw = house.raw();
                let first =
                    format!("GET /admin/get HTTP/1.1\r\nHost: a.test\r\nX-API-Key: {}\r\n\r\n", house.key)
                        .into_bytes();
                raw.send([first, get("/admin/get")].concat());
                statuses(&mut raw, &[200, 401])
            },
        )
        .script("the same on one HTTP/2 connection", "200, then 401", two_streams)
}

fn two_streams(house: &House) -> Result<(), String> {
    let mut frames = Frames::connect(house.plain(), &[]);
    let mut fields = run::request("GET", "/admin/get").to_vec();
    fields.push((b"x-api-key", house.key.as_bytes()));
    frames.request(1, &fields, true);
    let first = frames.outcome(1, std::time::Duration::from_secs(5));
    frames.request(3, &run::request("GET", "/admin/get"), true);
    let second = frames.outcome(3, std::time::Duration::from_secs(5));
    match (&first, &second) {
        (Outcome::Answered(200, _), Outcome::Answered(401, _)) => Ok(()),
        _ => Err(format!("{first:?}, then {second:?}")),
    }
}

fn statuses(raw: &mut Raw, expected: &[u16]) -> Result<(), String> {
    for status in expected {
        let answer = raw.try_answer_to("GET")?;
        if answer.status != *status {
            return Err(format!("{} instead of {status}", answer.status));
        }
    }
    Ok(())
}
