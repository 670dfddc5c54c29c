//! Rotation of keys, and what is told about their lives, each once.
//!
//! A successor is made, handed over and takes the old key's place in one transaction: a key that could not be handed over
//! was never made, and of two rotations of one key one wins. What a key's life brings is worked off by
//! [`Keys::advance`]; a row per key and event lets any number of processes on one store tell each of them once.

use std::{collections::HashSet, io, sync::Arc};

use bartizan_identity::{KeyId, KeyText, Life, LifeState, LifeTerms, Retire, Step, api_key};
use sqlx::SqliteConnection;

use crate::{
    error::Error,
    key_row::{KeyRow, columns, stored_millis},
    keys::{Keys, find, next_change},
    pepper,
};

/// How a key is to be replaced.
#[derive(Clone, Copy, Debug)]
pub struct Rotation<'a> {
    /// Its overlap, hard limit and way of retiring.
    pub terms: &'a LifeTerms,
    /// From when the successor is valid no more; `None`: it lives as long as the old one was given to live.
    pub expires_at_ms: Option<u64>,
    /// Who replaces it.
    pub created_by: Option<&'a str>,
}

/// A key and the one that replaced it.
#[derive(Clone, Debug)]
pub struct Successor {
    /// The old key, which works on through its overlap.
    pub old: KeyRow,
    /// The new key.
    pub new: KeyRow,
}

/// Something in a key's life that its owner should know.
#[derive(Clone, Debug)]
pub struct KeyEvent {
    /// The key, as it is now.
    pub row: KeyRow,
    /// What came.
    pub what: Came,
}

/// What came in a key's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Came {
    /// It is due to be replaced before long.
    Due {
        /// How long before, of the times in the policy.
        before_ms: u64,
        /// When it should have been replaced.
        due_ms: u64,
    },
    /// It reached a state.
    State(LifeState),
}

impl Came {
    /// The word under which it is written down.
    fn word(self) -> String {
        match self {
            Came::Due { before_ms, .. } => format!("due-{before_ms}"),
            Came::State(state) => state.as_str().to_owned(),
        }
    }
}

impl Keys<'_> {
    /// Makes the successor of a key, with its consumer and label, and lets the old key end after its overlap. `deliver`
    /// gets the new key before anything is settled; where it fails, nothing has changed.
    ///
    /// # Errors
    /// [`Error::KeyUnknown`], [`Error::KeyEnded`], [`Error::KeyReplaced`], [`Error::ExpiryPast`],
    /// [`Error::NotDelivered`], or what the random source and the database report; then the key stands as before.
    pub async fn rotate(
        self,
        id: &KeyId,
        rotation: Rotation<'_>,
        now_unix_ms: u64,
        deliver: impl FnOnce(&KeyText) -> io::Result<()>,
    ) -> Result<Successor, Error> {
        let fault = self.0.fault("rotate a key");
        let minted = api_key::mint(&*pepper::random()?);
        // What was just minted is well formed.
        let hash = self.0.pepper().hash(&minted.text).ok_or(Error::Random)?;
        let mut transaction = self.begin().await?;
        let old = find(&mut transaction, id).await.map_err(&fault)?.ok_or(Error::KeyUnknown { id: *id })?;
        if let Some(by) = old.replaced_by {
            return Err(Error::KeyReplaced { id: *id, by });
        }
        if Life::at(&old.facts(), rotation.terms, now_unix_ms).state >= LifeState::Retired {
            return Err(Error::KeyEnded { id: *id });
        }
        let expires_at_ms = rotation.expires_at_ms.or_else(|| lifetime(&old, now_unix_ms));
        if expires_at_ms.is_some_and(|expires| expires <= now_unix_ms) {
            return Err(Error::ExpiryPast);
        }
        let change = next_change(&mut transaction).await.map_err(&fault)?;
        let new = sqlx::query(concat!(
            "INSERT INTO api_key (id, consumer, hash, label, created_at_ms, created_by, expires_at_ms, change)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8) RETURNING ",
            columns!()
        ))
        .bind(minted.id.as_str())
        .bind(&old.consumer)
        .bind(hash.bytes().as_slice())
        .bind(&old.label)
        .bind(stored_millis(now_unix_ms))
        .bind(rotation.created_by)
        .bind(expires_at_ms.map(stored_millis))
        .bind(change)
        .fetch_one(&mut *transaction)
        .await
        .and_then(|row| KeyRow::read(&row))
        .map_err(&fault)?;
        let old = replace(&mut transaction, &old, &new.id, rotation.terms, now_unix_ms, change)
            .await
            .map_err(&fault)?;
        deliver(&minted.text).map_err(|source| Error::NotDelivered { source })?;
        transaction.commit().await.map_err(&fault)?;
        Ok(Successor { old, new })
    }

    /// Walks all keys, retires those whose overlap is over and that nobody uses, and tells what has come in their lives
    /// since it was last told, by this process or another on the same store. `terms` are those of a consumer's keys;
    /// of keys without any only what their owners did themselves is told.
    ///
    /// # Errors
    /// What the database reports; what was not told yet is told the next time.
    pub async fn advance(
        self,
        terms: impl Fn(&str) -> Option<Arc<LifeTerms>>,
        now_unix_ms: u64,
        mut tell: impl FnMut(KeyEvent),
    ) -> Result<(), Error> {
        let fault = self.0.fault("follow the lives of keys");
        let default = Arc::new(LifeTerms::default());
        let mut after = String::new();
        loop {
            let rows = self.page(&after).await.map_err(&fault)?;
            let Some(last) = rows.last().map(|row| row.id.to_string()) else { return Ok(()) };
            let told = self.told(&after, &last).await.map_err(&fault)?;
            for row in rows {
                let terms = terms(&row.consumer);
                let terms = terms.unwrap_or_else(|| Arc::clone(&default));
                let (row, came) = match Life::at(&row.facts(), &terms, now_unix_ms) {
                    Life { next: Step::Retire, .. } => match self.retire(&row, now_unix_ms).await? {
                        Some(row) => (row, vec![Came::State(LifeState::Retired)]),
                        // It was used in this moment, or another process was faster.
                        None => continue,
                    },
                    life => {
                        let came = came(&row, life, &terms, now_unix_ms);
                        (row, came)
                    }
                };
                for what in came {
                    if !told.contains(&(row.id.to_string(), what.word()))
                        && self.tell_once(&row.id, &what.word(), now_unix_ms).await?
                    {
                        tell(KeyEvent { row: row.clone(), what });
                    }
                }
            }
            after = last;
        }
    }

    async fn page(self, after: &str) -> Result<Vec<KeyRow>, sqlx::Error> {
        let found =
            sqlx::query(concat!("SELECT ", columns!(), " FROM api_key WHERE id > $1 ORDER BY id LIMIT $2"))
                .bind(after)
                .bind(ROWS_PER_READ)
                .fetch_all(self.0.writer())
                .await?;
        found.iter().map(KeyRow::read).collect()
    }

    async fn told(self, after: &str, last: &str) -> Result<HashSet<(String, String)>, sqlx::Error> {
        let rows: Vec<(String, String)> =
            sqlx::query_as("SELECT key, event FROM api_key_event WHERE key > $1 AND key <= $2")
                .bind(after)
                .bind(last)
                .fetch_all(self.0.writer())
                .await?;
        Ok(rows.into_iter().collect())
    }

    /// Ends a replaced key that nobody uses; `None` where it was used or changed since it was read.
    async fn retire(self, row: &KeyRow, now_unix_ms: u64) -> Result<Option<KeyRow>, Error> {
        let fault = self.0.fault("retire a key");
        let mut transaction = self.begin().await?;
        let change = next_change(&mut transaction).await.map_err(&fault)?;
        let used_s = row.last_used_at_ms.map_or(0, |at| at / 1000);
        let ended = sqlx::query(concat!(
            "UPDATE api_key SET expires_at_ms = $2, change = $3
             WHERE id = $1 AND expires_at_ms > $2 AND last_used_s = $4 AND revoked_at_ms IS NULL RETURNING ",
            columns!()
        ))
        .bind(row.id.as_str())
        .bind(stored_millis(now_unix_ms))
        .bind(change)
        .bind(stored_millis(used_s))
        .fetch_optional(&mut *transaction)
        .await
        .and_then(|row| row.as_ref().map(KeyRow::read).transpose())
        .map_err(&fault)?;
        if ended.is_some() {
            transaction.commit().await.map_err(&fault)?;
        }
        Ok(ended)
    }

    /// Writes an event down; `false` where it was before.
    async fn tell_once(self, id: &KeyId, event: &str, now_unix_ms: u64) -> Result<bool, Error> {
        let added = sqlx::query(
            "INSERT INTO api_key_event (key, event, at_ms) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
        )
        .bind(id.as_str())
        .bind(event)
        .bind(stored_millis(now_unix_ms))
        .execute(self.0.writer())
        .await
        .map_err(self.0.fault("write down what is told of a key"))?;
        Ok(added.rows_affected() == 1)
    }
}

/// What of a key's life is worth telling now.
fn came(row: &KeyRow, life: Life, terms: &LifeTerms, now_unix_ms: u64) -> Vec<Came> {
    let mut came = Vec::new();
    let is_fresh = now_unix_ms.saturating_sub(life.since_ms) < NEWS_MS;
    match life.state {
        LifeState::Ageing => came.push(Came::State(LifeState::Ageing)),
        LifeState::Overlapping | LifeState::Retired if is_fresh => came.push(Came::State(life.state)),
        _ => {}
    }
    if let Some(before_ms) = Life::to_tell_ms(&row.facts(), terms, now_unix_ms)
        && let Some(due_ms) = row.facts().due_ms(terms)
    {
        came.push(Came::Due { before_ms, due_ms });
    }
    came
}

async fn replace(
    connection: &mut SqliteConnection,
    old: &KeyRow,
    by: &KeyId,
    terms: &LifeTerms,
    now_unix_ms: u64,
    change: i64,
) -> Result<KeyRow, sqlx::Error> {
    let until_ms = now_unix_ms.saturating_add(terms.overlap_ms);
    let end_ms = match terms.retire {
        Retire::AtOnce => until_ms,
        Retire::WhenUnused => now_unix_ms.saturating_add(terms.hard_limit_ms.max(terms.overlap_ms)),
    };
    // A key never lives longer for being replaced.
    let end_ms = old.expires_at_ms.map_or(end_ms, |expires| expires.min(end_ms));
    let row = sqlx::query(concat!(
        "UPDATE api_key SET replaced_by = $2, replaced_at_ms = $3, overlap_until_ms = $4, expires_at_ms = $5,
                change = $6 WHERE id = $1 RETURNING ",
        columns!()
    ))
    .bind(old.id.as_str())
    .bind(by.as_str())
    .bind(stored_millis(now_unix_ms))
    .bind(stored_millis(until_ms.min(end_ms)))
    .bind(stored_millis(end_ms))
    .bind(change)
    .fetch_one(connection)
    .await?;
    KeyRow::read(&row)
}

/// As long as the old key was given to live.
fn lifetime(old: &KeyRow, now_unix_ms: u64) -> Option<u64> {
    old.expires_at_ms.map(|expires| now_unix_ms.saturating_add(expires.saturating_sub(old.created_at_ms)))
}

const ROWS_PER_READ: i64 = 1000;
/// What came a week before it could be told is no news any more: a store of many ended keys is taken over quietly.
const NEWS_MS: u64 = 7 * 86_400_000;
