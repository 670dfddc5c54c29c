//! What origins may and may not answer.

use bartizan_proxy::upstream::{ForwardErrorKind, Pick, Retry};
use http_body_util::BodyExt;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::*;

#[test]
fn an_answer_that_is_not_one_is_refused_and_its_connection_closed() {
    let many_headers: String = (0..101).map(|n| format!("h{n}: v\r\n")).collect();
    let cases: Vec<(&str, String)> = vec![
        ("garbage", "SSH-2.0-OpenSSH_9.2\r\n\r\n".into()),
        ("a status that is no number", "HTTP/1.1 abc OK\r\n\r\n".into()),
        (
            "a length beside chunks",
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n".into(),
        ),
        ("chunks in HTTP/1.0", "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n".into()),
        ("another coding", "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\nx".into()),
        ("differing lengths", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nokk".into()),
        ("equal lengths", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 2\r\n\r\nok".into()),
        ("a signed length", "HTTP/1.1 200 OK\r\ncontent-length: +2\r\n\r\nok".into()),
        ("an overflowing length", "HTTP/1.1 200 OK\r\ncontent-length: 18446744073709551616\r\n\r\nok".into()),
        ("a folded field", "HTTP/1.1 200 OK\r\na: b\r\n c\r\ncontent-length: 2\r\n\r\nok".into()),
        ("a space before the colon", "HTTP/1.1 200 OK\r\ncontent-length : 2\r\n\r\nok".into()),
        ("NUL in a value", "HTTP/1.1 200 OK\r\na: b\0c\r\ncontent-length: 2\r\n\r\nok".into()),
        (
            "an unasked switch",
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n".into(),
        ),
        ("too many fields", format!("HTTP/1.1 200 OK\r\n{many_headers}content-length: 2\r\n\r\nok")),
        ("a head of 1 MiB", format!("HTTP/1.1 200 OK\r\na: {}\r\n\r\n", "x".repeat(1 << 20))),
        (
            "a head above 64 KiB",
            format!("HTTP/1.1 200 OK\r\na: {}\r\ncontent-length: 2\r\n\r\nok", "x".repeat(65 << 10)),
        ),
        ("a flood of interim heads", "HTTP/1.1 103 Early Hints\r\na: b\r\n\r\n".repeat(20_000)),
    ];
    for (name, answer) in cases {
        on_a_core(async || {
            let origin = Origin::answering(answer).await;
            let (pools, upstream) = (pools(), prepare(plan(&[origin.address])));
            let error = call(&pools, &upstream).await.expect_err(name);
            assert_eq!(
                (error.kind, error.retry),
                (ForwardErrorKind::Misbehaved, Retry::Never),
                "{name}: {error}"
            );
            assert_eq!(upstream.endpoints[0].state.in_flight(), 0, "{name}");
            until("the connection is closed", || pools.counts().open == 0).await;
            assert_eq!(origin.seen.connections.get(), 1, "{name}");
        });
    }
}

#[test]
fn the_nearest_answers_that_are_ones_are_passed_on() {
    let some_headers: String = (0..99).map(|n| format!("h{n}: v\r\n")).collect();
    let cases: Vec<(&str, String)> = vec![
        (
            "interim heads",
            format!(
                "HTTP/1.1 100 Continue\r\n\r\n{}{OK}",
                "HTTP/1.1 103 Early Hints\r\na: b\r\n\r\n".repeat(9)
            ),
        ),
        ("chunks", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n".into()),
        ("many fields", format!("HTTP/1.1 200 OK\r\n{some_headers}content-length: 2\r\n\r\nok")),
        (
            "a head below 64 KiB",
            format!("HTTP/1.1 200 OK\r\na: {}\r\ncontent-length: 2\r\n\r\nok", "x".repeat(63 << 10)),
        ),
        ("HTTP/1.0 kept", "HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\nok".into()),
    ];
    for (name, answer) in cases {
        on_a_core(async || {
            let origin = Origin::answering(answer).await;
            let (pools, upstream) = (pools(), prepare(plan(&[origin.address])));
            for _ in 0..3 {
                let (_, body) = read(call(&pools, &upstream).await.expect(name)).await;
                assert_eq!(body, "ok", "{name}");
            }
            assert_eq!(origin.seen.connections.get(), 1, "{name}");
        });
    }
}

#[test]
fn a_connection_with_bytes_after_the_answer_is_not_used_again() {
    let cases = [
        ("two answers", format!("{OK}{OK}")),
        ("a longer body than announced", format!("{OK}ay")),
        ("content after 204", "HTTP/1.1 204 No Content\r\ncontent-length: 2\r\n\r\nok".to_owned()),
        ("close", "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok".to_owned()),
    ];
    for (name, answer) in cases {
        on_a_core(async || {
            let origin = Origin::answering(answer).await;
            let (pools, upstream) = (pools(), prepare(plan(&[origin.address])));
            for expected in 1..4 {
                assert!(!called(&pools, &upstream).await.reused, "{name}");
                assert_eq!(origin.seen.connections.get(), expected, "{name}");
            }
            until("all are closed", || pools.counts().open == 0).await;
        });
    }
}

#[test]
fn bytes_that_come_later_on_an_idle_connection_close_it() {
    on_a_core(async || {
        let origin = Origin::raw(|mut stream, _, _| async move {
            read_head(&mut stream).await;
            stream.write_all(OK.as_bytes()).await.unwrap();
            pause(20).await;
            stream.write_all(OK.as_bytes()).await.unwrap();
            let _ = stream.read_u8().await;
        })
        .await;
        let (pools, upstream) = (pools(), prepare(plan(&[origin.address])));
        called(&pools, &upstream).await;
        assert_eq!(pools.counts().idle, 1);
        until("the connection is closed", || pools.counts().open == 0).await;
        assert!(!called(&pools, &upstream).await.reused);
    });
}

#[test]
fn an_answer_cut_short_is_an_error_and_not_an_end() {
    let cases = [
        ("by length", "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nok"),
        ("by chunks", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n"),
        ("by a bad chunk", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\nzz\r\n"),
    ];
    for (name, answer) in cases {
        on_a_core(async || {
            let origin = Origin::raw(move |mut stream, _, _| async move {
                read_head(&mut stream).await;
                stream.write_all(answer.as_bytes()).await.unwrap();
            })
            .await;
            let (pools, upstream) = (pools(), prepare(plan(&[origin.address])));
            let mut sent = call(&pools, &upstream).await.unwrap();
            let mut last = Ok(());
            while let Some(frame) = sent.response.body_mut().frame().await {
                last = frame.map(drop);
                if last.is_err() {
                    break;
                }
            }
            assert!(last.is_err(), "{name}");
            assert_eq!(upstream.endpoints[0].state.in_flight(), 0, "{name}");
        });
    }
}

#[test]
fn an_answer_that_ends_with_its_connection_is_passed_on() {
    on_a_core(async || {
        let origin = Origin::raw(|mut stream, _, _| async move {
            read_head(&mut stream).await;
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nuntil the end").await.unwrap();
        })
        .await;
        let (pools, upstream) = (pools(), prepare(plan(&[origin.address])));
        let (_, body) = read(call(&pools, &upstream).await.unwrap()).await;
        assert_eq!((&*body, pools.counts().idle), (&b"until the end"[..], 0));
    });
}

#[test]
fn trailers_pass() {
    on_a_core(async || {
        let answer = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nsum: 7\r\n\r\n";
        let origin = Origin::answering(answer).await;
        let (pools, upstream) = (pools(), prepare(plan(&[origin.address])));
        let mut sent = call(&pools, &upstream).await.unwrap();
        let mut trailers = None;
        while let Some(frame) = sent.response.body_mut().frame().await {
            trailers = frame.unwrap().into_trailers().ok().or(trailers);
        }
        assert_eq!(trailers.unwrap()["sum"], "7");
        assert_eq!(pools.counts().idle, 1);
    });
}

#[test]
fn an_upgrade_that_was_asked_for_becomes_a_tunnel_that_stays_counted() {
    on_a_core(async || {
        let origin = Origin::raw(|mut stream, _, _| async move {
            read_head(&mut stream).await;
            let switch = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\nhi";
            stream.write_all(switch.as_bytes()).await.unwrap();
            let mut bytes = [0; 4];
            stream.read_exact(&mut bytes).await.unwrap();
            stream.write_all(&bytes).await.unwrap();
        })
        .await;
        let (pools, upstream) = (pools(), prepare(plan(&[origin.address])));
        let mut request = get();
        request.headers_mut().insert("connection", "upgrade".parse().unwrap());
        request.headers_mut().insert("upgrade", "echo".parse().unwrap());
        let mut sent = send(&pools, &upstream, &Pick::default(), request).await.unwrap();
        assert_eq!(sent.response.status(), 101);
        let counted = sent.response.body_mut().take_tunnel().unwrap();
        let mut tunnel = TokioIo::new(hyper::upgrade::on(*sent.response).await.unwrap());
        let mut bytes = [0; 6];
        tunnel.write_all(b"echo").await.unwrap();
        tunnel.read_exact(&mut bytes).await.unwrap();
        assert_eq!(&bytes, b"hiecho");
        assert_eq!((upstream.endpoints[0].state.in_flight(), pools.counts().idle), (1, 0));
        drop(counted);
        assert_eq!(upstream.endpoints[0].state.in_flight(), 0);
    });
}
