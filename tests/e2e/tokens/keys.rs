//! The life of an issuer's keys: roll-over, outage, storms (attack case 59).

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use bartizan_e2e::openid::{AUDIENCE, Provider};
use bartizan_testkit::Client;
use serde_json::json;

use crate::house::{House, SHOP, eventually};

const CLAIMS: &str = "claims: { consumer: client_id }";

#[test]
fn keys_roll_over_without_a_failed_call() {
    let Some(provider) = Provider::start() else { return };
    let house = Arc::new(House::of(&provider.jwt(CLAIMS), &[SHOP]));
    let old = provider.issue("shop");
    assert_eq!(house.call(&old).0, 200);
    let (stop, calls) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let callers: Vec<_> = (0..4)
        .map(|_| {
            let (house, old) = (Arc::clone(&house), old.clone());
            let (stop, calls) = (Arc::clone(&stop), Arc::clone(&calls));
            thread::spawn(move || {
                let client = house.client();
                let bearer = format!("Bearer {old}");
                let mut failed = 0;
                while !stop.load(Ordering::Relaxed) {
                    calls.fetch_add(1, Ordering::Relaxed);
                    failed += u32::from(client.get("/orders", &[("authorization", &bearer)]).status != 200);
                }
                failed
            })
        })
        .collect();
    let before = provider.count("/jwks");
    for _ in 0..20 {
        assert_eq!(house.call(&provider.issue("shop")).0, 200);
    }
    provider.control("/rotate", &json!({}));
    // Signed with a key that the gateway has never seen, while the load goes on.
    for _ in 0..20 {
        assert_eq!(house.call(&provider.issue("shop")).0, 200);
    }
    stop.store(true, Ordering::Relaxed);
    let failed: u32 = callers.into_iter().map(|caller| caller.join().unwrap()).sum();
    assert_eq!(failed, 0, "of {} calls", calls.load(Ordering::Relaxed));
    assert!(calls.load(Ordering::Relaxed) > 20);
    assert_eq!(provider.count("/jwks") - before, 1, "one fetch for the new key");
    let metrics = Client::http1(house.gateway.address("admin")).get("/metrics", &[]);
    for counted in
        [r#"{purpose="discovery",outcome="answered"} 1"#, r#"{purpose="key_set",outcome="answered"} 2"#]
    {
        assert!(metrics.text().contains(&format!("bartizan_fetches_total{counted}\n")), "{}", metrics.text());
    }
}

#[test]
fn keys_that_are_known_serve_while_the_issuer_is_down() {
    let Some(provider) = Provider::start() else { return };
    let house = House::of(&provider.jwt(CLAIMS), &[SHOP]);
    let (known, fresh) = (provider.issue("shop"), provider.issue("shop"));
    assert_eq!(house.call(&known).0, 200);
    provider.control("/set", &json!({ "down": true }));
    assert_eq!(house.call(&known).0, 200);
    assert_eq!(house.call(&fresh).0, 200, "a token that was never seen, by a key that was");
    // A key that cannot be fetched is none of the issuer's, as far as anybody can tell: refused, and not let through.
    let unknown = provider.mint(&json!({ "header": { "kid": "new" } }));
    assert_eq!(house.call(&unknown).0, 401);
    assert_eq!(house.call(&fresh).0, 200);
}

#[test]
fn an_issuer_whose_keys_never_came_is_answered_503_until_they_come() {
    let Some(provider) = Provider::start() else { return };
    let token = provider.issue("shop");
    provider.control("/set", &json!({ "down": true }));
    let house = House::of(&provider.jwt(CLAIMS), &[SHOP]);
    house.gateway.wait_for_stderr("a key set is not there yet");
    let unavailable = (503, "JudgeUnavailable".to_owned());
    assert_eq!(house.call(&token), unavailable);
    let before = provider.count("/.well-known/openid-configuration");
    for _ in 0..50 {
        assert_eq!(house.call(&token), unavailable);
    }
    let asked = provider.count("/.well-known/openid-configuration") - before;
    assert!(asked <= 3, "{asked} fetches for 50 calls");
    // An invalid token needs no keys to be refused.
    assert_eq!(house.call("a.b.c").0, 401);
    provider.control("/set", &json!({ "down": false }));
    assert!(eventually(Duration::from_secs(40), || house.call(&token).0 == 200), "the issuer is back");
}

#[test]
fn invented_key_names_cost_the_issuer_nothing() {
    let Some(provider) = Provider::start() else { return };
    let house = Arc::new(House::of(&provider.jwt(CLAIMS), &[SHOP]));
    assert_eq!(house.call(&provider.issue("shop")).0, 200);
    let before = provider.count("/jwks");
    let tokens: Vec<String> = (0..60)
        .map(|number| provider.mint(&json!({ "header": { "kid": format!("invented-{number}") } })))
        .collect();
    thread::scope(|scope| {
        for share in tokens.chunks(15) {
            let house = Arc::clone(&house);
            scope.spawn(move || {
                for token in share {
                    assert_eq!(house.call(token).0, 401);
                }
            });
        }
    });
    let asked = provider.count("/jwks") - before;
    assert!(asked <= 2, "{asked} fetches for {} invented names", tokens.len());
    assert_eq!(house.call(&provider.issue("shop")).0, 200);
}

#[test]
fn a_slow_issuer_costs_its_own_callers_time_and_nobody_else() {
    let Some(provider) = Provider::start() else { return };
    let token = provider.issue("shop");
    provider.control("/set", &json!({ "slowMs": 60_000 }));
    let open = "apiVersion: management.v1\nkind: Route\nmetadata: { name: open }\n\
                spec: { rules: [{ matches: [{ path: { value: /open } }], backendRefs: [{ name: origin }] }] }\n---\n\
                apiVersion: management.v1\nkind: AuthenticationPolicy\nmetadata: { name: nobody }\n\
                spec: { targetRefs: [{ kind: Route, name: open }], methods: [{ type: Anonymous }] }\n";
    let methods = format!("{}], targetRefs: [", provider.jwt(CLAIMS));
    let begun = Instant::now();
    let house = House::of(&methods, &[SHOP, open]);
    assert!(begun.elapsed() < Duration::from_secs(15), "the start waits for an issuer at most 5 s");
    thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            let begun = Instant::now();
            (house.call(&token), begun.elapsed())
        });
        let begun = Instant::now();
        assert_eq!(house.client().get("/open", &[]).status, 200);
        assert!(begun.elapsed() < Duration::from_secs(1));
        let (answer, waited) = waiting.join().unwrap();
        assert_eq!(answer, (503, "JudgeUnavailable".to_owned()));
        assert!(waited < Duration::from_secs(6), "{waited:?}");
    });
}

#[test]
fn a_policy_may_say_that_callers_it_cannot_judge_are_nobody() {
    let Some(provider) = Provider::start() else { return };
    let token = provider.issue("shop");
    provider.control("/set", &json!({ "down": true }));
    let house = House::of(&format!("{}], onFault: allow, targetRefs: [", provider.jwt(CLAIMS)), &[SHOP]);
    assert_eq!(house.call(&token).0, 200);
    let received = house.origin.take_one();
    assert_eq!(received.header("x-consumer-name"), None);
    let record = house.gateway.wait_for_record(received.header("x-request-id").unwrap());
    assert_eq!(record["faults"][0]["policy"], "AuthenticationPolicy/tokens", "{record}");
    // What is invalid is no fault.
    assert_eq!(house.call("a.b.c"), (401, "CredentialInvalid".to_owned()));
}

#[test]
fn a_policy_in_shadow_waits_for_nobody() {
    let Some(provider) = Provider::start() else { return };
    let token = provider.issue("shop");
    provider.control("/set", &json!({ "slowMs": 60_000 }));
    let house = House::of(&format!("{}], mode: shadow, targetRefs: [", provider.jwt(CLAIMS)), &[SHOP]);
    let begun = Instant::now();
    assert_eq!(house.call(&token).0, 200);
    assert!(begun.elapsed() < Duration::from_secs(1));
    let received = house.origin.take_one();
    assert_eq!(received.header("authorization"), Some(&*format!("Bearer {token}")), "nothing is taken out");
    let record = house.gateway.wait_for_record(received.header("x-request-id").unwrap());
    assert_eq!(record["would_deny"][0]["stage"], "identify", "{record}");
}

#[test]
fn keys_outlive_a_reload() {
    let Some(provider) = Provider::start() else { return };
    let house = House::of(&provider.jwt(CLAIMS), &[SHOP]);
    let token = provider.issue("shop");
    assert_eq!(house.call(&token).0, 200);
    let before = provider.count("/jwks");
    provider.control("/set", &json!({ "down": true }));
    // The same issuer, and another thing that changed.
    house.reload(&provider.jwt(&format!("{CLAIMS}, challenge: {{ realm: again }}")), &[SHOP]);
    assert!(eventually(Duration::from_secs(20), || {
        let answer = house.client().get("/orders", &[]);
        answer.header("www-authenticate") == Some("Bearer realm=\"again\"")
    }));
    assert_eq!(house.call(&token).0, 200);
    assert_eq!(provider.count("/jwks"), before);
}

#[test]
fn nothing_is_fetched_from_where_no_document_allows_it() {
    let Some(provider) = Provider::start() else { return };
    let token = provider.issue("shop");
    let asked = |provider: &Provider| provider.count("/.well-known/openid-configuration");
    let before = asked(&provider);
    for fetch in [
        // Loopback without a word about private networks.
        format!("{{ authoritiesRef: \"file://{}\" }}", provider.authority.display()),
        // A certificate that nobody of ours signed.
        "{ allowPrivateNetwork: true }".to_owned(),
    ] {
        let method = format!(
            "{{ type: Jwt, jwt: {{ issuer: \"{}\", audiences: [\"{AUDIENCE}\"], fetch: {fetch}, {CLAIMS} }} }}",
            provider.issuer
        );
        let house = House::of(&method, &[SHOP]);
        assert_eq!(house.call(&token), (503, "JudgeUnavailable".to_owned()), "{fetch}");
    }
    assert_eq!(asked(&provider), before);
}
