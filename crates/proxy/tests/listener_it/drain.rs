//! The end of connections: what is finished, what is refused, and how long it may take.

use std::time::{Duration, Instant};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::sleep,
};

use super::{
    http2::{ask, client},
    support::{Gateway, exchange, get, loopback, plan, response, rest},
    tls::{Authority, certificate, tls},
};

#[tokio::test]
async fn a_drain_finishes_what_is_in_flight_closes_what_is_idle_and_refuses_what_is_new() {
    let gateway = Gateway::start(2, plan());
    let address = gateway.address;
    let mut idle = gateway.connect().await;
    exchange(&mut idle, &get("/")).await;
    let mut busy = gateway.connect().await;
    busy.write_all(get("/slow").as_bytes()).await.unwrap();
    let mut streams = client(gateway.connect().await).await;
    let mut second = streams.clone();
    let asked = tokio::spawn(async move { ask(&mut second, "/slow").await });
    sleep(Duration::from_millis(100)).await;

    gateway.cores.drain(Duration::from_secs(10));
    assert!(rest(&mut idle).await.is_empty());
    let answer = response(&mut busy).await;
    assert!(answer.contains("connection: close") && answer.ends_with("slow"), "{answer}");
    assert!(rest(&mut busy).await.is_empty());
    assert_eq!(asked.await.unwrap().unwrap(), "slow");
    assert!(ask(&mut streams, "/").await.is_err());
    let begun = Instant::now();
    gateway.join().await;
    assert!(begun.elapsed() < Duration::from_secs(5));
    TcpStream::connect(address).await.unwrap_err();
}

#[tokio::test]
async fn a_connection_that_was_queued_when_the_drain_began_gets_its_answer() {
    let gateway = Gateway::start(1, plan());
    let mut fresh = gateway.connect().await;
    gateway.cores.drain(Duration::from_secs(10));
    // Whether the core has heard of the drain when it answers is a race; that the connection then ends is none.
    let answer = exchange(&mut fresh, &get("/first")).await;
    assert!(answer.ends_with("/first"), "{answer}");
    assert!(rest(&mut fresh).await.is_empty());
    gateway.join().await;
}

#[tokio::test]
async fn what_is_not_finished_when_the_grace_is_over_is_closed() {
    let gateway = Gateway::start(1, plan());
    let mut stuck = gateway.connect().await;
    stuck.write_all(get("/never").as_bytes()).await.unwrap();
    sleep(Duration::from_millis(50)).await;
    let begun = Instant::now();
    gateway.cores.drain(Duration::from_millis(300));
    assert!(rest(&mut stuck).await.is_empty());
    assert!(begun.elapsed() >= Duration::from_millis(300));
    gateway.join().await;
}

#[tokio::test]
async fn a_second_order_ends_the_drain_at_once() {
    let gateway = Gateway::start(2, plan());
    let mut stuck = gateway.connect().await;
    stuck.write_all(get("/never").as_bytes()).await.unwrap();
    sleep(Duration::from_millis(50)).await;
    gateway.cores.drain(Duration::from_secs(600));
    sleep(Duration::from_millis(50)).await;
    assert!(!gateway.cores.is_finished());
    gateway.cores.stop();
    gateway.join().await;
}

#[tokio::test]
async fn a_reload_keeps_sockets_and_connections_and_new_ones_find_the_new_plan() {
    let gateway = Gateway::start(2, plan());
    let mut old = gateway.connect().await;
    exchange(&mut old, &get("/")).await;
    let mut changed = plan();
    changed.admission.deny = bartizan_message::AddressSet::from(vec![("127.0.0.9".parse().unwrap(), 32)]);
    changed.http2 = false;
    gateway.apply(changed);
    assert_eq!(gateway.cores.local_addresses("test"), [gateway.address]);
    sleep(Duration::from_millis(50)).await;
    assert!(exchange(&mut old, &get("/facts")).await.contains("requests=2"));
    let mut new = gateway.connect().await;
    new.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    assert!(!rest(&mut new).await.starts_with(b"\0"));
}

#[tokio::test]
async fn a_client_that_is_not_admitted_any_more_finishes_and_goes() {
    let gateway = Gateway::start(1, plan());
    let mut busy = gateway.connect().await;
    busy.write_all(get("/slow").as_bytes()).await.unwrap();
    sleep(Duration::from_millis(200)).await;
    let mut changed = plan();
    changed.admission.deny = loopback();
    gateway.apply(changed);
    assert!(response(&mut busy).await.contains("connection: close"));
    assert!(rest(&mut gateway.connect().await).await.is_empty());
    gateway.events.wait("listener_changed").await;
}

#[tokio::test]
async fn when_the_trust_of_a_listener_changes_its_connections_close() {
    let authority = Authority::new(&[("a", &["a.test"])]);
    let gateway = Gateway::start_with(1, plan(), authority.secrets);
    let mut clear = gateway.connect().await;
    exchange(&mut clear, &get("/")).await;
    gateway.apply(tls(vec![certificate("a", &[])]));
    assert!(rest(&mut clear).await.is_empty());
    gateway.events.wait("listener_changed").await;
}

#[tokio::test]
async fn a_removed_listener_finishes_its_requests_and_its_address_is_free() {
    let gateway = Gateway::start(2, plan());
    let mut busy = gateway.connect().await;
    busy.write_all(get("/slow").as_bytes()).await.unwrap();
    sleep(Duration::from_millis(100)).await;
    gateway.cores.apply(Vec::new(), Duration::from_secs(10)).unwrap();
    assert!(response(&mut busy).await.ends_with("slow"));
    sleep(Duration::from_millis(50)).await;
    std::net::TcpListener::bind(gateway.address).unwrap();
}

#[tokio::test]
async fn an_upgraded_connection_lives_past_every_timeout_holds_its_place_and_is_cut_by_the_drain() {
    let mut plan = plan();
    plan.admission.idle_timeout = Duration::from_millis(50);
    plan.admission.header_timeout = Duration::from_millis(50);
    plan.admission.connections_max = 1;
    let gateway = Gateway::start(1, plan);
    let mut tunnel = gateway.connect().await;
    let request = "GET /upgrade HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n";
    assert!(exchange(&mut tunnel, request).await.starts_with("HTTP/1.1 101"));
    gateway.events.wait("upgraded").await;
    for byte in 0..3 {
        sleep(Duration::from_millis(150)).await;
        tunnel.write_u8(byte).await.unwrap();
        assert_eq!(tunnel.read_u8().await.unwrap(), byte);
    }
    assert!(rest(&mut gateway.connect().await).await.is_empty());
    gateway.events.wait("listener_full").await;
    gateway.cores.drain(Duration::from_millis(200));
    assert!(rest(&mut tunnel).await.is_empty());
    gateway.join().await;
}

#[tokio::test]
async fn a_panic_in_the_service_ends_one_connection_and_frees_its_place() {
    let gateway = Gateway::start(1, plan());
    let mut unlucky = gateway.connect().await;
    unlucky.write_all(get("/panic").as_bytes()).await.unwrap();
    assert!(rest(&mut unlucky).await.is_empty());
    gateway.events.wait("failed").await;
    let mut next = gateway.connect().await;
    assert!(exchange(&mut next, &get("/on")).await.ends_with("/on"));
    assert_eq!(gateway.cores.open_connections(), [1]);
}
