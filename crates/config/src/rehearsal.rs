//! Rehearsal: the pipeline without sockets, as everybody but the data plane knows it.
//!
//! A rehearsal judges given requests by a given snapshot through the very stages that live traffic runs through, on a
//! clock and limit cells of its own. Tests, replay, shadow and counterfactuals use only this, so there is one pipeline.
//! The trait stands here, where both planes can see it; the data plane implements it and the binary hands it out.
//! Whatever a judge reads beside the documents is an input here ([`Given`]): that is what makes a recorded request
//! judgeable again.

mod given;
mod outcome;

use std::{fmt, sync::Arc};

use bartizan_identity::{KeyTable, Pepper};

pub use self::{
    given::{
        CellReading, Credential, Given, GivenBody, GivenRefusal, GivenTls, GivenToken, Moment, Readings,
    },
    outcome::{Decision, End, LimitState, Outcome, Sending, StageOutcome, Told},
};
use crate::snapshot::Snapshot;

/// Sets stages up. One for a process; it can be used from any thread.
pub trait Rehearsal: Send + Sync {
    /// A stage on which requests are judged by `snapshot`. It belongs to the thread that asked for it: whoever has many
    /// requests sets one up per core, over the same snapshot.
    fn set_up(&self, snapshot: Arc<Snapshot>, props: Props) -> Box<dyn Rehearse>;
}

/// A stage with its state: limit cells, and calls that are still running.
pub trait Rehearse {
    /// Judges one request. What it takes of limits stays taken for those that follow.
    fn run(&mut self, given: Given) -> Outcome;

    /// Forgets everything that earlier requests left behind.
    fn reset(&mut self);
}

/// What beside documents and requests belongs to a stage.
#[derive(Clone, Default)]
pub struct Props {
    /// The API keys, for requests whose credential is judged as it was sent. Without them every key is refused.
    pub keys: Option<(Arc<KeyTable>, Arc<Pepper>)>,
}

impl fmt::Debug for Props {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Props").field("keys", &self.keys.as_ref().map(|(table, _)| table.len())).finish()
    }
}
