//! Answers that are kept: for whom, for how long, and what never is.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bartizan_testkit::{Answer, Client, Origin, Reply};

use crate::harness::{API_KEYS, Gate, document, key, simple};

const ANNA: &str = "apiVersion: management.v1\nkind: Consumer\nmetadata: { name: anna }\nspec: {}\n";
const BEN: &str = "apiVersion: management.v1\nkind: Consumer\nmetadata: { name: ben }\nspec: {}\n";

fn policy(spec: &str) -> String {
    document("CachePolicy", "answers", spec)
}

/// An origin whose answers are numbered and have these headers.
fn numbered(headers: &'static [(&'static str, &'static str)]) -> Origin {
    let count = Arc::new(AtomicUsize::new(0));
    Origin::start(move |_| {
        let number = count.fetch_add(1, Ordering::SeqCst);
        headers
            .iter()
            .fold(Reply::ok(format!("answer {number}")), |reply, (name, value)| reply.with(name, value))
    })
}

/// A gateway, and a key for each consumer, which it knows from its start.
fn with_keys(documents: &str, consumers: &[&str]) -> (Gate, Vec<String>) {
    let mut keys = Vec::new();
    let make = |data: &std::path::Path| keys.extend(consumers.iter().map(|name| key(data, name, None)));
    let gate = Gate::start_with(documents, make, &[]);
    (gate, keys)
}

fn told(answer: &Answer) -> &str {
    answer.header("cache-status").unwrap_or("nothing")
}

/// Asks until the answer before is kept: that happens as its last byte is sent, which the caller may notice first.
fn until_hit(gate: &Gate, target: &str, headers: &[(&str, &str)]) -> Answer {
    for _ in 0..200 {
        let answer = gate.get(target, headers);
        if told(&answer).contains("; hit") {
            return answer;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("nothing was kept")
}

#[test]
fn an_answer_is_given_again_while_it_is_fresh() {
    let origin = numbered(&[("cache-control", "max-age=60"), ("x-a", "b"), ("age", "7")]);
    let gate = Gate::start(&simple(&origin.url(), &[&policy("{}")]));
    let first = gate.get("/a?b=1", &[]);
    assert_eq!((first.text(), told(&first)), ("answer 0", "bartizan; fwd=uri-miss"));
    let hit = until_hit(&gate, "/a?b=1", &[]);
    let asked = origin.received().len();
    assert_eq!(hit.text(), format!("answer {}", asked - 1));
    assert_eq!((hit.status.as_u16(), hit.header("x-a")), (200, Some("b")));
    assert!(told(&hit).starts_with("bartizan; hit; ttl=5"), "{}", told(&hit));
    let age: u64 = hit.header("age").unwrap().parse().unwrap();
    assert!((7..20).contains(&age), "{age}");
    assert!(hit.headers.contains_key("x-request-id"));
    assert_ne!(hit.header("x-request-id"), first.header("x-request-id"));
    // Another query, another path, another host: another answer.
    assert!(told(&gate.get("/a?b=2", &[])).contains("uri-miss"));
    assert!(told(&gate.get("/a", &[])).contains("uri-miss"));
    let other = Client::http1(gate.web()).with_authority("other.test");
    assert!(told(&other.get("/a?b=1", &[])).contains("uri-miss"));
}

#[test]
fn head_conditions_and_ranges_are_answered_from_what_is_kept() {
    let origin = numbered(&[("cache-control", "max-age=60"), ("etag", "\"x\"")]);
    let gate = Gate::start(&simple(&origin.url(), &[&policy("{}")]));
    gate.get("/", &[]);
    let whole = until_hit(&gate, "/", &[]);
    let asked = origin.received().len();
    let head = gate.client().call("HEAD", "/", &[], "");
    assert_eq!((head.status.as_u16(), head.header("content-length"), head.body.len()), (200, Some("8"), 0));
    assert!(told(&head).contains("; hit"));
    let same = gate.get("/", &[("if-none-match", "W/\"x\"")]);
    assert_eq!((same.status.as_u16(), same.body.len(), same.header("etag")), (304, 0, Some("\"x\"")));
    assert_eq!(gate.get("/", &[("if-none-match", "\"y\"")]).status, 200);
    let part = gate.get("/", &[("range", "bytes=0-2")]);
    assert_eq!((part.status.as_u16(), part.text()), (206, "ans"));
    assert_eq!(part.header("content-range"), Some("bytes 0-2/8"));
    assert_eq!(gate.get("/", &[("range", "bytes=99-")]).status, 416);
    let stale_part = gate.get("/", &[("range", "bytes=0-2"), ("if-range", "\"y\"")]);
    assert_eq!((stale_part.status.as_u16(), stale_part.text()), (200, whole.text()));
    assert_eq!(origin.received().len(), asked);
}

#[test]
fn without_a_policy_nothing_is_kept_and_nothing_is_said() {
    let origin = numbered(&[("cache-control", "max-age=60")]);
    let gate = Gate::start(&simple(&origin.url(), &[]));
    for number in 0..3 {
        let answer = gate.get("/", &[]);
        assert_eq!((answer.text(), told(&answer)), (format!("answer {number}").as_str(), "nothing"));
    }
}

#[test]
fn what_may_not_be_kept_is_asked_for_each_time() {
    for (headers, request, word) in [
        (&[("cache-control", "no-store, max-age=60")][..], None, "no-store"),
        (&[("cache-control", "private, max-age=60")], None, "private"),
        (&[("cache-control", "max-age=60"), ("set-cookie", "a=b")], None, "set-cookie"),
        (&[("cache-control", "max-age=60"), ("vary", "*")], None, "vary"),
        (&[("cache-control", "max-age=60"), ("vary", "x-consumer-name")], None, "vary"),
        (&[("cache-control", "max-age=60, max-age=61")], None, "malformed"),
        (&[], None, "stale"),
        (&[("cache-control", "max-age=60")], Some(("cookie", "session=1")), "authorized"),
        (&[("cache-control", "max-age=60")], Some(("authorization", "Basic YTpi")), "authorized"),
    ] {
        let origin = numbered(headers);
        let gate = Gate::start(&simple(&origin.url(), &[&policy("{}")]));
        let request: Vec<(&str, &str)> = request.into_iter().collect();
        for number in 0..3 {
            let answer = gate.get("/", &request);
            assert_eq!(answer.text(), format!("answer {number}"), "{headers:?}");
            assert_eq!(told(&answer), format!("bartizan; fwd=uri-miss; detail={word}"), "{headers:?}");
        }
    }
}

#[test]
fn an_answer_that_breaks_off_or_is_too_large_is_not_kept() {
    let broken = Origin::start(|_| {
        Reply::ok("some").with("cache-control", "max-age=60").then(Duration::ZERO, "more").breaking_off()
    });
    let gate = Gate::start(&simple(&broken.url(), &[&policy("{}")]));
    for _ in 0..2 {
        let request = gate.client().request("GET", "/").body(Default::default()).unwrap();
        assert!(gate.client().send(request).is_err(), "a broken answer looks whole");
    }
    assert!(broken.received().len() >= 2);
    let large = numbered(&[("cache-control", "max-age=60")]);
    let gate = Gate::start(&simple(&large.url(), &[&policy("{ maxBodyBytes: 4B }")]));
    for number in 0..3 {
        assert_eq!(gate.get("/", &[]).text(), format!("answer {number}"));
    }
}

#[test]
fn each_consumer_has_its_own_answers_and_a_stranger_none() {
    let origin = numbered(&[("cache-control", "public, max-age=60")]);
    let documents = simple(&origin.url(), &[API_KEYS, ANNA, BEN, &policy("{}")]);
    let (gate, keys) = with_keys(&documents, &["anna", "ben"]);
    let [anna, ben] = keys.as_slice() else { panic!() };
    gate.get("/", &[("x-api-key", anna)]);
    let hit = until_hit(&gate, "/", &[("x-api-key", anna)]);
    let bens = gate.get("/", &[("x-api-key", ben)]);
    assert!(told(&bens).contains("uri-miss"), "{}", told(&bens));
    assert_ne!(bens.text(), hit.text());
    let stranger = gate.get("/", &[]);
    assert_eq!((stranger.status.as_u16(), told(&stranger)), (401, "nothing"));
    assert_eq!(until_hit(&gate, "/", &[("x-api-key", anna)]).text(), hit.text());
}

#[test]
fn consumers_share_answers_only_where_the_policy_and_the_answer_say_so() {
    let origin = numbered(&[("cache-control", "s-maxage=60")]);
    let documents = simple(&origin.url(), &[API_KEYS, ANNA, BEN, &policy("{ identityClass: shared }")]);
    let (gate, keys) = with_keys(&documents, &["anna", "ben"]);
    let [anna, ben] = keys.as_slice() else { panic!() };
    gate.get("/", &[("x-api-key", anna)]);
    let hit = until_hit(&gate, "/", &[("x-api-key", anna)]);
    assert_eq!(gate.get("/", &[("x-api-key", ben)]).text(), hit.text());
    assert_eq!(gate.get("/", &[]).status, 401);
    let unmarked = numbered(&[("cache-control", "max-age=60")]);
    let documents = simple(&unmarked.url(), &[API_KEYS, ANNA, &policy("{ identityClass: shared }")]);
    let (gate, keys) = with_keys(&documents, &["anna"]);
    let [anna] = keys.as_slice() else { panic!() };
    for number in 0..3 {
        assert_eq!(gate.get("/", &[("x-api-key", anna)]).text(), format!("answer {number}"));
    }
}

#[test]
fn a_variant_is_given_to_its_own_requests() {
    let origin = Origin::start(|request| {
        let language = request.header("accept-language").unwrap_or("none").to_owned();
        Reply::ok(language).with("cache-control", "max-age=60").with("vary", "accept-language")
    });
    let gate = Gate::start(&simple(&origin.url(), &[&policy("{}")]));
    for language in ["de", "en"] {
        gate.get("/", &[("accept-language", language)]);
        assert_eq!(until_hit(&gate, "/", &[("accept-language", language)]).text(), language);
    }
    assert_eq!(until_hit(&gate, "/", &[("accept-language", "de")]).text(), "de");
    let other = gate.get("/", &[("accept-language", "fr")]);
    assert_eq!((other.text(), told(&other)), ("fr", "bartizan; fwd=vary-miss"));
}

#[test]
fn a_stale_answer_is_confirmed_by_the_upstream_and_given_again() {
    let origin = Origin::start(|request| match request.header("if-none-match") {
        Some("\"x\"") => Reply::new(304, "").with("etag", "\"x\"").with("cache-control", "no-cache"),
        _ => Reply::ok("body").with("etag", "\"x\"").with("cache-control", "no-cache"),
    });
    let gate = Gate::start(&simple(&origin.url(), &[&policy("{}")]));
    assert_eq!(gate.get("/", &[]).text(), "body");
    crate::harness::wait("the answer is kept", || told(&gate.get("/", &[])).contains("fwd-status=304"));
    let confirmed = gate.get("/", &[]);
    assert_eq!((confirmed.status.as_u16(), confirmed.text()), (200, "body"));
    assert_eq!(told(&confirmed), "bartizan; fwd=stale; fwd-status=304");
    // What the caller has is compared with the confirmed answer, not sent on in place of the cache's question.
    assert_eq!(gate.get("/", &[("if-none-match", "\"x\"")]).status, 304);
    let other = gate.get("/", &[("if-none-match", "\"y\"")]);
    assert_eq!((other.status.as_u16(), other.text()), (200, "body"));
    assert_eq!(gate.client().call("HEAD", "/", &[], "").header("content-length"), Some("4"));
}

#[test]
fn a_successful_change_drops_what_is_kept_and_a_refused_one_does_not() {
    let origin = Origin::start(|request| match request.method.as_str() {
        "GET" => Reply::ok("body").with("cache-control", "max-age=60"),
        "PUT" => Reply::new(204, ""),
        _ => Reply::new(400, "no"),
    });
    let gate = Gate::start(&simple(&origin.url(), &[&policy("{}")]));
    gate.get("/", &[]);
    until_hit(&gate, "/", &[]);
    assert_eq!(gate.client().call("POST", "/", &[], "x").status, 400);
    assert!(told(&gate.get("/", &[])).contains("; hit"));
    assert_eq!(gate.client().call("PUT", "/", &[], "x").status, 204);
    assert!(told(&gate.get("/", &[])).contains("uri-miss"));
}
