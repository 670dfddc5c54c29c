//! The last good revision, in a file of the gateway's own: what it serves when the store is gone at its start.
//!
//! Only documents are in it. They hold no secrets, only references to them, so it is not encrypted; it is its owner's
//! alone all the same (mode 0600). It is replaced whole, and a SHA-256 over everything behind its second line is held
//! against it before a byte of it is used: a damaged file is refused, not repaired.

use std::{fmt::Write as _, io::Read as _};

use aws_lc_rs::digest::{SHA256, digest};

use crate::{
    data_dir::DataDir,
    error::Error,
    private_file,
    revision::{RevisionFile, RevisionNumber, SetDigest},
};

/// What a gateway kept of the revision that it served last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastGood {
    /// The revision's number.
    pub number: RevisionNumber,
    /// The digest of its documents.
    pub digest: SetDigest,
    /// When it was saved, in Unix milliseconds.
    pub saved_at_ms: u64,
    /// Its texts in the order in which they are read.
    pub files: Vec<RevisionFile>,
}

impl LastGood {
    /// Replaces what the data directory keeps.
    ///
    /// # Errors
    /// [`Error::File`]; then the one before is still there.
    pub fn save(&self, dir: &DataDir) -> Result<(), Error> {
        let body = self.write();
        let text = format!("{HEAD}\nsha256 {}\n{body}", hex(digest(&SHA256, body.as_bytes()).as_ref()));
        private_file::create_whole(&dir.last_good(), text.as_bytes())
    }

    /// Reads what the data directory keeps; `None` where there is nothing.
    ///
    /// # Errors
    /// [`Error::SnapshotDamaged`], [`Error::FileExposed`] or [`Error::File`].
    pub fn load(dir: &DataDir) -> Result<Option<Self>, Error> {
        let path = dir.last_good();
        let Some(file) = private_file::open(&path)? else { return Ok(None) };
        let mut bytes = Vec::new();
        file.take(BYTES_MAX).read_to_end(&mut bytes).map_err(private_file::fault("read", &path))?;
        parse(&bytes).map(Some).map_err(|why| Error::SnapshotDamaged { path, why })
    }

    fn write(&self) -> String {
        let room: usize = self.files.iter().map(|file| file.name.len() + file.text.len() + 32).sum();
        let mut body = String::with_capacity(room + 200);
        // Writing to a String cannot fail.
        let _ = write!(
            body,
            "number {}\ndigest {}\nsaved-at-ms {}\nfiles {}\n",
            self.number,
            self.digest,
            self.saved_at_ms,
            self.files.len()
        );
        for file in &self.files {
            let _ = write!(body, "{} {}\n{}\n{}\n", file.name.len(), file.text.len(), file.name, file.text);
        }
        body
    }
}

fn parse(bytes: &[u8]) -> Result<LastGood, &'static str> {
    let text = std::str::from_utf8(bytes).map_err(|_| "it is not text")?;
    let rest =
        text.strip_prefix(HEAD).and_then(|rest| rest.strip_prefix('\n')).ok_or("it is of another form")?;
    let (sum, body) = field(rest, "sha256 ")?;
    if hex(digest(&SHA256, body.as_bytes()).as_ref()) != sum {
        return Err("its checksum does not match");
    }
    let (number, body) = field(body, "number ")?;
    let (set, body) = field(body, "digest ")?;
    let (saved, body) = field(body, "saved-at-ms ")?;
    let (count, mut body) = field(body, "files ")?;
    let wanted: usize = count.parse().map_err(|_| CUT)?;
    let mut files = Vec::new();
    while files.len() < wanted {
        let (sizes, rest) = body.split_once('\n').ok_or(CUT)?;
        let (name, text) = sizes.split_once(' ').ok_or(CUT)?;
        let (name, rest) = piece(rest, name)?;
        let (text, rest) = piece(rest, text)?;
        files.push(RevisionFile { name: name.to_owned(), text: text.to_owned() });
        body = rest;
    }
    if !body.is_empty() {
        return Err("something follows its end");
    }
    Ok(LastGood {
        number: number.parse().map_err(|_| CUT)?,
        digest: SetDigest::parse(set).ok_or(CUT)?,
        saved_at_ms: saved.parse().map_err(|_| CUT)?,
        files,
    })
}

/// The rest of a line that begins so, and what follows it.
fn field<'t>(text: &'t str, name: &str) -> Result<(&'t str, &'t str), &'static str> {
    text.strip_prefix(name).and_then(|rest| rest.split_once('\n')).ok_or(CUT)
}

/// So many bytes and the line break behind them.
fn piece<'t>(text: &'t str, bytes: &str) -> Result<(&'t str, &'t str), &'static str> {
    let bytes: usize = bytes.parse().map_err(|_| CUT)?;
    let (piece, rest) = text.split_at_checked(bytes).ok_or(CUT)?;
    Ok((piece, rest.strip_prefix('\n').ok_or(CUT)?))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

const HEAD: &str = "bartizan last good 1";
const CUT: &str = "a part of it is missing";
/// The largest revision with the names of its files; what is longer fails its checksum.
const BYTES_MAX: u64 = 128 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn some() -> LastGood {
        let file = |name: &str, text: &str| RevisionFile { name: name.to_owned(), text: text.to_owned() };
        LastGood {
            number: 7,
            digest: SetDigest::new([7; 32]),
            saved_at_ms: 1_800_000_000_000,
            files: vec![
                file("a.yaml", "kind: Route\n"),
                file("empty.yaml", ""),
                file("ü/b.json", "3 4\n{\"ü\": 1}"),
            ],
        }
    }

    fn written(one: &LastGood) -> Vec<u8> {
        let body = one.write();
        format!("{HEAD}\nsha256 {}\n{body}", hex(digest(&SHA256, body.as_bytes()).as_ref())).into_bytes()
    }

    #[test]
    fn what_was_written_is_read() {
        assert_eq!(parse(&written(&some())), Ok(some()));
        let none = LastGood { files: Vec::new(), ..some() };
        assert_eq!(parse(&written(&none)), Ok(none));
    }

    #[test]
    fn a_changed_byte_or_a_missing_end_is_refused() {
        let whole = written(&some());
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            assert!(parse(&changed).is_err(), "byte {at}");
            assert!(parse(&whole[..at]).is_err(), "cut at {at}");
        }
        assert!(parse(&[&whole[..], b"x"].concat()).is_err());
    }

    #[test]
    fn a_right_checksum_over_a_wrong_form_is_refused() {
        for body in [
            "",
            "number 1\n",
            "number 1\ndigest x\nsaved-at-ms 1\nfiles 0\n",
            "number 1\ndigest 07\nsaved-at-ms 1\nfiles 9999999999999999999999\n",
        ] {
            let text = format!("{HEAD}\nsha256 {}\n{body}", hex(digest(&SHA256, body.as_bytes()).as_ref()));
            assert!(parse(text.as_bytes()).is_err(), "{body:?}");
        }
        let body = format!("number 1\ndigest {}\nsaved-at-ms 1\nfiles 1\n5 1\nab\nc\n", "07".repeat(32));
        let text = format!("{HEAD}\nsha256 {}\n{body}", hex(digest(&SHA256, body.as_bytes()).as_ref()));
        assert_eq!(parse(text.as_bytes()), Err(CUT));
    }
}
