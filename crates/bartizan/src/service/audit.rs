//! The audit of a running gateway: what is in force, looked at again and again.
//!
//! On a thread of its own. It reads the documents anew, from where they are in force, so that nothing is kept in memory
//! for it, and looks when another set went into force and each time the period has passed: certificates end and keys age
//! without a change of documents. What was not found the time before is logged and told as an event; all of it is a gauge.

use std::{
    collections::BTreeSet,
    path::PathBuf,
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant, SystemTime},
};

use bartizan_config::{
    Set,
    audit::{Finding, Gravity, Identity, audit},
    source::Sources,
};
use bartizan_proxy::runtime::Runtime;
use bartizan_store::DataDir;
use bartizan_telemetry::{Metrics, ProcessEvent, ProcessEvents};

use super::{alerts::Findings, keys::chain, revisions};
use crate::command::{audit_state, set::Sound};

/// Where the documents in force are read again.
#[derive(Clone)]
pub(super) enum Place {
    /// These files.
    Files(Vec<PathBuf>),
    /// What the data directory kept of the revision in force.
    Kept,
}

/// What the audit needs of the process.
pub(super) struct Auditing {
    pub(super) place: Place,
    pub(super) data_dir: DataDir,
    /// Whose keys are looked at.
    pub(super) store: DataDir,
    pub(super) data_plane: Arc<Runtime>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) events: ProcessEvents,
    /// What alerts are told of.
    pub(super) grave: Findings,
    pub(super) every: Duration,
}

/// The thread. Dropping it ends it.
pub(super) struct Auditor {
    stop: Option<mpsc::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Auditor {
    /// Begins to audit.
    pub(super) fn start(auditing: Auditing) -> std::io::Result<Self> {
        let (stop, stopped) = mpsc::channel::<()>();
        let thread = thread::Builder::new().name("audit".into()).spawn(move || {
            let mut known = BTreeSet::new();
            let mut looked: Option<(Arc<str>, Instant)> = None;
            // A dropped sender means the same as a sent message.
            while let Err(mpsc::RecvTimeoutError::Timeout) = stopped.recv_timeout(PAUSE) {
                let revision = auditing.data_plane.live().snapshot.revision.id.clone();
                let is_known =
                    |(of, at): &(Arc<str>, Instant)| *of == revision && at.elapsed() < auditing.every;
                if looked.as_ref().is_some_and(is_known) {
                    continue;
                }
                match auditing.look(&revision) {
                    Ok(findings) => auditing.tell(&findings, &mut known, &revision),
                    Err(error) => tracing::warn!(%revision, error, "the set in force could not be audited"),
                }
                looked = Some((revision, Instant::now()));
            }
        })?;
        Ok(Auditor { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Auditor {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic there was logged by its thread; there is nothing to add at the end of the process.
            let _ = thread.join();
        }
    }
}

impl Auditing {
    fn look(&self, revision: &str) -> Result<Vec<Finding>, String> {
        let set = match &self.place {
            Place::Files(paths) => Set::open(paths).map_err(|error| chain(&error))?,
            Place::Kept => {
                let kept = revisions::last_good(&self.data_dir).ok_or("no revision was kept")?;
                Set::from_sources(Sources::kept(kept.files.into_iter().map(|file| (file.name, file.text))))
            }
        };
        let sound = Sound::of(set).ok_or("the documents have problems by now; what is in force is older")?;
        if sound.snapshot.revision.id.as_ref() != revision {
            // Another one is on its way into force, or was refused: it is looked at when it serves.
            return Err("the documents are not those in force".to_owned());
        }
        let (mut state, notes) = audit_state::gather(&sound);
        for note in notes {
            tracing::warn!("not audited: {note}");
        }
        match audit_state::keys(&self.store, KEYS_MAX) {
            Ok(keys) => state.keys = keys,
            Err(error) => tracing::warn!(error = %chain(&*error), "keys are not audited"),
        }
        Ok(audit(&sound.set.documents, &sound.snapshot, &state))
    }

    fn tell(&self, findings: &[Finding], known: &mut BTreeSet<Identity>, revision: &Arc<str>) {
        let count = |gravity| findings.iter().filter(|finding| finding.gravity == gravity).count() as u64;
        let counts = Gravity::ALL.map(|gravity| (gravity.as_str(), count(gravity)));
        self.metrics.set_audit(&counts, SystemTime::now());
        self.grave.set(Findings::grave(findings));
        let mut new = 0_usize;
        for finding in findings.iter().filter(|finding| !known.contains(&finding.identity())) {
            new += 1;
            let (rule, gravity, document) = (finding.rule.id, finding.gravity.as_str(), &*finding.document);
            // A page of lines says that there is much; the metric and `bartizan audit` say what.
            if new <= LINES_MAX {
                tracing::warn!(rule, gravity, document, "audit finding: {}", finding.message);
            }
            self.events.tell(&ProcessEvent::AuditFinding {
                rule,
                gravity,
                document: document.into(),
                message: finding.message.as_str().into(),
                revision: revision.clone(),
            });
        }
        if new > LINES_MAX {
            tracing::warn!(findings = new - LINES_MAX, "more audit findings; `bartizan audit` shows them");
        }
        tracing::info!(%revision, findings = findings.len(), new, "the set in force was audited");
        *known = findings.iter().map(Finding::identity).collect();
    }
}

/// How soon a set that went into force is looked at.
const PAUSE: Duration = Duration::from_secs(1);
/// 200,000 keys take 100 MB while they are looked at; the oldest ones come first, and those are the ones that are due.
const KEYS_MAX: usize = 200_000;
/// New findings that are logged line by line.
const LINES_MAX: usize = 20;
