//! The bounded way of a record from its core to the writer.
//!
//! Each core has a ring of its own, so cores do not meet. Handing over never blocks: when the ring is full the
//! newest record is dropped and counted, because a log that slows its requests down is an attack's lever
//! (security.md case 37). The ring is the standard library's bounded channel, which is lock-free to send into.

use std::{
    cell::Cell,
    marker::PhantomData,
    net::SocketAddr,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel},
    },
    thread::Thread,
    time::Instant,
};

use crate::{
    capture::{BodyTap, Capturing},
    losses::LogCounters,
    plan::RecordPlan,
    record::{Protocol, RequestRecord},
};

/// How many written records are kept for a core to use again: what comes back from a batch or two.
const RETURNED_MAX: usize = 512;

/// One core's end of its ring.
#[derive(Debug)]
pub struct Recorder {
    ring: SyncSender<Box<RequestRecord>>,
    /// Written records, whose memory and counted names are given back to the core that they came from: freeing
    /// them on the writer's thread would cost both more.
    returned: Receiver<Box<RequestRecord>>,
    counters: Arc<LogCounters>,
    wake: Arc<Wake>,
    pub(crate) capturing: Arc<Capturing>,
    // One ring, one core: sharing a ring would let cores wait for each other's cache lines.
    one_thread: PhantomData<Cell<()>>,
}

impl Recorder {
    /// Opens the record of a request; see [`RequestRecord::open`].
    pub fn open(
        &self,
        time_unix_nanos: u64,
        started: Instant,
        peer: SocketAddr,
        protocol: Protocol,
        plan: Arc<RecordPlan>,
    ) -> Box<RequestRecord> {
        match self.returned.try_recv() {
            Ok(old) => old.reopen(time_unix_nanos, started, peer, protocol, plan),
            Err(_) => RequestRecord::open(time_unix_nanos, started, peer, protocol, plan),
        }
    }

    /// Whether the request that begins is captured; `draw` is asked only while a capture is taken.
    pub fn samples(&self, draw: impl FnOnce() -> u64) -> bool {
        self.capturing.samples(draw)
    }

    /// A copy of the body of a request that is captured; `None` where bodies are not.
    pub fn body(&self) -> Option<BodyTap> {
        self.capturing.body()
    }

    /// Hands a closed record to the writer, unless its plan has the access log off. Never blocks; a full ring
    /// drops the record and counts it.
    pub fn submit(&self, record: Box<RequestRecord>) {
        if !record.plan.access_log {
            return;
        }
        match self.ring.try_send(record) {
            Ok(()) => self.wake.wake(),
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => self.counters.overflowed(),
        }
    }
}

/// The writer's end of a core's ring.
#[derive(Debug)]
pub(crate) struct Ring {
    records: Receiver<Box<RequestRecord>>,
    back: SyncSender<Box<RequestRecord>>,
}

impl Ring {
    /// The next record, if there is one.
    pub(crate) fn take(&self) -> Result<Box<RequestRecord>, TryRecvError> {
        self.records.try_recv()
    }

    /// Gives a written record's memory back to its core, or frees it.
    pub(crate) fn give_back(&self, record: Box<RequestRecord>) {
        // Full means that the core has enough; gone, that it ended. Either way the record is dropped here.
        let _ = self.back.try_send(record);
    }
}

/// A ring of `capacity` records: the core's end and the writer's.
pub(crate) fn ring(capacity: usize, counters: Arc<LogCounters>, wake: Arc<Wake>) -> (Recorder, Ring) {
    // Zero would make a channel on which sender and receiver must meet.
    let (ring, records) = sync_channel(capacity.max(1));
    let (back, returned) = sync_channel(RETURNED_MAX);
    (
        Recorder { ring, returned, counters, wake, capturing: Arc::default(), one_thread: PhantomData },
        Ring { records, back },
    )
}

/// How a core wakes the writer. While the writer is busy or naps between batches this is one load; only the first
/// record after a silence pays for a system call.
#[derive(Debug, Default)]
pub(crate) struct Wake {
    asleep: AtomicBool,
    thread: OnceLock<Thread>,
}

impl Wake {
    /// Says which thread is woken.
    pub(crate) fn set_thread(&self, thread: Thread) {
        // Called once, by the one who started the thread.
        let _ = self.thread.set(thread);
    }

    /// Called by the writer before it looks at the rings for the last time: a record that comes later wakes it.
    pub(crate) fn will_sleep(&self) {
        self.asleep.store(true, Ordering::SeqCst);
    }

    /// Called by the writer when it is up again.
    pub(crate) fn is_awake(&self) {
        self.asleep.store(false, Ordering::SeqCst);
    }

    fn wake(&self) {
        if self.asleep.load(Ordering::SeqCst) && self.asleep.swap(false, Ordering::SeqCst) {
            self.wake_now();
        }
    }

    /// Wakes the writer whatever it does.
    pub(crate) fn wake_now(&self) {
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tests::record_for_test;

    fn taken(ring: &Ring) -> impl Iterator<Item = Box<RequestRecord>> {
        std::iter::from_fn(|| ring.take().ok())
    }

    #[test]
    fn a_record_that_came_back_shows_nothing_of_its_first_request() {
        let (recorder, ring_end) = ring(4, Arc::default(), Arc::default());
        let full = crate::json::tests::full_record();
        recorder.submit(full);
        ring_end.give_back(ring_end.take().unwrap());
        let peer = SocketAddr::from(([192, 0, 2, 7], 4711));
        let started = Instant::now();
        let open = |recorder: &Recorder| recorder.open(7, started, peer, Protocol::Http11, Arc::default());
        let (reused, new) = (open(&recorder), open(&recorder));
        let line = |record: &RequestRecord| {
            let mut out = Vec::new();
            let key = crate::AddressKey::from_secret(b"k");
            crate::json::LineFormat::new(key).record(record, &mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(line(&reused), line(&new));
    }

    #[test]
    fn a_full_ring_drops_the_newest_and_counts_each() {
        let counters = Arc::new(LogCounters::default());
        let (recorder, ring_end) = ring(4, Arc::clone(&counters), Arc::default());
        for n in 0..10_u16 {
            let mut record = record_for_test();
            record.status = n;
            recorder.submit(record);
        }
        assert_eq!(counters.now().lost_to_overflow, 6);
        let kept: Vec<_> = taken(&ring_end).map(|record| record.status).collect();
        assert_eq!(kept, [0, 1, 2, 3]);
        recorder.submit(record_for_test());
        assert_eq!((taken(&ring_end).count(), counters.now().lost_to_overflow), (1, 6));
    }

    #[test]
    fn a_record_whose_log_is_off_is_neither_sent_nor_lost() {
        let counters = Arc::new(LogCounters::default());
        let (recorder, ring_end) = ring(4, Arc::clone(&counters), Arc::default());
        let mut record = record_for_test();
        Arc::make_mut(&mut record.plan).access_log = false;
        recorder.submit(record);
        assert_eq!((taken(&ring_end).count(), counters.now()), (0, Default::default()));
    }

    #[test]
    fn a_record_after_the_writer_ended_is_counted_as_lost() {
        let counters = Arc::new(LogCounters::default());
        let (recorder, ring_end) = ring(4, Arc::clone(&counters), Arc::default());
        drop(ring_end);
        recorder.submit(record_for_test());
        assert_eq!(counters.now().lost_to_overflow, 1);
    }
}
