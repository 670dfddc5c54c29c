//! The two questions, asked of the shipped golden set.

use std::path::Path;

use super::{outlook::May, what, who};
use crate::command::{
    explain::ask::Ask,
    set::{Sound, open_sound},
};

fn sound() -> Sound {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/access.yaml");
    open_sound(&[path]).unwrap().map_err(|_| "the set has problems").unwrap()
}

fn who_can(sound: &Sound, method: &str, url: &str) -> Vec<String> {
    let ask = Ask::read(method, url, &[], None, "127.0.0.1".parse().unwrap()).unwrap();
    let entered = ask.enter(&sound.snapshot, None).unwrap();
    let Some(report) = who::Report::of(sound, &ask, &entered, true) else {
        return vec!["nothing".to_owned()];
    };
    report
        .callers
        .iter()
        .map(|caller| {
            let name = caller.consumer.as_deref().unwrap_or("nobody");
            format!("{name} {} {}", caller.answer.may.as_str(), caller.answer.conditions.join(" & "))
        })
        .map(|line| line.trim_end().to_owned())
        .collect()
}

#[test]
fn who_can_lists_every_caller_with_its_conditions() {
    let sound = sound();
    for (method, url, expected) in [
        ("GET", "/customers/ada/orders", &["ada yes", "sam yes", "eve no", "tom no", "nobody no"][..]),
        ("GET", "/customers/eve/orders", &["eve yes", "sam yes", "ada no", "tom no", "nobody no"]),
        ("PUT", "/customers/ada/orders", &["ada no", "eve no", "sam no", "tom no", "nobody no"]),
        (
            "GET",
            "/reports",
            &["sam depends not (now.getHours() < 6) [rule night]", "ada no", "eve no", "tom no", "nobody no"],
        ),
        ("GET", "/open", &["ada yes", "eve yes", "sam yes", "tom yes", "nobody yes"]),
        ("GET", "/elsewhere", &["nothing"]),
    ] {
        assert_eq!(who_can(&sound, method, url), expected, "{method} {url}");
    }
}

#[test]
fn what_can_lists_every_way_by_methods_with_one_answer() {
    let sound = sound();
    let what_can = |name: &str| -> Vec<String> {
        let report = what::Report::of(&sound, &sound.snapshot.consumers[name], false);
        let row = |row: &what::Row| {
            let conditions = row.answer.conditions.join(" & ");
            let line =
                format!("{} {} {} {conditions}", row.methods.join(","), row.path, row.answer.may.as_str());
            line.trim_end().to_owned()
        };
        report.ways.iter().map(row).collect()
    };
    let open = "any /open yes";
    assert_eq!(
        what_can("ada"),
        ["GET /customers/{customer}/orders depends path.customer == identity.sub", open]
    );
    assert_eq!(
        what_can("sam"),
        [
            "GET,HEAD /customers/{customer}/orders yes",
            open,
            "GET,HEAD /reports depends not (now.getHours() < 6) [rule night]"
        ]
    );
    // Disabled: nothing but what asks nobody.
    assert_eq!(what_can("tom"), [open]);
}

#[test]
fn an_answer_names_policy_rule_and_role() {
    let sound = sound();
    let report = what::Report::of(&sound, &sound.snapshot.consumers["sam"], true);
    let row = report.ways.iter().find(|row| row.path == "/reports" && row.answer.may == May::No).unwrap();
    assert_eq!(row.answer.by[0].text(), "AuthorizationPolicy/by-role: nothing in it allows it");
    let row = report.ways.iter().find(|row| row.path.starts_with("/customers")).unwrap();
    assert_eq!(row.answer.by[0].text(), "AuthorizationPolicy/by-role: rule granted, role support");
}
