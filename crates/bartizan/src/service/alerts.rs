//! What alerts are judged by, beside requests: ends of keys and certificates, successors that nobody has, and findings
//! of an audit.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use bartizan_config::{
    audit::{self, Finding, Gravity, State},
    snapshot::Snapshot,
};
use bartizan_manage::alert::{Event, Sources};
use bartizan_model::document::{Document, alert_policy::AlertSignal};
use bartizan_proxy::{listener::CertificateFacts, runtime::Runtime};
use rustls::pki_types::{CertificateDer, pem::PemObject as _};

use super::secrets;
use crate::command::when;

/// The findings of the documents in force, by the revision of their set.
#[derive(Clone, Default)]
pub(super) struct Findings(Arc<Mutex<Vec<String>>>);

impl Findings {
    /// Audits a set; what is grave is told.
    pub(super) fn of(documents: &[Document], snapshot: &Snapshot) -> Vec<String> {
        let state = State { now_unix_ms: when::now_ms(), ..State::default() };
        Findings::grave(&audit::audit(documents, snapshot, &state))
    }

    /// What of findings is grave, as it is told.
    pub(super) fn grave(findings: &[Finding]) -> Vec<String> {
        findings
            .iter()
            .filter(|finding| finding.gravity >= Gravity::High)
            .take(FINDINGS_MAX)
            .map(|finding| {
                let of = if finding.document.is_empty() { "the set" } else { &finding.document };
                format!("{} {of}: {}", finding.rule.id, finding.message)
            })
            .collect()
    }

    /// Puts the findings of the set in force in the place of those before.
    pub(super) fn set(&self, findings: Vec<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = findings;
    }
}

/// What the schedule of keys found when it looked last.
#[derive(Clone, Default)]
pub(super) struct Standing(Arc<Mutex<Vec<Event>>>);

impl Standing {
    /// Puts what was found in the place of what was found before.
    pub(super) fn set(&self, events: Vec<Event>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = events;
    }
}

/// What the watcher asks.
pub(super) struct House {
    pub(super) data_plane: Arc<Runtime>,
    pub(super) findings: Findings,
    pub(super) keys: Standing,
    pub(super) certificates: Certificates,
}

impl Sources for House {
    fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.data_plane.live().snapshot)
    }

    fn standing(&self) -> Vec<Event> {
        let live = self.data_plane.live();
        let rules = || live.snapshot.alerts.iter().flat_map(|policy| &policy.rules);
        let mut events = Vec::new();
        if rules().any(|rule| rule.signal == AlertSignal::AuditFinding) {
            let findings = self.findings.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
            events.extend(findings.into_iter().map(|what| Event::Finding { what }));
        }
        if rules().any(|rule| rule.signal == AlertSignal::Expiry) {
            events.extend(self.certificates.of(&live.snapshot));
        }
        events.extend(self.keys.0.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned());
        events
    }
}

/// The ends of certificates, read again when another set serves and from time to time.
#[derive(Default)]
pub(super) struct Certificates(Mutex<Option<Known>>);

/// Of which set, when they were read, and what was found.
type Known = (Arc<str>, Instant, Vec<Event>);

impl Certificates {
    fn of(&self, snapshot: &Snapshot) -> Vec<Event> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &*known {
            Some((id, at, events)) if *id == snapshot.revision.id && at.elapsed() < READ_AGAIN => {
                events.clone()
            }
            _ => {
                let events = certificates(snapshot);
                *known = Some((Arc::clone(&snapshot.revision.id), Instant::now(), events.clone()));
                events
            }
        }
    }
}

/// The ends of the certificates that listeners show. One that cannot be read was told by the reload.
fn certificates(snapshot: &Snapshot) -> Vec<Event> {
    let plans = snapshot.listeners.iter().filter_map(|listener| {
        listener.plan.tls.as_ref().map(|tls| (&listener.plan.name, &tls.certificates))
    });
    let mut events = Vec::new();
    for (listener, certificates) in plans {
        for (at, certificate) in certificates.iter().enumerate() {
            let facts = secrets::read(&certificate.chain).ok().and_then(|pem| {
                let leaf = CertificateDer::pem_slice_iter(pem.expose()).next()?.ok()?;
                CertificateFacts::of(&leaf).ok()
            });
            if let Some(facts) = facts {
                events.push(Event::Ends {
                    what: format!("certificate {} of Listener/{listener}", at + 1),
                    at_ms: u64::try_from(facts.not_after).unwrap_or_default().saturating_mul(1000),
                });
            }
        }
    }
    events
}

/// A certificate that was renewed is no alert for much longer.
const READ_AGAIN: Duration = Duration::from_secs(60);
/// A set with more than these has one thing to mend before the others: the habit.
const FINDINGS_MAX: usize = 50;
