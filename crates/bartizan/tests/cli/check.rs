//! `bartizan check`: findings, exit codes, JSON.

use crate::{bartizan, files, run};

const SOUND: &str = "\
apiVersion: management.v1
kind: Listener
metadata: { name: local }
spec: { addresses: [\"127.0.0.1:8080\"] }
---
apiVersion: management.v1
kind: Upstream
metadata: { name: orders }
spec: { endpoints: [{ url: \"http://127.0.0.1:9000\" }] }
---
apiVersion: management.v1
kind: AuthenticationPolicy
metadata: { name: keys }
spec: { methods: [{ type: ApiKey }] }
---
apiVersion: management.v1
kind: RateLimitPolicy
metadata: { name: limit }
spec: { limits: { requests: \"100\", timeWindow: \"1m\" } }
---
apiVersion: management.v1
kind: Route
metadata: { name: orders }
spec: { rules: [{ backendRefs: [{ name: orders }] }] }
";

const WRONG: &str = "\
apiVersion: management.v1
kind: RateLimitPolicy
metadata: { name: limit }
spec:
  limits: { requests: 100, timeWindow: 1x }
  mod: enforce
";

#[test]
fn a_sound_set_is_fine() {
    let dir = files(&[("set.yaml", SOUND)]);
    let ran = bartizan(&dir, &["check", "."]);
    assert_eq!((ran.code, &*ran.out, &*ran.err), (0, "5 documents: no problems\n", ""));
    let ran = bartizan(&dir, &["check", "set.yaml", "--deny", "warnings,exposures"]);
    assert_eq!(ran.code, 0, "{}", ran.out);
}

#[test]
fn all_problems_are_told_at_once_with_place_cause_and_next_step() {
    let dir = files(&[("set.yaml", SOUND), ("wrong.yaml", WRONG)]);
    let ran = bartizan(&dir, &["check", "wrong.yaml"]);
    let expected = "\
problem BZ-2104  wrong.yaml:5:40  spec.limits.timeWindow
  `1x` is not a duration
  |
5 |   limits: { requests: 100, timeWindow: 1x }
  |                                        ^^

hint: write a number and a unit, for example `30s` or `5m`

problem BZ-2001  wrong.yaml:6:3  spec.mod
";
    assert_eq!((ran.code, &*ran.err), (1, ""), "{}", ran.out);
    assert!(ran.out.contains(expected), "{}", ran.out);
    assert!(ran.out.ends_with("\n1 file: 2 problems\n"), "{}", ran.out);
}

#[test]
fn a_mixed_set_tells_the_gravest_last_right_above_the_summary() {
    let open = "apiVersion: management.v1\nkind: Route\nmetadata: { name: open }\n\
                spec: { rules: [{ backendRefs: [{ name: nowhere }] }] }\n";
    let dir = files(&[("open.yaml", open)]);
    let out = bartizan(&dir, &["check", "."]).out;
    let at = |word: &str| out.find(word).unwrap_or_else(|| panic!("{word} in {out}"));
    assert!(at("warning BZ-4008") < at("problem BZ-3001"), "{out}");
}

#[test]
fn what_is_denied_fails_and_what_is_not_does_not() {
    let open: String =
        SOUND.replace("AuthenticationPolicy", "Consumer").replace("{ methods: [{ type: ApiKey }] }", "{}");
    let dir = files(&[("set.yaml", &open)]);
    let half = files(&[("half.yaml", SOUND.split("---\n").next().unwrap())]);
    for (dir, arguments, code, part) in [
        (&dir, &["check", "."][..], 0, "5 documents: 1 exposure\n"),
        (&dir, &["check", ".", "--deny", "warnings"], 0, "5 documents: 1 exposure\n"),
        (&dir, &["check", ".", "--deny", "exposures"], 1, "5 documents: 1 exposure (exposures are denied)\n"),
        (&half, &["check", "."], 0, "1 document: 1 warning\n"),
        (&half, &["check", ".", "--deny", "exposures"], 0, "1 document: 1 warning\n"),
        (&half, &["check", ".", "--deny", "exposures", "--deny", "warnings"], 1, "(warnings are denied)"),
    ] {
        let ran = bartizan(dir, arguments);
        assert!(ran.code == code && ran.out.contains(part), "{arguments:?}: {} {}", ran.code, ran.out);
    }
}

#[test]
fn what_cannot_be_read_is_no_problem_of_the_documents() {
    let dir = files(&[]);
    let ran = bartizan(&dir, &["check", "nowhere"]);
    assert_eq!((ran.code, &*ran.out), (2, ""));
    assert_eq!(ran.err.matches("No such file").count(), 1, "{}", ran.err);
    assert!(ran.err.starts_with("error: nowhere cannot be read"), "{}", ran.err);
    assert_eq!(bartizan(&dir, &["check"]).code, 2);
}

#[test]
fn programs_get_lists_by_severity_and_their_numbers() {
    let dir = files(&[("set.yaml", SOUND)]);
    let sound = bartizan(&dir, &["check", ".", "--format", "json"]);
    assert_eq!((sound.code, &*sound.err), (0, ""));
    let sound = sound.json();
    assert_eq!(sound["ok"], true);
    assert_eq!(sound["documents"], 5);
    assert_eq!(sound["revision"].as_str().map(str::len), Some(12));
    let dir = files(&[("wrong.yaml", WRONG)]);
    let wrong = bartizan(&dir, &["check", ".", "--format", "json"]);
    assert_eq!(wrong.code, 1);
    let wrong = wrong.json();
    assert_eq!((&wrong["ok"], &wrong["revision"]), (&false.into(), &serde_json::Value::Null));
    assert_eq!(wrong["counts"], serde_json::json!({ "problems": 2, "warnings": 0, "exposures": 0 }));
    assert_eq!(wrong["problems"][0]["code"], "BZ-2104");
    assert_eq!(wrong["problems"][0]["line"], 5);
    assert_eq!(wrong["problems"].as_array().map(Vec::len), Some(2));
    assert_eq!((&wrong["files"], &wrong["warnings"]), (&1.into(), &serde_json::json!([])));
}

#[test]
fn documents_come_from_standard_input_too() {
    let dir = files(&[]);
    let ran = run(dir.path(), &["check", "-"], Some(SOUND));
    assert_eq!((ran.code, &*ran.out), (0, "5 documents: no problems\n"));
    let ran = run(dir.path(), &["check", "-"], Some(WRONG));
    assert!(ran.code == 1 && ran.out.contains("<stdin>:5:40"), "{}", ran.out);
}

#[test]
fn a_secret_is_not_shown_for_an_exposure_either() {
    let secret =
        "apiVersion: management.v1\nkind: Secret\nmetadata: { name: s }\nspec: { valueRef: hunter2 }\n";
    let dir = files(&[("secret.yaml", secret)]);
    for format in ["text", "json"] {
        let ran = bartizan(&dir, &["check", ".", "--format", format]);
        assert!(ran.code == 1 && !ran.out.contains("hunter2"), "{}", ran.out);
    }
}
