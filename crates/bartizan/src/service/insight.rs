//! The thread that looks for unusual behaviour: lines of the access log in, a report out.
//!
//! It only observes. At the start it reads the record store, so that a restart does not forget what is usual; then it takes
//! lines as they are written. The report is what the management API tells, and it is kept below the data directory for
//! `bartizan insight`. When the thread is behind, lines are lost and counted; requests and log never wait for it.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::RecvTimeoutError,
    },
    thread,
    time::{Duration, Instant},
};

use bartizan_insight::{Engine, Report, Settings};
use bartizan_proxy::runtime::Runtime;
use bartizan_store::{DataDir, KeyFilter, KeyRow, Store};
use bartizan_telemetry::{InsightFigures, Metrics, RecordReader, Tapped, records};

use super::keys::chain;
use crate::{
    command::when,
    insight::{self, documented, keep, observe, posture},
};

/// What the thread is given.
pub(crate) struct Given {
    /// The lines.
    pub(crate) lines: Tapped,
    /// Where the report is kept, and the record store lies.
    pub(crate) data_dir: DataDir,
    /// Where the keys are.
    pub(crate) store: DataDir,
    /// The set in force.
    pub(crate) data_plane: Arc<Runtime>,
    /// Where figures are shown.
    pub(crate) metrics: Arc<Metrics>,
    /// Whether the record store has all requests; of a sampled one nothing is learned.
    pub(crate) learns_from_store: bool,
    /// The newest report.
    pub(crate) newest: Newest,
}

/// The newest report as JSON, shared with the management API.
pub(crate) type Newest = Arc<Mutex<Option<Arc<str>>>>;

/// The thread. Dropping it ends it; the log should have ended before.
pub(crate) struct Insight {
    stop: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Insight {
    /// Starts to look.
    pub(crate) fn start(given: Given) -> std::io::Result<Self> {
        let engine = insight::engine(Settings::default())?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let stop = Arc::<AtomicBool>::default();
        let stopped = stop.clone();
        let watch = Watch {
            given,
            engine,
            runtime,
            keys: Vec::new(),
            keys_at: None,
            revision: "".into(),
            written: None,
            is_failing: false,
        };
        let thread = thread::Builder::new().name("insight".into()).spawn(move || watch.run(&stopped))?;
        Ok(Insight { stop, thread: Some(thread) })
    }
}

impl Drop for Insight {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            // A panic there was logged by its thread; there is nothing to add at the end of the process.
            let _ = thread.join();
        }
    }
}

/// The thread's state.
struct Watch {
    given: Given,
    engine: Engine,
    runtime: tokio::runtime::Runtime,
    keys: Vec<KeyRow>,
    keys_at: Option<Instant>,
    revision: Arc<str>,
    /// When the report was written, and how many alerts it had.
    written: Option<(Instant, u64)>,
    is_failing: bool,
}

impl Watch {
    fn run(mut self, stop: &AtomicBool) {
        self.learn_from_store(stop);
        let mut looked = Instant::now();
        let mut first = true;
        while !stop.load(Ordering::SeqCst) {
            match self.given.lines.next(PATIENCE) {
                Ok(line) => {
                    observe(&mut self.engine, &line, u64::MAX);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if first || looked.elapsed() >= LOOK {
                self.engine.tick(when::now_ms());
                self.tell(false);
                (looked, first) = (Instant::now(), false);
            }
        }
        // What came last is told too, but the end of the process does not wait for a long queue.
        let end = Instant::now() + PATIENCE;
        while let (true, Ok(line)) = (Instant::now() < end, self.given.lines.next(Duration::ZERO)) {
            observe(&mut self.engine, &line, u64::MAX);
        }
        self.tell(true);
    }

    /// What the record store still has of the time before this process.
    fn learn_from_store(&mut self, stop: &AtomicBool) {
        if !self.given.learns_from_store {
            return;
        }
        let (begun, before_ms) = (Instant::now(), when::now_ms());
        let mut events = 0_u64;
        let folder = self.given.data_dir.path().join(records::FOLDER);
        let engine = &mut self.engine;
        let read = RecordReader::open(folder).in_order(|line| {
            events += u64::from(observe(engine, line, before_ms));
            !stop.load(Ordering::SeqCst)
        });
        match read {
            Err(error) => tracing::warn!(%error, "what was recorded cannot be learned from"),
            Ok(()) if events > 0 => {
                let seconds = begun.elapsed().as_secs_f32();
                tracing::info!(events, seconds, "learned what is usual from the record store");
            }
            Ok(()) => {}
        }
    }

    fn tell(&mut self, is_last: bool) {
        let live = self.given.data_plane.live();
        if self.revision != live.snapshot.revision.id {
            self.revision = live.snapshot.revision.id.clone();
            self.engine.document(documented(&live.snapshot));
        }
        self.read_keys();
        let lost = self.given.lines.lost();
        let figures = self.engine.figures();
        self.given.metrics.set_insight(InsightFigures {
            events: self.engine.learning().events,
            lost,
            memory_bytes: figures.memory_bytes as u64,
            told: figures.told,
            held_back: figures.held_back,
        });
        let is_news = self.written.is_none_or(|(at, told)| at.elapsed() >= WRITE || told != figures.told);
        if !(is_news || is_last) {
            return;
        }
        let posture = posture(&live.snapshot, &self.keys, when::now_ms());
        let mut report = self.engine.report(&posture);
        report.figures.lost = lost;
        self.written = Some((Instant::now(), figures.told));
        self.publish(&report);
    }

    fn publish(&mut self, report: &Report) {
        let Ok(text) = serde_json::to_string(report) else { return };
        let kept = keep(self.given.data_dir.path(), text.as_bytes());
        if let (Err(error), false) = (&kept, self.is_failing) {
            tracing::warn!(%error, "the report about unusual behaviour cannot be kept; the management API has it");
        }
        self.is_failing = kept.is_err();
        *self.given.newest.lock().unwrap_or_else(PoisonError::into_inner) = Some(text.into());
    }

    /// Reads the keys anew when what is known of them is old. Without them there are no recommendations about keys.
    fn read_keys(&mut self) {
        if self.keys_at.is_some_and(|at| at.elapsed() < KEYS) {
            return;
        }
        self.keys_at = Some(Instant::now());
        match self.runtime.block_on(keys(&self.given.store)) {
            Ok(keys) => self.keys = keys,
            Err(error) => tracing::debug!(error = %chain(&error), "keys cannot be read for recommendations"),
        }
    }
}

/// The keys of a store, up to a bound.
async fn keys(dir: &DataDir) -> Result<Vec<KeyRow>, bartizan_store::Error> {
    let store = Store::open_existing(dir).await?;
    let mut rows = Vec::new();
    let mut after = None;
    loop {
        let page = store.keys().list(KeyFilter { after, ..KeyFilter::default() }).await?;
        rows.extend(page.rows);
        after = page.next;
        if after.is_none() || rows.len() >= KEYS_MAX {
            break;
        }
    }
    store.close().await;
    Ok(rows)
}

/// How long the end of the process waits for the thread, at most.
const PATIENCE: Duration = Duration::from_millis(500);
/// How often minutes are closed and figures shown.
const LOOK: Duration = Duration::from_secs(2);
/// How often the report is written where no alert is new.
const WRITE: Duration = Duration::from_secs(30);
/// How old what is known of keys may be.
const KEYS: Duration = Duration::from_secs(600);
/// More keys than this get no recommendations: nobody would read them.
const KEYS_MAX: usize = 20_000;
