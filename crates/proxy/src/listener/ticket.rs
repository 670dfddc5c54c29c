//! The keys of TLS session tickets: one set per listener and trust, for all cores, surviving reloads.
//!
//! A ticket stands for a finished handshake, so it must never open a door that its handshake did not: two listeners,
//! or one listener before and after its trust changed, share no key (`security.md` case 47). The keys rotate every six
//! hours and never leave memory.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use bartizan_config::snapshot::TlsVersion;
use rustls::server::ProducesTickets;

use super::client::ClientTrust;

/// What a TLS handshake on a listener proves. Connections made under another trust finish and close.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TlsTrust {
    /// The lowest version that was good enough.
    pub minimum: TlsVersion,
    /// What certificates of clients were held against; `None` where none is asked for.
    pub clients: Option<ClientTrust>,
}

type Keys = BTreeMap<(Arc<str>, TlsTrust), Arc<dyn ProducesTickets>>;

/// The process's ticket keys.
#[derive(Default)]
pub struct TicketKeys(Mutex<Keys>);

impl fmt::Debug for TicketKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TicketKeys(…)")
    }
}

impl TicketKeys {
    /// The keys of a listener under a trust; made at the first call. Fails when the system gives no randomness.
    pub fn get(
        &self,
        listener: &Arc<str>,
        trust: TlsTrust,
    ) -> Result<Arc<dyn ProducesTickets>, rustls::Error> {
        let mut keys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = keys.get(&(Arc::clone(listener), trust)) {
            return Ok(Arc::clone(known));
        }
        let made = rustls::crypto::aws_lc_rs::Ticketer::new()?;
        keys.insert((Arc::clone(listener), trust), Arc::clone(&made));
        Ok(made)
    }

    /// Forgets the keys of listeners that are gone; call after a reload.
    pub fn retain(&self, is_alive: impl Fn(&str) -> bool) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|(name, _), _| is_alive(name));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_kept_per_listener_and_trust_and_never_shared() {
        let keys = TicketKeys::default();
        let (a, b) = (Arc::from("a"), Arc::from("b"));
        let trust = |minimum| TlsTrust { minimum, clients: None };
        let (old, new) = (trust(TlsVersion::Tls12), trust(TlsVersion::Tls13));
        let ticket = keys.get(&a, old).unwrap().encrypt(b"session").unwrap();
        assert_eq!(keys.get(&a, old).unwrap().decrypt(&ticket).as_deref(), Some(&b"session"[..]));
        assert_eq!(keys.get(&b, old).unwrap().decrypt(&ticket), None);
        assert_eq!(keys.get(&a, new).unwrap().decrypt(&ticket), None);
        keys.retain(|name| name == "b");
        assert_eq!(keys.get(&a, old).unwrap().decrypt(&ticket), None);
    }
}
