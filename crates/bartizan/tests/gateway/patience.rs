//! UpstreamPolicy: what is sent again and what is not, how long each time, how many at once, and copies.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use bartizan_testkit::{Origin, Reply};

use crate::harness::{Gate, WEB, document, route, simple, upstream, wait};

fn policy(spec: &str) -> String {
    document("UpstreamPolicy", "patient", spec)
}

/// An origin that answers so for the first `count` requests, and well afterwards.
fn failing(count: usize, reply: fn() -> Reply) -> Origin {
    let asked = AtomicUsize::new(0);
    Origin::start(move |_| match asked.fetch_add(1, Ordering::SeqCst) {
        before if before < count => reply(),
        _ => Reply::ok("well"),
    })
}

#[test]
fn what_does_no_harm_twice_is_sent_again_and_nothing_else() {
    for (method, body, status, asked) in [
        ("GET", "", 200, 2),
        ("PUT", "", 200, 2),
        ("DELETE", "", 200, 2),
        ("POST", "", 503, 1),
        ("PUT", "x", 503, 1),
    ] {
        let origin = failing(1, || Reply::new(503, "no"));
        let gate = Gate::start(&simple(&origin.url(), &[&policy("{ retries: {} }")]));
        let answer = gate.client().call(method, "/", &[], body);
        assert_eq!((answer.status.as_u16(), origin.received().len()), (status, asked), "{method} {body:?}");
        assert_eq!(gate.record_of(&answer)["upstream_attempts"], asked, "{method}");
    }
}

#[test]
fn without_a_policy_an_answer_is_an_answer() {
    let origin = failing(1, || Reply::new(503, "no"));
    let gate = Gate::start(&simple(&origin.url(), &[]));
    assert_eq!((gate.get("/", &[]).status.as_u16(), origin.received().len()), (503, 1));
}

#[test]
fn a_slow_endpoint_is_given_up_for_another_one_and_told_how_long_it_has() {
    let slow = Origin::start(|_| Reply::ok("slow").after(Duration::from_secs(8)));
    let fast = Origin::answering("fast");
    let spec = "{ firstByteTimeout: 300ms, deadlineHeader: X-Deadline-Ms, retries: { on: [timeout] } }";
    let documents = [
        WEB.to_owned(),
        upstream("origin", &[&slow.url(), &fast.url()]),
        route("all", "/", "origin"),
        policy(spec),
    ];
    let gate = Gate::start(&documents.join("---\n"));
    for _ in 0..4 {
        let begun = Instant::now();
        let answer = gate.get("/", &[]);
        assert_eq!((answer.status.as_u16(), answer.text()), (200, "fast"));
        assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    }
    for request in fast.received() {
        let left: u64 = request.header("x-deadline-ms").unwrap().parse().unwrap();
        assert!((1..=300).contains(&left), "{left}");
    }
}

#[test]
fn retries_stay_within_their_budget_in_an_outage() {
    let origin = Origin::start(|_| Reply::new(503, "no"));
    let spec = "{ retries: { attempts: 5, budgetPercent: 10, backoff: 1ms } }";
    // Ejection would answer for the upstream.
    let documents = simple(&origin.url(), &[&policy(spec)])
        .replace("endpoints:", "health: { passive: null }, endpoints:");
    let gate = Gate::start(&documents);
    let client = gate.client();
    for _ in 0..300 {
        assert_eq!(client.get("/", &[]).status, 503);
    }
    let again = origin.received().len() - 300;
    assert!((20..=41).contains(&again), "{again} retries of 300 requests");
}

#[test]
fn no_more_are_with_the_upstream_than_may_be_and_the_rest_is_refused_at_once() {
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (inside, peak) = (now.clone(), most.clone());
    let slow = Origin::start(move |_| {
        peak.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        thread::sleep(Duration::from_millis(400));
        inside.fetch_sub(1, Ordering::SeqCst);
        Reply::ok("body")
    });
    let gate = Gate::start(&simple(&slow.url(), &[&policy("{ concurrency: { requests: 3 } }")]));
    let answers: Vec<_> = thread::scope(|scope| {
        let calls: Vec<_> = (0..12).map(|_| scope.spawn(|| gate.get("/", &[]))).collect();
        calls.into_iter().map(|call| call.join().unwrap()).collect()
    });
    let refused: Vec<_> = answers.iter().filter(|answer| answer.status == 503).collect();
    assert!(most.load(Ordering::SeqCst) <= 3 && !refused.is_empty() && refused.len() <= 9);
    for answer in refused {
        assert_eq!(answer.header("retry-after"), Some("1"));
        let record = gate.record_of(answer);
        assert_eq!(
            (&record["reason"], &record["policy"]),
            (&"Overloaded".into(), &"UpstreamPolicy/patient".into())
        );
    }
    assert_eq!(gate.get("/", &[]).status, 200, "places are not given back");
}

#[test]
fn a_copy_goes_to_a_second_upstream_without_credentials_and_its_answer_to_nobody() {
    let (first, second) = (Origin::answering("first"), Origin::start(|_| Reply::new(500, "second")));
    let documents = [
        WEB.to_owned(),
        upstream("origin", &[&first.url()]),
        upstream("copies", &[&second.url()]),
        route("all", "/", "origin"),
        policy("{ mirror: { upstream: copies } }"),
    ];
    let gate = Gate::start(&documents.join("---\n"));
    let headers =
        [("authorization", "Basic YTpi"), ("cookie", "session=1"), ("x-api-key", "k"), ("x-other", "o")];
    let answer = gate.get("/a?b=1", &headers);
    assert_eq!((answer.status.as_u16(), answer.text()), (200, "first"));
    wait("the copy", || !second.received().is_empty());
    let copy = second.take_one();
    assert_eq!((copy.target.as_str(), copy.header("x-other")), ("/a?b=1", Some("o")));
    for name in ["authorization", "cookie", "x-api-key"] {
        assert_eq!(copy.header(name), None, "{name}");
    }
    assert_eq!(first.take_one().header("cookie"), Some("session=1"));
}

#[test]
fn connections_to_an_endpoint_are_told_by_what_they_do() {
    let slow = Origin::start(|_| Reply::ok("body").after(Duration::from_millis(600)));
    let gate = Gate::start(&simple(&slow.url(), &[]));
    let endpoint = slow.address();
    let series = |state: &str| {
        let labels = format!("upstream=\"origin\",endpoint=\"{endpoint}\",state=\"{state}\"");
        format!("bartizan_upstream_connections{{{labels}}}")
    };
    thread::scope(|scope| {
        let call = scope.spawn(|| gate.get("/", &[]));
        wait("a busy connection", || gate.scrape().value(&series("active")) == 1.0);
        assert_eq!(call.join().unwrap().status, 200);
    });
    wait("an idle connection", || gate.scrape().value(&series("idle")) == 1.0);
    assert_eq!(gate.scrape().value(&series("active")), 0.0);
}
