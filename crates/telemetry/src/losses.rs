//! What the access log wrote and what it lost: counted by the cores and the writer, shown by the metrics.

use std::sync::atomic::{AtomicU64, Ordering};

/// What was written and what was lost.
#[derive(Debug, Default)]
pub struct LogCounters {
    pub(crate) written: AtomicU64,
    lost_to_overflow: AtomicU64,
    pub(crate) lost_to_errors: AtomicU64,
    pub(crate) errors: AtomicU64,
}

/// The counters at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogFigures {
    /// Records written.
    pub written: u64,
    /// Records that found their ring full, or the log stopped.
    pub lost_to_overflow: u64,
    /// Records in writes that failed.
    pub lost_to_errors: u64,
    /// Failed writes, rotations and openings.
    pub errors: u64,
}

impl LogFigures {
    pub(crate) fn lost(self) -> u64 {
        self.lost_to_overflow + self.lost_to_errors
    }
}

impl LogCounters {
    /// The counters now.
    pub fn now(&self) -> LogFigures {
        LogFigures {
            written: self.written.load(Ordering::Relaxed),
            lost_to_overflow: self.lost_to_overflow.load(Ordering::Relaxed),
            lost_to_errors: self.lost_to_errors.load(Ordering::Relaxed),
            errors: self.errors.load(Ordering::Relaxed),
        }
    }

    pub(crate) fn overflowed(&self) {
        self.lost_to_overflow.fetch_add(1, Ordering::Relaxed);
    }
}
