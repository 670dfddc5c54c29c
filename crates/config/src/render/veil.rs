//! What a shown line must not show: the value beside a name that sounds like a secret.
//!
//! A document has no place for a secret's value, so one that is found there is a mistake, and its report goes to
//! terminals, CI logs and tickets. Veiled text keeps its length, so that the marks below it stay in place.

use std::ops::Range;

/// Parts of names whose values are not shown, in lower case.
const SECRET: &[&str] = &["secret", "password", "passwd", "passphrase", "token", "apikey", "api_key", "api-key",
    "credential", "private", "authorization", "cookie"];

/// The line with the values of secret-sounding names veiled; references (`env://`, `file://`) are shown.
pub(super) fn line(line: &str) -> String {
    let mut out = line.to_owned();
    let mut from = 0;
    while let Some((name, value)) = next_pair(&out, from) {
        from = value.start.max(from + 1);
        let lower = out.get(name).unwrap_or_default().to_lowercase();
        let shown = out.get(value.clone()).unwrap_or_default().trim_start_matches(['"', '\'', ' ']);
        let harmless = shown.is_empty()
            || shown.starts_with(['{', '[', '|', '>', '#'])
            || shown.starts_with("env://")
            || shown.starts_with("file://");
        if !harmless && SECRET.iter().any(|part| lower.contains(part)) {
            out = range(&out, value.clone());
            from = value.end;
        }
    }
    // A URL's user and password (RFC 3986 §3.2.1), wherever it stands.
    while let Some(user) = user_info(&out) {
        out = range(&out, user);
    }
    out
}

/// The text with a range replaced by asterisks, one a byte.
pub(super) fn range(text: &str, range: Range<usize>) -> String {
    let hidden = "*".repeat(range.len());
    match (text.get(..range.start), text.get(range.end..)) {
        (Some(before), Some(after)) => format!("{before}{hidden}{after}"),
        // Offsets inside a character cannot be cut; then nothing is shown at all.
        _ => "*".repeat(text.len()),
    }
}

/// The name before the next `:` at or behind `from`, and the value behind it.
fn next_pair(line: &str, from: usize) -> Option<(Range<usize>, Range<usize>)> {
    let colon = from + line.get(from..)?.find(':')?;
    let before = line.get(..colon)?;
    let name_start = before.rfind(['{', ',', '[']).map_or(0, |at| at + 1);
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

fn user_info(line: &str) -> Option<Range<usize>> {
    let mut from = 0;
    while let Some(found) = line.get(from..)?.find("://") {
        let start = from + found + 3;
        let rest = line.get(start..)?;
        let end = rest.find(['/', '?', '#', ' ', '"', '\'']).unwrap_or(rest.len());
        let at = rest.get(..end)?.rfind('@').filter(|at| !rest.get(..*at).is_some_and(|user| user.chars().all(|c| c == '*')));
        if let Some(at) = at {
            return Some(start..start + at);
        }
        from = start;
    }
    None
}
