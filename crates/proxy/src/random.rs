//! Numbers for ids and for shares of traffic. Not for secrets.
//!
//! xoroshiro128++ in a cell: two loads and two stores, no lock, no system call. Seeded from the operating system when
//! a core starts. Its output can be predicted from earlier output, which is why nothing secret may come from it.

use std::cell::Cell;

/// A generator of one core.
#[derive(Debug)]
pub(crate) struct Random {
    state: Cell<[u64; 2]>,
}

impl Random {
    /// Begins at `seed`; the one state that would stay zero for ever is replaced.
    pub(crate) fn new(seed: [u64; 2]) -> Self {
        let state = if seed == [0, 0] { [0x9e37_79b9_7f4a_7c15, 1] } else { seed };
        Random { state: Cell::new(state) }
    }

    /// The next number.
    pub(crate) fn next(&self) -> u64 {
        let [s0, s1] = self.state.get();
        let out = s0.wrapping_add(s1).rotate_left(17).wrapping_add(s0);
        let mixed = s1 ^ s0;
        self.state.set([s0.rotate_left(49) ^ mixed ^ (mixed << 21), mixed.rotate_left(28)]);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_do_not_repeat_soon_and_a_zero_seed_is_no_trap() {
        for seed in [[0, 0], [1, 2], [u64::MAX, 7]] {
            let random = Random::new(seed);
            let drawn: std::collections::HashSet<u64> = (0..10_000).map(|_| random.next()).collect();
            assert_eq!(drawn.len(), 10_000, "seed {seed:?}");
        }
    }
}
