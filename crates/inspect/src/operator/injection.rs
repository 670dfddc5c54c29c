//! SQL and script injection as libinjection sees it: the text is read as the language it might end up in, and the
//! shape of its tokens is compared with known attacks. One signal of several; never the only one.

use std::sync::OnceLock;

use libinjectionrs::{SqliFlags, SqliState, sqli::sqli_data::SQL_KEYWORDS};

use super::Outcome;

/// A text without any of these is no markup: elements, comments and declarations need the first, an attribute has a
/// value only behind the second.
pub(super) const XSS_SIGNS: &[u8] = b"<=";

pub(super) fn sqli(value: &[u8], capture: bool) -> Outcome {
    if is_plain_word(value) || is_plain_text(value) {
        return Outcome::default();
    }
    let mut state = SqliState::new(value, SqliFlags::FLAG_NONE);
    if !state.detect() {
        return Outcome::default();
    }
    let captured =
        if capture { vec![Some(state.get_fingerprint().as_str().as_bytes().to_vec())] } else { Vec::new() };
    Outcome { holds: true, captured }
}

pub(super) fn xss(value: &[u8]) -> bool {
    value.iter().any(|byte| XSS_SIGNS.contains(byte)) && libinjectionrs::detect_xss(value).is_injection()
}

/// One name or one number is one token, and no shape of one token is an attack. So is the path of a member of a JSON
/// body: a word is divided at a dot only behind a keyword, and `json` is none.
fn is_plain_word(value: &[u8]) -> bool {
    let is_wordlike = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.');
    value.iter().all(u8::is_ascii_digit)
        || (value.starts_with(b"json.") && value.iter().all(is_wordlike))
        || (value.first().is_some_and(u8::is_ascii_alphabetic)
            && value.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_'))
}

/// Words, numbers and signs without a word of SQL among them, without quotes, brackets and comments: its tokens are
/// names, numbers, single operators, commas, dots and colons, and no shape of an attack consists of these alone. A name
/// becomes something else only as part of a word of SQL or of several together, and all their parts are known.
fn is_plain_text(value: &[u8]) -> bool {
    let is_sign = |byte: u8| matches!(byte, b' ' | b',' | b'.' | b':' | b'/' | b'-' | b'+' | b'=');
    let mut word = NO_WORD;
    let mut before = 0;
    for byte in value.iter().copied() {
        if byte.is_ascii_alphanumeric() || byte == b'_' {
            word = mixed(word, byte);
        } else {
            let opens_comment = before == b'-' && byte == b'-';
            if !is_sign(byte) || opens_comment || is_of_sql(word) {
                return false;
            }
            word = NO_WORD;
        }
        before = byte;
    }
    !is_of_sql(word)
}

/// FNV-1a, letters in capitals.
fn mixed(sum: u32, byte: u8) -> u32 {
    (sum ^ u32::from(byte.to_ascii_uppercase())).wrapping_mul(0x0100_0193)
}

const NO_WORD: u32 = 0x811c_9dc5;

/// 2^17 places for some two thousand words: about one other word in seventy is taken for one of them, and is only read
/// in full then.
const WORD_PLACES: usize = 1 << 17;

/// Whether a word with this sum may be a word of SQL, or a part of one.
fn is_of_sql(sum: u32) -> bool {
    static WORDS: OnceLock<Box<[u64]>> = OnceLock::new();
    let words = WORDS.get_or_init(|| {
        let mut words = vec![0_u64; WORD_PLACES / 64].into_boxed_slice();
        let known = SQL_KEYWORDS.iter().filter(|known| known.token_type != b'F');
        for part in known
            .flat_map(|known| known.word.split(|sign: char| !sign.is_ascii_alphanumeric() && sign != '_'))
        {
            if !part.is_empty() {
                crate::gate::set(&mut words, place_of(part.bytes().fold(NO_WORD, mixed)));
            }
        }
        words
    });
    sum != NO_WORD && crate::gate::is_set(words, place_of(sum))
}

fn place_of(sum: u32) -> u32 {
    (sum ^ (sum >> 15)) % WORD_PLACES as u32
}

#[cfg(test)]
mod tests {
    use proptest::strategy::Strategy;

    use super::*;

    #[test]
    fn prose_is_plain_and_what_could_be_sql_is_not() {
        for text in
            ["Blue running shoes, size 40", "2026-11-22T17:00:00+01:00", "Jane Miller", "AB-0-991", "19.99"]
        {
            assert!(is_plain_text(text.as_bytes()), "{text}");
        }
        for text in ["1 or 1=1", "1 union all", "a--", "a'b", "group by x", "x; y", "f(x)", "a\nb", "1#"] {
            assert!(!is_plain_text(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn no_shape_of_an_attack_consists_of_names_numbers_operators_commas_dots_and_colons() {
        for shape in SQL_KEYWORDS.iter().filter(|known| known.token_type == b'F') {
            assert!(shape.word.bytes().skip(1).any(|token| !b"N1O,.:".contains(&token)), "{}", shape.word);
        }
    }

    proptest::proptest! {
        #[test]
        fn a_plain_word_is_never_an_injection(
            word in "[A-Za-z][A-Za-z0-9_]{0,20}|[0-9]{1,20}|union|select|script|onload|javascript|sleep|0"
        ) {
            proptest::prop_assert!(is_plain_word(word.as_bytes()));
            proptest::prop_assert!(!libinjectionrs::detect_sqli(word.as_bytes()).is_injection());
        }

        #[test]
        fn a_member_of_a_json_body_is_never_an_injection(
            path in "json(\\.([A-Za-z0-9_]{0,12}|[0-9]{1,3}|union|select|or|and|user|sleep|x|sql|0x1|e1)){1,6}"
        ) {
            proptest::prop_assert!(is_plain_word(path.as_bytes()));
            proptest::prop_assert!(!libinjectionrs::detect_sqli(path.as_bytes()).is_injection(), "{path}");
        }

        #[test]
        fn what_the_library_finds_in_a_text_is_found_however_plain_it_looks(
            pieces in proptest::collection::vec(proptest::prop_oneof![
                "[a-z]{1,8}|[0-9]{1,4}|[0-9]\\.[0-9]|0x[0-9a-f]{1,4}|[0-9]e[0-9]",
                proptest::sample::select(vec![" ", ",", ".", ":", "/", "-", "+", "=", " ", "::", ":=", "--", "/*", "_", "'"])
                    .prop_map(str::to_owned),
                (0..SQL_KEYWORDS.len()).prop_map(|at| SQL_KEYWORDS[at].word.to_owned()),
                proptest::sample::select(vec!["union", "select", "or", "and", "1", "null", "is", "not", "in", "a", "n", "x", "group by"])
                    .prop_map(str::to_owned),
            ], 1..12)
        ) {
            let text = pieces.concat();
            let found = libinjectionrs::detect_sqli(text.as_bytes()).is_injection();
            proptest::prop_assert!(!found || sqli(text.as_bytes(), false).holds, "{text}");
        }

        #[test]
        fn a_text_without_words_of_sql_is_never_an_injection(
            pieces in proptest::collection::vec("[ ,.:/+=-]|[A-Za-z_]{1,6}|[0-9]{1,3}|0x[0-9]|0b1|[0-9]e[+-]?[0-9]|[exnqub]", 1..16)
        ) {
            let text = pieces.concat();
            if is_plain_text(text.as_bytes()) {
                proptest::prop_assert!(!libinjectionrs::detect_sqli(text.as_bytes()).is_injection(), "{text}");
            }
        }

        #[test]
        fn a_text_without_the_signs_of_markup_is_never_one(
            pieces in proptest::collection::vec(proptest::prop_oneof![
                proptest::prelude::any::<u8>().prop_map(|byte| vec![byte]),
                proptest::sample::select(vec!["onload", "style", " ", "'", "\"", "`", ">", "/", "javascript:", "script", "!--", "%", "?", "onerror alert(1)", "href", "\0", "data:", "xmlns", "&#", "-->", "]]"])
                    .prop_map(|text| text.as_bytes().to_vec()),
            ], 0..24)
        ) {
            let text: Vec<u8> = pieces.concat().into_iter().filter(|byte| !XSS_SIGNS.contains(byte)).collect();
            proptest::prop_assert!(!libinjectionrs::detect_xss(&text).is_injection(), "{:?}", String::from_utf8_lossy(&text));
        }

        #[test]
        fn no_bytes_make_a_detector_panic(
            text in proptest::collection::vec(proptest::prop_oneof![
                proptest::prelude::any::<u8>(),
                proptest::sample::select(b"'\"`/*-#;()<>=&%@\\ \n0xunionselect".to_vec()),
            ], 0..80)
        ) {
            let _ = (sqli(&text, true), xss(&text));
        }
    }
}
