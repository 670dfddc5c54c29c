//! Tokens that the provider is asked about.

use std::{thread, time::Duration};

use bartizan_e2e::openid::{AUDIENCE, Provider};
use serde_json::json;

use crate::house::{House, SHOP};

fn method(provider: &Provider, more: &str) -> String {
    format!(
        "{{ type: Introspection, introspection: {{ url: \"{}/token/introspection\", clientId: gateway, \
         clientSecretRef: \"env://GATEWAY_SECRET\", audiences: [\"{AUDIENCE}\"], fetch: {}, \
         issuer: \"{}\", {more} }} }}",
        provider.issuer,
        provider.fetch(),
        provider.issuer
    )
}

const CLAIMS: &str = "claims: { consumer: client_id, unknownConsumer: Allow, roles: scope }, cacheFor: 1s";

#[test]
fn an_opaque_token_is_asked_about_once_and_ends_when_it_is_revoked() {
    let Some(provider) = Provider::start() else { return };
    let house = House::of(&method(&provider, CLAIMS), &[]);
    let token = provider.issue("opaque-shop");
    assert_eq!(house.call(&token), (200, String::new()));
    let received = house.origin.take_one();
    assert_eq!(received.header("x-consumer-name"), Some("opaque-shop"));
    assert_eq!(received.header("x-consumer-roles"), Some("read,write"));
    assert_eq!(received.header("authorization"), None);
    for _ in 0..10 {
        assert_eq!(house.call(&token).0, 200);
    }
    let asked = provider.count("/token/introspection");
    assert!(asked <= 3, "{asked} questions for 11 calls within a second or two");

    provider.control("/revoke", &json!({ "client": "opaque-shop", "token": token }));
    thread::sleep(Duration::from_millis(1_100));
    assert_eq!(house.call(&token), (401, "CredentialInvalid".to_owned()));
    assert_eq!(house.call("never-issued"), (401, "CredentialInvalid".to_owned()));
    let before = provider.count("/token/introspection");
    for _ in 0..10 {
        assert_eq!(house.call("never-issued").0, 401);
    }
    assert!(provider.count("/token/introspection") - before <= 1, "what is not active is kept shortly");
}

#[test]
fn a_token_for_somebody_else_is_none_for_us() {
    let Some(provider) = Provider::start() else { return };
    let house = House::of(&method(&provider, CLAIMS), &[]);
    let body = json!({ "client": "opaque-shop", "resource": "https://other.example" });
    let token = provider.control("/issue", &body)["access_token"].as_str().unwrap().to_owned();
    assert_eq!(house.call(&token), (401, "CredentialInvalid".to_owned()));
}

#[test]
fn an_issuer_that_does_not_answer_is_a_fault_and_never_a_yes() {
    let Some(provider) = Provider::start() else { return };
    let house = House::of(&method(&provider, CLAIMS), &[]);
    let (known, fresh) = (provider.issue("opaque-shop"), provider.issue("opaque-shop"));
    assert_eq!(house.call(&known).0, 200);
    provider.control("/set", &json!({ "down": true }));
    let unavailable = (503, "JudgeUnavailable".to_owned());
    assert_eq!(house.call(&fresh), unavailable);
    thread::sleep(Duration::from_millis(1_100));
    assert_eq!(house.call(&known), unavailable, "what was said is kept for a second");
    provider.control("/set", &json!({ "down": false }));
    thread::sleep(Duration::from_millis(1_100));
    assert_eq!(house.call(&fresh).0, 200);
}

#[test]
fn signed_tokens_and_opaque_ones_share_a_place() {
    let Some(provider) = Provider::start() else { return };
    let methods =
        format!("{}, {}", provider.jwt("claims: { consumer: client_id }"), method(&provider, CLAIMS));
    let house = House::of(&methods, &[SHOP]);
    assert_eq!(house.call(&provider.issue("shop")).0, 200);
    assert_eq!(house.call(&provider.issue("opaque-shop")).0, 200);
    let before = provider.count("/token/introspection");
    // A signed token that does not hold is refused, and nobody is asked about it.
    assert_eq!(house.call(&provider.mint(&json!({ "by": "other" }))).0, 401);
    assert_eq!(provider.count("/token/introspection"), before);
}
