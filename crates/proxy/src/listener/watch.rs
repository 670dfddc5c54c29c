//! A connection while it lives: its requests, what it was told to do, and whom to wake for it.
//!
//! hyper has no idle timeout, no write timeout and no way to see a slow head from its first byte on. Instead of a timer
//! per request, bytes are watched where they pass (`flow`), requests where they begin and end ([`Exchange`]), and one
//! sweep per core looks at all connections about once a second (`sweep`). On a request's way this costs a few plain
//! stores into memory that only this core touches.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    net::IpAddr,
    rc::Rc,
    sync::Arc,
    task::{Poll, Waker},
};

use tokio::task::AbortHandle;

use super::{
    Ended,
    core::Setting,
    flow::{CoarseClock, Flow},
    slots::Slots,
};
use crate::{
    body::OfConnection,
    overload::{CoreGauge, Step},
};

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
    /// Bytes of bodies that its requests hold to be judged.
    pub(crate) held: OfConnection,
    gauge: Arc<CoreGauge>,
}

/// What an HTTP/2 client did in the current window of ten seconds.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) since: Cell<u64>,
    /// Streams that ended before their response did.
    pub(crate) resets: Cell<u32>,
    /// Requests begun since the last sweep.
    pub(crate) requests: Cell<u64>,
    /// What the bodies that were read since the last sweep explain, their frames included.
    pub(crate) bodies: Cell<u64>,
    /// Bytes read and written when the last sweep looked.
    pub(crate) read_seen: Cell<u64>,
    pub(crate) written_seen: Cell<u64>,
    /// Bytes read that no request explains. Below zero where bytes were explained after the sweep that saw them.
    pub(crate) unexplained: Cell<i64>,
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
    pub(crate) fn new(clock: &CoarseClock, setting: Arc<Setting>, gauge: Arc<CoreGauge>) -> Rc<Watch> {
        let now = clock.now();
        Rc::new(Watch {
            flow: Flow::new(clock),
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
            held: OfConnection::default(),
            gauge,
        })
    }

    /// The time at the latest, to stamp what begins.
    pub(crate) fn now(&self) -> u64 {
        self.flow.now()
    }

    /// The time at the earliest, to measure what has passed.
    pub(crate) fn past(&self) -> u64 {
        self.flow.past()
    }

    pub(crate) fn order(&self) -> Order {
        self.order.get()
    }

    /// Gives an order and wakes the connection. An order is only ever followed by a harder one.
    pub(crate) fn give(&self, order: Order) {
        let harder = match self.order.get() {
            Order::Serve => true,
            Order::Finish(_) => matches!(order, Order::Timeout | Order::Abort(_)),
            Order::Timeout => matches!(order, Order::Abort(_)),
            Order::Abort(_) => false,
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

    /// A piece of a request's body was read.
    pub(crate) fn body_read(&self, bytes: u64) {
        let explained = bytes.saturating_add(DATA_FRAME_BYTES);
        self.ledger.bodies.set(self.ledger.bodies.get().saturating_add(explained));
    }

    /// Whether a stream that begins now is refused: under pressure an HTTP/2 connection has one at a time.
    pub(crate) fn refuses_stream(&self) -> bool {
        let refuses = self.http2.get()
            && self.gauge.pressure().reaches(Step::NoNewStreams)
            && self.flow.in_flight() > 0;
        if refuses {
            self.gauge.took(Step::NoNewStreams, 1);
        }
        refuses
    }

    /// A request's head is complete.
    pub(crate) fn begin(self: &Rc<Self>) -> Exchange {
        self.served.set(true);
        if let Some(ended) = self.one_request.take() {
            self.give(Order::Finish(ended));
        }
        self.flow.begin();
        let slot = self.http2.get().then(|| self.streams.borrow_mut().insert(Stream::default()));
        if slot.is_some() {
            self.unspawned.set(slot);
            self.ledger.requests.set(self.ledger.requests.get() + 1);
        }
        Exchange { watch: Rc::clone(self), slot, complete: false }
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

/// A request between its complete head and the end of its response. Dropping it ends the request, however it ended.
#[derive(Debug)]
pub(crate) struct Exchange {
    watch: Rc<Watch>,
    slot: Option<usize>,
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
        if watch.flow.end() == 0 {
            watch.idle_since.set(watch.now());
        }
        let Some(slot) = self.slot else { return };
        if watch.unspawned.get() == Some(slot) {
            watch.unspawned.set(None);
        }
        let ended = watch.streams.borrow_mut().remove(slot);
        drop(ended);
        let ledger = &watch.ledger;
        if !self.complete {
            ledger.resets.set(ledger.resets.get().saturating_add(1));
            if ledger.resets.get() > watch.setting.plan.admission.resets_max {
                watch.give(Order::Abort(Ended::ResetFlood));
            }
        }
    }
}

/// What a DATA frame may have beside its data: nine bytes, and a little padding.
const DATA_FRAME_BYTES: u64 = 32;
