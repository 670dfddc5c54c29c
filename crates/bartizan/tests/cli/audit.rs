//! `bartizan audit`: findings for people, programs and code hosts, and the inventory.

use super::{bartizan, files};

const SET: &str = r#"apiVersion: management.v1
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
metadata: { name: orders, labels: { team: shop } }
spec: { rules: [{ matches: [{ path: { value: /orders }, methods: [GET] }], backendRefs: [{ name: orders }] }] }
"#;

#[test]
fn findings_come_with_their_place_and_their_fix() {
    let dir = files(&[("set.yaml", SET)]);
    let ran = bartizan(&dir, &["audit", "."]);
    assert_eq!((ran.code, &*ran.err), (0, ""));
    for text in [
        "high",
        "BA-101",
        "Route/orders has no AuthenticationPolicy",
        "./set.yaml:13",
        "API2:2023",
        "add AuthenticationPolicy/orders-keys",
    ] {
        assert!(ran.out.contains(text), "{text}:\n{}", ran.out);
    }
    let fixes = bartizan(&dir, &["audit", ".", "--fixes"]);
    for text in [
        "why: Anyone who reaches the listener may call it.",
        "    kind: AuthenticationPolicy",
        "API2:2023 Broken Authentication",
    ] {
        assert!(fixes.out.contains(text), "{text}:\n{}", fixes.out);
    }
}

#[test]
fn an_added_document_is_a_fix_that_works() {
    let dir = files(&[("set.yaml", SET)]);
    let found = |dir: &bartizan_testkit::TempDir| {
        let report = bartizan(dir, &["audit", ".", "--format", "json"]).json();
        report["findings"].as_array().unwrap().clone()
    };
    let before = found(&dir);
    let mut added = 0;
    for finding in before.iter().filter(|finding| finding["fix"]["kind"] == "add") {
        let name = format!("fix-{}.yaml", finding["rule"].as_str().unwrap());
        std::fs::write(dir.join(name), finding["fix"]["patch"].as_str().unwrap()).unwrap();
        added += 1;
    }
    assert!(added >= 2, "{before:#?}");
    let check = bartizan(&dir, &["check", "."]);
    assert_eq!(check.code, 0, "{}", check.out);
    let test = bartizan(&dir, &["test", "."]);
    assert_eq!(test.code, 0, "{}", test.out);
    let after: Vec<String> = found(&dir).iter().map(|one| one["rule"].as_str().unwrap().to_owned()).collect();
    assert!(!after.contains(&"BA-101".to_owned()) && !after.contains(&"BA-201".to_owned()), "{after:?}");
}

#[test]
fn the_exit_code_is_for_pipelines() {
    let dir = files(&[("set.yaml", SET)]);
    for (arguments, code) in [
        (&["audit", ".", "--fail-on", "high"][..], 1),
        (&["audit", ".", "--fail-on", "high", "--skip", "BA-101,route-unlimited"][..], 0),
        (&["audit", ".", "--fail-on", "low", "--skip", "BA-101,route-unlimited"][..], 1),
        (&["audit", ".", "--skip", "BA-999"][..], 2),
        (&["audit"][..], 2),
        (&["audit", "nowhere"][..], 2),
    ] {
        let ran = bartizan(&dir, arguments);
        assert_eq!(ran.code, code, "{arguments:?}: {}{}", ran.out, ran.err);
    }
}

#[test]
fn a_baseline_hides_what_was_known() {
    let dir = files(&[("set.yaml", SET)]);
    let before = bartizan(&dir, &["audit", ".", "--format", "json"]).data();
    std::fs::write(dir.join("before.txt"), before).unwrap();
    let same = bartizan(&dir, &["audit", ".", "--baseline", "before.txt", "--fail-on", "low"]);
    assert!(same.code == 0 && same.out.contains("nothing found"), "{}", same.out);
    std::fs::write(dir.join("set.yaml"), SET.replace("127.0.0.1:8080", "0.0.0.0:8080")).unwrap();
    let new =
        bartizan(&dir, &["audit", ".", "--baseline", "before.txt", "--fail-on", "high", "--format", "json"]);
    assert_eq!(new.code, 1);
    let rules: Vec<_> =
        new.json()["findings"].as_array().unwrap().iter().map(|one| one["rule"].clone()).collect();
    assert_eq!(rules, ["BA-301", "BA-202"]);
}

#[test]
fn code_hosts_get_sarif_with_every_rule() {
    let dir = files(&[("set.yaml", SET)]);
    let log = bartizan(&dir, &["audit", ".", "--format", "sarif"]).json();
    let run = &log["runs"][0];
    assert!(run["tool"]["driver"]["rules"].as_array().unwrap().len() >= 25);
    let first = &run["results"][0];
    assert_eq!((&first["ruleId"], &first["level"]), (&"BA-101".into(), &"error".into()));
    assert_eq!(first["locations"][0]["physicalLocation"]["artifactLocation"]["uri"], "set.yaml");
}

#[test]
fn keys_are_looked_at_when_asked_for() {
    let dir = files(&[("set.yaml", SET)]);
    bartizan(&dir, &["keys", "create", "--consumer", "somebody"]).data();
    let without = bartizan(&dir, &["audit", "."]).data();
    let with = bartizan(&dir, &["audit", ".", "--keys"]).data();
    assert!(!without.contains("BA-605") && with.contains("BA-605"), "{with}");
}

#[test]
fn the_inventory_has_every_route_with_its_owner_and_policies() {
    let dir = files(&[("set.yaml", SET)]);
    let page = bartizan(&dir, &["audit", "inventory", "."]).data();
    for text in [
        "# Policies in force",
        "## orders",
        "* owner: shop",
        "* audit: BA-101",
        "| local \\* PathPrefix /orders | GET |",
    ] {
        assert!(page.contains(text), "{text}:\n{page}");
    }
    let json = bartizan(&dir, &["audit", "inventory", ".", "--format", "json"]).json();
    assert_eq!(json["routes"][0]["owner"], "shop");
    assert_eq!(json["routes"][0]["ways"][0]["methods"], serde_json::json!(["GET"]));
}

#[test]
fn only_what_is_new_since_a_revision_is_told() {
    let dir = files(&[]);
    std::fs::create_dir(dir.join("set")).unwrap();
    std::fs::write(dir.join("set/a.yaml"), SET).unwrap();
    bartizan(&dir, &["apply", "-f", "set", "--reason", "first"]).data();
    let same = bartizan(&dir, &["audit", "set", "--since", "1", "--fail-on", "low"]);
    assert!(same.code == 0 && !same.out.contains("BA-101"), "{}{}", same.out, same.err);
    let open = "---\napiVersion: management.v1\nkind: Route\nmetadata: { name: more, labels: { team: shop } }\n\
                spec: { rules: [{ matches: [{ path: { value: /more } }], backendRefs: [{ name: orders }] }] }\n";
    // Lines move, and what was there before is still not new.
    std::fs::write(dir.join("set/a.yaml"), format!("# a line\n{SET}{open}")).unwrap();
    let new = bartizan(&dir, &["audit", "set", "--since", "r1", "--fail-on", "high"]);
    assert!(
        new.code == 1 && new.out.contains("Route/more has no") && !new.out.contains("Route/orders has no"),
        "{}{}",
        new.out,
        new.err
    );
    // Without paths it is the active revision that is looked at.
    bartizan(&dir, &["apply", "-f", "set", "--reason", "second"]).data();
    let active = bartizan(&dir, &["audit", "--since", "1", "--format", "json"]).json();
    assert!(
        active["findings"].as_array().unwrap().iter().all(|one| one["document"] == "Route/more"),
        "{active}"
    );
    assert!(!active["findings"].as_array().unwrap().is_empty());
    assert_eq!(bartizan(&dir, &["audit", "set", "--since", "9"]).code, 2);
    assert_eq!(bartizan(&dir, &["audit"]).code, 2);
}
