//! Alerts: what fires, since when, whether it was told, and what is silenced.
//!
//! The store is the truth, so that any number of gateways make one alert of one matter: a pulse of any of them keeps it
//! firing, and it is over when none has pulsed for its policy's time. Notices are written in the same transaction; each
//! begin, each repeat and each end has an id of its own.

use sqlx::{Row, SqliteConnection, sqlite::SqliteRow};

use crate::{
    error::Error,
    key_row::stored_millis,
    outbox::{self, NewNotice},
    pepper,
    revision::count,
    store::Store,
    text::{hex, sound},
};

macro_rules! alert_columns {
    () => {
        "id, policy, signal, grouping, text, state, count, round, started_at_ms, last_at_ms, told_at_ms, ended_at_ms"
    };
}

/// Something that is to be told while it goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pulse {
    /// The AlertPolicy's name.
    pub policy: String,
    /// What is watched, as in documents.
    pub signal: String,
    /// Which of several that are counted apart; empty where they are not.
    pub group: String,
    /// What is so, in a sentence.
    pub text: String,
    /// How many were counted.
    pub count: u64,
}

/// An alert as the store knows it. Times are Unix milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlertRow {
    /// Made of policy, signal and group.
    pub id: String,
    /// The AlertPolicy's name.
    pub policy: String,
    /// What is watched.
    pub signal: String,
    /// Which of several.
    pub group: String,
    /// What is so, or was last.
    pub text: String,
    /// Whether it goes on.
    pub is_firing: bool,
    /// How many were counted last.
    pub count: u64,
    /// How often it has begun.
    pub round: u64,
    /// When it began.
    pub started_at_ms: u64,
    /// When it was last so.
    pub last_at_ms: u64,
    /// When it was last told; `None`: silenced so far.
    pub told_at_ms: Option<u64>,
    /// When it was over.
    pub ended_at_ms: Option<u64>,
}

/// A silence. Empty fields match everything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SilenceRow {
    /// Its id.
    pub id: String,
    /// The AlertPolicy's name.
    pub policy: String,
    /// What is watched.
    pub signal: String,
    /// Which of several.
    pub group: String,
    /// Until when.
    pub until_ms: u64,
    /// Why.
    pub reason: String,
    /// Who.
    pub created_by: String,
}

/// What became of an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// It began, or was silenced until now.
    Began,
    /// It goes on, and was told long ago.
    GoesOn,
    /// It is over.
    Over,
}

/// The alerts of a store.
#[derive(Clone, Copy, Debug)]
pub struct Alerts<'a>(&'a Store);

impl<'a> Alerts<'a> {
    pub(crate) const fn of(store: &'a Store) -> Self {
        Alerts(store)
    }

    /// Something is so now. `notices` says what is to be sent where it is to be told: at the beginning, and again after
    /// `repeat_after_ms`. Gives what was told.
    ///
    /// # Errors
    /// What the random source and the database report; then it is as before.
    pub async fn pulse(
        self,
        pulse: &Pulse,
        repeat_after_ms: u64,
        now_unix_ms: u64,
        notices: impl FnOnce(&AlertRow, Turn) -> Vec<NewNotice>,
    ) -> Result<Option<Turn>, Error> {
        let fault = self.0.fault("write an alert down");
        let id = id_of(pulse);
        let mut transaction = self.0.keys().begin().await?;
        let known = find(&mut transaction, &id).await.map_err(&fault)?;
        let is_silenced = silenced(&mut transaction, pulse, now_unix_ms).await.map_err(&fault)?;
        let (round, started_at_ms, told_at_ms) = match &known {
            Some(row) if row.is_firing => (row.round, row.started_at_ms, row.told_at_ms),
            Some(row) => (row.round + 1, now_unix_ms, None),
            None => (1, now_unix_ms, None),
        };
        let turn = match told_at_ms {
            _ if is_silenced => None,
            None => Some(Turn::Began),
            Some(told) if now_unix_ms.saturating_sub(told) >= repeat_after_ms => Some(Turn::GoesOn),
            Some(_) => None,
        };
        let row = AlertRow {
            id,
            policy: pulse.policy.clone(),
            signal: pulse.signal.clone(),
            group: pulse.group.clone(),
            text: pulse.text.clone(),
            is_firing: true,
            count: pulse.count,
            round,
            started_at_ms,
            last_at_ms: now_unix_ms,
            told_at_ms: turn.map(|_| now_unix_ms).or(told_at_ms),
            ended_at_ms: None,
        };
        write(&mut transaction, &row).await.map_err(&fault)?;
        if let Some(turn) = turn {
            let to_send = notices(&row, turn);
            outbox::put(&mut transaction, self.0.vault(), &to_send, now_unix_ms).await?.map_err(&fault)?;
        }
        transaction.commit().await.map_err(&fault)?;
        Ok(turn)
    }

    /// Ends what has not been so for its policy's time: `recover_after_ms` by policy, where a policy that is gone has
    /// none and ends at once. `notices` says what is to be sent for those that were told.
    ///
    /// # Errors
    /// What the random source and the database report; what was ended stays ended.
    pub async fn settle(
        self,
        recover_after_ms: impl Fn(&str) -> Option<u64>,
        now_unix_ms: u64,
        notices: impl Fn(&AlertRow) -> Vec<NewNotice>,
    ) -> Result<Vec<AlertRow>, Error> {
        let fault = self.0.fault("end alerts");
        let mut over = Vec::new();
        for row in self.list(true, LIST_MAX).await? {
            let quiet_ms = recover_after_ms(&row.policy).unwrap_or(0);
            if now_unix_ms.saturating_sub(row.last_at_ms) < quiet_ms {
                continue;
            }
            let mut transaction = self.0.keys().begin().await?;
            // Another gateway may have seen it again since.
            let ended = sqlx::query(
                "UPDATE alert SET state = 'recovered', ended_at_ms = $3
                 WHERE id = $1 AND state = 'firing' AND last_at_ms = $2",
            )
            .bind(&row.id)
            .bind(stored_millis(row.last_at_ms))
            .bind(stored_millis(now_unix_ms))
            .execute(&mut *transaction)
            .await
            .map_err(&fault)?;
            if ended.rows_affected() != 1 {
                continue;
            }
            let row = AlertRow { is_firing: false, ended_at_ms: Some(now_unix_ms), ..row };
            if row.told_at_ms.is_some() {
                outbox::put(&mut transaction, self.0.vault(), &notices(&row), now_unix_ms)
                    .await?
                    .map_err(&fault)?;
            }
            transaction.commit().await.map_err(&fault)?;
            over.push(row);
        }
        Ok(over)
    }

    /// The alerts, those that were so last first; all, or those that fire.
    ///
    /// # Errors
    /// What the database reports.
    pub async fn list(self, only_firing: bool, limit: u32) -> Result<Vec<AlertRow>, Error> {
        let rows = sqlx::query(concat!(
            "SELECT ",
            alert_columns!(),
            " FROM alert WHERE NOT $1 OR state = 'firing' ORDER BY last_at_ms DESC, id LIMIT $2"
        ))
        .bind(only_firing)
        .bind(limit.min(LIST_MAX))
        .fetch_all(self.0.writer())
        .await;
        rows.and_then(|rows| rows.iter().map(read).collect()).map_err(self.0.fault("list alerts"))
    }

    /// Silences what matches, until a moment.
    ///
    /// # Errors
    /// [`Error::BadText`], [`Error::ExpiryPast`], or what the random source and the database report.
    pub async fn silence(self, wanted: &SilenceRow, now_unix_ms: u64) -> Result<SilenceRow, Error> {
        sound("reason", &wanted.reason, 500)?;
        sound("author", &wanted.created_by, 253)?;
        if wanted.until_ms <= now_unix_ms {
            return Err(Error::ExpiryPast);
        }
        let row = SilenceRow { id: hex(pepper::random::<8>()?.as_slice()), ..wanted.clone() };
        sqlx::query(
            "INSERT INTO alert_silence (id, policy, signal, grouping, until_ms, reason, created_by, created_at_ms)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        )
        .bind(&row.id)
        .bind(&row.policy)
        .bind(&row.signal)
        .bind(&row.group)
        .bind(stored_millis(row.until_ms))
        .bind(&row.reason)
        .bind(&row.created_by)
        .bind(stored_millis(now_unix_ms))
        .execute(self.0.writer())
        .await
        .map_err(self.0.fault("silence an alert"))?;
        Ok(row)
    }

    /// Ends a silence; whether there was one.
    ///
    /// # Errors
    /// What the database reports.
    pub async fn unsilence(self, id: &str, now_unix_ms: u64) -> Result<bool, Error> {
        let done = sqlx::query("UPDATE alert_silence SET until_ms = $2 WHERE id = $1 AND until_ms > $2")
            .bind(id)
            .bind(stored_millis(now_unix_ms))
            .execute(self.0.writer())
            .await
            .map_err(self.0.fault("end a silence"))?;
        Ok(done.rows_affected() == 1)
    }

    /// The silences that hold.
    ///
    /// # Errors
    /// What the database reports.
    pub async fn silences(self, now_unix_ms: u64) -> Result<Vec<SilenceRow>, Error> {
        let fault = self.0.fault("list silences");
        let rows = sqlx::query(
            "SELECT id, policy, signal, grouping, until_ms, reason, created_by FROM alert_silence
             WHERE until_ms > $1 ORDER BY until_ms LIMIT 1000",
        )
        .bind(stored_millis(now_unix_ms))
        .fetch_all(self.0.writer())
        .await
        .map_err(&fault)?;
        let read = |row: &SqliteRow| {
            Ok(SilenceRow {
                id: row.try_get(0)?,
                policy: row.try_get(1)?,
                signal: row.try_get(2)?,
                group: row.try_get(3)?,
                until_ms: count(row.try_get(4)?),
                reason: row.try_get(5)?,
                created_by: row.try_get(6)?,
            })
        };
        rows.iter().map(read).collect::<Result<_, sqlx::Error>>().map_err(fault)
    }
}

fn read(row: &SqliteRow) -> Result<AlertRow, sqlx::Error> {
    let state: &str = row.try_get(5)?;
    Ok(AlertRow {
        id: row.try_get(0)?,
        policy: row.try_get(1)?,
        signal: row.try_get(2)?,
        group: row.try_get(3)?,
        text: row.try_get(4)?,
        is_firing: state == "firing",
        count: count(row.try_get(6)?),
        round: count(row.try_get(7)?),
        started_at_ms: count(row.try_get(8)?),
        last_at_ms: count(row.try_get(9)?),
        told_at_ms: row.try_get::<Option<i64>, _>(10)?.map(count),
        ended_at_ms: row.try_get::<Option<i64>, _>(11)?.map(count),
    })
}

async fn find(connection: &mut SqliteConnection, id: &str) -> Result<Option<AlertRow>, sqlx::Error> {
    let found = sqlx::query(concat!("SELECT ", alert_columns!(), " FROM alert WHERE id = $1"))
        .bind(id)
        .fetch_optional(connection)
        .await?;
    found.as_ref().map(read).transpose()
}

async fn silenced(connection: &mut SqliteConnection, pulse: &Pulse, now: u64) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM alert_silence WHERE until_ms > $1 AND policy IN ('', $2) AND signal IN ('', $3)
                        AND grouping IN ('', $4))",
    )
    .bind(stored_millis(now))
    .bind(&pulse.policy)
    .bind(&pulse.signal)
    .bind(&pulse.group)
    .fetch_one(connection)
    .await
}

async fn write(connection: &mut SqliteConnection, row: &AlertRow) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO alert (id, policy, signal, grouping, text, state, count, round, started_at_ms, last_at_ms, told_at_ms)
         VALUES ($1, $2, $3, $4, $5, 'firing', $6, $7, $8, $9, $10)
         ON CONFLICT (id) DO UPDATE SET text = $5, state = 'firing', count = $6, round = $7, started_at_ms = $8,
             last_at_ms = $9, told_at_ms = $10, ended_at_ms = NULL",
    )
    .bind(&row.id)
    .bind(&row.policy)
    .bind(&row.signal)
    .bind(&row.group)
    .bind(&row.text)
    .bind(stored_millis(row.count))
    .bind(stored_millis(row.round))
    .bind(stored_millis(row.started_at_ms))
    .bind(stored_millis(row.last_at_ms))
    .bind(row.told_at_ms.map(stored_millis))
    .execute(connection)
    .await?;
    Ok(())
}

fn id_of(pulse: &Pulse) -> String {
    let mut digest = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    for part in [&pulse.policy, &pulse.signal, &pulse.group] {
        digest.update(&part.len().to_be_bytes());
        digest.update(part.as_bytes());
    }
    let text = hex(digest.finish().as_ref());
    text.get(..ID_DIGITS).unwrap_or(&text).to_owned()
}

const ID_DIGITS: usize = 16;
const LIST_MAX: u32 = 1000;
