//! What is kept of somebody who signed in: sealed, in the browser.
//!
//! It holds the ID token (also to sign out there with), the refresh token if the provider gave one, and times. It ends
//! by an absolute lifetime and by idleness, whatever the tokens in it say; where there is a refresh token it is used
//! when the ID token's time is over, so that who is no longer welcome at the provider is out here as well.

use std::{fmt, sync::Arc};

use zeroize::Zeroizing;

use crate::{
    claim::Method,
    introspection::TokenDigest,
    jwt::{ClaimPath, ConsumerRule, Jws, TokenFlaw, TokenIdentity, claims, identity::Mapping},
    oidc::pack::{Pack, Unpack},
};

/// A session.
#[derive(Clone, PartialEq, Eq)]
pub struct Session {
    /// Names it, from the moment of signing in to the end.
    pub id: [u8; 16],
    /// When it began.
    pub began_ms: u64,
    /// When it was last seen, to within a minute.
    pub seen_ms: u64,
    /// When its tokens must be renewed, where they can be.
    pub fresh_until_ms: u64,
    /// The ID token.
    pub id_token: String,
    /// What renews it.
    pub refresh_token: Option<Zeroizing<String>>,
}

/// How long sessions last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionTerms {
    /// In all, from signing in.
    pub lifetime_ms: u64,
    /// Without a request.
    pub idle_ms: u64,
}

/// Whether a session lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionState {
    /// It does.
    Active,
    /// It does, and its tokens are to be renewed first.
    Stale,
    /// It has lasted as long as one may.
    Over,
    /// Nobody used it for too long.
    Idle,
}

/// What the claims of a provider's ID tokens mean here.
#[derive(Clone, Copy, Debug)]
pub struct SessionRules<'a> {
    /// The provider.
    pub issuer: &'a Arc<str>,
    /// Which consumer somebody is.
    pub consumer: Option<&'a ConsumerRule>,
    /// Where the roles stand.
    pub roles: Option<&'a ClaimPath>,
    /// Further facts.
    pub tags: &'a [(Arc<str>, ClaimPath)],
}

impl Session {
    /// Whether it lasts.
    pub fn state(&self, terms: SessionTerms, now_ms: u64) -> SessionState {
        if now_ms >= self.ends_ms(terms) {
            SessionState::Over
        } else if now_ms >= self.seen_ms.saturating_add(terms.idle_ms) {
            SessionState::Idle
        } else if self.refresh_token.is_some() && now_ms >= self.fresh_until_ms {
            SessionState::Stale
        } else {
            SessionState::Active
        }
    }

    /// When it ends, however much it is used.
    pub fn ends_ms(&self, terms: SessionTerms) -> u64 {
        self.began_ms.saturating_add(terms.lifetime_ms)
    }

    /// Whether the browser should be given it anew with a later `seen_ms`: a tenth of the idle time has gone, but not
    /// more often than once a minute, so that most answers carry no cookie.
    pub fn wants_touch(&self, terms: SessionTerms, now_ms: u64) -> bool {
        let step = (terms.idle_ms / 10).clamp(1, TOUCH_MS);
        now_ms >= self.seen_ms.saturating_add(step)
    }

    /// Who it is. The seal vouches for the token, which was judged when it came.
    ///
    /// # Errors
    ///
    /// When its claims do not bring what the rules of today ask for.
    pub fn identity(&self, rules: SessionRules<'_>, terms: SessionTerms) -> Result<TokenIdentity, TokenFlaw> {
        let token = Jws::parse(self.id_token.as_bytes())?;
        let read = claims::read(token.unverified_payload())?;
        // Another provider's session, from before a document was changed.
        if claims::text(&read, "iss")? != Some(&**rules.issuer) {
            return Err(TokenFlaw::Issuer);
        }
        let mapping = Mapping {
            issuer: rules.issuer,
            consumer: rules.consumer,
            roles: rules.roles,
            tags: rules.tags,
            method: Method::OpenIdConnect,
        };
        // Named by the session, so that its lines belong together in the log however often its tokens are renewed.
        let id = TokenDigest::of(&self.id).id();
        TokenIdentity::map(read, mapping, id, self.ends_ms(terms))
    }

    /// As bytes, to be sealed.
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        let refresh_token = self.refresh_token.as_ref().map(|token| token.as_bytes()).unwrap_or_default();
        let pack = Pack::of_version(VERSION).fixed(&self.id).number(self.began_ms).number(self.seen_ms);
        let pack = pack.number(self.fresh_until_ms).text(self.id_token.as_bytes()).text(refresh_token);
        Zeroizing::new(pack.finish())
    }

    /// From bytes that were sealed.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut record = Unpack::of_version(VERSION, bytes)?;
        let session = Session {
            id: record.fixed()?,
            began_ms: record.number()?,
            seen_ms: record.number()?,
            fresh_until_ms: record.number()?,
            id_token: record.text()?.to_owned(),
            refresh_token: match record.text()? {
                "" => None,
                token => Some(Zeroizing::new(token.to_owned())),
            },
        };
        record.is_done().then_some(session)
    }
}

/// Shows nothing of its tokens.
impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("began_ms", &self.began_ms).finish_non_exhaustive()
    }
}

const VERSION: u8 = 1;

/// A minute.
const TOUCH_MS: u64 = 60_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base64url;

    const TERMS: SessionTerms = SessionTerms { lifetime_ms: 1_000_000, idle_ms: 100_000 };

    fn session() -> Session {
        let claims = br#"{"iss":"https://id.example","sub":"ada","groups":["buyers"]}"#;
        let header = base64url::encode(br#"{"alg":"RS256"}"#);
        Session {
            id: [9; 16],
            began_ms: 1_000,
            seen_ms: 50_000,
            fresh_until_ms: 60_000,
            id_token: format!("{header}.{}.{}", base64url::encode(claims), base64url::encode(&[1; 256])),
            refresh_token: Some(Zeroizing::new("refresh".to_owned())),
        }
    }

    #[test]
    fn a_session_ends_by_age_and_by_idleness_and_its_tokens_are_renewed() {
        let without = Session { refresh_token: None, ..session() };
        let used = Session { seen_ms: 1_000_900, ..session() };
        for (session, now, state) in [
            (&session(), 59_999, SessionState::Active),
            (&session(), 60_000, SessionState::Stale),
            (&without, 60_000, SessionState::Active),
            (&session(), 149_999, SessionState::Stale),
            (&session(), 150_000, SessionState::Idle),
            (&used, 1_000_999, SessionState::Stale),
            (&used, 1_001_000, SessionState::Over),
        ] {
            assert_eq!(session.state(TERMS, now), state, "{now}");
        }
        assert!(!session().wants_touch(TERMS, 59_999) && session().wants_touch(TERMS, 60_000));
        let long = SessionTerms { idle_ms: 100_000_000, ..TERMS };
        assert!(!session().wants_touch(long, 109_999) && session().wants_touch(long, 110_000));
    }

    #[test]
    fn a_session_reads_back_and_shows_nothing() {
        for session in [session(), Session { refresh_token: None, ..session() }] {
            let bytes = session.encode();
            assert_eq!(Session::decode(&bytes).as_ref(), Some(&session));
            assert_eq!(Session::decode(&bytes[..bytes.len() - 1]), None);
            assert_eq!(Session::decode(&[&bytes[..], b"x"].concat()), None);
            assert!(!format!("{session:?}").contains("refresh\""), "{session:?}");
        }
    }

    #[test]
    fn who_it_is_follows_the_rules_of_today() {
        let issuer = Arc::from("https://id.example");
        let roles = ClaimPath::parse("groups");
        let consumer = ConsumerRule::Claim(ClaimPath::parse("sub").unwrap());
        let rules =
            SessionRules { issuer: &issuer, consumer: Some(&consumer), roles: roles.as_ref(), tags: &[] };
        let identity = session().identity(rules, TERMS).unwrap();
        assert_eq!(identity.consumer().map(|name| &**name), Some("ada"));
        assert_eq!(identity.roles().len(), 1);
        assert_eq!(identity.method(), Method::OpenIdConnect);
        assert_eq!(identity.until_unix_ms(), 1_001_000);
        let missing = ConsumerRule::Claim(ClaimPath::parse("email").unwrap());
        let found = session().identity(SessionRules { consumer: Some(&missing), ..rules }, TERMS);
        assert_eq!(found.unwrap_err(), TokenFlaw::ClaimMissing);
        let other = Arc::from("https://other.example");
        let found = session().identity(SessionRules { issuer: &other, ..rules }, TERMS);
        assert_eq!(found.unwrap_err(), TokenFlaw::Issuer);
    }
}
