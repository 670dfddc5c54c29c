//! How far a replay is, on a terminal.

use std::{
    cell::Cell,
    io::{self, IsTerminal as _, Write as _},
    rc::Rc,
    time::{Duration, Instant},
};

/// How much of a source was read.
#[derive(Clone, Debug, Default)]
pub(super) struct Position {
    /// Bytes so far.
    pub(super) read: Rc<Cell<u64>>,
    /// All bytes, of a file.
    pub(super) total: Option<u64>,
}

/// A line on standard error that is written anew.
pub(super) struct Progress {
    position: Position,
    is_shown: bool,
    begun: Instant,
    told: Instant,
    calls: u32,
}

/// So often that it moves, and costs nothing.
const EVERY: Duration = Duration::from_millis(200);

/// The clock is not asked at each request.
const CALLS: u32 = 256;

impl Progress {
    pub(super) fn new(position: Position) -> Self {
        let now = Instant::now();
        Progress { position, is_shown: io::stderr().is_terminal(), begun: now, told: now, calls: 0 }
    }

    /// Tells it, when it is time.
    pub(super) fn tell(&mut self, judged: u64) {
        self.calls += 1;
        if !self.is_shown || !self.calls.is_multiple_of(CALLS) || self.told.elapsed() < EVERY {
            return;
        }
        self.told = Instant::now();
        let rate = judged as f64 / self.begun.elapsed().as_secs_f64().max(0.001);
        let read = self.position.read.get();
        let part = match self.position.total.filter(|total| *total > 0) {
            Some(total) => {
                let percent = (read.saturating_mul(100) / total).min(100);
                let filled = usize::try_from(percent / 5).unwrap_or(0);
                format!("[{:<20}] {percent:>3} %", "#".repeat(filled))
            }
            None => format!("{} MiB", read >> 20),
        };
        // Without a standard error nobody could be told anyway.
        let _ = write!(io::stderr(), "\r\x1b[K{part}  {judged} requests, {rate:.0} a second");
    }

    /// Takes the line away.
    pub(super) fn end(&mut self) {
        if self.is_shown {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}
