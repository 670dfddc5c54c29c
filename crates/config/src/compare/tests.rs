//! Two sets side by side, and what is said of them.

use super::*;
use crate::source::Sources;

const LISTENER: &str = "kind: Listener\nmetadata: { name: web }\nspec: { addresses: [\"127.0.0.1:0\"] }";
const UPSTREAM: &str =
    "kind: Upstream\nmetadata: { name: up }\nspec: { endpoints: [{ url: \"https://up.example:1\" }] }";
const ROUTE: &str = "kind: Route\nmetadata: { name: orders }\nspec: { rules: [{ matches: [{ path: { value: /orders } }], backendRefs: [{ name: up }] }] }";
const KEYS: &str =
    "kind: AuthenticationPolicy\nmetadata: { name: keys }\nspec: { methods: [{ type: ApiKey }] }";
const LIMIT: &str =
    "kind: RateLimitPolicy\nmetadata: { name: fair }\nspec: { limits: { requests: 100, timeWindow: 1m } }";
const ROLE: &str = "kind: Role\nmetadata: { name: clerk }\nspec: { grants: [{ routes: orders }] }";
const MAY: &str = "kind: AuthorizationPolicy\nmetadata: { name: may }\nspec: {}";
const SHOP: &str =
    "kind: Consumer\nmetadata: { name: shop }\nspec: { roles: [clerk], allowedAddresses: [10.0.0.0/8] }";

fn set(documents: &[&str]) -> Set {
    let text: Vec<String> =
        documents.iter().map(|one| format!("apiVersion: management.v1\n{one}\n")).collect();
    let set = Set::from_sources(Sources::from_texts([("set.yaml", text.join("---\n"))]));
    let problems: Vec<_> = set.compiled.problems.iter().map(|problem| problem.message.clone()).collect();
    assert!(set.compiled.snapshot.is_some(), "{problems:?}");
    set
}

fn base() -> Vec<&'static str> {
    vec![LISTENER, UPSTREAM, ROUTE, KEYS, LIMIT, ROLE, MAY, SHOP]
}

/// The base set with a document replaced, or taken out where the new one is empty.
fn with(old: &str, new: &str) -> Comparison {
    let documents: Vec<String> = base()
        .iter()
        .map(|one| if *one == old { new.to_owned() } else { (*one).to_owned() })
        .filter(|one| !one.is_empty())
        .collect();
    let after = set(&documents.iter().map(String::as_str).collect::<Vec<_>>());
    let before = set(&base());
    compare(Side::of(&before), Side::of(&after).unwrap())
}

fn changed(old: &str, from: &str, to: &str) -> Comparison {
    assert!(old.contains(from), "{from} in {old}");
    with(old, &old.replace(from, to))
}

fn found(comparison: &Comparison) -> Vec<(Direction, Weight, &'static str)> {
    comparison.findings.iter().map(|finding| (finding.direction, finding.weight, finding.code)).collect()
}

#[test]
fn equal_sets_and_written_out_defaults_differ_in_nothing() {
    assert!(with("", "").is_empty());
    let same = changed(
        LIMIT,
        "spec: {",
        "spec: { mode: enforce, onFault: deny, key: [consumer], enforcePercent: 100,",
    );
    assert!(same.is_empty(), "{same:?}");
}

#[test]
fn a_changed_field_is_told_with_its_path_its_values_and_its_place() {
    let comparison = changed(LIMIT, "requests: 100", "requests: 200");
    assert_eq!(comparison.counts(), [0, 1, 0]);
    let document = &comparison.documents[0];
    assert_eq!(
        (&*document.kind, &*document.name, document.change),
        ("RateLimitPolicy", "fair", Change::Changed)
    );
    let field = &document.fields[0];
    assert_eq!(
        (&*field.path, &field.before, &field.after),
        ("spec.limits[0].requests", &Some(100.into()), &Some(200.into()))
    );
    let place = field.place.as_ref().unwrap();
    assert_eq!((&*place.file, place.line), ("set.yaml", 24));
    assert_eq!((comparison.routes, comparison.consumers), (vec!["orders".to_owned()], vec![]));
    let finding = &comparison.findings[0];
    assert_eq!(
        (finding.direction, finding.weight, finding.code),
        (Direction::Weaker, Weight::Notable, "limit")
    );
    assert_eq!(finding.routes, ["orders"]);
    assert!(finding.place.is_some());
}

#[test]
fn what_weakens_and_what_strengthens_is_said() {
    use Direction::{Different, Stronger, Weaker};
    use Weight::{Grave, Notable, Slight};
    type Said = Vec<(Direction, Weight, &'static str)>;
    let cases: Vec<(&str, Comparison, Said)> = vec![
        ("authentication removed", with(KEYS, ""), vec![(Weaker, Grave, "authentication")]),
        (
            "anonymous admitted",
            changed(KEYS, "[{ type: ApiKey }]", "[{ type: ApiKey }, { type: Anonymous }]"),
            vec![(Weaker, Grave, "authentication"), (Weaker, Grave, "authentication-methods")],
        ),
        (
            "authentication in shadow",
            changed(KEYS, "spec: {", "spec: { mode: shadow,"),
            vec![(Weaker, Grave, "authentication"), (Weaker, Grave, "mode")],
        ),
        ("limit raised", changed(LIMIT, "100", "101"), vec![(Weaker, Notable, "limit")]),
        ("limit lowered", changed(LIMIT, "100", "99"), vec![(Stronger, Notable, "limit")]),
        (
            "the last limit removed",
            with(LIMIT, ""),
            vec![(Weaker, Notable, "limit"), (Weaker, Notable, "limit")],
        ),
        (
            "percent lowered",
            changed(LIMIT, "spec: {", "spec: { enforcePercent: 50,"),
            vec![(Weaker, Grave, "enforce-percent")],
        ),
        (
            "fails open",
            changed(LIMIT, "spec: {", "spec: { onFault: allow,"),
            vec![(Weaker, Grave, "on-fault")],
        ),
        (
            "authorization removed",
            with(MAY, ""),
            vec![(Weaker, Grave, "authorization"), (Weaker, Grave, "authorization")],
        ),
        (
            "a role permits more",
            changed(ROLE, "routes: orders }", "routes: orders }, { routes: \"*\" }"),
            vec![(Weaker, Grave, "role-grants")],
        ),
        (
            "addresses widened",
            changed(SHOP, "10.0.0.0/8", "10.0.0.0/7"),
            vec![(Weaker, Grave, "consumer-addresses")],
        ),
        (
            "addresses open",
            changed(SHOP, ", allowedAddresses: [10.0.0.0/8]", ""),
            vec![(Weaker, Grave, "consumer-addresses")],
        ),
        (
            "addresses narrowed",
            changed(SHOP, "10.0.0.0/8", "10.0.0.0/9"),
            vec![(Stronger, Grave, "consumer-addresses")],
        ),
        (
            "a consumer switched off",
            changed(SHOP, "spec: {", "spec: { enabled: false,"),
            vec![(Stronger, Grave, "consumer-enabled")],
        ),
        (
            "upstream not verified",
            changed(UPSTREAM, "spec: {", "spec: { tls: { dangerAcceptAnyCertificate: true },"),
            vec![(Different, Notable, "upstream-tls")],
        ),
        (
            "upstream in clear text",
            changed(UPSTREAM, "https:", "http:"),
            vec![(Weaker, Notable, "upstream-endpoints")],
        ),
        (
            "body cap raised",
            changed(ROUTE, "backendRefs", "bodyBytes: 2MiB, backendRefs"),
            vec![(Weaker, Slight, "body-size")],
        ),
        (
            "body cap raised for all",
            changed(LISTENER, "spec: {", "spec: { admission: { bodyBytes: 2MiB },"),
            vec![(Weaker, Slight, "body-size")],
        ),
        (
            "admission widened",
            changed(LISTENER, "spec: {", "spec: { admission: { headerCount: 200 },"),
            vec![(Weaker, Slight, "admission-size")],
        ),
        (
            "proxies believed",
            changed(LISTENER, "spec: {", "spec: { trustedProxies: [10.0.0.0/8],"),
            vec![(Weaker, Grave, "trusted-proxies")],
        ),
    ];
    for (case, comparison, expected) in cases {
        assert_eq!(found(&comparison), expected, "{case}: {:#?}", comparison.findings);
        assert!(comparison.findings.iter().all(|finding| finding.place.is_some()), "{case}");
        assert!(!comparison.routes.is_empty() || !comparison.consumers.is_empty(), "{case}");
    }
}

#[test]
fn lower_tls_and_verification_switched_off_are_said() {
    let tls = "kind: Listener\nmetadata: { name: web }\nspec: { addresses: [\"127.0.0.1:0\"], protocol: HTTPS, tls: { minimumVersion: \"1.3\", certificates: [{ chainRef: \"file:///c\", keyRef: \"file:///k\" }] } }";
    let verified = "kind: Upstream\nmetadata: { name: up }\nspec: { endpoints: [{ url: \"https://up.example:1\" }], tls: { serverName: up.example } }";
    let before = set(&[tls, verified, ROUTE]);
    let after = set(&[
        &tls.replace("minimumVersion: \"1.3\", ", ""),
        &verified.replace("serverName", "dangerAcceptAnyCertificate: true, serverName"),
        ROUTE,
    ]);
    let comparison = compare(Side::of(&before), Side::of(&after).unwrap());
    let weaker: Vec<&str> = comparison
        .findings
        .iter()
        .filter(|finding| finding.direction == Direction::Weaker)
        .map(|finding| finding.code)
        .collect();
    assert_eq!(weaker, ["tls-minimum", "upstream-verification"]);
    assert!(comparison.findings[0].message.contains("1.3 → 1.2"), "{:?}", comparison.findings);
}

#[test]
fn what_becomes_reachable_and_what_no_more_is_listed() {
    let wider = changed(ROUTE, "path: { value: /orders }", "path: { value: /orders }, methods: [GET]");
    assert_eq!((wider.opened.len(), wider.closed.len()), (0, 1));
    assert_eq!((&*wider.closed[0].path, wider.closed[0].methods.len()), ("/orders", 6));
    let after = ROUTE
        .replace("matches: [", "matches: [{ path: { type: Exact, value: /admin }, methods: [DELETE] }, ");
    let comparison = with(ROUTE, &after);
    assert_eq!(comparison.closed, []);
    let [opened] = &comparison.opened[..] else { panic!("{:?}", comparison.opened) };
    assert_eq!(
        (&*opened.listener, &*opened.host, &*opened.path, &*opened.path_type),
        ("web", "any", "/admin", "Exact")
    );
    assert_eq!(
        (&opened.methods[..], &*opened.route, &opened.other),
        (&["DELETE".to_owned()][..], "orders", &None)
    );
    assert_eq!(
        opened.guards,
        ["AuthenticationPolicy/keys", "AuthorizationPolicy/may", "RateLimitPolicy/fair"]
    );
    let back = {
        let (before, after) = (set(&[LISTENER, UPSTREAM, &after]), set(&[LISTENER, UPSTREAM, ROUTE]));
        compare(Side::of(&before), Side::of(&after).unwrap())
    };
    assert_eq!((back.opened.len(), &*back.closed[0].path), (0, "/admin"));
}

#[test]
fn a_narrower_rule_that_is_guarded_by_less_is_weaker() {
    let open = "kind: Route\nmetadata: { name: export }\nspec: { rules: [{ matches: [{ path: { value: /orders/export } }], backendRefs: [{ name: up }] }] }";
    let keys = "kind: AuthenticationPolicy\nmetadata: { name: keys }\nspec: { targetRefs: [{ kind: Route, name: orders }], methods: [{ type: ApiKey }] }";
    let before = set(&[LISTENER, UPSTREAM, ROUTE, keys]);
    let after = set(&[LISTENER, UPSTREAM, ROUTE, keys, open]);
    let comparison = compare(Side::of(&before), Side::of(&after).unwrap());
    assert_eq!(comparison.opened[0].other.as_deref(), Some("orders"));
    assert_eq!(found(&comparison), [(Direction::Weaker, Weight::Grave, "authentication")]);
    assert_eq!(comparison.findings[0].routes, ["export"]);
}

#[test]
fn a_first_set_opens_everything_and_weakens_nothing() {
    let after = set(&base());
    let comparison = compare(None, Side::of(&after).unwrap());
    assert_eq!(comparison.counts(), [base().len(), 0, 0]);
    assert_eq!((comparison.opened.len(), comparison.findings.len()), (1, 0));
    assert_eq!(
        (comparison.routes, comparison.consumers),
        (vec!["orders".to_owned()], vec!["shop".to_owned()])
    );
}

const TOKENS: &str = "kind: AuthenticationPolicy\nmetadata: { name: tokens }\nspec: { methods: [{ type: Jwt, jwt: { issuer: \"https://id.test\", audiences: [a, b], algorithms: [RS256], claims: { consumer: sub } } }] }";

#[test]
fn what_becomes_weaker_about_tokens_is_said_in_plain_words() {
    let set_of = |tokens: &str| set(&[LISTENER, UPSTREAM, ROUTE, tokens]);
    for (from, to, direction, code, words) in [
        ("[RS256]", "[RS256, ES256]", Direction::Weaker, "token-algorithms", "signed by more algorithms"),
        ("[a, b]", "[a, b, c]", Direction::Weaker, "token-audiences", "more audiences"),
        ("[a, b]", "[a]", Direction::Stronger, "token-audiences", "fewer audiences"),
        ("https://id.test", "https://other.test", Direction::Different, "token-issuer", "another issuer"),
        (
            "consumer: sub",
            "consumer: sub, unknownConsumer: Allow",
            Direction::Weaker,
            "token-consumers",
            "consumers that no document names are admitted",
        ),
        ("algorithms", "clockSkew: 5m, algorithms", Direction::Weaker, "token-time", "accepted longer"),
        (
            "algorithms",
            "forward: true, algorithms",
            Direction::Weaker,
            "token-forward",
            "given the callers' tokens",
        ),
    ] {
        assert!(TOKENS.contains(from), "{from}");
        let (before, after) = (set_of(TOKENS), set_of(&TOKENS.replacen(from, to, 1)));
        let comparison = compare(Side::of(&before), Side::of(&after).unwrap());
        let finding = comparison.findings.iter().find(|finding| finding.code == code);
        let finding = finding.unwrap_or_else(|| panic!("{from} → {to}: {:#?}", comparison.findings));
        assert_eq!(finding.direction, direction, "{from} → {to}");
        assert!(finding.message.contains(words), "{}", finding.message);
    }
}

#[test]
fn a_route_that_nothing_inspects_any_more_is_weaker() {
    let schema = "kind: SchemaPolicy\nmetadata: { name: orders }\nspec: { schema: { inline: '{\"type\":\"object\"}' } }";
    let (before, after) =
        (set(&[LISTENER, UPSTREAM, ROUTE, KEYS, schema]), set(&[LISTENER, UPSTREAM, ROUTE, KEYS]));
    let comparison = compare(Side::of(&before), Side::of(&after).unwrap());
    assert!(found(&comparison).contains(&(Direction::Weaker, Weight::Grave, "schema")), "{comparison:#?}");
}
