//! One core's upstream connections, and its position in each upstream's rotation.
//!
//! HTTP/1.1 connections are kept idle as a stack, the warmest on top, so that what load does not need grows old and
//! is closed. HTTP/2 connections are shared by a bounded number of streams. Nothing here is locked or shared with
//! other cores; no borrow of a cell is held across an await. Taking an idle connection allocates nothing.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    future::poll_fn,
    hash::{BuildHasherDefault, Hasher},
    rc::Rc,
    sync::Arc,
    task::Poll,
    time::{Duration, Instant},
};

use hyper::client::conn::{http1, http2};
use hyper_util::rt::TokioIo;
use tokio::{sync::Notify, task::AbortHandle};

use super::{
    RequestBody,
    balance::{Dice, RoundRobin},
    connect::{self, STREAMS_MAX},
    error::{Failure, ForwardErrorKind},
    io::HeadWatch,
    prepare::{PreparedEndpoint, PreparedUpstream},
    resolve::Resolver,
    state::EndpointState,
};

/// Most requests that wait for one endpoint's connection on one core.
const WAITING_MAX: usize = 1024;
/// Time between two sweeps.
const SWEEP_EVERY: Duration = Duration::from_secs(5);
/// Retries that may be saved up: what an idle upstream's first failures may spend.
const RETRY_CREDIT_MAX: u32 = 50;
/// What one retry costs; each request earns one, so retries are at most a fifth of the requests.
const RETRY_COST: u32 = 5;

/// All upstream connections of one core.
pub struct CorePools<B> {
    pools: RefCell<HashMap<u64, Rc<EndpointPool<B>>, BuildHasherDefault<NumberHasher>>>,
    turns: RefCell<HashMap<u64, Rc<Turns>, BuildHasherDefault<NumberHasher>>>,
    pub(super) resolver: Resolver,
    pub(super) dice: Dice,
}

/// What a core has open, for metrics and tests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolCounts {
    /// Connections open or being opened.
    pub open: usize,
    /// HTTP/1.1 connections that wait for a request.
    pub idle: usize,
    /// HTTP/2 streams in use.
    pub streams: usize,
    /// Requests that wait for a connection.
    pub waiting: usize,
}

/// One core's position in one upstream's rotation, and its credit for retries.
#[derive(Debug)]
pub(super) struct Turns {
    pub(super) rotation: RefCell<RoundRobin>,
    credit: Cell<u32>,
    is_used: Cell<bool>,
}

impl Turns {
    /// A request begins.
    pub(super) fn earn(&self) {
        self.is_used.set(true);
        self.credit.set(self.credit.get().saturating_add(1).min(RETRY_CREDIT_MAX));
    }

    /// Whether a request may be tried on another endpoint; if so, that is paid for.
    pub(super) fn spend(&self) -> bool {
        let left = self.credit.get().checked_sub(RETRY_COST);
        if let Some(left) = left {
            self.credit.set(left);
        }
        left.is_some()
    }
}

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

/// An HTTP/1.1 connection.
pub(super) struct Http1<B> {
    pub(super) sender: http1::SendRequest<B>,
    pub(super) watch: Arc<HeadWatch>,
    /// Ends the connection's task, and with it the connection.
    pub(super) task: AbortHandle,
}

/// An HTTP/2 connection.
pub(super) struct Http2<B> {
    pub(super) sender: http2::SendRequest<B>,
    pub(super) streams: Rc<Streams>,
}

impl<B> Clone for Http2<B> {
    fn clone(&self) -> Self {
        Http2 { sender: self.sender.clone(), streams: Rc::clone(&self.streams) }
    }
}

/// How busy an HTTP/2 connection is.
#[derive(Debug)]
pub(super) struct Streams {
    open: Cell<usize>,
    max: Cell<usize>,
    idle_since: Cell<Instant>,
    is_retired: Cell<bool>,
}

impl Streams {
    fn begin(&self) {
        self.open.set(self.open.get() + 1);
    }

    pub(super) fn end(&self) {
        self.open.set(self.open.get().saturating_sub(1));
        self.idle_since.set(Instant::now());
    }

    /// Takes no more streams: the peer is closing it.
    pub(super) fn retire(&self) {
        self.is_retired.set(true);
    }
}

/// How many connections are open and how many requests wait for one; outlives the pool in the connections' tasks.
#[derive(Debug, Default)]
struct Gauge {
    open: Cell<usize>,
    waiting: Cell<usize>,
    freed: Notify,
}

/// Counts one connection from before it is opened until its task has ended.
struct Opened(Rc<Gauge>);

impl Opened {
    fn count(gauge: &Rc<Gauge>) -> Self {
        gauge.open.set(gauge.open.get() + 1);
        Opened(Rc::clone(gauge))
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        self.0.open.set(self.0.open.get().saturating_sub(1));
        self.0.wake();
    }
}

impl Gauge {
    fn wake(&self) {
        if self.waiting.get() > 0 {
            self.freed.notify_one();
        }
    }

    /// Waits until a connection came free or ended.
    async fn wait(&self) {
        struct Waiting<'a>(&'a Cell<usize>);
        impl Drop for Waiting<'_> {
            fn drop(&mut self) {
                self.0.set(self.0.get().saturating_sub(1));
            }
        }
        self.waiting.set(self.waiting.get() + 1);
        let _waiting = Waiting(&self.waiting);
        self.freed.notified().await;
    }
}

impl<B: RequestBody> CorePools<B> {
    /// No connections yet. `seed` is for choices among endpoints; cores should differ in it.
    pub fn new(seed: u64) -> Rc<Self> {
        Rc::new(CorePools {
            pools: RefCell::default(),
            turns: RefCell::default(),
            resolver: Resolver::default(),
            dice: Dice::new(seed),
        })
    }

    /// Closes what has been idle too long, again and again. To be spawned on the core.
    pub async fn keep_swept(self: Rc<Self>) {
        let mut ticks = tokio::time::interval(SWEEP_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.sweep(Instant::now());
        }
    }

    /// Closes what has been idle too long at `now`, and forgets endpoints and upstreams no longer used.
    pub fn sweep(&self, now: Instant) {
        let pools: Vec<_> = self.pools.borrow().values().cloned().collect();
        for pool in pools {
            pool.sweep(now);
        }
        self.pools.borrow_mut().retain(|_, pool| Rc::strong_count(pool) > 1 || pool.gauge.open.get() > 0);
        self.turns.borrow_mut().retain(|_, turns| turns.is_used.replace(false));
        self.resolver.sweep();
    }

    /// What is open.
    pub fn counts(&self) -> PoolCounts {
        self.pools.borrow().values().fold(PoolCounts::default(), |sum, pool| PoolCounts {
            open: sum.open + pool.gauge.open.get(),
            idle: sum.idle + pool.idle.borrow().len(),
            streams: sum.streams
                + pool.shared.borrow().iter().map(|line| line.streams.open.get()).sum::<usize>(),
            waiting: sum.waiting + pool.gauge.waiting.get(),
        })
    }

    pub(super) fn pool(
        &self,
        upstream: &PreparedUpstream,
        endpoint: &PreparedEndpoint,
    ) -> Rc<EndpointPool<B>> {
        if let Some(pool) = self.pools.borrow().get(&endpoint.slot) {
            return Rc::clone(pool);
        }
        let pool = Rc::new(EndpointPool::new(upstream, endpoint));
        self.pools.borrow_mut().insert(endpoint.slot, Rc::clone(&pool));
        pool
    }

    pub(super) fn turns(&self, upstream: &PreparedUpstream) -> Rc<Turns> {
        if let Some(turns) = self.turns.borrow().get(&upstream.id) {
            return Rc::clone(turns);
        }
        let turns = Rc::new(Turns {
            rotation: RefCell::default(),
            credit: Cell::new(RETRY_CREDIT_MAX),
            is_used: Cell::new(true),
        });
        self.turns.borrow_mut().insert(upstream.id, Rc::clone(&turns));
        turns
    }
}

impl<B> std::fmt::Debug for CorePools<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CorePools").field("endpoints", &self.pools.borrow().len()).finish_non_exhaustive()
    }
}

impl<B: RequestBody> EndpointPool<B> {
    fn new(upstream: &PreparedUpstream, endpoint: &PreparedEndpoint) -> Self {
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
        let opened = Opened::count(&self.gauge);
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
        shared.retain(|line| !line.sender.is_closed() && !line.streams.is_retired.get());
        let line = shared.iter().find(|line| line.streams.open.get() < line.streams.max.get())?;
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
        let opened = Opened::count(&self.gauge);
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
        let streams = Rc::new(Streams {
            open: Cell::new(1),
            max: Cell::new(first_max.min(STREAMS_MAX)),
            idle_since: Cell::new(Instant::now()),
            is_retired: Cell::new(false),
        });
        let seen = Rc::clone(&streams);
        tokio::task::spawn_local(async move {
            let _opened = opened;
            let _ = poll_fn(|cx| {
                let polled = connection.as_mut().poll(cx);
                // Later SETTINGS may allow more or fewer; never none, or each request would open a connection.
                seen.max.set(connection.current_max_send_streams().clamp(1, STREAMS_MAX));
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

    fn sweep(&self, now: Instant) {
        let timeout = self.idle_timeout.get();
        let is_fresh = |since| now.saturating_duration_since(since) < timeout;
        self.idle.borrow_mut().retain(|idle| is_fresh(idle.since) && !idle.line.sender.is_closed());
        self.shared.borrow_mut().retain(|line| {
            !line.sender.is_closed()
                && !line.streams.is_retired.get()
                && (line.streams.open.get() > 0 || is_fresh(line.streams.idle_since.get()))
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

/// Slots and ids are small unique numbers of our own: spreading their bits is enough.
#[derive(Debug, Default)]
struct NumberHasher(u64);

impl Hasher for NumberHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = (self.0 ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(26);
    }
}
