//! base64url as JOSE writes it (RFC 7515 §2): no padding, no white space, and one encoding per value.
//!
//! Our own forty lines, because the last two rules are the point: an encoding whose unused bits are set, or with
//! anything between its characters, would let two different texts be the same token.

/// The bytes that `text` encodes; `None` unless it is their one encoding.
pub fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let (quads, tail) = text.as_chunks::<4>();
    let mut out = Vec::with_capacity(quads.len() * 3 + 2);
    out.resize(quads.len() * 3, 0);
    let mut seen = 0;
    for (quad, triple) in quads.iter().zip(out.as_chunks_mut::<3>().0) {
        let [a, b, c, d] = quad.map(sextet);
        seen |= a | b | c | d;
        let [_, x, y, z] = (a << 18 | b << 12 | c << 6 | d).to_be_bytes();
        *triple = [x, y, z];
    }
    match *tail {
        [] => {}
        [a, b] => {
            let (a, b) = (sextet(a), sextet(b));
            // RFC 4648 §3.5: bits that encode nothing must be zero.
            seen |= a | b | if b & 0x0F == 0 { 0 } else { WRONG };
            out.push((a << 2 | b >> 4) as u8);
        }
        [a, b, c] => {
            let (a, b, c) = (sextet(a), sextet(b), sextet(c));
            seen |= a | b | c | if c & 0x03 == 0 { 0 } else { WRONG };
            out.extend_from_slice(&[(a << 2 | b >> 4) as u8, (b << 4 | c >> 2) as u8]);
        }
        _ => return None,
    }
    (seen & WRONG == 0).then_some(out)
}

/// The six bits of one character, or [`WRONG`].
#[expect(clippy::indexing_slicing, reason = "a byte never exceeds a table of 256")]
fn sextet(character: u8) -> u32 {
    SEXTETS[usize::from(character)]
}

/// A bit above everything that a sextet can be.
const WRONG: u32 = 1 << 31;

static SEXTETS: [u32; 256] = sextets();

#[expect(clippy::indexing_slicing, reason = "evaluated while compiling")]
const fn sextets() -> [u32; 256] {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut table = [WRONG; 256];
    let mut at = 0;
    while at < alphabet.len() {
        table[alphabet[at] as usize] = at as u32;
        at += 1;
    }
    table
}

/// The one encoding of `bytes`.
pub fn encode(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or_default());
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..=chunk.len() {
            // Six bits, so the alphabet always has them.
            out.extend(ALPHABET.get((bits >> (18 - 6 * place) & 0x3F) as usize).copied().map(char::from));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_has_one_encoding_and_no_other() {
        for (text, bytes) in [
            (&b""[..], Some(&b""[..])),
            (b"Zg", Some(b"f")),
            (b"Zm8", Some(b"fo")),
            (b"Zm9v", Some(b"foo")),
            (b"Zm9vYmE", Some(b"fooba")),
            (b"-_8", Some(b"\xfb\xff")),
            // Unused bits set.
            (b"Zh", None),
            (b"Zm9", None),
            // Padding, the other alphabet, white space, half a byte.
            (b"Zg==", None),
            (b"+/8", None),
            (b"Zm9v\n", None),
            (b" Zm9v", None),
            (b"Zm9vZ", None),
            (b"Zm9?", None),
            (b"Zm\xff\x00", None),
        ] {
            assert_eq!(decode(text).as_deref(), bytes, "{text:?}");
        }
    }

    #[test]
    fn what_was_encoded_decodes() {
        for len in 0..70 {
            let bytes: Vec<u8> = (0..len).map(|n: u8| n.wrapping_mul(37).wrapping_add(len)).collect();
            assert_eq!(decode(encode(&bytes).as_bytes()), Some(bytes));
        }
    }
}
