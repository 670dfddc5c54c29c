//! The commands on keys. What changes how callers are judged raises the change counter in the same transaction.

use bartizan_identity::{KeyId, KeyText, api_key};
use sqlx::{Sqlite, SqliteConnection, Transaction, sqlite::SqliteRow};

use crate::{
    error::Error,
    key_row::{KeyRow, columns, stored_millis},
    pepper,
    store::Store,
    text::sound,
};

/// A key to be made.
#[derive(Clone, Copy, Debug)]
pub struct NewKey<'a> {
    /// Whose it is. Documents define consumers, so the name may still be unknown to the gateway, which refuses the
    /// key until then.
    pub consumer: &'a str,
    /// What it is for.
    pub label: Option<&'a str>,
    /// From when it is valid no more, in Unix milliseconds; `None` for never.
    pub expires_at_ms: Option<u64>,
    /// Who makes it.
    pub created_by: Option<&'a str>,
}

/// Which keys to list, in the order in which they were made.
#[derive(Clone, Copy, Debug, Default)]
pub struct KeyFilter<'a> {
    /// Only this consumer's.
    pub consumer: Option<&'a str>,
    /// Only those behind this place, as the page before told it.
    pub after: Option<KeyCursor>,
    /// At most so many; 0 means as many as a page may have (1,000).
    pub limit: u32,
}

/// A place in a list of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyCursor {
    created_at_ms: u64,
    id: KeyId,
}

impl KeyRow {
    /// The place behind this key, for the next page.
    pub const fn cursor(&self) -> KeyCursor {
        KeyCursor { created_at_ms: self.created_at_ms, id: self.id }
    }
}

/// A part of a list of keys.
#[derive(Clone, Debug)]
pub struct KeyPage {
    /// The keys.
    pub rows: Vec<KeyRow>,
    /// Where to go on; `None` at the end.
    pub next: Option<KeyCursor>,
}

/// A key that is revoked now.
#[derive(Clone, Debug)]
pub struct Revocation {
    /// The key.
    pub row: KeyRow,
    /// Whether it had been revoked before, at the time that the row still shows.
    pub was_revoked: bool,
}

/// The keys of a store.
#[derive(Clone, Copy, Debug)]
pub struct Keys<'a>(pub(crate) &'a Store);

impl<'a> Keys<'a> {
    pub(crate) const fn of(store: &'a Store) -> Self {
        Keys(store)
    }

    /// Makes a key. The text is in no other place: whoever shows it, shows it once.
    ///
    /// # Errors
    /// [`Error::BadText`], [`Error::ExpiryPast`], or what the random source and the database report; then there is
    /// no key.
    pub async fn create(self, new: NewKey<'_>, now_unix_ms: u64) -> Result<(KeyRow, KeyText), Error> {
        sound("consumer's name", new.consumer, CONSUMER_MAX)?;
        new.label.map_or(Ok(()), |label| sound("label", label, LABEL_MAX))?;
        new.created_by.map_or(Ok(()), |author| sound("author", author, AUTHOR_MAX))?;
        if new.expires_at_ms.is_some_and(|expires| expires <= now_unix_ms) {
            return Err(Error::ExpiryPast);
        }
        let minted = api_key::mint(&*pepper::random()?);
        // What was just minted is well formed.
        let hash = self.0.pepper().hash(&minted.text).ok_or(Error::Random)?;

        let fault = self.0.fault("store a key");
        let mut transaction = self.begin().await?;
        let change = next_change(&mut transaction).await.map_err(&fault)?;
        let row = sqlx::query(concat!(
            "INSERT INTO api_key (id, consumer, hash, label, created_at_ms, created_by, expires_at_ms, change)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8) RETURNING ",
            columns!()
        ))
        .bind(minted.id.as_str())
        .bind(new.consumer)
        .bind(hash.bytes().as_slice())
        .bind(new.label)
        .bind(stored_millis(now_unix_ms))
        .bind(new.created_by)
        .bind(new.expires_at_ms.map(stored_millis))
        .bind(change)
        .fetch_one(&mut *transaction)
        .await
        .and_then(|row| KeyRow::read(&row))
        .map_err(&fault)?;
        transaction.commit().await.map_err(&fault)?;
        Ok((row, minted.text))
    }

    /// One page of keys, oldest first.
    ///
    /// # Errors
    /// What the database reports.
    pub async fn list(self, filter: KeyFilter<'_>) -> Result<KeyPage, Error> {
        let limit = if filter.limit == 0 { PAGE_MAX } else { filter.limit.min(PAGE_MAX) };
        let (after_ms, after_id) = match &filter.after {
            Some(cursor) => (stored_millis(cursor.created_at_ms), cursor.id.as_str()),
            None => (-1, ""),
        };
        // Two statements, so that each has its index.
        let query = match filter.consumer {
            Some(consumer) => sqlx::query(concat!(
                "SELECT ",
                columns!(),
                " FROM api_key WHERE (created_at_ms, id) > ($1, $2) AND consumer = $4
                 ORDER BY created_at_ms, id LIMIT $3"
            ))
            .bind(after_ms)
            .bind(after_id)
            .bind(limit + 1)
            .bind(consumer),
            None => sqlx::query(concat!(
                "SELECT ",
                columns!(),
                " FROM api_key WHERE (created_at_ms, id) > ($1, $2) ORDER BY created_at_ms, id LIMIT $3"
            ))
            .bind(after_ms)
            .bind(after_id)
            .bind(limit + 1),
        };
        let found = query.fetch_all(self.0.writer()).await;
        let mut rows = read_all(found).map_err(self.0.fault("list keys"))?;
        // One more than asked for tells whether there is more.
        let more = rows.len() > limit as usize;
        rows.truncate(limit as usize);
        let next = rows
            .last()
            .filter(|_| more)
            .map(|row| KeyCursor { created_at_ms: row.created_at_ms, id: row.id });
        Ok(KeyPage { rows, next })
    }

    /// The keys that end between two moments and have no successor, the first to end first.
    ///
    /// # Errors
    /// What the database reports.
    pub async fn ending(self, from_ms: u64, until_ms: u64, limit: u32) -> Result<Vec<KeyRow>, Error> {
        let limit = if limit == 0 { PAGE_MAX } else { limit.min(PAGE_MAX) };
        let found = sqlx::query(concat!(
            "SELECT ",
            columns!(),
            " FROM api_key WHERE expires_at_ms > $1 AND expires_at_ms <= $2 AND revoked_at_ms IS NULL
                 AND replaced_by IS NULL ORDER BY expires_at_ms, id LIMIT $3"
        ))
        .bind(stored_millis(from_ms))
        .bind(stored_millis(until_ms))
        .bind(limit)
        .fetch_all(self.0.writer())
        .await;
        read_all(found).map_err(self.0.fault("look for keys that end"))
    }

    /// One key.
    ///
    /// # Errors
    /// [`Error::KeyUnknown`], or what the database reports.
    pub async fn show(self, id: &KeyId) -> Result<KeyRow, Error> {
        let fault = self.0.fault("read a key");
        let mut connection = self.0.writer().acquire().await.map_err(&fault)?;
        find(&mut connection, id).await.map_err(fault)?.ok_or(Error::KeyUnknown { id: *id })
    }

    /// Withdraws a key for good; withdrawing it again changes nothing.
    ///
    /// # Errors
    /// [`Error::KeyUnknown`], or what the database reports; then the key stands as before.
    pub async fn revoke(self, id: &KeyId, now_unix_ms: u64) -> Result<Revocation, Error> {
        let fault = self.0.fault("revoke a key");
        let mut transaction = self.begin().await?;
        let before =
            find(&mut transaction, id).await.map_err(&fault)?.ok_or(Error::KeyUnknown { id: *id })?;
        if before.revoked_at_ms.is_some() {
            return Ok(Revocation { row: before, was_revoked: true });
        }
        let change = next_change(&mut transaction).await.map_err(&fault)?;
        let row = sqlx::query(concat!(
            "UPDATE api_key SET revoked_at_ms = $2, change = $3 WHERE id = $1 RETURNING ",
            columns!()
        ))
        .bind(id.as_str())
        .bind(stored_millis(now_unix_ms))
        .bind(change)
        .fetch_one(&mut *transaction)
        .await
        .and_then(|row| KeyRow::read(&row))
        .map_err(&fault)?;
        transaction.commit().await.map_err(&fault)?;
        Ok(Revocation { row, was_revoked: false })
    }

    /// Withdraws all keys of a consumer that are not withdrawn yet, all or none, and returns them.
    ///
    /// # Errors
    /// What the database reports; then all keys stand as before.
    pub async fn revoke_all(self, consumer: &str, now_unix_ms: u64) -> Result<Vec<KeyRow>, Error> {
        let fault = self.0.fault("revoke keys");
        let mut transaction = self.begin().await?;
        let change = next_change(&mut transaction).await.map_err(&fault)?;
        let found = sqlx::query(concat!(
            "UPDATE api_key SET revoked_at_ms = $2, change = $3
             WHERE consumer = $1 AND revoked_at_ms IS NULL RETURNING ",
            columns!()
        ))
        .bind(consumer)
        .bind(stored_millis(now_unix_ms))
        .bind(change)
        .fetch_all(&mut *transaction)
        .await;
        let rows = read_all(found).map_err(&fault)?;
        transaction.commit().await.map_err(&fault)?;
        Ok(rows)
    }

    /// Takes SQLite's write lock at once: a transaction that began by reading could not wait for it.
    pub(crate) async fn begin(self) -> Result<Transaction<'static, Sqlite>, Error> {
        self.0.writer().begin_with("BEGIN IMMEDIATE").await.map_err(self.0.fault("begin a change"))
    }
}

pub(crate) async fn find(
    connection: &mut SqliteConnection,
    id: &KeyId,
) -> Result<Option<KeyRow>, sqlx::Error> {
    let found = sqlx::query(concat!("SELECT ", columns!(), " FROM api_key WHERE id = $1"))
        .bind(id.as_str())
        .fetch_optional(connection)
        .await?;
    found.map(|row| KeyRow::read(&row)).transpose()
}

pub(crate) async fn next_change(connection: &mut SqliteConnection) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("UPDATE api_key_change SET value = value + 1 RETURNING value")
        .fetch_one(connection)
        .await
}

fn read_all(found: Result<Vec<SqliteRow>, sqlx::Error>) -> Result<Vec<KeyRow>, sqlx::Error> {
    found?.iter().map(KeyRow::read).collect()
}

/// As long as a document's name may be.
const CONSUMER_MAX: usize = 253;
const LABEL_MAX: usize = 200;
const AUTHOR_MAX: usize = 253;
/// 1,000 rows are some 300 KB: a page for a screen or a script, not the way to copy a store.
const PAGE_MAX: u32 = 1000;
