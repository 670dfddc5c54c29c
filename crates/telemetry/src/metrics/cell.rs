//! Counter, gauge and histogram with one writer.
//!
//! Only the thread that owns a cell writes it; a scrape reads it. So an increment is a load and a store of an
//! `AtomicU64`, which costs what a plain addition costs, and no `lock` prefix.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// A number that grows; or, with [`Counter::subtract`], one that goes up and down and is right when all cores'
/// are summed with wrap-around.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds. Only the owning thread may.
    pub fn add(&self, amount: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(amount), Ordering::Relaxed);
    }

    /// Takes away. Only the owning thread may.
    pub fn subtract(&self, amount: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_sub(amount), Ordering::Relaxed);
    }

    /// The value now.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Most buckets of a histogram, without the one for everything above.
pub const BUCKETS_MAX: usize = 15;

/// Bounds for whole requests and for upstreams: half a millisecond to thirty seconds.
pub const TOTAL_BOUNDS: Bounds = Bounds(&[
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    10_000_000_000,
    30_000_000_000,
]);

/// Bounds for the gateway's own time: ten microseconds to one second.
pub const GATEWAY_BOUNDS: Bounds = Bounds(&[
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    50_000_000,
    250_000_000,
    1_000_000_000,
]);

/// Upper bounds of buckets in nanoseconds, ascending, at most [`BUCKETS_MAX`].
#[derive(Clone, Copy, Debug)]
pub struct Bounds(&'static [u64]);

impl Bounds {
    /// The bounds in nanoseconds.
    pub fn nanos(self) -> &'static [u64] {
        self.0
    }
}

/// Durations in buckets. Which bounds they have is known to the family that holds it.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [Counter; BUCKETS_MAX + 1],
    sum_nanos: Counter,
}

impl Histogram {
    /// Counts one duration. Only the owning thread may.
    pub fn observe(&self, bounds: Bounds, duration: Duration) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let index = bounds.0.partition_point(|bound| *bound < nanos);
        if let Some(bucket) = self.buckets.get(index) {
            bucket.add(1);
            self.sum_nanos.add(nanos);
        }
    }

    /// Adds what this histogram holds now to `sum`.
    pub fn add_to(&self, sum: &mut HistogramSum) {
        for (total, bucket) in sum.buckets.iter_mut().zip(&self.buckets) {
            *total += bucket.get();
        }
        sum.nanos += u128::from(self.sum_nanos.get());
    }
}

/// A histogram summed over the cores.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HistogramSum {
    /// How many fell into each bucket, not cumulated; the one after the last bound holds the rest.
    pub buckets: [u64; BUCKETS_MAX + 1],
    /// The sum of all durations.
    pub nanos: u128,
}

impl HistogramSum {
    /// How many durations were counted.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }
}

/// How many slots are made at once.
const PAGE: usize = 32;

/// A table of cells by small number, made page by page on first use: a core that never serves a route does not
/// pay for its counters. Reading a made slot is two loads.
#[derive(Debug)]
pub struct Slots<T> {
    pages: Box<[OnceLock<Box<[T]>>]>,
}

impl<T: Default> Slots<T> {
    /// A table for numbers below `limit`.
    pub fn new(limit: usize) -> Self {
        Slots { pages: (0..limit.div_ceil(PAGE)).map(|_| OnceLock::new()).collect() }
    }

    /// The cell of `index`, made if it is the first of its page. `None` beyond the limit.
    pub fn cell(&self, index: usize) -> Option<&T> {
        let page = self.pages.get(index / PAGE)?;
        page.get_or_init(|| (0..PAGE).map(|_| T::default()).collect()).get(index % PAGE)
    }

    /// The cell of `index` if its page was ever used.
    pub fn existing(&self, index: usize) -> Option<&T> {
        self.pages.get(index / PAGE)?.get()?.get(index % PAGE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_falls_into_the_bucket_whose_bound_it_does_not_exceed() {
        for (nanos, bucket) in [
            (0, 0),
            (500_000, 0),
            (500_001, 1),
            (1_000_000, 1),
            (30_000_000_000, 14),
            (30_000_000_001, 15),
            (u64::MAX, 15),
        ] {
            let histogram = Histogram::default();
            histogram.observe(TOTAL_BOUNDS, Duration::from_nanos(nanos));
            let mut sum = HistogramSum::default();
            histogram.add_to(&mut sum);
            assert_eq!(sum.buckets[bucket], 1, "{nanos}");
            assert_eq!((sum.count(), sum.nanos), (1, u128::from(nanos)));
        }
    }

    #[test]
    fn bounds_ascend_and_fit() {
        for bounds in [TOTAL_BOUNDS, GATEWAY_BOUNDS] {
            assert!(bounds.nanos().len() <= BUCKETS_MAX);
            assert!(bounds.nanos().is_sorted_by(|a, b| a < b));
        }
    }

    #[test]
    fn a_slot_beyond_the_limit_does_not_exist_and_an_unused_page_is_not_made() {
        let slots: Slots<Counter> = Slots::new(64);
        assert!(slots.cell(64).is_none());
        slots.cell(3).unwrap().add(2);
        assert_eq!(slots.existing(3).unwrap().get(), 2);
        assert_eq!(slots.existing(4).unwrap().get(), 0, "its page was made with its neighbour");
        assert!(slots.existing(40).is_none());
    }

    #[test]
    fn what_one_core_opened_and_another_closed_sums_to_nothing() {
        let [one, two] = [Counter::default(), Counter::default()];
        one.add(1);
        two.subtract(1);
        assert_eq!(one.get().wrapping_add(two.get()), 0);
    }
}
