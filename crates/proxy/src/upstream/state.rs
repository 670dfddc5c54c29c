//! What all cores know of one endpoint: atomics only, read and written without a lock.
//!
//! It outlives snapshots: a reload that keeps an upstream's name and an endpoint's authority keeps this too, so that
//! a reload neither forgets an ejection nor loses count of what is in flight.

use std::{
    sync::{
        LazyLock,
        atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

/// One endpoint's health and load. Aligned so that two endpoints never share a cache line.
#[derive(Debug)]
#[repr(align(128))]
pub struct EndpointState {
    /// Exchanges that have begun and not ended, over all cores.
    in_flight: AtomicUsize,
    /// Connections that are open or being opened, over all cores.
    lines: AtomicUsize,
    /// What active checks say; `true` until they say otherwise.
    healthy: AtomicBool,
    /// [`nanos`] until which the endpoint is ejected; 0 when it is not.
    ejected_until: AtomicU64,
    /// When the last ejection ran out; see [`EndpointState::take_return`].
    pub(super) returned_at: AtomicU64,
    /// When it came, or active checks found it well again; 0 where it was there from the beginning.
    joined_at: AtomicU64,
    /// Failures since the last success.
    pub(super) consecutive_failures: AtomicU32,
    /// Ejections since the endpoint was last well for long.
    pub(super) ejection_count: AtomicU32,
    /// Active checks in a row with the same result: passed are positive, failed negative.
    pub(super) checks_in_row: AtomicI32,
    connections_opened: AtomicU64,
    connect_failures: AtomicU64,
    ejections: AtomicU64,
    health_changes: AtomicU64,
}

/// Counters of an endpoint, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EndpointCounts {
    /// Exchanges that have begun and not ended.
    pub in_flight: usize,
    /// Connections opened.
    pub connections_opened: u64,
    /// Connections that could not be opened.
    pub connect_failures: u64,
    /// Times the endpoint was ejected.
    pub ejections: u64,
    /// Times active checks changed their mind.
    pub health_changes: u64,
}

impl Default for EndpointState {
    fn default() -> Self {
        EndpointState {
            in_flight: AtomicUsize::new(0),
            lines: AtomicUsize::new(0),
            healthy: AtomicBool::new(true),
            ejected_until: AtomicU64::new(0),
            returned_at: AtomicU64::new(0),
            joined_at: AtomicU64::new(0),
            consecutive_failures: AtomicU32::new(0),
            ejection_count: AtomicU32::new(0),
            checks_in_row: AtomicI32::new(0),
            connections_opened: AtomicU64::new(0),
            connect_failures: AtomicU64::new(0),
            ejections: AtomicU64::new(0),
            health_changes: AtomicU64::new(0),
        }
    }
}

impl EndpointState {
    /// Exchanges that have begun and not ended, over all cores.
    pub fn in_flight(&self) -> usize {
        self.in_flight.load(Relaxed)
    }

    /// Connections that carry something, and those that wait for a request. An exchange takes one connection, except
    /// over HTTP/2 and while it waits for one, so the first number is an upper bound.
    pub fn connections(&self) -> (usize, usize) {
        let (lines, in_flight) = (self.lines.load(Relaxed), self.in_flight());
        (lines.min(in_flight), lines.saturating_sub(in_flight))
    }

    pub(super) fn line_opened(&self) {
        self.lines.fetch_add(1, Relaxed);
    }

    pub(super) fn line_closed(&self) {
        self.lines.fetch_sub(1, Relaxed);
    }

    /// What active checks say; `true` where there are none.
    pub fn is_healthy(&self) -> bool {
        self.healthy.load(Relaxed)
    }

    /// Whether the endpoint is asked at `now`: active checks say that it is well and passive ones did not eject it.
    pub fn is_in_rotation(&self, now: Instant) -> bool {
        self.is_healthy() && !self.is_ejected(nanos(now))
    }

    /// Whether passive checks keep the endpoint out of rotation at `now`, in nanoseconds since the process began to count.
    pub fn is_ejected(&self, now: u64) -> bool {
        self.ejected_until.load(Relaxed) > now
    }

    /// The counters, each read once.
    pub fn counts(&self) -> EndpointCounts {
        EndpointCounts {
            in_flight: self.in_flight(),
            connections_opened: self.connections_opened.load(Relaxed),
            connect_failures: self.connect_failures.load(Relaxed),
            ejections: self.ejections.load(Relaxed),
            health_changes: self.health_changes.load(Relaxed),
        }
    }

    pub(super) fn begin(&self) {
        self.in_flight.fetch_add(1, Relaxed);
    }

    pub(super) fn end(&self) {
        self.in_flight.fetch_sub(1, Relaxed);
    }

    pub(super) fn connected(&self) {
        self.connections_opened.fetch_add(1, Relaxed);
    }

    pub(super) fn connect_failed(&self) {
        self.connect_failures.fetch_add(1, Relaxed);
    }

    /// It comes into rotation at `now`, as [`nanos`] count.
    pub(super) fn join(&self, now: u64) {
        self.joined_at.store(now, Relaxed);
    }

    /// Since when it is in rotation: when it came, was found well, or its last ejection ran out; 0: from the beginning.
    pub(super) fn in_rotation_since(&self, now: u64) -> u64 {
        let ended = Some(self.ejected_until.load(Relaxed)).filter(|until| *until <= now).unwrap_or(0);
        self.joined_at.load(Relaxed).max(self.returned_at.load(Relaxed)).max(ended)
    }

    /// Sets what active checks say at `now`; whether that is a change.
    pub(super) fn set_healthy(&self, healthy: bool, now: u64) -> bool {
        let changed = self.healthy.swap(healthy, Relaxed) != healthy;
        if changed && healthy {
            self.join(now);
        }
        if changed {
            self.health_changes.fetch_add(1, Relaxed);
        }
        changed
    }

    /// Ejects until `until`, unless another core just did; whether it was us.
    pub(super) fn eject(&self, now: u64, until: u64) -> bool {
        let before = self.ejected_until.load(Relaxed);
        let ejected =
            before <= now && self.ejected_until.compare_exchange(before, until, Relaxed, Relaxed).is_ok();
        if ejected {
            self.ejections.fetch_add(1, Relaxed);
        }
        ejected
    }

    /// Forgets an ejection that has run out; `true` for the one core that did.
    pub(super) fn take_return(&self, now: u64) -> bool {
        let until = self.ejected_until.load(Relaxed);
        let is_over = until != 0
            && until <= now
            && self.ejected_until.compare_exchange(until, 0, Relaxed, Relaxed).is_ok();
        if is_over {
            self.returned_at.store(until, Relaxed);
        }
        is_over
    }

    /// Whether there is or was an ejection that nothing has cleared yet; one load, `false` in the common case.
    pub(super) fn was_ever_ejected(&self) -> bool {
        self.ejected_until.load(Relaxed) != 0
    }
}

/// An instant as nanoseconds since the process began to count; never 0.
pub(super) fn nanos(now: Instant) -> u64 {
    static EPOCH: LazyLock<Instant> = LazyLock::new(Instant::now);
    u64::try_from(now.saturating_duration_since(*EPOCH).as_nanos()).unwrap_or(u64::MAX).saturating_add(1)
}

/// A duration in the unit of [`nanos`].
pub(super) fn nanos_of(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
