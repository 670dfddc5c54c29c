//! HeaderPolicy, and the headers that only the gateway may set.

use bartizan_testkit::{Origin, Reply};

use crate::harness::{Gate, WEB, document, route, simple, upstream};

#[test]
fn every_value_of_a_checked_header_is_judged() {
    let origin = Origin::answering("ok");
    let policy = document(
        "HeaderPolicy",
        "strict",
        "{ request: { check: [{ name: x-tenant, required: true, pattern: \"[a-z]+\", minLength: 2, maxLength: 5 }], forbid: [x-debug] } }",
    );
    let gate = Gate::start(&simple(&origin.url(), &[&policy]));
    let client = gate.client();
    let table: [(&[(&str, &str)], bool); 8] = [
        (&[("x-tenant", "acme")], true),
        (&[("x-tenant", "acme"), ("x-tenant", "other")], true),
        (&[], false),
        (&[("x-tenant", "a")], false),
        (&[("x-tenant", "abcdef")], false),
        (&[("x-tenant", "ACME")], false),
        (&[("x-tenant", "acme"), ("x-tenant", "../x")], false),
        (&[("x-tenant", "acme"), ("x-debug", "")], false),
    ];
    for (headers, passes) in table {
        let answer = client.get("/", headers);
        assert_eq!(answer.status, if passes { 200 } else { 400 }, "{headers:?}");
        if !passes {
            assert_eq!(answer.json()["code"], "HeaderRefused", "{headers:?}");
            let record = gate.record_of(&answer);
            assert_eq!(record["policy"], "HeaderPolicy/strict", "{record}");
        }
    }
}

#[test]
fn changes_reach_the_upstream_and_the_caller_and_none_touches_what_the_gateway_vouches_for() {
    let origin = Origin::start(|_| Reply::ok("ok").with("x-inside", "secret").with("server", "old/1.0"));
    let policy = document(
        "HeaderPolicy",
        "changes",
        "{ request: { change: { set: [{ name: x-set, value: new }], add: [{ name: x-add, value: two }], remove: [x-remove] } },
           response: { set: [{ name: x-frame-options, value: DENY }], remove: [x-inside] } }",
    );
    let gate = Gate::start(&simple(&origin.url(), &[&policy]));
    let answer =
        gate.get("/", &[("x-set", "old"), ("x-add", "one"), ("x-remove", "gone"), ("x_set", "underscore")]);
    assert_eq!(answer.header("x-frame-options"), Some("DENY"));
    assert_eq!(answer.header("x-inside"), None);
    let seen = origin.take_one();
    assert_eq!(seen.header("x-set"), Some("new"));
    let added: Vec<_> = seen.headers.get_all("x-add").iter().collect();
    assert_eq!(added, ["one", "two"]);
    assert_eq!((seen.header("x-remove"), seen.header("x_set")), (None, None));
}

#[test]
fn a_document_cannot_set_a_reserved_header() {
    for name in
        ["x-consumer-name", "x-request-id", "host", "content-length", "transfer-encoding", "x-forwarded-for"]
    {
        let policy = document(
            "HeaderPolicy",
            "bad",
            &format!("{{ request: {{ change: {{ set: [{{ name: {name}, value: x }}] }} }} }}"),
        );
        let documents = bartizan_testkit::Documents::one(simple("http://127.0.0.1:1", &[&policy]));
        let start = bartizan_testkit::Gateway::starting("run").arg("--config").arg(documents.path());
        let (status, _, errors) = start.arg("--admin").arg("127.0.0.1:0").finish();
        assert!(matches!(status, Some(1 | 2)), "{name}: {status:?}");
        assert!(errors.contains(name), "{name}: {errors}");
    }
}

#[test]
fn a_request_id_is_kept_when_valid_and_minted_otherwise() {
    let origin = Origin::answering("ok");
    let gate = Gate::start(&simple(&origin.url(), &[]));
    let client = gate.client();
    let table: [(&[(&str, &str)], Option<&str>); 6] = [
        (&[("x-request-id", "order-4711.retry_2")], Some("order-4711.retry_2")),
        (&[], None),
        (&[("x-request-id", "")], None),
        (&[("x-request-id", "has space")], None),
        (&[("x-request-id", "a\"b")], None),
        (&[("x-request-id", "one-valid-id"), ("x-request-id", "two-valid-id")], None),
    ];
    for (headers, kept) in table {
        let answer = client.get("/", headers);
        let id = answer.header("x-request-id").expect("an id comes back").to_owned();
        assert_eq!(origin.take_one().header("x-request-id"), Some(id.as_str()), "{headers:?}");
        match kept {
            Some(kept) => assert_eq!(id, kept),
            None => assert!(id.len() >= 16 && !headers.iter().any(|(_, sent)| *sent == id), "{id}"),
        }
        gate.gateway.wait_for_record(&id);
    }
    let refused = gate.get("/%zz", &[("x-request-id", "kept-in-refusals")]);
    assert_eq!((refused.status.as_u16(), refused.header("x-request-id")), (400, Some("kept-in-refusals")));
}

#[test]
fn forwarding_headers_are_believed_from_trusted_peers_only() {
    let origin = Origin::answering("ok");
    let forged = [
        ("x-forwarded-for", "203.0.113.9"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "evil.test"),
        ("x-client-ipaddress", "203.0.113.9"),
        ("x-real-ip", "203.0.113.9"),
        ("forwarded", "for=203.0.113.9"),
    ];
    let gate = Gate::start(&simple(&origin.url(), &[]));
    let answer = gate.get("/", &forged);
    let seen = origin.take_one();
    assert!(!format!("{:?}", seen.headers).contains("203.0.113.9"), "{:?}", seen.headers);
    assert_eq!(seen.header("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(seen.header("x-client-ipaddress"), Some("127.0.0.1"));
    assert_eq!(seen.header("x-forwarded-proto"), Some("http"));
    assert_ne!(seen.header("x-forwarded-host"), Some("evil.test"));
    let record = gate.record_of(&answer);
    assert_eq!(record["client"], "127.0.0.1", "{record}");

    let trusting =
        simple(&origin.url(), &[]).replace("addresses:", "trustedProxies: [127.0.0.1], addresses:");
    let gate = Gate::start(&trusting.replace("127.0.0.1]", "127.0.0.1/32]"));
    let answer = gate.get("/", &[("x-forwarded-for", "203.0.113.9"), ("x-forwarded-proto", "https")]);
    let seen = origin.take_one();
    assert_eq!(seen.header("x-client-ipaddress"), Some("203.0.113.9"));
    assert!(seen.header("x-forwarded-for").unwrap().starts_with("203.0.113.9"), "{:?}", seen.headers);
    assert_eq!(seen.header("x-forwarded-proto"), Some("https"));
    let record = gate.record_of(&answer);
    assert_eq!(record["client"], "203.0.113.9", "{record}");
}

#[test]
fn what_belongs_to_one_hop_stays_on_it() {
    let origin = Origin::start(|_| Reply::ok("ok").with("connection", "x-hop-back").with("x-hop-back", "1"));
    let gate = Gate::start(&simple(&origin.url(), &[]));
    let hop = [
        ("connection", "x-hop, keep-alive"),
        ("x-hop", "1"),
        ("keep-alive", "timeout=5"),
        ("proxy-authorization", "Basic Zm9v"),
        ("te", "gzip"),
        ("x-end", "to-end"),
    ];
    let answer = gate.get("/", &hop);
    let seen = origin.take_one();
    for name in ["x-hop", "keep-alive", "proxy-authorization", "te"] {
        assert_eq!(seen.header(name), None, "{name} passed: {:?}", seen.headers);
    }
    assert_eq!(seen.header("x-end"), Some("to-end"));
    assert_eq!(answer.header("x-hop-back"), None);
}

#[test]
fn the_credential_of_an_upstream_replaces_the_callers_and_is_seen_by_nobody_else() {
    let origin = Origin::answering("ok");
    let secret = bartizan_testkit::TempDir::new();
    let path = secret.join("token");
    std::fs::write(&path, "s3cret-of-the-upstream\n").unwrap();
    let spec = format!(
        "{{ endpoints: [{{ url: \"{}\" }}], credential: {{ header: authorization, prefix: Bearer, valueRef: \"file://{}\" }} }}",
        origin.url(),
        path.display()
    );
    let documents =
        [WEB.to_owned(), document("Upstream", "origin", &spec), route("all", "/", "origin")].join("---\n");
    let gate = Gate::start(&documents);
    let answer = gate.get("/", &[("authorization", "Bearer of-the-caller")]);
    assert_eq!(origin.take_one().header("authorization"), Some("Bearer s3cret-of-the-upstream"));
    gate.record_of(&answer);
    for text in [gate.scrape().0, gate.gateway.stdout().join("\n"), gate.gateway.stderr().join("\n")] {
        assert!(!text.contains("s3cret"), "{text}");
    }
    let _ = upstream("unused", &[]);
}
