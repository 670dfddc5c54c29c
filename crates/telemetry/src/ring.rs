//! The bounded way of a record from its core to the writer.
//!
//! Each core has a ring of its own, so cores do not meet. Handing over never blocks: when the ring is full the
//! newest record is dropped and counted, because a log that slows its requests down is an attack's lever
//! (security.md case 37). The ring is the standard library's bounded channel, which is lock-free to send into.

use std::{
    cell::Cell,
    marker::PhantomData,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    thread::Thread,
};

use crate::{record::RequestRecord, writer::LogCounters};

/// One core's end of its ring.
#[derive(Debug)]
pub struct Recorder {
    ring: SyncSender<Box<RequestRecord>>,
    counters: Arc<LogCounters>,
    wake: Arc<Wake>,
    // One ring, one core: sharing a ring would let cores wait for each other's cache lines.
    one_thread: PhantomData<Cell<()>>,
}

impl Recorder {
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

/// A ring of `capacity` records: the core's end and the writer's.
pub(crate) fn ring(
    capacity: usize,
    counters: Arc<LogCounters>,
    wake: Arc<Wake>,
) -> (Recorder, Receiver<Box<RequestRecord>>) {
    // Zero would make a channel on which sender and receiver must meet.
    let (sender, receiver) = sync_channel(capacity.max(1));
    (Recorder { ring: sender, counters, wake, one_thread: PhantomData }, receiver)
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

    #[test]
    fn a_full_ring_drops_the_newest_and_counts_each() {
        let counters = Arc::new(LogCounters::default());
        let (recorder, receiver) = ring(4, Arc::clone(&counters), Arc::default());
        for n in 0..10_u16 {
            let mut record = record_for_test();
            record.status = n;
            recorder.submit(record);
        }
        assert_eq!(counters.now().lost_to_overflow, 6);
        let kept: Vec<_> = receiver.try_iter().map(|record| record.status).collect();
        assert_eq!(kept, [0, 1, 2, 3]);
        recorder.submit(record_for_test());
        assert_eq!((receiver.try_iter().count(), counters.now().lost_to_overflow), (1, 6));
    }

    #[test]
    fn a_record_whose_log_is_off_is_neither_sent_nor_lost() {
        let counters = Arc::new(LogCounters::default());
        let (recorder, receiver) = ring(4, Arc::clone(&counters), Arc::default());
        let mut record = record_for_test();
        Arc::make_mut(&mut record.plan).access_log = false;
        recorder.submit(record);
        assert_eq!((receiver.try_iter().count(), counters.now()), (0, Default::default()));
    }

    #[test]
    fn a_record_after_the_writer_ended_is_counted_as_lost() {
        let counters = Arc::new(LogCounters::default());
        let (recorder, receiver) = ring(4, Arc::clone(&counters), Arc::default());
        drop(receiver);
        recorder.submit(record_for_test());
        assert_eq!(counters.now().lost_to_overflow, 1);
    }
}
