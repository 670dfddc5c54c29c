//! The kit against itself: clients and origins understand each other before they judge a gateway.

use std::time::Duration;

use bartizan_testkit::{
    Authority, Client, Documents, Origin, Raw, RawOrigin, Reply,
    origin::Step,
    raw::{Ending, exchange},
};
use http::Version;
use http_body_util::Full;

#[test]
fn an_origin_records_what_each_protocol_sent() {
    let authority = Authority::new();
    let clear = Origin::answering("clear");
    let secret = Origin::start_tls(&authority.issue(&["localhost", "127.0.0.1"]), |_| Reply::ok("secret"));
    let ca = authority.pem();
    let clients = [
        (Client::http1(clear.address()), &clear, Version::HTTP_11),
        (Client::http2(clear.address()), &clear, Version::HTTP_2),
        (Client::https1(secret.address(), "localhost", &ca).unwrap(), &secret, Version::HTTP_11),
        (Client::https2(secret.address(), "127.0.0.1", &ca).unwrap(), &secret, Version::HTTP_2),
    ];
    for (client, origin, version) in clients {
        let answer = client.with_authority("shop.example").call("POST", "/a?b=c", &[("x-one", "1")], "body");
        assert_eq!((answer.status.as_u16(), answer.version), (200, version));
        let received = origin.take_one();
        assert_eq!((received.method.as_str(), received.target.as_str()), ("POST", "/a?b=c"));
        assert_eq!(received.authority.as_deref(), Some("shop.example"));
        assert_eq!(received.header("x-one"), Some("1"));
        assert_eq!((&*received.body, received.version), (&b"body"[..], version));
    }
    assert_eq!((clear.connections(), secret.connections()), (2, 2));
}

#[test]
fn a_client_without_the_authority_refuses_the_origin() {
    let origin = Origin::start_tls(&Authority::new().issue(&["localhost"]), |_| Reply::ok(""));
    assert!(Client::https1(origin.address(), "localhost", &Authority::new().pem()).is_err());
    assert!(Raw::connect_tls(origin.address(), "localhost", &Authority::new().pem(), &[]).is_err());
}

#[test]
fn raw_bytes_over_tls_are_answered() {
    let authority = Authority::new();
    let origin = Origin::start_tls(&authority.issue(&["localhost"]), |_| Reply::ok("hi"));
    let mut raw = Raw::connect_tls(origin.address(), "localhost", &authority.pem(), &["http/1.1"]).unwrap();
    assert_eq!(raw.alpn().as_deref(), Some("http/1.1"));
    raw.send("GET / HTTP/1.1\r\nhost: localhost\r\n\r\nGET / HTTP/1.1\r\nhost: localhost\r\n\r\n");
    assert_eq!((raw.answer().text(), raw.answer().text()), ("hi", "hi"));
}

#[test]
fn pieces_arrive_as_they_are_sent_and_trailers_after_them() {
    let origin = Origin::start(|_| {
        Reply::ok("one")
            .then(Duration::from_millis(20), "two")
            .with_trailer("x-sum", "2")
            .with("trailer", "x-sum")
    });
    let client = Client::http2(origin.address());
    let request = client.request("GET", "/").body(Full::default()).unwrap();
    let mut streaming = client.open(request).unwrap();
    assert_eq!(streaming.piece().unwrap().as_deref(), Some(&b"one"[..]));
    assert_eq!(streaming.piece().unwrap().as_deref(), Some(&b"two"[..]));
    assert_eq!(streaming.piece().unwrap(), None);
    let answer = client.get("/", &[]);
    assert_eq!(answer.trailers.unwrap().get("x-sum").unwrap(), "2");
}

#[test]
fn an_origin_can_break_off_in_the_middle() {
    let origin = Origin::start(|_| Reply::ok("half").breaking_off());
    let request = |client: &Client| client.request("GET", "/").body(Full::default()).unwrap();
    for client in [Client::http1(origin.address()), Client::http2(origin.address())] {
        assert!(client.send(request(&client)).is_err());
    }
}

#[test]
fn requests_on_one_http2_connection_run_at_the_same_time() {
    let origin = Origin::start(|_| Reply::ok("").after(Duration::from_millis(300)));
    let client = Client::http2(origin.address());
    let start = std::time::Instant::now();
    let requests = (0..10).map(|_| client.request("GET", "/").body(Full::default()).unwrap()).collect();
    assert!(client.send_all(requests).iter().all(|answer| answer.as_ref().is_ok_and(|a| a.status == 200)));
    assert!(start.elapsed() < Duration::from_secs(2));
    assert_eq!(origin.connections(), 1);
}

#[test]
fn after_switching_the_origin_echoes() {
    let origin = Origin::start(|_| Reply::switching("websocket"));
    let mut raw = Raw::connect(origin.address());
    raw.send("GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n");
    assert_eq!(raw.answer().status, 101);
    assert_eq!(raw.send("bytes").bytes(5), b"bytes");
}

#[test]
fn a_raw_origin_plays_its_script() {
    let origin = RawOrigin::playing(vec![
        Step::ReadHead,
        Step::Send(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n".to_vec()),
        Step::Wait(Duration::from_millis(10)),
        Step::Send(b"half".to_vec()),
    ]);
    let mut raw = Raw::connect(origin.address());
    raw.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    assert!(raw.try_answer_to("GET").unwrap_err().contains("ended"));
    assert_eq!(origin.received(), [b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"]);
}

#[test]
fn an_exchange_gives_every_answer_and_the_ending() {
    let origin = Origin::answering("hi");
    let two = "GET / HTTP/1.1\r\nhost: a\r\n\r\nGET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    let (answers, ending) = exchange(origin.address(), two, Duration::from_secs(5));
    assert_eq!((answers.len(), ending), (2, Ending::Closed));
    let (answers, ending) = exchange(origin.address(), "GET / HTT", Duration::from_millis(100));
    assert_eq!((answers.len(), ending), (0, Ending::Open));
}

#[test]
fn a_dropped_origin_is_gone() {
    let origin = Origin::answering("");
    let address = origin.address();
    let mut raw = Raw::connect(address);
    raw.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").answer();
    drop(origin);
    assert!(raw.is_closed_within(Duration::from_secs(5)));
    assert!(std::net::TcpStream::connect(address).is_err());
}

#[test]
fn a_document_is_replaced_whole() {
    let documents = Documents::one("a: 1\n");
    let path = documents.write("gateway.yaml", "a: 2\n");
    assert_eq!(std::fs::read_to_string(path).unwrap(), "a: 2\n");
    assert_eq!(std::fs::read_dir(documents.path()).unwrap().count(), 1);
}
