//! How much a policy asks of upstreams: how many requests at once, and how many once more.
//!
//! One governor for a policy's name, shared by all cores and kept over reloads, so that a reload neither forgets what is
//! on its way nor gives credit anew. Pure but for its counters: time comes from the caller.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicI64, AtomicUsize, Ordering::Relaxed},
};

use bartizan_config::snapshot::ConcurrencyPlan;

/// What one retry costs, in thousandths of a request.
const RETRY_COST: i64 = 1_000;
/// 50 retries may be saved up: what the first failures after a quiet time may spend.
const CREDIT_MAX: i64 = 50 * RETRY_COST;
/// 10 retries: what a process that has just started may spend.
const CREDIT_AT_FIRST: i64 = 10 * RETRY_COST;

/// What a policy has under way.
#[derive(Debug)]
pub(crate) struct Governor {
    in_flight: AtomicUsize,
    /// How many may be, where that follows how long answers take; 0 before the first answer: the least.
    limit: AtomicUsize,
    credit: AtomicI64,
    pace: Mutex<Pace>,
}

/// A place among those that are under way; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Permit(Arc<Governor>);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Relaxed);
    }
}

impl Default for Governor {
    fn default() -> Self {
        Governor {
            in_flight: AtomicUsize::new(0),
            limit: AtomicUsize::new(0),
            credit: AtomicI64::new(CREDIT_AT_FIRST),
            pace: Mutex::default(),
        }
    }
}

impl Governor {
    /// A place for one more request; nothing where as many are under way as may be.
    pub(crate) fn admit(self: &Arc<Self>, plan: ConcurrencyPlan) -> Option<Permit> {
        let most = match (plan.adaptive_from, self.limit.load(Relaxed)) {
            (None, _) => plan.most,
            (Some(from), limit) => limit.clamp(from.min(plan.most), plan.most),
        };
        // Counted first, so that two cores cannot both take the last place.
        let before = self.in_flight.fetch_add(1, Relaxed);
        let permit = Permit(self.clone());
        (before < most).then_some(permit)
    }

    /// A request that may be sent again begins: it earns `percent` hundredths of a retry.
    pub(crate) fn earn(&self, percent: u8) {
        let earned = i64::from(percent) * (RETRY_COST / 100);
        let _ = self.credit.fetch_update(Relaxed, Relaxed, |credit| Some((credit + earned).min(CREDIT_MAX)));
    }

    /// Whether one more retry is within the budget; if so, it is paid for.
    pub(crate) fn spend(&self) -> bool {
        let pay = |credit: i64| (credit >= RETRY_COST).then_some(credit - RETRY_COST);
        self.credit.fetch_update(Relaxed, Relaxed, pay).is_ok()
    }

    /// An answer began after so many nanoseconds, or did not come in time.
    pub(crate) fn note(&self, plan: ConcurrencyPlan, now: u64, took: Option<u64>) {
        let Some(from) = plan.adaptive_from else { return };
        let in_flight = self.in_flight.load(Relaxed);
        let mut pace = self.pace.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(limit) = pace.note(now, took, in_flight, (from, plan.most)) {
            self.limit.store(limit, Relaxed);
        }
    }
}

/// 1 s of answers are averaged before the limit moves.
const WINDOW: u64 = 1_000_000_000;
/// Fewer answers in a window say nothing.
const SAMPLES_MIN: u32 = 10;
/// Answers may take half again as long as they do when few are under way before the limit falls.
const TOLERANCE: f64 = 1.5;
/// Every 30 windows it is measured anew how long answers take when few are under way.
const WINDOWS_BETWEEN_PROBES: u32 = 30;

/// Follows how long answers take: the limit falls as they take longer than they do when few are under way, and grows by its
/// root while they do not and it is used. How long that is cannot be told under load, so now and then the limit falls to
/// its least until ten requests have come and gone.
#[derive(Debug, Default)]
struct Pace {
    limit: f64,
    /// What answers take when few are under way; 0 before that is known.
    unloaded: f64,
    /// Measuring that, since this moment.
    probing: Option<u64>,
    windows: u32,
    began: u64,
    sum: f64,
    count: u32,
    failures: u32,
    busiest: usize,
}

impl Pace {
    /// Takes a sample; gives the limit when it moves.
    fn note(
        &mut self,
        now: u64,
        took: Option<u64>,
        in_flight: usize,
        (from, most): (usize, usize),
    ) -> Option<usize> {
        let (from, most) = (from as f64, most as f64);
        if self.limit == 0.0 {
            // Nothing is known yet: it begins with the least, and finds out.
            (self.limit, self.probing, self.began) = (from, Some(now), now);
            return Some(whole(self.limit));
        }
        // While it is measured, requests that began before it count for nothing.
        if self.probing.is_some_and(|since| now.saturating_sub(took.unwrap_or(0)) < since) {
            return None;
        }
        match took {
            #[expect(clippy::cast_precision_loss, reason = "nanoseconds of a wait are far below 2^53")]
            Some(took) => {
                self.sum += took as f64;
                self.count += 1;
            }
            None => self.failures += 1,
        }
        self.busiest = self.busiest.max(in_flight);
        let samples = self.count + self.failures;
        let is_over = self.probing.is_some() || now.saturating_sub(self.began) >= WINDOW;
        if samples < SAMPLES_MIN || !is_over {
            return None;
        }
        let average = (self.count > 0).then(|| self.sum / f64::from(self.count));
        let failed = f64::from(self.failures) / f64::from(samples);
        let was_probing = self.probing.take().is_some();
        if was_probing {
            self.unloaded = average.unwrap_or(self.unloaded);
        } else if let Some(average) = average {
            self.unloaded = if self.unloaded == 0.0 { average } else { self.unloaded.min(average) };
            let gradient = (TOLERANCE * self.unloaded / average).clamp(0.5, 1.0);
            // A limit that is not reached says nothing about what would be too much.
            let is_used = self.busiest as f64 * 2.0 >= self.limit;
            let growth = if is_used && gradient >= 1.0 { self.limit.sqrt() } else { 0.0 };
            self.limit = self.limit * gradient + growth;
        }
        // Answers that do not come are the clearest sign.
        self.limit = (self.limit * (1.0 - failed / 2.0)).clamp(from, most);
        (self.began, self.sum, self.count, self.failures, self.busiest) = (now, 0.0, 0, 0, 0);
        self.windows += 1;
        if self.windows >= WINDOWS_BETWEEN_PROBES && self.limit > from {
            (self.windows, self.probing) = (0, Some(now));
            return Some(whole(from));
        }
        Some(whole(self.limit))
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped between two sizes")]
fn whole(limit: f64) -> usize {
    limit as usize
}

#[cfg(test)]
mod tests {
    use std::{
        cmp::Reverse,
        collections::{BinaryHeap, HashMap},
    };

    use super::*;

    const OPEN: ConcurrencyPlan = ConcurrencyPlan { most: 3, adaptive_from: None };

    #[test]
    fn as_many_are_under_way_as_may_be_and_places_are_given_back() {
        let governor = Arc::new(Governor::default());
        let held: Vec<_> = (0..3).map(|_| governor.admit(OPEN).unwrap()).collect();
        assert!(governor.admit(OPEN).is_none());
        assert_eq!(governor.in_flight.load(Relaxed), 3, "a refused one keeps a place");
        drop(held);
        assert!(governor.admit(OPEN).is_some());
    }

    #[test]
    fn retries_stay_within_their_share_of_the_requests_whatever_fails() {
        for percent in [1, 5, 10, 20] {
            let governor = Governor::default();
            let (requests, mut retries) = (100_000_u32, 0_u32);
            for _ in 0..requests {
                governor.earn(percent);
                // Everything fails, and each request would be sent again five times.
                retries += (0..5).filter(|_| governor.spend()).count() as u32;
            }
            let most = requests * u32::from(percent) / 100 + 10;
            assert!(retries <= most && retries + 50 >= most, "{retries} of {most} at {percent} %");
        }
    }

    /// An upstream that serves `capacity` at once in 10 ms each and queues what is more, asked by `demand` callers who call
    /// again at once, for 80 s of a virtual clock. How many are under way in the second half, and how long answers take.
    fn simulated(seed: u64, capacity: usize, demand: usize) -> (f64, f64) {
        let plan = ConcurrencyPlan { most: 1_000, adaptive_from: Some(5) };
        let (governor, mut random) = (Arc::new(Governor::default()), seed | 1);
        let mut under_way: BinaryHeap<Reverse<(u64, u64)>> = BinaryHeap::new();
        let mut permits: HashMap<(u64, u64), Permit> = HashMap::new();
        let mut free = vec![0_u64; capacity];
        let (mut now, mut serial, mut sums) = (1_u64, 0_u64, (0.0, 0.0, 0.0));
        while now < 80_000_000_000 {
            while under_way.len() < demand {
                let Some(permit) = governor.admit(plan) else { break };
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                let work = 9_000_000 + random % 2_000_000;
                let place = (0..capacity).min_by_key(|place| free[*place]).unwrap();
                let ends = free[place].max(now) + work;
                free[place] = ends;
                serial += 1;
                // The beginning is kept in the key's second half.
                under_way.push(Reverse((ends, (serial << 40) | (now / 1_000))));
                permits.insert((ends, (serial << 40) | (now / 1_000)), permit);
            }
            assert!(under_way.len() <= 1_000, "seed {seed}: {} under way", under_way.len());
            let Some(Reverse((ends, key))) = under_way.pop() else {
                panic!("seed {seed}: nothing is let through")
            };
            let began = (key & ((1 << 40) - 1)) * 1_000;
            now = ends;
            if now > 40_000_000_000 {
                sums = (sums.0 + under_way.len() as f64, sums.1 + (now - began) as f64, sums.2 + 1.0);
            }
            governor.note(plan, now, Some(now - began));
            drop(permits.remove(&(ends, key)));
        }
        (sums.0 / sums.2, sums.1 / sums.2 / 1e6)
    }

    #[test]
    fn the_limit_settles_near_what_an_upstream_can_do_at_once() {
        for seed in [1, 42, 0x5eed_5eed] {
            let (under_way, took_ms) = simulated(seed, 20, 240);
            assert!(
                (17.0..45.0).contains(&under_way),
                "seed {seed}: {under_way} are let through to 20 places"
            );
            assert!(took_ms < 20.0, "seed {seed}: {took_ms} ms");
        }
    }

    #[test]
    fn an_upstream_without_trouble_is_not_throttled() {
        for seed in [3, 27] {
            let (under_way, took_ms) = simulated(seed, 80, 30);
            assert!(under_way > 26.0 && took_ms < 12.0, "seed {seed}: {under_way} under way, {took_ms} ms");
        }
    }

    #[test]
    fn answers_that_do_not_come_bring_the_limit_down_to_its_least_and_no_further() {
        let plan = ConcurrencyPlan { most: 100, adaptive_from: Some(4) };
        let governor = Arc::new(Governor::default());
        let mut now = 1;
        for _ in 0..500 {
            let held: Vec<_> = (0..100).filter_map(|_| governor.admit(plan)).collect();
            now += 50_000_000;
            governor.note(plan, now, Some(10_000_000));
            drop(held);
        }
        assert!(governor.limit.load(Relaxed) > 20, "{}", governor.limit.load(Relaxed));
        for _ in 0..1_000 {
            now += 50_000_000;
            governor.note(plan, now, None);
        }
        assert_eq!(governor.limit.load(Relaxed), 4);
        let held: Vec<_> = (0..10).filter_map(|_| governor.admit(plan)).collect();
        assert_eq!(held.len(), 4);
    }
}
