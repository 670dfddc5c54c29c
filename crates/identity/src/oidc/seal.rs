//! What a browser keeps for us and can neither read nor change.
//!
//! AES-256-GCM-SIV (RFC 8452): authenticated, and a nonce that came twice would tell no more than that two texts are
//! equal, so random nonces need no counting. The first key seals, every key opens, so a key is changed by putting a new
//! one in front. What something was sealed for is authenticated with it: a sign-in is no session, and one client's
//! session is none of another's.

use std::fmt;

use aws_lc_rs::{
    aead::{AES_256_GCM_SIV, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    digest, hkdf,
};

use crate::base64url;

/// What something is sealed for; nothing else opens it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Purpose(Vec<u8>);

impl Purpose {
    /// From parts, each of which counts.
    pub fn of(parts: &[&str]) -> Self {
        let mut bytes = Vec::new();
        for part in parts {
            bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
            bytes.extend_from_slice(part.as_bytes());
        }
        Purpose(bytes)
    }
}

/// Keys that seal and open.
pub struct SealKeys {
    first: SealKey,
    older: Vec<SealKey>,
}

struct SealKey {
    id: [u8; ID_BYTES],
    key: LessSafeKey,
}

/// Why a text is no keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealFlaw {
    /// No key is in it.
    #[error("there is no key in it")]
    None,
    /// The cryptographic library refused.
    #[error("the key could not be made")]
    Library,
    /// More than [`KEYS_MAX`].
    #[error("there are more than {KEYS_MAX} keys in it")]
    TooMany,
    /// A line that nobody drew at random.
    #[error("a key is too short or too simple; write one per line, as `openssl rand -base64 32` makes them")]
    Weak,
}

/// Four: one that seals, and three from before, each of which is tried only where its id is named.
pub const KEYS_MAX: usize = 4;

/// How long a nonce is.
pub const NONCE_BYTES: usize = NONCE_LEN;

/// 32 random bytes are 43 characters of Base64.
const LINE_BYTES_MIN: usize = 43;
const LINE_BYTES_MAX: usize = 512;

/// Random Base64 of that length has some thirty different characters, random hexadecimal digits sixteen.
const DIFFERENT_MIN: usize = 10;

const ID_BYTES: usize = 4;
const VERSION: u8 = 1;

impl SealKeys {
    /// Reads keys, one per line, the one that seals first. How a line is encoded does not matter: what it holds is
    /// drawn into a key by HKDF.
    ///
    /// # Errors
    ///
    /// When there is none, or one that could be guessed.
    pub fn parse(text: &[u8]) -> Result<Self, SealFlaw> {
        let lines = text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty());
        let mut keys = Vec::new();
        for line in lines {
            if keys.len() >= KEYS_MAX {
                return Err(SealFlaw::TooMany);
            }
            keys.push(SealKey::of(line)?);
        }
        let mut keys = keys.into_iter();
        let first = keys.next().ok_or(SealFlaw::None)?;
        Ok(SealKeys { first, older: keys.collect() })
    }

    /// Seals `plain` under a nonce that was drawn at random. The text is fit for a cookie. `None` only where the
    /// library fails.
    pub fn seal(&self, purpose: &Purpose, plain: &[u8], nonce: [u8; NONCE_BYTES]) -> Option<String> {
        let mut sealed = plain.to_vec();
        let aad = Aad::from(&purpose.0);
        let by = Nonce::assume_unique_for_key(nonce);
        self.first.key.seal_in_place_append_tag(by, aad, &mut sealed).ok()?;
        let mut bytes = Vec::with_capacity(1 + ID_BYTES + NONCE_BYTES + sealed.len());
        bytes.push(VERSION);
        bytes.extend_from_slice(&self.first.id);
        bytes.extend_from_slice(&nonce);
        bytes.extend_from_slice(&sealed);
        Some(base64url::encode(&bytes))
    }

    /// What was sealed for this purpose; `None` for anything else.
    pub fn open(&self, purpose: &Purpose, text: &[u8]) -> Option<Vec<u8>> {
        let bytes = base64url::decode(text)?;
        let (version, rest) = bytes.split_first()?;
        let (id, rest) = rest.split_first_chunk::<ID_BYTES>()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_BYTES>()?;
        if *version != VERSION {
            return None;
        }
        let key = std::iter::once(&self.first).chain(&self.older).find(|key| key.id == *id)?;
        let mut sealed = sealed.to_vec();
        let aad = Aad::from(&purpose.0);
        let plain = key.key.open_in_place(Nonce::assume_unique_for_key(*nonce), aad, &mut sealed).ok()?;
        Some(plain.to_vec())
    }
}

impl SealKey {
    fn of(line: &[u8]) -> Result<Self, SealFlaw> {
        let mut seen = [false; 256];
        for byte in line {
            if let Some(place) = seen.get_mut(usize::from(*byte)) {
                *place = true;
            }
        }
        let different = seen.iter().filter(|seen| **seen).count();
        if !(LINE_BYTES_MIN..=LINE_BYTES_MAX).contains(&line.len()) || different < DIFFERENT_MIN {
            return Err(SealFlaw::Weak);
        }
        let drawn = hkdf::Salt::new(hkdf::HKDF_SHA256, b"bartizan seal 1").extract(line);
        let key = drawn.expand(&[b"key"], &AES_256_GCM_SIV).map_err(|_| SealFlaw::Library)?;
        let id = digest::digest(&digest::SHA256, &[b"bartizan seal id 1", line].concat());
        let id = id.as_ref().first_chunk().copied().ok_or(SealFlaw::Library)?;
        Ok(SealKey { id, key: LessSafeKey::new(UnboundKey::from(key)) })
    }
}

impl fmt::Debug for SealKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealKeys({})", 1 + self.older.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "b2xkIGtleSBvZiB0aGUgdGVzdCwgbm90IHJhbmRvbSBhdCBhbGw";
    const NEW: &str = "0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0";

    fn keys(text: &str) -> SealKeys {
        SealKeys::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn what_was_sealed_opens_for_its_purpose_with_its_key_and_unchanged() {
        let purpose = Purpose::of(&["session", "a", "bc"]);
        let old = keys(OLD);
        let sealed = old.seal(&purpose, b"hello", [3; NONCE_BYTES]).unwrap();
        assert_eq!(old.open(&purpose, sealed.as_bytes()).as_deref(), Some(&b"hello"[..]));
        for other in [["session", "ab", "c"].as_slice(), &["sign-in", "a", "bc"], &["session", "a", "bc", ""]]
        {
            assert_eq!(old.open(&Purpose::of(other), sealed.as_bytes()), None, "{other:?}");
        }
        // A new key in front: the old one still opens, and does not seal.
        let both = keys(&format!("{NEW}\n\n  {OLD}\r\n"));
        assert_eq!(both.open(&purpose, sealed.as_bytes()).as_deref(), Some(&b"hello"[..]));
        let anew = both.seal(&purpose, b"hello", [3; NONCE_BYTES]).unwrap();
        assert_eq!(old.open(&purpose, anew.as_bytes()), None);
        assert!(keys(NEW).open(&purpose, anew.as_bytes()).is_some());
        assert_eq!(keys(NEW).open(&purpose, sealed.as_bytes()), None);
    }

    #[test]
    fn no_bit_of_what_was_sealed_can_be_changed() {
        let (purpose, keys) = (Purpose::of(&["session"]), keys(OLD));
        let sealed = keys.seal(&purpose, b"hello", [3; NONCE_BYTES]).unwrap();
        let bytes = base64url::decode(sealed.as_bytes()).unwrap();
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut changed = bytes.clone();
                changed[at] ^= 1 << bit;
                assert_eq!(keys.open(&purpose, base64url::encode(&changed).as_bytes()), None, "{at} {bit}");
            }
        }
        for cut in 0..sealed.len() {
            assert_eq!(keys.open(&purpose, &sealed.as_bytes()[..cut]), None, "{cut}");
        }
        assert_eq!(keys.open(&purpose, format!("{sealed}A").as_bytes()), None);
        assert_eq!(keys.open(&purpose, "AAAA".repeat(5_000).as_bytes()), None);
    }

    #[test]
    fn keys_that_could_be_guessed_are_none() {
        for (text, flaw) in [
            ("", SealFlaw::None),
            ("\n \n", SealFlaw::None),
            ("password", SealFlaw::Weak),
            (&"a".repeat(64), SealFlaw::Weak),
            (&format!("{OLD}\nshort"), SealFlaw::Weak),
            (&[OLD; KEYS_MAX + 1].join("\n"), SealFlaw::TooMany),
        ] {
            assert_eq!(SealKeys::parse(text.as_bytes()).unwrap_err(), flaw, "{text}");
        }
        assert_eq!(format!("{:?}", keys(OLD)), "SealKeys(1)");
    }
}
