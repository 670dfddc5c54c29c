//! The keys of one issuer.
//!
//! A key that cannot be used is left out and named (RFC 7517 §5), so one odd key does not close the gate for all
//! others. A set that holds secrets beside public keys is refused whole: nobody publishes that on purpose, and it is
//! the ground on which key confusion grows.

use std::fmt;

use aws_lc_rs::digest;

use super::key::{Key, KeyFlaw, Origin};
use crate::{
    algorithm::{Algorithm, MacAlgorithm},
    json::{Budget, Json, JsonFlaw, Object},
};

/// The usable keys of one issuer.
pub struct KeySet {
    keys: Box<[Key]>,
    unusable: Box<[Unusable]>,
    print: [u8; 32],
}

/// A key that was left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unusable {
    /// Its place in the set, from 0.
    pub at: usize,
    /// Why.
    pub flaw: KeyFlaw,
}

/// Why a whole set is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeySetFlaw {
    /// A name occurs twice in one object.
    Duplicate,
    /// Not a key set, or not JSON.
    Malformed,
    /// Shared secrets beside public keys.
    Mixed,
    /// A shared secret where everybody can read it.
    Secret,
    /// More than 64 KiB, 100 keys, or too deep.
    TooLarge,
}

impl KeySetFlaw {
    /// The word for records and problems.
    pub const fn as_str(self) -> &'static str {
        match self {
            KeySetFlaw::Duplicate => "duplicate",
            KeySetFlaw::Malformed => "malformed",
            KeySetFlaw::Mixed => "mixed",
            KeySetFlaw::Secret => "secret",
            KeySetFlaw::TooLarge => "too_large",
        }
    }
}

impl fmt::Display for KeySetFlaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl KeySet {
    /// A set without a key: nobody's signature is in it.
    pub(crate) fn empty() -> Self {
        KeySet { keys: Box::default(), unusable: Box::default(), print: [0; 32] }
    }

    /// How long the text of a set may be; whoever fetches stops reading here.
    pub const BYTES_MAX: usize = 64 * 1024;

    /// How many keys a set may have, unusable ones included.
    pub const KEYS_MAX: usize = 100;

    /// Reads `{"keys": […]}`; from the operator also a single key.
    pub fn parse(text: &[u8], origin: Origin) -> Result<Self, KeySetFlaw> {
        if text.len() > Self::BYTES_MAX {
            return Err(KeySetFlaw::TooLarge);
        }
        let document = Object::parse(text, BUDGET).map_err(|flaw| match flaw {
            JsonFlaw::Duplicate => KeySetFlaw::Duplicate,
            JsonFlaw::Malformed => KeySetFlaw::Malformed,
            JsonFlaw::TooLarge => KeySetFlaw::TooLarge,
        })?;
        match document.get("keys") {
            Some(Json::List(keys)) => {
                let keys: Option<Vec<&Object>> = keys
                    .iter()
                    .map(|key| match key {
                        Json::Object(key) => Some(key),
                        _ => None,
                    })
                    .collect();
                Self::read(&keys.ok_or(KeySetFlaw::Malformed)?, origin)
            }
            None if origin == Origin::Given => Self::read(&[&document], origin),
            _ => Err(KeySetFlaw::Malformed),
        }
    }

    /// The operator's own secrets, all of one algorithm; two while one replaces the other. They have no names.
    pub fn of_secrets<'a>(
        secrets: impl IntoIterator<Item = &'a [u8]>,
        algorithm: MacAlgorithm,
    ) -> Result<Self, KeyFlaw> {
        let keys = secrets.into_iter().map(|secret| Key::of_secret(None, secret, Some(algorithm)));
        Ok(Self::of(keys.collect::<Result<_, _>>()?, Vec::new()))
    }

    fn read(jwks: &[&Object], origin: Origin) -> Result<Self, KeySetFlaw> {
        if jwks.len() > Self::KEYS_MAX {
            return Err(KeySetFlaw::TooLarge);
        }
        // Judged by what the keys say they are, usable or not.
        let secrets = jwks.iter().filter(|key| key.get("kty").and_then(Json::as_text) == Some("oct")).count();
        if secrets > 0 && secrets < jwks.len() {
            return Err(KeySetFlaw::Mixed);
        }
        if secrets > 0 && origin == Origin::Published {
            return Err(KeySetFlaw::Secret);
        }
        let mut keys: Vec<(usize, Key)> = Vec::new();
        let mut unusable = Vec::new();
        // What bad keys are called: a good key of the same name may not be the one that was meant.
        let mut tainted: Vec<&str> = Vec::new();
        for (at, jwk) in jwks.iter().enumerate() {
            match Key::read(jwk, origin) {
                // The same key listed twice is one key.
                Ok(key) if keys.iter().any(|(_, earlier)| is_same(earlier, &key)) => {}
                Ok(key) => keys.push((at, key)),
                Err(flaw) => {
                    let kid = jwk.get("kid").and_then(Json::as_text);
                    tainted.extend(kid.filter(|_| !flaw.is_elsewhere()));
                    unusable.push(Unusable { at, flaw });
                }
            }
        }
        let has_rival = |(at, key): &&(usize, Key)| {
            key.kid().is_some_and(|kid| tainted.contains(&kid))
                || keys.iter().any(|(other, rival)| other != at && is_ambiguous(key, rival))
        };
        let ambiguous: Vec<usize> = keys.iter().filter(has_rival).map(|(at, _)| *at).collect();
        keys.retain(|(at, _)| !ambiguous.contains(at));
        unusable.extend(ambiguous.into_iter().map(|at| Unusable { at, flaw: KeyFlaw::Ambiguous }));
        Ok(Self::of(keys.into_iter().map(|(_, key)| key).collect(), unusable))
    }

    fn of(keys: Vec<Key>, unusable: Vec<Unusable>) -> Self {
        let mut prints: Vec<(&str, &[u8; 32])> =
            keys.iter().map(|key| (key.kid().unwrap_or_default(), key.print())).collect();
        prints.sort_unstable();
        let mut print = digest::Context::new(&digest::SHA256);
        for (kid, key) in prints {
            print.update(&kid.len().to_be_bytes());
            print.update(kid.as_bytes());
            print.update(key);
        }
        let print = print.finish().as_ref().try_into().unwrap_or_default();
        KeySet { keys: keys.into(), unusable: unusable.into(), print }
    }

    /// The usable keys.
    pub fn keys(&self) -> &[Key] {
        &self.keys
    }

    /// The keys that were left out, for the operator.
    pub fn unusable(&self) -> &[Unusable] {
        &self.unusable
    }

    /// Whether it holds shared secrets.
    pub fn is_secret(&self) -> bool {
        self.keys.iter().any(Key::is_secret)
    }

    /// A hash that is equal for sets that verify the same, in whatever order they were written.
    pub const fn print(&self) -> &[u8; 32] {
        &self.print
    }

    /// Whether there is a key for this token at all.
    pub(crate) fn has(&self, kid: Option<&str>, algorithm: Algorithm) -> bool {
        self.candidates(kid, algorithm).next().is_some()
    }

    /// Whether one of the keys that the token may mean made the signature. Where the token or the set names no keys,
    /// several may be meant: at most [`TRIES_MAX`] are tried, so that one token cannot cost a hundred verifications.
    pub(crate) fn verifies(
        &self,
        kid: Option<&str>,
        algorithm: Algorithm,
        message: &[u8],
        signature: &[u8],
    ) -> bool {
        self.candidates(kid, algorithm).take(TRIES_MAX).any(|key| key.verifies(algorithm, message, signature))
    }

    /// `kid` only looks up (RFC 8725 §3.10): it is compared with names, and never leads anywhere else. In a set that
    /// names none of its keys a token's name says nothing.
    fn candidates<'a>(&'a self, kid: Option<&'a str>, algorithm: Algorithm) -> impl Iterator<Item = &'a Key> {
        let kid = kid.filter(|_| self.keys.iter().any(|key| key.kid().is_some()));
        self.keys.iter().filter(move |key| {
            kid.is_none_or(|kid| key.kid() == Some(kid)) && key.algorithms().any(|known| known == algorithm)
        })
    }
}

impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeySet")
            .field("keys", &self.keys)
            .field("unusable", &self.unusable)
            .finish_non_exhaustive()
    }
}

fn is_same(one: &Key, other: &Key) -> bool {
    one.kid() == other.kid() && one.print() == other.print()
}

fn is_ambiguous(one: &Key, other: &Key) -> bool {
    one.kid().is_some()
        && one.kid() == other.kid()
        && one.algorithms().any(|algorithm| other.algorithms().any(|known| known == algorithm))
}

/// Enough for a key and its successor, twice.
const TRIES_MAX: usize = 4;

/// A key has about ten members, and certificates in a list.
const BUDGET: Budget = Budget { depth: 6, members: 64, values: 4096 };
