//! The order of the stages: of all that would refuse a request, the earliest does.

use bartizan_testkit::Origin;

use crate::harness::{API_KEYS, Gate, document, key, simple, wait};

/// A request that every stage refuses, and per stage what makes it pass.
#[test]
fn the_earliest_stage_that_refuses_answers() {
    let origin = Origin::answering("ok");
    let url = origin.url();
    drop(origin);
    let tight = "{ key: [gateway], limits: { requests: 1, timeWindow: 1h } }";
    let away = document("Consumer", "away", "{ allowedAddresses: [192.0.2.0/24] }");
    let home = document("Consumer", "home", "{}");
    let tenant =
        document("HeaderPolicy", "tenant", "{ request: { check: [{ name: x-tenant, required: true }] } }");
    let rule = "{ matches: [{ path: { value: /api } }], backendRefs: [{ name: origin }], bodyBytes: 10B }";
    let narrow = document("Route", "all", &format!("{{ rules: [{rule}] }}"));
    let limit = document("RateLimitPolicy", "tight", tight);
    let mut keys = Vec::new();
    let base = simple(&url, &[API_KEYS, &away, &home, &tenant, &limit]);
    let base =
        base.split("---\n").map(|part| if part.contains("kind: Route\n") { narrow.as_str() } else { part });
    let gate = Gate::start_with(
        &base.collect::<Vec<_>>().join("---\n"),
        |data| keys.extend(["away", "home"].map(|consumer| key(data, consumer, None))),
        &[],
    );
    // Uses the one call that the limit allows; it gets as far as the endpoint that is not there.
    let used = gate.client().call("POST", "/api", &[("x-tenant", "a"), ("x-api-key", &keys[1])], "");
    assert_eq!((used.status.as_u16(), &used.json()["code"]), (502, &"ConnectFailed".into()));

    let (away, home) = (keys[0].clone(), keys[1].clone());
    let long = "eleven char";
    // Each line mends what the line before was refused for, and leaves everything later wrong.
    let table: [(&str, &[(&str, &str)], u16, &str, &str); 5] = [
        ("/a%00/%2e%2e", &[], 400, "admit", "MalformedRequest"),
        ("/elsewhere", &[], 404, "route", "NoRoute"),
        ("/api", &[], 400, "route", "HeaderRefused"),
        ("/api", &[("x-tenant", "a")], 401, "identify", "CredentialMissing"),
        ("/api", &[("x-tenant", "a"), ("x-api-key", &away)], 403, "authorize", "NotAllowed"),
    ];
    for (target, headers, status, stage, code) in table {
        let answer = gate.client().call("POST", target, headers, long);
        assert_eq!((answer.status.as_u16(), &answer.json()["code"]), (status, &code.into()), "{target}");
        let record = gate.record_of(&answer);
        assert_eq!((&record["stage"], &record["exit"]), (&stage.into(), &"refused".into()), "{record}");
    }
    let headers = [("x-tenant", "a"), ("x-api-key", home.as_str())];
    let answer = gate.client().call("POST", "/api", &headers, long);
    assert_eq!((answer.status.as_u16(), &answer.json()["code"]), (429, &"RateExceeded".into()));
    // Without the limit: inspect before forward, then forward.
    let text = std::fs::read_to_string(gate.documents.path().join("gateway.yaml")).unwrap();
    gate.documents.write("gateway.yaml", text.replace("requests: 1,", "requests: 3600000,"));
    wait("the wider limit to be in force", || gate.client().call("POST", "/api", &headers, "").status != 429);
    let answer = gate.client().call("POST", "/api", &headers, long);
    assert_eq!((answer.status.as_u16(), &answer.json()["code"]), (413, &"BodyTooLarge".into()));
    let answer = gate.client().call("POST", "/api", &headers, "small");
    assert_eq!((answer.status.as_u16(), &answer.json()["code"]), (502, &"ConnectFailed".into()));
    // None of the refusals spent anything of the limit: only the calls that got to it did.
    let scrape = gate.scrape();
    let allowed = "bartizan_ratelimit_decisions_total{policy=\"RateLimitPolicy/tight\",decision=\"deny\",mode=\"enforce\"}";
    assert!(scrape.value(allowed) >= 1.0, "{}", scrape.0);
}
