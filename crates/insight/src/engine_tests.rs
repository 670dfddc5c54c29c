//! What the engine promises, on small scripted traffic.

use crate::{
    Alert, Detector, Documented, Engine, Event, Key, Posture, Role, Seed, Settings, Severity,
    settings::{DAY_MS, MINUTE_MS},
};

const START: u64 = 1_767_571_200_000;

fn engine() -> Engine {
    Engine::new(Settings::default(), Seed(21, 42))
}

fn get<'a>(at_ms: u64, consumer: &'a str, path: &'a str) -> Event<'a> {
    Event {
        at_ms,
        id: "r-1",
        consumer: Some(consumer),
        identified_by: Some("api_key"),
        client: "192.0.2.1",
        route: Some("orders"),
        method: "GET",
        path,
        status: 200,
        response_bytes: 1_000,
        duration_us: 5_000,
        ..Event::default()
    }
}

fn guess<'a>(at_ms: u64, client: &'a str, credential: &'a str) -> Event<'a> {
    Event {
        consumer: None,
        identified_by: None,
        client,
        credential: Some(credential),
        status: 401,
        stage: Some("identify"),
        reason: Some("CredentialInvalid"),
        ..get(at_ms, "", "/orders")
    }
}

/// Two days in which forty consumers look at three orders of their own, every ten minutes.
fn lived() -> (Engine, u64) {
    let mut engine = engine();
    for round in 0..288_u64 {
        for consumer in 0..40_u64 {
            for turn in 0..3 {
                let at_ms = START + round * 10 * MINUTE_MS + consumer * 9_000 + turn * 400;
                let path = format!("/orders/{}", 10_000 + consumer * 977 + turn * 131);
                engine.observe(&get(at_ms, &format!("c{consumer}"), &path));
            }
        }
    }
    (engine, START + 2 * DAY_MS)
}

fn alerts(engine: &Engine) -> Vec<Alert> {
    engine.alerts().cloned().collect()
}

#[test]
fn quiet_traffic_is_learned_and_nothing_is_told() {
    let (engine, _) = lived();
    assert_eq!(alerts(&engine), []);
    let learning = engine.learning();
    assert_eq!(learning.state, "ready", "{}", learning.sentence);
}

#[test]
fn a_walk_through_numbers_is_told_before_thirty_objects_are_out() {
    let (mut engine, now) = lived();
    let walked = (0..100_u64).find(|turn| {
        let path = format!("/orders/{}", 500_000 + turn);
        engine.observe(&get(now + turn * 1_000, "c7", &path));
        engine.alerts().next().is_some()
    });
    assert!(walked.is_some_and(|turn| turn < 30), "{walked:?}");
    let told = alerts(&engine);
    let [alert] = told.as_slice() else { panic!("{told:?}") };
    assert_eq!((alert.detector, alert.severity), (Detector::Enumeration, Severity::High));
    assert_eq!(alert.who.as_deref(), Some("consumer c7"));
    assert_eq!(alert.place.as_deref(), Some("GET /orders/{id}"));
    assert!(alert.owasp.starts_with("API1") && !alert.is_learning);
    assert!(!alert.samples.is_empty() && alert.features.iter().map(|one| one.share).sum::<f64>() > 0.9);
    // No id of an object is told.
    assert!(!serde_json::to_string(alert).unwrap().contains("5000"), "{alert:?}");
}

#[test]
fn a_short_walk_and_a_jumping_one_of_own_size_are_not_told() {
    let (mut engine, now) = lived();
    for turn in 0..10_u64 {
        engine.observe(&get(now + turn * 1_000, "c7", &format!("/orders/{}", 500_000 + turn)));
        engine.observe(&get(now + turn * 1_000, "c8", &format!("/orders/{}", 500_000 + turn * 7_919)));
    }
    assert_eq!(alerts(&engine), []);
}

#[test]
fn what_is_alarmed_on_never_teaches() {
    let (mut engine, now) = lived();
    // Six hours of it, every day the same, and then once more.
    for turn in 0..21_600_u64 {
        engine.observe(&get(now + turn * 1_000, "c7", &format!("/orders/{}", 500_000 + turn)));
    }
    let first = alerts(&engine).len();
    assert!(first >= 1);
    let later = now + DAY_MS;
    for turn in 0..40_u64 {
        engine.observe(&get(later + turn * 1_000, "c7", &format!("/orders/{}", 900_000 + turn)));
    }
    assert!(engine.alerts().any(|alert| alert.first_ms >= later), "it became usual");
}

#[test]
fn guessing_from_one_address_and_the_success_after_it_are_told() {
    let (mut engine, now) = lived();
    for turn in 0..15_u64 {
        engine.observe(&guess(now + turn * 500, "203.0.113.9", &format!("k{turn}")));
    }
    let told = alerts(&engine);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].owasp.starts_with("API2") && told[0].who.as_deref() == Some("address 203.0.113.9"));
    engine.observe(&Event { client: "203.0.113.9", ..get(now + 60_000, "c3", "/orders") });
    let last = alerts(&engine).pop().unwrap();
    assert_eq!(last.severity, Severity::Critical, "{last:?}");
    assert!(last.sentence.contains("consumer c3"), "{}", last.sentence);
}

#[test]
fn a_program_with_an_expired_key_is_no_guesser() {
    let (mut engine, now) = lived();
    for turn in 0..19_u64 {
        engine.observe(&guess(now + turn * 500, "203.0.113.9", "k1"));
    }
    engine.observe(&Event { client: "203.0.113.9", ..get(now + 60_000, "c3", "/orders") });
    assert_eq!(alerts(&engine), []);
}

#[test]
fn guessing_from_many_addresses_is_told_of_the_endpoint() {
    let (mut engine, now) = lived();
    // A minute a guess from each of 500 addresses.
    let mut found = None;
    for turn in 0..1_000_u64 {
        let client = format!("198.51.{}.{}", turn % 500 / 250, turn % 250);
        engine.observe(&guess(now + turn * 120, &client, &format!("k{turn}")));
        if found.is_none() && engine.alerts().next().is_some() {
            found = Some(turn * 120);
        }
    }
    assert!(found.is_some_and(|ms| ms <= 60_000), "{found:?}");
    let told = alerts(&engine);
    assert!(told[0].who.is_none() && told[0].sentence.contains("refused credentials"), "{told:?}");
}

#[test]
fn a_scan_for_paths_is_told_and_makes_no_endpoints() {
    let (mut engine, now) = lived();
    let before = engine.learning().endpoints;
    for turn in 0..200_u64 {
        let path = format!("/wp-{turn}/setup.php");
        let event = Event {
            consumer: None,
            identified_by: None,
            route: None,
            client: "203.0.113.9",
            status: 404,
            stage: Some("route"),
            reason: Some("NoRoute"),
            ..get(now + turn * 500, "", &path)
        };
        engine.observe(&event);
    }
    let told = alerts(&engine);
    assert!(told.iter().any(|alert| alert.detector == Detector::Spray), "{told:?}");
    assert_eq!(engine.learning().endpoints, before);
}

#[test]
fn silence_on_a_busy_endpoint_is_told_and_one_minute_of_it_is_not() {
    let mut engine = engine();
    let mut at_ms = START;
    while at_ms < START + 8 * 60 * MINUTE_MS {
        engine.observe(&get(at_ms, "c1", "/orders"));
        at_ms += 900;
    }
    engine.tick(at_ms + MINUTE_MS);
    assert_eq!(alerts(&engine), []);
    engine.tick(at_ms + 7 * MINUTE_MS);
    let told = alerts(&engine);
    assert!(told.len() == 1 && told[0].sentence.contains("fewer"), "{told:?}");
}

#[test]
fn a_clock_that_stood_still_is_no_drop() {
    let mut engine = engine();
    for turn in 0..40_000_u64 {
        engine.observe(&get(START + turn * 900, "c1", "/orders"));
    }
    engine.tick(START + 40_000 * 900 + DAY_MS);
    assert_eq!(alerts(&engine), []);
}

#[test]
fn what_our_limits_refuse_teaches_nothing_and_accuses_nobody() {
    let (mut engine, now) = lived();
    for turn in 0..5_000_u64 {
        let event = Event {
            status: 429,
            stage: Some("limit"),
            reason: Some("RateExceeded"),
            ..get(now + turn * 10, "c7", "/orders/1")
        };
        engine.observe(&event);
    }
    assert_eq!(alerts(&engine), []);
    assert_eq!(engine.figures().limited, 5_000);
}

#[test]
fn memory_is_bounded_under_hostile_keys() {
    let settings = Settings {
        consumers_max: 500,
        addresses_max: 500,
        endpoints_max: 200,
        uses_max: 500,
        ..Settings::default()
    };
    let mut engine = Engine::new(settings, Seed(1, 2));
    let mut largest = 0;
    for turn in 0..30_000_u64 {
        let (client, path) = (format!("2001:db8:{turn:x}::1"), format!("/a{turn}/b{turn}/{turn}"));
        let consumer = (turn % 2 == 0).then(|| format!("c{turn}"));
        let event = Event {
            consumer: consumer.as_deref(),
            client: &client,
            route: Some("all"),
            ..get(START + turn * 10, "", &path)
        };
        engine.observe(&event);
        if turn == 15_000 {
            largest = engine.figures().memory_bytes;
        }
    }
    let figures = engine.figures();
    assert_eq!((figures.consumers, figures.addresses), (500, 500));
    assert!(figures.memory_bytes <= largest + largest / 10, "{largest} {figures:?}");
    assert!(engine.learning().endpoints <= 200);
}

#[test]
fn the_same_events_give_the_same_report() {
    let told = || {
        let (mut engine, now) = lived();
        for turn in 0..100_u64 {
            engine.observe(&get(now + turn * 1_000, "c7", &format!("/orders/{}", 500_000 + turn)));
        }
        engine.report(&Posture::default())
    };
    assert_eq!(told(), told());
}

#[test]
fn the_inventory_says_what_is_documented_and_what_is_new() {
    let (mut engine, now) = lived();
    engine.document(vec![Documented {
        route: "orders".into(),
        methods: vec!["GET".into()],
        path: "/orders/{order}".into(),
    }]);
    engine.observe(&get(now + DAY_MS, "c1", "/orders/export"));
    let rows = engine.report(&Posture::default()).inventory;
    let row = |path: &str| rows.iter().find(|row| row.path == path).unwrap();
    assert!(row("/orders/{id}").is_documented && !row("/orders/{id}").is_new);
    // An exact word where the documents have any segment: one of that route's paths.
    assert!(row("/orders/export").is_new);
}

#[test]
fn an_alert_shows_no_control_characters() {
    let mut engine = engine();
    for turn in 0..40_u64 {
        let path = format!("/orders/{}", 500_000 + turn);
        engine.observe(&get(START + turn * 1_000, "c\u{1b}[31m\n", &path));
    }
    let told = alerts(&engine);
    assert!(told.len() == 1 && told[0].is_learning, "{told:?}");
    assert!(!told[0].sentence.contains(['\u{1b}', '\n']), "{}", told[0].sentence);
}

#[test]
fn recommendations_say_what_they_rest_on_or_what_is_missing() {
    let (mut engine, now) = lived();
    engine.observe(&Event { consumer: None, identified_by: None, ..get(now, "", "/orders") });
    let posture = Posture {
        keys: vec![
            Key {
                id: "old1".into(),
                consumer: "c1".into(),
                created_ms: now - 400 * DAY_MS,
                used_ms: Some(now),
                expires_ms: None,
                age_max_ms: None,
            },
            Key {
                id: "idle".into(),
                consumer: "c2".into(),
                created_ms: now - 90 * DAY_MS,
                used_ms: None,
                expires_ms: None,
                age_max_ms: None,
            },
        ],
        ..Posture::default()
    };
    let all = engine.recommend(&posture);
    let of = |rule: &str| all.iter().find(|one| one.rule == rule).unwrap();
    assert!(!of("R1").is_ready && of("R1").document.is_none() && of("R1").sentence.contains("2.0 of 7 days"));
    assert!(of("R2").counterfactual.contains("would have refused 1 of"), "{}", of("R2").counterfactual);
    assert!(of("R2").document.as_ref().unwrap().contains("mode: shadow"));
    assert_eq!((of("R3").target.as_str(), of("R5").target.as_str()), ("idle", "old1"));
    assert!(all.iter().all(|one| one.rule != "R4"), "no role, no R4");
}

#[test]
fn a_limit_is_proposed_after_a_week_and_a_hundred_callers_and_a_role_is_narrowed() {
    let mut engine = engine();
    for minute in (0..8 * 1_440_u64).step_by(30) {
        for consumer in 0..110_u64 {
            for turn in 0..=consumer % 4 {
                let at_ms = START + minute * MINUTE_MS + consumer * 500 + turn * 10;
                engine.observe(&get(at_ms, &format!("c{consumer}"), "/orders"));
            }
        }
    }
    let role = Role {
        name: "reader".into(),
        consumers: vec!["c1".into(), "c2".into()],
        grants: vec![("orders".into(), vec!["GET".into(), "DELETE".into()]), ("payments".into(), Vec::new())],
    };
    let all = engine.recommend(&Posture { roles: vec![role], ..Posture::default() });
    let limit = all.iter().find(|one| one.rule == "R1").unwrap();
    assert!(limit.is_ready, "{limit:?}");
    assert!(limit.document.as_ref().unwrap().contains("requests: 10"), "{limit:?}");
    let role = all.iter().find(|one| one.rule == "R4").unwrap();
    assert!(role.is_ready, "{role:?}");
    let document = role.document.as_ref().unwrap();
    assert!(document.contains("GET") && !document.contains("DELETE") && !document.contains("payments"));
}
