//! What is remembered of one caller: an identified consumer, or an address where nobody was identified.
//!
//! Below two kilobytes, whatever the caller does: a fixed number of endpoints is followed each on its own, windows are
//! counters, sets are bitmaps.

use std::sync::Arc;

use crate::{alert::Sample, distinct::Distinct, level::Level};

/// Endpoints of one caller that are followed; the one that was used longest ago makes room.
pub(crate) const SLOTS: usize = 6;

/// Requests shown with an alert.
pub(crate) const SAMPLES_MAX: usize = 5;

/// A caller.
#[derive(Debug)]
pub(crate) struct Caller {
    /// The consumer's name, or the address as the log shows it.
    pub(crate) name: Arc<str>,
    pub(crate) is_consumer: bool,
    pub(crate) first_ms: u64,
    pub(crate) last_ms: u64,
    pub(crate) calls: u64,
    pub(crate) minute: Minute,
    pub(crate) window: Window,
    pub(crate) day: Day,
    pub(crate) failures: Failures,
    /// Calls in a minute in which there were any, as logarithms.
    pub(crate) pace: Level,
    /// Bytes of a window, as logarithms.
    pub(crate) bytes: Level,
    /// Different endpoints in a window, as logarithms.
    pub(crate) breadth: Level,
    /// Endpoints used for the first time in a window, fading.
    pub(crate) firsts: f32,
    /// Endpoints ever used.
    pub(crate) visited: Distinct<4>,
    pub(crate) slots: [Slot; SLOTS],
    /// Requests that led to a suspicion, the newest last.
    pub(crate) samples: Vec<Sample>,
    /// Alerts of this window, so that one is told once and what they are about teaches nothing.
    pub(crate) suspected_until_ms: u64,
}

/// The minute that runs.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Minute {
    pub(crate) index: u64,
    pub(crate) calls: u32,
    /// Calls of the four minutes before.
    pub(crate) before: [u32; 4],
}

/// The window that runs.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Window {
    pub(crate) index: u64,
    pub(crate) bytes: u64,
    pub(crate) calls: u32,
    pub(crate) endpoints: Distinct<2>,
    pub(crate) first_seen: u16,
    /// Paths that no service or route knows.
    pub(crate) unknown: Distinct<2>,
    pub(crate) unknown_calls: u16,
}

/// The day that runs.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Day {
    pub(crate) index: u64,
    pub(crate) bytes: u64,
    /// The most of the days before, fading by a tenth a day.
    pub(crate) bytes_max: f64,
    /// Complete days with calls.
    pub(crate) seen: u16,
}

/// Failures in the last minutes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Failures {
    pub(crate) index: u64,
    pub(crate) calls: u32,
    pub(crate) failed: u32,
    pub(crate) credential: u32,
    pub(crate) forbidden: u32,
    /// Credentials that were tried and refused.
    pub(crate) accounts: Distinct<2>,
    /// The share of failures in past windows.
    pub(crate) share: f32,
    pub(crate) windows: u16,
    /// Refused credentials since the last success, fading.
    pub(crate) guesses: u32,
    pub(crate) guesses_since_ms: u64,
}

/// One endpoint of a caller.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Slot {
    /// The endpoint's key; 0 for none.
    pub(crate) endpoint: u64,
    pub(crate) last_ms: u64,
    pub(crate) window: u64,
    /// Objects of this window.
    pub(crate) objects: Distinct<8>,
    pub(crate) calls: u32,
    pub(crate) refused: u32,
    pub(crate) last_number: Option<i64>,
    /// Calls that went on from number to number, and in which direction.
    pub(crate) run: u16,
    pub(crate) direction: i8,
    /// The longest run of a quiet window, fading.
    pub(crate) run_usual: f32,
    /// The longest run of this window.
    pub(crate) run_max: u16,
    /// Objects of past windows, as logarithms.
    pub(crate) usual: Level,
}

impl Caller {
    pub(crate) fn new(name: Arc<str>, is_consumer: bool, now_ms: u64) -> Self {
        Caller {
            name,
            is_consumer,
            first_ms: now_ms,
            last_ms: now_ms,
            calls: 0,
            minute: Minute::default(),
            window: Window::default(),
            day: Day::default(),
            failures: Failures::default(),
            pace: Level::default(),
            bytes: Level::default(),
            breadth: Level::default(),
            firsts: 0.0,
            visited: Distinct::default(),
            slots: [Slot::default(); SLOTS],
            samples: Vec::new(),
            suspected_until_ms: 0,
        }
    }

    /// The place of an endpoint, cleared where it was another's.
    pub(crate) fn slot(&mut self, endpoint: u64, now_ms: u64) -> Option<&mut Slot> {
        let known = self.slots.iter().position(|slot| slot.endpoint == endpoint);
        let place = known.or_else(|| {
            self.slots.iter().enumerate().min_by_key(|(_, slot)| slot.last_ms).map(|(place, _)| place)
        })?;
        let slot = self.slots.get_mut(place)?;
        if known.is_none() {
            *slot = Slot { endpoint, ..Slot::default() };
        }
        slot.last_ms = now_ms;
        Some(slot)
    }

    /// Keeps a request as an example.
    pub(crate) fn sample(&mut self, sample: Sample) {
        if self.samples.last().is_some_and(|last| last.id == sample.id) {
            return;
        }
        if self.samples.len() >= SAMPLES_MAX {
            self.samples.remove(0);
        }
        self.samples.push(sample);
    }

    /// Whether what it does now may teach.
    pub(crate) const fn is_suspected(&self, now_ms: u64) -> bool {
        now_ms < self.suspected_until_ms
    }

    /// How callers are told apart in sentences.
    pub(crate) fn shown(&self) -> String {
        let kind = if self.is_consumer { "consumer" } else { "address" };
        format!("{kind} {}", self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_fits_into_two_kilobytes() {
        assert!(size_of::<Caller>() < 1_800, "{}", size_of::<Caller>());
    }

    #[test]
    fn the_endpoint_used_longest_ago_makes_room() {
        let mut caller = Caller::new("a".into(), true, 0);
        for endpoint in 1..=SLOTS as u64 {
            caller.slot(endpoint, endpoint).unwrap().run = 7;
        }
        assert_eq!(caller.slot(1, 100).unwrap().run, 7);
        assert_eq!(caller.slot(99, 101).unwrap().run, 0);
        assert!(caller.slots.iter().all(|slot| slot.endpoint != 2), "the second was the oldest");
    }
}
