//! The key of captures: 32 bytes in a file that only its owner can read.

use std::{
    fmt,
    fs::{File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::Path,
};

use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use zeroize::Zeroizing;

const KEY_BYTES: usize = 32;

/// Whoever has it can read every capture that was taken with it.
pub struct CaptureKey(Zeroizing<[u8; KEY_BYTES]>);

impl CaptureKey {
    /// Makes a new key in a new file of mode 0600.
    ///
    /// # Errors
    ///
    /// There is such a file, or it cannot be written.
    pub fn create(path: &Path) -> io::Result<Self> {
        let mut key = CaptureKey(Zeroizing::new([0; KEY_BYTES]));
        SystemRandom::new().fill(key.0.as_mut_slice()).map_err(|_| super::refused("drawing a key"))?;
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(key.0.as_slice())?;
        file.sync_all()?;
        Ok(key)
    }

    /// Reads a key.
    ///
    /// # Errors
    ///
    /// It cannot be read, others than its owner may read or change it, or it is not 32 bytes.
    pub fn read(path: &Path) -> io::Result<Self> {
        let mut file = File::open(path)?;
        // Of the open file: the path may lead elsewhere by now.
        let meta = file.metadata()?;
        let wrong = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
        if !meta.is_file() {
            return Err(wrong("the key is not a file"));
        }
        if meta.permissions().mode() & 0o077 != 0 {
            return Err(wrong("others than its owner may read or change the key file; give it mode 0600"));
        }
        if meta.len() != KEY_BYTES as u64 {
            return Err(wrong("a key file has 32 bytes"));
        }
        let mut key = CaptureKey(Zeroizing::new([0; KEY_BYTES]));
        file.read_exact(key.0.as_mut_slice())?;
        Ok(key)
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.0.as_slice()
    }
}

impl fmt::Debug for CaptureKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CaptureKey")
    }
}
