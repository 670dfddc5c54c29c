//! The arithmetic of one rate limit: the generic cell rate algorithm, in whole nanoseconds.
//!
//! The whole state of a limit is one time, the *theoretical arrival time* (TAT): a call moves it on by one interval,
//! and a call is admitted while the TAT lies no further ahead of now than `burst` intervals. A window counter was
//! refused: it admits twice the limit around its edge. One number also survives a change of rate.
//!
//! Precision: the interval is `window / requests` rounded **up** to a nanosecond, so a limit never admits more than
//! its document says, and at most the share `1 / interval_in_ns` less (0.1 % at a million calls a second and key,
//! 0.000 1 % at a thousand). More than 10⁹ calls a second are limited to 10⁹. A burst is exact.

use std::{num::NonZeroU64, time::Duration};

use crate::{clock::nanos, policy::Action};

/// 146 years: a capacity beyond is cut down to it, so that no sum below can overflow.
const CAPACITY_MAX: u64 = u64::MAX / 4;
/// The latest reading of the clock that the arithmetic is made for, for the same reason: 146 years after the start.
pub(crate) const NOW_MAX: u64 = u64::MAX / 4;

/// The compiled form of one rate limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bucket {
    /// Nanoseconds one unit of cost takes to come back.
    interval: u64,
    /// How far the TAT may lie ahead of now for a call that goes at once.
    capacity: u64,
    /// How much further it may lie ahead for a call that waits for its slot.
    horizon: u64,
}

/// What the arithmetic says of one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The call fits: the TAT becomes `next`, and the call goes after `wait` nanoseconds (mostly 0).
    Take { next: u64, wait: u64 },
    /// The call does not fit; the same call fits after `retry` nanoseconds if nobody else calls.
    Refuse { retry: u64 },
}

impl Bucket {
    /// Compiles a rate and what to do beyond it.
    pub(crate) fn new(requests: NonZeroU64, window: Duration, burst: NonZeroU64, action: Action) -> Self {
        let interval = nanos(window).div_ceil(requests.get()).clamp(1, CAPACITY_MAX);
        let capacity = interval.saturating_mul(burst.get()).min(CAPACITY_MAX);
        let horizon = match action {
            Action::Reject => 0,
            Action::Throttle { max_retry, max_wait } => {
                interval.saturating_mul(u64::from(max_retry)).min(nanos(max_wait)).min(CAPACITY_MAX)
            }
        };
        Bucket { interval, capacity, horizon }
    }

    /// Judges a call of `cost` units at `now` (at most [`NOW_MAX`]) against a TAT.
    pub(crate) fn step(&self, tat: u64, now: u64, cost: u64) -> Step {
        let next = tat.max(now).saturating_add(self.interval.saturating_mul(cost));
        let free = now.saturating_add(self.capacity);
        let reach = free.saturating_add(self.horizon);
        if next <= reach {
            Step::Take { next, wait: next.saturating_sub(free) }
        } else {
            Step::Refuse { retry: next - reach }
        }
    }

    /// How much of what was taken up to `until` is not used: never what time has given back already.
    pub(crate) fn unused(&self, until: u64, taken: u64, now: u64, units: u64) -> u64 {
        self.interval.saturating_mul(units).min(taken).min(until.saturating_sub(now))
    }

    /// The TAT after units that nobody was asked for: it may lie further ahead than any call could move it.
    pub(crate) fn owing(&self, tat: u64, now: u64, units: u64) -> u64 {
        tat.max(now).saturating_add(self.interval.saturating_mul(units)).min(NOW_MAX)
    }

    /// The latest TAT that this limit itself can have written at `now`.
    pub(crate) fn reach(&self, now: u64) -> u64 {
        now.saturating_add(self.bound())
    }

    /// How far ahead of now this limit lets a TAT lie: it tells two rates that share a cell apart.
    pub(crate) fn bound(&self) -> u64 {
        self.capacity.saturating_add(self.horizon)
    }

    /// Whole units that would be admitted at once.
    pub(crate) fn remaining(&self, tat: u64, now: u64) -> u64 {
        now.saturating_add(self.capacity).saturating_sub(tat.max(now)) / self.interval
    }

    /// Nanoseconds until the whole burst is there again.
    pub(crate) fn reset(&self, tat: u64, now: u64) -> u64 {
        tat.saturating_sub(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket(requests: u64, window: Duration, burst: u64, action: Action) -> Bucket {
        Bucket::new(NonZeroU64::new(requests).unwrap(), window, NonZeroU64::new(burst).unwrap(), action)
    }

    #[test]
    fn an_interval_is_rounded_up_and_the_error_is_at_most_its_share_of_a_nanosecond() {
        for requests in [1, 3, 7, 99, 1_001, 65_537, 999_999, 1_000_000] {
            for seconds in [1, 60, 3_600, 86_400, 365 * 86_400] {
                let window = Duration::from_secs(seconds);
                let interval = bucket(requests, window, 1, Action::Reject).interval;
                let (exact, given) = (nanos(window), interval * requests);
                assert!(given >= exact, "{requests} in {seconds} s admits too many");
                assert!(given - exact < requests, "{requests} in {seconds} s admits too few");
            }
        }
    }

    #[test]
    fn a_call_fits_exactly_up_to_the_burst() {
        let bucket = bucket(10, Duration::from_nanos(100), 4, Action::Reject);
        assert_eq!(bucket.step(0, 1000, 4), Step::Take { next: 1040, wait: 0 });
        assert_eq!(bucket.step(0, 1000, 5), Step::Refuse { retry: 10 });
        assert_eq!(bucket.step(1030, 1000, 1), Step::Take { next: 1040, wait: 0 });
        assert_eq!(bucket.step(1031, 1000, 1), Step::Refuse { retry: 1 });
        assert_eq!((bucket.remaining(1030, 1000), bucket.remaining(1031, 1000)), (1, 0));
        assert_eq!((bucket.reset(1030, 1000), bucket.reset(900, 1000)), (30, 0));
    }

    #[test]
    fn a_call_waits_at_most_for_the_last_of_its_slots() {
        let max_wait = Duration::from_nanos(25);
        let bucket = bucket(10, Duration::from_nanos(100), 1, Action::Throttle { max_retry: 2, max_wait });
        assert_eq!(bucket.step(1010, 1000, 1), Step::Take { next: 1020, wait: 10 });
        assert_eq!(bucket.step(1020, 1000, 1), Step::Take { next: 1030, wait: 20 });
        assert_eq!(bucket.step(1030, 1000, 1), Step::Refuse { retry: 10 });
        assert_eq!(bucket.reach(1000), 1030);
    }
}
