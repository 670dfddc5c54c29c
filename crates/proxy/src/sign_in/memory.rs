//! What is remembered of sessions beside the browsers' cookies.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, PoisonError},
};

use bartizan_identity::{introspection::TokenDigest, oidc::Session};

/// 65,536 of each: sign-ins of ten minutes, sessions that signed out. About 6 MiB when full.
const REMEMBERED_MAX: usize = 65_536;

/// 4,096 renewals of the last minute: each holds a session of some kilobytes.
const RENEWED_MAX: usize = 4_096;

/// A minute: so long requests with the cookie from before a renewal may still be under way.
const RENEWED_MS: u64 = 60_000;

/// What became of a session whose tokens were to be renewed.
#[derive(Clone, Debug)]
pub(crate) enum Renewal {
    /// It goes on as this one.
    Anew(Arc<Session>),
    /// The provider does not renew it: it has ended.
    Ended,
    /// The provider cannot be asked now.
    Unavailable,
}

/// Outlives reloads: a session that signed out stays so whatever a document changes.
#[derive(Default)]
pub(crate) struct Memory {
    spent: Mutex<Bounded<TokenDigest, ()>>,
    ended: Mutex<Bounded<[u8; 16], ()>>,
    renewed: Mutex<Bounded<TokenDigest, Renewal>>,
}

impl Memory {
    /// Notes that a sign-in is answered; `false` if it was before.
    pub(crate) fn spend(&self, state: &str, until_ms: u64, now_ms: u64) -> bool {
        let key = TokenDigest::of(state.as_bytes());
        let mut spent = self.spent.lock().unwrap_or_else(PoisonError::into_inner);
        if spent.get(&key, now_ms).is_some() {
            return false;
        }
        spent.put(key, (), until_ms, now_ms, REMEMBERED_MAX);
        true
    }

    /// Ends a session here, until it would have ended anyway.
    pub(crate) fn end(&self, id: [u8; 16], until_ms: u64, now_ms: u64) {
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        ended.put(id, (), until_ms, now_ms, REMEMBERED_MAX);
    }

    /// Whether a session was ended here.
    pub(crate) fn has_ended(&self, id: &[u8; 16], now_ms: u64) -> bool {
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        ended.get(id, now_ms).is_some()
    }

    /// What a refresh token was exchanged for a moment ago.
    pub(super) fn renewed(&self, token: &TokenDigest, now_ms: u64) -> Option<Renewal> {
        let renewed = self.renewed.lock().unwrap_or_else(PoisonError::into_inner);
        renewed.get(token, now_ms).cloned()
    }

    pub(super) fn note_renewed(&self, token: TokenDigest, renewal: Renewal, now_ms: u64) {
        let mut renewed = self.renewed.lock().unwrap_or_else(PoisonError::into_inner);
        renewed.put(token, renewal, now_ms.saturating_add(RENEWED_MS), now_ms, RENEWED_MAX);
    }
}

/// Things that matter until a time. A full one first loses what is over, then what would be over first.
struct Bounded<K, V>(HashMap<K, (V, u64)>);

impl<K, V> Default for Bounded<K, V> {
    fn default() -> Self {
        Bounded(HashMap::new())
    }
}

impl<K: Eq + Hash + Copy, V> Bounded<K, V> {
    fn get(&self, key: &K, now_ms: u64) -> Option<&V> {
        self.0.get(key).filter(|(_, until_ms)| now_ms < *until_ms).map(|(value, _)| value)
    }

    fn put(&mut self, key: K, value: V, until_ms: u64, now_ms: u64, most: usize) {
        if self.0.len() >= most {
            self.0.retain(|_, (_, until_ms)| now_ms < *until_ms);
        }
        if self.0.len() >= most
            && let Some(first) = self.0.iter().min_by_key(|(_, (_, until_ms))| *until_ms).map(|(key, _)| *key)
        {
            self.0.remove(&first);
        }
        self.0.insert(key, (value, until_ms));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sign_in_is_answered_once() {
        let memory = Memory::default();
        assert!(memory.spend("a", 100, 1) && !memory.spend("a", 100, 2) && memory.spend("b", 100, 2));
        // Its time is over: what it answered is refused for its age.
        assert!(memory.spend("a", 200, 100));
    }

    #[test]
    fn a_session_that_ended_stays_ended_and_what_is_kept_is_bounded() {
        let memory = Memory::default();
        memory.end([1; 16], 100, 1);
        assert!(memory.has_ended(&[1; 16], 99) && !memory.has_ended(&[1; 16], 100));
        assert!(!memory.has_ended(&[2; 16], 1));
        let mut bounded = Bounded::default();
        for number in 0..100_u64 {
            bounded.put(number, (), 1_000 + number, 1, 10);
        }
        let mut kept: Vec<u64> = bounded.0.keys().copied().collect();
        kept.sort_unstable();
        assert_eq!(kept, (90..100).collect::<Vec<_>>());
        bounded.put(7, (), 5_000, 2_000, 10);
        assert_eq!(bounded.0.len(), 1, "what is over goes first");
    }
}
