//! SQL and script injection as libinjection sees it: the text is read as the language it might end up in, and the
//! shape of its tokens is compared with known attacks. One signal of several; never the only one.

use libinjectionrs::{SqliFlags, SqliState};

use super::Outcome;

/// A text without any of these is no markup: elements, comments and declarations need the first, an attribute has a
/// value only behind the second.
pub(super) const XSS_SIGNS: &[u8] = b"<=";

pub(super) fn sqli(value: &[u8], capture: bool) -> Outcome {
    if is_plain_word(value) {
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

#[cfg(test)]
mod tests {
    use proptest::strategy::Strategy;

    use super::*;

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
