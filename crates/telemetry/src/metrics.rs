//! Counters per core, summed when scraped.
//!
//! Each core has a [`CoreMetrics`] of its own and adds to it without a lock, an atomic read-modify-write or a
//! shared cache line; a scrape reads all cores and sums. Names (routes, upstreams, endpoints, policies, listeners)
//! are registered when a snapshot is built and become small numbers, so no request hashes a label. Every label is
//! bounded: names by a limit each, beyond which they share [`OVERFLOW`]; methods and codes by a known list.
//!
//! * [`table`] every metric with its help, from which `docs/metrics.md` is generated;
//! * [`names`] the registered names; [`label`] methods, codes and the fixed words;
//! * [`cell`] counter, gauge, histogram; [`core`](mod@core) what one core counts;
//! * [`expose`] the text of a scrape, [`process`] the figures of the process.

pub mod cell;
pub mod core;
pub mod expose;
mod fetches;
pub mod label;
pub mod names;
pub mod process;
pub mod table;
mod text;

use std::{
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::SystemTime,
};

use self::{core::CoreCells, names::Names};
pub use self::{
    core::CoreMetrics,
    fetches::{FetchOutcome, FetchPurpose, FetchTable},
    label::{
        Cached, ConnectionState, Decision, FailureCounter, Inspected, Outcome, Refreshed, RefusedConnection,
    },
    names::{EndpointId, ListenerId, NONE, OVERFLOW, PolicyId, RouteId, RuleGroupId, UpstreamId},
    table::metrics_page,
    text::Format,
};
use crate::{losses::LogCounters, usage::UsageTable};

/// All metrics of the process.
#[derive(Debug)]
pub struct Metrics {
    names: Mutex<Names>,
    cores: Mutex<Vec<Arc<CoreCells>>>,
    config: Mutex<ConfigFigures>,
    limit: LimitGauges,
    audit: Mutex<AuditFigures>,
    cache: CacheGauges,
    log: OnceLock<Arc<LogCounters>>,
    usage: Arc<UsageTable>,
    fetches: Arc<FetchTable>,
    insight: Mutex<InsightFigures>,
    overload: Mutex<OverloadFigures>,
    rollout: Mutex<RolloutFigures>,
    version: &'static str,
    started_unix_nanos: u64,
}

/// What is told of the configuration.
#[derive(Clone, Debug, Default)]
struct ConfigFigures {
    revision: Option<Arc<str>>,
    applied: u64,
    refused: u64,
    last_success_unix_nanos: Option<u64>,
}

/// What the last audit of the set in force found.
#[derive(Clone, Debug, Default)]
struct AuditFigures {
    findings: Vec<(&'static str, u64)>,
    at_unix_nanos: Option<u64>,
}

/// Figures of the limit engine; see [`Metrics::set_limit`].
#[derive(Debug, Default)]
struct LimitGauges {
    cells: AtomicU64,
    waiters: AtomicU64,
    overflow: AtomicU64,
}

/// Figures of the cache; see [`Metrics::set_cache`].
#[derive(Debug, Default)]
struct CacheGauges {
    entries: AtomicU64,
    bytes: AtomicU64,
}

/// Figures of the detectors of unusual behaviour; see [`Metrics::set_insight`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InsightFigures {
    /// Requests that were seen.
    pub events: u64,
    /// Requests that were not, because the detectors were behind.
    pub lost: u64,
    /// What they remember.
    pub memory_bytes: u64,
    /// Alerts that were told.
    pub told: u64,
    /// Findings that the budget held back.
    pub held_back: u64,
}

/// How hard the process is pressed; see [`Metrics::set_overload`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OverloadFigures {
    /// Memory used, in thousandths of the limit.
    pub memory: u32,
    /// How late the latest core is, in thousandths of what is taken for full.
    pub event_loop: u32,
    /// How full the fullest accept queue was, in thousandths.
    pub accept_queue: u32,
    /// Most memory that the process may take; 0: not known.
    pub limit_bytes: u64,
    /// What all limits together would let it take; 0: not known.
    pub worst_bytes: u64,
    /// Bytes of bodies that are held.
    pub held_bytes: u64,
    /// How often each step was taken.
    pub taken: Vec<(&'static str, u64)>,
}

/// Figures of the rollout that this gateway carries out; see [`Metrics::set_rollout`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RolloutFigures {
    /// The share of callers that the candidate serves, from 0 to 1.
    pub share: f64,
    /// Served, refused and failed requests of the candidate and of the active set.
    pub sides: [[u64; 3]; 2],
    /// What both made of the same requests, by word.
    pub shadow: Vec<(&'static str, u64)>,
}

impl Metrics {
    /// The metrics of a process of this version that started at `started`.
    pub fn new(version: &'static str, started: SystemTime) -> Arc<Self> {
        Arc::new(Metrics {
            names: Mutex::default(),
            cores: Mutex::default(),
            config: Mutex::default(),
            limit: LimitGauges::default(),
            audit: Mutex::default(),
            cache: CacheGauges::default(),
            log: OnceLock::new(),
            usage: Arc::default(),
            fetches: Arc::default(),
            insight: Mutex::default(),
            overload: Mutex::default(),
            rollout: Mutex::default(),
            version,
            started_unix_nanos: crate::time::unix_nanos(started),
        })
    }

    /// The counters of one more core (or of a background thread). What it counted stays counted when it is
    /// dropped.
    pub fn core(&self) -> CoreMetrics {
        let cells = Arc::new(CoreCells::default());
        lock(&self.cores).push(Arc::clone(&cells));
        CoreMetrics::new(cells)
    }

    /// What models were used for.
    pub const fn usage(&self) -> &Arc<UsageTable> {
        &self.usage
    }

    /// What the gateway asked others for.
    pub const fn fetches(&self) -> &Arc<FetchTable> {
        &self.fetches
    }

    /// Registers a listener's name; the same name gives the same number, also after a reload.
    pub fn listener(&self, name: &str) -> ListenerId {
        lock(&self.names).listener(name)
    }

    /// Registers a route's name.
    pub fn route(&self, name: &str) -> RouteId {
        lock(&self.names).route(name)
    }

    /// Registers an upstream's name.
    pub fn upstream(&self, name: &str) -> UpstreamId {
        lock(&self.names).upstream(name)
    }

    /// Registers an endpoint of an upstream.
    pub fn endpoint(&self, upstream: &str, endpoint: &str) -> EndpointId {
        lock(&self.names).endpoint(upstream, endpoint)
    }

    /// Registers a policy, as `Kind/name`.
    pub fn policy(&self, name: &str) -> PolicyId {
        lock(&self.names).policy(name)
    }

    /// Registers a group of rules of a policy.
    pub fn rule_group(&self, policy: &str, group: &str) -> RuleGroupId {
        lock(&self.names).rule_group(policy, group)
    }

    /// Notes an endpoint's health; `None` takes it out of the exposition (the endpoint is gone).
    pub fn set_endpoint_healthy(&self, endpoint: EndpointId, healthy: Option<bool>) {
        lock(&self.names).set_endpoint_healthy(endpoint, healthy);
    }

    /// Notes how many connections to an endpoint carry something and how many wait; `None` takes it out.
    pub fn set_endpoint_connections(&self, endpoint: EndpointId, connections: Option<(u64, u64)>) {
        let connections = connections.map(|(active, idle)| [active, idle]);
        lock(&self.names).set_endpoint_connections(endpoint, connections);
    }

    /// Notes that a set of documents went live as `revision` at `now`.
    pub fn config_applied(&self, revision: &str, now: SystemTime) {
        let mut config = lock(&self.config);
        config.applied += 1;
        config.revision = Some(revision.into());
        config.last_success_unix_nanos = Some(crate::time::unix_nanos(now));
    }

    /// Notes that a set of documents was refused and the old one still serves.
    pub fn config_refused(&self) {
        lock(&self.config).refused += 1;
    }

    /// Notes how many answers are kept and what they take. Meant for the scrape callback.
    pub fn set_cache(&self, entries: u64, bytes: u64) {
        self.cache.entries.store(entries, Ordering::Relaxed);
        self.cache.bytes.store(bytes, Ordering::Relaxed);
    }

    /// Notes the limit engine's figures: cells in use, calls that wait for their slot, and how often a full map
    /// made a key share the overflow cell since the start. Meant for the scrape callback.
    pub fn set_limit(&self, cells: u64, waiters: u64, overflow_total: u64) {
        self.limit.cells.store(cells, Ordering::Relaxed);
        self.limit.waiters.store(waiters, Ordering::Relaxed);
        self.limit.overflow.store(overflow_total, Ordering::Relaxed);
    }

    /// Notes what an audit of the set in force found, by gravity.
    pub fn set_audit(&self, findings: &[(&'static str, u64)], now: SystemTime) {
        let at_unix_nanos = Some(crate::time::unix_nanos(now));
        *lock(&self.audit) = AuditFigures { findings: findings.to_vec(), at_unix_nanos };
    }

    /// Notes the figures of the detectors of unusual behaviour.
    pub fn set_insight(&self, figures: InsightFigures) {
        *lock(&self.insight) = figures;
    }

    /// Notes how hard the process is pressed. Meant for the scrape callback.
    pub fn set_overload(&self, figures: OverloadFigures) {
        *lock(&self.overload) = figures;
    }

    /// Notes the figures of the rollout that is under way; the default where there is none.
    pub fn set_rollout(&self, figures: RolloutFigures) {
        *lock(&self.rollout) = figures;
    }

    /// Exposes what the access log lost. The first log given is the one that is watched.
    pub fn watch_log(&self, counters: Arc<LogCounters>) {
        // A second log in one process happens in tests only, and there the first is as good.
        let _ = self.log.set(counters);
    }
}

/// Locks `mutex`. A panic while it was held left plain numbers and names behind, which are still good to show.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
