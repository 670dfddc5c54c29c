//! `why`, `log` and `review` over an access log.

use super::{bartizan, files};

fn line(n: u32, revision: &str, status: u16, more: &str) -> String {
    format!(
        "{{\"time\":\"2026-01-31T09:{:02}:{:02}.123456Z\",\"id\":\"r-{n}\",\"listener\":\"public\",\"client\":\"192.0.2.7\",\
         \"protocol\":\"HTTP/2\",\"method\":\"GET\",\"host\":\"a\",\"path\":\"/orders\",\"route\":\"orders\",\"consumer\":\"anna\",\
         \"status\":{status},\"exit\":\"complete\",\"request_bytes\":0,\"response_bytes\":9,\"duration_us\":2310,\
         \"gateway_us\":110{more},\"revision\":\"{revision}\"}}\n",
        n / 60,
        n % 60
    )
}

const LIMITED: &str = ",\"stage\":\"limit\",\"reason\":\"RateExceeded\",\"policy\":\"RateLimitPolicy/two\",\"detail\":\"too many calls\"";
const SERVED: &str =
    ",\"upstream\":\"shop\",\"endpoint\":\"10.0.0.5:80\",\"upstream_attempts\":2,\"upstream_us\":2200";

#[test]
fn a_log_is_as_good_as_the_store() {
    let shadow = ",\"upstream\":\"shop\",\"would_deny\":[{\"mode\":\"would_throttle\",\"stage\":\"limit\",\
                  \"policy\":\"RateLimitPolicy/new\",\"reason\":\"RateExceeded\",\"wait_ms\":50}]";
    let text = [
        line(1, "a", 200, SERVED),
        "{\"time\":\"2026-01-31T09:00:00Z\",\"event\":\"access_log_lost\",\"lost\":3}\n".to_owned(),
        "half a li".to_owned() + "\n",
        line(2, "a", 429, LIMITED),
        line(3, "a", 200, shadow),
    ]
    .concat();
    let dir = files(&[("access.log", &text)]);
    let served = bartizan(&dir, &["why", "r-1", "--log", "access.log"]).data();
    for text in
        ["upstream shop at 10.0.0.5:80, 2 attempts, 2.2 ms", "→ 200 to the caller after 2.3 ms, 0.1 ms of it"]
    {
        assert!(served.contains(text), "{text}:\n{served}");
    }
    let limited = bartizan(&dir, &["why", "r-2", "--log", "access.log"]).data();
    assert!(
        limited.contains("limit      refused   RateExceeded by RateLimitPolicy/two: too many calls"),
        "{limited}"
    );
    let watched = bartizan(&dir, &["why", "r-3", "--log", "access.log"]).data();
    assert!(
        watched.contains("in shadow  limit would_throttle 50 ms RateExceeded by RateLimitPolicy/new"),
        "{watched}"
    );
    let json = bartizan(&dir, &["why", "r-2", "--log", "access.log", "--format", "json"]).json();
    assert_eq!(json["requests"][0]["stages"][4]["outcome"], "refused");
    assert_eq!(json["requests"][0]["record"]["policy"], "RateLimitPolicy/two");
    assert_eq!(bartizan(&dir, &["why", "r-9", "--log", "access.log"]).code, 1);
    assert_eq!(bartizan(&dir, &["why", "r-9", "--log", "absent.log"]).code, 2);
    let refused = bartizan(&dir, &["log", "--log", "access.log", "--refused"]).data();
    assert!(!refused.contains("r-1 ") && refused.contains("r-2") && refused.contains("r-3"), "{refused}");
    let last = bartizan(&dir, &["log", "--log", "access.log", "--most", "1"]).data();
    assert!(last.contains("r-3") && !last.contains("r-2"), "{last}");
}

#[test]
fn why_tells_the_rules_of_an_inspection_and_the_way_out() {
    let cause = r#"{"rule":942100,"role":"matched","policy":"InspectionPolicy/crs","half":"request","at":"rules/REQUEST-942.conf:44","message":"SQL Injection Attack","variable":"ARGS:json.note","transforms":"urlDecodeUni,lowercase","excerpt":"9' aa 9=9","exclusion":"{ rules: [942100], targets: [\"ARGS:json.note\"] }"}"#;
    let sum = r#"{"rule":949110,"role":"decided","policy":"InspectionPolicy/crs","half":"request","at":"rules/REQUEST-949.conf:9","message":"Inbound Anomaly Score Exceeded","variable":"TX:blocking_inbound_anomaly_score","transforms":"none","excerpt":"9"}"#;
    let more = format!(
        ",\"stage\":\"inspect\",\"reason\":\"AttackDetected\",\"policy\":\"InspectionPolicy/crs\",\"detail\":\"rule 949110\",\"rules\":[{cause},{sum}]"
    );
    let dir = files(&[("access.log", &line(1, "a", 403, &more))]);
    let told = bartizan(&dir, &["why", "r-1", "--log", "access.log"]).data();
    for text in [
        "inspect    refused   AttackDetected by InspectionPolicy/crs",
        "rule       942100 matched: SQL Injection Attack",
        "rules/REQUEST-942.conf:44; ARGS:json.note after urlDecodeUni,lowercase, of the shape 9' aa 9=9",
        "rule       949110 refused it: Inbound Anomaly Score Exceeded",
        "* first, in shadow: `ruleModes: [{ rules: [942100], mode: shadow }]` in InspectionPolicy/crs",
        "* then, if they are: `exclusions: [{ rules: [942100], targets: [\"ARGS:json.note\"] }]` in InspectionPolicy/crs",
    ] {
        assert!(told.contains(text), "{text}:\n{told}");
    }
    let json = bartizan(&dir, &["why", "r-1", "--log", "access.log", "--format", "json"]).json();
    assert!(json["requests"][0]["matched"][0].as_str().unwrap().contains("942100"), "{json}");
}

#[test]
fn a_review_tells_what_chance_does_not_explain() {
    let mut text = String::new();
    for n in 0..400 {
        let (revision, limited) = if n < 200 { ("before", n % 50 == 0) } else { ("after", n % 4 == 0) };
        text.push_str(&if limited {
            line(n, revision, 429, LIMITED)
        } else {
            line(n, revision, 200, SERVED)
        });
    }
    let dir = files(&[("access.log", &text)]);
    let review = bartizan(&dir, &["review", "after", "--log", "access.log"]).data();
    for text in [
        "before (from",
        "route orders",
        "consumer anna",
        "200 → 200",
        "2.0 % → 25.0 % !",
        "0.0 % → 0.0 %",
        "2.3 ms → 2.3 ms",
    ] {
        assert!(review.contains(text), "{text}:\n{review}");
    }
    let json = bartizan(&dir, &["review", "after", "--log", "access.log", "--format", "json"]).json();
    assert_eq!((&json["before"], &json["rows"][0]["after"]["limited"]), (&"before".into(), &50.into()));
    let unknown = bartizan(&dir, &["review", "none", "--log", "access.log"]);
    assert!(unknown.code == 1 && unknown.err.contains("known are: before, after"), "{}", unknown.err);
    assert_eq!(bartizan(&dir, &["review", "before", "--log", "access.log"]).code, 1);
}
