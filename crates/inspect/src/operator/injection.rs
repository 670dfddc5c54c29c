//! SQL and script injection as libinjection sees it: the text is read as the language it might end up in, and the
//! shape of its tokens is compared with known attacks. One signal of several; never the only one.

use libinjectionrs::{SqliFlags, SqliState};

use super::Outcome;

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
    !is_plain_word(value) && libinjectionrs::detect_xss(value).is_injection()
}

/// One name or one number is one token, and no shape of one token is an attack.
fn is_plain_word(value: &[u8]) -> bool {
    value.iter().all(u8::is_ascii_digit)
        || (value.first().is_some_and(u8::is_ascii_alphabetic)
            && value.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn a_plain_word_is_never_an_injection(
            word in "[A-Za-z][A-Za-z0-9_]{0,20}|[0-9]{1,20}|union|select|script|onload|javascript|sleep|0"
        ) {
            proptest::prop_assert!(is_plain_word(word.as_bytes()));
            proptest::prop_assert!(!libinjectionrs::detect_sqli(word.as_bytes()).is_injection());
            proptest::prop_assert!(!libinjectionrs::detect_xss(word.as_bytes()).is_injection());
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
