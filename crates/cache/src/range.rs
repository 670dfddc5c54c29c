//! A part of a kept answer (RFC 9110 §14). Entries are whole, so any part of them can be given.
//!
//! One range is answered; several at once are answered with the whole, which §14.2 allows and which costs nothing to
//! assemble: many small overlapping ranges are an old way of attack.

use http::{
    HeaderMap, HeaderValue, Method, StatusCode,
    header::{DATE, IF_RANGE, LAST_MODIFIED, RANGE},
};

use crate::{condition::is_strongly, entry::Entry, moment::parse_date};

/// What of a body is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// All of it.
    Whole,
    /// These bytes, with 206.
    Bytes {
        /// The first.
        first: usize,
        /// The one after the last.
        end: usize,
    },
    /// Nothing, with 416.
    Unsatisfiable,
}

impl Part {
    /// `Content-Range` for a body of `length` bytes.
    pub fn content_range(&self, length: usize) -> Option<HeaderValue> {
        let text = match self {
            Part::Whole => return None,
            Part::Bytes { first, end } => format!("bytes {first}-{}/{length}", end.saturating_sub(1)),
            Part::Unsatisfiable => format!("bytes */{length}"),
        };
        HeaderValue::from_str(&text).ok()
    }
}

/// What of `entry` a request asks for.
pub fn part(entry: &Entry, method: &Method, request: &HeaderMap) -> Part {
    // RFC 9110 §14.2: for GET only, and only where 200 would answer.
    if *method != Method::GET || entry.status() != StatusCode::OK || !allows(entry, request) {
        return Part::Whole;
    }
    let mut lines = request.get_all(RANGE).iter();
    let (Some(line), None) = (lines.next(), lines.next()) else { return Part::Whole };
    line.to_str().ok().and_then(|text| read(text, entry.body().len())).unwrap_or(Part::Whole)
}

/// RFC 9110 §13.1.5: with `If-Range`, only if it is what the caller has a part of already.
fn allows(entry: &Entry, request: &HeaderMap) -> bool {
    let Some(wanted) = request.get(IF_RANGE) else { return true };
    if entry.etag().is_some_and(|etag| is_strongly(wanted, etag)) {
        return true;
    }
    // §8.8.2.2: a date is a strong validator only when the answer was made clearly later.
    let date = |name| entry.headers().get(name).and_then(parse_date);
    match (parse_date(wanted), date(LAST_MODIFIED), date(DATE)) {
        (Some(wanted), Some(changed), Some(made)) => wanted == changed && made >= changed.saturating_add(1),
        _ => false,
    }
}

/// One range of bytes; nothing for what is to be ignored.
fn read(text: &str, length: usize) -> Option<Part> {
    let (unit, set) = text.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    let (first, last) = set.trim().split_once('-')?;
    let number = |text: &str| -> Option<usize> {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| text.parse().unwrap_or(usize::MAX))
    };
    if first.is_empty() {
        // The last so many bytes.
        let count = number(last)?;
        return Some(match length.checked_sub(count.min(length)) {
            Some(first) if count > 0 && length > 0 => Part::Bytes { first, end: length },
            _ => Part::Unsatisfiable,
        });
    }
    let first = number(first)?;
    let last = if last.is_empty() { usize::MAX } else { number(last)? };
    if last < first {
        return None;
    }
    Some(match first < length {
        true => Part::Bytes { first, end: last.saturating_add(1).min(length) },
        false => Part::Unsatisfiable,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_range_is_read_as_rfc_9110_14_1_2_says_and_anything_else_is_ignored() {
        let bytes = |first, end| Some(Part::Bytes { first, end });
        let rows = [
            ("bytes=0-0", bytes(0, 1)),
            ("bytes=2-", bytes(2, 10)),
            ("bytes=2-99", bytes(2, 10)),
            ("bytes=-3", bytes(7, 10)),
            ("bytes=-99", bytes(0, 10)),
            ("Bytes=9-9", bytes(9, 10)),
            ("bytes=10-", Some(Part::Unsatisfiable)),
            ("bytes=-0", Some(Part::Unsatisfiable)),
            ("bytes=99999999999999999999999-", Some(Part::Unsatisfiable)),
            ("bytes=3-2", None),
            ("bytes=0-1,3-4", None),
            ("bytes=a-", None),
            ("bytes=-", None),
            ("items=0-1", None),
            ("bytes", None),
        ];
        for (text, expected) in rows {
            assert_eq!(read(text, 10), expected, "{text}");
        }
        assert_eq!(read("bytes=0-", 0), Some(Part::Unsatisfiable));
        assert_eq!(read("bytes=-1", 0), Some(Part::Unsatisfiable));
    }

    #[test]
    fn content_range_names_what_is_sent() {
        let shown = |part: Part| part.content_range(10).map(|value| value.to_str().unwrap().to_owned());
        assert_eq!(shown(Part::Bytes { first: 2, end: 5 }).as_deref(), Some("bytes 2-4/10"));
        assert_eq!(shown(Part::Unsatisfiable).as_deref(), Some("bytes */10"));
        assert_eq!(shown(Part::Whole), None);
    }
}
