//! JSON's escapes for characters beyond the first plane, which YAML does not know.
//!
//! JSON writes such a character as two escapes (RFC 8259 §7: `\ud83d\ude00`), YAML as one (`\U0001F600`). In a text that
//! is JSON the pairs are rewritten before parsing; the text then is two characters shorter for each, which
//! `place` makes up for. Nothing else in which JSON differs from YAML 1.2 occurs in documents.

use std::borrow::Cow;

/// A text for the YAML parser.
pub(super) struct Joined<'a> {
    pub(super) text: Cow<'a, str>,
    /// Behind which characters of the new text two characters of the old one are missing.
    pub(super) shifts: Vec<usize>,
}

/// The text with surrogate pairs joined, if it is JSON and has any.
pub(super) fn joined(text: &str) -> Joined<'_> {
    let unchanged = Joined { text: Cow::Borrowed(text), shifts: Vec::new() };
    if !(text.contains("\\ud") || text.contains("\\uD")) || !begins_as_json(text) {
        return unchanged;
    }
    let (mut out, mut shifts, mut written) = (String::with_capacity(text.len()), Vec::new(), 0);
    let (mut inside, mut rest) = (false, text);
    while let Some(character) = rest.chars().next() {
        let mut taken = character.len_utf8();
        match character {
            '"' => inside = !inside,
            // Single quotes are YAML, where a `"` inside them would turn the count of quotes over.
            '\'' if !inside => return unchanged,
            '\\' if inside => match pair(rest) {
                Some(whole) => {
                    // Ten characters where there were twelve; the shift counts from the escape's end.
                    out.push_str(&format!("\\U{:08X}", u32::from(whole)));
                    written += 10;
                    shifts.push(written - 1);
                    rest = rest.get(12..).unwrap_or_default();
                    continue;
                }
                // The escaped character goes along, so that `\"` does not end the text.
                None => taken += rest.chars().nth(1).map_or(0, char::len_utf8),
            },
            _ => {}
        }
        let (part, after) = rest.split_at_checked(taken).unwrap_or((rest, ""));
        out.push_str(part);
        written += part.chars().count();
        rest = after;
    }
    Joined { text: Cow::Owned(out), shifts }
}

/// Whether a bracket is the first thing that is neither space nor a line of comment.
fn begins_as_json(text: &str) -> bool {
    text.lines()
        .map(str::trim_start)
        .find(|line| !line.is_empty() && !line.starts_with('#'))
        .is_some_and(|line| line.starts_with(['{', '[']))
}

/// The character that `\uD83D\uDE00` at the start of a text stands for.
fn pair(text: &str) -> Option<char> {
    let unit = |at: usize| {
        let escape = text.get(at..at + 6)?.strip_prefix("\\u")?;
        let digits = escape.bytes().all(|byte| byte.is_ascii_hexdigit());
        u16::from_str_radix(escape, 16).ok().filter(|_| digits)
    };
    let units = [unit(0)?, unit(6)?];
    let mut characters = char::decode_utf16(units);
    let first = characters.next()?.ok()?;
    // Two units that make one character; anything else is not a pair.
    characters.next().is_none().then_some(first)
}
