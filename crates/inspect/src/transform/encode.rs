//! Hexadecimal, Base64 and the length.

use super::{hex, hex_pair};

const HEX: &[u8; 16] = b"0123456789abcdef";
const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Two small digits for each byte.
pub(super) fn hex_encode(input: &[u8], output: &mut Vec<u8>) -> bool {
    for byte in input {
        output.extend(HEX.get(usize::from(byte >> 4)));
        output.extend(HEX.get(usize::from(byte & 15)));
    }
    !input.is_empty()
}

/// Pairs of digits become bytes; other signs count as zero, an odd last one is dropped, and nothing is read past
/// the end (ModSecurity CVE-2026-30923).
pub(super) fn hex_decode(input: &[u8], output: &mut Vec<u8>) -> bool {
    for pair in input.chunks_exact(2) {
        let digit = |at: usize| pair.get(at).and_then(|byte| hex(*byte)).unwrap_or(0);
        output.push((digit(0) << 4) | digit(1));
    }
    !input.is_empty()
}

/// `0x414243` becomes `ABC`.
pub(super) fn sql_hex_decode(input: &[u8], output: &mut Vec<u8>) -> bool {
    let mut at = 0;
    let mut changed = false;
    while let Some(&byte) = input.get(at) {
        let opens = byte == b'0'
            && matches!(input.get(at + 1), Some(b'x' | b'X'))
            && hex_pair(input, at + 2).is_some();
        if !opens {
            output.push(byte);
            at += 1;
            continue;
        }
        changed = true;
        at += 2;
        while let Some(value) = hex_pair(input, at) {
            output.push(value);
            at += 2;
        }
    }
    changed
}

/// Base64 up to the first sign that is not of it.
pub(super) fn base64_decode(input: &[u8], output: &mut Vec<u8>) -> bool {
    let length = input.iter().position(|byte| sextet(*byte).is_none()).unwrap_or(input.len());
    unpack(input.iter().take(length).filter_map(|byte| sextet(*byte)), output);
    output.as_slice() != input
}

/// Base64 with everything else in between ignored.
pub(super) fn base64_decode_lenient(input: &[u8], output: &mut Vec<u8>) -> bool {
    let end = input.iter().position(|byte| *byte == b'=').unwrap_or(input.len());
    unpack(input.iter().take(end).filter_map(|byte| sextet(*byte)), output);
    output.as_slice() != input
}

fn sextet(byte: u8) -> Option<u8> {
    match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    }
}

fn unpack(sextets: impl Iterator<Item = u8>, output: &mut Vec<u8>) {
    let (mut buffer, mut bits) = (0_u32, 0_u32);
    for value in sextets {
        buffer = (buffer << 6) | u32::from(value);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            output.push(((buffer >> bits) & 0xff) as u8);
            buffer &= (1 << bits) - 1;
        }
    }
}

/// Padded Base64.
pub(super) fn base64_encode(input: &[u8], output: &mut Vec<u8>) -> bool {
    for chunk in input.chunks(3) {
        let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or(0));
        let group = (byte(0) << 16) | (byte(1) << 8) | byte(2);
        for (place, shift) in [18_u32, 12, 6, 0].into_iter().enumerate() {
            if place <= chunk.len() {
                output.extend(BASE64.get(((group >> shift) & 63) as usize));
            } else {
                output.push(b'=');
            }
        }
    }
    !input.is_empty()
}

/// The number of bytes, in digits.
pub(super) fn length(input: &[u8], output: &mut Vec<u8>) -> bool {
    output.extend_from_slice(input.len().to_string().as_bytes());
    true
}
