//! A revision as the store knows it: a whole set of documents that never changes, and who made it, when and why.

use std::fmt;

use sqlx::{Row, sqlite::SqliteRow};

/// The number of a revision; the first one is 1.
pub type RevisionNumber = u64;

/// SHA-256 over all names and texts of a set, as `bartizan_config::source::Sources` computes it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SetDigest([u8; 32]);

impl SetDigest {
    /// A digest that was computed.
    pub const fn new(bytes: [u8; 32]) -> Self {
        SetDigest(bytes)
    }

    /// The bytes.
    pub const fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// All of it in hexadecimal.
    pub fn hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The first twelve digits, as snapshots, records and metrics name a set.
    pub fn short(&self) -> String {
        self.0.iter().take(6).map(|byte| format!("{byte:02x}")).collect()
    }

    /// Reads 64 hexadecimal digits.
    pub fn parse(hex: &str) -> Option<Self> {
        let digits = hex.as_bytes();
        if digits.len() != 64 || !digits.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        let mut bytes = [0; 32];
        for (to, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *to = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
        }
        Some(SetDigest(bytes))
    }
}

impl fmt::Display for SetDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.hex())
    }
}

impl fmt::Debug for SetDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SetDigest({})", self.short())
    }
}

/// One text of a set with its name, a relative path with `/`.
#[derive(Clone, PartialEq, Eq)]
pub struct RevisionFile {
    /// Its name.
    pub name: String,
    /// Its text.
    pub text: String,
}

impl fmt::Debug for RevisionFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The text may hold what its author took for a secret's place.
        f.debug_struct("RevisionFile")
            .field("name", &self.name)
            .field("bytes", &self.text.len())
            .finish_non_exhaustive()
    }
}

/// Everything about a revision but its texts. Times are Unix milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevisionRow {
    /// Its number.
    pub number: RevisionNumber,
    /// The digest of its documents.
    pub digest: SetDigest,
    /// The revision that was active when it was made.
    pub parent: Option<RevisionNumber>,
    /// The revision that it repeats, where it is a rollback.
    pub restores: Option<RevisionNumber>,
    /// Who made it.
    pub author: String,
    /// Why.
    pub reason: String,
    /// When.
    pub created_at_ms: u64,
    /// How many files it has.
    pub files: u64,
    /// How many documents are in them.
    pub documents: u64,
    /// How many bytes they have together.
    pub bytes: u64,
    /// What became of it when a gateway took it up.
    pub outcome: Option<RevisionOutcome>,
}

impl RevisionRow {
    /// What `If-Match` names: the number and the beginning of the digest. The number is in it, so that a rollback to
    /// documents that were there before is not taken for those of before.
    pub fn tag(&self) -> String {
        format!("r{}-{}", self.number, self.digest.short())
    }

    pub(crate) fn read(row: &SqliteRow) -> Result<Self, sqlx::Error> {
        let digest: &[u8] = row.try_get(1)?;
        let digest = <[u8; 32]>::try_from(digest)
            .map_err(|_| sqlx::Error::Decode("a revision's digest has not 32 bytes".into()))?;
        let outcome = match row.try_get::<Option<&str>, _>(10)? {
            Some(word) => Some(RevisionOutcome {
                went: if word == Went::Live.as_str() { Went::Live } else { Went::Failed },
                detail: row.try_get(11)?,
                at_ms: count(row.try_get(12)?),
            }),
            None => None,
        };
        Ok(RevisionRow {
            number: count(row.try_get(0)?),
            digest: SetDigest(digest),
            parent: row.try_get::<Option<i64>, _>(2)?.map(count),
            restores: row.try_get::<Option<i64>, _>(3)?.map(count),
            author: row.try_get(4)?,
            reason: row.try_get(5)?,
            created_at_ms: count(row.try_get(6)?),
            files: count(row.try_get(7)?),
            documents: count(row.try_get(8)?),
            bytes: count(row.try_get(9)?),
            outcome,
        })
    }
}

/// The columns of [`RevisionRow::read`], in its order, from `revision` and `revision_outcome`.
macro_rules! revision_columns {
    () => {
        "revision.number, revision.digest, revision.parent, revision.restores, revision.author, revision.reason,
         revision.created_at_ms, revision.files, revision.documents, revision.bytes,
         revision_outcome.outcome, revision_outcome.detail, revision_outcome.at_ms
         FROM revision LEFT JOIN revision_outcome ON revision_outcome.revision = revision.number"
    };
}
pub(crate) use revision_columns;

/// What became of a revision at a gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevisionOutcome {
    /// Whether it went live.
    pub went: Went,
    /// Why it did not.
    pub detail: String,
    /// When.
    pub at_ms: u64,
}

/// How it went when a gateway took up a revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Went {
    /// It could not be prepared; the one before serves on.
    Failed,
    /// It is served.
    Live,
}

impl Went {
    /// The word in lists and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Went::Failed => "failed",
            Went::Live => "live",
        }
    }
}

/// A revision with its texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revision {
    /// Everything else about it.
    pub row: RevisionRow,
    /// Its texts in the order in which they are read.
    pub files: Vec<RevisionFile>,
}

/// Which revision is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RevisionRef {
    /// The one that gateways are to serve.
    Active,
    /// The newest one whose digest begins so; lower-case hexadecimal digits.
    Digest(String),
    /// The one with this number.
    Number(RevisionNumber),
}

impl RevisionRef {
    /// Reads `active`, a number (`7` or `r7`), a tag (`r7-0a1b2c3d4e5f`) or at least seven digits of a digest.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim().trim_matches('"');
        if text == "active" {
            return Some(RevisionRef::Active);
        }
        let tagged =
            text.strip_prefix('r').map(|rest| rest.split_once('-').map_or(rest, |(number, _)| number));
        let digits = tagged.unwrap_or(text);
        // Numbers are short; twelve digits and more can only be a digest that happens to have no letter.
        if !digits.is_empty()
            && digits.len() < SHORT_DIGITS
            && digits.bytes().all(|byte| byte.is_ascii_digit())
        {
            return digits.parse().ok().filter(|number| *number > 0).map(RevisionRef::Number);
        }
        let hex = text.to_ascii_lowercase();
        let is_digest =
            (DIGEST_DIGITS_MIN..=64).contains(&hex.len()) && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_digest.then_some(RevisionRef::Digest(hex))
    }
}

impl fmt::Display for RevisionRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RevisionRef::Active => f.write_str("active"),
            RevisionRef::Digest(hex) => f.write_str(hex),
            RevisionRef::Number(number) => write!(f, "{number}"),
        }
    }
}

/// A number that the database may hold as negative only where somebody else wrote it.
pub(crate) fn count(stored: i64) -> u64 {
    u64::try_from(stored).unwrap_or(0)
}

/// Digits of a digest as snapshots name it.
const SHORT_DIGITS: usize = 12;
/// Fewer digits of a digest would name another revision by chance.
const DIGEST_DIGITS_MIN: usize = 7;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revision_is_named_by_number_tag_or_digest() {
        let digest = |hex: &str| Some(RevisionRef::Digest(hex.to_owned()));
        for (text, expected) in [
            ("active", Some(RevisionRef::Active)),
            ("7", Some(RevisionRef::Number(7))),
            ("r7", Some(RevisionRef::Number(7))),
            ("r7-0a1b2c3d4e5f", Some(RevisionRef::Number(7))),
            ("\"r7-0a1b2c3d4e5f\"", Some(RevisionRef::Number(7))),
            ("12345678901", Some(RevisionRef::Number(12_345_678_901))),
            ("123456789012", digest("123456789012")),
            ("0a1b2c3", digest("0a1b2c3")),
            ("0A1B2C3D4E5F", digest("0a1b2c3d4e5f")),
            ("0a1b2c", None),
            ("0", None),
            ("r", None),
            ("", None),
            ("seven", None),
            ("-7", None),
        ] {
            assert_eq!(RevisionRef::parse(text), expected, "{text:?}");
        }
    }

    #[test]
    fn a_digest_reads_back_what_it_writes() {
        let digest = SetDigest::new([0xa5; 32]);
        assert_eq!(SetDigest::parse(&digest.hex()), Some(digest));
        assert_eq!(digest.short(), "a5a5a5a5a5a5");
        for wrong in ["", "a5", &digest.hex()[1..], &digest.hex().replace('a', "g")] {
            assert_eq!(SetDigest::parse(wrong), None, "{wrong}");
        }
    }
}
