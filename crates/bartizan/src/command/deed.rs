//! What a command changes in a store stands in the audit trail.
//!
//! Who does it is the user of this machine; that is a note and not a proof ([`super::author`]).

use std::future::Future;

use bartizan_store::{Ending, Error, Store};

use super::{author, print, when::now_ms};

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
        let Deed { action, target, before, reason } = *self;
        let deed = bartizan_store::Deed { actor: &actor, source: "local", action, target, before, reason };
        let ending = |outcome: &Result<T, Error>| match outcome {
            Ok(done) => Ending::done(after(done)),
            Err(error) => {
                let is_failure = matches!(error, Error::Database { .. } | Error::File { .. });
                Ending::not_done(is_failure, error.to_string())
            }
        };
        let (outcome, unwritten) = deed.record(store, now_ms, work, ending).await;
        if let Some(error) = unwritten {
            print::note(&format!("the audit trail does not say how this ended: {error}"));
        }
        outcome
    }
}
