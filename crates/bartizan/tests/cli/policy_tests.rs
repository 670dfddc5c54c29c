//! `bartizan test`: what passes, what fails and how that is told, and what cannot be run.

use std::path::Path;

use bartizan_testkit::TempDir;

use super::{bartizan, files};

const SET: &str = r#"
apiVersion: management.v1
kind: Listener
metadata: { name: local }
spec: { addresses: ["127.0.0.1:8080"] }
---
apiVersion: management.v1
kind: Upstream
metadata: { name: orders }
spec: { endpoints: [{ url: "http://127.0.0.1:9000" }] }
---
apiVersion: management.v1
kind: Route
metadata: { name: orders }
spec: { rules: [{ matches: [{ path: { value: /orders } }], backendRefs: [{ name: orders }] }] }
"#;

const KEYS: &str = "{ apiVersion: management.v1, kind: AuthenticationPolicy, metadata: { name: keys }, \
                    spec: { methods: [{ type: ApiKey }] } }\n";

const TESTS: &str = r#"
apiVersion: management.v1
kind: PolicyTest
metadata: { name: open }
spec: { request: { url: /orders }, steps: { expect: { decision: forward } } }
---
apiVersion: management.v1
kind: PolicyTest
metadata: { name: closed }
spec:
  description: "Nobody gets <in>."
  request: { url: /orders }
  steps: { name: no key, expect: { status: 401, reason: CredentialMissing } }
"#;

#[test]
fn the_tests_of_every_example_pass() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let mut with_tests = 0;
    for entry in std::fs::read_dir(examples).unwrap() {
        let folder = entry.unwrap().path();
        if folder.join("tests.yaml").is_file() {
            with_tests += 1;
            let ran = bartizan(&TempDir::new(), &["test", folder.to_str().unwrap()]);
            assert_eq!(ran.code, 0, "{}{}{}", folder.display(), ran.out, ran.err);
        }
    }
    assert!(with_tests >= 5, "{with_tests}");
}

#[test]
fn a_failure_shows_what_was_expected_what_came_and_the_way_it_took() {
    let dir = files(&[("set.yaml", SET), ("tests.yaml", TESTS)]);
    let ran = bartizan(&dir, &["test", "."]);
    assert_eq!((ran.code, &*ran.err), (1, ""));
    for text in [
        "ok    open  (1 request",
        "FAIL  closed  (1 request",
        "Nobody gets <in>.",
        "./tests.yaml:13  no key",
        "status  expected 401, got none, it is forwarded",
        "reason  expected CredentialMissing, got none",
        "identify   ok       anonymous",
        "forwarded to orders as GET /orders",
        "1 test passed, 1 failed",
    ] {
        assert!(ran.out.contains(text), "{text}:\n{}", ran.out);
    }
}

#[test]
fn only_some_and_only_what_there_is() {
    let dir = files(&[("set.yaml", SET), ("tests.yaml", TESTS)]);
    let ran = bartizan(&dir, &["test", ".", "--only", "op*"]);
    assert_eq!(ran.code, 0, "{}", ran.out);
    assert!(!ran.out.contains("closed"));
    let none = bartizan(&dir, &["test", ".", "--only", "clsed"]);
    assert_eq!(none.code, 2);
    assert!(none.err.contains("did you mean `closed`?"), "{}", none.err);
    let without = bartizan(&files(&[("set.yaml", SET)]), &["test", "."]);
    assert!(without.code == 2 && without.err.contains("no PolicyTest"), "{}", without.err);
}

#[test]
fn tests_run_against_other_documents_than_those_beside_them() {
    let dir = files(&[("tests.yaml", TESTS), ("set.yaml", SET)]);
    let other = files(&[("set.yaml", SET), ("keys.yaml", KEYS)]);
    let against = other.path().to_str().unwrap();
    let ran = bartizan(&dir, &["test", "tests.yaml", "--against", against, "--only", "closed"]);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    let ran = bartizan(&dir, &["test", ".", "--against", against, "--only", "open"]);
    assert_eq!(ran.code, 1, "{}{}", ran.out, ran.err);
}

#[test]
fn documents_that_are_not_sound_cannot_be_tested() {
    let broken = TESTS.replace("status: 401", "status: many");
    for arguments in [vec!["test", "."], vec!["test", "tests.yaml", "--against", "set.yaml"]] {
        let dir = files(&[("set.yaml", SET), ("tests.yaml", &broken)]);
        let ran = bartizan(&dir, &arguments);
        assert_eq!((ran.code, &*ran.out), (2, ""), "{}", ran.err);
        assert!(ran.err.contains("spec.steps.expect.status"), "{}", ran.err);
    }
    let ran = bartizan(&TempDir::new(), &["test", "nowhere"]);
    assert_eq!(ran.code, 2);
}

#[test]
fn a_test_that_can_never_hold_is_a_problem_of_the_documents() {
    let cases = [
        ("status: 401, reason: CredentialMissing", "{ }", "nothing is expected"),
        ("status: 401,", "decision: forward,", "this can never hold"),
        ("status: 401", "policy: RateLimitPolicy/none", "there is no RateLimitPolicy named `none`"),
        ("status: 401", "policy: RateLimitPolcy/none", "did you mean `RateLimitPolicy`?"),
        ("url: /orders", "url: orders", "neither a URL nor a path"),
        ("url: /orders", "url: /orders, client: here", "is not an IP address"),
        ("name: no key,", "identity: { consumer: nobody },", "there is no Consumer named `nobody`"),
        ("name: no key,", "share: 100,", "from 0 to 99"),
        ("url: /orders", "headers: { \"a b\": c }", "not the name of a header"),
    ];
    for (from, to, told) in cases {
        let tests =
            if to == "{ }" { TESTS.replace(&format!("{{ {from} }}"), "{}") } else { TESTS.replace(from, to) };
        assert_ne!(tests, TESTS, "{from}");
        let dir = files(&[("set.yaml", SET), ("tests.yaml", &tests)]);
        let ran = bartizan(&dir, &["check", "."]);
        assert!(ran.code == 1 && ran.out.contains(told), "{told}:\n{}", ran.out);
    }
}

#[test]
fn programs_get_junit_json_and_sarif() {
    let dir = files(&[("set.yaml", SET), ("tests.yaml", TESTS)]);
    let junit = bartizan(&dir, &["test", ".", "--format", "junit"]);
    assert_eq!(junit.code, 1);
    assert!(junit.out.starts_with("<?xml version=\"1.0\""), "{}", junit.out);
    assert!(junit.out.contains("tests=\"2\" failures=\"1\""), "{}", junit.out);
    assert!(
        junit.out.contains("<failure type=\"expectation\" message=\"status: expected 401"),
        "{}",
        junit.out
    );
    let json = bartizan(&dir, &["test", ".", "--format", "json"]).json();
    assert_eq!((&json["ok"], &json["passed"], &json["failed"]), (&false.into(), &1.into(), &1.into()));
    assert_eq!(json["tests"][1]["steps"][0]["misses"][0]["field"], "status");
    let sarif = bartizan(&dir, &["test", ".", "--format", "sarif"]).json();
    let result = &sarif["runs"][0]["results"][0];
    assert_eq!(result["ruleId"], "policy-test");
    let place = &result["locations"][0]["physicalLocation"];
    assert_eq!(place["artifactLocation"]["uri"], "tests.yaml");
    assert_eq!(place["region"]["startLine"], 13);
}
