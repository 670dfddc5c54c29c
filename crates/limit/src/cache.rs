//! A core's own memory of where cells are, so that a key that is called often costs no shared lock.
//!
//! It is bounded and direct-mapped: a key has one place, and a newer key takes it over. It may hold a cell that has
//! left the table meanwhile; the cell's seal tells. One cache belongs to one core and to one `Cells`.

use std::sync::Arc;

use crate::{cell::Cell, reserve::Line};

/// Places of a cache unless told otherwise: 4,096, at most 128 KiB a core and 4,096 cells kept beyond their time.
const PLACES: usize = 4096;

/// A core's memory of where cells are. `Default` makes one of the usual size; it allocates at first use.
#[derive(Debug)]
pub struct CellCache {
    places: Vec<Option<(u128, Arc<Cell>)>>,
    size: usize,
    /// The lines of the decision being made, kept for their allocation.
    pub(crate) lines: Vec<Line>,
}

impl CellCache {
    /// A cache of `size` places, rounded up to a power of two.
    pub fn new(size: usize) -> Self {
        CellCache { places: Vec::new(), size: size.max(1).next_power_of_two(), lines: Vec::new() }
    }

    /// Takes a cell out, so that it is used without touching its shared reference count.
    pub(crate) fn take(&mut self, key: u128) -> Option<Arc<Cell>> {
        let place = self.place(key)?;
        match place.take() {
            Some((held, cell)) if held == key => Some(cell),
            other => {
                *place = other;
                None
            }
        }
    }

    /// Puts a cell in, or back.
    pub(crate) fn put(&mut self, key: u128, cell: Arc<Cell>) {
        if self.places.is_empty() {
            self.places.resize(self.size, None);
        }
        if let Some(place) = self.place(key) {
            *place = Some((key, cell));
        }
    }

    fn place(&mut self, key: u128) -> Option<&mut Option<(u128, Arc<Cell>)>> {
        // The table chooses its shard by the lowest bits; these are others.
        let index = (key >> 16) as usize & (self.size - 1);
        self.places.get_mut(index)
    }
}

impl Default for CellCache {
    fn default() -> Self {
        CellCache::new(PLACES)
    }
}
