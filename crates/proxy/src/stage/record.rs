//! **record**: what was done.
//!
//! The record of a request is closed here, once, whatever happened: at the end of its answer, at a reset, or when its
//! task was dropped. Until then it holds what must live as long: the permits of concurrency limits.

use std::time::Instant;

use bartizan_telemetry::Exit;

use crate::{body::BodyWatch, exchange::Shared};

/// An open record on its way to its end.
pub(crate) struct Closing {
    shared: Option<Box<Shared>>,
    watch: BodyWatch,
    upstream_since: Option<Instant>,
}

impl Closing {
    /// The record of `shared`. `watch` tells how much of the request's body came; `upstream_since` is when the
    /// upstream was asked.
    pub(crate) fn new(shared: Box<Shared>, watch: BodyWatch, upstream_since: Option<Instant>) -> Self {
        Closing { shared: Some(shared), watch, upstream_since }
    }

    /// Counts bytes of the answer.
    pub(crate) fn count(&mut self, bytes: usize) {
        if let Some(shared) = &mut self.shared {
            shared.record.response_bytes = shared.record.response_bytes.saturating_add(bytes as u64);
        }
    }

    /// Counts bytes that went through a tunnel.
    pub(crate) fn count_tunnel(&mut self, up: u64, down: u64) {
        if let Some(shared) = &mut self.shared {
            shared.record.request_bytes = up;
            shared.record.response_bytes = down;
        }
    }

    /// Closes the record.
    pub(crate) fn close(mut self, exit: Exit) {
        self.end(exit);
    }

    fn end(&mut self, exit: Exit) {
        let Some(shared) = self.shared.take() else { return };
        let Shared { core, mut record, .. } = *shared;
        let now = Instant::now();
        record.total = now.saturating_duration_since(record.started);
        record.request_bytes = record.request_bytes.max(self.watch.bytes());
        if let Some(since) = self.upstream_since {
            record.upstream_time = Some(now.saturating_duration_since(since));
        }
        // A refusal stays one, unless its answer did not arrive.
        if record.exit != Exit::Refused || exit != Exit::Complete {
            record.exit = exit;
        }
        core.metrics.close(&record);
        if let Some(recorder) = &core.recorder {
            recorder.submit(record);
        }
    }
}

impl Drop for Closing {
    fn drop(&mut self) {
        self.end(Exit::ClientGone);
    }
}
