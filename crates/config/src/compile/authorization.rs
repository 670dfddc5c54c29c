//! `Role` and `AuthorizationPolicy` → the tables and rules by which callers are judged.

use std::{collections::HashSet, sync::Arc};

use bartizan_access::{
    Condition, Definition, Effect, Grant, Policy, RoleSet, Roles, Routes, Rule, expression,
};
use bartizan_message::MethodSet;
use bartizan_model::{
    document::{
        Kind, Spec,
        authorization::{AuthorizationPolicySpec, AuthorizationRule, RuleEffect},
        role::RoleGrant,
    },
    problem::{Code, Problem, Problems, Span},
    read::Spanned,
    scalar::{self, Name, RouteScope},
};
use http::Method;

use super::{
    attach::{Scoped, targets},
    index::{Index, spec_of},
    label,
    policy::{AFTER_IDENTIFY, bite, method},
};
use crate::snapshot::{AuthorizationPlan, PathTest, RouteEntry, Segment};

/// 256 rules in one policy: more are roles that have not been written yet.
const RULES_MAX: usize = 256;

/// Compiles all roles.
pub(super) fn roles(index: &Index<'_>, problems: &mut Problems) -> Arc<Roles> {
    let definitions: Vec<Definition> = index
        .of(Kind::Role)
        .filter_map(|document| {
            let spec = spec_of!(document, Role)?;
            let grants = spec.grants.iter().filter_map(|one| grant(index, one, problems)).collect();
            Some(Definition { name: document.name.as_str().into(), grants })
        })
        .collect();
    Arc::new(Roles::new(definitions))
}

fn grant(index: &Index<'_>, grant: &Spanned<RoleGrant>, problems: &mut Problems) -> Option<Grant> {
    let when = condition(grant.when.as_ref(), "spec.grants.when", problems);
    let mut named = Vec::new();
    for route in grant.routes.iter() {
        if let RouteScope::Named(name) = &**route {
            let name = Spanned::new(name.clone(), route.at);
            if index.find(Kind::Route, &name, "spec.grants.routes", problems).is_some() {
                named.push(Arc::from(name.as_str()));
            }
        }
    }
    let every = grant.routes.iter().any(|route| **route == RouteScope::Every);
    Some(Grant {
        routes: if every { Routes::Every } else { Routes::Named(named) },
        methods: methods(&grant.methods),
        when: when?,
    })
}

/// `None` if there is one and it is wrong: a grant without its condition would grant too much.
fn condition(
    text: Option<&Spanned<scalar::Condition>>,
    path: &str,
    problems: &mut Problems,
) -> Option<Option<Condition>> {
    let Some(text) = text else { return Some(None) };
    match expression::compile(text.as_str()) {
        Ok(condition) => Some(Some(condition)),
        Err(wrong) => {
            let message = format!("{} (at character {})", wrong.message, wrong.at + 1);
            let problem = Problem::new(Code::BadCondition, text.at, path, message);
            problems.push(match wrong.hint {
                Some(hint) => problem.hint(hint),
                None => problem,
            });
            None
        }
    }
}

fn methods(methods: &[scalar::Method]) -> MethodSet {
    let methods: Vec<Method> = methods.iter().map(method).collect();
    if methods.is_empty() { MethodSet::ANY } else { MethodSet::of(&methods) }
}

/// Compiles all policies.
pub(super) fn policies<'d>(
    index: &Index<'d>,
    roles: &Arc<Roles>,
    problems: &mut Problems,
) -> Vec<Scoped<'d, AuthorizationPlan>> {
    let mut scoped = Vec::new();
    for document in index.of(Kind::AuthorizationPolicy) {
        let Some(spec) = spec_of!(document, AuthorizationPolicy) else { continue };
        let bite = bite(spec.mode, spec.enforce_percent, spec.on_fault);
        let plan = AuthorizationPlan {
            label: label(Kind::AuthorizationPolicy, document.name.as_str()),
            bite,
            policy: Policy::new(roles.clone(), rules(index, roles, spec, problems)),
        };
        scoped.push(Scoped {
            document,
            plan: Arc::new(plan),
            bite,
            allow_override: false,
            targets: targets(index, &spec.target_refs, AFTER_IDENTIFY, problems),
        });
    }
    scoped
}

fn rules(
    index: &Index<'_>,
    roles: &Roles,
    spec: &AuthorizationPolicySpec,
    problems: &mut Problems,
) -> Vec<Rule> {
    let any = role_set(index, roles, &spec.roles, "spec.roles", problems);
    let all = role_set(index, roles, &spec.all_roles, "spec.allRoles", problems);
    let short = any.is_some() || all.is_some();
    if spec.rules.is_empty() {
        return vec![Rule {
            name: if short { "roles" } else { "granted" }.into(),
            effect: Effect::Allow,
            granted: !short,
            any,
            all: all.unwrap_or_default(),
            methods: MethodSet::ANY,
            when: None,
        }];
    }
    if let (true, Some(first)) = (short, spec.roles.first().or(spec.all_roles.first())) {
        let message = "`roles` and `allRoles` are short for one rule and cannot stand beside `rules`";
        problems.push(
            Problem::new(Code::FieldsClash, first.at, "spec.roles", message).hint("move them into each rule"),
        );
    }
    if let Some(beyond) = spec.rules.get(RULES_MAX) {
        let message = format!("the policy has more than {RULES_MAX} rules");
        problems.push(
            Problem::new(Code::TooLarge, beyond.at, "spec.rules", message)
                .hint("write what callers may do into roles, and let the policy ask for them"),
        );
    }
    let mut seen = HashSet::new();
    for name in spec.rules.iter().filter_map(|rule| rule.name.as_ref()) {
        if !seen.insert(name.as_str()) {
            let message = format!("two rules of the policy are named `{}`", name.as_str());
            problems.push(Problem::new(Code::DuplicateName, name.at, "spec.rules.name", message));
        }
    }
    let rules = spec.rules.iter().enumerate();
    rules.filter_map(|(number, one)| rule(index, roles, number, one, problems)).collect()
}

fn rule(
    index: &Index<'_>,
    roles: &Roles,
    number: usize,
    rule: &AuthorizationRule,
    problems: &mut Problems,
) -> Option<Rule> {
    let any = role_set(index, roles, &rule.roles, "spec.rules.roles", problems);
    let all = role_set(index, roles, &rule.all_roles, "spec.rules.allRoles", problems);
    Some(Rule {
        name: rule_name(number, rule),
        effect: match rule.effect {
            RuleEffect::Allow => Effect::Allow,
            RuleEffect::Deny => Effect::Deny,
        },
        any,
        all: all.unwrap_or_default(),
        granted: rule.granted,
        methods: methods(&rule.methods),
        when: condition(rule.when.as_ref(), "spec.rules.when", problems)?,
    })
}

/// Its name, or its place in the list from 0, as paths count.
fn rule_name(number: usize, rule: &AuthorizationRule) -> Arc<str> {
    match &rule.name {
        Some(name) => name.as_str().into(),
        None => format!("[{number}]").into(),
    }
}

/// The roles of these names; `None` where none are written. Unknown ones are reported, and ask for what nobody has.
fn role_set(
    index: &Index<'_>,
    roles: &Roles,
    names: &[Spanned<Name>],
    path: &str,
    problems: &mut Problems,
) -> Option<RoleSet> {
    for name in names {
        index.find(Kind::Role, name, path, problems);
    }
    (!names.is_empty()).then(|| roles.set_of(names.iter().map(|name| name.as_str())))
}

/// Reports roles of consumers that are none. A set that defines no role uses them as words for upstreams only.
pub(super) fn check_consumers(index: &Index<'_>, problems: &mut Problems) {
    if index.of(Kind::Role).next().is_none() {
        return;
    }
    for document in index.of(Kind::Consumer) {
        let Some(spec) = spec_of!(document, Consumer) else { continue };
        for role in &spec.roles {
            index.find(Kind::Role, role, "spec.roles", problems);
        }
        for role in spec.certificates.iter().flat_map(|certificate| &certificate.roles) {
            index.find(Kind::Role, role, "spec.certificates.roles", problems);
        }
    }
    for document in index.of(Kind::AuthenticationPolicy) {
        let Some(spec) = spec_of!(document, AuthenticationPolicy) else { continue };
        for role in spec.methods.iter().flat_map(|method| method.certificate_roles()) {
            index.find(Kind::Role, role, "spec.methods.clientCertificate.roles", problems);
        }
    }
}

/// Warns of roles that nobody has and nothing asks for.
pub(super) fn check_unused(index: &Index<'_>, problems: &mut Problems) {
    // Tokens may bring any role.
    if index.of(Kind::AuthenticationPolicy).any(|document| {
        spec_of!(document, AuthenticationPolicy)
            .is_some_and(|spec| spec.methods.iter().any(|one| one.maps_roles()))
    }) {
        return;
    }
    let mut used: HashSet<&str> = HashSet::new();
    for document in index.of(Kind::Consumer) {
        let Some(spec) = spec_of!(document, Consumer) else { continue };
        let of_certificates = spec.certificates.iter().flat_map(|certificate| &certificate.roles);
        used.extend(spec.roles.iter().chain(of_certificates).map(|role| role.as_str()));
    }
    for document in index.of(Kind::AuthenticationPolicy) {
        let Some(spec) = spec_of!(document, AuthenticationPolicy) else { continue };
        used.extend(
            spec.methods.iter().flat_map(|method| method.certificate_roles()).map(|role| role.as_str()),
        );
    }
    for document in index.of(Kind::AuthorizationPolicy) {
        let Some(spec) = spec_of!(document, AuthorizationPolicy) else { continue };
        let of_rules = spec.rules.iter().flat_map(|rule| rule.roles.iter().chain(rule.all_roles.iter()));
        let names = spec.roles.iter().chain(spec.all_roles.iter()).chain(of_rules);
        used.extend(names.map(|name| name.as_str()));
    }
    for document in index.of(Kind::Role).filter(|document| !used.contains(document.name.as_str())) {
        let message = format!("no Consumer has Role/{0}, and no policy asks for it", document.name.as_str());
        problems.push(
            Problem::new(Code::RoleUnused, document.name.at, "metadata.name", message)
                .warning()
                .hint("give it to a Consumer by its `roles`, or delete it"),
        );
    }
}

// === Variables of the path ===

/// A condition that needs variables of the path, and where it stands.
struct Needing<'c> {
    condition: &'c Condition,
    methods: MethodSet,
    at: Span,
    path: &'static str,
}

/// Reports conditions that need a variable of the path which a way to their route does not have: they could never be
/// decided there, and every request would be refused for it.
pub(super) fn check_variables(
    index: &Index<'_>,
    roles: &Roles,
    policies: &[Scoped<'_, AuthorizationPlan>],
    entries: &[(usize, RouteEntry)],
    problems: &mut Problems,
) {
    for policy in policies {
        let Some(spec) = spec_of!(policy.document, AuthorizationPolicy) else { continue };
        let concerned = |entry: &RouteEntry| {
            entry.plan.authorization.iter().any(|plan| Arc::ptr_eq(plan, &policy.plan))
                || policy.targets.iter().any(|target| target.is_consumer())
        };
        for needing in of_rules(spec, &policy.plan) {
            report_absent(&needing, entries, concerned, problems);
        }
    }
    for definition in roles.definitions() {
        let document = index.of(Kind::Role).find(|document| document.name.as_str() == &*definition.name);
        let Some(spec) = document.and_then(|document| spec_of!(document, Role)) else { continue };
        // Where a grant could not be compiled the two lists do not correspond, and the set is refused anyhow.
        let corresponding = definition.grants.len() == spec.grants.len();
        for (grant, written) in definition.grants.iter().zip(&spec.grants).filter(|_| corresponding) {
            let Some((condition, at)) = grant.when.as_ref().zip(written.when.as_ref()) else { continue };
            let needing = Needing { condition, methods: grant.methods, at: at.at, path: "spec.grants.when" };
            let concerned = |entry: &RouteEntry| match &grant.routes {
                Routes::Every => !entry.plan.authorization.is_empty(),
                Routes::Named(routes) => routes.contains(&entry.plan.route),
            };
            report_absent(&needing, entries, concerned, problems);
        }
    }
}

fn of_rules<'c>(spec: &AuthorizationPolicySpec, plan: &'c AuthorizationPlan) -> Vec<Needing<'c>> {
    let place = |name: &str| {
        let mut rules = spec.rules.iter().enumerate();
        rules
            .find(|(number, rule)| *rule_name(*number, rule) == *name)
            .and_then(|(_, rule)| rule.when.as_ref())
    };
    let rules = plan.policy.rules().filter_map(|rule| Some((rule, rule.when.as_ref()?, place(&rule.name)?)));
    rules
        .map(|(rule, condition, text)| Needing {
            condition,
            methods: rule.methods,
            at: text.at,
            path: "spec.rules.when",
        })
        .collect()
}

fn report_absent(
    needing: &Needing<'_>,
    entries: &[(usize, RouteEntry)],
    concerned: impl Fn(&RouteEntry) -> bool,
    problems: &mut Problems,
) {
    let entries = || {
        let entries = entries.iter().map(|(_, entry)| entry);
        entries.filter(|entry| entry.methods.overlaps(needing.methods) && concerned(entry))
    };
    for variable in needing.condition.variables() {
        if let Some(entry) = entries().find(|entry| !has_variable(&entry.path, variable)) {
            let message = format!("a path of Route/{} has no variable `{variable}`", entry.plan.label);
            problems
                .push(Problem::new(Code::VariableAbsent, needing.at, needing.path, message).hint(format!(
                "write the path as `type: Template` with `{{{variable}}}`, or ask `has(path.{variable}) && …`"
            )));
        }
    }
}

fn has_variable(path: &PathTest, name: &str) -> bool {
    match path {
        PathTest::Template(segments) => {
            segments.iter().any(|one| matches!(one, Segment::Variable(known) if **known == *name))
        }
        PathTest::Exact(_) | PathTest::Prefix(_) | PathTest::Matches(_) => false,
    }
}
