//! The file of a capture: what judges were given, encrypted, one record after the other (decision 0042).
//!
//! A record is the access log's line and what judges read beside it ([`CaptureNote`]); [`Capturing`] takes one. Each file has a
//! key of its own, derived from a key file and the file's salt, so that sequence numbers can be nonces; header, place and
//! length of a record are authenticated with it. A file is written once from its beginning and never opened again for
//! writing: a number that was used before a crash is not used for anything else.

mod body;
mod json;
mod key;
mod note;
mod reader;
mod secrets;
mod taking;
mod writer;

#[cfg(test)]
mod tests;

use std::{fmt, io};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};

pub use self::{
    body::{BODY_BYTES_MAX, BodyEnd, BodyTap, HeldCopies},
    key::CaptureKey,
    note::{CaptureNote, CellNote, PresentedNote},
    reader::CaptureReader,
    taking::{BodyTerms, CaptureFigures, CaptureTerms, Capturing},
    writer::{Appended, CaptureLimits, CaptureWriter},
};

/// What a file begins with.
const MAGIC: [u8; 8] = *b"BZCAPTUR";

/// The version of the format.
const VERSION: u16 = 1;

const SALT_BYTES: usize = 16;

/// Magic, version, two bytes of zero, salt.
const HEADER_BYTES: usize = 12 + SALT_BYTES;

/// Length and number before each record.
const FRAME_BYTES: usize = 12;

const TAG_BYTES: usize = 16;

/// 1 MiB: a head is at most some ten kilobytes and a body [`BODY_BYTES_MAX`]; also how much a reader ever holds.
pub const RECORD_BYTES_MAX: usize = 1 << 20;

/// What a file's key is derived for.
const PURPOSE: &[u8] = b"bartizan capture v1";

/// Why a capture cannot be read.
#[derive(Debug)]
pub enum CaptureError {
    /// A record is not what was written: it or its place was changed, or the key is another.
    Inauthentic {
        /// Which one, from 0.
        record: u64,
    },
    /// Reading failed.
    Io(io::Error),
    /// It does not begin like a capture.
    NotACapture,
    /// It was written by a version that this one does not know.
    Version(u16),
}

impl fmt::Display for CaptureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CaptureError::Inauthentic { record } => {
                write!(f, "record {record} was changed after it was written, or the key is another")
            }
            CaptureError::Io(error) => error.fmt(f),
            CaptureError::NotACapture => f.write_str("the file is not a capture"),
            CaptureError::Version(version) => {
                write!(f, "the capture has version {version}, this knows {VERSION}")
            }
        }
    }
}

impl std::error::Error for CaptureError {}

impl From<io::Error> for CaptureError {
    fn from(error: io::Error) -> Self {
        CaptureError::Io(error)
    }
}

/// The header of a file and the key that follows from it.
struct Sealed {
    header: [u8; HEADER_BYTES],
    key: LessSafeKey,
}

impl Sealed {
    fn of(salt: [u8; SALT_BYTES], key: &CaptureKey) -> io::Result<Self> {
        let mut header = [0; HEADER_BYTES];
        let parts = MAGIC.into_iter().chain(VERSION.to_be_bytes()).chain([0, 0]).chain(salt);
        header.iter_mut().zip(parts).for_each(|(place, byte)| *place = byte);
        let derived = Salt::new(HKDF_SHA256, &salt).extract(key.bytes());
        let okm = derived.expand(&[PURPOSE], &AES_256_GCM).map_err(|_| refused("deriving a key"))?;
        Ok(Sealed { header, key: LessSafeKey::new(UnboundKey::from(okm)) })
    }

    /// What is authenticated beside the record: the file, the record's place and its length.
    fn beside(&self, number: u64, length: u32) -> [u8; HEADER_BYTES + FRAME_BYTES] {
        let mut beside = [0; HEADER_BYTES + FRAME_BYTES];
        let parts = self.header.into_iter().chain(frame(number, length));
        beside.iter_mut().zip(parts).for_each(|(place, byte)| *place = byte);
        beside
    }

    /// Encrypts in place and appends the tag.
    fn seal(&self, number: u64, length: u32, record: &mut Vec<u8>) -> io::Result<()> {
        let aad = Aad::from(self.beside(number, length));
        self.key.seal_in_place_append_tag(nonce(number), aad, record).map_err(|_| refused("encrypting"))
    }

    /// Decrypts in place; `None` where it is not what was written.
    fn open<'r>(&self, number: u64, length: u32, record: &'r mut [u8]) -> Option<&'r [u8]> {
        let aad = Aad::from(self.beside(number, length));
        self.key.open_in_place(nonce(number), aad, record).ok().map(|plain| &*plain)
    }
}

fn frame(number: u64, length: u32) -> impl Iterator<Item = u8> {
    length.to_be_bytes().into_iter().chain(number.to_be_bytes())
}

/// Numbers never repeat under a file's key.
fn nonce(number: u64) -> Nonce {
    let mut bytes = [0; NONCE_LEN];
    let skipped = NONCE_LEN - 8;
    bytes.iter_mut().skip(skipped).zip(number.to_be_bytes()).for_each(|(place, byte)| *place = byte);
    Nonce::assume_unique_for_key(bytes)
}

fn refused(what: &str) -> io::Error {
    io::Error::other(format!("{what} failed"))
}
