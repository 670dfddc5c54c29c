//! `bartizan replay`: what three kinds of recordings get under a candidate, and what cannot be told.

use bartizan_testkit::TempDir;
use serde_json::{Value, json};

use super::{Ran, bartizan, files, run};

const GATEWAY: &str = include_str!("../../../../examples/quickstart/gateway.yaml");
const POLICIES: &str = include_str!("../../../../examples/quickstart/policies.yaml");
const LOG: &str = include_str!("replay/access.jsonl");
const COMMON: &str = include_str!("replay/access.log");
const HAR: &str = include_str!("replay/session.har");

/// The recorded set, a candidate made from it by `change`, and the recordings.
fn scene(change: impl Fn(String) -> String) -> TempDir {
    let candidate = change(format!("{GATEWAY}---\n{POLICIES}"));
    files(&[
        ("now.yaml", &format!("{GATEWAY}---\n{POLICIES}")),
        ("next.yaml", &candidate),
        ("access.jsonl", LOG),
        ("access.log", COMMON),
        ("session.har", HAR),
    ])
}

fn json_of(dir: &TempDir, arguments: &[&str]) -> (i32, Value) {
    let ran = bartizan(dir, &[&["replay"], arguments, &["--format", "json"]].concat());
    assert!(!ran.out.is_empty(), "{}", ran.err);
    (ran.code, ran.json())
}

/// The differences that there are, by their word.
fn differences(report: &Value) -> Vec<(String, u64)> {
    let all = report["differences"].as_object().unwrap();
    let counts = all.iter().map(|(word, one)| (word.clone(), one["count"].as_u64().unwrap()));
    counts.filter(|(_, count)| *count > 0).collect()
}

fn causes(report: &Value) -> Vec<(&str, u64)> {
    let causes = report["causes"].as_array().unwrap();
    causes.iter().map(|one| (one["cause"].as_str().unwrap(), one["count"].as_u64().unwrap())).collect()
}

#[test]
fn the_set_that_served_a_log_has_no_difference_to_it() {
    let dir = scene(|set| set);
    let (code, report) = json_of(&dir, &["access.jsonl", "--against", "next.yaml"]);
    assert_eq!(differences(&report), [], "{report:#}");
    assert_eq!(code, 0);
    assert_eq!(report["requests"], 10);
    assert_eq!(report["same"], 9);
    // A token's roles are not in the log, so that this caller is not judged.
    assert_eq!(causes(&report), [("no credential facts", 1)]);
    assert_eq!(report["malformed"]["count"], 1);
    assert_eq!(report["lostLines"], 12);
}

#[test]
fn what_a_candidate_refuses_is_told_by_route_consumer_stage_and_policy() {
    let dir = scene(|set| set.replace("GET, HEAD, POST, PUT, DELETE", "GET, HEAD"));
    let (code, report) = json_of(&dir, &["access.jsonl", "--against", "next.yaml"]);
    assert_eq!(code, 1);
    assert_eq!(differences(&report), [("newlyRefused".to_owned(), 1)]);
    let example = &report["differences"]["newlyRefused"]["examples"][0];
    assert_eq!(example["id"], "r-4");
    assert_eq!(example["request"], "POST localhost/orders");
    assert_eq!(example["before"], "to upstream orders, route orders");
    assert_eq!(example["after"], "MethodNotAllowed");
    let row = |by: &str, name: &str| {
        let rows = report["by"][by].as_array().unwrap();
        rows.iter().find(|row| row["name"] == name).unwrap()["newlyRefused"].clone()
    };
    assert_eq!(row("consumer", "alice"), 1);
    assert_eq!(row("stage", "route"), 1);
}

#[test]
fn what_a_candidate_no_longer_refuses_is_told() {
    let methods = "methods: [{ type: ApiKey }]";
    let dir = scene(|set| set.replace(methods, "methods: [{ type: ApiKey }, { type: Anonymous }]"));
    let (code, report) = json_of(&dir, &["access.jsonl", "--against", "next.yaml"]);
    assert_eq!(code, 1);
    // Only the caller without a credential: a revoked key is refused all the same.
    assert_eq!(differences(&report), [("newlyAllowed".to_owned(), 1)]);
    let policies = &report["by"]["policy"];
    assert_eq!(policies[0]["name"], "AuthenticationPolicy/keys", "{policies:#}");
}

#[test]
fn limits_are_recomputed_on_the_recorded_clock_and_told_as_an_estimate() {
    // Six calls of one consumer in nine seconds: two at once, and one slot every five seconds after that.
    let limit = r#"limits: { requests: "12", timeWindow: "1m", burst: "2" }"#;
    let dir = scene(|set| set.replace(r#"limits: { requests: "100", timeWindow: "1m" }"#, limit));
    let (_, report) = json_of(&dir, &["access.jsonl", "--against", "next.yaml"]);
    let refused = report["differences"]["newlyRefused"]["count"].as_u64().unwrap();
    assert!((1..6).contains(&refused), "{report:#}");
    assert_eq!(report["estimates"], refused);
    assert_eq!(report["limitsHit"][0]["policy"], "RateLimitPolicy/per-consumer");
    // Without the clock none but the first two would pass.
    assert!(report["same"].as_u64().unwrap() > 5);
}

#[test]
fn what_hangs_on_something_that_was_not_recorded_is_not_judgeable() {
    let header = "---\napiVersion: management.v1\nkind: HeaderPolicy\nmetadata: { name: tenant }\nspec:\n  \
                  request: { check: [{ name: x-tenant, required: true }] }\n";
    let dir = scene(|set| format!("{set}{header}"));
    let (code, report) = json_of(&dir, &["access.jsonl", "--against", "next.yaml"]);
    assert_eq!((code, differences(&report)), (0, Vec::new()), "{report:#}");
    // All but the request that no route matches.
    assert_eq!(causes(&report), [("headers not recorded", 9)]);
    let (_, of_har) = json_of(
        &dir,
        &["session.har", "--against", "next.yaml", "--base", "now.yaml", "--consumer", "alice"],
    );
    assert_eq!(of_har["differences"]["newlyRefused"]["count"], 2, "{of_har:#}");
}

#[test]
fn a_log_in_common_format_needs_a_host_and_knows_no_callers() {
    let dir = scene(|set| set.replace("GET, HEAD, POST, PUT, DELETE", "GET, HEAD"));
    let ran = bartizan(&dir, &["replay", "access.log", "--against", "next.yaml"]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("--host"), "{}", ran.err);
    let asked = ["access.log", "--host", "localhost", "--scheme", "http", "--against", "next.yaml"];
    let (_, unknown) = json_of(&dir, &asked);
    assert_eq!(differences(&unknown), [("newlyRefused".to_owned(), 2)], "{unknown:#}");
    assert_eq!(causes(&unknown), [("no credential facts", 1), ("outcome not recorded", 1)]);
    assert_eq!(unknown["malformed"]["count"], 1);
    let (_, nobody) = json_of(&dir, &[&asked[..], &["--anonymous"]].concat());
    assert_eq!(differences(&nobody), [("newlyRefused".to_owned(), 3)]);
    let (_, both) = json_of(&dir, &[&asked[..], &["--base", "now.yaml", "--consumer", "alice"]].concat());
    assert_eq!(differences(&both), [("newlyRefused".to_owned(), 1)], "{both:#}");
    assert_eq!(both["comparedWith"], "base");
}

#[test]
fn a_recording_can_come_by_standard_input() {
    let dir = scene(|set| set);
    let ran = run(dir.path(), &["replay", "-", "--against", "next.yaml"], Some(LOG));
    assert_eq!(ran.code, 0, "{}", ran.err);
    for part in ["10 requests of -", "newly refused", "no credential facts", "12 lines are missing"] {
        assert!(ran.out.contains(part), "{part}: {}", ran.out);
    }
}

#[test]
fn a_replay_that_cannot_run_says_why() {
    let dir = scene(|set| set);
    for (arguments, part) in [
        (&["missing.jsonl", "--against", "next.yaml"][..], "missing.jsonl cannot be read"),
        (
            &["now.yaml", "--source-format", "bartizan", "--against", "next.yaml"],
            "no request that can be read",
        ),
        (&["now.yaml", "--source-format", "har", "--against", "next.yaml"], "cannot be read"),
        (&["access.jsonl", "--against", "access.jsonl"], ""),
        (&["access.jsonl", "--against", "next.yaml", "--consumer", "nobody"], "no Consumer named nobody"),
    ] {
        let Ran { code, err, .. } = bartizan(&dir, &[&["replay"], arguments].concat());
        assert_eq!(code, 2, "{arguments:?}: {err}");
        assert!(err.contains(part), "{arguments:?}: {err}");
    }
}

#[test]
fn the_number_of_examples_is_bounded_as_asked() {
    let dir = scene(|set| set.replace("GET, HEAD, POST, PUT, DELETE", "PUT"));
    for (asked, expected) in [("0", 0), ("1", 1), ("2", 2)] {
        let (_, report) = json_of(&dir, &["access.jsonl", "--against", "next.yaml", "--examples", asked]);
        let shown = report["differences"]["newlyRefused"]["examples"].as_array().unwrap().len();
        assert_eq!(json!(shown), json!(expected));
    }
}

#[test]
fn what_a_policy_would_have_made_of_a_credential_nobody_looked_for_is_not_judgeable() {
    let basic = "methods: [{ type: Basic, basic: { usersRef: \"file://users.txt\", realm: orders } }]";
    let dir = scene(|set| set.replace("methods: [{ type: ApiKey }]", basic));
    let (code, report) = json_of(&dir, &["access.jsonl", "--against", "next.yaml"]);
    // A caller without a key may have sent a name and a password, and so may one with a key.
    assert_eq!((code, differences(&report)), (0, Vec::new()), "{report:#}");
    assert_eq!(causes(&report), [("no credential facts", 9)]);
    let asked = ["access.log", "--host", "localhost", "--scheme", "http", "--against", "next.yaml"];
    let (_, nobody) = json_of(&dir, &[&asked[..], &["--anonymous"]].concat());
    assert_eq!(differences(&nobody), [("newlyRefused".to_owned(), 3)], "{nobody:#}");
}
