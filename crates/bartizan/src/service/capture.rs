//! Takes captures of live traffic when told to: `bartizan capture` leaves an order in the data directory.
//!
//! An order by file needs no listener and nobody but the directory's owner can give one. The thread looks for it a few times
//! a second, begins and ends captures, and writes how they go beside it.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        mpsc::{RecvTimeoutError, Sender, channel},
    },
    thread,
    time::Duration,
};

use bartizan_telemetry::{
    AccessLog,
    capture::{CaptureKey, CaptureLimits, CaptureWriter},
};

use crate::{
    capture::{self, Bodies, Order, State},
    command::when,
};

/// The thread. Dropping it ends it and any capture.
pub(crate) struct Captures {
    stop: Option<Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Captures {
    /// Begins to look for orders.
    pub(crate) fn start(dir: PathBuf, log: Arc<AccessLog>) -> std::io::Result<Self> {
        let (stop, stopped) = channel::<()>();
        let thread = thread::Builder::new().name("capture".into()).spawn(move || {
            // An order of the time before this process is not carried out again.
            let mut seen = capture::order(&dir).map(|order| order.id);
            let mut taking: Option<Order> = None;
            while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(LOOK) {
                let order = capture::order(&dir).filter(|order| seen.as_ref() != Some(&order.id));
                if let Some(order) = order {
                    seen = Some(order.id.clone());
                    let ended = end(&log, &dir, taking.take());
                    taking = begin(&log, &dir, order, ended);
                }
                if taking.as_ref().is_some_and(|order| when::now_ms() >= order.until_ms) {
                    end(&log, &dir, taking.take());
                } else if let Some(order) = &taking {
                    tell(&log, &dir, order);
                }
            }
            end(&log, &dir, taking);
        })?;
        Ok(Captures { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Captures {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic there was logged by its thread; there is nothing to add at the end of the process.
            let _ = thread.join();
        }
    }
}

/// Begins what is ordered; an order without a file is one to end what went on, and tells how that ended.
fn begin(log: &AccessLog, dir: &Path, order: Order, ended: Option<State>) -> Option<Order> {
    let Some(out) = &order.out else {
        capture::tell(dir, &State { id: order.id, ..ended.unwrap_or_default() });
        return None;
    };
    let limits = CaptureLimits { bytes_max: order.bytes_max, ..CaptureLimits::default() };
    let opened = CaptureKey::read(&order.key_file).and_then(|key| CaptureWriter::create(out, &key, limits));
    match opened {
        Ok(file) => {
            log.capturing().begin(file, order.terms());
            let bodies = order.bodies != Bodies::None;
            tracing::info!(
                percent = order.percent,
                whole = order.whole,
                bodies,
                "a capture of live traffic begins"
            );
            tell(log, dir, &order);
            Some(order)
        }
        Err(error) => {
            let failed = Some(format!("{}: {error}", out.display()));
            capture::tell(dir, &State { id: order.id, ended_by: failed, ..State::default() });
            None
        }
    }
}

fn tell(log: &AccessLog, dir: &Path, order: &Order) {
    let figures = log.capturing().figures();
    capture::tell(dir, &State::of(order, figures));
}

fn end(log: &AccessLog, dir: &Path, order: Option<Order>) -> Option<State> {
    let order = order?;
    // What was answered before the order came is on its way to the log's thread; it gets a moment.
    thread::park_timeout(LINGER);
    let figures = log.capturing().end();
    tracing::info!(records = figures.records, "the capture of live traffic has ended");
    let state = State::of(&order, figures);
    capture::tell(dir, &state);
    Some(state)
}

/// How often orders are looked for.
const LOOK: Duration = Duration::from_millis(250);
/// Longer than the log's thread rests between batches.
const LINGER: Duration = Duration::from_millis(100);
