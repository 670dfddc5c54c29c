//! What has to be kept in order so that everything else stays true: owners, reach, tests.

use std::collections::BTreeSet;

use bartizan_model::document::{
    Document, Kind, Spec,
    policy_test::PolicyTestSpec,
    route::{BackendKind, PathMatchType, RouteSpec},
};

use super::{
    House,
    fix::{Fix, noted},
    label,
    rule::{ANY_METHOD, CATCH_ALL, NO_CONTACT, NO_OWNER, UNREACHABLE, UNTESTED},
};

/// Labels and annotations that name an owner.
const OWNERS: [&str; 4] = ["team", "owner", "contact", "app.kubernetes.io/managed-by"];

pub(super) fn audit(house: &mut House<'_>) {
    let tested = tested(house);
    for document in house.of(Kind::Route) {
        let Spec::Route(spec) = &document.spec else { continue };
        let target = label(document);
        let is_owned = |map: &std::collections::BTreeMap<String, String>| {
            OWNERS.iter().any(|key| map.contains_key(*key))
        };
        if !is_owned(&document.metadata.labels) && !is_owned(&document.metadata.annotations) {
            let fix =
                noted(Fix::merge_metadata(&target, "labels: { team: NAME }"), "write who is responsible");
            house.find(&NO_OWNER, document, format!("{target} says nowhere who is responsible for it"), fix);
        }
        rules(house, document, &target, spec);
        if !is_reachable(house, document.name.as_str()) {
            let message = format!("{target} can be reached through no listener");
            house.find(&UNREACHABLE, document, message, Fix::remove(&target));
        } else if !tested.contains(document.name.as_str()) {
            untested(house, document, &target, spec);
        }
    }
    for document in house.of(Kind::Consumer) {
        let Spec::Consumer(spec) = &document.spec else { continue };
        let is_reached =
            spec.contacts.iter().any(|contact| contact.email.is_some() || contact.name.is_some());
        if !is_reached {
            let target = label(document);
            let fix = noted(
                Fix::merge(&target, "contacts: [{ email: team@example.com }]"),
                "write who can be told",
            );
            house.find(&NO_CONTACT, document, format!("{target} has no contact"), fix);
        }
    }
}

fn rules(house: &mut House<'_>, document: &Document, target: &str, spec: &RouteSpec) {
    for (at, rule) in spec.rules.iter().enumerate().filter(|(_, rule)| !rule.backend_refs.is_empty()) {
        let number = at + 1;
        let is = |kind| rule.backend_refs.iter().any(|backend| backend.kind == kind);
        // Of models only the paths and methods of their dialects are served, whatever the rule matches; a prompt is called
        // by POST.
        let (is_models, is_prompt) = (is(BackendKind::Models), is(BackendKind::PromptTemplate));
        if is_models {
            continue;
        }
        let any_method = rule.matches.is_empty() || rule.matches.iter().any(|one| one.methods.is_empty());
        if any_method && !is_prompt {
            let first = rule.matches.iter().position(|one| one.methods.is_empty()).unwrap_or_default();
            let (path, value) = match rule.matches.is_empty() {
                true => (format!("/spec/rules/{at}/matches"), "[{ methods: [GET, HEAD] }]"),
                false => (format!("/spec/rules/{at}/matches/{first}/methods"), "[GET, HEAD]"),
            };
            let fix = noted(Fix::patch(target, "add", &path, value), "write those that the API has");
            let message = format!("rule {number} of {target} publishes every method");
            house.find_at(&ANY_METHOD, document, rule.at, message, fix);
        }
        let is_all = |one: &bartizan_model::document::route::RouteMatch| {
            one.path.type_ == PathMatchType::PathPrefix && **one.path.value == *"/"
        };
        if rule.matches.is_empty() || rule.matches.iter().any(|one| is_all(one)) {
            let path = format!("/spec/rules/{at}/matches/0/path");
            let fix = noted(Fix::patch(target, "add", &path, "{ value: /v1 }"), "write the paths of the API");
            let message = format!("rule {number} of {target} publishes every path");
            house.find_at(&CATCH_ALL, document, rule.at, message, fix);
        }
    }
}

fn is_reachable(house: &House<'_>, route: &str) -> bool {
    let serving = house.snapshot.listeners.iter().filter(|one| one.plan.redirect_https_port.is_none());
    serving
        .flat_map(|listener| listener.routes.entries().into_iter().map(move |entry| (listener, entry)))
        .any(|(listener, entry)| {
            *entry.plan.route == *route
                && (listener.plan.hostnames.is_empty()
                    || entry.host.as_ref().is_none_or(|host| {
                        listener.plan.hostnames.iter().any(|pattern| pattern.overlaps(host))
                    }))
        })
}

/// The routes that tests name.
fn tested<'a>(house: &House<'a>) -> BTreeSet<&'a str> {
    let tests = house.of(Kind::PolicyTest).filter_map(|document| match &document.spec {
        Spec::PolicyTest(spec) => Some(&**spec),
        _ => None,
    });
    tests
        .flat_map(|test: &PolicyTestSpec| test.steps.iter())
        .filter_map(|step| step.expect.route.as_ref())
        .map(|route| route.as_str())
        .collect()
}

fn untested(house: &mut House<'_>, document: &Document, target: &str, spec: &RouteSpec) {
    let name = document.name.as_str();
    let path = spec
        .rules
        .iter()
        .flat_map(|rule| &rule.matches)
        .map(|one| one.path.value.as_str())
        .next()
        .unwrap_or("/");
    let yaml = format!(
        "request: {{ url: \"{path}\" }}\nsteps:\n  - {{ identity: {{}}, expect: {{ route: {name}, status: 401 }} }}"
    );
    let fix = noted(Fix::add("PolicyTest", &format!("{name}-is-closed"), &yaml), "and what must get through");
    house.find(&UNTESTED, document, format!("no PolicyTest expects {target}"), fix);
}
