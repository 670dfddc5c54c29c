//! Bytes as JSON strings, whatever they are.
//!
//! Beyond what RFC 8259 section 7 asks for, everything that does not show as itself is escaped: C1 controls, line
//! separators, bidirectional and invisible characters. A log is read in terminals and pages, and a request must
//! not be able to write there. Bytes that are no UTF-8 become U+FFFD.

/// Appends `value` as a JSON string with its quotes.
pub fn string(value: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    // Nearly every value is plain ASCII: one look, one copy.
    if is_all_plain(value) {
        out.extend_from_slice(value);
    } else {
        for chunk in value.utf8_chunks() {
            characters(chunk.valid(), out);
            if !chunk.invalid().is_empty() {
                out.extend_from_slice("\u{FFFD}".as_bytes());
            }
        }
    }
    out.push(b'"');
}

/// Whether every byte shows as itself. Blocks of sixteen bytes, each with its own way out, are what the compiler
/// compares at once; this runs over every text of every line. The last block overlaps the one before it, and a short text
/// is filled up with a letter.
fn is_all_plain(value: &[u8]) -> bool {
    const BLOCK: usize = 16;
    let is_odd = |block: &[u8; BLOCK]| u128::from_ne_bytes(block.map(|byte| u8::from(!is_plain(byte)))) != 0;
    let mut rest = value;
    while let Some((block, after)) = rest.split_first_chunk::<BLOCK>() {
        if is_odd(block) {
            return false;
        }
        rest = after;
    }
    if rest.is_empty() {
        return true;
    }
    if let Some(last) = value.last_chunk::<BLOCK>() {
        return !is_odd(last);
    }
    let mut block = [b'a'; BLOCK];
    for (to, from) in block.iter_mut().zip(rest) {
        *to = *from;
    }
    !is_odd(&block)
}

const fn is_plain(byte: u8) -> bool {
    (byte >= 0x20) & (byte <= 0x7E) & (byte != b'"') & (byte != b'\\')
}

fn characters(text: &str, out: &mut Vec<u8>) {
    let mut rest = text;
    while let Some(at) = rest.find(needs_escape) {
        let (head, tail) = rest.split_at(at);
        out.extend_from_slice(head.as_bytes());
        let mut following = tail.chars();
        if let Some(character) = following.next() {
            escaped(character, out);
        }
        rest = following.as_str();
    }
    out.extend_from_slice(rest.as_bytes());
}

fn needs_escape(character: char) -> bool {
    match character {
        '"' | '\\' => true,
        ' '..='~' => false,
        '\0'..='\u{9F}' => true,
        _ => is_invisible(character),
    }
}

/// Characters that change how their neighbours are shown, or are not shown themselves.
const fn is_invisible(character: char) -> bool {
    matches!(
        character,
        '\u{AD}'
            | '\u{61C}'
            | '\u{180E}'
            | '\u{200B}'..='\u{200F}'
            | '\u{2028}'..='\u{202E}'
            | '\u{2060}'..='\u{206F}'
            | '\u{FEFF}'
            | '\u{FFF9}'..='\u{FFFB}'
            | '\u{E0000}'..='\u{E0FFF}'
    )
}

fn escaped(character: char, out: &mut Vec<u8>) {
    let short = match character {
        '"' => b'"',
        '\\' => b'\\',
        '\n' => b'n',
        '\r' => b'r',
        '\t' => b't',
        _ => {
            for unit in character.encode_utf16(&mut [0; 2]) {
                unit_escape(*unit, out);
            }
            return;
        }
    };
    out.extend_from_slice(&[b'\\', short]);
}

fn unit_escape(unit: u16, out: &mut Vec<u8>) {
    out.extend_from_slice(b"\\u");
    for shift in [12, 8, 4, 0] {
        let digit = u8::try_from(unit >> shift & 0xF).unwrap_or(0);
        out.push(if digit < 10 { b'0' + digit } else { b'a' + digit - 10 });
    }
}

/// Appends a number.
pub fn number(value: u64, out: &mut Vec<u8>) {
    let mut digits = [0_u8; 20];
    let mut rest = value;
    let mut length = 0;
    for place in digits.iter_mut().rev() {
        *place = b'0' + u8::try_from(rest % 10).unwrap_or(0);
        rest /= 10;
        length += 1;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(digits.len() - length..).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_byte_that_is_not_plain_is_seen_at_every_place() {
        for length in 0..=20 {
            assert!(is_all_plain(&vec![b'b'; length]), "{length}");
            for place in 0..length {
                for byte in 0..=u8::MAX {
                    let mut text = vec![b'b'; length];
                    text[place] = byte;
                    let plain = matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\';
                    assert_eq!(is_all_plain(&text), plain, "{byte} at {place} of {length}");
                }
            }
        }
    }

    fn escaped_text(value: &[u8]) -> String {
        let mut out = Vec::new();
        string(value, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn each_hostile_byte_is_escaped_in_one_way() {
        for (value, text) in [
            (&b"plain"[..], r#""plain""#),
            (b"", r#""""#),
            (br#"a"b\c"#, r#""a\"b\\c""#),
            (b"\r\n\t", r#""\r\n\t""#),
            (b"\0\x1b[31m\x7f", r#""\u0000\u001b[31m\u007f""#),
            ("\u{9b}31m".as_bytes(), r#""\u009b31m""#),
            ("\u{2028}\u{2029}".as_bytes(), r#""\u2028\u2029""#),
            ("\u{202e}abc".as_bytes(), r#""\u202eabc""#),
            ("\u{e0041}".as_bytes(), r#""\udb40\udc41""#),
            ("grüße 😀".as_bytes(), "\"grüße 😀\""),
            (b"\xff", "\"\u{fffd}\""),
            (b"a\xc3", "\"a\u{fffd}\""),
            (b"\xed\xa0\x80", "\"\u{fffd}\u{fffd}\u{fffd}\""),
        ] {
            assert_eq!(escaped_text(value), text, "{value:?}");
        }
    }

    #[test]
    fn numbers_are_written_in_full() {
        for value in [0, 1, 9, 10, 99, 100, 1_234_567_890, u64::MAX] {
            let mut out = Vec::new();
            number(value, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), value.to_string());
        }
    }

    proptest! {
        #[test]
        fn any_bytes_parse_back_as_what_they_say(value in proptest::collection::vec(any::<u8>(), 0..300)) {
            let text = escaped_text(&value);
            let back: String = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(back, String::from_utf8_lossy(&value));
            prop_assert!(!text.bytes().any(|byte| byte < 0x20 || byte == 0x7f));
        }

        #[test]
        fn any_text_parses_back_and_shows_nothing_invisible(value in ".{0,100}") {
            let text = escaped_text(value.as_bytes());
            let back: String = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(back, value);
            prop_assert!(!text.chars().any(|character| character.is_control() || is_invisible(character)));
        }
    }
}
