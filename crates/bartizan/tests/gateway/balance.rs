//! Which endpoint gets a request: weights, hashes, and the health of endpoints.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bartizan_testkit::{Origin, Reply};

use crate::harness::{Gate, WEB, document, route, upstream, wait};

fn set(spec: &str, more: &[&str]) -> String {
    let mut parts = vec![WEB.to_owned(), document("Upstream", "origin", spec), route("all", "/", "origin")];
    parts.extend(more.iter().map(|part| (*part).to_owned()));
    parts.join("---\n")
}

#[test]
fn weights_share_out_endpoints_and_upstreams() {
    let (heavy, light) = (Origin::answering("heavy"), Origin::answering("light"));
    let spec = format!(
        "{{ loadBalancing: {{ algorithm: RoundRobin }}, endpoints: [{{ url: \"{}\", weight: 3 }}, {{ url: \"{}\" }}] }}",
        heavy.url(),
        light.url()
    );
    let gate = Gate::start(&set(&spec, &[]));
    let client = gate.client();
    (0..40).for_each(|_| assert_eq!(client.get("/", &[]).status, 200));
    assert_eq!((heavy.take().len(), light.take().len()), (30, 10), "one connection is one core's own turn");

    let rule = "{ matches: [{ path: { value: / } }], backendRefs: [{ name: a, weight: 9 }, { name: b, weight: 1 }, { name: c, weight: 0 }] }";
    let none = Origin::answering("none");
    let documents = [
        WEB.to_owned(),
        upstream("a", &[&heavy.url()]),
        upstream("b", &[&light.url()]),
        upstream("c", &[&none.url()]),
        document("Route", "all", &format!("{{ rules: [{rule}] }}")),
    ];
    let gate = Gate::start(&documents.join("---\n"));
    let client = gate.client();
    (0..400).for_each(|_| assert_eq!(client.get("/", &[]).status, 200));
    let (a, b) = (heavy.received().len(), light.received().len());
    // Binomial: 40 expected, deviation 6; beyond five of them once in a million runs.
    assert!((10..=70).contains(&b) && a + b == 400 && none.received().is_empty(), "{a} and {b}");
}

#[test]
fn a_consistent_hash_sends_the_same_header_to_the_same_endpoint() {
    let origins: Vec<_> = (0..4).map(|number| Origin::answering(number.to_string())).collect();
    let urls: Vec<_> = origins.iter().map(|origin| format!("{{ url: \"{}\" }}", origin.url())).collect();
    let spec = format!(
        "{{ loadBalancing: {{ algorithm: ConsistentHash, hashOn: header, header: x-tenant }}, endpoints: [{}] }}",
        urls.join(", ")
    );
    let gate = Gate::start(&set(&spec, &[]));
    let mut used = std::collections::BTreeSet::new();
    for tenant in 0..32 {
        let tenant = format!("tenant-{tenant}");
        // Each on a connection of its own, so that both cores are asked.
        let answers: Vec<_> =
            (0..3).map(|_| gate.get("/", &[("x-tenant", &tenant)]).text().to_owned()).collect();
        assert!(answers.iter().all(|answer| *answer == answers[0]), "{tenant}: {answers:?}");
        used.insert(answers[0].clone());
    }
    assert_eq!(used.len(), 4, "{used:?}");
}

#[test]
fn an_endpoint_that_fails_is_ejected_and_comes_back() {
    let ill = Arc::new(AtomicBool::new(true));
    let is_ill = Arc::clone(&ill);
    let sick =
        Origin::start(
            move |_| {
                if is_ill.load(Ordering::SeqCst) { Reply::new(503, "ill") } else { Reply::ok("well") }
            },
        );
    let well = Origin::answering("well");
    let spec = format!(
        "{{ loadBalancing: {{ algorithm: RoundRobin }}, endpoints: [{{ url: \"{}\" }}, {{ url: \"{}\" }}],
           health: {{ passive: {{ consecutiveFailures: 3, ejectFor: 1s }} }} }}",
        sick.url(),
        well.url()
    );
    let gate = Gate::start(&set(&spec, &[]));
    let healthy = format!("bartizan_endpoint_healthy{{upstream=\"origin\",endpoint=\"{}\"}}", sick.address());
    let client = gate.client();
    gate.wait_for_metric(&healthy, 1.0);
    let statuses: Vec<_> = (0..6).map(|_| client.get("/", &[]).status.as_u16()).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 503).count(), 3, "{statuses:?}");
    gate.wait_for_metric(&healthy, 0.0);
    (0..6).for_each(|_| assert_eq!(client.get("/", &[]).status, 200));
    ill.store(false, Ordering::SeqCst);
    sick.take();
    wait("the endpoint to be asked again", || {
        client.get("/", &[]);
        !sick.received().is_empty()
    });
    gate.wait_for_metric(&healthy, 1.0);
}

#[test]
fn active_checks_find_the_ill_before_a_caller_does_and_nobody_left_is_503() {
    let ill = Arc::new(AtomicBool::new(false));
    let is_ill = Arc::clone(&ill);
    let origin = Origin::start(move |request| match request.target.as_str() {
        "/health" if is_ill.load(Ordering::SeqCst) => Reply::new(500, "ill"),
        _ => Reply::ok("ok"),
    });
    let spec = format!(
        "{{ endpoints: [{{ url: \"{}\" }}], health: {{ active: {{ path: /health, interval: 100ms, unhealthyThreshold: 2, healthyThreshold: 1 }} }} }}",
        origin.url()
    );
    let gate = Gate::start(&set(&spec, &[]));
    let client = gate.client();
    assert_eq!(client.get("/", &[]).status, 200);
    ill.store(true, Ordering::SeqCst);
    wait("the checks to notice", || client.get("/", &[]).status == 503);
    let answer = client.get("/", &[]);
    assert_eq!(
        (&answer.json()["code"], answer.header("content-type")),
        (&"NoEndpoint".into(), Some("application/problem+json"))
    );
    ill.store(false, Ordering::SeqCst);
    wait("the checks to notice again", || client.get("/", &[]).status == 200);
    let checks = origin.received().iter().filter(|request| request.target == "/health").count();
    assert!(checks >= 3, "{checks}");
    std::thread::sleep(Duration::ZERO);
}
