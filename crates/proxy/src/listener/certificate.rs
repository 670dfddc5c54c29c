//! Certificates by name: what a leaf states about itself, and which one a client gets.
//!
//! The choice is exact name, then wildcard. A name nobody serves is refused rather than answered with some
//! certificate, and a client that names nothing gets the first certificate only where that one was given no names.

use std::{collections::HashMap, fmt, sync::Arc};

use bartizan_config::snapshot::HostPattern;
use rustls::{
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use x509_parser::{extensions::GeneralName, prelude::X509Certificate};

/// What an operator wants to know of a certificate; nothing in it is secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFacts {
    /// The host names it is used for.
    pub hostnames: Vec<HostPattern>,
    /// Its first second, since the Unix epoch.
    pub not_before: i64,
    /// Its last second, since the Unix epoch.
    pub not_after: i64,
    /// The issuer's name.
    pub issuer: String,
    /// The serial number, in hexadecimal.
    pub serial: String,
}

impl CertificateFacts {
    /// Reads a leaf certificate. Its DNS names come from the subject alternative names alone (RFC 9525 §2: the common
    /// name names nobody).
    pub fn of(der: &[u8]) -> Result<Self, String> {
        let (rest, leaf) = x509_parser::parse_x509_certificate(der)
            .map_err(|error| format!("the first certificate cannot be read: {error}"))?;
        if !rest.is_empty() {
            return Err("the first certificate is followed by other data".to_owned());
        }
        Ok(CertificateFacts {
            hostnames: names(&leaf)?,
            not_before: leaf.validity().not_before.timestamp(),
            not_after: leaf.validity().not_after.timestamp(),
            issuer: leaf.issuer().to_string(),
            serial: leaf.raw_serial_as_string(),
        })
    }

    /// Whether one of its names covers all hosts of `pattern`. A wildcard covers one label only (RFC 9525 §6.3).
    pub fn covers(&self, pattern: &HostPattern) -> bool {
        self.hostnames.iter().any(|own| match (own, pattern) {
            (HostPattern::Suffix(suffix), HostPattern::Exact(name)) => {
                name.split_once('.').is_some_and(|(_, parent)| parent == &**suffix)
            }
            _ => own == pattern,
        })
    }
}

fn names(leaf: &X509Certificate<'_>) -> Result<Vec<HostPattern>, String> {
    let extension = leaf
        .subject_alternative_name()
        .map_err(|error| format!("the certificate's alternative names cannot be read: {error}"))?;
    let mut names = Vec::new();
    for name in extension.iter().flat_map(|extension| &extension.value.general_names) {
        let GeneralName::DNSName(name) = name else { continue };
        let lower = name.to_ascii_lowercase();
        let (wildcard, host) = match lower.strip_prefix("*.") {
            Some(suffix) => (true, suffix),
            None => (false, lower.as_str()),
        };
        // Typed and strict: a NUL, a second wildcard or an address in a DNS name is no name (`security.md` case 49).
        if host.is_empty()
            || !host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'))
        {
            return Err(format!("the certificate states {name:?}, which is not a host name"));
        }
        names.push(match wildcard {
            true => HostPattern::Suffix(host.into()),
            false => HostPattern::Exact(host.into()),
        });
    }
    Ok(names)
}

/// The certificates of a listener.
#[derive(Default)]
pub(crate) struct Certificates {
    exact: HashMap<Arc<str>, Arc<CertifiedKey>>,
    /// One or more labels before the name: what the operator wrote.
    suffix: HashMap<Arc<str>, Arc<CertifiedKey>>,
    /// Exactly one label before the name: what a certificate states.
    label: HashMap<Arc<str>, Arc<CertifiedKey>>,
    default: Option<Arc<CertifiedKey>>,
}

impl Certificates {
    /// Adds a name that the operator gave. A name that is known keeps its certificate; says whether it was new.
    pub(crate) fn add_given(&mut self, pattern: &HostPattern, key: &Arc<CertifiedKey>) -> bool {
        match pattern {
            HostPattern::Exact(name) => add(&mut self.exact, name, key),
            HostPattern::Suffix(name) => add(&mut self.suffix, name, key),
        }
    }

    /// Adds a name that the certificate states.
    pub(crate) fn add_stated(&mut self, pattern: &HostPattern, key: &Arc<CertifiedKey>) {
        match pattern {
            HostPattern::Exact(name) => add(&mut self.exact, name, key),
            HostPattern::Suffix(name) => add(&mut self.label, name, key),
        };
    }

    pub(crate) fn set_default(&mut self, key: &Arc<CertifiedKey>) {
        self.default = Some(Arc::clone(key));
    }

    /// The certificate for the name in a client hello.
    pub(crate) fn find(&self, server_name: Option<&str>) -> Option<&Arc<CertifiedKey>> {
        let Some(name) = server_name else { return self.default.as_ref() };
        // RFC 6066 §3: host names are compared without regard to case and sent without a trailing dot.
        let lower;
        let name = match name.bytes().any(|byte| byte.is_ascii_uppercase()) {
            true => {
                lower = name.to_ascii_lowercase();
                lower.as_str()
            }
            false => name,
        };
        if let Some(found) = self.exact.get(name) {
            return Some(found);
        }
        // The longest suffix wins; one label at most for a name that only a certificate states (RFC 9525 §6.3).
        let (_, parent) = name.split_once('.')?;
        self.label.get(parent).or_else(|| {
            let mut rest = parent;
            loop {
                if let Some(found) = self.suffix.get(rest) {
                    return Some(found);
                }
                rest = rest.split_once('.')?.1;
            }
        })
    }
}

fn add(names: &mut HashMap<Arc<str>, Arc<CertifiedKey>>, name: &Arc<str>, key: &Arc<CertifiedKey>) -> bool {
    match names.contains_key(name) {
        true => false,
        false => names.insert(Arc::clone(name), Arc::clone(key)).is_none(),
    }
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificates")
            .field("exact", &self.exact.keys())
            .field("suffix", &self.suffix.keys())
            .field("default", &self.default.is_some())
            .finish()
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.find(hello.server_name()).cloned()
    }
}
