//! A change, written into the audit trail before it begins and when it has ended.

use std::future::Future;

use crate::{
    audit::{AuditNote, AuditPhase},
    error::Error,
    store::Store,
};

/// What is about to be done, and by whom. Nothing in it is a secret.
#[derive(Clone, Copy, Debug)]
pub struct Deed<'a> {
    /// Who: `token:NAME`, `local:USER`.
    pub actor: &'a str,
    /// From where: an address, or `local`.
    pub source: &'a str,
    /// What: `revision.apply`, `key.create`.
    pub action: &'a str,
    /// On what.
    pub target: &'a str,
    /// What was before.
    pub before: &'a str,
    /// Why.
    pub reason: &'a str,
}

/// How a deed ended, as the trail says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// Done, failed or refused.
    pub phase: AuditPhase,
    /// What is there now; of a deed that was done.
    pub after: String,
    /// Why it was not done; of the others.
    pub reason: String,
}

impl Ending {
    /// It was done, and this is there now.
    pub fn done(after: String) -> Ending {
        Ending { phase: AuditPhase::Done, after, reason: String::new() }
    }

    /// It was not done: because of a failure, or because it may or can not be.
    pub fn not_done(is_failure: bool, reason: String) -> Ending {
        let phase = if is_failure { AuditPhase::Failed } else { AuditPhase::Refused };
        Ending { phase, after: String::new(), reason }
    }
}

impl Deed<'_> {
    /// Does it; `clock` gives Unix milliseconds, and `ending` says how it went.
    ///
    /// What cannot be written down is not begun: that error is the outcome. Where only the end cannot be written down the
    /// deed is done and its outcome stands, since whoever asked must learn it (a key is shown this once); the error comes
    /// beside it to be told, and the trail shows a deed that begun and did not end.
    pub async fn record<T, E: From<Error>>(
        &self,
        store: &Store,
        clock: impl Fn() -> u64,
        work: impl Future<Output = Result<T, E>>,
        ending: impl FnOnce(&Result<T, E>) -> Ending,
    ) -> (Result<T, E>, Option<Error>) {
        if let Err(error) = store.audit().add(self.note(AuditPhase::Begun, "", self.reason), clock()).await {
            return (Err(error.into()), None);
        }
        let outcome = work.await;
        let Ending { phase, after, reason } = ending(&outcome);
        let reason = if phase == AuditPhase::Done { self.reason } else { &reason };
        let unwritten = store.audit().add(self.note(phase, &after, reason), clock()).await.err();
        (outcome, unwritten)
    }

    fn note<'b>(&'b self, phase: AuditPhase, after: &'b str, reason: &'b str) -> AuditNote<'b> {
        let Deed { actor, source, action, target, before, .. } = *self;
        AuditNote { actor, source, action, target, phase, before, after, reason }
    }
}
