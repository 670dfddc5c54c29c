//! People who manage the gateway: add, find, change, disable; links by which they set a password.
//!
//! The store keeps what it is given: hashes are made and checked elsewhere, away from threads that serve. A link,
//! `bzl_<id>_<secret>`, sets one password once and is spent in the transaction that sets it; a newer link for the same
//! purpose takes its place. The last enabled admin cannot be taken away. Nobody is ever deleted, for the trail names them.

use sqlx::{Row, Sqlite, SqliteConnection, Transaction, sqlite::SqliteRow};

use crate::{
    error::Error,
    key_row::stored_millis,
    revision::count,
    secret_text::{self, SecretText},
    store::Store,
    text::sound,
};

/// Somebody to be added.
#[derive(Clone, Copy, Debug)]
pub struct NewUser<'a> {
    /// What they are called.
    pub name: &'a str,
    /// Their role, a word that the management API knows.
    pub role: &'a str,
    /// What the role is narrowed to; empty: nothing.
    pub scope: &'a str,
    /// Who adds them.
    pub created_by: &'a str,
}

/// Somebody whom an OpenID provider proves.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// The provider's identifier.
    pub issuer: &'a str,
    /// Who it is there, for good.
    pub subject: &'a str,
    /// What they are called; given to nobody else here.
    pub name: &'a str,
    /// The role that their claims give them now.
    pub role: &'a str,
}

/// What is to be different about somebody; `None` leaves it.
#[derive(Clone, Copy, Debug, Default)]
pub struct UserChange<'a> {
    /// Their role.
    pub role: Option<&'a str>,
    /// What the role is narrowed to.
    pub scope: Option<&'a str>,
    /// Whether they are disabled.
    pub disabled: Option<bool>,
}

/// Somebody as the store knows them, without their password. Times are Unix milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserRow {
    /// Their id.
    pub id: String,
    /// Their name.
    pub name: String,
    /// Their role.
    pub role: String,
    /// What it is narrowed to; empty: nothing.
    pub scope: String,
    /// Whether they have a password.
    pub has_password: bool,
    /// The OpenID provider that proves them.
    pub issuer: Option<String>,
    /// When they were added.
    pub created_at_ms: u64,
    /// Who added them.
    pub created_by: String,
    /// When they were disabled.
    pub disabled_at_ms: Option<u64>,
    /// When they last signed in.
    pub login_at_ms: Option<u64>,
}

impl UserRow {
    /// Whether they may sign in.
    pub fn is_enabled(&self) -> bool {
        self.disabled_at_ms.is_none()
    }

    pub(crate) fn read(row: &SqliteRow) -> Result<Self, sqlx::Error> {
        Ok(UserRow {
            id: row.try_get("id")?,
            name: row.try_get("name")?,
            role: row.try_get("role")?,
            scope: row.try_get("scope")?,
            has_password: row.try_get::<Option<String>, _>("password")?.is_some(),
            issuer: row.try_get("issuer")?,
            created_at_ms: count(row.try_get("created_at_ms")?),
            created_by: row.try_get("created_by")?,
            disabled_at_ms: row.try_get::<Option<i64>, _>("disabled_at_ms")?.map(count),
            login_at_ms: row.try_get::<Option<i64>, _>("login_at_ms")?.map(count),
        })
    }
}

/// What a link is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkFor<'a> {
    /// The first user, who becomes admin; it holds only while there is nobody.
    First,
    /// The password of the user with this id.
    User(&'a str),
}

impl<'a> LinkFor<'a> {
    const fn user(self) -> Option<&'a str> {
        match self {
            LinkFor::First => None,
            LinkFor::User(id) => Some(id),
        }
    }
}

/// The people of a store.
#[derive(Clone, Copy, Debug)]
pub struct Users<'a>(&'a Store);

impl<'a> Users<'a> {
    pub(crate) const fn of(store: &'a Store) -> Self {
        Users(store)
    }

    /// Adds somebody, without a password.
    ///
    /// # Errors
    /// [`Error::BadText`], [`Error::UserExists`], or what the random source and the database report.
    pub async fn add(self, new: NewUser<'_>, now_unix_ms: u64) -> Result<UserRow, Error> {
        let mut connection = self.0.writer().acquire().await.map_err(self.0.fault("add a user"))?;
        self.insert(&mut connection, new, None, None, now_unix_ms).await
    }

    async fn insert(
        self,
        connection: &mut SqliteConnection,
        new: NewUser<'_>,
        password: Option<&str>,
        proven: Option<(&str, &str)>,
        now_unix_ms: u64,
    ) -> Result<UserRow, Error> {
        sound("user's name", new.name, NAME_MAX)?;
        sound("user's role", new.role, NAME_MAX)?;
        sound("author", new.created_by, NAME_MAX)?;
        let made = sqlx::query(
            "INSERT INTO management_user (id, name, role, scope, password, issuer, subject, created_at_ms, created_by)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (name) DO NOTHING RETURNING *",
        )
        .bind(secret_text::id()?)
        .bind(new.name)
        .bind(new.role)
        .bind(new.scope)
        .bind(password)
        .bind(proven.map(|(issuer, _)| issuer))
        .bind(proven.map(|(_, subject)| subject))
        .bind(stored_millis(now_unix_ms))
        .bind(new.created_by)
        .fetch_optional(connection)
        .await
        .and_then(|row| row.as_ref().map(UserRow::read).transpose());
        let made = made.map_err(self.0.fault("add a user"))?;
        made.ok_or_else(|| Error::UserExists { name: new.name.to_owned() })
    }

    /// Everybody, oldest first; never more than a thousand are listed.
    ///
    /// # Errors
    /// What the database reports.
    pub async fn list(self) -> Result<Vec<UserRow>, Error> {
        let found = sqlx::query("SELECT * FROM management_user ORDER BY created_at_ms, id LIMIT 1000")
            .fetch_all(self.0.writer())
            .await;
        let rows: Result<Vec<UserRow>, sqlx::Error> =
            found.and_then(|rows| rows.iter().map(UserRow::read).collect());
        rows.map_err(self.0.fault("list users"))
    }

    /// Whether there is nobody yet.
    ///
    /// # Errors
    /// What the database reports.
    pub async fn is_empty(self) -> Result<bool, Error> {
        let some: i64 = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM management_user)")
            .fetch_one(self.0.writer())
            .await
            .map_err(self.0.fault("look for users"))?;
        Ok(some == 0)
    }

    /// Somebody by name.
    ///
    /// # Errors
    /// [`Error::UserUnknown`], or what the database reports.
    pub async fn find(self, name: &str) -> Result<UserRow, Error> {
        let found = self.look("SELECT * FROM management_user WHERE name = $1", name).await?;
        found.ok_or_else(|| Error::UserUnknown { name: name.to_owned() })
    }

    /// Somebody by id.
    ///
    /// # Errors
    /// What the database reports.
    pub async fn of_id(self, id: &str) -> Result<Option<UserRow>, Error> {
        self.look("SELECT * FROM management_user WHERE id = $1", id).await
    }

    async fn look(self, sql: &'static str, value: &str) -> Result<Option<UserRow>, Error> {
        let found = sqlx::query(sql)
            .bind(value)
            .fetch_optional(self.0.writer())
            .await
            .and_then(|row| row.as_ref().map(UserRow::read).transpose());
        found.map_err(self.0.fault("find a user"))
    }

    /// Somebody by name with what is kept of their password, to be checked; `None` where there is nobody.
    ///
    /// # Errors
    /// What the database reports.
    pub async fn with_password(self, name: &str) -> Result<Option<(UserRow, Option<String>)>, Error> {
        let found = sqlx::query("SELECT * FROM management_user WHERE name = $1")
            .bind(name)
            .fetch_optional(self.0.writer())
            .await;
        let read = |row: &SqliteRow| Ok((UserRow::read(row)?, row.try_get("password")?));
        found.and_then(|row| row.as_ref().map(read).transpose()).map_err(self.0.fault("find a user"))
    }

    /// Changes somebody. Who is disabled is signed out.
    ///
    /// # Errors
    /// [`Error::UserUnknown`], [`Error::LastAdmin`], [`Error::BadText`], or what the database reports.
    pub async fn change(
        self,
        name: &str,
        change: UserChange<'_>,
        now_unix_ms: u64,
    ) -> Result<UserRow, Error> {
        if let Some(role) = change.role {
            sound("user's role", role, NAME_MAX)?;
        }
        let fault = || self.0.fault("change a user");
        let now = stored_millis(now_unix_ms);
        let mut transaction = self.begin().await?;
        let had_admin = self.has_admin(&mut transaction).await?;
        let changed = sqlx::query(
            "UPDATE management_user SET role = COALESCE($2, role), scope = COALESCE($3, scope),
                 disabled_at_ms = CASE $4 WHEN 1 THEN COALESCE(disabled_at_ms, $5) WHEN 0 THEN NULL ELSE disabled_at_ms END
             WHERE name = $1 RETURNING *",
        )
        .bind(name)
        .bind(change.role)
        .bind(change.scope)
        .bind(change.disabled.map(i64::from))
        .bind(now)
        .fetch_optional(&mut *transaction)
        .await
        .and_then(|row| row.as_ref().map(UserRow::read).transpose())
        .map_err(fault())?;
        let Some(row) = changed else { return Err(Error::UserUnknown { name: name.to_owned() }) };
        // One with everything must be left who can sign in, or nobody could mend anything from afar.
        if had_admin && !self.has_admin(&mut transaction).await? {
            return Err(Error::LastAdmin { name: row.name });
        }
        if !row.is_enabled() {
            end_sessions(&mut transaction, &row.id, now).await.map_err(fault())?;
        }
        transaction.commit().await.map_err(fault())?;
        Ok(row)
    }

    async fn has_admin(self, connection: &mut SqliteConnection) -> Result<bool, Error> {
        let some: i64 = sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM management_user
             WHERE role = 'admin' AND scope = '' AND disabled_at_ms IS NULL)",
        )
        .fetch_one(connection)
        .await
        .map_err(self.0.fault("look for admins"))?;
        Ok(some != 0)
    }

    /// Sets a password, which ends the user's sessions but the one given; every link of theirs is spent.
    ///
    /// # Errors
    /// What the database reports.
    pub async fn set_password(
        self,
        id: &str,
        kept: &str,
        but: Option<&str>,
        now_unix_ms: u64,
    ) -> Result<(), Error> {
        let fault = || self.0.fault("set a password");
        let now = stored_millis(now_unix_ms);
        let mut transaction = self.begin().await?;
        sqlx::query("UPDATE management_user SET password = $2 WHERE id = $1")
            .bind(id)
            .bind(kept)
            .execute(&mut *transaction)
            .await
            .map_err(fault())?;
        sqlx::query("DELETE FROM management_link WHERE user = $1")
            .bind(id)
            .execute(&mut *transaction)
            .await
            .map_err(fault())?;
        sqlx::query(
            "UPDATE management_session SET ended_at_ms = $3 WHERE user = $1 AND id <> $2 AND ended_at_ms IS NULL",
        )
        .bind(id)
        .bind(but.unwrap_or_default())
        .bind(now)
        .execute(&mut *transaction)
        .await
        .map_err(fault())?;
        transaction.commit().await.map_err(fault())
    }

    /// Takes a password away and signs the user out; a link sets a new one.
    ///
    /// # Errors
    /// [`Error::UserUnknown`], or what the database reports.
    pub async fn reset(self, name: &str, now_unix_ms: u64) -> Result<UserRow, Error> {
        let fault = || self.0.fault("reset a password");
        let mut transaction = self.begin().await?;
        let row = sqlx::query("UPDATE management_user SET password = NULL WHERE name = $1 RETURNING *")
            .bind(name)
            .fetch_optional(&mut *transaction)
            .await
            .and_then(|row| row.as_ref().map(UserRow::read).transpose())
            .map_err(fault())?
            .ok_or_else(|| Error::UserUnknown { name: name.to_owned() })?;
        end_sessions(&mut transaction, &row.id, stored_millis(now_unix_ms)).await.map_err(fault())?;
        transaction.commit().await.map_err(fault())?;
        Ok(row)
    }

    /// Notes that somebody signed in.
    ///
    /// # Errors
    /// What the database reports.
    pub async fn signed_in(self, id: &str, now_unix_ms: u64) -> Result<(), Error> {
        sqlx::query("UPDATE management_user SET login_at_ms = $2 WHERE id = $1")
            .bind(id)
            .bind(stored_millis(now_unix_ms))
            .execute(self.0.writer())
            .await
            .map(|_| ())
            .map_err(self.0.fault("note that somebody signed in"))
    }

    /// Makes a one-time link, in place of every earlier one for the same.
    ///
    /// # Errors
    /// What the random source and the database report.
    pub async fn link(self, what: LinkFor<'_>, life_ms: u64, now_unix_ms: u64) -> Result<SecretText, Error> {
        let fault = || self.0.fault("make a link");
        let minted = secret_text::mint(LINK_PREFIX)?;
        let mut transaction = self.begin().await?;
        sqlx::query("DELETE FROM management_link WHERE user IS $1 OR expires_at_ms < $2")
            .bind(what.user())
            .bind(stored_millis(now_unix_ms))
            .execute(&mut *transaction)
            .await
            .map_err(fault())?;
        sqlx::query(
            "INSERT INTO management_link (id, hash, user, created_at_ms, expires_at_ms) VALUES ($1, $2, $3, $4, $5)",
        )
        .bind(&minted.id)
        .bind(minted.hash.as_slice())
        .bind(what.user())
        .bind(stored_millis(now_unix_ms))
        .bind(stored_millis(now_unix_ms.saturating_add(life_ms)))
        .execute(&mut *transaction)
        .await
        .map_err(fault())?;
        transaction.commit().await.map_err(fault())?;
        Ok(minted.text)
    }

    /// Whom a link is for: `Some(None)` for the first user. `None` where it does not hold.
    ///
    /// # Errors
    /// What the database reports.
    pub async fn of_link(self, text: &str, now_unix_ms: u64) -> Result<Option<Option<UserRow>>, Error> {
        let mut transaction = self.begin().await?;
        let held = self.held(&mut transaction, text, now_unix_ms).await?;
        drop(transaction);
        let Some((_, user)) = held else { return Ok(None) };
        let Some(id) = user else { return Ok(self.is_empty().await?.then_some(None)) };
        Ok(self.of_id(&id).await?.filter(UserRow::is_enabled).map(Some))
    }

    /// Spends a link: sets the password of its user, or adds the first user with `name` as admin. All or nothing.
    ///
    /// # Errors
    /// [`Error::LinkInvalid`], [`Error::BadText`], or what the random source and the database report.
    pub async fn spend(self, text: &str, name: &str, kept: &str, now_unix_ms: u64) -> Result<UserRow, Error> {
        let fault = || self.0.fault("spend a link");
        let now = stored_millis(now_unix_ms);
        let mut transaction = self.begin().await?;
        let held = self.held(&mut transaction, text, now_unix_ms).await?;
        let Some((link, user)) = held else { return Err(Error::LinkInvalid) };
        let row = match user {
            Some(id) => {
                end_sessions(&mut transaction, &id, now).await.map_err(fault())?;
                sqlx::query(
                    "UPDATE management_user SET password = $2 WHERE id = $1 AND disabled_at_ms IS NULL RETURNING *",
                )
                .bind(&id)
                .bind(kept)
                .fetch_optional(&mut *transaction)
                .await
                .and_then(|row| row.as_ref().map(UserRow::read).transpose())
                .map_err(fault())?
                .ok_or(Error::LinkInvalid)?
            }
            None => {
                let some: i64 = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM management_user)")
                    .fetch_one(&mut *transaction)
                    .await
                    .map_err(fault())?;
                if some != 0 {
                    return Err(Error::LinkInvalid);
                }
                let new = NewUser { name, role: "admin", scope: "", created_by: "setup link" };
                self.insert(&mut transaction, new, Some(kept), None, now_unix_ms).await?
            }
        };
        sqlx::query("UPDATE management_link SET spent_at_ms = $2 WHERE id = $1")
            .bind(&link)
            .bind(now)
            .execute(&mut *transaction)
            .await
            .map_err(fault())?;
        transaction.commit().await.map_err(fault())?;
        Ok(row)
    }

    /// The id of a link that holds, and its user's.
    async fn held(
        self,
        connection: &mut SqliteConnection,
        text: &str,
        now_unix_ms: u64,
    ) -> Result<Option<(String, Option<String>)>, Error> {
        let Some((id, secret)) = secret_text::split(LINK_PREFIX, text) else { return Ok(None) };
        let found = sqlx::query(
            "SELECT hash, user FROM management_link WHERE id = $1 AND spent_at_ms IS NULL AND expires_at_ms > $2",
        )
        .bind(id)
        .bind(stored_millis(now_unix_ms))
        .fetch_optional(connection)
        .await;
        let read = |row: SqliteRow| {
            Ok::<_, sqlx::Error>((row.try_get::<Vec<u8>, _>(0)?, row.try_get::<Option<String>, _>(1)?))
        };
        let found = found.and_then(|row| row.map(read).transpose()).map_err(self.0.fault("find a link"))?;
        Ok(found.filter(|(hash, _)| secret_text::is_of(secret, hash)).map(|(_, user)| (id.to_owned(), user)))
    }

    /// Somebody whom an OpenID provider proves: found by issuer and subject, else added; the role follows the claims.
    ///
    /// # Errors
    /// [`Error::UserExists`] where somebody else has the name, [`Error::BadText`], or what the database reports.
    pub async fn proven(self, who: Known<'_>, now_unix_ms: u64) -> Result<UserRow, Error> {
        sound("provider's subject", who.subject, NAME_MAX)?;
        let fault = || self.0.fault("find a user");
        let mut transaction = self.begin().await?;
        let found = sqlx::query(
            "UPDATE management_user SET role = $3 WHERE issuer = $1 AND subject = $2 RETURNING *",
        )
        .bind(who.issuer)
        .bind(who.subject)
        .bind(who.role)
        .fetch_optional(&mut *transaction)
        .await
        .and_then(|row| row.as_ref().map(UserRow::read).transpose())
        .map_err(fault())?;
        let row = match found {
            Some(row) => row,
            None => {
                let new = NewUser { name: who.name, role: who.role, scope: "", created_by: who.issuer };
                let proven = Some((who.issuer, who.subject));
                self.insert(&mut transaction, new, None, proven, now_unix_ms).await?
            }
        };
        transaction.commit().await.map_err(fault())?;
        Ok(row)
    }

    async fn begin(self) -> Result<Transaction<'static, Sqlite>, Error> {
        self.0.writer().begin_with("BEGIN IMMEDIATE").await.map_err(self.0.fault("work on users"))
    }
}

async fn end_sessions(connection: &mut SqliteConnection, user: &str, now: i64) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE management_session SET ended_at_ms = $2 WHERE user = $1 AND ended_at_ms IS NULL")
        .bind(user)
        .bind(now)
        .execute(connection)
        .await
        .map(|_| ())
}

const LINK_PREFIX: &str = "bzl_";
const NAME_MAX: usize = 253;
