//! `bartizan routes`: the exposed surface.

use crate::{bartizan, explain::SHOP, files, golden};

#[test]
fn everything_that_can_be_reached_stands_in_one_table() {
    let dir = files(&[("shop.yaml", SHOP)]);
    let ran = bartizan(&dir, &["routes", "--config", "."]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    golden("routes.txt", &ran.out);
    let exposures = "\
BZ-9002  A route admits callers without a credential.
BZ-9008  A policy only watches, for some or all callers.
";
    assert_eq!(ran.err, exposures);
}

#[test]
fn programs_get_a_row_for_each_way() {
    let dir = files(&[("shop.yaml", SHOP)]);
    let surface = bartizan(&dir, &["routes", "--config", ".", "--format", "json"]).json();
    assert_eq!(surface["listeners"][0]["redirectHttps"], 8443);
    let rows = surface["routes"].as_array().unwrap();
    assert_eq!(rows.len(), 5, "none by the listener that redirects");
    let open = rows.iter().find(|row| row["route"] == "open").unwrap();
    assert_eq!(open["conditions"], serde_json::json!(["header x-version = 2"]));
    assert_eq!(open["exposures"], serde_json::json!(["BZ-9002"]));
    let list = rows.iter().find(|row| row["rule"] == "orders/list").unwrap();
    assert_eq!(
        list["upstreams"],
        serde_json::json!([
            { "name": "orders", "percent": 75 }, { "name": "orders-next", "percent": 25 }
        ])
    );
}

#[test]
fn a_host_that_its_listener_does_not_serve_is_marked() {
    let text = SHOP.replace("hostnames: [reports.shop.example]", "hostnames: [reports.example]");
    let dir = files(&[("shop.yaml", &text)]);
    let surface = bartizan(&dir, &["routes", "--config", ".", "--format", "json"]).json();
    let reachable = |route: &str| {
        let rows = surface["routes"].as_array().unwrap();
        rows.iter().find(|row| row["route"] == route).unwrap()["reachable"].clone()
    };
    assert_eq!([reachable("reports"), reachable("open")], [false, true]);
    assert!(bartizan(&dir, &["routes", "--config", "."]).data().contains("(not served here)"));
}

#[test]
fn a_set_that_publishes_nothing_has_an_empty_table() {
    let dir = files(&[("empty.yaml", "")]);
    let ran = bartizan(&dir, &["routes", "--config", "."]);
    assert_eq!(ran.out.lines().count(), 1);
    assert!(ran.code == 0 && ran.err.contains("nothing is published"), "{}", ran.err);
}
