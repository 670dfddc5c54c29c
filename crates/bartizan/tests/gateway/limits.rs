//! Rate limits: exact across cores, waited for slot by slot, and told to the caller.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use bartizan_testkit::{Client, Documents, Origin, Reply};

use crate::harness::{API_KEYS, Gate, WEB, document, key, simple, wait};

fn limit(name: &str, spec: &str) -> String {
    document("RateLimitPolicy", name, spec)
}

#[test]
fn the_smallest_policy_works_verbatim_without_metadata() {
    let origin = Origin::answering("ok");
    let mission = r##"# A comment before it is allowed.
{ "apiVersion": "management.v1", "kind": "RateLimitPolicy",
  "spec": { "limits": { "requests": "100", "timeWindow": "1m" }, "action": { "type": "Throttle", "maxRetry": 0 } } }
"##;
    let documents =
        Documents::new([("gateway.yaml", simple(&origin.url(), &[]).as_str()), ("hundred.json", mission)]);
    let gate = Gate::start_set(documents, |_| (), &[]);
    let begun = Instant::now();
    let client = gate.client();
    let first = client.get("/", &[]);
    assert_eq!(first.header("ratelimit-policy"), Some("\"hundred\";q=100;w=60"));
    assert!(first.header("ratelimit").unwrap().starts_with("\"hundred\";r=99;t="), "{:?}", first.headers);
    assert_eq!(first.header("x-ratelimit-limit"), None);
    let mut admitted = 1;
    let refused = loop {
        let answer = client.get("/", &[]);
        if answer.status == 429 {
            break answer;
        }
        admitted += 1;
    };
    // One more call every 600 ms while the hundred were used up.
    let earned = begun.elapsed().as_millis() / 600;
    assert!(admitted >= 100 && admitted <= 100 + earned, "{admitted} admitted, {earned} earned");
    assert_eq!(refused.json()["code"], "RateExceeded");
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert!(refused.header("ratelimit").unwrap().contains("r=0"), "{:?}", refused.headers);
    assert_eq!(gate.record_of(&refused)["policy"], "RateLimitPolicy/hundred");
    // The address stands in for the consumer that is not there, so another address would have its own hundred.
    assert_eq!(origin.received().len() as u128, admitted);
}

#[test]
fn a_limit_is_exact_for_many_callers_on_two_cores() {
    let origin = Origin::answering("ok");
    let (burst, rate) = (50.0, 100.0);
    let policy = limit("exact", "{ key: [gateway], limits: { requests: 100, timeWindow: 1s, burst: 50 } }");
    let gate = Gate::start(&simple(&origin.url(), &[&policy]));
    let admitted = Arc::new(AtomicU64::new(0));
    let refused = Arc::new(AtomicU64::new(0));
    let begun = Instant::now();
    let callers: Vec<_> = (0..16)
        .map(|_| {
            let (client, admitted, refused) = (gate.client(), Arc::clone(&admitted), Arc::clone(&refused));
            thread::spawn(move || {
                while begun.elapsed() < Duration::from_millis(1_500) {
                    match client.get("/", &[]).status.as_u16() {
                        200 => admitted.fetch_add(1, Ordering::Relaxed),
                        429 => refused.fetch_add(1, Ordering::Relaxed),
                        other => panic!("{other}"),
                    };
                }
            })
        })
        .collect();
    callers.into_iter().for_each(|caller| caller.join().unwrap());
    let elapsed = begun.elapsed().as_secs_f64();
    let (admitted, refused) = (admitted.load(Ordering::Relaxed), refused.load(Ordering::Relaxed));
    assert!(refused > 0, "the limit was never reached");
    // Never one more than burst and rate give; and none lost, but for the time before the first and after the last call.
    assert!(admitted as f64 <= burst + elapsed * rate + 1.0, "{admitted} in {elapsed}");
    assert!(admitted as f64 >= burst + 1.0 * rate, "{admitted} in {elapsed}");
    let count = |decision: &str| {
        format!(
            "bartizan_ratelimit_decisions_total{{policy=\"RateLimitPolicy/exact\",decision=\"{decision}\",mode=\"enforce\"}}"
        )
    };
    gate.wait_for_metric(&count("allow"), admitted as f64);
    gate.wait_for_metric(&count("deny"), refused as f64);
    assert_eq!(origin.received().len() as u64, admitted);
}

#[test]
fn throttled_calls_take_the_next_slots_and_no_more_than_allowed() {
    let origin = Origin::answering("ok");
    let policy = limit(
        "slow",
        "{ key: [gateway], limits: { requests: 4, timeWindow: 1s, burst: 1 }, action: { type: Throttle, maxRetry: 3 } }",
    );
    let gate = Gate::start(&simple(&origin.url(), &[&policy]));
    let begun = Instant::now();
    let callers: Vec<_> = (0..8)
        .map(|_| {
            let client = gate.client();
            thread::spawn(move || {
                let answer = client.get("/", &[]);
                (answer.status.as_u16(), begun.elapsed())
            })
        })
        .collect();
    let mut outcomes: Vec<_> = callers.into_iter().map(|caller| caller.join().unwrap()).collect();
    outcomes.sort_by_key(|(status, at)| (*status, *at));
    let passed: Vec<_> = outcomes.iter().filter(|(status, _)| *status == 200).map(|(_, at)| *at).collect();
    // One at once, three in the next three slots; more only if time earned them meanwhile.
    assert!((4..=5).contains(&passed.len()), "{outcomes:?}");
    for (slot, at) in passed.iter().enumerate() {
        assert!(*at >= Duration::from_millis(250 * slot as u64 - 20 * u64::from(slot > 0)), "{outcomes:?}");
    }
    let waited = gate.gateway.wait_for_line(|line| line.contains("\"waited_us\""));
    assert!(waited.contains("\"status\":200"), "{waited}");
}

#[test]
fn a_caller_that_leaves_while_it_waits_keeps_its_slot_spent_and_is_recorded() {
    let origin = Origin::answering("ok");
    let policy = limit(
        "slow",
        "{ key: [gateway], limits: { requests: 1, timeWindow: 1s, burst: 1 }, action: { type: Throttle, maxRetry: 2 } }",
    );
    let gate = Gate::start(&simple(&origin.url(), &[&policy]));
    assert_eq!(gate.get("/", &[]).status, 200);
    let begun = Instant::now();
    let mut leaving = gate.raw();
    leaving.send("GET / HTTP/1.1\r\nhost: a\r\nx-request-id: the-one-that-left\r\n\r\n");
    gate.wait_for_metric("bartizan_limit_waiters", 1.0);
    drop(leaving);
    gate.wait_for_metric("bartizan_limit_waiters", 0.0);
    // Its slot is the first; the next caller gets the second.
    assert_eq!(gate.get("/", &[]).status, 200);
    assert!(begun.elapsed() >= Duration::from_millis(1_700), "{:?}", begun.elapsed());
    let record = gate.gateway.wait_for_record("the-one-that-left");
    assert_eq!(
        (&record["exit"], &record["status"]),
        (&"client_gone".into(), &serde_json::Value::Null),
        "{record}"
    );
    gate.wait_for_metric("bartizan_http_in_flight_requests", 0.0);
    assert_eq!(origin.received().len(), 2);
}

#[test]
fn a_slot_behind_the_routes_time_limit_is_refused_at_once() {
    let origin = Origin::answering("ok");
    let policy = limit(
        "slow",
        "{ key: [gateway], limits: { requests: 1, timeWindow: 20s, burst: 1 }, action: { type: Throttle, maxRetry: 2 } }",
    );
    let documents =
        simple(&origin.url(), &[&policy]).replace("backendRefs", "timeouts: { request: 5s }, backendRefs");
    let gate = Gate::start(&documents);
    assert_eq!(gate.get("/", &[]).status, 200);
    let begun = Instant::now();
    let answer = gate.get("/", &[]);
    assert_eq!((answer.status.as_u16(), answer.header("retry-after")), (429, Some("20")));
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
}

#[test]
fn several_limits_take_all_or_nothing() {
    let origin = Origin::answering("ok");
    let both = limit(
        "both",
        "{ key: [gateway], legacyHeaders: true, limits: [{ requests: 10, timeWindow: 1h }, { requests: 2, timeWindow: 1h }] }",
    );
    let gate = Gate::start(&simple(&origin.url(), &[&both]));
    let answers: Vec<_> = (0..5).map(|_| gate.get("/", &[])).collect();
    let statuses: Vec<_> = answers.iter().map(|answer| answer.status.as_u16()).collect();
    assert_eq!(statuses, [200, 200, 429, 429, 429]);
    assert_eq!(answers[0].header("ratelimit-policy"), Some("\"both/1\";q=10;w=3600, \"both/2\";q=2;w=3600"));
    // The wider one was not spent by what the narrower one refused.
    let last = answers[4].header("ratelimit").unwrap();
    assert!(last.contains("\"both/1\";r=8") && last.contains("\"both/2\";r=0"), "{last}");
    assert_eq!(answers[4].header("x-ratelimit-limit"), Some("2"));
    assert_eq!(answers[4].header("x-ratelimit-remaining"), Some("0"));
    assert!(answers[4].headers.contains_key("x-ratelimit-reset"));
    assert_eq!(answers[4].header("retry-after"), Some("1800"));
}

#[test]
fn concurrency_is_given_back_however_a_call_ends() {
    let origin = Origin::start(|request| match request.target.as_str() {
        "/slow" => Reply::ok("late").after(Duration::from_secs(20)),
        "/breaks" => Reply::ok("half").breaking_off(),
        "/events" => Reply::ok("data: 1\n\n").then(Duration::from_millis(50), "data: 2\n\n"),
        _ => Reply::ok("ok"),
    });
    let one = limit("one", "{ key: [gateway], limits: { concurrency: 1 } }");
    let gate = Gate::start(&simple(&origin.url(), &[&one]));
    let free = |after: &str| {
        wait(&format!("the permit after {after}"), || gate.get("/", &[]).status == 200);
    };
    let mut held = gate.raw();
    held.send("GET /slow HTTP/1.1\r\nhost: a\r\n\r\n");
    origin.wait_for(1);
    let refused = gate.get("/", &[]);
    assert_eq!((refused.status.as_u16(), refused.header("ratelimit")), (429, Some("\"one\";r=0")));
    drop(held);
    free("an abort");
    let mut broken = gate.raw();
    broken.send("GET /breaks HTTP/1.1\r\nhost: a\r\n\r\n");
    broken.read_to_end();
    free("an upstream that broke off");
    let mut events = gate
        .client()
        .open(gate.client().request("GET", "/events").body(Default::default()).unwrap())
        .unwrap();
    assert!(events.piece().unwrap().is_some());
    while events.piece().unwrap().is_some() {}
    free("the end of a stream");
}

#[test]
fn a_consumers_own_limit_joins_those_of_the_route() {
    let origin = Origin::answering("ok");
    let wide = limit("wide", "{ limits: { requests: 100, timeWindow: 1h } }");
    let narrow = limit(
        "narrow",
        "{ targetRefs: [{ kind: Consumer, name: small }], limits: { requests: 1, timeWindow: 1h } }",
    );
    let consumers = [document("Consumer", "small", "{}"), document("Consumer", "big", "{}")];
    let mut keys = Vec::new();
    let gate = Gate::start_with(
        &simple(&origin.url(), &[API_KEYS, &wide, &narrow, &consumers[0], &consumers[1]]),
        |data| keys.extend(["small", "big"].map(|name| key(data, name, None))),
        &[],
    );
    let call = |key: &str| gate.get("/", &[("x-api-key", key)]).status.as_u16();
    assert_eq!([call(&keys[0]), call(&keys[0]), call(&keys[1]), call(&keys[1])], [200, 429, 200, 200]);
}

#[test]
fn what_an_absent_part_of_a_key_means_is_chosen() {
    let origin = Origin::answering("ok");
    for (on_absent, expected) in
        [("deny", [429, 429, 429]), ("skip", [200, 200, 200]), ("clientAddress", [200, 429, 429])]
    {
        let spec = format!(
            "{{ key: [{{ header: x-tenant }}], onAbsent: {on_absent}, limits: {{ requests: 1, timeWindow: 1h }} }}"
        );
        let gate = Gate::start(&simple(&origin.url(), &[&limit("tenant", &spec)]));
        let absent = [(); 3].map(|()| gate.get("/", &[]).status.as_u16());
        assert_eq!(absent, expected, "{on_absent}");
        let tenant = |name: &str| gate.get("/", &[("x-tenant", name)]).status.as_u16();
        assert_eq!([tenant("a"), tenant("a"), tenant("b")], [200, 429, 200], "{on_absent}");
    }
}

#[test]
fn an_address_that_calls_too_often_is_refused_before_its_credential_is_looked_at() {
    let origin = Origin::answering("ok");
    let listener = WEB
        .replace("addresses:", "admission: { ratePerAddress: { requests: 2, timeWindow: 1h } }, addresses:");
    let gate = Gate::start(&simple(&origin.url(), &[API_KEYS]).replace(WEB, &listener));
    let statuses = [(); 4].map(|()| gate.get("/", &[]).status.as_u16());
    assert_eq!(statuses, [401, 401, 429, 429]);
    let answer = gate.get("/", &[]);
    assert_eq!(
        (&answer.json()["code"], answer.header("retry-after")),
        (&"AddressLimited".into(), Some("1800"))
    );
    let _ = Client::http1(gate.web());
}
