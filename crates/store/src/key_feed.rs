//! How a gateway follows the store: within a second it judges by what any process has changed there.
//!
//! Polling `PRAGMA data_version` every 250 ms costs microseconds, needs no channel between processes and misses
//! nothing. Only rows above the last seen change number are read then. When the store fails, the last table stays:
//! callers are judged by what was last known, never refused for a fault of ours; the failure is reported.

use std::{collections::HashSet, fs, os::unix::fs::MetadataExt, sync::Arc, time::Duration};

use bartizan_identity::{KeyChange, KeyTable, KeyTableBuilder, KeyUse};
use sqlx::{Connection, SqliteConnection};

use crate::{error::Error, key_row, private_file, store::Store};

/// Follows the keys of a store on a connection of its own.
#[derive(Debug)]
pub struct KeyFeed {
    store: Store,
    table: Arc<KeyTable>,
    /// The number of the last change that `table` holds.
    change: i64,
    /// Which file that was: after a restore another one lies at the same path, with numbers of its own.
    file: FileId,
    link: Option<Link>,
    saving: Saving,
}

/// How the saving of uses stands.
#[derive(Debug, Default)]
struct Saving {
    /// Looks since it last succeeded.
    looks: u32,
    /// Attempts in a row that met another's write lock.
    busy: u32,
}

/// A connection and what it last saw. Its `data_version` means nothing to another connection.
#[derive(Debug)]
struct Link {
    connection: SqliteConnection,
    file: FileId,
    seen: Option<i64>,
}

/// Device and inode.
type FileId = (u64, u64);

/// What [`KeyFeed::run`] tells.
#[derive(Debug)]
pub enum FeedEvent<'a> {
    /// There is a new table.
    Changed(&'a Arc<KeyTable>),
    /// The store could not be asked; the last table stays. Told at each failed attempt.
    Failing(&'a Error),
    /// The store answers again.
    Recovered,
}

impl KeyFeed {
    /// How often the store is asked: four chances within the second in which a revocation must be live.
    pub const POLL: Duration = Duration::from_millis(250);

    /// Reads all keys.
    ///
    /// # Errors
    /// What the database reports: a gateway does not start without its keys.
    pub async fn open(store: &Store) -> Result<Self, Error> {
        let mut feed = KeyFeed {
            store: store.clone(),
            table: Arc::new(KeyTable::empty()),
            change: NOTHING_READ,
            file: (0, 0),
            link: None,
            saving: Saving::default(),
        };
        feed.poll().await?;
        Ok(feed)
    }

    /// The keys as last read.
    pub const fn table(&self) -> &Arc<KeyTable> {
        &self.table
    }

    /// Looks once; gives the new table where something changed.
    ///
    /// # Errors
    /// What the file system or the database reports. The table stays as it is, and the next look begins with a new
    /// connection.
    pub async fn poll(&mut self) -> Result<Option<Arc<KeyTable>>, Error> {
        let mut link = self.link().await?;
        // Asked before reading, so that what is written meanwhile is found by the next look.
        let version: i64 = sqlx::query_scalar("PRAGMA data_version")
            .fetch_one(&mut link.connection)
            .await
            .map_err(self.store.fault("tell whether keys changed"))?;
        if link.seen == Some(version) {
            self.link = Some(link);
            return Ok(None);
        }
        let read = self.read(&mut link).await?;
        link.seen = Some(version);
        self.file = link.file;
        self.link = Some(link);
        let Some((table, change)) = read else { return Ok(None) };
        self.table = Arc::new(table);
        self.change = change;
        Ok(Some(Arc::clone(&self.table)))
    }

    /// Saves when keys were last used, as far as the store does not know it; returns how many it saved.
    ///
    /// Written through the feed's own connection, which does not count as a change to itself.
    ///
    /// # Errors
    /// What the database reports; what was not saved is saved by the next call.
    pub async fn save_uses(&mut self) -> Result<usize, Error> {
        let uses = self.table.unsaved_uses();
        if uses.is_empty() {
            return Ok(0);
        }
        let mut link = self.link().await?;
        for batch in uses.chunks(USES_PER_WRITE) {
            match save(&mut link.connection, batch).await {
                Ok(()) => self.table.confirm_uses(batch),
                Err(source) => {
                    let fault = self.store.fault("save when keys were used")(source);
                    // A busy database is a sound connection; what it has seen stays true.
                    self.link = fault.is_busy().then_some(link);
                    return Err(fault);
                }
            }
        }
        self.link = Some(link);
        Ok(uses.len())
    }

    /// Follows the store until `stop` resolves, then saves the last uses and ends.
    ///
    /// `tell` is called on this task and must not block. The first table is not told: take it from
    /// [`KeyFeed::table`].
    pub async fn run(mut self, stop: impl Future<Output = ()>, mut tell: impl FnMut(FeedEvent<'_>)) {
        let mut stop = std::pin::pin!(stop);
        let mut told = Arc::clone(&self.table);
        let mut failing = false;
        loop {
            let is_last = tokio::select! {
                biased;
                () = &mut stop => true,
                () = tokio::time::sleep(Self::POLL) => false,
            };
            let outcome = self.look(is_last).await;
            // Also where the look failed afterwards: a revocation that was read must not wait for a save.
            if !Arc::ptr_eq(&told, &self.table) {
                told = Arc::clone(&self.table);
                tell(FeedEvent::Changed(&told));
            }
            let was_failing = std::mem::replace(&mut failing, outcome.is_err());
            match outcome {
                Ok(()) if was_failing => {
                    tracing::info!("the key store answers again");
                    tell(FeedEvent::Recovered);
                }
                Ok(()) => {}
                Err(fault) => {
                    if !was_failing {
                        warn(&fault);
                    }
                    tell(FeedEvent::Failing(&fault));
                }
            }
            if is_last {
                break;
            }
        }
        if let Some(link) = self.link {
            // Nothing is left to be written; a connection that will not close ends with the process.
            let _ = link.connection.close().await;
        }
    }

    /// One look, and a save where one is due. A save that failed stays due, so that the failure is told until it ends.
    async fn look(&mut self, is_last: bool) -> Result<(), Error> {
        self.poll().await?;
        self.saving.looks += 1;
        if !is_last && self.saving.looks < LOOKS_PER_SAVE {
            return Ok(());
        }
        match self.save_uses().await {
            // Another process is writing, which is no failure; uses can wait, changes to keys could not.
            Err(fault) if fault.is_busy() && !is_last && self.saving.busy < BUSY_MAX => {
                self.saving.busy += 1;
                Ok(())
            }
            Err(fault) => Err(fault),
            Ok(_) => {
                self.saving = Saving::default();
                Ok(())
            }
        }
    }

    /// The connection, taken out: an error on the way drops it, and the next look makes a new one.
    async fn link(&mut self) -> Result<Link, Error> {
        let path = self.store.data_dir().database();
        let found = fs::metadata(&path).map_err(private_file::fault("examine", &path))?;
        let file = (found.dev(), found.ino());
        match self.link.take() {
            Some(link) if link.file == file => Ok(link),
            _ => {
                let mut connection = self.store.connect(BUSY_TIMEOUT).await?;
                // Another file may be another store: its keys would all fail under our pepper.
                self.store.examine_pepper(&mut connection).await?;
                Ok(Link { connection, file, seen: None })
            }
        }
    }

    /// What changed since the last table, in one consistent read.
    async fn read(&self, link: &mut Link) -> Result<Option<(KeyTable, i64)>, Error> {
        let fault = self.store.fault("read keys");
        let mut transaction = link.connection.begin().await.map_err(&fault)?;
        let change: i64 = sqlx::query_scalar("SELECT value FROM api_key_change")
            .fetch_one(&mut *transaction)
            .await
            .map_err(&fault)?;
        let anew = self.change == NOTHING_READ || self.file != link.file || change < self.change;
        let table = if anew {
            read_all(&mut transaction, &self.table).await.map(Some)
        } else if change > self.change {
            read_changes(&mut transaction, &self.table, self.change).await.map(Some)
        } else {
            Ok(None)
        };
        let table = table.map_err(&fault)?;
        transaction.commit().await.map_err(&fault)?;
        Ok(table.map(|table| (table, change)))
    }
}

/// Reads all keys, thousands of them as one text: handing each over as a row of its own costs more than all else.
async fn read_all(connection: &mut SqliteConnection, earlier: &KeyTable) -> Result<KeyTable, sqlx::Error> {
    let mut builder = KeyTableBuilder::succeeding(earlier);
    let mut names = Names::default();
    let mut after = String::new();
    loop {
        let (count, last, lines): (i64, Option<String>, Option<String>) = sqlx::query_as(
            "SELECT count(*), max(id), group_concat(
                 id || ' ' || hex(hash) || ' ' || not_before_ms || ' ' || ifnull(expires_at_ms, '') || ' ' ||
                 (revoked_at_ms IS NOT NULL) || ' ' || last_used_s || ' ' || created_at_ms || ' ' ||
                 ifnull(replaced_at_ms, '') || ' ' || consumer, char(10))
             FROM (SELECT * FROM api_key WHERE id > $1 ORDER BY id LIMIT $2)",
        )
        .bind(&after)
        .bind(ROWS_PER_READ)
        .fetch_one(&mut *connection)
        .await?;
        let (Some(last), Some(lines)) = (last, lines) else { return Ok(builder.finish()) };
        let mut read = 0;
        for line in lines.split('\n') {
            builder.push(key_row::record_of_line(line, |name| names.share(name))?);
            read += 1;
        }
        // No name has a line break; a store in which one has is not ours.
        if read != count {
            return Err(sqlx::Error::Decode("a key's row has a line break".into()));
        }
        after = last;
    }
}

async fn read_changes(
    connection: &mut SqliteConnection,
    earlier: &KeyTable,
    seen: i64,
) -> Result<KeyTable, sqlx::Error> {
    let mut names = Names::default();
    let rows = sqlx::query(
        "SELECT id, consumer, hash, not_before_ms, expires_at_ms, revoked_at_ms IS NOT NULL, last_used_s,
                    created_at_ms, replaced_at_ms
         FROM api_key WHERE change > $1",
    )
    .bind(seen)
    .fetch_all(connection)
    .await?;
    let changes: Result<Vec<KeyChange>, sqlx::Error> =
        rows.iter().map(|row| key_row::record(row, |name| names.share(name)).map(KeyChange::Put)).collect();
    Ok(earlier.with(changes?))
}

fn warn(fault: &Error) {
    let cause = std::error::Error::source(fault).map(ToString::to_string).unwrap_or_default();
    tracing::warn!(error = %fault, cause, "the key store fails; keys stay as last read");
}

/// One statement per batch: a list as JSON is read by SQLite itself, and the write lock is held for milliseconds.
async fn save(connection: &mut SqliteConnection, uses: &[KeyUse]) -> Result<(), sqlx::Error> {
    // Ids are letters and digits, so nothing needs quoting.
    let list: Vec<String> = uses.iter().map(|one| format!("[\"{}\",{}]", one.key, one.at_unix_s)).collect();
    sqlx::query(
        "UPDATE api_key SET last_used_s = used.at_s
         FROM (SELECT value ->> 0 AS id, value ->> 1 AS at_s FROM json_each($1)) AS used
         WHERE api_key.id = used.id AND api_key.last_used_s < used.at_s",
    )
    .bind(format!("[{}]", list.join(",")))
    .execute(connection)
    .await?;
    Ok(())
}

/// One shared name per consumer, however many keys it has.
#[derive(Default)]
struct Names(HashSet<Arc<str>>);

impl Names {
    fn share(&mut self, name: &str) -> Arc<str> {
        if let Some(known) = self.0.get(name) {
            return Arc::clone(known);
        }
        let shared: Arc<str> = name.into();
        self.0.insert(Arc::clone(&shared));
        shared
    }
}

/// No change has this number.
const NOTHING_READ: i64 = -1;
/// Rows held at once while all are read: a few megabytes.
const ROWS_PER_READ: i64 = 5000;
const USES_PER_WRITE: usize = 1000;
/// Uses are saved every 5 s: `keys list` lags by that much, and so much is lost by `kill -9`.
const LOOKS_PER_SAVE: u32 = 20;
/// Readers never wait in WAL mode; a save that has to wait longer is put off, so that it delays no revocation.
const BUSY_TIMEOUT: Duration = Duration::from_millis(100);
/// Put off for about a minute, a save has failed.
const BUSY_MAX: u32 = 240;
