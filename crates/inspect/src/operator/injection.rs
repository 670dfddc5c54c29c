//! SQL and script injection as libinjection sees it: the text is read as the language it might end up in, and the
//! shape of its tokens is compared with known attacks. One signal of several; never the only one.

use super::Outcome;

pub(super) fn sqli(value: &[u8], capture: bool) -> Outcome {
    let result = libinjectionrs::detect_sqli(value);
    if !result.is_injection() {
        return Outcome::default();
    }
    let captured = match result.fingerprint.as_ref().filter(|_| capture) {
        Some(fingerprint) => vec![Some(fingerprint.as_str().as_bytes().to_vec())],
        None => Vec::new(),
    };
    Outcome { holds: true, captured }
}

pub(super) fn xss(value: &[u8]) -> bool {
    libinjectionrs::detect_xss(value).is_injection()
}
