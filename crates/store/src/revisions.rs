//! The commands on revisions: put, find, list, roll back, tell what became of one.
//!
//! A revision is written whole in one transaction together with the active pointer, which is swapped only where it
//! still is what the writer saw (`expected`). Texts are kept once per content, and each one's SHA-256 is held against
//! it when it is read. The digest of the whole set is the caller's: it is computed where sets are read, and held
//! against again there.

use aws_lc_rs::digest::{SHA256, digest};
use sqlx::{Row, Sqlite, SqliteConnection, Transaction};

use crate::{
    error::Error,
    key_row::stored_millis,
    revision::{
        Revision, RevisionFile, RevisionNumber, RevisionRef, RevisionRow, SetDigest, Went, count,
        revision_columns,
    },
    store::Store,
    text::sound,
};

/// A revision to be made.
#[derive(Clone, Copy, Debug)]
pub struct NewRevision<'a> {
    /// Its texts in the order in which they are read.
    pub files: &'a [RevisionFile],
    /// The digest over their names and texts.
    pub digest: SetDigest,
    /// How many documents are in them.
    pub documents: u64,
    /// Who makes it.
    pub author: &'a str,
    /// Why.
    pub reason: &'a str,
}

/// A revision that repeats an older one.
#[derive(Clone, Copy, Debug)]
pub struct Rollback<'a> {
    /// The older one.
    pub to: &'a RevisionRef,
    /// Who wants it.
    pub author: &'a str,
    /// Why.
    pub reason: &'a str,
}

/// What became of a wish for a new revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Put {
    /// There is a new one, and it is active.
    Made(RevisionRow),
    /// The active one has the same documents already.
    Same(RevisionRow),
}

impl Put {
    /// The active revision after it.
    pub const fn row(&self) -> &RevisionRow {
        match self {
            Put::Made(row) | Put::Same(row) => row,
        }
    }
}

/// A part of the history, newest first.
#[derive(Clone, Debug)]
pub struct RevisionPage {
    /// The revisions.
    pub rows: Vec<RevisionRow>,
    /// The last one's number where there are older ones.
    pub next: Option<RevisionNumber>,
}

/// The revisions of a store.
#[derive(Clone, Copy, Debug)]
pub struct Revisions<'a>(&'a Store);

impl<'a> Revisions<'a> {
    pub(crate) const fn of(store: &'a Store) -> Self {
        Revisions(store)
    }

    /// The revision that gateways are to serve.
    ///
    /// # Errors
    /// What the database reports.
    pub async fn active(self) -> Result<Option<RevisionRow>, Error> {
        let fault = self.0.fault("read the active revision");
        let mut connection = self.0.writer().acquire().await.map_err(&fault)?;
        find_active(&mut connection).await.map_err(fault)
    }

    /// Everything about a revision but its texts.
    ///
    /// # Errors
    /// [`Error::RevisionUnknown`], or what the database reports.
    pub async fn find(self, which: &RevisionRef) -> Result<RevisionRow, Error> {
        let fault = self.0.fault("find a revision");
        let mut connection = self.0.writer().acquire().await.map_err(&fault)?;
        find(&mut connection, which).await.map_err(fault)?.ok_or_else(|| unknown(which))
    }

    /// A revision with its texts.
    ///
    /// # Errors
    /// [`Error::RevisionUnknown`], [`Error::RevisionDamaged`], or what the database reports.
    pub async fn get(self, which: &RevisionRef) -> Result<Revision, Error> {
        let fault = self.0.fault("read a revision");
        // One transaction: the active revision is read whole, or the one before it.
        let mut transaction = self.0.writer().begin().await.map_err(&fault)?;
        let row = find(&mut transaction, which).await.map_err(&fault)?.ok_or_else(|| unknown(which))?;
        let files = texts(&mut transaction, row.number).await.map_err(&fault)?;
        transaction.commit().await.map_err(&fault)?;
        match files {
            Some(files) if files.len() as u64 == row.files => Ok(Revision { row, files }),
            _ => Err(Error::RevisionDamaged { number: row.number }),
        }
    }

    /// One page of the history, newest first, of the revisions below `before`.
    ///
    /// # Errors
    /// What the database reports.
    pub async fn history(self, before: Option<RevisionNumber>, limit: u32) -> Result<RevisionPage, Error> {
        let limit = if limit == 0 { PAGE_MAX } else { limit.min(PAGE_MAX) };
        let found = sqlx::query(concat!(
            "SELECT ",
            revision_columns!(),
            " WHERE revision.number < $1 ORDER BY revision.number DESC LIMIT $2"
        ))
        .bind(before.map_or(i64::MAX, stored_millis))
        .bind(limit + 1)
        .fetch_all(self.0.writer())
        .await;
        let rows: Result<Vec<RevisionRow>, sqlx::Error> =
            found.and_then(|rows| rows.iter().map(RevisionRow::read).collect());
        let mut rows = rows.map_err(self.0.fault("list revisions"))?;
        // One more than asked for tells whether there is more.
        let more = rows.len() > limit as usize;
        rows.truncate(limit as usize);
        let next = rows.last().filter(|_| more).map(|row| row.number);
        Ok(RevisionPage { rows, next })
    }

    /// Makes a revision and makes it the active one, if the active one still is `expected` (`None`: there is none).
    ///
    /// # Errors
    /// [`Error::RevisionConflict`] where another one is active, [`Error::RevisionTooLarge`], [`Error::BadText`], or
    /// what the database reports; then nothing has changed.
    pub async fn put(
        self,
        new: NewRevision<'_>,
        expected: Option<RevisionNumber>,
        now_unix_ms: u64,
    ) -> Result<Put, Error> {
        let bytes = examine(&new)?;
        let fault = self.0.fault("store a revision");
        let mut transaction = self.begin().await?;
        let active = find_active(&mut transaction).await.map_err(&fault)?;
        matches_expected(active.as_ref(), expected)?;
        if let Some(active) = active.as_ref().filter(|active| active.digest == new.digest) {
            return Ok(Put::Same(active.clone()));
        }
        let number = write(&mut transaction, &new, bytes, active, now_unix_ms).await.map_err(&fault)?;
        self.activate(transaction, number).await.map(Put::Made)
    }

    /// Makes a revision that is not the active one: a candidate, to be tried by a rollout.
    ///
    /// # Errors
    /// [`Error::RevisionTooLarge`], [`Error::BadText`], or what the database reports; then nothing has changed.
    pub async fn propose(self, new: NewRevision<'_>, now_unix_ms: u64) -> Result<RevisionRow, Error> {
        let bytes = examine(&new)?;
        let fault = self.0.fault("store a candidate");
        let mut transaction = self.begin().await?;
        let active = find_active(&mut transaction).await.map_err(&fault)?;
        let number = write(&mut transaction, &new, bytes, active, now_unix_ms).await.map_err(&fault)?;
        let made = find(&mut transaction, &RevisionRef::Number(number)).await.map_err(&fault)?;
        transaction.commit().await.map_err(&fault)?;
        made.ok_or(Error::RevisionDamaged { number })
    }

    /// Makes a revision that repeats an older one's documents and makes it the active one, if the active one still is
    /// `expected`.
    ///
    /// # Errors
    /// As [`Revisions::put`], and [`Error::RevisionUnknown`].
    pub async fn roll_back(
        self,
        rollback: Rollback<'_>,
        expected: Option<RevisionNumber>,
        now_unix_ms: u64,
    ) -> Result<Put, Error> {
        sound("author", rollback.author, AUTHOR_MAX)?;
        sound("reason", rollback.reason, REASON_MAX)?;
        let fault = self.0.fault("store a revision");
        let mut transaction = self.begin().await?;
        let active = find_active(&mut transaction).await.map_err(&fault)?;
        matches_expected(active.as_ref(), expected)?;
        let older =
            find(&mut transaction, rollback.to).await.map_err(&fault)?.ok_or_else(|| unknown(rollback.to))?;
        if let Some(active) = active.as_ref().filter(|active| active.digest == older.digest) {
            return Ok(Put::Same(active.clone()));
        }
        let row = Facts {
            digest: older.digest,
            parent: active.map(|active| active.number),
            restores: Some(older.number),
            author: rollback.author,
            reason: rollback.reason,
            files: older.files,
            documents: older.documents,
            bytes: older.bytes,
        };
        let number = insert(&mut transaction, &row, now_unix_ms).await.map_err(&fault)?;
        sqlx::query(
            "INSERT INTO revision_file (revision, position, name, text)
             SELECT $1, position, name, text FROM revision_file WHERE revision = $2",
        )
        .bind(stored_millis(number))
        .bind(stored_millis(older.number))
        .execute(&mut *transaction)
        .await
        .map_err(&fault)?;
        self.activate(transaction, number).await.map(Put::Made)
    }

    /// Writes down what became of a revision when a gateway took it up.
    ///
    /// # Errors
    /// What the database reports.
    pub async fn tell(
        self,
        number: RevisionNumber,
        went: Went,
        detail: &str,
        now_unix_ms: u64,
    ) -> Result<(), Error> {
        let detail: String = detail.chars().take(DETAIL_MAX).collect();
        sqlx::query(
            "INSERT INTO revision_outcome (revision, outcome, detail, at_ms) VALUES ($1, $2, $3, $4)
             ON CONFLICT (revision) DO UPDATE
             SET outcome = excluded.outcome, detail = excluded.detail, at_ms = excluded.at_ms",
        )
        .bind(stored_millis(number))
        .bind(went.as_str())
        .bind(detail)
        .bind(stored_millis(now_unix_ms))
        .execute(self.0.writer())
        .await
        .map_err(self.0.fault("tell what became of a revision"))?;
        Ok(())
    }

    /// Swaps the pointer and ends the transaction. The caller has seen in it that nobody else did.
    async fn activate(
        self,
        mut transaction: Transaction<'static, Sqlite>,
        number: RevisionNumber,
    ) -> Result<RevisionRow, Error> {
        let fault = self.0.fault("make a revision the active one");
        sqlx::query("UPDATE revision_active SET number = $1")
            .bind(stored_millis(number))
            .execute(&mut *transaction)
            .await
            .map_err(&fault)?;
        let made = find_active(&mut transaction).await.map_err(&fault)?;
        transaction.commit().await.map_err(&fault)?;
        made.ok_or(Error::RevisionDamaged { number })
    }

    /// Takes SQLite's write lock at once, so that what is compared cannot change before it is swapped.
    async fn begin(self) -> Result<Transaction<'static, Sqlite>, Error> {
        self.0.writer().begin_with("BEGIN IMMEDIATE").await.map_err(self.0.fault("begin a change"))
    }
}

/// What is written of a revision besides its texts.
struct Facts<'a> {
    digest: SetDigest,
    parent: Option<RevisionNumber>,
    restores: Option<RevisionNumber>,
    author: &'a str,
    reason: &'a str,
    files: u64,
    documents: u64,
    bytes: u64,
}

/// Writes a new revision with its texts; makes nothing active.
async fn write(
    connection: &mut SqliteConnection,
    new: &NewRevision<'_>,
    bytes: u64,
    active: Option<RevisionRow>,
    now_unix_ms: u64,
) -> Result<RevisionNumber, sqlx::Error> {
    let row = Facts {
        digest: new.digest,
        parent: active.map(|active| active.number),
        restores: None,
        author: new.author,
        reason: new.reason,
        files: new.files.len() as u64,
        documents: new.documents,
        bytes,
    };
    let number = insert(connection, &row, now_unix_ms).await?;
    for (position, file) in new.files.iter().enumerate() {
        keep(connection, number, position, file).await?;
    }
    Ok(number)
}

async fn insert(
    connection: &mut SqliteConnection,
    row: &Facts<'_>,
    now_unix_ms: u64,
) -> Result<RevisionNumber, sqlx::Error> {
    sqlx::query_scalar(
        "INSERT INTO revision (number, digest, parent, restores, author, reason, created_at_ms, files, documents, bytes)
         VALUES ((SELECT COALESCE(MAX(number), 0) + 1 FROM revision), $1, $2, $3, $4, $5, $6, $7, $8, $9)
         RETURNING number",
    )
    .bind(row.digest.bytes().as_slice())
    .bind(row.parent.map(stored_millis))
    .bind(row.restores.map(stored_millis))
    .bind(row.author)
    .bind(row.reason)
    .bind(stored_millis(now_unix_ms))
    .bind(stored_millis(row.files))
    .bind(stored_millis(row.documents))
    .bind(stored_millis(row.bytes))
    .fetch_one(connection)
    .await
    .map(count)
}

/// Keeps a text under its name; a text that is there already is only named.
async fn keep(
    connection: &mut SqliteConnection,
    number: RevisionNumber,
    position: usize,
    file: &RevisionFile,
) -> Result<(), sqlx::Error> {
    let content = digest(&SHA256, file.text.as_bytes());
    sqlx::query("INSERT INTO revision_text (digest, text) VALUES ($1, $2) ON CONFLICT (digest) DO NOTHING")
        .bind(content.as_ref())
        .bind(&file.text)
        .execute(&mut *connection)
        .await?;
    sqlx::query(
        "INSERT INTO revision_file (revision, position, name, text)
         VALUES ($1, $2, $3, (SELECT id FROM revision_text WHERE digest = $4))",
    )
    .bind(stored_millis(number))
    .bind(stored_millis(position as u64))
    .bind(&file.name)
    .bind(content.as_ref())
    .execute(connection)
    .await?;
    Ok(())
}

/// The texts of a revision; `None` where one is not what was written.
async fn texts(
    connection: &mut SqliteConnection,
    number: RevisionNumber,
) -> Result<Option<Vec<RevisionFile>>, sqlx::Error> {
    let rows = sqlx::query(
        "SELECT revision_file.name, revision_text.digest, revision_text.text
         FROM revision_file JOIN revision_text ON revision_text.id = revision_file.text
         WHERE revision_file.revision = $1 ORDER BY revision_file.position",
    )
    .bind(stored_millis(number))
    .fetch_all(connection)
    .await?;
    let mut files = Vec::with_capacity(rows.len());
    for row in &rows {
        let (stored, text): (&[u8], String) = (row.try_get(1)?, row.try_get(2)?);
        if digest(&SHA256, text.as_bytes()).as_ref() != stored {
            return Ok(None);
        }
        files.push(RevisionFile { name: row.try_get(0)?, text });
    }
    Ok(Some(files))
}

pub(crate) async fn find_active(
    connection: &mut SqliteConnection,
) -> Result<Option<RevisionRow>, sqlx::Error> {
    let found = sqlx::query(concat!(
        "SELECT ",
        revision_columns!(),
        " JOIN revision_active ON revision_active.number = revision.number"
    ))
    .fetch_optional(connection)
    .await?;
    found.map(|row| RevisionRow::read(&row)).transpose()
}

async fn find(
    connection: &mut SqliteConnection,
    which: &RevisionRef,
) -> Result<Option<RevisionRow>, sqlx::Error> {
    let found = match which {
        RevisionRef::Active => return find_active(connection).await,
        RevisionRef::Number(number) => {
            sqlx::query(concat!("SELECT ", revision_columns!(), " WHERE revision.number = $1"))
                .bind(stored_millis(*number))
                .fetch_optional(connection)
                .await?
        }
        // Only hexadecimal digits get here, so nothing in it is a wildcard.
        RevisionRef::Digest(hex) => {
            sqlx::query(concat!(
                "SELECT ",
                revision_columns!(),
                " WHERE hex(revision.digest) LIKE $1 || '%' ORDER BY revision.number DESC LIMIT 1"
            ))
            .bind(hex)
            .fetch_optional(connection)
            .await?
        }
    };
    found.map(|row| RevisionRow::read(&row)).transpose()
}

fn unknown(which: &RevisionRef) -> Error {
    match which {
        RevisionRef::Active => Error::RevisionNone,
        other => Error::RevisionUnknown { which: other.to_string() },
    }
}

pub(crate) fn matches_expected(
    active: Option<&RevisionRow>,
    expected: Option<RevisionNumber>,
) -> Result<(), Error> {
    let active = active.map(|active| active.number);
    if active == expected { Ok(()) } else { Err(Error::RevisionConflict { expected, active }) }
}

/// Whether a revision may be stored; gives its size.
fn examine(new: &NewRevision<'_>) -> Result<u64, Error> {
    sound("author", new.author, AUTHOR_MAX)?;
    sound("reason", new.reason, REASON_MAX)?;
    if new.files.len() > FILES_MAX {
        return Err(Error::RevisionTooLarge {
            what: "files",
            found: new.files.len() as u64,
            max: FILES_MAX as u64,
        });
    }
    let mut bytes: u64 = 0;
    for file in new.files {
        sound("name of a file", &file.name, NAME_MAX)?;
        bytes = bytes.saturating_add(file.text.len() as u64);
    }
    if bytes > BYTES_MAX {
        return Err(Error::RevisionTooLarge { what: "bytes", found: bytes, max: BYTES_MAX });
    }
    Ok(bytes)
}

/// As many files as a set that is read from disk may have.
const FILES_MAX: usize = 20_000;
/// As many bytes as a set that is read from disk may have: 64 MiB.
const BYTES_MAX: u64 = 64 << 20;
/// A path that any file system can hold.
const NAME_MAX: usize = 1024;
const AUTHOR_MAX: usize = 253;
/// A paragraph: the ticket and the story are elsewhere.
const REASON_MAX: usize = 1000;
/// Enough for all problems of a set that could not be prepared.
const DETAIL_MAX: usize = 8000;
/// A page for a screen or a script.
const PAGE_MAX: u32 = 200;
