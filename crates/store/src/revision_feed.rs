//! How a gateway follows the active revision: within a second it knows what any process has applied.
//!
//! As with keys, `PRAGMA data_version` is polled on a connection of its own, and the pointer is read only when the
//! database has changed. A store that cannot be asked is told at each attempt; nothing is concluded from it, so the
//! revision in force stays.

use std::{fs, os::unix::fs::MetadataExt, time::Duration};

use sqlx::{Connection, SqliteConnection};

use crate::{error::Error, private_file, revision::RevisionRow, revisions, store::Store};

/// Follows the active revision of a store.
#[derive(Debug)]
pub struct RevisionFeed {
    store: Store,
    link: Option<Link>,
}

/// A connection, which file it is to, and the `data_version` it last saw.
#[derive(Debug)]
struct Link {
    connection: SqliteConnection,
    file: (u64, u64),
    seen: Option<i64>,
}

impl RevisionFeed {
    /// How often the store is asked: four chances within the second in which a revision must be live.
    pub const POLL: Duration = Duration::from_millis(250);

    /// Follows a store from now on; the first look tells the revision that is active then.
    pub fn new(store: &Store) -> Self {
        RevisionFeed { store: store.clone(), link: None }
    }

    /// Looks once. `None` where nothing was written since the last look; otherwise the active revision, which may be
    /// the one that was active before.
    ///
    /// # Errors
    /// What the file system or the database reports; the next look begins with a new connection.
    pub async fn poll(&mut self) -> Result<Option<Option<RevisionRow>>, Error> {
        // Taken out: an error on the way drops it.
        let mut link = self.link().await?;
        let version: i64 = sqlx::query_scalar("PRAGMA data_version")
            .fetch_one(&mut link.connection)
            .await
            .map_err(self.store.fault("tell whether revisions changed"))?;
        if link.seen == Some(version) {
            self.link = Some(link);
            return Ok(None);
        }
        let active = revisions::find_active(&mut link.connection)
            .await
            .map_err(self.store.fault("read the active revision"))?;
        link.seen = Some(version);
        self.link = Some(link);
        Ok(Some(active))
    }

    /// Closes the connection.
    pub async fn close(self) {
        if let Some(link) = self.link {
            // Nothing is left to be written; a connection that will not close ends with the process.
            let _ = link.connection.close().await;
        }
    }

    async fn link(&mut self) -> Result<Link, Error> {
        let path = self.store.data_dir().database();
        let found = fs::metadata(&path).map_err(private_file::fault("examine", &path))?;
        let file = (found.dev(), found.ino());
        match self.link.take() {
            Some(link) if link.file == file => Ok(link),
            _ => Ok(Link { connection: self.store.connect(BUSY_TIMEOUT).await?, file, seen: None }),
        }
    }
}

/// Readers never wait in WAL mode; only recovery after a crash can hold one up.
const BUSY_TIMEOUT: Duration = Duration::from_secs(1);
