//! What an issuer's policy demands and maps.

use std::cell::{Cell, RefCell};

use serde_json::json;

use super::support::*;
use crate::jwt::{ClaimPath, ConsumerRule, Revocations, Sources, TokenCache, TokenFlaw, TokenRef};

fn path(text: &str) -> ClaimPath {
    ClaimPath::parse(text).unwrap()
}

#[test]
fn what_an_issuer_demands_is_demanded() {
    let judge = judge(|spec| {
        spec.required = vec![path("sub"), path("/org/id")];
        spec.types = vec!["at+jwt".into()];
        spec.allow_untyped = false;
        spec.require_kid = true;
    });
    let org = || claims(json!({"org": {"id": 7}}));
    let header = r#"{"alg":"ES256","kid":"ec","typ":"at+jwt"}"#;
    for (name, header, claims, expected) in [
        ("all", header, org(), None),
        ("no type", r#"{"alg":"ES256","kid":"ec"}"#, org(), Some(TokenFlaw::Type)),
        ("another type", r#"{"alg":"ES256","kid":"ec","typ":"JWT"}"#, org(), Some(TokenFlaw::Type)),
        ("no kid", r#"{"alg":"ES256","typ":"at+jwt"}"#, org(), Some(TokenFlaw::KeyUnknown)),
        ("no claim", header, claims(json!({})), Some(TokenFlaw::ClaimMissing)),
        ("half a claim", header, claims(json!({"org": {}})), Some(TokenFlaw::ClaimMissing)),
        ("no subject", header, claims(json!({"org": {"id": 7}, "sub": null})), Some(TokenFlaw::ClaimMissing)),
    ] {
        assert_eq!(flaw(&judge, token(&EC, header, &claims)), expected, "{name}");
    }
    let null = org().replace("\"id\":7", "\"id\":null");
    assert_eq!(flaw(&judge, token(&EC, header, &null)), Some(TokenFlaw::ClaimMissing));
}

#[test]
fn claims_become_consumer_roles_and_tags() {
    let judge = judge(|spec| {
        spec.consumer = Some(ConsumerRule::Claim(path("azp")));
        spec.roles = Some(path("/realm_access/roles"));
        spec.tags =
            vec![("tenant".into(), path("https://example.com/tenant")), ("level".into(), path("acr"))];
    });
    let say = |changes| judged(&judge, good(changes));
    let identity = say(json!({
        "azp": "shop", "realm_access": {"roles": ["reader", "a b"]}, "https://example.com/tenant": "t1", "acr": 2
    }));
    let identity = identity.unwrap();
    assert_eq!(identity.consumer().map(|name| &**name), Some("shop"));
    assert_eq!(identity.roles().iter().map(|role| &**role).collect::<Vec<_>>(), ["reader", "a b"]);
    let tags: Vec<_> = identity.tags().iter().map(|(name, value)| (&**name, &**value)).collect();
    assert_eq!(tags, [("tenant", "t1"), ("level", "2")]);
    assert_eq!(identity.until_unix_ms(), NOW + 660_000);

    let words = say(json!({"azp": "shop", "realm_access": {"roles": " reader  writer "}})).unwrap();
    assert_eq!(words.roles().iter().map(|role| &**role).collect::<Vec<_>>(), ["reader", "writer"]);
    assert!(say(json!({"azp": "shop"})).unwrap().roles().is_empty());

    for (changes, expected) in [
        (json!({}), TokenFlaw::ClaimMissing),
        (json!({"azp": ""}), TokenFlaw::ClaimKind),
        (json!({"azp": 7}), TokenFlaw::ClaimKind),
        (json!({"azp": "x".repeat(257)}), TokenFlaw::ClaimKind),
        (json!({"azp": "shop", "realm_access": {"roles": [1]}}), TokenFlaw::ClaimKind),
        (json!({"azp": "shop", "realm_access": {"roles": {"admin": true}}}), TokenFlaw::ClaimKind),
        (json!({"azp": "shop", "acr": ["2"]}), TokenFlaw::ClaimKind),
    ] {
        assert_eq!(say(changes.clone()), Err(expected), "{changes}");
    }
}

/// Withdrawn tokens as a test wants them.
#[derive(Default)]
struct Withdrawn {
    jtis: RefCell<Vec<&'static str>>,
    generation: Cell<u64>,
}

impl Withdrawn {
    fn withdraw(&self, jti: &'static str) {
        self.jtis.borrow_mut().push(jti);
        self.generation.set(self.generation.get() + 1);
    }
}

impl Revocations for Withdrawn {
    fn generation(&self) -> u64 {
        self.generation.get()
    }

    fn is_revoked(&self, token: &TokenRef<'_>) -> bool {
        assert_eq!(token.issuer, ISSUER);
        token.jti.is_some_and(|jti| self.jtis.borrow().contains(&jti))
    }
}

#[test]
fn a_withdrawn_token_is_refused_at_once_also_from_the_cache() {
    let judge = judge(|spec| spec.revocable = true);
    let shelf = Shelf::full();
    let withdrawn = Withdrawn::default();
    let sources = Sources { keys: &shelf, revocations: &withdrawn };
    let mut cache = TokenCache::new(64);
    let mut say =
        |token: &str| decided(judge.judge_cached(token.as_bytes(), &sources, &mut cache, NOW)).err();
    let (one, other) = (good(json!({"jti": "1"})), good(json!({"jti": "2"})));
    assert_eq!([say(&one), say(&other)], [None, None]);
    withdrawn.withdraw("1");
    assert_eq!([say(&one), say(&other)], [Some(TokenFlaw::Revoked), None]);
    assert_eq!(say(&good(json!({}))), Some(TokenFlaw::ClaimMissing), "what has no name cannot be withdrawn");
}
