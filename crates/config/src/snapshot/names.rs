//! Maps by name, for lookups on a request's way.
//!
//! What stands in them comes from documents; callers only ask. Without a say in what is stored nobody can make two
//! entries meet, so a hash that costs a few instructions is enough, and the keyed one of the standard library, which
//! guards against chosen entries, costs ten times as much.

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
    sync::Arc,
};

/// A map by name.
pub type NameMap<V> = HashMap<Arc<str>, V, BuildHasherDefault<NameHasher>>;

/// The hash of a name: eight bytes at a time, multiplied and folded.
#[derive(Clone, Copy, Debug, Default)]
pub struct NameHasher(u64);

impl NameHasher {
    fn add(&mut self, word: u64) {
        let product = u128::from(self.0 ^ word) * 0x9e37_79b9_7f4a_7c15;
        self.0 = (product ^ (product >> 64)) as u64;
    }
}

impl Hasher for NameHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.add(u64::from_le_bytes(*word));
        }
        // The length tells apart what is filled up with zeros.
        let last = rest.iter().rev().fold(bytes.len() as u64, |word, byte| word << 8 | u64::from(*byte));
        self.add(last);
    }

    fn write_u8(&mut self, byte: u8) {
        // The end mark that every text writes; the length is in already.
        self.add(u64::from(byte));
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, hash::BuildHasher};

    use super::*;

    #[test]
    fn names_that_differ_hash_apart_and_are_found() {
        let hasher = BuildHasherDefault::<NameHasher>::default();
        let mut names: Vec<String> = (0..5_000).map(|number| format!("service-{number}")).collect();
        // Texts that differ in their length only, by bytes that a short hash could take for nothing.
        names.extend((0..40).map(|length| "\0".repeat(length)));
        let map: NameMap<usize> =
            names.iter().enumerate().map(|(at, name)| (name.as_str().into(), at)).collect();
        assert_eq!(map.len(), names.len());
        for (at, name) in names.iter().enumerate() {
            assert_eq!(map.get(name.as_str()), Some(&at), "{name:?}");
        }
        let all: HashSet<u64> = names.iter().map(|name| hasher.hash_one(name.as_str())).collect();
        assert_eq!(all.len(), names.len());
        // The table looks at the lowest and the highest bits.
        let low: HashSet<u64> = all.iter().map(|hash| hash & 0xfff).collect();
        let high: HashSet<u64> = all.iter().map(|hash| hash >> 57).collect();
        assert!(low.len() > 2_500 && high.len() == 128, "{} {}", low.len(), high.len());
    }
}
