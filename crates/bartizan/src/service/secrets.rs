//! Reads what documents only refer to.

use std::fs;

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
