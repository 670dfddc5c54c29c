//! A running gateway: what it is made of, what it waits for, how it stops.
//!
//! Reading order: [`start`], [`first`] (the set to begin with), [`companions`] (what runs beside the gate), [`change`].

mod change;
mod companions;
mod first;
mod start;

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use bartizan_config::snapshot::AccessLogPlan;
use bartizan_manage::{Management, ManagementState, Tls};
use bartizan_model::scalar::ByteSize;
use bartizan_proxy::gate::{Candidate, Gate, PrepareProblem, ServedAddress};
use bartizan_store::{DataDir, GatewayLock, RevisionNumber};
use bartizan_telemetry::{AccessLog, ProcessEvents};

use self::{companions::Companions, first::Source};
use super::{
    alerts::Findings,
    handover::NamedPlace,
    keys::{Keys, chain},
    management::Admin,
    wish::{Wish, Wishes},
};

/// Where the documents come from: there is one source of truth.
pub(crate) enum Documents {
    /// These files, watched.
    Files(Vec<PathBuf>),
    /// The active revision of the store in this data directory, followed.
    Store(DataDir),
}

/// How the process is to run.
pub(crate) struct Options {
    /// Where the documents come from.
    pub(crate) documents: Documents,
    /// The open data directory.
    pub(crate) data_dir: DataDir,
    /// Proof that no other gateway uses it.
    pub(crate) lock: GatewayLock,
    /// The open store with its keys; none where it is gone, and then every key is refused until it is back.
    pub(crate) keys: Option<Keys>,
    /// Where management listens.
    pub(crate) admin: Admin,
    /// How many cores serve.
    pub(crate) workers: usize,
    /// How long requests may finish when the process stops.
    pub(crate) drain: Duration,
    /// Where the access log goes when no document says so.
    pub(crate) access_log: Option<PathBuf>,
    /// How many requests are kept for `why` and `log`; `None` keeps none.
    pub(crate) records: Option<RecordLimits>,
    /// How often the set in force is audited; `None`: never.
    pub(crate) audit_every: Option<Duration>,
    /// Where successors of keys are left.
    pub(crate) deliver: Vec<NamedPlace>,
    /// Most memory that the process may take; `None`: what the system allows.
    pub(crate) memory: Option<ByteSize>,
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
    admin: Admin,
    tls: Option<Arc<Tls>>,
    /// The link that makes the first user, where there is none.
    setup: Option<String>,
    state: Arc<ManagementState>,
    access_log: Arc<AccessLog>,
    source: Source,
    log_plan: AccessLogPlan,
    drain: Duration,
    data_dir: DataDir,
    companions: Companions,
    happened: ProcessEvents,
    findings: Findings,
    /// The candidate that was prepared last.
    candidate: Option<(RevisionNumber, Candidate)>,
    wishes: Wishes,
    _lock: GatewayLock,
}

impl Service {
    /// Every address that is served.
    pub(crate) fn addresses(&self) -> Vec<ServedAddress> {
        self.gate.addresses()
    }

    /// The first address of a listener.
    pub(crate) fn address_of(&self, listener: &str) -> Option<SocketAddr> {
        self.addresses().into_iter().find(|served| *served.listener == *listener).map(|served| served.address)
    }

    /// Where a browser finds management.
    pub(crate) fn admin_url(&self) -> String {
        self.admin.url(self.management.address())
    }

    /// The link that makes the first user; none where there is one.
    pub(crate) fn setup_link(&self) -> Option<&str> {
        self.setup.as_deref()
    }

    /// The management listener's address.
    pub(crate) fn admin(&self) -> SocketAddr {
        self.management.address()
    }

    /// Serves until a signal ends it: SIGHUP and changed files reload, SIGTERM and SIGINT drain, a second one ends at
    /// once.
    pub(crate) fn serve(mut self) -> Result<(), Failure> {
        if let Source::Files { watch: Err(error), .. } | Source::Store { watch: Err(error), .. } =
            &self.source
        {
            tracing::warn!(%error, "files cannot be watched; reload with SIGHUP");
        }
        loop {
            match self.wishes.next() {
                Wish::FilesChanged => self.reload(false),
                Wish::Revision => self.take_up(),
                Wish::Rollout => self.try_out(),
                Wish::Reload => {
                    self.access_log.reopen();
                    self.renew_admin();
                    self.reload(true);
                }
                Wish::Stop => break,
            }
        }
        self.stop();
        Ok(())
    }

    /// Reads the certificate of management again; one that cannot be used leaves the one before.
    fn renew_admin(&self) {
        let Some(tls) = &self.tls else { return };
        match self.admin.renew(tls) {
            Ok(()) => tracing::info!("the certificate of management was read again"),
            Err(Failure::Documents(text) | Failure::Process(text)) => {
                tracing::error!("the certificate of management stays as it was\n{text}");
            }
        }
    }

    fn stop(self) {
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
        let insight = self.companions.end();
        // The cores have ended, so every record is on its way; one second is enough for a disk that works.
        if self.access_log.stop(Duration::from_secs(1)) == bartizan_telemetry::Flushed::TimedOut {
            tracing::warn!("the access log could not be written in time");
        }
        drop(insight);
        self.management.stop(Duration::from_millis(200));
        tracing::info!("stopped");
    }
}

fn shown(problems: &[PrepareProblem]) -> String {
    problems.iter().map(|problem| format!("{}: {}\n", problem.document, problem.message)).collect()
}
