//! What alerts are judged by, beside requests: ends of keys and certificates, and findings of an audit.

use std::sync::{Arc, Mutex, PoisonError};

use bartizan_config::{
    audit::{self, Gravity, State},
    snapshot::Snapshot,
};
use bartizan_manage::alert::{Event, Sources};
use bartizan_model::document::{Document, alert_policy::AlertSignal};
use bartizan_proxy::{listener::CertificateFacts, runtime::Runtime};
use bartizan_store::{DataDir, KeyFilter, Store};
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
        audit::audit(documents, snapshot, &state)
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

/// What the watcher asks.
pub(super) struct House {
    pub(super) data_plane: Arc<Runtime>,
    pub(super) store: DataDir,
    pub(super) findings: Findings,
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
        let before = rules().filter(|rule| rule.signal == AlertSignal::Expiry).map(|rule| rule.before).max();
        if let Some(before) = before {
            events.extend(certificates(&live.snapshot));
            let until = when::now_ms().saturating_add(u64::try_from(before.as_millis()).unwrap_or(u64::MAX));
            match keys(&self.store, until) {
                Ok(ending) => events.extend(ending),
                Err(error) => tracing::warn!(%error, "keys that end cannot be looked for; trying again"),
            }
        }
        events
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

/// The keys that end before a moment and have no successor.
fn keys(dir: &DataDir, until_ms: u64) -> Result<Vec<Event>, bartizan_store::Error> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|_| bartizan_store::Error::Random)?;
    runtime.block_on(async {
        let store = Store::open_existing(dir).await?;
        let rows = store.keys().ending(when::now_ms(), until_ms, KeyFilter::default().limit).await;
        store.close().await;
        Ok(rows?
            .into_iter()
            .map(|row| Event::Ends {
                what: format!("API key {} of {}", row.id, row.consumer),
                at_ms: row.expires_at_ms.unwrap_or(until_ms),
            })
            .collect())
    })
}

/// A set with more than these has one thing to mend before the others: the habit.
const FINDINGS_MAX: usize = 50;
