//! What policies say, and what must hold of every one of them.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::{borrow::Cow, collections::BTreeSet, net::Ipv4Addr, sync::Arc};

use bartizan_access::{
    Asked, Condition, Definition, Effect, Grant, Ground, Outlook, Policy, Prospect, Refused, RoleSet, Roles,
    Routes, Rule, Subject, Variables, Verdict, expression::compile,
};
use bartizan_message::MethodSet;
use http::{HeaderMap, Method};
use proptest::prelude::*;

struct Customer;

impl Variables for Customer {
    fn get(&self, name: &str) -> Option<Cow<'_, str>> {
        (name == "customer").then_some(Cow::Borrowed("ada"))
    }
}

fn when(text: &str) -> Option<Condition> {
    (!text.is_empty()).then(|| compile(text).unwrap())
}

fn grant(routes: &[&str], methods: &[Method], condition: &str) -> Grant {
    let routes = match routes {
        ["*"] => Routes::Every,
        names => Routes::Named(names.iter().map(|name| Arc::from(*name)).collect()),
    };
    let methods = if methods.is_empty() { MethodSet::ANY } else { MethodSet::of(methods) };
    Grant { routes, methods, when: when(condition) }
}

fn role(name: &str, grants: Vec<Grant>) -> Definition {
    Definition { name: name.into(), grants }
}

fn roles() -> Arc<Roles> {
    Arc::new(Roles::new([
        role("reader", vec![grant(&["orders", "reports"], &[Method::GET, Method::HEAD], "")]),
        role("writer", vec![grant(&["orders"], &[Method::PUT], ""), grant(&["orders"], &[Method::POST], "")]),
        role("customer", vec![grant(&["orders"], &[Method::GET], "path.customer == identity.sub")]),
        role("broken", vec![grant(&["orders"], &[], "path.absent == identity.sub")]),
        role("root", vec![grant(&["*"], &[], "")]),
        role("word", vec![]),
    ]))
}

/// A rule that asks for nothing.
fn rule(name: &str, effect: Effect) -> Rule {
    Rule {
        name: name.into(),
        effect,
        any: None,
        all: RoleSet::default(),
        granted: false,
        methods: MethodSet::ANY,
        when: None,
    }
}

fn granted() -> Rule {
    Rule { granted: true, ..rule("granted", Effect::Allow) }
}

/// `allow`, `deny by RULE`, `nothing` or `fault`.
fn said(policy: &Policy, names: &[&str], sub: &str, route: &str, method: &Method) -> String {
    let held: Vec<Arc<str>> = names.iter().map(|name| Arc::from(*name)).collect();
    let set = policy.roles().set_of(names.iter().copied());
    let who = Subject {
        consumer: Some(sub),
        sub: Some(sub),
        roles: &set,
        role_names: &held,
        tags: &[],
        method: "api_key",
        claims: None,
    };
    let headers = HeaderMap::new();
    let asked = Asked {
        route,
        method,
        path: "/customers/ada/orders",
        host: "api.example.com",
        headers: &headers,
        query: Some("id=1&id=2"),
        variables: &Customer,
        client: Ipv4Addr::LOCALHOST.into(),
    };
    match policy.allows(&who, &asked, 0) {
        Ok(Verdict::Allowed(Ground { rule, role })) => format!("{rule} {}", role.as_deref().unwrap_or("-")),
        Ok(Verdict::Denied(Refused::ByRule(ground))) => format!("deny by {}", ground.rule),
        Ok(Verdict::Denied(Refused::NothingAllows)) => "nothing".to_owned(),
        Err(_) => "fault".to_owned(),
    }
}

#[test]
fn a_role_permits_what_its_grants_name_and_nothing_else() {
    let policy = Policy::new(roles(), [granted()]);
    let (get, put, post, delete) = (&Method::GET, &Method::PUT, &Method::POST, &Method::DELETE);
    for (names, sub, route, method, expected) in [
        (&["reader"][..], "x", "orders", get, "granted reader"),
        (&["reader"], "x", "reports", &Method::HEAD, "granted reader"),
        (&["reader"], "x", "orders", put, "nothing"),
        (&["reader"], "x", "other", get, "nothing"),
        (&["writer"], "x", "orders", put, "granted writer"),
        (&["writer"], "x", "orders", post, "granted writer"),
        (&["writer"], "x", "orders", get, "nothing"),
        (&["writer"], "x", "reports", put, "nothing"),
        (&["customer"], "ada", "orders", get, "granted customer"),
        (&["customer"], "eve", "orders", get, "nothing"),
        (&["customer"], "ada", "orders", put, "nothing"),
        (&["root"], "x", "whatever", delete, "granted root"),
        (&["word"], "x", "orders", get, "nothing"),
        (&["unknown"], "x", "orders", get, "nothing"),
        (&[], "x", "orders", get, "nothing"),
        // What one role cannot decide another can.
        (&["broken"], "x", "orders", get, "fault"),
        (&["broken"], "x", "reports", get, "nothing"),
        (&["broken", "reader"], "x", "orders", get, "granted reader"),
        (&["broken", "customer"], "ada", "orders", get, "granted customer"),
        (&["broken", "customer"], "eve", "orders", get, "fault"),
    ] {
        assert_eq!(said(&policy, names, sub, route, method), expected, "{names:?} {sub} {route} {method}");
    }
}

#[test]
fn a_rule_applies_if_everything_holds_that_it_asks_for() {
    let roles = roles();
    let set = |names: &[&str]| roles.set_of(names.iter().copied());
    let full = Rule {
        any: Some(set(&["reader", "writer"])),
        all: set(&["word"]),
        granted: true,
        methods: MethodSet::of(&[Method::GET, Method::PUT]),
        when: when("identity.sub == 'ada'"),
        ..rule("full", Effect::Allow)
    };
    let policy = Policy::new(roles, [full]);
    for (names, sub, method, expected) in [
        (&["reader", "word"][..], "ada", Method::GET, "full reader"),
        (&["writer", "word"], "ada", Method::PUT, "full writer"),
        (&["reader", "word"], "eve", Method::GET, "nothing"),
        (&["reader"], "ada", Method::GET, "nothing"),
        (&["word"], "ada", Method::GET, "nothing"),
        (&["reader", "word"], "ada", Method::HEAD, "nothing"),
        (&["reader", "word"], "ada", Method::PUT, "nothing"),
        (&["reader", "word", "root"], "ada", Method::PUT, "full reader"),
    ] {
        assert_eq!(said(&policy, names, sub, "orders", &method), expected, "{names:?} {sub} {method}");
    }
}

#[test]
fn what_denies_wins_and_what_is_open_is_no_yes() {
    let (yes, no, open) = ("true", "false", "only(request.query.id) == '1'");
    for (allow, deny, expected) in [
        (&[][..], &[][..], "nothing"),
        (&[yes], &[], "a -"),
        (&[no], &[], "nothing"),
        (&[open], &[], "fault"),
        (&[no, open, yes], &[], "a -"),
        (&[yes], &[yes], "deny by d"),
        (&[yes], &[no], "a -"),
        (&[yes], &[open], "fault"),
        (&[yes], &[open, yes], "deny by d"),
        (&[no], &[open], "nothing"),
        (&[], &[open], "nothing"),
        (&[open], &[open], "fault"),
        (&[open], &[yes], "deny by d"),
    ] {
        let allow = allow.iter().map(|text| Rule { when: when(text), ..rule("a", Effect::Allow) });
        let deny = deny.iter().map(|text| Rule { when: when(text), ..rule("d", Effect::Deny) });
        let policy = Policy::new(roles(), allow.chain(deny));
        assert_eq!(said(&policy, &[], "ada", "orders", &Method::GET), expected, "{policy:?}");
    }
}

#[test]
fn a_rule_that_does_not_apply_anyhow_needs_no_grant_to_be_decided() {
    let deny = Rule { granted: true, when: when("false"), ..rule("d", Effect::Deny) };
    let policy = Policy::new(roles(), [rule("a", Effect::Allow), deny]);
    assert_eq!(said(&policy, &["broken"], "ada", "orders", &Method::GET), "a -");
}

#[test]
fn a_caller_with_too_many_conditions_is_not_decided() {
    let conditional = |n: u32| role(&format!("r{n:04}"), vec![grant(&["orders"], &[], "false")]);
    for (count, expected) in [(256, "nothing"), (257, "fault")] {
        let roles = Arc::new(Roles::new((0..count).map(conditional)));
        let names: Vec<Arc<str>> = roles.definitions().iter().map(|role| role.name.clone()).collect();
        let names: Vec<&str> = names.iter().map(|name| &**name).collect();
        let policy = Policy::new(roles, [granted()]);
        assert_eq!(said(&policy, &names, "ada", "orders", &Method::GET), expected, "{count}");
    }
}

#[test]
fn of_two_definitions_with_one_name_the_first_counts() {
    let roles = Roles::new([role("a", vec![]), role("a", vec![grant(&["*"], &[], "")])]);
    let policy = Policy::new(Arc::new(roles), [granted()]);
    assert_eq!(said(&policy, &["a"], "x", "orders", &Method::GET), "nothing");
}

#[test]
fn the_outlook_lists_what_hangs_on_a_condition() {
    let outlook = |rules: Vec<Rule>, names: &[&str]| {
        let policy = Policy::new(roles(), rules);
        let set = policy.roles().set_of(names.iter().copied());
        policy.outlook(&Prospect { roles: &set, route: "orders", method: &Method::GET, known: &|_| None })
    };
    let night = || Rule { when: when("now.getHours() < 6"), ..rule("night", Effect::Deny) };
    let by = |rule: &str, role: Option<&str>| Ground { rule: rule.into(), role: role.map(Arc::from) };
    assert_eq!(outlook(vec![granted()], &["reader"]), Outlook::Allowed(by("granted", Some("reader"))));
    assert_eq!(outlook(vec![granted()], &["word"]), Outlook::Denied(None));
    assert_eq!(
        outlook(vec![granted(), rule("closed", Effect::Deny)], &["reader"]),
        Outlook::Denied(Some(by("closed", None)))
    );
    let Outlook::Depends { allow, deny } = outlook(vec![granted(), night()], &["reader", "customer"]) else {
        panic!("decided");
    };
    assert_eq!((allow.len(), &allow[0].ground), (1, &by("granted", Some("reader"))));
    assert_eq!(&*deny[0].when[0], "now.getHours() < 6");
    let Outlook::Depends { allow, deny } = outlook(vec![granted()], &["customer", "broken"]) else {
        panic!("decided");
    };
    assert_eq!((allow.len(), deny.len()), (2, 0));
    assert_eq!(allow[0].ground, by("granted", Some("broken")));
    assert_eq!(&*allow[1].when[0], "path.customer == identity.sub");
}

#[test]
fn the_outlook_hangs_on_no_condition_that_is_known() {
    let policy = Policy::new(roles(), [granted()]);
    let set = policy.roles().set_of(["customer"]);
    let outlook = |answer| {
        policy.outlook(&Prospect { roles: &set, route: "orders", method: &Method::GET, known: &|_| answer })
    };
    assert!(matches!(outlook(Some(true)), Outlook::Allowed(_)));
    assert_eq!(outlook(Some(false)), Outlook::Denied(None));
    assert!(matches!(outlook(None), Outlook::Depends { .. }));
}

// === Of every policy ===

const NAMES: [&str; 6] = ["reader", "writer", "customer", "broken", "root", "word"];
const CONDITIONS: [&str; 6] = [
    "",
    "true",
    "false",
    "path.customer == identity.sub",
    "path.absent == ''",
    "only(request.query.id) == '1'",
];

/// Roles, all roles, granted, methods, condition.
type Parts = (BTreeSet<usize>, BTreeSet<usize>, bool, bool, usize);

fn parts() -> impl Strategy<Value = Parts> {
    let few = || prop::collection::btree_set(0..NAMES.len(), 0..3);
    (few(), few(), any::<bool>(), any::<bool>(), 0..CONDITIONS.len())
}

fn built(roles: &Roles, effect: Effect, (any, all, granted, get, condition): &Parts) -> Rule {
    let set = |ids: &BTreeSet<usize>| roles.set_of(ids.iter().map(|at| NAMES[*at]));
    Rule {
        any: (!any.is_empty()).then(|| set(any)),
        all: set(all),
        granted: *granted,
        methods: if *get { MethodSet::of(&[Method::GET]) } else { MethodSet::ANY },
        when: when(CONDITIONS[*condition]),
        ..rule("r", effect)
    }
}

/// How much passes: a denial nothing, a fault what `onFault` lets pass, a yes all.
fn openness(said: &str) -> u8 {
    match said {
        "nothing" => 0,
        "fault" => 1,
        said if said.starts_with("deny") => 0,
        _ => 2,
    }
}

proptest! {
    #[test]
    fn no_rule_that_denies_lets_more_pass(
        allow in prop::collection::vec(parts(), 0..3),
        deny in prop::collection::vec(parts(), 0..3),
        more in parts(),
        held in prop::collection::btree_set(0..NAMES.len(), 0..4),
        ada in any::<bool>(),
        get in any::<bool>(),
    ) {
        let roles = roles();
        let rules = || {
            let allow = allow.iter().map(|parts| built(&roles, Effect::Allow, parts));
            allow.chain(deny.iter().map(|parts| built(&roles, Effect::Deny, parts))).collect::<Vec<_>>()
        };
        let names: Vec<&str> = held.iter().map(|at| NAMES[*at]).collect();
        let (sub, method) = (if ada { "ada" } else { "eve" }, if get { Method::GET } else { Method::PUT });
        let say = |rules: Vec<Rule>| said(&Policy::new(roles.clone(), rules), &names, sub, "orders", &method);
        let before = say(rules());
        let with = |rule: Rule| say(rules().into_iter().chain([rule]).collect());
        prop_assert!(openness(&with(built(&roles, Effect::Deny, &more))) <= openness(&before));
        prop_assert!(openness(&with(built(&roles, Effect::Allow, &more))) >= openness(&before));
        // Denied by default: without a rule that allows, nobody passes, whatever cannot be decided.
        let only_deny = deny.iter().map(|parts| built(&roles, Effect::Deny, parts)).collect();
        prop_assert_eq!(openness(&say(only_deny)), 0);
        // The outlook never says less or more for certain than the judge.
        let policy = Policy::new(roles.clone(), rules());
        let set = roles.set_of(names.iter().copied());
        match policy.outlook(&Prospect { roles: &set, route: "orders", method: &method, known: &|_| None }) {
            Outlook::Allowed(_) => prop_assert_eq!(openness(&before), 2),
            Outlook::Denied(_) => prop_assert_eq!(openness(&before), 0),
            Outlook::Depends { .. } => {}
        }
    }
}
