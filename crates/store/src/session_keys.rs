//! The file with the keys that seal sessions: lines of hexadecimal digits, mode 0600, the first of which seals.
//!
//! Made with one key and never changed by us. Whoever changes the key puts a new line in front; see the guide on signing
//! in.

use std::{fmt::Write as _, path::Path};

use zeroize::Zeroizing;

use crate::{error::Error, pepper::random, private_file};

const KEY_BYTES: usize = 32;

/// Makes the file where there is none, and examines the one there is.
pub(crate) fn ensure(path: &Path) -> Result<(), Error> {
    if private_file::open(path)?.is_some() {
        return Ok(());
    }
    let bytes = random::<KEY_BYTES>()?;
    // Room for all of it, so that growing leaves no copy behind.
    let mut text = Zeroizing::new(String::with_capacity(2 * KEY_BYTES + 1));
    for byte in bytes.iter() {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text.push('\n');
    private_file::create_whole(path, text.as_bytes())
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;

    #[test]
    fn a_key_is_made_once_and_is_its_owners_alone() {
        let folder = std::env::temp_dir().join(format!("bartizan-session-keys-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("session-keys");
        ensure(&path).unwrap();
        let first = fs::read(&path).unwrap();
        assert!(bartizan_identity::oidc::SealKeys::parse(&first).is_ok());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        ensure(&path).unwrap();
        assert_eq!(fs::read(&path).unwrap(), first);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(ensure(&path).is_err());
        fs::remove_dir_all(&folder).unwrap();
    }
}
