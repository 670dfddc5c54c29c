//! What documents and keys say, in the words of recommendations.

use std::collections::BTreeSet;

use bartizan_access::Routes;
use bartizan_config::snapshot::{AuthenticationPlan, MethodPlan, PathTest, Snapshot};
use bartizan_insight::{Documented, Key, Posture, Role};
use bartizan_message::MethodSet;
use bartizan_model::Mode;
use bartizan_store::{KeyRow, KeyStanding};

/// The posture of a set and its keys.
pub(crate) fn posture(snapshot: &Snapshot, keys: &[KeyRow], now_ms: u64) -> Posture {
    let mut authenticated = BTreeSet::new();
    let mut limited = BTreeSet::new();
    for plan in &snapshot.routes {
        if plan.authentication.enforced.is_some() {
            authenticated.insert(plan.route.to_string());
        }
        if plan.limits.iter().any(|limit| limit.mode != Mode::Off) {
            limited.insert(plan.route.to_string());
        }
    }
    let keys = keys
        .iter()
        .filter(|row| row.standing(now_ms) == KeyStanding::Active)
        .map(|row| Key {
            id: row.id.to_string(),
            consumer: row.consumer.clone(),
            created_ms: row.created_at_ms,
            used_ms: row.last_used_at_ms,
            expires_ms: row.expires_at_ms,
            age_max_ms: age_max(snapshot, &row.consumer),
        })
        .collect();
    Posture { keys, roles: roles(snapshot), authenticated, limited }
}

fn age_max(snapshot: &Snapshot, consumer: &str) -> Option<u64> {
    snapshot.consumers.get(consumer)?.rotation.as_ref()?.terms.maximum_age_ms
}

fn takes_only_keys(plan: &AuthenticationPlan) -> bool {
    plan.methods.iter().all(|method| matches!(method, MethodPlan::ApiKey(_)))
}

/// Roles without a condition; where tokens, certificates or passwords may give a role, nobody knows who has it.
fn roles(snapshot: &Snapshot) -> Vec<Role> {
    let only_keys = snapshot
        .routes
        .iter()
        .filter_map(|plan| plan.authentication.enforced.as_ref())
        .all(|plan| takes_only_keys(plan));
    if !only_keys {
        return Vec::new();
    }
    let definitions = snapshot.roles.definitions().iter();
    definitions
        .filter(|role| role.grants.iter().all(|grant| grant.when.is_none()))
        .map(|role| {
            let holders = snapshot.consumers.iter().filter(|(_, plan)| plan.roles.contains(&role.name));
            let grants = role.grants.iter().flat_map(|grant| {
                let methods = methods(grant.methods);
                let routes = match &grant.routes {
                    Routes::Every => vec!["*".to_owned()],
                    Routes::Named(names) => names.iter().map(ToString::to_string).collect(),
                };
                routes.into_iter().map(move |route| (route, methods.clone()))
            });
            Role {
                name: role.name.to_string(),
                consumers: holders.map(|(_, plan)| plan.name.to_string()).collect(),
                grants: grants.collect(),
            }
        })
        .collect()
}

/// Every path that a route names whole.
pub(crate) fn documented(snapshot: &Snapshot) -> Vec<Documented> {
    let entries = snapshot.listeners.iter().flat_map(|listener| listener.routes.entries());
    entries
        .filter(|entry| matches!(entry.path, PathTest::Exact(_) | PathTest::Template(_)))
        .map(|entry| Documented {
            route: entry.plan.route.to_string(),
            methods: methods(entry.methods),
            path: entry.path.to_string(),
        })
        .collect()
}

/// No method means every one.
fn methods(methods: MethodSet) -> Vec<String> {
    if methods == MethodSet::ANY {
        Vec::new()
    } else {
        methods.iter().map(|method| method.to_string()).collect()
    }
}
