//! Putting requests into the order of their times: logs are written when answers end.

use std::{cmp::Reverse, collections::BinaryHeap};

use bartizan_config::replay::Recording;

/// How many requests wait to be put in order: at 10,000 a second, those of nearly two seconds. More would cost memory, and
/// what comes later than that is judged at its recorded time all the same.
const WINDOW: usize = 16_384;

/// Requests that wait for earlier ones.
#[derive(Default)]
pub(super) struct Ordered {
    waiting: BinaryHeap<Reverse<Waiting>>,
    pushed: u64,
    last: u64,
    late: u64,
}

/// Compared by time, then as it came.
struct Waiting {
    key: (u64, u64),
    asked: Box<Recording>,
}

impl Ordered {
    /// Takes a request; gives the earliest once the window is full.
    pub(super) fn push(&mut self, asked: Box<Recording>) -> Option<Box<Recording>> {
        self.late += u64::from(asked.unix_nanos < self.last);
        self.pushed += 1;
        self.waiting.push(Reverse(Waiting { key: (asked.unix_nanos, self.pushed), asked }));
        if self.waiting.len() <= WINDOW {
            return None;
        }
        let Reverse(first) = self.waiting.pop()?;
        self.last = self.last.max(first.asked.unix_nanos);
        Some(first.asked)
    }

    /// How many came after one that is later than they are had been judged.
    pub(super) const fn late(&self) -> u64 {
        self.late
    }

    /// Those that still wait, in order.
    pub(super) fn rest(mut self) -> impl Iterator<Item = Box<Recording>> {
        std::iter::from_fn(move || self.waiting.pop().map(|Reverse(next)| next.asked))
    }
}

impl PartialEq for Waiting {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl Eq for Waiting {}

impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Waiting {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key.cmp(&other.key)
    }
}
