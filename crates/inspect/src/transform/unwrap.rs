//! The innermost reading of a value: every layer of encoding that attackers wrap around a text is taken off, over and
//! over, until nothing changes or the bound is reached. One reading for all rules of the baseline, so that one pass of
//! the gate judges it. The chains of CRS decode a fixed order once; a third of public attacks is wrapped otherwise.
//!
//! Taken off: percent and `%u` escapes, `\u`, `\x` and `\/` of JSON and JavaScript, HTML character references,
//! overlong UTF-8, full-width forms, NUL and invisible characters, Base64 of text (whole, or behind `base64,`).
//! `+` stays: in a text that was already decoded once it is a plus sign.

use super::{hex, hex_pair};

/// 5 layers: real ones have up to three; each costs one pass.
const LAYERS_MAX: usize = 5;
/// 12 signs: a shorter run of letters decodes to text by chance.
const BASE64_SIGNS_MIN: usize = 12;
/// 12 bytes: the longest name of a character reference below.
const NAME_BYTES_MAX: usize = 12;

/// The character references whose character means something to a parser.
const NAMES: [(&[u8], u8); 38] = [
    (b"amp", b'&'),
    (b"apos", b'\''),
    (b"ast", b'*'),
    (b"bsol", b'\\'),
    (b"colon", b':'),
    (b"comma", b','),
    (b"commat", b'@'),
    (b"dollar", b'$'),
    (b"equals", b'='),
    (b"excl", b'!'),
    (b"grave", b'`'),
    (b"gt", b'>'),
    (b"hat", b'^'),
    (b"lbrace", b'{'),
    (b"lbrack", b'['),
    (b"lcub", b'{'),
    (b"lowbar", b'_'),
    (b"lpar", b'('),
    (b"lsqb", b'['),
    (b"lt", b'<'),
    (b"nbsp", b' '),
    (b"newline", b'\n'),
    (b"num", b'#'),
    (b"percnt", b'%'),
    (b"period", b'.'),
    (b"plus", b'+'),
    (b"quest", b'?'),
    (b"quot", b'"'),
    (b"rbrace", b'}'),
    (b"rbrack", b']'),
    (b"rcub", b'}'),
    (b"rpar", b')'),
    (b"rsqb", b']'),
    (b"semi", b';'),
    (b"sol", b'/'),
    (b"tab", b'\t'),
    (b"verbar", b'|'),
    (b"vert", b'|'),
];

/// `t:unwrap`.
pub(super) fn unwrap(input: &[u8], output: &mut Vec<u8>) -> bool {
    let mut changed = false;
    let mut before = Vec::new();
    for layer in 0..LAYERS_MAX {
        let text = if layer == 0 { input } else { before.as_slice() };
        output.clear();
        if !(one_layer(text, output) || base64(text, output)) {
            break;
        }
        changed = true;
        std::mem::swap(&mut before, output);
    }
    if changed {
        std::mem::swap(&mut before, output);
    }
    changed
}

/// Takes one layer of escapes off.
fn one_layer(text: &[u8], output: &mut Vec<u8>) -> bool {
    let interesting = |byte: &u8| matches!(byte, b'%' | b'&' | b'\\' | 0 | 0x80..);
    let Some(first) = text.iter().position(interesting) else { return false };
    output.extend_from_slice(text.get(..first).unwrap_or_default());
    let mut at = first;
    let mut changed = false;
    while let Some(&byte) = text.get(at) {
        let rest = text.get(at..).unwrap_or_default();
        let piece = match byte {
            b'%' => percent(rest),
            b'&' => reference(rest),
            b'\\' => backslash(rest),
            0 => Some((None, 1)),
            0x80.. => wide(rest),
            _ => None,
        };
        match piece {
            Some((code, length)) => {
                changed = true;
                code.into_iter().for_each(|code| put(code, output));
                at += length;
            }
            None => {
                output.push(byte);
                at += 1;
            }
        }
    }
    changed
}

/// A decoded piece: the character, none when it vanishes, and how many bytes it was written with.
type Piece = Option<(Option<u32>, usize)>;

fn percent(rest: &[u8]) -> Piece {
    if matches!(rest.get(1), Some(b'u' | b'U')) {
        return Some((Some(four(rest, 2)?), 6));
    }
    let byte = hex_pair(rest, 1)?;
    // A byte above ASCII is a part of a character: it is put as it is, and read with its neighbours in the next layer.
    Some((Some(u32::from(byte) | if byte < 0x80 { 0 } else { RAW }), 3))
}

fn backslash(rest: &[u8]) -> Piece {
    match rest.get(1)? {
        b'u' if rest.get(2) == Some(&b'{') => {
            let digits = rest.get(3..)?.iter().take(6).take_while(|byte| hex(**byte).is_some()).count();
            if digits == 0 || rest.get(3 + digits) != Some(&b'}') {
                return None;
            }
            Some((Some(number(rest.get(3..3 + digits)?, 16)), digits + 4))
        }
        b'u' | b'U' => Some((Some(four(rest, 2)?), 6)),
        b'x' => Some((Some(u32::from(hex_pair(rest, 2)?)), 4)),
        sign @ (b'/' | b'"' | b'\'') => Some((Some(u32::from(*sign)), 2)),
        _ => None,
    }
}

fn reference(rest: &[u8]) -> Piece {
    let (code, length) = if rest.get(1) == Some(&b'#') {
        let (start, base) = if matches!(rest.get(2), Some(b'x' | b'X')) { (3, 16) } else { (2, 10) };
        let tail = rest.get(start..)?;
        let digits =
            tail.iter().take_while(|byte| hex(**byte).is_some_and(|digit| u32::from(digit) < base)).count();
        if digits == 0 {
            return None;
        }
        (number(tail.get(..digits)?, base), start + digits)
    } else {
        let tail = rest.get(1..)?;
        let length = tail.iter().take(NAME_BYTES_MAX).take_while(|byte| byte.is_ascii_alphabetic()).count();
        let name = tail.get(..length)?;
        let code = NAMES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, code)| *code)?;
        // `&lt=5` is a parameter called lt; only a semicolon makes a word a reference for sure.
        let closed = tail.get(length) == Some(&b';');
        if !closed && !matches!(name, b"lt" | b"gt" | b"quot" | b"amp") {
            return None;
        }
        if !closed && matches!(tail.get(length), Some(b'=')) {
            return None;
        }
        (u32::from(code), 1 + length)
    };
    Some((Some(code), length + usize::from(rest.get(length) == Some(&b';'))))
}

/// Characters above ASCII that some reader takes for ASCII, or does not see at all.
fn wide(rest: &[u8]) -> Piece {
    let continued = |at: usize| {
        rest.get(at).filter(|byte| (0x80..0xc0).contains(*byte)).map(|byte| u32::from(byte & 0x3f))
    };
    match rest.first()? {
        // Overlong: two, three or four bytes for what fits in one.
        first @ (0xc0 | 0xc1) => Some((Some((u32::from(first & 1) << 6) | continued(1)?), 2)),
        0xe0 if matches!(rest.get(1), Some(0x80 | 0x81)) => {
            Some((Some((continued(1)? << 6) | continued(2)?), 3))
        }
        0xf0 if matches!(rest.get(1), Some(0x80)) && matches!(rest.get(2), Some(0x80 | 0x81)) => {
            Some((Some((continued(2)? << 6) | continued(3)?), 4))
        }
        // Five and six bytes are no UTF-8 at all; old readers decoded them.
        0xf8 if rest.get(1..3) == Some(&[0x80, 0x80]) => {
            Some((Some((continued(3)? << 6) | continued(4)?), 5))
        }
        0xfc if rest.get(1..4) == Some(&[0x80, 0x80, 0x80]) => {
            Some((Some((continued(4)? << 6) | continued(5)?), 6))
        }
        // Soft hyphen.
        0xc2 if rest.get(1) == Some(&0xad) => Some((None, 2)),
        first @ (0xe2 | 0xef) => {
            let code = (u32::from(first & 0x0f) << 12) | (continued(1)? << 6) | continued(2)?;
            folded(code).map(|folded| (folded, 3))
        }
        _ => None,
    }
}

/// What a character is folded to: `Some(None)` when it is invisible, `None` when it stays.
fn folded(code: u32) -> Option<Option<u32>> {
    Some(match code {
        0x200b..=0x200f | 0x2060..=0x2064 | 0xfeff => None,
        0x2044 | 0x2215 => Some(u32::from(b'/')),
        0x2216 | 0xefc8 | 0xf025 => Some(u32::from(b'\\')),
        0xfe64 => Some(u32::from(b'<')),
        0xfe65 => Some(u32::from(b'>')),
        // The punctuation of Chinese and Japanese prose stays: `！`, `（`, `）`, `，`, `：`, `；`, `？`, `～`.
        0xff01 | 0xff08 | 0xff09 | 0xff0c | 0xff1a | 0xff1b | 0xff1f | 0xff5e => return None,
        0xff02..=0xff5d => Some(code - 0xfee0),
        _ => return None,
    })
}

/// Marks a code as one raw byte.
const RAW: u32 = 1 << 31;

fn put(code: u32, output: &mut Vec<u8>) {
    if code & RAW != 0 {
        output.push((code & 0xff) as u8);
        return;
    }
    let folded = folded(code).unwrap_or(Some(code));
    match folded {
        None | Some(0) => {}
        Some(code) => match char::from_u32(code) {
            Some(character) => output.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
            // Half of a surrogate pair, or no character at all.
            None => output.push(b'?'),
        },
    }
}

fn four(rest: &[u8], at: usize) -> Option<u32> {
    Some((u32::from(hex_pair(rest, at)?) << 8) | u32::from(hex_pair(rest, at + 2)?))
}

fn number(digits: &[u8], base: u32) -> u32 {
    digits.iter().fold(0, |value: u32, byte| {
        value.saturating_mul(base).saturating_add(u32::from(hex(*byte).unwrap_or(0))).min(0x11_0000)
    })
}

/// Base64 of a text: the whole value, or what stands behind `base64,`. A value that decodes to anything but text stays.
fn base64(text: &[u8], output: &mut Vec<u8>) -> bool {
    let start = match memchr::memmem::find(text, b"base64,") {
        Some(at) => at + b"base64,".len(),
        // A path is its slash and one segment.
        None => usize::from(text.first() == Some(&b'/')),
    };
    let body = text.get(start..).unwrap_or_default();
    let length = body.iter().position(|byte| sextet(*byte).is_none()).unwrap_or(body.len());
    let padding = body.get(length..).unwrap_or_default();
    let padded = padding.iter().take_while(|byte| **byte == b'=').count();
    let announced = start > 1;
    let whole = announced || (padded == padding.len() && padded <= 2);
    if length < if announced { 4 } else { BASE64_SIGNS_MIN } || length % 4 == 1 || !whole {
        return false;
    }
    output.extend_from_slice(text.get(..start).unwrap_or_default());
    let begin = output.len();
    let (mut buffer, mut bits) = (0_u32, 0_u32);
    for value in body.iter().take(length).filter_map(|byte| sextet(*byte)) {
        buffer = (buffer << 6) | u32::from(value);
        bits += 6;
        if bits < 8 {
            continue;
        }
        bits -= 8;
        let byte = (buffer >> bits) as u8;
        buffer &= (1 << bits) - 1;
        if byte < 0x20 && !matches!(byte, b'\t' | b'\n' | b'\r') || byte == 0x7f {
            return false;
        }
        output.push(byte);
    }
    let decoded = output.get(begin..).unwrap_or_default();
    // Letters and digits alone are no attack, and a word that happens to decode to them stays as it is.
    if std::str::from_utf8(decoded).is_err() || decoded.iter().all(u8::is_ascii_alphanumeric) {
        return false;
    }
    output.extend_from_slice(padding.get(padded..).unwrap_or_default());
    true
}

/// Both alphabets; a space is a plus sign that a form decoded.
fn sextet(byte: u8) -> Option<u8> {
    Some(match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' | b'-' | b' ' => 62,
        b'/' | b'_' => 63,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_a_reference_is_not_longer_than_what_is_read() {
        assert!(NAMES.iter().all(|(name, _)| name.len() <= NAME_BYTES_MAX));
        assert!(NAMES.is_sorted());
    }

    #[test]
    fn more_layers_than_the_bound_stay_wrapped() {
        let wrapped = b"%252525252525253c".to_vec();
        let mut output = Vec::new();
        assert!(unwrap(&wrapped, &mut output));
        assert_eq!(output, b"%25253c");
    }
}
