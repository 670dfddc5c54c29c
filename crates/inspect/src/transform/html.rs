//! HTML character references, as browsers repair them: the semicolon is optional, a number is read as its low byte.

use memchr::memchr;

use super::hex;

const NAMES: [(&[u8], u8); 5] =
    [(b"quot", b'"'), (b"amp", b'&'), (b"lt", b'<'), (b"gt", b'>'), (b"nbsp", 0xa0)];

/// `&#xhh;`, `&#dd;`, `&lt;` and the four other names that matter for markup.
pub(super) fn entities(input: &[u8], output: &mut Vec<u8>) -> bool {
    let Some(first) = memchr(b'&', input) else { return false };
    output.extend_from_slice(input.get(..first).unwrap_or_default());
    let mut changed = false;
    let mut at = first;
    while let Some(&byte) = input.get(at) {
        let reference = if byte == b'&' { reference(input.get(at + 1..).unwrap_or_default()) } else { None };
        match reference {
            Some((decoded, length)) => {
                changed = true;
                output.push(decoded);
                at += 1 + length;
                if input.get(at) == Some(&b';') {
                    at += 1;
                }
            }
            None => {
                output.push(byte);
                at += 1;
            }
        }
    }
    changed
}

/// The byte of the reference behind `&`, and how many bytes it is written with.
fn reference(text: &[u8]) -> Option<(u8, usize)> {
    if text.first() == Some(&b'#') {
        return if matches!(text.get(1), Some(b'x' | b'X')) {
            number(text.get(2..)?, 16).map(|(value, length)| (value, length + 2))
        } else {
            number(text.get(1..)?, 10).map(|(value, length)| (value, length + 1))
        };
    }
    let length = text.iter().take_while(|byte| byte.is_ascii_alphanumeric()).count();
    let name = text.get(..length)?;
    NAMES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| (*value, length))
}

fn number(text: &[u8], base: u32) -> Option<(u8, usize)> {
    let digits =
        text.iter().take_while(|byte| hex(**byte).is_some_and(|digit| u32::from(digit) < base)).count();
    if digits == 0 {
        return None;
    }
    let value = text
        .iter()
        .take(digits)
        .fold(0_u32, |value, byte| value.wrapping_mul(base).wrapping_add(u32::from(hex(*byte).unwrap_or(0))));
    Some(((value & 0xff) as u8, digits))
}
