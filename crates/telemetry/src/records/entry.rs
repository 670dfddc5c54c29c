//! One line of the index: enough to find a record, and to leave most others unread.

use super::is_well;
use crate::record::{RequestRecord, Why};

/// What an index says of a record. Little endian on disk, [`Entry::BYTES`] each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// A hash of the id. Two ids may share it; the line tells.
    pub id: u64,
    /// Where the line begins in its segment.
    pub offset: u32,
    /// How long it is.
    pub length: u32,
    /// When the request came: seconds since 1970.
    pub at_s: u32,
    /// A hash of the consumer's name; 0 for none.
    pub consumer: u32,
    /// A hash of the route's name; 0 for none.
    pub route: u32,
    /// What happened.
    pub flags: Flags,
    /// The status that was sent.
    pub status: u16,
}

/// What happened to a request, in bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(pub u16);

impl Flags {
    /// It was refused.
    pub const REFUSED: u16 = 1;
    /// A policy in shadow would have done something.
    pub const WOULD: u16 = 2;
    /// A judge could not decide.
    pub const FAULT: u16 = 4;
    /// It did not end well.
    pub const BROKEN: u16 = 8;

    pub(super) fn of(record: &RequestRecord) -> Self {
        let bit = |is_so: bool, bit: u16| if is_so { bit } else { 0 };
        let refusal = record.refusal.as_ref();
        let faulted = refusal.is_some_and(|refusal| matches!(refusal.why, Why::Faulted { .. }));
        Flags(
            bit(refusal.is_some(), Self::REFUSED)
                | bit(!record.would_deny.is_empty(), Self::WOULD)
                | bit(faulted || !record.faults.is_empty(), Self::FAULT)
                | bit(!is_well(record.exit) || record.status >= 500, Self::BROKEN),
        )
    }

    /// Whether one of `bits` is set.
    pub const fn has(self, bits: u16) -> bool {
        self.0 & bits != 0
    }

    /// Whether nothing happened that somebody will ask about.
    pub const fn is_plain(self) -> bool {
        self.0 == 0
    }
}

impl Entry {
    /// Bytes of an entry on disk.
    pub const BYTES: usize = 32;

    pub(super) fn of(record: &RequestRecord, offset: u64, length: usize) -> Self {
        Entry {
            id: hash(record.id().unwrap_or_default()),
            // A segment is smaller than 4 GiB; should a line still begin beyond, reading it fails and nothing else.
            offset: u32::try_from(offset).unwrap_or(u32::MAX),
            length: u32::try_from(length).unwrap_or(u32::MAX),
            at_s: u32::try_from(record.time_unix_nanos / 1_000_000_000).unwrap_or(u32::MAX),
            consumer: short(record.consumer.as_deref()),
            route: short(record.route.as_deref()),
            flags: Flags::of(record),
            status: record.status,
        }
    }

    pub(super) fn to_bytes(self) -> [u8; Self::BYTES] {
        let pair = |low: u32, high: u32| u64::from(low) | (u64::from(high) << 32);
        let last = u32::from(self.flags.0) | (u32::from(self.status) << 16);
        let words =
            [self.id, pair(self.offset, self.length), pair(self.at_s, self.consumer), pair(self.route, last)];
        let mut bytes = [0; Self::BYTES];
        for (to, word) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(words) {
            *to = word.to_le_bytes();
        }
        bytes
    }

    pub(super) fn from_bytes(bytes: &[u8; Self::BYTES]) -> Self {
        let (words, _) = bytes.as_chunks::<4>();
        let word = |at: usize| words.get(at).map_or(0, |word| u32::from_le_bytes(*word));
        let last = word(7);
        Entry {
            id: u64::from(word(0)) | (u64::from(word(1)) << 32),
            offset: word(2),
            length: word(3),
            at_s: word(4),
            consumer: word(5),
            route: word(6),
            flags: Flags((last & 0xffff) as u16),
            status: (last >> 16) as u16,
        }
    }
}

/// A hash of a name in 32 bits, never 0; 0 for no name.
pub(super) fn short(name: Option<&str>) -> u32 {
    name.map_or(0, |name| (hash(name.as_bytes()) as u32).max(1))
}

/// FNV-1a with a finisher: the same for ever, so that a store can be read by any process. Whoever chooses ids can make
/// two of them meet; then both lines are read.
pub(super) fn hash(bytes: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in bytes {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^ (hash >> 33)
}
