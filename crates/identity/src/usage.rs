//! When each key was last used: one slot of two numbers per key, outside the table's records.
//!
//! Slots are shared by all tables of one descent, so a use that lands on a table just replaced is not lost, and a
//! key keeps its slot when its record changes. Noting a use costs one load, and one store per key and second; no
//! lock. Seconds in 32 bits last until the year 2106 and halve the memory of a million keys.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use crate::api_key::KeyId;

/// A use that the store has not saved yet.
#[derive(Clone, Copy, Debug)]
pub struct KeyUse {
    /// The key's id.
    pub key: KeyId,
    /// When it was last used, in Unix seconds.
    pub at_unix_s: u32,
    pub(crate) slot: Slot,
}

/// Where a key's uses are noted. Given once to a key and never to another.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slot(u32);

/// The slots that one table can reach.
#[derive(Clone, Debug, Default)]
pub(crate) struct Usage {
    /// Shared by all tables of one descent, so that two successors of one table never give a slot twice.
    next: Arc<AtomicU32>,
    chunks: Vec<Arc<[Uses]>>,
}

#[derive(Debug, Default)]
struct Uses {
    last_s: AtomicU32,
    saved_s: AtomicU32,
}

impl Usage {
    /// Gives a slot to a new key that was last used, as far as the store knows, at `saved_s`.
    pub(crate) fn assign(&mut self, saved_s: u32) -> Slot {
        let slot = Slot(self.next.fetch_add(1, Ordering::Relaxed));
        while self.uses(slot).is_none() {
            self.chunks.push((0..CHUNK).map(|_| Uses::default()).collect());
        }
        if let Some(uses) = self.uses(slot) {
            uses.last_s.store(saved_s, Ordering::Relaxed);
            uses.saved_s.store(saved_s, Ordering::Relaxed);
        }
        slot
    }

    /// Notes a use; time never runs backwards.
    pub(crate) fn note(&self, slot: Slot, now_s: u32) {
        // The load spares a key in heavy use the contended write.
        if let Some(uses) = self.uses(slot)
            && uses.last_s.load(Ordering::Relaxed) < now_s
        {
            uses.last_s.fetch_max(now_s, Ordering::Relaxed);
        }
    }

    /// The last use in Unix seconds; 0 if never.
    pub(crate) fn last_s(&self, slot: Slot) -> u32 {
        self.uses(slot).map_or(0, |uses| uses.last_s.load(Ordering::Relaxed))
    }

    /// The last use, if the store does not know it.
    pub(crate) fn unsaved_s(&self, slot: Slot) -> Option<u32> {
        let uses = self.uses(slot)?;
        let last_s = uses.last_s.load(Ordering::Relaxed);
        (last_s > uses.saved_s.load(Ordering::Relaxed)).then_some(last_s)
    }

    /// The store knows this use now.
    pub(crate) fn confirm(&self, slot: Slot, saved_s: u32) {
        if let Some(uses) = self.uses(slot) {
            uses.saved_s.fetch_max(saved_s, Ordering::Relaxed);
        }
    }

    fn uses(&self, slot: Slot) -> Option<&Uses> {
        let at = slot.0 as usize;
        self.chunks.get(at / CHUNK)?.get(at % CHUNK)
    }
}

/// 1,024 slots of 8 bytes: small enough to waste nothing, large enough that a million keys are a short list.
const CHUNK: usize = 1024;

/// Milliseconds as the seconds a slot holds.
pub(crate) fn seconds(unix_ms: u64) -> u32 {
    u32::try_from(unix_ms / 1000).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_use_is_unsaved_until_it_is_confirmed() {
        let mut usage = Usage::default();
        let slot = usage.assign(100);
        assert_eq!(usage.unsaved_s(slot), None);
        usage.note(slot, 99);
        assert_eq!(usage.unsaved_s(slot), None, "an older use is no news");
        usage.note(slot, 101);
        assert_eq!(usage.unsaved_s(slot), Some(101));
        usage.note(slot, 102);
        usage.confirm(slot, 101);
        assert_eq!(usage.unsaved_s(slot), Some(102), "used again while it was being saved");
        usage.confirm(slot, 102);
        assert_eq!(usage.unsaved_s(slot), None);
    }

    #[test]
    fn two_successors_of_one_table_never_share_a_new_slot() {
        let mut base = Usage::default();
        let shared = base.assign(0);
        let (mut left, mut right) = (base.clone(), base.clone());
        let (of_left, of_right) = (left.assign(0), right.assign(0));
        left.note(of_left, 5);
        assert_eq!(right.last_s(of_right), 0);
        right.note(shared, 7);
        assert_eq!(left.last_s(shared), 7, "an inherited slot is one and the same");
    }

    #[test]
    fn slots_grow_past_a_chunk() {
        let mut usage = Usage::default();
        let slots: Vec<Slot> = (0..CHUNK as u32 * 2 + 1).map(|at| usage.assign(at)).collect();
        for (at, slot) in slots.into_iter().enumerate() {
            assert_eq!(usage.last_s(slot), at as u32);
        }
    }

    #[test]
    fn a_time_beyond_the_slot_stays_at_its_end() {
        assert_eq!(seconds(1_700_000_000_999), 1_700_000_000);
        assert_eq!(seconds(u64::MAX), u32::MAX);
    }
}
