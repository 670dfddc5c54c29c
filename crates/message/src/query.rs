//! The query, as pairs.
//!
//! `&` is the only separator; a `;` belongs to the value, because servers disagree about it and a policy that splits
//! there would miss what the upstream reads. Every pair is kept, duplicates and empty names included, so that a judge
//! can look at all values. A bad percent triplet is flagged, not refused: `?q=100%` is common and harmless.

use std::borrow::Cow;

use bartizan_model::Denial;

use crate::{path::triplet, refuse::malformed};

/// Most pairs of one query: each costs every judge a look, and no honest form has this many.
pub const PAIRS_MAX: usize = 500;

/// Checks that a raw query can be carried: visible ASCII without `#`, and no more than [`PAIRS_MAX`] pairs.
///
/// # Errors
///
/// `MalformedRequest` otherwise.
pub fn check(raw: &str) -> Result<(), Denial> {
    let mut pairs = 1usize;
    let mut stray = false;
    for byte in raw.bytes() {
        stray |= !matches!(byte, 0x21..=0x7e) || byte == b'#';
        pairs += usize::from(byte == b'&');
    }
    if stray {
        return Err(malformed("query contains a character that must be percent-encoded"));
    }
    if pairs > PAIRS_MAX {
        return Err(malformed("query has too many pairs"));
    }
    Ok(())
}

/// The pairs of a query that passed [`check`], in order.
#[derive(Clone, Debug)]
pub struct Query<'a> {
    rest: Option<&'a str>,
}

impl<'a> Query<'a> {
    /// The pairs of a raw query; none for `None`.
    pub const fn new(raw: Option<&'a str>) -> Self {
        Query { rest: raw }
    }
}

impl<'a> Iterator for Query<'a> {
    type Item = Pair<'a>;

    fn next(&mut self) -> Option<Pair<'a>> {
        loop {
            let current = self.rest?;
            let piece = match current.split_once('&') {
                Some((piece, rest)) => {
                    self.rest = Some(rest);
                    piece
                }
                None => {
                    self.rest = None;
                    current
                }
            };
            if !piece.is_empty() {
                let (name, value) = match piece.split_once('=') {
                    Some((name, value)) => (name, Some(value)),
                    None => (piece, None),
                };
                return Some(Pair { raw_name: name, raw_value: value });
            }
        }
    }
}

/// One `name=value`, as sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair<'a> {
    /// What stands before the first `=`.
    pub raw_name: &'a str,
    /// What stands behind it; `None` without a `=`.
    pub raw_value: Option<&'a str>,
}

impl<'a> Pair<'a> {
    /// The name, decoded.
    pub fn name(&self) -> Decoded<'a> {
        decode(self.raw_name)
    }

    /// The value, decoded; empty without a `=`.
    pub fn value(&self) -> Decoded<'a> {
        decode(self.raw_value.unwrap_or_default())
    }
}

/// Decoded text of a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoded<'a> {
    /// The bytes; they need not be UTF-8.
    pub bytes: Cow<'a, [u8]>,
    /// Whether every `%` began a triplet. If not, the stray ones stand for themselves in `bytes`.
    pub well_formed: bool,
}

impl Decoded<'_> {
    /// The text, if it is UTF-8.
    pub fn as_str(&self) -> Option<&str> {
        std::str::from_utf8(&self.bytes).ok()
    }
}

/// Percent-decoding with `+` for a space.
fn decode(raw: &str) -> Decoded<'_> {
    if !raw.bytes().any(|byte| matches!(byte, b'%' | b'+')) {
        return Decoded { bytes: Cow::Borrowed(raw.as_bytes()), well_formed: true };
    }
    let mut bytes = Vec::with_capacity(raw.len());
    let mut well_formed = true;
    let mut rest = raw.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        match (byte, triplet(after)) {
            (b'%', Some((value, after))) => {
                bytes.push(value);
                rest = after;
            }
            (b'%', None) => {
                well_formed = false;
                bytes.push(b'%');
            }
            (b'+', _) => bytes.push(b' '),
            (other, _) => bytes.push(*other),
        }
    }
    Decoded { bytes: Cow::Owned(bytes), well_formed }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pairs(raw: &str) -> Vec<(String, String)> {
        Query::new(Some(raw))
            .map(|pair| {
                let text = |decoded: Decoded<'_>| String::from_utf8_lossy(&decoded.bytes).into_owned();
                (text(pair.name()), text(pair.value()))
            })
            .collect()
    }

    #[test]
    fn a_query_reads_into_its_pairs() {
        let cases: &[(&str, &[(&str, &str)])] = &[
            ("", &[]),
            ("a=1", &[("a", "1")]),
            ("a=1&b=2", &[("a", "1"), ("b", "2")]),
            ("a=1&a=2", &[("a", "1"), ("a", "2")]),
            ("a=1;b=2", &[("a", "1;b=2")]),
            ("a", &[("a", "")]),
            ("a=", &[("a", "")]),
            ("=v", &[("", "v")]),
            ("=", &[("", "")]),
            ("a=b=c", &[("a", "b=c")]),
            ("&&a=1&&", &[("a", "1")]),
            ("a[]=1&a%5B%5D=2", &[("a[]", "1"), ("a[]", "2")]),
            ("q=a+b%20c%2B", &[("q", "a b c+")]),
            ("q=100%", &[("q", "100%")]),
            ("q=%zz%4", &[("q", "%zz%4")]),
            ("%69d=7", &[("id", "7")]),
        ];
        for (raw, expected) in cases {
            let expected: Vec<_> = expected.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
            assert_eq!(pairs(raw), expected, "{raw}");
        }
        assert_eq!(Query::new(None).count(), 0);
    }

    #[test]
    fn a_pair_without_an_equals_sign_differs_from_an_empty_value() {
        let values: Vec<_> = Query::new(Some("a&b=")).map(|pair| pair.raw_value).collect();
        assert_eq!(values, [None, Some("")]);
    }

    #[test]
    fn a_bad_percent_triplet_is_flagged_and_a_good_one_is_not() {
        let flags: Vec<_> =
            Query::new(Some("a=%41&b=%4&c=%&d=%g1&e=x+y")).map(|p| p.value().well_formed).collect();
        assert_eq!(flags, [true, false, false, false, true]);
    }

    #[test]
    fn a_query_that_cannot_be_carried_is_refused() {
        for raw in ["a b", "a#b", "a\tb", "a\u{7f}", "ä", "a\0"] {
            assert!(check(raw).is_err(), "{raw:?} was admitted");
        }
        for raw in ["", "a=1&b=%00", "a[]={\"x\"}|^`", "a=\\"] {
            assert!(check(raw).is_ok(), "{raw:?} was refused");
        }
    }

    #[test]
    fn five_hundred_pairs_pass_and_one_more_does_not() {
        assert!(check(&vec!["a=1"; PAIRS_MAX].join("&")).is_ok());
        assert!(check(&vec!["a=1"; PAIRS_MAX + 1].join("&")).is_err());
    }

    proptest! {
        #[test]
        fn reading_pairs_loses_no_text(raw in "[a-c=&%+;0-9]{0,60}") {
            let joined: Vec<_> = Query::new(Some(&raw))
                .map(|p| match p.raw_value { Some(v) => format!("{}={v}", p.raw_name), None => p.raw_name.to_owned() })
                .collect();
            let pieces: Vec<_> = raw.split('&').filter(|piece| !piece.is_empty()).collect();
            prop_assert_eq!(joined, pieces);
        }
    }
}
