//! How a change is written down: before it begins, and how it ended.

use std::future::Future;

use bartizan_store::{AuditNote, AuditPhase, Store};

use super::{auth::Caller, now_ms, problem::Problem};

/// What is about to be done.
pub(crate) struct Deed<'a> {
    pub(crate) action: &'static str,
    pub(crate) target: &'a str,
    pub(crate) before: &'a str,
    pub(crate) reason: &'a str,
}

impl Deed<'_> {
    /// Does it, written down before and after. What cannot be written down is not begun. `after` says what is there
    /// when it is done.
    pub(crate) async fn record<T>(
        &self,
        store: &Store,
        caller: &Caller,
        work: impl Future<Output = Result<T, Problem>>,
        after: impl FnOnce(&T) -> String,
    ) -> Result<T, Problem> {
        let actor = caller.actor();
        let source = caller.address.to_string();
        let note = |phase, after, reason| AuditNote {
            actor: &actor,
            source: &source,
            action: self.action,
            target: self.target,
            phase,
            before: self.before,
            after,
            reason,
        };
        store.audit().add(note(AuditPhase::Begun, "", self.reason), now_ms()).await?;
        let outcome = work.await;
        let written = match &outcome {
            Ok(done) => store.audit().add(note(AuditPhase::Done, &after(done), self.reason), now_ms()).await,
            Err(problem) => {
                let phase = if problem.is_failure() { AuditPhase::Failed } else { AuditPhase::Refused };
                store.audit().add(note(phase, "", problem.title()), now_ms()).await
            }
        };
        if let Err(error) = written {
            // It is done and begun to be recorded; only its end is missing, which the trail shows.
            tracing::error!(%error, action = self.action, "the end of an action could not be written down");
        }
        outcome
    }
}
