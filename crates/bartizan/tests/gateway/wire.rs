//! The wire: what passes through unchanged, in which protocol, and what is never buffered.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use bartizan_testkit::{Authority, Client, Origin, Raw, RawOrigin, Reply, TempDir, origin::Step};
use http::Version;

use crate::harness::{Gate, WEB, document, route, simple, upstream, wait};

/// What the origin of most tests here answers.
fn talkative() -> Origin {
    Origin::start(|request| match request.target.as_str() {
        "/trailers" => Reply::ok("body")
            .with("trailer", "x-sum, x-consumer-name")
            .with_trailer("x-sum", "4711")
            .with_trailer("x-consumer-name", "forged"),
        "/empty" => Reply::new(204, ""),
        "/unchanged" => Reply::new(304, "").with("etag", "\"1\""),
        "/switch" => Reply::switching("websocket"),
        _ => Reply::ok(request.body.clone()).with("x-method", &request.method),
    })
}

fn converse(client: &Client, origin: &Origin, version: Version) {
    for _ in 0..3 {
        let answer = client.call("POST", "/echo?q=1", &[("x-a", "b")], "hello");
        assert_eq!((answer.status.as_u16(), answer.text(), answer.version), (200, "hello", version));
    }
    let answer = client.call("HEAD", "/echo", &[], "");
    assert_eq!(
        (answer.status.as_u16(), answer.header("x-method"), answer.body.len()),
        (200, Some("HEAD"), 0)
    );
    for (target, status) in [("/empty", 204), ("/unchanged", 304)] {
        let answer = client.get(target, &[]);
        assert_eq!((answer.status.as_u16(), answer.body.len()), (status, 0), "{target}");
        assert_eq!(answer.header("content-length").filter(|length| *length != "0"), None, "{target}");
    }
    let answer = client.get("/trailers", &[("te", "trailers")]);
    let trailers = answer.trailers.expect("trailers pass");
    assert_eq!(trailers.get("x-sum").unwrap(), "4711");
    assert_eq!(trailers.get("x-consumer-name"), None);
    assert_eq!(client.get("/last", &[]).status, 200, "the connection still serves");
    let seen = origin.take();
    let asked = seen.iter().find(|request| request.target == "/trailers").unwrap();
    // RFC 9110 §10.1.4: whoever sends TE names it as meant for this hop.
    assert_eq!((asked.header("te"), asked.header("connection")), (Some("trailers"), Some("te")));
    assert!(seen.iter().any(|request| request.target == "/echo?q=1"));
}

#[test]
fn both_protocols_are_served_in_clear_text_and_connections_are_kept_on_both_sides() {
    let origin = talkative();
    let gate = Gate::start_with(&simple(&origin.url(), &[]), |_| (), &[]);
    converse(&gate.client(), &origin, Version::HTTP_11);
    let before = origin.connections();
    converse(&Client::http2(gate.web()).with_authority("api.test"), &origin, Version::HTTP_2);
    assert!(origin.connections() <= before + 1, "{} then {}", before, origin.connections());
    assert!(before <= 2, "{before} connections for one caller");
    gate.wait_for_metric("bartizan_http_in_flight_requests", 0.0);
}

#[test]
fn both_protocols_are_served_over_tls() {
    let origin = talkative();
    let (authority, folder) = (Authority::new(), TempDir::new());
    let gate = Gate::start(&over_tls(&origin.url(), &authority, &folder));
    let ca = authority.pem();
    converse(&Client::https1(gate.web(), "api.test", &ca).unwrap(), &origin, Version::HTTP_11);
    converse(&Client::https2(gate.web(), "api.test", &ca).unwrap(), &origin, Version::HTTP_2);
    let answer = Client::https2(gate.web(), "api.test", &ca).unwrap().get("/", &[]);
    assert_eq!(answer.header("strict-transport-security"), Some("max-age=31536000"));
    assert_eq!(gate.record_of(&answer)["tls"], "TLSv1.3");
    let other =
        Client::https1(gate.web(), "api.test", &ca).unwrap().with_authority("other.test").get("/", &[]);
    assert_eq!((other.status.as_u16(), &other.json()["code"]), (421, &"WrongHost".into()));
    let raw = Raw::connect_tls(gate.web(), "api.test", &ca, &["h2", "http/1.1"]).unwrap();
    assert_eq!(raw.alpn().as_deref(), Some("h2"));
}

fn over_tls(url: &str, authority: &Authority, folder: &TempDir) -> String {
    let identity = authority.issue(&["api.test"]);
    std::fs::write(folder.join("chain.pem"), &identity.chain).unwrap();
    std::fs::write(folder.join("key.pem"), &identity.key).unwrap();
    let path = folder.path().display();
    let spec = format!(
        "{{ addresses: [\"127.0.0.1:0\"], protocol: HTTPS, hsts: {{}}, tls: {{ certificates: [{{ chainRef: \"file://{path}/chain.pem\", keyRef: \"file://{path}/key.pem\" }}] }} }}"
    );
    simple(url, &[]).replace(WEB, &document("Listener", "web", &spec))
}

#[test]
fn the_whole_way_works_over_ipv6() {
    let local = SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, 0));
    let origin = Origin::start_at(local, None, |request| Reply::ok(request.body.clone()));
    let gate = Gate::start(&simple(&origin.url(), &[]).replace("127.0.0.1:0", "[::1]:0"));
    for client in [Client::http1(gate.web()), Client::http2(gate.web())] {
        let answer = client.call("POST", "/a", &[], "six");
        assert_eq!((answer.status.as_u16(), answer.text()), (200, "six"));
        assert_eq!(origin.take_one().header("x-client-ipaddress"), Some("::1"));
        assert_eq!(gate.record_of(&answer)["client"], "::1");
    }
}

#[test]
fn events_arrive_before_the_last_one_is_sent() {
    let origin = Origin::start(|_| {
        Reply::ok("data: 1\n\n")
            .with("content-type", "text/event-stream")
            .then(Duration::from_secs(20), "data: 2\n\n")
    });
    let gate = Gate::start(&simple(&origin.url(), &[]));
    for client in [gate.client(), Client::http2(gate.web())] {
        let begun = Instant::now();
        let mut events =
            client.open(client.request("GET", "/events").body(Default::default()).unwrap()).unwrap();
        assert_eq!(events.piece().unwrap().as_deref(), Some(&b"data: 1\n\n"[..]));
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    }
    // Both callers have left in the middle: the upstreams' streams end, and both are recorded so.
    let gone = "\"exit\":\"client_gone\"";
    wait("two records", || gate.gateway.stdout().iter().filter(|line| line.contains(gone)).count() == 2);
    gate.wait_for_metric("bartizan_http_in_flight_requests", 0.0);
}

#[test]
fn a_slow_reader_slows_the_upstream_down_and_fills_no_memory() {
    let piece = vec![b'x'; 1 << 20];
    let origin = Origin::start(move |_| {
        (0..128).fold(Reply::ok(""), |reply, _| reply.then(Duration::ZERO, piece.clone()))
    });
    let gate = Gate::start(&simple(&origin.url(), &[]));
    assert_eq!(gate.client().get("/warm", &[]).body.len(), 128 << 20);
    let before = gate.resident_kib();
    let mut raw = gate.raw();
    raw.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    assert!(raw.bytes(16).starts_with(b"HTTP/1.1 200"));
    std::thread::sleep(Duration::from_millis(500));
    let while_slow = gate.resident_kib();
    assert!(while_slow < before + 16 * 1024, "{before} KiB, then {while_slow} KiB");
    let rest = raw.bytes(64 << 20);
    assert_eq!(rest.len(), 64 << 20, "and it goes on when read again");
}

#[test]
fn a_body_is_passed_on_while_it_comes_and_100_continue_is_said_when_it_is_wanted() {
    let origin = RawOrigin::playing(vec![
        Step::ReadHead,
        Step::Read(b"5\r\nfirst\r\n".len()),
        Step::Send(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok".to_vec()),
    ]);
    let gate = Gate::start(&simple(&origin.url(), &[]));
    let mut raw = gate.raw();
    raw.send("POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ntransfer-encoding: chunked\r\n\r\n");
    assert_eq!(raw.bytes(25), b"HTTP/1.1 100 Continue\r\n\r\n");
    raw.send("5\r\nfirst\r\n");
    // The origin answers after the first piece, which it can only have got before the body's end.
    assert_eq!(raw.answer().status, 200);

    let mut refused = gate.raw();
    refused.send("POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 9999999\r\n\r\n");
    assert_eq!(refused.answer().status, 413, "nobody is asked for a body that is refused");
    let mut odd = gate.raw();
    odd.send("POST / HTTP/1.1\r\nhost: a\r\nexpect: something\r\ncontent-length: 1\r\n\r\n1");
    assert_eq!(odd.answer().status, 417);
}

#[test]
fn a_body_over_the_limit_is_refused_wherever_it_is_noticed() {
    let origin = talkative();
    let gate =
        Gate::start(&simple(&origin.url(), &[]).replace("backendRefs", "bodyBytes: 100B, backendRefs"));
    let mut chunked = gate.raw();
    chunked.send("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n40\r\n");
    chunked.send([b'x'; 64]).send("\r\n40\r\n").send([b'x'; 64]).send("\r\n0\r\n\r\n");
    let answer = chunked.answer();
    assert_eq!((answer.status, answer.json()["code"].as_str()), (413, Some("BodyTooLarge")));
    assert_eq!(answer.header("connection"), Some("close"));
    let exact = gate.client().call("POST", "/", &[], vec![b'x'; 100]);
    assert_eq!(exact.status, 200);
    assert_eq!(gate.client().call("POST", "/", &[], vec![b'x'; 101]).status, 413);
}

#[test]
fn a_websocket_passes_through() {
    let origin = talkative();
    let gate = Gate::start(&simple(&origin.url(), &[]));
    let mut raw = gate.raw();
    raw.send(
        "GET /switch HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nx-request-id: the-tunnel\r\n\r\n",
    );
    let answer = raw.answer();
    assert_eq!((answer.status, answer.header("upgrade")), (101, Some("websocket")));
    assert_eq!(answer.header("connection").map(str::to_ascii_lowercase).as_deref(), Some("upgrade"));
    assert_eq!(answer.header("x-request-id"), Some("the-tunnel"));
    for text in ["one", "two", "three"] {
        raw.send(text);
        assert_eq!(raw.bytes(text.len()), text.as_bytes());
    }
    gate.wait_for_metric("bartizan_http_in_flight_requests", 1.0);
    raw.finish();
    assert!(raw.is_closed_within(Duration::from_secs(5)));
    let record = gate.gateway.wait_for_record("the-tunnel");
    assert_eq!((&record["status"], &record["exit"]), (&101.into(), &"complete".into()), "{record}");
    assert_eq!((&record["request_bytes"], &record["response_bytes"]), (&11.into(), &11.into()), "{record}");
    gate.wait_for_metric("bartizan_http_in_flight_requests", 0.0);
}

#[test]
fn a_tunnel_whose_caller_is_gone_ends_at_once() {
    let origin = talkative();
    let one = document("RateLimitPolicy", "one", "{ key: [gateway], limits: { concurrency: 1 } }");
    let gate = Gate::start(&simple(&origin.url(), &[&one]));
    let mut raw = gate.raw();
    raw.send("GET /switch HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n");
    assert_eq!(raw.answer().status, 101);
    assert_eq!(gate.get("/", &[]).status, 429, "the tunnel holds the permit");
    drop(raw);
    wait("the permit of the tunnel", || gate.get("/", &[]).status == 200);
}

#[test]
fn nobody_is_switched_who_did_not_ask() {
    let origin = talkative();
    let gate = Gate::start(&simple(&origin.url(), &[]));
    let answer = gate.get("/switch", &[]);
    assert_eq!((answer.status.as_u16(), &answer.json()["code"]), (502, &"UpstreamMisbehaved".into()));
    let mut other = gate.raw();
    other.send("GET /switch HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: chat\r\n\r\n");
    assert_ne!(other.answer().status, 101, "another protocol than asked for");
    // An upgrade that the upstream does not take is an ordinary request, and the connection goes on.
    let mut plain = gate.raw();
    plain.send("GET /plain HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n");
    assert_eq!(plain.answer().status, 200);
    plain.send("GET /again HTTP/1.1\r\nhost: a\r\n\r\n");
    assert_eq!(plain.answer().status, 200);
}

#[test]
fn grpc_passes_with_its_trailers() {
    let origin = Origin::start(|request| {
        assert_eq!(request.version, Version::HTTP_2);
        assert_eq!(request.header("te"), Some("trailers"));
        Reply::ok(request.body.clone())
            .with("content-type", "application/grpc")
            .with_trailer("grpc-status", "0")
            .with_trailer("grpc-message", "fine")
    });
    let spec = format!("{{ endpoints: [{{ url: \"{}\" }}], protocol: Http2 }}", origin.url());
    let documents =
        [WEB.to_owned(), document("Upstream", "origin", &spec), route("all", "/", "origin")].join("---\n");
    let gate = Gate::start(&documents);
    let client = Client::http2(gate.web()).with_authority("api.test");
    let headers = [("content-type", "application/grpc"), ("te", "trailers")];
    let answer = client.call("POST", "/shop.Orders/Get", &headers, &b"\0\0\0\0\x02hi"[..]);
    let trailers = answer.trailers.clone().expect("trailers");
    assert_eq!(trailers.get("grpc-status").unwrap(), "0");
    assert_eq!(trailers.get("grpc-message").unwrap(), "fine");
    assert_eq!(answer.body, &b"\0\0\0\0\x02hi"[..]);
    let many: Vec<_> = (0..20)
        .map(|_| {
            let request = client.request("POST", "/shop.Orders/Get").header("te", "trailers");
            request
                .header("content-type", "application/grpc")
                .body(bytes::Bytes::from_static(b"x").into())
                .unwrap()
        })
        .collect();
    assert!(client.send_all(many).into_iter().all(|answer| answer.unwrap().status == 200));
    assert!(origin.connections() <= 2, "{}", origin.connections());
}

#[test]
fn http_1_0_is_answered_in_its_own_way() {
    let origin = Origin::start(|_| Reply::ok("one").then(Duration::ZERO, "two"));
    let gate = Gate::start(&simple(&origin.url(), &[]));
    let mut raw = gate.raw();
    raw.send("GET / HTTP/1.0\r\nhost: a\r\n\r\n");
    let (all, _) = raw.read_to_end();
    let text = String::from_utf8(all).unwrap();
    assert!(text.starts_with("HTTP/1.0 200") || text.starts_with("HTTP/1.1 200"), "{text}");
    assert!(text.ends_with("\r\n\r\nonetwo") && !text.to_lowercase().contains("chunked"), "{text}");
}

#[test]
fn an_endpoint_that_cannot_be_reached_is_replaced_and_a_sent_post_is_not_repeated() {
    let origin = Origin::answering("ok");
    let nowhere = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let dead = format!("http://{nowhere}");
    let documents =
        [WEB.to_owned(), upstream("origin", &[&dead, &origin.url()]), route("all", "/", "origin")]
            .join("---\n");
    let gate = Gate::start(
        &documents
            .replace("spec: { endpoints", "spec: { loadBalancing: { algorithm: RoundRobin }, endpoints"),
    );
    for method in ["GET", "POST", "GET", "POST"] {
        assert_eq!(gate.client().call(method, "/", &[], "").status, 200, "{method}");
    }
    assert_eq!(origin.received().len(), 4);
    let scrape = gate.scrape();
    let failed = scrape.value(&format!(
        "bartizan_upstream_requests_total{{upstream=\"origin\",endpoint=\"{nowhere}\",outcome=\"connect_failed\"}}"
    ));
    assert!(failed >= 1.0, "{}", scrape.0);
    let retries = scrape.value("bartizan_retries_total{upstream=\"origin\"}");
    assert!((failed - retries).abs() < f64::EPSILON, "{failed} failed, {retries} retried");

    // Reads the request, then closes: nobody knows what it did with it.
    let first = RawOrigin::playing(vec![Step::ReadHead]);
    let second = RawOrigin::playing(vec![Step::ReadHead]);
    let urls = [first.url(), second.url()];
    let documents = [WEB.to_owned(), upstream("origin", &[&urls[0], &urls[1]]), route("all", "/", "origin")]
        .join("---\n");
    let gate = Gate::start(&documents);
    let answer = gate.client().call("POST", "/", &[], "");
    assert_eq!((answer.status.as_u16(), &answer.json()["code"]), (502, &"UpstreamMisbehaved".into()));
    assert_eq!(first.received().len() + second.received().len(), 1, "it was sent twice");
}

#[test]
fn time_limits_cover_the_wait_for_the_head_and_for_the_body() {
    let origin = Origin::start(|request| match request.target.as_str() {
        "/late" => Reply::ok("late").after(Duration::from_secs(20)),
        _ => Reply::ok("half").then(Duration::from_secs(20), "rest"),
    });
    for timeouts in ["request: 1s", "backendRequest: 1s, idle: 1s"] {
        let rule = format!("timeouts: {{ {timeouts} }}, backendRefs");
        let gate = Gate::start(&simple(&origin.url(), &[]).replace("backendRefs", &rule));
        let begun = Instant::now();
        let answer = gate.get("/late", &[]);
        assert_eq!(
            (answer.status.as_u16(), &answer.json()["code"]),
            (504, &"UpstreamTimeout".into()),
            "{timeouts}"
        );
        let mut raw = gate.raw();
        raw.send("GET /half HTTP/1.1\r\nhost: a\r\nx-request-id: cut-in-the-middle\r\n\r\n");
        raw.read_to_end();
        assert_eq!(gate.gateway.wait_for_record("cut-in-the-middle")["exit"], "timeout", "{timeouts}");
        assert!(begun.elapsed() < Duration::from_secs(8), "{timeouts}: {:?}", begun.elapsed());
        let scrape = gate.scrape().family("bartizan_upstream_requests_total");
        let timeouts_counted: f64 =
            scrape.iter().filter(|(series, _)| series.contains("\"timeout\"")).map(|(_, value)| value).sum();
        assert!((timeouts_counted - 1.0).abs() < f64::EPSILON, "{timeouts}: {scrape:?}");
    }
}

#[test]
fn a_caller_that_sends_no_body_makes_no_endpoint_look_ill() {
    let origin = talkative();
    let spec = format!(
        "{{ endpoints: [{{ url: \"{}\" }}], health: {{ passive: {{ consecutiveFailures: 1, maxEjectedPercent: 100 }} }} }}",
        origin.url()
    );
    let documents =
        [WEB.to_owned(), document("Upstream", "origin", &spec), route("all", "/", "origin")].join("---\n");
    let gate =
        Gate::start(&documents.replace("backendRefs", "timeouts: { backendRequest: 500ms }, backendRefs"));
    let mut withheld = gate.raw();
    withheld.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\n12345");
    let answer = withheld.answer();
    assert_eq!((answer.status, answer.json()["code"].as_str()), (408, Some("RequestTimeout")));
    let mut broken = gate.raw();
    broken.send("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n");
    broken.read_to_end();
    let mut left = gate.raw();
    left.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\n12345");
    drop(left);
    gate.wait_for_metric("bartizan_http_in_flight_requests", 0.0);
    assert_eq!(gate.get("/", &[]).status, 200, "the endpoint was ejected by its callers");
}
