//! The identifier of a request, by which its answer, its log line and the upstream's own log are found.
//!
//! A caller's `X-Request-ID` is taken over if it can do no harm in a log, a URL or a shell; else one is minted. A bad one
//! is no reason to refuse: it decides nothing. It is made before the head is judged, so that refusals carry it too.

use std::{
    fmt,
    hash::{Hash, Hasher},
};

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::inline::Inline;

/// `X-Request-ID`.
pub static X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Longest identifier taken over: the identifiers in use (UUID, ULID, trace ids) are far shorter, and it is copied
/// into every log line.
const LENGTH_MAX: usize = 128;

/// A sound identifier.
#[derive(Clone)]
pub struct RequestId(Form);

#[derive(Clone)]
enum Form {
    Given(HeaderValue),
    Minted(Inline<32>),
}

impl RequestId {
    /// The caller's identifier if there is exactly one and it is sound, else one minted from `random`.
    pub fn accept(headers: &HeaderMap, random: u128) -> Self {
        let mut given = headers.get_all(&X_REQUEST_ID).iter();
        match (given.next(), given.next()) {
            (Some(value), None) if is_sound(value.as_bytes()) => RequestId(Form::Given(value.clone())),
            _ => Self::mint(random),
        }
    }

    /// 32 lower-case hex digits of `random`, which must be unpredictable enough not to collide.
    pub fn mint(random: u128) -> Self {
        let mut text = [0; 32];
        for (digits, byte) in text.as_chunks_mut::<2>().0.iter_mut().zip(random.to_be_bytes()) {
            *digits = [hex_digit(byte >> 4), hex_digit(byte & 15)];
        }
        RequestId(Form::Minted(Inline::filled(text)))
    }

    /// The text: 1 to 128 of `A-Z a-z 0-9 . _ ~ + / = -`.
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Form::Given(value) => value.to_str().unwrap_or_default(),
            Form::Minted(text) => text.as_str(),
        }
    }

    /// The value for a header of ours; a given identifier is shared, not copied.
    pub fn to_header_value(&self) -> HeaderValue {
        match &self.0 {
            Form::Given(value) => value.clone(),
            // Hex digits are a header value; the alternative is never taken.
            Form::Minted(text) => {
                HeaderValue::from_bytes(text.as_bytes()).unwrap_or(HeaderValue::from_static("unknown"))
            }
        }
    }

    /// Whether we made it up.
    pub const fn is_minted(&self) -> bool {
        matches!(self.0, Form::Minted(_))
    }
}

fn is_sound(text: &[u8]) -> bool {
    let known = |byte: &u8| SOUND.get(usize::from(*byte)).copied().unwrap_or_default();
    (1..=LENGTH_MAX).contains(&text.len()) && text.iter().all(known)
}

/// The characters of a sound identifier.
static SOUND: [bool; 256] = sound();

#[expect(
    clippy::indexing_slicing,
    reason = "evaluated at compile time, where a wrong index does not compile"
)]
const fn sound() -> [bool; 256] {
    let mut sound = [false; 256];
    let mut byte = 0;
    while byte < sound.len() {
        let letter = byte as u8;
        sound[byte] = letter.is_ascii_alphanumeric()
            || matches!(letter, b'.' | b'_' | b'~' | b'+' | b'/' | b'=' | b'-');
        byte += 1;
    }
    sound
}

fn hex_digit(nibble: u8) -> u8 {
    if nibble < 10 { b'0' + nibble } else { b'a' - 10 + (nibble & 15) }
}

impl PartialEq for RequestId {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for RequestId {}

impl Hash for RequestId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accept(values: &[&str]) -> RequestId {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(&X_REQUEST_ID, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        RequestId::accept(&headers, 0x0123_4567_89ab_cdef_0011_2233_4455_6677)
    }

    #[test]
    fn a_sound_identifier_is_taken_over() {
        let longest = "a".repeat(128);
        for text in ["a", "018f3c1e-7b1a-7c3e-9d55-1f2e3d4c5b6a", "Root=1-67891233-abcdef/x+y~z_.", &longest]
        {
            let id = accept(&[text]);
            assert_eq!(id.as_str(), text);
            assert!(!id.is_minted());
            assert_eq!(id.to_header_value(), *text);
        }
    }

    #[test]
    fn anything_else_is_replaced_by_a_minted_one() {
        let longer = "a".repeat(129);
        let cases: &[&[&str]] = &[
            &[],
            &[""],
            &["a b"],
            &["a;b"],
            &["\"a\""],
            &["<a>"],
            &["é"],
            &["a\tb"],
            &[&longer],
            &["a", "b"],
            &["a", "a"],
        ];
        for values in cases {
            let id = accept(values);
            assert_eq!(id.as_str(), "0123456789abcdef0011223344556677", "{values:?}");
            assert!(id.is_minted());
            assert_eq!(id.to_header_value(), "0123456789abcdef0011223344556677");
        }
    }
}
