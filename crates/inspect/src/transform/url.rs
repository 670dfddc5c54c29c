//! Percent encoding. A `%` that starts nothing valid is kept: applications differ there, and dropping it would hide
//! text from the rules.

use memchr::{memchr2, memchr3};

use super::{hex_pair, hex_wide};

/// `%hh` and `+`.
pub(super) fn decode(input: &[u8], output: &mut Vec<u8>) -> bool {
    walk(input, output, false)
}

/// As [`decode`], and `%uhhhh`.
pub(super) fn decode_unicode(input: &[u8], output: &mut Vec<u8>) -> bool {
    walk(input, output, true)
}

fn walk(input: &[u8], output: &mut Vec<u8>, unicode: bool) -> bool {
    let Some(first) = memchr2(b'%', b'+', input) else { return false };
    output.extend_from_slice(input.get(..first).unwrap_or_default());
    let mut changed = false;
    let mut at = first;
    while let Some(&byte) = input.get(at) {
        let (decoded, length) = match byte {
            b'+' => (b' ', 1),
            b'%' if unicode && matches!(input.get(at + 1), Some(b'u' | b'U')) => {
                match hex_wide(input, at + 2) {
                    Some(wide) => (wide, 6),
                    None => (b'%', 1),
                }
            }
            b'%' => match hex_pair(input, at + 1) {
                Some(pair) => (pair, 3),
                None => (b'%', 1),
            },
            other => (other, 1),
        };
        changed |= decoded != byte || length != 1;
        output.push(decoded);
        at += length;
    }
    changed
}

/// Everything but letters, digits and `*`, `-`, `.`, `_` as `%hh`; a space as `+`.
pub(super) fn encode(input: &[u8], output: &mut Vec<u8>) -> bool {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut changed = false;
    for &byte in input {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'*' | b'-' | b'.' | b'_' => output.push(byte),
            b' ' => {
                changed = true;
                output.push(b'+');
            }
            _ => {
                changed = true;
                output.push(b'%');
                output.extend(DIGITS.get(usize::from(byte >> 4)));
                output.extend(DIGITS.get(usize::from(byte & 15)));
            }
        }
    }
    changed
}

/// Whether a text has a `%` that does not start two hexadecimal digits.
pub(crate) fn has_broken_escape(input: &[u8]) -> bool {
    memchr3(b'%', b'%', b'%', input).is_some()
        && memchr::memchr_iter(b'%', input).any(|at| hex_pair(input, at + 1).is_none())
}
