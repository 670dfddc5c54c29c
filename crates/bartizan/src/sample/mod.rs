//! The sample API behind `bartizan demo`: a small, real HTTP service for the gateway to stand in front of.
//!
//! It runs on a thread and runtime of its own, because a demonstration in which the gateway and its upstream
//! share an event loop would hide what happens when the upstream is slow. It speaks HTTP/1.1 and HTTP/2 with
//! prior knowledge, keeps everything in memory, and trusts nobody: every input has a limit, as in the gateway.
//!
//! Reading order: this file (the server), [`api`] (the paths), [`shop`] (orders and users), [`events`] (server-sent
//! events), [`websocket`] and [`frame`] (the WebSocket echo).

mod api;
mod events;
mod frame;
mod model;
mod shop;
mod websocket;

use std::{io, net::SocketAddr, sync::Arc, thread, time::Duration};

use hyper::{rt::Timer, server::conn, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, oneshot},
    time::timeout,
};

use api::Api;

/// A running sample API; dropping it ends the server and all its connections.
#[derive(Debug)]
pub(crate) struct Sample {
    /// Dropping the sender is the signal to end.
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Sample {
    /// Binds `address` (port 0 lets the system choose) and serves on a thread of its own. Returns the address it
    /// listens on; connections are accepted from then on.
    ///
    /// # Errors
    /// When the address cannot be bound, or the thread or its runtime cannot be made.
    pub(crate) fn start(address: SocketAddr) -> io::Result<(SocketAddr, Sample)> {
        let listener = std::net::TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let bound = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let listener = {
            let _inside = runtime.enter();
            TcpListener::from_std(listener)?
        };
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = thread::Builder::new().name("sample-api".to_owned()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = accept(listener) => {}
                    _ = stopped => {}
                }
            });
            // Dropping the runtime here drops every connection's task with it.
        })?;
        Ok((bound, Sample { stop: Some(stop), thread: Some(thread) }))
    }
}

impl Drop for Sample {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic of the sample was printed by its own thread; the demo ends either way.
            let _ = thread.join();
        }
    }
}

async fn accept(listener: TcpListener) {
    let api = Arc::new(Api::new());
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        // Taking the place first leaves further connections in the system's queue instead of refusing them.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let api = Arc::clone(&api);
                tokio::spawn(async move {
                    serve(stream, api).await;
                    drop(place);
                });
            }
            // Out of descriptors, or the client was gone already: neither ends the server, nor may it spin.
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

/// Serves one connection until either side ends it. A broken connection is the client's affair: nothing to tell.
async fn serve(stream: TcpStream, api: Arc<Api>) {
    let _ = stream.set_nodelay(true);
    let Ok(Ok(http2)) = timeout(HEAD_TIMEOUT, is_http2(&stream)).await else { return };
    let io = TokioIo::new(stream);
    let service = service_fn(move |request| {
        let api = Arc::clone(&api);
        async move { Ok::<_, std::convert::Infallible>(api.answer(request).await) }
    });
    if http2 {
        let _ = conn::http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS_MAX)
            .serve_connection(io, service)
            .await;
    } else {
        let _ = conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .max_buf_size(HEAD_BYTES_MAX)
            .serve_connection(io, service)
            .with_upgrades()
            .await;
    }
}

/// Whether the client speaks HTTP/2 with prior knowledge.
///
/// RFC 9113 §3.4: the preface begins with `PRI`, chosen so that no HTTP/1.1 request does; three bytes decide.
async fn is_http2(stream: &TcpStream) -> io::Result<bool> {
    let mut start = [0_u8; 3];
    loop {
        let seen = stream.peek(&mut start).await?;
        if seen == 0 || seen == start.len() || !b"PRI".starts_with(start.get(..seen).unwrap_or_default()) {
            return Ok(seen == start.len() && start == *b"PRI");
        }
        // The rest of the three bytes is on its way; peeking again at once would only burn the core.
        TokioTimer::new().sleep(PEEK_PAUSE).await;
    }
}

/// Enough for a demonstration; more wait in the system's queue.
const CONNECTIONS_MAX: usize = 1024;
/// Streams per HTTP/2 connection.
const STREAMS_MAX: u32 = 128;
/// A head larger than this is not a sample request.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Also how long a connection may be silent between two requests: longer than the gateway keeps one idle, so that
/// the gateway never writes into a connection that is just closing.
const HEAD_TIMEOUT: Duration = Duration::from_secs(120);
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
const PEEK_PAUSE: Duration = Duration::from_millis(2);

#[cfg(test)]
mod tests;
