//! One-time links by which the owner of a key takes its successor over.
//!
//! A link is 256 random bits of which only the SHA-256 is kept, valid for 72 hours. There is no successor before the
//! claim: the claim makes it, replaces the old key and spends the link in one transaction, so a link that was seen by a
//! mail scanner, or sent twice, makes one key or none. Until then the old key works on, up to its policy's hard limit.

use std::{fmt, io};

use aws_lc_rs::digest::{SHA256, digest};
use bartizan_identity::{KeyId, KeyText, Life, LifeState, LifeTerms};
use sqlx::{Row, SqliteConnection};
use zeroize::Zeroizing;

use crate::{
    error::Error,
    key_life::{Rotation, Successor, succeed},
    key_row::{KeyRow, columns, stored_millis},
    keys::find,
    pepper,
    store::Store,
    text::hex,
};

/// The secret part of a link.
#[derive(Clone, PartialEq, Eq)]
pub struct ClaimToken(Zeroizing<String>);

impl ClaimToken {
    /// The text, for the link.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ClaimToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClaimToken(…)")
    }
}

/// What a link that still opens something is about.
#[derive(Clone, Debug)]
pub struct OpenClaim {
    /// The key that is to be replaced.
    pub key: KeyRow,
    /// Until when the link opens.
    pub expires_at_ms: u64,
}

/// The claims of a store.
#[derive(Clone, Copy, Debug)]
pub struct Claims<'a>(&'a Store);

impl<'a> Claims<'a> {
    /// How long a link opens.
    pub const LIFE_MS: u64 = 72 * 3_600_000;

    pub(crate) const fn of(store: &'a Store) -> Self {
        Claims(store)
    }

    /// Makes a link for a key, by order of an operator. Older links of the same key open nothing more.
    ///
    /// # Errors
    /// [`Error::KeyUnknown`], [`Error::KeyEnded`], [`Error::KeyReplaced`], or what the random source and the database
    /// report.
    pub async fn issue(self, id: &KeyId, terms: &LifeTerms, now_unix_ms: u64) -> Result<ClaimToken, Error> {
        let fault = self.0.fault("make a claim link");
        let mut transaction = self.0.keys().begin().await?;
        let key = find(&mut transaction, id).await.map_err(&fault)?.ok_or(Error::KeyUnknown { id: *id })?;
        replaceable(&key, terms, now_unix_ms)?;
        let token = make(&mut transaction, id, now_unix_ms).await?.map_err(&fault)?;
        transaction.commit().await.map_err(&fault)?;
        Ok(token)
    }

    /// What a link is about; looking spends nothing.
    ///
    /// # Errors
    /// [`Error::ClaimUnknown`] for one that was never made, is spent, or whose time is over; or what the database
    /// reports.
    pub async fn look(self, token: &str, now_unix_ms: u64) -> Result<OpenClaim, Error> {
        let fault = self.0.fault("look at a claim link");
        let mut connection = self.0.writer().acquire().await.map_err(&fault)?;
        open(&mut connection, token, now_unix_ms).await?.map_err(fault)?.ok_or(Error::ClaimUnknown)
    }

    /// The keys that still work and whose links lapsed without anybody using one, by id. A link that was
    /// replaced by a newer one has not lapsed.
    ///
    /// # Errors
    /// What the database reports.
    pub async fn unclaimed(self, now_unix_ms: u64, limit: u32) -> Result<Vec<KeyRow>, Error> {
        let found = sqlx::query(concat!(
            "SELECT ",
            columns!(),
            " FROM api_key WHERE revoked_at_ms IS NULL AND replaced_by IS NULL
                 AND (expires_at_ms IS NULL OR expires_at_ms > $1)
                 AND id IN (SELECT key FROM key_claim WHERE claimed_at_ms IS NULL AND expires_at_ms <= $1
                            AND expires_at_ms - created_at_ms >= $2)
               ORDER BY id LIMIT $3"
        ))
        .bind(stored_millis(now_unix_ms))
        .bind(stored_millis(Claims::LIFE_MS))
        .bind(limit)
        .fetch_all(self.0.writer())
        .await;
        found
            .and_then(|rows| rows.iter().map(KeyRow::read).collect())
            .map_err(self.0.fault("look for links that nobody used"))
    }

    /// Spends a link: makes the successor, and lets the old key end after its overlap, which begins now. `deliver` gets
    /// the new key before anything is settled.
    ///
    /// # Errors
    /// As [`Claims::look`], [`Error::KeyEnded`], [`Error::KeyReplaced`], [`Error::NotDelivered`]; then nothing has
    /// changed.
    pub async fn claim(
        self,
        token: &str,
        terms: impl FnOnce(&str) -> LifeTerms,
        now_unix_ms: u64,
        deliver: impl FnOnce(&KeyText) -> io::Result<()>,
    ) -> Result<Successor, Error> {
        let fault = self.0.fault("claim a key");
        let mut transaction = self.0.keys().begin().await?;
        let found = open(&mut transaction, token, now_unix_ms).await?.map_err(&fault)?;
        let claim = found.ok_or(Error::ClaimUnknown)?;
        let terms = terms(&claim.key.consumer);
        let rotation = Rotation { terms: &terms, expires_at_ms: None, created_by: Some("claim") };
        let (successor, text) =
            succeed(self.0, &mut transaction, &claim.key.id, rotation, now_unix_ms).await?;
        sqlx::query("UPDATE key_claim SET claimed_at_ms = $2, successor = $3 WHERE token = $1")
            .bind(hashed(token).as_slice())
            .bind(stored_millis(now_unix_ms))
            .bind(successor.new.id.as_str())
            .execute(&mut *transaction)
            .await
            .map_err(&fault)?;
        deliver(&text).map_err(|source| Error::NotDelivered { source })?;
        transaction.commit().await.map_err(&fault)?;
        Ok(successor)
    }
}

/// Whether a successor can be made.
pub(crate) fn replaceable(key: &KeyRow, terms: &LifeTerms, now_unix_ms: u64) -> Result<(), Error> {
    if let Some(by) = key.replaced_by {
        return Err(Error::KeyReplaced { id: key.id, by });
    }
    if Life::at(&key.facts(), terms, now_unix_ms).state >= LifeState::Retired {
        return Err(Error::KeyEnded { id: key.id });
    }
    Ok(())
}

/// Makes a link within another change, and takes the force from the key's older ones.
pub(crate) async fn make(
    connection: &mut SqliteConnection,
    id: &KeyId,
    now_unix_ms: u64,
) -> Result<Result<ClaimToken, sqlx::Error>, Error> {
    let token = Zeroizing::new(hex(pepper::random::<32>()?.as_slice()));
    let settle = async {
        sqlx::query("UPDATE key_claim SET expires_at_ms = $2 WHERE key = $1 AND expires_at_ms > $2")
            .bind(id.as_str())
            .bind(stored_millis(now_unix_ms))
            .execute(&mut *connection)
            .await?;
        sqlx::query(
            "INSERT INTO key_claim (token, key, created_at_ms, expires_at_ms) VALUES ($1, $2, $3, $4)",
        )
        .bind(hashed(&token).as_slice())
        .bind(id.as_str())
        .bind(stored_millis(now_unix_ms))
        .bind(stored_millis(now_unix_ms.saturating_add(Claims::LIFE_MS)))
        .execute(&mut *connection)
        .await
    };
    Ok(settle.await.map(|_| ClaimToken(token.clone())))
}

/// How many links a key has had, and until when the newest opens.
pub(crate) async fn of_key(connection: &mut SqliteConnection, id: &KeyId) -> Result<(u64, u64), sqlx::Error> {
    let row = sqlx::query("SELECT count(*), coalesce(max(expires_at_ms), 0) FROM key_claim WHERE key = $1")
        .bind(id.as_str())
        .fetch_one(connection)
        .await?;
    Ok((crate::revision::count(row.try_get(0)?), crate::revision::count(row.try_get(1)?)))
}

async fn open(
    connection: &mut SqliteConnection,
    token: &str,
    now_unix_ms: u64,
) -> Result<Result<Option<OpenClaim>, sqlx::Error>, Error> {
    if token.len() != TOKEN_CHARS || !token.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(Error::ClaimUnknown);
    }
    let look = async {
        let row = sqlx::query(
            "SELECT key, expires_at_ms FROM key_claim
             WHERE token = $1 AND claimed_at_ms IS NULL AND expires_at_ms > $2",
        )
        .bind(hashed(token).as_slice())
        .bind(stored_millis(now_unix_ms))
        .fetch_optional(&mut *connection)
        .await?;
        let Some(row) = row else { return Ok(None) };
        let id: &str = row.try_get(0)?;
        let Some(id) = KeyId::parse(id) else { return Ok(None) };
        let expires_at_ms = crate::revision::count(row.try_get(1)?);
        let key = find(&mut *connection, &id).await?;
        Ok(key.map(|key| OpenClaim { key, expires_at_ms }))
    };
    Ok(look.await)
}

/// Of 256 random bits, so no guess finds another text; looked up by it, so no comparison leaks.
fn hashed(token: &str) -> Vec<u8> {
    digest(&SHA256, token.as_bytes()).as_ref().to_vec()
}

const TOKEN_CHARS: usize = 64;
