//! What was done through management: who, what, when, from where, before and after, as a chain of hashes.
//!
//! A change is written down twice: `begun` before anything happens, so that nothing can happen unrecorded, then how it
//! ended. Rows are only ever added, and each one's SHA-256 covers the row and the hash before it: a row that was changed
//! or taken out breaks the chain from there on, which [`Audit::verify`] tells. The end of the chain can be cut off
//! unseen by whoever may write the file; compare its head with one that was noted elsewhere.

use aws_lc_rs::digest::{Context, SHA256};
use sqlx::{Row, SqliteConnection, sqlite::SqliteRow};

use crate::{error::Error, key_row::stored_millis, revision::count, store::Store};

/// How far an action is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AuditPhase {
    /// It is about to happen.
    Begun,
    /// It has happened.
    Done,
    /// It did not happen, because something failed.
    Failed,
    /// It did not happen, because it was not allowed or not possible.
    Refused,
}

impl AuditPhase {
    /// The word in lists and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            AuditPhase::Begun => "begun",
            AuditPhase::Done => "done",
            AuditPhase::Failed => "failed",
            AuditPhase::Refused => "refused",
        }
    }
}

/// Something to be written down. Nothing in it is a secret.
#[derive(Clone, Copy, Debug)]
pub struct AuditNote<'a> {
    /// Who: `token:NAME`, `local:USER`, `nobody`.
    pub actor: &'a str,
    /// From where: an address, or `local`.
    pub source: &'a str,
    /// What: `revision.apply`, `key.create`.
    pub action: &'a str,
    /// On what.
    pub target: &'a str,
    /// How far it is.
    pub phase: AuditPhase,
    /// What was before: a tag or digest.
    pub before: &'a str,
    /// What is afterwards.
    pub after: &'a str,
    /// Why, in the words of the one who does it, or why not.
    pub reason: &'a str,
}

/// A row as it was written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditRow {
    /// Its place in the chain, from 1.
    pub number: u64,
    /// When, in Unix milliseconds.
    pub at_ms: u64,
    /// Who.
    pub actor: String,
    /// From where.
    pub source: String,
    /// What.
    pub action: String,
    /// On what.
    pub target: String,
    /// How far it was.
    pub phase: String,
    /// What was before.
    pub before: String,
    /// What was afterwards.
    pub after: String,
    /// Why, or why not.
    pub reason: String,
    /// The chain's hash up to here.
    pub hash: [u8; 32],
}

/// The audit trail of a store.
#[derive(Clone, Copy, Debug)]
pub struct Audit<'a>(&'a Store);

impl<'a> Audit<'a> {
    pub(crate) const fn of(store: &'a Store) -> Self {
        Audit(store)
    }

    /// Adds a row to the chain.
    ///
    /// # Errors
    /// What the database reports; then it is not written down, and what was to be done must not be.
    pub async fn add(self, note: AuditNote<'_>, now_unix_ms: u64) -> Result<u64, Error> {
        let fault = self.0.fault("write down what is done");
        let mut transaction = self.0.writer().begin_with("BEGIN IMMEDIATE").await.map_err(&fault)?;
        let last = last(&mut transaction).await.map_err(&fault)?;
        let (number, before) = last.map_or((1, [0; 32]), |(number, hash)| (number + 1, hash));
        let row = AuditRow {
            number,
            at_ms: now_unix_ms,
            actor: cut(note.actor),
            source: cut(note.source),
            action: cut(note.action),
            target: cut(note.target),
            phase: note.phase.as_str().to_owned(),
            before: cut(note.before),
            after: cut(note.after),
            reason: cut(note.reason),
            hash: [0; 32],
        };
        let hash = chained(&before, &row);
        sqlx::query(
            "INSERT INTO audit (number, at_ms, actor, source, action, target, phase, before, after, reason, hash)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        )
        .bind(stored_millis(number))
        .bind(stored_millis(row.at_ms))
        .bind(&row.actor)
        .bind(&row.source)
        .bind(&row.action)
        .bind(&row.target)
        .bind(&row.phase)
        .bind(&row.before)
        .bind(&row.after)
        .bind(&row.reason)
        .bind(hash.as_slice())
        .execute(&mut *transaction)
        .await
        .map_err(&fault)?;
        transaction.commit().await.map_err(&fault)?;
        Ok(number)
    }

    /// One page, newest first, of the rows before `before`; the second part is where to go on.
    ///
    /// # Errors
    /// What the database reports.
    pub async fn list(self, before: Option<u64>, limit: u32) -> Result<(Vec<AuditRow>, Option<u64>), Error> {
        let limit = if limit == 0 { PAGE_MAX } else { limit.min(PAGE_MAX) };
        let found = sqlx::query(
            "SELECT number, at_ms, actor, source, action, target, phase, before, after, reason, hash FROM audit
             WHERE number < $1 ORDER BY number DESC LIMIT $2",
        )
        .bind(before.map_or(i64::MAX, stored_millis))
        .bind(limit + 1)
        .fetch_all(self.0.writer())
        .await;
        let rows: Result<Vec<AuditRow>, sqlx::Error> = found.and_then(|rows| rows.iter().map(read).collect());
        let mut rows = rows.map_err(self.0.fault("read the audit trail"))?;
        let more = rows.len() > limit as usize;
        rows.truncate(limit as usize);
        let next = rows.last().filter(|_| more).map(|row| row.number);
        Ok((rows, next))
    }

    /// The number of the first row that does not fit the chain; `None` where all do.
    ///
    /// # Errors
    /// What the database reports.
    pub async fn verify(self) -> Result<Option<u64>, Error> {
        let fault = self.0.fault("verify the audit trail");
        let (mut expected, mut hash) = (1_u64, [0; 32]);
        loop {
            let rows = sqlx::query(
                "SELECT number, at_ms, actor, source, action, target, phase, before, after, reason, hash FROM audit
                 WHERE number >= $1 ORDER BY number LIMIT 1000",
            )
            .bind(stored_millis(expected))
            .fetch_all(self.0.writer())
            .await
            .map_err(&fault)?;
            if rows.is_empty() {
                return Ok(None);
            }
            for row in &rows {
                let row = read(row).map_err(&fault)?;
                if row.number != expected || chained(&hash, &row) != row.hash {
                    return Ok(Some(expected));
                }
                (expected, hash) = (expected + 1, row.hash);
            }
        }
    }
}

async fn last(connection: &mut SqliteConnection) -> Result<Option<(u64, [u8; 32])>, sqlx::Error> {
    let found = sqlx::query("SELECT number, hash FROM audit ORDER BY number DESC LIMIT 1")
        .fetch_optional(connection)
        .await?;
    found.map(|row| Ok((count(row.try_get(0)?), hash_of(row.try_get(1)?)?))).transpose()
}

fn read(row: &SqliteRow) -> Result<AuditRow, sqlx::Error> {
    Ok(AuditRow {
        number: count(row.try_get(0)?),
        at_ms: count(row.try_get(1)?),
        actor: row.try_get(2)?,
        source: row.try_get(3)?,
        action: row.try_get(4)?,
        target: row.try_get(5)?,
        phase: row.try_get(6)?,
        before: row.try_get(7)?,
        after: row.try_get(8)?,
        reason: row.try_get(9)?,
        hash: hash_of(row.try_get(10)?)?,
    })
}

fn hash_of(bytes: &[u8]) -> Result<[u8; 32], sqlx::Error> {
    bytes.try_into().map_err(|_| sqlx::Error::Decode("an audit row's hash has not 32 bytes".into()))
}

/// SHA-256 over the hash before and every field, each with its length first, so that no two rows run together.
fn chained(before: &[u8; 32], row: &AuditRow) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    context.update(before);
    context.update(&row.number.to_be_bytes());
    context.update(&row.at_ms.to_be_bytes());
    for text in
        [&row.actor, &row.source, &row.action, &row.target, &row.phase, &row.before, &row.after, &row.reason]
    {
        context.update(&(text.len() as u64).to_be_bytes());
        context.update(text.as_bytes());
    }
    let mut hash = [0; 32];
    for (to, from) in hash.iter_mut().zip(context.finish().as_ref()) {
        *to = *from;
    }
    hash
}

/// Long texts come from callers; what is beyond this names nothing any more.
fn cut(text: &str) -> String {
    text.chars().filter(|one| !one.is_control()).take(TEXT_MAX).collect()
}

const TEXT_MAX: usize = 1000;
const PAGE_MAX: u32 = 200;
