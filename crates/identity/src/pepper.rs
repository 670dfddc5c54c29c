//! The keyed hash under which a key's secret is kept.
//!
//! HMAC-SHA-256 under a process-wide pepper: a stolen database alone confirms no guess. A slow password hash is
//! refused on purpose: it protects guessable secrets, ours has 256 bits, and it would cost milliseconds per call.

use std::fmt;

use aws_lc_rs::{constant_time, hmac};

use crate::api_key::{KeyText, Presented};

/// The secret that keys every hash. Holds the prepared HMAC state, which AWS-LC wipes when it is dropped; whoever
/// read the bytes wipes their own copy.
#[derive(Clone)]
pub struct Pepper(hmac::Key);

impl Pepper {
    /// How many bytes a pepper has.
    pub const BYTES: usize = 32;

    /// Prepares the key schedule once, so that judging a key hashes two short blocks less.
    pub fn new(bytes: &[u8; Self::BYTES]) -> Self {
        Pepper(hmac::Key::new(hmac::HMAC_SHA256, bytes))
    }

    /// The hash to store for a key; `None` if the text is not a well-formed key.
    pub fn hash(&self, text: &KeyText) -> Option<KeyHash> {
        Presented::parse(text.expose().as_bytes()).map(|presented| self.hash_presented(&presented))
    }

    /// A value that tells two peppers apart and reveals neither: kept beside the hashes, so that a lost or
    /// exchanged pepper is noticed at start, and not as a wave of refused callers.
    pub fn fingerprint(&self) -> KeyHash {
        // Another length than a key's 55 bytes, so it can never equal the hash of one.
        KeyHash::of(hmac::sign(&self.0, b"bartizan pepper fingerprint 1"))
    }

    pub(crate) fn hash_presented(&self, presented: &Presented<'_>) -> KeyHash {
        // Id and secret, both of fixed length: 55 bytes, the most that SHA-256 takes in one block. The id is in it
        // so that a hash copied to another row of the database verifies nothing there.
        #[cfg(test)]
        HASHES.with(|count| count.set(count.get() + 1));
        let mut context = hmac::Context::with_key(&self.0);
        context.update(presented.id.digits());
        context.update(presented.secret);
        KeyHash::of(context.sign())
    }
}

impl fmt::Debug for Pepper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pepper(…)")
    }
}

/// A key's hash, as stored. Compared in constant time only, so it has no `PartialEq`.
#[derive(Clone, Copy)]
pub struct KeyHash([u8; 32]);

impl KeyHash {
    /// Takes over stored bytes.
    pub const fn new(bytes: [u8; 32]) -> Self {
        KeyHash(bytes)
    }

    /// The bytes, to be stored.
    pub const fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Whether both are the same, in a time that does not depend on where they differ.
    #[must_use]
    pub fn matches(&self, other: &KeyHash) -> bool {
        constant_time::verify_slices_are_equal(&self.0, &other.0).is_ok()
    }

    fn of(tag: hmac::Tag) -> Self {
        // An HMAC-SHA-256 tag has 32 bytes; anything else would be a defect of the library, and a hash of zeroes
        // matches nothing that was ever stored.
        KeyHash(tag.as_ref().try_into().unwrap_or_default())
    }
}

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyHash(…)")
    }
}

#[cfg(test)]
thread_local! {
    static HASHES: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

/// How many keys this thread has hashed: the measure by which tests compare the work of two judgements.
#[cfg(test)]
pub(crate) fn hashes_on_this_thread() -> u64 {
    HASHES.with(std::cell::Cell::get)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api_key::{MINT_BYTES, mint};

    #[test]
    fn the_hash_is_hmac_sha_256_of_id_and_secret() {
        let pepper = Pepper::new(&[9; 32]);
        let key = mint(&[5; MINT_BYTES]);
        let text = key.text.expose();
        let expected = hmac::sign(
            &hmac::Key::new(hmac::HMAC_SHA256, &[9; 32]),
            [&text.as_bytes()[4..16], &text.as_bytes()[17..60]].concat().as_slice(),
        );
        assert_eq!(pepper.hash(&key.text).unwrap().bytes().as_slice(), expected.as_ref());
    }

    #[test]
    fn another_pepper_another_id_or_another_secret_is_another_hash() {
        let pepper = Pepper::new(&[1; 32]);
        let mut random = [5; MINT_BYTES];
        let base = pepper.hash(&mint(&random).text).unwrap();
        assert!(base.matches(&pepper.hash(&mint(&random).text).unwrap()));
        assert!(!base.matches(&Pepper::new(&[2; 32]).hash(&mint(&random).text).unwrap()));
        random[0] ^= 1;
        assert!(!base.matches(&pepper.hash(&mint(&random).text).unwrap()), "secret");
        random[0] ^= 1;
        random[47] ^= 1;
        assert!(!base.matches(&pepper.hash(&mint(&random).text).unwrap()), "id");
    }

    #[test]
    fn the_fingerprint_tells_peppers_apart() {
        let fingerprint = Pepper::new(&[1; 32]).fingerprint();
        assert!(fingerprint.matches(&Pepper::new(&[1; 32]).fingerprint()));
        assert!(!fingerprint.matches(&Pepper::new(&[2; 32]).fingerprint()));
    }

    #[test]
    fn debug_shows_neither_pepper_nor_hash() {
        let pepper = Pepper::new(&[0xab; 32]);
        assert_eq!(format!("{pepper:?} {:?}", pepper.fingerprint()), "Pepper(…) KeyHash(…)");
    }
}
