//! One cell: the state of one limit for one key, a single atomic word shared by all cores.
//!
//! A rate's word is a time (see `gcra`), a concurrency's word the number of permits out. Every decision is one
//! compare-and-swap of that word. A cell that means the same as no cell may be *sealed*, after which no thread can
//! change it: whoever still holds it sees the seal and looks the key up again, so no decision is ever lost in a cell
//! that has left the table.

use std::sync::atomic::{
    AtomicU32, AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
};

use crate::gcra::{Bucket, Step};

/// The word of a sealed cell. No rate and no count of permits ever reaches it.
const SEALED: u64 = u64::MAX;

/// What a cell's word means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A time.
    Rate,
    /// A count.
    Permits,
}

/// The state of one limit for one key.
#[derive(Debug)]
pub(crate) struct Cell {
    word: AtomicU64,
    /// The bound of the rate that last wrote the word: a different one means that the rate has changed.
    bound: AtomicU64,
    /// Counts, in advance, every change of the word that is not an addition on top of what was there; see `undo`.
    breaks: AtomicU32,
    /// Calls that wait for a slot of this cell.
    places: AtomicU32,
    kind: Kind,
}

/// What a cell answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Taken; the word was `before` and is now `word`. A call with `wait` goes after so many nanoseconds.
    Taken { word: u64, before: u64, wait: u64, receipt: Receipt },
    /// It would have to wait `wait` nanoseconds and has no place to wait in; nothing was taken.
    MustWait { word: u64, wait: u64 },
    /// It does not fit; it would after `retry` nanoseconds.
    Refused { word: u64, retry: u64 },
    /// The cell is sealed: look the key up again.
    Sealed,
}

/// What is needed to give a taken amount back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Receipt {
    added: u64,
    breaks: u32,
}

/// How what a call used differs from what it took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// So many units less.
    Unused(u64),
    /// So many units more.
    Beyond(u64),
}

impl Cell {
    /// A cell that means the same as no cell, to be written by a rate of this bound.
    pub(crate) const fn new(kind: Kind, bound: u64) -> Self {
        Cell {
            word: AtomicU64::new(0),
            bound: AtomicU64::new(bound),
            breaks: AtomicU32::new(0),
            places: AtomicU32::new(0),
            kind,
        }
    }

    /// A cell that begins where `other` stands. Permits begin at none, because those that are out will be given
    /// back to `other`.
    pub(crate) fn copy_of(other: &Cell) -> Self {
        let copy = Cell::new(other.kind, other.bound.load(Relaxed));
        if other.kind == Kind::Rate {
            copy.word.store(other.word(), Relaxed);
        }
        copy
    }

    /// Writes the word as a record has it; for rehearsals.
    pub(crate) fn put(&self, word: u64, bound: u64) {
        self.bound.store(bound, Relaxed);
        self.word.store(word, Release);
    }

    /// The word, for reports.
    pub(crate) fn word(&self) -> u64 {
        match self.word.load(Acquire) {
            SEALED => 0,
            word => word,
        }
    }

    /// The bound of the rate that wrote the word, for reports.
    pub(crate) fn bound(&self) -> u64 {
        self.bound.load(Relaxed)
    }

    // --- rates ---

    /// Takes `cost` units of a rate at `now`. A call that has no place to wait in (`may_wait`) takes nothing that it
    /// would have to wait for.
    pub(crate) fn take(&self, bucket: &Bucket, now: u64, cost: u64, may_wait: bool) -> Answer {
        loop {
            let word = self.word.load(Acquire);
            if word == SEALED {
                return Answer::Sealed;
            }
            let (next, wait) = match bucket.step(word, now, cost) {
                Step::Take { next, wait } => (next, wait),
                Step::Refuse { .. } if self.clamp(bucket, word, now) => continue,
                Step::Refuse { retry } => return Answer::Refused { word, retry },
            };
            if wait > 0 && !may_wait {
                return Answer::MustWait { word, wait };
            }
            if word < now {
                self.breaks.fetch_add(1, Relaxed);
            }
            // Read before the swap and after our own announcement: any break that our addition does not survive is
            // announced later than this.
            let breaks = self.breaks.load(Acquire);
            // Written before the swap, so that nobody sees the new word beside an older bound.
            if self.bound.load(Relaxed) != bucket.bound() {
                self.bound.store(bucket.bound(), Relaxed);
            }
            if self.word.compare_exchange_weak(word, next, AcqRel, Acquire).is_ok() {
                let added = next - word.max(now);
                return Answer::Taken { word: next, before: word, wait, receipt: Receipt { added, breaks } };
            }
        }
    }

    /// What `take` would answer, without taking.
    pub(crate) fn look(&self, bucket: &Bucket, now: u64, cost: u64) -> Answer {
        loop {
            let word = self.word.load(Acquire);
            if word == SEALED {
                return Answer::Sealed;
            }
            return match bucket.step(word, now, cost) {
                Step::Take { next, wait } => {
                    Answer::Taken { word: next, before: word, wait, receipt: Receipt { added: 0, breaks: 0 } }
                }
                Step::Refuse { .. } if self.clamp(bucket, word, now) => continue,
                Step::Refuse { retry } => Answer::Refused { word, retry },
            };
        }
    }

    /// Gives back what a decision took before a later limit of the same request refused.
    ///
    /// Units on top of a time that still lies ahead can be subtracted in any order. Once the time has passed and the
    /// count began anew (a *break*), they have come back by themselves, and subtracting would admit too many. Every
    /// break is announced before it is made, so an undo that sees no announcement and whose swap succeeds is exact;
    /// one that sees any leaves the word alone, which can only admit too few.
    pub(crate) fn undo(&self, receipt: Receipt) {
        let mut announced = receipt.breaks;
        loop {
            let word = self.word.load(Acquire);
            let mine = announced.wrapping_add(1);
            // Sees whether there was a break, and announces this undo: to the others it is one, because it may bring
            // back a word that they have seen before.
            if word == SEALED || self.breaks.compare_exchange(announced, mine, AcqRel, Acquire).is_err() {
                return;
            }
            announced = mine;
            let less = word.saturating_sub(receipt.added);
            if self.word.compare_exchange(word, less, AcqRel, Acquire).is_ok() {
                return;
            }
        }
    }

    /// Settles what a call took, up to the time `until`: what it did not use comes back, as far as time has not given it
    /// back already; what it used beyond is owed. Others' units on top of a time can be moved with it.
    pub(crate) fn settle(&self, bucket: &Bucket, receipt: Receipt, until: u64, now: u64, change: Change) {
        loop {
            let word = self.word.load(Acquire);
            let next = match change {
                Change::Unused(units) => word.saturating_sub(bucket.unused(until, receipt.added, now, units)),
                Change::Beyond(units) => bucket.owing(word, now, units),
            };
            // A sealed cell means the same as none: all of it had come back. What is owed then is not remembered,
            // which takes a call that ended after its whole limit had come back and nobody else had called.
            if word == SEALED || next == word {
                return;
            }
            self.breaks.fetch_add(1, Relaxed);
            if self.word.compare_exchange(word, next, AcqRel, Acquire).is_ok() {
                return;
            }
        }
    }

    /// Cuts a time down that lies further ahead than this rate allows, if another rate wrote it (the policy has
    /// changed). Without the comparison a thread with an older reading of the clock would cut what its neighbour
    /// has just taken. Says whether the word may have changed.
    fn clamp(&self, bucket: &Bucket, word: u64, now: u64) -> bool {
        let (reach, bound) = (bucket.reach(now), self.bound.load(Relaxed));
        if word <= reach || bound == bucket.bound() {
            return false;
        }
        self.breaks.fetch_add(1, Relaxed);
        self.bound.store(bucket.bound(), Relaxed);
        if self.word.compare_exchange(word, reach, AcqRel, Acquire).is_err() {
            self.bound.store(bound, Relaxed);
        }
        true
    }

    // --- permits ---

    /// Takes one of at most `limit` permits.
    pub(crate) fn acquire(&self, limit: u64) -> Answer {
        let mut word = self.word.load(Acquire);
        loop {
            if word == SEALED {
                return Answer::Sealed;
            }
            if word >= limit {
                return Answer::Refused { word, retry: 0 };
            }
            match self.word.compare_exchange_weak(word, word + 1, AcqRel, Acquire) {
                Ok(_) => {
                    let receipt = Receipt { added: 1, breaks: 0 };
                    return Answer::Taken { word: word + 1, before: word, wait: 0, receipt };
                }
                Err(seen) => word = seen,
            }
        }
    }

    /// What `acquire` would answer, without taking.
    pub(crate) fn peek(&self, limit: u64) -> Answer {
        match self.word.load(Acquire) {
            SEALED => Answer::Sealed,
            word if word >= limit => Answer::Refused { word, retry: 0 },
            word => Answer::Taken {
                word: word + 1,
                before: word,
                wait: 0,
                receipt: Receipt { added: 0, breaks: 0 },
            },
        }
    }

    /// Gives a permit back. The cell cannot have been sealed meanwhile, because its word was not zero.
    pub(crate) fn release(&self) {
        let before = self.word.fetch_sub(1, AcqRel);
        debug_assert!(before != SEALED && before > 0, "a permit is given back once");
    }

    // --- waiting ---

    /// Takes one of `limit` places to wait in.
    pub(crate) fn enter(&self, limit: u32) -> bool {
        self.places.fetch_update(AcqRel, Acquire, |taken| (taken < limit).then_some(taken + 1)).is_ok()
    }

    /// Leaves the place.
    pub(crate) fn leave(&self) {
        self.places.fetch_sub(1, AcqRel);
    }

    // --- end ---

    /// Seals the cell if it means the same as no cell at `now`.
    pub(crate) fn seal(&self, now: u64) -> bool {
        if self.places.load(Acquire) != 0 {
            return false;
        }
        let word = self.word.load(Acquire);
        let idle = match self.kind {
            Kind::Rate => word <= now,
            Kind::Permits => word == 0,
        };
        idle && self.word.compare_exchange(word, SEALED, AcqRel, Acquire).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use std::{num::NonZeroU64, time::Duration};

    use super::*;
    use crate::policy::Action;

    /// Ten units, one back every 10 ns.
    fn bucket() -> Bucket {
        let ten = NonZeroU64::new(10).unwrap();
        Bucket::new(ten, Duration::from_nanos(100), ten, Action::Reject)
    }

    fn take(cell: &Cell, now: u64, cost: u64) -> Receipt {
        match cell.take(&bucket(), now, cost, false) {
            Answer::Taken { receipt, .. } => receipt,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_given_back_is_there_again() {
        let cell = Cell::new(Kind::Rate, bucket().bound());
        let receipt = take(&cell, 1000, 3);
        assert_eq!(cell.word(), 1030);
        cell.undo(receipt);
        assert_eq!(cell.word(), 1000);
    }

    #[test]
    fn what_others_took_meanwhile_stays_taken() {
        let cell = Cell::new(Kind::Rate, bucket().bound());
        let mine = take(&cell, 1000, 3);
        take(&cell, 1005, 2);
        cell.undo(mine);
        assert_eq!(cell.word(), 1020);
    }

    #[test]
    fn what_has_come_back_by_itself_is_not_given_back_again() {
        let cell = Cell::new(Kind::Rate, bucket().bound());
        let mine = take(&cell, 1000, 3);
        // At 1031 all three units are back; the count begins anew there.
        take(&cell, 1031, 2);
        cell.undo(mine);
        assert_eq!(cell.word(), 1051);
    }

    #[test]
    fn of_two_that_give_back_at_once_neither_gives_too_much() {
        let cell = Cell::new(Kind::Rate, bucket().bound());
        let (first, second) = (take(&cell, 1000, 3), take(&cell, 1000, 4));
        cell.undo(second);
        cell.undo(first);
        assert!((1000..=1030).contains(&cell.word()), "{}", cell.word());
    }

    #[test]
    fn a_sealed_cell_never_changes() {
        let cell = Cell::new(Kind::Rate, bucket().bound());
        let mine = take(&cell, 1000, 3);
        assert!(!cell.seal(1029), "a unit is still out");
        assert!(cell.seal(1030));
        assert_eq!(cell.take(&bucket(), 2000, 1, false), Answer::Sealed);
        assert_eq!(cell.look(&bucket(), 2000, 1), Answer::Sealed);
        cell.undo(mine);
        assert_eq!(cell.word.load(Acquire), SEALED);
        assert!(!cell.seal(3000), "once only");
    }

    #[test]
    fn a_cell_with_a_permit_out_or_a_call_waiting_is_not_sealed() {
        let cell = Cell::new(Kind::Permits, 0);
        assert!(matches!(cell.acquire(1), Answer::Taken { word: 1, .. }));
        assert!(matches!(cell.acquire(1), Answer::Refused { word: 1, .. }));
        assert!(!cell.seal(u64::MAX - 1));
        cell.release();
        assert!(cell.enter(1));
        assert!(!cell.enter(1));
        assert!(!cell.seal(u64::MAX - 1));
        cell.leave();
        assert!(cell.seal(0));
        assert_eq!(cell.acquire(1), Answer::Sealed);
        assert_eq!(cell.peek(1), Answer::Sealed);
    }

    #[test]
    fn an_older_reading_of_the_clock_does_not_cut_what_a_newer_one_took() {
        let cell = Cell::new(Kind::Rate, bucket().bound());
        take(&cell, 1000, 10);
        // 1100 lies further ahead of 995 than this rate allows, but this rate wrote it.
        assert!(matches!(cell.take(&bucket(), 995, 1, false), Answer::Refused { word: 1100, .. }));
        assert_eq!(cell.word(), 1100);
    }

    #[test]
    fn of_a_taker_and_a_sealer_at_the_same_moment_one_wins() {
        use std::{hint, sync::atomic::AtomicUsize, thread};

        let cells: Vec<Cell> = (0..100_000).map(|_| Cell::new(Kind::Rate, bucket().bound())).collect();
        let arrived = [AtomicUsize::new(0), AtomicUsize::new(0)];
        // Both threads meet before each cell, so that they reach for it within nanoseconds of each other.
        let race = |me: usize, grasp: &dyn Fn(&Cell) -> bool| -> Vec<bool> {
            let meet = |turn: usize| {
                arrived[me].store(turn, Release);
                let mut spins = 0_u32;
                while arrived[1 - me].load(Acquire) < turn {
                    spins += 1;
                    if spins > 1_000 { thread::yield_now() } else { hint::spin_loop() }
                }
            };
            (1..)
                .zip(&cells)
                .map(|(turn, cell)| {
                    meet(turn);
                    grasp(cell)
                })
                .collect()
        };
        let (taken, sealed) = thread::scope(|scope| {
            let race = &race;
            let sealer = scope.spawn(move || race(1, &|cell| cell.seal(1000)));
            let taken = race(0, &|cell| matches!(cell.take(&bucket(), 1000, 1, false), Answer::Taken { .. }));
            (taken, sealer.join().unwrap())
        });
        let both = taken.iter().zip(&sealed).filter(|(taken, sealed)| taken == sealed).count();
        assert_eq!(both, 0, "each cell is either taken from or sealed");
        assert!(taken.iter().any(|taken| *taken) && sealed.iter().any(|sealed| *sealed), "the race was one");
    }
}
