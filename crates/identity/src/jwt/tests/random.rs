//! Arbitrary and mutated tokens: never a panic, never a yes.

use std::sync::LazyLock;

use proptest::prelude::{ProptestConfig, any, prop, prop_assert, proptest};
use serde_json::json;

use super::support::*;
use crate::{
    base64url::encode,
    jwk::{KeySet, Origin},
    jwt::{TokenJudge, bearer},
};

static JUDGE: LazyLock<TokenJudge> = LazyLock::new(|| judge(|_| {}));
static SHELF: LazyLock<Shelf> = LazyLock::new(Shelf::full);
static HONEST: LazyLock<String> = LazyLock::new(|| good(json!({"roles": ["a"], "n": 1.5})));

fn is_valid(token: &[u8]) -> bool {
    decided(JUDGE.judge(token, &SHELF.sources(), NOW)).is_ok()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_are_no_token(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(!is_valid(&bytes));
        let _ = bearer([&*bytes]);
        let _ = KeySet::parse(&bytes, Origin::Published);
    }

    #[test]
    fn arbitrary_parts_are_no_token(header in ".{0,80}", claims in ".{0,80}", signature in any::<[u8; 64]>()) {
        let text = format!("{}.{}.{}", encode(header.as_bytes()), encode(claims.as_bytes()), encode(&signature));
        prop_assert!(!is_valid(text.as_bytes()));
    }

    #[test]
    fn a_changed_byte_makes_a_token_invalid(at in any::<prop::sample::Index>(), change in 1u8..) {
        let mut token = HONEST.clone().into_bytes();
        let at = at.index(token.len());
        token[at] ^= change;
        prop_assert!(!is_valid(&token), "byte {at} by {change}");
    }

    #[test]
    fn a_cut_or_grown_token_is_invalid(at in any::<prop::sample::Index>(), extra in prop::collection::vec(any::<u8>(), 1..4)) {
        let token = HONEST.as_bytes();
        let at = at.index(token.len());
        prop_assert!(!is_valid(&token[..at]));
        prop_assert!(!is_valid(&token[at + 1..]));
        let grown = [&token[..at], &extra, &token[at..]].concat();
        prop_assert!(!is_valid(&grown));
    }

    #[test]
    fn arbitrary_dates_and_values_never_panic(
        exp in any::<f64>(), nbf in any::<i64>(), iat in any::<u64>(), aud in ".{0,20}", now in any::<u64>()
    ) {
        let exp = if exp.is_finite() { json!(exp) } else { json!(0) };
        let token = good(json!({"exp": exp, "nbf": nbf, "iat": iat, "aud": [aud, "api"]}));
        let _ = JUDGE.judge(token.as_bytes(), &SHELF.sources(), now);
    }

    #[test]
    fn arbitrary_keys_never_panic(kty in "RSA|EC|OKP|oct|.{0,4}", crv in "P-256|P-521|Ed25519|.{0,4}", one in prop::collection::vec(any::<u8>(), 0..300), other in prop::collection::vec(any::<u8>(), 0..70)) {
        let (one, other) = (encode(&one), encode(&other));
        let jwk = json!({"kty": kty, "crv": crv, "n": one, "e": other, "x": other, "y": other, "k": one});
        let _ = KeySet::parse(jwk.to_string().as_bytes(), Origin::Given);
    }
}
