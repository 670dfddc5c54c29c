//! Tokens that were made to deceive (case 51 of the attack list), each beside the honest one.

use serde_json::json;

use super::support::*;
use crate::{
    base64url::encode,
    jwt::{IssuerSpec, TokenFlaw, TokenJudge},
};

#[test]
fn every_honest_signature_is_accepted() {
    let judge = judge(|_| {});
    for (signer, header) in [
        (&*EC, r#"{"alg":"ES256","kid":"ec"}"#),
        (&*EC, r#"{"alg":"ES256"}"#),
        (&*EC, r#"{"alg":"ES256","typ":"JWT"}"#),
        (&*EC, r#"{"alg":"ES256","typ":"application/at+jwt"}"#),
        (&*ED, r#"{"alg":"EdDSA","kid":"ed"}"#),
        (&*ED, r#"{"alg":"Ed25519","kid":"ed"}"#),
        (&*RSA, r#"{"alg":"RS256","kid":"rsa"}"#),
        (&*RSA, r#"{"alg":"PS256","kid":"rsa"}"#),
    ] {
        let identity = judged(&judge, token(signer, header, &claims(json!({})))).expect(header);
        assert_eq!(identity.subject(), Some("ada"));
    }
}

#[test]
fn a_token_made_to_deceive_is_refused() {
    let judge = judge(|_| {});
    let claims = claims(json!({}));
    let stranger = Signer::ec();
    let honest = good(json!({}));
    let (signed, _) = honest.rsplit_once('.').unwrap();
    let public = RSA.jwk("rsa").to_string().into_bytes();
    let modulus = crate::base64url::decode(RSA.jwk("rsa")["n"].as_str().unwrap().as_bytes()).unwrap();
    let with = |extra: &str| token(&stranger, &format!(r#"{{"alg":"ES256","kid":"ec"{extra}}}"#), &claims);
    let kid = |kid: &str| token(&EC, &json!({"alg": "ES256", "kid": kid}).to_string(), &claims);
    let none = |alg: &str| {
        format!("{}.{}.", encode(json!({ "alg": alg }).to_string().as_bytes()), encode(claims.as_bytes()))
    };
    let hs = |secret: Vec<u8>| token(&Signer::Hmac(secret), r#"{"alg":"HS256","kid":"rsa"}"#, &claims);
    use TokenFlaw::{
        Algorithm, Critical, Duplicate, Encrypted, KeyUnknown, Malformed, Signature, TooLarge, Type,
    };
    let table = [
        ("none", none("none"), Algorithm),
        ("none in capitals", none("NONE"), Algorithm),
        ("none with a signature", token(&EC, r#"{"alg":"none"}"#, &claims), Algorithm),
        ("signature taken off", format!("{signed}."), Signature),
        ("signature and dot taken off", signed.to_owned(), Malformed),
        ("signature of zeroes", format!("{signed}.{}", encode(&[0; 64])), Signature),
        ("HS with the public key as text", hs(public), Algorithm),
        ("HS with the modulus", hs(modulus), Algorithm),
        ("HS with nothing", hs(Vec::new()), Algorithm),
        ("RS named, EC signed", token(&EC, r#"{"alg":"RS256","kid":"rsa"}"#, &claims), Signature),
        ("the key of another type", token(&EC, r#"{"alg":"ES256","kid":"rsa"}"#, &claims), KeyUnknown),
        (
            "RS384, which the issuer may not",
            token(&RSA, r#"{"alg":"RS384","kid":"rsa"}"#, &claims),
            Algorithm,
        ),
        ("a stranger's key under our kid", with(""), Signature),
        ("a stranger's key sent along", with(&format!(r#","jwk":{}"#, stranger.jwk("ec"))), Signature),
        ("a stranger's key address", with(r#","jku":"https://evil.example/keys""#), Signature),
        (
            "a stranger's certificate address",
            with(r#","x5u":"https://evil.example/cert","x5c":["AA"]"#),
            Signature,
        ),
        ("kid as a path", kid("../../../../dev/null"), KeyUnknown),
        ("kid as SQL", kid("ec' UNION SELECT 'secret"), KeyUnknown),
        ("kid as a command", kid("ec|id"), KeyUnknown),
        ("kid with a zero byte", kid("ec\0"), KeyUnknown),
        ("kid that looks the same", kid("\u{0435}c"), KeyUnknown),
        ("kid empty", kid(""), KeyUnknown),
        ("kid in capitals", kid("EC"), KeyUnknown),
        ("crit unknown", token(&EC, r#"{"alg":"ES256","crit":["x"],"x":1}"#, &claims), Critical),
        ("unencoded payload", token(&EC, r#"{"alg":"ES256","crit":["b64"],"b64":false}"#, &claims), Critical),
        ("compressed", token(&EC, r#"{"alg":"ES256","zip":"DEF"}"#, &claims), Encrypted),
        ("encrypted", format!("{signed}.AA.AA.AA"), Encrypted),
        ("alg twice", token(&EC, r#"{"alg":"none","alg":"ES256"}"#, &claims), Duplicate),
        ("another typ", token(&EC, r#"{"alg":"ES256","typ":"logout+jwt"}"#, &claims), Type),
        ("a typ that looks the same", token(&EC, r#"{"alg":"ES256","typ":"JWT "}"#, &claims), Type),
        ("two tokens", format!("{honest},{honest}"), Encrypted),
        ("scheme within", format!("Bearer {honest}"), Malformed),
        ("white space behind", format!("{honest}\n"), Malformed),
        ("padding", format!("{honest}=="), Malformed),
        ("a megabyte", "A".repeat(1 << 20), TooLarge),
        ("a megabyte behind", format!("{honest}{}", "A".repeat(1 << 20)), TooLarge),
        (
            "a long header",
            token(&EC, &json!({"alg":"ES256","x":"x".repeat(2000)}).to_string(), &claims),
            TooLarge,
        ),
        ("nothing", String::new(), Malformed),
        ("dots", "..".to_owned(), Malformed),
        ("claims as a list", token(&EC, r#"{"alg":"ES256"}"#, "[]"), Malformed),
        ("claims as text", token(&EC, r#"{"alg":"ES256"}"#, "\"x\""), Malformed),
        ("claims missing", token(&EC, r#"{"alg":"ES256"}"#, ""), Malformed),
        (
            "deep claims",
            token(&EC, r#"{"alg":"ES256"}"#, &format!("{{\"a\":{}{}}}", "[".repeat(2000), "]".repeat(2000))),
            TooLarge,
        ),
        (
            "many claims",
            token(&EC, r#"{"alg":"ES256"}"#, &format!("{{\"a\":[1{}]}}", ",1".repeat(2000))),
            TooLarge,
        ),
    ];
    for (name, token, expected) in table {
        assert_eq!(flaw(&judge, token), Some(expected), "{name}");
    }
    assert_eq!(flaw(&judge, honest), None);
}

#[test]
fn an_issuer_with_a_shared_secret_takes_nothing_else() {
    let judge = judge(|spec| spec.trust = shared());
    let claims = claims(json!({}));
    for (name, token, expected) in [
        ("its own", token(&HMAC, r#"{"alg":"HS256"}"#, &claims), None),
        ("its own under a name", token(&HMAC, r#"{"alg":"HS256","kid":"any"}"#, &claims), None),
        (
            "another secret",
            token(&Signer::Hmac(vec![0; 32]), r#"{"alg":"HS256"}"#, &claims),
            Some(TokenFlaw::Signature),
        ),
        ("a key pair", token(&EC, r#"{"alg":"ES256"}"#, &claims), Some(TokenFlaw::Algorithm)),
        ("a longer hash", token(&HMAC, r#"{"alg":"HS512"}"#, &claims), Some(TokenFlaw::Algorithm)),
    ] {
        assert_eq!(flaw(&judge, token), expected, "{name}");
    }
}

#[test]
fn one_issuers_keys_are_nothing_to_another() {
    let issuer = |name: &str, trust| {
        crate::jwt::Issuer::compile(IssuerSpec::new(name, trust, vec!["api".into()])).unwrap()
    };
    let ours = crate::jwt::Trust::Fetched { key_set: ISSUER.into(), algorithms: ASYMMETRIC.to_vec() };
    let judge =
        TokenJudge::new(vec![issuer(ISSUER, ours), issuer("https://other.example", shared())]).unwrap();
    let (ec, hs) = (r#"{"alg":"ES256"}"#, r#"{"alg":"HS256"}"#);
    let other = claims(json!({"iss": "https://other.example"}));
    for (token, expected) in [
        (token(&EC, ec, &claims(json!({}))), None),
        (token(&HMAC, hs, &other), None),
        (token(&EC, ec, &other), Some(TokenFlaw::Algorithm)),
        (token(&HMAC, hs, &claims(json!({}))), Some(TokenFlaw::Algorithm)),
        (token(&EC, ec, &claims(json!({"iss": "https://third.example"}))), Some(TokenFlaw::Issuer)),
    ] {
        assert_eq!(flaw(&judge, token), expected);
    }
}

#[test]
fn two_issuers_of_one_name_or_none_make_no_judge() {
    let issuer =
        || crate::jwt::Issuer::compile(IssuerSpec::new(ISSUER, shared(), vec!["api".into()])).unwrap();
    assert!(TokenJudge::new(Vec::new()).is_none());
    assert!(TokenJudge::new(vec![issuer(), issuer()]).is_none());
}

#[test]
fn nothing_of_a_token_is_shown() {
    let judge = judge(|_| {});
    let honest = good(json!({"sub": "grace hopper"}));
    let shown = [
        format!("{:?}", judge.judge(honest.as_bytes(), &Shelf::full().sources(), NOW)),
        format!("{:?}", judge.judge(&honest.as_bytes()[1..], &Shelf::full().sources(), NOW)),
        format!("{:?}", crate::claim::Identity::from(judged(&judge, &honest).unwrap())),
    ];
    for shown in shown {
        assert!(!shown.contains("grace") && !honest.split('.').any(|part| shown.contains(part)), "{shown}");
    }
}
