//! The store against real files, as one process and as two.
//!
//! Each test has a directory of its own below the system's temporary one, removed when it ends.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test's helpers fail by panicking, and only bodies of tests are exempt by themselves"
)]

mod crash;
mod feed;
mod files;
mod key_life;
mod keys;
mod load;
mod notices;
mod revisions;
mod rollouts;
mod tokens;
mod users;

use std::{
    fs::{self, DirBuilder},
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU32, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

use bartizan_identity::{Claim, InvalidKind, KeyTable, KeyText};
use bartizan_store::{DataDir, Error, KeyRow, NewKey, Store};

/// Any moment after which nothing here expires by itself.
const NOW: u64 = 1_800_000_000_000;

/// A directory that disappears with its test.
struct Place(PathBuf);

impl Place {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
        let name =
            format!("bartizan-store-{}-{}-{started}", process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        DirBuilder::new().mode(0o700).create(&path).unwrap();
        Place(path)
    }

    fn dir(&self) -> DataDir {
        DataDir::open(&self.0).unwrap()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    async fn store(&self) -> Store {
        Store::open(&self.dir()).await.unwrap()
    }

    /// Another process would open the store in the same way.
    async fn refused(&self) -> Error {
        Store::open(&self.dir()).await.expect_err("the store must not open")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn new_key(consumer: &str) -> NewKey<'_> {
    NewKey { consumer, label: None, expires_at_ms: None, created_by: None }
}

async fn create(store: &Store, consumer: &str) -> (KeyRow, KeyText) {
    store.keys().create(new_key(consumer), NOW).await.unwrap()
}

/// `Ok` with the consumer, or in which way the key does not hold.
fn judged(store: &Store, table: &KeyTable, text: &str) -> Result<String, InvalidKind> {
    match table.judge(text.as_bytes(), store.pepper(), NOW) {
        Claim::Valid(identity) => Ok(identity.consumer().to_string()),
        Claim::Invalid(invalid) => Err(invalid.kind),
        Claim::Absent => panic!("a presented key is never absent"),
    }
}

/// The whole chain, as the command line prints it.
fn chain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
