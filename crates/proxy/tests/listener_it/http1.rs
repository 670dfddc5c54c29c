//! HTTP/1: what is kept alive, what is closed, and when.

use std::time::{Duration, Instant};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::sleep,
};

use super::support::{Gateway, exchange, get, plan, response, rest};

#[tokio::test]
async fn a_connection_is_kept_alive_and_its_requests_are_counted() {
    let gateway = Gateway::start(1, plan());
    let mut client = gateway.connect().await;
    for n in 1..=3 {
        let answer = exchange(&mut client, &get("/facts")).await;
        assert!(answer.contains(&format!("requests={n} http2=false tls=clear")), "{answer}");
        assert!(answer.contains(&format!("client={}", client.local_addr().unwrap())), "{answer}");
        assert!(answer.contains(&format!("local={}", gateway.address)), "{answer}");
    }
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let gateway = Gateway::start(1, plan());
    let mut client = gateway.connect().await;
    client.write_all(format!("{}{}", get("/slow"), get("/second")).as_bytes()).await.unwrap();
    assert!(response(&mut client).await.ends_with("slow"));
    assert!(response(&mut client).await.ends_with("/second"));
}

#[tokio::test]
async fn an_http_1_0_client_is_answered_and_closed_even_if_it_asks_to_stay() {
    let gateway = Gateway::start(1, plan());
    let mut client = gateway.connect().await;
    let answer = exchange(&mut client, "GET /old HTTP/1.0\r\nconnection: keep-alive\r\n\r\n").await;
    assert!(answer.contains("connection: close") && answer.ends_with("/old"), "{answer}");
    assert!(rest(&mut client).await.is_empty());
}

#[tokio::test]
async fn the_first_bytes_of_a_method_are_not_taken_for_http2() {
    let gateway = Gateway::start(1, plan());
    for request in [get("/"), get("/").replace("GET", "PRI"), get("/").replace("GET", "POST")] {
        let mut client = gateway.connect().await;
        let (first, second) = request.split_at(3);
        client.write_all(first.as_bytes()).await.unwrap();
        sleep(Duration::from_millis(30)).await;
        assert!(exchange(&mut client, second).await.starts_with("HTTP/1.1 200"), "{request}");
    }
}

#[tokio::test]
async fn a_head_that_does_not_end_in_time_is_answered_with_408_and_closed() {
    let mut plan = plan();
    plan.admission.header_timeout = Duration::from_millis(200);
    // The same with and without the look for HTTP/2, and for a first and a second request.
    for (http2, warm_up, partial) in [
        (true, false, "GET / HT"),
        (false, false, "GET / HT"),
        (true, true, "GET / HT"),
        (true, false, "PRI"),
    ] {
        plan.http2 = http2;
        let gateway = Gateway::start(1, plan.clone());
        let mut client = gateway.connect().await;
        if warm_up {
            exchange(&mut client, &get("/")).await;
        }
        let begun = Instant::now();
        client.write_all(partial.as_bytes()).await.unwrap();
        // Dripping does not help: the time counts from the first byte.
        for _ in 0..3 {
            sleep(Duration::from_millis(50)).await;
            client.write_all(b"x").await.unwrap();
        }
        let answer = String::from_utf8(rest(&mut client).await).unwrap();
        assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("connection: close"), "{answer}");
        assert!(begun.elapsed() >= Duration::from_millis(180), "{:?}", begun.elapsed());
        gateway.events.wait("head_timeout").await;
    }
}

#[tokio::test]
async fn a_head_that_comes_slowly_but_in_time_is_answered() {
    let mut plan = plan();
    plan.admission.header_timeout = Duration::from_millis(2000);
    plan.admission.idle_timeout = Duration::from_millis(300);
    let gateway = Gateway::start(1, plan);
    let mut client = gateway.connect().await;
    for part in ["GET / HTTP/1.1\r\n", "host: a", ".test\r\n"] {
        client.write_all(part.as_bytes()).await.unwrap();
        sleep(Duration::from_millis(200)).await;
    }
    assert!(exchange(&mut client, "\r\n").await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_silent_connection_is_closed_without_a_word_before_and_after_a_request() {
    let mut plan = plan();
    plan.admission.idle_timeout = Duration::from_millis(200);
    for http2 in [true, false] {
        plan.http2 = http2;
        let gateway = Gateway::start(1, plan.clone());
        let mut fresh = gateway.connect().await;
        let mut used = gateway.connect().await;
        exchange(&mut used, &get("/")).await;
        assert!(rest(&mut fresh).await.is_empty());
        assert!(rest(&mut used).await.is_empty());
        gateway.events.wait("idle").await;
        if http2 {
            gateway.events.wait("silent").await;
        }
    }
}

#[tokio::test]
async fn a_request_in_progress_is_not_idle() {
    let mut plan = plan();
    plan.admission.idle_timeout = Duration::from_millis(100);
    plan.admission.header_timeout = Duration::from_millis(100);
    let gateway = Gateway::start(1, plan);
    let mut client = gateway.connect().await;
    assert!(exchange(&mut client, &get("/slow")).await.ends_with("slow"));
}

#[tokio::test]
async fn too_many_fields_and_too_large_a_head_are_refused_and_the_limits_themselves_pass() {
    let gateway = Gateway::start(1, plan());
    let fields = |count: usize, value: usize| -> String {
        let fields: String = (0..count).map(|n| format!("x-{n}: {}\r\n", "v".repeat(value))).collect();
        format!("GET / HTTP/1.1\r\nhost: a\r\n{fields}\r\n")
    };
    for (request, expected) in [
        (fields(99, 1), "200"),
        (fields(100, 1), "431"),
        (fields(60, 1000), "200"),
        (fields(80, 1000), "431"),
    ] {
        let mut client = gateway.connect().await;
        let answer = exchange(&mut client, &request).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {expected}")), "{} {answer}", request.len());
    }
}

#[tokio::test]
async fn a_body_must_keep_its_pace_and_its_size() {
    let mut plan = plan();
    plan.admission.body_rate_min = 1000;
    plan.admission.body_rate_grace = Duration::from_millis(500);
    plan.admission.body_bytes_max = 10_000;
    let gateway = Gateway::start(1, plan);
    let head =
        |length: usize| format!("POST /upload HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n\r\n");

    let mut whole = gateway.connect().await;
    let answer = exchange(&mut whole, &(head(10_000) + &"x".repeat(10_000))).await;
    assert!(answer.ends_with("10000"), "{answer}");

    let mut large = gateway.connect().await;
    assert!(exchange(&mut large, &head(10_001)).await.starts_with("HTTP/1.1 413"));

    let mut silent = gateway.connect().await;
    let begun = Instant::now();
    assert!(exchange(&mut silent, &(head(100) + "x")).await.starts_with("HTTP/1.1 408"));
    assert!(begun.elapsed() >= Duration::from_millis(480));

    // Slow, and longer than the grace, but at the rate that is asked for: 200 bytes each 100 ms.
    let mut steady = gateway.connect().await;
    steady.write_all(head(2000).as_bytes()).await.unwrap();
    for _ in 0..10 {
        steady.write_all(&[b'x'; 200]).await.unwrap();
        sleep(Duration::from_millis(100)).await;
    }
    assert!(response(&mut steady).await.ends_with("2000"));
}

#[tokio::test]
async fn a_client_that_takes_nothing_of_its_response_is_given_up() {
    let gateway = Gateway::start(1, plan());
    let mut client = gateway.connect().await;
    client.write_all(get("/big").as_bytes()).await.unwrap();
    gateway.events.wait("write_stalled").await;
}

#[tokio::test]
async fn a_client_that_takes_its_response_slowly_is_not_given_up() {
    let gateway = Gateway::start(1, plan());
    let mut client = gateway.connect().await;
    client.write_all(get("/big").as_bytes()).await.unwrap();
    let mut buffer = vec![0; 4 * 1024 * 1024];
    let mut total = 0;
    while total < 32 * 1024 * 1024 {
        let length = client.read(&mut buffer).await.unwrap();
        assert_ne!(length, 0, "closed after {total} bytes");
        total += length;
        sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn ipv6_is_served() {
    let mut plan = plan();
    plan.addresses = vec!["[::1]:0".parse().unwrap()];
    if std::net::TcpListener::bind("[::1]:0").is_err() {
        return; // a machine without IPv6
    }
    let gateway = Gateway::start(1, plan);
    let mut client = TcpStream::connect(gateway.address).await.unwrap();
    assert!(exchange(&mut client, &get("/facts")).await.contains("client=[::1]:"));
}
