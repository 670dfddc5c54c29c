//! What of a hostile head or body hyper refuses by itself, and what it lets through for `admit` to judge.

use tokio::io::AsyncWriteExt;

use super::support::{Gateway, get, plan, rest};

/// The status lines of all answers on one connection to which `bytes` and then a second request are sent.
async fn answers(gateway: &Gateway, bytes: &[u8]) -> Vec<String> {
    let mut stream = gateway.connect().await;
    let _ = stream.write_all(bytes).await;
    let _ = stream.write_all(get("/second").replace("host", "connection: close\r\nhost").as_bytes()).await;
    let seen = String::from_utf8_lossy(&rest(&mut stream).await).into_owned();
    let mut found = Vec::new();
    let mut left = seen.as_str();
    while let Some(at) = left.find("HTTP/1.1 ") {
        left = &left[at + 9..];
        found.push(left.chars().take(3).collect());
    }
    found
}

#[tokio::test]
async fn broken_framing_is_answered_with_400_and_nothing_after_it_is_served() {
    let gateway = Gateway::start(1, plan());
    let post = |fields: &str, body: &str| format!("POST /upload HTTP/1.1\r\nhost: a\r\n{fields}\r\n{body}");
    let cases = [
        post("content-length: 5\r\ncontent-length: 6\r\n", "hello!"),
        post("content-length: +5\r\n", "hello"),
        post("content-length: 0x5\r\n", "hello"),
        post("content-length:\r\n", "hello"),
        post("content-length: 99999999999999999999\r\n", "hello"),
        post("transfer-encoding: xchunked\r\n", "0\r\n\r\n"),
        post("transfer-encoding: chunked, identity\r\n", "0\r\n\r\n"),
        post("transfer-encoding: \x0bchunked\r\n", "0\r\n\r\n"),
        post("transfer-encoding: chunked\r\n", "+5\r\nhello\r\n0\r\n\r\n"),
        post("transfer-encoding: chunked\r\n", "0x5\r\nhello\r\n0\r\n\r\n"),
        post("transfer-encoding: chunked\r\n", "fffffffffffffffff\r\nhello\r\n0\r\n\r\n"),
        post("transfer-encoding: chunked\r\n", "5\nhello\r\n0\r\n\r\n"),
        post("transfer-encoding: chunked\r\n", "5\r\nhelloX\r\n0\r\n\r\n"),
        post("x : y\r\n", ""),
        post("x: y\r\n z\r\n", ""),
        post("x: y\0z\r\n", ""),
        post(": y\r\n", ""),
        post("x(y): z\r\n", ""),
        "POST /upload HTTP/1.0\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n".to_owned(),
        "GET  / HTTP/1.1\r\nhost: a\r\n\r\n".to_owned(),
        "GET /a b HTTP/1.1\r\nhost: a\r\n\r\n".to_owned(),
        "GET / HTTP/3.0\r\nhost: a\r\n\r\n".to_owned(),
        "G{T / HTTP/1.1\r\nhost: a\r\n\r\n".to_owned(),
    ];
    let mut wrong = Vec::new();
    for case in &cases {
        let seen = answers(&gateway, case.as_bytes()).await;
        if seen != ["400"] {
            wrong.push((case, seen));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test]
async fn what_hyper_accepts_and_admit_has_to_judge_is_known() {
    let gateway = Gateway::start(1, plan());
    let post = |fields: &str, body: &str| format!("POST /upload HTTP/1.1\r\nhost: a\r\n{fields}\r\n{body}");
    let cases: [(String, &[&str]); 8] = [
        // Both framings: hyper takes the chunked one, drops the length, answers and closes.
        (post("content-length: 5\r\ntransfer-encoding: chunked\r\n", "0\r\n\r\n"), &["200"]),
        (post("transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n", "0\r\n\r\n"), &["200", "200"]),
        (post("content-length: 5\r\ncontent-length: 5\r\n", "hello"), &["200", "200"]),
        (post("host: b\r\ncontent-length: 0\r\n", ""), &["200", "200"]),
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), &["200", "200"]),
        ("GET / HTTP/1.1\nhost: a\n\n".to_owned(), &["200", "200"]),
        ("TRACE / HTTP/1.1\r\nhost: a\r\n\r\n".to_owned(), &["200", "200"]),
        ("get / HTTP/1.1\r\nhost: a\r\n\r\n".to_owned(), &["200", "200"]),
    ];
    let mut wrong = Vec::new();
    for (case, expected) in &cases {
        let seen = answers(&gateway, case.as_bytes()).await;
        if seen != *expected {
            wrong.push((case, seen));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
