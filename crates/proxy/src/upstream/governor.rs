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
    /// How many may be, where that follows how long answers take; 0 before the first answer.
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
            (None, _) | (Some(_), 0) => plan.most,
            (Some(from), limit) => limit.clamp(from, plan.most),
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
/// Answers may take half again as long as the fastest windows did before the limit falls.
const TOLERANCE: f64 = 1.5;

/// Follows how long answers take: the limit falls as they take longer than they did at their fastest, and grows by its
/// root while they do not and it is used.
#[derive(Debug, Default)]
struct Pace {
    limit: f64,
    /// The fastest average, which grows slowly, so that an upstream that became slower for good is believed at last.
    fastest: f64,
    began: u64,
    sum: f64,
    count: u32,
    failures: u32,
    busiest: usize,
}

impl Pace {
    fn note(
        &mut self,
        now: u64,
        took: Option<u64>,
        in_flight: usize,
        (from, most): (usize, usize),
    ) -> Option<usize> {
        if self.limit == 0.0 {
            self.limit = most as f64;
            self.began = now;
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
        if now.saturating_sub(self.began) < WINDOW || self.count + self.failures < SAMPLES_MIN {
            return None;
        }
        let failed = f64::from(self.failures) / f64::from(self.count + self.failures);
        if self.count > 0 {
            let average = self.sum / f64::from(self.count);
            self.fastest = if self.fastest == 0.0 { average } else { average.min(self.fastest * 1.02) };
            let gradient = (TOLERANCE * self.fastest / average).clamp(0.5, 1.0);
            // A limit that is not reached says nothing about what would be too much.
            let is_used = self.busiest as f64 * 2.0 >= self.limit;
            let growth = if is_used && gradient >= 1.0 { self.limit.sqrt() } else { 0.0 };
            self.limit = self.limit * gradient + growth;
        }
        // Answers that do not come are the clearest sign.
        self.limit *= 1.0 - failed / 2.0;
        self.limit = self.limit.clamp(from as f64, most as f64);
        (self.began, self.sum, self.count, self.failures, self.busiest) = (now, 0.0, 0, 0, 0);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "clamped between two sizes"
        )]
        Some(self.limit as usize)
    }
}

#[cfg(test)]
mod tests {
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

    /// An upstream that serves `capacity` at once at its best, and queues what is more, under a virtual clock.
    fn simulated(seed: u64, capacity: usize, demand: usize) -> (usize, f64) {
        let (plan, governor) =
            (ConcurrencyPlan { most: 1_000, adaptive_from: Some(5) }, Arc::new(Governor::default()));
        let (mut now, mut random) = (1_u64, seed | 1);
        let (mut admitted, mut took_sum, mut took_count) = (0, 0.0, 0.0);
        for tick in 0..600 {
            let permits: Vec<_> = (0..demand).filter_map(|_| governor.admit(plan)).collect();
            admitted = permits.len();
            for _ in &permits {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                let noise = random % 2_000_000;
                let took = 10_000_000 * (permits.len().div_ceil(capacity) as u64) + noise;
                if tick >= 500 {
                    took_sum += took as f64;
                    took_count += 1.0;
                }
                governor.note(plan, now, Some(took));
                now += 20_000_000 / permits.len() as u64;
            }
            assert!((1..=1_000).contains(&admitted), "seed {seed}: {admitted} at {tick}");
        }
        (admitted, took_sum / took_count)
    }

    #[test]
    fn the_limit_settles_near_what_an_upstream_can_do_at_once() {
        for seed in [1, 7, 42, 4_711, 0x5eed_5eed] {
            let (admitted, took) = simulated(seed, 100, 1_000);
            assert!((50..=320).contains(&admitted), "seed {seed}: {admitted} are let through to 100 places");
            assert!(took < 45_000_000.0, "seed {seed}: {took} ns");
        }
    }

    #[test]
    fn an_upstream_without_trouble_is_not_throttled() {
        for seed in [3, 9, 27] {
            let (admitted, _) = simulated(seed, 2_000, 400);
            assert_eq!(admitted, 400, "seed {seed}");
        }
    }

    #[test]
    fn answers_that_do_not_come_bring_the_limit_down_to_its_least_and_no_further() {
        let plan = ConcurrencyPlan { most: 100, adaptive_from: Some(4) };
        let governor = Arc::new(Governor::default());
        for step in 0..1_000 {
            governor.note(plan, 1 + step * 50_000_000, None);
        }
        assert_eq!(governor.limit.load(Relaxed), 4);
        let held: Vec<_> = (0..10).filter_map(|_| governor.admit(plan)).collect();
        assert_eq!(held.len(), 4);
    }
}
