//! Secrets and the references by which documents name them.
//!
//! A document never holds a secret's value, only where it lies; the value is read late, kept in memory that is
//! wiped when freed, and has no `Display` and a `Debug` that shows nothing.

use std::{fmt, path::PathBuf};

use zeroize::Zeroizing;

/// Where a secret lies: `env://NAME` or `file:///path` (a relative path counts from the document's folder).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Reference {
    /// An environment variable of the gateway's process.
    Env(String),
    /// A file; one trailing line break is not part of the secret.
    File(PathBuf),
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reference::Env(name) => write!(f, "env://{name}"),
            Reference::File(path) => write!(f, "file://{}", path.display()),
        }
    }
}

/// A secret's bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretValue(Zeroizing<Vec<u8>>);

impl SecretValue {
    /// Takes over the bytes; they are wiped when the value is dropped.
    pub fn new(bytes: Vec<u8>) -> Self {
        SecretValue(Zeroizing::new(bytes))
    }

    /// The bytes, for the one place that needs them.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretValue(…)")
    }
}
