//! What a genuine token must say, and when.

use serde_json::json;

use super::support::*;
use crate::jwt::TokenFlaw::{
    self, Audience, ClaimKind, ClaimMissing, Duplicate, Expired, Issuer, Malformed, NotYetValid, TooOld,
};

const S: u64 = NOW / 1000;

#[test]
fn a_claim_that_must_be_there_is_there_and_of_its_kind() {
    let judge = judge(|_| {});
    for (changes, expected) in [
        (json!({}), None),
        // RFC 7519 §4.1.1.
        (json!({"iss": null}), Some(Issuer)),
        (json!({"iss": "https://id.example/"}), Some(Issuer)),
        (json!({"iss": "HTTPS://ID.EXAMPLE"}), Some(Issuer)),
        (json!({"iss": [ISSUER]}), Some(Issuer)),
        (json!({"iss": 7}), Some(Issuer)),
        // §4.1.3.
        (json!({"aud": null}), Some(ClaimMissing)),
        (json!({"aud": "api"}), None),
        (json!({"aud": "API"}), Some(Audience)),
        (json!({"aud": "api "}), Some(Audience)),
        (json!({"aud": "apis"}), Some(Audience)),
        (json!({"aud": "\u{0430}pi"}), Some(Audience)),
        (json!({"aud": ""}), Some(Audience)),
        (json!({"aud": []}), Some(Audience)),
        (json!({"aud": ["x", "y"]}), Some(Audience)),
        (json!({"aud": ["x", "other"]}), None),
        (json!({"aud": ["api", 7]}), Some(ClaimKind)),
        (json!({"aud": [["api"]]}), Some(ClaimKind)),
        (json!({"aud": {"api": true}}), Some(ClaimKind)),
        (json!({"aud": true}), Some(ClaimKind)),
        // §4.1.2, §4.1.7: strings where they are there.
        (json!({"sub": null}), None),
        (json!({"sub": 7}), Some(ClaimKind)),
        (json!({"jti": "7"}), None),
        (json!({"jti": 7}), Some(ClaimKind)),
    ] {
        assert_eq!(flaw(&judge, good(changes.clone())), expected, "{changes}");
    }
}

#[test]
fn a_date_is_judged_to_the_millisecond_and_with_the_leeway() {
    let judge = judge(|_| {});
    for (changes, expected) in [
        (json!({"exp": null}), Some(ClaimMissing)),
        (json!({"exp": S + 1}), None),
        (json!({"exp": S - 59}), None),
        (json!({"exp": S - 60}), Some(Expired)),
        (json!({"exp": S as f64 - 59.999}), None),
        (json!({"exp": S as f64 - 60.001}), Some(Expired)),
        (json!({"exp": 0}), Some(Expired)),
        (json!({"exp": -1}), Some(Expired)),
        (json!({"exp": i64::MIN}), Some(Expired)),
        (json!({"exp": -1e300}), Some(Expired)),
        (json!({"exp": 253_402_300_799u64}), None),
        (json!({"exp": i64::MAX}), Some(ClaimKind)),
        (json!({"exp": u64::MAX}), Some(ClaimKind)),
        (json!({"exp": 1e300}), Some(ClaimKind)),
        (json!({"exp": NOW}), Some(ClaimKind)),
        (json!({"exp": (S + 600).to_string()}), Some(ClaimKind)),
        (json!({"exp": [S + 600]}), Some(ClaimKind)),
        (json!({"exp": false}), Some(ClaimKind)),
        (json!({"nbf": S + 60}), None),
        (json!({"nbf": S + 61}), Some(NotYetValid)),
        (json!({"nbf": 0}), None),
        (json!({"nbf": -62_135_596_800i64}), None),
        (json!({"nbf": 1e300}), Some(ClaimKind)),
        (json!({"nbf": "0"}), Some(ClaimKind)),
        (json!({"iat": S + 60}), None),
        (json!({"iat": S + 61}), Some(NotYetValid)),
        (json!({"iat": i64::MIN}), None),
        (json!({"iat": {}}), Some(ClaimKind)),
    ] {
        assert_eq!(flaw(&judge, good(changes.clone())), expected, "{changes}");
    }
}

#[test]
fn a_claim_twice_is_refused_whichever_is_meant() {
    let judge = judge(|_| {});
    let base = claims(json!({}));
    let base = &base[..base.len() - 1];
    for (extra, expected) in [
        (r#","x":1}"#.to_owned(), None),
        (r#","sub":"root"}"#.to_owned(), Some(Duplicate)),
        (r#","exp":9999999999}"#.to_owned(), Some(Duplicate)),
        (r#","\u0065xp":9999999999}"#.to_owned(), Some(Duplicate)),
        (r#","x":{"a":1,"a":2}}"#.to_owned(), Some(Duplicate)),
        (r#"} {}"#.to_owned(), Some(Malformed)),
        (r#","x":1e999}"#.to_owned(), Some(Malformed)),
    ] {
        let token = token(&EC, r#"{"alg":"ES256"}"#, &format!("{base}{extra}"));
        assert_eq!(flaw(&judge, token), expected, "{extra}");
    }
    let null = claims(json!({"exp": null})).replace("\"sub\":\"ada\"", "\"exp\":null");
    assert_eq!(flaw(&judge, token(&EC, r#"{"alg":"ES256"}"#, &null)), Some(ClaimKind));
}

#[test]
fn what_a_token_says_is_told_only_if_it_is_genuine() {
    let judge = judge(|_| {});
    let stranger = Signer::ec();
    for changes in [json!({"exp": 0}), json!({"aud": "x"}), json!({"nbf": S + 999}), json!({"exp": null})] {
        let forged = token(&stranger, r#"{"alg":"ES256","kid":"ec"}"#, &claims(changes.clone()));
        assert_eq!(flaw(&judge, forged), Some(TokenFlaw::Signature), "{changes}");
        let genuine = flaw(&judge, good(changes.clone())).unwrap();
        assert!(genuine.is_proven(), "{changes}");
    }
    assert!(!TokenFlaw::Signature.is_proven());
}

#[test]
fn a_token_may_not_be_older_than_its_issuer_allows() {
    let judge = judge(|spec| spec.age_max_ms = Some(300_000));
    for (changes, expected) in [
        (json!({}), Some(ClaimMissing)),
        (json!({"iat": S - 300}), None),
        (json!({"iat": S - 359}), None),
        (json!({"iat": S - 360}), Some(TooOld)),
        (json!({"iat": i64::MIN}), Some(TooOld)),
    ] {
        assert_eq!(flaw(&judge, good(changes.clone())), expected, "{changes}");
    }
}
