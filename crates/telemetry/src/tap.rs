//! Lines of the access log for someone who looks at them as they are written.
//!
//! The writer's thread copies each line into a bounded channel and never waits: when the other end is behind, the newest line
//! is dropped and counted. What a `RecordPolicy` hides was hidden before the line came here.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    time::Duration,
};

/// How many lines may wait: at 300 bytes each, five megabytes, and a third of a second of 50,000 requests a second.
pub const TAP_LINES: usize = 16_384;

/// The writer's end.
#[derive(Debug)]
pub struct Tap {
    lines: SyncSender<Box<[u8]>>,
    lost: Arc<AtomicU64>,
}

/// The other end.
#[derive(Debug)]
pub struct Tapped {
    lines: Receiver<Box<[u8]>>,
    lost: Arc<AtomicU64>,
}

/// A tap for so many waiting lines.
pub fn tap(lines: usize) -> (Tap, Tapped) {
    let (sender, receiver) = sync_channel(lines.max(1));
    let lost = Arc::<AtomicU64>::default();
    (Tap { lines: sender, lost: lost.clone() }, Tapped { lines: receiver, lost })
}

impl Tap {
    /// Hands a line over, unless there is no room.
    pub(crate) fn offer(&self, line: &[u8]) {
        if self.lines.try_send(line.into()).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Tapped {
    /// The next line; waits for it at most so long.
    ///
    /// # Errors
    ///
    /// None came in time, or the log has ended.
    pub fn next(&self, patience: Duration) -> Result<Box<[u8]>, RecvTimeoutError> {
        self.lines.recv_timeout(patience)
    }

    /// How many lines were dropped because nobody took them in time.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_tap_drops_and_counts_and_never_waits() {
        let (tap, tapped) = tap(2);
        (0..5_u8).for_each(|line| tap.offer(&[line]));
        assert_eq!(tapped.lost(), 3);
        assert_eq!(tapped.next(Duration::ZERO).as_deref(), Ok([0].as_slice()));
        tap.offer(&[9]);
        assert_eq!(tapped.next(Duration::ZERO).as_deref(), Ok([1].as_slice()));
        assert_eq!(tapped.next(Duration::ZERO).as_deref(), Ok([9].as_slice()));
        assert_eq!(tapped.next(Duration::ZERO), Err(RecvTimeoutError::Timeout));
        drop(tap);
        assert_eq!(tapped.next(Duration::ZERO), Err(RecvTimeoutError::Disconnected));
    }
}
