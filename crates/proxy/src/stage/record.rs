//! **record**: what was done.
//!
//! The record of a request is closed here, once, whatever happened: at the end of its answer, at a reset, or when its
//! task was dropped, however far it had come. Until then its exchange holds what must live as long: the permits of
//! concurrency limits, and what a call to a model holds of budgets, which is settled here by what it used.

use std::{
    ops::{Deref, DerefMut},
    rc::Rc,
    sync::Arc,
    time::Instant,
};

use bartizan_config::rehearsal::GivenToken;
use bartizan_model::Denial;
use bartizan_telemetry::{Exit, LeakCount, RequestRecord};

use crate::{
    body::{BodyWatch, Broken, Meter, ModelBody},
    core::Core,
    exchange::Shared,
    stage::{inspect::Watching, limit::Charges},
    trial::Assigned,
};

/// An open record. Dropping it closes it: a caller that leaves while its request waits is recorded too.
pub(crate) struct OpenRecord {
    core: Rc<Core>,
    /// `None` only while it is being closed.
    record: Option<Box<RequestRecord>>,
    /// How much of the request's body came.
    watch: BodyWatch,
    /// When an upstream was asked.
    asked: Option<Instant>,
    /// Inspections that only watch.
    watching: Option<Box<Watching>>,
    /// The side it is on, where a candidate is tried.
    assigned: Option<Box<Assigned>>,
    /// What a call to a model holds of budgets.
    charges: Option<Box<Charges>>,
    is_counted: bool,
}

impl OpenRecord {
    /// A record that is counted as in flight from now on.
    pub(crate) fn new(core: Rc<Core>, record: Box<RequestRecord>, assigned: Option<Box<Assigned>>) -> Self {
        core.metrics.opened();
        let mut open = Self::aside(core, record);
        open.assigned = assigned;
        open.is_counted = true;
        open
    }

    /// The record of what nobody asked for: neither counted nor logged.
    pub(crate) fn aside(core: Rc<Core>, record: Box<RequestRecord>) -> Self {
        let watch = BodyWatch::default();
        OpenRecord {
            core,
            record: Some(record),
            watch,
            asked: None,
            watching: None,
            assigned: None,
            charges: None,
            is_counted: false,
        }
    }

    /// Inspections watch the exchange; they judge when it has ended.
    pub(crate) fn watch_inspection(&mut self, watching: Box<Watching>) {
        self.watching = Some(watching);
    }

    /// Takes the inspections that watch, for whoever judges them now.
    pub(crate) fn take_watching(&mut self) -> Option<Box<Watching>> {
        self.watching.take()
    }

    /// The inspections that watch, if any do.
    pub(crate) fn watching(&mut self) -> Option<&mut Watching> {
        self.watching.as_deref_mut()
    }

    /// Whether somebody wants to know what the caller's token says: a capture, or a rollout's shadow.
    pub(crate) fn wants_caller(&self) -> bool {
        self.assigned.is_some() || self.record.as_ref().is_some_and(|record| record.capture.is_some())
    }

    /// Whether a rollout's shadow does.
    pub(crate) fn wants_token(&self) -> bool {
        self.assigned.as_ref().is_some_and(|assigned| assigned.wants_token())
    }

    /// Takes what a genuine token says, for a rollout's shadow.
    pub(crate) fn note_token(&mut self, token: Option<Arc<GivenToken>>) {
        if let Some(assigned) = &mut self.assigned {
            assigned.note_token(token);
        }
    }

    /// An upstream is asked from `at` on, and reads the body that `watch` watches.
    pub(crate) fn asks_upstream(&mut self, at: Instant, watch: BodyWatch) {
        self.asked = Some(at);
        self.watch = watch;
    }

    /// What the call holds is settled when it has ended.
    pub(crate) fn charge(&mut self, charges: Box<Charges>) {
        self.charges = Some(charges);
    }

    /// Takes what the call holds, for whoever settles it otherwise.
    pub(crate) fn take_charges(&mut self) -> Option<Box<Charges>> {
        self.charges.take()
    }

    /// A provider has the request, or has it no more: by `meter` it is charged if the caller leaves meanwhile.
    pub(crate) fn sends(&mut self, meter: Option<Meter>) {
        if let Some(charges) = &mut self.charges {
            charges.sent = meter;
        }
    }

    fn end(&mut self, exit: Exit) {
        let Some(mut record) = self.record.take() else { return };
        if !self.is_counted {
            return;
        }
        let now = Instant::now();
        record.total = now.saturating_duration_since(record.started);
        record.request_bytes = record.request_bytes.max(self.watch.bytes());
        record.upstream_time = self.asked.map(|asked| now.saturating_duration_since(asked));
        if let Some(charges) = self.charges.take() {
            charges.settle(self.core.runtime.nanos(now), &mut record, now);
        }
        if let Some(model) = &record.model {
            let unix_ms = record.time_unix_nanos / 1_000_000;
            self.core.runtime.usage().add(unix_ms, record.consumer.as_ref(), model);
        }
        // A limit of ours that ends a body after the answer has begun is a refusal that nobody can be told any more.
        if let (Some(Broken::Refused(reason)), None) = (self.watch.broken(), &record.refusal) {
            record.refuse(reason.stage(), Denial::new(reason));
        }
        // A refusal stays one, unless its answer did not arrive.
        if record.refusal.is_none() || exit != Exit::Complete {
            record.exit = exit;
        }
        if let Some(assigned) = self.assigned.take() {
            self.core.settle(*assigned, &record);
        }
        match self.watching.take() {
            None => self.core.close(record),
            Some(watching) => {
                if exit == Exit::Complete {
                    watching.passed();
                }
                watching.settle(Rc::clone(&self.core), record);
            }
        }
    }
}

impl Deref for OpenRecord {
    type Target = RequestRecord;

    #[expect(clippy::expect_used, reason = "`end` takes it, and is only called by who drops this")]
    fn deref(&self) -> &RequestRecord {
        self.record.as_ref().expect("an open record is there")
    }
}

impl DerefMut for OpenRecord {
    #[expect(clippy::expect_used, reason = "`end` takes it, and is only called by who drops this")]
    fn deref_mut(&mut self) -> &mut RequestRecord {
        self.record.as_mut().expect("an open record is there")
    }
}

impl Drop for OpenRecord {
    fn drop(&mut self) {
        let exit = if self.core.runtime.is_stopping() { Exit::Shutdown } else { Exit::ClientGone };
        self.end(exit);
    }
}

/// An exchange whose answer is on its way, to be closed at its end.
pub(crate) struct Closing {
    shared: Box<Shared>,
}

impl Closing {
    /// The exchange of `shared`.
    pub(crate) fn new(shared: Box<Shared>) -> Self {
        Closing { shared }
    }

    /// Counts bytes of the answer.
    pub(crate) fn count(&mut self, bytes: usize) {
        let record = &mut self.shared.record;
        record.response_bytes = record.response_bytes.saturating_add(bytes as u64);
    }

    /// Charges a model's answer.
    pub(crate) fn settle(&mut self, model: &mut ModelBody, whole: bool) {
        if let Some(record) = &mut self.shared.record.model {
            model.settle(whole, record);
        }
    }

    /// Writes down which secrets were found in the answer while it passed.
    pub(crate) fn leaks(&mut self, found: Vec<LeakCount>) {
        self.shared.record.leaks.extend(found);
    }

    /// Lets inspections that watch copy a piece of the answer.
    pub(crate) fn copy(&self, piece: &[u8]) {
        if let Some(watching) = &self.shared.record.watching {
            watching.pass(piece);
        }
    }

    /// Counts bytes that went through a tunnel.
    pub(crate) fn count_tunnel(&mut self, up: u64, down: u64) {
        self.shared.record.request_bytes = up;
        self.shared.record.response_bytes = down;
    }

    /// Closes the record. Dropping does too, for a caller that left.
    pub(crate) fn close(mut self, exit: Exit) {
        self.shared.record.end(exit);
    }
}
