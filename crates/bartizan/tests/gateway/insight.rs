//! A walk through objects is told by the command, the management API and the metrics, while the walker is served as before.

use std::process::Command;

use bartizan_testkit::{Origin, Reply};
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
    let folder = bartizan_testkit::TempDir::new();
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
