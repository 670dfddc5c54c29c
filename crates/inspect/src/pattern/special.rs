//! Patterns of CRS 3.3 that need lookaround, matched natively by their exact text. Each entry says what the pattern
//! asks in words; any other pattern with lookaround is refused when it is loaded.

use memchr::memmem;

use super::Captures;

/// A pattern with a native matcher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Special {
    /// A quotation mark, an equals sign, or a semicolon that does not end an HTML entity (920120 up to 3.3.5).
    BareSemicolon,
    /// The same, or a backslash (920120 since 3.3.6).
    BareSemicolonOrBackslash,
    /// `<?` that does not begin an XML declaration (953120).
    PhpOpening,
    /// A comparison that is true whatever the row holds: `a=a`, `1<>2` (942130).
    Tautology,
}

const BARE_SEMICOLON: &str = r#"(?<!&(?:[aAoOuUyY]uml)|&(?:[aAeEiIoOuU]circ)|&(?:[eEiIoOuUyY]acute)|&(?:[aAeEiIoOuU]grave)|&(?:[cC]cedil)|&(?:[aAnNoO]tilde)|&(?:amp)|&(?:apos));|['"=]"#;
const BARE_SEMICOLON_OR_BACKSLASH: &str = r#"(?<!&(?:[aAoOuUyY]uml)|&(?:[aAeEiIoOuU]circ)|&(?:[eEiIoOuUyY]acute)|&(?:[aAeEiIoOuU]grave)|&(?:[cC]cedil)|&(?:[aAnNoO]tilde)|&(?:amp)|&(?:apos));|['"=\x5c]"#;
const TAUTOLOGY: &str = r#"(?i:[\s'"`()]*?\b([\d\w]+)\b[\s'"`()]*?(?:<(?:=(?:[\s'"`()]*?(?!\b\1\b)[\d\w]+|>[\s'"`()]*?(?:\b\1\b))|>?[\s'"`()]*?(?!\b\1\b)[\d\w]+)|(?:not\s+(?:regexp|like)|is\s+not|>=?|!=|\^)[\s'"`()]*?(?!\b\1\b)[\d\w]+|(?:(?:sounds\s+)?like|r(?:egexp|like)|=)[\s'"`()]*?(?:\b\1\b)))"#;

impl Special {
    pub(super) fn for_pattern(text: &str) -> Option<Self> {
        match text {
            r"<\?(?!xml)" => Some(Self::PhpOpening),
            BARE_SEMICOLON => Some(Self::BareSemicolon),
            BARE_SEMICOLON_OR_BACKSLASH => Some(Self::BareSemicolonOrBackslash),
            TAUTOLOGY => Some(Self::Tautology),
            _ => None,
        }
    }

    pub(super) fn find(self, text: &[u8]) -> Option<Captures> {
        match self {
            Self::BareSemicolon => bare_semicolon(text, false),
            Self::BareSemicolonOrBackslash => bare_semicolon(text, true),
            Self::PhpOpening => memmem::find_iter(text, b"<?")
                .find(|at| !text.get(at + 2..).unwrap_or_default().starts_with(b"xml"))
                .map(|at| Captures { groups: vec![Some((at, at + 2))] }),
            Self::Tautology => tautology(text),
        }
    }
}

fn bare_semicolon(text: &[u8], or_backslash: bool) -> Option<Captures> {
    // Which letters each accent stands on.
    const ENTITIES: [(&[u8], &[u8]); 6] = [
        (b"uml", b"aAoOuUyY"),
        (b"circ", b"aAeEiIoOuU"),
        (b"acute", b"eEiIoOuUyY"),
        (b"grave", b"aAeEiIoOuU"),
        (b"cedil", b"cC"),
        (b"tilde", b"aAnNoO"),
    ];
    let ends_entity = |before: &[u8]| {
        let Some(at) = memchr::memrchr(b'&', before) else { return false };
        match before.get(at + 1..).unwrap_or_default() {
            b"amp" | b"apos" => true,
            [letter, accent @ ..] => ENTITIES.iter().any(|(name, on)| *name == accent && on.contains(letter)),
            [] => false,
        }
    };
    let is_bare = |(at, byte): (usize, &u8)| match byte {
        b'\'' | b'"' | b'=' => true,
        b'\\' => or_backslash,
        b';' => !ends_entity(text.get(..at).unwrap_or_default()),
        _ => false,
    };
    let at = text.iter().enumerate().position(is_bare)?;
    Some(Captures { groups: vec![Some((at, at + 1))] })
}

fn is_word(byte: Option<&u8>) -> bool {
    byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
}

fn run(text: &[u8], from: usize, of: impl Fn(u8) -> bool) -> usize {
    from + text.get(from..).unwrap_or_default().iter().take_while(|byte| of(**byte)).count()
}

/// Each word, what follows it, and the next word: equal or not, as the comparison between them asks.
fn tautology(text: &[u8]) -> Option<Captures> {
    let word_end = |from| run(text, from, |byte| is_word(Some(&byte)));
    let gap_end = |from| run(text, from, |byte| b" \t\n\x0b\x0c\r'\"`()".contains(&byte));
    let mut at = 0;
    while at < text.len() {
        let end = word_end(at);
        if end == at {
            at += 1;
            continue;
        }
        let left = text.get(at..end).unwrap_or_default();
        let between = gap_end(end);
        for (behind, asks_equal) in comparisons(text, between) {
            let start = gap_end(behind);
            let stop = word_end(start);
            let right = text.get(start..stop).unwrap_or_default();
            let whole = start.checked_sub(1).is_none_or(|before| !is_word(text.get(before)));
            let equal = whole && right.eq_ignore_ascii_case(left);
            if !right.is_empty() && equal == asks_equal {
                return Some(Captures { groups: vec![Some((at, stop)), Some((at, end))] });
            }
        }
        at = end;
    }
    None
}

/// Every way to read a comparison here: where it ends, and whether it asks for equal words.
fn comparisons(text: &[u8], from: usize) -> Vec<(usize, bool)> {
    const SIGNS: [(&str, bool); 8] = [
        ("<=>", true),
        ("<=", false),
        ("<>", false),
        ("<", false),
        (">=", false),
        (">", false),
        ("!=", false),
        ("^", false),
    ];
    const WORDS: [(&[&str], bool); 8] = [
        (&["not", "regexp"], false),
        (&["not", "like"], false),
        (&["is", "not"], false),
        (&["sounds", "like"], true),
        (&["like"], true),
        (&["regexp"], true),
        (&["rlike"], true),
        (&["="], true),
    ];
    let starts = |at: usize, word: &str| {
        text.get(at..at + word.len()).is_some_and(|part| part.eq_ignore_ascii_case(word.as_bytes()))
    };
    let signs =
        SIGNS.iter().filter(|(sign, _)| starts(from, sign)).map(|(sign, equal)| (from + sign.len(), *equal));
    let words = WORDS.iter().filter_map(|(words, equal)| {
        let mut at = from;
        for (number, word) in words.iter().enumerate() {
            if number > 0 {
                let space = run(text, at, |byte| byte.is_ascii_whitespace() || byte == 0x0b);
                if space == at {
                    return None;
                }
                at = space;
            }
            if !starts(at, word) {
                return None;
            }
            at += word.len();
        }
        Some((at, *equal))
    });
    signs.chain(words).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_xml_declaration_is_not_php() {
        assert!(Special::PhpOpening.find(b"<?xml version='1.0'?>").is_none());
        assert!(Special::PhpOpening.find(b"<?xml ?> <?php echo 1").is_some());
        assert!(Special::PhpOpening.find(b"<?").is_some());
    }

    #[test]
    fn a_semicolon_that_ends_an_entity_is_not_bare() {
        for (text, expected) in [
            ("a&auml;b", false),
            ("a&amp;", false),
            ("a;b", true),
            ("&xuml;", true),
            ("a'b", true),
            ("plain", false),
            (";", true),
        ] {
            assert_eq!(Special::BareSemicolon.find(text.as_bytes()).is_some(), expected, "{text}");
            let newer = Special::for_pattern(BARE_SEMICOLON_OR_BACKSLASH).unwrap();
            assert_eq!(newer.find(text.as_bytes()).is_some(), expected, "{text}");
            assert!(newer.find(format!("{text}\\").as_bytes()).is_some(), "{text}");
        }
    }

    #[test]
    fn comparisons_that_are_always_true_are_found() {
        for (text, expected) in [
            ("1=1", true),
            ("1=2", false),
            ("'a' = 'A'", true),
            ("1<>2", true),
            ("1<>1", false),
            ("1 <=> 1", true),
            ("a not like b", true),
            ("a not like a", false),
            ("x is not y", true),
            ("x sounds like x", true),
            ("a like b", false),
            ("1!=2", true),
            ("plain words here", false),
            ("", false),
            ("name=value", false),
            ("x=1=1", true),
        ] {
            assert_eq!(Special::Tautology.find(text.as_bytes()).is_some(), expected, "{text}");
        }
    }
}
