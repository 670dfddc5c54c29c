//! Keyed hashes of what attackers may choose.
//!
//! SipHash under a key of the process: nobody outside can aim at one bucket, and no name can be read back from a sketch.
//! The key is an argument, so that the same events give the same findings.

use std::hash::Hasher as _;

/// The key of all hashes of an engine.
#[derive(Clone, Copy)]
pub struct Seed(pub u64, pub u64);

impl std::fmt::Debug for Seed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seed")
    }
}

impl Seed {
    /// The hash of some texts, one after the other; where one ends is part of it.
    pub(crate) fn of(self, parts: &[&[u8]]) -> u64 {
        #[expect(deprecated, reason = "the only SipHash of the standard library that takes a key")]
        let mut hasher = std::hash::SipHasher::new_with_keys(self.0, self.1);
        for part in parts {
            hasher.write(part);
            // No byte of UTF-8 text is 0xFF.
            hasher.write_u8(0xFF);
        }
        hasher.finish()
    }

    /// The hash of a number.
    #[cfg(test)]
    pub(crate) fn number(self, number: u64) -> u64 {
        self.of(&[&number.to_le_bytes()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_part_ends_and_the_key_count() {
        let seed = Seed(1, 2);
        assert_ne!(seed.of(&[b"ab", b"c"]), seed.of(&[b"a", b"bc"]));
        assert_ne!(seed.of(&[b"ab"]), Seed(1, 3).of(&[b"ab"]));
        assert_eq!(seed.of(&[b"ab"]), seed.of(&[b"ab"]));
    }
}
