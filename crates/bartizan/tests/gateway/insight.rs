//! A walk through objects is told by the command, the management API and the metrics, while the walker is served as before.

use std::process::Command;

use bartizan_testkit::{Client, Documents, Gateway, Origin, Reply, TempDir};
use serde_json::Value;

use crate::harness::{API_KEYS, Gate, document, key, simple, wait};

fn run(arguments: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_bartizan")).args(arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

fn json(arguments: &[&str]) -> Value {
    let (code, out, err) = run(arguments);
    assert_eq!(code, 0, "{err}");
    serde_json::from_str(&out).unwrap()
}

#[test]
fn a_walk_through_objects_is_told_and_only_told() {
    let origin = Origin::start(|_| Reply::ok("here"));
    let mut anna = String::new();
    let consumer = document("Consumer", "anna", "{}");
    let exact = r#"{ rules: [{ matches: [{ path: { type: Template, value: "/invoices/{invoice}" } }], backendRefs: [{ name: origin }] }] }"#;
    let set = simple(&origin.url(), &[API_KEYS, &consumer, &document("Route", "invoices", exact)]);
    let gate = Gate::start_with(&set, |data| anna = key(data, "anna", None), &[]);
    let client = gate.client();
    for number in 0..60 {
        let path =
            if number < 40 { format!("/orders/{}", 7_100 + number) } else { "/invoices/17".to_owned() };
        assert_eq!(client.get(&path, &[("x-api-key", anna.as_str())]).status, 200);
    }
    let data = gate.data().to_str().unwrap();
    let alerts = || json(&["insight", "alerts", "--format", "json", "--data-dir", data]);
    wait("the report to have the walk", || alerts().as_array().is_some_and(|alerts| !alerts.is_empty()));
    let told = alerts();
    let alert = &told[0];
    assert_eq!((&alert["detector"], &alert["who"]), (&"D3".into(), &"consumer anna".into()), "{alert}");
    assert_eq!(
        (&alert["where"], &alert["isLearning"]),
        (&"GET /orders/{id}".into(), &true.into()),
        "{alert}"
    );
    assert!(!told.to_string().contains("/orders/7"), "{told}");
    assert!(!told.to_string().contains(&anna));

    // The same from the record store, by the same detectors.
    let again = json(&["insight", "alerts", "--again", "--format", "json", "--data-dir", data]);
    // Under another key of its hashes, so that estimates differ a little.
    assert_eq!((&again[0]["detector"], &again[0]["who"]), (&alert["detector"], &alert["who"]));
    let (_, text, _) = run(&["insight", "alerts", "1", "--data-dir", data]);
    for part in ["one number after the other", "API1:2023", "numbers one after the other", "what to do:"] {
        assert!(text.contains(part), "{part}:\n{text}");
    }
    // The document that it suggests is one that can be checked.
    let document = alert["action"]["document"].as_str().unwrap();
    let folder = TempDir::new();
    let path = folder.path().join("suggested.yaml");
    std::fs::write(&path, format!("{set}---\n{document}")).unwrap();
    let (code, out, err) = run(&["check", path.to_str().unwrap()]);
    assert_eq!(code, 0, "{out}{err}");

    gate.wait_for_metric("bartizan_insight_events_total", 60.0);
    let scrape = gate.scrape();
    assert!((scrape.value("bartizan_insight_lost_total")).abs() < f64::EPSILON);
    assert!((scrape.value("bartizan_insight_alerts_total{outcome=\"told\"}") - 1.0).abs() < f64::EPSILON);
    assert!(scrape.value("bartizan_insight_memory_bytes") > 10_000.0);

    let report = json(&["insight", "--format", "json", "--data-dir", data]);
    assert_eq!(report["learning"]["state"], "learning");
    let rows = report["inventory"].as_array().unwrap();
    let row = |path: &str| {
        rows.iter().find(|row| row["path"] == path).unwrap_or_else(|| panic!("{path}: {rows:?}"))
    };
    assert_eq!(
        (row("/orders/{id}")["isDocumented"].clone(), row("/invoices/{id}")["isDocumented"].clone()),
        (false.into(), true.into())
    );
    let all = report["recommendations"].as_array().unwrap();
    let rules: Vec<&str> = all.iter().map(|one| one["rule"].as_str().unwrap()).collect();
    assert!(rules.contains(&"R1") && !rules.contains(&"R2"), "{rules:?}");
}

#[test]
fn what_is_proposed_is_tried_on_what_was_recorded_and_an_accepted_one_begins_a_rollout() {
    let origin = Origin::start(|_| Reply::ok("here"));
    let dir = TempDir::new();
    let data = dir.path().to_str().unwrap();
    let anna = key(dir.path(), "anna", None);
    let closed = "{ methods: [{ type: ApiKey }], failures: { enabled: false } }";
    let open = r#"{ rules: [{ matches: [{ path: { value: /open } }], backendRefs: [{ name: origin }] }] }"#;
    let policy = document(
        "AuthenticationPolicy",
        "keys",
        &closed.replace("{ methods", "{ targetRefs: [{ kind: Route, name: all }], methods"),
    );
    let parts = [policy, document("Consumer", "anna", "{}"), document("Route", "open", open)];
    let set = simple(&origin.url(), &parts.each_ref().map(String::as_str));
    let documents = Documents::one(&set);
    let files = documents.path().to_str().unwrap();
    assert_eq!(run(&["apply", "-f", files, "--reason", "first", "--data-dir", data]).0, 0);
    let start = Gateway::starting("run").arg("--store").arg("--admin").arg("127.0.0.1:0");
    let gateway = start.arg("--workers").arg("1").data_dir(dir.path()).start();
    let client = Client::http1(gateway.address("web"));
    for number in 0..40 {
        let path = format!("/orders/{}", 7_100 + number);
        assert_eq!(client.get(&path, &[("x-api-key", anna.as_str())]).status, 200);
    }
    for _ in 0..5 {
        assert_eq!(client.get("/open", &[]).status, 200);
    }
    let report = || json(&["insight", "--format", "json", "--data-dir", data]);
    let has = |report: &Value, id: &str| {
        report["recommendations"].as_array().is_some_and(|all| all.iter().any(|one| one["id"] == id))
    };
    wait("the report to have both", || {
        let report = report();
        report["alerts"].as_array().is_some_and(|all| !all.is_empty()) && has(&report, "R2-open")
    });

    // The limit that the alert suggests would have stopped the walk; told beside the alert too.
    let tried = json(&["insight", "try", "1", "--format", "json", "--data-dir", data]);
    let refused = tried["newlyRefused"].as_u64().unwrap();
    assert!((10..=30).contains(&refused), "{tried:#}");
    assert_eq!(
        (&tried["requests"], &tried["feltBy"][0]["consumer"]),
        (&45.into(), &"anna".into()),
        "{tried:#}"
    );
    let (_, alert, _) = run(&["insight", "alerts", "1", "--data-dir", data]);
    assert!(alert.contains(&format!("it would have refused {refused} of 45 calls")), "{alert}");
    // That somebody brought no key is in no log: it is told to be unknown, and never taken for nobody.
    let tried = json(&["insight", "try", "R2-open", "--format", "json", "--data-dir", data]);
    assert_eq!((&tried["newlyRefused"], &tried["notJudgeable"]), (&0.into(), &5.into()), "{tried:#}");

    let (code, _, err) = run(&["insight", "accept", "R1-all", "--reason", "x", "--data-dir", data]);
    assert!(code == 1 && err.contains("not enough is known"), "{err}");
    let (code, _, err) = run(&["insight", "accept", "1", "--data-dir", data]);
    assert!(code == 2 && err.contains("--reason"), "{err}");
    let (code, out, err) = run(&["insight", "accept", "1", "--reason", "the walk", "--data-dir", data]);
    assert!(code == 0 && err.contains("rollout 1 of revision r2-"), "{out}{err}");
    let (_, status, _) = run(&["rollout", "status", "--format", "json", "--data-dir", data]);
    let status: Value = serde_json::from_str(&status).unwrap();
    assert_eq!((&status["phase"], &status["reason"]), (&"shadow".into(), &"the walk".into()), "{status:#}");
    let (_, texts, _) = run(&["get", "--revision", "2", "--data-dir", data]);
    assert!(texts.contains("insight-all") && !texts.contains("mode: shadow"), "{texts}");
}
