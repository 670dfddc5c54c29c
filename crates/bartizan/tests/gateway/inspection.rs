//! Inspection end to end: what is refused, what passes beside it, and what is written down.

use bartizan_testkit::{Client, Documents, Origin, Raw, Received, Reply};

use crate::harness::{API_KEYS, Gate, document, route, simple, upstream, wait};

/// Rules whose verdicts are easy to foresee.
pub(crate) const OWN: &str = r#"
SecRule ARGS "@contains attack" "id:1000,phase:2,deny,msg:'an attack',tag:'own',t:lowercase"
SecRule REQUEST_HEADERS:X-Bad "@streq 1" "id:1001,phase:1,deny,msg:'a bad header'"
SecRule FILES "@endsWith .php" "id:1002,phase:2,deny,msg:'a script'"
SecRule XML:/* "@contains attack" "id:1003,phase:2,deny,msg:'an attack in XML'"
SecRule RESPONSE_BODY "@contains leaked" "id:2000,phase:4,deny,msg:'a leak'"
SecRule RESPONSE_HEADERS:X-Inside "@streq 1" "id:2001,phase:3,deny,msg:'an inner header'"
"#;

/// A gateway before `url` with one InspectionPolicy over [`OWN`] and these fields.
pub(crate) fn guarded(url: &str, fields: &str) -> Gate {
    with_rules(&simple(url, &[&policy("own", fields)]))
}

/// A policy over [`OWN`].
pub(crate) fn policy(name: &str, fields: &str) -> String {
    document("InspectionPolicy", name, &format!("{{ ruleSets: [{{ files: [rules/own.conf] }}]{fields} }}"))
}

/// A gateway with documents and [`OWN`] beside them.
pub(crate) fn with_rules(documents: &str) -> Gate {
    let files = Documents::new([("gateway.yaml", documents), ("rules/own.conf", OWN)]);
    Gate::start_set(files, |_| (), &[])
}

const FORM: &str = "application/x-www-form-urlencoded";
const MULTIPART: &str = "multipart/form-data; boundary=b7Q";

fn multipart(name: &str, value: &str) -> String {
    format!(
        "--b7Q\r\nContent-Disposition: form-data; name=\"title\"\r\n\r\n{value}\r\n--b7Q\r\nContent-Disposition: form-data; \
         name=\"file\"; filename=\"{name}\"\r\nContent-Type: image/png\r\n\r\nbytes\r\n--b7Q--\r\n"
    )
}

/// Target, type and body; first what is refused, then the nearest that is not.
fn pairs() -> Vec<(&'static str, [(&'static str, &'static str, String); 2])> {
    let pair = |bad: (&'static str, &'static str, &str), good: (&'static str, &'static str, &str)| {
        [(bad.0, bad.1, bad.2.to_owned()), (good.0, good.1, good.2.to_owned())]
    };
    vec![
        ("query", pair(("/?q=an+attack", "", ""), ("/?q=an+atta+ck", "", ""))),
        ("form", pair(("/", FORM, "a=1&q=ATTACK"), ("/", FORM, "a=1&q=ATTA-CK"))),
        ("name of a field", pair(("/", FORM, "q=%61ttack"), ("/", FORM, "attack=q"))),
        (
            "JSON",
            pair(
                ("/", "application/json", r#"{"deep":[{"q":"an \u0061ttack"}]}"#),
                ("/", "application/json", r#"{"attack":[{"q":"none"}]}"#),
            ),
        ),
        (
            "JSON by suffix",
            pair(
                ("/", "application/vnd.api+json; charset=utf-8", r#"{"q":"attack"}"#),
                ("/", "application/vnd.api+json; charset=utf-8", r#"{"q":"at tack"}"#),
            ),
        ),
        (
            "multipart text",
            pair(
                ("/", MULTIPART, &multipart("a.png", "attack")),
                ("/", MULTIPART, &multipart("a.png", "fine")),
            ),
        ),
        (
            "multipart file name",
            pair(("/", MULTIPART, &multipart("a.php", "x")), ("/", MULTIPART, &multipart("php.png", "x"))),
        ),
        (
            "XML",
            pair(
                ("/", "text/xml", "<a><b>an attack</b></a>"),
                ("/", "text/xml", "<attack><b>none</b></attack>"),
            ),
        ),
    ]
}

fn call(client: &Client, (target, kind, body): &(&str, &str, String)) -> bartizan_testkit::Answer {
    let headers: &[(&str, &str)] = if kind.is_empty() { &[] } else { &[("content-type", kind)] };
    client.call(if kind.is_empty() { "GET" } else { "POST" }, target, headers, body.clone())
}

fn chunked(raw: &mut Raw, kind: &str, body: &str) -> bartizan_testkit::RawAnswer {
    raw.send(format!(
        "POST / HTTP/1.1\r\nHost: api.test\r\nContent-Type: {kind}\r\nTransfer-Encoding: chunked\r\n\r\n"
    ));
    for piece in body.as_bytes().chunks(7) {
        raw.send(format!("{:x}\r\n", piece.len())).send(piece).send("\r\n");
    }
    raw.send("0\r\n\r\n").answer()
}

#[test]
fn an_attack_is_refused_wherever_it_stands_and_what_is_near_it_passes_whole() {
    let origin = Origin::answering("ok");
    let gate = guarded(&origin.url(), "");
    let versions =
        [("HTTP/1.1", gate.client()), ("HTTP/2", Client::http2(gate.web()).with_authority("api.test"))];
    for (version, client) in versions {
        for (place, [bad, good]) in pairs() {
            let refused = call(&client, &bad);
            assert_eq!(refused.status, 403, "{place} by {version}");
            assert_eq!(refused.json()["code"], "AttackDetected", "{place} by {version}");
            assert_eq!(origin.take().len(), 0, "{place} by {version}: the origin saw it");
            let passed = call(&client, &good);
            assert_eq!(passed.status, 200, "{place} by {version}: {}", passed.text());
            assert_eq!(origin.take_one().body, good.2, "{place} by {version}");
        }
    }
    for (place, [bad, good]) in pairs().into_iter().filter(|(_, [bad, _])| !bad.1.is_empty()) {
        assert_eq!(chunked(&mut gate.raw(), bad.1, &bad.2).status, 403, "{place} in chunks");
        assert_eq!(origin.take().len(), 0, "{place} in chunks: the origin saw it");
        assert_eq!(chunked(&mut gate.raw(), good.1, &good.2).status, 200, "{place} in chunks");
        assert_eq!(origin.take_one().body, good.2, "{place} in chunks");
    }
}

#[test]
fn the_baseline_refuses_an_injection_and_lets_a_name_with_an_apostrophe_pass() {
    let origin = Origin::answering("ok");
    let baseline = document("InspectionPolicy", "attacks", "{ ruleSets: [baseline] }");
    let gate = Gate::start(&simple(&origin.url(), &[&baseline]));
    let json = [("content-type", "application/json")];
    assert_eq!(gate.client().call("POST", "/", &json, r#"{"name":"x' OR 1=1 --"}"#).status, 403);
    assert_eq!(gate.get("/?q=1%27%20OR%20%271%27=%271", &[]).status, 403);
    assert_eq!(gate.client().call("POST", "/", &json, r#"{"name":"O'Brien"}"#).status, 200);
    assert_eq!(gate.get("/?q=O%27Brien", &[]).status, 200);
    for method in ["PUT", "PATCH", "DELETE"] {
        assert_eq!(gate.client().call(method, "/orders/7", &json, "{}").status, 200, "{method}");
    }
}

#[test]
fn a_refusal_by_the_head_asks_for_no_body() {
    let origin = Origin::answering("ok");
    let gate = guarded(&origin.url(), "");
    let mut raw = gate.raw();
    let head = "POST / HTTP/1.1\r\nHost: api.test\r\nContent-Type: application/json\r\nContent-Length: 9\r\nExpect: 100-continue\r\n";
    let answer = raw.send(format!("{head}X-Bad: 1\r\n\r\n")).answer();
    assert_eq!((answer.status, &answer.json()["code"]), (403, &"AttackDetected".into()));
    let mut raw = gate.raw();
    raw.send(format!("{head}X-Bad: 0\r\n\r\n"));
    assert_eq!(raw.bytes(12), b"HTTP/1.1 100");
}

#[test]
fn the_record_tells_rule_place_and_way_out_and_nothing_of_the_value() {
    let origin = Origin::answering("ok");
    let gate = guarded(&origin.url(), "");
    let headers = [("content-type", "application/json")];
    let refused = gate.client().call("POST", "/", &headers, r#"{"password":"hunter2 ATTACK"}"#);
    assert!(!refused.text().contains("1000") && !refused.text().contains("own"), "{}", refused.text());
    let record = gate.record_of(&refused);
    assert_eq!(record["policy"], "InspectionPolicy/own");
    assert_eq!((&record["stage"], &record["reason"]), (&"inspect".into(), &"AttackDetected".into()));
    let rule = &record["rules"][0];
    assert_eq!((&rule["rule"], &rule["role"]), (&1000.into(), &"decided".into()), "{record}");
    assert!(rule["at"].as_str().unwrap().ends_with("rules/own.conf:2"), "{rule}");
    assert_eq!(rule["variable"], "ARGS:json.password");
    assert_eq!(rule["transforms"], "lowercase");
    assert_eq!(rule["message"], "an attack");
    assert_eq!(rule["exclusion"], r#"{ rules: [1000], targets: ["ARGS:json.password"] }"#);
    assert!(!record.to_string().to_lowercase().contains("hunter"), "{record}");
    let detail = record["detail"].as_str().unwrap();
    assert!(detail.contains("rule 1000") && detail.contains("ARGS:json.password"), "{detail}");
    let policy = "policy=\"InspectionPolicy/own\"";
    gate.wait_for_metric(
        &format!("bartizan_inspections_total{{{policy},outcome=\"refused\",mode=\"enforce\"}}"),
        1.0,
    );
    gate.wait_for_metric(
        &format!("bartizan_inspection_matches_total{{{policy},group=\"1\",mode=\"enforce\"}}"),
        1.0,
    );
}

#[test]
fn why_names_rule_place_variable_and_the_way_out_from_the_record_of_the_refusal() {
    let origin = Origin::answering("ok");
    let gate = guarded(&origin.url(), "");
    let refused = gate.client().call("GET", "/?note=an+ATTACK", &[("x-request-id", "r-1")], "");
    assert_eq!(refused.status, 403);
    let why = || {
        let data = gate.data().to_str().unwrap().to_owned();
        let ran = std::process::Command::new(env!("CARGO_BIN_EXE_bartizan"))
            .args(["why", "r-1", "--data-dir", &data])
            .output()
            .unwrap();
        String::from_utf8(ran.stdout).unwrap()
    };
    wait("the record to be kept", || !why().is_empty());
    let told = why();
    for text in [
        "rule       1000 refused it: an attack",
        "rules/own.conf:2; ARGS:note after lowercase, of the shape aa aaaaaa",
        "ruleModes: [{ rules: [1000], mode: shadow }]",
        "exclusions: [{ rules: [1000], targets: [\"ARGS:note\"] }]",
    ] {
        assert!(told.contains(text), "{text}:\n{told}");
    }
    assert!(!told.to_lowercase().contains("an attack in") && !told.contains("ATTACK"), "{told}");
}

#[test]
fn the_exclusion_that_the_record_names_lets_the_request_pass_and_only_it() {
    let origin = Origin::answering("ok");
    let gate = guarded(&origin.url(), ", exclusions: [{ rules: [1000], targets: [\"ARGS:json.password\"] }]");
    let headers = [("content-type", "application/json")];
    assert_eq!(gate.client().call("POST", "/", &headers, r#"{"password":"attack"}"#).status, 200);
    assert_eq!(gate.client().call("POST", "/", &headers, r#"{"note":"attack"}"#).status, 403);
}

#[test]
fn an_exclusion_holds_on_its_routes_alone() {
    let origin = Origin::answering("ok");
    let excluded = policy("own", ", exclusions: [{ tags: [own], routes: [notes] }]");
    let parts = [
        crate::harness::WEB.to_owned(),
        upstream("origin", &[&origin.url()]),
        route("notes", "/notes", "origin"),
        route("rest", "/", "origin"),
        excluded,
    ];
    let gate = with_rules(&parts.join("---\n"));
    assert_eq!(gate.get("/notes?q=attack", &[]).status, 200);
    assert_eq!(gate.get("/other?q=attack", &[]).status, 403);
    assert_eq!(gate.get("/notes", &[("x-bad", "1")]).status, 403);
}

#[test]
fn a_single_rule_can_watch_or_be_off() {
    let origin = Origin::answering("ok");
    let modes = ", ruleModes: [{ rules: [1000], mode: shadow }, { rules: [\"1001-1001\"], mode: off }]";
    let gate = guarded(&origin.url(), modes);
    let watched = gate.get("/?q=attack", &[]);
    assert_eq!(watched.status, 200);
    let record = gate.record_of(&watched);
    assert_eq!((&record["rules"][0]["rule"], &record["rules"][0]["role"]), (&1000.into(), &"shadow".into()));
    let off = gate.get("/", &[("x-bad", "1")]);
    assert_eq!(off.status, 200);
    assert!(gate.record_of(&off)["rules"].is_null());
    let body = multipart("a.php", "x");
    assert_eq!(gate.client().call("POST", "/", &[("content-type", MULTIPART)], body).status, 403);
}

#[test]
fn a_policy_in_shadow_changes_nothing_and_tells_everything() {
    let origin = Origin::answering("ok");
    let gate = guarded(&origin.url(), ", mode: shadow, phases: [request, response]");
    let body = r#"{"q":"attack"}"#;
    let answer = gate.client().call("POST", "/a", &[("content-type", "application/json")], body);
    assert_eq!((answer.status.as_u16(), answer.text()), (200, "ok"));
    assert_eq!(origin.take_one().body, body);
    let record = gate.record_of(&answer);
    let would = &record["would_deny"][0];
    assert_eq!((&would["mode"], &would["stage"]), (&"would_deny".into(), &"inspect".into()), "{record}");
    assert_eq!(
        (&would["policy"], &would["reason"]),
        (&"InspectionPolicy/own".into(), &"AttackDetected".into())
    );
    assert_eq!(record["rules"][0]["role"], "shadow");
    assert_eq!(record["exit"], "complete");
    // What it would not refuse leaves no trace.
    let fine = gate.client().call("POST", "/a", &[("content-type", "application/json")], "{}");
    let record = gate.record_of(&fine);
    assert!(record["would_deny"].is_null() && record["rules"].is_null(), "{record}");
    origin.take();
    // A body that is only watched is forwarded as it comes: in chunks, while one that is judged has a length.
    let framing = |received: &Received| received.header("transfer-encoding").map(str::to_owned);
    assert_eq!(chunked(&mut gate.raw(), "application/json", "{}").status, 200);
    assert_eq!(framing(&origin.take_one()).as_deref(), Some("chunked"));
    let judged = guarded(&origin.url(), "");
    assert_eq!(chunked(&mut judged.raw(), "application/json", "{}").status, 200);
    let received = origin.take_one();
    assert_eq!((framing(&received), received.header("content-length")), (None, Some("2")));
}

#[test]
fn a_shadow_that_sees_no_end_of_a_body_says_that_it_is_incomplete() {
    let origin = Origin::answering("ok");
    let gate = guarded(&origin.url(), ", mode: shadow, request: { bodyBytes: 64B }");
    let long = format!("q={}", "a".repeat(100));
    for (headers, body, why) in [
        (vec![("content-type", FORM)], long.as_str(), "longer"),
        (vec![("content-type", FORM), ("content-encoding", "gzip")], "q=1", "coding"),
    ] {
        let answer = gate.client().call("POST", "/", &headers, body.to_owned());
        assert_eq!(answer.status, 200);
        let record = gate.record_of(&answer);
        assert_eq!(record["would_deny"][0]["mode"], "shadow_incomplete", "{record}");
        assert!(record["would_deny"][0]["detail"].as_str().unwrap().contains(why), "{record}");
    }
}

#[test]
fn callers_outside_of_the_share_are_only_watched() {
    let origin = Origin::answering("ok");
    let gate = guarded(&origin.url(), ", enforcePercent: 0");
    let answer = gate.get("/?q=attack", &[]);
    assert_eq!(answer.status, 200);
    assert_eq!(gate.record_of(&answer)["would_deny"][0]["mode"], "would_deny");
}

#[test]
fn a_body_beyond_what_is_judged_is_refused_unless_the_policy_names_another_way() {
    let origin = Origin::answering("ok");
    let size = "request: { bodyBytes: 64B";
    let end = format!("a={}&q=attack", "x".repeat(80));
    let start = format!("q=attack&a={}", "x".repeat(80));
    let form = [("content-type", FORM)];
    let gate = guarded(&origin.url(), &format!(", {size} }}"));
    let refused = gate.client().call("POST", "/", &form, format!("a={}", "x".repeat(80)));
    assert_eq!((refused.status.as_u16(), &refused.json()["code"]), (413, &"BodyTooLarge".into()));
    assert_eq!(gate.record_of(&refused)["policy"], "InspectionPolicy/own");
    assert_eq!(chunked(&mut gate.raw(), FORM, &end).status, 413);
    assert_eq!(
        gate.client().call("POST", "/", &form, format!("a={}", "x".repeat(62))).status,
        200,
        "64 bytes"
    );
    assert_eq!(
        gate.client().call("POST", "/", &form, format!("a={}", "x".repeat(63))).status,
        413,
        "65 bytes"
    );
    let gate = guarded(&origin.url(), &format!(", {size}, onOversize: judgeStart }}"));
    origin.take();
    assert_eq!(gate.client().call("POST", "/", &form, start.clone()).status, 403);
    assert_eq!(chunked(&mut gate.raw(), FORM, &start).status, 403);
    assert_eq!(origin.take().len(), 0);
    assert_eq!(gate.client().call("POST", "/", &form, end.clone()).status, 200);
    assert_eq!(origin.take_one().body, end, "all of it passes");
    assert_eq!(chunked(&mut gate.raw(), FORM, &end).status, 200);
    assert_eq!(origin.take_one().body, end, "all of it passes");
    let gate = guarded(&origin.url(), &format!(", {size}, onOversize: allow }}"));
    for body in [&start, &end] {
        assert_eq!(gate.client().call("POST", "/", &form, body.clone()).status, 200);
        assert_eq!(origin.take_one().body, body);
        assert_eq!(chunked(&mut gate.raw(), FORM, body).status, 200);
        assert_eq!(origin.take_one().body, body);
    }
    assert_eq!(gate.client().call("POST", "/", &form, "q=attack").status, 403, "a small one is judged");
}

#[test]
fn a_compressed_body_is_refused_unless_the_policy_lets_it_pass() {
    let origin = Origin::answering("ok");
    let gate = guarded(&origin.url(), "");
    for coding in ["gzip", "br", "identity, gzip"] {
        let headers = [("content-type", FORM), ("content-encoding", coding)];
        let refused = gate.client().call("POST", "/", &headers, "q=1");
        assert_eq!(
            (refused.status.as_u16(), &refused.json()["code"]),
            (403, &"InspectionIncomplete".into()),
            "{coding}"
        );
    }
    let identity = [("content-type", FORM), ("content-encoding", "identity")];
    assert_eq!(gate.client().call("POST", "/", &identity, "q=1").status, 200);
    assert_eq!(gate.client().call("POST", "/", &identity, "q=attack").status, 403);
    let gate = guarded(&origin.url(), ", request: { onEncoded: allow }");
    let gzip = [("content-type", FORM), ("content-encoding", "gzip")];
    assert_eq!(gate.client().call("POST", "/", &gzip, "q=attack").status, 200);
}

#[test]
fn what_cannot_be_judged_is_refused_and_passes_only_by_on_fault() {
    let origin = Origin::answering("ok");
    let many = "a; ".repeat(1001);
    let form = [("content-type", FORM)];
    let json = [("content-type", "application/json")];
    let gate = guarded(&origin.url(), "");
    assert_eq!(gate.get("/", &[("cookie", &many)]).json()["code"], "InspectionIncomplete");
    let fields = "a&".repeat(1001);
    for (headers, body) in
        [(&form, fields.as_str()), (&json, r#"{"a":1,"a":2}"#), (&json, "{"), (&json, "[1]x")]
    {
        let refused = gate.client().call("POST", "/", headers, body.to_owned());
        assert_eq!(
            (refused.status.as_u16(), &refused.json()["code"]),
            (403, &"InspectionIncomplete".into()),
            "{body}"
        );
    }
    let gate = guarded(&origin.url(), ", onFault: allow");
    let passed = gate.get("/", &[("cookie", &many)]);
    assert_eq!(passed.status, 200);
    let record = gate.record_of(&passed);
    assert_eq!(record["faults"][0]["policy"], "InspectionPolicy/own", "{record}");
    assert_eq!(record["faults"].as_array().unwrap().len(), 1, "{record}");
    gate.wait_for_metric(
        "bartizan_policy_faults_total{policy=\"InspectionPolicy/own\",on_fault=\"allow\"}",
        1.0,
    );
    // A body that can be read in two ways is no fault of the judge.
    assert_eq!(gate.client().call("POST", "/", &json, r#"{"a":1,"a":2}"#).status, 403);
}

#[test]
fn a_body_that_comes_too_slowly_is_no_longer_waited_for() {
    let origin = Origin::answering("ok");
    let slow = simple(&origin.url(), &[&policy("own", "")])
        .replace("backendRefs:", "timeouts: { request: 1s }, backendRefs:");
    let gate = with_rules(&slow);
    let mut raw = gate.raw();
    raw.send("POST / HTTP/1.1\r\nHost: api.test\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{\"a\"");
    let answer = raw.answer();
    assert_eq!((answer.status, &answer.json()["code"]), (408, &"RequestTimeout".into()));
    assert_eq!(origin.take().len(), 0);
}

#[test]
fn every_policy_must_let_a_request_pass() {
    let origin = Origin::answering("ok");
    let narrow = document(
        "InspectionPolicy",
        "narrow",
        "{ targetRefs: [{ kind: Route, name: all }], ruleSets: [{ files: [rules/own.conf] }], exclusions: [{ rules: [1000] }] }",
    );
    let gate = with_rules(&simple(&origin.url(), &[&policy("wide", ""), &narrow]));
    let refused = gate.get("/?q=attack", &[]);
    assert_eq!(refused.status, 403, "a narrower policy loosens nothing");
    assert_eq!(gate.record_of(&refused)["policy"], "InspectionPolicy/wide");
    assert_eq!(gate.get("/?q=fine", &[]).status, 200);
}

#[test]
fn changed_rules_are_another_set() {
    let origin = Origin::answering("ok");
    let gate = guarded(&origin.url(), "");
    assert_eq!(gate.get("/?q=other", &[]).status, 200);
    gate.documents.write("rules/own.conf", OWN.replace("@contains attack", "@contains other"));
    wait("the changed rules to be in force", || gate.get("/?q=other", &[]).status == 403);
    assert_eq!(gate.get("/?q=attack", &[]).status, 200);
    // Rules that cannot be loaded change nothing.
    gate.documents.write("rules/own.conf", "SecRule ARGS \"@unknown x\" \"id:1,phase:2,deny\"");
    gate.gateway.wait_for_stderr("own.conf:1");
    assert_eq!(gate.get("/?q=other", &[]).status, 403);
}

#[test]
fn rule_files_outside_the_folder_of_documents_are_watched_too() {
    let origin = Origin::answering("ok");
    let rules = Documents::new([("own.conf", OWN)]);
    let path = rules.path().join("own.conf");
    let policy = document(
        "InspectionPolicy",
        "own",
        &format!("{{ ruleSets: [{{ files: ['{}'] }}] }}", path.display()),
    );
    let gate = Gate::start(&simple(&origin.url(), &[&policy]));
    assert_eq!(gate.get("/?q=other", &[]).status, 200);
    rules.write("own.conf", OWN.replace("@contains attack", "@contains other"));
    wait("the changed rules to be in force", || gate.get("/?q=other", &[]).status == 403);
}

#[test]
fn a_policy_on_a_consumer_judges_its_requests_and_nobody_elses() {
    let origin = Origin::answering("ok");
    let consumers = [document("Consumer", "partner", "{}"), document("Consumer", "own", "{}")];
    let targeted = document(
        "InspectionPolicy",
        "of-partner",
        "{ targetRefs: [{ kind: Consumer, name: partner }], ruleSets: [{ files: [rules/own.conf] }] }",
    );
    let documents = simple(&origin.url(), &[API_KEYS, &consumers[0], &consumers[1], &targeted]);
    let gate = with_rules(&documents);
    let (partner, own) = (gate.key("partner"), gate.key("own"));
    let ask = |key: &str, target: &str| gate.get(target, &[("x-api-key", key)]);
    wait("the keys", || [&partner, &own].iter().all(|key| ask(key, "/?q=fine").status == 200));
    let refused = ask(&partner, "/?q=attack");
    assert_eq!(refused.status, 403);
    assert_eq!(gate.record_of(&refused)["policy"], "InspectionPolicy/of-partner");
    assert_eq!(ask(&own, "/?q=attack").status, 200);
}

#[test]
fn large_bodies_do_not_stand_before_a_small_request() {
    let origin = Origin::answering("ok");
    let baseline = document("InspectionPolicy", "attacks", "{ ruleSets: [baseline] }");
    let gate = Gate::start(&simple(&origin.url(), &[&baseline]));
    let words: Vec<String> =
        (0..400).map(|number| format!("\"{} {number}\"", "plain words ".repeat(150))).collect();
    let large = format!("[{}]", words.join(","));
    assert!(large.len() > 512 << 10 && large.len() < 1 << 20, "{}", large.len());
    let order = std::sync::Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let json = [("content-type", "application/json")];
                let answer = gate.client().call("POST", "/", &json, large.clone());
                assert_eq!(answer.status, 200, "{}", answer.text());
                order.lock().unwrap().push("large");
            });
        }
        scope.spawn(|| {
            gate.wait_for_metric("bartizan_http_in_flight_requests", 8.0);
            assert_eq!(gate.get("/?q=small", &[]).status, 200);
            order.lock().unwrap().push("small");
        });
    });
    let order = order.into_inner().unwrap();
    assert_eq!(order.len(), 9);
    assert_ne!(order.last(), Some(&"small"), "{order:?}");
}

#[test]
fn an_answer_that_matches_is_refused_whole() {
    let origin = Origin::start(|received| match received.target.as_str() {
        "/leak" => Reply::ok("fine until ")
            .with("content-type", "text/html")
            .then(std::time::Duration::ZERO, "it leaked"),
        "/inside" => Reply::ok("x").with("content-type", "text/html").with("x-inside", "1"),
        "/binary" => Reply::ok("leaked").with("content-type", "image/png"),
        "/gzip" => Reply::ok("leaked").with("content-type", "text/html").with("content-encoding", "gzip"),
        "/long" => Reply::ok("x".repeat(100)).with("content-type", "text/html"),
        "/streamed" => {
            let piece = "x".repeat(50);
            Reply::ok(piece.clone()).with("content-type", "text/html").then(std::time::Duration::ZERO, piece)
        }
        _ => Reply::ok("{\"fine\":1}").with("content-type", "application/json").with("x-kept", "1"),
    });
    let gate = guarded(&origin.url(), ", phases: [response], response: { bodyBytes: 64B }");
    for (target, status) in [
        ("/leak", 502),
        ("/inside", 502),
        ("/gzip", 502),
        ("/long", 502),
        ("/streamed", 502),
        ("/binary", 200),
        ("/fine", 200),
        // The request is not this policy's subject.
        ("/fine?q=attack", 200),
    ] {
        let answer = gate.get(target, &[("accept-encoding", "gzip"), ("range", "bytes=0-3")]);
        assert_eq!(answer.status.as_u16(), status, "{target}: {}", answer.text());
        let received = origin.take_one();
        assert_eq!(received.header("accept-encoding"), Some("identity"), "{target}");
        assert_eq!(received.header("range"), None, "{target}");
        if status == 502 {
            assert_eq!(answer.json()["code"], "ResponseRefused", "{target}");
            assert!(!answer.text().contains("leaked") && answer.header("x-inside").is_none(), "{target}");
            let record = gate.record_of(&answer);
            assert_eq!(
                (&record["stage"], &record["policy"]),
                (&"screen".into(), &"InspectionPolicy/own".into()),
                "{target}"
            );
        }
    }
    let fine = gate.get("/fine", &[]);
    assert_eq!((fine.text(), fine.header("x-kept")), ("{\"fine\":1}", Some("1")));
    let record = gate.record_of(&gate.get("/leak", &[]));
    assert_eq!(
        (&record["rules"][0]["rule"], &record["rules"][0]["half"]),
        (&2000.into(), &"response".into()),
        "{record}"
    );
    let head = gate.client().call("HEAD", "/fine", &[], "");
    assert_eq!((head.status.as_u16(), head.header("content-length")), (200, Some("10")));
}

#[test]
fn a_long_answer_passes_by_its_start_where_the_policy_says_so() {
    let tail = "leaked".to_owned();
    let origin = Origin::start(move |received| {
        let (start, end) = if received.target == "/start" {
            (tail.clone(), "x".repeat(90))
        } else {
            ("x".repeat(90), tail.clone())
        };
        Reply::ok(start).with("content-type", "text/html").then(std::time::Duration::ZERO, end)
    });
    let gate =
        guarded(&origin.url(), ", phases: [response], response: { bodyBytes: 64B, onOversize: judgeStart }");
    assert_eq!(gate.get("/start", &[]).status, 502);
    let passed = gate.get("/end", &[]);
    assert_eq!((passed.status.as_u16(), passed.text().len()), (200, 96));
}

#[test]
fn an_answer_that_is_only_watched_passes_and_is_told() {
    let origin = Origin::start(|_| Reply::ok("it leaked").with("content-type", "text/html"));
    let gate = guarded(&origin.url(), ", phases: [response], mode: shadow");
    let answer = gate.get("/?q=attack", &[("accept-encoding", "br")]);
    assert_eq!((answer.status.as_u16(), answer.text()), (200, "it leaked"));
    assert_eq!(origin.take_one().header("accept-encoding"), Some("br"));
    let record = gate.record_of(&answer);
    let would = &record["would_deny"][0];
    assert_eq!(
        (&would["stage"], &would["reason"]),
        (&"screen".into(), &"ResponseRefused".into()),
        "{record}"
    );
    assert_eq!(record["rules"].as_array().unwrap().len(), 1, "{record}");
}

#[test]
fn the_core_rule_set_refuses_attacks_and_lets_an_api_work() {
    let beside = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/crs");
    let folder = std::env::var_os("BARTIZAN_CRS").map_or(beside, std::path::PathBuf::from);
    if !folder.join("rules").is_dir() {
        eprintln!("skipped: no Core Rule Set at {} (BARTIZAN_CRS)", folder.display());
        return;
    }
    let origin = Origin::start(|received| {
        match received.target.as_str() {
        "/broken" => Reply::new(500, "You have an error in your SQL syntax; check the manual that corresponds to your MySQL server version")
            .with("content-type", "text/html"),
        _ => Reply::ok("{}").with("content-type", "application/json"),
    }
    });
    let folder = folder.canonicalize().unwrap();
    let spec = format!("{{ ruleSets: [{{ crs: {} }}], phases: [request, response] }}", folder.display());
    let gate = Gate::start(&simple(&origin.url(), &[&document("InspectionPolicy", "crs", &spec)]));
    let json = [("content-type", "application/json"), ("accept", "application/json"), ("user-agent", "test")];
    let order = r#"{"customer":{"name":"O'Brien","note":"don't ring"},"ids":[1,2,3]}"#;
    for method in ["POST", "PUT", "PATCH", "DELETE"] {
        let answer = gate.client().call(method, "/orders/7", &json, order);
        assert_eq!(answer.status, 200, "{method}: {}", gate.record_of(&answer));
    }
    assert_eq!(gate.get("/search?q=blue+shoes", &json[1..]).status, 200);
    let refused = gate.get("/search?q=1%27+UNION+SELECT+password+FROM+users--", &json[1..]);
    assert_eq!((refused.status.as_u16(), &refused.json()["code"]), (403, &"AttackDetected".into()));
    let record = gate.record_of(&refused);
    let decided = record["rules"].as_array().unwrap().iter().find(|rule| rule["role"] == "decided").unwrap();
    assert_eq!(decided["rule"], 949110, "{record}");
    assert!(record["detail"].as_str().unwrap().contains("ARGS:q"), "{record}");
    let broken = gate.get("/broken", &json[1..]);
    assert_eq!((broken.status.as_u16(), &broken.json()["code"]), (502, &"ResponseRefused".into()));
}
