//! What may be said of a matched text in a record: its shape. Attacks show in their signs, secrets in their letters
//! and digits.

/// 80 bytes show the shape.
const SHAPE_MAX: usize = 80;

/// Letters become `a`, digits `9`, everything outside printable ASCII `.`.
pub(super) fn shape(text: &[u8]) -> String {
    let mut out: String = text
        .iter()
        .take(SHAPE_MAX)
        .map(|byte| match byte {
            b'0'..=b'9' => '9',
            b'a'..=b'z' => 'a',
            b'A'..=b'Z' => 'A',
            b' '..=b'~' => char::from(*byte),
            _ => '.',
        })
        .collect();
    if text.len() > SHAPE_MAX {
        out.push('…');
    }
    out
}

/// Small numbers (scores, counts) as they are, other text as its shape.
pub(super) fn number_or_shape(text: &[u8]) -> String {
    if text.len() <= 4 && !text.is_empty() && text.iter().all(u8::is_ascii_digit) {
        String::from_utf8_lossy(text).into_owned()
    } else {
        shape(text)
    }
}

/// A name as it is, without control characters, bounded.
pub(super) fn name(text: &[u8]) -> String {
    String::from_utf8_lossy(text.get(..120).unwrap_or(text))
        .chars()
        .map(|character| if character.is_control() { '.' } else { character })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_shape_of_a_text_is_told() {
        assert_eq!(shape(b"Bearer s3cr3t'--\n"), "Aaaaaa a9aa9a'--.");
        assert_eq!(number_or_shape(b"15"), "15");
        assert_eq!(number_or_shape(b"4111111111111111"), "9999999999999999");
        assert_eq!(name(b"ARGS:a\nb"), "ARGS:a.b");
    }
}
