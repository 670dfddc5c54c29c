//! Endpoints that fail, are kept out and come back; and what preparing refuses.

use std::{
    cell::Cell,
    num::NonZeroU32,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use bartizan_config::snapshot::upstream::{
    ActiveCheckPlan, Balancing, CredentialPlan, HashKey, HeaderCredentialPlan, PassiveCheckPlan,
    UpstreamTlsPlan,
};
use bartizan_model::{Reference, SecretValue};
use bartizan_proxy::upstream::{
    ForwardErrorKind, Outcome, Pick, UpstreamSet, balance::hash_key, report, run_checks,
};
use tokio::{io::AsyncWriteExt, sync::oneshot};

use crate::support::*;

fn passive(failures: u32, milliseconds: u64) -> Option<PassiveCheckPlan> {
    let eject_for = Duration::from_millis(milliseconds);
    Some(PassiveCheckPlan { failures, eject_for, ejected_percent_max: 50 })
}

/// Which of `count` endpoints the next `calls` go to.
async fn spread(
    pools: &Pools,
    upstream: &bartizan_proxy::upstream::PreparedUpstream,
    calls: usize,
) -> Vec<usize> {
    let mut counts = vec![0; upstream.endpoints.len()];
    for _ in 0..calls {
        counts[called(pools, upstream).await.index] += 1;
    }
    counts
}

#[test]
fn endpoints_are_called_by_weight() {
    on_a_core(async || {
        let (a, b) = (Origin::answering(OK).await, Origin::answering(OK).await);
        let mut plan = plan(&[a.address, b.address]);
        plan.endpoints[0].weight = NonZeroU32::new(3).unwrap();
        let (pools, upstream) = (pools(), prepare(plan));
        assert_eq!(spread(&pools, &upstream, 40).await, [30, 10]);
        assert_eq!((a.seen.heads.borrow().len(), b.seen.heads.borrow().len()), (30, 10));
    });
}

#[test]
fn the_same_key_goes_to_the_same_endpoint() {
    on_a_core(async || {
        let (a, b) = (Origin::answering(OK).await, Origin::answering(OK).await);
        let mut plan = plan(&[a.address, b.address]);
        plan.balancing = Balancing::ConsistentHash(HashKey::Consumer);
        let (pools, upstream) = (pools(), prepare(plan));
        let mut used = [false; 2];
        for consumer in 0..20u8 {
            let pick = Pick { hash: Some(hash_key(&[consumer])), ..Pick::default() };
            let mut indexes = Vec::new();
            for _ in 0..3 {
                indexes.push(read(send(&pools, &upstream, &pick, get()).await.unwrap()).await.0.index);
            }
            assert!(indexes.iter().all(|index| *index == indexes[0]), "{indexes:?}");
            used[indexes[0]] = true;
        }
        assert_eq!(used, [true, true]);
        assert!(call(&pools, &upstream).await.is_ok(), "without a key any endpoint serves");
    });
}

#[test]
fn an_endpoint_that_answers_503_is_ejected_and_comes_back() {
    on_a_core(async || {
        let bad = Rc::new(Cell::new(true));
        let told = Rc::clone(&bad);
        let sick = Origin::raw(move |mut stream, _, seen| {
            let told = Rc::clone(&told);
            async move {
                while let Some(head) = read_head(&mut stream).await {
                    seen.heads.borrow_mut().push(head);
                    let answer = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n";
                    stream.write_all(if told.get() { answer } else { OK }.as_bytes()).await.unwrap();
                }
            }
        })
        .await;
        let well = Origin::answering(OK).await;
        let mut plan = plan(&[sick.address, well.address]);
        plan.passive = passive(3, 200);
        let (pools, upstream) = (pools(), prepare(plan));
        spread(&pools, &upstream, 20).await;
        assert_eq!(sick.seen.heads.borrow().len(), 3);
        assert_eq!(upstream.endpoints[0].state.counts().ejections, 1);
        bad.set(false);
        pause(220).await;
        assert_eq!(spread(&pools, &upstream, 10).await, [5, 5]);
    });
}

#[test]
fn an_endpoint_that_refuses_connections_is_ejected_and_no_call_is_lost() {
    on_a_core(async || {
        let well = Origin::answering(OK).await;
        let mut plan = plan(&[nobody().await, well.address]);
        plan.passive = passive(2, 60_000);
        let (pools, upstream) = (pools(), prepare(plan));
        assert_eq!(spread(&pools, &upstream, 20).await, [0, 20]);
        assert_eq!(upstream.endpoints[0].state.counts().connect_failures, 2);
    });
}

#[test]
fn a_success_between_failures_starts_the_count_again() {
    let mut plan = plan(&["127.0.0.1:1".parse().unwrap(), "127.0.0.1:2".parse().unwrap()]);
    plan.passive = passive(2, 1000);
    let upstream = prepare(plan);
    let now = Instant::now();
    let ok = Outcome::Answered(http::StatusCode::OK);
    for outcome in [Outcome::Failed, ok, Outcome::Failed, ok, Outcome::Failed] {
        report(&upstream, 0, outcome, now);
    }
    assert_eq!(upstream.endpoints[0].state.counts().ejections, 0);
    report(&upstream, 0, Outcome::Failed, now);
    assert_eq!(upstream.endpoints[0].state.counts().ejections, 1);
    // Half of two: the other stays, however often it fails.
    (0..10).for_each(|_| report(&upstream, 1, Outcome::Failed, now));
    assert_eq!(upstream.endpoints[1].state.counts().ejections, 0);
}

#[test]
fn a_single_endpoint_is_never_ejected_below_all() {
    let mut plan = plan(&["127.0.0.1:1".parse().unwrap()]);
    plan.passive = passive(1, 1000);
    let upstream = prepare(plan);
    (0..10).for_each(|_| report(&upstream, 0, Outcome::Failed, Instant::now()));
    assert_eq!(upstream.endpoints[0].state.counts().ejections, 0);
}

fn active(statuses: (u16, u16)) -> Option<ActiveCheckPlan> {
    Some(ActiveCheckPlan {
        path: "/ready?deep=1".into(),
        interval: Duration::from_millis(20),
        timeout: Duration::from_millis(200),
        statuses: vec![statuses],
        healthy_after: 2,
        unhealthy_after: 2,
    })
}

#[test]
fn active_checks_take_an_endpoint_out_and_bring_it_back() {
    on_a_core(async || {
        let origin = Origin::answering(OK).await;
        let mut plan = plan(&[origin.address]);
        plan.active = active((200, 299));
        let upstreams = UpstreamSet::prepare(&[Arc::new(plan)], &|_| Err(String::new()), None).unwrap();
        let upstream = Arc::clone(upstreams.at(0).unwrap());
        let state = Arc::clone(&upstream.endpoints[0].state);
        let (stop, stopped) = oneshot::channel::<()>();
        let checks = tokio::task::spawn_local(run_checks(Arc::new(upstreams), async {
            let _ = stopped.await;
        }));
        until("a check", || !origin.seen.heads.borrow().is_empty()).await;
        let asked = origin.seen.heads.borrow()[0].clone();
        assert!(asked.starts_with("GET /ready?deep=1 HTTP/1.1\r\n"), "{asked}");
        assert!(asked.contains(&format!("host: {}", origin.address)), "{asked}");
        assert!(state.is_healthy());
        origin.stop();
        until("unhealthy", || !state.is_healthy()).await;
        let pools = pools();
        let error = call(&pools, &upstream).await.unwrap_err();
        assert_eq!(error.kind, ForwardErrorKind::NoEndpoint);
        let back = Origin::raw_at(origin.address, |mut stream, _, seen| async move {
            while let Some(head) = read_head(&mut stream).await {
                seen.heads.borrow_mut().push(head);
                stream.write_all(OK.as_bytes()).await.unwrap();
            }
        })
        .await;
        until("healthy again", || state.is_healthy()).await;
        called(&pools, &upstream).await;
        assert_eq!(state.counts().health_changes, 2);
        stop.send(()).unwrap();
        checks.await.unwrap();
        pause(30).await;
        let asked = back.seen.heads.borrow().len();
        pause(100).await;
        assert_eq!(back.seen.heads.borrow().len(), asked, "stopped checks ask no more");
    });
}

#[test]
fn an_answer_with_another_status_than_the_plans_is_no_health() {
    on_a_core(async || {
        let origin = Origin::answering(OK).await;
        let mut plan = plan(&[origin.address]);
        plan.active = active((204, 204));
        let upstreams = UpstreamSet::prepare(&[Arc::new(plan)], &|_| Err(String::new()), None).unwrap();
        let state = Arc::clone(&upstreams.at(0).unwrap().endpoints[0].state);
        let checks = tokio::task::spawn_local(run_checks(Arc::new(upstreams), std::future::pending()));
        until("unhealthy", || !state.is_healthy()).await;
        checks.abort();
    });
}

#[test]
fn what_is_known_of_an_endpoint_outlives_a_reload() {
    let mut before = plan(&["127.0.0.1:1".parse().unwrap(), "127.0.0.1:2".parse().unwrap()]);
    before.passive = passive(1, 60_000);
    let mut after = before.clone();
    after.endpoints.remove(1);
    after.endpoints.push(endpoint("127.0.0.1:3".parse().unwrap(), 1));
    let none = |_: &Reference| Err(String::new());
    let first = UpstreamSet::prepare(&[Arc::new(before)], &none, None).unwrap();
    report(first.at(0).unwrap(), 0, Outcome::Failed, Instant::now());
    let second = UpstreamSet::prepare(&[Arc::new(after)], &none, Some(&first)).unwrap();
    let states: Vec<_> = second.at(0).unwrap().endpoints.iter().map(|e| e.state.counts().ejections).collect();
    assert_eq!(states, [1, 0]);
}

#[test]
fn the_credential_replaces_the_callers_and_is_never_shown() {
    on_a_core(async || {
        let origin = Origin::answering(OK).await;
        let mut plan = plan(&[origin.address]);
        plan.credential = Some(CredentialPlan::Header(HeaderCredentialPlan {
            header: "authorization".into(),
            prefix: "Bearer ".into(),
            secret: Reference::Env("ORDERS_TOKEN".into()),
        }));
        let secrets = |_: &Reference| Ok(SecretValue::new(b"canary-7f3a".to_vec()));
        let set = UpstreamSet::prepare(&[Arc::new(plan)], &secrets, None).unwrap();
        let mut request = get();
        request.headers_mut().insert("authorization", "Basic abc".parse().unwrap());
        let sent = send(&pools(), set.at(0).unwrap(), &Pick::default(), request).await.unwrap();
        assert!(!format!("{set:?} {sent:?}").contains("canary"));
        let heads = origin.seen.heads.borrow();
        assert!(heads[0].contains("authorization: Bearer canary-7f3a\r\n"), "{heads:?}");
        assert!(!heads[0].contains("Basic"), "{heads:?}");
    });
}

#[test]
fn preparing_tells_every_problem_at_once_and_shows_no_secret() {
    let mut first = plan(&["127.0.0.1:1".parse().unwrap()]);
    first.credential = Some(CredentialPlan::Header(HeaderCredentialPlan {
        header: "authorization".into(),
        prefix: "".into(),
        secret: Reference::Env("BROKEN".into()),
    }));
    first.tls = Some(UpstreamTlsPlan {
        server_name: Some("not a name".into()),
        authorities: Some(Reference::File("/nowhere/ca.pem".into())),
        client: None,
        danger_accept_any_certificate: false,
    });
    let mut second = plan(&[]);
    second.name = "payments".into();
    let secrets = |reference: &Reference| match reference {
        Reference::Env(_) => Ok(SecretValue::new(b"canary\n7f3a".to_vec())),
        Reference::File(path) => Err(format!("{} does not exist", path.display())),
    };
    let problems = UpstreamSet::prepare(&[Arc::new(first), Arc::new(second)], &secrets, None).unwrap_err();
    let told: Vec<_> = problems.iter().map(|problem| (&*problem.upstream, problem.field)).collect();
    assert_eq!(
        told,
        [
            ("orders", "tls.certificateAuthorities"),
            ("orders", "tls.serverName"),
            ("orders", "credential"),
            ("payments", "endpoints"),
        ]
    );
    assert!(!format!("{problems:?}").contains("canary"));
}
