//! A client's certificate as far as it says who calls: names, serial, fingerprint, times.
//!
//! Parsed once per connection, after TLS has verified the chain; nothing here verifies. Strict where a name is
//! concerned: a certificate that states something which is no name of its type is unreadable as a whole, because its
//! next reader may cut the name at another place (a NUL, a blank, a second label).

mod judge;
#[cfg(test)]
mod tests;

use std::{fmt, sync::Arc};

use aws_lc_rs::digest;
use x509_parser::{extensions::GeneralName, prelude::X509Certificate};

pub use self::judge::{
    CertificateFlaw, CertificateGrants, CertificateIdentity, CertificateRule, CertificateTable, NameTemplate,
    Owner,
};

/// What a verified client certificate states.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    names: Vec<CertificateName>,
    subject: Box<str>,
    issuer: Box<str>,
    serial: Box<str>,
    fingerprint: Fingerprint,
    not_after: i64,
    der: Box<[u8]>,
}

/// One name that a certificate can be known by. Equal names of different types are different names.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CertificateName {
    /// A DNS name of the subject alternative names, lower-case.
    Dns(Arc<str>),
    /// An e-mail address of the subject alternative names, its domain lower-case.
    Email(Arc<str>),
    /// A URI of the subject alternative names, as it stands.
    Uri(Arc<str>),
    /// The subject's common name, where there is exactly one.
    SubjectCommonName(Arc<str>),
    /// The SHA-256 of the whole certificate.
    Fingerprint(Fingerprint),
}

/// The type of a [`CertificateName`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum NameType {
    /// A DNS name.
    Dns,
    /// An e-mail address.
    Email,
    /// A URI.
    Uri,
    /// The subject's common name.
    SubjectCommonName,
    /// The fingerprint.
    Fingerprint,
}

impl CertificateName {
    /// Its type.
    pub const fn name_type(&self) -> NameType {
        match self {
            CertificateName::Dns(_) => NameType::Dns,
            CertificateName::Email(_) => NameType::Email,
            CertificateName::Uri(_) => NameType::Uri,
            CertificateName::SubjectCommonName(_) => NameType::SubjectCommonName,
            CertificateName::Fingerprint(_) => NameType::Fingerprint,
        }
    }

    /// The name as text; nothing for a fingerprint.
    pub fn text(&self) -> Option<&str> {
        match self {
            CertificateName::Dns(name)
            | CertificateName::Email(name)
            | CertificateName::Uri(name)
            | CertificateName::SubjectCommonName(name) => Some(name),
            CertificateName::Fingerprint(_) => None,
        }
    }

    /// A name as documents write it. The error says what is wrong with it.
    pub fn parse(name_type: NameType, text: &str) -> Result<Self, &'static str> {
        match name_type {
            NameType::Dns => dns(text).map(CertificateName::Dns),
            NameType::Email => email(text).map(CertificateName::Email),
            NameType::Uri => uri(text).map(CertificateName::Uri),
            NameType::SubjectCommonName => common_name(text).map(CertificateName::SubjectCommonName),
            NameType::Fingerprint => Fingerprint::parse(text).map(CertificateName::Fingerprint),
        }
    }
}

impl fmt::Display for CertificateName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CertificateName::Dns(name)
            | CertificateName::Email(name)
            | CertificateName::Uri(name)
            | CertificateName::SubjectCommonName(name) => f.write_str(name),
            CertificateName::Fingerprint(fingerprint) => write!(f, "{fingerprint}"),
        }
    }
}

/// The SHA-256 of a certificate's DER.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// The fingerprint of a certificate.
    pub fn of(der: &[u8]) -> Self {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest::digest(&digest::SHA256, der).as_ref());
        Fingerprint(bytes)
    }

    /// The first twelve bytes, for records.
    pub(crate) fn first(&self) -> [u8; 12] {
        let mut first = [0; 12];
        first.iter_mut().zip(self.0).for_each(|(to, from)| *to = from);
        first
    }

    /// The bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// 64 hexadecimal digits, with or without colons between the bytes, as `openssl x509 -fingerprint` prints them.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        const FORM: &str = "a fingerprint is the SHA-256 of the certificate in 64 hexadecimal digits";
        let mut bytes = [0; 32];
        let mut digits = text.bytes().filter(|byte| *byte != b':');
        let mut digit = || digits.next().and_then(|byte| char::from(byte).to_digit(16));
        for byte in &mut bytes {
            let (Some(high), Some(low)) = (digit(), digit()) else { return Err(FORM) };
            *byte = u8::try_from(high * 16 + low).map_err(|_| FORM)?;
        }
        match digits.next() {
            None => Ok(Fingerprint(bytes)),
            Some(_) => Err(FORM),
        }
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why a certificate cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unreadable(&'static str);

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl ClientCertificate {
    /// Reads a certificate that TLS has verified.
    ///
    /// # Errors
    ///
    /// When it is not one certificate in DER, has a name that is none of its type, or more than [`NAMES_MAX`].
    pub fn read(der: &[u8]) -> Result<Self, Unreadable> {
        let (rest, leaf) =
            x509_parser::parse_x509_certificate(der).map_err(|_| Unreadable("it is no certificate"))?;
        if !rest.is_empty() {
            return Err(Unreadable("other data follows"));
        }
        let fingerprint = Fingerprint::of(der);
        let mut names = names(&leaf)?;
        names.push(CertificateName::Fingerprint(fingerprint));
        Ok(ClientCertificate {
            names,
            subject: leaf.subject().to_string().into(),
            issuer: leaf.issuer().to_string().into(),
            serial: leaf.raw_serial_as_string().into(),
            fingerprint,
            not_after: leaf.validity().not_after.timestamp(),
            der: der.into(),
        })
    }

    /// A certificate with these names and no bytes, for rehearsals of documents; `cargo xtask tidy` holds the one place
    /// that may call it.
    pub fn rehearsed_certificate(names: Vec<CertificateName>, subject: &str, not_after: i64) -> Self {
        let stated = names.iter().find_map(|name| match name {
            CertificateName::Fingerprint(fingerprint) => Some(*fingerprint),
            _ => None,
        });
        let fingerprint = stated.unwrap_or_else(|| Fingerprint::of(subject.as_bytes()));
        let mut names = names;
        names.retain(|name| name.name_type() != NameType::Fingerprint);
        names.push(CertificateName::Fingerprint(fingerprint));
        ClientCertificate {
            names,
            subject: subject.into(),
            issuer: "".into(),
            serial: "".into(),
            fingerprint,
            not_after,
            der: Box::default(),
        }
    }

    /// Every name it can be known by; the fingerprint last.
    pub fn names(&self) -> &[CertificateName] {
        &self.names
    }

    /// The names of one type.
    pub fn names_of(&self, name_type: NameType) -> impl Iterator<Item = &CertificateName> {
        self.names.iter().filter(move |name| name.name_type() == name_type)
    }

    /// The subject, for records.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// The issuer, for records.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The serial number in hexadecimal.
    pub fn serial(&self) -> &str {
        &self.serial
    }

    /// The SHA-256 of the certificate; what RFC 8705 calls `x5t#S256` before base64url.
    pub const fn fingerprint(&self) -> &Fingerprint {
        &self.fingerprint
    }

    /// Its last second, since the Unix epoch.
    pub const fn not_after(&self) -> i64 {
        self.not_after
    }

    /// The certificate itself.
    pub fn der(&self) -> &[u8] {
        &self.der
    }
}

impl fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientCertificate")
            .field("subject", &self.subject)
            .field("serial", &self.serial)
            .field("fingerprint", &self.fingerprint)
            .finish_non_exhaustive()
    }
}

fn names(leaf: &X509Certificate<'_>) -> Result<Vec<CertificateName>, Unreadable> {
    let extension = leaf
        .subject_alternative_name()
        .map_err(|_| Unreadable("its alternative names cannot be read, or there are two lists of them"))?;
    let stated = extension.map_or(&[][..], |extension| extension.value.general_names.as_slice());
    if stated.len() > NAMES_MAX {
        return Err(Unreadable("it states too many names"));
    }
    let mut names = Vec::with_capacity(stated.len() + 2);
    for name in stated {
        let read = match name {
            GeneralName::DNSName(name) => dns(name).map(CertificateName::Dns),
            GeneralName::RFC822Name(name) => email(name).map(CertificateName::Email),
            GeneralName::URI(name) => uri(name).map(CertificateName::Uri),
            GeneralName::Invalid(..) => Err("it states a name that cannot be read"),
            // Addresses, directory names and the like identify nobody here.
            _ => continue,
        };
        names.push(read.map_err(Unreadable)?);
    }
    let mut common = leaf.subject().iter_common_name();
    if let (Some(name), None) = (common.next(), common.next()) {
        // A common name is free text; one that is no name simply names nobody.
        if let Some(name) = name.as_str().ok().and_then(|name| common_name(name).ok()) {
            names.push(CertificateName::SubjectCommonName(name));
        }
    }
    Ok(names)
}

fn dns(name: &str) -> Result<Arc<str>, &'static str> {
    let host = name.strip_prefix("*.").unwrap_or(name);
    let sound = (1..=253).contains(&host.len())
        && host.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        });
    match sound {
        true => Ok(name.to_ascii_lowercase().into()),
        false => Err("a DNS name is no host name"),
    }
}

fn email(name: &str) -> Result<Arc<str>, &'static str> {
    const FORM: &str = "an e-mail address is none";
    let (local, domain) = name.split_once('@').ok_or(FORM)?;
    let plain =
        local.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'@' | b'"' | b'\\' | b','));
    if local.is_empty() || local.len() > 64 || !plain || domain.starts_with("*.") {
        return Err(FORM);
    }
    let domain = dns(domain).map_err(|_| FORM)?;
    // RFC 5280 §7.5: the local part is compared as it is, the domain without regard to case.
    Ok(format!("{local}@{domain}").into())
}

fn uri(name: &str) -> Result<Arc<str>, &'static str> {
    const FORM: &str = "a URI is none";
    let (scheme, rest) = name.split_once(':').ok_or(FORM)?;
    let sound = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'))
        && !rest.is_empty()
        && name.len() <= URI_BYTES_MAX
        && name
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'<' | b'>' | b'\\' | b'`'));
    match sound {
        true => Ok(name.into()),
        false => Err(FORM),
    }
}

fn common_name(name: &str) -> Result<Arc<str>, &'static str> {
    // RFC 5280, appendix A.1: ub-common-name.
    match !name.is_empty() && name.chars().count() <= 64 && !name.chars().any(char::is_control) {
        true => Ok(name.into()),
        false => Err("a common name has 1 to 64 characters and no control characters"),
    }
}

/// Names in one certificate. Workloads have one or two; a list that long is somebody's attempt to make us work.
pub const NAMES_MAX: usize = 64;

/// RFC 9110 §4.1 recommends support for 8,000; SPIFFE allows 2,048, and no identity needs more.
const URI_BYTES_MAX: usize = 2_048;
