//! Tokens of the management API: make, find by their text, list, revoke.
//!
//! `bzt_<id>_<secret>`: the id finds the row, the secret is 256 random bits of which only the SHA-256 is kept. Compared
//! in constant time. A token has a role, may be narrowed by a scope, and may be a user's own.

use sqlx::{Row, sqlite::SqliteRow};

use crate::{
    error::Error,
    key_row::stored_millis,
    revision::count,
    secret_text::{self, SecretText},
    store::Store,
    text::sound,
};

/// A token to be made.
#[derive(Clone, Copy, Debug)]
pub struct NewToken<'a> {
    /// What it is called, and so whoever acts by it.
    pub name: &'a str,
    /// Its role, a word that the management API knows.
    pub role: &'a str,
    /// Who makes it.
    pub created_by: &'a str,
    /// From when it is valid no more, in Unix milliseconds; `None` for never.
    pub expires_at_ms: Option<u64>,
    /// What it is narrowed to, in the management API's words; empty: the whole role.
    pub scope: &'a str,
    /// The id of the user whose personal token it is; `None` for a service's.
    pub user: Option<&'a str>,
}

/// The text of a token, in the one moment in which it is known.
pub type TokenText = SecretText;

/// A token as the store knows it. Times are Unix milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRow {
    /// Its public id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its role.
    pub role: String,
    /// When it was made.
    pub created_at_ms: u64,
    /// Who made it.
    pub created_by: String,
    /// From when it is valid no more.
    pub expires_at_ms: Option<u64>,
    /// When it was revoked.
    pub revoked_at_ms: Option<u64>,
    /// When it was last used, exact to the minute.
    pub last_used_at_ms: Option<u64>,
    /// What it is narrowed to; empty: the whole role.
    pub scope: String,
    /// The id of the user whose personal token it is.
    pub user: Option<String>,
}

impl TokenRow {
    /// Whether it opens.
    pub fn is_valid(&self, now_unix_ms: u64) -> bool {
        self.revoked_at_ms.is_none() && self.expires_at_ms.is_none_or(|expires| now_unix_ms < expires)
    }

    fn read(row: &SqliteRow) -> Result<Self, sqlx::Error> {
        let used = count(row.try_get(7)?);
        Ok(TokenRow {
            id: row.try_get(0)?,
            name: row.try_get(1)?,
            role: row.try_get(2)?,
            created_at_ms: count(row.try_get(3)?),
            created_by: row.try_get(4)?,
            expires_at_ms: row.try_get::<Option<i64>, _>(5)?.map(count),
            revoked_at_ms: row.try_get::<Option<i64>, _>(6)?.map(count),
            last_used_at_ms: (used > 0).then_some(used),
            scope: row.try_get(8)?,
            user: row.try_get(9)?,
        })
    }
}

macro_rules! token_columns {
    () => {
        "id, name, role, created_at_ms, created_by, expires_at_ms, revoked_at_ms, last_used_ms, scope, user"
    };
}

/// The tokens of a store.
#[derive(Clone, Copy, Debug)]
pub struct Tokens<'a>(&'a Store);

impl<'a> Tokens<'a> {
    pub(crate) const fn of(store: &'a Store) -> Self {
        Tokens(store)
    }

    /// Makes a token. The text is in no other place.
    ///
    /// # Errors
    /// [`Error::BadText`], [`Error::ExpiryPast`], or what the random source and the database report.
    pub async fn create(self, new: NewToken<'_>, now_unix_ms: u64) -> Result<(TokenRow, TokenText), Error> {
        sound("token's name", new.name, NAME_MAX)?;
        sound("token's role", new.role, NAME_MAX)?;
        sound("author", new.created_by, NAME_MAX)?;
        if new.expires_at_ms.is_some_and(|expires| expires <= now_unix_ms) {
            return Err(Error::ExpiryPast);
        }
        let minted = secret_text::mint(PREFIX)?;
        let row = sqlx::query(concat!(
            "INSERT INTO management_token (id, hash, name, role, created_at_ms, created_by, expires_at_ms, scope, user)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) RETURNING ",
            token_columns!()
        ))
        .bind(&minted.id)
        .bind(minted.hash.as_slice())
        .bind(new.name)
        .bind(new.role)
        .bind(stored_millis(now_unix_ms))
        .bind(new.created_by)
        .bind(new.expires_at_ms.map(stored_millis))
        .bind(new.scope)
        .bind(new.user)
        .fetch_one(self.0.writer())
        .await
        .and_then(|row| TokenRow::read(&row))
        .map_err(self.0.fault("store a token"))?;
        Ok((row, minted.text))
    }

    /// The token of this text, whether it is valid or not; `None` where it is none of ours.
    ///
    /// # Errors
    /// What the database reports.
    pub async fn recognise(self, text: &str) -> Result<Option<TokenRow>, Error> {
        let Some((id, secret)) = secret_text::split(PREFIX, text) else { return Ok(None) };
        let found =
            sqlx::query(concat!("SELECT ", token_columns!(), ", hash FROM management_token WHERE id = $1"))
                .bind(id)
                .fetch_optional(self.0.writer())
                .await
                .map_err(self.0.fault("find a token"))?;
        let Some(row) = found else { return Ok(None) };
        let read =
            |row: &SqliteRow| Ok::<_, sqlx::Error>((TokenRow::read(row)?, row.try_get::<Vec<u8>, _>(10)?));
        let (row, hash) = read(&row).map_err(self.0.fault("read a token"))?;
        Ok(secret_text::is_of(secret, &hash).then_some(row))
    }

    /// Writes down that a token was used, at most once a minute.
    ///
    /// # Errors
    /// What the database reports.
    pub async fn used(self, row: &TokenRow, now_unix_ms: u64) -> Result<(), Error> {
        if row.last_used_at_ms.is_some_and(|used| now_unix_ms.saturating_sub(used) < USE_STEP_MS) {
            return Ok(());
        }
        sqlx::query("UPDATE management_token SET last_used_ms = $2 WHERE id = $1 AND last_used_ms < $2")
            .bind(&row.id)
            .bind(stored_millis(now_unix_ms))
            .execute(self.0.writer())
            .await
            .map_err(self.0.fault("save when a token was used"))?;
        Ok(())
    }

    /// All tokens, oldest first; there are few of them, and never more than a thousand are listed.
    ///
    /// # Errors
    /// What the database reports.
    pub async fn list(self) -> Result<Vec<TokenRow>, Error> {
        let found = sqlx::query(concat!(
            "SELECT ",
            token_columns!(),
            " FROM management_token ORDER BY created_at_ms, id LIMIT 1000"
        ))
        .fetch_all(self.0.writer())
        .await;
        let rows: Result<Vec<TokenRow>, sqlx::Error> =
            found.and_then(|rows| rows.iter().map(TokenRow::read).collect());
        rows.map_err(self.0.fault("list tokens"))
    }

    /// Withdraws a token for good; withdrawing it again changes nothing.
    ///
    /// # Errors
    /// [`Error::TokenUnknown`], or what the database reports.
    pub async fn revoke(self, id: &str, now_unix_ms: u64) -> Result<TokenRow, Error> {
        let found = sqlx::query(concat!(
            "UPDATE management_token SET revoked_at_ms = COALESCE(revoked_at_ms, $2) WHERE id = $1 RETURNING ",
            token_columns!()
        ))
        .bind(id)
        .bind(stored_millis(now_unix_ms))
        .fetch_optional(self.0.writer())
        .await
        .and_then(|row| row.as_ref().map(TokenRow::read).transpose());
        found
            .map_err(self.0.fault("revoke a token"))?
            .ok_or_else(|| Error::TokenUnknown { id: id.to_owned() })
    }
}

const PREFIX: &str = "bzt_";
const NAME_MAX: usize = 253;
const USE_STEP_MS: u64 = 60_000;
