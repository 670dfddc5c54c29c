//! Who gets in, and what they may do.

use std::collections::BTreeSet;

use bartizan_model::{
    Mode,
    document::{
        Document, Kind, Spec, authorization::AuthorizationPolicySpec, authorization::RuleEffect,
        role::RoleSpec, route::PathMatchType,
    },
    scalar::RouteScope,
};

use super::{
    House,
    fix::{Fix, noted},
    label,
    rule::{
        CONSUMER_DISABLED, CONSUMER_POWERFUL, OBJECT_BY_ID, ROLE_UNUSED, ROLE_WILDCARD, ROUTE_ANONYMOUS,
        ROUTE_OPEN, ROUTE_UNAUTHORIZED, RULE_OPEN,
    },
};
use crate::snapshot::{Bite, RoutePlan};

pub(super) fn audit(house: &mut House<'_>) {
    for (document, plans) in house.routes() {
        identification(house, document, plans.iter().map(|plan| &***plan));
        objects(house, document, plans.iter().map(|plan| &***plan));
    }
    for document in house.of(Kind::AuthorizationPolicy) {
        if let Spec::AuthorizationPolicy(spec) = &document.spec {
            open_rules(house, document, spec);
        }
    }
    roles(house);
    consumers(house);
}

const fn bites(bite: Bite) -> bool {
    matches!(bite.mode, Mode::Enforce) && bite.percent > 0
}

fn identification<'p>(
    house: &mut House<'_>,
    document: &Document,
    plans: impl Iterator<Item = &'p RoutePlan> + Clone,
) {
    let name = document.name.as_str();
    let target = format!("targetRefs: [{{ kind: Route, name: {name} }}]\n");
    let enforced = |plan: &'p RoutePlan| plan.authentication.enforced.as_ref().filter(|one| bites(one.bite));
    if plans.clone().any(|plan| enforced(plan).is_none()) {
        let fix = Fix::add(
            "AuthenticationPolicy",
            &format!("{name}-keys"),
            &format!("{target}methods: [{{ type: ApiKey }}]"),
        );
        house.find(
            &ROUTE_OPEN,
            document,
            format!("Route/{name} has no AuthenticationPolicy that bites"),
            fix,
        );
        return;
    }
    if let Some(policy) = plans.clone().filter_map(enforced).find(|policy| policy.anonymous) {
        let message = format!("Route/{name} admits callers without a credential, by {}", policy.label);
        let fix = Fix::merge(&policy.label, "methods: [{ type: ApiKey }]");
        house.find(&ROUTE_ANONYMOUS, document, message, noted(fix, "if the route is not meant to be public"));
        return;
    }
    if plans.clone().any(|plan| !plan.authorization.iter().any(|policy| bites(policy.bite))) {
        let fix =
            Fix::add("AuthorizationPolicy", &format!("{name}-roles"), &format!("{target}roles: {name}-user"));
        let message = format!("Route/{name} has no AuthorizationPolicy that bites: every key opens it");
        house.find(
            &ROUTE_UNAUTHORIZED,
            document,
            message,
            noted(fix, "give the role to the consumers that need it"),
        );
    }
}

/// A rule whose template has a variable, while no policy of the rule asks for one.
fn objects<'p>(
    house: &mut House<'_>,
    document: &Document,
    plans: impl Iterator<Item = &'p RoutePlan> + Clone,
) {
    let Spec::Route(spec) = &document.spec else { return };
    let looks_at_path = house.documents.iter().any(|other| match &other.spec {
        Spec::AuthorizationPolicy(policy) => policy
            .rules
            .iter()
            .any(|rule| rule.when.as_ref().is_some_and(|when| when.as_str().contains("path."))),
        Spec::Role(role) => role
            .grants
            .iter()
            .any(|grant| grant.when.as_ref().is_some_and(|when| when.as_str().contains("path."))),
        _ => false,
    });
    let is_known =
        plans.clone().all(|plan| plan.authentication.enforced.as_ref().is_some_and(|one| !one.anonymous));
    if looks_at_path || !is_known {
        return;
    }
    let matches = spec.rules.iter().flat_map(|rule| &rule.matches);
    let mut templates =
        matches.filter(|one| one.path.type_ == PathMatchType::Template && one.path.value.contains('{'));
    if let Some(found) = templates.next() {
        let name = document.name.as_str();
        let variable = found.path.value.split(['{', '}']).nth(1).unwrap_or("id");
        let message = format!("nobody asks whose `{{{variable}}}` it is in {}", *found.path.value);
        let rule = format!(
            "targetRefs: [{{ kind: Route, name: {name} }}]\nrules: [{{ name: own, when: path.{variable} == identity.sub }}]"
        );
        let fix = Fix::add("AuthorizationPolicy", &format!("{name}-own"), &rule);
        let note = "if the variable is the caller's name; the service must check ids that only it knows";
        house.find_at(&OBJECT_BY_ID, document, found.path.value.at, message, noted(fix, note));
    }
}

fn open_rules(house: &mut House<'_>, document: &Document, spec: &AuthorizationPolicySpec) {
    // Beside a rule that denies, one that allows everybody else is how a list of the denied is written.
    if spec.rules.iter().any(|rule| rule.effect == RuleEffect::Deny) {
        return;
    }
    for (at, rule) in spec.rules.iter().enumerate() {
        let by_role = !rule.roles.is_empty() || !rule.all_roles.is_empty() || rule.granted;
        if !by_role && rule.methods.is_empty() && rule.when.is_none() {
            let target = label(document);
            let fix = Fix::patch(&target, "add", &format!("/spec/rules/{at}/granted"), "true");
            let message = format!("a rule of {target} allows every caller");
            house.find_at(
                &RULE_OPEN,
                document,
                rule.at,
                message,
                noted(fix, "then a role of the caller must permit it"),
            );
        }
    }
}

fn is_wildcard(role: &RoleSpec) -> bool {
    role.grants
        .iter()
        .any(|grant| grant.when.is_none() && grant.routes.iter().any(|route| **route == RouteScope::Every))
}

fn roles(house: &mut House<'_>) {
    let mut used: BTreeSet<&str> = BTreeSet::new();
    for document in house.documents {
        match &document.spec {
            Spec::Consumer(spec) => used.extend(spec.roles.iter().map(|role| role.as_str())),
            Spec::AuthorizationPolicy(spec) => {
                let own = spec.roles.iter().chain(spec.all_roles.iter());
                let of_rules =
                    spec.rules.iter().flat_map(|rule| rule.roles.iter().chain(rule.all_roles.iter()));
                used.extend(own.chain(of_rules).map(|role| role.as_str()));
            }
            _ => {}
        }
    }
    for document in house.of(Kind::Role) {
        let Spec::Role(spec) = &document.spec else { continue };
        let target = label(document);
        if is_wildcard(spec) {
            let fix = Fix::patch(&target, "replace", "/spec/grants/0/routes", "[NAME, …]");
            let note = "name the routes, or add a condition `when`";
            house.find(&ROLE_WILDCARD, document, format!("{target} permits every route"), noted(fix, note));
        }
        if !used.contains(document.name.as_str()) {
            let message = format!("{target} is had by nobody and asked for by nothing");
            house.find(&ROLE_UNUSED, document, message, Fix::remove(&target));
        }
    }
}

fn consumers(house: &mut House<'_>) {
    let powerful: BTreeSet<&str> = house
        .of(Kind::Role)
        .filter(|document| matches!(&document.spec, Spec::Role(role) if is_wildcard(role)))
        .map(|document| document.name.as_str())
        .collect();
    for document in house.of(Kind::Consumer) {
        let Spec::Consumer(spec) = &document.spec else { continue };
        let target = label(document);
        if !spec.enabled {
            house.find(&CONSUMER_DISABLED, document, format!("{target} is disabled"), Fix::remove(&target));
        }
        let role = spec.roles.iter().find(|role| powerful.contains(role.as_str()));
        if let Some(role) = role.filter(|_| spec.allowed_addresses.is_empty() && spec.enabled) {
            let message = format!("{target} may do everything by role {} from anywhere", role.as_str());
            let fix =
                noted(Fix::merge(&target, "allowedAddresses: [192.0.2.0/24]"), "write its own networks");
            house.find(&CONSUMER_POWERFUL, document, message, fix);
        }
    }
}
