//! What a judgement costs. Ignored: it prints times, and times belong to a quiet machine and an optimised build.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking")]

use std::{hint::black_box, net::Ipv4Addr, sync::Arc, time::Instant};

use bartizan_access::{
    Asked, Definition, Effect, Grant, NoVariables, Policy, RoleSet, Roles, Routes, Rule, Subject, Verdict,
    expression::compile,
};
use bartizan_message::MethodSet;
use http::{HeaderMap, Method};

const ROLES: usize = 10_000;

fn rule(granted: bool, when: Option<&str>) -> Rule {
    Rule {
        name: "r".into(),
        effect: Effect::Allow,
        any: None,
        all: RoleSet::default(),
        granted,
        methods: MethodSet::ANY,
        when: when.map(|text| compile(text).unwrap()),
    }
}

/// Ten thousand roles, each on ten of a thousand routes.
fn roles() -> Arc<Roles> {
    Arc::new(Roles::new((0..ROLES).map(|role| Definition {
        name: format!("role-{role:05}").into(),
        grants: vec![Grant {
            routes: Routes::Named((0..10).map(|n| format!("route-{}", (role + n) % 1_000).into()).collect()),
            methods: MethodSet::of(&[Method::GET]),
            when: None,
        }],
    })))
}

fn measure(what: &str, policy: &Policy, who: &Subject<'_>, route: &str, allowed: bool) {
    let mut headers = HeaderMap::new();
    headers.insert("x-tenant", "a".parse().unwrap());
    let asked = Asked {
        route,
        method: &Method::GET,
        path: "/customers/ada/orders",
        host: "api.example.com",
        headers: &headers,
        query: Some("page=2&id=ada"),
        variables: &NoVariables,
        client: Ipv4Addr::LOCALHOST.into(),
    };
    let verdict = policy.allows(who, &asked, 0).unwrap();
    assert_eq!(matches!(verdict, Verdict::Allowed(_)), allowed, "{what}: {verdict:?}");
    let rounds = 200_000;
    let begun = Instant::now();
    for _ in 0..rounds {
        let _ = black_box(policy.allows(black_box(who), black_box(&asked), 0));
    }
    println!("{what}: {} ns", begun.elapsed().as_nanos() / rounds);
}

#[test]
#[ignore = "prints times; run it by name in an optimised build"]
fn what_a_judgement_costs() {
    let roles = roles();
    let one = roles.set_of(["role-04711"]);
    let all: RoleSet = roles.definitions().iter().filter_map(|role| roles.id(&role.name)).collect();
    let who = |roles| Subject {
        consumer: Some("ada"),
        sub: Some("ada"),
        roles,
        role_names: &[],
        tags: &[],
        method: "api_key",
        claims: None,
    };
    let by_grant = Policy::new(roles.clone(), [rule(true, None)]);
    measure("one of 10,000 roles, granted", &by_grant, &who(&one), "route-715", true);
    measure("one of 10,000 roles, not granted", &by_grant, &who(&one), "route-3", false);
    measure("all 10,000 roles, granted", &by_grant, &who(&all), "route-715", true);
    measure("all 10,000 roles, not granted", &by_grant, &who(&all), "no-such-route", false);
    let wide = Policy::new(roles.clone(), [Rule { any: Some(all.clone()), ..rule(false, None) }]);
    measure("a rule for all 10,000 roles", &wide, &who(&one), "route-715", true);
    for text in [
        "request.path == '/customers/ada/orders'",
        "only(request.query.id) == identity.sub",
        "request.headers['x-tenant'].all(t, t in ['a', 'b'])",
        "request.path.matches('^/customers/[a-z]+/orders$') && client.address.inCidr('127.0.0.0/8')",
        "now.getDayOfWeek() in [1, 2, 3, 4, 5] || identity.sub == 'ada'",
    ] {
        measure(text, &Policy::new(roles.clone(), [rule(false, Some(text))]), &who(&one), "route-715", true);
    }
}
