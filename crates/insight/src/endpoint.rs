//! What is remembered of one endpoint: a method and a path template on a route.

use std::sync::Arc;

use crate::{distinct::Distinct, level::Level, quantile::Quantiles, shape::Shape};

/// Ten-second buckets of a minute.
const TENS: usize = 6;

/// An endpoint.
pub(crate) struct Endpoint {
    pub(crate) method: Box<str>,
    pub(crate) template: Box<str>,
    pub(crate) route: Option<Arc<str>>,
    /// Whether a route names this path exactly or by template.
    pub(crate) is_documented: bool,
    pub(crate) first_ms: u64,
    pub(crate) last_ms: u64,
    pub(crate) calls: u64,
    pub(crate) good: u64,
    pub(crate) failed: u64,
    pub(crate) server: u64,
    /// Served without anyone being identified.
    pub(crate) anonymous: u64,
    pub(crate) bytes: u64,
    /// Calls of unusual size or time.
    pub(crate) unusual: u64,
    /// Callers ever.
    pub(crate) callers: Distinct<16>,
    pub(crate) pace: Pace,
    pub(crate) refusals: Refusals,
    pub(crate) shape: Shape,
    /// Objects of one caller in a window.
    pub(crate) objects: Quantiles,
    /// Longest runs of one caller in a window.
    pub(crate) runs: Quantiles,
}

/// Calls by the minute.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pace {
    pub(crate) index: u64,
    pub(crate) calls: u32,
    pub(crate) before: [u32; 4],
    pub(crate) usual: Level,
    /// The same hour of other days, beside the mean over all hours.
    pub(crate) hours: [Level; 24],
    /// Minutes whose calls were too unusual to teach, one after the other.
    pub(crate) gated_minutes: u32,
    /// Whether the last closed minute was told as unusual.
    pub(crate) told: i8,
}

/// Failures of many callers together.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Refusals {
    pub(crate) ten: u64,
    pub(crate) failed: [u32; TENS],
    pub(crate) credential: [u32; TENS],
    pub(crate) server: [u32; TENS],
    pub(crate) calls: [u32; TENS],
    /// Where refused credentials came from in this minute, and in the one before.
    pub(crate) sources: Distinct<16>,
    pub(crate) sources_before: Distinct<16>,
    pub(crate) minute: u64,
    /// Refused credentials of a quiet minute, as logarithms.
    pub(crate) credential_usual: Level,
    pub(crate) failed_usual: Level,
    pub(crate) server_usual: Level,
    /// Until when what is going on is known and told.
    pub(crate) told_until_ms: u64,
}

impl Refusals {
    /// Moves to the bucket of `now_ms` and empties what is older than a minute. Whether a new minute began.
    pub(crate) fn turn(&mut self, now_ms: u64) -> bool {
        let ten = now_ms / 10_000;
        let passed = ten.saturating_sub(self.ten);
        for step in 1..=passed.min(TENS as u64) {
            let place = ((self.ten + step) % TENS as u64) as usize;
            for counts in [&mut self.failed, &mut self.credential, &mut self.server, &mut self.calls] {
                if let Some(count) = counts.get_mut(place) {
                    *count = 0;
                }
            }
        }
        self.ten = self.ten.max(ten);
        let minute = now_ms / crate::settings::MINUTE_MS;
        let is_new = minute > self.minute;
        if is_new {
            self.sources_before = if minute == self.minute + 1 { self.sources } else { Distinct::default() };
            self.sources.clear();
            self.minute = minute;
        }
        is_new
    }

    pub(crate) fn bump(counts: &mut [u32; TENS], now_ms: u64) {
        if let Some(count) = counts.get_mut(((now_ms / 10_000) % TENS as u64) as usize) {
            *count += 1;
        }
    }

    pub(crate) fn sum(counts: &[u32; TENS]) -> f64 {
        f64::from(counts.iter().sum::<u32>())
    }
}

impl Endpoint {
    pub(crate) fn new(method: &str, template: &str, route: Option<Arc<str>>, now_ms: u64) -> Self {
        let letters = |c: &char| c.is_ascii_alphabetic();
        Endpoint {
            method: method.chars().filter(letters).take(16).collect(),
            template: template.into(),
            route,
            is_documented: false,
            first_ms: now_ms,
            last_ms: now_ms,
            calls: 0,
            good: 0,
            failed: 0,
            server: 0,
            anonymous: 0,
            bytes: 0,
            unusual: 0,
            callers: Distinct::default(),
            pace: Pace::default(),
            refusals: Refusals::default(),
            shape: Shape::default(),
            objects: Quantiles::default(),
            runs: Quantiles::default(),
        }
    }

    /// How it is named to people.
    pub(crate) fn shown(&self) -> String {
        format!("{} {}", self.method, self.template)
    }

    /// Bytes that it owns beside itself, without its names.
    pub(crate) const fn heap_bytes() -> usize {
        Shape::heap_bytes() + 2 * Quantiles::heap_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_of_tens_forgets_what_is_older() {
        let mut refusals = Refusals::default();
        refusals.turn(0);
        Refusals::bump(&mut refusals.failed, 0);
        refusals.turn(50_000);
        Refusals::bump(&mut refusals.failed, 50_000);
        assert!((Refusals::sum(&refusals.failed) - 2.0).abs() < 1e-9);
        refusals.turn(60_000);
        assert!((Refusals::sum(&refusals.failed) - 1.0).abs() < 1e-9, "the first is a minute old");
        refusals.turn(10_000_000);
        assert!(Refusals::sum(&refusals.failed).abs() < 1e-9);
    }
}
