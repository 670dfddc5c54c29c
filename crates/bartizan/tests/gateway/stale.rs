//! Answers that are kept: stale ones while somebody asks and when nobody answers, equal requests, and reloads.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use bartizan_testkit::{Answer, Origin, Reply, gateway::command};

use crate::harness::{Gate, document, simple, wait};

fn policy(spec: &str) -> String {
    document("CachePolicy", "answers", spec)
}

fn told(answer: &Answer) -> &str {
    answer.header("cache-status").unwrap_or("nothing")
}

fn pause(milliseconds: u64) {
    thread::sleep(Duration::from_millis(milliseconds));
}

/// An origin that numbers its answers, and answers 503 while it is told to.
fn moody(control: &'static str) -> (Origin, Arc<AtomicBool>) {
    let fails = Arc::new(AtomicBool::new(false));
    let (count, failing) = (AtomicUsize::new(0), fails.clone());
    let origin = Origin::start(move |_| {
        if failing.load(Ordering::SeqCst) {
            return Reply::new(503, "no");
        }
        let number = count.fetch_add(1, Ordering::SeqCst);
        Reply::ok(format!("answer {number}")).with("cache-control", control)
    });
    (origin, fails)
}

/// Keeps the first answer, which is stale a second later.
fn kept(gate: &Gate) {
    gate.get("/", &[]);
    wait("the answer is kept", || told(&gate.get("/", &[])).contains("; hit"));
}

#[test]
fn a_stale_answer_is_given_while_a_newer_one_is_fetched_beside_it() {
    let (origin, _) = moody("max-age=1, stale-while-revalidate=60");
    let gate = Gate::start(&simple(&origin.url(), &[&policy("{}")]));
    kept(&gate);
    let before = origin.received().len();
    pause(2_200);
    let stale = gate.get("/", &[]);
    assert!(told(&stale).starts_with("bartizan; hit; ttl=-"), "{}", told(&stale));
    assert_eq!(stale.text(), format!("answer {}", before - 1));
    assert_eq!(gate.record_of(&stale)["cache"], "stale");
    wait("the newer answer", || gate.get("/", &[]).text() == format!("answer {before}"));
    assert_eq!(origin.received().len(), before + 1, "more than one asked");
    let scrape = gate.scrape();
    let refreshes = "bartizan_cache_refreshes_total{policy=\"CachePolicy/answers\",outcome=\"renewed\"}";
    assert_eq!(scrape.value(refreshes), 1.0);
    assert_eq!(scrape.value("bartizan_http_in_flight_requests"), 0.0);
}

#[test]
fn a_policy_allows_stale_answers_that_do_not_say_so_and_never_those_that_forbid_it() {
    let (origin, _) = moody("max-age=1");
    let gate = Gate::start(&simple(&origin.url(), &[&policy("{ staleWhileRevalidate: 1m }")]));
    kept(&gate);
    pause(2_200);
    assert!(told(&gate.get("/", &[])).starts_with("bartizan; hit; ttl=-"));
    let (origin, fails) = moody("max-age=1, must-revalidate");
    let spec = policy("{ staleWhileRevalidate: 1m, staleIfError: 1m }");
    let gate = Gate::start(&simple(&origin.url(), &[&spec]));
    kept(&gate);
    fails.store(true, Ordering::SeqCst);
    pause(2_200);
    assert_eq!(gate.get("/", &[]).status, 503);
}

#[test]
fn a_stale_answer_is_given_when_the_upstream_fails_and_only_then() {
    let (origin, fails) = moody("max-age=1, stale-if-error=60");
    let gate = Gate::start(&simple(&origin.url(), &[&policy("{}")]));
    kept(&gate);
    pause(2_200);
    assert!(told(&gate.get("/", &[])).contains("fwd="), "it was not asked");
    wait("the answer is kept", || told(&gate.get("/", &[])).contains("; hit"));
    fails.store(true, Ordering::SeqCst);
    pause(2_200);
    let before = origin.received().len();
    let rescued = gate.get("/", &[]);
    assert_eq!(rescued.status, 200);
    assert!(told(&rescued).starts_with("bartizan; fwd=stale; fwd-status=503; ttl=-"), "{}", told(&rescued));
    assert!(told(&rescued).ends_with("detail=stale-if-error"));
    assert_eq!(gate.record_of(&rescued)["cache"], "stale_on_error");
    // An upstream that has just failed is not asked at once again.
    for _ in 0..5 {
        assert_eq!(gate.get("/", &[]).status, 200);
    }
    assert!(origin.received().len() <= before + 2, "a failing upstream is asked for every request");
    // What is not kept shows the failure.
    assert_eq!(gate.get("/other", &[]).status, 503);
    drop(origin);
    pause(1_200);
    let rescued = gate.get("/", &[]);
    assert_eq!((rescued.status.as_u16(), rescued.text()), (200, "answer 1"));
    assert!(told(&rescued).starts_with("bartizan; fwd=stale; ttl=-"), "{}", told(&rescued));
}

#[test]
fn equal_requests_ask_once() {
    let slow = Origin::start(|_| {
        Reply::ok("body").with("cache-control", "max-age=60").after(Duration::from_millis(400))
    });
    let gate = Gate::start(&simple(&slow.url(), &[&policy("{}")]));
    let answers = at_once(&gate, 12);
    assert_eq!(slow.received().len(), 1);
    let collapsed = answers.iter().filter(|answer| told(answer).contains("; collapsed")).count();
    assert!(collapsed >= 10, "{collapsed} of 12 waited");
    assert!(answers.iter().all(|answer| answer.text() == "body"));
    let series = "bartizan_cache_requests_total{policy=\"CachePolicy/answers\",result=\"collapsed\"}";
    wait("the count", || gate.scrape().value(series) as usize == collapsed);
}

#[test]
fn an_answer_that_turns_out_private_goes_to_nobody_else_and_is_not_waited_for_again() {
    let count = AtomicUsize::new(0);
    let private = Origin::start(move |_| {
        let number = count.fetch_add(1, Ordering::SeqCst);
        let reply = Reply::ok(format!("answer {number}")).with("cache-control", "private, max-age=60");
        reply.after(Duration::from_millis(300))
    });
    let gate = Gate::start(&simple(&private.url(), &[&policy("{}")]));
    let mut texts: Vec<String> = at_once(&gate, 6).iter().map(|answer| answer.text().to_owned()).collect();
    texts.sort();
    texts.dedup();
    assert_eq!((texts.len(), private.received().len()), (6, 6), "an answer was shared");
    let begun = std::time::Instant::now();
    at_once(&gate, 6);
    assert!(begun.elapsed() < Duration::from_millis(590), "they waited for each other again");
}

#[test]
fn without_collapsing_each_request_asks() {
    let slow = Origin::start(|_| {
        Reply::ok("body").with("cache-control", "max-age=60").after(Duration::from_millis(300))
    });
    let gate = Gate::start(&simple(&slow.url(), &[&policy("{ collapse: 0s }")]));
    at_once(&gate, 4);
    assert_eq!(slow.received().len(), 4);
}

fn at_once(gate: &Gate, count: usize) -> Vec<Answer> {
    thread::scope(|scope| {
        let calls: Vec<_> = (0..count).map(|_| scope.spawn(|| gate.get("/", &[]))).collect();
        calls.into_iter().map(|call| call.join().unwrap()).collect()
    })
}

#[test]
fn kept_answers_survive_a_reload_that_cannot_have_made_them_others_and_no_other() {
    const APPLIED: &str = "bartizan_config_reloads_total{outcome=\"applied\"}";
    let (origin, _) = moody("max-age=600");
    let base = simple(&origin.url(), &[&policy("{}")]);
    let gate = Gate::start(&base);
    kept(&gate);
    let first = gate.get("/", &[]).text().to_owned();
    let reload = |documents: &str| {
        let applied = gate.scrape().value(APPLIED);
        gate.documents.write("gateway.yaml", documents);
        wait("the reload", || gate.scrape().value(APPLIED) > applied);
    };
    let limit = document("RateLimitPolicy", "many", "{ limits: { requests: 1000, timeWindow: 1m } }");
    let consumer = document("Consumer", "anna", "{}");
    let other = crate::harness::route("other", "/other", "origin");
    reload(&[base.as_str(), &limit, &consumer, &other].join("---\n"));
    let hit = gate.get("/", &[]);
    assert_eq!(
        (hit.text(), told(&hit).contains("; hit")),
        (first.as_str(), true),
        "a limit emptied the cache"
    );
    let header = document(
        "HeaderPolicy",
        "tenant",
        "{ request: { change: { set: [{ name: x-tenant, value: a }] } } }",
    );
    reload(&[base.as_str(), &limit, &consumer, &other, &header].join("---\n"));
    assert!(told(&gate.get("/", &[])).contains("uri-miss"), "an answer outlived what made it");
}

#[test]
fn what_is_kept_is_dropped_by_url_by_its_beginning_and_by_tag_and_stands_in_the_trail() {
    let origin = Origin::start(|request| {
        let tags = if request.target.starts_with("/tagged") { "shop item-7" } else { "other" };
        Reply::ok("body").with("cache-control", "max-age=600").with("surrogate-key", tags)
    });
    let gate = Gate::start(&simple(&origin.url(), &[&policy("{}")]));
    let targets = ["/a", "/a/b", "/b?x=1", "/tagged"];
    let keep = || {
        for target in targets {
            wait("an answer is kept", || told(&gate.get(target, &[])).contains("; hit"));
        }
    };
    let hits = || targets.map(|target| told(&gate.get(target, &[])).contains("; hit"));
    let data = gate.data().to_str().unwrap().to_owned();
    let run = |arguments: &[&str]| {
        let (code, out, errors) = command(arguments);
        assert_eq!(code, Some(0), "{arguments:?}: {errors}");
        out
    };
    let token = run(&["tokens", "create", "--name", "purger", "--role", "operator", "--data-dir", &data]);
    let token_file = gate.data().join("token");
    std::fs::write(&token_file, token).unwrap();
    let admin = format!("http://{}", gate.gateway.address("admin"));
    let purge = |which: &[&str]| {
        let way = ["cache", "purge", "--format", "json", "--server", &admin, "--token-file"];
        let mut arguments = way.to_vec();
        arguments.push(token_file.to_str().unwrap());
        arguments.extend(which);
        let done: serde_json::Value = serde_json::from_str(&run(&arguments)).unwrap();
        done["dropped"].as_u64().unwrap()
    };
    let url = |target: &str| format!("http://api.test:80{target}");
    keep();
    assert_eq!(purge(&["--url", &url("/a")]), 1);
    assert_eq!(hits(), [false, true, true, true]);
    keep();
    assert_eq!(purge(&["--prefix", &url("/a")]), 2);
    assert_eq!(hits(), [false, false, true, true]);
    keep();
    assert_eq!(purge(&["--tag", "item-7"]), 1);
    assert_eq!(purge(&["--tag", "item"]), 0);
    assert_eq!(hits(), [true, true, true, false]);
    keep();
    assert_eq!(purge(&["--all", "--reason", "a bad release"]), 4);
    let entries = crate::harness::with_store(gate.data(), async |store| {
        let (rows, _) = store.audit().list(None, 50).await.unwrap();
        rows.iter().map(|row| format!("{} {} {}", row.action, row.target, row.reason)).collect::<Vec<_>>()
    });
    assert!(entries.contains(&"cache.purge all a bad release".to_owned()), "{entries:?}");
}
