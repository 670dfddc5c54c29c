//! What an admitted call holds: permits until it ends, and while it waits a place to wait in.
//!
//! Everything is given back by `Drop`, so a cancelled task leaks nothing. Units of a rate are spent when the decision
//! is made and are *not* given back: a caller that leaves does not return its slot, or leaving would be a way around
//! the limit. Tokens are taken by an estimate and settled by what was used ([`Reservation::settle`]), which is why a
//! reservation is neither `Clone` nor made of public parts.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
};

use crate::{
    cell::{Cell, Change, Receipt},
    clock::Nanos,
    gcra::{Bucket, NOW_MAX},
};

/// An admitted call. Keep it as long as the call runs.
#[must_use = "dropping a reservation gives its permits back at once"]
#[derive(Debug, Default)]
pub struct Reservation {
    permits: Vec<Permit>,
    portions: Vec<Portion>,
}

impl Reservation {
    pub(crate) fn hold(&mut self, permit: Permit) {
        self.permits.push(permit);
    }

    pub(crate) fn portion(&mut self, portion: Portion) {
        self.portions.push(portion);
    }

    /// Adds what a later decision about the same call took.
    pub fn join(&mut self, mut other: Reservation) {
        self.permits.append(&mut other.permits);
        self.portions.append(&mut other.portions);
    }

    /// The call has ended at `now`: of the tokens it took it used so many. What it did not use comes back, what it used
    /// beyond is owed. Without this, all that was taken stays taken.
    pub fn settle(&mut self, now: Nanos, tokens: u64) {
        let now = now.0.min(NOW_MAX);
        for Portion { cell, bucket, units, until, receipt } in self.portions.drain(..) {
            let change = match units.checked_sub(tokens) {
                Some(unused) => Change::Unused(unused),
                None => Change::Beyond(tokens.saturating_sub(units)),
            };
            cell.settle(&bucket, receipt, until, now, change);
        }
    }

    /// How many concurrency limits the call holds permits of, shadows included.
    pub fn permits(&self) -> usize {
        self.permits.len()
    }
}

/// A call that has its slot and waits for it. Dropping it leaves the waiting place and the permits; the slot stays
/// taken.
#[must_use = "a waiting call that is dropped has left"]
#[derive(Debug)]
pub struct Waiting {
    reservation: Reservation,
    places: Places,
}

impl Waiting {
    pub(crate) fn new(reservation: Reservation, places: Places) -> Self {
        Waiting { reservation, places }
    }

    /// The slot has come: gives up the waiting place and goes on with what is reserved.
    pub fn start(self) -> Reservation {
        drop(self.places);
        self.reservation
    }
}

/// Tokens that a call took of one limit before it was known how many it uses.
#[derive(Debug)]
pub(crate) struct Portion {
    pub(crate) cell: Arc<Cell>,
    pub(crate) bucket: Bucket,
    pub(crate) units: u64,
    /// The cell's time after they were taken.
    pub(crate) until: u64,
    pub(crate) receipt: Receipt,
}

/// A permit of one concurrency limit.
pub(crate) struct Permit(Arc<Cell>);

impl Permit {
    /// Takes charge of a permit already acquired from `cell`.
    pub(crate) const fn new(cell: Arc<Cell>) -> Self {
        Permit(cell)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.release();
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Permit")
    }
}

/// The places one waiting call takes: one in the process, and one at each cell whose slot it waits for.
#[derive(Debug)]
pub(crate) struct Places {
    process: Arc<AtomicU32>,
    cells: Vec<Arc<Cell>>,
}

impl Places {
    /// One of `limit` places in the process, if one is free.
    pub(crate) fn enter(process: &Arc<AtomicU32>, limit: u32) -> Option<Self> {
        process.fetch_update(Relaxed, Relaxed, |taken| (taken < limit).then_some(taken + 1)).ok()?;
        Some(Places { process: Arc::clone(process), cells: Vec::new() })
    }

    /// One of `limit` places at a cell, if one is free.
    pub(crate) fn enter_at(&mut self, cell: &Arc<Cell>, limit: u32) -> bool {
        let entered = cell.enter(limit);
        if entered {
            self.cells.push(Arc::clone(cell));
        }
        entered
    }
}

impl Drop for Places {
    fn drop(&mut self) {
        for cell in &self.cells {
            cell.leave();
        }
        self.process.fetch_sub(1, Relaxed);
    }
}
