//! Rollouts at rest: what was asked for, where each one stands, and what gateways saw.
//!
//! The store knows phases as words and counts as texts; what they mean is `bartizan_config::rollout`. A move is written
//! only where the rollout still stands where the mover saw it, so that several gateways and a person may want to move it
//! at once: the first one does.

use sqlx::{Row, Sqlite, SqliteConnection, Transaction, sqlite::SqliteRow};

use crate::{
    error::Error,
    key_row::stored_millis,
    pepper,
    revision::{RevisionNumber, count},
    revisions,
    store::Store,
    text::sound,
};

/// The number of a rollout; the first one is 1.
pub type RolloutNumber = u64;

/// A rollout to be begun.
#[derive(Clone, Copy, Debug)]
pub struct NewRollout<'a> {
    /// The revision that is tried.
    pub candidate: RevisionNumber,
    /// The revision that must be active.
    pub base: RevisionNumber,
    /// What was asked for, as JSON.
    pub plan: &'a str,
    /// Where it begins.
    pub standing: Standing<'a>,
    /// Who begins it.
    pub author: &'a str,
    /// Why.
    pub reason: &'a str,
}

/// Where a rollout stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing<'a> {
    /// The phase's word.
    pub phase: &'a str,
    /// The step; `None` in the shadow.
    pub step: Option<u32>,
}

/// A rollout. Times are Unix milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RolloutRow {
    /// Its number.
    pub number: RolloutNumber,
    /// The revision that is tried.
    pub candidate: RevisionNumber,
    /// The revision that was active when it began.
    pub base: RevisionNumber,
    /// What was asked for, as JSON.
    pub plan: String,
    /// What shares of callers are drawn with.
    pub salt: [u8; 16],
    /// Who began it.
    pub author: String,
    /// Why.
    pub reason: String,
    /// When.
    pub created_at_ms: u64,
    /// The phase's word.
    pub phase: String,
    /// The step; `None` in the shadow.
    pub step: Option<u32>,
    /// Since when it stands there.
    pub since_ms: u64,
    /// How many looks were taken there.
    pub looks: u32,
}

impl RolloutRow {
    /// Where it stands.
    pub fn standing(&self) -> Standing<'_> {
        Standing { phase: &self.phase, step: self.step }
    }

    fn read(row: &SqliteRow) -> Result<Self, sqlx::Error> {
        let salt: &[u8] = row.try_get(4)?;
        let salt = <[u8; 16]>::try_from(salt)
            .map_err(|_| sqlx::Error::Decode("a rollout's salt has not 16 bytes".into()))?;
        Ok(RolloutRow {
            number: count(row.try_get(0)?),
            candidate: count(row.try_get(1)?),
            base: count(row.try_get(2)?),
            plan: row.try_get(3)?,
            salt,
            author: row.try_get(5)?,
            reason: row.try_get(6)?,
            created_at_ms: count(row.try_get(7)?),
            phase: row.try_get(8)?,
            step: row.try_get::<Option<i64>, _>(9)?.and_then(|step| u32::try_from(step).ok()),
            since_ms: count(row.try_get(10)?),
            looks: u32::try_from(row.try_get::<i64, _>(11)?).unwrap_or(u32::MAX),
        })
    }
}

/// A move of a rollout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RolloutMove {
    /// What it became.
    pub phase: String,
    /// At which step.
    pub step: Option<u32>,
    /// When.
    pub at_ms: u64,
    /// Who moved it.
    pub actor: String,
    /// Why.
    pub why: String,
}

/// A move to be written.
#[derive(Clone, Copy, Debug)]
pub struct NewMove<'a> {
    /// What it becomes.
    pub to: Standing<'a>,
    /// Who moves it.
    pub actor: &'a str,
    /// Why.
    pub why: &'a str,
    /// Whether the candidate becomes the active revision with it.
    pub activates: bool,
}

macro_rules! columns {
    () => {
        "SELECT number, candidate, base, plan, salt, author, reason, created_at_ms, phase, step, since_ms, looks FROM rollout"
    };
}

/// The rollouts of a store.
#[derive(Clone, Copy, Debug)]
pub struct Rollouts<'a>(&'a Store);

impl<'a> Rollouts<'a> {
    pub(crate) const fn of(store: &'a Store) -> Self {
        Rollouts(store)
    }

    /// The one that is under way, else the last one.
    ///
    /// # Errors
    /// What the database reports.
    pub async fn latest(self) -> Result<Option<RolloutRow>, Error> {
        let fault = self.0.fault("read the rollout");
        let found = sqlx::query(concat!(columns!(), " ORDER BY number DESC LIMIT 1"))
            .fetch_optional(self.0.writer())
            .await
            .map_err(&fault)?;
        found.map(|row| RolloutRow::read(&row)).transpose().map_err(fault)
    }

    /// Begins one.
    ///
    /// # Errors
    /// [`Error::RolloutOpen`] where one is under way, [`Error::RevisionConflict`] where another revision is active,
    /// [`Error::RevisionUnknown`], [`Error::BadText`], or what the database reports; then nothing has changed.
    pub async fn begin(self, new: NewRollout<'_>, now_unix_ms: u64) -> Result<RolloutRow, Error> {
        sound("author", new.author, AUTHOR_MAX)?;
        sound("reason", new.reason, REASON_MAX)?;
        let fault = self.0.fault("begin a rollout");
        let mut transaction = self.begin_change().await?;
        if let Some(open) = open(&mut transaction).await.map_err(&fault)? {
            return Err(Error::RolloutOpen { number: open.number });
        }
        let active = revisions::find_active(&mut transaction).await.map_err(&fault)?;
        revisions::matches_expected(active.as_ref(), Some(new.base))?;
        let salt = pepper::random::<16>()?;
        let number: i64 = sqlx::query_scalar(
            "INSERT INTO rollout (number, candidate, base, plan, salt, author, reason, created_at_ms, phase, step, since_ms)
             VALUES ((SELECT COALESCE(MAX(number), 0) + 1 FROM rollout), $1, $2, $3, $4, $5, $6, $7, $8, $9, $7)
             RETURNING number",
        )
        .bind(stored_millis(new.candidate))
        .bind(stored_millis(new.base))
        .bind(new.plan)
        .bind(salt.as_slice())
        .bind(new.author)
        .bind(new.reason)
        .bind(stored_millis(now_unix_ms))
        .bind(new.standing.phase)
        .bind(new.standing.step)
        .fetch_one(&mut *transaction)
        .await
        .map_err(&fault)?;
        let made = NewMove { to: new.standing, actor: new.author, why: new.reason, activates: false };
        note(&mut transaction, count(number), &made, now_unix_ms).await.map_err(&fault)?;
        let row = find(&mut transaction, count(number)).await.map_err(&fault)?;
        transaction.commit().await.map_err(&fault)?;
        row.ok_or(Error::RolloutNone)
    }

    /// Moves one, if it still stands at `from`; `None` where it does not. Where the move activates the candidate, the
    /// revision it was begun on must still be active.
    ///
    /// # Errors
    /// [`Error::RevisionConflict`], or what the database reports; then nothing has changed.
    pub async fn advance(
        self,
        number: RolloutNumber,
        from: Standing<'_>,
        next: NewMove<'_>,
        now_unix_ms: u64,
    ) -> Result<Option<RolloutRow>, Error> {
        let fault = self.0.fault("move a rollout on");
        let mut transaction = self.begin_change().await?;
        let Some(row) = find(&mut transaction, number).await.map_err(&fault)? else { return Ok(None) };
        if row.standing() != from {
            return Ok(None);
        }
        if next.activates {
            let active = revisions::find_active(&mut transaction).await.map_err(&fault)?;
            revisions::matches_expected(active.as_ref(), Some(row.base))?;
            sqlx::query("UPDATE revision_active SET number = $1")
                .bind(stored_millis(row.candidate))
                .execute(&mut *transaction)
                .await
                .map_err(&fault)?;
        }
        sqlx::query("UPDATE rollout SET phase = $2, step = $3, since_ms = $4, looks = 0 WHERE number = $1")
            .bind(stored_millis(number))
            .bind(next.to.phase)
            .bind(next.to.step)
            .bind(stored_millis(now_unix_ms))
            .execute(&mut *transaction)
            .await
            .map_err(&fault)?;
        note(&mut transaction, number, &next, now_unix_ms).await.map_err(&fault)?;
        let row = find(&mut transaction, number).await.map_err(&fault)?;
        transaction.commit().await.map_err(&fault)?;
        Ok(row)
    }

    /// Notes that a look was taken, if nobody took it before.
    ///
    /// # Errors
    /// What the database reports.
    pub async fn looked(self, row: &RolloutRow, looks: u32) -> Result<(), Error> {
        sqlx::query("UPDATE rollout SET looks = $2 WHERE number = $1 AND since_ms = $3 AND looks < $2")
            .bind(stored_millis(row.number))
            .bind(looks)
            .bind(stored_millis(row.since_ms))
            .execute(self.0.writer())
            .await
            .map_err(self.0.fault("note a look at a rollout"))?;
        Ok(())
    }

    /// Its moves, in order.
    ///
    /// # Errors
    /// What the database reports.
    pub async fn moves(self, number: RolloutNumber) -> Result<Vec<RolloutMove>, Error> {
        let fault = self.0.fault("read the moves of a rollout");
        let rows = sqlx::query(
            "SELECT phase, step, at_ms, actor, why FROM rollout_move WHERE rollout = $1 ORDER BY number",
        )
        .bind(stored_millis(number))
        .fetch_all(self.0.writer())
        .await
        .map_err(&fault)?;
        let read = |row: &SqliteRow| {
            Ok(RolloutMove {
                phase: row.try_get(0)?,
                step: row.try_get::<Option<i64>, _>(1)?.and_then(|step| u32::try_from(step).ok()),
                at_ms: count(row.try_get(2)?),
                actor: row.try_get(3)?,
                why: row.try_get(4)?,
            })
        };
        rows.iter().map(read).collect::<Result<_, _>>().map_err(fault)
    }

    /// Writes down what a gateway saw in a step; it replaces what that gateway wrote before.
    ///
    /// # Errors
    /// What the database reports.
    pub async fn put_tally(
        self,
        number: RolloutNumber,
        step: Option<u32>,
        gateway: &str,
        tally: &str,
        now_unix_ms: u64,
    ) -> Result<(), Error> {
        sqlx::query(
            "INSERT INTO rollout_tally (rollout, step, gateway, tally, at_ms) VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (rollout, step, gateway) DO UPDATE SET tally = excluded.tally, at_ms = excluded.at_ms",
        )
        .bind(stored_millis(number))
        .bind(stored_step(step))
        .bind(gateway)
        .bind(tally)
        .bind(stored_millis(now_unix_ms))
        .execute(self.0.writer())
        .await
        .map_err(self.0.fault("write down what a rollout saw"))?;
        Ok(())
    }

    /// What each gateway saw in a step: the gateway, and its counts as JSON.
    ///
    /// # Errors
    /// What the database reports.
    pub async fn tallies(
        self,
        number: RolloutNumber,
        step: Option<u32>,
    ) -> Result<Vec<(String, String)>, Error> {
        let fault = self.0.fault("read what a rollout saw");
        let rows = sqlx::query("SELECT gateway, tally FROM rollout_tally WHERE rollout = $1 AND step = $2")
            .bind(stored_millis(number))
            .bind(stored_step(step))
            .fetch_all(self.0.writer())
            .await
            .map_err(&fault)?;
        rows.iter()
            .map(|row| Ok((row.try_get(0)?, row.try_get(1)?)))
            .collect::<Result<_, sqlx::Error>>()
            .map_err(fault)
    }

    /// Takes SQLite's write lock at once, so that what is compared cannot change before it is swapped.
    async fn begin_change(self) -> Result<Transaction<'static, Sqlite>, Error> {
        self.0.writer().begin_with("BEGIN IMMEDIATE").await.map_err(self.0.fault("begin a change"))
    }
}

async fn note(
    connection: &mut SqliteConnection,
    number: RolloutNumber,
    made: &NewMove<'_>,
    now_unix_ms: u64,
) -> Result<(), sqlx::Error> {
    let why: String = made.why.chars().take(WHY_MAX).collect();
    sqlx::query(
        "INSERT INTO rollout_move (rollout, number, phase, step, at_ms, actor, why)
         VALUES ($1, (SELECT COALESCE(MAX(number), 0) + 1 FROM rollout_move WHERE rollout = $1), $2, $3, $4, $5, $6)",
    )
    .bind(stored_millis(number))
    .bind(made.to.phase)
    .bind(made.to.step)
    .bind(stored_millis(now_unix_ms))
    .bind(made.actor)
    .bind(why)
    .execute(connection)
    .await?;
    Ok(())
}

async fn open(connection: &mut SqliteConnection) -> Result<Option<RolloutRow>, sqlx::Error> {
    let found =
        sqlx::query(concat!(columns!(), " WHERE phase IN ('shadow', 'share', 'paused', 'proved') LIMIT 1"))
            .fetch_optional(connection)
            .await?;
    found.map(|row| RolloutRow::read(&row)).transpose()
}

async fn find(
    connection: &mut SqliteConnection,
    number: RolloutNumber,
) -> Result<Option<RolloutRow>, sqlx::Error> {
    let found = sqlx::query(concat!(columns!(), " WHERE number = $1"))
        .bind(stored_millis(number))
        .fetch_optional(connection)
        .await?;
    found.map(|row| RolloutRow::read(&row)).transpose()
}

fn stored_step(step: Option<u32>) -> i64 {
    step.map_or(-1, i64::from)
}

const AUTHOR_MAX: usize = 253;
const REASON_MAX: usize = 1000;
/// A guard's sentence, or all problems of a candidate that could not be prepared.
const WHY_MAX: usize = 4000;
