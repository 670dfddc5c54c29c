//! Policies in shadow: the caller notices nothing, the record says everything. And shares of callers.

use bartizan_testkit::{Origin, Reply};

use crate::harness::{Gate, document, key, simple};

#[test]
fn a_shadow_changes_nothing_that_can_be_seen() {
    let origin =
        Origin::start(|_| Reply::ok("ok").with("access-control-allow-origin", "*").with("x-inside", "1"));
    let shadows = [
        document("AuthenticationPolicy", "auth", "{ methods: [{ type: ApiKey }], mode: shadow }"),
        document(
            "RateLimitPolicy",
            "rate",
            "{ key: [gateway], limits: { requests: 1, timeWindow: 1h }, legacyHeaders: true, mode: shadow }",
        ),
        document(
            "RateLimitPolicy",
            "wait",
            "{ key: [gateway], limits: { requests: 1, timeWindow: 1h }, action: { type: Throttle, maxRetry: 9, maxWait: 100h }, mode: shadow }",
        ),
        document(
            "RateLimitPolicy",
            "absent",
            "{ key: [{ header: x-tenant }], onAbsent: deny, limits: { requests: 1, timeWindow: 1h }, mode: shadow }",
        ),
        document(
            "HeaderPolicy",
            "head",
            "{ request: { forbid: [x-note], change: { set: [{ name: x-set, value: new }] } }, response: { remove: [x-inside] }, mode: shadow }",
        ),
        document("CorsPolicy", "cors", "{ allowOrigins: [\"https://app.test\"], mode: shadow }"),
    ];
    let shadows: Vec<&str> = shadows.iter().map(String::as_str).collect();
    let watched = Gate::start(&simple(&origin.url(), &shadows));
    let plain = Gate::start(&simple(&origin.url(), &[]));
    let sent = [("x-note", "1"), ("origin", "https://evil.test"), ("x-request-id", "the-same-in-both")];
    for _ in 0..3 {
        let (with, without) = (watched.get("/a", &sent), plain.get("/a", &sent));
        assert_eq!((with.status, &with.body), (without.status, &without.body));
        let mut seen = with.headers.clone();
        seen.remove("date");
        let mut expected = without.headers.clone();
        expected.remove("date");
        assert_eq!(seen, expected);
        let received = origin.take();
        assert_eq!(received[0].headers, received[1].headers);
    }
    watched.gateway.wait_for_line(|line| line.contains("would_throttle"));
    let record = watched.gateway.wait_for_line(|line| line.contains("RateLimitPolicy/rate"));
    let record: serde_json::Value = serde_json::from_str(&record).unwrap();
    let said: Vec<_> = record["would_deny"]
        .as_array()
        .unwrap()
        .iter()
        .map(|would| would["policy"].as_str().unwrap())
        .collect();
    for policy in [
        "AuthenticationPolicy/auth",
        "RateLimitPolicy/rate",
        "RateLimitPolicy/wait",
        "RateLimitPolicy/absent",
        "HeaderPolicy/head",
        "CorsPolicy/cors",
    ] {
        assert!(said.contains(&policy), "{policy} is missing: {record}");
    }
    assert_eq!(record["exit"], "complete");
    let refusals = watched.scrape().family("bartizan_refusals_total");
    assert!(refusals.keys().all(|series| series.contains("mode=\"shadow\"")), "{refusals:?}");
}

#[test]
fn a_share_of_callers_is_the_same_in_every_stage() {
    let origin = Origin::answering("ok");
    let half = "enforcePercent: 50";
    let policies = [
        document("AuthenticationPolicy", "auth", "{ methods: [{ type: ApiKey }] }"),
        document(
            "HeaderPolicy",
            "head",
            &format!(
                "{{ request: {{ change: {{ set: [{{ name: x-side, value: enforced }}] }} }}, response: {{ set: [{{ name: x-side, value: enforced }}] }}, {half} }}"
            ),
        ),
        document(
            "RateLimitPolicy",
            "rate",
            &format!("{{ limits: {{ requests: 1000, timeWindow: 1h }}, {half} }}"),
        ),
        document("CorsPolicy", "cors", &format!("{{ allowOrigins: [\"https://app.test\"], {half} }}")),
        document("Consumer", "shop", "{}"),
    ];
    let policies: Vec<&str> = policies.iter().map(String::as_str).collect();
    let mut keys = Vec::new();
    let gate = Gate::start_with(
        &simple(&origin.url(), &policies),
        |data| keys.extend((0..24).map(|_| key(data, "shop", None))),
        &[],
    );
    let mut enforced = 0;
    for key in &keys {
        let answer = gate.get("/", &[("x-api-key", key), ("origin", "https://app.test")]);
        assert_eq!(answer.status, 200);
        let side = answer.header("x-side").is_some();
        assert_eq!(origin.take_one().header("x-side").is_some(), side, "the change of the request");
        assert_eq!(answer.headers.contains_key("ratelimit"), side, "the limit");
        assert_eq!(answer.headers.contains_key("access-control-allow-origin"), side, "CORS");
        enforced += u32::from(side);
    }
    // Binomial with 24 of a half: outside of 1 to 23 once in eight million runs.
    assert!((1..24).contains(&enforced), "{enforced} of 24");
}
