//! Every field of a line, its masking and its limits.

use std::sync::Arc;

use bartizan_model::{Denial, Fault, Reason, Stage};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::{
    metrics::RuleGroupId,
    plan::RecordPlan,
    record::{ModelRecord, tests::record_for_test},
    rules::{LeakCount, RULES_MAX, RuleMatch, RuleRole},
};

/// Compares a generated page with the one in `docs`; with `BARTIZAN_REGENERATE` set, writes it.
pub(crate) fn check_page(name: &str, page: &str) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(name);
    if std::env::var_os("BARTIZAN_REGENERATE").is_some() {
        std::fs::write(&path, page).unwrap();
    }
    let there = std::fs::read_to_string(&path).unwrap();
    assert!(there == page, "docs/{name} is stale: run the tests with BARTIZAN_REGENERATE=1");
}

fn line(record: &RequestRecord) -> String {
    let mut out = Vec::new();
    LineFormat::new(AddressKey::from_secret(b"k")).record(record, &mut out);
    String::from_utf8(out).unwrap()
}

fn parsed(record: &RequestRecord) -> Value {
    let line = line(record);
    assert_eq!(line.matches('\n').count(), 1, "one record is one line");
    serde_json::from_str(&line).unwrap()
}

/// A record with every field filled.
pub(crate) fn full_record() -> Box<RequestRecord> {
    let mut record = record_for_test();
    let plan = RecordPlan::new("RecordPolicy/p")
        .with_headers(["accept", "authorization"].map(HeaderName::from_static), &[]);
    record.plan = Arc::new(plan);
    record.set_id("id-1");
    record.set_host(b"api.example.com");
    record.set_user_agent(b"curl/8.5.0");
    record.set_path(b"/orders/7");
    record.set_query(b"page=2&token=hunter2");
    record.set_credential_id("k_7f3a");
    record.set_subject("ada");
    record.identified_by = Some("jwt");
    record.key_state = Some("ageing");
    record.tls = Some("TLSv1.3");
    for (place, name) in [
        (&mut record.listener, "public"),
        (&mut record.route, "orders"),
        (&mut record.upstream, "orders-api"),
        (&mut record.endpoint, "10.0.0.5:8080"),
        (&mut record.consumer, "shop"),
        (&mut record.issuer, "https://id.example.com"),
        (&mut record.revision, "r12"),
    ] {
        *place = Some(name.into());
    }
    record.status = 429;
    record.request_bytes = 5;
    record.response_bytes = 1024;
    record.total = Duration::from_micros(2310);
    record.upstream_time = Some(Duration::from_micros(2200));
    record.waited = Duration::from_micros(100);
    record.upstream_attempts = 2;
    record.cached = Some((crate::metrics::PolicyId::NONE, crate::metrics::Cached::Validated));
    let denial = Denial::new(Reason::RateExceeded).by("RateLimitPolicy/p".into()).because("bucket gateway");
    record.refuse(Stage::Limit, denial);
    record.would_deny(WouldDeny {
        stage: Stage::Limit,
        policy: "RateLimitPolicy/s".into(),
        outcome: Would::Throttle(Duration::from_millis(600)),
        reason: Reason::RateExceeded,
        detail: Some("slot 2".into()),
    });
    record.passed_fault(Some("HeaderPolicy/h".into()), Fault::new(Stage::Route, "no data"));
    let mut headers = HeaderMap::new();
    headers.insert("accept", HeaderValue::from_static("*/*"));
    headers.insert("authorization", HeaderValue::from_static("Bearer hunter2"));
    record.take_headers(&headers);
    record
}

#[test]
fn a_full_record_is_written_field_by_field() {
    let expected = concat!(
        r#"{"time":"2026-01-01T00:00:00.123456Z","id":"id-1","listener":"public","client":"192.0.2.7","#,
        r#""peer":"192.0.2.7","peer_port":4711,"protocol":"HTTP/1.1","tls":"TLSv1.3","consumer":"shop","identified_by":"jwt","#,
        r#""credential":"k_7f3a","key_state":"ageing","issuer":"https://id.example.com","subject":"ada","method":"GET","host":"api.example.com","path":"/orders/7","#,
        r#""query":"page=***&token=***","user_agent":"curl/8.5.0","route":"orders","upstream":"orders-api","#,
        r#""endpoint":"10.0.0.5:8080","upstream_attempts":2,"cache":"validated","status":429,"exit":"refused","request_bytes":5,"#,
        r#""response_bytes":1024,"duration_us":2310,"gateway_us":10,"upstream_us":2200,"waited_us":100,"#,
        r#""stage":"limit","reason":"RateExceeded","policy":"RateLimitPolicy/p","detail":"bucket gateway","#,
        r#""would_deny":[{"mode":"would_throttle","stage":"limit","policy":"RateLimitPolicy/s","#,
        r#""reason":"RateExceeded","wait_ms":600,"detail":"slot 2"}],"#,
        r#""faults":[{"stage":"route","policy":"HeaderPolicy/h","detail":"no data"}],"#,
        r#""headers":{"accept":"*/*","authorization":"***"},"revision":"r12"}"#,
        "\n"
    );
    assert_eq!(line(&full_record()), expected);
}

/// A record in which every field is there.
fn complete_record() -> Box<RequestRecord> {
    let mut record = full_record();
    record.model = Some(Box::new(ModelRecord {
        operation: "chat",
        model: Some("fast".into()),
        provider: "OpenAi",
        target: Some("gpt-4o-mini".into()),
        input_tokens: Some(11),
        output_tokens: Some(7),
        ..ModelRecord::default()
    }));
    record.leaks.push(LeakCount {
        policy: "InspectionPolicy/i".into(),
        class: "private-key",
        count: 1,
        action: "masked",
    });
    // One more than is kept.
    for _ in 0..=RULES_MAX {
        record.rules.push(rule_match());
    }
    record
}

fn rule_match() -> RuleMatch {
    RuleMatch {
        policy: "InspectionPolicy/i".into(),
        rule: 8_110_010,
        group: RuleGroupId::default(),
        role: RuleRole::Matched,
        half: "request",
        at: "sql.conf:7".into(),
        message: "SQL".into(),
        variable: "ARGS:q".into(),
        transforms: "none".into(),
        excerpt: "***".into(),
        exclusion: None,
    }
}

#[test]
fn every_field_is_documented_in_its_order() {
    let line = line(&complete_record());
    let mut at = 0;
    for field in FIELDS {
        let place = line.find(&format!("\"{}\":", field.name)).unwrap_or_else(|| panic!("{}", field.name));
        assert!(place > at || at == 0, "{} is out of order", field.name);
        at = place;
    }
    let value: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(value.as_object().unwrap().len(), FIELDS.len(), "a field is not documented");
}

#[test]
fn an_empty_record_is_a_valid_line_without_empty_fields() {
    let value = parsed(&record_for_test());
    let keys: Vec<_> = value.as_object().unwrap().keys().cloned().collect();
    let mut expected = [
        "client",
        "duration_us",
        "exit",
        "gateway_us",
        "method",
        "peer",
        "peer_port",
        "protocol",
        "request_bytes",
        "response_bytes",
        "time",
    ];
    expected.sort_unstable();
    assert_eq!(keys.iter().map(String::as_str).collect::<std::collections::BTreeSet<_>>(), expected.into());
    assert_eq!(value["exit"], "abandoned");
}

#[test]
fn addresses_follow_the_plan() {
    let mut record = record_for_test();
    record.client = "2001:db8:1:2::3".parse().unwrap();
    let mut shown = |address_privacy| {
        Arc::make_mut(&mut record.plan).address_privacy = address_privacy;
        let value = parsed(&record);
        (value["client"].clone(), value["peer"].clone(), value.get("peer_port").is_some())
    };
    assert_eq!(shown(AddressPrivacy::Full), ("2001:db8:1:2::3".into(), "192.0.2.7".into(), true));
    assert_eq!(shown(AddressPrivacy::Truncated), ("2001:db8:1::".into(), "192.0.2.0".into(), false));
    let (client, peer, port) = shown(AddressPrivacy::Hashed);
    for hash in [client, peer] {
        assert!(hash.as_str().unwrap().len() == 16 && !hash.as_str().unwrap().contains([':', '.']));
    }
    assert!(!port);
}

#[test]
fn query_values_are_shown_only_where_the_plan_says_so() {
    let mut record = full_record();
    assert!(!line(&record).contains("hunter2"));
    Arc::make_mut(&mut record.plan).query_values = QueryValues::Full;
    assert_eq!(parsed(&record)["query"], "page=2&token=hunter2");
}

#[test]
fn headers_taken_under_a_laxer_plan_are_masked_by_the_stricter_one() {
    let mut record = record_for_test();
    let plan = RecordPlan::new("p").with_headers([HeaderName::from_static("x-forwarded-for")], &[]);
    record.plan = Arc::new(plan);
    let mut headers = HeaderMap::new();
    headers.insert("x-forwarded-for", HeaderValue::from_static("198.51.100.1"));
    record.take_headers(&headers);
    assert_eq!(parsed(&record)["headers"]["x-forwarded-for"], "198.51.100.1");
    Arc::make_mut(&mut record.plan).address_privacy = AddressPrivacy::Hashed;
    assert_eq!(parsed(&record)["headers"]["x-forwarded-for"], "***");
    record.plan = Arc::default();
    assert_eq!(parsed(&record)["headers"], serde_json::json!({}), "another plan shows nothing of them");
}

#[test]
fn the_largest_line_is_bounded() {
    // security.md case 37: whatever is sent, a line stays small.
    let mut record = full_record();
    let huge = vec![0_u8; 100_000];
    let names: Vec<_> = (0..100).map(|n| HeaderName::try_from(format!("h{n}")).unwrap()).collect();
    record.plan = Arc::new(RecordPlan::new("p").with_headers(names.clone(), &[]));
    record.set_host(&huge);
    record.set_user_agent(&huge);
    record.set_path(&huge);
    record.set_query(&huge);
    let headers: HeaderMap =
        names.into_iter().map(|name| (name, HeaderValue::from_bytes(&[b'"'; 9000]).unwrap())).collect();
    record.take_headers(&headers);
    let text = "\u{1}".repeat(100_000);
    record.method = Method::from_bytes(&[b'M'; 100_000]).unwrap();
    record.consumer = Some(text.as_str().into());
    for _ in 0..100 {
        record.would_deny(WouldDeny {
            stage: Stage::Limit,
            policy: text.as_str().into(),
            outcome: Would::Deny,
            reason: Reason::RateExceeded,
            detail: Some(text.as_str().into()),
        });
        record.passed_fault(None, Fault::new(Stage::Limit, text.as_str()));
    }
    let length = line(&record).len();
    assert!(length < 300_000, "{length}");
    parsed(&record);
}

#[test]
fn the_line_about_lost_records_says_how_many() {
    let mut out = Vec::new();
    LineFormat::new(AddressKey::from_secret(b"k")).lost(0, 3, 9, &mut out);
    let value: Value = serde_json::from_slice(&out).unwrap();
    assert_eq!(value["event"], "access_log_lost");
    assert_eq!((value["lost"].as_u64(), value["lost_total"].as_u64()), (Some(3), Some(9)));
}

#[test]
fn the_page_in_docs_is_fresh() {
    check_page("access-log.md", &access_log_page());
}

proptest! {
    #[test]
    fn hostile_values_stay_within_their_field(
        host in proptest::collection::vec(any::<u8>(), 0..400),
        agent in proptest::collection::vec(any::<u8>(), 0..400),
        path in proptest::collection::vec(any::<u8>(), 0..3000),
        consumer in ".{0,50}",
        why in ".{0,50}",
    ) {
        let mut record = record_for_test();
        record.set_host(&host);
        record.set_user_agent(&agent);
        record.set_path(&path);
        record.consumer = Some(consumer.as_str().into());
        record.refuse(Stage::Admit, Denial::new(Reason::MalformedRequest).because(why.as_str()));
        let value = parsed(&record);
        let of = |name: &str| value[name].as_str().unwrap().to_owned();
        prop_assert_eq!(of("consumer"), consumer);
        prop_assert_eq!(of("detail"), why);
        prop_assert_eq!(value.as_object().unwrap().len(), 18);
        if path.len() <= 2048 {
            prop_assert_eq!(of("path"), String::from_utf8_lossy(&path));
        }
        prop_assert!(of("user_agent").len() <= 3 * 260);
        let shows_separator = line(&record).contains('\u{2028}');
        prop_assert!(!shows_separator);
    }
}
