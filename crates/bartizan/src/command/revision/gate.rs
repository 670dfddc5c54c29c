//! What must hold before a set becomes the active revision. One function, so that whatever else is to refuse a change
//! (tests that are documents, an approval) has one place to go.

use super::candidate::Candidate;

/// Why a candidate that compiles must not be applied all the same; empty when it may be.
pub(super) fn reasons_against(candidate: &Candidate) -> Vec<String> {
    let mut reasons = Vec::new();
    let is_servable = candidate
        .snapshot()
        .is_some_and(|snapshot| !snapshot.listeners.is_empty() && !snapshot.routes.is_empty());
    if !is_servable {
        reasons.push("the set has no Listener or no Route: an empty set never goes live".to_owned());
    }
    reasons
}
