//! The one path of a request, for routing, policy, inspection and the upstream alike.
//!
//! Gateways were bypassed again and again because a matcher read one spelling and a server another. Here a path has one
//! spelling or is refused: `..;/`, `%2f`, `\`, `//`, double encoding and their kin are answered with 400, unless a
//! listener tolerates one of them by name. RFC 3986 §6.2.2 equivalences (case of hex digits, needlessly encoded
//! letters) are the only ones settled silently. A path that is canonical already, the usual case, is not copied.

mod tolerate;

use std::{borrow::Cow, fmt};

use bartizan_model::Denial;
use bytes::Bytes;
use http::uri::PathAndQuery;

pub use self::tolerate::{DotSegments, EmptySegments, EncodedSlash, Parameters, Tolerate};
use crate::refuse::malformed;

/// A path in its one spelling, together with the query that came with it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct CanonicalPath {
    target: PathAndQuery,
}

impl CanonicalPath {
    /// The canonical form of a request target's path; its query is carried along unread.
    ///
    /// # Errors
    ///
    /// `MalformedRequest` if the path has no form that every server would read alike.
    pub fn of(target: &PathAndQuery, tolerate: &Tolerate) -> Result<Self, Denial> {
        match canonicalise(target.path().as_bytes(), tolerate)? {
            Spelling::Canonical if target.as_str().starts_with('/') => {
                Ok(CanonicalPath { target: target.clone() })
            }
            // `http://example.com?q` has no path at all; its target starts with the query and is written anew.
            Spelling::Canonical => Self::assemble(target.path().as_bytes(), target.query()),
            Spelling::Other(path) => Self::assemble(&path, target.query()),
        }
    }

    /// The canonical form of a path alone, as when a route rewrites it. A `?` is refused like any other stray character.
    ///
    /// # Errors
    ///
    /// As [`CanonicalPath::of`].
    pub fn parse(path: &[u8], tolerate: &Tolerate) -> Result<Self, Denial> {
        Self::spell(path, None, tolerate)
    }

    /// The asterisk-form (RFC 9112 §3.2.4), which only `OPTIONS` may use.
    pub fn asterisk() -> Self {
        CanonicalPath { target: PathAndQuery::from_static("*") }
    }

    /// The same query behind another path.
    ///
    /// # Errors
    ///
    /// As [`CanonicalPath::of`], also if both together are longer than a target can be.
    pub fn with_path(&self, path: &[u8], tolerate: &Tolerate) -> Result<Self, Denial> {
        Self::spell(path, self.target.query(), tolerate)
    }

    /// The path: `/`, `/orders/7`, or `*`.
    pub fn as_str(&self) -> &str {
        self.target.path()
    }

    /// What follows the `?`, raw.
    pub fn raw_query(&self) -> Option<&str> {
        self.target.query()
    }

    /// Path and query as they go to the upstream.
    pub fn target(&self) -> &PathAndQuery {
        &self.target
    }

    /// Whether this is the asterisk-form.
    pub fn is_asterisk(&self) -> bool {
        self.as_str() == "*"
    }

    /// The parts between slashes, still percent-encoded. `/` has one empty segment, `/a/` ends with one.
    pub fn segments(&self) -> std::str::Split<'_, char> {
        let path = self.as_str();
        path.strip_prefix('/').unwrap_or(path).split('/')
    }

    /// The path with every percent triplet decoded; canonicalising proved that it is UTF-8 without control characters.
    /// Characters such as `@` may come literally or encoded; in this form both are one.
    pub fn decoded(&self) -> Cow<'_, str> {
        let path = self.as_str();
        if !path.contains('%') {
            return Cow::Borrowed(path);
        }
        Cow::Owned(String::from_utf8(decode(path.as_bytes())).unwrap_or_else(|_| path.to_owned()))
    }

    fn spell(path: &[u8], query: Option<&str>, tolerate: &Tolerate) -> Result<Self, Denial> {
        match canonicalise(path, tolerate)? {
            Spelling::Canonical => Self::assemble(path, query),
            Spelling::Other(path) => Self::assemble(&path, query),
        }
    }

    fn assemble(path: &[u8], query: Option<&str>) -> Result<Self, Denial> {
        let mut text = path.to_vec();
        if let Some(query) = query {
            text.push(b'?');
            text.extend_from_slice(query.as_bytes());
        }
        PathAndQuery::from_maybe_shared(Bytes::from(text))
            .map(|target| CanonicalPath { target })
            .map_err(|_| malformed("path and query do not make a request target"))
    }
}

impl PartialEq<str> for CanonicalPath {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for CanonicalPath {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

impl fmt::Display for CanonicalPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for CanonicalPath {
    /// Without the query, which may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

/// What a byte may mean in a path.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    /// `pchar` of RFC 3986 that always means itself.
    Plain,
    /// `/`, `.`, `%`, `;`: what it means depends on what is around it.
    Special,
    /// Never in a path.
    Stray,
}

static CLASSES: [Class; 256] = classes();

#[expect(clippy::indexing_slicing, reason = "the index runs over exactly the 256 entries, at compile time")]
const fn classes() -> [Class; 256] {
    let mut table = [Class::Stray; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = match byte as u8 {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'~' => Class::Plain,
            b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b'=' | b':' | b'@' => {
                Class::Plain
            }
            b'/' | b'.' | b'%' | b';' => Class::Special,
            _ => Class::Stray,
        };
        byte += 1;
    }
    table
}

/// How a raw path is spelled.
enum Spelling {
    /// As it should be.
    Canonical,
    /// In another way; this is the canonical one.
    Other(Vec<u8>),
}

fn canonicalise(raw: &[u8], tolerate: &Tolerate) -> Result<Spelling, Denial> {
    if !raw.starts_with(b"/") {
        return Err(malformed("path does not start with a slash"));
    }
    if !is_plain(raw)? {
        let text = normalise_triplets(raw, tolerate)?;
        let text = settle_segments(&text, tolerate)?;
        check_decoded(&text)?;
        if text != raw {
            return Ok(Spelling::Other(text));
        }
    }
    Ok(Spelling::Canonical)
}

/// Whether the path needs no closer look: `true` for nearly every path there is.
fn is_plain(raw: &[u8]) -> Result<bool, Denial> {
    let mut plain = true;
    let mut previous = 0;
    for byte in raw {
        match CLASSES.get(usize::from(*byte)) {
            Some(Class::Plain) => {}
            Some(Class::Special) => {
                // A dot or slash right after a slash may be a dot segment or an empty one.
                plain &= !matches!((previous, byte), (_, b'%' | b';') | (b'/', b'/' | b'.'));
            }
            _ => return Err(malformed("path contains a character that must be percent-encoded")),
        }
        previous = *byte;
    }
    Ok(plain)
}

/// Decodes needlessly encoded characters and spells the remaining triplets in upper case (RFC 3986 §6.2.2).
fn normalise_triplets(raw: &[u8], tolerate: &Tolerate) -> Result<Vec<u8>, Denial> {
    let mut text = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let Some((byte, after)) = rest.split_first() {
        if *byte != b'%' {
            text.push(*byte);
            rest = after;
            continue;
        }
        let (value, after) =
            triplet(after).ok_or_else(|| malformed("path contains a bad percent triplet"))?;
        match value {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => text.push(value),
            0x00..=0x1f | 0x7f => return Err(malformed("path contains an encoded control character")),
            b'\\' => return Err(malformed("path contains an encoded backslash")),
            b'/' if tolerate.encoded_slash == EncodedSlash::Refuse => {
                return Err(malformed("path contains an encoded slash"));
            }
            _ => text.extend_from_slice(&[b'%', hex_digit(value >> 4), hex_digit(value & 15)]),
        }
        rest = after;
    }
    Ok(text)
}

/// Checks every segment, and removes those that are tolerated.
fn settle_segments(text: &[u8], tolerate: &Tolerate) -> Result<Vec<u8>, Denial> {
    let mut kept: Vec<&[u8]> = Vec::new();
    let mut segments = text.get(1..).unwrap_or_default().split(|b| *b == b'/').peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match judge_segment(segment, last, tolerate)? {
            Step::Stay => kept.push(segment),
            Step::Drop => {}
            Step::Here if last => kept.push(b""),
            Step::Here => {}
            Step::Up => {
                kept.pop().ok_or_else(|| malformed("path climbs above the root"))?;
                if last {
                    kept.push(b"");
                }
            }
        }
    }
    let mut settled = Vec::with_capacity(text.len());
    for segment in &kept {
        settled.push(b'/');
        settled.extend_from_slice(segment);
    }
    if kept.is_empty() {
        settled.push(b'/');
    }
    Ok(settled)
}

/// What a segment does to the path.
enum Step {
    /// It is part of it.
    Stay,
    /// It vanishes.
    Drop,
    /// `.`
    Here,
    /// `..`
    Up,
}

fn judge_segment(segment: &[u8], last: bool, tolerate: &Tolerate) -> Result<Step, Denial> {
    if segment.is_empty() {
        return match tolerate.empty_segments {
            _ if last => Ok(Step::Stay),
            EmptySegments::Merge => Ok(Step::Drop),
            EmptySegments::Refuse => Err(malformed("path contains an empty segment")),
        };
    }
    let name = before_parameters(segment);
    let has_parameters = name.len() != segment.len();
    if has_parameters && tolerate.parameters == Parameters::Refuse {
        return Err(malformed("path contains a parameter"));
    }
    if has_parameters && is_hollow(name) {
        return Err(malformed("path contains a dot segment with a parameter"));
    }
    // A server that decodes `%2F` first would see these as segments of their own.
    if segment.windows(3).any(|triplet| triplet == b"%2F") && split_encoded_slash(segment).any(is_hollow) {
        return Err(malformed("path hides a dot segment behind an encoded slash"));
    }
    match (name, tolerate.dot_segments) {
        (b"." | b"..", DotSegments::Refuse) => Err(malformed("path contains a dot segment")),
        (b".", DotSegments::Resolve) => Ok(Step::Here),
        (b"..", DotSegments::Resolve) => Ok(Step::Up),
        _ => Ok(Step::Stay),
    }
}

/// Whether nothing, or only where-to-go, is left of a segment once its parameters are cut off.
fn is_hollow(segment: &[u8]) -> bool {
    matches!(before_parameters(segment), b"" | b"." | b"..")
}

fn before_parameters(segment: &[u8]) -> &[u8] {
    segment.split(|b| *b == b';').next().unwrap_or_default()
}

/// The parts between `%2F` triplets.
fn split_encoded_slash(segment: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(segment);
    std::iter::from_fn(move || {
        let current = rest?;
        match current.windows(3).position(|triplet| triplet == b"%2F") {
            Some(at) => {
                rest = current.get(at + 3..);
                current.get(..at)
            }
            None => rest.take(),
        }
    })
}

/// A canonical path must not have a second layer of encoding, and must decode to clean UTF-8.
fn check_decoded(text: &[u8]) -> Result<(), Denial> {
    let double = text.windows(5).any(|five| {
        matches!(five, [b'%', b'2', b'5', high, low] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit())
    });
    if double {
        return Err(malformed("path is percent-encoded twice"));
    }
    let decoded = decode(text);
    // Overlong forms, surrogates and stray continuation bytes are all invalid UTF-8 (RFC 3629 §3).
    let decoded = std::str::from_utf8(&decoded).map_err(|_| malformed("path is not UTF-8 once decoded"))?;
    if decoded.chars().any(char::is_control) {
        return Err(malformed("path contains an encoded control character"));
    }
    Ok(())
}

/// Decodes every valid triplet and leaves the rest as it is.
fn decode(text: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((byte, after)) = rest.split_first() {
        match triplet(after) {
            Some((value, after)) if *byte == b'%' => {
                decoded.push(value);
                rest = after;
            }
            _ => {
                decoded.push(*byte);
                rest = after;
            }
        }
    }
    decoded
}

/// The value of the two hex digits at the start, and what follows them.
pub(crate) fn triplet(text: &[u8]) -> Option<(u8, &[u8])> {
    let [high, low, rest @ ..] = text else { return None };
    let high = char::from(*high).to_digit(16)?;
    let low = char::from(*low).to_digit(16)?;
    Some((u8::try_from(high << 4 | low).ok()?, rest))
}

fn hex_digit(nibble: u8) -> u8 {
    match nibble {
        0..=9 => b'0' + nibble,
        _ => b'A' + (nibble & 15) - 10,
    }
}

#[cfg(test)]
mod tests;
