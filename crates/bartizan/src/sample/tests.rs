//! The sample over real sockets: what a caller of the demo sees.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    time::Duration,
};

use serde_json::Value;

use super::Sample;

fn start() -> (SocketAddr, Sample) {
    Sample::start(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap()
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream
}

/// Sends a request and reads the whole answer; gives status and body.
fn call(address: SocketAddr, method: &str, target: &str, body: &str) -> (u16, String) {
    let mut stream = connect(address);
    let length = body.len();
    write!(
        stream,
        "{method} {target} HTTP/1.1\r\nhost: sample\r\nconnection: close\r\nx-twice: a\r\nx-twice: b\r\n"
    )
    .unwrap();
    write!(stream, "content-length: {length}\r\n\r\n{body}").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    (status, answer.split_once("\r\n\r\n").unwrap().1.to_owned())
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn every_path_answers_as_the_demo_says() {
    let (address, _sample) = start();
    let cases: [(&str, &str, &str, u16); 19] = [
        ("GET", "/healthz", "", 200),
        ("GET", "/orders", "", 200),
        ("GET", "/orders/1", "", 200),
        ("GET", "/orders/99", "", 404),
        ("GET", "/orders/+1", "", 404),
        ("GET", "/orders/", "", 404),
        ("HEAD", "/orders", "", 200),
        ("DELETE", "/orders", "", 405),
        ("POST", "/orders", "not json", 400),
        ("GET", "/users", "", 200),
        ("GET", "/users/2", "", 200),
        ("POST", "/users", "{}", 405),
        ("GET", "/slow?ms=1", "", 200),
        ("GET", "/slow?ms=x", "", 400),
        ("POST", "/slow", "", 405),
        ("GET", "/ws", "", 426),
        ("PATCH", "/ws", "", 405),
        ("GET", "/", "", 404),
        ("GET", "/unknown", "", 404),
    ];
    for (method, target, body, expected) in cases {
        let (status, body) = call(address, method, target, body);
        assert_eq!(status, expected, "{method} {target}: {body}");
        assert_eq!(body.is_empty(), method == "HEAD", "{method} {target}: {body}");
    }
}

#[test]
fn an_order_that_was_posted_can_be_read_back() {
    let (address, _sample) = start();
    let (status, created) = call(address, "POST", "/orders", r#"{"item":"drawbridge","customer":"grace"}"#);
    assert_eq!(status, 201);
    let (status, read) = call(address, "GET", &format!("/orders/{}", json(&created)["id"]), "");
    assert_eq!((status, json(&read)), (200, json(&created)));
}

#[test]
fn echo_shows_what_was_received() {
    let (address, _sample) = start();
    let (status, body) = call(address, "BREW", "/echo/a%2Fb?x=1&y", "hello");
    let seen = json(&body);
    assert_eq!(status, 200);
    assert_eq!(seen["method"], "BREW");
    assert_eq!(seen["path"], "/echo/a%2Fb");
    assert_eq!(seen["query"], "x=1&y");
    assert_eq!(seen["headers"]["host"], "sample");
    assert_eq!(seen["headers"]["x-twice"], serde_json::json!(["a", "b"]));
    assert_eq!(seen["body"], "hello");
}

#[test]
fn a_body_above_the_limit_is_refused() {
    let (address, _sample) = start();
    let mut stream = connect(address);
    write!(stream, "POST /echo HTTP/1.1\r\nhost: sample\r\ncontent-length: 1048577\r\n\r\n").unwrap();
    let mut start = [0; 12];
    stream.read_exact(&mut start).unwrap();
    assert_eq!(&start, b"HTTP/1.1 413");
}

#[test]
fn every_third_flaky_call_fails() {
    let (address, _sample) = start();
    let statuses: Vec<u16> = (0..6).map(|_| call(address, "GET", "/flaky", "").0).collect();
    assert_eq!(statuses, [200, 200, 503, 200, 200, 503]);
}

#[test]
fn the_first_event_comes_at_once() {
    let (address, _sample) = start();
    let mut stream = connect(address);
    write!(stream, "GET /events HTTP/1.1\r\nhost: sample\r\n\r\n").unwrap();
    let mut seen = Vec::new();
    while !seen.ends_with(b"\n\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        seen.extend(byte);
    }
    let seen = String::from_utf8(seen).unwrap();
    assert!(seen.contains("content-type: text/event-stream\r\n") && seen.contains("id: 1\n"), "{seen}");
}

#[test]
fn a_websocket_echoes_and_closes_with_the_code_it_was_sent() {
    let (address, _sample) = start();
    let mut stream = connect(address);
    write!(
        stream,
        "GET /ws HTTP/1.1\r\nhost: sample\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    .unwrap();
    // A text, a ping and a close with code 1000, all masked with zeros.
    stream.write_all(b"\x81\x82\0\0\0\0hi\x89\x81\0\0\0\0?\x88\x82\0\0\0\0\x03\xe8").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let head = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
    assert!(answer.starts_with(b"HTTP/1.1 101 "));
    assert_eq!(&answer[head..], b"\x81\x02hi\x8a\x01?\x88\x02\x03\xe8");
}

#[test]
fn http2_with_prior_knowledge_gets_an_http2_preface_back() {
    let (address, _sample) = start();
    let mut stream = connect(address);
    stream.write_all(b"PR").unwrap();
    stream.write_all(b"I * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").unwrap();
    let mut head = [0; 9];
    stream.read_exact(&mut head).unwrap();
    // RFC 9113 §3.4: the server's preface is a SETTINGS frame (type 4) on stream 0.
    assert_eq!((head[3], &head[5..]), (4, &[0, 0, 0, 0][..]));
}

#[test]
fn a_connection_is_kept_alive() {
    let (address, _sample) = start();
    let mut stream = connect(address);
    for _ in 0..2 {
        write!(stream, "GET /healthz HTTP/1.1\r\nhost: sample\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"}\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            answer.extend(byte);
        }
        assert!(answer.starts_with(b"HTTP/1.1 200 "));
    }
}

#[test]
fn the_sample_serves_over_ipv6_and_ends_when_dropped() {
    let Ok((address, sample)) = Sample::start(SocketAddr::from((Ipv6Addr::LOCALHOST, 0))) else {
        eprintln!("skipped: no IPv6 loopback here");
        return;
    };
    assert_eq!(call(address, "GET", "/healthz", "").0, 200);
    drop(sample);
    assert!(TcpStream::connect(address).is_err());
}

#[test]
fn a_taken_port_is_an_error() {
    let (address, _sample) = start();
    assert!(Sample::start(address).is_err());
}
