//! Whose certificate it is: from verified names to a consumer, exactly or by a template.
//!
//! TLS has already decided that the certificate holds; here it only gets an owner. Two owners are none: a certificate
//! whose names belong to two consumers is refused, because which name counts would otherwise be an accident.

use std::{collections::HashMap, fmt, sync::Arc};

use super::{CertificateName, ClientCertificate, Fingerprint, NameType};
use crate::claim::InvalidKind;

/// The names that documents give to consumers.
#[derive(Clone, Debug, Default)]
pub struct CertificateTable {
    owners: HashMap<CertificateName, Owner>,
}

/// Who owns a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The consumer.
    pub consumer: Arc<str>,
    /// Only where this listener verified the certificate; none means any listener.
    pub listener: Option<Arc<str>>,
    /// What the owner may with this certificate beside what it may anyhow.
    pub grants: Arc<CertificateGrants>,
}

/// What a certificate brings beside its consumer's name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CertificateGrants {
    /// Roles.
    pub roles: Vec<Arc<str>>,
    /// Tags, each `name=value`.
    pub tags: Vec<Arc<str>>,
}

impl CertificateGrants {
    /// Whether it brings nothing.
    pub fn is_empty(&self) -> bool {
        self.roles.is_empty() && self.tags.is_empty()
    }
}

impl CertificateTable {
    /// Gives a name to an owner; the owner it had before, if it had one, keeps it and is given back.
    pub fn insert(&mut self, name: CertificateName, owner: Owner) -> Option<&Owner> {
        use std::collections::hash_map::Entry;
        match self.owners.entry(name) {
            Entry::Occupied(taken) => Some(taken.into_mut()),
            Entry::Vacant(free) => {
                free.insert(owner);
                None
            }
        }
    }

    /// Whether the certificate of any owner brings roles.
    pub fn brings_roles(&self) -> bool {
        self.owners.values().any(|owner| !owner.grants.roles.is_empty())
    }

    fn owner_at(&self, name: &CertificateName, listener: &str) -> Option<&Owner> {
        let owner = self.owners.get(name)?;
        owner.listener.as_ref().is_none_or(|only| **only == *listener).then_some(owner)
    }
}

/// How a policy reads certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateRule {
    /// Only names of this type count; none means any that a consumer lists.
    pub from: Option<NameType>,
    /// The consumer's name stands in the name, instead of the name in a consumer's document.
    pub template: Option<NameTemplate>,
}

/// A name with places: `spiffe://example.org/ns/{namespace}/sa/{consumer}`.
///
/// A place stands for one or more characters without `/`, and for a DNS name or e-mail address also without `.` and
/// `@`: a template must not match more labels than it shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameTemplate {
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(Box<str>),
    Place,
    Consumer,
}

impl NameTemplate {
    /// Reads a template; exactly one place is `{consumer}`. The error says what is wrong.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let (name, after) = after.split_once('}').ok_or("a place is opened and not closed")?;
            if before.is_empty() && !parts.is_empty() {
                return Err("two places need something between them");
            }
            if !before.is_empty() {
                parts.push(Part::Text(before.into()));
            }
            let sound = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric());
            parts.push(match name {
                "consumer" => Part::Consumer,
                _ if sound => Part::Place,
                _ => return Err("a place has a name of letters and digits"),
            });
            rest = after;
        }
        if rest.contains('}') {
            return Err("a place is closed and not opened");
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.into()));
        }
        match parts.iter().filter(|part| **part == Part::Consumer).count() {
            1 => Ok(NameTemplate { parts }),
            0 => Err("one place must be `{consumer}`"),
            _ => Err("only one place can be `{consumer}`"),
        }
    }

    /// The consumer that a name states, if the whole name is as the template says.
    fn consumer<'n>(&self, name_type: NameType, name: &'n str) -> Option<&'n str> {
        let ends = |character: char| match name_type {
            NameType::Uri => character == '/',
            _ => matches!(character, '/' | '.' | '@'),
        };
        let (mut rest, mut consumer) = (name, None);
        for part in &self.parts {
            match part {
                Part::Text(text) => rest = rest.strip_prefix(&**text)?,
                Part::Place | Part::Consumer => {
                    // To the next separator, never further: what follows must be the template's own text.
                    let (inside, after) = rest.split_at(rest.find(ends).unwrap_or(rest.len()));
                    if inside.is_empty() {
                        return None;
                    }
                    if *part == Part::Consumer {
                        consumer = Some(inside);
                    }
                    rest = after;
                }
            }
        }
        consumer.filter(|_| rest.is_empty())
    }
}

/// Proof that a connection's verified certificate belongs to a consumer; only [`CertificateRule::judge`] makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct CertificateIdentity {
    pub(crate) consumer: Arc<str>,
    pub(crate) fingerprint: Fingerprint,
    grants: Vec<Arc<CertificateGrants>>,
}

impl CertificateIdentity {
    /// Whose certificate it is. That such a consumer exists, the stage checks.
    pub fn consumer(&self) -> &Arc<str> {
        &self.consumer
    }

    /// What the names by which it is listed bring; nothing by a template.
    pub fn grants(&self) -> impl Iterator<Item = &CertificateGrants> {
        self.grants.iter().map(|grants| &**grants)
    }
}

/// Why a verified certificate identifies nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificateFlaw {
    /// Its names belong to several consumers.
    Ambiguous,
    /// Its time is over; the connection was opened before.
    Expired,
    /// None of its names belongs to a consumer.
    Nobody,
}

impl CertificateFlaw {
    /// The word for records.
    pub const fn as_str(self) -> &'static str {
        match self {
            CertificateFlaw::Ambiguous => "its names belong to several consumers",
            CertificateFlaw::Expired => "its time is over",
            CertificateFlaw::Nobody => "none of its names belongs to a consumer",
        }
    }

    /// As a kind of invalid credential.
    pub const fn kind(self) -> InvalidKind {
        match self {
            CertificateFlaw::Expired => InvalidKind::Expired,
            CertificateFlaw::Ambiguous | CertificateFlaw::Nobody => InvalidKind::Unknown,
        }
    }
}

impl fmt::Display for CertificateFlaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl CertificateRule {
    /// Finds the consumer of a certificate that `listener` verified. `now` is in seconds since the Unix epoch.
    pub fn judge(
        &self,
        certificate: &ClientCertificate,
        table: &CertificateTable,
        listener: &str,
        now: i64,
    ) -> Result<CertificateIdentity, CertificateFlaw> {
        // TLS looked at the time once; a connection may live longer than its certificate.
        if now > certificate.not_after() {
            return Err(CertificateFlaw::Expired);
        }
        let counts = |name: &&CertificateName| self.from.is_none_or(|only| only == name.name_type());
        let mut consumer: Option<&str> = None;
        let mut grants = Vec::new();
        for name in certificate.names().iter().filter(counts) {
            let stated = match &self.template {
                Some(template) => template.consumer(name.name_type(), name.text().unwrap_or_default()),
                None => table.owner_at(name, listener).map(|owner| {
                    if !owner.grants.is_empty() {
                        grants.push(Arc::clone(&owner.grants));
                    }
                    &*owner.consumer
                }),
            };
            match (consumer, stated) {
                (Some(known), Some(other)) if known != other => return Err(CertificateFlaw::Ambiguous),
                (None, Some(_)) => consumer = stated,
                _ => {}
            }
        }
        match consumer {
            Some(consumer) => {
                let fingerprint = *certificate.fingerprint();
                Ok(CertificateIdentity { consumer: consumer.into(), fingerprint, grants })
            }
            None => Err(CertificateFlaw::Nobody),
        }
    }
}
