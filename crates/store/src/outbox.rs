//! Notices on their way: written with what they tell of, taken by a sender, sent, tried again, given up.
//!
//! At least once: a notice that was taken is due again after its lease, so a sender that crashes loses none; the id is
//! the idempotency key by which a receiver drops the repeat. What is told, and to whom, is sealed: a claim link in a
//! notice opens a key. Which channel an id belongs to is plain, so that one that fails can be found.

use aws_lc_rs::digest::{Context, SHA256};
use sqlx::{Row, SqliteConnection, sqlite::SqliteRow};

use crate::{error::Error, key_row::stored_millis, revision::count, store::Store, text::hex, vault::Vault};

/// A notice to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewNotice {
    /// The NoticeChannel by whose name it goes out.
    pub channel: String,
    /// To whom, where the channel knows several; else empty.
    pub recipient: String,
    /// What has happened, as a word: `key.due`.
    pub event: String,
    /// Which one of them: with channel and recipient it makes the id.
    pub occasion: String,
    /// About which key or alert it is.
    pub about: String,
    /// What is told.
    pub body: Vec<u8>,
}

impl NewNotice {
    /// The idempotency key: the same for the same occasion, channel and recipient, whoever writes it.
    pub fn id(&self) -> String {
        let mut digest = Context::new(&SHA256);
        for part in [&self.event, &self.occasion, &self.channel, &self.recipient] {
            digest.update(&part.len().to_be_bytes());
            digest.update(part.as_bytes());
        }
        let text = hex(digest.finish().as_ref());
        format!("msg_{}", text.get(..ID_DIGITS).unwrap_or(&text))
    }
}

/// A notice that is to be sent now.
#[derive(Clone, Debug)]
pub struct DueNotice {
    /// The idempotency key.
    pub id: String,
    /// By which channel.
    pub channel: String,
    /// What has happened.
    pub event: String,
    /// When that was written down.
    pub created_at_ms: u64,
    /// How often it was tried, this time included.
    pub attempts: u32,
    /// What is told; `None` where it cannot be opened, and then it can never be sent.
    pub body: Option<Vec<u8>>,
}

/// Where a notice stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoticeState {
    /// It is to be sent, for the first time or again.
    Waiting,
    /// A receiver has it.
    Sent,
    /// It was given up.
    Dead,
}

impl NoticeState {
    /// The word in lists.
    pub const fn as_str(self) -> &'static str {
        match self {
            NoticeState::Waiting => "waiting",
            NoticeState::Sent => "sent",
            NoticeState::Dead => "dead",
        }
    }

    /// The state of a word.
    pub fn parse(word: &str) -> Option<Self> {
        [NoticeState::Waiting, NoticeState::Sent, NoticeState::Dead]
            .into_iter()
            .find(|state| state.as_str() == word)
    }
}

/// The record of a notice, without what it says. Times are Unix milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoticeRow {
    /// The idempotency key.
    pub id: String,
    /// By which channel.
    pub channel: String,
    /// What has happened.
    pub event: String,
    /// About which key or alert it is.
    pub about: String,
    /// When it was written down.
    pub created_at_ms: u64,
    /// When it is tried next, while it waits.
    pub next_at_ms: u64,
    /// How often it was tried.
    pub attempts: u32,
    /// Where it stands.
    pub state: NoticeState,
    /// When it was sent or given up.
    pub ended_at_ms: Option<u64>,
    /// Why the last attempt failed.
    pub error: String,
}

/// The notices of a store.
#[derive(Clone, Copy, Debug)]
pub struct Outbox<'a>(&'a Store);

impl<'a> Outbox<'a> {
    pub(crate) const fn of(store: &'a Store) -> Self {
        Outbox(store)
    }

    /// Writes notices down that belong to no other change.
    ///
    /// # Errors
    /// What the random source and the database report.
    pub async fn put(self, notices: &[NewNotice], now_unix_ms: u64) -> Result<(), Error> {
        let fault = self.0.fault("write notices down");
        let mut transaction = self.0.writer().begin_with("BEGIN IMMEDIATE").await.map_err(&fault)?;
        put(&mut transaction, self.0.vault(), notices, now_unix_ms).await?.map_err(&fault)?;
        transaction.commit().await.map_err(&fault)
    }

    /// Takes what is due, and no other sender takes it within `lease_ms`.
    ///
    /// # Errors
    /// What the database reports.
    pub async fn take(self, limit: u32, lease_ms: u64, now_unix_ms: u64) -> Result<Vec<DueNotice>, Error> {
        let rows = sqlx::query(
            "UPDATE notice SET next_at_ms = $2, attempts = attempts + 1
             WHERE id IN (SELECT id FROM notice WHERE state = 'waiting' AND next_at_ms <= $1
                          ORDER BY next_at_ms LIMIT $3)
             RETURNING id, channel, event, created_at_ms, attempts, body",
        )
        .bind(stored_millis(now_unix_ms))
        .bind(stored_millis(now_unix_ms.saturating_add(lease_ms)))
        .bind(limit)
        .fetch_all(self.0.writer())
        .await
        .map_err(self.0.fault("take notices"))?;
        let read = |row: &SqliteRow| {
            let id: String = row.try_get(0)?;
            let sealed: &[u8] = row.try_get(5)?;
            let body = self.0.vault().open(&purpose(&id), sealed).map(|body| body.to_vec());
            Ok(DueNotice {
                channel: row.try_get(1)?,
                event: row.try_get(2)?,
                created_at_ms: count(row.try_get(3)?),
                attempts: tries(row.try_get(4)?),
                body,
                id,
            })
        };
        rows.iter().map(read).collect::<Result<_, sqlx::Error>>().map_err(self.0.fault("take notices"))
    }

    /// When the next one is due; `None` where none waits.
    ///
    /// # Errors
    /// What the database reports.
    pub async fn next_due_ms(self) -> Result<Option<u64>, Error> {
        let next: Option<i64> =
            sqlx::query_scalar("SELECT min(next_at_ms) FROM notice WHERE state = 'waiting'")
                .fetch_one(self.0.writer())
                .await
                .map_err(self.0.fault("look for notices"))?;
        Ok(next.map(count))
    }

    /// A receiver has it.
    ///
    /// # Errors
    /// What the database reports; then it is sent again.
    pub async fn sent(self, id: &str, now_unix_ms: u64) -> Result<(), Error> {
        self.end(id, NoticeState::Sent, "", now_unix_ms).await
    }

    /// It is given up, and an operator is to look at it.
    ///
    /// # Errors
    /// What the database reports; then it is tried again.
    pub async fn give_up(self, id: &str, why: &str, now_unix_ms: u64) -> Result<(), Error> {
        self.end(id, NoticeState::Dead, why, now_unix_ms).await
    }

    async fn end(self, id: &str, state: NoticeState, why: &str, now_unix_ms: u64) -> Result<(), Error> {
        sqlx::query(
            "UPDATE notice SET state = $2, error = $3, ended_at_ms = $4 WHERE id = $1 AND state = 'waiting'",
        )
        .bind(id)
        .bind(state.as_str())
        .bind(shortened(why))
        .bind(stored_millis(now_unix_ms))
        .execute(self.0.writer())
        .await
        .map_err(self.0.fault("write down what became of a notice"))?;
        Ok(())
    }

    /// It could not be sent and is due again at `next_at_ms`.
    ///
    /// # Errors
    /// What the database reports; then it is due when its lease is over.
    pub async fn failed(self, id: &str, why: &str, next_at_ms: u64) -> Result<(), Error> {
        sqlx::query("UPDATE notice SET next_at_ms = $2, error = $3 WHERE id = $1 AND state = 'waiting'")
            .bind(id)
            .bind(stored_millis(next_at_ms))
            .bind(shortened(why))
            .execute(self.0.writer())
            .await
            .map_err(self.0.fault("write down what became of a notice"))?;
        Ok(())
    }

    /// Tries one that was given up again; whether there is such a one.
    ///
    /// # Errors
    /// What the database reports.
    pub async fn retry(self, id: &str, now_unix_ms: u64) -> Result<bool, Error> {
        let done = sqlx::query(
            "UPDATE notice SET state = 'waiting', next_at_ms = $2, created_at_ms = $2, attempts = 0, ended_at_ms = NULL
             WHERE id = $1 AND state = 'dead'",
        )
        .bind(id)
        .bind(stored_millis(now_unix_ms))
        .execute(self.0.writer())
        .await
        .map_err(self.0.fault("try a notice again"))?;
        Ok(done.rows_affected() == 1)
    }

    /// The newest notices, newest first; of all states or of one.
    ///
    /// # Errors
    /// What the database reports.
    pub async fn list(self, state: Option<NoticeState>, limit: u32) -> Result<Vec<NoticeRow>, Error> {
        let fault = self.0.fault("list notices");
        let rows = sqlx::query(
            "SELECT id, channel, event, about, created_at_ms, next_at_ms, attempts, state, ended_at_ms, error
             FROM notice WHERE $1 = '' OR state = $1 ORDER BY created_at_ms DESC, id LIMIT $2",
        )
        .bind(state.map_or("", NoticeState::as_str))
        .bind(limit.min(LIST_MAX))
        .fetch_all(self.0.writer())
        .await
        .map_err(&fault)?;
        let read = |row: &SqliteRow| {
            let state: &str = row.try_get(7)?;
            Ok(NoticeRow {
                id: row.try_get(0)?,
                channel: row.try_get(1)?,
                event: row.try_get(2)?,
                about: row.try_get(3)?,
                created_at_ms: count(row.try_get(4)?),
                next_at_ms: count(row.try_get(5)?),
                attempts: tries(row.try_get(6)?),
                state: NoticeState::parse(state)
                    .ok_or_else(|| sqlx::Error::Decode(format!("a notice is {state}").into()))?,
                ended_at_ms: row.try_get::<Option<i64>, _>(8)?.map(count),
                error: row.try_get(9)?,
            })
        };
        rows.iter().map(read).collect::<Result<_, sqlx::Error>>().map_err(fault)
    }

    /// Forgets what was sent before `sent_before_ms` and given up before `dead_before_ms`.
    ///
    /// # Errors
    /// What the database reports.
    pub async fn forget(self, sent_before_ms: u64, dead_before_ms: u64) -> Result<u64, Error> {
        let gone = sqlx::query(
            "DELETE FROM notice WHERE (state = 'sent' AND ended_at_ms < $1) OR (state = 'dead' AND ended_at_ms < $2)",
        )
        .bind(stored_millis(sent_before_ms))
        .bind(stored_millis(dead_before_ms))
        .execute(self.0.writer())
        .await
        .map_err(self.0.fault("forget notices"))?;
        Ok(gone.rows_affected())
    }
}

/// Writes notices down within another change; those that are there stay as they are. The outer error is ours, the inner
/// one the database's.
pub(crate) async fn put(
    connection: &mut SqliteConnection,
    vault: &Vault,
    notices: &[NewNotice],
    now_unix_ms: u64,
) -> Result<Result<(), sqlx::Error>, Error> {
    for notice in notices {
        let id = notice.id();
        let body = vault.seal(&purpose(&id), &notice.body)?;
        let added = sqlx::query(
            "INSERT INTO notice (id, channel, event, about, body, created_at_ms, next_at_ms)
             VALUES ($1, $2, $3, $4, $5, $6, $6) ON CONFLICT DO NOTHING",
        )
        .bind(id)
        .bind(&notice.channel)
        .bind(&notice.event)
        .bind(&notice.about)
        .bind(body)
        .bind(stored_millis(now_unix_ms))
        .execute(&mut *connection)
        .await;
        if let Err(error) = added {
            return Ok(Err(error));
        }
    }
    Ok(Ok(()))
}

/// A body is bound to its row.
fn purpose(id: &str) -> String {
    format!("notice {id}")
}

fn tries(stored: i64) -> u32 {
    u32::try_from(stored).unwrap_or(u32::MAX)
}

/// A receiver's words are not ours; a line of them is enough.
fn shortened(why: &str) -> String {
    why.chars().filter(|one| !one.is_control()).take(ERROR_CHARS_MAX).collect()
}

/// 128 bits, as many as keep two occasions apart for ever.
const ID_DIGITS: usize = 32;
const ERROR_CHARS_MAX: usize = 300;
/// A page for a screen.
const LIST_MAX: u32 = 1000;
