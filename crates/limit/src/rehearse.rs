//! Cells of a rehearsal: emptied between runs, and put where a record says they stood.
//!
//! Only for cells that nobody else uses: live cells are changed by decisions alone.

use std::sync::atomic::Ordering::Relaxed;

use crate::{
    cache::CellCache, cells::Cells, clock::Nanos, gcra::NOW_MAX, policy::Measure, reserve::cell_key,
    verdict::Ask,
};

impl Cells {
    /// Forgets every cell. Permits that are still held go back to cells that nobody sees any more.
    pub fn clear(&self) {
        self.table.clear();
        self.overflowed.store(0, Relaxed);
    }

    /// Puts the cell of one limit of an ask to `word`, which is a time on the clock of `now` or a count of permits.
    /// `bound` is that of the rate which wrote it, where it was another than the ask's: then the word is cut down to
    /// what this rate allows, as after a reload.
    pub fn put(
        &self,
        cache: &mut CellCache,
        now: Nanos,
        ask: &Ask<'_>,
        limit: usize,
        (word, bound): (u64, Option<u64>),
    ) {
        let Some(gauge) = ask.policy.gauges().get(limit) else { return };
        let key = cell_key(ask.key, gauge, ask.bite);
        // The core's own memory may hold a cell that has left the table.
        drop(cache.take(key));
        let (cell, _) = self.locate(key, ask, gauge, now.0.min(NOW_MAX));
        let own = match gauge.measure {
            Measure::Rate(bucket) => bucket.bound(),
            Measure::Permits(_) => 0,
        };
        cell.put(word.min(NOW_MAX), bound.unwrap_or(own));
    }
}
