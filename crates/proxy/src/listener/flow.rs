//! The bytes of a connection, watched where they pass: how many, since when a head arrives, since when a write waits.
//!
//! [`WatchedIo`] lies between the transport and hyper and notes progress in a [`Flow`], which the sweep reads. Both must
//! be `Send`, because hyper hands the transport out on an upgrade; yet one thread touches them, so the atomics are plain
//! moves and the one lock is taken on upgraded connections only.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::accept::Holding;

/// A core's coarse clock: milliseconds since the core started, moved on by its sweep. Never 0, which means "never".
///
/// Between two sweeps the time is only known to lie between both. What begins is stamped with the later one, what has
/// passed is measured to the earlier one, so nothing measured is longer than it was: a timeout never fires early.
#[derive(Clone, Debug)]
pub(crate) struct CoarseClock {
    swept: Arc<AtomicU64>,
    interval: u64,
}

impl CoarseClock {
    /// A clock for a core that sweeps once per `interval`.
    pub(crate) fn new(interval: Duration) -> Self {
        let interval = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX);
        CoarseClock { swept: Arc::new(AtomicU64::new(1)), interval }
    }

    /// The time at the latest, to stamp what begins.
    pub(crate) fn now(&self) -> u64 {
        self.past().saturating_add(self.interval)
    }

    /// The time at the earliest, to measure what has passed.
    pub(crate) fn past(&self) -> u64 {
        self.swept.load(Ordering::Relaxed)
    }

    pub(crate) fn set(&self, millis: u64) {
        self.swept.store(millis.max(1), Ordering::Relaxed);
    }
}

/// What the transport tells.
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
    /// When a write last went on.
    wrote_at: AtomicU64,
    /// The transport was dropped.
    closed: AtomicBool,
    /// Reads and writes fail from now on (an upgraded connection that has to end).
    cut: AtomicBool,
    /// Whether the transport now belongs to an upgraded protocol, and who waits on it.
    upgraded: AtomicBool,
    upgraded_waker: Mutex<Option<Waker>>,
}

impl Flow {
    pub(crate) fn new(clock: &CoarseClock) -> Arc<Flow> {
        Arc::new(Flow {
            clock: clock.clone(),
            in_flight: AtomicU64::new(0),
            head_since: AtomicU64::new(0),
            blocked_since: AtomicU64::new(0),
            read_bytes: AtomicU64::new(0),
            written_bytes: AtomicU64::new(0),
            wrote_at: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            cut: AtomicBool::new(false),
            upgraded: AtomicBool::new(false),
            upgraded_waker: Mutex::new(None),
        })
    }

    pub(crate) fn now(&self) -> u64 {
        self.clock.now()
    }

    pub(crate) fn past(&self) -> u64 {
        self.clock.past()
    }

    /// A request begins; its head is complete.
    pub(crate) fn begin(&self) {
        self.in_flight.store(self.in_flight() + 1, Ordering::Relaxed);
        self.set_head_since(0);
    }

    /// A request ends; says how many are left.
    pub(crate) fn end(&self) -> u64 {
        let left = self.in_flight().saturating_sub(1);
        self.in_flight.store(left, Ordering::Relaxed);
        if left == 0 {
            self.set_head_since(0);
        }
        left
    }

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

    pub(crate) fn wrote_at(&self) -> u64 {
        self.wrote_at.load(Ordering::Relaxed)
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

    /// Reads and writes fail from now on.
    pub(crate) fn cut(&self) {
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
                self.wrote_at.store(self.now(), Ordering::Relaxed);
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
