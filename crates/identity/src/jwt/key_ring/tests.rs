//! The life of key sets under a clock that the test holds.

use super::*;

const ISSUER: &str = "https://id.example";
const NOW: u64 = 1_800_000_000_000;
const HOUR: u64 = 3_600_000;

const ED: [&str; 2] =
    ["11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", "FsVH12AVtGi9yCQLhgEvYrTsqEdkzCqFTwAq1P-wBqY"];

fn keys(kids: &[&str]) -> String {
    let keys: Vec<String> = kids
        .iter()
        .zip(ED)
        .map(|(kid, x)| format!(r#"{{"kty":"OKP","crv":"Ed25519","kid":"{kid}","x":"{x}"}}"#))
        .collect();
    format!(r#"{{"keys":[{}]}}"#, keys.join(","))
}

fn cache() -> KeySetCache {
    let mut cache = KeySetCache::new(Timing::default());
    cache.watch([ISSUER.into()]);
    cache
}

fn ticket(cache: &mut KeySetCache, now: u64) -> Ticket {
    match cache.begin(ISSUER, now) {
        Begin::Fetch(ticket) => ticket,
        other => panic!("{other:?}"),
    }
}

fn fetch(cache: &mut KeySetCache, body: &str, now: u64) -> Completion {
    let ticket = ticket(cache, now);
    cache.complete(ticket, Ok(Fetched { body: body.as_bytes(), fresh_ms: None }), now)
}

fn fail(cache: &mut KeySetCache, now: u64) {
    let ticket = ticket(cache, now);
    assert!(matches!(cache.complete(ticket, Err(FetchFlaw::Transport), now), Completion::Kept(_)));
}

#[derive(Debug, PartialEq)]
enum Known {
    Ready { generation: u64, keys: usize, may_ask: bool },
    Missing,
    Unavailable,
}

fn known(cache: &KeySetCache, now: u64) -> Known {
    match cache.ring().keys(ISSUER, now) {
        Keys::Ready { set, generation, may_ask } => {
            Known::Ready { generation, keys: set.keys().len(), may_ask }
        }
        Keys::Missing => Known::Missing,
        Keys::Unavailable => Known::Unavailable,
    }
}

#[test]
fn a_new_set_is_due_and_missing_until_it_is_fetched() {
    let mut cache = cache();
    assert_eq!(known(&cache, NOW), Known::Missing);
    assert_eq!(cache.due(NOW), [ISSUER.into()]);
    assert!(matches!(fetch(&mut cache, &keys(&["a"]), NOW), Completion::Installed { is_new: true, .. }));
    assert_eq!(known(&cache, NOW), Known::Ready { generation: 1, keys: 1, may_ask: true });
    assert!(cache.due(NOW).is_empty());
    assert_eq!(cache.next_due_unix_ms(), Some(NOW + 600_000));
    assert_eq!(cache.due(NOW + 600_000), [ISSUER.into()]);
}

#[test]
fn however_many_ask_one_fetches() {
    let mut cache = cache();
    let first = ticket(&mut cache, NOW);
    for later in [0, 1, 9_999] {
        assert!(matches!(cache.begin(ISSUER, NOW + later), Begin::InFlight), "{later}");
        assert!(cache.due(NOW + later).is_empty());
    }
    // Nobody told how it ended: another may go, and the first comes too late.
    let second = ticket(&mut cache, NOW + 10_000);
    let body = keys(&["a"]);
    let answer = |body| Ok(Fetched { body: str::as_bytes(body), fresh_ms: None });
    assert!(matches!(cache.complete(first, answer(&body), NOW + 10_001), Completion::Late));
    assert_eq!(known(&cache, NOW + 10_001), Known::Missing);
    assert!(matches!(cache.complete(second, answer(&body), NOW + 10_002), Completion::Installed { .. }));
    assert_eq!(first_generation(&cache), Some(1));
}

fn first_generation(cache: &KeySetCache) -> Option<u64> {
    match known(cache, NOW + 10_002) {
        Known::Ready { generation, .. } => Some(generation),
        _ => None,
    }
}

#[test]
fn a_storm_of_unknown_keys_asks_once_in_thirty_seconds() {
    let mut cache = cache();
    let _ = fetch(&mut cache, &keys(&["a"]), NOW);
    let mut fetches = 0;
    for now in (NOW + 1_000..NOW + 121_000).step_by(100) {
        let Known::Ready { may_ask, .. } = known(&cache, now) else { panic!() };
        match cache.begin(ISSUER, now) {
            Begin::Fetch(ticket) => {
                assert!(may_ask);
                fetches += 1;
                let body = keys(&["a"]);
                let _ = cache.complete(ticket, Ok(Fetched { body: body.as_bytes(), fresh_ms: None }), now);
            }
            Begin::NotNow => assert!(!may_ask),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(fetches, 4, "in two minutes");
    assert_eq!(known(&cache, NOW + 121_000), Known::Ready { generation: 1, keys: 1, may_ask: true });
}

#[test]
fn a_key_that_changes_soon_after_the_start_is_found() {
    let mut cache = cache();
    let _ = fetch(&mut cache, &keys(&["a"]), NOW);
    assert!(matches!(
        fetch(&mut cache, &keys(&["a", "b"]), NOW + 1_000),
        Completion::Installed { is_new: true, .. }
    ));
    assert_eq!(known(&cache, NOW + 1_000), Known::Ready { generation: 2, keys: 2, may_ask: false });
}

#[test]
fn a_generation_lasts_as_long_as_its_keys() {
    let mut cache = cache();
    let ready = |generation, keys| Known::Ready { generation, keys, may_ask: false };
    let _ = fetch(&mut cache, &keys(&["a", "b"]), NOW);
    for (minute, kids, expected) in [
        (1, &["a", "b"][..], ready(1, 2)),
        (2, &["b", "a"], ready(2, 2)),
        (3, &["b"], ready(3, 1)),
        (4, &["b"], ready(3, 1)),
    ] {
        let now = NOW + minute * 60_000;
        let _ = fetch(&mut cache, &keys(kids), now);
        assert_eq!(known(&cache, now), expected, "{minute}");
    }
    // The same keys in another order are the same keys.
    let turned = r#"{"keys":[{"x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","kid":"b","crv":"Ed25519","kty":"OKP"}]}"#;
    assert!(matches!(fetch(&mut cache, turned, NOW + 300_000), Completion::Installed { is_new: false, .. }));
}

#[test]
fn a_set_outlives_its_issuers_outage_for_a_day() {
    let mut cache = cache();
    let _ = fetch(&mut cache, &keys(&["a"]), NOW);
    let mut now = NOW + 600_000;
    while now < NOW + 600_000 + 24 * HOUR {
        assert_eq!(cache.due(now), [ISSUER.into()]);
        fail(&mut cache, now);
        assert_eq!(known(&cache, now), Known::Ready { generation: 1, keys: 1, may_ask: false });
        assert!(matches!(cache.begin(ISSUER, now + 29_999), Begin::NotNow));
        now += 30_000;
    }
    assert_eq!(known(&cache, now), Known::Missing);
    fail(&mut cache, now);
    assert_eq!(known(&cache, now), Known::Unavailable);
    let _ = fetch(&mut cache, &keys(&["a"]), now + 60_000);
    assert!(matches!(known(&cache, now + 60_000), Known::Ready { generation: 1, .. }));
}

#[test]
fn asking_in_vain_is_remembered_a_little_longer_each_time() {
    let mut cache = cache();
    let mut now = NOW;
    for wait in [2_000, 4_000, 8_000, 16_000, 30_000, 30_000] {
        fail(&mut cache, now);
        assert_eq!(known(&cache, now + wait - 1), Known::Unavailable, "{wait}");
        assert!(matches!(cache.begin(ISSUER, now + wait - 1), Begin::NotNow), "{wait}");
        assert_eq!(known(&cache, now + wait), Known::Missing, "{wait}");
        now += wait;
    }
    let _ = fetch(&mut cache, &keys(&["a"]), now);
    assert!(matches!(known(&cache, now), Known::Ready { .. }));
}

#[test]
fn what_is_no_key_set_changes_nothing() {
    let mut cache = cache();
    let _ = fetch(&mut cache, &keys(&["a"]), NOW);
    let secret = r#"{"kty":"oct","k":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}"#;
    let many = |count: usize| format!(r#"{{"keys":[{}]}}"#, vec!["{}"; count].join(","));
    for (minute, body, flaw) in [
        (1, "<html>".to_owned(), KeySetFlaw::Malformed),
        (2, "{}".to_owned(), KeySetFlaw::Malformed),
        (3, r#"{"keys":{}}"#.to_owned(), KeySetFlaw::Malformed),
        (4, r#"{"keys":[1]}"#.to_owned(), KeySetFlaw::Malformed),
        (5, r#"{"keys":[],"keys":[]}"#.to_owned(), KeySetFlaw::Duplicate),
        (6, format!(r#"{{"keys":[{secret}]}}"#), KeySetFlaw::Secret),
        (7, keys(&["a"]).replace("]}", &format!(",{secret}]}}")), KeySetFlaw::Mixed),
        (8, many(101), KeySetFlaw::TooLarge),
        (9, format!("{}{}", keys(&["a"]), " ".repeat(64 * 1024)), KeySetFlaw::TooLarge),
        (10, format!(r#"{{"keys":[{{"x":{}{}}}]}}"#, "[".repeat(50), "]".repeat(50)), KeySetFlaw::TooLarge),
    ] {
        let now = NOW + minute * 60_000;
        match fetch(&mut cache, &body, now) {
            Completion::Kept(FetchFlaw::Set(found)) => assert_eq!(found, flaw, "{minute}"),
            other => panic!("{minute}: {other:?}"),
        }
        assert_eq!(known(&cache, now), Known::Ready { generation: 1, keys: 1, may_ask: false });
    }
    // A hundred keys are a set, of which none is usable; and so is none at all: the issuer has withdrawn its keys.
    for (minute, body) in [(11, many(100)), (12, many(0))] {
        let now = NOW + minute * 60_000;
        assert!(matches!(fetch(&mut cache, &body, now), Completion::Installed { .. }));
        assert_eq!(known(&cache, now), Known::Ready { generation: 2, keys: 0, may_ask: false });
    }
}

#[test]
fn an_unusable_key_is_named_and_the_others_serve() {
    let mut cache = cache();
    let private = r#"{"kty":"OKP","crv":"Ed25519","kid":"p","x":"FsVH12AVtGi9yCQLhgEvYrTsqEdkzCqFTwAq1P-wBqY","d":"AA"}"#;
    let body = keys(&["a"]).replace("]}", &format!(r#",{private},{{"kty":"RSA","use":"enc","kid":"a"}}]}}"#));
    let Completion::Installed { set, .. } = fetch(&mut cache, &body, NOW) else { panic!() };
    let flaws: Vec<_> = set.unusable().iter().map(|key| (key.at, key.flaw)).collect();
    assert_eq!(flaws, [(1, crate::jwk::KeyFlaw::Private), (2, crate::jwk::KeyFlaw::NotForVerifying)]);
    assert_eq!(set.keys().len(), 1);
}

#[test]
fn an_answer_says_how_long_it_is_fresh_within_limits() {
    for (said, expected) in
        [(None, 600_000), (Some(0), 60_000), (Some(120_000), 120_000), (Some(u64::MAX), HOUR)]
    {
        let mut cache = cache();
        let ticket = ticket(&mut cache, NOW);
        let body = keys(&["a"]);
        let _ = cache.complete(ticket, Ok(Fetched { body: body.as_bytes(), fresh_ms: said }), NOW);
        assert_eq!(cache.next_due_unix_ms(), Some(NOW + expected), "{said:?}");
    }
}

#[test]
fn what_is_no_longer_watched_is_forgotten_and_the_rest_stays() {
    let mut cache = cache();
    let _ = fetch(&mut cache, &keys(&["a"]), NOW);
    cache.watch([ISSUER.into(), "https://other.example".into()]);
    assert!(matches!(known(&cache, NOW), Known::Ready { generation: 1, .. }));
    assert!(matches!(cache.begin("https://evil.example", NOW), Begin::Unknown));
    let late = ticket(&mut cache, NOW + 600_000);
    cache.watch(["https://other.example".into()]);
    assert_eq!(known(&cache, NOW), Known::Unavailable);
    let body = keys(&["a"]);
    let completion = cache.complete(late, Ok(Fetched { body: body.as_bytes(), fresh_ms: None }), NOW);
    assert!(matches!(completion, Completion::Late));
}

#[test]
fn a_clock_turned_back_does_not_stop_the_fetching() {
    let mut cache = cache();
    let _ = fetch(&mut cache, &keys(&["a"]), NOW);
    let _ = fetch(&mut cache, &keys(&["a"]), NOW + 1_000);
    let back = NOW - 48 * HOUR;
    assert_eq!(cache.due(back), [ISSUER.into()]);
    assert!(matches!(known(&cache, back), Known::Ready { may_ask: true, .. }));
    assert!(matches!(cache.begin(ISSUER, back), Begin::Fetch(_)));
}
