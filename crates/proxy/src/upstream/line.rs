//! A connection as a pool holds it, how busy it is, and how many there are.
//!
//! Connections are counted by a guard that their task holds, so the count is of sockets, not of intentions: it falls
//! when the task has ended, however it ended.

use std::{cell::Cell, rc::Rc, sync::Arc, time::Instant};

use hyper::client::conn::{http1, http2};
use tokio::{sync::Notify, task::AbortHandle};

use super::{connect::STREAMS_MAX, io::HeadWatch, state::EndpointState};

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
    /// One stream is open, on a peer that allows `max`.
    pub(super) fn begun(max: usize) -> Rc<Self> {
        let streams = Streams {
            open: Cell::new(1),
            max: Cell::default(),
            idle_since: Cell::new(Instant::now()),
            is_retired: Cell::new(false),
        };
        streams.allow(max);
        Rc::new(streams)
    }

    /// The peer allows `max` streams; never none, or each request would open another connection.
    pub(super) fn allow(&self, max: usize) {
        self.max.set(max.clamp(1, STREAMS_MAX));
    }

    /// Streams in use.
    pub(super) fn open(&self) -> usize {
        self.open.get()
    }

    /// Whether another stream may be begun.
    pub(super) fn has_room(&self) -> bool {
        self.open.get() < self.max.get()
    }

    /// Since when no stream has ended.
    pub(super) fn idle_since(&self) -> Instant {
        self.idle_since.get()
    }

    pub(super) fn is_retired(&self) -> bool {
        self.is_retired.get()
    }

    pub(super) fn begin(&self) {
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
pub(super) struct Gauge {
    pub(super) open: Cell<usize>,
    pub(super) waiting: Cell<usize>,
    freed: Notify,
}

/// Counts one connection from before it is opened until its task has ended.
pub(super) struct Opened(Rc<Gauge>, Arc<EndpointState>);

impl Opened {
    pub(super) fn count(gauge: &Rc<Gauge>, state: &Arc<EndpointState>) -> Self {
        gauge.open.set(gauge.open.get() + 1);
        state.line_opened();
        Opened(Rc::clone(gauge), Arc::clone(state))
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        self.0.open.set(self.0.open.get().saturating_sub(1));
        self.1.line_closed();
        self.0.wake();
    }
}

impl Gauge {
    /// A connection came free or ended: whoever waits longest may look.
    pub(super) fn wake(&self) {
        if self.waiting.get() > 0 {
            self.freed.notify_one();
        }
    }

    /// Waits until a connection came free or ended.
    pub(super) async fn wait(&self) {
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
