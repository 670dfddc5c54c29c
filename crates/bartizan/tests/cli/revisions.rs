//! `plan`, `diff`, `apply`, `get`, `history`, `rollback` on a store, as scripts meet them.

use std::fs;

use bartizan_testkit::TempDir;

use crate::{Ran, bartizan, files};

const SET: &str = r#"apiVersion: management.v1
kind: Listener
metadata: { name: web }
spec: { addresses: ["127.0.0.1:0"] }
---
apiVersion: management.v1
kind: Upstream
metadata: { name: up }
spec: { endpoints: [{ url: "http://127.0.0.1:1" }] }
---
# what is published
apiVersion: management.v1
kind: Route
metadata: { name: orders }
spec: { rules: [{ matches: [{ path: { value: /orders } }], backendRefs: [{ name: up }] }] }
"#;

const LIMIT: &str = "apiVersion: management.v1\nkind: RateLimitPolicy\nmetadata: { name: fair }\nspec: { limits: { requests: 100, timeWindow: 1m } }\n";

/// A directory `set` with the documents, in a directory of its own.
fn place() -> TempDir {
    let dir = files(&[]);
    fs::create_dir(dir.join("set")).unwrap();
    write(&dir, "gateway.yaml", SET);
    write(&dir, "limits.yaml", LIMIT);
    dir
}

fn write(dir: &TempDir, name: &str, text: &str) {
    fs::write(dir.join("set").join(name), text).unwrap();
}

fn apply(dir: &TempDir, more: &[&str]) -> Ran {
    bartizan(dir, &[&["apply", "-f", "set", "--reason", "a reason"], more].concat())
}

#[test]
fn a_set_is_planned_applied_changed_and_rolled_back() {
    let dir = place();
    let first = bartizan(&dir, &["plan", "-f", "set"]);
    assert_eq!(first.code, 0, "{}", first.err);
    assert!(first.out.contains("+ Route/orders  set/gateway.yaml:12"), "{}", first.out);
    assert!(
        first.out.contains("becomes reachable") && first.out.contains("no authentication"),
        "{}",
        first.out
    );
    assert!(bartizan(&dir, &["history"]).err.contains("no revisions"));
    assert_eq!(bartizan(&dir, &["diff", "-f", "set"]).code, 1);

    let made = apply(&dir, &[]);
    assert_eq!(made.code, 0, "{}", made.err);
    assert!(made.err.contains("revision r1-") && made.err.contains("is active"), "{}", made.err);
    assert_eq!(
        (bartizan(&dir, &["diff", "-f", "set"]).code, &*bartizan(&dir, &["diff", "-f", "set"]).out),
        (0, "")
    );
    assert!(apply(&dir, &[]).err.contains("nothing has changed"));

    write(&dir, "limits.yaml", &LIMIT.replace("100", "200"));
    let differs = bartizan(&dir, &["diff", "-f", "set"]);
    assert_eq!(differs.code, 1);
    assert!(
        differs.out.contains("~ RateLimitPolicy/fair")
            && differs.out.contains("spec.limits[0].requests: 100 → 200"),
        "{}",
        differs.out
    );
    let plan = bartizan(&dir, &["plan", "-f", "set"]);
    assert!(
        plan.code == 0
            && plan.out.contains("becomes weaker")
            && plan.out.contains("callers may do more [orders]  set/limits.yaml:4"),
        "{}",
        plan.out
    );
    assert_eq!(bartizan(&dir, &["plan", "-f", "set", "--deny", "weaker"]).code, 1);
    assert_eq!(bartizan(&dir, &["plan", "-f", "set", "--deny", "grave"]).code, 0);
    let json = bartizan(&dir, &["plan", "-f", "set", "--format", "json"]).json();
    assert_eq!((&json["counts"]["weaker"], &json["base"]["revision"]), (&1.into(), &1.into()));
    assert_eq!(json["changes"]["findings"][0]["code"], "limit");

    let json = apply(&dir, &["--format", "json"]).json();
    assert_eq!(
        (&json["changed"], &json["revision"]["number"], &json["revision"]["parent"]),
        (&true.into(), &2.into(), &1.into())
    );
    let back = bartizan(&dir, &["rollback", "--reason", "too much"]);
    assert!(back.code == 0 && back.out.contains("becomes stronger"), "{}{}", back.out, back.err);
    let history = bartizan(&dir, &["history"]).data();
    let lines: Vec<&str> = history.lines().collect();
    assert!(
        lines.len() == 4
            && lines[1].starts_with("r3-")
            && lines[1].contains("r1")
            && lines[1].contains("too much"),
        "{history}"
    );
    assert!(lines[1].contains("active") && lines[3].contains("replaced"), "{history}");
    let limited = bartizan(&dir, &["history", "--limit", "2", "--format", "json"]).json();
    assert_eq!((limited["revisions"].as_array().unwrap().len(), &limited["next"]), (2, &2.into()));
}

#[test]
fn a_document_is_shown_as_it_was_written() {
    let dir = place();
    apply(&dir, &[]).data();
    write(&dir, "limits.yaml", &LIMIT.replace("100", "200"));
    apply(&dir, &[]).data();
    let list = bartizan(&dir, &["get"]).data();
    assert!(list.contains("Route            orders  gateway.yaml:12") || list.contains("orders"), "{list}");
    let route = bartizan(&dir, &["get", "Route/orders"]).data();
    assert!(
        route.starts_with("# what is published\n") && route.contains("/orders") && !route.contains("---"),
        "{route}"
    );
    for (revision, number) in [("2", "200"), ("1", "100"), ("active", "200")] {
        let limit = bartizan(&dir, &["get", "ratelimitpolicies/fair", "--revision", revision]);
        let limit = if limit.code == 0 {
            limit
        } else {
            bartizan(&dir, &["get", "RateLimitPolicy/fair", "--revision", revision])
        };
        assert!(limit.out.contains(&format!("requests: {number}")), "{}{}", limit.out, limit.err);
    }
    let json = bartizan(&dir, &["get", "Route/orders", "--format", "json"]).json();
    assert_eq!((&json["kind"], &json["metadata"]["name"]), (&"Route".into(), &"orders".into()));
    let all = bartizan(&dir, &["get", "--format", "json"]).json();
    assert_eq!(all["documents"].as_array().unwrap().len(), 4);
    // What is shown can be applied again.
    fs::create_dir(dir.join("copy")).unwrap();
    for kind in ["Listener", "Upstream", "Route", "RateLimitPolicy"] {
        fs::write(dir.join("copy").join(format!("{kind}.yaml")), bartizan(&dir, &["get", kind]).data())
            .unwrap();
    }
    assert_eq!(bartizan(&dir, &["diff", "-f", "copy"]).code, 0);
}

#[test]
fn what_must_not_happen_is_refused_and_changes_nothing() {
    let dir = place();
    apply(&dir, &[]).data();
    write(&dir, "limits.yaml", &LIMIT.replace("100", "200"));
    for (arguments, code, part) in [
        (&["apply", "-f", "set", "--reason", "x", "--if-match", "2"][..], 1, "revision r1-"),
        (&["apply", "-f", "set", "--reason", "x", "--if-match", "000000000000"], 1, "not 000000000000"),
        (&["apply", "-f", "set", "--reason", " "], 2, "the reason is empty"),
        (&["apply", "-f", "set"], 2, "--reason"),
        (&["apply", "-f", "nowhere", "--reason", "x"], 2, "nowhere"),
        (&["rollback", "--reason", "x"], 1, "is the first one"),
        (&["rollback", "9", "--reason", "x"], 1, "there is no revision 9"),
        (&["get", "--revision", "9"], 1, "there is no revision 9"),
        (&["get", "Route/none"], 1, "has no Route/none"),
        (&["get", "Nothing"], 2, "there is no kind"),
        (&["get", "--revision", "x"], 2, "seven digits"),
        (&["diff", "-f", "set", "--against", "9"], 2, "there is no revision 9"),
        (&["history", "--store", "postgres://x"], 2, "sqlite:PATH"),
    ] {
        let ran = bartizan(&dir, arguments);
        assert!(ran.code == code && ran.err.contains(part), "{arguments:?}: {} {}", ran.code, ran.err);
    }
    for (case, text, part) in [
        ("a problem", SET.replace("endpoints", "endpoint"), "endpoint"),
        ("no route", SET.split("---\n# what").next().unwrap().to_owned(), "an empty set never goes live"),
        (
            "a relative reference",
            format!(
                "{SET}---\napiVersion: management.v1\nkind: Secret\nmetadata: {{ name: s }}\nspec: {{ valueRef: \"file://x\" }}\n"
            ),
            "BZ-4012",
        ),
        ("a private key in a comment", format!("# -----BEGIN PRIVATE KEY-----\n{SET}"), "BZ-2116"),
    ] {
        write(&dir, "gateway.yaml", &text);
        let ran = apply(&dir, &[]);
        assert!(ran.code == 1 && ran.err.contains(part), "{case}: {} {}{}", ran.code, ran.out, ran.err);
        assert_eq!(bartizan(&dir, &["diff", "-f", "set"]).code == 2, case != "no route", "{case}");
    }
    assert_eq!(bartizan(&dir, &["history", "--format", "json"]).json()["active"], 1);
}

#[test]
fn two_directories_are_compared_without_a_store() {
    let dir = place();
    fs::create_dir(dir.join("old")).unwrap();
    fs::write(dir.join("old/all.yaml"), format!("{SET}---\n{LIMIT}")).unwrap();
    assert_eq!(
        bartizan(&dir, &["diff", "-f", "set", "--base", "old"]).code,
        0,
        "files may be cut in another way"
    );
    write(&dir, "limits.yaml", &LIMIT.replace("spec: {", "spec: { mode: shadow,"));
    let plan = bartizan(&dir, &["plan", "-f", "set", "--base", "old", "--deny", "grave"]);
    assert!(plan.code == 1 && plan.out.contains("(enforce → shadow)"), "{}", plan.out);
    assert!(!dir.join("data/bartizan.db").exists(), "no store was made");
}

const PROMISE: &str = "apiVersion: management.v1\nkind: PolicyTest\nmetadata: { name: orders-are-served }\nspec: { request: { url: /orders }, steps: [{ expect: { decision: forward } }] }\n";

#[test]
fn a_set_whose_tests_fail_is_applied_only_with_a_reason_that_is_kept() {
    let dir = place();
    write(&dir, "tests.yaml", PROMISE);
    assert_eq!(apply(&dir, &[]).code, 0, "what it promises holds");
    write(&dir, "tests.yaml", &PROMISE.replace("forward", "refuse"));
    let plan = bartizan(&dir, &["plan", "-f", "set"]);
    assert!(plan.code == 1 && plan.err.contains("PolicyTest/orders-are-served fails"), "{}", plan.err);
    let refused = apply(&dir, &[]);
    assert_eq!((refused.code, &*refused.out), (1, ""), "{}", refused.err);
    assert!(
        refused.err.contains("step 1: decision expected refuse, got forward")
            && refused.err.contains("--even-if-tests-fail"),
        "{}",
        refused.err
    );
    assert!(bartizan(&dir, &["history"]).out.lines().count() == 2, "one revision");

    let waived = apply(&dir, &["--even-if-tests-fail", "the test is wrong"]);
    assert!(waived.code == 0 && waived.err.contains("1 of 1 test fail"), "{}", waived.err);
    let kept = "a reason [1 of 1 tests failed; applied all the same: the test is wrong]";
    assert!(bartizan(&dir, &["history"]).out.contains(kept), "{}", bartizan(&dir, &["history"]).out);
    let trail = crate::trail(&dir);
    assert!(trail.contains(&("revision.apply".to_owned(), "done".to_owned(), kept.to_owned())), "{trail:?}");

    // Nothing to waive is nothing to write down.
    write(&dir, "tests.yaml", PROMISE);
    let good = apply(&dir, &["--even-if-tests-fail", "in case"]);
    assert!(good.code == 0 && good.err.contains("nothing to waive"), "{}", good.err);
    assert!(!bartizan(&dir, &["history"]).out.contains("in case"));

    // An empty set is refused whatever is waived.
    fs::remove_file(dir.join("set/gateway.yaml")).unwrap();
    write(&dir, "tests.yaml", "");
    let empty = apply(&dir, &["--even-if-tests-fail", "x"]);
    assert!(empty.code == 1 && empty.err.contains("an empty set never goes live"), "{}", empty.err);
}
