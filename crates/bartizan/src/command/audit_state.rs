//! What an audit is told beside the documents: since when files are as they are, certificates, and keys if asked for.

use std::{
    error::Error,
    fs,
    time::{SystemTime, UNIX_EPOCH},
};

use bartizan_config::audit::{CertificateState, KeyState, State};
use bartizan_proxy::listener::CertificateFacts;
use bartizan_store::{DataDir, KeyFilter, Store};
use rustls::pki_types::{CertificateDer, pem::PemObject as _};

use super::{print, set::Sound};
use crate::service;

/// Gathers the state without keys, and says what could not be read. What is not here is not judged: in a pipeline there
/// are no keys and often no certificates.
pub(crate) fn gather(sound: &Sound) -> (State, Vec<String>) {
    let mut state = State { now_unix_ms: unix_ms(SystemTime::now()), ..State::default() };
    for (file, source) in sound.set.sources.iter() {
        let changed = source.path().and_then(|path| fs::metadata(path).ok()?.modified().ok());
        if let Some(changed) = changed {
            state.changed_unix_ms.insert(file, unix_ms(changed));
        }
    }
    let mut notes = Vec::new();
    state.certificates = certificates(sound, &mut notes);
    (state, notes)
}

fn unix_ms(time: SystemTime) -> u64 {
    u64::try_from(time.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis()).unwrap_or(u64::MAX)
}

fn certificates(sound: &Sound, notes: &mut Vec<String>) -> Vec<CertificateState> {
    let mut found = Vec::new();
    for listener in &sound.snapshot.listeners {
        for certificate in listener.plan.tls.iter().flat_map(|tls| &tls.certificates) {
            let name = certificate.chain.to_string();
            let read = service::read_secret(&certificate.chain).and_then(|pem| {
                let leaf = CertificateDer::pem_slice_iter(pem.expose()).next();
                let leaf = leaf.and_then(Result::ok).ok_or_else(|| format!("{name} holds no certificate"))?;
                CertificateFacts::of(&leaf)
            });
            match read {
                Ok(facts) => found.push(CertificateState {
                    listener: listener.plan.name.to_string(),
                    name,
                    ends_unix_ms: u64::try_from(facts.not_after).unwrap_or_default().saturating_mul(1000),
                }),
                Err(why) => notes.push(print::clean(&why)),
            }
        }
    }
    found
}

/// The keys of a store that were not revoked, oldest first, at most so many.
pub(crate) fn keys(data_dir: &DataDir, most: usize) -> Result<Vec<KeyState>, Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let store = Store::open(data_dir).await?;
        let mut keys = Vec::new();
        let mut after = None;
        loop {
            let page = store.keys().list(KeyFilter { after, ..KeyFilter::default() }).await?;
            let standing = page.rows.into_iter().filter(|row| row.revoked_at_ms.is_none());
            keys.extend(standing.map(|row| KeyState {
                id: row.id.to_string(),
                consumer: row.consumer,
                created_unix_ms: row.created_at_ms,
                expires_unix_ms: row.expires_at_ms,
                used_unix_ms: row.last_used_at_ms,
            }));
            after = page.next;
            if after.is_none() || keys.len() >= most {
                break;
            }
        }
        store.close().await;
        Ok(keys)
    })
}
