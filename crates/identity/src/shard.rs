//! One shard of the key table: an immutable array of records with an index beside it.
//!
//! A `HashMap` would hold up to twice the records' memory and could not be shared piecewise; a sorted array would
//! touch one cache line per step. Here a look-up touches two: a slot of the index and the record.

use std::sync::Arc;

use crate::{api_key::KeyId, key_table::KeyState, pepper::KeyHash, usage::Slot};

/// A key as the table keeps it: 96 bytes.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    pub(crate) consumer: Arc<str>,
    pub(crate) not_before_ms: u64,
    /// `u64::MAX` for a key that never expires.
    pub(crate) expires_ms: u64,
    pub(crate) hash: KeyHash,
    pub(crate) id: KeyId,
    pub(crate) slot: Slot,
    /// Unix seconds.
    pub(crate) created_s: u32,
    /// Unix seconds; 0 for a key that was not replaced.
    pub(crate) replaced_s: u32,
    pub(crate) state: KeyState,
}

/// Records found by id. Immutable: a change makes a new shard.
#[derive(Debug, Default)]
pub(crate) struct Shard {
    records: Box<[Kept]>,
    /// Open addressing with linear probing, at most half full; 0 is free, else the record's position plus one.
    index: Box<[u32]>,
}

impl Shard {
    /// Builds the index. Of two records with one id the later wins.
    pub(crate) fn new(records: Vec<Kept>) -> Self {
        let mut shard = Shard { records: Box::default(), index: vec![0; index_size(records.len())].into() };
        let mut kept: Vec<Kept> = Vec::with_capacity(records.len());
        for record in records {
            let at = shard.probe(&record.id, &kept);
            match shard.index.get_mut(at) {
                Some(place) if *place == 0 => {
                    kept.push(record);
                    *place = u32::try_from(kept.len()).unwrap_or(u32::MAX);
                }
                Some(place) => {
                    if let Some(earlier) = kept.get_mut(*place as usize - 1) {
                        *earlier = record;
                    }
                }
                None => {}
            }
        }
        shard.records = kept.into();
        shard
    }

    pub(crate) fn find(&self, id: &KeyId) -> Option<&Kept> {
        let place = *self.index.get(self.probe(id, &self.records))?;
        self.records.get((place as usize).checked_sub(1)?)
    }

    pub(crate) fn records(&self) -> &[Kept] {
        &self.records
    }

    /// The place in the index where `id` is or would be. Ends, because half of the index is free.
    fn probe(&self, id: &KeyId, records: &[Kept]) -> usize {
        let mask = self.index.len().wrapping_sub(1);
        let mut at = place(id) as usize & mask;
        while let Some(&taken) = self.index.get(at)
            && taken != 0
            && records.get(taken as usize - 1).is_some_and(|record| record.id != *id)
        {
            at = (at + 1) & mask;
        }
        at
    }
}

fn index_size(records: usize) -> usize {
    if records == 0 { 0 } else { (records * 2).next_power_of_two() }
}

/// Spreads ids over shards (high bits) and places (low bits). Unkeyed: ids in the table are random numbers of our
/// own making, and a caller who chooses what to look up can lengthen no chain.
pub(crate) fn place(id: &KeyId) -> u64 {
    let (high, low) = id.digits().split_at(8);
    let high = u64::from_le_bytes(high.try_into().unwrap_or_default());
    let low = u32::from_le_bytes(low.try_into().unwrap_or_default());
    let mixed = (high ^ u64::from(low).rotate_left(29)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed ^ (mixed >> 32)).wrapping_mul(0xD6E8_FEB8_6659_FD93)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kept_record_is_96_bytes() {
        // A million keys in 200 MB leaves room for 100 bytes of record and index each.
        assert_eq!(size_of::<Kept>(), 96);
    }

    #[test]
    fn an_empty_shard_finds_nothing() {
        assert!(Shard::new(Vec::new()).find(&KeyId::parse("000000000000").unwrap()).is_none());
    }
}
