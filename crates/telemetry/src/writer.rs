//! The thread that writes the access log.
//!
//! It empties the cores' rings in turn, formats into one reused buffer and writes in batches: after a batch it naps
//! for a few milliseconds instead of being woken for each record, and only after a silence does it sleep until a
//! core wakes it. A failed write is counted and the log goes on; a request never notices.

use std::{
    fmt, io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel},
    },
    thread,
    time::{Duration, Instant, SystemTime},
};

use crate::{
    capture::Capturing,
    json::LineFormat,
    losses::LogCounters,
    record::RequestRecord,
    records::{RecordKeeper, RecordOptions},
    redact::{AddressKey, NoRandomness},
    ring::{self, Recorder, Ring, Wake},
    sink::{Destination, Sink},
    tap::Tap,
    time::unix_nanos,
};

/// Looks at every record on the writer's thread; must not block.
pub struct RecordWatch(pub Box<dyn FnMut(&RequestRecord) + Send>);

impl fmt::Debug for RecordWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecordWatch(…)")
    }
}

/// How the access log is written.
#[derive(Debug)]
pub struct LogOptions {
    /// Where to.
    pub destination: Destination,
    /// How many records each core's ring holds. The default, 8,192, is 160 ms of 50,000 requests a second.
    pub ring_records: usize,
    /// The key for hashed addresses; `None` makes one for this process.
    pub address_key: Option<AddressKey>,
    /// Where requests are kept to be found again; `None` keeps none.
    pub records: Option<RecordOptions>,
    /// Who else looks at every record.
    pub watch: Option<RecordWatch>,
    /// Who looks at the lines as they are written.
    pub tap: Option<Tap>,
}

impl LogOptions {
    /// The defaults for a destination.
    pub fn new(destination: Destination) -> Self {
        LogOptions {
            destination,
            ring_records: 8192,
            address_key: None,
            records: None,
            watch: None,
            tap: None,
        }
    }
}

/// Why the access log could not start.
#[derive(Debug)]
pub enum LogError {
    /// The destination could not be opened.
    Open(io::Error),
    /// The record store could not be opened.
    Records(io::Error),
    /// No key for hashed addresses could be made.
    Randomness(NoRandomness),
    /// The thread could not be started.
    Thread(io::Error),
}

impl fmt::Display for LogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LogError::Open(error) => write!(f, "the access log cannot be opened: {error}"),
            LogError::Records(error) => write!(f, "the record store cannot be opened: {error}"),
            LogError::Randomness(error) => write!(f, "no key for hashed addresses: {error}"),
            LogError::Thread(error) => write!(f, "the access log's thread cannot start: {error}"),
        }
    }
}

impl std::error::Error for LogError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            LogError::Open(error) | LogError::Records(error) | LogError::Thread(error) => Some(error),
            LogError::Randomness(error) => Some(error),
        }
    }
}

/// The access log: gives each core its [`Recorder`], and is told to reopen and to stop.
#[derive(Debug)]
pub struct AccessLog {
    shared: Arc<Shared>,
    ring_records: usize,
    ended: Mutex<Receiver<()>>,
}

/// What the handle and the thread share.
#[derive(Debug)]
struct Shared {
    counters: Arc<LogCounters>,
    wake: Arc<Wake>,
    /// Rings that the writer does not know yet; `None` once it has ended.
    new_rings: Mutex<Option<Vec<Ring>>>,
    reopen: AtomicBool,
    stop: AtomicBool,
    capturing: Arc<Capturing>,
}

/// Whether everything was written before the log stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Flushed {
    /// All that was handed over is written, or counted as lost.
    Complete,
    /// The destination was too slow; the rest is gone with the process.
    TimedOut,
}

impl AccessLog {
    /// Opens the destination and starts the thread. Fails when either cannot be done.
    pub fn start(options: LogOptions) -> Result<Self, LogError> {
        let key = match options.address_key {
            Some(key) => key,
            None => AddressKey::random().map_err(LogError::Randomness)?,
        };
        let sink = Sink::open(options.destination).map_err(LogError::Open)?;
        let keeper = options.records.map(RecordKeeper::open).transpose().map_err(LogError::Records)?;
        let shared = Arc::new(Shared {
            counters: Arc::default(),
            wake: Arc::default(),
            new_rings: Mutex::new(Some(Vec::new())),
            reopen: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            capturing: Arc::default(),
        });
        let (end, ended) = sync_channel(1);
        let writer = Writer {
            tap: options.tap,
            watch: options.watch,
            ..Writer::new(Arc::clone(&shared), sink, keeper, LineFormat::new(key))
        };
        let thread = thread::Builder::new()
            .name("access-log".into())
            .spawn(move || writer.run(&end))
            .map_err(LogError::Thread)?;
        shared.wake.set_thread(thread.thread().clone());
        Ok(AccessLog { shared, ring_records: options.ring_records, ended: Mutex::new(ended) })
    }

    /// The capture of live traffic, to be begun and ended.
    pub fn capturing(&self) -> &Capturing {
        &self.shared.capturing
    }

    /// The way into the log for one more core.
    pub fn recorder(&self) -> Recorder {
        let (mut recorder, ring) =
            ring::ring(self.ring_records, Arc::clone(&self.shared.counters), Arc::clone(&self.shared.wake));
        recorder.capturing = Arc::clone(&self.shared.capturing);
        // After the end the ring is dropped here, and all records are counted as lost.
        if let Some(rings) = lock(&self.shared.new_rings).as_mut() {
            rings.push(ring);
        }
        self.shared.wake.wake_now();
        recorder
    }

    /// What was written and lost so far; give it to [`crate::Metrics::watch_log`].
    pub fn counters(&self) -> Arc<LogCounters> {
        Arc::clone(&self.shared.counters)
    }

    /// Opens the file's path anew, soon and on the log's own thread.
    pub fn reopen(&self) {
        self.shared.reopen.store(true, Ordering::SeqCst);
        self.shared.wake.wake_now();
    }

    /// Writes what was handed over and ends the thread; waits for it no longer than `wait`. Records that come
    /// later are counted as lost. Call it when the cores have ended: a record handed over in the very moment of
    /// the end may be neither written nor counted.
    pub fn stop(&self, wait: Duration) -> Flushed {
        self.shared.stop.store(true, Ordering::SeqCst);
        self.shared.wake.wake_now();
        match lock(&self.ended).recv_timeout(wait) {
            // The sender is dropped with the thread, so a second call finds it ended too.
            Ok(()) | Err(RecvTimeoutError::Disconnected) => Flushed::Complete,
            Err(RecvTimeoutError::Timeout) => Flushed::TimedOut,
        }
    }
}

impl Drop for AccessLog {
    /// Lets the thread end by itself; [`AccessLog::stop`] waits for it.
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        self.shared.wake.wake_now();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How many records of one ring are taken before the next ring's turn.
const TURN: usize = 256;

/// How many records are taken before orders and announcements have their turn.
const ROUND: usize = TURN * 64;

/// A buffer of this size is written at once.
const BATCH_BYTES: usize = 64 * 1024;

/// How long the writer rests after a batch; lines are at most this late.
const NAP: Duration = Duration::from_millis(5);

/// How many naps without a record before the writer sleeps until it is woken.
const IDLE_NAPS: u32 = 10;

/// Longest sleep: a wake-up that was missed for any reason delays lines by no more.
const SLEEP: Duration = Duration::from_millis(500);

/// How often lost records are announced while they keep being lost.
const ANNOUNCE: Duration = Duration::from_secs(1);

/// How often a failing destination is complained about in the process's own log.
const COMPLAIN: Duration = Duration::from_secs(10);

/// The thread's state.
struct Writer {
    shared: Arc<Shared>,
    rings: Vec<Ring>,
    sink: Sink,
    keeper: Option<RecordKeeper>,
    watch: Option<RecordWatch>,
    tap: Option<Tap>,
    format: LineFormat,
    buffer: Vec<u8>,
    /// How many records the buffer holds.
    buffered: u64,
    /// Whether the last failed write may have left half a line.
    torn: bool,
    complained_at: Option<Instant>,
    /// How many losses have been announced in lines that were written.
    announced_lost: u64,
    /// How many will have been once the buffer is written.
    announcing: u64,
    announced_at: Option<Instant>,
}

impl Writer {
    fn new(shared: Arc<Shared>, sink: Sink, keeper: Option<RecordKeeper>, format: LineFormat) -> Self {
        Writer {
            shared,
            rings: Vec::new(),
            sink,
            keeper,
            watch: None,
            tap: None,
            format,
            buffer: Vec::with_capacity(BATCH_BYTES + 16 * 1024),
            buffered: 0,
            torn: false,
            complained_at: None,
            announced_lost: 0,
            announcing: 0,
            announced_at: None,
        }
    }

    fn run(mut self, end: &SyncSender<()>) {
        let mut idle = 0;
        loop {
            // Read before the rings are: what was handed over before the order to stop is then seen.
            let stopping = self.shared.stop.load(Ordering::SeqCst);
            self.adopt_rings(false);
            if self.shared.reopen.swap(false, Ordering::SeqCst) {
                let result = self.sink.reopen();
                self.note(result);
            }
            let taken = self.drain();
            if stopping && taken < ROUND {
                break;
            }
            self.announce(false);
            self.write();
            idle = if taken > 0 { 0 } else { idle + 1 };
            if stopping || taken >= ROUND {
                // There is more: no rest.
            } else if idle < IDLE_NAPS {
                thread::park_timeout(NAP);
            } else {
                self.sleep();
            }
        }
        self.adopt_rings(true);
        self.drain();
        self.announce(true);
        self.write();
        // Dropping the rings turns later records into lost ones.
        drop(self);
        let _ = end.send(());
    }

    fn adopt_rings(&mut self, last: bool) {
        let mut new_rings = lock(&self.shared.new_rings);
        if let Some(rings) = new_rings.as_mut() {
            self.rings.append(rings);
        }
        if last {
            *new_rings = None;
        }
    }

    /// Sleeps until a core has a record, or the handle an order.
    fn sleep(&mut self) {
        self.shared.wake.will_sleep();
        let first = self.rings.iter().find_map(|ring| ring.take().ok());
        match first {
            Some(record) => self.take(&record),
            None => thread::park_timeout(SLEEP),
        }
        self.shared.wake.is_awake();
    }

    /// Empties the rings, in turns so that a flood on one core does not silence the others. Returns how many
    /// records were taken.
    fn drain(&mut self) -> usize {
        let mut total = 0;
        loop {
            let mut taken = 0;
            let mut rings = std::mem::take(&mut self.rings);
            rings.retain(|ring| {
                let (count, is_open) = self.turn(ring);
                taken += count;
                is_open
            });
            self.rings = rings;
            total += taken;
            // A flood may refill the rings for ever.
            if taken == 0 || total >= ROUND {
                return total;
            }
        }
    }

    /// Takes up to [`TURN`] records from a ring. Returns how many, and whether more can ever come.
    fn turn(&mut self, ring: &Ring) -> (usize, bool) {
        for count in 0..TURN {
            match ring.take() {
                Ok(record) => {
                    self.take(&record);
                    ring.give_back(record);
                }
                Err(TryRecvError::Empty) => return (count, true),
                Err(TryRecvError::Disconnected) => return (count, false),
            }
        }
        (TURN, true)
    }

    fn take(&mut self, record: &RequestRecord) {
        if let Some(watch) = &mut self.watch {
            (watch.0)(record);
        }
        let begin = self.buffer.len();
        self.format.record(record, &mut self.buffer);
        self.buffered += 1;
        self.keep(record, begin);
        if let Some(note) = &record.capture {
            self.shared.capturing.take(note, self.buffer.get(begin..).unwrap_or_default());
        }
        if let Some(tap) = &self.tap {
            tap.offer(self.buffer.get(begin..).unwrap_or_default());
        }
        if self.buffer.len() >= BATCH_BYTES {
            self.write();
        }
    }

    /// Keeps the line that begins at `begin` in the record store, if there is one and it wants it.
    fn keep(&mut self, record: &RequestRecord, begin: usize) {
        let Some(keeper) = self.keeper.as_mut().filter(|keeper| keeper.wants(record)) else { return };
        let result = keeper.keep(record, self.buffer.get(begin..).unwrap_or_default());
        kept(&self.shared.counters, keeper, result);
    }

    /// Appends a line about records lost since the last such line, at most once a second.
    fn announce(&mut self, stopping: bool) {
        let lost = self.shared.counters.now().lost();
        let due = self.announced_at.is_none_or(|at| at.elapsed() >= ANNOUNCE);
        if lost > self.announced_lost && (due || stopping) {
            let now = unix_nanos(SystemTime::now());
            self.format.lost(now, lost - self.announced_lost, lost, &mut self.buffer);
            self.announcing = lost;
            self.announced_at = Some(Instant::now());
        }
    }

    fn write(&mut self) {
        if let Some(keeper) = &mut self.keeper {
            let result = keeper.flush();
            kept(&self.shared.counters, keeper, result);
        }
        if self.buffer.is_empty() {
            return;
        }
        let result = match self.sink.make_room(self.buffer.len()) {
            Ok(()) => self.write_buffer(),
            // A file that grows over its size is better than no log, but not for ever.
            Err(error) if self.sink.is_overgrown() => Err(self.lost(error, 0)),
            Err(error) => {
                self.note(Err(error));
                self.write_buffer()
            }
        };
        self.note(result);
        self.buffer.clear();
        self.buffered = 0;
    }

    fn write_buffer(&mut self) -> io::Result<()> {
        if self.torn {
            // Whatever half line was left is ended, so that the next one is whole.
            self.sink.write_all(b"\n").map_err(|(_, error)| self.lost(error, 0))?;
            self.torn = false;
        }
        let result = self.sink.write_all(&self.buffer);
        match result {
            Ok(()) => {
                self.shared.counters.written.fetch_add(self.buffered, Ordering::Relaxed);
                self.announced_lost = self.announcing;
                Ok(())
            }
            Err((written, error)) => Err(self.lost(error, written)),
        }
    }

    /// Counts what a write that ended after `written` bytes lost.
    fn lost(&mut self, error: io::Error, written: usize) -> io::Error {
        let head = self.buffer.get(..written).unwrap_or_default();
        let whole = head.iter().filter(|byte| **byte == b'\n').count() as u64;
        let whole = whole.min(self.buffered);
        self.announcing = self.announced_lost;
        self.torn |= head.last().is_some_and(|byte| *byte != b'\n');
        self.shared.counters.written.fetch_add(whole, Ordering::Relaxed);
        self.shared.counters.lost_to_errors.fetch_add(self.buffered - whole, Ordering::Relaxed);
        error
    }

    /// Counts a failure, and says it once in a while.
    fn note(&mut self, result: io::Result<()>) {
        let Err(error) = result else { return };
        self.shared.counters.errors.fetch_add(1, Ordering::Relaxed);
        if self.complained_at.is_none_or(|at| at.elapsed() >= COMPLAIN) {
            self.complained_at = Some(Instant::now());
            let lost = self.shared.counters.now().lost_to_errors;
            tracing::error!(%error, lost, "the access log cannot be written");
        }
    }
}

/// Counts what the record store could not keep, and says it when it begins. The log goes on.
fn kept(counters: &LogCounters, keeper: &mut RecordKeeper, result: io::Result<()>) {
    let failed = result.as_ref().err();
    if failed.is_some() {
        counters.errors.fetch_add(1, Ordering::Relaxed);
    }
    if let (true, Some(error)) = (keeper.is_news(failed.is_some()), failed) {
        tracing::error!(%error, "the record store cannot be written; `why` will not know these requests");
    }
}

#[cfg(test)]
mod tests;
