//! Start, reload, drain, stop.

use std::{
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use bartizan_config::{
    Set,
    render::{self, Style},
    snapshot::{AccessLogPlan, Snapshot},
};
use bartizan_manage::{Management, ManagementState};
use bartizan_proxy::gate::{Gate, GateOptions, PrepareProblem, ServedAddress};
use bartizan_store::{DataDir, GatewayLock};
use bartizan_telemetry::{AccessLog, Destination, FileOptions, LogOptions, Metrics, RecordOptions, records};

use super::{
    keys::{Following, Keys, chain},
    secrets,
    watch::FileWatch,
    wish::{Wish, Wishes},
};

/// How the process is to run.
pub(crate) struct Options {
    /// Where the documents lie.
    pub(crate) config: Vec<PathBuf>,
    /// The open data directory.
    pub(crate) data_dir: DataDir,
    /// Proof that no other gateway uses it.
    pub(crate) lock: GatewayLock,
    /// The open store with its keys.
    pub(crate) keys: Keys,
    /// The address of the management listener.
    pub(crate) admin: SocketAddr,
    /// How many cores serve.
    pub(crate) workers: usize,
    /// How long requests may finish when the process stops.
    pub(crate) drain: Duration,
    /// Where the access log goes when no document says so.
    pub(crate) access_log: Option<PathBuf>,
    /// How many requests are kept for `why` and `log`; `None` keeps none.
    pub(crate) records: Option<RecordLimits>,
}

/// How many requests are kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RecordLimits {
    /// Most bytes of all of them.
    pub(crate) bytes_max: u64,
    /// Share in percent that is kept of those in which nothing was refused and nothing failed.
    pub(crate) others_percent: u8,
}

impl Default for RecordLimits {
    fn default() -> Self {
        RecordLimits { bytes_max: 256 << 20, others_percent: 100 }
    }
}

/// Why the process could not run.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The documents are not fit to be served; the text shows why.
    Documents(String),
    /// Something outside of the documents.
    Process(String),
}

impl Failure {
    /// An error with its causes.
    pub(crate) fn of(error: &dyn std::error::Error) -> Self {
        Failure::Process(chain(error))
    }
}

/// A running gateway.
pub(crate) struct Service {
    gate: Gate,
    management: Management,
    state: Arc<ManagementState>,
    access_log: Arc<AccessLog>,
    config: Vec<PathBuf>,
    digest: String,
    log_plan: AccessLogPlan,
    drain: Duration,
    following: Option<Following>,
    wishes: Wishes,
    files: notify::Result<FileWatch>,
    _lock: GatewayLock,
}

impl Service {
    /// Starts a gateway. It serves when this returns.
    pub(crate) fn start(options: Options) -> Result<Self, Failure> {
        let Options { config, data_dir, lock, keys, admin, workers, drain, access_log, records } = options;
        // Before anybody can be told that the gateway is ready: a signal is for us then, not for the process's default.
        let wishes = Wishes::listen().map_err(|error| Failure::Process(format!("no signals: {error}")))?;
        // And before the files are read, so that no change between is missed.
        let files = FileWatch::start(&config, wishes.sender());
        let (snapshot, digest) = load(&config)?;
        let metrics = Metrics::new(env!("CARGO_PKG_VERSION"), SystemTime::now());
        let management = TcpListener::bind(admin).map_err(|error| {
            Failure::Process(format!("the management address {admin} cannot be bound: {error}"))
        })?;
        let log_plan = snapshot.access_log.clone();
        let log = start_log(&log_plan, &data_dir, access_log, records)?;
        metrics.watch_log(log.counters());
        let revision = snapshot.revision.id.clone();
        let options = GateOptions {
            cores: workers,
            lock_dir: Some(data_dir.path().to_path_buf()),
            metrics: metrics.clone(),
            access_log: Some(log.clone()),
            pepper: Some(keys.pepper.clone()),
            keys: keys.table.clone(),
            read_secret: Box::new(secrets::read),
            grace: drain,
        };
        let gate = Gate::start(snapshot, options).map_err(|problems| Failure::Process(shown(&problems)))?;
        metrics.config_applied(&revision, SystemTime::now());
        let mut state = ManagementState::new(metrics);
        let runtime = gate.runtime().clone();
        state.before_scrape = Some(Box::new(move |metrics| {
            let cells = runtime.cells();
            metrics.set_limit(cells.cells() as u64, u64::from(cells.waiters()), cells.overflowed());
            runtime.live().report_health(metrics);
        }));
        let state = Arc::new(state);
        let management = Management::serve(management, state.clone()).map_err(|error| {
            Failure::Process(format!("the management listener cannot be started: {error}"))
        })?;
        let following = keys
            .follow(gate.runtime().clone())
            .map_err(|error| Failure::Process(format!("the keys cannot be followed: {error}")))?;
        state.readiness.set_ready();
        Ok(Service {
            gate,
            management,
            state,
            access_log: log,
            config,
            digest,
            log_plan,
            drain,
            following: Some(following),
            wishes,
            files,
            _lock: lock,
        })
    }

    /// Every address that is served.
    pub(crate) fn addresses(&self) -> Vec<ServedAddress> {
        self.gate.addresses()
    }

    /// The first address of a listener.
    pub(crate) fn address_of(&self, listener: &str) -> Option<SocketAddr> {
        self.addresses().into_iter().find(|served| *served.listener == *listener).map(|served| served.address)
    }

    /// The management listener's address.
    pub(crate) fn admin(&self) -> SocketAddr {
        self.management.address()
    }

    /// Serves until a signal ends it: SIGHUP and changed files reload, SIGTERM and SIGINT drain, a second one ends at
    /// once.
    pub(crate) fn serve(mut self) -> Result<(), Failure> {
        if let Err(error) = &self.files {
            tracing::warn!(%error, "files cannot be watched; reload with SIGHUP");
        }
        loop {
            match self.wishes.next() {
                Wish::FilesChanged => self.reload(false),
                Wish::Reload => {
                    self.access_log.reopen();
                    self.reload(true);
                }
                Wish::Stop => break,
            }
        }
        self.stop();
        Ok(())
    }

    /// Reads the files again and puts them into force, whole or not at all.
    fn reload(&mut self, asked: bool) {
        let (snapshot, digest) = match load(&self.config) {
            Ok(loaded) => loaded,
            Err(Failure::Documents(text) | Failure::Process(text)) => {
                self.state.metrics.config_refused();
                tracing::error!("the changed documents are refused; the set in force stays\n{text}");
                return;
            }
        };
        if digest == self.digest && !asked {
            return;
        }
        if snapshot.access_log != self.log_plan {
            tracing::warn!("the access log's destination changes with the next start only");
        }
        let revision = snapshot.revision.id.clone();
        match self.gate.reload(snapshot) {
            Ok(()) => {
                self.digest = digest;
                self.state.metrics.config_applied(&revision, SystemTime::now());
                tracing::info!(%revision, "the changed documents are in force");
            }
            Err(problems) => {
                self.state.metrics.config_refused();
                tracing::error!(
                    "the changed documents are refused; the set in force stays\n{}",
                    shown(&problems)
                );
            }
        }
    }

    fn stop(mut self) {
        self.state.readiness.set_draining();
        tracing::info!(seconds = self.drain.as_secs(), "draining; a second signal ends at once");
        self.gate.drain(self.drain);
        let deadline = Instant::now() + self.drain + Duration::from_secs(1);
        while !self.gate.is_finished() && Instant::now() < deadline {
            if self.wishes.stop_again(Duration::from_millis(20)) {
                break;
            }
        }
        self.gate.stop();
        drop(self.following.take());
        // The cores have ended, so every record is on its way; one second is enough for a disk that works.
        if self.access_log.stop(Duration::from_secs(1)) == bartizan_telemetry::Flushed::TimedOut {
            tracing::warn!("the access log could not be written in time");
        }
        self.management.stop(Duration::from_millis(200));
        tracing::info!("stopped");
    }
}

/// Reads and compiles the set. A set without a listener or a route can be checked, but an empty gate is never served.
fn load(config: &[PathBuf]) -> Result<(Snapshot, String), Failure> {
    let set = Set::open(config).map_err(|error| Failure::Process(chain(&error)))?;
    let digest = set.sources.digest_hex();
    let text = || render::text(&set.compiled.problems, &set.sources, Style::Plain);
    let Some(snapshot) = set.compiled.snapshot else {
        return Err(Failure::Documents(text()));
    };
    if snapshot.listeners.is_empty() || snapshot.routes.is_empty() {
        return Err(Failure::Documents(format!(
            "{}the set has no Listener or no Route: there is nothing to serve, and an empty set never goes live\n",
            text()
        )));
    }
    Ok((snapshot, digest))
}

fn start_log(
    plan: &AccessLogPlan,
    data_dir: &DataDir,
    default: Option<PathBuf>,
    records: Option<RecordLimits>,
) -> Result<Arc<AccessLog>, Failure> {
    let destination = match (plan, default) {
        (AccessLogPlan::File { path, max_bytes, keep }, _) => Destination::File(FileOptions {
            path: data_dir.path().join(path),
            bytes_max: *max_bytes,
            keep: *keep,
        }),
        (AccessLogPlan::Stdout, Some(path)) => {
            Destination::File(FileOptions { path, bytes_max: 100 << 20, keep: 5 })
        }
        (AccessLogPlan::Stdout, None) => Destination::Stdout,
    };
    let folder = data_dir.path().join(records::FOLDER);
    let records = records.map(|limits| RecordOptions {
        bytes_max: limits.bytes_max,
        others_percent: limits.others_percent,
        ..RecordOptions::new(folder)
    });
    AccessLog::start(LogOptions { records, ..LogOptions::new(destination) })
        .map(Arc::new)
        .map_err(|error| Failure::Process(format!("the access log cannot be started: {}", chain(&error))))
}

fn shown(problems: &[PrepareProblem]) -> String {
    problems.iter().map(|problem| format!("{}: {}\n", problem.document, problem.message)).collect()
}
