//! Base64 as RFC 4648 §4 has it, with or without padding; one spelling per text.

/// Decodes `text`. Nothing where a character is none of the alphabet, padding is wrong, or bits are left over: two texts
/// must never mean the same bytes.
pub fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let padding = text.iter().rev().take_while(|byte| **byte == b'=').count();
    let letters = text.get(..text.len() - padding)?;
    if padding > 0 && (padding > 2 || !text.len().is_multiple_of(4)) {
        return None;
    }
    let mut bytes = Vec::with_capacity(letters.len() * 3 / 4);
    for chunk in letters.chunks(4) {
        if chunk.len() == 1 {
            return None;
        }
        let mut group = 0_u32;
        for letter in chunk {
            group = (group << 6) | value(*letter)?;
        }
        group <<= 6 * (4 - chunk.len());
        let whole = chunk.len() - 1;
        let [_, first, second, third] = group.to_be_bytes();
        // RFC 4648 §3.5: what is left over must be zero.
        let left = [first, second, third].into_iter().skip(whole).any(|byte| byte != 0);
        if left {
            return None;
        }
        bytes.extend([first, second, third].into_iter().take(whole));
    }
    Some(bytes)
}

/// Encodes `bytes`, padded.
pub fn encode(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().fold(0_u32, |word, byte| (word << 8) | u32::from(*byte));
        let word = word << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let digit = usize::try_from((word >> (18 - 6 * place)) & 63).unwrap_or(0);
            let letter = ALPHABET.get(digit).filter(|_| place <= chunk.len());
            out.push(letter.map_or('=', |byte| char::from(*byte)));
        }
    }
    out
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

fn value(letter: u8) -> Option<u32> {
    Some(u32::from(match letter {
        b'A'..=b'Z' => letter - b'A',
        b'a'..=b'z' => letter - b'a' + 26,
        b'0'..=b'9' => letter - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_decodes() {
        for (bytes, text) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")]
        {
            assert_eq!(encode(bytes.as_bytes()), text);
            assert_eq!(decode(text.as_bytes()).as_deref(), Some(bytes.as_bytes()));
        }
        assert_eq!(encode(&[0xfb, 0xff]), "+/8=");
    }

    #[test]
    fn a_text_means_its_bytes_or_nothing() {
        let cases: &[(&str, Option<&str>)] = &[
            ("", Some("")),
            ("Zg==", Some("f")),
            ("Zg", Some("f")),
            ("Zm8=", Some("fo")),
            ("Zm9v", Some("foo")),
            ("Zm9vYg==", Some("foob")),
            ("Zh==", None),
            ("Zg=", None),
            ("Z", None),
            ("Zg===", None),
            ("====", None),
            ("Zm9v=", None),
            ("Z g=", None),
            ("Zm-v", None),
            ("Zm8=Zg==", None),
        ];
        for (text, bytes) in cases {
            assert_eq!(decode(text.as_bytes()).as_deref(), bytes.map(str::as_bytes), "{text}");
        }
        assert_eq!(decode(b"+//+").unwrap(), [0xfb, 0xff, 0xfe]);
    }

    #[test]
    fn bytes_become_the_text_of_rfc_4648() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(encode(bytes.as_bytes()), text);
        }
        assert_eq!(encode(&[0xfb, 0xff, 0xfe]), "+//+");
    }
}
