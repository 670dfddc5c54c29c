//! Who may connect, how often, and whom a proxy may speak for.

use std::{net::SocketAddr, time::Duration};

use bartizan_message::AddressSet;
use tokio::{
    io::AsyncWriteExt,
    net::{TcpSocket, TcpStream},
    time::sleep,
};

use super::support::{Gateway, exchange, get, loopback, plan, rest};

async fn connect_from(source: [u8; 4], to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from((source, 0))).unwrap();
    socket.connect(to).await.unwrap()
}

async fn is_served(stream: &mut TcpStream) -> bool {
    let _ = stream.write_all(get("/").as_bytes()).await;
    super::support::response(stream).await.starts_with("HTTP/1.1 200")
}

#[tokio::test]
async fn an_address_may_have_its_most_connections_and_one_that_closes_makes_room() {
    let mut plan = plan();
    plan.admission.connections_per_address = 2;
    // The count is one for all cores.
    let gateway = Gateway::start(2, plan);
    let mut first = gateway.connect().await;
    let mut second = gateway.connect().await;
    assert!(is_served(&mut first).await && is_served(&mut second).await);
    assert!(!is_served(&mut gateway.connect().await).await);
    gateway.events.wait("address_full").await;
    assert!(is_served(&mut connect_from([127, 0, 0, 2], gateway.address).await).await);
    drop(first);
    sleep(Duration::from_millis(100)).await;
    assert!(is_served(&mut gateway.connect().await).await);
}

#[tokio::test]
async fn a_network_and_a_listener_have_their_most_connections_too() {
    for (per_prefix, total, counted) in [(2, 1000, "prefix_full"), (1000, 2, "listener_full")] {
        let mut plan = plan();
        plan.admission.connections_per_prefix = per_prefix;
        plan.admission.connections_max = total;
        let gateway = Gateway::start(1, plan);
        let mut held = Vec::new();
        for last in 1..=2 {
            let mut stream = connect_from([127, 0, 0, last], gateway.address).await;
            assert!(is_served(&mut stream).await);
            held.push(stream);
        }
        assert!(!is_served(&mut connect_from([127, 0, 0, 3], gateway.address).await).await);
        gateway.events.wait(counted).await;
    }
}

#[tokio::test]
async fn a_denied_address_is_closed_before_a_byte_is_read_and_the_next_one_served() {
    let only = AddressSet::from(vec![("127.0.0.2".parse().unwrap(), 32)]);
    for (allow, deny) in [(Some(only), AddressSet::default()), (None, loopback())] {
        let mut plan = plan();
        plan.admission.allow = allow;
        plan.admission.deny = deny;
        let gateway = Gateway::start(1, plan);
        assert!(rest(&mut gateway.connect().await).await.is_empty());
        assert_eq!(gateway.events.of("address_denied"), 1);
        assert!(is_served(&mut connect_from([127, 0, 0, 2], gateway.address).await).await);
    }
}

#[tokio::test]
async fn four_connections_on_two_cores_never_all_sit_on_one() {
    // Each round the kernel chooses anew.
    for _ in 0..8 {
        let gateway = Gateway::start(2, plan());
        let mut clients = Vec::new();
        for _ in 0..4 {
            let mut client = gateway.connect().await;
            assert!(is_served(&mut client).await);
            clients.push(client);
        }
        let open = gateway.cores.open_connections();
        assert_eq!(open, [2, 2]);
        drop(clients);
        sleep(Duration::from_millis(50)).await;
        assert_eq!(gateway.cores.open_connections(), [0, 0]);
    }
}

const V1: &[u8] = b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 443\r\n";
const V2: &[u8] = &[
    0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a, 0x21, 0x11, 0x00, 0x0c, 192, 0,
    2, 7, 198, 51, 100, 1, 0x12, 0x67, 0x01, 0xbb,
];
const V2_LOCAL: &[u8] =
    &[0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a, 0x20, 0x00, 0x00, 0x00];

#[tokio::test]
async fn a_declared_proxy_speaks_for_its_client() {
    let mut plan = plan();
    plan.proxy_protocol_from = Some(loopback());
    let gateway = Gateway::start(2, plan);
    for header in [V1, V2] {
        let mut stream = gateway.connect().await;
        stream.write_all(header).await.unwrap();
        let answer = exchange(&mut stream, &get("/facts")).await;
        assert!(answer.contains("client=192.0.2.7:4711 local=198.51.100.1:443"), "{answer}");
    }
    let mut stream = gateway.connect().await;
    stream.write_all(V2_LOCAL).await.unwrap();
    let answer = exchange(&mut stream, &get("/facts")).await;
    assert!(answer.contains(&format!("client={}", stream.local_addr().unwrap())), "{answer}");
}

#[tokio::test]
async fn a_declared_proxy_must_speak_in_time_and_well() {
    let mut plan = plan();
    plan.proxy_protocol_from = Some(loopback());
    plan.admission.handshake_timeout = Duration::from_millis(200);
    let gateway = Gateway::start(1, plan);
    let mut plain = gateway.connect().await;
    plain.write_all(get("/").as_bytes()).await.unwrap();
    assert!(rest(&mut plain).await.is_empty());
    gateway.events.wait("proxy_header_invalid").await;
    let mut silent = gateway.connect().await;
    silent.write_all(&V1[..20]).await.unwrap();
    assert!(rest(&mut silent).await.is_empty());
    gateway.events.wait("proxy_header_timeout").await;
}

#[tokio::test]
async fn from_anyone_else_the_header_is_not_read_and_is_no_request() {
    let mut plan = plan();
    plan.proxy_protocol_from = Some(loopback());
    let gateway = Gateway::start(1, plan);
    for header in [V1, V2] {
        let mut stream = connect_from([127, 0, 0, 2], gateway.address).await;
        stream.write_all(&[header, get("/facts").as_bytes()].concat()).await.unwrap();
        let answer = String::from_utf8(rest(&mut stream).await).unwrap();
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400"), "{answer}");
    }
    let mut stream = connect_from([127, 0, 0, 2], gateway.address).await;
    assert!(exchange(&mut stream, &get("/facts")).await.contains("client=127.0.0.2:"));
}

#[tokio::test]
async fn behind_a_declared_proxy_the_client_is_judged_and_counted_and_not_the_proxy() {
    let mut plan = plan();
    plan.proxy_protocol_from = Some(loopback());
    plan.admission.connections_per_address = 1;
    plan.admission.deny = AddressSet::from(vec![("192.0.2.9".parse().unwrap(), 32)]);
    let gateway = Gateway::start(1, plan);
    let mut held = Vec::new();
    for (client, served) in
        [("192.0.2.7", true), ("192.0.2.8", true), ("192.0.2.7", false), ("192.0.2.9", false)]
    {
        let mut stream = gateway.connect().await;
        stream.write_all(format!("PROXY TCP4 {client} 198.51.100.1 1 443\r\n").as_bytes()).await.unwrap();
        assert_eq!(is_served(&mut stream).await, served, "{client}");
        held.push(stream);
    }
    gateway.events.wait("address_full").await;
    gateway.events.wait("address_denied").await;
}

/// Run by the test below in a process of its own that may have few files open.
#[tokio::test]
#[ignore = "serves the next test"]
async fn serves_until_standard_input_ends() {
    let gateway = Gateway::start(1, plan());
    println!("address={}", gateway.address);
    tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new())).await.unwrap().unwrap();
    println!("exhausted={}", gateway.events.of("descriptors_exhausted") > 0);
}

#[tokio::test]
async fn without_file_descriptors_clients_are_closed_and_later_served_again() {
    use std::{
        io::{BufRead, BufReader, Write},
        process::{Command, Stdio},
    };
    let mut child = Command::new("sh")
        .args(["-c", "ulimit -n 40 && exec \"$0\" --exact limits::serves_until_standard_input_ends --ignored --nocapture"])
        .arg(std::env::current_exe().unwrap())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut value = |name: &str| loop {
        let line = lines.next().expect("the other process prints").unwrap();
        if let Some((_, value)) = line.split_once(name) {
            return value.to_owned();
        }
    };
    let address: SocketAddr = value("address=").parse().unwrap();
    let mut held = Vec::new();
    for _ in 0..60 {
        held.push(TcpStream::connect(address).await.unwrap());
    }
    // The last one is not left hanging in the queue: it is taken and closed.
    assert!(rest(held.last_mut().unwrap()).await.is_empty());
    drop(held);
    sleep(Duration::from_millis(300)).await;
    assert!(is_served(&mut TcpStream::connect(address).await.unwrap()).await);
    child.stdin.take().unwrap().write_all(b"\n").unwrap();
    assert_eq!(value("exhausted="), "true");
    child.wait().unwrap();
}
