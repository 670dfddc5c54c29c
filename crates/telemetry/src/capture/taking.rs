//! A capture of live traffic that is being taken, or that there is none.
//!
//! The request path reads one number to know whether a request is sampled. Everything else happens on the log's writer
//! thread, which appends to the file; a file that is full, or a disk that fails, ends the capture and nothing more.

use std::{
    fs::File,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use super::{Appended, CaptureNote, CaptureWriter};

/// Every request: a draw of 32 bits is always below it.
const ALL: u64 = 1 << 32;

/// The capture of a process, if one is being taken.
#[derive(Debug, Default)]
pub struct Capturing {
    /// A request whose draw of 32 bits is below this is captured; 0 while there is no capture.
    share: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    file: Option<CaptureWriter<File>>,
    whole: bool,
    scratch: Vec<u8>,
    figures: CaptureFigures,
}

/// How a capture is going.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CaptureFigures {
    /// Whether it goes on.
    pub is_taking: bool,
    /// Records written.
    pub records: u64,
    /// Records left out because they were too large.
    pub left_out: u64,
    /// Why it ended before it was told to.
    pub ended_by: Option<String>,
}

impl Capturing {
    /// Begins a capture of this share of requests in percent, in place of any that goes on. With `whole`, heads are as sent
    /// but for credentials; without, as the access log shows them.
    pub fn begin(&self, file: CaptureWriter<File>, percent: f64, whole: bool) {
        let mut state = self.lock();
        let figures = CaptureFigures { is_taking: true, ..CaptureFigures::default() };
        *state = State { file: Some(file), whole, scratch: Vec::new(), figures };
        let share = (percent.clamp(0.0, 100.0) / 100.0 * ALL as f64) as u64;
        self.share.store(share.max(1), Ordering::Release);
    }

    /// Ends the capture, if there is one. What requests on their way have noted is forgotten.
    pub fn end(&self) -> CaptureFigures {
        self.share.store(0, Ordering::Release);
        let mut state = self.lock();
        if let Some(file) = state.file.take() {
            let synced = file.sync();
            state.figures.is_taking = false;
            if let Err(error) = synced {
                state.figures.ended_by = Some(error.to_string());
            }
        }
        state.figures.clone()
    }

    /// How it goes.
    pub fn figures(&self) -> CaptureFigures {
        self.lock().figures.clone()
    }

    /// Whether the next request is captured; `draw` is asked only while there is a capture.
    pub(crate) fn samples(&self, draw: impl FnOnce() -> u64) -> bool {
        let share = self.share.load(Ordering::Relaxed);
        share != 0 && draw() >> 32 < share
    }

    /// Appends what was noted of a request and its line in the log.
    pub(crate) fn take(&self, note: &CaptureNote, line: &[u8]) {
        let mut state = self.lock();
        let State { file, whole, scratch, figures } = &mut *state;
        let Some(open) = file else { return };
        note.write(line, *whole, scratch);
        let ended_by = match open.append(scratch) {
            Ok(Appended::Written) => {
                figures.records += 1;
                return;
            }
            Ok(Appended::TooLarge) => {
                figures.left_out += 1;
                return;
            }
            Ok(Appended::Full) => "the file is full".to_owned(),
            Err(error) => error.to_string(),
        };
        self.share.store(0, Ordering::Release);
        *file = None;
        figures.is_taking = false;
        figures.ended_by = Some(ended_by);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
