//! Time as the judge sees it: nanoseconds on one monotonic clock since the process started.
//!
//! The judge never reads a clock; it is given a reading. The real clock lives with the sockets, the manual one here,
//! because every test of a limit needs it. Wall-clock time is refused on purpose: it jumps.

use std::{
    ops::Add,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// A reading of the monotonic clock, in nanoseconds since the process started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nanos(pub u64);

impl Nanos {
    /// The time from `earlier` to this reading; zero if `earlier` is the later one.
    pub fn since(self, earlier: Nanos) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Nanos {
    type Output = Nanos;

    fn add(self, duration: Duration) -> Nanos {
        Nanos(self.0.saturating_add(nanos(duration)))
    }
}

/// Something that tells the time.
pub trait Clock {
    /// The present reading.
    fn now(&self) -> Nanos;
}

/// A clock that stands still until it is told otherwise; it may also be set back.
#[derive(Debug, Default)]
pub struct Manual(AtomicU64);

impl Manual {
    /// A clock that shows `now`.
    pub const fn at(now: Nanos) -> Self {
        Manual(AtomicU64::new(now.0))
    }

    /// Moves the clock forward.
    pub fn advance(&self, by: Duration) {
        self.set(self.now() + by);
    }

    /// Sets the clock, also backwards.
    pub fn set(&self, now: Nanos) {
        self.0.store(now.0, Ordering::SeqCst);
    }
}

impl Clock for Manual {
    fn now(&self) -> Nanos {
        Nanos(self.0.load(Ordering::SeqCst))
    }
}

/// A duration in nanoseconds; 584 years for anything longer.
pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_moves_only_when_told_and_also_backwards() {
        let clock = Manual::at(Nanos(5));
        assert_eq!(clock.now(), Nanos(5));
        clock.advance(Duration::from_nanos(7));
        assert_eq!(clock.now(), Nanos(12));
        clock.set(Nanos(1));
        assert_eq!(clock.now(), Nanos(1));
    }

    #[test]
    fn arithmetic_on_readings_saturates() {
        assert_eq!(Nanos(u64::MAX) + Duration::from_secs(1), Nanos(u64::MAX));
        assert_eq!(Nanos(0) + Duration::MAX, Nanos(u64::MAX));
        assert_eq!(Nanos(3).since(Nanos(9)), Duration::ZERO);
    }
}
