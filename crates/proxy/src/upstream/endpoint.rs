//! One core's connections to one endpoint: idle ones, shared ones, and the wait for one that comes free.
//!
//! HTTP/1.1 connections are kept idle as a stack, the warmest on top, so that what load does not need grows old and
//! is closed. HTTP/2 connections are shared by a bounded number of streams. Taking an idle connection allocates
//! nothing; no borrow of a cell is held across an await.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    rc::Rc,
    sync::Arc,
    task::Poll,
    time::{Duration, Instant},
};

use hyper_util::rt::TokioIo;

use super::{
    RequestBody, connect,
    error::{Failure, ForwardErrorKind},
    io::HeadWatch,
    line::{Gauge, Http1, Http2, Opened, Streams},
    pool::PoolCounts,
    prepare::{PreparedEndpoint, PreparedUpstream},
    resolve::Resolver,
    state::EndpointState,
};

/// Most requests that wait for one endpoint's connection on one core.
const WAITING_MAX: usize = 1024;

/// One core's connections to one endpoint under one TLS identity.
pub(super) struct EndpointPool<B> {
    pub(super) state: Arc<EndpointState>,
    /// The core's own copy, so that handing it out is no write to a line that other cores write to.
    pub(super) authority: Arc<str>,
    idle: RefCell<Vec<Idle<B>>>,
    shared: RefCell<Vec<Http2<B>>>,
    gauge: Rc<Gauge>,
    /// Held while an HTTP/2 connection is opened: a burst opens one connection, not one for each request.
    opening: tokio::sync::Mutex<()>,
    idle_timeout: Cell<Duration>,
}

struct Idle<B> {
    line: Http1<B>,
    since: Instant,
}

impl<B: RequestBody> EndpointPool<B> {
    pub(super) fn new(upstream: &PreparedUpstream, endpoint: &PreparedEndpoint) -> Self {
        EndpointPool {
            state: Arc::clone(&endpoint.state),
            authority: Arc::from(&*endpoint.plan.authority),
            idle: RefCell::default(),
            shared: RefCell::default(),
            gauge: Rc::default(),
            opening: tokio::sync::Mutex::default(),
            idle_timeout: Cell::new(upstream.plan.idle_timeout),
        }
    }

    /// The warmest idle connection that is still good.
    pub(super) fn take_idle(&self, now: Instant, upstream: &PreparedUpstream) -> Option<Http1<B>> {
        self.idle_timeout.set(upstream.plan.idle_timeout);
        let mut idle = self.idle.borrow_mut();
        while let Some(Idle { line, since }) = idle.pop() {
            let is_fresh = now.saturating_duration_since(since) < upstream.plan.idle_timeout;
            if !is_fresh {
                // Those below are older still.
                idle.clear();
                return None;
            }
            if line.sender.is_ready() && !line.sender.is_closed() {
                return Some(line);
            }
        }
        None
    }

    /// Takes back a connection whose exchange is proven complete.
    pub(super) fn give_back(&self, line: Http1<B>, idle_max: usize) {
        let mut idle = self.idle.borrow_mut();
        if idle.len() < idle_max || self.gauge.waiting.get() > 0 {
            idle.push(Idle { line, since: Instant::now() });
        }
        self.gauge.wake();
    }

    /// Opens an HTTP/1.1 connection, or waits for one where `connections_max` are open. `is_fresh` refuses idle ones.
    /// The flag returned says whether the connection had been used before.
    pub(super) async fn open_http1(
        &self,
        resolver: &Resolver,
        upstream: &PreparedUpstream,
        endpoint: &PreparedEndpoint,
        is_fresh: bool,
    ) -> Result<(Http1<B>, bool), Failure> {
        let has_room = || self.gauge.open.get() < upstream.plan.connections_max;
        if !has_room() {
            let wait = tokio::time::timeout(upstream.plan.connect_timeout, async {
                while !has_room() {
                    match self.idle.borrow_mut().pop() {
                        // Closing an idle one makes room for the new one.
                        Some(stale) if is_fresh => drop(stale),
                        Some(idle) if idle.line.sender.is_ready() => return Some(idle.line),
                        _ => {}
                    }
                    self.gauge.wait().await;
                }
                None
            });
            if self.gauge.waiting.get() >= WAITING_MAX {
                return Err(full());
            }
            if let Some(line) = wait.await.map_err(|_| full())? {
                return Ok((line, true));
            }
        }
        let opened = Opened::count(&self.gauge, &self.state);
        let watch = HeadWatch::new();
        let io = connect::connect(resolver, upstream, endpoint, Arc::clone(&watch)).await?;
        let (sender, connection) = connect::http1().handshake(TokioIo::new(io)).await.map_err(unsent)?;
        let connection = connection.with_upgrades();
        let task = tokio::task::spawn_local(async move {
            let _opened = opened;
            // Its error is told to whoever waits for a response; an idle connection's end is no news.
            let _ = connection.await;
        });
        Ok((Http1 { sender, watch, task: task.abort_handle() }, false))
    }

    /// A stream on an open HTTP/2 connection with room.
    pub(super) fn take_stream(&self) -> Option<Http2<B>> {
        let mut shared = self.shared.borrow_mut();
        shared.retain(|line| !line.sender.is_closed() && !line.streams.is_retired());
        let line = shared.iter().find(|line| line.streams.has_room())?;
        line.streams.begin();
        Some(line.clone())
    }

    /// A stream on an HTTP/2 connection, opening one if need be. The flag says whether it had been used before.
    pub(super) async fn open_http2(
        &self,
        resolver: &Resolver,
        upstream: &PreparedUpstream,
        endpoint: &PreparedEndpoint,
    ) -> Result<(Http2<B>, bool), Failure> {
        let opening = async {
            loop {
                let lock = self.opening.lock().await;
                if let Some(line) = self.take_stream() {
                    return Ok((line, true));
                }
                if self.gauge.open.get() < upstream.plan.connections_max {
                    return self
                        .handshake_http2(resolver, upstream, endpoint)
                        .await
                        .map(|line| (line, false));
                }
                drop(lock);
                if self.gauge.waiting.get() >= WAITING_MAX {
                    return Err(full());
                }
                self.gauge.wait().await;
            }
        };
        match tokio::time::timeout(upstream.plan.connect_timeout, opening).await {
            Ok(opened) => opened,
            Err(_) if self.gauge.open.get() >= upstream.plan.connections_max => Err(full()),
            Err(_) => Err(connect::timed_out()),
        }
    }

    async fn handshake_http2(
        &self,
        resolver: &Resolver,
        upstream: &PreparedUpstream,
        endpoint: &PreparedEndpoint,
    ) -> Result<Http2<B>, Failure> {
        let opened = Opened::count(&self.gauge, &self.state);
        let watch = HeadWatch::with_reads();
        let io = connect::connect(resolver, upstream, endpoint, Arc::clone(&watch)).await?;
        let (sender, connection) = connect::http2().handshake(TokioIo::new(io)).await.map_err(unsent)?;
        let mut connection = Box::pin(connection);
        let first_max = loop {
            let max = poll_fn(|cx| match connection.as_mut().poll(cx) {
                Poll::Ready(_) => Poll::Ready(None),
                Poll::Pending => Poll::Ready(Some(connection.current_max_send_streams())),
            });
            match max.await {
                // RFC 9113 §3.4: the peer's SETTINGS come first. Before them no stream may be opened, or a peer that
                // allows few would refuse requests; and a peer without them does not speak HTTP/2.
                Some(0) => watch.wait_for_read().await,
                Some(max) => break max,
                None => return Err(not_http2()),
            }
        };
        let streams = Streams::begun(first_max);
        let seen = Rc::clone(&streams);
        tokio::task::spawn_local(async move {
            let _opened = opened;
            let _ = poll_fn(|cx| {
                let polled = connection.as_mut().poll(cx);
                // Later SETTINGS may allow more or fewer.
                seen.allow(connection.current_max_send_streams());
                polled
            })
            .await;
        });
        let line = Http2 { sender, streams };
        self.shared.borrow_mut().push(line.clone());
        Ok(line)
    }

    /// An HTTP/2 stream ended: someone may wait for its place.
    pub(super) fn stream_ended(&self) {
        self.gauge.wake();
    }

    /// What is open.
    pub(super) fn counts(&self) -> PoolCounts {
        PoolCounts {
            open: self.gauge.open.get(),
            idle: self.idle.borrow().len(),
            streams: self.shared.borrow().iter().map(|line| line.streams.open()).sum(),
            waiting: self.gauge.waiting.get(),
        }
    }

    /// Closes what has been idle too long at `now`.
    pub(super) fn sweep(&self, now: Instant) {
        let timeout = self.idle_timeout.get();
        let is_fresh = |since| now.saturating_duration_since(since) < timeout;
        self.idle.borrow_mut().retain(|idle| is_fresh(idle.since) && !idle.line.sender.is_closed());
        self.shared.borrow_mut().retain(|line| {
            !line.sender.is_closed()
                && !line.streams.is_retired()
                && (line.streams.open() > 0 || is_fresh(line.streams.idle_since()))
        });
    }
}

fn full() -> Failure {
    Failure::unsent(ForwardErrorKind::Full, "every connection the endpoint may have is in use")
}

fn not_http2() -> Failure {
    Failure::unsent(ForwardErrorKind::Misbehaved, "the endpoint did not begin to speak HTTP/2")
}

fn unsent(error: hyper::Error) -> Failure {
    Failure {
        source: Some(error.into()),
        ..Failure::unsent(ForwardErrorKind::ConnectFailed, "the connection ended while it was set up")
    }
}
