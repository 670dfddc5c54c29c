//! Pieces of JSON, written by hand like the access log's lines.

use crate::escape;

pub(super) fn number(value: u64, out: &mut Vec<u8>) {
    escape::number(value, out);
}

/// A member: its name with comma and colon, and a number.
pub(super) fn field(name: &[u8], value: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(name);
    number(value, out);
}

/// A text in quotes.
pub(super) fn text(value: &[u8], out: &mut Vec<u8>) {
    escape::string(value, out);
}

/// Bytes in base64 (RFC 4648 §4), without quotes.
pub(super) fn base64(bytes: &[u8], out: &mut Vec<u8>) {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    out.reserve(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or_default());
        let group = (byte(0) << 16) | (byte(1) << 8) | byte(2);
        for at in 0..4 {
            let letter = ALPHABET.get((group >> (18 - 6 * at)) as usize & 63).copied().unwrap_or(b'=');
            out.push(if at <= chunk.len() { letter } else { b'=' });
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn base64_is_as_rfc_4648_section_10_shows() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("foobar", "Zm9vYmFy"),
        ] {
            let mut out = Vec::new();
            super::base64(bytes.as_bytes(), &mut out);
            assert_eq!(out, text.as_bytes());
        }
    }
}
