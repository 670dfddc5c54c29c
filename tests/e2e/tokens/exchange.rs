//! The caller's token in exchange for another (RFC 8693), toward an upstream.

use std::{thread, time::Duration};

use bartizan_e2e::openid::Provider;
use serde_json::json;

use crate::house::{House, SHOP};

const CLAIMS: &str = "claims: { consumer: client_id, roles: scope }";
const INNER: &str = "https://orders.internal";

fn credential(provider: &Provider, url: &str) -> String {
    format!(
        "credential: {{ tokenExchange: {{ tokenUrl: \"{url}\", clientId: gateway, \
         clientSecretRef: \"env://GATEWAY_SECRET\", resource: \"{INNER}\", scopes: [read], \
         allowPrivateNetwork: true, authoritiesRef: \"file://{}\", timeout: 5s }} }}",
        provider.authority.display()
    )
}

fn house(provider: &Provider, methods: &str, more: &[&str]) -> House {
    House::sending(&credential(provider, &format!("{}/token", provider.issuer)), methods, more)
}

/// The claims of the token that the origin got last.
fn sent(house: &House) -> serde_json::Value {
    let received = house.origin.take_one();
    let token = received.header("authorization").unwrap().strip_prefix("Bearer ").unwrap().to_owned();
    let payload = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&base64url(payload)).unwrap()
}

fn base64url(text: &str) -> Vec<u8> {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let (mut bits, mut held, mut bytes) = (0_u32, 0, Vec::new());
    for letter in text.bytes() {
        let value = LETTERS.iter().position(|known| *known == letter).unwrap();
        (bits, held) = (bits << 6 | u32::try_from(value).unwrap(), held + 6);
        if held >= 8 {
            held -= 8;
            bytes.push(u8::try_from(bits >> held & 0xff).unwrap());
        }
    }
    bytes
}

#[test]
fn an_upstream_gets_a_token_made_for_it_and_for_the_caller_and_never_the_callers_own() {
    let Some(provider) = Provider::start() else { return };
    let stranger = SHOP.replace("shop", "stranger");
    let house = house(&provider, &provider.jwt(CLAIMS), &[SHOP, &stranger]);
    let token = provider.issue("shop");
    assert_eq!(house.call(&token), (200, String::new()));
    let claims = sent(&house);
    assert_eq!(
        (&claims["aud"], &claims["on_behalf_of"], &claims["client_id"], &claims["scope"]),
        (&json!(INNER), &json!("shop"), &json!("gateway"), &json!("read"))
    );
    // One exchange for one token, also of many requests at once.
    let exchanges = || provider.count("/token");
    let before = exchanges();
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| assert_eq!(house.call(&token).0, 200));
        }
    });
    assert_eq!(exchanges(), before, "it is kept");
    house.origin.take();
    // Another caller gets another token.
    assert_eq!(house.call(&provider.issue("stranger")).0, 200);
    assert_eq!(sent(&house)["on_behalf_of"], "stranger");
    assert_eq!(house.call(&token).0, 200);
    assert_eq!(sent(&house)["on_behalf_of"], "shop");
    let written = [house.gateway.stdout(), house.gateway.stderr()].concat().join("\n");
    let (_, signature) = token.rsplit_once('.').unwrap();
    assert!(!written.contains(signature) && !written.contains("gateway-secret"), "{written}");
}

#[test]
fn a_token_of_the_caller_that_is_refused_concerns_nobody_else_and_nothing_is_sent() {
    let Some(provider) = Provider::start() else { return };
    let stranger = SHOP.replace("shop", "stranger");
    let house = house(&provider, &provider.jwt(CLAIMS), &[SHOP, &stranger]);
    provider.control("/set", &json!({ "refuses": "stranger" }));
    let refused = provider.issue("stranger");
    let before = provider.count("/token");
    for _ in 0..5 {
        assert_eq!(house.call(&refused), (502, "ConnectFailed".to_owned()));
    }
    assert_eq!(provider.count("/token") - before, 1, "the refusal is kept for a while");
    assert!(house.origin.take().is_empty(), "nothing was sent");
    let answer = house.client().get("/orders", &[("authorization", &format!("Bearer {refused}"))]);
    let record = house.gateway.wait_for_record(answer.header("x-request-id").unwrap());
    assert_eq!(
        record["detail"],
        "no token for the upstream: the token endpoint refused the exchange: invalid_request"
    );
    assert_eq!(house.call(&provider.issue("shop")).0, 200);
}

#[test]
fn who_was_known_in_another_way_than_by_a_token_is_refused() {
    let Some(provider) = Provider::start() else { return };
    let methods = format!("{}, {{ type: Anonymous }}", provider.jwt(CLAIMS));
    let house = house(&provider, &methods, &[SHOP]);
    let answer = house.client().get("/orders", &[]);
    assert_eq!((answer.status.as_u16(), answer.json()["code"].as_str()), (403, Some("NotAllowed")));
    assert!(house.origin.take().is_empty());
    // What stands in a header and was not judged is never exchanged.
    assert_eq!(house.call_with(&[("x-token", "a.b.c")]), (403, "NotAllowed".to_owned()));
    assert_eq!(house.call("a.b.c"), (401, "CredentialInvalid".to_owned()));
    assert_eq!(house.call(&provider.issue("shop")).0, 200);
}

#[test]
fn a_token_is_exchanged_anew_when_it_ends_and_a_failing_endpoint_is_left_alone() {
    let Some(provider) = Provider::start() else { return };
    provider.control("/set", &json!({ "accessTokenTTL": 600 }));
    let token = provider.issue("shop");
    let other = provider.issue("shop");
    provider.control("/set", &json!({ "accessTokenTTL": 2 }));
    let house = house(&provider, &provider.jwt(CLAIMS), &[SHOP]);
    let before = provider.count("/token");
    assert_eq!(house.call(&token).0, 200);
    thread::sleep(Duration::from_millis(2_100));
    assert_eq!(house.call(&token).0, 200);
    assert_eq!(provider.count("/token") - before, 2, "a new one after its end");
    house.origin.take();
    provider.control("/set", &json!({ "down": true }));
    thread::sleep(Duration::from_millis(2_100));
    let before = provider.count("/token");
    for token in [&token, &other, &token, &other] {
        assert_eq!(house.call(token), (502, "ConnectFailed".to_owned()));
    }
    assert!(provider.count("/token") - before <= 2, "it is left alone, whoever asks");
    assert!(house.origin.take().is_empty());
    provider.control("/set", &json!({ "down": false }));
    thread::sleep(Duration::from_millis(2_100));
    assert_eq!(house.call(&token).0, 200);
}

#[test]
fn a_token_is_exchanged_ahead_of_its_end_beside_a_request_that_goes_on_with_the_old_one() {
    let Some(provider) = Provider::start() else { return };
    let token = provider.issue("shop");
    provider.control("/set", &json!({ "accessTokenTTL": 15 }));
    let house = house(&provider, &provider.jwt(CLAIMS), &[SHOP]);
    let before = provider.count("/token");
    let sent = || {
        assert_eq!(house.call(&token).0, 200);
        house.origin.take().pop().unwrap().header("authorization").unwrap().to_owned()
    };
    let first = sent();
    assert_eq!((sent(), provider.count("/token") - before), (first.clone(), 1));
    // In the last fifth of its time.
    thread::sleep(Duration::from_millis(12_500));
    assert_eq!(sent(), first, "nobody waits");
    thread::sleep(Duration::from_millis(800));
    assert_eq!(provider.count("/token") - before, 2, "renewed before its end");
    assert_ne!(sent(), first);
}
