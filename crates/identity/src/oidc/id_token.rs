//! What an ID token must say beyond what every token must (OpenID Connect Core 1.0 §3.1.3.7).
//!
//! The signature, `iss`, `aud` and the times are judged by the same [`TokenJudge`] as access tokens; an access token
//! is not an ID token, so `typ` may only be `JWT` or left out.

use std::sync::Arc;

use aws_lc_rs::constant_time;
use bartizan_model::Fault;

use crate::{
    claim::Claim,
    json::Json,
    jwt::{
        InvalidToken, Issuer, IssuerFlaw, IssuerSpec, Lookup, Outcome, Sources, TokenIdentity, TokenJudge,
        Trust,
    },
};

/// What an ID token is held against.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// Our name at the provider.
    pub client_id: &'a str,
    /// The attempt's nonce; `None` for a refreshed token, which answers no attempt.
    pub nonce: Option<&'a str>,
    /// Whom the session belongs to; a refreshed token must not be another person's (§12.2).
    pub subject: Option<&'a str>,
}

/// Why an ID token signs nobody in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdTokenFlaw {
    /// It was made for another client: `azp`.
    #[error("the ID token was made for another client")]
    AuthorizedParty,
    /// It answers another attempt.
    #[error("the ID token answers another sign-in")]
    Nonce,
    /// It names nobody, or somebody else than before.
    #[error("the ID token names nobody, or somebody else")]
    Subject,
    /// It does not hold as a token.
    #[error("the ID token does not hold: {}", .0.flaw)]
    Token(InvalidToken),
}

/// What became of an ID token.
#[derive(Debug)]
#[must_use]
pub enum SignedIn {
    /// Somebody is signed in.
    Yes(TokenIdentity),
    /// Nobody is.
    No(IdTokenFlaw),
    /// The provider's keys cannot be had.
    Faulted(Fault),
    /// Decidable after this look-up; then judge again.
    Needs(Lookup),
}

/// A judge of one provider's ID tokens.
///
/// # Errors
///
/// When the issuer or the client has no name, or no algorithm is allowed.
pub fn judge_of(
    issuer: &Arc<str>,
    client_id: &str,
    trust: Trust,
    leeway_ms: u64,
) -> Result<TokenJudge, IssuerFlaw> {
    let spec = IssuerSpec::new(Arc::clone(issuer), trust, vec![client_id.into()]);
    let issuer = Issuer::compile(IssuerSpec { types: vec!["JWT".into()], leeway_ms, ..spec })?;
    // One issuer has no name twice.
    TokenJudge::new(vec![issuer]).ok_or(IssuerFlaw::NoName)
}

/// Judges an ID token by a judge of [`judge_of`].
pub fn judge(
    judge: &TokenJudge,
    token: &str,
    expected: Expected<'_>,
    sources: &Sources<'_>,
    now_ms: u64,
) -> SignedIn {
    match judge.judge(token.as_bytes(), sources, now_ms) {
        Outcome::Decided(Claim::Valid(identity)) => match hold(&identity, expected) {
            Ok(()) => SignedIn::Yes(identity),
            Err(flaw) => SignedIn::No(flaw),
        },
        Outcome::Decided(Claim::Invalid(invalid)) => SignedIn::No(IdTokenFlaw::Token(invalid)),
        // A token was there: the judge does not answer so.
        Outcome::Decided(Claim::Absent) => SignedIn::No(IdTokenFlaw::Subject),
        Outcome::Faulted(fault) => SignedIn::Faulted(fault),
        Outcome::Needs(lookup) => SignedIn::Needs(lookup),
    }
}

fn hold(identity: &TokenIdentity, expected: Expected<'_>) -> Result<(), IdTokenFlaw> {
    let claims = identity.claims();
    // §3.1.3.7 (3, 4, 5): made for us, and for us alone where it says for whom.
    let is_for_many = matches!(claims.get("aud"), Some(Json::List(list)) if list.len() > 1);
    match claims.get("azp") {
        None if is_for_many => return Err(IdTokenFlaw::AuthorizedParty),
        Some(party) if party.as_text() != Some(expected.client_id) => {
            return Err(IdTokenFlaw::AuthorizedParty);
        }
        _ => {}
    }
    if let Some(nonce) = expected.nonce {
        let said = claims.get("nonce").and_then(Json::as_text).unwrap_or_default();
        constant_time::verify_slices_are_equal(nonce.as_bytes(), said.as_bytes())
            .map_err(|_| IdTokenFlaw::Nonce)?;
    }
    match identity.subject() {
        None | Some("") => Err(IdTokenFlaw::Subject),
        Some(subject) if expected.subject.is_some_and(|before| before != subject) => {
            Err(IdTokenFlaw::Subject)
        }
        Some(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use bartizan_model::SecretValue;

    use super::*;
    use crate::{
        MacAlgorithm, base64url,
        jwt::{KeyRing, NoRevocations, TokenFlaw},
    };

    const NOW_MS: u64 = 1_000_000_000;

    fn token(header: &str, claims: &str) -> String {
        let message =
            format!("{}.{}", base64url::encode(header.as_bytes()), base64url::encode(claims.as_bytes()));
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &[7; 32]);
        let tag = aws_lc_rs::hmac::sign(&key, message.as_bytes());
        format!("{message}.{}", base64url::encode(tag.as_ref()))
    }

    fn judged(header: &str, claims: &str, expected: Expected<'_>) -> Result<(), IdTokenFlaw> {
        let trust =
            Trust::Shared { secrets: vec![SecretValue::new(vec![7; 32])], algorithm: MacAlgorithm::Hs256 };
        let by = judge_of(&"https://id.example".into(), "gateway", trust, 60_000).unwrap();
        let (keys, revocations) = (&KeyRing::default(), &NoRevocations);
        match judge(&by, &token(header, claims), expected, &Sources { keys, revocations }, NOW_MS) {
            SignedIn::Yes(_) => Ok(()),
            SignedIn::No(flaw) => Err(flaw),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_id_token_is_for_this_client_this_attempt_and_this_person() {
        let first = Expected { client_id: "gateway", nonce: Some("n1"), subject: None };
        let again = Expected { client_id: "gateway", nonce: None, subject: Some("ada") };
        let with = |more: &str| format!(r#"{{"iss":"https://id.example","exp":1000100{more}}}"#);
        let all = r#","aud":"gateway","sub":"ada","nonce":"n1""#;
        use IdTokenFlaw::{AuthorizedParty, Nonce, Subject};
        for (claims, expected, flaw) in [
            (with(all), first, None),
            (with(&format!(r#"{all},"azp":"gateway""#)), first, None),
            (with(r#","aud":["gateway","x"],"azp":"gateway","sub":"ada","nonce":"n1""#), first, None),
            (with(r#","aud":["gateway"],"sub":"ada","nonce":"n1""#), first, None),
            (with(all), again, None),
            (with(r#","aud":["gateway","x"],"sub":"ada","nonce":"n1""#), first, Some(AuthorizedParty)),
            (with(&format!(r#"{all},"azp":"other""#)), first, Some(AuthorizedParty)),
            (with(&format!(r#"{all},"azp":null"#)), first, Some(AuthorizedParty)),
            (with(r#","aud":"gateway","sub":"ada","nonce":"n2""#), first, Some(Nonce)),
            (with(r#","aud":"gateway","sub":"ada""#), first, Some(Nonce)),
            (with(r#","aud":"gateway","sub":"ada","nonce":1"#), first, Some(Nonce)),
            (with(r#","aud":"gateway","nonce":"n1""#), first, Some(Subject)),
            (with(r#","aud":"gateway","sub":"","nonce":"n1""#), first, Some(Subject)),
            (with(r#","aud":"gateway","sub":"eve","nonce":"n1""#), again, Some(Subject)),
        ] {
            assert_eq!(judged(r#"{"alg":"HS256"}"#, &claims, expected).err(), flaw, "{claims}");
        }
    }

    #[test]
    fn an_access_token_is_no_id_token_and_a_token_of_another_client_none_of_ours() {
        let expected = Expected { client_id: "gateway", nonce: None, subject: None };
        let claims =
            |aud: &str| format!(r#"{{"iss":"https://id.example","exp":1000100,"aud":"{aud}","sub":"ada"}}"#);
        for (header, aud, flaw) in [
            (r#"{"alg":"HS256","typ":"at+jwt"}"#, "gateway", TokenFlaw::Type),
            (r#"{"alg":"HS256"}"#, "other", TokenFlaw::Audience),
            (r#"{"alg":"none"}"#, "gateway", TokenFlaw::Algorithm),
        ] {
            match judged(header, &claims(aud), expected) {
                Err(IdTokenFlaw::Token(invalid)) => assert_eq!(invalid.flaw, flaw),
                other => panic!("{header}: {other:?}"),
            }
        }
    }
}
