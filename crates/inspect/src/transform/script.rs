//! Escapes of programming languages: JavaScript strings, C strings, CSS identifiers.

use memchr::memchr;

use super::{fold_wide, hex, hex_pair, hex_wide, is_space};

/// `\uhhhh`, `\xhh`, octal and single-character escapes of JavaScript.
pub(super) fn javascript(input: &[u8], output: &mut Vec<u8>) -> bool {
    let Some(first) = memchr(b'\\', input) else { return false };
    output.extend_from_slice(input.get(..first).unwrap_or_default());
    let mut at = first;
    while let Some(&byte) = input.get(at) {
        let Some(&next) = input.get(at + 1).filter(|_| byte == b'\\') else {
            output.push(byte);
            at += 1;
            continue;
        };
        let (decoded, length) = match next {
            b'u' => hex_wide(input, at + 2).map_or((next, 2), |wide| (wide, 6)),
            b'x' => hex_pair(input, at + 2).map_or((next, 2), |pair| (pair, 4)),
            b'0'..=b'7' => octal(input, at + 1),
            _ => (single(next).unwrap_or(next), 2),
        };
        output.push(decoded);
        at += length;
    }
    true
}

/// Up to three octal digits, or two when three would exceed a byte; the length includes the backslash.
fn octal(input: &[u8], at: usize) -> (u8, usize) {
    let digits = input.get(at..).unwrap_or_default();
    let mut length = digits.iter().take(3).take_while(|byte| (b'0'..=b'7').contains(byte)).count();
    if length == 3 && digits.first().is_some_and(|first| *first > b'3') {
        length = 2;
    }
    let value = digits.iter().take(length).fold(0_u8, |value, byte| (value << 3) | (byte - b'0'));
    (value, length + 1)
}

fn single(escape: u8) -> Option<u8> {
    Some(match escape {
        b'a' => 0x07,
        b'b' => 0x08,
        b'f' => 0x0c,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'v' => 0x0b,
        _ => return None,
    })
}

/// The escapes of C; an unknown one is kept with its backslash.
pub(super) fn c_escapes(input: &[u8], output: &mut Vec<u8>) -> bool {
    let Some(first) = memchr(b'\\', input) else { return false };
    output.extend_from_slice(input.get(..first).unwrap_or_default());
    let mut changed = false;
    let mut at = first;
    while let Some(&byte) = input.get(at) {
        let escape = input.get(at + 1).copied().filter(|_| byte == b'\\').and_then(|next| match next {
            b'\\' | b'?' | b'\'' | b'"' => Some((next, 2)),
            b'x' | b'X' => hex_pair(input, at + 2).map(|pair| (pair, 4)),
            b'0'..=b'7' => {
                let digits = input.get(at + 1..).unwrap_or_default();
                let length = digits.iter().take(3).take_while(|byte| (b'0'..=b'7').contains(byte)).count();
                let value =
                    digits.iter().take(length).fold(0_u32, |value, byte| value * 8 + u32::from(byte - b'0'));
                Some(((value & 0xff) as u8, length + 1))
            }
            _ => single(next).map(|decoded| (decoded, 2)),
        });
        let (decoded, length) = escape.unwrap_or((byte, 1));
        changed |= escape.is_some();
        output.push(decoded);
        at += length;
    }
    changed
}

/// Backslash and up to six hexadecimal digits, with one white space behind them; a backslash before a line feed
/// joins lines; before anything else it vanishes.
pub(super) fn css(input: &[u8], output: &mut Vec<u8>) -> bool {
    let Some(first) = memchr(b'\\', input) else { return false };
    output.extend_from_slice(input.get(..first).unwrap_or_default());
    let mut at = first;
    while let Some(&byte) = input.get(at) {
        if byte != b'\\' {
            output.push(byte);
            at += 1;
            continue;
        }
        at += 1;
        let rest = input.get(at..).unwrap_or_default();
        let digits = rest.iter().take(6).take_while(|byte| hex(**byte).is_some()).count();
        if digits > 0 {
            output.push(css_code(rest.get(..digits).unwrap_or_default()));
            at += digits + usize::from(rest.get(digits).is_some_and(|byte| is_space(*byte)));
        } else if let Some(&next) = rest.first() {
            if next != b'\n' {
                output.push(next);
            }
            at += 1;
        }
    }
    true
}

fn css_code(digits: &[u8]) -> u8 {
    let nibble = |from_end: usize| {
        digits
            .len()
            .checked_sub(from_end)
            .and_then(|at| digits.get(at))
            .and_then(|byte| hex(*byte))
            .unwrap_or(0)
    };
    let low = (nibble(2) << 4) | nibble(1);
    let leading_are_zero = digits.iter().take(digits.len().saturating_sub(4)).all(|digit| *digit == b'0');
    if digits.len() >= 4 && leading_are_zero { fold_wide((nibble(4) << 4) | nibble(3), low) } else { low }
}
