//! The framing of a request: where its body ends, decided once and in one way.
//!
//! Request smuggling lives where two servers frame one message differently. Every form that some server reads otherwise
//! is refused, even where RFC 9112 §6.3 would let it pass: repeated lengths, both headers, any coding but `chunked`.

use bartizan_model::Denial;
use http::{HeaderValue, Version};

use crate::refuse::malformed;

/// Where the body of a message ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is none: HTTP/1 without either header.
    Absent,
    /// After the last chunk.
    Chunked,
    /// After this many bytes.
    Length(u64),
    /// Where the stream ends: HTTP/2 without a length. The body may still be empty.
    Stream,
}

impl Framing {
    /// The framing of a request with these headers, each of which came at most once.
    ///
    /// # Errors
    ///
    /// `MalformedRequest` for every form that is not exactly one of the four.
    pub fn of_request(
        version: Version,
        content_length: Option<&HeaderValue>,
        transfer_encoding: Option<&HeaderValue>,
    ) -> Result<Self, Denial> {
        let Some(coding) = transfer_encoding else {
            return match content_length {
                Some(length) => parse_length(length.as_bytes())
                    .map(Framing::Length)
                    .ok_or_else(|| malformed("content-length is not a plain number")),
                None if version == Version::HTTP_2 => Ok(Framing::Stream),
                None => Ok(Framing::Absent),
            };
        };
        if version != Version::HTTP_11 {
            // RFC 9112 §6.1: framing of such a request is faulty; RFC 9113 §8.2.2 forbids the header in HTTP/2.
            return Err(malformed("transfer-encoding is sent in a version that has none"));
        }
        if content_length.is_some() {
            return Err(malformed("content-length and transfer-encoding are both sent"));
        }
        if !coding.as_bytes().eq_ignore_ascii_case(b"chunked") {
            return Err(malformed("transfer-encoding is not exactly chunked"));
        }
        Ok(Framing::Chunked)
    }

    /// Whether a body byte can follow the head.
    pub const fn announces_body(self) -> bool {
        match self {
            Framing::Absent | Framing::Length(0) => false,
            Framing::Chunked | Framing::Length(_) | Framing::Stream => true,
        }
    }

    /// The announced length, if there is one.
    pub const fn length(self) -> Option<u64> {
        match self {
            Framing::Absent => Some(0),
            Framing::Length(length) => Some(length),
            Framing::Chunked | Framing::Stream => None,
        }
    }
}

/// Digits only, no sign, no list, no leading zero (some programs read octal), at most what fits 63 bits.
pub(crate) fn parse_length(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || (digits.len() > 1 && digits.starts_with(b"0")) {
        return None;
    }
    let length = digits.iter().try_fold(0u64, |sum, digit| {
        let value = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        sum.checked_mul(10)?.checked_add(value)
    })?;
    // Signed 64-bit readers must not see a negative length.
    i64::try_from(length).is_ok().then_some(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framing(version: Version, length: Option<&str>, coding: Option<&str>) -> Result<Framing, Denial> {
        let value = |text: &str| HeaderValue::from_bytes(text.as_bytes()).unwrap();
        Framing::of_request(version, length.map(value).as_ref(), coding.map(value).as_ref())
    }

    #[test]
    fn each_sound_form_has_one_framing() {
        let (h1, h2) = (Version::HTTP_11, Version::HTTP_2);
        let cases = [
            (h1, None, None, Framing::Absent),
            (Version::HTTP_10, None, None, Framing::Absent),
            (h2, None, None, Framing::Stream),
            (h1, Some("0"), None, Framing::Length(0)),
            (h1, Some("5"), None, Framing::Length(5)),
            (h2, Some("5"), None, Framing::Length(5)),
            (Version::HTTP_10, Some("5"), None, Framing::Length(5)),
            (h1, Some("9223372036854775807"), None, Framing::Length(i64::MAX as u64)),
            (h1, None, Some("chunked"), Framing::Chunked),
            (h1, None, Some("Chunked"), Framing::Chunked),
        ];
        for (version, length, coding, expected) in cases {
            assert_eq!(framing(version, length, coding), Ok(expected), "{length:?} {coding:?}");
        }
    }

    #[test]
    fn a_length_that_is_not_a_plain_number_is_refused() {
        let cases = [
            "",
            "+5",
            "-5",
            "0x5",
            "5 ",
            " 5",
            "5, 5",
            "5,5",
            "5;",
            "5.0",
            "1e3",
            "05",
            "00",
            "9223372036854775808",
            "18446744073709551616",
            "99999999999999999999",
            "five",
            "5\u{a0}",
        ];
        for length in cases {
            assert!(framing(Version::HTTP_11, Some(length), None).is_err(), "{length:?} was admitted");
        }
    }

    #[test]
    fn a_coding_that_is_not_exactly_chunked_is_refused() {
        let cases = [
            "",
            "xchunked",
            "chunked, identity",
            "identity, chunked",
            "gzip, chunked",
            "chunked,",
            ",chunked",
            "chunked;q=1",
            " chunked",
            "chunked ",
            "chunked, chunked",
            "identity",
            "gzip",
            "chunke",
            "\"chunked\"",
        ];
        for coding in cases {
            assert!(framing(Version::HTTP_11, None, Some(coding)).is_err(), "{coding:?} was admitted");
        }
    }

    #[test]
    fn a_coding_beside_a_length_or_outside_http_1_1_is_refused() {
        assert!(framing(Version::HTTP_11, Some("5"), Some("chunked")).is_err());
        assert!(framing(Version::HTTP_11, Some("0"), Some("chunked")).is_err());
        assert!(framing(Version::HTTP_10, None, Some("chunked")).is_err());
        assert!(framing(Version::HTTP_2, None, Some("chunked")).is_err());
    }

    #[test]
    fn only_framings_that_can_carry_bytes_announce_a_body() {
        for (framing, announces, length) in [
            (Framing::Absent, false, Some(0)),
            (Framing::Length(0), false, Some(0)),
            (Framing::Length(1), true, Some(1)),
            (Framing::Chunked, true, None),
            (Framing::Stream, true, None),
        ] {
            assert_eq!((framing.announces_body(), framing.length()), (announces, length), "{framing:?}");
        }
    }
}
