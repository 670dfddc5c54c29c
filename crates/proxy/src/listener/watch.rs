//! What is known of an open connection while it lives: what it waits for, since when, and what it was told to do.
//!
//! hyper has no idle timeout, no write timeout and no way to see a slow head from its first byte on. Instead of a timer
//! per request, the bytes are watched where they pass ([`WatchedIo`] around the transport), requests where they begin
//! and end ([`Exchange`]), and one sweep per core looks at all connections about once a second (`sweep`). On a
//! request's way this costs a few plain stores into memory that only this core touches.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    io::{self, IoSlice},
    net::IpAddr,
    pin::Pin,
    rc::Rc,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    task::AbortHandle,
};

use super::{Ended, accept::Holding, core::Setting, slots::Slots};

/// A core's coarse clock: milliseconds since the core started, moved on by its sweep. Never 0, which means "never".
#[derive(Clone, Debug)]
pub(crate) struct CoarseClock(Arc<AtomicU64>);

impl CoarseClock {
    pub(crate) fn new() -> Self {
        CoarseClock(Arc::new(AtomicU64::new(1)))
    }

    pub(crate) fn now(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn set(&self, millis: u64) {
        self.0.store(millis.max(1), Ordering::Relaxed);
    }
}

/// What the transport tells: shared with [`WatchedIo`], which must be `Send` because hyper hands it out on an upgrade.
/// All of it is touched by one thread only; the atomics are plain moves.
#[derive(Debug)]
pub(crate) struct Flow {
    clock: CoarseClock,
    /// Requests begun and not ended; bytes read meanwhile are theirs.
    in_flight: AtomicU64,
    /// When the first byte of a head arrived, while no request was in flight.
    head_since: AtomicU64,
    /// Since when a write could not go on.
    blocked_since: AtomicU64,
    read_bytes: AtomicU64,
    written_bytes: AtomicU64,
    /// The transport was dropped.
    closed: AtomicBool,
    /// Reads and writes fail from now on (an upgraded connection that has to end).
    cut: AtomicBool,
    /// Whether the transport now belongs to an upgraded protocol, and who waits on it.
    upgraded: AtomicBool,
    upgraded_waker: Mutex<Option<Waker>>,
}

/// What a connection was told to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Nothing: go on.
    Serve,
    /// Finish the requests in flight and close.
    Finish(Ended),
    /// Answer 408 where that is still possible and close.
    Timeout,
    /// Close now.
    Abort(Ended),
}

/// One open connection in its core's table.
#[derive(Debug)]
pub(crate) struct Watch {
    pub(crate) flow: Arc<Flow>,
    pub(crate) listener: u64,
    pub(crate) client: Cell<Option<IpAddr>>,
    pub(crate) setting: Arc<Setting>,
    pub(crate) http2: Cell<bool>,
    /// The PROXY protocol header or the TLS handshake is awaited; they keep their own time.
    pub(crate) opening: Cell<bool>,
    /// A request has begun.
    served: Cell<bool>,
    /// To be finished, for this reason, after its first request.
    pub(crate) one_request: Cell<Option<Ended>>,
    pub(crate) idle_since: Cell<u64>,
    pub(crate) ordered_at: Cell<u64>,
    order: Cell<Order>,
    waker: RefCell<Option<Waker>>,
    streams: RefCell<Slots<Stream>>,
    /// The slot of the request that hyper is about to spawn.
    unspawned: Cell<Option<usize>>,
    waiters: RefCell<Slots<Waiter>>,
    pub(crate) ledger: Ledger,
}

/// What an HTTP/2 client did in the current window of ten seconds.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) since: Cell<u64>,
    /// Streams that ended before their response did.
    pub(crate) resets: Cell<u32>,
    /// Requests begun since the last sweep.
    pub(crate) requests: Cell<u64>,
    /// Requests in flight that have a body, and whether there was one since the last sweep.
    pub(crate) bodies: Cell<u32>,
    pub(crate) had_body: Cell<bool>,
    /// Bytes read and written when the last sweep looked.
    pub(crate) read_seen: Cell<u64>,
    pub(crate) written_seen: Cell<u64>,
    /// Bytes read that no request explains.
    pub(crate) unexplained: Cell<u64>,
}

/// An HTTP/2 stream that is being answered.
#[derive(Debug, Default)]
struct Stream {
    /// Since when data handed to hyper waits for the client's window.
    waiting_since: u64,
    task: Option<AbortHandle>,
}

#[derive(Debug)]
struct Waiter {
    deadline: u64,
    waker: Waker,
}

impl Watch {
    pub(crate) fn new(clock: &CoarseClock, setting: Arc<Setting>) -> Rc<Watch> {
        let now = clock.now();
        Rc::new(Watch {
            flow: Arc::new(Flow {
                clock: clock.clone(),
                in_flight: AtomicU64::new(0),
                head_since: AtomicU64::new(0),
                blocked_since: AtomicU64::new(0),
                read_bytes: AtomicU64::new(0),
                written_bytes: AtomicU64::new(0),
                closed: AtomicBool::new(false),
                cut: AtomicBool::new(false),
                upgraded: AtomicBool::new(false),
                upgraded_waker: Mutex::new(None),
            }),
            listener: setting.shared.id,
            client: Cell::new(None),
            setting,
            http2: Cell::new(false),
            opening: Cell::new(true),
            served: Cell::new(false),
            one_request: Cell::new(None),
            idle_since: Cell::new(now),
            ordered_at: Cell::new(0),
            order: Cell::new(Order::Serve),
            waker: RefCell::new(None),
            streams: RefCell::default(),
            unspawned: Cell::new(None),
            waiters: RefCell::default(),
            ledger: Ledger { since: Cell::new(now), ..Ledger::default() },
        })
    }

    pub(crate) fn now(&self) -> u64 {
        self.flow.clock.now()
    }

    pub(crate) fn order(&self) -> Order {
        self.order.get()
    }

    /// Gives an order and wakes the connection. An order is only ever followed by a harder one.
    pub(crate) fn give(&self, order: Order) {
        let harder = match (self.order.get(), order) {
            (Order::Serve, _) | (Order::Finish(_), Order::Abort(_) | Order::Timeout) => true,
            (Order::Timeout, Order::Abort(_)) => true,
            _ => false,
        };
        if harder {
            self.order.set(order);
            self.ordered_at.set(self.now());
            if matches!(order, Order::Abort(_)) && self.flow.is_upgraded() {
                self.flow.cut();
            }
            if let Some(waker) = self.waker.borrow().as_ref() {
                waker.wake_by_ref();
            }
        }
    }

    /// Lets it finish its requests and close. One that has not had its first request yet may still send it: a client
    /// that was just accepted is answered and not cut off.
    pub(crate) fn finish(&self, ended: Ended) {
        match self.served.get() {
            true => self.give(Order::Finish(ended)),
            false => self.one_request.set(Some(ended)),
        }
    }

    /// Cuts an upgraded transport.
    pub(crate) fn cut(&self) {
        self.flow.cut();
    }

    /// Remembers whom an order has to wake.
    pub(crate) fn register(&self, waker: &Waker) {
        let mut known = self.waker.borrow_mut();
        if !known.as_ref().is_some_and(|known| known.will_wake(waker)) {
            *known = Some(waker.clone());
        }
    }

    /// Resolves when any order has been given; for the phases before HTTP is spoken.
    pub(crate) async fn ordered(&self) -> Order {
        poll_fn(|cx| {
            self.register(cx.waker());
            match self.order.get() {
                Order::Serve => Poll::Pending,
                order => Poll::Ready(order),
            }
        })
        .await
    }

    /// The first bytes arrived before HTTP was spoken.
    pub(crate) fn head_begun(&self) {
        self.flow.set_head_since(self.now());
    }

    /// HTTP begins, after a handshake or none: what was read before is no head.
    pub(crate) fn http_begins(&self, http2: bool) {
        self.http2.set(http2);
        self.idle_since.set(self.now());
        if http2 {
            self.flow.set_head_since(0);
        }
    }

    /// A request's head is complete; `has_body` says whether more of it follows.
    pub(crate) fn begin(self: &Rc<Self>, has_body: bool) -> Exchange {
        self.served.set(true);
        if let Some(ended) = self.one_request.take() {
            self.give(Order::Finish(ended));
        }
        let flow = &self.flow;
        flow.in_flight.store(flow.in_flight() + 1, Ordering::Relaxed);
        flow.head_since.store(0, Ordering::Relaxed);
        let slot = self.http2.get().then(|| self.streams.borrow_mut().insert(Stream::default()));
        if slot.is_some() {
            self.unspawned.set(slot);
            self.ledger.requests.set(self.ledger.requests.get() + 1);
            if has_body {
                self.ledger.bodies.set(self.ledger.bodies.get() + 1);
                self.ledger.had_body.set(true);
            }
        }
        Exchange { watch: Rc::clone(self), slot, has_body, complete: false }
    }

    /// Ties the task that hyper spawned for the last request to its stream, so that the sweep can end it.
    pub(crate) fn spawned(&self, task: AbortHandle) {
        if let Some(slot) = self.unspawned.take()
            && let Some(stream) = self.streams.borrow_mut().get_mut(slot)
        {
            stream.task = Some(task);
        }
    }

    /// Ends the streams whose client has taken no data since `before`; says how many.
    pub(crate) fn end_stalled_streams(&self, before: u64) -> usize {
        let stalled: Vec<AbortHandle> = self
            .streams
            .borrow_mut()
            .iter_mut()
            .filter(|stream| stream.waiting_since != 0 && stream.waiting_since < before)
            .filter_map(|stream| stream.task.take())
            .collect();
        for task in &stalled {
            task.abort();
        }
        stalled.len()
    }

    /// Wakes `waker` when the coarse clock has passed `deadline`. The place is given back with [`Watch::forget`].
    pub(crate) fn wake_at(&self, place: &mut Option<usize>, deadline: u64, waker: &Waker) {
        let mut waiters = self.waiters.borrow_mut();
        match place.and_then(|place| waiters.get_mut(place)) {
            Some(waiter) => {
                waiter.deadline = deadline;
                waiter.waker.clone_from(waker);
            }
            None => *place = Some(waiters.insert(Waiter { deadline, waker: waker.clone() })),
        }
    }

    /// Nobody waits at `place` any more.
    pub(crate) fn forget(&self, place: &mut Option<usize>) {
        let forgotten = place.take().and_then(|place| self.waiters.borrow_mut().remove(place));
        drop(forgotten);
    }

    /// Wakes those whose deadline has passed.
    pub(crate) fn wake_due(&self, now: u64) {
        for waiter in self.waiters.borrow_mut().iter_mut() {
            if waiter.deadline <= now {
                waiter.waker.wake_by_ref();
            }
        }
    }
}

impl Flow {
    pub(crate) fn in_flight(&self) -> u64 {
        self.in_flight.load(Ordering::Relaxed)
    }

    pub(crate) fn head_since(&self) -> u64 {
        self.head_since.load(Ordering::Relaxed)
    }

    pub(crate) fn blocked_since(&self) -> u64 {
        self.blocked_since.load(Ordering::Relaxed)
    }

    pub(crate) fn read_bytes(&self) -> u64 {
        self.read_bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn written_bytes(&self) -> u64 {
        self.written_bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    pub(crate) fn is_upgraded(&self) -> bool {
        self.upgraded.load(Ordering::Relaxed)
    }

    /// hyper has handed the transport out; from now on whoever polls it is remembered.
    pub(crate) fn set_upgraded(&self) {
        self.upgraded.store(true, Ordering::Relaxed);
    }

    /// The transport is gone.
    pub(crate) fn set_closed(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }

    /// What passed before the transport was watched.
    pub(crate) fn set_head_since(&self, since: u64) {
        self.head_since.store(since, Ordering::Relaxed);
    }

    fn cut(&self) {
        self.cut.store(true, Ordering::Relaxed);
        if let Some(waker) = self.upgraded_waker.lock().unwrap_or_else(PoisonError::into_inner).take() {
            waker.wake();
        }
    }

    fn read(&self, bytes: usize) {
        if bytes == 0 {
            return;
        }
        self.read_bytes.store(self.read_bytes() + bytes as u64, Ordering::Relaxed);
        if self.in_flight() == 0 && self.head_since() == 0 {
            self.head_since.store(self.clock.now(), Ordering::Relaxed);
        }
    }

    fn wrote(&self, result: &Poll<io::Result<usize>>) {
        match result {
            Poll::Ready(Ok(bytes)) => {
                self.written_bytes.store(self.written_bytes() + *bytes as u64, Ordering::Relaxed);
                self.blocked_since.store(0, Ordering::Relaxed);
            }
            Poll::Ready(Err(_)) => {}
            Poll::Pending => self.blocked(),
        }
    }

    fn blocked(&self) {
        if self.blocked_since() == 0 {
            self.blocked_since.store(self.clock.now(), Ordering::Relaxed);
        }
    }

    /// Whether the transport was cut; on an upgraded one, remembers who has to hear of it later.
    fn is_cut(&self, cx: &Context<'_>) -> bool {
        if self.is_upgraded() {
            let mut waker = self.upgraded_waker.lock().unwrap_or_else(PoisonError::into_inner);
            if !waker.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
                *waker = Some(cx.waker().clone());
            }
        }
        self.cut.load(Ordering::Relaxed)
    }
}

/// A request between its complete head and the end of its response. Dropping it ends the request, however it ended.
#[derive(Debug)]
pub(crate) struct Exchange {
    watch: Rc<Watch>,
    slot: Option<usize>,
    has_body: bool,
    complete: bool,
}

impl Exchange {
    /// The response has been given to hyper to its end.
    pub(crate) fn complete(&mut self) {
        self.complete = true;
    }

    /// Data is with hyper and waits for the client (`true`), or hyper came back for more.
    pub(crate) fn waiting(&self, waiting: bool) {
        if let Some(slot) = self.slot
            && let Some(stream) = self.watch.streams.borrow_mut().get_mut(slot)
        {
            stream.waiting_since = if waiting { self.watch.now() } else { 0 };
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let watch = &self.watch;
        let left = watch.flow.in_flight().saturating_sub(1);
        watch.flow.in_flight.store(left, Ordering::Relaxed);
        if left == 0 {
            watch.idle_since.set(watch.now());
            watch.flow.head_since.store(0, Ordering::Relaxed);
        }
        let Some(slot) = self.slot else { return };
        if watch.unspawned.get() == Some(slot) {
            watch.unspawned.set(None);
        }
        let ended = watch.streams.borrow_mut().remove(slot);
        drop(ended);
        let ledger = &watch.ledger;
        if self.has_body {
            ledger.bodies.set(ledger.bodies.get().saturating_sub(1));
        }
        if !self.complete {
            ledger.resets.set(ledger.resets.get().saturating_add(1));
            if ledger.resets.get() > watch.setting.plan.admission.resets_max {
                watch.give(Order::Abort(Ended::ResetFlood));
            }
        }
    }
}

/// A transport that notes its progress, holds the connection's places in the counts, and can be cut.
#[derive(Debug)]
pub(crate) struct WatchedIo<T> {
    inner: T,
    flow: Arc<Flow>,
    _holding: Holding,
}

impl<T> WatchedIo<T> {
    pub(crate) fn new(inner: T, flow: Arc<Flow>, holding: Holding) -> Self {
        WatchedIo { inner, flow, _holding: holding }
    }
}

fn cut_off() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, "the gateway ended the connection")
}

impl<T: AsyncRead + Unpin> AsyncRead for WatchedIo<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.flow.is_cut(cx) {
            return Poll::Ready(Err(cut_off()));
        }
        let before = buf.filled().len();
        let result = Pin::new(&mut self.inner).poll_read(cx, buf);
        self.flow.read(buf.filled().len() - before);
        result
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for WatchedIo<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.flow.is_cut(cx) {
            return Poll::Ready(Err(cut_off()));
        }
        let result = Pin::new(&mut self.inner).poll_write(cx, buf);
        self.flow.wrote(&result);
        result
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.flow.is_cut(cx) {
            return Poll::Ready(Err(cut_off()));
        }
        let result = Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
        self.flow.wrote(&result);
        result
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.inner).poll_flush(cx);
        match &result {
            // A flushed transport waits for nobody; TLS takes writes into its own buffer and blocks only here.
            Poll::Ready(_) => self.flow.blocked_since.store(0, Ordering::Relaxed),
            Poll::Pending => self.flow.blocked(),
        }
        result
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.inner).poll_shutdown(cx);
        if result.is_pending() {
            self.flow.blocked();
        }
        result
    }
}
