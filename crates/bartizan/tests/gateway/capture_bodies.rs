//! Bodies, tokens and certificates in captures: what judges read of them is judged again, and no credential is kept.

use std::{
    process::Command,
    time::{SystemTime, UNIX_EPOCH},
};

use aws_lc_rs::hmac;
use bartizan_testkit::{Authority, Client, Documents, Origin, TempDir};
use rcgen::SanType;
use serde_json::Value;

use crate::harness::{API_KEYS, Gate, document, key, route, simple, upstream, wait};

fn run(arguments: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_bartizan")).args(arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// A capture of everything that `gate` is asked from now on.
struct Capture<'g> {
    gate: &'g Gate,
    folder: TempDir,
}

impl<'g> Capture<'g> {
    fn begin(gate: &'g Gate, bodies: &str) -> Self {
        let capture = Capture { gate, folder: TempDir::new() };
        let (file, key) = (capture.path("traffic"), capture.path("key"));
        let data = gate.data().to_str().unwrap();
        let arguments =
            ["capture", &file, "--key-file", &key, "--sample", "100", "--whole", "--data-dir", data];
        let (code, out, err) = run(&[&arguments[..], &["--bodies", bodies]].concat());
        assert_eq!(code, 0, "{out}{err}");
        capture
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    fn ends_with(&self, records: u64) -> Value {
        let data = self.gate.data().to_str().unwrap();
        let state = || -> Value {
            serde_json::from_str(&run(&["capture", "--data-dir", data, "--format", "json"]).1).unwrap()
        };
        wait("all requests to be in the file", || state()["records"] == records);
        assert_eq!(run(&["capture", "--stop", "--data-dir", data]).0, 0);
        state()
    }

    /// What the documents at `against` make of it.
    fn replay(&self, against: &str) -> Value {
        let (file, key) = (self.path("traffic"), self.path("key"));
        let (code, out, err) =
            run(&["replay", &file, "--key-file", &key, "--against", against, "--format", "json"]);
        assert!(code < 2, "{out}{err}");
        serde_json::from_str(&out).unwrap()
    }

    /// The same set with one text in the place of another.
    fn replay_with(&self, from: &str, to: &str) -> Value {
        let folder = TempDir::new();
        for entry in std::fs::read_dir(self.gate.documents.path()).unwrap() {
            let path = entry.unwrap().path();
            let text = std::fs::read_to_string(&path).unwrap();
            std::fs::write(folder.path().join(path.file_name().unwrap()), text.replace(from, to)).unwrap();
        }
        self.replay(folder.path().to_str().unwrap())
    }

    /// Every record in clear text.
    fn records(&self) -> String {
        let key = bartizan_telemetry::capture::CaptureKey::read(self.path("key").as_ref()).unwrap();
        let bytes = std::fs::read(self.path("traffic")).unwrap();
        let mut reader = bartizan_telemetry::capture::CaptureReader::begin(bytes.as_slice(), &key).unwrap();
        let mut all = String::new();
        while let Some(record) = reader.next_record().unwrap() {
            all.push_str(&String::from_utf8_lossy(record));
        }
        all
    }
}

/// How many requests differ in which way, and how many cannot be judged.
fn counts(report: &Value) -> (u64, u64, u64, u64) {
    let of = |name: &str| report["differences"][name]["count"].as_u64().unwrap();
    let number = |name: &str| report[name].as_u64().unwrap();
    (number("requests"), of("newlyRefused"), of("newlyAllowed"), number("notJudgeable"))
}

const SCHEMA: &str = r#"{ "type": "object", "required": ["id"], "properties": { "id": { "type": "integer", "maximum": 100 } } }"#;

fn judged_by_bodies(url: &str) -> Documents {
    let consumers = document("Consumer", "anna", "{}");
    let attacks = document("InspectionPolicy", "attacks", "{ ruleSets: [baseline] }");
    let order = document("SchemaPolicy", "order", "{ schema: { file: order.json.schema } }");
    let limit =
        document("RateLimitPolicy", "mine", "{ limits: { requests: 1000, timeWindow: 1h, burst: 20 } }");
    let set = simple(url, &[API_KEYS, &consumers, &attacks, &order, &limit]);
    Documents::new([("gateway.yaml", set.as_str()), ("order.json.schema", SCHEMA)])
}

const JSON: (&str, &str) = ("content-type", "application/json");

#[test]
fn with_bodies_an_inspection_and_a_schema_are_judged_again_without_a_difference() {
    let origin = Origin::answering("here");
    let mut anna = String::new();
    let gate = Gate::start_set(judged_by_bodies(&origin.url()), |data| anna = key(data, "anna", None), &[]);
    let capture = Capture::begin(&gate, "whole");
    let headers = [JSON, ("x-api-key", anna.as_str())];
    let mut expected = Vec::new();
    for client in [gate.client(), Client::http2(gate.web()).with_authority("api.test")] {
        for body in [
            r#"{"id":7,"note":"fine"}"#.to_owned(),
            r#"{"id":70}"#.to_owned(),
            r#"{"id":"seven"}"#.to_owned(),
            r#"{"id":8,"q":"1' UNION SELECT password FROM users--"}"#.to_owned(),
            format!(r#"{{"id":9,"note":"{}"}}"#, "x".repeat(30_000)),
        ] {
            for _ in 0..3 {
                expected.push(client.call("POST", "/orders", &headers, body.clone()).status.as_u16());
            }
        }
        expected.push(client.get("/orders?q=%27%20or%201=1--", &headers).status.as_u16());
        expected.push(client.call("POST", "/orders", &[JSON], "{}").status.as_u16());
    }
    for status in [200, 401, 403, 422, 429] {
        assert!(expected.contains(&status), "{expected:?}");
    }
    let calls = expected.len() as u64;
    capture.ends_with(calls);
    let same = capture.replay(gate.documents.path().to_str().unwrap());
    assert_eq!((counts(&same), same["different"].as_u64()), ((calls, 0, 0, 0), Some(0)), "{same:#}");
    // A number that is not admitted any more, by a schema that looks into the body.
    let stricter = capture.replay_with("\"maximum\": 100", "\"maximum\": 50");
    let (_, refused, _, unseen) = counts(&stricter);
    assert!((1..=6).contains(&refused) && unseen == 0, "{stricter:#}");
    assert!(!capture.records().contains(&anna));
}

#[test]
fn a_redacted_capture_leaves_bodies_out_that_may_hold_secrets_and_they_are_not_judgeable() {
    let origin = Origin::answering("here");
    let mut anna = String::new();
    let gate = Gate::start_set(judged_by_bodies(&origin.url()), |data| anna = key(data, "anna", None), &[]);
    let capture = Capture::begin(&gate, "redacted");
    let headers = [JSON, ("x-api-key", anna.as_str())];
    for body in [r#"{"id":1}"#.to_owned(), r#"{"id":2,"password":"hunter2"}"#.to_owned(), {
        format!(r#"{{"id":3,"note":"{}"}}"#, "x".repeat(70_000))
    }] {
        assert_eq!(gate.client().call("POST", "/", &headers, body).status, 200);
    }
    let state = capture.ends_with(3);
    assert_eq!(state["bodiesLeftOut"], 2, "{state}");
    let report = capture.replay(gate.documents.path().to_str().unwrap());
    assert_eq!(counts(&report), (3, 0, 0, 2), "{report:#}");
    assert_eq!(report["causes"][0]["cause"], "no body", "{report:#}");
    assert!(!capture.records().contains("hunter2"));
}

/// A token that the shared secret signs.
fn token(claims: &str) -> String {
    let part = |text: &[u8]| {
        let text = bartizan_identity::base64::encode(text);
        text.replace('+', "-").replace('/', "_").trim_end_matches('=').to_owned()
    };
    let signed = format!("{}.{}", part(br#"{"alg":"HS256","typ":"at+jwt"}"#), part(claims.as_bytes()));
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
    format!("{signed}.{}", part(hmac::sign(&key, signed.as_bytes()).as_ref()))
}

const SECRET: &str = "0123456789abcdef0123456789abcdef0123456789";

fn judged_by_tokens(url: &str) -> String {
    let tokens = "{ methods: [{ type: Jwt, jwt: { issuer: \"https://id.example\", audiences: [orders], \
        algorithms: [HS256], keys: { secretRef: \"env://BZ_TEST_SECRET\" }, claims: { consumer: client_id, roles: scope } } }], \
        failures: { enabled: false } }";
    simple(
        url,
        &[
            &document("AuthenticationPolicy", "tokens", tokens),
            &document("Consumer", "shop", "{}"),
            &document("Role", "read", "{ grants: [{ routes: [all], methods: [GET] }] }"),
            &document("Role", "write", "{ grants: [{ routes: [all], methods: [POST] }] }"),
            &document("AuthorizationPolicy", "roles", "{}"),
            &document("InspectionPolicy", "attacks", "{ ruleSets: [baseline] }"),
            &document("RateLimitPolicy", "mine", "{ limits: { requests: 1000, timeWindow: 1h, burst: 9 } }"),
        ],
    )
}

#[test]
fn what_tokens_said_is_judged_again_and_no_token_is_kept() {
    let origin = Origin::answering("here");
    let documents = judged_by_tokens(&origin.url());
    let gate = Gate::start_with_env(&documents, ("BZ_TEST_SECRET", SECRET));
    let capture = Capture::begin(&gate, "whole");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let claims = |scope: &str, exp: u64| {
        format!(
            r#"{{"iss":"https://id.example","aud":"orders","client_id":"shop","sub":"ada","scope":"{scope}","exp":{exp}}}"#
        )
    };
    let reader = token(&claims("read", now + 600));
    let forged = format!("{}x", token(&claims("read write", now + 600)).trim_end_matches('A'));
    let mut statuses = Vec::new();
    for (bearer, method) in [
        (Some(&reader), "GET"),
        (Some(&reader), "POST"),
        (Some(&token(&claims("read write", now + 600))), "POST"),
        (Some(&token(&claims("read", now - 600))), "GET"),
        (Some(&forged), "GET"),
        (None, "GET"),
    ] {
        for _ in 0..5 {
            let bearer = bearer.map(|token| format!("Bearer {token}"));
            let headers: Vec<(&str, &str)> =
                bearer.iter().map(|bearer| ("authorization", bearer.as_str())).collect();
            statuses.push(gate.client().call(method, "/orders", &headers, "").status.as_u16());
        }
    }
    for status in [200, 401, 403, 429] {
        assert!(statuses.contains(&status), "{statuses:?}");
    }
    capture.ends_with(30);
    let same = capture.replay(gate.documents.path().to_str().unwrap());
    assert_eq!((counts(&same), same["different"].as_u64()), ((30, 0, 0, 0), Some(0)), "{same:#}");
    // Roles from another claim, another audience: judged from what the tokens said.
    let elsewhere = capture.replay_with("roles: scope", "roles: groups");
    assert!(counts(&elsewhere).1 >= 8 && counts(&elsewhere).3 == 0, "{elsewhere:#}");
    let audience = capture.replay_with("audiences: [orders]", "audiences: [billing]");
    assert!(counts(&audience).1 >= 8 && counts(&audience).3 == 0, "{audience:#}");
    let wider = capture.replay_with("methods: [GET]", "methods: [GET, POST]");
    assert!((4..=5).contains(&counts(&wider).2) && counts(&wider).3 == 0, "{wider:#}");
    let records = capture.records();
    let (signed, signature) = reader.rsplit_once('.').unwrap();
    assert!(!records.contains(signature) && !records.contains(&signed[..60]), "no token is in it");
    assert!(records.contains("\"sub\":\"ada\""), "what it says is");
}

#[test]
fn a_certificate_is_judged_again() {
    let (servers, clients) = (Authority::new(), Authority::new());
    let origin = Origin::answering("here");
    let server = servers.issue(&["api.test"]);
    let tls = "tls: { certificates: [{ chainRef: file://server.pem, keyRef: file://server.key }], \
        clientAuthentication: { mode: optional, caCertificates: [file://clients.pem] } }";
    let listener =
        format!("{{ addresses: [\"127.0.0.1:0\"], protocol: HTTPS, hostnames: [api.test], {tls} }}");
    let set = [
        document("Listener", "web", &listener),
        upstream("origin", &[&origin.url()]),
        route("all", "/", "origin"),
        document("AuthenticationPolicy", "who", "{ methods: [{ type: ClientCertificate }] }"),
        document("Consumer", "anna", "{ certificates: [{ uri: \"spiffe://x/anna\" }] }"),
    ]
    .join("---\n");
    let set = Documents::new([
        ("gateway.yaml", set),
        ("server.pem", server.chain),
        ("server.key", server.key),
        ("clients.pem", clients.pem()),
    ]);
    let gate = Gate::start_set(set, |_| (), &[]);
    let capture = Capture::begin(&gate, "none");
    let card = |uri: &str| {
        clients
            .issue_with(&[], |params| params.subject_alt_names = vec![SanType::URI(uri.try_into().unwrap())])
    };
    for (uri, status) in [("spiffe://x/anna", 200), ("spiffe://x/nobody", 401)] {
        let client = Client::https_as(gate.web(), "api.test", &servers.pem(), &card(uri), false).unwrap();
        assert_eq!(client.with_authority("api.test").get("/", &[]).status, status);
    }
    capture.ends_with(2);
    let same = capture.replay(gate.documents.path().to_str().unwrap());
    assert_eq!((counts(&same), same["different"].as_u64()), ((2, 0, 0, 0), Some(0)), "{same:#}");
    let swapped = capture.replay_with("spiffe://x/anna", "spiffe://x/nobody");
    assert_eq!(counts(&swapped), (2, 1, 1, 0), "{swapped:#}");
}
