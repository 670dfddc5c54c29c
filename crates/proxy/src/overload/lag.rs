//! How late a core is: what a timer of its own waits for beyond its time.
//!
//! One late timer says nothing: the system had something else to do, or one request was long. So the least of the last
//! half second counts, as CoDel takes the least of its interval (RFC 8289 §3.2): a queue that never empties.

use std::time::Duration;

use super::step::Pressure;

/// 200 ms: requests wait about twice as long for their turns by then, and callers notice.
const FULL: Duration = Duration::from_millis(200);
/// Five beats make half a second.
const SAMPLES: usize = 5;

/// The last samples of one core.
#[derive(Debug, Default)]
pub(super) struct Lag {
    samples: [Duration; SAMPLES],
    next: usize,
}

impl Lag {
    /// Takes a sample; the pressure that follows.
    pub(super) fn note(&mut self, late: Duration) -> Pressure {
        if let Some(sample) = self.samples.get_mut(self.next) {
            *sample = late;
        }
        self.next = (self.next + 1) % SAMPLES;
        let least = self.samples.iter().min().copied().unwrap_or_default();
        let micros = |duration: Duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        Pressure::of(micros(least), micros(FULL))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_core_that_stays_behind_is_under_pressure() {
        let mut lag = Lag::default();
        for late in [0, 5_000, 0, 3_000, 9_000] {
            assert!(lag.note(Duration::from_millis(late)) < Pressure(50), "one hiccup counts");
        }
        for _ in 0..3 {
            lag.note(Duration::from_millis(190));
        }
        assert!(lag.note(Duration::from_millis(190)) > Pressure(900), "a standing queue does not count");
        assert_eq!(lag.note(Duration::from_millis(1)), Pressure(5), "one beat in time ends it");
    }
}
