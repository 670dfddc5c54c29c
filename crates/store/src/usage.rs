//! What quotas have counted and models were used for: the gateway writes it down each second, `usage` reads it.
//!
//! Accounts and sums of one second are one transaction, so that a bill never tells more or less than the budget knows.
//! Sums are added, so that several gateways on one store add up. Accounts are not: each gateway counts its own, and the larger
//! one stays.

use bartizan_limit::{Saved, Window};
use bartizan_telemetry::usage::{UsageKey, UsageRow, UsageSums};
use sqlx::{Row, sqlite::SqliteRow};

use crate::{error::Error, key_row::stored_millis, revision::count, store::Store};

/// Sums are kept for 25 months: this month can be held against the one two years ago.
const DAYS_KEPT: u32 = 25 * 31;
/// An account whose window ended so long ago is forgotten: whatever it owed has been paid off or written off.
const ACCOUNT_KEPT_MS: u64 = 400 * 86_400_000;

/// What quotas have counted and models were used for.
#[derive(Clone, Copy, Debug)]
pub struct Usage<'a>(&'a Store);

impl<'a> Usage<'a> {
    pub(crate) const fn of(store: &'a Store) -> Self {
        Usage(store)
    }

    /// All accounts, for a gateway that begins. Those that are too old are forgotten.
    ///
    /// # Errors
    /// What the database reports.
    pub async fn accounts(self, now_unix_ms: u64) -> Result<Vec<Saved>, Error> {
        let fault = self.0.fault("read what quotas have counted");
        let mut transaction = self.0.writer().begin_with("BEGIN IMMEDIATE").await.map_err(&fault)?;
        sqlx::query("DELETE FROM quota_account WHERE end_ms < $1")
            .bind(stored_millis(now_unix_ms.saturating_sub(ACCOUNT_KEPT_MS)))
            .execute(&mut *transaction)
            .await
            .map_err(&fault)?;
        sqlx::query("DELETE FROM usage_day WHERE day < $1")
            .bind(i64::from(day_of(now_unix_ms).saturating_sub(DAYS_KEPT)))
            .execute(&mut *transaction)
            .await
            .map_err(&fault)?;
        let rows = sqlx::query("SELECT key, begin_ms, end_ms, spent FROM quota_account")
            .fetch_all(&mut *transaction)
            .await
            .map_err(&fault)?;
        transaction.commit().await.map_err(&fault)?;
        rows.iter().map(account).collect::<Result<_, _>>().map_err(&fault)
    }

    /// Writes changed accounts and fresh sums down, all or nothing.
    ///
    /// # Errors
    /// What the database reports; then nothing of it is written.
    pub async fn save(self, accounts: &[Saved], rows: &[UsageRow]) -> Result<(), Error> {
        let fault = self.0.fault("write down what was used");
        let mut transaction = self.0.writer().begin_with("BEGIN IMMEDIATE").await.map_err(&fault)?;
        for Saved { key, window, spent } in accounts {
            sqlx::query(
                "INSERT INTO quota_account (key, begin_ms, end_ms, spent) VALUES ($1, $2, $3, $4)
                 ON CONFLICT (key) DO UPDATE SET begin_ms = excluded.begin_ms, end_ms = excluded.end_ms,
                     spent = CASE WHEN begin_ms = excluded.begin_ms THEN max(spent, excluded.spent)
                         ELSE excluded.spent END",
            )
            .bind(&**key)
            .bind(stored(window.begin_ms))
            .bind(stored(window.end_ms))
            .bind(stored(*spent))
            .execute(&mut *transaction)
            .await
            .map_err(&fault)?;
        }
        for row in rows {
            add(row).execute(&mut *transaction).await.map_err(&fault)?;
        }
        transaction.commit().await.map_err(&fault)
    }

    /// The sums of the days from `first` to `last`, both included, by team, consumer and model.
    ///
    /// # Errors
    /// What the database reports.
    pub async fn sums(self, first: u32, last: u32) -> Result<Vec<(UsageKey, UsageSums)>, Error> {
        let fault = self.0.fault("read what was used");
        // Added up here and not by the database, whose sums fail where they are too large.
        let rows = sqlx::query(
            "SELECT * FROM usage_day WHERE day BETWEEN $1 AND $2 ORDER BY team, consumer, model, day",
        )
        .bind(i64::from(first))
        .bind(i64::from(last))
        .fetch_all(self.0.writer())
        .await
        .map_err(&fault)?;
        let mut sums: Vec<(UsageKey, UsageSums)> = Vec::new();
        for row in &rows {
            let (key, more) = use_of(row).map_err(&fault)?;
            match sums.last_mut().filter(|(known, _)| *known == key) {
                Some((_, sum)) => sum.add(&more),
                None => sums.push((key, more)),
            }
        }
        Ok(sums)
    }
}

/// The day of a moment, by UTC.
pub fn day_of(unix_ms: u64) -> u32 {
    u32::try_from(unix_ms / 86_400_000).unwrap_or(u32::MAX)
}

fn add(row: &UsageRow) -> sqlx::query::Query<'_, sqlx::Sqlite, sqlx::sqlite::SqliteArguments> {
    let UsageRow { day, key, sums } = row;
    let query = sqlx::query(
        "INSERT INTO usage_day VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
         ON CONFLICT (day, team, consumer, model) DO UPDATE SET
             requests = requests + excluded.requests, failed = failed + excluded.failed,
             input = input + excluded.input, cached = cached + excluded.cached,
             output = output + excluded.output, reasoning = reasoning + excluded.reasoning,
             cost_pico = cost_pico + excluded.cost_pico, unpriced = unpriced + excluded.unpriced,
             estimated = estimated + excluded.estimated, fallbacks = fallbacks + excluded.fallbacks,
             answered = answered + excluded.answered,
             first_token_micros = first_token_micros + excluded.first_token_micros",
    );
    let query = query
        .bind(i64::from(*day))
        .bind(key.team.as_deref().unwrap_or(""))
        .bind(key.consumer.as_deref().unwrap_or(""))
        .bind(&*key.model);
    [
        sums.requests,
        sums.failed,
        sums.input,
        sums.cached,
        sums.output,
        sums.reasoning,
        sums.cost_pico,
        sums.unpriced,
        sums.estimated,
        sums.fallbacks,
        sums.answered,
        sums.first_token_micros,
    ]
    .into_iter()
    .fold(query, |query, sum| query.bind(stored(sum)))
}

fn account(row: &SqliteRow) -> Result<Saved, sqlx::Error> {
    let key: String = row.try_get("key")?;
    let window = Window { begin_ms: number(row, "begin_ms")?, end_ms: number(row, "end_ms")? };
    Ok(Saved { key: key.into(), window, spent: number(row, "spent")? })
}

fn use_of(row: &SqliteRow) -> Result<(UsageKey, UsageSums), sqlx::Error> {
    let name = |column: &str| row.try_get::<String, _>(column);
    let some = |text: String| (!text.is_empty()).then(|| text.into());
    let key = UsageKey {
        team: some(name("team")?),
        consumer: some(name("consumer")?),
        model: name("model")?.into(),
    };
    let sums = UsageSums {
        requests: number(row, "requests")?,
        failed: number(row, "failed")?,
        input: number(row, "input")?,
        cached: number(row, "cached")?,
        output: number(row, "output")?,
        reasoning: number(row, "reasoning")?,
        cost_pico: number(row, "cost_pico")?,
        unpriced: number(row, "unpriced")?,
        estimated: number(row, "estimated")?,
        fallbacks: number(row, "fallbacks")?,
        answered: number(row, "answered")?,
        first_token_micros: number(row, "first_token_micros")?,
    };
    Ok((key, sums))
}

fn number(row: &SqliteRow, column: &str) -> Result<u64, sqlx::Error> {
    Ok(count(row.try_get(column)?))
}

/// SQLite's numbers end at 2⁶³ − 1: in picodollars nine million dollars, more than a budget can be.
fn stored(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
