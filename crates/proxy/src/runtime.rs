//! What outlives a snapshot and is shared by all cores: limit cells, keys, health, metrics, the clock.

use std::{
    hash::RandomState,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use arc_swap::ArcSwap;
use bartizan_identity::{KeyTable, Pepper};
use bartizan_limit::{CELLS_MAX, Cells, Nanos};
use bartizan_telemetry::Metrics;

use crate::{fetch::Fetcher, live::Live, passwords::Passwords, stage::JudgePool};

/// The pointer that a reload swaps.
pub(crate) type Current = Arc<ArcSwap<Live>>;

/// The pointer that a change of keys swaps.
pub(crate) type CurrentKeys = Arc<ArcSwap<KeyTable>>;

/// The state of the data plane that is the process's.
pub struct Runtime {
    current: Current,
    keys: CurrentKeys,
    pepper: Option<Arc<Pepper>>,
    passwords: Option<Arc<Passwords>>,
    fetcher: Option<Arc<Fetcher>>,
    cells: Arc<Cells>,
    metrics: Arc<Metrics>,
    judges: JudgePool,
    began: Instant,
    stops_at: OnceLock<Instant>,
    stopped: AtomicBool,
}

impl Runtime {
    /// A runtime that serves `live`. Without a pepper no API key can be judged, so every key is refused.
    pub(crate) fn new(
        live: Arc<Live>,
        metrics: Arc<Metrics>,
        pepper: Option<Arc<Pepper>>,
        passwords: Option<Arc<Passwords>>,
        fetcher: Option<Arc<Fetcher>>,
    ) -> Arc<Self> {
        Arc::new(Runtime {
            current: Arc::new(ArcSwap::new(live)),
            keys: Arc::new(ArcSwap::from_pointee(KeyTable::empty())),
            pepper,
            passwords,
            fetcher,
            cells: Arc::new(Cells::new(CELLS_MAX, [RandomState::new(), RandomState::new()])),
            metrics,
            judges: JudgePool::default(),
            began: Instant::now(),
            stops_at: OnceLock::new(),
            stopped: AtomicBool::new(false),
        })
    }

    /// Swaps the snapshot: requests that begin after this are judged by `live`, those on their way keep theirs.
    pub fn publish(&self, live: Arc<Live>) -> Arc<Live> {
        self.current.swap(live)
    }

    /// Swaps the API keys: requests that are identified after this are judged by `table`.
    pub fn set_keys(&self, table: Arc<KeyTable>) {
        self.keys.store(table);
    }

    /// The snapshot in force.
    pub fn live(&self) -> Arc<Live> {
        self.current.load_full()
    }

    /// What the gateway itself asks others with; a rehearsal asks nobody.
    pub(crate) fn fetcher(&self) -> Option<&Arc<Fetcher>> {
        self.fetcher.as_ref()
    }

    /// Where passwords are checked; a rehearsal has no such place.
    pub(crate) fn passwords(&self) -> Option<&Arc<Passwords>> {
        self.passwords.as_ref()
    }

    /// The limit cells.
    pub fn cells(&self) -> &Arc<Cells> {
        &self.cells
    }

    /// The threads that judge large bodies.
    pub(crate) fn judges(&self) -> &JudgePool {
        &self.judges
    }

    /// The metrics.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// Requests still under way at `at` are ended by the gateway, not by their callers.
    pub(crate) fn stops_at(&self, at: Instant) {
        // Drained once; a second signal stops at once by `stop`.
        let _ = self.stops_at.set(at);
    }

    /// Everything ends now.
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    /// Whether a request that ends unfinished now was ended by the gateway.
    pub(crate) fn is_stopping(&self) -> bool {
        self.stopped.load(Ordering::Relaxed) || self.stops_at.get().is_some_and(|at| *at <= Instant::now())
    }

    pub(crate) fn current(&self) -> Current {
        self.current.clone()
    }

    pub(crate) fn current_keys(&self) -> CurrentKeys {
        self.keys.clone()
    }

    pub(crate) fn pepper(&self) -> Option<&Pepper> {
        self.pepper.as_deref()
    }

    /// `at` on the clock of the limit cells.
    pub(crate) fn nanos(&self, at: Instant) -> Nanos {
        Nanos(u64::try_from(at.saturating_duration_since(self.began).as_nanos()).unwrap_or(u64::MAX))
    }

    /// The moment that the limit cells' clock calls `at`.
    pub(crate) fn instant(&self, at: Nanos) -> Instant {
        self.began + std::time::Duration::from_nanos(at.0)
    }
}
