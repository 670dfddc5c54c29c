//! Rotation of keys, and what is told about their lives, each once.
//!
//! A successor is made, handed over and takes the old key's place in one transaction: a key that could not be handed over
//! was never made, and of two rotations of one key one wins. What a key's life brings is worked off by
//! [`Keys::advance`]; a row per key and event lets any number of processes on one store tell each of them once.

use std::{collections::HashSet, io, sync::Arc};

use bartizan_identity::{KeyId, KeyText, Life, LifeState, LifeTerms, Retire, Step, api_key};
use sqlx::{Sqlite, SqliteConnection, Transaction};

use crate::{
    claims::{self, ClaimToken},
    error::Error,
    key_row::{KeyRow, columns, stored_millis},
    keys::{Keys, find, next_change},
    outbox::{self, NewNotice},
    pepper,
    store::Store,
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Came {
    /// It is due to be replaced before long.
    Due {
        /// How long before, of the times in the policy.
        before_ms: u64,
        /// When it should have been replaced.
        due_ms: u64,
    },
    /// It was reported as known to others, and withdrawn.
    Leaked,
    /// A successor is offered by a one-time link.
    Offered {
        /// Which link of this key it is, from 1.
        link: u64,
        /// The secret part of the link.
        token: ClaimToken,
    },
    /// It reached a state.
    State(LifeState),
    /// Nobody has taken the successor over while its link opened; another one is offered.
    Unclaimed {
        /// How many links were made in vain.
        links: u64,
    },
}

/// How the keys of a consumer are to live.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// Ages, overlap and times.
    pub terms: Arc<LifeTerms>,
    /// Whether successors are offered by one-time links.
    pub by_link: bool,
}

impl Came {
    /// The word under which it is written down.
    pub fn word(&self) -> String {
        match self {
            Came::Due { before_ms, .. } => format!("due-{before_ms}"),
            Came::Leaked => "leaked".to_owned(),
            Came::Offered { link, .. } => format!("offered-{link}"),
            Came::State(state) => state.as_str().to_owned(),
            Came::Unclaimed { links } => format!("unclaimed-{links}"),
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
        let mut transaction = self.begin().await?;
        let (successor, text) = succeed(self.0, &mut transaction, id, rotation, now_unix_ms).await?;
        deliver(&text).map_err(|source| Error::NotDelivered { source })?;
        transaction.commit().await.map_err(self.0.fault("rotate a key"))?;
        Ok(successor)
    }

    /// Withdraws a key because its text has become known to others; its owner is told. Reporting it again changes
    /// nothing.
    ///
    /// # Errors
    /// [`Error::KeyUnknown`], or what the database reports; then the key stands as before.
    pub async fn report_leak(self, id: &KeyId, now_unix_ms: u64) -> Result<KeyRow, Error> {
        let fault = self.0.fault("revoke a leaked key");
        let mut transaction = self.begin().await?;
        let change = next_change(&mut transaction).await.map_err(&fault)?;
        let row = sqlx::query(concat!(
            "UPDATE api_key SET leaked_at_ms = coalesce(leaked_at_ms, $2), revoked_at_ms = coalesce(revoked_at_ms, $2),
                    change = $3 WHERE id = $1 RETURNING ",
            columns!()
        ))
        .bind(id.as_str())
        .bind(stored_millis(now_unix_ms))
        .bind(change)
        .fetch_optional(&mut *transaction)
        .await
        .and_then(|row| row.as_ref().map(KeyRow::read).transpose())
        .map_err(&fault)?
        .ok_or(Error::KeyUnknown { id: *id })?;
        transaction.commit().await.map_err(&fault)?;
        Ok(row)
    }

    /// Walks all keys, retires those whose overlap is over and that nobody uses, makes claim links for those that are
    /// to be replaced, and tells what has come in their lives since it was last told, by this process or another on the
    /// same store. `rules` are those of a consumer's keys; of keys without any only what their owners did themselves is
    /// told. `seen` gets every key with its terms. `notices` says what is to be sent for an event; it is written down
    /// with it, all or nothing, and then the event is told to `tell`.
    ///
    /// # Errors
    /// What the database reports; what was not told yet is told the next time.
    pub async fn advance(
        self,
        rules: impl Fn(&str) -> Option<Rules>,
        now_unix_ms: u64,
        mut seen: impl FnMut(&KeyRow, &LifeTerms),
        notices: impl Fn(&KeyEvent) -> Vec<NewNotice>,
        mut tell: impl FnMut(KeyEvent),
    ) -> Result<(), Error> {
        let fault = self.0.fault("follow the lives of keys");
        let mut after = String::new();
        loop {
            let rows = self.page(&after).await.map_err(&fault)?;
            let Some(last) = rows.last().map(|row| row.id.to_string()) else { return Ok(()) };
            let told = self.told(&after, &last).await.map_err(&fault)?;
            for row in rows {
                let rules = rules(&row.consumer).unwrap_or_default();
                let terms = &*rules.terms;
                seen(&row, terms);
                let (row, came) = match Life::at(&row.facts(), terms, now_unix_ms) {
                    Life { next: Step::Retire, .. } => match self.retire(&row, now_unix_ms).await? {
                        Some(row) => (row, vec![Came::State(LifeState::Retired)]),
                        // It was used in this moment, or another process was faster.
                        None => continue,
                    },
                    life => {
                        if life.state == LifeState::Ageing && rules.by_link {
                            self.offer(&row, now_unix_ms, &notices, &mut tell).await?;
                        }
                        let came = came(&row, life, terms, now_unix_ms);
                        (row, came)
                    }
                };
                for what in came {
                    let event = KeyEvent { row: row.clone(), what };
                    if !told.contains(&(row.id.to_string(), event.what.word()))
                        && self.tell_once(&event, now_unix_ms, &notices).await?
                    {
                        tell(event);
                    }
                }
            }
            after = last;
        }
    }

    /// Makes a claim link for a key that has none that opens, and has its notices carry it.
    async fn offer(
        self,
        row: &KeyRow,
        now_unix_ms: u64,
        notices: &impl Fn(&KeyEvent) -> Vec<NewNotice>,
        tell: &mut impl FnMut(KeyEvent),
    ) -> Result<(), Error> {
        let fault = self.0.fault("offer a successor");
        let mut connection = self.0.writer().acquire().await.map_err(&fault)?;
        let (_, open_until) = claims::of_key(&mut connection, &row.id).await.map_err(&fault)?;
        drop(connection);
        if open_until > now_unix_ms {
            return Ok(());
        }
        let mut transaction = self.begin().await?;
        // Another process may have been faster since.
        let (made, open_until) = claims::of_key(&mut transaction, &row.id).await.map_err(&fault)?;
        if open_until > now_unix_ms {
            return Ok(());
        }
        let mut events = Vec::new();
        if made > 0 {
            events.push(KeyEvent { row: row.clone(), what: Came::Unclaimed { links: made } });
        }
        let token = claims::make(&mut transaction, &row.id, now_unix_ms).await?.map_err(&fault)?;
        events.push(KeyEvent { row: row.clone(), what: Came::Offered { link: made + 1, token } });
        let to_send: Vec<NewNotice> = events.iter().flat_map(notices).collect();
        outbox::put(&mut transaction, self.0.vault(), &to_send, now_unix_ms).await?.map_err(&fault)?;
        transaction.commit().await.map_err(&fault)?;
        events.into_iter().for_each(tell);
        Ok(())
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

    /// Writes an event down, with what is to be sent for it; `false` where it was before.
    async fn tell_once(
        self,
        event: &KeyEvent,
        now_unix_ms: u64,
        notices: &impl Fn(&KeyEvent) -> Vec<NewNotice>,
    ) -> Result<bool, Error> {
        let fault = self.0.fault("write down what is told of a key");
        let mut transaction = self.begin().await?;
        let added = sqlx::query(
            "INSERT INTO api_key_event (key, event, at_ms) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
        )
        .bind(event.row.id.as_str())
        .bind(event.what.word())
        .bind(stored_millis(now_unix_ms))
        .execute(&mut *transaction)
        .await
        .map_err(&fault)?;
        if added.rows_affected() != 1 {
            return Ok(false);
        }
        outbox::put(&mut transaction, self.0.vault(), &notices(event), now_unix_ms).await?.map_err(&fault)?;
        transaction.commit().await.map_err(&fault)?;
        Ok(true)
    }
}

/// The successor of a key within a transaction, and its text.
pub(crate) async fn succeed(
    store: &Store,
    transaction: &mut Transaction<'_, Sqlite>,
    id: &KeyId,
    rotation: Rotation<'_>,
    now_unix_ms: u64,
) -> Result<(Successor, KeyText), Error> {
    let fault = store.fault("rotate a key");
    let minted = api_key::mint(&*pepper::random()?);
    // What was just minted is well formed.
    let hash = store.pepper().hash(&minted.text).ok_or(Error::Random)?;
    let old = find(transaction, id).await.map_err(&fault)?.ok_or(Error::KeyUnknown { id: *id })?;
    claims::replaceable(&old, rotation.terms, now_unix_ms)?;
    let expires_at_ms = rotation.expires_at_ms.or_else(|| lifetime(&old, now_unix_ms));
    if expires_at_ms.is_some_and(|expires| expires <= now_unix_ms) {
        return Err(Error::ExpiryPast);
    }
    let change = next_change(transaction).await.map_err(&fault)?;
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
    .fetch_one(&mut **transaction)
    .await
    .and_then(|row| KeyRow::read(&row))
    .map_err(&fault)?;
    let old =
        replace(transaction, &old, &new.id, rotation.terms, now_unix_ms, change).await.map_err(&fault)?;
    Ok((Successor { old, new }, minted.text))
}

/// What of a key's life is worth telling now.
fn came(row: &KeyRow, life: Life, terms: &LifeTerms, now_unix_ms: u64) -> Vec<Came> {
    let mut came = Vec::new();
    let is_fresh = now_unix_ms.saturating_sub(life.since_ms) < NEWS_MS;
    if row.leaked_at_ms.is_some_and(|at| now_unix_ms.saturating_sub(at) < NEWS_MS) {
        came.push(Came::Leaked);
        // One notice says both.
        return came;
    }
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
