//! HTTP/2 toward the origin: streams share connections, within bounds.

use std::{cell::Cell, rc::Rc, time::Duration};

use bartizan_config::snapshot::upstream::UpstreamProtocol;
use bartizan_proxy::upstream::{ForwardErrorKind, Pick, Retry};
use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;

use crate::support::*;

#[derive(Clone, Copy)]
struct Local;

impl<F: Future<Output: 'static> + 'static> hyper::rt::Executor<F> for Local {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}

/// An HTTP/2 origin; it answers after `delay` and notes the most streams it had at once.
async fn origin(streams: u32, delay: Duration, most: Rc<Cell<usize>>) -> Origin {
    Origin::raw(move |stream, _, seen| {
        let (most, now) = (Rc::clone(&most), Rc::<Cell<usize>>::default());
        async move {
            let service = service_fn(move |request: Request<Incoming>| {
                let (most, now, seen) = (Rc::clone(&most), Rc::clone(&now), Rc::clone(&seen));
                async move {
                    now.set(now.get() + 1);
                    most.set(most.get().max(now.get()));
                    seen.heads.borrow_mut().push(format!("{:?} {:?}", request.uri(), request.headers()));
                    let body = request.into_body().collect().await.unwrap();
                    tokio::time::sleep(delay).await;
                    now.set(now.get() - 1);
                    let mut trailers = HeaderMap::new();
                    trailers.insert("grpc-status", "0".parse().unwrap());
                    let body = Full::new(body.to_bytes()).with_trailers(async { Some(Ok(trailers)) });
                    Ok::<_, hyper::Error>(Response::new(body))
                }
            });
            let mut server = hyper::server::conn::http2::Builder::new(Local);
            server.max_concurrent_streams(streams);
            let _ = server.serve_connection(TokioIo::new(stream), service).await;
        }
    })
    .await
}

fn plan2(origin: &Origin) -> bartizan_config::snapshot::upstream::UpstreamPlan {
    let mut plan = plan(&[origin.address]);
    plan.protocol = UpstreamProtocol::Http2;
    plan
}

/// Calls `count` times at once.
async fn calls(
    pools: &Pools,
    upstream: &std::sync::Arc<bartizan_proxy::upstream::PreparedUpstream>,
    count: usize,
) {
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..count {
        let (pools, upstream) = (Rc::clone(pools), upstream.clone());
        tasks.spawn_local(async move {
            let sent = send(&pools, &upstream, &Pick::default(), post(full("echo"))).await.unwrap();
            assert_eq!(sent.response.into_body().collect().await.unwrap().to_bytes(), Bytes::from("echo"));
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
}

#[test]
fn a_burst_of_requests_shares_one_connection() {
    on_a_core(async || {
        let most = Rc::<Cell<usize>>::default();
        let origin = origin(100, Duration::from_millis(50), Rc::clone(&most)).await;
        let (pools, upstream) = (pools(), prepare(plan2(&origin)));
        calls(&pools, &upstream, 50).await;
        assert_eq!((origin.seen.connections.get(), most.get()), (1, 50));
        assert_eq!((pools.counts().streams, upstream.endpoints[0].state.in_flight()), (0, 0));
    });
}

#[test]
fn a_full_connection_is_joined_by_another_up_to_the_cap() {
    on_a_core(async || {
        let most = Rc::<Cell<usize>>::default();
        let origin = origin(4, Duration::from_millis(20), Rc::clone(&most)).await;
        let mut plan = plan2(&origin);
        plan.connections_max = 3;
        let (pools, upstream) = (pools(), prepare(plan));
        calls(&pools, &upstream, 30).await;
        assert_eq!(origin.seen.connections.get(), 3);
        assert!(most.get() <= 4, "{}", most.get());
        assert_eq!(pools.counts().waiting, 0);
    });
}

#[test]
fn the_request_names_its_host_and_grpc_gets_its_te_back() {
    on_a_core(async || {
        let origin = origin(100, Duration::ZERO, Rc::default()).await;
        let (pools, upstream) = (pools(), prepare(plan2(&origin)));
        let mut request = post(full("x"));
        request.headers_mut().insert("content-type", "application/grpc+proto".parse().unwrap());
        request.headers_mut().insert("connection", "keep-alive".parse().unwrap());
        let sent = send(&pools, &upstream, &Pick::default(), request).await.unwrap();
        let read = sent.response.into_body().collect().await.unwrap();
        assert_eq!(read.trailers().unwrap()["grpc-status"], "0");
        let heads = origin.seen.heads.borrow();
        assert!(heads[0].contains("orders.test/") && heads[0].contains(r#""te": "trailers""#), "{heads:?}");
        assert!(!heads[0].contains(r#""host""#) && !heads[0].contains("connection"), "{heads:?}");
    });
}

#[test]
fn an_upgrade_cannot_be_asked_of_http2() {
    on_a_core(async || {
        let origin = origin(100, Duration::ZERO, Rc::default()).await;
        let (pools, upstream) = (pools(), prepare(plan2(&origin)));
        let mut request = get();
        request.headers_mut().insert("upgrade", "websocket".parse().unwrap());
        let error = send(&pools, &upstream, &Pick::default(), request).await.unwrap_err();
        assert_eq!(error.kind, ForwardErrorKind::Unsendable);
        assert_eq!(origin.seen.connections.get(), 0);
    });
}

#[test]
fn giving_up_on_a_stream_frees_it_and_keeps_the_connection() {
    on_a_core(async || {
        let origin = origin(100, Duration::from_millis(200), Rc::default()).await;
        let (pools, upstream) = (pools(), prepare(plan2(&origin)));
        assert!(tokio::time::timeout(Duration::from_millis(50), call(&pools, &upstream)).await.is_err());
        assert_eq!((pools.counts().streams, upstream.endpoints[0].state.in_flight()), (0, 0));
        calls(&pools, &upstream, 1).await;
        assert_eq!(origin.seen.connections.get(), 1);
    });
}

#[test]
fn an_origin_that_does_not_speak_http2_misbehaves() {
    on_a_core(async || {
        let origin = Origin::answering("HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await;
        let (pools, upstream) = (pools(), prepare(plan2(&origin)));
        let error = call(&pools, &upstream).await.unwrap_err();
        assert_eq!((error.kind, error.retry), (ForwardErrorKind::Misbehaved, Retry::Yes), "{error}");
        assert_eq!((pools.counts().open, upstream.endpoints[0].state.in_flight()), (0, 0));
    });
}

#[test]
fn an_origin_that_never_says_what_it_allows_is_a_timeout() {
    on_a_core(async || {
        let origin = Origin::raw(|mut stream, _, _| async move {
            let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
        })
        .await;
        let mut plan = plan2(&origin);
        plan.connect_timeout = Duration::from_millis(50);
        let (pools, upstream) = (pools(), prepare(plan));
        let error = call(&pools, &upstream).await.unwrap_err();
        assert_eq!((error.kind, error.retry), (ForwardErrorKind::Timeout, Retry::Yes), "{error}");
        until("the connection is closed", || pools.counts().open == 0 && origin.seen.closed.get() == 1).await;
    });
}

#[test]
fn a_connection_the_origin_closed_costs_no_call() {
    on_a_core(async || {
        let origin = Origin::raw(|stream, _, _| async move {
            let service = service_fn(|_| async { Ok::<_, hyper::Error>(answer(200, "ok")) });
            let server = hyper::server::conn::http2::Builder::new(Local);
            let mut serving = std::pin::pin!(server.serve_connection(TokioIo::new(stream), service));
            let _ = tokio::time::timeout(Duration::from_millis(30), serving.as_mut()).await;
            serving.as_mut().graceful_shutdown();
            let _ = serving.await;
        })
        .await;
        let (pools, upstream) = (pools(), prepare(plan2(&origin)));
        for _ in 0..3 {
            let (sent, body) = read(call(&pools, &upstream).await.unwrap()).await;
            assert_eq!((sent.attempts, &*body), (1, &b"ok"[..]));
            drop(sent);
            pause(60).await;
        }
        assert_eq!(origin.seen.connections.get(), 3);
    });
}

#[test]
fn an_idle_connection_is_swept() {
    on_a_core(async || {
        let origin = origin(100, Duration::ZERO, Rc::default()).await;
        let (pools, upstream) = (pools(), prepare(plan2(&origin)));
        calls(&pools, &upstream, 1).await;
        pools.sweep(std::time::Instant::now() + Duration::from_secs(11));
        until("the connection is closed", || pools.counts().open == 0).await;
        until("the origin sees it", || origin.seen.closed.get() == 1).await;
    });
}
