//! Who is signed in: begin, recognise, list, end.
//!
//! `bzs_<id>_<secret>` is in the browser's cookie and nowhere else; kept is the SHA-256 of the secret. A session ends when
//! it was idle for too long, at an absolute age, when somebody ends it, and with its user. The oldest of a user who has too
//! many goes first.

use sqlx::{Row, sqlite::SqliteRow};

use crate::{
    error::Error,
    key_row::stored_millis,
    revision::count,
    secret_text::{self, SecretText},
    store::Store,
    users::UserRow,
};

/// A session to be begun.
#[derive(Clone, Copy, Debug)]
pub struct NewSession<'a> {
    /// The id of the user.
    pub user: &'a str,
    /// From where.
    pub address: &'a str,
    /// What the browser calls itself.
    pub agent: &'a str,
    /// At which age it ends whatever happens.
    pub life_ms: u64,
}

/// A session as the store knows it. Times are Unix milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionRow {
    /// Its public id.
    pub id: String,
    /// The id of its user.
    pub user: String,
    /// The name of its user.
    pub user_name: String,
    /// From where it was begun.
    pub address: String,
    /// What the browser called itself.
    pub agent: String,
    /// When it was begun.
    pub created_at_ms: u64,
    /// When it was last used, exact to the minute.
    pub seen_at_ms: u64,
    /// When it ends at the latest.
    pub expires_at_ms: u64,
}

impl SessionRow {
    fn read(row: &SqliteRow) -> Result<Self, sqlx::Error> {
        Ok(SessionRow {
            id: row.try_get("session_id")?,
            user: row.try_get("id")?,
            user_name: row.try_get("name")?,
            address: row.try_get("address")?,
            agent: row.try_get("agent")?,
            created_at_ms: count(row.try_get("began_at_ms")?),
            seen_at_ms: count(row.try_get("seen_at_ms")?),
            expires_at_ms: count(row.try_get("expires_at_ms")?),
        })
    }
}

macro_rules! session_columns {
    () => {
        "s.id AS session_id, s.address, s.agent, s.created_at_ms AS began_at_ms, s.seen_at_ms, s.expires_at_ms, u.*"
    };
}

/// The sessions of a store.
#[derive(Clone, Copy, Debug)]
pub struct Sessions<'a>(&'a Store);

impl<'a> Sessions<'a> {
    pub(crate) const fn of(store: &'a Store) -> Self {
        Sessions(store)
    }

    /// Begins a session. The text is for the browser's cookie alone.
    ///
    /// # Errors
    /// What the random source and the database report.
    pub async fn begin(self, new: NewSession<'_>, now_unix_ms: u64) -> Result<(String, SecretText), Error> {
        let fault = || self.0.fault("begin a session");
        let minted = secret_text::mint(PREFIX)?;
        let now = stored_millis(now_unix_ms);
        let mut transaction = self.0.writer().begin_with("BEGIN IMMEDIATE").await.map_err(fault())?;
        sqlx::query("DELETE FROM management_session WHERE COALESCE(ended_at_ms, expires_at_ms) < $1")
            .bind(now)
            .execute(&mut *transaction)
            .await
            .map_err(fault())?;
        sqlx::query(
            "DELETE FROM management_session WHERE user = $1 AND id NOT IN (SELECT id FROM management_session
                 WHERE user = $1 AND ended_at_ms IS NULL ORDER BY created_at_ms DESC LIMIT $2)",
        )
        .bind(new.user)
        .bind(OF_USER_MAX - 1)
        .execute(&mut *transaction)
        .await
        .map_err(fault())?;
        let cut = |text: &str| text.chars().filter(|c| !c.is_control()).take(TEXT_MAX).collect::<String>();
        sqlx::query(
            "INSERT INTO management_session (id, hash, user, address, agent, created_at_ms, seen_at_ms, expires_at_ms)
             VALUES ($1, $2, $3, $4, $5, $6, $6, $7)",
        )
        .bind(&minted.id)
        .bind(minted.hash.as_slice())
        .bind(new.user)
        .bind(cut(new.address))
        .bind(cut(new.agent))
        .bind(now)
        .bind(stored_millis(now_unix_ms.saturating_add(new.life_ms)))
        .execute(&mut *transaction)
        .await
        .map_err(fault())?;
        transaction.commit().await.map_err(fault())?;
        Ok((minted.id, minted.text))
    }

    /// The session of this text and its user, where both hold; noted as used, at most once a minute.
    ///
    /// # Errors
    /// What the database reports.
    pub async fn recognise(
        self,
        text: &str,
        idle_ms: u64,
        now_unix_ms: u64,
    ) -> Result<Option<(SessionRow, UserRow)>, Error> {
        let Some((id, secret)) = secret_text::split(PREFIX, text) else { return Ok(None) };
        let found = sqlx::query(concat!(
            "SELECT ",
            session_columns!(),
            ", s.hash FROM management_session s JOIN management_user u ON u.id = s.user
             WHERE s.id = $1 AND s.ended_at_ms IS NULL AND s.expires_at_ms > $2 AND s.seen_at_ms > $3
             AND u.disabled_at_ms IS NULL"
        ))
        .bind(id)
        .bind(stored_millis(now_unix_ms))
        .bind(stored_millis(now_unix_ms.saturating_sub(idle_ms)))
        .fetch_optional(self.0.writer())
        .await
        .map_err(self.0.fault("find a session"))?;
        let Some(row) = found else { return Ok(None) };
        let read = || {
            let hash: Vec<u8> = row.try_get("hash")?;
            Ok::<_, sqlx::Error>((hash, SessionRow::read(&row)?, UserRow::read(&row)?))
        };
        let (hash, session, user) = read().map_err(self.0.fault("read a session"))?;
        if !secret_text::is_of(secret, &hash) {
            return Ok(None);
        }
        if now_unix_ms.saturating_sub(session.seen_at_ms) >= USE_STEP_MS {
            sqlx::query("UPDATE management_session SET seen_at_ms = $2 WHERE id = $1 AND seen_at_ms < $2")
                .bind(&session.id)
                .bind(stored_millis(now_unix_ms))
                .execute(self.0.writer())
                .await
                .map_err(self.0.fault("save when a session was used"))?;
        }
        Ok(Some((session, user)))
    }

    /// The sessions that hold, newest first: of the user with this id, or of everybody.
    ///
    /// # Errors
    /// What the database reports.
    pub async fn list(
        self,
        user: Option<&str>,
        idle_ms: u64,
        now_unix_ms: u64,
    ) -> Result<Vec<SessionRow>, Error> {
        let found = sqlx::query(concat!(
            "SELECT ",
            session_columns!(),
            " FROM management_session s JOIN management_user u ON u.id = s.user
             WHERE s.ended_at_ms IS NULL AND s.expires_at_ms > $2 AND s.seen_at_ms > $3
             AND ($1 IS NULL OR s.user = $1) ORDER BY s.created_at_ms DESC, s.id LIMIT 1000"
        ))
        .bind(user)
        .bind(stored_millis(now_unix_ms))
        .bind(stored_millis(now_unix_ms.saturating_sub(idle_ms)))
        .fetch_all(self.0.writer())
        .await;
        let rows: Result<Vec<SessionRow>, sqlx::Error> =
            found.and_then(|rows| rows.iter().map(SessionRow::read).collect());
        rows.map_err(self.0.fault("list sessions"))
    }

    /// Ends a session, of this user alone where one is named. Whether there was one.
    ///
    /// # Errors
    /// What the database reports.
    pub async fn end(self, id: &str, user: Option<&str>, now_unix_ms: u64) -> Result<bool, Error> {
        let ended = sqlx::query(
            "UPDATE management_session SET ended_at_ms = $3
             WHERE id = $1 AND ended_at_ms IS NULL AND ($2 IS NULL OR user = $2)",
        )
        .bind(id)
        .bind(user)
        .bind(stored_millis(now_unix_ms))
        .execute(self.0.writer())
        .await
        .map_err(self.0.fault("end a session"))?;
        Ok(ended.rows_affected() > 0)
    }
}

const PREFIX: &str = "bzs_";
/// A person has a few browsers; more sessions than this are forgotten ones.
const OF_USER_MAX: i64 = 20;
/// Characters kept of an address and of what a browser calls itself.
const TEXT_MAX: usize = 200;
const USE_STEP_MS: u64 = 60_000;
