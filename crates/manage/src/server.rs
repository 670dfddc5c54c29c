//! The management listener's thread.
//!
//! One thread with a runtime of its own serves it, so it answers while every core of the data plane is busy.
//! Everything is bounded: connections, heads, the time for a head, the life of a connection, the time for an answer of
//! the API. HTTP/1.1 only; a body is read by the API alone, and from callers alone who may do what they ask for.

use std::{
    convert::Infallible,
    io,
    net::{SocketAddr, TcpListener},
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread,
    time::Duration,
};

use axum::{Router, body::Body};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;
use tower_service::Service as _;

use crate::{
    answer::{self, answer},
    api::{self, Api, App, Peer},
    host, page,
    state::ManagementState,
    tls::Tls,
};

/// Most connections at once: scrapers and probes are few, and each costs memory.
pub const CONNECTIONS_MAX: usize = 64;

/// Most bytes of a request's head, and least that the HTTP library can work with.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// Most header fields of a request.
const HEADERS_MAX: usize = 64;

/// How long a client may take.
#[derive(Clone, Copy, Debug)]
struct Patience {
    /// Time for a head; also how long a kept connection may be silent.
    head: Duration,
    /// How long a connection lives; a client that reads nothing holds its place no longer.
    life: Duration,
}

/// A head in 20 seconds: a scraper that comes every 15 keeps its connection, one that comes every 30 finds it closed
/// rather than closing.
const PATIENCE: Patience = Patience { head: Duration::from_secs(20), life: Duration::from_secs(120) };

/// Longest time for an answer of the API: a large set is sent, compiled and compared in seconds.
const ANSWER_MAX: Duration = Duration::from_secs(60);

/// Time for a connection to finish its answer once it is told to end.
const GRACE: Duration = Duration::from_secs(5);

/// Rest after a failed accept (no descriptors left), which would otherwise be tried again at once and for ever.
const ACCEPT_REST: Duration = Duration::from_millis(100);

/// The running listener. Dropping it ends the listener without waiting.
#[derive(Debug)]
pub struct Management {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    ended: Mutex<mpsc::Receiver<()>>,
}

impl Management {
    /// Serves `listener` on a thread of its own. Whether the address is fit for it (loopback) is judged by who
    /// bound it. Fails when the thread or its runtime cannot be made.
    pub fn serve(
        listener: TcpListener,
        state: Arc<ManagementState>,
        tls: Option<Arc<Tls>>,
    ) -> io::Result<Self> {
        Self::serve_with(listener, state, tls, PATIENCE)
    }

    fn serve_with(
        listener: TcpListener,
        state: Arc<ManagementState>,
        tls: Option<Arc<Tls>>,
        patience: Patience,
    ) -> io::Result<Self> {
        let address = listener.local_addr()?;
        listener.set_nonblocking(true)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = watch::channel(false);
        let (end, ended) = mpsc::sync_channel(1);
        thread::Builder::new().name("management".into()).spawn(move || {
            if let Err(error) = runtime.block_on(accept(listener, state, tls, patience, stopped)) {
                tracing::error!(%error, "the management listener failed");
            }
            let _ = end.send(());
        })?;
        Ok(Management { address, stop, ended: Mutex::new(ended) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes no more connections, finishes answers and ends; waits for that no longer than `wait`. Returns whether
    /// it ended in time. Stop it last: until then `/readyz` tells that the gateway drains.
    pub fn stop(&self, wait: Duration) -> bool {
        self.stop.send_replace(true);
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        !matches!(ended.recv_timeout(wait), Err(mpsc::RecvTimeoutError::Timeout))
    }
}

async fn accept(
    listener: TcpListener,
    state: Arc<ManagementState>,
    tls: Option<Arc<Tls>>,
    patience: Patience,
    mut stopped: watch::Receiver<bool>,
) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let app = |api: &Arc<Api>| App { api: Arc::clone(api), management: Arc::clone(&state) };
    let api = state.api.as_ref().map(|api| api::router(app(api)));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            // An error means that the handle is gone, which is an order to stop too.
            _ = stopped.wait_for(|stop| *stop) => break,
        };
        match accepted {
            Ok((stream, peer)) => match Arc::clone(&places).try_acquire_owned() {
                Ok(place) => {
                    let peer = Peer { address: peer.ip(), secure: tls.is_some() };
                    let caller = Caller { peer, api: api.clone(), app: state.api.as_ref().map(app) };
                    let tls = tls.as_ref().map(|tls| tls.now());
                    let connection = Connection { state: Arc::clone(&state), caller, patience };
                    tokio::spawn(connect(stream, tls, connection, stopped.clone(), place));
                }
                // Closed at once: a scraper tries again, and a queue would only hide the flood.
                Err(_) => drop(stream),
            },
            Err(error) => {
                tracing::warn!(%error, "a management connection could not be accepted");
                sleep(ACCEPT_REST).await;
            }
        }
    }
    drop(listener);
    // Each connection gives its place back when it ends; all places free means all have ended.
    let all = u32::try_from(CONNECTIONS_MAX).unwrap_or(u32::MAX);
    let _ = timeout(GRACE, places.acquire_many(all)).await;
    Ok(())
}

/// Who is at the other end of a connection, and what answers beside the open paths.
#[derive(Clone)]
struct Caller {
    peer: Peer,
    api: Option<Router>,
    app: Option<App>,
}

/// Answers a request: the API where it is one of its paths, else the open ones.
async fn respond(
    mut request: hyper::Request<Incoming>,
    state: &ManagementState,
    caller: Caller,
) -> hyper::Response<Body> {
    let is_api = request.uri().path().starts_with("/admin/");
    // The name is judged before anything else, for both.
    let is_ours = host::is_ours(request.uri(), request.headers(), &state.names);
    if !is_ours {
        return answer(&request, state).map(Body::new);
    }
    if let Some(mut refused) = refuse_metrics(&request, &caller).await {
        answer::harden(refused.headers_mut());
        return refused;
    }
    let Some(mut api) = caller.api else { return answer(&request, state).map(Body::new) };
    if let Some(page) = page::answer(&request) {
        return page.map(Body::new);
    }
    if !is_api {
        return answer(&request, state).map(Body::new);
    }
    request.extensions_mut().insert(caller.peer);
    let answered = timeout(ANSWER_MAX, api.call(request)).await;
    let mut response = match answered {
        Ok(Ok(response)) => response,
        Ok(Err(never)) => match never {},
        Err(_) => answer::too_slow(),
    };
    answer::harden(response.headers_mut());
    response
}

/// Figures are for this machine; whoever asks from elsewhere shows that they may see the state.
async fn refuse_metrics(
    request: &hyper::Request<Incoming>,
    caller: &Caller,
) -> Option<hyper::Response<Body>> {
    if request.uri().path() != "/metrics" || caller.peer.address.to_canonical().is_loopback() {
        return None;
    }
    let mut asked = hyper::Request::new(());
    *asked.uri_mut() = request.uri().clone();
    *asked.headers_mut() = request.headers().clone();
    asked.extensions_mut().insert(caller.peer);
    let (mut parts, ()) = asked.into_parts();
    match &caller.app {
        Some(app) => api::may_read_state(&mut parts, app).await.err(),
        // Nobody can be recognised, so nobody is.
        None => Some(answer::unrecognised()),
    }
}

/// What a connection is served with.
struct Connection {
    state: Arc<ManagementState>,
    caller: Caller,
    patience: Patience,
}

/// Speaks TLS where it is spoken, then serves.
async fn connect(
    stream: TcpStream,
    tls: Option<Arc<rustls::ServerConfig>>,
    connection: Connection,
    stopped: watch::Receiver<bool>,
    place: OwnedSemaphorePermit,
) {
    let Some(tls) = tls else { return serve(stream, connection, stopped, place).await };
    // A client that does not finish its handshake holds its place no longer than one that sends no head.
    let handshake = timeout(connection.patience.head, TlsAcceptor::from(tls).accept(stream));
    if let Ok(Ok(stream)) = handshake.await {
        serve(stream, connection, stopped, place).await;
    }
}

/// Serves one connection until it, its life or the listener ends.
async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    Connection { state, caller, patience }: Connection,
    mut stopped: watch::Receiver<bool>,
    place: OwnedSemaphorePermit,
) {
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let (state, caller) = (Arc::clone(&state), caller.clone());
        async move { Ok::<_, Infallible>(respond(request, &state, caller).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(patience.head)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let finished = tokio::select! {
        // A client's error (a bad head, a reset) is answered or not by the library; there is nothing to add.
        _ = connection.as_mut() => true,
        _ = stopped.wait_for(|stop| *stop) => false,
        () = sleep(patience.life) => false,
    };
    if !finished {
        connection.as_mut().graceful_shutdown();
        let _ = timeout(GRACE, connection).await;
    }
    drop(place);
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        net::TcpStream,
        time::{Instant, UNIX_EPOCH},
    };

    use bartizan_telemetry::Metrics;

    use super::*;

    fn start() -> (Management, Arc<ManagementState>) {
        let state = Arc::new(ManagementState::new(Metrics::new("0.0.0", UNIX_EPOCH)));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        (Management::serve(listener, Arc::clone(&state), None).unwrap(), state)
    }

    fn connect(management: &Management) -> TcpStream {
        let stream = TcpStream::connect(management.address()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream
    }

    /// Sends `request` and reads until the other side closes.
    fn exchange(management: &Management, request: &str) -> String {
        let mut stream = connect(management);
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        // A reset after the answer is as good as a close.
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8(answer).unwrap()
    }

    fn get(management: &Management, path: &str) -> String {
        exchange(management, &format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"))
    }

    #[test]
    fn health_readiness_and_metrics_are_served() {
        let (management, state) = start();
        assert!(get(&management, "/healthz").starts_with("HTTP/1.1 200 OK\r\n"));
        assert!(get(&management, "/readyz").starts_with("HTTP/1.1 503 "));
        state.readiness.set_ready();
        assert!(get(&management, "/readyz").starts_with("HTTP/1.1 200 "));
        assert!(get(&management, "/metrics").contains("\nbartizan_build_info{version=\"0.0.0\"} 1\n"));
        assert!(management.stop(Duration::from_secs(5)));
    }

    #[test]
    fn a_head_request_has_the_length_and_no_body() {
        let (management, _state) = start();
        let answer =
            exchange(&management, "HEAD /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        assert!(answer.contains("content-length: 3\r\n") && answer.ends_with("\r\n\r\n"), "{answer}");
    }

    #[test]
    fn a_foreign_name_is_refused_over_the_wire() {
        let (management, _state) = start();
        let request = "GET /metrics HTTP/1.1\r\nhost: evil.example\r\nconnection: close\r\n\r\n";
        let answer = exchange(&management, request);
        assert!(answer.starts_with("HTTP/1.1 421 ") && !answer.contains("bartizan_"), "{answer}");
    }

    #[test]
    fn a_body_is_refused_and_what_follows_is_not_read_as_a_request() {
        let (management, _state) = start();
        let inner = "GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n";
        let request = format!(
            "GET /healthz HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n{inner}",
            inner.len()
        );
        let answer = exchange(&management, &request);
        assert!(answer.starts_with("HTTP/1.1 413 ") && answer.matches("HTTP/1.1").count() == 1, "{answer}");
    }

    #[test]
    fn a_connection_is_kept_for_the_next_scrape() {
        let (management, _state) = start();
        let mut stream = connect(&management);
        for _ in 0..2 {
            stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
            let mut answer = Vec::new();
            let mut byte = [0];
            while !answer.ends_with(b"\r\n\r\nok\n") {
                stream.read_exact(&mut byte).unwrap();
                answer.push(byte[0]);
            }
        }
    }

    #[test]
    fn connections_over_the_cap_are_closed_at_once_and_places_come_back() {
        let (management, _state) = start();
        let held: Vec<_> = (0..CONNECTIONS_MAX).map(|_| connect(&management)).collect();
        // Connections are accepted in the order in which they came, so the next one is over the cap.
        let mut over = connect(&management);
        assert!(matches!(over.read(&mut [0; 16]), Ok(0) | Err(_)), "it got no answer");
        drop(held);
        let deadline = Instant::now() + Duration::from_secs(10);
        while !get(&management, "/healthz").starts_with("HTTP/1.1 200 ") {
            assert!(Instant::now() < deadline, "places do not come back");
        }
    }

    #[test]
    fn an_end_does_not_wait_for_silent_connections() {
        let (management, _state) = start();
        let mut silent = connect(&management);
        assert!(
            get(&management, "/healthz").starts_with("HTTP/1.1 200 "),
            "the silent one is accepted by now"
        );
        let begin = Instant::now();
        assert!(management.stop(Duration::from_secs(10)));
        assert!(begin.elapsed() < GRACE, "{:?}", begin.elapsed());
        assert_eq!(silent.read(&mut [0; 1]).unwrap_or(0), 0);
        assert!(TcpStream::connect(management.address()).is_err());
        assert!(management.stop(Duration::from_millis(10)), "a second end finds it ended");
    }

    fn start_with(patience: Patience) -> Management {
        let state = Arc::new(ManagementState::new(Metrics::new("0.0.0", UNIX_EPOCH)));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        Management::serve_with(listener, state, None, patience).unwrap()
    }

    #[test]
    fn a_head_that_does_not_end_is_not_waited_for() {
        let patience = Patience { head: Duration::from_millis(50), life: Duration::from_secs(60) };
        let management = start_with(patience);
        for beginning in ["", "GET /healthz HTTP/1.1\r\nhost: localhost\r\n"] {
            let answer = exchange(&management, beginning);
            assert!(!answer.contains(" 200 "), "{answer}");
        }
    }

    #[test]
    fn a_connection_that_reads_nothing_ends_with_its_life() {
        let patience = Patience { head: Duration::from_secs(60), life: Duration::from_millis(50) };
        let management = start_with(patience);
        let mut stream = connect(&management);
        assert_eq!(stream.read(&mut [0; 1]).unwrap_or(0), 0);
    }

    #[test]
    fn a_head_too_large_is_refused() {
        let (management, _state) = start();
        let large = "x".repeat(2 * HEAD_BYTES_MAX);
        let many = "a: b\r\n".repeat(HEADERS_MAX + 1);
        for headers in [format!("large: {large}\r\n"), many] {
            let answer =
                exchange(&management, &format!("GET /healthz HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n"));
            assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431 "), "{answer}");
        }
    }

    #[test]
    fn a_dropped_handle_ends_the_listener() {
        let (management, _state) = start();
        let address = management.address();
        drop(management);
        let deadline = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(address).is_ok() {
            assert!(Instant::now() < deadline, "still listening");
            thread::sleep(Duration::from_millis(10));
        }
    }
}
