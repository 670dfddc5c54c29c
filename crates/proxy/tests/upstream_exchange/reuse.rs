//! When a connection is used again, when it is not, and that nothing stays counted.

use std::{cell::Cell, rc::Rc, time::Duration};

use bartizan_config::snapshot::upstream::EndpointAddress;
use bartizan_proxy::upstream::{ForwardErrorKind, Outcome, Pick, Retry, report};
use http_body_util::BodyExt;
use tokio::io::AsyncWriteExt;

use crate::support::*;

#[test]
fn a_connection_serves_one_exchange_after_the_other() {
    on_a_core(async || {
        let origin = Origin::answering(OK).await;
        let (pools, upstream) = (pools(), prepare(plan(&[origin.address])));
        let first = called(&pools, &upstream).await;
        assert!(!first.reused && first.connect.is_some());
        assert_eq!(*first.endpoint, *origin.address.to_string());
        for _ in 0..5 {
            let sent = called(&pools, &upstream).await;
            assert!(sent.reused && sent.connect.is_none());
            assert_eq!(sent.attempts, 1);
        }
        assert_eq!(origin.seen.connections.get(), 1);
        assert_eq!((pools.counts().open, pools.counts().idle), (1, 1));
        assert_eq!(upstream.endpoints[0].state.counts().connections_opened, 1);
    });
}

#[test]
fn the_request_reaches_the_origin_as_the_caller_wrote_it() {
    on_a_core(async || {
        let origin = Origin::answering(OK).await;
        let (pools, upstream) = (pools(), prepare(plan(&[origin.address])));
        let mut request = post(full("hello"));
        *request.uri_mut() = "http://elsewhere.test/a?b=1".parse().unwrap();
        read(send(&pools, &upstream, &Pick::default(), request).await.unwrap()).await;
        let heads = origin.seen.heads.borrow();
        assert_eq!(*heads, ["POST /a?b=1 HTTP/1.1\r\nhost: orders.test\r\ncontent-length: 5\r\n\r\nhello"]);
    });
}

#[test]
fn concurrent_requests_get_a_connection_each_and_leave_them_for_the_next() {
    on_a_core(async || {
        let origin = Origin::answering(OK).await;
        let (pools, upstream) = (pools(), prepare(plan(&[origin.address])));
        let (a, b) = (call(&pools, &upstream).await.unwrap(), call(&pools, &upstream).await.unwrap());
        assert_eq!(upstream.endpoints[0].state.in_flight(), 2);
        read(a).await;
        read(b).await;
        assert_eq!(upstream.endpoints[0].state.in_flight(), 0);
        called(&pools, &upstream).await;
        assert_eq!(origin.seen.connections.get(), 2);
        assert_eq!(pools.counts().idle, 2);
    });
}

#[test]
fn at_the_cap_a_request_waits_for_a_connection() {
    on_a_core(async || {
        let origin = Origin::answering(OK).await;
        let mut plan = plan(&[origin.address]);
        plan.connections_max = 1;
        let (pools, upstream) = (pools(), prepare(plan));
        let held = call(&pools, &upstream).await.unwrap();
        let waiting = {
            let (pools, upstream) = (Rc::clone(&pools), upstream.clone());
            tokio::task::spawn_local(async move { called(&pools, &upstream).await.reused })
        };
        pause(30).await;
        assert_eq!(pools.counts().waiting, 1);
        read(held).await;
        assert!(waiting.await.unwrap());
        assert_eq!((origin.seen.connections.get(), pools.counts().waiting), (1, 0));
    });
}

#[test]
fn at_the_cap_a_request_fails_when_no_connection_comes_free() {
    on_a_core(async || {
        let origin = Origin::answering(OK).await;
        let mut plan = plan(&[origin.address]);
        (plan.connections_max, plan.connect_timeout) = (1, Duration::from_millis(50));
        let (pools, upstream) = (pools(), prepare(plan));
        let held = call(&pools, &upstream).await.unwrap();
        let error = call(&pools, &upstream).await.unwrap_err();
        assert_eq!((error.kind, error.retry), (ForwardErrorKind::Full, Retry::Yes));
        assert_eq!(upstream.endpoints[0].state.in_flight(), 1);
        // The nearest that passes: the connection is closed instead of given back, which makes room too.
        drop(held);
        called(&pools, &upstream).await;
        assert_eq!(origin.seen.connections.get(), 2);
    });
}

#[test]
fn no_more_idle_connections_are_kept_than_allowed() {
    on_a_core(async || {
        let origin = Origin::answering(OK).await;
        let mut plan = plan(&[origin.address]);
        plan.idle_max = 1;
        let (pools, upstream) = (pools(), prepare(plan));
        let (a, b) = (call(&pools, &upstream).await.unwrap(), call(&pools, &upstream).await.unwrap());
        read(a).await;
        read(b).await;
        assert_eq!(pools.counts().idle, 1);
        until("the other is closed", || pools.counts().open == 1).await;
    });
}

#[test]
fn an_idle_connection_is_not_used_after_its_time() {
    on_a_core(async || {
        let origin = Origin::answering(OK).await;
        let mut plan = plan(&[origin.address]);
        plan.idle_timeout = Duration::from_millis(40);
        let (pools, upstream) = (pools(), prepare(plan));
        called(&pools, &upstream).await;
        assert!(called(&pools, &upstream).await.reused);
        pause(60).await;
        assert!(!called(&pools, &upstream).await.reused);
        until("the old one is closed", || origin.seen.closed.get() == 1).await;
    });
}

#[test]
fn a_sweep_closes_what_has_been_idle_too_long_and_nothing_else() {
    on_a_core(async || {
        let origin = Origin::answering(OK).await;
        let (pools, upstream) = (pools(), prepare(plan(&[origin.address])));
        called(&pools, &upstream).await;
        let now = std::time::Instant::now();
        pools.sweep(now + Duration::from_secs(9));
        assert_eq!(pools.counts().idle, 1);
        pools.sweep(now + Duration::from_secs(11));
        assert_eq!(pools.counts().idle, 0);
        until("the connection is closed", || origin.seen.closed.get() == 1 && pools.counts().open == 0).await;
        called(&pools, &upstream).await;
    });
}

#[test]
fn an_idle_connection_the_origin_closed_costs_no_call() {
    on_a_core(async || {
        let origin = Origin::raw(|mut stream, _, _| async move {
            read_head(&mut stream).await;
            stream.write_all(OK.as_bytes()).await.unwrap();
        })
        .await;
        let (pools, upstream) = (pools(), prepare(plan(&[origin.address])));
        for _ in 0..5 {
            let sent = call(&pools, &upstream).await.unwrap();
            assert_eq!((sent.reused, sent.attempts), (false, 1));
            read(sent).await;
            pause(20).await;
        }
        assert_eq!(origin.seen.connections.get(), 5);
    });
}

/// Serves one exchange, then reads a second head and closes without a word.
async fn closing_on_the_second() -> Origin {
    Origin::raw(|mut stream, number, seen| async move {
        for answered in 0.. {
            let Some(head) = read_head(&mut stream).await else { return };
            seen.heads.borrow_mut().push(head);
            if number == 0 && answered == 1 {
                return;
            }
            stream.write_all(OK.as_bytes()).await.unwrap();
        }
    })
    .await
}

#[test]
fn a_post_is_never_sent_twice_once_bytes_may_have_been_read() {
    on_a_core(async || {
        let origin = closing_on_the_second().await;
        let (pools, upstream) = (pools(), prepare(plan(&[origin.address, origin.address])));
        called(&pools, &upstream).await;
        let error = send(&pools, &upstream, &Pick::default(), post(full("pay"))).await;
        let error = match error {
            // Round robin: the second endpoint is a fresh connection of its own.
            Ok(sent) => {
                read(sent).await;
                send(&pools, &upstream, &Pick::default(), post(full("pay"))).await.unwrap_err()
            }
            Err(error) => error,
        };
        assert_eq!((error.kind, error.retry), (ForwardErrorKind::Reset, Retry::IfReused));
        assert_eq!(error.attempts, 1);
        let posts = origin.seen.heads.borrow().iter().filter(|head| head.starts_with("POST")).count();
        assert!(posts <= 2, "one for each call at most: {posts}");
        assert_eq!(upstream.endpoints[0].state.in_flight(), 0);
    });
}

#[test]
fn a_fresh_connection_that_ends_without_an_answer_is_not_retried() {
    on_a_core(async || {
        let origin = Origin::raw(|mut stream, _, seen| async move {
            let head = read_head(&mut stream).await.unwrap();
            seen.heads.borrow_mut().push(head);
        })
        .await;
        let (pools, upstream) = (pools(), prepare(plan(&[origin.address])));
        let error = call(&pools, &upstream).await.unwrap_err();
        assert_eq!((error.kind, error.retry), (ForwardErrorKind::Reset, Retry::Never));
        assert_eq!(origin.seen.heads.borrow().len(), 1);
    });
}

#[test]
fn an_answer_before_the_request_was_read_closes_the_connection() {
    on_a_core(async || {
        let origin = Origin::raw(|mut stream, _, _| async move {
            while read_head(&mut stream).await.is_some() {
                let early = "HTTP/1.1 413 Content Too Large\r\ncontent-length: 3\r\n\r\nbig";
                stream.write_all(early.as_bytes()).await.unwrap();
            }
        })
        .await;
        let (pools, upstream) = (pools(), prepare(plan(&[origin.address])));
        let sent = send(&pools, &upstream, &Pick::default(), post(endless("part"))).await.unwrap();
        assert_eq!(sent.response.status(), 413);
        let (_sent, body) = read(sent).await;
        assert_eq!(body, "big");
        assert_eq!(pools.counts().idle, 0);
        until("the connection is closed", || pools.counts().open == 0).await;
        assert_eq!(upstream.endpoints[0].state.in_flight(), 0);
    });
}

#[test]
fn an_answer_without_content_before_the_request_was_read_closes_the_connection() {
    on_a_core(async || {
        let origin = Origin::answering("HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n").await;
        let (pools, upstream) = (pools(), prepare(plan(&[origin.address])));
        let sent = send(&pools, &upstream, &Pick::default(), post(endless("part"))).await.unwrap();
        assert_eq!(sent.response.status(), 401);
        assert_eq!(pools.counts().idle, 0);
        until("the connection is closed", || pools.counts().open == 0).await;
        // The nearest that passes: the request had been sent whole.
        read(send(&pools, &upstream, &Pick::default(), post(full("whole"))).await.unwrap()).await;
        assert_eq!(pools.counts().idle, 1);
    });
}

#[test]
fn giving_up_on_an_answer_closes_the_connection_and_leaves_nothing_counted() {
    on_a_core(async || {
        let origin =
            Origin::raw(|mut stream, _, _| async move { while read_head(&mut stream).await.is_some() {} })
                .await;
        let (pools, upstream) = (pools(), prepare(plan(&[origin.address])));
        let chosen = Cell::new(None);
        let pick = Pick { chosen: Some(&chosen), ..Pick::default() };
        let sending = send(&pools, &upstream, &pick, get());
        assert!(tokio::time::timeout(Duration::from_millis(50), sending).await.is_err());
        assert_eq!(upstream.endpoints[0].state.in_flight(), 0);
        assert_eq!(chosen.get(), Some(0));
        report(&upstream, 0, Outcome::Failed, std::time::Instant::now());
        until("the origin sees the end", || origin.seen.closed.get() == 1).await;
        assert_eq!(pools.counts().open, 0);
    });
}

#[test]
fn giving_up_while_connecting_or_waiting_leaves_nothing_counted() {
    on_a_core(async || {
        let origin = Origin::answering(OK).await;
        let mut plan = plan(&[origin.address]);
        plan.connections_max = 1;
        let (pools, upstream) = (pools(), prepare(plan));
        // Dropped at its first await: while connecting.
        let mut sending = Box::pin(call(&pools, &upstream));
        assert!(futures_poll(&mut sending).await);
        assert_eq!(upstream.endpoints[0].state.in_flight(), 1);
        drop(sending);
        assert_eq!((upstream.endpoints[0].state.in_flight(), pools.counts().open), (0, 0));
        // Dropped while waiting for a connection.
        let held = call(&pools, &upstream).await.unwrap();
        assert!(tokio::time::timeout(Duration::from_millis(20), call(&pools, &upstream)).await.is_err());
        assert_eq!((upstream.endpoints[0].state.in_flight(), pools.counts().waiting), (1, 0));
        read(held).await;
        assert!(called(&pools, &upstream).await.reused);
    });
}

/// Polls once; whether the future is pending.
async fn futures_poll<F: Future + Unpin>(future: &mut F) -> bool {
    std::future::poll_fn(|cx| std::task::Poll::Ready(std::pin::Pin::new(&mut *future).poll(cx).is_pending()))
        .await
}

#[test]
fn giving_up_on_a_body_closes_the_connection() {
    on_a_core(async || {
        let origin = Origin::answering("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nsome").await;
        let (pools, upstream) = (pools(), prepare(plan(&[origin.address])));
        let mut sent = call(&pools, &upstream).await.unwrap();
        assert!(sent.response.body_mut().frame().await.unwrap().is_ok());
        assert_eq!(upstream.endpoints[0].state.in_flight(), 1);
        drop(sent);
        assert_eq!((upstream.endpoints[0].state.in_flight(), pools.counts().idle), (0, 0));
        until("the origin sees the end", || origin.seen.closed.get() == 1).await;
    });
}

#[test]
fn a_request_body_that_fails_is_not_the_upstreams_fault() {
    on_a_core(async || {
        let origin = Origin::answering("").await;
        let (pools, upstream) = (pools(), prepare(plan(&[origin.address])));
        let body = failing("part", "a policy ended it");
        let error = send(&pools, &upstream, &Pick::default(), post(body)).await.unwrap_err();
        assert_eq!((error.kind, error.retry), (ForwardErrorKind::RequestBody, Retry::Never));
        let mut source = std::error::Error::source(&error);
        let mut told = Vec::new();
        while let Some(error) = source {
            told.push(error.to_string());
            source = error.source();
        }
        assert!(told.iter().any(|told| told == "a policy ended it"), "{told:?}");
        assert!(!error.detail.contains("policy"), "{}", error.detail);
        until("the connection is closed", || pools.counts().open == 0).await;
    });
}

#[test]
fn an_unreachable_endpoint_costs_no_call_when_another_is_there() {
    on_a_core(async || {
        let origin = Origin::answering(OK).await;
        let (pools, upstream) = (pools(), prepare(plan(&[nobody().await, origin.address])));
        let mut attempts: Vec<_> = Vec::new();
        for _ in 0..4 {
            let (sent, _) =
                read(send(&pools, &upstream, &Pick::default(), post(full("x"))).await.unwrap()).await;
            assert_eq!(sent.index, 1);
            attempts.push(sent.attempts);
        }
        assert!(attempts.contains(&2), "{attempts:?}");
        assert_eq!(upstream.endpoints[0].state.in_flight(), 0);
        assert!(upstream.endpoints[0].state.counts().connect_failures > 0);
    });
}

#[test]
fn with_one_endpoint_a_failed_connect_is_told_at_once() {
    on_a_core(async || {
        let (pools, upstream) = (pools(), prepare(plan(&[nobody().await])));
        let error = call(&pools, &upstream).await.unwrap_err();
        assert_eq!((error.kind, error.retry), (ForwardErrorKind::ConnectFailed, Retry::Yes));
        assert_eq!((error.attempts, pools.counts().open), (1, 0));
        assert!(error.endpoint.is_some());
    });
}

#[test]
fn retries_are_at_most_a_fifth_of_the_requests_in_an_outage() {
    on_a_core(async || {
        let (pools, upstream) = (pools(), prepare(plan(&[nobody().await, nobody().await])));
        let mut retried = 0;
        for _ in 0..200 {
            retried += usize::from(call(&pools, &upstream).await.unwrap_err().attempts == 2);
        }
        assert!((40..=55).contains(&retried), "{retried}");
    });
}

#[test]
fn all_addresses_of_a_name_are_tried() {
    on_a_core(async || {
        // `localhost` is ::1 first on many systems; the origin listens on 127.0.0.1 alone.
        let origin = Origin::answering(OK).await;
        let mut plan = plan(&[origin.address]);
        plan.endpoints[0].address = EndpointAddress::Name("localhost".into(), origin.address.port());
        let (pools, upstream) = (pools(), prepare(plan));
        called(&pools, &upstream).await;
    });
}

#[test]
fn a_name_without_addresses_is_a_failed_connect() {
    on_a_core(async || {
        let mut plan = plan(&[nobody().await]);
        plan.endpoints[0].address = EndpointAddress::Name("no-such-host.invalid".into(), 80);
        plan.connect_timeout = Duration::from_secs(5);
        let error = call(&pools(), &prepare(plan)).await.unwrap_err();
        assert!(matches!(error.kind, ForwardErrorKind::ConnectFailed | ForwardErrorKind::Timeout), "{error}");
    });
}

#[test]
fn a_requests_future_is_small() {
    let (pools, upstream) = (pools(), prepare(plan(&["127.0.0.1:1".parse().unwrap()])));
    let size = size_of_val(&call(&pools, &upstream));
    assert!(size < 3072, "{size} bytes for each request in flight");
}
