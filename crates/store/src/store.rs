//! Opening the store: database, schema and pepper, in this order and one process at a time.
//!
//! SQLite in WAL mode: readers and the one writer never block each other, and a process killed at any moment leaves a
//! whole database. `synchronous=FULL`: a key that was shown, or a revocation that was confirmed, outlives a power cut.

use std::{path::Path, sync::Arc, time::Duration};

use bartizan_identity::{KeyHash, Pepper};
use sqlx::{
    ConnectOptions, Connection, SqliteConnection, SqlitePool,
    sqlite::{SqliteConnectOptions, SqlitePoolOptions, SqliteSynchronous},
};

use crate::{
    alerts::Alerts,
    audit::Audit,
    claims::Claims,
    data_dir::DataDir,
    error::Error,
    keys::Keys,
    outbox::Outbox,
    pepper, private_file,
    revisions::Revisions,
    rollouts::Rollouts,
    schema,
    sessions::Sessions,
    tokens::Tokens,
    usage::Usage,
    users::Users,
    vault::{self, Vault},
};

/// An open store; a cheap handle, to be cloned.
#[derive(Clone, Debug)]
pub struct Store(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    dir: DataDir,
    options: SqliteConnectOptions,
    writer: SqlitePool,
    pepper: Arc<Pepper>,
    vault: Vault,
}

impl Store {
    /// Opens the store of a data directory; the first time, makes the database and the pepper (both mode 0600).
    ///
    /// Works beside a running gateway and beside other commands.
    ///
    /// # Errors
    /// Names the file and the next step; in particular where a file is open to others, where the pepper is missing,
    /// damaged or another one, and where a newer version has written the schema. Nothing is repaired silently.
    pub async fn open(dir: &DataDir) -> Result<Self, Error> {
        Self::open_or(dir, true).await
    }

    /// As [`Store::open`], but a database that is not there is not made: a gateway whose store has vanished must not
    /// take a new, empty one for it.
    ///
    /// # Errors
    /// As [`Store::open`], and [`Error::StoreGone`].
    pub async fn open_existing(dir: &DataDir) -> Result<Self, Error> {
        Self::open_or(dir, false).await
    }

    async fn open_or(dir: &DataDir, make: bool) -> Result<Self, Error> {
        let path = dir.database();
        if !make && !path.exists() {
            return Err(Error::StoreGone { path });
        }
        let options = SqliteConnectOptions::new()
            .filename(&path)
            .create_if_missing(false)
            .busy_timeout(BUSY_TIMEOUT)
            .foreign_keys(true)
            .synchronous(SqliteSynchronous::Full)
            .disable_statement_logging();

        let setup = dir.lock_for_setup().await?;
        // Made by us, because SQLite would make it readable; its log and index files take over the mode.
        drop(private_file::open_or_create(&path)?);
        let mut connection = options.connect().await.map_err(fault(&path, "open"))?;
        use_write_ahead_log(&mut connection, &path).await?;
        schema::migrate(&mut connection, &path).await?;
        let vault = vault::settle(&mut connection, dir).await?;
        let pepper = settle_pepper(&mut connection, dir, &vault).await?;
        connection.close().await.map_err(fault(&path, "close"))?;
        drop(setup);

        // One writer: SQLite has one anyway, and waiting here is fairer than its busy handler. Connected when first
        // needed and closed when idle, because a gateway that only follows needs none.
        let writer = SqlitePoolOptions::new()
            .max_connections(1)
            .min_connections(0)
            .idle_timeout(Duration::from_secs(30))
            .acquire_timeout(BUSY_TIMEOUT * 2)
            .connect_lazy_with(options.clone());
        Ok(Store(Arc::new(Inner { dir: dir.clone(), options, writer, pepper: Arc::new(pepper), vault })))
    }

    /// The keys: make, list, show, revoke.
    pub const fn keys(&self) -> Keys<'_> {
        Keys::of(self)
    }

    /// The revisions: put, find, list, roll back.
    pub const fn revisions(&self) -> Revisions<'_> {
        Revisions::of(self)
    }

    /// The tokens of the management API: make, recognise, list, revoke.
    pub const fn tokens(&self) -> Tokens<'_> {
        Tokens::of(self)
    }

    /// The rollouts: begin, move on, what was seen.
    pub const fn rollouts(&self) -> Rollouts<'_> {
        Rollouts::of(self)
    }

    /// The people who manage the gateway.
    pub const fn users(&self) -> Users<'_> {
        Users::of(self)
    }

    /// Who is signed in.
    pub const fn sessions(&self) -> Sessions<'_> {
        Sessions::of(self)
    }

    /// What was done through management.
    pub const fn audit(&self) -> Audit<'_> {
        Audit::of(self)
    }

    /// What fires, and what is silenced.
    pub const fn alerts(&self) -> Alerts<'_> {
        Alerts::of(self)
    }

    /// What is on its way to be told.
    pub const fn outbox(&self) -> Outbox<'_> {
        Outbox::of(self)
    }

    /// The one-time links by which owners take over the successors of their keys.
    pub const fn claims(&self) -> Claims<'_> {
        Claims::of(self)
    }

    /// Seals what must not lie open in the database.
    pub fn vault(&self) -> &Vault {
        &self.0.vault
    }

    /// What quotas have counted and models were used for.
    pub const fn usage(&self) -> Usage<'_> {
        Usage::of(self)
    }

    /// Notes where management is to be found, for commands that print links to it.
    ///
    /// # Errors
    /// What the database reports.
    pub async fn note_management_url(&self, url: &str) -> Result<(), Error> {
        sqlx::query(
            "INSERT INTO setting (name, value) VALUES ('management_url', $1)
             ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        )
        .bind(url.as_bytes())
        .execute(self.writer())
        .await
        .map(|_| ())
        .map_err(self.fault("note where management is"))
    }

    /// Where management was when a gateway started last.
    ///
    /// # Errors
    /// What the database reports.
    pub async fn management_url(&self) -> Result<Option<String>, Error> {
        let found: Result<Option<Vec<u8>>, sqlx::Error> =
            sqlx::query_scalar("SELECT value FROM setting WHERE name = 'management_url'")
                .fetch_optional(self.writer())
                .await;
        let found = found.map_err(self.fault("read where management is"))?;
        Ok(found.and_then(|bytes| String::from_utf8(bytes).ok()))
    }

    /// The pepper that presented keys are judged with.
    pub fn pepper(&self) -> &Arc<Pepper> {
        &self.0.pepper
    }

    /// The data directory.
    pub fn data_dir(&self) -> &DataDir {
        &self.0.dir
    }

    /// Finishes what is under way and closes all connections of this handle and its clones.
    pub async fn close(&self) {
        self.0.writer.close().await;
    }

    pub(crate) fn writer(&self) -> &SqlitePool {
        &self.0.writer
    }

    /// A connection of its own, outside the pool, that waits at most `busy` for another's write.
    pub(crate) async fn connect(&self, busy: Duration) -> Result<SqliteConnection, Error> {
        self.0.options.clone().busy_timeout(busy).connect().await.map_err(self.fault("open"))
    }

    /// Wraps a database error with what was to be done.
    pub(crate) fn fault(&self, doing: &'static str) -> impl Fn(sqlx::Error) -> Error {
        let path = self.0.dir.database();
        move |source| Error::Database { path: path.clone(), doing, source }
    }

    /// Whether the database at the other end was written under our pepper.
    pub(crate) async fn examine_pepper(&self, connection: &mut SqliteConnection) -> Result<(), Error> {
        let stored =
            stored_fingerprint(connection).await.map_err(self.fault("read its pepper's fingerprint"))?;
        match stored {
            Some(stored) if stored.matches(&self.0.pepper.fingerprint()) => Ok(()),
            _ => Err(pepper_foreign(&self.0.dir)),
        }
    }
}

/// Changing into WAL needs the database for oneself, which `busy_timeout` does not wait for: so only when it is new.
async fn use_write_ahead_log(connection: &mut SqliteConnection, path: &Path) -> Result<(), Error> {
    let fault = || fault(path, "set its journal mode");
    let mode: String =
        sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&mut *connection).await.map_err(fault())?;
    if mode == "wal" {
        return Ok(());
    }
    let mode: String =
        sqlx::query_scalar("PRAGMA journal_mode = wal").fetch_one(connection).await.map_err(fault())?;
    if mode == "wal" { Ok(()) } else { Err(Error::WriteAheadLog { path: path.to_owned() }) }
}

/// Reads or makes the pepper and holds it against the database's fingerprint. A new pepper beside old keys would
/// refuse every caller with a misleading 401, so there is none.
async fn settle_pepper(
    connection: &mut SqliteConnection,
    dir: &DataDir,
    vault: &Vault,
) -> Result<Pepper, Error> {
    let database = dir.database();
    let fault = || fault(&database, "settle its pepper's fingerprint");
    let stored = stored_fingerprint(connection).await.map_err(fault())?;
    let keys: i64 = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM api_key)")
        .fetch_one(&mut *connection)
        .await
        .map_err(fault())?;
    let is_sealed = dir.given_root().is_some();
    let pepper = match (pepper::read(&dir.pepper(), vault, is_sealed)?, stored) {
        (Some(pepper), Some(stored)) if stored.matches(&pepper.fingerprint()) => return Ok(pepper),
        (Some(_), _) if keys != 0 => return Err(pepper_foreign(dir)),
        (None, _) if keys != 0 => {
            return Err(Error::PepperMissing { path: dir.pepper(), store: database });
        }
        (Some(pepper), _) => pepper,
        (None, _) => pepper::create(&dir.pepper(), vault, is_sealed)?,
    };
    sqlx::query(
        "INSERT INTO setting (name, value) VALUES ('pepper_fingerprint', $1)
         ON CONFLICT (name) DO UPDATE SET value = excluded.value",
    )
    .bind(pepper.fingerprint().bytes().as_slice())
    .execute(connection)
    .await
    .map_err(fault())?;
    Ok(pepper)
}

async fn stored_fingerprint(connection: &mut SqliteConnection) -> Result<Option<KeyHash>, sqlx::Error> {
    let stored: Option<Vec<u8>> =
        sqlx::query_scalar("SELECT value FROM setting WHERE name = 'pepper_fingerprint'")
            .fetch_optional(connection)
            .await?;
    // A value of another length matches no pepper, as it should.
    Ok(stored.map(|bytes| KeyHash::new(bytes.try_into().unwrap_or([0; 32]))))
}

fn pepper_foreign(dir: &DataDir) -> Error {
    Error::PepperForeign { path: dir.pepper(), store: dir.database() }
}

pub(crate) fn fault(path: &Path, doing: &'static str) -> impl Fn(sqlx::Error) -> Error {
    move |source| Error::Database { path: path.to_owned(), doing, source }
}

/// Longer than any write of ours takes, short enough that a stuck neighbour is named and not waited for.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
