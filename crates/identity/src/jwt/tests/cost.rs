//! What a judgement costs beside the bare verification.

use std::{hint::black_box, time::Instant};

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, KeyPair, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256,
};
use serde_json::json;

use super::support::*;
use crate::{
    base64url::decode,
    jwt::{Jws, TokenCache},
};

/// The gateway's allocator: reading a token is a good deal of allocation.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The bare key of a signer.
fn bare(signer: &Signer) -> ParsedPublicKey {
    match signer {
        Signer::Ec(pair) => {
            ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, pair.public_key().as_ref()).unwrap()
        }
        Signer::Ed(pair) => ParsedPublicKey::new(&ED25519, pair.public_key().as_ref()).unwrap(),
        Signer::Rsa(pair) => {
            ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, pair.public_key().as_ref()).unwrap()
        }
        Signer::Hmac(_) => unreachable!(),
    }
}

/// Nanoseconds for one call: the least of many short rounds, since others use the machine too.
fn cost(mut call: impl FnMut()) -> f64 {
    (0..800)
        .map(|_| {
            let begin = Instant::now();
            (0..10).for_each(|_| call());
            begin.elapsed().as_secs_f64() * 1e9 / 10.0
        })
        .fold(f64::INFINITY, f64::min)
}

#[test]
#[ignore = "prints figures; run optimised on a quiet machine"]
fn what_a_judgement_costs() {
    let judge = judge(|spec| spec.roles = Some(crate::jwt::ClaimPath::parse("scope").unwrap()));
    let shelf = Shelf::full();
    let extra = json!({
        "jti": "3f2b8c1e-6d5a-4f7e-9b0c-1a2d3e4f5a6b", "iat": NOW / 1000, "nbf": NOW / 1000, "client_id": "shop",
        "scope": "orders:read orders:write profile", "name": "Ada Lovelace", "email": "ada@example.com",
        "sid": "0d6e4f8a-2b1c-4d3e-8f9a-7b6c5d4e3f2a", "auth_time": NOW / 1000, "aud": ["account", "api"]
    });
    for (name, signer, header) in [
        ("RS256", &*RSA, r#"{"alg":"RS256","kid":"rsa","typ":"at+jwt"}"#),
        ("ES256", &*EC, r#"{"alg":"ES256","kid":"ec","typ":"at+jwt"}"#),
        ("EdDSA", &*ED, r#"{"alg":"EdDSA","kid":"ed","typ":"at+jwt"}"#),
    ] {
        let token = token(signer, header, &claims(extra.clone()));
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let (key, signature) = (bare(signer), decode(signature.as_bytes()).unwrap());
        let bare = cost(|| key.verify_sig(black_box(signed.as_bytes()), black_box(&signature)).unwrap());
        let full = cost(|| {
            assert!(decided(judge.judge(black_box(token.as_bytes()), &shelf.sources(), NOW)).is_ok());
        });
        let mut cache = TokenCache::new(1024);
        let cached = cost(|| {
            let outcome = judge.judge_cached(black_box(token.as_bytes()), &shelf.sources(), &mut cache, NOW);
            assert!(decided(outcome).is_ok());
        });
        let form = cost(|| assert!(Jws::parse(black_box(token.as_bytes())).is_ok()));
        let jws = Jws::parse(token.as_bytes()).unwrap();
        let read = cost(|| assert!(crate::jwt::claims::read(black_box(jws.unverified_payload())).is_ok()));
        println!(
            "{name}: token {} bytes, bare {bare:.0} ns, judged {full:.0} ns ({:+.1} %; form {form:.0}, claims {read:.0}), \
             cached {cached:.0} ns",
            token.len(),
            (full / bare - 1.0) * 100.0
        );
    }
}
