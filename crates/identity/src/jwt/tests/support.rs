//! Issuers and signed tokens for tests.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock},
};

use aws_lc_rs::{
    hmac,
    rand::SystemRandom,
    rsa::KeySize,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256,
        RSA_PSS_SHA256, RsaKeyPair,
    },
};
use bartizan_model::SecretValue;
use serde_json::{Value, json};

use crate::{
    MacAlgorithm, SignatureAlgorithm,
    base64url::encode,
    claim::Claim,
    jwk::{KeySet, Origin},
    jwt::{
        Issuer, IssuerSpec, KeySource, Keys, NoRevocations, Outcome, Sources, TokenFlaw, TokenIdentity,
        TokenJudge, Trust,
    },
};

/// 2027-01-15T08:00:00Z.
pub(super) const NOW: u64 = 1_800_000_000_000;
pub(super) const ISSUER: &str = "https://id.example";
pub(super) const SECRET: &[u8] = b"a secret of thirty-two bytes, ok";

/// A key pair that signs as JOSE does.
pub(super) enum Signer {
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
    Hmac(Vec<u8>),
    Rsa(RsaKeyPair),
}

impl Signer {
    pub(super) fn ec() -> Self {
        Signer::Ec(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
    }

    pub(super) fn sign(&self, alg: &str, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match self {
            Signer::Ec(pair) => pair.sign(&random, message).unwrap().as_ref().to_vec(),
            Signer::Ed(pair) => pair.sign(message).as_ref().to_vec(),
            Signer::Hmac(secret) => {
                hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message).as_ref().to_vec()
            }
            Signer::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                let encoding = if alg.starts_with("PS") { &RSA_PSS_SHA256 } else { &RSA_PKCS1_SHA256 };
                pair.sign(encoding, &random, message, &mut signature).unwrap();
                signature
            }
        }
    }

    pub(super) fn jwk(&self, kid: &str) -> Value {
        match self {
            Signer::Ec(pair) => {
                let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
                json!({"kty": "EC", "crv": "P-256", "kid": kid, "x": encode(x), "y": encode(y)})
            }
            Signer::Ed(pair) => {
                json!({"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": encode(pair.public_key().as_ref())})
            }
            Signer::Hmac(secret) => json!({"kty": "oct", "kid": kid, "k": encode(secret)}),
            Signer::Rsa(pair) => {
                // DER: a sequence of the modulus (with a sign byte) and 65537, for 2048 bits always of these lengths.
                let n = encode(&pair.public_key().as_ref()[9..9 + 256]);
                let e = "AQAB";
                json!({"kty": "RSA", "kid": kid, "n": n, "e": e})
            }
        }
    }
}

pub(super) static EC: LazyLock<Signer> = LazyLock::new(Signer::ec);
pub(super) static ED: LazyLock<Signer> = LazyLock::new(|| Signer::Ed(Ed25519KeyPair::generate().unwrap()));
pub(super) static RSA: LazyLock<Signer> =
    LazyLock::new(|| Signer::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).unwrap()));
pub(super) static HMAC: LazyLock<Signer> = LazyLock::new(|| Signer::Hmac(SECRET.to_vec()));

/// A token whose parts are written out.
pub(super) fn token(signer: &Signer, header: &str, claims: &str) -> String {
    let alg = serde_json::from_str::<Value>(header).unwrap_or_default()["alg"].to_string();
    let signed = format!("{}.{}", encode(header.as_bytes()), encode(claims.as_bytes()));
    let signature = signer.sign(alg.trim_matches('"'), signed.as_bytes());
    format!("{signed}.{}", encode(&signature))
}

/// Good claims with some changed, or taken away where they become `null`.
pub(super) fn claims(changes: Value) -> String {
    let mut claims = json!({"iss": ISSUER, "aud": "api", "exp": NOW / 1000 + 600, "sub": "ada"});
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(name);
        } else {
            claims[name] = value.clone();
        }
    }
    claims.to_string()
}

/// A good token of the EC key with some claims changed.
pub(super) fn good(changes: Value) -> String {
    token(&EC, r#"{"alg":"ES256","kid":"ec"}"#, &claims(changes))
}

/// The published set of all public keys above.
pub(super) fn published() -> Arc<KeySet> {
    set(&[EC.jwk("ec"), ED.jwk("ed"), RSA.jwk("rsa")])
}

pub(super) fn set(keys: &[Value]) -> Arc<KeySet> {
    let text = json!({ "keys": keys }).to_string();
    Arc::new(KeySet::parse(text.as_bytes(), Origin::Published).unwrap())
}

pub(super) const ASYMMETRIC: [SignatureAlgorithm; 4] = [
    SignatureAlgorithm::Es256,
    SignatureAlgorithm::Ed25519,
    SignatureAlgorithm::Rs256,
    SignatureAlgorithm::Ps256,
];

/// The issuer of all those keys, with something changed.
pub(super) fn judge(change: impl FnOnce(&mut IssuerSpec)) -> TokenJudge {
    let trust = Trust::Fetched { key_set: ISSUER.into(), algorithms: ASYMMETRIC.to_vec() };
    let mut spec = IssuerSpec::new(ISSUER, trust, vec!["api".into(), "other".into()]);
    change(&mut spec);
    TokenJudge::new(vec![Issuer::compile(spec).unwrap()]).unwrap()
}

/// The issuer that shares [`SECRET`].
pub(super) fn shared() -> Trust {
    Trust::Shared { secrets: vec![SecretValue::new(SECRET.to_vec())], algorithm: MacAlgorithm::Hs256 }
}

/// Key sets as a test wants them.
#[derive(Default)]
pub(super) struct Shelf(pub(super) HashMap<&'static str, (Arc<KeySet>, u64, bool)>);

impl Shelf {
    pub(super) fn full() -> Self {
        Shelf(HashMap::from([(ISSUER, (published(), 1, false))]))
    }

    pub(super) fn sources(&self) -> Sources<'_> {
        Sources { keys: self, revocations: &NoRevocations }
    }
}

impl KeySource for Shelf {
    fn keys(&self, issuer: &str, _now_unix_ms: u64) -> Keys<'_> {
        match self.0.get(issuer) {
            Some((set, generation, may_ask)) => {
                Keys::Ready { set, generation: *generation, may_ask: *may_ask }
            }
            None => Keys::Missing,
        }
    }
}

/// What the judge says of a token whose keys are there.
pub(super) fn judged(judge: &TokenJudge, presented: impl AsRef<[u8]>) -> Result<TokenIdentity, TokenFlaw> {
    decided(judge.judge(presented.as_ref(), &Shelf::full().sources(), NOW))
}

pub(super) fn decided(outcome: Outcome) -> Result<TokenIdentity, TokenFlaw> {
    match outcome {
        Outcome::Decided(Claim::Valid(identity)) => Ok(identity),
        Outcome::Decided(Claim::Invalid(invalid)) => Err(invalid.flaw),
        other => panic!("{other:?}"),
    }
}

/// The flaw alone, for tables.
pub(super) fn flaw(judge: &TokenJudge, presented: impl AsRef<[u8]>) -> Option<TokenFlaw> {
    judged(judge, presented).err()
}
