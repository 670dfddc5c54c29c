//! What an issuer answers when it is asked about a token (RFC 7662).
//!
//! The answer comes from a server that a document names, over TLS; it is believed about whether the token is active,
//! and still judged like claims: for us, by the right issuer, in force now. What cannot be read is no answer at all,
//! and never a no or a yes.

use std::sync::Arc;

use aws_lc_rs::digest;

use crate::{
    claim::{Claim, Method},
    json::Json,
    jwt::{
        ClaimPath, ConsumerRule, InvalidToken, TokenFlaw, TokenId, TokenIdentity, claims, identity::Mapping,
        judge::TokenClaim,
    },
};

/// How the answers of one endpoint are judged.
#[derive(Clone, Debug)]
pub struct AnswerSpec {
    /// The name of the issuer in records, where the answer says none.
    pub name: Arc<str>,
    /// What `iss` must be where the answer says one.
    pub issuer: Option<Arc<str>>,
    /// One of these must be in `aud`; none: any will do.
    pub audiences: Vec<Box<str>>,
    /// How far clocks may differ.
    pub leeway_ms: u64,
    /// Which consumer a token belongs to.
    pub consumer: Option<ConsumerRule>,
    /// Where the roles stand.
    pub roles: Option<ClaimPath>,
    /// Further facts.
    pub tags: Vec<(Arc<str>, ClaimPath)>,
}

/// The answer cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unreadable;

/// A token that must be asked about, by the digest under which its answer is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TokenDigest([u8; 32]);

impl TokenDigest {
    /// Of a token as it was presented.
    pub fn of(token: &[u8]) -> Self {
        TokenDigest(digest::digest(&digest::SHA256, token).as_ref().try_into().unwrap_or_default())
    }

    /// What names the token in logs.
    pub fn id(&self) -> TokenId {
        TokenId::of(&self.0)
    }

    /// Its bytes.
    pub const fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl AnswerSpec {
    /// Judges the answer about a token.
    ///
    /// # Errors
    ///
    /// When it is no JSON object with a truth value as `active`, or names a member twice.
    pub fn judge(
        &self,
        answer: &[u8],
        token: &TokenDigest,
        now_unix_ms: u64,
    ) -> Result<TokenClaim, Unreadable> {
        let members = claims::read(answer).map_err(|_| Unreadable)?;
        let Some(Json::Bool(active)) = members.get("active") else { return Err(Unreadable) };
        let invalid = |flaw| Claim::Invalid(InvalidToken { flaw, issuer: Some(Arc::clone(&self.name)) });
        if !active {
            return Ok(invalid(TokenFlaw::Inactive));
        }
        let judged = self.judge_members(&members, now_unix_ms).and_then(|until_ms| {
            let mapping = Mapping {
                issuer: &self.name,
                consumer: self.consumer.as_ref(),
                roles: self.roles.as_ref(),
                tags: &self.tags,
                method: Method::Introspection,
            };
            TokenIdentity::map(members, mapping, TokenId::of(token.bytes()), until_ms)
        });
        Ok(match judged {
            Ok(identity) => Claim::Valid(identity),
            Err(flaw) => invalid(flaw),
        })
    }

    /// Until when the token holds.
    pub(crate) fn judge_members(
        &self,
        members: &crate::json::Object,
        now_unix_ms: u64,
    ) -> Result<u64, TokenFlaw> {
        let said = claims::text(members, "iss")?;
        if let (Some(expected), Some(said)) = (&self.issuer, said)
            && **expected != *said
        {
            return Err(TokenFlaw::Issuer);
        }
        claims::text(members, "sub")?;
        if !self.audiences.is_empty() {
            claims::judge_audience(members, &self.audiences)?;
        }
        let now_ms = i64::try_from(now_unix_ms).unwrap_or(i64::MAX);
        let leeway = i64::try_from(self.leeway_ms).unwrap_or(i64::MAX);
        let until = claims::date(members, "exp")?.map(|exp| exp.saturating_add(leeway));
        if until.is_some_and(|until| now_ms >= until) {
            return Err(TokenFlaw::Expired);
        }
        if claims::date(members, "nbf")?.is_some_and(|nbf| now_ms < nbf.saturating_sub(leeway)) {
            return Err(TokenFlaw::NotYetValid);
        }
        // RFC 7662 §2.2 leaves `exp` out at will; how long the answer is kept is then the end.
        Ok(until.map_or(u64::MAX, |until| u64::try_from(until).unwrap_or(0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> AnswerSpec {
        AnswerSpec {
            name: "https://id.example".into(),
            issuer: Some("https://id.example".into()),
            audiences: vec!["orders".into()],
            leeway_ms: 60_000,
            consumer: Some(ConsumerRule::Claim(ClaimPath::parse("client_id").unwrap())),
            roles: ClaimPath::parse("scope"),
            tags: Vec::new(),
        }
    }

    const NOW_MS: u64 = 1_000_000_000;

    fn judged(answer: &str) -> Result<Result<TokenIdentity, TokenFlaw>, Unreadable> {
        let claim = spec().judge(answer.as_bytes(), &TokenDigest::of(b"token"), NOW_MS)?;
        Ok(match claim {
            Claim::Valid(identity) => Ok(identity),
            Claim::Invalid(invalid) => Err(invalid.flaw),
            Claim::Absent => unreachable!("an answer is about a token"),
        })
    }

    #[test]
    fn an_active_token_for_us_brings_what_its_answer_says() {
        let answer = r#"{"active":true,"iss":"https://id.example","aud":["x","orders"],"sub":"ada","client_id":"shop","scope":"read write","exp":1000001}"#;
        let identity = judged(answer).unwrap().unwrap();
        assert_eq!(identity.consumer().map(|name| &**name), Some("shop"));
        assert_eq!(identity.subject(), Some("ada"));
        assert_eq!(identity.roles().iter().map(|role| &**role).collect::<Vec<_>>(), ["read", "write"]);
        assert_eq!(identity.until_unix_ms(), 1_000_061_000);
        assert_eq!(identity.method(), Method::Introspection);
    }

    #[test]
    fn a_token_that_is_not_active_or_not_for_us_is_invalid() {
        let with = |members: &str| format!(r#"{{"active":true,"client_id":"shop"{members}}}"#);
        for (answer, flaw) in [
            (r#"{"active":false}"#.to_owned(), TokenFlaw::Inactive),
            (r#"{"active":false,"aud":"orders","client_id":"shop"}"#.to_owned(), TokenFlaw::Inactive),
            (with(""), TokenFlaw::ClaimMissing),
            (with(r#","aud":"billing""#), TokenFlaw::Audience),
            (with(r#","aud":["orders",1]"#), TokenFlaw::ClaimKind),
            (with(r#","aud":"orders","iss":"https://other.example""#), TokenFlaw::Issuer),
            (with(r#","aud":"orders","exp":999940"#), TokenFlaw::Expired),
            (with(r#","aud":"orders","exp":"soon""#), TokenFlaw::ClaimKind),
            (with(r#","aud":"orders","nbf":1000061"#), TokenFlaw::NotYetValid),
            (r#"{"active":true,"aud":"orders"}"#.to_owned(), TokenFlaw::ClaimMissing),
        ] {
            assert_eq!(judged(&answer).unwrap().unwrap_err(), flaw, "{answer}");
        }
        assert!(judged(&with(r#","aud":"orders","exp":999941"#)).unwrap().is_ok());
        assert!(judged(&with(r#","aud":"orders""#)).unwrap().is_ok());
    }

    #[test]
    fn an_answer_that_cannot_be_read_is_none() {
        for answer in [
            "",
            "[]",
            "null",
            "{}",
            r#"{"active":"true"}"#,
            r#"{"active":1}"#,
            r#"{"active":null}"#,
            r#"{"active":false,"active":true,"aud":"orders"}"#,
            r#"{"active":true"#,
            "<html>",
        ] {
            assert_eq!(judged(answer), Err(Unreadable), "{answer}");
        }
    }
}
