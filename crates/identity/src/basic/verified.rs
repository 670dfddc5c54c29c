//! Passwords that held a moment ago, so that a caller with many requests pays for one.
//!
//! What is kept is a keyed hash of the users' file, the name and the password, under a key of this process: neither can
//! be read out of it, and a changed file leaves nothing that could still be found. Only what held is remembered; a wrong
//! password costs its full price each time.

use std::{
    collections::HashMap,
    fmt,
    hash::{BuildHasherDefault, Hasher},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use aws_lc_rs::hmac;

use super::{BasicCredentials, BasicIdentity, BasicUsers};

/// How long a password that held is believed: as long as a withdrawn one may work on a busy connection.
pub const VERIFIED_FOR: Duration = Duration::from_secs(30);

/// Entries in all; beyond them the oldest of a shard goes.
const ENTRIES_MAX: usize = 4_096;
const SHARDS: usize = 16;

/// Names one name with one password in one file.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct VerifiedKey(pub(super) [u8; 32]);

struct Entry {
    consumer: Arc<str>,
    until: Duration,
}

/// The keys are hashes under a secret key, so eight bytes of them are as good as any hash.
#[derive(Default)]
struct FirstBytes(u64);

impl Hasher for FirstBytes {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = bytes.iter().take(8).fold(self.0, |number, byte| (number << 8) | u64::from(*byte));
    }
}

type Shard = HashMap<VerifiedKey, Entry, BuildHasherDefault<FirstBytes>>;

/// What held a moment ago.
pub struct Verified {
    key: hmac::Key,
    shards: [Mutex<Shard>; SHARDS],
}

impl Verified {
    /// Nothing yet. `seed` is this process's alone.
    pub fn new(seed: &[u8; 32]) -> Self {
        Verified { key: hmac::Key::new(hmac::HMAC_SHA256, seed), shards: Default::default() }
    }

    /// The name of these credentials in this file.
    pub fn key_of(&self, users: &BasicUsers, credentials: &BasicCredentials) -> VerifiedKey {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(&users.digest);
        context.update(&(credentials.user.len() as u64).to_be_bytes());
        context.update(credentials.user.as_bytes());
        context.update(&credentials.password);
        let mut bytes = [0; 32];
        bytes.copy_from_slice(context.sign().as_ref());
        VerifiedKey(bytes)
    }

    /// Whether they held within the last [`VERIFIED_FOR`]. `now` is any clock that never goes back.
    pub fn get(&self, key: &VerifiedKey, now: Duration) -> Option<BasicIdentity> {
        let shard = self.shard(key)?.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = shard.get(key).filter(|entry| now < entry.until)?;
        Some(BasicIdentity { consumer: Arc::clone(&entry.consumer) })
    }

    /// Remembers that they held.
    pub fn put(&self, key: VerifiedKey, identity: &BasicIdentity, now: Duration) {
        let Some(shard) = self.shard(&key) else { return };
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        if shard.len() >= ENTRIES_MAX / SHARDS {
            shard.retain(|_, entry| now < entry.until);
            if shard.len() >= ENTRIES_MAX / SHARDS
                && let Some(oldest) = shard.iter().min_by_key(|(_, entry)| entry.until).map(|(key, _)| *key)
            {
                shard.remove(&oldest);
            }
        }
        let consumer = Arc::clone(&identity.consumer);
        shard.insert(key, Entry { consumer, until: now.saturating_add(VERIFIED_FOR) });
    }

    /// How many are remembered.
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner).len()).sum()
    }

    fn shard(&self, key: &VerifiedKey) -> Option<&Mutex<Shard>> {
        self.shards.get(usize::from(*key.0.last()?) % SHARDS)
    }
}

impl fmt::Debug for Verified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Verified(…)")
    }
}
