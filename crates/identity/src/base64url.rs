//! base64url as JOSE writes it (RFC 7515 §2): no padding, no white space, and one encoding per value.
//!
//! Our own forty lines, because the last two rules are the point: an encoding whose unused bits are set, or with
//! anything between its characters, would let two different texts be the same token.

/// The bytes that `text` encodes; `None` unless it is their one encoding.
pub fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let (quads, tail) = text.as_chunks::<4>();
    let mut out = vec![0; quads.len() * 3];
    let mut seen = 0;
    for (quad, triple) in quads.iter().zip(out.as_chunks_mut::<3>().0) {
        let word = bits(quad);
        seen |= word;
        let [x, y, z, _] = word.to_be_bytes();
        *triple = [x, y, z];
    }
    match *tail {
        [] => {}
        [a, b] => {
            let word = bits(&[a, b, b'A', b'A']);
            let [x, rest, ..] = word.to_be_bytes();
            // RFC 4648 §3.5: bits that encode nothing must be zero.
            seen |= word | if rest == 0 { 0 } else { WRONG };
            out.push(x);
        }
        [a, b, c] => {
            let word = bits(&[a, b, c, b'A']);
            let [x, y, rest, _] = word.to_be_bytes();
            seen |= word | if rest == 0 { 0 } else { WRONG };
            out.extend_from_slice(&[x, y]);
        }
        _ => return None,
    }
    (seen & WRONG == 0).then_some(out)
}

/// The 24 bits of four characters, at the top of a word; below them [`WRONG`] where one is no character of ours.
#[expect(clippy::indexing_slicing, reason = "a byte never exceeds a table of 256")]
fn bits(&[a, b, c, d]: &[u8; 4]) -> u32 {
    PLACES[0][usize::from(a)]
        | PLACES[1][usize::from(b)]
        | PLACES[2][usize::from(c)]
        | PLACES[3][usize::from(d)]
}

/// A bit below everything that four characters can be.
const WRONG: u32 = 1;

/// The six bits of each character, shifted to its place among four: a look-up each, and nothing else to do.
static PLACES: [[u32; 256]; 4] = [places(26), places(20), places(14), places(8)];

#[expect(clippy::indexing_slicing, reason = "evaluated while compiling")]
const fn places(shift: u32) -> [u32; 256] {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut table = [WRONG; 256];
    let mut at = 0;
    while at < alphabet.len() {
        table[alphabet[at] as usize] = (at as u32) << shift;
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
