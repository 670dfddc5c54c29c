//! What is counted and written down agrees with what was done.

use std::{
    io::Write,
    process::{Command, Stdio},
    time::Duration,
};

use bartizan_testkit::{Origin, Reply};

use crate::harness::{API_KEYS, Gate, document, key, simple, wait};

#[test]
fn every_request_is_counted_once_and_has_one_line() {
    let origin = Origin::start(|request| match request.target.as_str() {
        "/fails" => Reply::new(500, "no"),
        "/breaks" => Reply::ok("half").breaking_off(),
        "/slow" => Reply::ok("late").after(Duration::from_secs(30)),
        _ => Reply::ok(vec![b'x'; 1000]),
    });
    let shop = document("Consumer", "shop", "{}");
    let limit =
        document("RateLimitPolicy", "six", "{ key: [gateway], limits: { requests: 6, timeWindow: 1h } }");
    let mut good = String::new();
    let gate = Gate::start_with(
        &simple(&origin.url(), &[API_KEYS, &shop, &limit])
            .replace("value: / }", "value: / }, methods: [GET, POST]"),
        |data| good = key(data, "shop", None),
        &[],
    );
    let key = [("x-api-key", good.as_str())];
    let client = gate.client();
    for _ in 0..3 {
        assert_eq!(client.get("/", &key).status, 200);
    }
    assert_eq!(client.get("/fails", &key).status, 500);
    let mut broken = gate.raw();
    broken.send(format!(
        "GET /breaks HTTP/1.1\r\nhost: a\r\nx-api-key: {good}\r\nx-request-id: the-broken-one\r\n\r\n"
    ));
    broken.read_to_end();
    let mut left = gate.raw();
    left.send(format!(
        "GET /slow HTTP/1.1\r\nhost: a\r\nx-api-key: {good}\r\nx-request-id: the-left-one\r\n\r\n"
    ));
    origin.wait_for(6);
    gate.wait_for_metric("bartizan_http_in_flight_requests", 1.0);
    drop(left);
    for _ in 0..2 {
        assert_eq!(client.get("/", &key).status, 429);
    }
    assert_eq!(client.get("/", &[]).status, 401);
    assert_eq!(client.call("DELETE", "/", &key, "").status, 405);
    assert_eq!(gate.client().get("/%00", &key).status, 400);

    gate.wait_for_metric("bartizan_http_in_flight_requests", 0.0);
    let scrape = gate.scrape();
    let requests = |route: &str, method: &str, code: &str| {
        format!("bartizan_http_requests_total{{route=\"{route}\",method=\"{method}\",code=\"{code}\"}}")
    };
    let refusals = |stage: &str, reason: &str| {
        format!("bartizan_refusals_total{{stage=\"{stage}\",reason=\"{reason}\",mode=\"enforce\"}}")
    };
    let attempts = |outcome: &str| {
        let endpoint = origin.address();
        format!(
            "bartizan_upstream_requests_total{{upstream=\"origin\",endpoint=\"{endpoint}\",outcome=\"{outcome}\"}}"
        )
    };
    let decisions = |decision: &str| {
        format!(
            "bartizan_ratelimit_decisions_total{{policy=\"RateLimitPolicy/six\",decision=\"{decision}\",mode=\"enforce\"}}"
        )
    };
    let expected = [
        (requests("all", "GET", "200"), 4.0),
        (requests("all", "GET", "500"), 1.0),
        (requests("all", "GET", "none"), 1.0),
        (requests("all", "GET", "429"), 2.0),
        (requests("all", "GET", "401"), 1.0),
        (requests("_none", "DELETE", "405"), 1.0),
        (requests("_none", "GET", "400"), 1.0),
        (refusals("limit", "RateExceeded"), 2.0),
        (refusals("identify", "CredentialMissing"), 1.0),
        (refusals("route", "MethodNotAllowed"), 1.0),
        (refusals("admit", "MalformedRequest"), 1.0),
        (attempts("answered"), 4.0),
        (attempts("server_error"), 1.0),
        (attempts("cancelled"), 1.0),
        (decisions("allow"), 6.0),
        (decisions("deny"), 2.0),
        ("bartizan_auth_failures_total{reason=\"CredentialMissing\"}".to_owned(), 1.0),
        ("bartizan_listener_requests_total{listener=\"web\"}".to_owned(), 11.0),
        ("bartizan_http_request_duration_seconds_count{route=\"all\"}".to_owned(), 9.0),
    ];
    for (series, value) in &expected {
        assert!(
            (scrape.value(series) - value).abs() < f64::EPSILON,
            "{series} is not {value}:\n{}",
            scrape.0
        );
    }
    let total: f64 = scrape.family("bartizan_http_requests_total").values().sum();
    assert!((total - 11.0).abs() < f64::EPSILON, "{total}");

    wait("a line for each", || gate.gateway.stdout().len() >= 11);
    assert_eq!(gate.gateway.stdout().len(), 11, "{:#?}", gate.gateway.stdout());
    gate.wait_for_metric("bartizan_access_log_written_total", 11.0);
    let broken = gate.gateway.wait_for_record("the-broken-one");
    assert_eq!((&broken["exit"], &broken["status"]), (&"upstream_reset".into(), &200.into()), "{broken}");
    let left = gate.gateway.wait_for_record("the-left-one");
    assert_eq!((&left["exit"], &left["consumer"]), (&"client_gone".into(), &"shop".into()), "{left}");
    assert_eq!((&left["upstream"], left.get("status")), (&"origin".into(), None), "{left}");
}

#[test]
fn a_line_says_who_asked_what_and_how_it_went() {
    let origin = Origin::start(|_| Reply::ok("12345"));
    let record = document("RecordPolicy", "all", "{ addressPrivacy: truncated, headers: [x-trace] }");
    let gate = Gate::start(&simple(&origin.url(), &[&record]));
    let headers = [("user-agent", "curl/9"), ("x-trace", "abc"), ("x-request-id", "one-that-is-told")];
    gate.client().call("POST", "/b?token=hidden&page=2", &headers, "123");
    let line = gate.gateway.wait_for_record("one-that-is-told");
    let expected = [
        ("client", "127.0.0.0/24"),
        ("host", "api.test"),
        ("user_agent", "curl/9"),
        ("protocol", "HTTP/1.1"),
        ("route", "all"),
        ("upstream", "origin"),
        ("method", "POST"),
        ("path", "/b"),
        ("query", "token=***&page=***"),
        ("exit", "complete"),
        ("listener", "web"),
    ];
    for (field, value) in expected {
        let said = line[field].as_str().unwrap_or_default();
        assert!(said == value || (field == "client" && said.starts_with("127.0.0.0")), "{field}: {line}");
    }
    assert_eq!(
        (&line["status"], &line["request_bytes"], &line["response_bytes"]),
        (&200.into(), &3.into(), &5.into())
    );
    assert_eq!(line["headers"]["x-trace"], "abc", "{line}");
    let micros = |field: &str| line[field].as_u64().unwrap();
    // Each is rounded down by itself.
    assert!(micros("duration_us") - micros("gateway_us") - micros("upstream_us") <= 1, "{line}");
    let time = line["time"].as_str().unwrap();
    assert!(time.len() == 27 && time.ends_with('Z') && &time[10..11] == "T", "{time}");
}

#[test]
fn a_live_scrape_is_what_prometheus_expects() {
    let origin = Origin::answering("ok");
    let shop = document("Consumer", "shop", "{}");
    let limit = document("RateLimitPolicy", "hundred", "{ limits: { requests: 100, timeWindow: 1m } }");
    let gate = Gate::start(&simple(&origin.url(), &[API_KEYS, &shop, &limit]));
    assert_eq!(gate.get("/", &[]).status, 401);
    let scrape = gate.scrape().0;
    assert!(scrape.contains("# HELP") && scrape.contains("# TYPE"), "{scrape}");
    let promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut promtool) = promtool else {
        assert!(std::env::var_os("CI").is_none(), "promtool is needed here");
        return;
    };
    promtool.stdin.take().unwrap().write_all(scrape.as_bytes()).unwrap();
    let out = promtool.wait_with_output().unwrap();
    assert!(
        out.status.success(),
        "{}{}",
        String::from_utf8_lossy(&out.stdout),
        String::from_utf8_lossy(&out.stderr)
    );
}

#[test]
fn lines_that_cannot_be_written_are_counted_and_hold_nobody_up() {
    let origin = Origin::answering("ok");
    // The log goes to a pipe that nobody reads: it fills, then lines are lost, and requests go on.
    let data = bartizan_testkit::TempDir::new();
    let fifo = data.join("log");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let reader = std::fs::OpenOptions::new().read(true).write(true).open(&fifo).unwrap();
    let record = document("RecordPolicy", "all", &format!("{{ file: {{ path: \"{}\" }} }}", fifo.display()));
    let gate = Gate::start(&simple(&origin.url(), &[&record]));
    let client = bartizan_testkit::Client::http2(gate.web());
    let lost = "bartizan_access_log_lost_total{why=\"overflow\"}";
    let mut served = 0;
    while gate.scrape().value(lost) < 1.0 {
        let many: Vec<_> =
            (0..100).map(|_| client.request("GET", "/").body(Default::default()).unwrap()).collect();
        for answer in client.send_all(many) {
            assert_eq!(answer.unwrap().status, 200);
            served += 1;
        }
        assert!(served < 60_000, "nothing was lost after {served} requests");
    }
    drop(reader);
}
