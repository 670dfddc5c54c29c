//! Asking for a newer answer while a stale one is given (RFC 5861 §3): the way of a request from `forward` on, without
//! a caller.
//!
//! Nothing of it is in the access log, because nobody called; it is counted, at the endpoint it asks like any attempt.

use std::rc::Rc;

use http_body_util::BodyExt as _;

use super::Missed;
use crate::{
    answer,
    exchange::{Exchange, Shared},
    stage,
};

/// 64 at once on a core: each holds an answer's body while it comes. Beyond, stale answers are given without asking.
const REFRESHES_MAX: usize = 64;

/// Whether one more may begin on this core.
pub(super) fn has_room(shared: &Shared) -> bool {
    Rc::strong_count(&shared.core.refreshing) <= REFRESHES_MAX
}

/// Asks, beside the request of `shared`, which is answered already.
pub(super) fn begin(shared: &Shared, missed: Missed) {
    let plan = missed.inspected.plan();
    // The connection may close, and with it the sweep that would end a long wait.
    let limit = plan.timeouts.request.unwrap_or(plan.timeouts.backend_request + plan.timeouts.idle);
    let x = Exchange { shared: shared.aside(), proof: missed };
    let counted = Rc::clone(&shared.core.refreshing);
    tokio::task::spawn_local(async move {
        let _counted = counted;
        // How it went is counted by what was to be done with the answer.
        let _ = tokio::time::timeout(limit, asked(x)).await;
    });
}

async fn asked(x: Exchange<Missed>) {
    let outcome = match stage::forward(x).await {
        Ok(x) => stage::screen(x).await,
        Err(stop) => Err(stop),
    };
    // The cache has its copy when the body has ended.
    let mut body = answer::settle(outcome).into_body();
    while let Some(Ok(_)) = body.frame().await {}
}
