//! What a shown line must not show: the value beside a name that sounds like a secret.
//!
//! A document has no place for a secret's value, so one that is found there is a mistake, and its report goes to
//! terminals, CI logs and tickets. What is veiled becomes three asterisks, so that its length is not told either.

use std::ops::Range;

/// Parts of names whose values are not shown, in lower case.
const SECRET: &[&str] = &[
    "secret",
    "password",
    "passwd",
    "passphrase",
    "token",
    "apikey",
    "api_key",
    "api-key",
    "credential",
    "private",
    "authorization",
    "cookie",
];

const VEIL: &str = "***";

/// A line that loses what must not be shown, and the part of it that is meant.
pub(super) struct Veiled {
    pub(super) line: String,
    pub(super) span: Range<usize>,
}

impl Veiled {
    pub(super) fn new(line: String, span: Range<usize>) -> Self {
        Veiled { line, span }
    }

    /// Veils the values beside secret-sounding names; references (`env://`, `file://`) are shown.
    pub(super) fn names(&mut self) {
        let mut from = 0;
        while let Some((name, value)) = next_pair(&self.line, from) {
            from = value.start;
            let name = self.line.get(name).unwrap_or_default().to_lowercase();
            let text = self.line.get(value.clone()).unwrap_or_default();
            let bare = text.trim_start_matches(['"', '\'']);
            let harmless = bare.is_empty()
                || text.starts_with(['{', '[', '|', '>', '#'])
                || bare.starts_with("env://")
                || bare.starts_with("file://");
            if !harmless && SECRET.iter().any(|part| name.contains(part)) {
                from += VEIL.len();
                self.hide(value);
            }
        }
    }

    /// Veils user and password of URLs (RFC 3986 §3.2.1).
    pub(super) fn users(&mut self) {
        let mut from = 0;
        while let Some(found) = self.line.get(from..).and_then(|rest| rest.find("://")) {
            from += found + 3;
            let rest = self.line.get(from..).unwrap_or_default();
            let end = rest.find(['/', '?', '#', ' ', '"', '\'']).unwrap_or(rest.len());
            if let Some(at) = rest.get(..end).and_then(|authority| authority.rfind('@')) {
                self.hide(from..from + at);
            }
        }
    }

    /// Replaces a range by asterisks; the part that is meant stays the same part.
    pub(super) fn hide(&mut self, range: Range<usize>) {
        if range.is_empty() {
            return;
        }
        let Some((before, after)) = self.line.get(..range.start).zip(self.line.get(range.end..)) else {
            // Offsets inside a character cannot be cut; then nothing is shown at all.
            *self = Veiled { line: VEIL.to_owned(), span: 0..VEIL.len() };
            return;
        };
        let moved = |offset: usize, inside: usize| match offset {
            offset if offset <= range.start => offset,
            offset if offset >= range.end => offset - range.len() + VEIL.len(),
            _ => inside,
        };
        let end_inside = range.start + VEIL.len();
        let span = moved(self.span.start, range.start)..moved(self.span.end, end_inside);
        self.line = format!("{before}{VEIL}{after}");
        self.span = span;
    }
}

/// The name before the next `:` at or behind `from`, and the value behind it.
fn next_pair(line: &str, from: usize) -> Option<(Range<usize>, Range<usize>)> {
    let colon = from + line.get(from..)?.find(':')?;
    let before = line.get(..colon)?;
    let name_start = before.rfind(['{', ',', '[']).map_or(0, |at| at + 1).max(from);
    let after = line.get(colon + 1..)?;
    let value_start = colon + 1 + (after.len() - after.trim_start().len());
    let value = line.get(value_start..)?;
    let length = match value.chars().next() {
        Some(quote @ ('"' | '\'')) => quoted_length(value, quote),
        // Without quotes a value may hold commas, so in doubt all of the line is the value.
        _ => value.trim_end_matches(['}', ']', ',', ' ']).len(),
    };
    Some((name_start..colon, value_start..value_start + length))
}

fn quoted_length(value: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, character) in value.char_indices().skip(1) {
        match character {
            _ if escaped => escaped = false,
            '\\' if quote == '"' => escaped = true,
            _ if character == quote => return at + 1,
            _ => {}
        }
    }
    value.len()
}
