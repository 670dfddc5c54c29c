//! What is changed by the API stands in the audit trail, with who asked and from where.

use std::future::Future;

use bartizan_store::{Ending, Store};

use super::{auth::Caller, now_ms, problem::Problem};

/// What is about to be done.
pub(crate) struct Deed<'a> {
    pub(crate) action: &'static str,
    pub(crate) target: &'a str,
    pub(crate) before: &'a str,
    pub(crate) reason: &'a str,
}

impl Deed<'_> {
    /// Does it. `after` says what is there when it is done.
    pub(crate) async fn record<T>(
        &self,
        store: &Store,
        caller: &Caller,
        work: impl Future<Output = Result<T, Problem>>,
        after: impl FnOnce(&T) -> String,
    ) -> Result<T, Problem> {
        let (actor, source) = (caller.actor(), caller.address.to_string());
        let Deed { action, target, before, reason } = *self;
        let deed = bartizan_store::Deed { actor: &actor, source: &source, action, target, before, reason };
        let ending = |outcome: &Result<T, Problem>| match outcome {
            Ok(done) => Ending::done(after(done)),
            Err(problem) => Ending::not_done(problem.is_failure(), problem.title().to_owned()),
        };
        let (outcome, unwritten) = deed.record(store, now_ms, work, ending).await;
        if let Some(error) = unwritten {
            tracing::error!(%error, action, "the end of an action could not be written down");
        }
        outcome
    }
}
