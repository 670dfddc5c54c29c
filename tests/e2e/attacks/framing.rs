//! Where a body ends, and what a field is: cases 1 to 5 and 9.
//!
//! Behind every body stands a request that nobody sent (`SMUGGLED`): a server that sees an earlier end takes it for one.

use bartizan_e2e::{Expect, Row, table::Rows};
use bartizan_testkit::Received;

/// What the recording origin must never get.
const SMUGGLED: &str = "GET /public/smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n";

const BAD: Expect = Expect::Closes(&[400]);

pub(crate) fn rows() -> Vec<Row> {
    [both_framings(), two_lengths(), odd_lengths(), odd_codings(), odd_chunks(), broken_fields()]
        .into_iter()
        .flat_map(Rows::done)
        .collect()
}

/// A request with a body and these fields.
fn post(fields: &str, body: &str) -> Vec<u8> {
    format!("POST /public/post HTTP/1.1\r\nHost: a.test\r\n{fields}\r\n\r\n{body}").into_bytes()
}

fn five(fields: &str) -> Vec<u8> {
    post(fields, &format!("hello{SMUGGLED}"))
}

fn chunked(body: &str) -> Vec<u8> {
    post("Transfer-Encoding: chunked", body)
}

fn get(fields: &str) -> Vec<u8> {
    format!("GET /public/get HTTP/1.1\r\nHost: a.test\r\n{fields}\r\n\r\n").into_bytes()
}

fn is_hello(received: &Received) -> Result<(), String> {
    let framings = received.headers.get_all("content-length").iter().count()
        + received.headers.get_all("transfer-encoding").iter().count();
    match (&*received.body, framings, received.broke_off) {
        (b"hello", 1, false) => Ok(()),
        _ => Err("the body is not `hello` in one framing".to_owned()),
    }
}

const HELLO: Expect = Expect::Serves("served; the origin gets `hello` in one framing", is_hello);

fn both_framings() -> Rows {
    const REPAIRED: &str = "hyper drops the length, reads the chunks and closes; what is forwarded has one framing (the next rows)";
    let sound = "5\r\nhello\r\n0\r\n\r\n";
    Rows::of(1)
        .bytes("chunks alone are served", chunked(sound), HELLO)
        .bytes("a length, then chunks", post("Content-Length: 5\r\nTransfer-Encoding: chunked", sound), BAD)
        .known(REPAIRED)
        .bytes("chunks, then a length", post("Transfer-Encoding: chunked\r\nContent-Length: 5", sound), BAD)
        .known(REPAIRED)
        .bytes(
            "a length that covers a hidden request, and chunks that end before it",
            post(
                &format!("Content-Length: {}\r\nTransfer-Encoding: chunked", 5 + SMUGGLED.len()),
                &format!("0\r\n\r\n{SMUGGLED}"),
            ),
            BAD,
        )
        .known(REPAIRED)
        .bytes(
            "chunks whose data is a request, and a length that ends before it",
            post(
                "Transfer-Encoding: chunked\r\nContent-Length: 4",
                &format!("{:x}\r\n{SMUGGLED}\r\n0\r\n\r\n", SMUGGLED.len()),
            ),
            BAD,
        )
        .known(REPAIRED)
        .bytes(
            "a broken length beside chunks",
            post("Content-Length: x\r\nTransfer-Encoding: chunked", sound),
            BAD,
        )
        .bytes(
            "a length beside chunks is forwarded with one framing",
            post("Content-Length: 3\r\nTransfer-Encoding: chunked", sound),
            HELLO,
        )
        .script(
            "after a length beside chunks the connection closes and the hidden request is not served",
            "closed; the origin never gets the hidden request",
            |house| {
                let hidden = format!("0\r\n\r\n{SMUGGLED}");
                let mut raw = house.raw();
                raw.send(post(
                    &format!("Content-Length: {}\r\nTransfer-Encoding: chunked", hidden.len()),
                    &hidden,
                ));
                bartizan_e2e::run::closes(&mut raw, "GET", &[0, 200, 400])
            },
        )
}

fn two_lengths() -> Rows {
    Rows::of(2)
        .bytes("two lengths that differ", five("Content-Length: 5\r\nContent-Length: 6"), BAD)
        .bytes(
            "two lengths, the second within the first",
            five("Content-Length: 53\r\nContent-Length: 5"),
            BAD,
        )
        .bytes("two equal lengths", post("Content-Length: 5\r\nContent-Length: 5", "hello"), BAD)
        .known("hyper keeps one of them; what is forwarded has one length")
        .bytes("a list of equal lengths", five("Content-Length: 5, 5"), BAD)
        .bytes("a list of lengths that differ", five("Content-Length: 5, 6"), BAD)
        .bytes("a list with an empty end", five("Content-Length: 5,"), BAD)
        .bytes(
            "two lengths, equal as numbers and not as text",
            post("Content-Length: 5\r\nContent-Length: 05", "hello"),
            BAD,
        )
        .known("hyper compares the numbers and keeps one of them; what is forwarded has one length")
        .bytes(
            "two equal lengths are forwarded as one",
            post("Content-Length: 5\r\nContent-Length: 5", "hello"),
            HELLO,
        )
}

fn odd_lengths() -> Rows {
    let named = [
        "+5",
        "-5",
        "-0",
        "0x5",
        "5.0",
        "5e0",
        "1_0",
        "5 5",
        "5;5",
        "\"5\"",
        "",
        "abc",
        "05",
        "00005",
        "5\x0b",
        "\x0b5",
        "5\x0c",
        "\u{665}",
        "18446744073709551616",
        "18446744073709551621",
        "9223372036854775808",
        "99999999999999999999",
        "100000000000000000000000000000000000000005",
    ];
    let rows =
        Rows::of(3).bytes("a plain number is served", post("Content-Length: 5", "hello"), HELLO).bytes(
            "blanks around a number are no part of it (RFC 9110 §5.5)",
            post("Content-Length: \t 5 \t", "hello"),
            HELLO,
        );
    rows.all_bytes(
        BAD,
        named.iter().map(|value| {
            (
                format!("`Content-Length: {}`", value.escape_default()),
                five(&format!("Content-Length: {value}")),
            )
        }),
    )
}

fn odd_codings() -> Rows {
    let hidden = format!("0\r\n\r\n{SMUGGLED}");
    let values = [
        "xchunked",
        "chunkedx",
        "chunked, identity",
        "identity, chunked",
        "identity",
        "gzip",
        "gzip, chunked",
        "chunked, chunked",
        "chunked,",
        ",chunked",
        "chunked;q=1",
        "\"chunked\"",
        "chunked chunked",
        "",
        "\x0bchunked",
        "chunked\x0b",
        "chun\x00ked",
        "cow",
        "chunked\r\n ,identity",
    ];
    let lines = [
        ("two lines `chunked`", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"),
        (
            "`chunked`, then another line `identity`",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        ),
        (
            "another line `identity`, then `chunked`",
            "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
        ),
        ("a blank before the colon", "Transfer-Encoding : chunked"),
        ("a tab before the colon", "Transfer-Encoding\t: chunked"),
        ("a blank before the name", " Transfer-Encoding: chunked"),
        ("a value on a folded line", "Transfer-Encoding:\r\n chunked"),
        ("a line end of CR alone before it", "X: y\rTransfer-Encoding: chunked"),
    ];
    Rows::of(4)
        .bytes("`Chunked` in other letters is served", post("transfer-encoding: Chunked", "5\r\nhello\r\n0\r\n\r\n"), HELLO)
        .all_bytes(
            BAD,
            values.iter().map(|value| {
                let name = format!("`Transfer-Encoding: {}`", value.escape_default());
                (name, post(&format!("Transfer-Encoding: {value}"), &hidden))
            }),
        )
        .all_bytes(BAD, lines.iter().map(|(name, fields)| (*name, post(fields, &hidden))))
        .bytes(
            "`chunked` in HTTP/1.0",
            format!("POST /public/post HTTP/1.0\r\nHost: a.test\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n{hidden}"),
            BAD,
        )
        .bytes(
            "the alias `Transfer_Encoding` is no framing and is not forwarded",
            post("Content-Length: 5\r\nTransfer_Encoding: chunked", "hello"),
            Expect::Serves("served; the origin gets `hello` and no alias", |received| {
                is_hello(received)?;
                let alias = received.headers.keys().any(|name| name.as_str().contains('_'));
                if alias { Err("the alias was forwarded".to_owned()) } else { Ok(()) }
            }),
        )
}

fn odd_chunks() -> Rows {
    let broken = [
        ("a sign before the size", "+5\r\nhello\r\n0\r\n\r\n"),
        ("a minus before the size", "-5\r\nhello\r\n0\r\n\r\n"),
        ("`0x` before the size", "0x5\r\nhello\r\n0\r\n\r\n"),
        ("a blank before the size", " 5\r\nhello\r\n0\r\n\r\n"),
        ("no size", "\r\nhello\r\n0\r\n\r\n"),
        ("a size that is no number", "g\r\nhello\r\n0\r\n\r\n"),
        ("a size with a comma", "5,5\r\nhello\r\n0\r\n\r\n"),
        ("a size of 17 digits", "FFFFFFFFFFFFFFFFF\r\nhello\r\n0\r\n\r\n"),
        ("a size that wraps around to 5", "10000000000000005\r\nhello\r\n0\r\n\r\n"),
        ("a line end of LF alone after the size", "5\nhello\r\n0\r\n\r\n"),
        ("a line end of CR alone after the size", "5\rhello\r\n0\r\n\r\n"),
        ("an extension that ends in LF alone", "5;x\nhello\r\n0\r\n\r\n"),
        ("an extension with a CR in it", "5;x\ry\r\nhello\r\n0\r\n\r\n"),
        ("data longer than its size", "3\r\nhello\r\n0\r\n\r\n"),
        ("data shorter than its size", "7\r\nhello\r\n0\r\n\r\n"),
        ("LF alone after the data", "5\r\nhello\n0\r\n\r\n"),
        ("nothing after the data", "5\r\nhello0\r\n\r\n"),
        ("two bytes that are no line end after the data", "5\r\nhelloxx0\r\n\r\n"),
        ("a last chunk that ends in LF alone", "5\r\nhello\r\n0\n\n"),
        ("a trailer without a colon", "5\r\nhello\r\n0\r\nbroken\r\n\r\n"),
        ("a trailer with a blank in its name", "5\r\nhello\r\n0\r\na b: c\r\n\r\n"),
    ];
    let sound = "served; the origin gets `hello` in one framing";
    let long = format!("5;{}\r\nhello\r\n0\r\n\r\n", "x".repeat(300));
    let huge = format!("5;{}\r\nhello\r\n0\r\n\r\n", "x".repeat(40_000));
    let rows = Rows::of(5)
        .bytes(
            "an extension is legal",
            chunked("5;a=b\r\nhello\r\n0\r\n\r\n"),
            Expect::Serves(sound, is_hello),
        )
        .bytes(
            "zeros before a size are legal",
            chunked("0005\r\nhello\r\n000\r\n\r\n"),
            Expect::Serves(sound, is_hello),
        )
        .bytes("a blank after the size", chunked("5 \r\nhello\r\n0\r\n\r\n"), Expect::Breaks)
        .known("hyper skips blanks after a size; what is forwarded is chunked anew")
        .bytes("extensions of more than 256 bytes", chunked(&long), Expect::Breaks)
        .known("hyper admits 16 KiB of extensions in a body, and drops them")
        .bytes("extensions of 40 KB", chunked(&huge), Expect::Breaks);
    broken
        .iter()
        .fold(rows, |rows, (name, body)| {
            rows.bytes(*name, chunked(&format!("{body}{SMUGGLED}")), Expect::Breaks)
        })
        .script("a body that is cut off", "closed; the origin sees no complete request", |house| {
            let mut raw = house.raw();
            raw.send(chunked("5\r\nhel")).finish();
            bartizan_e2e::run::closes(&mut raw, "GET", &[0, 400])?;
            bartizan_e2e::run::no_complete_request(house)
        })
}

fn broken_fields() -> Rows {
    let line = |line: &str| format!("{line}\r\nHost: a.test\r\n\r\n{SMUGGLED}").into_bytes();
    let fields: [(&str, &[u8]); 20] = [
        ("a blank before the colon", b"X-A : b"),
        ("a tab before the colon", b"X-A\t: b"),
        ("a folded line", b"X-A: b\r\n c"),
        ("a folded line of blanks", b"X-A: b\r\n \r\nX-B: c"),
        ("a blank before the first name", b" X-A: b"),
        ("a NUL in a value", b"X-A: b\x00c"),
        ("a NUL in a name", b"X\x00A: b"),
        ("a CR alone in a value", b"X-A: b\rc"),
        ("a CR alone at a value's end", b"X-A: b\r\r\nX-B: c"),
        ("an escape in a value", b"X-A: b\x1bc"),
        ("a DEL in a value", b"X-A: b\x7fc"),
        ("an empty name", b": b"),
        ("a line without a colon", b"X-A"),
        ("a name with brackets", b"X(A): b"),
        ("a name with a blank", b"X A: b"),
        ("a name with a slash", b"X/A: b"),
        ("a name with a quote", b"\"X-A\": b"),
        ("a name with a byte above 127", b"X-\xe9: b"),
        ("a name with an `@`", b"X@A: b"),
        ("a vertical tab before the colon", b"X-A\x0b: b"),
    ];
    let lines = [
        ("two blanks in the request line", line("GET  /public/get HTTP/1.1")),
        ("a tab in the request line", line("GET\t/public/get HTTP/1.1")),
        ("a blank at the request line's end", line("GET /public/get HTTP/1.1 ")),
        ("a blank before the method", line(" GET /public/get HTTP/1.1")),
        ("no version", line("GET /public/get")),
        ("version 1.2", line("GET /public/get HTTP/1.2")),
        ("version 2.0", line("GET /public/get HTTP/2.0")),
        ("version 0.9", line("GET /public/get HTTP/0.9")),
        ("a version in small letters", line("GET /public/get http/1.1")),
        ("a version with another digit", line("GET /public/get HTTP/1.10")),
        ("no target", line("GET HTTP/1.1")),
        ("a target with a blank", line("GET /public/a b HTTP/1.1")),
        ("a target with a NUL", line("GET /public/\0 HTTP/1.1")),
        ("bytes that are no HTTP", b"\x16\x03\x01\x00\x05hello\r\n\r\n".to_vec()),
    ];
    const LF: &str = "httparse takes a bare LF for a line end; what is forwarded is written anew";
    Rows::of(9)
        .bytes(
            "a byte above 127 in a value is opaque and passes",
            [b"GET /public/get HTTP/1.1\r\nHost: a.test\r\nX-A: caf\xe9\r\n\r\n".as_slice()].concat(),
            Expect::Serves("served; the origin gets the byte", |received| {
                let value = received.headers.get("x-a").map(|value| value.as_bytes().to_vec());
                if value.as_deref() == Some(b"caf\xe9") { Ok(()) } else { Err(format!("it got {value:?}")) }
            }),
        )
        .all_bytes(
            BAD,
            fields.iter().map(|(name, field)| {
                let start = b"GET /public/get HTTP/1.1\r\n".as_slice();
                let rest = format!("\r\nHost: a.test\r\n\r\n{SMUGGLED}");
                (*name, [start, field, rest.as_bytes()].concat())
            }),
        )
        .all_bytes(BAD, lines)
        .bytes("LF alone ends the lines", "GET /public/get HTTP/1.1\nHost: a.test\n\n", BAD)
        .known(LF)
        .bytes("LF alone ends one line", get("X-A: b\nX-B: c"), BAD)
        .known(LF)
        .bytes(
            "a field behind an LF alone is judged as a field",
            get("X-A: b\nX-Consumer-Name: root"),
            Expect::Serves("served; the origin gets the forged field in no form", |received| {
                let forged = received.headers.iter().any(|(name, value)| {
                    name == "x-consumer-name" || value.as_bytes().windows(4).any(|four| four == b"root")
                });
                if forged { Err("the forged field was forwarded".to_owned()) } else { Ok(()) }
            }),
        )
}
