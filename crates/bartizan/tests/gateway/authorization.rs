//! Roles and policies: denied by default, every value judged, shadows that change nothing, faults that are closed.

use bartizan_testkit::Origin;

use crate::harness::{API_KEYS, Gate, WEB, document, key, upstream};

/// Customers by template and reports by prefix, both behind keys; ada is a customer, sam is support.
fn documents(url: &str, policies: &[String]) -> String {
    let rule = |path: &str| {
        format!("{{ rules: [{{ matches: [{{ path: {path} }}], backendRefs: [{{ name: origin }}] }}] }}")
    };
    let parts = [
        WEB.to_owned(),
        API_KEYS.to_owned(),
        upstream("origin", &[url]),
        document("Route", "customers", &rule("{ type: Template, value: \"/customers/{customer}/orders\" }")),
        document("Route", "reports", &rule("{ value: /reports }")),
        document(
            "Role",
            "customer",
            "{ grants: [{ routes: customers, methods: [GET], when: path.customer == identity.sub }] }",
        ),
        document("Role", "support", "{ grants: [{ routes: [customers, reports], methods: [GET, HEAD] }] }"),
        document("Consumer", "ada", "{ roles: [customer] }"),
        document("Consumer", "sam", "{ roles: [support] }"),
    ];
    parts.into_iter().chain(policies.iter().cloned()).collect::<Vec<_>>().join("---\n")
}

/// A gateway with a key of ada and one of sam.
fn gate(origin: &Origin, policies: &[String]) -> (Gate, String, String) {
    let mut keys = Vec::new();
    let gate = Gate::start_with(
        &documents(&origin.url(), policies),
        |data| keys.extend(["ada", "sam"].map(|name| key(data, name, None))),
        &[],
    );
    let sam = keys.pop().unwrap();
    (gate, keys.pop().unwrap(), sam)
}

fn policy(name: &str, spec: &str) -> String {
    document("AuthorizationPolicy", name, spec)
}

#[test]
fn where_a_policy_stands_all_is_denied_that_no_role_permits() {
    let origin = Origin::answering("ok");
    let (gate, ada, sam) = gate(&origin, &[policy("by-role", "{}")]);
    for (who, method, target, expected) in [
        (&ada, "GET", "/customers/ada/orders", 200),
        (&ada, "GET", "/customers/%61da/orders", 200),
        (&ada, "GET", "/customers/eve/orders", 403),
        (&ada, "GET", "/customers/ADA/orders", 403),
        (&ada, "HEAD", "/customers/ada/orders", 403),
        (&ada, "PUT", "/customers/ada/orders", 403),
        (&ada, "GET", "/reports", 403),
        (&ada, "GET", "/reports/7", 403),
        (&sam, "GET", "/customers/ada/orders", 200),
        (&sam, "HEAD", "/reports", 200),
        (&sam, "DELETE", "/reports", 403),
        (&sam, "OPTIONS", "/reports", 403),
    ] {
        let answer = gate.client().call(method, target, &[("x-api-key", who.as_str())], "");
        assert_eq!(answer.status, expected, "{method} {target}");
        assert_eq!(origin.take().len(), usize::from(expected == 200), "{method} {target}");
    }
    // Without a key nobody is asked what they may.
    assert_eq!(gate.get("/reports", &[]).status, 401);
}

#[test]
fn a_refusal_is_recorded_with_policy_and_rule_and_tells_the_caller_neither() {
    let origin = Origin::answering("ok");
    let rules = "{ rules: [{ name: everybody }, { name: no-support, effect: Deny, roles: support }] }";
    let (gate, ada, sam) = gate(&origin, &[policy("staff", rules)]);
    let allowed = gate.get("/reports", &[("x-api-key", &ada)]);
    assert_eq!(allowed.status, 200);
    assert_eq!(origin.take_one().header("x-consumer-roles"), Some("customer"));
    let answer = gate.get("/reports", &[("x-api-key", &sam)]);
    assert_eq!(answer.status, 403);
    assert_eq!(answer.json()["code"], "NotAllowed");
    for word in ["staff", "no-support", "role"] {
        assert!(!answer.text().contains(word), "{}", answer.text());
    }
    let record = gate.record_of(&answer);
    assert_eq!(record["stage"], "authorize", "{record}");
    assert_eq!(record["policy"], "AuthorizationPolicy/staff", "{record}");
    assert_eq!(record["detail"], "denied by rule no-support by role support", "{record}");
}

#[test]
fn every_value_that_a_caller_sent_is_judged() {
    let origin = Origin::answering("ok");
    let rules = "{ rules: [{ name: own, when: \"only(request.query.id) == identity.sub && \
                 request.headers['x-tenant'].all(tenant, tenant == 'a')\" }] }";
    let (gate, ada, _) = gate(&origin, &[policy("own", rules)]);
    let ask = |query: &str, tenants: &[&str]| {
        let mut headers = vec![("x-api-key", ada.as_str())];
        headers.extend(tenants.iter().map(|tenant| ("x-tenant", *tenant)));
        gate.get(&format!("/reports?{query}"), &headers).status
    };
    assert_eq!(ask("id=ada", &["a"]), 200);
    assert_eq!(ask("id=eve", &["a"]), 403);
    assert_eq!(ask("id=ada;id=eve", &["a"]), 403);
    assert_eq!(ask("id=ada", &["b"]), 403);
    assert_eq!(ask("id=ada", &["a", "b"]), 403);
    assert_eq!(ask("id=ada", &["b", "a"]), 403);
    // Twice, absent or unreadable: which value the origin would take is not known.
    for query in ["id=ada&id=eve", "id=ada&id=ada", "id=ada&%69d=eve", "", "ID=ada", "id=ada&x%=1"] {
        assert_eq!(ask(query, &["a"]), 503, "{query}");
    }
    assert_eq!(ask("id=ada", &[]), 503);
    assert_eq!(origin.take().len(), 1);
}

#[test]
fn what_cannot_be_decided_follows_on_fault_and_is_counted() {
    let origin = Origin::answering("ok");
    let rule = "rules: [{ name: own, when: only(request.query.id) == identity.sub }]";
    for (on_fault, status) in [("deny", 503), ("allow", 200)] {
        let policies = [policy("own", &format!("{{ {rule}, onFault: {on_fault} }}"))];
        let (gate, ada, _) = gate(&origin, &policies);
        let answer = gate.get("/reports?id=ada&id=s3cret", &[("x-api-key", &ada)]);
        assert_eq!(answer.status, status, "{on_fault}");
        let record = gate.record_of(&answer);
        assert!(record.to_string().contains("rule own: only() found 2 values"), "{record}");
        assert!(!record.to_string().contains("s3cret"), "{record}");
        let series = format!(
            "bartizan_policy_faults_total{{policy=\"AuthorizationPolicy/own\",on_fault=\"{on_fault}\"}}"
        );
        gate.wait_for_metric(&series, 1.0);
        // A decision is carried out whatever `onFault` says.
        assert_eq!(gate.get("/reports?id=eve", &[("x-api-key", &ada)]).status, 403, "{on_fault}");
    }
}

#[test]
fn a_policy_in_shadow_is_judged_also_behind_one_that_denied() {
    let origin = Origin::answering("ok");
    let policies = [
        policy("a-enforced", "{ targetRefs: [{ kind: Route, name: reports }], roles: support }"),
        policy("b-shadow", "{ rules: [{ name: never, when: 'false' }], mode: shadow }"),
        policy("c-open", "{ rules: [{ name: open, when: only(request.query.id) == '1' }], mode: shadow }"),
    ];
    let (gate, ada, sam) = gate(&origin, &policies);
    for (who, target, status) in
        [(&ada, "/reports", 403), (&sam, "/reports", 200), (&ada, "/customers/ada/orders", 200)]
    {
        let answer = gate.get(target, &[("x-api-key", who.as_str())]);
        assert_eq!(answer.status, status, "{target}");
        let record = gate.record_of(&answer);
        let would: Vec<(&str, &str)> = record["would_deny"]
            .as_array()
            .unwrap()
            .iter()
            .map(|would| (would["policy"].as_str().unwrap(), would["reason"].as_str().unwrap()))
            .collect();
        assert_eq!(
            would,
            [
                ("AuthorizationPolicy/b-shadow", "NotAllowed"),
                ("AuthorizationPolicy/c-open", "JudgeUnavailable")
            ],
            "{record}"
        );
    }
}

#[test]
fn every_policy_must_allow_so_a_narrower_one_cannot_loosen() {
    let origin = Origin::answering("ok");
    let policies = [
        policy("wide", "{ roles: support }"),
        policy("narrow", "{ targetRefs: [{ kind: Route, name: reports }], rules: [{}] }"),
        policy("of-sam", "{ targetRefs: [{ kind: Consumer, name: sam }], rules: [{ methods: [GET] }] }"),
    ];
    let (gate, ada, sam) = gate(&origin, &policies);
    let ask =
        |who: &str, method: &str| gate.client().call(method, "/reports", &[("x-api-key", who)], "").status;
    assert_eq!(ask(&ada, "GET"), 403);
    assert_eq!(ask(&sam, "GET"), 200);
    assert_eq!(ask(&sam, "PUT"), 403);
}
