//! What is usual for callers as a whole: the prior of those who are new, and the yardstick beside a caller's own past.

use crate::{caller::Caller, level::Level, quantile::Quantiles};

/// So many observations of callers until the fleet is a yardstick.
pub(crate) const KNOWN: u64 = 500;

/// Distributions over all callers whose behaviour was not suspected.
#[derive(Debug, Default)]
pub(crate) struct Fleet {
    /// Calls of a caller in a minute with calls.
    pub(crate) pace: Quantiles,
    /// The same as logarithms, for shrinkage.
    pub(crate) pace_level: Level,
    /// Bytes of a caller in a window.
    pub(crate) bytes: Quantiles,
    /// Bytes of a caller in a day.
    pub(crate) day_bytes: Quantiles,
    /// Different endpoints of a caller in a window.
    pub(crate) breadth: Quantiles,
    /// Different unknown paths of a caller in a window that had any.
    pub(crate) unknown: Quantiles,
    /// The share of failures of a caller in a window.
    pub(crate) failures: Level,
}

impl Fleet {
    /// Whether a minute's pace can be held against the others'.
    pub(crate) fn knows_pace(&self) -> bool {
        self.pace.total() >= KNOWN
    }

    /// Teaches a caller's closed minute.
    pub(crate) fn minute(&mut self, calls: u32) {
        self.pace.add(f64::from(calls));
        self.pace_level.learn(f64::from(calls).ln_1p(), 10_000.0);
    }

    /// Teaches a caller's closed window.
    pub(crate) fn window(&mut self, caller: &Caller) {
        let window = &caller.window;
        self.bytes.add(window.bytes as f64);
        self.breadth.add(window.endpoints.count());
        if window.unknown_calls > 0 {
            self.unknown.add(window.unknown.count());
        }
    }

    /// Bytes beside itself.
    pub(crate) const fn heap_bytes() -> usize {
        5 * Quantiles::heap_bytes()
    }
}
