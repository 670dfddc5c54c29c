//! A key as the store knows it: everything about it but the secret.

use std::{fmt, sync::Arc};

use bartizan_identity::{KeyFacts, KeyHash, KeyId, KeyRecord, KeyState};
use sqlx::{Row, sqlite::SqliteRow};

/// A stored key. Times are Unix milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRow {
    /// The public id.
    pub id: KeyId,
    /// The consumer it belongs to.
    pub consumer: String,
    /// What it is for, in its owner's words.
    pub label: Option<String>,
    /// When it was made.
    pub created_at_ms: u64,
    /// Who made it.
    pub created_by: Option<String>,
    /// From when it is valid.
    pub not_before_ms: u64,
    /// From when it is valid no more.
    pub expires_at_ms: Option<u64>,
    /// When it was revoked.
    pub revoked_at_ms: Option<u64>,
    /// When it was last used; exact to the second, and saved every few seconds.
    pub last_used_at_ms: Option<u64>,
    /// The key that replaced it.
    pub replaced_by: Option<KeyId>,
    /// When that was.
    pub replaced_at_ms: Option<u64>,
    /// Until when it works beside its successor whether it is used or not.
    pub overlap_until_ms: Option<u64>,
    /// When it was reported as known to others.
    pub leaked_at_ms: Option<u64>,
}

impl KeyRow {
    /// Where the key stands in its life.
    pub fn standing(&self, now_unix_ms: u64) -> KeyStanding {
        if self.revoked_at_ms.is_some() {
            KeyStanding::Revoked
        } else if self.expires_at_ms.is_some_and(|expires| now_unix_ms >= expires) {
            KeyStanding::Expired
        } else if now_unix_ms < self.not_before_ms {
            KeyStanding::Pending
        } else {
            KeyStanding::Active
        }
    }

    /// What the machine of a key's life wants to know.
    pub const fn facts(&self) -> KeyFacts {
        KeyFacts {
            created_ms: self.created_at_ms,
            not_before_ms: self.not_before_ms,
            // A command hands a key over as it makes it.
            claimed_ms: Some(self.created_at_ms),
            replaced_ms: self.replaced_at_ms,
            overlap_until_ms: self.overlap_until_ms,
            expires_ms: self.expires_at_ms,
            revoked_ms: self.revoked_at_ms,
            last_used_ms: self.last_used_at_ms,
        }
    }

    pub(crate) fn read(row: &SqliteRow) -> Result<Self, sqlx::Error> {
        let last_used_s: i64 = row.try_get(8)?;
        Ok(KeyRow {
            id: id(row.try_get(0)?)?,
            consumer: row.try_get(1)?,
            label: row.try_get(2)?,
            created_at_ms: millis(row.try_get(3)?),
            created_by: row.try_get(4)?,
            not_before_ms: millis(row.try_get(5)?),
            expires_at_ms: row.try_get::<Option<i64>, _>(6)?.map(millis),
            revoked_at_ms: row.try_get::<Option<i64>, _>(7)?.map(millis),
            last_used_at_ms: (last_used_s > 0).then(|| millis(last_used_s).saturating_mul(1000)),
            replaced_by: row.try_get::<Option<&str>, _>(9)?.map(id).transpose()?,
            replaced_at_ms: row.try_get::<Option<i64>, _>(10)?.map(millis),
            overlap_until_ms: row.try_get::<Option<i64>, _>(11)?.map(millis),
            leaked_at_ms: row.try_get::<Option<i64>, _>(12)?.map(millis),
        })
    }
}

/// Where a key stands in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyStanding {
    /// It opens.
    Active,
    /// Its time is over.
    Expired,
    /// Its time has not begun.
    Pending,
    /// It was withdrawn.
    Revoked,
}

impl KeyStanding {
    /// The word in lists.
    pub const fn as_str(self) -> &'static str {
        match self {
            KeyStanding::Active => "active",
            KeyStanding::Expired => "expired",
            KeyStanding::Pending => "pending",
            KeyStanding::Revoked => "revoked",
        }
    }
}

impl fmt::Display for KeyStanding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The columns of [`KeyRow::read`], in its order.
macro_rules! columns {
    () => {
        "id, consumer, label, created_at_ms, created_by, not_before_ms, expires_at_ms, revoked_at_ms, last_used_s, \
         replaced_by, replaced_at_ms, overlap_until_ms, leaked_at_ms"
    };
}
pub(crate) use columns;

/// What a gateway must know of a key: `id, consumer, hash, not_before_ms, expires_at_ms, revoked_at_ms IS NOT NULL,
/// last_used_s, created_at_ms, replaced_at_ms`, read in this order. `intern` shares one name among a consumer's keys.
pub(crate) fn record(
    row: &SqliteRow,
    intern: impl FnOnce(&str) -> Arc<str>,
) -> Result<KeyRecord, sqlx::Error> {
    let id = id(row.try_get(0)?)?;
    let hash: &[u8] = row.try_get(2)?;
    let hash: [u8; 32] = hash
        .try_into()
        .map_err(|_| sqlx::Error::Decode(format!("the hash of key {id} has {} bytes", hash.len()).into()))?;
    Ok(KeyRecord {
        id,
        consumer: intern(row.try_get(1)?),
        hash: KeyHash::new(hash),
        not_before_ms: millis(row.try_get(3)?),
        expires_ms: row.try_get::<Option<i64>, _>(4)?.map(millis),
        state: if row.try_get(5)? { KeyState::Revoked } else { KeyState::Active },
        last_used_s: u32::try_from(row.try_get::<i64, _>(6)?).unwrap_or(0),
        created_ms: millis(row.try_get(7)?),
        replaced_ms: row.try_get::<Option<i64>, _>(8)?.map(millis),
    })
}

/// The same of a line of `id hash not_before expires revoked last_used created replaced consumer`, times that are not there
/// empty, the consumer's name to the end.
pub(crate) fn record_of_line(
    line: &str,
    intern: impl FnOnce(&str) -> Arc<str>,
) -> Result<KeyRecord, sqlx::Error> {
    let wrong = || sqlx::Error::Decode("a key's row cannot be read".into());
    let mut parts = line.splitn(9, ' ');
    let mut next = || parts.next().ok_or_else(wrong);
    let id = id(next()?)?;
    let mut hash = [0; 32];
    let digits = next()?.as_bytes();
    if digits.len() != 64 {
        return Err(wrong());
    }
    for (byte, pair) in hash.iter_mut().zip(digits.chunks_exact(2)) {
        let digit = |at: usize| pair.get(at).and_then(|digit| char::from(*digit).to_digit(16));
        let (high, low) = (digit(0).ok_or_else(wrong)?, digit(1).ok_or_else(wrong)?);
        *byte = u8::try_from(high * 16 + low).map_err(|_| wrong())?;
    }
    let number = |text: &str| text.parse::<i64>().map_err(|_| wrong());
    let moment = |text: &str| {
        if text.is_empty() { Ok(None) } else { number(text).map(|at| Some(millis(at))) }
    };
    Ok(KeyRecord {
        id,
        hash: KeyHash::new(hash),
        not_before_ms: millis(number(next()?)?),
        expires_ms: moment(next()?)?,
        state: if next()? == "0" { KeyState::Active } else { KeyState::Revoked },
        last_used_s: u32::try_from(number(next()?)?).unwrap_or(0),
        created_ms: millis(number(next()?)?),
        replaced_ms: moment(next()?)?,
        consumer: intern(next()?),
    })
}

/// As the database keeps a time: beyond its range means never.
pub(crate) fn stored_millis(millis: u64) -> i64 {
    i64::try_from(millis).unwrap_or(i64::MAX)
}

/// A negative time is none that we wrote; read as the epoch, it lets an expired key stay expired.
fn millis(stored: i64) -> u64 {
    u64::try_from(stored).unwrap_or(0)
}

fn id(text: &str) -> Result<KeyId, sqlx::Error> {
    KeyId::parse(text).ok_or_else(|| sqlx::Error::Decode("a key's id is not 12 letters and digits".into()))
}
