//! The text of an API key: `bzk_` + id (12) + `_` + secret (43) + checksum (6), 66 characters in all.
//!
//! The prefix lets scanners find a leaked key (`bzk_[0-9A-Za-z]{12}_[0-9A-Za-z]{49}`); the CRC-32 over all that
//! precedes lets them, and us, reject junk and typing errors without a look-up. The id is public (logs, `keys list`)
//! and finds the record; the secret is 256 random bits. The environment is no part of the text: keys of another
//! gateway fail by their id and pepper, and a name that is only a claim invites trust in it.

use std::{fmt, str};

use zeroize::Zeroizing;

use crate::base62;

/// What every key begins with.
pub const PREFIX: &str = "bzk_";
/// The length of a whole key.
pub const KEY_CHARS: usize = PREFIX.len() + ID_CHARS + 1 + SECRET_CHARS + CHECKSUM_CHARS;
/// How many random bytes [`mint`] takes: 32 for the secret, 16 for the id.
pub const MINT_BYTES: usize = 48;

/// The public part of a key: 12 digits of base 62, about 71 bits. It identifies and proves nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId([u8; ID_CHARS]);

impl KeyId {
    /// Its length.
    pub const CHARS: usize = ID_CHARS;

    /// Reads an id as it stands in a log or a database: exactly 12 letters and digits.
    pub fn parse(text: &str) -> Option<Self> {
        Self::from_digits(text.as_bytes().try_into().ok()?)
    }

    /// Reads what an operator has at hand: the id, the id with its `bzk_` prefix, or a whole (leaked) key, whose
    /// secret is ignored after its checksum has held.
    pub fn recognise(text: &str) -> Option<Self> {
        let text = text.trim();
        match text.strip_prefix(PREFIX) {
            Some(rest) if rest.len() == ID_CHARS => Self::parse(rest),
            Some(_) => Presented::parse(text.as_bytes()).map(|presented| presented.id),
            None => Self::parse(text),
        }
    }

    /// The id's twelve characters.
    pub fn as_str(&self) -> &str {
        // Both constructors admit ASCII only, so this never falls back.
        str::from_utf8(&self.0).unwrap_or_default()
    }

    pub(crate) const fn digits(&self) -> &[u8; ID_CHARS] {
        &self.0
    }

    fn from_digits(digits: &[u8; ID_CHARS]) -> Option<Self> {
        base62::is_text(digits).then_some(KeyId(*digits))
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

/// A whole key with its secret: shown once to whom it belongs, never stored, wiped when dropped.
#[derive(Clone)]
pub struct KeyText(Zeroizing<String>);

impl KeyText {
    /// The key as the caller sends it. The only way to the secret: search for this word to see who uses it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for KeyText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyText(…)")
    }
}

/// A fresh key.
#[derive(Debug)]
pub struct MintedKey {
    /// The public part.
    pub id: KeyId,
    /// The whole text, secret included.
    pub text: KeyText,
}

/// Makes a key of `random`, which must come from the system's random source and be used for nothing else.
pub fn mint(random: &[u8; MINT_BYTES]) -> MintedKey {
    let (secret, id) = random.split_at(32);
    let secret = Zeroizing::new(fixed::<32>(secret));
    // 62^12 out of 2^128: what the cut prefers is far below one part in 2^50.
    let id = KeyId(base62::encode(u128::from_be_bytes(fixed(id))));

    // Reserved whole, so that growing leaves no copy of the secret behind.
    let mut text = Zeroizing::new(String::with_capacity(KEY_CHARS));
    text.push_str(PREFIX);
    text.push_str(id.as_str());
    text.push(SEPARATOR);
    text.extend(base62::encode_256(&secret).iter().map(|&digit| char::from(digit)));
    let checksum = checksum(text.as_bytes());
    text.extend(checksum.iter().map(|&digit| char::from(digit)));
    MintedKey { id, text: KeyText(text) }
}

/// A key text whose form and checksum hold: worth a look-up, proven by nothing yet.
///
/// The secret stays text: what is hashed is the 43 characters, so two spellings of one secret do not exist.
pub(crate) struct Presented<'a> {
    pub(crate) id: KeyId,
    pub(crate) secret: &'a [u8; SECRET_CHARS],
}

impl<'a> Presented<'a> {
    /// `None` for whatever we never minted: another length, prefix, alphabet or checksum.
    pub(crate) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (covered, claimed) = bytes.split_last_chunk::<CHECKSUM_CHARS>()?;
        let rest = covered.strip_prefix(PREFIX.as_bytes())?;
        let (id, rest) = rest.split_first_chunk::<ID_CHARS>()?;
        let (separator, secret) = rest.split_first()?;
        let secret: &[u8; SECRET_CHARS] = secret.try_into().ok()?;
        if *separator != SEPARATOR as u8 || !base62::is_text(secret) || checksum(covered) != *claimed {
            return None;
        }
        Some(Presented { id: KeyId::from_digits(id)?, secret })
    }
}

fn checksum(covered: &[u8]) -> [u8; CHECKSUM_CHARS] {
    base62::encode(u128::from(crc32fast::hash(covered)))
}

/// The first `N` bytes; the caller splits a fixed array, so they are there.
fn fixed<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.first_chunk().copied().unwrap_or([0; N])
}

pub(crate) const ID_CHARS: usize = 12;
pub(crate) const SECRET_CHARS: usize = 43;
const CHECKSUM_CHARS: usize = 6;
const SEPARATOR: char = '_';

#[cfg(test)]
mod tests {
    use super::*;

    fn minted(seed: u8) -> MintedKey {
        mint(&std::array::from_fn(|at| seed.wrapping_mul(31).wrapping_add((at * 7) as u8)))
    }

    #[test]
    fn a_minted_key_has_the_documented_form() {
        let key = minted(1);
        let text = key.text.expose();
        assert_eq!(text.len(), KEY_CHARS);
        assert_eq!(KEY_CHARS, 66);
        assert!(text.starts_with(&format!("bzk_{}_", key.id)));
        assert!(text.bytes().all(|byte| byte == b'_' || byte.is_ascii_alphanumeric()));
        assert_eq!(Presented::parse(text.as_bytes()).map(|presented| presented.id), Some(key.id));
    }

    #[test]
    fn every_random_byte_changes_the_key() {
        let base = [7u8; MINT_BYTES];
        let reference = mint(&base);
        for at in 0..MINT_BYTES {
            let mut other = base;
            other[at] ^= 1;
            assert_ne!(mint(&other).text.expose(), reference.text.expose(), "byte {at}");
        }
    }

    #[test]
    fn the_checksum_catches_every_change_of_one_character() {
        let key = minted(2);
        let text = key.text.expose().as_bytes();
        for at in 0..text.len() {
            for byte in (0u8..=255).filter(|byte| *byte != text[at]) {
                let mut changed = text.to_vec();
                changed[at] = byte;
                assert!(Presented::parse(&changed).is_none(), "position {at}, byte {byte:#04x}");
            }
        }
    }

    #[test]
    fn the_checksum_catches_every_swap_of_neighbours() {
        let key = minted(3);
        let text = key.text.expose().as_bytes();
        for at in 1..text.len() {
            let mut changed = text.to_vec();
            changed.swap(at - 1, at);
            assert!(changed == text || Presented::parse(&changed).is_none(), "position {at}");
        }
    }

    #[test]
    fn what_was_never_minted_is_not_a_key() {
        let key = minted(4);
        let text = key.text.expose();
        let resealed = |body: &str| {
            let seal = checksum(body.as_bytes());
            format!("{body}{}", str::from_utf8(&seal).unwrap())
        };
        let body = &text[..KEY_CHARS - CHECKSUM_CHARS];
        assert!(Presented::parse(resealed(body).as_bytes()).is_some(), "the table's helper seals correctly");
        let table = [
            ("empty", String::new()),
            ("the prefix alone", PREFIX.to_owned()),
            ("one character short", text[..KEY_CHARS - 1].to_owned()),
            ("one character long", format!("{text}0")),
            ("a space before", format!(" {text}")),
            ("a line break after", format!("{text}\n")),
            ("a scheme before", format!("Bearer {text}")),
            ("upper-case prefix", resealed(&body.replacen("bzk_", "BZK_", 1))),
            (
                "another separator",
                resealed(&body.replacen(&format!("{}_", key.id), &format!("{}-", key.id), 1)),
            ),
            ("an id with punctuation", resealed(&format!("bzk_../../../../{}", &body[16..]))),
            ("a secret with a space", resealed(&format!("{} ", &body[..body.len() - 1]))),
            ("a secret too short", resealed(&body[..body.len() - 1])),
            ("a secret too long", resealed(&format!("{body}0"))),
            ("a byte of UTF-8", resealed(&format!("{}é", &body[..body.len() - 2]))),
        ];
        for (name, text) in table {
            assert!(Presented::parse(text.as_bytes()).is_none(), "{name}");
        }
        assert!(Presented::parse(&[0xff; KEY_CHARS]).is_none());
    }

    #[test]
    fn an_operator_may_name_a_key_by_id_prefix_or_text() {
        let key = minted(5);
        for text in [
            key.id.to_string(),
            format!("bzk_{}", key.id),
            format!("  {} ", key.id),
            key.text.expose().to_owned(),
        ] {
            assert_eq!(KeyId::recognise(&text), Some(key.id));
        }
        let broken = key.text.expose().replacen(&key.text.expose()[20..21], "!", 1);
        for text in ["", "bzk_", "bzk_short", "thirteenchars", "elevenchars", "twelve-chars", &broken] {
            assert_eq!(KeyId::recognise(text), None, "{text}");
        }
    }

    #[test]
    fn debug_shows_the_id_and_never_the_secret() {
        let key = minted(6);
        let shown = format!("{key:?}");
        assert!(shown.contains(key.id.as_str()));
        assert!(!shown.contains(&key.text.expose()[17..60]), "{shown}");
        assert!(!shown.contains(&key.text.expose()[17..25]), "{shown}");
    }
}
