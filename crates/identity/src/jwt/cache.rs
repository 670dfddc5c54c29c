//! Tokens that were valid a moment ago.
//!
//! One table per core, of fixed size, without locks: eight places for each group of digests. Digests are spread
//! evenly and only valid tokens are kept, so nobody chooses what is displaced. Invalid tokens are not kept: an
//! attacker has as many of them as he likes. What makes an entry count is the judge's to say.

use std::fmt;

use crate::jwt::{identity::TokenIdentity, judge::JudgeId};

/// The valid tokens that one core remembers.
pub struct TokenCache {
    groups: Box<[[Option<Remembered>; WAYS]]>,
}

/// A valid token and the circumstances under which it was.
pub(super) struct Remembered {
    pub(super) digest: [u8; 32],
    pub(super) judge: JudgeId,
    pub(super) issuer: usize,
    pub(super) generation: u64,
    pub(super) revocations: u64,
    pub(super) from_ms: u64,
    pub(super) until_ms: u64,
    pub(super) identity: TokenIdentity,
}

impl TokenCache {
    /// Room for about `tokens` tokens, rounded up to a power of two; none for 0.
    pub fn new(tokens: usize) -> Self {
        let groups = if tokens == 0 { 0 } else { tokens.min(TOKENS_MAX).div_ceil(WAYS).next_power_of_two() };
        TokenCache { groups: (0..groups).map(|_| [const { None }; WAYS]).collect() }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        for group in &mut self.groups {
            *group = [const { None }; WAYS];
        }
    }

    pub(super) fn find(&self, digest: &[u8; 32], judge: JudgeId, now_unix_ms: u64) -> Option<&Remembered> {
        self.groups.get(self.place(digest))?.iter().flatten().find(|known| {
            known.digest == *digest
                && known.judge == judge
                && (known.from_ms..known.until_ms).contains(&now_unix_ms)
        })
    }

    /// Takes the place of the same token, else a free one, else the one that ends first.
    pub(super) fn remember(&mut self, token: Remembered) {
        let place = self.place(&token.digest);
        let Some(group) = self.groups.get_mut(place) else {
            return;
        };
        let rank = |known: &Option<Remembered>| match known {
            Some(known) if known.digest == token.digest && known.judge == token.judge => (0, 0),
            None => (1, 0),
            Some(known) => (2, known.until_ms),
        };
        if let Some(place) = group.iter_mut().min_by_key(|known| rank(known)) {
            *place = Some(token);
        }
    }

    fn place(&self, digest: &[u8; 32]) -> usize {
        let bits = digest.last_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        // The number of groups is a power of two.
        bits as usize & self.groups.len().wrapping_sub(1)
    }
}

impl fmt::Debug for TokenCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tokens = self.groups.iter().flatten().flatten().count();
        f.debug_struct("TokenCache").field("tokens", &tokens).finish_non_exhaustive()
    }
}

const WAYS: usize = 8;

/// An entry is at most about 30 KiB, and usually 2: more of them than this is a mistake.
const TOKENS_MAX: usize = 1 << 20;
