//! What a good token is worth: consumer, roles, tags, conditions; and where it ends.

use bartizan_e2e::openid::Provider;
use serde_json::json;

use crate::house::{House, SHOP};

const CLAIMS: &str = "claims: { consumer: client_id, roles: scope, tags: [{ name: who, claim: sub }] }";

#[test]
fn a_token_of_the_provider_is_a_consumer_with_its_roles() {
    let Some(provider) = Provider::start() else { return };
    let house = House::of(&provider.jwt(CLAIMS), &[SHOP]);
    let token = provider.issue("shop");
    assert_eq!(house.call(&token), (200, String::new()));
    let received = house.origin.take_one();
    assert_eq!(received.header("x-consumer-name"), Some("shop"));
    assert_eq!(received.header("x-consumer-roles"), Some("buyer,read,write"));
    assert_eq!(received.header("authorization"), None, "a token ends at the gateway");

    let record = house.gateway.wait_for_record(received.header("x-request-id").unwrap());
    assert_eq!(
        (&record["identified_by"], &record["issuer"], &record["subject"], &record["consumer"]),
        (&json!("jwt"), &json!(provider.issuer), &json!("shop"), &json!("shop"))
    );

    // A token of a client that no document knows.
    assert_eq!(house.call(&provider.issue("stranger")), (401, "CredentialInvalid".to_owned()));
    // Another token of the same client is the same caller.
    assert_eq!(house.call(&provider.issue("shop")).0, 200);
    // Nothing of a token is written anywhere.
    let (_, signature) = token.rsplit_once('.').unwrap();
    let written = [house.gateway.stdout(), house.gateway.stderr()].concat().join("\n");
    assert!(!written.contains(signature) && !written.contains(&token[..40]), "{written}");
}

#[test]
fn a_caller_without_a_valid_token_is_told_what_rfc_6750_says() {
    let Some(provider) = Provider::start() else { return };
    let challenge = "challenge: { realm: orders, scope: \"read write\" }";
    let house = House::of(&provider.jwt(&format!("{CLAIMS}, {challenge}")), &[SHOP]);
    let answer = house.client().get("/orders", &[]);
    assert_eq!((answer.status.as_u16(), answer.json()["code"].as_str()), (401, Some("CredentialMissing")));
    assert_eq!(answer.header("www-authenticate"), Some("Bearer realm=\"orders\", scope=\"read write\""));
    let answer = house.client().get("/orders", &[("authorization", "Bearer a.b.c")]);
    assert_eq!((answer.status.as_u16(), answer.json()["code"].as_str()), (401, Some("CredentialInvalid")));
    assert_eq!(
        answer.header("www-authenticate"),
        Some("Bearer realm=\"orders\", error=\"invalid_token\", scope=\"read write\"")
    );
}

#[test]
fn a_resource_tells_where_its_tokens_come_from() {
    let Some(provider) = Provider::start() else { return };
    let challenge = "challenge: { scope: \"read write\", resourceMetadata: true }";
    let house = House::of(&provider.jwt(&format!("{CLAIMS}, {challenge}")), &[SHOP]);
    let client = house.client();
    let host = house.gateway.address("web");
    let answer = client.get("/orders/7?a=b", &[]);
    let address = format!("http://{host}/.well-known/oauth-protected-resource/orders/7");
    assert_eq!(
        answer.header("www-authenticate"),
        Some(&*format!("Bearer scope=\"read write\", resource_metadata=\"{address}\""))
    );
    let answer = client.get("/.well-known/oauth-protected-resource/orders/7", &[]);
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.json(),
        json!({
            "resource": format!("http://{host}/orders/7"),
            "authorization_servers": [provider.issuer],
            "bearer_methods_supported": ["header"],
            "scopes_supported": ["read", "write"],
        })
    );
    for path in ["/.well-known/oauth-protected-resource", "/.well-known/oauth-protected-resourceful/orders"] {
        assert_eq!(client.get(path, &[]).status, 404, "{path}");
    }
    assert_eq!(house.origin.received().len(), 0);
}

#[test]
fn a_consumer_without_a_document_may_be_let_in_by_name() {
    let Some(provider) = Provider::start() else { return };
    let claims = "claims: { consumer: client_id, unknownConsumer: Allow, roles: scope }, forward: true";
    let house = House::of(&provider.jwt(claims), &[]);
    let token = provider.issue("stranger");
    assert_eq!(house.call(&token).0, 200);
    let received = house.origin.take_one();
    assert_eq!(received.header("x-consumer-name"), Some("stranger"));
    assert_eq!(received.header("x-consumer-roles"), Some("read,write"));
    assert_eq!(received.header("authorization"), Some(&*format!("Bearer {token}")));
}

#[test]
fn conditions_see_subject_roles_tags_and_claims() {
    let Some(provider) = Provider::start() else { return };
    let rules = |condition: &str| {
        format!(
            "apiVersion: management.v1\nkind: AuthorizationPolicy\nmetadata: {{ name: who }}\n\
             spec: {{ rules: [{{ when: \"{condition}\" }}] }}\n"
        )
    };
    let token = provider.mint(&json!({ "payload": { "groups": ["buyers"], "department": "sales" } }));
    for (condition, status) in [
        ("identity.sub == 'ada' && identity.consumer == 'shop'", 200),
        ("identity.method == 'jwt' && 'read' in identity.roles && 'buyer' in identity.roles", 200),
        ("'who=ada' in identity.tags", 200),
        ("only(identity.claims.department) == 'sales'", 200),
        ("identity.claims.groups.exists(group, group == 'buyers')", 200),
        ("only(identity.claims.department) == 'billing'", 403),
        ("only(identity.claims.absent) == 'x'", 503),
        ("identity.sub == 'shop'", 403),
    ] {
        let house = House::of(&provider.jwt(CLAIMS), &[SHOP, &rules(condition)]);
        assert_eq!(house.call(&token).0, status, "{condition}");
    }
}

#[test]
fn a_cookie_or_a_header_of_its_own_may_carry_the_token_and_does_not_go_on() {
    let Some(provider) = Provider::start() else { return };
    let from = "from: [{ cookie: token }, { header: x-token }, { header: authorization }]";
    let house = House::of(&provider.jwt(&format!("{CLAIMS}, {from}")), &[SHOP]);
    let token = provider.issue("shop");
    assert_eq!(house.call_with(&[("cookie", &format!("a=b; token={token}; c=d"))]).0, 200);
    let received = house.origin.take_one();
    assert_eq!(received.header("cookie"), Some("a=b; c=d"));
    assert_eq!(house.call_with(&[("x-token", &token)]).0, 200);
    assert_eq!(house.origin.take_one().header("x-token"), None);
    // Another scheme is the upstream's business, once a token is there.
    assert_eq!(house.call_with(&[("x-token", &token), ("authorization", "Basic YTpi")]).0, 200);
    assert_eq!(house.origin.take_one().header("authorization"), Some("Basic YTpi"));
    let both = house.call_with(&[("x-token", &token), ("authorization", &format!("Bearer {token}"))]);
    assert_eq!(both, (401, "CredentialInvalid".to_owned()));
}

#[test]
fn a_shared_secret_signs_for_its_issuer_alone() {
    let Some(provider) = Provider::start() else { return };
    let shared = "{ type: Jwt, jwt: { issuer: \"https://partner.example\", audiences: [\"https://api.example.com\"], \
                  algorithms: [HS256], keys: { secretRef: \"env://TOKEN_SECRET\" }, claims: { fixedConsumer: shop } } }";
    let house = House::of(&format!("{}, {shared}", provider.jwt(CLAIMS)), &[SHOP]);
    let secret = "a secret of thirty-two characters";
    let of = |issuer: &str| {
        let header = json!({ "alg": "HS256", "kid": null });
        provider.mint(
            &json!({ "header": header, "payload": { "iss": issuer }, "by": "secret", "secret": secret }),
        )
    };
    assert_eq!(house.call(&of("https://partner.example")).0, 200);
    assert_eq!(house.call(&of(&provider.issuer)), (401, "CredentialInvalid".to_owned()));
    assert_eq!(house.call(&provider.issue("shop")).0, 200, "two issuers at one place");
}
