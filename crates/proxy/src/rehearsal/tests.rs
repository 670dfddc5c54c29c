//! What a rehearsal promises: the decisions of live traffic, by what it is given and nothing else.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use bartizan_config::{
    Set,
    policy_test::{Report, run_all},
    rehearsal::{
        CellReading, Credential, Decision, End, Given, GivenBody, Moment, Props, Readings, Rehearsal,
        Rehearse,
    },
    snapshot::Snapshot,
    source::Sources,
};
use bartizan_identity::KeyId;
use bartizan_limit::Nanos;
use bartizan_model::{Reason, Stage};
use http::{HeaderMap, Method, Version, header};

use super::PipelineRehearsal;

const SET: &str = include_str!("testdata/set.yaml");

fn set(tests: &str) -> (Set, Arc<Snapshot>) {
    let mut set = Set::from_sources(Sources::from_texts([("set.yaml", SET), ("tests.yaml", tests)]));
    let snapshot = set.compiled.snapshot.take();
    let snapshot = snapshot.unwrap_or_else(|| panic!("{:#?}", set.compiled.problems));
    (set, snapshot)
}

fn report(tests: &str) -> Report {
    let (set, snapshot) = set(tests);
    run_all(&set.documents, &snapshot, &PipelineRehearsal)
}

fn misses(report: &Report) -> Vec<String> {
    let steps = report.cases.iter().flat_map(|case| &case.steps);
    steps
        .flat_map(|step| {
            let tell = |miss: &bartizan_config::policy_test::Miss| {
                format!("{}: {}: {} / {}", step.name, miss.field, miss.expected, miss.got)
            };
            step.misses.iter().map(tell).collect::<Vec<_>>()
        })
        .collect()
}

fn stage() -> Box<dyn Rehearse> {
    PipelineRehearsal.set_up(set("").1, Props::default())
}

fn given(target: &str, consumer: Option<&str>) -> Given {
    let mut headers = HeaderMap::new();
    headers.insert(header::HOST, "api.example.com".parse().unwrap());
    Given {
        listener: "public".into(),
        peer: SocketAddr::from(([192, 0, 2, 1], 4711)),
        local: SocketAddr::from(([127, 0, 0, 1], 8080)),
        tls: None,
        version: Version::HTTP_11,
        method: Method::GET,
        target: target.parse().unwrap(),
        headers,
        body: GivenBody::Absent,
        received: at(0),
        readings: Readings::default(),
        credential: match consumer {
            Some(name) => Credential::ApiKey {
                key: KeyId::parse("abcdefghijkl").unwrap(),
                consumer: name.into(),
                flaw: None,
            },
            None => Credential::Absent,
        },
        share: None,
        draw: None,
        cells: Vec::new(),
        keeps_running: false,
    }
}

/// So many milliseconds after some moment.
fn at(ms: u64) -> Moment {
    Moment {
        unix_nanos: (1_767_225_600_000 + ms) * 1_000_000,
        monotonic: Nanos(0) + Duration::from_millis(1_000_000 + ms),
    }
}

#[test]
fn the_tests_beside_the_set_pass() {
    let report = report(include_str!("testdata/tests.yaml"));
    assert_eq!(misses(&report), Vec::<String>::new());
    assert_eq!(report.cases.len(), 8);
    assert!(report.passed());
}

#[test]
fn calls_to_models_are_rehearsed_up_to_the_provider_with_quotas_and_shares() {
    let text = include_str!("testdata/models.yaml");
    let mut set = Set::from_sources(Sources::from_texts([("models.yaml", text)]));
    let snapshot = set.compiled.snapshot.take().unwrap_or_else(|| panic!("{:#?}", set.compiled.problems));
    let report = run_all(&set.documents, &snapshot, &PipelineRehearsal);
    assert_eq!(misses(&report), Vec::<String>::new());
    assert_eq!(report.cases.len(), 5);
    assert!(report.passed());
}

#[test]
fn every_expectation_that_does_not_hold_is_told() {
    let report = report(include_str!("testdata/failing.yaml"));
    let expected: Vec<&str> = include_str!("testdata/failing.txt").lines().collect();
    assert_eq!(misses(&report), expected);
    assert_eq!(report.failures(), report.cases.len());
}

#[test]
fn a_request_passes_the_stages_in_their_order() {
    let outcome = stage().run(given("/orders/7", Some("anna")));
    let Decision::Forwarded(sending) = &outcome.decision else { panic!("{:?}", outcome.decision) };
    assert_eq!(&*sending.upstream, "shop");
    assert_eq!(sending.headers.get("x-consumer-name").unwrap(), "anna");
    let stages: Vec<_> = outcome.stages.iter().map(|one| (one.stage, one.end)).collect();
    let passed = |stage| (stage, End::Passed);
    assert_eq!(stages, Stage::ALL[..8].iter().copied().map(passed).collect::<Vec<_>>());
}

#[test]
fn a_refusal_ends_the_stages_and_has_the_answer_of_live_traffic() {
    let outcome = stage().run(given("/orders/7", None));
    assert_eq!(outcome.decision.reason(), Some(Reason::CredentialMissing));
    assert_eq!(outcome.status, 401);
    assert!(outcome.headers.contains_key(header::WWW_AUTHENTICATE));
    assert_eq!(
        outcome.stages.last().map(|last| (last.stage, last.end)),
        Some((Stage::Identify, End::Denied))
    );
    assert_eq!(outcome.stages.len(), 3);
}

#[test]
fn a_limit_is_judged_by_the_given_clock_and_forgotten_at_reset() {
    let mut stage = stage();
    let ask = |stage: &mut Box<dyn Rehearse>, ms| {
        let request = Given { received: at(ms), ..given("/orders/7", Some("anna")) };
        stage.run(request).decision.reason()
    };
    assert_eq!([0, 0, 0].map(|ms| ask(&mut stage, ms)), [None, None, Some(Reason::RateExceeded)]);
    assert_eq!(ask(&mut stage, 29_999), Some(Reason::RateExceeded));
    assert_eq!(ask(&mut stage, 30_000), None);
    assert_eq!(ask(&mut stage, 30_000), Some(Reason::RateExceeded));
    stage.reset();
    assert_eq!(ask(&mut stage, 30_000), None);
}

#[test]
fn a_recorded_cell_decides_instead_of_what_the_rehearsal_used_up() {
    let mut stage = stage();
    let now = at(0).monotonic.0;
    let ask = |stage: &mut Box<dyn Rehearse>, word| {
        let cell = CellReading {
            policy: "RateLimitPolicy/orders".into(),
            limit: 0,
            shadow: false,
            word,
            bound: None,
        };
        let outcome = stage.run(Given { cells: vec![cell], ..given("/orders/7", Some("anna")) });
        (outcome.decision.reason(), outcome.limits.first().map(|state| state.remaining))
    };
    let (free, half, full) = (now, now + 30_000_000_000, now + 60_000_000_000);
    assert_eq!(ask(&mut stage, full), (Some(Reason::RateExceeded), Some(0)));
    assert_eq!(ask(&mut stage, free), (None, Some(1)));
    assert_eq!(ask(&mut stage, half), (None, Some(0)));
    assert_eq!(ask(&mut stage, free), (None, Some(1)));
}

#[test]
fn a_call_that_keeps_running_keeps_its_permit() {
    let mut stage = stage();
    let ask = |stage: &mut Box<dyn Rehearse>, keeps_running| {
        let request = Given { keeps_running, ..given("/slow", Some("anna")) };
        stage.run(request).decision.reason()
    };
    assert_eq!(
        [false, false, true, false].map(|keeps| ask(&mut stage, keeps)),
        [None, None, None, Some(Reason::RateExceeded)]
    );
    stage.reset();
    assert_eq!(ask(&mut stage, false), None);
}

#[test]
fn a_wait_is_told_and_not_waited() {
    let mut stage = stage();
    let begun = Instant::now();
    let waits: Vec<_> = (0..4)
        .map(|_| {
            let outcome = stage.run(given("/queue", Some("anna")));
            (outcome.decision.reason(), outcome.waited.as_secs())
        })
        .collect();
    assert_eq!(waits, [(None, 0), (None, 10), (None, 20), (Some(Reason::RateExceeded), 0)]);
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

#[test]
fn a_listener_that_is_not_there_cannot_be_judged() {
    let outcome = stage().run(Given { listener: "other".into(), ..given("/orders/7", None) });
    assert!(matches!(outcome.decision, Decision::NotJudgeable(Stage::Admit)), "{:?}", outcome.decision);
}

#[test]
fn a_body_that_is_too_large_is_refused_whether_it_is_known_or_not() {
    let mut big = given("/orders", Some("anna"));
    big.method = Method::POST;
    big.headers.insert(header::CONTENT_LENGTH, "99999999".parse().unwrap());
    for body in [GivenBody::Withheld, GivenBody::Whole("x".into())] {
        let outcome = stage().run(Given { body, ..big.clone() });
        assert_eq!(outcome.decision.reason(), Some(Reason::BodyTooLarge));
    }
}

#[test]
fn a_caller_without_a_token_is_refused_where_tokens_are_exchanged() {
    let key = "{ methods: [{ type: ApiKey }] }";
    let token = "{ methods: [{ type: ApiKey }, { type: Jwt, jwt: { issuer: \"https://id.test\", audiences: [a] } }] }";
    let exchange = "metadata: { name: shop }\nspec: { credential: { tokenExchange: { tokenUrl: \"https://id.test/token\", \
                    clientId: gateway, clientSecretRef: env://S } }, ";
    let text = SET.replace(key, token).replace("metadata: { name: shop }\nspec: { ", exchange);
    let mut set = Set::from_sources(Sources::from_texts([("set.yaml", &*text)]));
    let snapshot = set.compiled.snapshot.take().unwrap_or_else(|| panic!("{:#?}", set.compiled.problems));
    assert!(snapshot.upstreams.iter().any(|upstream| upstream.exchanges_tokens()));
    let mut stage = PipelineRehearsal.set_up(snapshot, Props::default());
    let outcome = stage.run(given("/orders/7", Some("anna")));
    assert_eq!(outcome.decision.reason(), Some(Reason::NotAllowed));
    assert_eq!(self::stage().run(given("/orders/7", Some("anna"))).decision.reason(), None);
}

/// `cargo test -p bartizan-proxy --profile dist -- --ignored --nocapture how_many`
#[test]
#[ignore = "measures"]
fn how_many_heads_are_judged_in_a_second() {
    let mut stage = stage();
    let many = 200_000_u64;
    let request = given("/orders/7", Some("anna"));
    let start = Instant::now();
    let begun = ran(start);
    for n in 0..many {
        let outcome = stage.run(Given { received: at(n * 60_000), ..request.clone() });
        assert!(outcome.decision.reason().is_none());
    }
    let rate = many as f64 / (ran(start) - begun).as_secs_f64();
    println!("{rate:.0} heads per second");
    assert!(rate > 20_000.0, "{rate:.0}");
}

/// Time that this thread ran, whatever else the machine does; the wall clock where the system does not tell.
fn ran(since: Instant) -> Duration {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanos = told.and_then(|text| text.split(' ').next()?.parse().ok());
    nanos.map_or_else(|| since.elapsed(), Duration::from_nanos)
}
