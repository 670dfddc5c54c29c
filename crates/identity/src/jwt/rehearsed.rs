//! What is known of a token that was judged before: for rehearsals alone, which hold neither tokens nor keys.
//!
//! A capture has what a genuine token says, never the token. What its issuer must be, for whom it is, when and what it
//! means is judged here by the same functions as in live traffic; only the signature is taken for given. `cargo xtask
//! tidy` holds the one place that may call it.

use std::fmt;

use aws_lc_rs::digest;

use super::{
    TokenClaim, TokenFlaw, TokenIdentity, TokenJudge, claims,
    compact::{Header, Jws},
    identity::{Mapping, TokenId},
    issuer::Issuer,
    judge::judge_header,
    source::NoRevocations,
};
use crate::{
    algorithm::Algorithm,
    claim::{Claim, Method},
    introspection::AnswerSpec,
    json::Object,
    jwt::InvalidToken,
    oidc::session::SessionRules,
};

/// What a genuine token says.
#[derive(Clone, PartialEq)]
pub struct TokenFacts {
    claims: Object,
    /// What its header says, where it is a signed one.
    pub header: Option<HeaderFacts>,
    id: TokenId,
}

/// What of a token's header is judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderFacts {
    /// `alg`
    pub algorithm: Box<str>,
    /// `typ`
    pub typ: Option<Box<str>>,
    /// Whether it names its key.
    pub has_kid: bool,
}

impl HeaderFacts {
    /// Of a token as it was presented; `None` where it has not the form of a signed one.
    pub fn of(token: &[u8]) -> Option<Self> {
        let jws = Jws::parse(token).ok()?;
        let Header { algorithm, kid, typ } = jws.header();
        Some(HeaderFacts {
            algorithm: algorithm.to_string().into(),
            typ: typ.clone(),
            has_kid: kid.is_some(),
        })
    }

    /// No issuer looks at the name of a key without the key.
    fn header(&self) -> Option<Header> {
        let kid = self.has_kid.then(|| Box::from("known"));
        Some(Header { algorithm: Algorithm::parse(&self.algorithm)?, kid, typ: self.typ.clone() })
    }
}

impl TokenFacts {
    /// From the JSON text of its claims; `None` where that is none.
    pub fn read(claims: &str, header: Option<HeaderFacts>) -> Option<Self> {
        let read = claims::read(claims.as_bytes()).ok()?;
        let digest = digest::digest(&digest::SHA256, claims.as_bytes());
        let id = TokenId::of(&digest.as_ref().try_into().unwrap_or_default());
        Some(TokenFacts { claims: read, header, id })
    }

    /// The issuer that the claims name.
    pub fn issuer(&self) -> Option<&str> {
        claims::text(&self.claims, "iss").ok().flatten()
    }

    fn invalid(flaw: TokenFlaw, issuer: Option<&std::sync::Arc<str>>) -> TokenClaim {
        Claim::Invalid(InvalidToken { flaw, issuer: issuer.cloned() })
    }
}

/// Claims are about people.
impl fmt::Debug for TokenFacts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenFacts")
            .field("header", &self.header)
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl TokenJudge {
    /// What this judge says of a token with these facts, were it signed by the issuer that it names.
    pub fn rehearsed_token(&self, facts: &TokenFacts, now_unix_ms: u64) -> TokenClaim {
        let found = self.issuers().iter().find(|issuer| facts.issuer() == Some(&**issuer.name()));
        let Some(issuer) = found else { return TokenFacts::invalid(TokenFlaw::Issuer, None) };
        match by_issuer(issuer, facts, now_unix_ms) {
            Ok(identity) => Claim::Valid(identity),
            Err(flaw) => TokenFacts::invalid(flaw, Some(issuer.name())),
        }
    }
}

fn by_issuer(issuer: &Issuer, facts: &TokenFacts, now_unix_ms: u64) -> Result<TokenIdentity, TokenFlaw> {
    if let Some(header) = &facts.header {
        judge_header(&header.header().ok_or(TokenFlaw::Algorithm)?, issuer)?;
    }
    let now_ms = i64::try_from(now_unix_ms).unwrap_or(i64::MAX);
    let span = claims::judge(&facts.claims, issuer, &NoRevocations, now_ms)?;
    let until_ms = u64::try_from(span.until_ms).unwrap_or(0);
    TokenIdentity::map(facts.claims.clone(), issuer.mapping(), facts.id, until_ms)
}

impl AnswerSpec {
    /// What is made of a token with these facts, were it still active.
    pub fn rehearsed_answer(&self, facts: &TokenFacts, now_unix_ms: u64) -> TokenClaim {
        let judged = self.judge_members(&facts.claims, now_unix_ms).and_then(|until_ms| {
            let mapping = Mapping {
                issuer: &self.name,
                consumer: self.consumer.as_ref(),
                roles: self.roles.as_ref(),
                tags: &self.tags,
                method: Method::Introspection,
            };
            TokenIdentity::map(facts.claims.clone(), mapping, facts.id, until_ms)
        });
        match judged {
            Ok(identity) => Claim::Valid(identity),
            Err(flaw) => TokenFacts::invalid(flaw, Some(&self.name)),
        }
    }
}

impl SessionRules<'_> {
    /// Who somebody is whose session lasts and holds an ID token with these facts.
    ///
    /// # Errors
    ///
    /// When the claims do not bring what the rules ask for.
    pub fn rehearsed_session(&self, facts: &TokenFacts) -> Result<TokenIdentity, TokenFlaw> {
        if facts.issuer() != Some(&**self.issuer) {
            return Err(TokenFlaw::Issuer);
        }
        let mapping = Mapping {
            issuer: self.issuer,
            consumer: self.consumer,
            roles: self.roles,
            tags: self.tags,
            method: Method::OpenIdConnect,
        };
        TokenIdentity::map(facts.claims.clone(), mapping, facts.id, u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jwt::{ClaimPath, ConsumerRule, IssuerSpec, Trust};

    const NOW_MS: u64 = 1_000_000_000;

    fn judge(change: impl FnOnce(&mut IssuerSpec)) -> TokenJudge {
        let trust = Trust::Nobody { algorithms: vec![Algorithm::parse("RS256").unwrap()] };
        let mut spec = IssuerSpec::new("https://id.example", trust, vec!["orders".into()]);
        spec.consumer = Some(ConsumerRule::Claim(ClaimPath::parse("client_id").unwrap()));
        spec.roles = ClaimPath::parse("scope");
        change(&mut spec);
        TokenJudge::new(vec![Issuer::compile(spec).unwrap()]).unwrap()
    }

    fn facts(more: &str, algorithm: &str) -> TokenFacts {
        let claims = format!(
            r#"{{"iss":"https://id.example","aud":"orders","sub":"ada","client_id":"shop","scope":"read"{more}}}"#
        );
        let header = HeaderFacts { algorithm: algorithm.into(), typ: Some("at+jwt".into()), has_kid: true };
        TokenFacts::read(&claims, Some(header)).unwrap()
    }

    fn flaw(claim: TokenClaim) -> Option<TokenFlaw> {
        match claim {
            Claim::Valid(_) => None,
            Claim::Invalid(invalid) => Some(invalid.flaw),
            Claim::Absent => unreachable!("a token is there"),
        }
    }

    #[test]
    fn everything_but_the_signature_is_judged() {
        let good = facts(r#","exp":1000060"#, "RS256");
        let Claim::Valid(identity) = judge(|_| {}).rehearsed_token(&good, NOW_MS) else { panic!() };
        assert_eq!(identity.consumer().map(|name| &**name), Some("shop"));
        assert_eq!((identity.roles()[0].as_ref(), identity.method()), ("read", Method::Jwt));
        let of = |judge: TokenJudge, facts: &TokenFacts| flaw(judge.rehearsed_token(facts, NOW_MS));
        assert_eq!(of(judge(|_| {}), &facts(r#","exp":999000"#, "RS256")), Some(TokenFlaw::Expired));
        assert_eq!(of(judge(|_| {}), &facts("", "RS256")), Some(TokenFlaw::ClaimMissing));
        assert_eq!(of(judge(|_| {}), &facts(r#","exp":1000060"#, "ES256")), Some(TokenFlaw::Algorithm));
        assert_eq!(of(judge(|spec| spec.types = vec!["JWT".into()]), &good), Some(TokenFlaw::Type));
        assert_eq!(
            of(judge(|spec| spec.audiences = vec!["billing".into()]), &good),
            Some(TokenFlaw::Audience)
        );
        assert_eq!(
            of(judge(|spec| spec.name = "https://other.example".into()), &good),
            Some(TokenFlaw::Issuer)
        );
    }

    #[test]
    fn a_judge_without_keys_lets_no_token_pass() {
        use crate::{
            base64url::encode,
            jwt::{KeySource, Keys, Outcome, Sources},
        };
        struct None;
        impl KeySource for None {
            fn keys(&self, _: &str, _: u64) -> Keys<'_> {
                Keys::Missing
            }
        }
        let token = format!(
            "{}.{}.{}",
            encode(br#"{"alg":"RS256"}"#),
            encode(br#"{"iss":"https://id.example","aud":"orders","client_id":"shop","exp":1000060}"#),
            encode(&[1; 256])
        );
        let sources = Sources { keys: &None, revocations: &NoRevocations };
        let outcome = judge(|_| {}).judge(token.as_bytes(), &sources, NOW_MS);
        let Outcome::Decided(claim) = outcome else { panic!("{outcome:?}") };
        assert_eq!(flaw(claim), Some(TokenFlaw::KeyUnknown));
    }
}
