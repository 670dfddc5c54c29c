//! What is known beside the documents: keys, certificates, and since when something is as it is.

use std::collections::HashMap;

use bartizan_model::problem::{FileId, Span};

use super::{
    Finding, House,
    fix::Fix,
    rule::{CERTIFICATE_EXPIRING, Gravity, KEY_ENDLESS, KEY_OLD, KEY_ORPHANED, KEY_UNUSED, Rule},
};

/// The state of a gateway, as far as an audit looks at it. What is not known is not judged.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// Now, in milliseconds since 1970.
    pub now_unix_ms: u64,
    /// The API keys that are not revoked.
    pub keys: Vec<KeyState>,
    /// The certificates of listeners.
    pub certificates: Vec<CertificateState>,
    /// When each file was changed last, in milliseconds since 1970.
    pub changed_unix_ms: HashMap<FileId, u64>,
}

/// An API key.
#[derive(Clone, Debug)]
pub struct KeyState {
    /// Its public id.
    pub id: String,
    /// The consumer it was made for.
    pub consumer: String,
    /// When it was made.
    pub created_unix_ms: u64,
    /// When it expires.
    pub expires_unix_ms: Option<u64>,
    /// When it was used last.
    pub used_unix_ms: Option<u64>,
}

/// A certificate.
#[derive(Clone, Debug)]
pub struct CertificateState {
    /// The listener that serves it.
    pub listener: String,
    /// What it is for, or where it lies.
    pub name: String,
    /// Its last second.
    pub ends_unix_ms: u64,
}

const DAY_MS: u64 = 86_400_000;
const KEY_DAYS: u64 = 365;
const UNUSED_DAYS: u64 = 90;
const CERTIFICATE_DAYS: u64 = 30;
/// From here on renewing it is the work of today.
const CERTIFICATE_DAYS_GRAVE: u64 = 7;

impl State {
    /// How many days ago a file was changed.
    pub(super) fn days_since_change(&self, file: FileId) -> Option<u64> {
        let changed = self.changed_unix_ms.get(&file)?;
        Some(self.now_unix_ms.saturating_sub(*changed) / DAY_MS)
    }
}

pub(super) fn audit(house: &mut House<'_>) {
    for certificate in &house.state.certificates {
        certificates(house, certificate);
    }
    for key in &house.state.keys {
        keys(house, key);
    }
}

fn certificates(house: &mut House<'_>, certificate: &CertificateState) {
    let CertificateState { listener, name, ends_unix_ms } = certificate;
    let left = ends_unix_ms.saturating_sub(house.state.now_unix_ms) / DAY_MS;
    if left >= CERTIFICATE_DAYS {
        return;
    }
    let message = match *ends_unix_ms <= house.state.now_unix_ms {
        true => format!("the certificate {name} of Listener/{listener} has ended"),
        false => format!("the certificate {name} of Listener/{listener} ends in {left} days"),
    };
    let document =
        house.documents.iter().find(|document| super::label(document) == format!("Listener/{listener}"));
    let at = document.map_or(Span::SET, super::place);
    let gravity = if left < CERTIFICATE_DAYS_GRAVE { Gravity::High } else { CERTIFICATE_EXPIRING.gravity };
    let document = format!("Listener/{listener}");
    house.findings.push(Finding { rule: &CERTIFICATE_EXPIRING, gravity, document, at, message, fix: None });
}

fn keys(house: &mut House<'_>, key: &KeyState) {
    let now = house.state.now_unix_ms;
    let days = |since: u64| now.saturating_sub(since) / DAY_MS;
    let KeyState { id, consumer, .. } = key;
    let mut find = |rule: &'static Rule, message: String, fix: Option<Fix>| {
        let document = format!("Consumer/{consumer}");
        let known = house.documents.iter().find(|known| super::label(known) == document);
        let at = known.map_or(Span::SET, super::place);
        house.findings.push(Finding { rule, gravity: rule.gravity, document, at, message, fix });
    };
    if key.expires_unix_ms.is_some_and(|end| end <= now) {
        return;
    }
    let revoke = || Fix::run(format!("bartizan keys revoke {id}"));
    let replace = || {
        Fix::run(format!(
            "bartizan keys create --consumer {consumer} --expires 90d\nbartizan keys revoke {id}"
        ))
    };
    let age = days(key.created_unix_ms);
    if !house.snapshot.consumers.contains_key(&**consumer) {
        find(&KEY_ORPHANED, format!("key {id} belongs to {consumer}, who is not in the documents"), revoke());
        return;
    }
    if age > KEY_DAYS {
        find(&KEY_OLD, format!("key {id} of {consumer} is {age} days old"), replace());
    }
    if key.expires_unix_ms.is_none() {
        find(&KEY_ENDLESS, format!("key {id} of {consumer} never expires"), replace());
    }
    let idle = days(key.used_unix_ms.unwrap_or(key.created_unix_ms));
    if idle > UNUSED_DAYS {
        find(&KEY_UNUSED, format!("key {id} of {consumer} was not used for {idle} days"), revoke());
    }
}
