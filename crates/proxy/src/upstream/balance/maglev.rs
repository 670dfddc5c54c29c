//! Consistent hashing after Maglev: a table in which every endpoint owns entries in proportion to its weight.
//!
//! A lookup is one index. When an endpoint may not be chosen only its own keys move, each to the endpoint a further
//! hash of the key names; when it comes back they return. The hash is fixed, not seeded: every core and every node
//! must agree, and what a client can win by choosing its key is only to be served by an endpoint of its choice.

use super::{Field, mix};

/// Table sizes are prime, so that every step visits every entry. Steps are coarse, because another size moves keys.
const SIZES: [usize; 3] = [4_099, 16_411, 65_537];
/// Entries per endpoint at which shares differ by about one in a hundred.
const ENTRIES_PER_ENDPOINT: usize = 100;
/// Further hashes tried before the available endpoints are simply counted through.
const PROBES_MAX: u64 = 16;

/// A lookup table for one list of endpoints.
#[derive(Debug)]
pub struct Maglev {
    table: Box<[u16]>,
}

impl Maglev {
    /// Builds the table for endpoints given as name and weight. Endpoints beyond 65,536 get no entries.
    pub fn build<'a>(endpoints: impl Iterator<Item = (&'a str, u32)>) -> Self {
        let endpoints: Vec<_> = endpoints.take(usize::from(u16::MAX) + 1).collect();
        let wanted = endpoints.len().saturating_mul(ENTRIES_PER_ENDPOINT);
        let size = SIZES.into_iter().find(|size| *size >= wanted).unwrap_or(65_537);
        Maglev { table: populate(&endpoints, size) }
    }

    /// The endpoint of `field` for a key of this hash.
    pub fn pick(&self, field: &Field<'_>, hash: u64) -> Option<usize> {
        let mut at = hash;
        for probe in 0..PROBES_MAX {
            let index = self.entry(at)?;
            if field.is_available(index) {
                return Some(index);
            }
            at = mix(hash ^ probe.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        }
        let count = u64::try_from(field.available().count()).ok()?;
        field.available().nth(usize::try_from(hash.checked_rem(count)?).ok()?)
    }

    fn entry(&self, hash: u64) -> Option<usize> {
        let size = u64::try_from(self.table.len()).ok()?;
        let at = usize::try_from(hash.checked_rem(size)?).ok()?;
        self.table.get(at).map(|index| usize::from(*index))
    }
}

/// A key's hash, the same on every core, node and release (FNV-1a, then mixed).
pub fn hash_key(key: &[u8]) -> u64 {
    let hash = key.iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    mix(hash)
}

/// An endpoint's walk through the table, and what it is owed.
struct Walk {
    at: usize,
    step: usize,
    /// Turns earned so far, in units of the largest weight.
    earned: u64,
    weight: u64,
}

fn populate(endpoints: &[(&str, u32)], size: usize) -> Box<[u16]> {
    let mut table: Vec<Option<u16>> = vec![None; size];
    let heaviest = endpoints.iter().map(|(_, weight)| u64::from(*weight)).max().unwrap_or(1);
    let mut walks: Vec<_> = endpoints.iter().map(|(name, weight)| walk(name, *weight, size)).collect();
    let mut free = if endpoints.is_empty() { 0 } else { size };
    while free > 0 {
        for (index, walk) in (0u16..=u16::MAX).zip(&mut walks) {
            // An endpoint takes one entry each time it has earned a whole turn; the heaviest does so every round.
            walk.earned += walk.weight;
            if walk.earned < heaviest || free == 0 {
                continue;
            }
            walk.earned -= heaviest;
            while let Some(entry) = table.get_mut(walk.at) {
                walk.at = (walk.at + walk.step) % size;
                if entry.is_none() {
                    *entry = Some(index);
                    free -= 1;
                    break;
                }
            }
        }
    }
    table.into_iter().flatten().collect()
}

fn walk(name: &str, weight: u32, size: usize) -> Walk {
    let hash = hash_key(name.as_bytes());
    let modulo = |x: u64, m: usize| {
        u64::try_from(m).ok().and_then(|m| usize::try_from(x.checked_rem(m)?).ok()).unwrap_or(0)
    };
    let at = modulo(hash, size);
    let step = modulo(mix(hash), size - 1) + 1;
    Walk { at, step, earned: 0, weight: u64::from(weight) }
}
