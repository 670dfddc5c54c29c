//! What outlives a snapshot and is shared by all cores: limit cells, keys, key sets, health, metrics, the clock.

use std::{
    collections::HashMap,
    hash::RandomState,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use arc_swap::ArcSwap;
use bartizan_cache::{Purge, Shelf, ShelfLimits, Url};
use bartizan_identity::{KeyTable, Pepper};
use bartizan_limit::{CELLS_MAX, Cells, Nanos, Quotas};
use bartizan_telemetry::{Metrics, usage::UsageTable};

use crate::{
    live::Live,
    models::ModelStates,
    passwords::Passwords,
    stage::{
        Flights, JudgePool,
        desk::{Desk, Visits},
    },
    upstream::Governor,
};
use bartizan_fetch::{Fetcher, KeySets};

/// The pointer that a reload swaps.
pub(crate) type Current = Arc<ArcSwap<Live>>;

/// The pointer that a change of keys swaps.
pub(crate) type CurrentKeys = Arc<ArcSwap<KeyTable>>;

/// The state of the data plane that is the process's.
pub struct Runtime {
    current: Current,
    keys: CurrentKeys,
    pepper: OnceLock<Arc<Pepper>>,
    outside: Option<Outside>,
    cells: Arc<Cells>,
    quotas: Arc<Quotas>,
    models: ModelStates,
    metrics: Arc<Metrics>,
    judges: JudgePool,
    shelf: Shelf,
    desk: OnceLock<Desk>,
    desk_visits: Visits,
    flights: Arc<Flights>,
    governors: Mutex<HashMap<Arc<str>, Arc<Governor>>>,
    began: Instant,
    stops_at: OnceLock<Instant>,
    stopped: AtomicBool,
}

/// What the gateway itself asks others with.
pub struct Outside {
    /// Asks.
    pub fetcher: Arc<Fetcher>,
    /// The key sets of issuers.
    pub key_sets: Arc<KeySets>,
    /// Where passwords are checked.
    pub(crate) passwords: Arc<Passwords>,
}

impl Runtime {
    /// A runtime that serves `live`. Without a pepper no API key can be judged, so every key is refused.
    pub fn new(
        live: Arc<Live>,
        metrics: Arc<Metrics>,
        pepper: Option<Arc<Pepper>>,
        outside: Option<Outside>,
        quotas: Arc<Quotas>,
    ) -> Arc<Self> {
        Arc::new(Runtime {
            current: Arc::new(ArcSwap::new(live)),
            keys: Arc::new(ArcSwap::from_pointee(KeyTable::empty())),
            pepper: pepper.map_or_else(OnceLock::new, OnceLock::from),
            outside,
            cells: Arc::new(Cells::new(CELLS_MAX, [RandomState::new(), RandomState::new()])),
            quotas,
            models: ModelStates::default(),
            metrics,
            judges: JudgePool::default(),
            shelf: Shelf::new(ShelfLimits::default(), RandomState::new()),
            desk: OnceLock::new(),
            desk_visits: Visits::default(),
            flights: Flights::new(RandomState::new()),
            governors: Mutex::default(),
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

    /// Says by what API keys are hashed, where that was not known at the start. It never changes afterwards.
    pub fn set_pepper(&self, pepper: Arc<Pepper>) {
        // A second one would be another store's; keys of the first go on being judged.
        let _ = self.pepper.set(pepper);
    }

    /// Says who serves owners of API keys; until then nobody does.
    pub fn set_desk(&self, desk: Arc<dyn crate::desk::KeyDesk>) {
        // There is one per process.
        let _ = self.desk.set(desk);
    }

    /// Who serves owners of API keys.
    pub(crate) fn desk(&self) -> Option<&Desk> {
        self.desk.get()
    }

    /// Who came there in this minute.
    pub(crate) fn desk_visits(&self) -> &Visits {
        &self.desk_visits
    }

    /// The snapshot in force.
    pub fn live(&self) -> Arc<Live> {
        self.current.load_full()
    }

    /// Where the gateway itself asks others; `None` in a rehearsal, which asks nobody.
    pub fn outside(&self) -> Option<&Outside> {
        self.outside.as_ref()
    }

    /// The limit cells.
    pub fn cells(&self) -> &Arc<Cells> {
        &self.cells
    }

    /// The accounts of quotas and budgets.
    pub fn quotas(&self) -> &Arc<Quotas> {
        &self.quotas
    }

    /// What models were used for.
    pub fn usage(&self) -> &Arc<UsageTable> {
        self.metrics.usage()
    }

    /// What is learned of models.
    pub(crate) fn models(&self) -> &ModelStates {
        &self.models
    }

    /// How many answers are kept, and their bytes.
    pub fn cache_size(&self) -> (usize, usize) {
        self.shelf.size()
    }

    /// Drops the kept answers of a URL, of every caller; nothing if it is no URL.
    pub fn purge_url(&self, url: &str) -> Option<usize> {
        Url::parse(url).map(|url| self.shelf.purge(&Purge::Url(&url)))
    }

    /// Drops the kept answers whose URL begins so; nothing if no URL does.
    pub fn purge_prefix(&self, prefix: &str) -> Option<usize> {
        Url::parse(prefix).map(|prefix| self.shelf.purge(&Purge::Prefix(&prefix)))
    }

    /// Drops the kept answers with this tag.
    pub fn purge_tag(&self, tag: &str) -> usize {
        self.shelf.purge(&Purge::Tag(tag))
    }

    /// Drops all kept answers.
    pub fn purge_all(&self) -> usize {
        self.shelf.purge(&Purge::All)
    }

    /// What an UpstreamPolicy has under way.
    pub(crate) fn governor(&self, label: &Arc<str>) -> Arc<Governor> {
        let mut governors = self.governors.lock().unwrap_or_else(PoisonError::into_inner);
        governors.entry(label.clone()).or_default().clone()
    }

    /// Equal requests on their way.
    pub(crate) fn flights(&self) -> &Arc<Flights> {
        &self.flights
    }

    /// The answers that are kept.
    pub(crate) fn shelf(&self) -> &Shelf {
        &self.shelf
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
        self.pepper.get().map(|pepper| &**pepper)
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
