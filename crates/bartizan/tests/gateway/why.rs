//! What was served can be asked about afterwards, and what is rehearsed is what would have been served.

use std::{path::Path, process::Command};

use bartizan_testkit::{Origin, Reply, TempDir};

use crate::harness::{API_KEYS, Gate, document, key, simple, wait};

/// Runs the binary and returns its exit code, standard output and standard error.
fn run(arguments: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_bartizan")).args(arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// The set that both tests serve: keys, a role, and two calls an hour.
fn set(url: &str) -> String {
    let anna = document("Consumer", "anna", "{ roles: [reader] }");
    let bert = document("Consumer", "bert", "{}");
    let role = document("Role", "reader", "{ grants: [{ routes: all, methods: [GET] }] }");
    let by_role = document("AuthorizationPolicy", "by-role", "{}");
    let limit = document("RateLimitPolicy", "two", "{ limits: { requests: 2, timeWindow: 1h } }");
    simple(url, &[API_KEYS, &anna, &bert, &role, &by_role, &limit])
}

#[test]
fn why_tells_the_story_of_a_request_and_log_finds_it_by_its_consumer() {
    let origin = Origin::start(|_| Reply::ok("here"));
    let (mut anna, mut bert) = (String::new(), String::new());
    let keys = |data: &Path| {
        anna = key(data, "anna", None);
        bert = key(data, "bert", None);
    };
    let gate = Gate::start_with(&set(&origin.url()), keys, &[]);
    let client = gate.client();
    let ask = |id: &str, key: &str| {
        client.get("/orders?token=secret", &[("x-api-key", key), ("x-request-id", id)]).status
    };
    assert_eq!(
        [ask("r-1", &anna), ask("r-2", &anna), ask("r-3", &anna), ask("r-4", &bert)],
        [200, 200, 429, 403]
    );
    assert_eq!(client.get("/orders", &[("x-request-id", "r-5")]).status, 401);
    let data = path(gate.data());
    let why = |id: &str, more: &[&str]| run(&[&["why", id, "--data-dir", data], more].concat());
    wait("the last record to be there", || why("r-5", &[]).0 == 0);

    let (_, served, _) = why("r-1", &[]);
    for text in [
        "GET api.test/orders?token=***",
        "consumer anna by ",
        "upstream origin at 127.0.0.1",
        "→ 200 to the caller",
    ] {
        assert!(served.contains(text), "{text}:\n{served}");
    }
    assert!(!served.contains("secret") && !served.contains(&anna), "{served}");

    let (_, limited, _) = why("r-3", &["--config", path(gate.documents.path())]);
    for text in [
        "limit      refused   RateExceeded by RateLimitPolicy/two",
        "a higher limit in RateLimitPolicy/two",
        "it admits 2 per 1h, over it 429",
        "docs/errors/RateExceeded.md",
    ] {
        assert!(limited.contains(text), "{text}:\n{limited}");
    }
    let (_, forbidden, _) = why("r-4", &["--config", path(gate.documents.path())]);
    for text in [
        "authorize  refused   NotAllowed by AuthorizationPolicy/by-role",
        "roles that permit something on all: reader",
        "bert has no role",
    ] {
        assert!(forbidden.contains(text), "{text}:\n{forbidden}");
    }

    let (_, of_anna, _) = run(&["log", "--data-dir", data, "--consumer", "anna", "--since", "1h"]);
    assert!(
        ["r-1", "r-2", "r-3"].iter().all(|id| of_anna.contains(id)) && !of_anna.contains("r-4"),
        "{of_anna}"
    );
    let (_, refused, _) = run(&["log", "--data-dir", data, "--refused", "--format", "json"]);
    let refused: serde_json::Value = serde_json::from_str(&refused).unwrap();
    let ids: Vec<&str> = refused.as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["r-3", "r-4", "r-5"]);
    let (code, _, told) = why("r-6", &[]);
    assert!(code == 1 && told.contains("no request r-6"), "{code} {told}");
}

#[test]
fn a_gateway_that_keeps_no_records_has_no_store() {
    let origin = Origin::start(|_| Reply::ok("here"));
    let gate = Gate::start_with(&simple(&origin.url(), &[]), |_| (), &["--records", "0"]);
    let answer = gate.get("/", &[]);
    gate.record_of(&answer);
    assert!(!gate.data().join("records").exists());
}

#[test]
fn what_is_rehearsed_is_what_is_served() {
    let origin = Origin::start(|_| Reply::ok("here"));
    let mut anna = String::new();
    let set = set(&origin.url());
    let gate = Gate::start_with(&set, |data| anna = key(data, "anna", None), &[]);
    let client = gate.client();
    let mut steps = String::new();
    // Method, target, whether the key is sent.
    let requests = [
        ("GET", "/orders", false),
        ("GET", "/orders", true),
        ("POST", "/orders", true),
        ("GET", "/orders/../admin", true),
        ("TRACE", "/orders", true),
        ("GET", "/a%2fb", true),
        ("GET", "/orders?x=1", true),
        ("GET", "/orders", true),
        ("OPTIONS", "/orders", false),
    ];
    let mut statuses = Vec::new();
    for (method, target, sends_key) in requests {
        let key: &[(&str, &str)] = if sends_key { &[("x-api-key", &anna)] } else { &[] };
        let mut raw = gate.raw();
        let headers: String = key.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        raw.send(format!(
            "{method} {target} HTTP/1.1\r\nhost: api.test\r\n{headers}connection: close\r\n\r\n"
        ));
        let answer = String::from_utf8_lossy(&raw.read_to_end().0).into_owned();
        let status: u16 = answer.split(' ').nth(1).unwrap().parse().unwrap();
        let reason = answer.split("\"code\":\"").nth(1).and_then(|rest| rest.split('"').next());
        let identity = if sends_key { "{ consumer: anna }" } else { "{}" };
        let expect = match reason {
            Some(reason) => format!("{{ status: {status}, reason: {reason} }}"),
            None => "{ decision: forward }".to_owned(),
        };
        statuses.push(status);
        steps.push_str(&format!(
            "    - {{ request: {{ method: {method}, url: \"{target}\" }}, identity: {identity}, expect: {expect} }}\n"
        ));
    }
    drop(client);
    assert!([200, 400, 401, 403, 405, 429].iter().all(|one| statuses.contains(one)), "{statuses:?}");
    let tests = format!(
        "apiVersion: management.v1\nkind: PolicyTest\nmetadata: {{ name: as-served }}\nspec:\n  steps:\n{steps}"
    );
    let dir = TempDir::new();
    std::fs::write(dir.join("set.yaml"), &set).unwrap();
    std::fs::write(dir.join("tests.yaml"), tests).unwrap();
    let (code, out, error) = run(&["test", path(dir.path())]);
    assert_eq!(code, 0, "{out}{error}");
}
