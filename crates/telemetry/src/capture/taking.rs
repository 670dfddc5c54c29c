//! A capture of live traffic that is being taken, or that there is none.
//!
//! The request path reads one number to know whether a request is sampled. Everything else happens on the log's writer
//! thread, which appends to the file; a file that is full, or a disk that fails, ends the capture and nothing more.

use std::{
    fs::File,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use super::{Appended, BodyTap, CaptureNote, CaptureWriter, HeldCopies};

/// Every request: a draw of 32 bits is always below it.
const ALL: u64 = 1 << 32;

/// The capture of a process, if one is being taken.
#[derive(Debug, Default)]
pub struct Capturing {
    /// A request whose draw of 32 bits is below this is captured; 0 while there is no capture.
    share: AtomicU64,
    /// Most bytes of a body that are captured; 0 while bodies are not.
    body_bytes: AtomicUsize,
    held: HeldCopies,
    state: Mutex<State>,
}

/// What a capture takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CaptureTerms {
    /// The share of requests in percent.
    pub percent: f64,
    /// Heads as sent but for credentials, and facts of tokens and certificates; without, heads as the access log shows them.
    pub whole: bool,
    /// Bodies, which only whole heads can have.
    pub bodies: Option<BodyTerms>,
}

/// Which bodies a capture takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyTerms {
    /// Most bytes of one; a longer one is left out.
    pub bytes_max: usize,
    /// Only JSON and forms in which no member is named like a secret.
    pub redacted: bool,
}

#[derive(Debug, Default)]
struct State {
    file: Option<CaptureWriter<File>>,
    whole: bool,
    redacted: bool,
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
    /// Records without their body, because it was too long or may hold secrets.
    pub bodies_left_out: u64,
    /// Why it ended before it was told to.
    pub ended_by: Option<String>,
}

impl Capturing {
    /// Begins a capture, in place of any that goes on.
    pub fn begin(&self, file: CaptureWriter<File>, terms: CaptureTerms) {
        let mut state = self.lock();
        let figures = CaptureFigures { is_taking: true, ..CaptureFigures::default() };
        let redacted = terms.bodies.is_some_and(|bodies| bodies.redacted);
        *state = State { file: Some(file), whole: terms.whole, redacted, scratch: Vec::new(), figures };
        let bodies = terms.bodies.filter(|_| terms.whole).map_or(0, |bodies| bodies.bytes_max);
        self.body_bytes.store(bodies, Ordering::Release);
        let share = (terms.percent.clamp(0.0, 100.0) / 100.0 * ALL as f64) as u64;
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

    /// A copy of the body of a sampled request; `None` where bodies are not captured.
    pub(crate) fn body(&self) -> Option<BodyTap> {
        let bytes_max = self.body_bytes.load(Ordering::Relaxed);
        (bytes_max != 0).then(|| BodyTap::new(bytes_max, &self.held))
    }

    /// Appends what was noted of a request and its line in the log.
    pub(crate) fn take(&self, note: &CaptureNote, line: &[u8]) {
        let mut state = self.lock();
        let State { file, whole, redacted, scratch, figures } = &mut *state;
        let Some(open) = file else { return };
        let lacks_body = note.write(line, *whole, *redacted, scratch);
        let ended_by = match open.append(scratch) {
            Ok(Appended::Written) => {
                figures.records += 1;
                figures.bodies_left_out += u64::from(lacks_body);
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
