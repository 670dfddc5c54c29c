//! An issuer of tokens, as its policy trusts it.
//!
//! What a token must be is fixed here and never taken from the token. [`Trust`] makes the classic confusions
//! unspeakable: shared secrets have their own variant with their own algorithms, so no configuration has HS256
//! beside RS256. An issuer without audience or algorithm does not compile: a check that is only made where somebody
//! asked for it is the one that is missing.

use std::{fmt, sync::Arc};

use bartizan_model::SecretValue;

use crate::{
    algorithm::{Algorithm, MacAlgorithm, SignatureAlgorithm},
    claim::Method,
    jwk::{KeyFlaw, KeySet},
    jwt::{identity::Mapping, path::ClaimPath},
};

/// What is said about an issuer; [`Issuer::compile`] judges it.
#[derive(Debug)]
pub struct IssuerSpec {
    /// What `iss` must be, exactly.
    pub name: Arc<str>,
    /// Whose signatures count.
    pub trust: Trust,
    /// One of these must be in `aud`.
    pub audiences: Vec<Box<str>>,
    /// How far clocks may differ.
    pub leeway_ms: u64,
    /// Claims that must be there, besides `iss`, `aud` and `exp`.
    pub required: Vec<ClaimPath>,
    /// How long after `iat` a token may be used, whatever its `exp` says; `iat` must then be there.
    pub age_max_ms: Option<u64>,
    /// What `typ` may be.
    pub types: Vec<Box<str>>,
    /// Whether `typ` may be left out.
    pub allow_untyped: bool,
    /// Whether the header must name its key.
    pub require_kid: bool,
    /// Whether tokens may be withdrawn; `jti` must then be there.
    pub revocable: bool,
    /// Which consumer a token belongs to; `None` for none.
    pub consumer: Option<ConsumerRule>,
    /// Where the roles stand: a list of strings, or one string with spaces between. No claim means no roles.
    pub roles: Option<ClaimPath>,
    /// Further facts for policies and records: a name, and where its string, number or truth value stands.
    pub tags: Vec<(Arc<str>, ClaimPath)>,
}

impl IssuerSpec {
    /// With the defaults: a minute of leeway; `JWT`, `at+jwt` or no `typ`; no further demands, no mapping.
    pub fn new(name: impl Into<Arc<str>>, trust: Trust, audiences: Vec<Box<str>>) -> Self {
        IssuerSpec {
            name: name.into(),
            trust,
            audiences,
            leeway_ms: LEEWAY_MS,
            required: Vec::new(),
            age_max_ms: None,
            types: vec!["JWT".into(), "at+jwt".into()],
            allow_untyped: true,
            require_kid: false,
            revocable: false,
            consumer: None,
            roles: None,
            tags: Vec::new(),
        }
    }
}

/// Whose signatures count.
#[derive(Debug)]
pub enum Trust {
    /// Those of the keys an issuer publishes, fetched and kept by [`KeySetCache`](super::KeySetCache).
    Fetched {
        /// Under which name the set is kept: the issuer's, or the address if one is written out. Two policies that
        /// name one issuer and two addresses must give two names, else one would trust the other's keys.
        key_set: Arc<str>,
        /// What it may sign with.
        algorithms: Vec<SignatureAlgorithm>,
    },
    /// Those of public keys that the operator gave.
    Given {
        /// The keys.
        keys: Arc<KeySet>,
        /// What they may sign with.
        algorithms: Vec<SignatureAlgorithm>,
    },
    /// Those of a secret shared with this issuer alone.
    Shared {
        /// The secret; several while one replaces the other.
        secrets: Vec<SecretValue>,
        /// What it signs with.
        algorithm: MacAlgorithm,
    },
    /// Nobody's: no token can be judged by such an issuer, only what is known of one that was
    /// ([`TokenFacts`](super::TokenFacts)). For rehearsals, which hold no keys.
    Nobody {
        /// What its tokens are signed with.
        algorithms: Vec<Algorithm>,
    },
}

/// Which consumer a token belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConsumerRule {
    /// The one a claim names; a token without it is refused.
    Claim(ClaimPath),
    /// Always the same.
    Fixed(Arc<str>),
}

/// Why an issuer does not compile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IssuerFlaw {
    /// No algorithm is allowed.
    NoAlgorithm,
    /// No audience, or an empty one.
    NoAudience,
    /// No secret was given, or no key for any of the algorithms.
    NoKey,
    /// The issuer has no name.
    NoName,
    /// No `typ` is allowed, and leaving it out neither.
    NoType,
    /// Clocks may differ by more than five minutes.
    Leeway,
    /// A given secret is not usable.
    Secret(KeyFlaw),
    /// Given public keys are shared secrets.
    SecretGiven,
    /// More than four secrets.
    SecretsTooMany,
}

impl fmt::Display for IssuerFlaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            IssuerFlaw::NoAlgorithm => f.write_str("no algorithm is allowed"),
            IssuerFlaw::NoAudience => f.write_str("no audience is named"),
            IssuerFlaw::NoKey => f.write_str("there is no key for these algorithms"),
            IssuerFlaw::NoName => f.write_str("the issuer has no name"),
            IssuerFlaw::NoType => f.write_str("no type is allowed, and none neither"),
            IssuerFlaw::Leeway => f.write_str("the leeway exceeds five minutes"),
            IssuerFlaw::Secret(KeyFlaw::SecretTooShort) => {
                f.write_str("a secret is shorter than the algorithm's hash")
            }
            IssuerFlaw::Secret(flaw) => write!(f, "a secret is not usable: {flaw}"),
            IssuerFlaw::SecretGiven => f.write_str("the given keys are shared secrets and not public keys"),
            IssuerFlaw::SecretsTooMany => f.write_str("more than four secrets"),
        }
    }
}

/// A judged issuer, ready to judge its tokens.
#[derive(Debug)]
pub struct Issuer {
    pub(super) name: Arc<str>,
    pub(super) keys: IssuerKeys,
    pub(super) algorithms: Box<[Algorithm]>,
    pub(super) audiences: Box<[Box<str>]>,
    pub(super) leeway_ms: i64,
    pub(super) required: Box<[ClaimPath]>,
    pub(super) age_max_ms: Option<i64>,
    pub(super) types: Box<[Box<str>]>,
    pub(super) allow_untyped: bool,
    pub(super) require_kid: bool,
    pub(super) revocable: bool,
    pub(super) consumer: Option<ConsumerRule>,
    pub(super) roles: Option<ClaimPath>,
    pub(super) tags: Box<[(Arc<str>, ClaimPath)]>,
}

/// Where the judge finds an issuer's keys.
#[derive(Debug)]
pub(super) enum IssuerKeys {
    Fetched(Arc<str>),
    Held(Arc<KeySet>),
}

impl Issuer {
    /// Judges what is said about an issuer.
    pub fn compile(spec: IssuerSpec) -> Result<Self, IssuerFlaw> {
        if spec.name.is_empty() {
            return Err(IssuerFlaw::NoName);
        }
        if spec.audiences.is_empty() || spec.audiences.iter().any(|audience| audience.is_empty()) {
            return Err(IssuerFlaw::NoAudience);
        }
        if spec.leeway_ms > LEEWAY_MS_MAX {
            return Err(IssuerFlaw::Leeway);
        }
        if spec.types.is_empty() && !spec.allow_untyped {
            return Err(IssuerFlaw::NoType);
        }
        let (keys, algorithms) = trusted(spec.trust)?;
        Ok(Issuer {
            name: spec.name,
            keys,
            algorithms,
            audiences: spec.audiences.into(),
            leeway_ms: saturated(spec.leeway_ms),
            required: spec.required.into(),
            age_max_ms: spec.age_max_ms.map(saturated),
            types: spec.types.into(),
            allow_untyped: spec.allow_untyped,
            require_kid: spec.require_kid,
            revocable: spec.revocable,
            consumer: spec.consumer,
            roles: spec.roles,
            tags: spec.tags.into(),
        })
    }

    /// What its claims mean.
    pub(super) fn mapping(&self) -> Mapping<'_> {
        Mapping {
            issuer: &self.name,
            consumer: self.consumer.as_ref(),
            roles: self.roles.as_ref(),
            tags: &self.tags,
            method: Method::Jwt,
        }
    }

    /// What `iss` must be.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The name of the set that must be fetched for it, if any.
    pub fn key_set(&self) -> Option<&Arc<str>> {
        match &self.keys {
            IssuerKeys::Fetched(key_set) => Some(key_set),
            IssuerKeys::Held(_) => None,
        }
    }
}

fn trusted(trust: Trust) -> Result<(IssuerKeys, Box<[Algorithm]>), IssuerFlaw> {
    let (keys, algorithms) = match trust {
        Trust::Fetched { key_set, algorithms } => (IssuerKeys::Fetched(key_set), algorithms),
        Trust::Given { keys, algorithms } => {
            if keys.is_secret() {
                return Err(IssuerFlaw::SecretGiven);
            }
            let is_used = |algorithm| algorithms.iter().any(|one| Algorithm::Signature(*one) == algorithm);
            if !algorithms.is_empty() && !keys.keys().iter().any(|key| key.algorithms().any(is_used)) {
                return Err(IssuerFlaw::NoKey);
            }
            (IssuerKeys::Held(keys), algorithms)
        }
        Trust::Shared { secrets, algorithm } => {
            if secrets.is_empty() {
                return Err(IssuerFlaw::NoKey);
            }
            if secrets.len() > SECRETS_MAX {
                return Err(IssuerFlaw::SecretsTooMany);
            }
            let set = KeySet::of_secrets(secrets.iter().map(SecretValue::expose), algorithm);
            let set = set.map_err(IssuerFlaw::Secret)?;
            return Ok((IssuerKeys::Held(Arc::new(set)), [Algorithm::Mac(algorithm)].into()));
        }
        // An empty set: whatever asks it for a key finds none.
        Trust::Nobody { algorithms } => {
            return Ok((IssuerKeys::Held(Arc::new(KeySet::empty())), algorithms.into()));
        }
    };
    if algorithms.is_empty() {
        return Err(IssuerFlaw::NoAlgorithm);
    }
    Ok((keys, algorithms.into_iter().map(Algorithm::Signature).collect()))
}

fn saturated(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX)
}

/// A minute: what clocks on the internet differ by at most, if anybody looks after them.
const LEEWAY_MS: u64 = 60_000;

/// Five minutes: a longer leeway is a longer expiry in disguise.
const LEEWAY_MS_MAX: u64 = 300_000;

/// As many as the set tries.
const SECRETS_MAX: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    fn shared(len: usize) -> Trust {
        Trust::Shared { secrets: vec![SecretValue::new(vec![7; len])], algorithm: MacAlgorithm::Hs256 }
    }

    fn spec(change: impl FnOnce(&mut IssuerSpec)) -> Option<IssuerFlaw> {
        let mut spec = IssuerSpec::new("https://id.example", shared(32), vec!["api".into()]);
        change(&mut spec);
        Issuer::compile(spec).err()
    }

    #[test]
    fn an_issuer_that_would_leave_a_check_out_does_not_compile() {
        let oct = br#"{"kty":"oct","k":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}"#;
        let oct = Arc::new(KeySet::parse(oct, crate::jwk::Origin::Given).unwrap());
        let ed = br#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
        let ed = Arc::new(KeySet::parse(ed, crate::jwk::Origin::Given).unwrap());
        let none = Arc::new(KeySet::parse(br#"{"keys":[]}"#, crate::jwk::Origin::Given).unwrap());
        let rs256 = || vec![SignatureAlgorithm::Rs256];
        assert_eq!(spec(|_| {}), None);
        for (flaw, found) in [
            (IssuerFlaw::NoName, spec(|spec| spec.name = "".into())),
            (IssuerFlaw::NoAudience, spec(|spec| spec.audiences.clear())),
            (IssuerFlaw::NoAudience, spec(|spec| spec.audiences.push("".into()))),
            (IssuerFlaw::Leeway, spec(|spec| spec.leeway_ms = 300_001)),
            (
                IssuerFlaw::NoType,
                spec(|spec| {
                    spec.types.clear();
                    spec.allow_untyped = false;
                }),
            ),
            (
                IssuerFlaw::NoAlgorithm,
                spec(|spec| spec.trust = Trust::Fetched { key_set: "a".into(), algorithms: Vec::new() }),
            ),
            (
                IssuerFlaw::SecretGiven,
                spec(|spec| spec.trust = Trust::Given { keys: oct, algorithms: rs256() }),
            ),
            (IssuerFlaw::NoKey, spec(|spec| spec.trust = Trust::Given { keys: ed, algorithms: rs256() })),
            (IssuerFlaw::NoKey, spec(|spec| spec.trust = Trust::Given { keys: none, algorithms: rs256() })),
            (IssuerFlaw::Secret(KeyFlaw::SecretTooShort), spec(|spec| spec.trust = shared(31))),
            (
                IssuerFlaw::NoKey,
                spec(|spec| {
                    spec.trust = Trust::Shared { secrets: Vec::new(), algorithm: MacAlgorithm::Hs256 };
                }),
            ),
        ] {
            assert_eq!(found, Some(flaw));
        }
    }

    #[test]
    fn an_issuer_shows_no_secret() {
        let issuer = Issuer::compile(IssuerSpec::new("id", shared(32), vec!["api".into()])).unwrap();
        let shown = format!("{issuer:?} {:?}", shared(32));
        assert!(!shown.contains("7, 7"), "{shown}");
    }
}
