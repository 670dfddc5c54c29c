//! What a kept answer has passed: a number for each rule, which changes with every document that could have made the
//! answer another one.
//!
//! An answer that is kept may outlive a reload, so what counts is decided the closed way: a kind counts unless it is
//! known that it cannot bear on what is kept. Whatever is judged again on every hit (limits, authorization, CORS) cannot.

use aws_lc_rs::digest::{self, SHA256};
use bartizan_model::document::{Document, Kind};

use super::Parsed;
use crate::snapshot::{RouteAction, RoutePlan, UpstreamPlan};

/// One number for each rule, in the order of `routes`.
pub(super) fn fingerprints(
    set: &Parsed<'_>,
    routes: &[std::sync::Arc<RoutePlan>],
    upstreams: &[std::sync::Arc<UpstreamPlan>],
) -> Vec<u64> {
    if routes.iter().all(|plan| plan.caching.is_none()) {
        return vec![0; routes.len()];
    }
    let mut documents: Vec<(&Document, Vec<u8>)> = (set.documents.iter())
        .filter(|document| bears_on_answers(document.kind()))
        // A document that cannot be written counts by its name alone with the digest of the whole set, so with any change.
        .map(|document| {
            let text = serde_json::to_vec(&document.spec).unwrap_or_else(|_| set.digest.as_bytes().to_vec());
            (document, text)
        })
        .collect();
    documents.sort_by_key(|(document, _)| (document.kind(), document.name.as_str()));
    let rules = set.rules.digest_with("");
    routes.iter().map(|plan| fingerprint(plan, &documents, upstreams, &rules)).collect()
}

fn fingerprint(
    plan: &RoutePlan,
    documents: &[(&Document, Vec<u8>)],
    upstreams: &[std::sync::Arc<UpstreamPlan>],
    rules: &str,
) -> u64 {
    let names = |name: &str| match &plan.action {
        RouteAction::Forward(backends) => (backends.shares.iter())
            .any(|(_, index)| upstreams.get(*index).is_some_and(|upstream| *upstream.name == *name)),
        RouteAction::Models | RouteAction::Prompt(_) | RouteAction::Redirect(_) => true,
    };
    let mut context = digest::Context::new(&SHA256);
    let mut add = |part: &[u8]| {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    };
    add(plan.label.as_bytes());
    add(rules.as_bytes());
    for (document, text) in documents {
        let name = document.name.as_str();
        let counts = match document.kind() {
            Kind::Route => *plan.route == *name,
            Kind::Upstream => names(name),
            _ => true,
        };
        if counts {
            add(document.kind().as_str().as_bytes());
            add(name.as_bytes());
            add(text);
        }
    }
    let digest = context.finish();
    let (first, _) = digest.as_ref().split_at_checked(8).unwrap_or_default();
    first.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// Whether documents of a kind can make an answer another one. Consumers are in the key of an answer, with their roles.
const fn bears_on_answers(kind: Kind) -> bool {
    !matches!(
        kind,
        Kind::AuthorizationPolicy
            | Kind::Consumer
            | Kind::CorsPolicy
            | Kind::KeyRotationPolicy
            | Kind::PolicyTest
            | Kind::QuotaPolicy
            | Kind::RateLimitPolicy
            | Kind::RecordPolicy
            | Kind::Role
            | Kind::UpstreamPolicy
    )
}
