//! `application/x-www-form-urlencoded`, both ways, as strictly as its use here allows.

use std::fmt::Write as _;

/// Writes one value.
pub fn encode(bytes: &[u8], out: &mut String) {
    for byte in bytes {
        match byte {
            b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(*byte))
            }
            // Writing to a string cannot fail.
            _ => drop(write!(out, "%{byte:02X}")),
        }
    }
}

/// Appends `name=value`, with a separator where something stands before it.
pub fn append(name: &str, value: &str, out: &mut String) {
    if !out.is_empty() && !out.ends_with(['?', '&']) {
        out.push('&');
    }
    out.push_str(name);
    out.push('=');
    encode(value.as_bytes(), out);
}

/// The pairs of a query or form; `None` where a value is not text, or there are more than [`PAIRS_MAX`].
pub fn read(text: &str) -> Option<Vec<(String, String)>> {
    let pairs = text.split('&').filter(|pair| !pair.is_empty());
    let mut read = Vec::new();
    for pair in pairs {
        if read.len() >= PAIRS_MAX {
            return None;
        }
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        read.push((decode(name)?, decode(value)?));
    }
    Some(read)
}

/// Answers of providers have half a dozen; more is nothing of theirs.
const PAIRS_MAX: usize = 32;

fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
                let (high, low) = (digit(rest.next())?, digit(rest.next())?);
                u8::try_from(high << 4 | low).ok()?
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_written_so_that_it_reads_back() {
        for value in ["", "a b", "a+b", "ä&=?#%", "https://a.example/b?c=d", "\u{0}\r\n", "~-._*"] {
            let mut text = String::new();
            append("x", value, &mut text);
            append("y", "1", &mut text);
            let pairs = [("x".to_owned(), value.to_owned()), ("y".to_owned(), "1".to_owned())];
            assert_eq!(read(&text).unwrap(), pairs, "{text}");
        }
    }

    #[test]
    fn what_is_no_text_or_too_much_is_not_read() {
        assert_eq!(read("").unwrap(), []);
        assert_eq!(read("a&b=").unwrap().len(), 2);
        for text in ["a=%", "a=%2", "a=%zz", "a=%+1", "%ff=1", "a=%ff"] {
            assert_eq!(read(text), None, "{text}");
        }
        assert!(read(&"a=1&".repeat(PAIRS_MAX)).is_some());
        assert_eq!(read(&"a=1&".repeat(PAIRS_MAX + 1)), None);
    }
}
