//! Attack case 51: what must not be taken for a token, and what a token must not be able to ask for.

use std::net::TcpListener;

use bartizan_e2e::openid::{AUDIENCE, Provider};
use serde_json::{Value, json};

use crate::house::{House, SHOP};

const CLAIMS: &str = "claims: { consumer: client_id }";

#[test]
fn a_token_that_does_not_hold_is_refused_whatever_it_says() {
    let Some(provider) = Provider::start() else { return };
    let house = House::of(&format!("{}, {{ type: Anonymous }}", provider.jwt(CLAIMS)), &[SHOP]);
    // Whoever believed a token about where its key is would ask here.
    let trap = TcpListener::bind("127.0.0.1:0").unwrap();
    trap.set_nonblocking(true).unwrap();
    let there = format!("https://{}/keys", trap.local_addr().unwrap());
    let own = provider.control("/mint", &json!({}))["jwk"].clone();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let invalid = |wanted: Value| (wanted, 401, "CredentialInvalid");
    let cases = [
        (json!({}), 200, ""),
        (json!({ "payload": { "exp": now - 30 } }), 200, ""),
        (json!({ "payload": { "aud": ["x", AUDIENCE] } }), 200, ""),
        (json!({ "payload": { "exp": now - 61 } }), 401, "CredentialExpired"),
        invalid(json!({ "payload": { "exp": null } })),
        invalid(json!({ "payload": { "exp": "never" } })),
        invalid(json!({ "payload": { "nbf": now + 120 } })),
        invalid(json!({ "payload": { "iat": now + 120 } })),
        invalid(json!({ "payload": { "aud": "https://other.example" } })),
        invalid(json!({ "payload": { "aud": [] } })),
        invalid(json!({ "payload": { "aud": null } })),
        invalid(json!({ "payload": { "iss": "https://other.example" } })),
        invalid(json!({ "payload": { "iss": format!("{}/", provider.issuer) } })),
        invalid(json!({ "payload": { "iss": null } })),
        invalid(json!({ "payload": { "client_id": null } })),
        invalid(json!({ "payload": { "client_id": ["shop"] } })),
        invalid(json!({ "by": "other" })),
        invalid(json!({ "by": "nobody" })),
        invalid(json!({ "header": { "alg": "none" }, "by": "nobody" })),
        invalid(json!({ "header": { "alg": "None", "kid": null }, "by": "nobody" })),
        invalid(json!({ "header": { "alg": "HS256" }, "by": "publicKey" })),
        invalid(json!({ "header": { "alg": "HS256", "kid": null }, "by": "publicKey" })),
        invalid(json!({ "header": { "alg": "RS512" } })),
        invalid(json!({ "header": { "alg": "PS256" } })),
        invalid(json!({ "header": { "alg": null } })),
        invalid(json!({ "header": { "kid": "../../../../dev/null" } })),
        invalid(json!({ "header": { "kid": "key-1' OR '1'='1" } })),
        invalid(json!({ "header": { "kid": "key-1\u{0}" } })),
        invalid(json!({ "header": { "kid": "other", "jku": there }, "by": "other" })),
        invalid(json!({ "header": { "kid": null, "x5u": there }, "by": "other" })),
        invalid(json!({ "header": { "kid": null, "jwk": own }, "by": "other" })),
        invalid(json!({ "header": { "crit": ["exp"] } })),
        invalid(json!({ "header": { "b64": false } })),
        invalid(json!({ "header": { "zip": "DEF" } })),
        invalid(json!({ "header": { "typ": "logout+jwt" } })),
        invalid(json!({ "payload": { "fill": "x".repeat(12 * 1024) } })),
    ];
    for (wanted, status, code) in cases {
        let answer = house.call(&provider.mint(&wanted));
        let mut shown = wanted.to_string();
        shown.truncate(120);
        assert_eq!(answer, (status, code.to_owned()), "{shown}");
    }
    assert!(trap.accept().is_err(), "an address that stands in a token was asked");
}

#[test]
fn what_has_not_the_form_of_one_token_is_refused_and_not_passed_by() {
    let Some(provider) = Provider::start() else { return };
    let house = House::of(&format!("{}, {{ type: Anonymous }}", provider.jwt(CLAIMS)), &[SHOP]);
    let token = provider.issue("shop");
    let [head, body, signature] = token.split('.').collect::<Vec<_>>()[..] else { panic!("{token}") };
    let invalid = (401, "CredentialInvalid".to_owned());
    for value in [
        "Bearer".to_owned(),
        "Bearer ".to_owned(),
        format!("Bearer {head}.{body}"),
        format!("Bearer {head}.{body}."),
        format!("Bearer {head}.{body}.{signature}."),
        format!("Bearer {head}.{body}.{signature}="),
        format!("Bearer {head}.{body}.{signature}A"),
        format!("Bearer {token} {token}"),
        format!("Bearer {token}, Bearer {token}"),
        format!("Bearer {token},"),
        format!("Bearer {head}.{body}.{signature}.a.b"),
        format!("Bearer {{\"payload\":\"{body}\",\"signatures\":[]}}"),
    ] {
        assert_eq!(house.call_with(&[("authorization", &value)]), invalid, "{value}");
    }
    let bearer = format!("Bearer {token}");
    for value in [&bearer, &format!("bearer {token}"), &format!("BEARER  {token}")] {
        assert_eq!(house.call_with(&[("authorization", value)]).0, 200, "{value}");
    }
    // Two fields: our reading of the head refuses them before anybody judges a token.
    let (status, _) = house.call_with(&[("authorization", &bearer), ("authorization", &bearer)]);
    assert!(matches!(status, 400 | 401), "{status}");
    // Nobody is somebody only without any token.
    assert_eq!(house.call_with(&[]).0, 200);
    // A token in the address is no token.
    let answer = house.client().get(&format!("/orders?access_token={token}"), &[]);
    assert_eq!(answer.status, 200);
    assert_eq!(house.origin.received().last().unwrap().header("x-consumer-name"), None);
}
