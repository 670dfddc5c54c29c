//! A map that never grows over its bound, whatever keys arrive.
//!
//! Keys are hashes under the engine's [`crate::hash::Seed`]. When it is full, a hand goes round: who was used since its last
//! turn is spared once, who was not makes room. A key that comes once and never again is therefore the first to go, and a
//! flood of new keys evicts itself.

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
};

/// Takes a hash as it is.
#[derive(Clone, Copy, Default)]
pub(crate) struct AsIs(u64);

impl Hasher for AsIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = bytes.iter().fold(self.0, |hash, byte| hash.rotate_left(8) ^ u64::from(*byte));
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

/// At most so many values by hash.
pub(crate) struct Table<V> {
    index: HashMap<u64, u32, BuildHasherDefault<AsIs>>,
    entries: Vec<Entry<V>>,
    max: usize,
    hand: usize,
    evicted: u64,
}

struct Entry<V> {
    key: u64,
    is_used: bool,
    value: V,
}

impl<V> Table<V> {
    pub(crate) fn new(max: usize) -> Self {
        Table { index: HashMap::default(), entries: Vec::new(), max: max.max(1), hand: 0, evicted: 0 }
    }

    /// The value of a key, if there is one. Does not count as use.
    pub(crate) fn peek(&self, key: u64) -> Option<&V> {
        let place = *self.index.get(&key)?;
        self.entries.get(place as usize).map(|entry| &entry.value)
    }

    /// The value of a key, if there is one.
    pub(crate) fn get(&mut self, key: u64) -> Option<&mut V> {
        let place = *self.index.get(&key)?;
        let entry = self.entries.get_mut(place as usize)?;
        entry.is_used = true;
        Some(&mut entry.value)
    }

    /// The value of a key, made where there is none; and whether it was made. `None` never happens: it stands for an index
    /// that a type cannot exclude.
    pub(crate) fn entry(&mut self, key: u64, make: impl FnOnce() -> V) -> Option<(&mut V, bool)> {
        if let Some(place) = self.index.get(&key).copied() {
            let entry = self.entries.get_mut(place as usize)?;
            entry.is_used = true;
            return Some((&mut entry.value, false));
        }
        let fresh = Entry { key, is_used: false, value: make() };
        let place = if self.entries.len() < self.max {
            if self.entries.len() == self.entries.capacity() {
                // By an eighth instead of doubling: what is reserved and not used is memory too.
                let more = (self.entries.len() / 8).max(16).min(self.max - self.entries.len());
                self.entries.reserve_exact(more);
            }
            self.entries.push(fresh);
            self.entries.len() - 1
        } else {
            let place = self.make_room();
            let entry = self.entries.get_mut(place)?;
            self.index.remove(&entry.key);
            self.evicted += 1;
            *entry = fresh;
            place
        };
        self.index.insert(key, u32::try_from(place).ok()?);
        self.entries.get_mut(place).map(|entry| (&mut entry.value, true))
    }

    /// The place of the next one to go.
    fn make_room(&mut self) -> usize {
        // Twice round finds one: the first time takes every spare away.
        for _ in 0..=2 * self.entries.len() {
            self.hand = (self.hand + 1) % self.entries.len().max(1);
            match self.entries.get_mut(self.hand) {
                Some(entry) if entry.is_used => entry.is_used = false,
                _ => break,
            }
        }
        self.hand
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &V> {
        self.entries.iter().map(|entry| &entry.value)
    }

    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.entries.iter_mut().map(|entry| &mut entry.value)
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// How many had to go.
    pub(crate) const fn evicted(&self) -> u64 {
        self.evicted
    }

    /// Bytes of entries and index, without what values own elsewhere.
    pub(crate) fn bytes(&self) -> usize {
        self.entries.capacity() * size_of::<Entry<V>>()
            + self.index.capacity() * (size_of::<(u64, u32)>() + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::Seed;

    #[test]
    fn a_flood_of_keys_that_come_once_leaves_the_used_ones() {
        let mut table = Table::new(100);
        let seed = Seed(3, 4);
        for flood in 0..10_000_u64 {
            table.entry(seed.number(flood + 1_000), || flood).unwrap();
            for regular in 0..50 {
                assert!(table.entry(seed.number(regular), || regular).is_some());
            }
        }
        assert_eq!(table.len(), 100);
        assert!((0..50).all(|regular| table.peek(seed.number(regular)) == Some(&regular)));
        assert!(table.evicted() >= 9_900);
    }

    #[test]
    fn a_table_keeps_its_bound_and_finds_what_it_has() {
        let mut table = Table::new(2);
        assert!(table.entry(1, || 'a').unwrap().1);
        assert!(!table.entry(1, || 'b').unwrap().1);
        table.entry(2, || 'c').unwrap();
        table.entry(3, || 'd').unwrap();
        assert_eq!((table.len(), table.peek(3)), (2, Some(&'d')));
        assert_eq!(table.values().count(), 2);
    }
}
