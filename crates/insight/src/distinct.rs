//! How many different things: linear counting on a small bitmap.
//!
//! A HyperLogLog is better for millions, but what matters here begins at twenty and is decided by some hundreds; a bitmap of
//! 256 bits is 32 bytes and exact to a few percent there. A full bitmap says "at least so many", which only ever errs
//! towards fewer.

/// A bitmap of `WORDS` × 64 bits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Distinct<const WORDS: usize>([u64; WORDS]);

impl<const WORDS: usize> Default for Distinct<WORDS> {
    fn default() -> Self {
        Distinct([0; WORDS])
    }
}

impl<const WORDS: usize> Distinct<WORDS> {
    /// Notes a thing by its hash. Whether its bit is new.
    pub(crate) fn note(&mut self, hash: u64) -> bool {
        let bits = (WORDS * 64) as u64;
        // The high half: the low one chooses buckets elsewhere.
        let bit = (hash >> 32) % bits;
        let Some(word) = self.0.get_mut((bit / 64) as usize) else { return false };
        let mask = 1 << (bit % 64);
        let is_new = *word & mask == 0;
        *word |= mask;
        is_new
    }

    /// Whether a thing's bit is set: surely not seen where it is not.
    pub(crate) fn may_have(&self, hash: u64) -> bool {
        let bit = (hash >> 32) % ((WORDS * 64) as u64);
        self.0.get((bit / 64) as usize).is_some_and(|word| word & (1 << (bit % 64)) != 0)
    }

    /// About how many there were.
    pub(crate) fn count(&self) -> f64 {
        let bits = (WORDS * 64) as f64;
        let set: u32 = self.0.iter().map(|word| word.count_ones()).sum();
        // A full bitmap has no logarithm; one bit less is the most that it can tell.
        let free = (bits - f64::from(set)).max(1.0);
        bits * (bits / free).ln()
    }

    /// Whether so many bits are set that "seen before" is often wrong.
    pub(crate) fn is_worn(&self) -> bool {
        let set: u32 = self.0.iter().map(|word| word.count_ones()).sum();
        u64::from(set) * 2 > (WORDS * 64) as u64
    }

    /// Forgets all.
    pub(crate) fn clear(&mut self) {
        self.0 = [0; WORDS];
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::Seed;

    #[test]
    fn counts_are_near_the_truth_and_repetitions_count_once() {
        for (things, most_off) in [(0_u64, 0.1), (5, 1.0), (20, 2.5), (100, 12.0), (400, 60.0)] {
            let mut distinct = Distinct::<8>::default();
            for round in 0..3 {
                for thing in 0..things {
                    let is_new = distinct.note(Seed(7, 7).number(thing));
                    assert!(round == 0 || !is_new);
                }
            }
            assert!((distinct.count() - things as f64).abs() <= most_off, "{things}: {}", distinct.count());
        }
    }

    #[test]
    fn a_full_bitmap_tells_a_finite_number() {
        let mut distinct = Distinct::<1>::default();
        for thing in 0..100_000 {
            distinct.note(Seed(7, 7).number(thing));
        }
        assert!(distinct.count() > 200.0 && distinct.count().is_finite() && distinct.is_worn());
    }
}
