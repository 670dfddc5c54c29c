//! Roles as numbers, and sets of them.
//!
//! Names become numbers when documents are compiled, so that a request costs a few words of bits and no comparison of
//! text. A set keeps only the blocks of 64 that are not empty: the set of one role is one block, that of ten thousand
//! is 157, and whether two sets meet is one walk over both.

/// A role of a [`crate::Roles`] table. Numbers follow the order of names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoleId(pub(crate) u32);

/// A set of roles.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoleSet {
    /// Ascending by index, none of them empty.
    blocks: Vec<Block>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Block {
    index: u32,
    bits: u64,
}

impl RoleSet {
    /// No role.
    pub const EMPTY: &'static RoleSet = &RoleSet { blocks: Vec::new() };

    /// The set of these roles.
    pub fn of(roles: impl IntoIterator<Item = RoleId>) -> Self {
        let mut ids: Vec<u32> = roles.into_iter().map(|role| role.0).collect();
        ids.sort_unstable();
        let mut blocks: Vec<Block> = Vec::new();
        for id in ids {
            let (index, bit) = (id / 64, 1_u64 << (id % 64));
            match blocks.last_mut() {
                Some(last) if last.index == index => last.bits |= bit,
                _ => blocks.push(Block { index, bits: bit }),
            }
        }
        RoleSet { blocks }
    }

    /// Whether it is in the set.
    pub fn contains(&self, role: RoleId) -> bool {
        self.bits(role.0 / 64) & 1_u64 << (role.0 % 64) != 0
    }

    /// Whether no role is in it.
    pub fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// How many roles are in it.
    pub fn len(&self) -> usize {
        self.blocks.iter().map(|block| block.bits.count_ones() as usize).sum()
    }

    /// Whether every role of `other` is in this set.
    pub fn covers(&self, other: &RoleSet) -> bool {
        other.blocks.iter().all(|block| block.bits & !self.bits(block.index) == 0)
    }

    /// The first role that is in both.
    pub fn first_common(&self, other: &RoleSet) -> Option<RoleId> {
        self.common(other).next()
    }

    /// The roles that are in both, ascending.
    pub fn common<'s>(&'s self, other: &'s RoleSet) -> impl Iterator<Item = RoleId> + 's {
        let (few, many) = if self.blocks.len() <= other.blocks.len() { (self, other) } else { (other, self) };
        let mut rest = many.blocks.as_slice();
        let meeting = few.blocks.iter().filter_map(move |block| {
            // A walk over both where they are of a size, a search where one is much smaller.
            let skipped = match rest.len() / few.blocks.len().max(1) {
                0..=8 => rest.iter().take_while(|other| other.index < block.index).count(),
                _ => rest.partition_point(|other| other.index < block.index),
            };
            rest = rest.get(skipped..).unwrap_or_default();
            let bits = rest.first().filter(|other| other.index == block.index)?.bits & block.bits;
            (bits != 0).then_some(Block { index: block.index, bits })
        });
        meeting.flat_map(Block::roles)
    }

    /// The roles, ascending.
    pub fn iter(&self) -> impl Iterator<Item = RoleId> + '_ {
        self.blocks.iter().copied().flat_map(Block::roles)
    }

    fn bits(&self, index: u32) -> u64 {
        let found = self.blocks.binary_search_by_key(&index, |block| block.index).ok();
        found.and_then(|at| self.blocks.get(at)).map_or(0, |block| block.bits)
    }
}

impl FromIterator<RoleId> for RoleSet {
    fn from_iter<I: IntoIterator<Item = RoleId>>(roles: I) -> Self {
        RoleSet::of(roles)
    }
}

impl Block {
    fn roles(self) -> impl Iterator<Item = RoleId> {
        let mut bits = self.bits;
        std::iter::from_fn(move || {
            let bit = (bits != 0).then(|| bits.trailing_zeros())?;
            bits &= bits - 1;
            Some(RoleId(self.index * 64 + bit))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn set(ids: &BTreeSet<u32>) -> RoleSet {
        ids.iter().copied().map(RoleId).collect()
    }

    proptest! {
        #[test]
        fn a_set_of_roles_is_a_set(
            one in proptest::collection::btree_set(0_u32..3_000, 0..200),
            other in proptest::collection::btree_set(0_u32..3_000, 0..6),
        ) {
            let (a, b) = (set(&one), set(&other));
            let ids = |roles: Vec<RoleId>| roles.into_iter().map(|role| role.0).collect::<Vec<_>>();
            let common: Vec<u32> = one.intersection(&other).copied().collect();
            prop_assert_eq!(ids(a.common(&b).collect()), common.clone());
            prop_assert_eq!(ids(b.common(&a).collect()), common.clone());
            prop_assert_eq!(a.first_common(&b).map(|role| role.0), common.first().copied());
            prop_assert_eq!(a.covers(&b), other.is_subset(&one));
            prop_assert_eq!(ids(a.iter().collect()), one.iter().copied().collect::<Vec<_>>());
            prop_assert_eq!((a.len(), a.is_empty()), (one.len(), one.is_empty()));
            for id in &other {
                prop_assert_eq!(a.contains(RoleId(*id)), one.contains(id));
            }
        }
    }

    #[test]
    fn every_set_covers_the_empty_one() {
        assert!(RoleSet::EMPTY.covers(RoleSet::EMPTY));
        assert!(!RoleSet::EMPTY.covers(&RoleSet::of([RoleId(0)])));
        assert_eq!(RoleSet::EMPTY.first_common(&RoleSet::of([RoleId(64)])), None);
    }
}
