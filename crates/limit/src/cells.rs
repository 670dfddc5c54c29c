//! The judge of a process: all cells, the hash that names them, and the counters that metrics read.
//!
//! One `Cells` serves all cores and outlives every snapshot; each core brings its own [`CellCache`](crate::CellCache).
//! The decision itself is in `reserve`.

use std::{
    fmt,
    hash::RandomState,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    },
};

use crate::{
    key::{Key, KeyFacts, KeyHasher},
    policy::Policy,
    table::Table,
};

/// Cells unless told otherwise. A million cells take about 150 MB; a process that limits nobody has none.
pub const CELLS_MAX: usize = 1_000_000;
/// Calls that may wait for one cell: more would only hold sockets open for answers that come too late.
pub const WAITERS_PER_KEY: u32 = 64;
/// Calls that may wait in the process.
pub const WAITERS_PER_PROCESS: u32 = 1024;

/// All limit cells of a process.
pub struct Cells {
    pub(crate) table: Table,
    pub(crate) hasher: KeyHasher,
    pub(crate) waiters: Arc<AtomicU32>,
    pub(crate) overflowed: AtomicU64,
    /// Until when some failed attempt can still count.
    pub(crate) failing_until: AtomicU64,
}

impl Cells {
    /// Room for `cells_max` cells ([`CELLS_MAX`] is usual), whose keys are hashed with this process's randomness.
    pub fn new(cells_max: usize, seeds: [RandomState; 2]) -> Self {
        Cells {
            table: Table::new(cells_max),
            hasher: KeyHasher::new(seeds),
            waiters: Arc::new(AtomicU32::new(0)),
            overflowed: AtomicU64::new(0),
            failing_until: AtomicU64::new(0),
        }
    }

    /// The key of a call for a policy.
    pub fn key_of(&self, policy: &Policy, facts: &KeyFacts<'_>) -> Key {
        self.hasher.key_of(policy, facts)
    }

    /// Cells in use, without overflow cells.
    pub fn cells(&self) -> usize {
        self.table.cells()
    }

    /// Idle cells removed so far.
    pub fn evicted(&self) -> u64 {
        self.table.evicted()
    }

    /// How often a limit was judged by its policy's overflow cell because there was no room.
    pub fn overflowed(&self) -> u64 {
        self.overflowed.load(Relaxed)
    }

    /// Calls that wait for their slot now.
    pub fn waiters(&self) -> u32 {
        self.waiters.load(Relaxed)
    }
}

impl fmt::Debug for Cells {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cells")
            .field("cells", &self.cells())
            .field("evicted", &self.evicted())
            .field("overflowed", &self.overflowed())
            .field("waiters", &self.waiters())
            .finish_non_exhaustive()
    }
}
