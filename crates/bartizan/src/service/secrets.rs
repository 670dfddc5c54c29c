//! Reads what documents only refer to.

use std::{collections::BTreeSet, fs, path::Path};

use aws_lc_rs::digest;
use bartizan_config::snapshot::Snapshot;
use bartizan_model::{Reference, SecretValue};

/// A key file or certificate is a few KiB; a megabyte is somebody's mistake.
const BYTES_MAX: u64 = 1 << 20;

/// Reads a secret. The error names the place and never the content.
pub(crate) fn read(reference: &Reference) -> Result<SecretValue, String> {
    let bytes = match reference {
        Reference::Env(name) => match std::env::var_os(name) {
            Some(value) => value.into_encoded_bytes(),
            None => return Err(format!("the environment variable {name} is not set")),
        },
        Reference::File(path) => {
            let shown = path.display();
            let size = fs::metadata(path).map_err(|error| format!("{shown} cannot be read: {error}"))?.len();
            if size > BYTES_MAX {
                return Err(format!("{shown} has {size} bytes, more than {BYTES_MAX}"));
            }
            fs::read(path).map_err(|error| format!("{shown} cannot be read: {error}"))?
        }
    };
    let mut bytes = bytes;
    // Editors and `echo` end files with a line break that nobody means.
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
    }
    if bytes.is_empty() {
        return Err(format!("{reference} is empty"));
    }
    Ok(SecretValue::new(bytes))
}

/// The files that a snapshot is read from beside its documents, each once.
pub(crate) fn files(snapshot: &Snapshot) -> BTreeSet<&Path> {
    snapshot
        .references()
        .filter_map(|reference| match reference {
            Reference::File(path) => Some(path.as_path()),
            Reference::Env(_) => None,
        })
        .collect()
}

/// Tells whether the content of files changed; it says nothing of what it is. A file that cannot be read counts as one
/// with other content, so that the reload which follows tells why.
pub(crate) fn fingerprint(files: &BTreeSet<&Path>) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    for path in files {
        match read(&Reference::File(path.to_path_buf())) {
            Ok(content) => {
                context.update(&(content.expose().len() as u64).to_be_bytes());
                context.update(content.expose());
            }
            Err(_) => context.update(b"unreadable"),
        }
    }
    let mut bytes = [0; 32];
    bytes.copy_from_slice(context.finish().as_ref());
    bytes
}
