//! The root: 32 bytes under which the store's data key is wrapped, in a file of mode 0600 or handed in.
//!
//! Two steps, root and data key, so that a new root costs one row and not every sealed value. The root is never in the
//! database; where the environment gives it, nothing on the disk opens what is sealed, and the pepper is sealed too.

use std::{fmt, io::Read, path::Path};

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    hkdf,
};
use zeroize::Zeroizing;

use crate::{error::Error, pepper, private_file};

/// 256 bits that everything secret in a store is encrypted under.
#[derive(Clone)]
pub struct RootKey(Zeroizing<[u8; RootKey::BYTES]>);

impl RootKey {
    /// Its length.
    pub const BYTES: usize = 32;

    /// Reads 64 hexadecimal digits, as `openssl rand -hex 32` writes them; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim().as_bytes();
        if text.len() != Self::BYTES * 2 {
            return None;
        }
        let mut bytes = Zeroizing::new([0; Self::BYTES]);
        for (byte, digits) in bytes.iter_mut().zip(text.chunks_exact(2)) {
            let digits = std::str::from_utf8(digits).ok().filter(|two| !two.starts_with('+'))?;
            *byte = u8::from_str_radix(digits, 16).ok()?;
        }
        Some(RootKey(bytes))
    }

    /// A new one.
    ///
    /// # Errors
    /// [`Error::Random`].
    pub fn random() -> Result<Self, Error> {
        Ok(RootKey(pepper::random()?))
    }

    pub(crate) fn bytes(&self) -> &[u8; Self::BYTES] {
        &self.0
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        Some(RootKey(Zeroizing::new(bytes.try_into().ok()?)))
    }

    /// The root's file; `None` where it was never made.
    pub(crate) fn read(path: &Path) -> Result<Option<Self>, Error> {
        let Some(file) = private_file::open(path)? else { return Ok(None) };
        let mut bytes = Zeroizing::new(Vec::with_capacity(Self::BYTES + 1));
        file.take(Self::BYTES as u64 + 1)
            .read_to_end(&mut bytes)
            .map_err(private_file::fault("read", path))?;
        match Self::from_bytes(&bytes) {
            Some(root) => Ok(Some(root)),
            None => Err(Error::RootForeign { path: path.to_owned() }),
        }
    }

    /// Makes or replaces the root's file, whole or not at all.
    pub(crate) fn write(&self, path: &Path) -> Result<(), Error> {
        private_file::create_whole(path, self.0.as_slice())
    }

    /// Seals under the root itself: the data key, and the pepper where the root is not on the disk.
    pub(crate) fn seal(&self, purpose: &str, plain: &[u8]) -> Result<Vec<u8>, Error> {
        seal(&*derived(&self.0, purpose)?, purpose, plain)
    }

    /// Opens what [`RootKey::seal`] sealed; `None` where it was another root or another purpose.
    pub(crate) fn open(&self, purpose: &str, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        open(&*derived(&self.0, purpose).ok()?, purpose, sealed)
    }
}

impl fmt::Debug for RootKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RootKey(…)")
    }
}

/// A key per purpose, so that what is sealed for one is worth nothing for another.
fn derived(root: &[u8; RootKey::BYTES], purpose: &str) -> Result<Zeroizing<[u8; 32]>, Error> {
    let info = [b"bartizan ".as_slice(), purpose.as_bytes()];
    let mut key = Zeroizing::new([0; 32]);
    hkdf::Salt::new(hkdf::HKDF_SHA256, b"bartizan root 1")
        .extract(root)
        .expand(&info, hkdf::HKDF_SHA256)
        .and_then(|okm| okm.fill(key.as_mut_slice()))
        .map_err(|_| Error::Random)?;
    Ok(key)
}

/// AES-256-GCM: nonce, text, tag. Random nonces are safe for far more values than a store will ever seal (2^32).
pub(crate) fn seal(key: &[u8; 32], purpose: &str, plain: &[u8]) -> Result<Vec<u8>, Error> {
    let nonce = *pepper::random::<NONCE_BYTES>()?;
    let cipher = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).map_err(|_| Error::Random)?);
    let mut sealed = Vec::with_capacity(NONCE_BYTES + plain.len() + AES_256_GCM.tag_len());
    sealed.extend_from_slice(plain);
    cipher
        .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(purpose), &mut sealed)
        .map_err(|_| Error::Random)?;
    sealed.splice(0..0, nonce);
    Ok(sealed)
}

pub(crate) fn open(key: &[u8; 32], purpose: &str, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (nonce, rest) = sealed.split_first_chunk::<NONCE_BYTES>()?;
    let cipher = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).ok()?);
    let mut text = Zeroizing::new(rest.to_vec());
    let length =
        cipher.open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(purpose), &mut text).ok()?.len();
    text.truncate(length);
    Some(text)
}

const NONCE_BYTES: usize = 12;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_under_its_root_and_purpose_alone() {
        let (one, other) = (RootKey::random().unwrap(), RootKey::random().unwrap());
        let sealed = one.seal("a", b"words").unwrap();
        assert!(!sealed.windows(5).any(|five| five == b"words"));
        assert_eq!(one.open("a", &sealed).unwrap().as_slice(), b"words");
        assert!(one.open("b", &sealed).is_none());
        assert!(other.open("a", &sealed).is_none());
        let mut bent = sealed;
        if let Some(last) = bent.last_mut() {
            *last ^= 1;
        }
        assert!(one.open("a", &bent).is_none());
        assert!(one.open("a", b"short").is_none());
    }

    #[test]
    fn a_root_is_64_hexadecimal_digits() {
        let digits = "00ff".repeat(16);
        assert_eq!(RootKey::parse(&format!("{digits}\n")).unwrap().0[..2], [0, 255]);
        for wrong in ["", &digits[1..], &digits.replace("ff", "fg"), &digits.replace("00", "+0")] {
            assert!(RootKey::parse(wrong).is_none(), "{wrong}");
        }
        assert_eq!(format!("{:?}", RootKey::parse(&digits).unwrap()), "RootKey(…)");
    }
}
