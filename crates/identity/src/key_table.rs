//! All API keys in memory, and the judge over them.
//!
//! Immutable and cut into 1,024 shards behind shared pointers: a successor copies the directory (8 KiB) and the
//! shards that changed, nothing else, so one revocation among a million keys costs about a thousand records of copying
//! and no reader ever waits. A persistent tree would copy less and look up slower; a lock would be on the way of
//! every request.

use std::{collections::BTreeMap, fmt, sync::Arc};

use crate::{
    api_key::{KeyId, Presented},
    claim::{ApiKeyIdentity, Claim, Invalid, InvalidKind},
    key_life::KeyFacts,
    pepper::{KeyHash, Pepper},
    shard::{self, Kept, Shard},
    usage::{self, KeyUse, Usage},
};

/// What the table is told about a key.
#[derive(Clone, Debug)]
pub struct KeyRecord {
    /// The public id.
    pub id: KeyId,
    /// The consumer it belongs to; share one `Arc` per consumer where many keys have the same.
    pub consumer: Arc<str>,
    /// The keyed hash of its secret.
    pub hash: KeyHash,
    /// From when it is valid, in Unix milliseconds.
    pub not_before_ms: u64,
    /// From when it is valid no more; `None` for never.
    pub expires_ms: Option<u64>,
    /// Whether it was withdrawn.
    pub state: KeyState,
    /// When it was made, in Unix milliseconds; kept to the second.
    pub created_ms: u64,
    /// When another replaced it, in Unix milliseconds; kept to the second.
    pub replaced_ms: Option<u64>,
    /// The last use the store knows, in Unix seconds; 0 for none.
    pub last_used_s: u32,
}

/// Whether a key may still be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyState {
    /// Within its time.
    Active,
    /// Withdrawn for good.
    Revoked,
}

/// One difference between a table and its successor.
#[derive(Clone, Debug)]
pub enum KeyChange {
    /// A key is new or its record changed.
    Put(KeyRecord),
    /// The key is forgotten; presenting it is [`InvalidKind::Unknown`].
    Remove(KeyId),
}

/// The keys that a gateway knows at one moment.
#[derive(Clone)]
pub struct KeyTable {
    shards: Arc<[Arc<Shard>]>,
    usage: Usage,
    len: usize,
}

impl KeyTable {
    /// A table that knows no key.
    pub fn empty() -> Self {
        KeyTableBuilder::new().finish()
    }

    /// A table of these keys; of two with one id the later wins.
    pub fn build(records: impl IntoIterator<Item = KeyRecord>) -> Self {
        let mut builder = KeyTableBuilder::new();
        for record in records {
            builder.push(record);
        }
        builder.finish()
    }

    /// This table with `changes` applied in their order. Keys that stay keep their noted uses, which both tables
    /// share from then on.
    #[must_use]
    pub fn with(&self, changes: impl IntoIterator<Item = KeyChange>) -> Self {
        let mut by_shard: BTreeMap<usize, Vec<KeyChange>> = BTreeMap::new();
        for change in changes {
            let id = match &change {
                KeyChange::Put(record) => record.id,
                KeyChange::Remove(id) => *id,
            };
            by_shard.entry(shard_of(&id)).or_default().push(change);
        }
        let mut usage = self.usage.clone();
        let mut shards = self.shards.to_vec();
        for (at, changes) in by_shard {
            if let Some(shard) = shards.get_mut(at) {
                *shard = Arc::new(changed(shard, changes, &mut usage));
            }
        }
        KeyTable::of(shards, usage)
    }

    /// How many keys there are, withdrawn and expired ones included.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no key at all.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Judges what stands in the key header; `None` when there is no such header. An empty header is a malformed
    /// key and not an absent one.
    pub fn claim(&self, presented: Option<&[u8]>, pepper: &Pepper, now_unix_ms: u64) -> Claim {
        match presented {
            None => Claim::Absent,
            Some(presented) => self.judge(presented, pepper, now_unix_ms),
        }
    }

    /// Judges a presented key: valid or invalid, never absent.
    ///
    /// A well-formed key costs one HMAC and one comparison whether its id is known or not, and nothing about its
    /// standing is said before the secret was right. Judging changes nothing, so shadow and replay may do it; the
    /// live stage calls [`KeyTable::note_use`] when it lets the caller in.
    pub fn judge(&self, presented: &[u8], pepper: &Pepper, now_unix_ms: u64) -> Claim {
        let Some(presented) = Presented::parse(presented) else {
            return Claim::Invalid(Invalid { kind: InvalidKind::Malformed, key: None });
        };
        let known = self.find(&presented.id);
        let expected = known.map_or(&NO_HASH, |kept| &kept.hash);
        let is_right = pepper.hash_presented(&presented).matches(expected);
        let refused = |kind| Claim::Invalid(Invalid { kind, key: Some(presented.id) });
        match known {
            None => refused(InvalidKind::Unknown),
            Some(_) if !is_right => refused(InvalidKind::WrongSecret),
            Some(kept) if kept.state == KeyState::Revoked => refused(InvalidKind::Revoked),
            Some(kept) if now_unix_ms < kept.not_before_ms => refused(InvalidKind::NotYetValid),
            Some(kept) if now_unix_ms >= kept.expires_ms => refused(InvalidKind::Expired),
            Some(kept) => Claim::Valid(ApiKeyIdentity {
                consumer: Arc::clone(&kept.consumer),
                key: kept.id,
                slot: kept.slot,
                facts: facts(kept),
            }),
        }
    }

    /// Notes that a key was used. The identity must stem from this table or from one of the same descent.
    pub fn note_use(&self, identity: &ApiKeyIdentity, now_unix_ms: u64) {
        self.usage.note(identity.slot, usage::seconds(now_unix_ms));
    }

    /// When the key was last used, in Unix seconds; `None` if never or not known.
    pub fn last_used_s(&self, id: &KeyId) -> Option<u32> {
        let last_s = self.usage.last_s(self.find(id)?.slot);
        (last_s != 0).then_some(last_s)
    }

    /// The uses that [`KeyTable::confirm_uses`] has not confirmed. Walks all keys: for a timer, not for a request.
    pub fn unsaved_uses(&self) -> Vec<KeyUse> {
        self.kept()
            .filter_map(|kept| {
                let at_unix_s = self.usage.unsaved_s(kept.slot)?;
                Some(KeyUse { key: kept.id, at_unix_s, slot: kept.slot })
            })
            .collect()
    }

    /// These uses are in the store now; a later use of the same key stays unsaved.
    pub fn confirm_uses(&self, uses: &[KeyUse]) {
        for one in uses {
            self.usage.confirm(one.slot, one.at_unix_s);
        }
    }

    fn of(shards: Vec<Arc<Shard>>, usage: Usage) -> Self {
        let len = shards.iter().map(|shard| shard.records().len()).sum();
        KeyTable { shards: shards.into(), usage, len }
    }

    fn find(&self, id: &KeyId) -> Option<&Kept> {
        self.shards.get(shard_of(id))?.find(id)
    }

    fn kept(&self) -> impl Iterator<Item = &Kept> {
        self.shards.iter().flat_map(|shard| shard.records())
    }
}

impl fmt::Debug for KeyTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyTable").field("len", &self.len).finish_non_exhaustive()
    }
}

/// Takes keys one by one, as they stream from the store.
#[derive(Debug)]
pub struct KeyTableBuilder {
    shards: Vec<Vec<Kept>>,
    usage: Usage,
    predecessor: Option<KeyTable>,
}

impl KeyTableBuilder {
    /// Begins with no key.
    pub fn new() -> Self {
        KeyTableBuilder { shards: vec![Vec::new(); SHARDS], usage: Usage::default(), predecessor: None }
    }

    /// Begins with no key, as the successor of `table`: keys that are in both keep their noted uses. For reading
    /// everything anew where the single changes are not known.
    pub fn succeeding(table: &KeyTable) -> Self {
        KeyTableBuilder { usage: table.usage.clone(), predecessor: Some(table.clone()), ..Self::new() }
    }

    /// Adds a key; an earlier one with the same id is replaced.
    pub fn push(&mut self, record: KeyRecord) {
        if let Some(shard) = self.shards.get_mut(shard_of(&record.id)) {
            let earlier = self.predecessor.as_ref().and_then(|table| table.find(&record.id));
            let slot = match earlier {
                Some(earlier) => earlier.slot,
                None => self.usage.assign(record.last_used_s),
            };
            shard.push(kept(record, slot));
        }
    }

    /// The finished table.
    pub fn finish(self) -> KeyTable {
        let none = Arc::new(Shard::default());
        let shards = self
            .shards
            .into_iter()
            .map(|records| if records.is_empty() { Arc::clone(&none) } else { Arc::new(Shard::new(records)) })
            .collect();
        KeyTable::of(shards, self.usage)
    }
}

impl Default for KeyTableBuilder {
    fn default() -> Self {
        Self::new()
    }
}

/// A shard's successor. Keys that were there keep their slot and, where the name stayed, their consumer's memory.
fn changed(shard: &Shard, changes: Vec<KeyChange>, usage: &mut Usage) -> Shard {
    let mut latest: BTreeMap<KeyId, Option<KeyRecord>> = BTreeMap::new();
    for change in changes {
        match change {
            KeyChange::Put(record) => latest.insert(record.id, Some(record)),
            KeyChange::Remove(id) => latest.insert(id, None),
        };
    }
    let mut records = Vec::with_capacity(shard.records().len() + latest.len());
    records.extend(shard.records().iter().filter(|kept| !latest.contains_key(&kept.id)).cloned());
    for mut record in latest.into_values().flatten() {
        let slot = match shard.find(&record.id) {
            Some(earlier) => {
                if earlier.consumer == record.consumer {
                    record.consumer = Arc::clone(&earlier.consumer);
                }
                earlier.slot
            }
            None => usage.assign(record.last_used_s),
        };
        records.push(kept(record, slot));
    }
    Shard::new(records)
}

fn kept(record: KeyRecord, slot: usage::Slot) -> Kept {
    Kept {
        consumer: record.consumer,
        not_before_ms: record.not_before_ms,
        expires_ms: record.expires_ms.unwrap_or(u64::MAX),
        hash: record.hash,
        id: record.id,
        slot,
        created_s: usage::seconds(record.created_ms),
        // A replaced key is one also where the clock stood at nothing.
        replaced_s: record.replaced_ms.map_or(0, |at| usage::seconds(at).max(1)),
        state: record.state,
    }
}

/// What the table knows of a key's life: not its last use by other processes, which only the store knows.
fn facts(kept: &Kept) -> KeyFacts {
    let created_ms = u64::from(kept.created_s) * 1000;
    KeyFacts {
        created_ms,
        not_before_ms: kept.not_before_ms,
        claimed_ms: Some(created_ms),
        replaced_ms: (kept.replaced_s != 0).then_some(u64::from(kept.replaced_s) * 1000),
        expires_ms: (kept.expires_ms != u64::MAX).then_some(kept.expires_ms),
        ..KeyFacts::default()
    }
}

fn shard_of(id: &KeyId) -> usize {
    (shard::place(id) >> (u64::BITS - SHARDS.ilog2())) as usize
}

const SHARDS: usize = 1024;

/// Compared with when the id is unknown, so that the work is the same. What it answers is never looked at.
const NO_HASH: KeyHash = KeyHash::new([0; 32]);

#[cfg(test)]
mod tests;
