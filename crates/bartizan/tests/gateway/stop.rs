//! The end: what is under way finishes, nothing new begins, and it does not take for ever.

use std::{
    net::TcpStream,
    time::{Duration, Instant},
};

use bartizan_testkit::{Client, Origin, Reply};

use crate::harness::{Gate, simple, wait};

fn slow(delay: Duration) -> Origin {
    Origin::start(move |request| match request.target.as_str() {
        "/slow" => Reply::ok("late").after(delay),
        _ => Reply::ok("ok"),
    })
}

#[test]
fn what_is_under_way_finishes_and_nothing_new_begins() {
    let origin = slow(Duration::from_millis(1_500));
    let mut gate = Gate::start(&simple(&origin.url(), &[]));
    let admin = Client::http1(gate.gateway.address("admin"));
    assert_eq!(admin.get("/readyz", &[]).status, 200);
    let web = gate.web();
    let kept = gate.client();
    assert_eq!(kept.get("/", &[]).status, 200);
    let slow: Vec<_> = [Client::http1(web), Client::http2(web)]
        .map(|client| std::thread::spawn(move || client.get("/slow", &[])))
        .into();
    origin.wait_for(3);
    gate.gateway.signal("TERM");
    wait("readiness to end", || admin.get("/readyz", &[]).status == 503);
    assert_eq!(admin.get("/healthz", &[]).status, 200);
    wait("new connections to be refused", || TcpStream::connect(web).is_err());
    for answer in slow {
        let answer = answer.join().unwrap();
        assert_eq!((answer.status.as_u16(), answer.text()), (200, "late"));
    }
    let status = gate.gateway.wait(Duration::from_secs(5)).expect("it ends when the last request has");
    assert_eq!(status.code(), Some(0));
    let late = gate.gateway.stdout().iter().filter(|line| line.contains("\"/slow\"")).count();
    assert_eq!(late, 2, "both are recorded");
}

#[test]
fn the_wait_is_bounded() {
    let origin = slow(Duration::from_secs(60));
    let mut gate = Gate::start_with(&simple(&origin.url(), &[]), |_| (), &["--drain", "1"]);
    let mut raw = gate.raw();
    raw.send("GET /slow HTTP/1.1\r\nhost: a\r\nx-request-id: cut-at-the-end\r\n\r\n");
    origin.wait_for(1);
    let begun = Instant::now();
    gate.gateway.signal("TERM");
    let status = gate.gateway.wait(Duration::from_secs(8)).expect("it ends when the time is over");
    assert_eq!(status.code(), Some(0));
    assert!((1..5).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
    assert_eq!(gate.gateway.wait_for_record("cut-at-the-end")["exit"], "shutdown");
}

#[test]
fn a_second_signal_ends_at_once() {
    let origin = slow(Duration::from_secs(60));
    let mut gate = Gate::start(&simple(&origin.url(), &[]));
    let mut raw = gate.raw();
    raw.send("GET /slow HTTP/1.1\r\nhost: a\r\nx-request-id: cut-by-a-signal\r\n\r\n");
    origin.wait_for(1);
    gate.gateway.signal("TERM");
    gate.gateway.wait_for_stderr("draining");
    assert!(gate.gateway.wait(Duration::from_millis(300)).is_none(), "it waits for the request");
    let begun = Instant::now();
    gate.gateway.signal("INT");
    assert_eq!(gate.gateway.wait(Duration::from_secs(8)).expect("it ends").code(), Some(0));
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    assert_eq!(gate.gateway.wait_for_record("cut-by-a-signal")["exit"], "shutdown");
}
