//! What bodies must look like, and what answers must not tell, end to end.

use std::time::Duration;

use bartizan_testkit::{Client, Documents, Origin, Raw, Reply};

use crate::harness::{Gate, document, simple, wait};

const SCHEMA: &str = r#"{ "type": "object", "required": ["id", "lines"], "additionalProperties": false,
  "properties": { "id": { "type": "integer" }, "note": { "type": "string", "maxLength": 5 },
    "lines": { "type": "array", "minItems": 1, "items": { "type": "object", "required": ["sku"] } } } }"#;

fn gate(url: &str, fields: &str) -> Gate {
    let policy =
        document("SchemaPolicy", "order", &format!("{{ schema: {{ file: order.json.schema }}{fields} }}"));
    let files =
        Documents::new([("gateway.yaml", simple(url, &[&policy]).as_str()), ("order.json.schema", SCHEMA)]);
    Gate::start_set(files, |_| (), &[])
}

const JSON: [(&str, &str); 1] = [("content-type", "application/json")];
const FINE: &str = r#"{"id":7,"lines":[{"sku":"a"}]}"#;
const WRONG: &str = r#"{"id":"hunter2","note":"too long","lines":[{"sku":"a"},{}]}"#;

#[test]
fn all_that_is_wrong_with_a_body_is_told_by_pointers_and_none_of_its_values() {
    let origin = Origin::answering("ok");
    let gate = gate(&origin.url(), "");
    for client in [gate.client(), Client::http2(gate.web()).with_authority("api.test")] {
        assert_eq!(client.call("POST", "/", &JSON, FINE).status, 200);
        assert_eq!(origin.take_one().body, FINE);
        let refused = client.call("POST", "/", &JSON, WRONG);
        assert_eq!((refused.status.as_u16(), &refused.json()["code"]), (422, &"SchemaViolation".into()));
        assert_eq!(refused.header("content-type"), Some("application/problem+json"));
        let told = refused.json();
        let mut pointers: Vec<&str> = told["errors"]
            .as_array()
            .unwrap()
            .iter()
            .map(|error| error["pointer"].as_str().unwrap())
            .collect();
        pointers.sort_unstable();
        assert_eq!(pointers, ["/id", "/lines/1", "/note"], "{told}");
        assert!(!refused.text().contains("hunter2") && !refused.text().contains("too long"), "{told}");
        assert_eq!(origin.take().len(), 0);
        let record = gate.record_of(&refused);
        assert_eq!((&record["policy"], &record["stage"]), (&"SchemaPolicy/order".into(), &"inspect".into()));
        assert!(record["detail"].as_str().unwrap().contains("/lines/1"), "{record}");
        assert!(!record.to_string().contains("hunter2"), "{record}");
    }
}

#[test]
fn what_is_no_json_in_one_way_is_refused() {
    let origin = Origin::answering("ok");
    let strict = gate(&origin.url(), "");
    for body in [r#"{"id":1,"id":2,"lines":[{"sku":"a"}]}"#, "{", "", &"[".repeat(1000)] {
        let answer = strict.client().call("POST", "/", &JSON, body.to_owned());
        assert_eq!(answer.status.as_u16(), if body.is_empty() { 200 } else { 422 }, "{body}");
    }
    assert_eq!(strict.client().call("POST", "/", &[("content-type", "text/plain")], "x").status, 422);
    assert_eq!(strict.client().call("POST", "/", &[], FINE).status, 422);
    assert_eq!(strict.get("/", &[]).status, 200, "no body is asked for");
    let encoded = [JSON[0], ("content-encoding", "gzip")];
    assert_eq!(strict.client().call("POST", "/", &encoded, FINE).status, 403);
    let open = gate(&origin.url(), ", required: true, onOtherType: allow, bodyBytes: 64B");
    assert_eq!(open.client().call("POST", "/", &[("content-type", "text/plain")], "x").status, 200);
    let missing = open.get("/", &[]);
    assert_eq!((missing.status.as_u16(), &missing.json()["errors"][0]["pointer"]), (422, &"".into()));
    let long = format!("{FINE}{}", " ".repeat(64));
    assert_eq!(open.client().call("POST", "/", &JSON, long).status, 413);
}

#[test]
fn a_large_body_and_one_in_chunks_are_judged_too() {
    let origin = Origin::answering("ok");
    let gate = gate(&origin.url(), "");
    let lines = vec![r#"{"sku":"a"}"#; 20_000].join(",");
    let large = format!(r#"{{"id":1,"lines":[{lines}]}}"#);
    assert_eq!(gate.client().call("POST", "/", &JSON, large.clone()).status, 200);
    let refused = gate.client().call("POST", "/", &JSON, large.replacen("sku", "kus", 1));
    assert_eq!((refused.status.as_u16(), &refused.json()["errors"][0]["pointer"]), (422, &"/lines/0".into()));
    let mut raw: Raw = gate.raw();
    raw.send("POST / HTTP/1.1\r\nHost: api.test\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n");
    raw.send("4\r\n{\"id\r\n4\r\n\":1}\r\n0\r\n\r\n");
    assert_eq!(raw.answer().status, 422);
}

#[test]
fn a_schema_in_shadow_lets_everything_pass_and_tells_what_it_would_refuse() {
    let origin = Origin::answering("ok");
    let gate = gate(&origin.url(), ", mode: shadow");
    let answer = gate.client().call("POST", "/", &JSON, WRONG);
    assert_eq!(answer.status, 200);
    assert_eq!(origin.take_one().body, WRONG);
    let record = gate.record_of(&answer);
    let would = &record["would_deny"][0];
    assert_eq!(
        (&would["mode"], &would["reason"]),
        (&"would_deny".into(), &"SchemaViolation".into()),
        "{record}"
    );
    assert!(would["detail"].as_str().unwrap().contains("/note"), "{record}");
    let fine = gate.client().call("POST", "/", &JSON, FINE);
    assert!(gate.record_of(&fine)["would_deny"].is_null());
}

/// In two pieces, so that nothing that looks for keys takes this file for one that holds some.
fn secret() -> String {
    format!(
        "-----BEGIN {} KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC\n-----END {} KEY-----",
        "PRIVATE", "PRIVATE"
    )
}

fn leaking() -> Origin {
    Origin::start(|received| match received.target.as_str() {
        "/leak" => Reply::ok(format!("before {} after", secret())).with("content-type", "text/plain"),
        "/binary" => Reply::ok(secret()).with("content-type", "image/png"),
        "/long" => Reply::ok("x".repeat(2000)).with("content-type", "text/plain"),
        _ => Reply::ok("nothing to hide").with("content-type", "text/plain"),
    })
}

fn screening(url: &str, fields: &str) -> Gate {
    let spec = format!("{{ ruleSets: [baseline], phases: [response]{fields} }}");
    Gate::start(&simple(url, &[&document("InspectionPolicy", "leaks", &spec)]))
}

#[test]
fn a_secret_in_an_answer_is_blocked_or_masked_and_counted_by_its_class() {
    let origin = leaking();
    let gate = screening(&origin.url(), ", response: { leaks: block, bodyBytes: 1KiB }");
    let blocked = gate.get("/leak", &[]);
    assert_eq!((blocked.status.as_u16(), &blocked.json()["code"]), (502, &"ResponseRefused".into()));
    let record = gate.record_of(&blocked);
    let leak = &record["leaks"][0];
    assert_eq!((&leak["class"], &leak["action"]), (&"private-key".into(), &"blocked".into()), "{record}");
    assert!(!record.to_string().contains("MIIEv"), "{record}");
    assert_eq!(gate.get("/fine", &[]).text(), "nothing to hide");
    assert_eq!(gate.get("/binary", &[]).status, 200);
    assert_eq!(gate.get("/long", &[]).status, 502, "what is not looked through does not pass");
    let gate = screening(&origin.url(), ", response: { leaks: mask }");
    let masked = gate.get("/leak", &[]);
    let expected = format!("before {} after", "*".repeat(secret().len()));
    assert_eq!((masked.status.as_u16(), masked.text().len()), (200, expected.len()));
    assert!(masked.text().starts_with("before *") && !masked.text().contains("MIIEv"), "{}", masked.text());
    assert_eq!(gate.record_of(&masked)["leaks"][0]["action"], "masked");
}

#[test]
fn a_stream_of_events_is_looked_through_while_it_passes() {
    let events = |event: &str| event.to_owned();
    let origin = Origin::start(move |received| {
        let told = format!("data: {}\n\n", secret().replace('\n', "\\n"));
        let wait = if received.target == "/slow" { 20 } else { 0 };
        Reply::ok(events("data: one\n\n"))
            .with("content-type", "text/event-stream")
            .then(Duration::from_secs(wait), told)
            .then(Duration::ZERO, events("data: three\n\n"))
    });
    let gate = screening(&origin.url(), ", response: { leaks: mask }");
    let client = gate.client();
    let mut slow = client.open(client.request("GET", "/slow").body(Default::default()).unwrap()).unwrap();
    assert_eq!(
        slow.piece().unwrap().as_deref(),
        Some(&b"data: one\n\n"[..]),
        "a whole event is not held back"
    );
    let masked = gate.get("/", &[]);
    assert!(masked.text().starts_with("data: one\n\ndata: *"), "{}", masked.text());
    assert!(masked.text().ends_with("*\n\ndata: three\n\n") && !masked.text().contains("MIIEv"));
    let leak = &gate.record_of(&masked)["leaks"][0];
    assert_eq!((&leak["class"], &leak["action"]), (&"private-key".into(), &"masked".into()));
    let gate = screening(&origin.url(), ", response: { leaks: block }");
    let client = gate.client();
    let mut broken = client.open(client.request("GET", "/").body(Default::default()).unwrap()).unwrap();
    let mut passed = Vec::new();
    let ended = loop {
        match broken.piece() {
            Ok(Some(piece)) => passed.extend_from_slice(&piece),
            other => break other,
        }
    };
    assert!(ended.is_err(), "the stream breaks off");
    assert_eq!(String::from_utf8(passed).unwrap(), "data: one\n\n");
    wait("the record", || gate.gateway.stdout().iter().any(|line| line.contains("\"action\":\"blocked\"")));
}

#[test]
fn a_secret_in_pieces_over_events_is_masked_in_each_or_ends_the_stream() {
    let event =
        |piece: &str| format!("data: {{\"choices\":[{{\"delta\":{{\"content\":\"{piece}\"}}}}]}}\n\n");
    // In two pieces here too, so that nothing that looks for keys takes this file for one that holds some.
    let pieces = ["The key is ", "gh", "p_aB3dE6gH9jK2", "mN5pQ8sT1vW4yZ7bC0dF3hJ6", ", ok?"];
    let events: Vec<String> = pieces.iter().map(|piece| event(piece)).collect();
    let origin = Origin::start(move |_| {
        let first = Reply::ok(events[0].clone()).with("content-type", "text/event-stream");
        events[1..].iter().fold(first, |reply, event| reply.then(Duration::ZERO, event.clone()))
    });
    let gate = screening(&origin.url(), ", response: { leaks: mask }");
    let masked = gate.get("/", &[]);
    let text = masked.text();
    assert!(text.contains("The key is ") && text.contains(", ok?"), "{text}");
    assert!(!text.contains("gH9jK2") && !text.contains("mN5pQ8") && text.contains("\"*******"), "{text}");
    let leak = &gate.record_of(&masked)["leaks"][0];
    assert_eq!((&leak["class"], &leak["count"]), (&"github-token".into(), &1.into()));
    let gate = screening(&origin.url(), ", response: { leaks: block }");
    let client = gate.client();
    let mut broken = client.open(client.request("GET", "/").body(Default::default()).unwrap()).unwrap();
    let mut passed = Vec::new();
    while let Ok(Some(piece)) = broken.piece() {
        passed.extend_from_slice(&piece);
    }
    let passed = String::from_utf8(passed).unwrap();
    assert!(!passed.contains("aB3dE6") && !passed.contains(", ok?"), "{passed}");
}

#[test]
fn a_secret_is_only_told_of_in_shadow() {
    let origin = leaking();
    let gate = screening(&origin.url(), ", response: { leaks: block }, mode: shadow");
    let answer = gate.get("/leak", &[]);
    assert!(answer.status == 200 && answer.text().contains("MIIEv"));
    let record = gate.record_of(&answer);
    assert_eq!(record["leaks"][0]["action"], "shadow", "{record}");
    assert_eq!(record["would_deny"][0]["reason"], "ResponseRefused", "{record}");
}
