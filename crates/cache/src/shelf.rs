//! Where answers lie: in memory, bounded by bytes and by count, divided into shards by URL.
//!
//! All of one URL lie in one shard, so that an unsafe request drops them with one lock, whoever they belong to. Within a
//! URL they lie under their holder: a look for one caller's answer does not see another's. What goes when it is full is
//! found by a clock hand (second chance), so that one pass over many URLs does not push out what is asked for often.
//! Time pushes nothing out: a stale entry may still be validated, and goes when its place is needed.

use std::{
    collections::{HashMap, VecDeque},
    hash::{BuildHasher, RandomState},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use http::HeaderMap;

use crate::{
    entry::Entry,
    key::{Holder, Key, Url},
    lookup::Missing,
};

/// Most variants under one key: a caller chooses the fields by which answers vary, and would fill the cache with them.
pub const VARIANTS_MAX: usize = 16;

/// Most shards; more than there are cores that look at once.
const SHARDS_MAX: usize = 16;

/// 256 dropped URLs are remembered by a shard. An answer that was on its way while more were dropped is not kept.
const DROPPED_MAX: usize = 256;

/// Fewest bytes of a shard: a division of little memory would leave no room for one large answer.
const SHARD_BYTES_MIN: usize = 16 << 20;

/// How much lies on the shelf at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShelfLimits {
    /// Bytes of heads and bodies with what keeping them costs.
    pub bytes_max: usize,
    /// Entries: small ones cost more beside themselves than is counted.
    pub entries_max: usize,
}

impl Default for ShelfLimits {
    /// 256 MiB and 262,144 entries.
    fn default() -> Self {
        ShelfLimits { bytes_max: 256 << 20, entries_max: 1 << 18 }
    }
}

/// What is purged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Purge<'a> {
    /// One URL, of every caller and in every variant.
    Url(&'a Url),
    /// Every URL of `url`'s origin whose target begins so.
    Prefix(&'a Url),
    /// Every entry with this tag.
    Tag(&'a str),
    /// Everything.
    All,
}

/// The kept answers.
#[derive(Debug)]
pub struct Shelf {
    shards: Box<[Mutex<Shard>]>,
    hasher: RandomState,
    bytes_max: usize,
    entries_max: usize,
}

#[derive(Debug, Default)]
struct Shard {
    urls: HashMap<Url, HashMap<Holder, Vec<Lying>>>,
    /// The clock: where its hand comes by next is the front.
    clock: VecDeque<Place>,
    bytes: usize,
    entries: usize,
    last: u64,
    /// How often something was dropped on purpose, and the hashes of the last such URLs.
    drops: u64,
    dropped: VecDeque<u64>,
}

/// An entry in its place.
#[derive(Debug)]
struct Lying {
    id: u64,
    bytes: usize,
    entry: Arc<Entry>,
    used: AtomicBool,
}

/// Where the clock finds an entry again.
#[derive(Debug)]
struct Place {
    key: Key,
    id: u64,
}

impl Shelf {
    /// An empty shelf. `hasher` decides which shard a URL lies in; its keys are the process's secret, so that nobody
    /// can aim at one shard.
    pub fn new(limits: ShelfLimits, hasher: RandomState) -> Self {
        let shards = (limits.bytes_max / SHARD_BYTES_MIN).clamp(1, SHARDS_MAX);
        Shelf {
            shards: (0..shards).map(|_| Mutex::default()).collect(),
            hasher,
            bytes_max: limits.bytes_max / shards,
            entries_max: (limits.entries_max / shards).max(1),
        }
    }

    /// The newest entry for a key whose variant the request is, that has passed the policies `passed`.
    ///
    /// # Errors
    ///
    /// Why there is none.
    pub fn find(&self, key: &Key, request: &HeaderMap, passed: u64) -> Result<Arc<Entry>, Missing> {
        let shard = self.shard(key.url());
        let variants =
            shard.urls.get(key.url()).and_then(|holders| holders.get(key.holder())).ok_or(Missing::Uri)?;
        let fitting = variants.iter().rev().filter(|lying| lying.entry.passed() == passed);
        let mut is_known = false;
        for lying in fitting {
            if lying.entry.matches(request) {
                lying.used.store(true, Ordering::Relaxed);
                return Ok(lying.entry.clone());
            }
            is_known = true;
        }
        Err(if is_known { Missing::Vary } else { Missing::Uri })
    }

    /// The present era of a URL, to be asked for before the upstream is.
    pub fn era(&self, url: &Url) -> u64 {
        self.shard(url).drops
    }

    /// Keeps an entry and drops those that it replaces; says whether it is kept. It is not if there is no room for it, or
    /// if its URL was dropped since `era`: it may be what the drop was meant for (RFC 9111 §4.4).
    pub fn keep(&self, key: &Key, entry: Entry, era: u64) -> bool {
        let bytes = entry.bytes().saturating_add(key.bytes().saturating_mul(2));
        if bytes > self.bytes_max {
            return false;
        }
        let mut shard = self.shard(key.url());
        if shard.was_dropped(self.hasher.hash_one(key.url()), era) {
            return false;
        }
        shard.put(key, entry, bytes);
        shard.shrink(self.bytes_max, self.entries_max);
        true
    }

    /// Drops one entry, if it is still the one that lies there.
    pub fn drop_entry(&self, key: &Key, entry: &Arc<Entry>) -> bool {
        self.shard(key.url()).remove(key, |lying| Arc::ptr_eq(&lying.entry, entry)) > 0
    }

    /// Drops what is meant, and says how many entries that were.
    pub fn purge(&self, what: &Purge<'_>) -> usize {
        match what {
            Purge::Url(url) => self.shard(url).remove_url(url, self.hasher.hash_one(url)),
            Purge::All => self.shards.iter().map(|shard| lock(shard).retain(|_, _| false)).sum(),
            Purge::Prefix(prefix) => {
                let keeps = |url: &Url, _: &Entry| !url.as_str().starts_with(prefix.as_str());
                self.shards.iter().map(|shard| lock(shard).retain(keeps)).sum()
            }
            Purge::Tag(tag) => {
                let keeps = |_: &Url, entry: &Entry| entry.tags().all(|known| known != *tag);
                self.shards.iter().map(|shard| lock(shard).retain(keeps)).sum()
            }
        }
    }

    /// How many entries lie there, and their bytes.
    pub fn size(&self) -> (usize, usize) {
        self.shards
            .iter()
            .map(lock)
            .fold((0, 0), |(entries, bytes), shard| (entries + shard.entries, bytes + shard.bytes))
    }

    fn shard(&self, url: &Url) -> MutexGuard<'_, Shard> {
        let at = self.hasher.hash_one(url) % self.shards.len() as u64;
        let at = usize::try_from(at).unwrap_or_default();
        #[expect(
            clippy::indexing_slicing,
            reason = "a remainder by the length, and there is one shard at least"
        )]
        lock(&self.shards[at])
    }
}

/// A panic while it was held cannot have left more than counts that are too high: every change is of one entry.
fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shard {
    fn put(&mut self, key: &Key, entry: Entry, bytes: usize) {
        // An answer replaces those chosen by the same fields with the same values, and those judged by other policies.
        let replaced = |lying: &Lying| {
            lying.entry.passed() != entry.passed() || lying.entry.selecting() == entry.selecting()
        };
        self.remove(key, replaced);
        self.last += 1;
        let id = self.last;
        let holders = self.urls.entry(key.url().clone()).or_default();
        let variants = holders.entry(key.holder().clone()).or_default();
        if variants.len() >= VARIANTS_MAX {
            let oldest = variants.remove(0);
            self.bytes = self.bytes.saturating_sub(oldest.bytes);
            self.entries = self.entries.saturating_sub(1);
        }
        variants.push(Lying { id, bytes, entry: Arc::new(entry), used: AtomicBool::new(false) });
        self.bytes += bytes;
        self.entries += 1;
        self.clock.push_back(Place { key: key.clone(), id });
        self.tidy();
    }

    /// Removes what the clock's hand finds unused, until both limits hold.
    fn shrink(&mut self, bytes_max: usize, entries_max: usize) {
        while self.bytes > bytes_max || self.entries > entries_max {
            let Some(place) = self.clock.pop_front() else { return };
            let lying = self.urls.get(place.key.url()).and_then(|holders| holders.get(place.key.holder()));
            let lying = lying.and_then(|variants| variants.iter().find(|lying| lying.id == place.id));
            match lying {
                // The mark is taken away, so the hand passes each entry by once at most.
                Some(lying) if lying.used.swap(false, Ordering::Relaxed) => self.clock.push_back(place),
                Some(_) => drop(self.remove(&place.key, |lying| lying.id == place.id)),
                None => {}
            }
        }
    }

    fn remove(&mut self, key: &Key, goes: impl Fn(&Lying) -> bool) -> usize {
        let Some(holders) = self.urls.get_mut(key.url()) else { return 0 };
        let Some(variants) = holders.get_mut(key.holder()) else { return 0 };
        let (mut bytes, mut entries) = (0, 0);
        variants.retain(|lying| {
            let goes = goes(lying);
            if goes {
                bytes += lying.bytes;
                entries += 1;
            }
            !goes
        });
        if variants.is_empty() {
            holders.remove(key.holder());
        }
        if holders.is_empty() {
            self.urls.remove(key.url());
        }
        self.bytes = self.bytes.saturating_sub(bytes);
        self.entries = self.entries.saturating_sub(entries);
        entries
    }

    fn was_dropped(&self, url: u64, era: u64) -> bool {
        let since = usize::try_from(self.drops.saturating_sub(era)).unwrap_or(usize::MAX);
        since > self.dropped.len() || self.dropped.iter().rev().take(since).any(|dropped| *dropped == url)
    }

    fn remove_url(&mut self, url: &Url, hash: u64) -> usize {
        self.drops += 1;
        self.dropped.push_back(hash);
        if self.dropped.len() > DROPPED_MAX {
            self.dropped.pop_front();
        }
        let Some(holders) = self.urls.remove(url) else { return 0 };
        let gone: Vec<usize> = holders.values().flatten().map(|lying| lying.bytes).collect();
        self.bytes = self.bytes.saturating_sub(gone.iter().sum());
        self.entries = self.entries.saturating_sub(gone.len());
        self.tidy();
        gone.len()
    }

    fn retain(&mut self, keeps: impl Fn(&Url, &Entry) -> bool) -> usize {
        // Whatever is on its way may be meant.
        self.drops += 1;
        self.dropped.clear();
        let (mut bytes, mut entries) = (0, 0);
        self.urls.retain(|url, holders| {
            holders.retain(|_, variants| {
                variants.retain(|lying| {
                    let keeps = keeps(url, &lying.entry);
                    if !keeps {
                        bytes += lying.bytes;
                        entries += 1;
                    }
                    keeps
                });
                !variants.is_empty()
            });
            !holders.is_empty()
        });
        self.bytes = self.bytes.saturating_sub(bytes);
        self.entries = self.entries.saturating_sub(entries);
        self.tidy();
        entries
    }

    /// Places of removed entries stay on the clock until the hand comes by; where they are the greater part they are
    /// taken off, so that keeping and dropping in turn does not make it grow.
    fn tidy(&mut self) {
        if self.clock.len() <= 2 * self.entries + 64 {
            return;
        }
        let urls = &self.urls;
        self.clock.retain(|place| {
            let variants = urls.get(place.key.url()).and_then(|holders| holders.get(place.key.holder()));
            variants.is_some_and(|variants| variants.iter().any(|lying| lying.id == place.id))
        });
    }
}

#[cfg(test)]
impl Shelf {
    /// Checks what must always hold.
    pub(crate) fn check(&self) {
        for shard in &self.shards {
            let shard = lock(shard);
            let lying = || shard.urls.values().flat_map(HashMap::values).flatten();
            assert_eq!(lying().count(), shard.entries);
            assert_eq!(lying().map(|lying| lying.bytes).sum::<usize>(), shard.bytes);
            assert!(shard.bytes <= self.bytes_max && shard.entries <= self.entries_max);
            assert!(shard.clock.len() <= 2 * shard.entries + 64 + 1);
            assert!(shard.urls.values().all(|holders| !holders.is_empty()));
        }
    }
}
