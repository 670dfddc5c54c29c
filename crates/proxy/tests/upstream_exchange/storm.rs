//! Many exchanges at once, given up at random: every answer belongs to its request, and nothing stays counted.

use std::{rc::Rc, time::Duration};

use bartizan_config::snapshot::upstream::{Balancing, UpstreamProtocol};
use bartizan_proxy::upstream::{Pick, balance::Dice};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;

use crate::support::*;

/// Answers with the request's path, many times over; sometimes late, sometimes before it has read the request.
async fn echo(request: Request<Incoming>, roll: u64) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let path = request.uri().path().to_owned();
    if !roll.is_multiple_of(4) {
        request.into_body().collect().await?;
    }
    if roll.is_multiple_of(3) {
        tokio::time::sleep(Duration::from_millis(roll % 7)).await;
    }
    Ok(Response::new(Full::from(path.repeat(1 + usize::try_from(roll % 3000).unwrap()))))
}

async fn origin(is_http2: bool, seed: u64) -> Origin {
    let dice = Rc::new(Dice::new(seed));
    Origin::raw(move |stream, _, _| {
        let dice = Rc::clone(&dice);
        async move {
            let ends = Duration::from_millis(5 + dice.roll() % 50);
            let service = {
                let dice = Rc::clone(&dice);
                service_fn(move |request| echo(request, dice.roll()))
            };
            let io = TokioIo::new(stream);
            if is_http2 {
                let serving = hyper::server::conn::http2::Builder::new(Local).serve_connection(io, service);
                let mut serving = std::pin::pin!(serving);
                if tokio::time::timeout(ends, serving.as_mut()).await.is_err() {
                    serving.as_mut().graceful_shutdown();
                    let _ = serving.await;
                }
            } else {
                let serving = hyper::server::conn::http1::Builder::new().serve_connection(io, service);
                let mut serving = std::pin::pin!(serving);
                if tokio::time::timeout(ends, serving.as_mut()).await.is_err() {
                    serving.as_mut().graceful_shutdown();
                    let _ = serving.await;
                }
            }
        }
    })
    .await
}

#[derive(Clone, Copy)]
struct Local;

impl<F: Future<Output: 'static> + 'static> hyper::rt::Executor<F> for Local {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}

/// One exchange; whether it was answered whole. Gives up at a random moment in one of five.
async fn exchange(
    pools: &Pools,
    upstream: &bartizan_proxy::upstream::PreparedUpstream,
    path: String,
    roll: u64,
) -> Option<bool> {
    let body = if roll.is_multiple_of(2) { full("some body") } else { empty() };
    let mut request = post(body);
    *request.uri_mut() = path.parse().unwrap();
    let asking = async {
        let sent = send(pools, upstream, &Pick::default(), request).await.ok()?;
        let read = sent.response.into_body().collect().await.ok()?.to_bytes();
        let read = String::from_utf8(read.to_vec()).unwrap();
        assert!(!read.is_empty() && read.replace(&path, "").is_empty(), "{path} got another's answer");
        Some(true)
    };
    if roll.is_multiple_of(5) {
        return tokio::time::timeout(Duration::from_micros(roll % 4000), asking).await.unwrap_or(Some(false));
    }
    asking.await
}

fn storm(is_http2: bool, seed: u64) {
    on_a_core(async || {
        let (a, b) = (origin(is_http2, seed).await, origin(is_http2, seed + 1).await);
        let mut plan = plan(&[a.address, b.address]);
        plan.balancing = Balancing::LeastRequest;
        (plan.connections_max, plan.idle_max) = (6, 3);
        plan.connect_timeout = Duration::from_secs(10);
        if is_http2 {
            plan.protocol = UpstreamProtocol::Http2;
        }
        let (pools, upstream) = (pools(), prepare(plan));
        let mut tasks = tokio::task::JoinSet::new();
        for client in 0..40u64 {
            let (pools, upstream) = (Rc::clone(&pools), upstream.clone());
            tasks.spawn_local(async move {
                let dice = Dice::new(seed ^ (client << 32));
                let (mut whole, mut failed) = (0, 0);
                for number in 0..30 {
                    match exchange(&pools, &upstream, format!("/{client}-{number}."), dice.roll()).await {
                        Some(true) => whole += 1,
                        Some(false) => {}
                        None => failed += 1,
                    }
                }
                (whole, failed)
            });
        }
        let (mut whole, mut failed) = (0, 0);
        while let Some(done) = tasks.join_next().await {
            let (more_whole, more_failed) = done.unwrap();
            (whole, failed) = (whole + more_whole, failed + more_failed);
        }
        // Origins that close gracefully lose a call only in the races that no client can win alone.
        assert!(whole > 600 && failed < 200, "seed {seed}: {whole} whole, {failed} failed");
        let in_flight: usize = upstream.endpoints.iter().map(|endpoint| endpoint.state.in_flight()).sum();
        assert_eq!((in_flight, pools.counts().waiting, pools.counts().streams), (0, 0, 0), "seed {seed}");
        pools.sweep(std::time::Instant::now() + Duration::from_secs(60));
        until("all is closed", || pools.counts().open == 0).await;
    });
}

#[test]
fn every_answer_belongs_to_its_request_over_http1() {
    (0..4).for_each(|seed| storm(false, seed));
}

#[test]
fn every_answer_belongs_to_its_request_over_http2() {
    (0..4).for_each(|seed| storm(true, seed));
}
