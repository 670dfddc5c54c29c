//! Where cells live: a bounded map in shards, each behind a lock that is held for one look-up.
//!
//! The caller's key is already a keyed hash, so shards fill evenly and the maps hash no further. Room is made only by
//! removing cells that mean the same as absent ones, sealed first: a few old cells are looked at whenever a new one
//! comes, which removes idle ones about as fast as new ones arrive and never stops a core for a sweep. When nothing can
//! be removed the callers of one policy share one overflow cell, which can refuse them but never admits too many.

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
    sync::{
        Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
};

use crate::cell::Cell;

/// Old cells looked at for each new one: two, so that the idle ones go at twice the pace at which cells come.
const LOOKS: usize = 2;
/// Old cells looked at in a shard when there is no room: bounds the work a flood of new keys can cause.
const LOOKS_WHEN_FULL: usize = 32;
/// Shards of a large table.
const SHARDS_MAX: usize = 256;
/// Cells per shard below which more shards would only cost memory.
const SHARD_CELLS: usize = 64;
/// Overflow cells kept before idle ones are removed; there are as many as limits of policies.
const OVERFLOW_CELLS: usize = 1024;

/// The bounded, shared map of cells.
pub(crate) struct Table {
    shards: Box<[Padded]>,
    cells_max: usize,
    cells: AtomicUsize,
    evicted: AtomicU64,
    /// The shard next looked at for room.
    hand: AtomicUsize,
    overflow: RwLock<Shard>,
}

/// A shard on cache lines of its own: neighbours' locks must not slow each other.
#[repr(align(128))]
struct Padded(RwLock<Shard>);

#[derive(Default)]
struct Shard {
    index: HashMap<u128, u32, BuildHasherDefault<Already>>,
    cells: Vec<(u128, Arc<Cell>)>,
    hand: usize,
}

impl Table {
    pub(crate) fn new(cells_max: usize) -> Self {
        let shards = (cells_max / SHARD_CELLS).clamp(1, SHARDS_MAX).next_power_of_two();
        Table {
            shards: (0..shards).map(|_| Padded(RwLock::default())).collect(),
            cells_max,
            cells: AtomicUsize::new(0),
            evicted: AtomicU64::new(0),
            hand: AtomicUsize::new(0),
            overflow: RwLock::default(),
        }
    }

    /// Removes every cell; for rehearsals.
    pub(crate) fn clear(&self) {
        for shard in &self.shards {
            *write(&shard.0) = Shard::default();
        }
        *write(&self.overflow) = Shard::default();
        self.cells.store(0, Relaxed);
    }

    pub(crate) fn cells(&self) -> usize {
        self.cells.load(Relaxed)
    }

    pub(crate) fn evicted(&self) -> u64 {
        self.evicted.load(Relaxed)
    }

    /// The cell of a key, if there is one.
    pub(crate) fn find(&self, key: u128) -> Option<Arc<Cell>> {
        read(&self.shard(key as usize)?.0).find(key)
    }

    /// The cell of a key, made by `begin` if there is none; nothing if there is no room.
    pub(crate) fn find_or_begin(
        &self,
        key: u128,
        now: u64,
        begin: impl FnOnce() -> Cell,
    ) -> Option<Arc<Cell>> {
        if let Some(cell) = self.find(key) {
            return Some(cell);
        }
        if !self.claim() {
            self.make_room(key as usize, now);
            if !self.claim() {
                return None;
            }
        }
        // Made before the lock is taken: it may look at another cell of the same shard.
        let cell = Arc::new(begin());
        let mut shard = write(&self.shard(key as usize)?.0);
        if let Some(theirs) = shard.find(key) {
            self.cells.fetch_sub(1, Relaxed);
            return Some(theirs);
        }
        self.note_evicted(shard.sweep(now, LOOKS));
        shard.insert(key, Arc::clone(&cell));
        Some(cell)
    }

    /// The overflow cell of a limit; `key` is the same for all callers.
    pub(crate) fn overflow(&self, key: u128, now: u64, begin: impl FnOnce() -> Cell) -> Arc<Cell> {
        if let Some(cell) = read(&self.overflow).find(key) {
            return cell;
        }
        let mut shard = write(&self.overflow);
        if let Some(cell) = shard.find(key) {
            return cell;
        }
        if shard.cells.len() >= OVERFLOW_CELLS {
            shard.sweep(now, OVERFLOW_CELLS);
        }
        let cell = Arc::new(begin());
        shard.insert(key, Arc::clone(&cell));
        cell
    }

    /// Claims room for one cell.
    fn claim(&self) -> bool {
        self.cells
            .fetch_update(Relaxed, Relaxed, |cells| (cells < self.cells_max).then_some(cells + 1))
            .is_ok()
    }

    /// Looks for idle cells where the new one will live, then in one other shard after the next.
    fn make_room(&self, home: usize, now: u64) {
        for number in [home, self.hand.fetch_add(1, Relaxed)] {
            let Some(shard) = self.shard(number) else { return };
            let evicted = write(&shard.0).sweep(now, LOOKS_WHEN_FULL);
            self.note_evicted(evicted);
            if evicted > 0 {
                return;
            }
        }
    }

    fn note_evicted(&self, evicted: usize) {
        if evicted > 0 {
            self.cells.fetch_sub(evicted, Relaxed);
            self.evicted.fetch_add(evicted as u64, Relaxed);
        }
    }

    fn shard(&self, number: usize) -> Option<&Padded> {
        // Always there: the number of shards is a power of two and never zero.
        self.shards.get(number & (self.shards.len() - 1))
    }
}

impl Shard {
    fn find(&self, key: u128) -> Option<Arc<Cell>> {
        let &at = self.index.get(&key)?;
        self.cells.get(at as usize).map(|(_, cell)| Arc::clone(cell))
    }

    fn insert(&mut self, key: u128, cell: Arc<Cell>) {
        // A shard holds far fewer than 2³² cells: 2³² of them would take half a terabyte.
        self.index.insert(key, self.cells.len() as u32);
        self.cells.push((key, cell));
    }

    /// Looks at up to `looks` cells from where the last sweep stopped, removes the idle ones, and says how many.
    fn sweep(&mut self, now: u64, looks: usize) -> usize {
        let mut evicted = 0;
        for _ in 0..looks.min(self.cells.len()) {
            if self.hand >= self.cells.len() {
                self.hand = 0;
            }
            match self.cells.get(self.hand) {
                Some((_, cell)) if cell.seal(now) => {
                    self.remove(self.hand);
                    evicted += 1;
                }
                _ => self.hand += 1,
            }
        }
        evicted
    }

    fn remove(&mut self, at: usize) {
        let (key, _) = self.cells.swap_remove(at);
        self.index.remove(&key);
        if let Some(&(moved, _)) = self.cells.get(at) {
            self.index.insert(moved, at as u32);
        }
    }
}

/// Keys are hashes already.
#[derive(Default)]
struct Already(u64);

impl Hasher for Already {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        // Not reached for 128-bit keys; correct for any other.
        for &byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(byte);
        }
    }

    fn write_u128(&mut self, key: u128) {
        // The upper half: shards and caches choose by the lower one.
        self.0 = (key >> 64) as u64;
    }
}

// Nothing that runs under these locks panics, so a poisoned lock guards a whole shard. Were it ever otherwise, refusing
// a share of all keys for good would be the greater harm.
fn read(lock: &RwLock<Shard>) -> RwLockReadGuard<'_, Shard> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write(lock: &RwLock<Shard>) -> RwLockWriteGuard<'_, Shard> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}
