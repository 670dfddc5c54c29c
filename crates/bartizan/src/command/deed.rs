//! What a command changes in a store, written into the audit trail before it begins and when it has ended.
//!
//! Who does it is the user of this machine; that is a note and not a proof ([`super::author`]). What cannot be written
//! down is not begun.

use std::future::Future;

use bartizan_store::{AuditNote, AuditPhase, Error, Store};

use super::{author, when::now_ms};

/// What is about to be done. Nothing in it is a secret.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deed<'a> {
    /// What: `revision.apply`, `key.create`.
    pub(crate) action: &'a str,
    /// On what.
    pub(crate) target: &'a str,
    /// What was before.
    pub(crate) before: &'a str,
    /// Why.
    pub(crate) reason: &'a str,
}

impl Deed<'_> {
    /// Does it. `after` says what is there when it is done.
    pub(crate) async fn record<T>(
        &self,
        store: &Store,
        work: impl Future<Output = Result<T, Error>>,
        after: impl FnOnce(&T) -> String,
    ) -> Result<T, Error> {
        let actor = format!("local:{}", author::author_or_local());
        let note = |phase, after, reason| AuditNote {
            actor: &actor,
            source: "local",
            action: self.action,
            target: self.target,
            phase,
            before: self.before,
            after,
            reason,
        };
        store.audit().add(note(AuditPhase::Begun, "", self.reason), now_ms()).await?;
        let outcome = work.await;
        match &outcome {
            Ok(done) => {
                store.audit().add(note(AuditPhase::Done, &after(done), self.reason), now_ms()).await?
            }
            Err(error) => {
                let phase = match error {
                    Error::Database { .. } | Error::File { .. } => AuditPhase::Failed,
                    _ => AuditPhase::Refused,
                };
                store.audit().add(note(phase, "", &error.to_string()), now_ms()).await?
            }
        };
        outcome
    }
}
