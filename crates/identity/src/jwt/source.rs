//! What the judge of tokens is told from outside: keys and revocations.
//!
//! Both are asked for what is known now and never wait. What is not known becomes [`Lookup`]: whoever runs the judge
//! does it and judges again.

use std::sync::Arc;

use crate::jwk::KeySet;

/// What must be looked up before a token can be decided.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Lookup {
    /// The keys of an issuer, under the name its [`Trust`](super::Trust) gives them.
    KeySet {
        /// That name.
        issuer: Arc<str>,
    },
}

/// Knows key sets by name.
pub trait KeySource {
    /// What is known of a set at this moment.
    fn keys(&self, issuer: &str, now_unix_ms: u64) -> Keys<'_>;
}

/// What is known of a key set.
#[derive(Clone, Copy, Debug)]
pub enum Keys<'a> {
    /// It is not here, and may be fetched.
    Missing,
    /// It is here.
    Ready {
        /// The keys.
        set: &'a Arc<KeySet>,
        /// Grows whenever the keys change, so that what was verified with others is verified again.
        generation: u64,
        /// Whether it may be fetched anew for a key that it lacks.
        may_ask: bool,
    },
    /// It is not here, and was asked for in vain too short a time ago.
    Unavailable,
}

/// Knows withdrawn tokens.
pub trait Revocations {
    /// Grows whenever a token is withdrawn, so that what was judged before is judged again.
    fn generation(&self) -> u64;

    /// Whether the token is withdrawn.
    fn is_revoked(&self, token: &TokenRef<'_>) -> bool;
}

/// What a token is recognised by. Genuine: its signature was verified.
#[derive(Clone, Copy)]
pub struct TokenRef<'a> {
    /// The issuer's configured name.
    pub issuer: &'a str,
    /// `jti`; always there for issuers whose tokens are revocable.
    pub jti: Option<&'a str>,
    /// `sub`.
    pub subject: Option<&'a str>,
    /// `iat`, in Unix milliseconds.
    pub issued_ms: Option<i64>,
}

/// For gateways that withdraw no tokens.
#[derive(Clone, Copy, Debug)]
pub struct NoRevocations;

impl Revocations for NoRevocations {
    fn generation(&self) -> u64 {
        0
    }

    fn is_revoked(&self, _token: &TokenRef<'_>) -> bool {
        false
    }
}

/// All that the judge is told.
#[derive(Clone, Copy)]
pub struct Sources<'a> {
    /// Keys that are fetched.
    pub keys: &'a dyn KeySource,
    /// Withdrawn tokens.
    pub revocations: &'a dyn Revocations,
}
