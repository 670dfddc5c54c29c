//! `bartizan inspect test`: one request judged by rules, offline.

use bartizan_testkit::TempDir;

use crate::{bartizan, files, run};

const ATTACK: &str =
    "POST /orders HTTP/1.1\nHost: api.test\nContent-Type: application/json\n\n{\"name\":\"x' OR 1=1 --\"}\n";
const FINE: &str =
    "POST /orders HTTP/1.1\nHost: api.test\nContent-Type: application/json\n\n{\"name\":\"O'Brien\"}";
const OWN: &str =
    "SecRule ARGS:json.name \"@contains brien\" \"id:7,phase:2,deny,t:lowercase,msg:'a name'\"\n";

#[test]
fn the_baseline_judges_a_request_from_a_file() {
    let dir = files(&[("attack.txt", ATTACK), ("fine.txt", FINE)]);
    let ran = bartizan(&dir, &["inspect", "test", "--rules", "baseline", "--request", "attack.txt"]);
    assert_eq!(ran.code, 1, "{}{}", ran.out, ran.err);
    for told in
        ["refused", "AttackDetected", "ARGS:json.name", "baseline/30-sql.conf:", "to exclude", "mode: shadow"]
    {
        assert!(ran.out.contains(told), "{told}: {}", ran.out);
    }
    let ran = bartizan(&dir, &["inspect", "test", "--rules", "baseline", "--request", "fine.txt"]);
    assert_eq!((ran.code, ran.out.as_str()), (0, "passes\n"), "{}", ran.err);
}

#[test]
fn own_rules_are_told_for_programs_with_their_place() {
    let dir = files(&[("own.conf", OWN), ("fine.txt", FINE)]);
    let arguments = ["inspect", "test", "--rules", "own.conf", "--request", "fine.txt", "--format", "json"];
    let ran = bartizan(&dir, &arguments);
    assert_eq!(ran.code, 1, "{}", ran.err);
    let told = ran.json();
    assert_eq!((&told["verdict"], &told["rule"]), (&"refused".into(), &7.into()));
    let found = &told["matches"][0];
    assert!(found["at"].as_str().unwrap().ends_with("own.conf:1"), "{found}");
    assert_eq!(found["excerpt"], "a'aaaaa", "the shape, not the value: {found}");
    assert_eq!(found["exclusion"], "{ rules: [7], targets: [\"ARGS:json.name\"] }");
}

#[test]
fn a_body_that_cannot_be_read_is_incomplete() {
    let request = FINE.replace("{\"name\"", "{\"name\":1,\"name\"");
    let ran = run(
        TempDir::new().path(),
        &["inspect", "test", "--rules", "baseline", "--request", "-"],
        Some(&request),
    );
    assert_eq!(ran.code, 1, "{}{}", ran.out, ran.err);
    assert!(ran.out.starts_with("incomplete: 403 InspectionIncomplete"), "{}", ran.out);
}

#[test]
fn what_cannot_be_tried_is_said_on_standard_error() {
    let dir = files(&[
        ("bad.conf", "\nSecRule ARGS \"@no x\" \"id:1,phase:2\""),
        ("fine.txt", FINE),
        ("empty.txt", ""),
    ]);
    for (rules, request, why) in [
        ("bad.conf", "fine.txt", "bad.conf:2"),
        ("absent.conf", "fine.txt", "absent.conf"),
        ("baseline", "absent.txt", "absent.txt"),
        ("baseline", "empty.txt", "request line"),
    ] {
        let ran = bartizan(&dir, &["inspect", "test", "--rules", rules, "--request", request]);
        assert!(
            ran.code == 2 && ran.out.is_empty() && ran.err.contains(why),
            "{rules} {request}: {}",
            ran.err
        );
    }
}
