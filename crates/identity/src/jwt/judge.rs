//! The decision about a token.
//!
//! In this order: the form, the issuer it names, what that issuer may use, the signature, and only then what the
//! token says. So nothing is told of a forged token's contents, and no key is asked for a token that could not hold.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use aws_lc_rs::digest;
use bartizan_model::{Fault, Stage};

use crate::{
    claim::Claim,
    jwk::KeySet,
    jwt::{
        cache::{Remembered, TokenCache},
        claims::{self, Span},
        compact::{Header, Jws, TOKEN_BYTES_MAX, is_same_type},
        flaw::{InvalidToken, TokenFlaw},
        identity::{TokenId, TokenIdentity},
        issuer::{Issuer, IssuerKeys},
        source::{Keys, Lookup, Sources},
    },
};

/// What became of a token.
pub type TokenClaim = Claim<TokenIdentity, InvalidToken>;

/// What the judge answers.
#[derive(Debug)]
#[must_use]
pub enum Outcome {
    /// Decided.
    Decided(TokenClaim),
    /// Not decidable now, and not soon: the issuer's keys cannot be had.
    Faulted(Fault),
    /// Decidable after this look-up; then judge again.
    Needs(Lookup),
}

/// Judges the tokens of a policy's issuers.
#[derive(Debug)]
pub struct TokenJudge {
    issuers: Box<[Issuer]>,
    id: JudgeId,
}

/// Tells the judges of one process apart, so that what one let pass is nothing to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct JudgeId(u64);

/// Why a token is not let pass, or not yet.
enum Stop {
    Fault(Fault),
    Flaw(TokenFlaw, Option<Arc<str>>),
    Lookup(Lookup),
}

/// A token that passed, and under which circumstances.
struct Passed {
    identity: TokenIdentity,
    issuer: usize,
    generation: u64,
    span: Span,
}

impl TokenJudge {
    /// A judge of these issuers; `None` if there is none, or two of one name: which of them is meant could not be told.
    pub fn new(issuers: Vec<Issuer>) -> Option<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let repeats =
            |at: usize, one: &Issuer| issuers.iter().take(at).any(|earlier| earlier.name == one.name);
        if issuers.is_empty() || issuers.iter().enumerate().any(|(at, one)| repeats(at, one)) {
            return None;
        }
        let id = JudgeId(NEXT.fetch_add(1, Ordering::Relaxed));
        Some(TokenJudge { issuers: issuers.into(), id })
    }

    /// Its issuers.
    pub fn issuers(&self) -> &[Issuer] {
        &self.issuers
    }

    /// Judges a presented token: valid or invalid, never absent. An empty one is malformed.
    pub fn judge(&self, presented: &[u8], sources: &Sources<'_>, now_unix_ms: u64) -> Outcome {
        let digest = || digest_of(presented);
        answer(self.weigh(presented, digest, sources, now_unix_ms).map(|passed| passed.identity))
    }

    /// The same, remembering valid tokens. What is remembered counts only while the issuer's keys and the withdrawals
    /// are those it was judged with, and for five minutes at most.
    pub fn judge_cached(
        &self,
        presented: &[u8],
        sources: &Sources<'_>,
        cache: &mut TokenCache,
        now_unix_ms: u64,
    ) -> Outcome {
        if presented.len() > TOKEN_BYTES_MAX {
            return answer(Err(Stop::Flaw(TokenFlaw::TooLarge, None)));
        }
        let digest = digest_of(presented);
        let revocations = sources.revocations.generation();
        if let Some(known) = cache.find(&digest, self.id, now_unix_ms)
            && known.revocations == revocations
            && self.generation(known.issuer, sources, now_unix_ms) == Some(known.generation)
        {
            return Outcome::Decided(Claim::Valid(known.identity.clone()));
        }
        let passed = self.weigh(presented, || digest, sources, now_unix_ms);
        answer(passed.map(|passed| {
            cache.remember(Remembered {
                digest,
                judge: self.id,
                issuer: passed.issuer,
                generation: passed.generation,
                revocations,
                from_ms: unsigned(passed.span.from_ms),
                until_ms: unsigned(passed.span.until_ms).min(now_unix_ms.saturating_add(REMEMBER_MS_MAX)),
                identity: passed.identity.clone(),
            });
            passed.identity
        }))
    }

    /// The generation of an issuer's keys; `None` if there are none now.
    fn generation(&self, issuer: usize, sources: &Sources<'_>, now_unix_ms: u64) -> Option<u64> {
        match &self.issuers.get(issuer)?.keys {
            IssuerKeys::Held(_) => Some(0),
            IssuerKeys::Fetched(key_set) => match sources.keys.keys(key_set, now_unix_ms) {
                Keys::Ready { generation, .. } => Some(generation),
                Keys::Missing | Keys::Unavailable => None,
            },
        }
    }

    fn weigh(
        &self,
        presented: &[u8],
        digest: impl FnOnce() -> [u8; 32],
        sources: &Sources<'_>,
        now_unix_ms: u64,
    ) -> Result<Passed, Stop> {
        let unnamed = |flaw| Stop::Flaw(flaw, None);
        let jws = Jws::parse(presented).map_err(unnamed)?;
        // Read before the signature, because `iss` says whose it is; believed only after it.
        let claims = claims::read(jws.unverified_payload()).map_err(unnamed)?;
        let name = claims.text("iss").ok().flatten().ok_or(unnamed(TokenFlaw::Issuer))?;
        let found = self.issuers.iter().enumerate().find(|(_, issuer)| *issuer.name == *name);
        let (at, issuer) = found.ok_or(unnamed(TokenFlaw::Issuer))?;
        let named = |flaw| Stop::Flaw(flaw, Some(Arc::clone(&issuer.name)));

        judge_header(jws.header(), issuer).map_err(named)?;
        let (keys, generation) = keys_for(jws.header(), issuer, sources, now_unix_ms)?;
        if !jws.is_signed_by(keys) {
            return Err(named(TokenFlaw::Signature));
        }
        let now_ms = i64::try_from(now_unix_ms).unwrap_or(i64::MAX);
        let span = claims::judge(&claims, issuer, sources.revocations, now_ms).map_err(named)?;
        let id = TokenId::of(&digest());
        let until_ms = unsigned(span.until_ms);
        let identity = TokenIdentity::map(claims, issuer.mapping(), id, until_ms).map_err(named)?;
        Ok(Passed { identity, issuer: at, generation, span })
    }
}

pub(super) fn judge_header(header: &Header, issuer: &Issuer) -> Result<(), TokenFlaw> {
    if !issuer.algorithms.contains(&header.algorithm) {
        return Err(TokenFlaw::Algorithm);
    }
    let is_typed = match &header.typ {
        None => issuer.allow_untyped,
        Some(typ) => issuer.types.iter().any(|allowed| is_same_type(allowed, typ)),
    };
    if !is_typed {
        return Err(TokenFlaw::Type);
    }
    if issuer.require_kid && header.kid.is_none() {
        return Err(TokenFlaw::KeyUnknown);
    }
    Ok(())
}

/// The set in which the token's key is. A key that is not there is asked for, if that may be done now.
fn keys_for<'a>(
    header: &Header,
    issuer: &'a Issuer,
    sources: &Sources<'a>,
    now_unix_ms: u64,
) -> Result<(&'a KeySet, u64), Stop> {
    let has_key = |set: &KeySet| set.has(header.kid.as_deref(), header.algorithm);
    let unknown = || Stop::Flaw(TokenFlaw::KeyUnknown, Some(Arc::clone(&issuer.name)));
    let name = match &issuer.keys {
        IssuerKeys::Held(set) => return if has_key(set) { Ok((set, 0)) } else { Err(unknown()) },
        IssuerKeys::Fetched(name) => name,
    };
    let lookup = || Stop::Lookup(Lookup::KeySet { issuer: Arc::clone(name) });
    match sources.keys.keys(name, now_unix_ms) {
        Keys::Ready { set, generation, .. } if has_key(set) => Ok((set, generation)),
        Keys::Ready { may_ask: true, .. } | Keys::Missing => Err(lookup()),
        Keys::Ready { .. } => Err(unknown()),
        Keys::Unavailable => {
            let what = format!("the keys of issuer {} cannot be fetched", issuer.name);
            Err(Stop::Fault(Fault::new(Stage::Identify, what)))
        }
    }
}

fn answer(judged: Result<TokenIdentity, Stop>) -> Outcome {
    match judged {
        Ok(identity) => Outcome::Decided(Claim::Valid(identity)),
        Err(Stop::Flaw(flaw, issuer)) => Outcome::Decided(Claim::Invalid(InvalidToken { flaw, issuer })),
        Err(Stop::Fault(fault)) => Outcome::Faulted(fault),
        Err(Stop::Lookup(lookup)) => Outcome::Needs(lookup),
    }
}

fn digest_of(presented: &[u8]) -> [u8; 32] {
    digest::digest(&digest::SHA256, presented).as_ref().try_into().unwrap_or_default()
}

fn unsigned(ms: i64) -> u64 {
    u64::try_from(ms).unwrap_or(0)
}

/// Five minutes: so long may a change outside of what is watched go unseen.
const REMEMBER_MS_MAX: u64 = 300_000;
