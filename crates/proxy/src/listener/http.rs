//! HTTP on an accepted connection: hyper, with every limit set here and none left to a default.
//!
//! hyper's own head timeout is off: it begins with the wait for the first byte and allocates a timer per request. The
//! sweep keeps that time instead (see `watch`), from a head's first byte on, and the idle time apart from it. What
//! hyper's parser refuses (400, 414, 431) it answers itself; what only time refuses is answered here with a 408.

use std::{
    error::Error as _,
    future::{Future, poll_fn},
    pin::{Pin, pin},
    rc::Rc,
    task::Poll,
    time::Duration,
};

use bartizan_config::snapshot::AdmissionPlan;
use hyper::{
    Method, Request, Response, StatusCode, Version,
    body::Incoming,
    header::{CONNECTION, HeaderValue},
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use super::{
    Ended, Serve,
    body::Tracked,
    facts::ConnectionFacts,
    flow::WatchedIo,
    watch::{Order, Watch},
};

/// Serves a connection to its end.
pub(crate) async fn serve<S: Serve, T>(service: Rc<S>, facts: Rc<ConnectionFacts>, io: WatchedIo<T>) -> Ended
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    facts.watch.http_begins(facts.http2);
    match facts.http2 {
        true => serve_http2(service, facts, io).await,
        false => serve_http1(service, facts, io).await,
    }
}

async fn serve_http1<S: Serve, T>(service: Rc<S>, facts: Rc<ConnectionFacts>, io: WatchedIo<T>) -> Ended
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let watch = Rc::clone(&facts.watch);
    let builder = http1_builder(&facts.listener.admission);
    let answer = service_fn(move |request| answer(Rc::clone(&service), Rc::clone(&facts), request));
    let mut connection = builder.serve_connection(TokioIo::new(io), answer).with_upgrades();
    let mut told = false;
    let ended = poll_fn(|cx| {
        watch.register(cx.waker());
        let order = watch.order();
        if matches!(order, Order::Finish(_)) && !told {
            told = true;
            Pin::new(&mut connection).graceful_shutdown();
        }
        let polled = match order {
            // Not polled again: nothing of the half head may be taken for a request now.
            Order::Timeout => Poll::Pending,
            _ => Pin::new(&mut connection).poll(cx),
        };
        match polled {
            Poll::Ready(result) => Poll::Ready(Some(result)),
            Poll::Pending if matches!(order, Order::Timeout) => Poll::Ready(None),
            Poll::Pending => aborted(&watch).map(|_| None),
        }
    })
    .await;
    let order = watch.order();
    match (ended, connection.into_parts()) {
        // hyper has given the transport to whoever asked for the upgrade.
        (Some(Ok(())), None) => {
            watch.flow.set_upgraded();
            if let Order::Abort(how) = order {
                watch.cut();
                return how;
            }
            Ended::Upgraded
        }
        (Some(Err(error)), _) => why(&watch).unwrap_or_else(|| fault(&error)),
        (None, Some(parts)) if order == Order::Timeout => {
            answer_timeout(parts.io.into_inner(), &watch).await;
            Ended::HeadTimeout
        }
        _ => why(&watch).unwrap_or(Ended::Closed),
    }
}

async fn serve_http2<S: Serve, T>(service: Rc<S>, facts: Rc<ConnectionFacts>, io: WatchedIo<T>) -> Ended
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let watch = Rc::clone(&facts.watch);
    let builder = http2_builder(&facts.listener.admission, Streams(Rc::clone(&watch)));
    let answer = service_fn(move |request| answer(Rc::clone(&service), Rc::clone(&facts), request));
    let mut connection = pin!(builder.serve_connection(TokioIo::new(io), answer));
    let mut told = false;
    let result = poll_fn(|cx| {
        watch.register(cx.waker());
        if !told && watch.order() != Order::Serve {
            told = true;
            connection.as_mut().graceful_shutdown();
        }
        if let Poll::Ready(result) = connection.as_mut().poll(cx) {
            return Poll::Ready(Some(result));
        }
        if !told && aborted(&watch).is_ready() {
            // The poll before gave the order: say goodbye, as far as the socket takes it without waiting.
            connection.as_mut().graceful_shutdown();
            let _ = connection.as_mut().poll(cx);
        }
        aborted(&watch).map(|_| None)
    })
    .await;
    match result {
        Some(Err(error)) => why(&watch).unwrap_or_else(|| fault(&error)),
        _ => why(&watch).unwrap_or(Ended::Closed),
    }
}

/// Whose fault an error is: a caller that leaves, or an answer that broke off, is not malformed.
fn fault(error: &hyper::Error) -> Ended {
    let frames = error.source().and_then(|source| source.downcast_ref::<h2::Error>());
    match error.is_parse() || frames.is_some_and(h2::Error::is_library) {
        true => Ended::ProtocolError,
        false => Ended::BrokenOff,
    }
}

fn aborted(watch: &Watch) -> Poll<()> {
    match watch.order() {
        Order::Abort(_) => Poll::Ready(()),
        _ => Poll::Pending,
    }
}

fn why(watch: &Watch) -> Option<Ended> {
    match watch.order() {
        Order::Serve => None,
        Order::Finish(how) | Order::Abort(how) => Some(how),
        Order::Timeout => Some(Ended::HeadTimeout),
    }
}

/// RFC 9110 §15.5.9: the server closes because no complete request came in time. Not said when earlier bytes are still
/// on their way out, because it would end up in the middle of them.
pub(crate) async fn answer_timeout<T: AsyncWrite + Unpin>(mut io: T, watch: &Watch) {
    if watch.flow.blocked_since() != 0 {
        return;
    }
    let said = async {
        io.write_all(b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
            .await?;
        io.shutdown().await
    };
    // The client has shown that it is slow; it gets a second for this.
    let _ = tokio::time::timeout(Duration::from_secs(1), said).await;
}

fn http1_builder(limits: &AdmissionPlan) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(None)
        .max_headers(limits.header_count_max)
        // The request line counts as head too; each has its own limit in `admit`, this one bounds the buffer.
        .max_header_size(head_bytes(limits))
        .max_buf_size(head_bytes(limits).max(HTTP1_BUFFER_MIN))
        .half_close(false)
        .keep_alive(true)
        .pipeline_flush(false)
        .allow_multiple_spaces_in_request_line_delimiters(false)
        .ignore_invalid_headers(false)
        .preserve_header_case(false)
        .title_case_headers(false)
        .auto_date_header(true);
    builder
}

fn http2_builder(limits: &AdmissionPlan, streams: Streams) -> http2::Builder<Streams> {
    let mut builder = http2::Builder::new(streams);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams_max)
        // Counted as RFC 9113 §6.5.2 does, 32 bytes per field on top; h2 derives its CONTINUATION cap from it.
        .max_header_list_size(u32::try_from(head_bytes(limits)).unwrap_or(u32::MAX))
        .header_table_size(4096)
        .initial_stream_window_size(64 * 1024)
        .initial_connection_window_size(1024 * 1024)
        .adaptive_window(false)
        .max_frame_size(16 * 1024)
        .max_send_buf_size(64 * 1024)
        // Streams reset before they were served, waiting to be noticed (CVE-2023-44487).
        .max_pending_accept_reset_streams(RESETS_PENDING_MAX)
        // Streams the client made us reset, over the connection's life (CVE-2025-8671).
        .max_local_error_reset_streams(limits.resets_max as usize)
        .keep_alive_interval(Some(PING_INTERVAL))
        .keep_alive_timeout(PING_TIMEOUT)
        .auto_date_header(true);
    // `enable_connect_protocol` stays off: extended CONNECT (RFC 8441) is not spoken.
    builder
}

fn head_bytes(limits: &AdmissionPlan) -> usize {
    limits.header_bytes_max.saturating_add(limits.uri_bytes_max)
}

/// One request, from its complete head to its response's head. The error is a stream that is refused before anything
/// looked at it.
fn answer<S: Serve>(
    service: Rc<S>,
    facts: Rc<ConnectionFacts>,
    request: Request<Incoming>,
) -> impl Future<Output = Result<Response<Tracked<S::Body>>, h2::Error>> + 'static {
    let old = request.version() == Version::HTTP_10;
    let head = *request.method() == Method::HEAD;
    let watch = Rc::clone(&facts.watch);
    let begun = (!watch.refuses_stream()).then(|| {
        let exchange = watch.begin();
        facts.requests.set(facts.requests.get() + 1);
        (exchange, service.serve(facts, request))
    });
    async move {
        // RFC 9113 §8.7: nothing was done for it, so its client may send it again.
        let Some((exchange, answering)) = begun else { return Err(h2::Reason::REFUSED_STREAM.into()) };
        let mut response = answering.await;
        // RFC 9112 §9.3, §9.6: an HTTP/1.0 connection persists only by agreement, and we do not agree; and a
        // connection that was told to close says so with its last answer. HTTP/2 says it with GOAWAY.
        // Not with a 101: after it there is no HTTP left on the connection, and the field has to say `upgrade`.
        let switches = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        if old || (!watch.http2.get() && !switches && watch.order() != Order::Serve) {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        let bodiless = head || matches!(response.status(), StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        Ok(response.map(|body| Tracked::new(body, exchange, bodiless)))
    }
}

/// Runs the streams of one HTTP/2 connection and ties each to its place in the watch.
#[derive(Clone)]
struct Streams(Rc<Watch>);

impl<F> hyper::rt::Executor<F> for Streams
where
    F: Future<Output = ()> + 'static,
{
    fn execute(&self, stream: F) {
        let task = tokio::task::spawn_local(stream);
        self.0.spawned(task.abort_handle());
    }
}

/// hyper's smallest buffer.
const HTTP1_BUFFER_MIN: usize = 8 * 1024;

/// h2's own default, said aloud.
const RESETS_PENDING_MAX: usize = 20;

/// A client that answers no PING is gone; this also ends a header block that never ends.
const PING_INTERVAL: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(10);
