//! Which routes and consumers a change reaches: their own documents, and all that is attached to them.

use std::collections::{BTreeSet, HashMap, HashSet};

use bartizan_model::document::{Document, Spec};

use super::reach::Surface;
use crate::snapshot::{RouteAction, RoutePlan, Snapshot};

/// The routes of two sets by each document (`Kind/name`) that decides about them.
pub(super) struct RoutesBy(HashMap<String, BTreeSet<String>>);

impl RoutesBy {
    pub(super) fn of(before: Option<&Surface<'_>>, after: &Surface<'_>) -> Self {
        let mut by: HashMap<String, BTreeSet<String>> = HashMap::new();
        for surface in before.into_iter().chain([after]) {
            for (listener, route) in surface.listened() {
                by.entry(format!("Listener/{listener}")).or_default().insert(route.to_owned());
            }
            for plan in &surface.snapshot.routes {
                for label in labels(surface.snapshot, plan) {
                    by.entry(label).or_default().insert(plan.route.to_string());
                }
            }
        }
        RoutesBy(by)
    }

    /// The routes that any of these documents has to do with.
    pub(super) fn touched(&self, changed: &HashSet<String>) -> Vec<String> {
        let routes: BTreeSet<&String> =
            changed.iter().filter_map(|label| self.0.get(label)).flatten().collect();
        routes.into_iter().cloned().collect()
    }

    /// The routes that a document has to do with; none for a route itself, which says it by its name.
    pub(super) fn beyond(&self, label: &str) -> Vec<String> {
        if label.starts_with("Route/") {
            return Vec::new();
        }
        self.0.get(label).into_iter().flatten().cloned().collect()
    }
}

/// The consumers that changes of these documents reach, in either set.
pub(super) fn consumers(
    changed: &HashSet<String>,
    before: Option<(&Snapshot, &[Document])>,
    after: (&Snapshot, &[Document]),
) -> Vec<String> {
    let mut consumers = BTreeSet::new();
    for (snapshot, documents) in before.into_iter().chain([after]) {
        for document in documents {
            let Spec::Consumer(spec) = &document.spec else { continue };
            let name = document.name.as_str();
            let own = changed.contains(&format!("Consumer/{name}"));
            let by_role = spec.roles.iter().any(|role| changed.contains(&format!("Role/{}", role.as_str())));
            let attached = snapshot.consumers.get(name).is_some_and(|plan| {
                let rules = plan.authorization.iter().map(|policy| &*policy.label);
                rules
                    .chain(plan.limits.iter().map(|policy| &*policy.label))
                    .chain(plan.quotas.iter().map(|policy| &*policy.label))
                    .any(|label| changed.contains(label))
            });
            let by_team = snapshot
                .consumers
                .get(name)
                .and_then(|plan| plan.team.as_ref())
                .is_some_and(|team| changed.contains(&format!("Team/{}", team.name)));
            if own || by_role || attached || by_team {
                consumers.insert(name.to_owned());
            }
        }
    }
    consumers.into_iter().collect()
}

/// The documents that decide about a rule, besides listeners.
fn labels(snapshot: &Snapshot, plan: &RoutePlan) -> Vec<String> {
    let upstreams = match &plan.action {
        RouteAction::Forward(backends) => backends.shares.as_slice(),
        RouteAction::Models | RouteAction::Prompt(_) | RouteAction::Redirect(_) => &[],
    };
    let upstreams = upstreams.iter().filter_map(|(_, upstream)| snapshot.upstreams.get(*upstream));
    let mut labels = vec![format!("Route/{}", plan.route)];
    if let RouteAction::Prompt(prompt) = &plan.action {
        labels.push(format!("PromptTemplate/{}", prompt.name));
    }
    labels.extend(upstreams.map(|upstream| format!("Upstream/{}", upstream.name)));
    let authentication = plan.authentication.enforced.iter().chain(&plan.authentication.shadow);
    labels.extend(authentication.map(|policy| policy.label.to_string()));
    labels.extend(plan.cors.enforced.iter().chain(&plan.cors.shadow).map(|policy| policy.label.to_string()));
    labels.extend(plan.patience.iter().map(|policy| policy.label.to_string()));
    labels.extend(plan.caching.iter().map(|policy| policy.label.to_string()));
    labels.extend(plan.authorization.iter().map(|policy| policy.label.to_string()));
    labels.extend(plan.headers.iter().map(|policy| policy.label.to_string()));
    labels.extend(plan.limits.iter().map(|policy| policy.label.to_string()));
    labels.extend(plan.quotas.iter().map(|policy| policy.label.to_string()));
    if !plan.record.name.is_empty() {
        labels.push(plan.record.name.to_string());
    }
    labels
}
