//! One look per second and core at every open connection: who has been silent, slow or noisy for too long.
//!
//! This is the only timer of a served connection. It moves the coarse clock on, compares a handful of numbers per
//! connection, and gives an order to those whose time is up; with ten thousand idle connections it takes well under a
//! millisecond. Its granularity is its interval: a timeout may fire up to two of them late and never early.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    Ended, ListenerEvents,
    flow::CoarseClock,
    watch::{Order, Watch},
};
use crate::overload::{CoreGauge, Step};

/// A core's open connections.
#[derive(Debug)]
pub(crate) struct Table {
    clock: CoarseClock,
    started: Instant,
    open: RefCell<Vec<Rc<Watch>>>,
    /// A response whose client takes nothing for this long is given up.
    write_stall: Duration,
    /// Once set, new connections are told to finish at once.
    closing: Cell<bool>,
    gauge: Arc<CoreGauge>,
}

impl Table {
    pub(crate) fn new(write_stall: Duration, interval: Duration, gauge: Arc<CoreGauge>) -> Self {
        Table {
            clock: CoarseClock::new(interval),
            started: Instant::now(),
            open: RefCell::default(),
            write_stall,
            closing: Cell::new(false),
            gauge,
        }
    }

    pub(crate) fn clock(&self) -> &CoarseClock {
        &self.clock
    }

    pub(crate) fn add(&self, watch: Rc<Watch>) {
        if self.closing.get() {
            watch.finish(Ended::Drained);
        }
        self.open.borrow_mut().push(watch);
    }

    /// Forgets the connections whose transport is gone; says how many are left.
    pub(crate) fn forget_closed(&self) -> usize {
        let mut open = self.open.borrow_mut();
        open.retain(|watch| !watch.flow.is_closed());
        open.len()
    }

    /// Tells every connection that `which` selects to finish its requests and close.
    pub(crate) fn finish(&self, ended: Ended, which: impl Fn(&Watch) -> bool) {
        for watch in self.snapshot() {
            if which(&watch) {
                watch.finish(ended);
            }
        }
    }

    /// Closes every connection that `which` selects, now.
    pub(crate) fn abort(&self, ended: Ended, which: impl Fn(&Watch) -> bool) {
        for watch in self.snapshot() {
            if which(&watch) {
                watch.give(Order::Abort(ended));
            }
        }
    }

    /// From now on, what is accepted is finished at once.
    pub(crate) fn close(&self) {
        self.closing.set(true);
        self.finish(Ended::Drained, |_| true);
    }

    /// Moves the clock and judges every connection.
    pub(crate) fn sweep(&self, events: &dyn ListenerEvents) {
        let now = self.started.elapsed().as_millis() as u64 + 1;
        self.clock.set(now);
        self.forget_closed();
        // Orders wake tasks but run none, so nothing changes the table meanwhile.
        for watch in self.open.borrow().iter() {
            self.judge(watch, now, events);
        }
    }

    fn judge(&self, watch: &Watch, now: u64, events: &dyn ListenerEvents) {
        watch.wake_due(now);
        let write_stall = self.write_stall();
        if is_over(now, watch.flow.blocked_since(), write_stall) {
            return watch.give(Order::Abort(Ended::WriteStalled));
        }
        if watch.flow.is_upgraded() || watch.opening.get() {
            return; // The upgraded protocol and the handshake keep their own time.
        }
        if watch.http2.get() {
            let stalled = watch.end_stalled_streams(now.saturating_sub(millis(write_stall)));
            if stalled > 0 {
                events.streams_stalled(&watch.setting.plan.name, stalled);
            }
            judge_frames(watch, now);
        }
        // While a write waits, the last response is still on its way, and its own limit applies.
        if watch.flow.in_flight() == 0 && watch.flow.blocked_since() == 0 {
            let limits = &watch.setting.plan.admission;
            let is_short = self.gauge.pressure().reaches(Step::ShortIdle);
            let idle = if is_short { limits.idle_timeout.min(SHORT) } else { limits.idle_timeout };
            let told = judge_silence(watch, now, idle);
            if told && is_short {
                self.gauge.took(Step::ShortIdle, 1);
            }
        }
    }

    /// Where memory runs out, what waits for a client that takes nothing waits less long.
    fn write_stall(&self) -> Duration {
        match self.gauge.memory().reaches(Step::Reset) {
            true => self.write_stall.min(SHORT),
            false => self.write_stall,
        }
    }

    fn snapshot(&self) -> Vec<Rc<Watch>> {
        self.open.borrow().clone()
    }
}

/// A connection without a request: how long may it stay so? Says whether it was told to close because it was idle.
fn judge_silence(watch: &Watch, now: u64, idle: Duration) -> bool {
    let (flow, limits) = (&watch.flow, &watch.setting.plan.admission);
    let over = |since, limit| is_over(now, since, limit);
    if let Some(ended) = watch.one_request.get()
        && over(watch.idle_since.get(), FIRST_REQUEST_GRACE)
        && flow.head_since() == 0
    {
        watch.give(Order::Finish(ended));
    }
    match watch.order() {
        Order::Serve if !watch.http2.get() && over(flow.head_since(), limits.header_timeout) => {
            watch.give(Order::Timeout);
        }
        // On HTTP/2 bytes without a request are settings and pings, and keep nothing alive.
        Order::Serve if watch.http2.get() || flow.head_since() == 0 => {
            if over(watch.idle_since.get(), idle) {
                watch.give(Order::Finish(Ended::Idle));
                return true;
            }
        }
        Order::Serve | Order::Abort(_) => {}
        // Told to close, with nothing in flight: it only waits for the peer to take its last bytes.
        Order::Finish(ended) if has_said_goodbye(watch, now) => watch.give(Order::Abort(ended)),
        Order::Timeout if has_said_goodbye(watch, now) => watch.give(Order::Abort(Ended::HeadTimeout)),
        Order::Finish(_) | Order::Timeout => {}
    }
    false
}

fn has_said_goodbye(watch: &Watch, now: u64) -> bool {
    let last = watch.ordered_at.get().max(watch.flow.wrote_at());
    is_over(now, last, CLOSING_GRACE) || is_over(now, watch.ordered_at.get(), CLOSING_MAX)
}

/// What an HTTP/2 client sends that is no request.
fn judge_frames(watch: &Watch, now: u64) {
    let (flow, ledger) = (&watch.flow, &watch.ledger);
    let read = flow.read_bytes() - ledger.read_seen.replace(flow.read_bytes());
    let written = flow.written_bytes() - ledger.written_seen.replace(flow.written_bytes());
    // Frames that ask for work and carry nothing (PING, SETTINGS, PRIORITY, WINDOW_UPDATE) cannot be counted without a
    // second parser, so the bytes are budgeted that neither a head, nor a body that was read, nor taking a response
    // explains. A body explains what was read of it and no more, or one slow upload would cover any flood.
    let heads = ledger.requests.replace(0).saturating_mul(HEAD_BYTES);
    let explained = heads.saturating_add(written / 32).saturating_add(ledger.bodies.replace(0));
    let unexplained =
        ledger.unexplained.get().saturating_add_unsigned(read).saturating_sub_unsigned(explained);
    // Data may be read after the sweep that saw it arrive; more than a window of it never waits.
    ledger.unexplained.set(unexplained.max(-WINDOW_BYTES));
    if unexplained > UNEXPLAINED_BYTES_MAX {
        watch.give(Order::Abort(Ended::FrameFlood));
    }
    if now.saturating_sub(ledger.since.get()) > millis(WINDOW) {
        ledger.since.set(now);
        ledger.resets.set(0);
        ledger.unexplained.set(ledger.unexplained.get().min(0));
    }
}

/// Runs until the core ends.
pub(crate) async fn run(table: Rc<Table>, interval: Duration, events: Arc<dyn ListenerEvents>) {
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        table.sweep(&*events);
    }
}

fn is_over(now: u64, since: u64, limit: Duration) -> bool {
    since != 0 && now.saturating_sub(since) > millis(limit)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// How long a connection without requests may take to say goodbye: since its last bytes went out, and in all.
const CLOSING_GRACE: Duration = Duration::from_secs(5);
const CLOSING_MAX: Duration = Duration::from_secs(60);

/// How long a connection that has to close may still begin its first request.
const FIRST_REQUEST_GRACE: Duration = Duration::from_secs(1);

/// How long silence and unread answers are borne under pressure.
const SHORT: Duration = Duration::from_secs(5);

/// The window of the reset and frame budgets.
const WINDOW: Duration = Duration::from_secs(10);

/// Bytes an HTTP/2 client may send in a window that nothing explains: a connection window of body data that nobody
/// wanted any more, and 256 KiB of control frames.
const UNEXPLAINED_BYTES_MAX: i64 = WINDOW_BYTES + 256 * 1024;

/// The HTTP/2 window of a connection: what may have arrived and waits to be read.
const WINDOW_BYTES: i64 = 1024 * 1024;

/// What a request's head may explain.
const HEAD_BYTES: u64 = 64 * 1024;
