//! Temporary directories without a crate: made with mode 0700, removed when dropped, kept when the test fails.

use std::{
    ffi::OsStr,
    fs::DirBuilder,
    io::ErrorKind,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    process, thread,
};

/// A directory of its own for one test.
#[derive(Debug)]
pub struct TempDir {
    path: PathBuf,
}

impl TempDir {
    /// Makes a directory that nothing else uses below the system's temporary directory.
    pub fn new() -> TempDir {
        let base = std::env::temp_dir();
        // `create` fails on what exists, so two processes (or a leftover with our pid) never share one.
        for number in 0..10_000_u32 {
            let path = base.join(format!("bartizan-test-{}-{number}", process::id()));
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return TempDir { path },
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => panic!("cannot make {}: {error}", path.display()),
            }
        }
        panic!("{} is full of directories of earlier runs", base.display())
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A path inside it.
    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path.join(name)
    }
}

impl Default for TempDir {
    fn default() -> TempDir {
        TempDir::new()
    }
}

impl AsRef<OsStr> for TempDir {
    fn as_ref(&self) -> &OsStr {
        self.path.as_os_str()
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("kept for a look: {}", self.path.display());
            return;
        }
        // Left behind at worst; the next run takes another name.
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_its_own_and_vanishes() {
        let (one, two) = (TempDir::new(), TempDir::new());
        assert_ne!(one.path(), two.path());
        let path = one.path().to_owned();
        std::fs::write(one.join("file"), "x").unwrap();
        drop(one);
        assert!(!path.exists() && two.path().exists());
    }
}
