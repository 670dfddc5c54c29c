//! Keys that are not there yet or no longer, and what the cache makes of that.

use serde_json::json;

use super::support::*;
use crate::{
    claim::Claim,
    jwt::{KeyRing, Lookup, Outcome, TokenCache, TokenFlaw},
};

fn is_lookup(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Needs(Lookup::KeySet { issuer }) if **issuer == *ISSUER)
}

#[test]
fn keys_are_asked_for_only_by_a_token_that_could_hold() {
    let judge = judge(|_| {});
    let mut shelf = Shelf::default();
    let ask = |shelf: &Shelf, token: &str| judge.judge(token.as_bytes(), &shelf.sources(), NOW);
    let honest = good(json!({}));
    assert!(is_lookup(&ask(&shelf, &honest)));
    for (token, expected) in [
        (good(json!({"iss": "https://evil.example"})), TokenFlaw::Issuer),
        (token(&EC, r#"{"alg":"none"}"#, &claims(json!({}))), TokenFlaw::Algorithm),
        (token(&EC, r#"{"alg":"ES384"}"#, &claims(json!({}))), TokenFlaw::Algorithm),
        (token(&EC, r#"{"alg":"ES256","typ":"x"}"#, &claims(json!({}))), TokenFlaw::Type),
    ] {
        assert_eq!(decided(ask(&shelf, &token)).err(), Some(expected));
    }

    let unknown = token(&EC, r#"{"alg":"ES256","kid":"new"}"#, &claims(json!({})));
    shelf.0.insert(ISSUER, (published(), 1, true));
    assert!(is_lookup(&ask(&shelf, &unknown)), "an unknown key is asked for");
    assert!(decided(ask(&shelf, &honest)).is_ok(), "a known one is not");
    shelf.0.insert(ISSUER, (published(), 1, false));
    assert_eq!(decided(ask(&shelf, &unknown)).err(), Some(TokenFlaw::KeyUnknown));
    shelf.0.insert(ISSUER, (set(&[EC.jwk("new")]), 2, false));
    assert!(decided(ask(&shelf, &unknown)).is_ok());
}

#[test]
fn without_any_keys_nothing_is_decided() {
    let sources = crate::jwt::Sources { keys: &KeyRing::default(), revocations: &crate::jwt::NoRevocations };
    let outcome = judge(|_| {}).judge(good(json!({})).as_bytes(), &sources, NOW);
    assert!(matches!(outcome, Outcome::Faulted(_)), "{outcome:?}");
}

#[test]
fn a_remembered_token_counts_only_under_the_keys_it_was_verified_with() {
    let judge = judge(|_| {});
    let honest = good(json!({}));
    let mut cache = TokenCache::new(64);
    let mut shelf = Shelf::full();
    let mut say = |shelf: &Shelf, now| {
        decided(judge.judge_cached(honest.as_bytes(), &shelf.sources(), &mut cache, now)).err()
    };
    assert_eq!(say(&shelf, NOW), None);
    // The same keys under another generation; then other keys under the same names.
    shelf.0.insert(ISSUER, (published(), 2, false));
    assert_eq!(say(&shelf, NOW), None);
    shelf.0.insert(ISSUER, (set(&[Signer::ec().jwk("ec")]), 3, false));
    assert_eq!(say(&shelf, NOW), Some(TokenFlaw::Signature));
    shelf.0.insert(ISSUER, (published(), 4, false));
    assert_eq!(say(&shelf, NOW), None);
    // The cache never says yes after the token's own time.
    assert_eq!(say(&shelf, NOW + 659_999), None);
    assert_eq!(say(&shelf, NOW + 660_000), Some(TokenFlaw::Expired));
}

#[test]
fn a_remembered_token_needs_keys_too() {
    let judge = judge(|_| {});
    let honest = good(json!({}));
    let mut cache = TokenCache::new(64);
    assert!(
        decided(judge.judge_cached(honest.as_bytes(), &Shelf::full().sources(), &mut cache, NOW)).is_ok()
    );
    let outcome = judge.judge_cached(honest.as_bytes(), &Shelf::default().sources(), &mut cache, NOW);
    assert!(is_lookup(&outcome), "{outcome:?}");
}

#[test]
fn what_one_judge_let_pass_is_nothing_to_another() {
    let (lenient, strict) = (judge(|_| {}), judge(|spec| spec.audiences = vec!["other".into()]));
    let honest = good(json!({}));
    let shelf = Shelf::full();
    let mut cache = TokenCache::new(64);
    let mut say = |judge: &crate::jwt::TokenJudge| {
        decided(judge.judge_cached(honest.as_bytes(), &shelf.sources(), &mut cache, NOW)).err()
    };
    assert_eq!(say(&lenient), None);
    assert_eq!(say(&strict), Some(TokenFlaw::Audience));
    assert_eq!(say(&lenient), None);
}

#[test]
fn a_full_cache_forgets_and_still_judges_rightly() {
    let judge = judge(|_| {});
    let shelf = Shelf::full();
    let mut cache = TokenCache::new(8);
    let tokens: Vec<String> = (0..40).map(|n| good(json!({ "n": n }))).collect();
    for round in 0..2 {
        for token in &tokens {
            let outcome = judge.judge_cached(token.as_bytes(), &shelf.sources(), &mut cache, NOW);
            assert!(matches!(outcome, Outcome::Decided(Claim::Valid(_))), "{round}");
        }
    }
    assert_eq!(format!("{cache:?}"), "TokenCache { tokens: 8, .. }");
    cache.clear();
    assert_eq!(format!("{cache:?}"), "TokenCache { tokens: 0, .. }");
    let mut none = TokenCache::new(0);
    let outcome = judge.judge_cached(tokens[0].as_bytes(), &shelf.sources(), &mut none, NOW);
    assert!(matches!(outcome, Outcome::Decided(Claim::Valid(_))));
}

#[test]
fn an_invalid_token_is_judged_anew_each_time() {
    let judge = judge(|_| {});
    let shelf = Shelf::full();
    let mut cache = TokenCache::new(64);
    let early = good(json!({"nbf": NOW / 1000 + 100}));
    let mut say =
        |now| decided(judge.judge_cached(early.as_bytes(), &shelf.sources(), &mut cache, now)).err();
    assert_eq!(say(NOW), Some(TokenFlaw::NotYetValid));
    assert_eq!(say(NOW + 40_000), None);
    assert_eq!(say(NOW), Some(TokenFlaw::NotYetValid), "also when the clock is turned back");
}
