//! Every audit rule has a set that it finds something in and the nearest set in which it finds nothing.

#![expect(clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeSet;

use bartizan_config::{
    Set,
    audit::{CertificateState, Finding, Gravity, KeyState, RULES, State, audit},
    source::Sources,
};
use bartizan_model::problem::FileId;

const BASE: &str = include_str!("base.yaml");
const DAY_MS: u64 = 86_400_000;
const NOW_MS: u64 = 20_000 * DAY_MS;

fn state() -> State {
    State {
        now_unix_ms: NOW_MS,
        keys: vec![key()],
        certificates: vec![certificate(30)],
        changed_unix_ms: [(FileId(0), NOW_MS - 14 * DAY_MS)].into(),
    }
}

fn key() -> KeyState {
    KeyState {
        id: "abcdefghijkl".to_owned(),
        consumer: "anna".to_owned(),
        created_unix_ms: NOW_MS - 365 * DAY_MS,
        expires_unix_ms: Some(NOW_MS + DAY_MS),
        used_unix_ms: Some(NOW_MS - 90 * DAY_MS),
    }
}

fn certificate(days: u64) -> CertificateState {
    CertificateState {
        listener: "public".to_owned(),
        name: "api.example.com".to_owned(),
        ends_unix_ms: NOW_MS + days * DAY_MS,
    }
}

fn found(text: &str, state: &State) -> Vec<Finding> {
    let set = Set::from_sources(Sources::from_texts([("set.yaml", text)]));
    let Some(snapshot) = &set.compiled.snapshot else { panic!("{:#?}", set.compiled.problems) };
    audit(&set.documents, snapshot, state)
}

fn ids(findings: &[Finding]) -> BTreeSet<&'static str> {
    findings.iter().map(|finding| finding.rule.id).collect()
}

/// The rule, and the one change of the base set that it finds: this text becomes that one. Other rules may find the same
/// change too; they are named after it.
const DOCUMENTS: &[(&str, &str, &str, &[&str])] = &[
    (
        "BA-101",
        "methods: [{ type: ApiKey }], onFault: deny, mode: enforce",
        "methods: [{ type: ApiKey }], mode: shadow",
        &[],
    ),
    ("BA-102", "[{ type: ApiKey }]", "[{ type: ApiKey }, { type: Anonymous }]", &[]),
    ("BA-103", "{ rules: [{ granted: true }] }", "{ rules: [{ granted: true }], mode: shadow }", &[]),
    ("BA-104", "[{ granted: true }]", "[{ name: all }]", &[]),
    (
        "BA-105",
        "routes: orders, when: path.who == identity.sub }",
        "routes: orders, when: path.who == identity.sub }, { routes: \"*\" }",
        &["BA-107"],
    ),
    ("BA-106", "roles: [customer], contacts", "contacts", &[]),
    (
        "BA-107",
        "routes: orders, when: path.who == identity.sub }",
        "routes: orders, when: path.who == identity.sub }, { routes: \"*\" }",
        &["BA-105"],
    ),
    ("BA-108", "enabled: true", "enabled: false", &[]),
    ("BA-109", ", when: path.who == identity.sub", "", &[]),
    (
        "BA-201",
        "limits: { requests: 100, timeWindow: 1m }",
        "limits: { requests: 100, timeWindow: 1m }, mode: shadow",
        &[],
    ),
    ("BA-202", ", ratePerAddress: { requests: 50, timeWindow: 1s }", "", &[]),
    ("BA-203", "bodyBytes: 1MiB", "bodyBytes: 33MiB", &[]),
    ("BA-203", "timeouts: { request: 30s }", "timeouts: { request: 30s }\n      bodyBytes: 33MiB", &[]),
    ("BA-204", "key: [consumer]", "key: [gateway]", &[]),
    ("BA-205", "key: [consumer]", "key: [{ header: X-Tenant }]", &[]),
    ("BA-206", "onAbsent: clientAddress", "onAbsent: skip", &[]),
    ("BA-207", "requests: 100, timeWindow: 1m", "requests: 60001, timeWindow: 1m", &[]),
    ("BA-208", "timeouts: { request: 30s }", "timeouts: { request: 0s }", &[]),
    (
        "BA-301",
        "protocol: HTTPS\n  tls: { minimumVersion: \"1.3\", certificates: [{ chainRef: \"file://chain.pem\", keyRef: \"file://key.pem\" }] }\n  hostnames: [api.example.com]\n  hsts: {}",
        "hostnames: [api.example.com]",
        &[],
    ),
    ("BA-302", "minimumVersion: \"1.3\"", "minimumVersion: \"1.2\"", &[]),
    ("BA-303", "  hsts: {}\n", "", &[]),
    ("BA-304", "trustedProxies: [10.0.0.0/8]", "trustedProxies: [0.0.0.0/0]", &[]),
    ("BA-305", "dangerAcceptAnyCertificate: false", "dangerAcceptAnyCertificate: true", &[]),
    (
        "BA-306",
        "endpoints: [{ url: \"https://shop.internal:9000\" }]\n  tls: { dangerAcceptAnyCertificate: false }",
        "endpoints: [{ url: \"http://shop.internal:9000\" }]",
        &[],
    ),
    ("BA-307", "http://127.0.0.1:9001", "http://192.0.2.9:9001", &[]),
    ("BA-308", "  hostnames: [api.example.com]\n  hsts", "  hsts", &[]),
    ("BA-401", "onFault: deny", "onFault: allow", &[]),
    (
        "BA-403",
        "limits: { requests: 100, timeWindow: 1m }",
        "limits: { requests: 100, timeWindow: 1m }, mode: off",
        &["BA-201"],
    ),
    (
        "BA-404",
        "limits: { requests: 100, timeWindow: 1m }",
        "limits: { requests: 100, timeWindow: 1m }, enforcePercent: 99",
        &[],
    ),
    ("BA-405", "[\"https://www.example.com\"], allowCredentials: true", "[\"*\"]", &[]),
    ("BA-406", "https://www.example.com", "https://*.example.com", &[]),
    ("BA-407", "queryValues: masked", "queryValues: full", &[]),
    ("BA-408", "accessLog: true", "accessLog: false", &[]),
    ("BA-501", "labels: { team: shop }", "labels: { tier: gold }", &[]),
    (
        "BA-502",
        "spec:\n  hostnames: [api.example.com]\n  rules",
        "spec:\n  hostnames: [other.example.com]\n  rules",
        &[],
    ),
    ("BA-503", ", methods: [GET] }]", " }]", &[]),
    ("BA-504", "path: { type: Template, value: \"/orders/{who}\" }, methods: [GET]", "methods: [GET]", &[]),
    ("BA-505", "route: orders, status: 401", "status: 401", &[]),
    ("BA-506", ", contacts: [{ email: anna@example.com }]", "", &[]),
];

#[test]
fn nothing_is_found_in_a_set_that_leaves_nothing_open() {
    let found = found(BASE, &state());
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn each_rule_finds_its_change_and_nothing_else_does() {
    for (rule, from, to, also) in DOCUMENTS {
        assert_eq!(BASE.matches(from).count(), 1, "{rule}: {from}");
        let text = BASE.replacen(from, to, 1);
        // A condition on a variable of the path needs a path that has one.
        let text =
            if *rule == "BA-504" { text.replace(", when: path.who == identity.sub", "") } else { text };
        let found = found(&text, &state());
        let mut expected: BTreeSet<&str> = also.iter().copied().collect();
        expected.insert(rule);
        assert_eq!(ids(&found), expected, "{rule}: {found:#?}");
        let finding = found.iter().find(|finding| finding.rule.id == *rule).unwrap();
        assert!(finding.at.is_place() && finding.document.contains('/'), "{finding:#?}");
        assert!(finding.fix.is_some() || *rule == "BA-601", "{rule} has no fix");
    }
}

#[test]
fn each_rule_on_state_finds_its_change_and_nothing_else_does() {
    let with_key = |key| State { keys: vec![key], ..state() };
    let shadow = BASE.replacen("timeWindow: 1m }", "timeWindow: 1m }, mode: shadow", 1);
    let aged = State { changed_unix_ms: [(FileId(0), NOW_MS - 15 * DAY_MS)].into(), ..state() };
    let certificates = |days| State { certificates: vec![certificate(days)], ..state() };
    let rows: Vec<(&str, &str, State)> = vec![
        ("BA-402", &shadow, aged),
        ("BA-601", BASE, certificates(29)),
        ("BA-602", BASE, with_key(KeyState { created_unix_ms: NOW_MS - 366 * DAY_MS, ..key() })),
        ("BA-603", BASE, with_key(KeyState { expires_unix_ms: None, ..key() })),
        ("BA-604", BASE, with_key(KeyState { used_unix_ms: Some(NOW_MS - 91 * DAY_MS), ..key() })),
        ("BA-605", BASE, with_key(KeyState { consumer: "bert".to_owned(), ..key() })),
    ];
    let mut seen: BTreeSet<&str> = DOCUMENTS.iter().map(|(rule, ..)| *rule).collect();
    for (rule, text, state) in &rows {
        let mut ids = ids(&found(text, state));
        if *rule == "BA-402" {
            // What only watches does not limit either.
            assert!(ids.remove("BA-201"));
        }
        assert_eq!(ids, BTreeSet::from([*rule]));
        seen.insert(rule);
    }
    assert!(!ids(&found(&shadow, &state())).contains("BA-402"));
    assert_eq!(found(BASE, &certificates(6)).first().map(|finding| finding.gravity), Some(Gravity::High));
    // A key whose time is over can do no harm.
    let over = KeyState { created_unix_ms: 0, expires_unix_ms: Some(NOW_MS), used_unix_ms: None, ..key() };
    assert!(found(BASE, &with_key(over)).is_empty());
    let all: BTreeSet<&str> = RULES.iter().map(|rule| rule.id).collect();
    assert_eq!(seen, all, "every rule has a row");
    assert!(all.len() >= 25 && all.len() == RULES.len());
}

#[test]
fn the_gravest_findings_come_first() {
    let found = found(
        "{ apiVersion: management.v1, kind: Listener, metadata: { name: a }, spec: { addresses: [\"0.0.0.0:80\"] } }",
        &state(),
    );
    assert!(found.is_sorted_by(|a, b| a.gravity >= b.gravity));
    assert_eq!(found.first().map(|finding| finding.rule.id), Some("BA-301"));
}

#[test]
fn the_page_of_the_rules_is_fresh() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/guides/audit-rules.md");
    let page = bartizan_config::audit::page();
    if std::env::var_os("BARTIZAN_REGENERATE").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap_or_default(), page, "run with BARTIZAN_REGENERATE=1");
}
