//! The judge against others that came to the same result by another way: the `governor` crate, a leaky bucket that
//! counts water, and the promise itself, checked over the calls that were let go.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail")]

mod common;

use std::{
    collections::VecDeque,
    num::{NonZeroU32, NonZeroU64},
    time::Duration,
};

use bartizan_limit::{Action, Decision, Limit, Nanos, Policy, Reservation};
use common::{Judge, START, concurrency, is_admitted, policy, rate, refusal_of, throttle, wait_of};
use governor::{
    Quota, RateLimiter,
    clock::{Clock, FakeRelativeClock},
};
use proptest::prelude::*;

/// A leaky bucket in water: every call pours one interval in, time lets it run out.
struct Leaky {
    level: u128,
    interval: u128,
    capacity: u128,
    reach: u128,
    last: u64,
}

impl Leaky {
    fn new(requests: u64, window: Duration, burst: u64, slots: u32, max_wait: Duration) -> Self {
        let interval = window.as_nanos().div_ceil(u128::from(requests)).max(1);
        let capacity = interval * u128::from(burst);
        let reach = capacity + (interval * u128::from(slots)).min(max_wait.as_nanos());
        Leaky { level: 0, interval, capacity, reach, last: 0 }
    }

    fn run_out(&mut self, now: u64) {
        self.level = self.level.saturating_sub(u128::from(now - self.last));
        self.last = now;
    }

    fn fits(&self) -> bool {
        self.level + self.interval <= self.reach
    }

    fn pour(&mut self) -> u128 {
        self.level += self.interval;
        self.level.saturating_sub(self.capacity)
    }

    fn remaining(&self) -> u64 {
        u64::try_from(self.capacity.saturating_sub(self.level) / self.interval).unwrap()
    }
}

fn windows() -> impl Strategy<Value = Duration> {
    prop_oneof![
        Just(Duration::from_millis(1)),
        Just(Duration::from_secs(1)),
        Just(Duration::from_secs(60)),
        Just(Duration::from_secs(3600)),
        (1_u64..10_000_000_000).prop_map(Duration::from_nanos),
    ]
}

/// Steps of time in fractions of the interval, so that every sequence meets the limit often.
fn steps() -> impl Strategy<Value = Vec<u64>> {
    prop::collection::vec(prop_oneof![4 => Just(0_u64), 4 => 0..1500_u64, 1 => 0..20_000_u64], 1..200)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_decision_is_the_one_governor_makes(
        requests in 1_u64..5_000, window in windows(), burst in 1_u32..50, steps in steps(),
    ) {
        let interval = u64::try_from(window.as_nanos()).unwrap().div_ceil(requests).max(1);
        let quota = Quota::with_period(Duration::from_nanos(interval)).unwrap()
            .allow_burst(NonZeroU32::new(burst).unwrap());
        let clock = FakeRelativeClock::default();
        let governor = RateLimiter::direct_with_clock(quota, clock.clone());
        let ours = policy("p", &[rate(requests, window, u64::from(burst))], Action::Reject);
        let mut judge = Judge::new(10);
        let mut now = START;
        for step in steps {
            let pause = Duration::from_nanos(interval * step / 1000);
            clock.advance(pause);
            now = now + pause;
            let verdict = judge.call(now, "anna", &[&ours]);
            match governor.check() {
                Ok(()) => prop_assert!(is_admitted(&verdict), "at {now:?}"),
                Err(until) => {
                    let refusal = refusal_of(&verdict);
                    prop_assert!(refusal.is_some(), "at {now:?}");
                    prop_assert_eq!(refusal.unwrap().retry_after, until.wait_time_from(clock.now()));
                }
            }
        }
    }

    #[test]
    fn the_calls_let_go_keep_the_promise_and_no_slot_is_left_unused(
        requests in 1_u64..500, window in windows(), burst in 1_u64..20, slots in 0_u32..8, steps in steps(),
    ) {
        let ours = policy("p", &[rate(requests, window, burst)], throttle(slots));
        let mut water = Leaky::new(requests, window, burst, slots, Duration::from_secs(30));
        let interval = u64::try_from(water.interval).unwrap();
        let mut judge = Judge::new(10);
        let mut now = START;
        let mut gone = Vec::new();
        for step in steps {
            now = Nanos(now.0 + interval * step / 1000);
            water.run_out(now.0);
            let verdict = judge.call(now, "anna", &[&ours]);
            if water.fits() {
                let wait = u64::try_from(water.pour()).unwrap();
                let ours = wait_of(now, &verdict).unwrap_or_default();
                prop_assert!(refusal_of(&verdict).is_none());
                prop_assert_eq!(ours, Duration::from_nanos(wait));
                gone.push(now.0 + wait);
            } else {
                prop_assert!(refusal_of(&verdict).is_some());
            }
            prop_assert_eq!(verdict.states.iter().next().unwrap().remaining, water.remaining());
        }
        // In any stretch of time, however chosen, at most the burst and one call per interval go.
        for (first, start) in gone.iter().enumerate() {
            for (count, end) in (1_u64..).zip(gone.iter().skip(first)) {
                prop_assert!(count <= burst + (end - start) / interval);
            }
        }
    }

    #[test]
    fn several_policies_decide_as_a_model_that_tries_all_and_then_does_all(
        rates in prop::collection::vec((1_u64..20, 1_u64..10, prop::bool::ANY), 1..4),
        permits in prop::option::of(1_u32..5),
        moves in prop::collection::vec((0_u64..2_000_000_000, 0_usize..3, 0_u8..4), 1..120),
    ) {
        let window = Duration::from_secs(10);
        let mut policies: Vec<Policy> = rates.iter().enumerate().map(|(n, &(requests, burst, per_caller))| {
            let mut terms = common::terms(&format!("p{n}"), &[rate(requests, window, burst)], Action::Reject);
            if !per_caller {
                terms.key = vec![bartizan_limit::KeyPart::Gateway];
            }
            Policy::new(terms)
        }).collect();
        if let Some(permits) = permits {
            policies.push(policy("busy", &[concurrency(permits)], Action::Reject));
        }
        let bursts: Vec<_> = rates.iter().map(|&(requests, burst, per_caller)| {
            let buckets = if per_caller { 3 } else { 1 };
            (0..buckets).map(|_| Leaky::new(requests, window, burst, 0, Duration::ZERO)).collect::<Vec<_>>()
        }).collect();
        let mut water = bursts;
        let mut running: [VecDeque<Reservation>; 3] = Default::default();
        let mut judge = Judge::new(100);
        let refs: Vec<&Policy> = policies.iter().collect();
        let mut now = START;
        for (pause, caller, ended) in moves {
            now = Nanos(now.0 + pause);
            for _ in 0..ended {
                running[caller].pop_front();
            }
            let mut buckets: Vec<&mut Leaky> =
                water.iter_mut().map(|each| { let n = each.len(); &mut each[caller % n] }).collect();
            buckets.iter_mut().for_each(|bucket| bucket.run_out(now.0));
            let busy = permits.is_some_and(|permits| running[caller].len() >= permits as usize);
            let first = buckets.iter().position(|bucket| !bucket.fits()).or(busy.then_some(rates.len()));
            let verdict = judge.call(now, &format!("caller-{caller}"), &refs);
            prop_assert_eq!(refusal_of(&verdict).map(|refusal| refusal.ask), first);
            if first.is_none() {
                buckets.iter_mut().for_each(|bucket| { bucket.pour(); });
            }
            for (state, bucket) in verdict.states.iter().zip(&buckets) {
                prop_assert_eq!(state.remaining, bucket.remaining());
            }
            if let Decision::Admit(reservation) = verdict.decision {
                running[caller].push_back(reservation);
            }
        }
    }

    #[test]
    fn a_change_of_rate_never_gives_more_than_a_full_burst_of_the_new_rate(
        old in (1_u64..1000, 1_u64..50), new in (1_u64..1000, 1_u64..50), calls in 0_usize..60, pause in 0_u64..2_000_000_000,
    ) {
        let window = Duration::from_secs(60);
        let limit = |(requests, burst)| -> Limit { rate(requests, window, burst) };
        let (before, after) = (policy("p", &[limit(old)], Action::Reject), policy("p", &[limit(new)], Action::Reject));
        let mut judge = Judge::new(10);
        for _ in 0..calls {
            judge.call(START, "anna", &[&before]);
        }
        let later = Nanos(START.0 + pause);
        let mut admitted = 0;
        while is_admitted(&judge.call(later, "anna", &[&after])) {
            admitted += 1;
        }
        prop_assert!(admitted <= new.1);
        // And never a debt that the new rate could not have made: one interval later a call goes.
        let interval = window.as_nanos().div_ceil(u128::from(NonZeroU64::new(new.0).unwrap().get()));
        let next = later + Duration::from_nanos(u64::try_from(interval).unwrap());
        prop_assert!(is_admitted(&judge.call(next, "anna", &[&after])));
    }
}
