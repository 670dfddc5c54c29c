//! Searches and checks of plain text.

use memchr::memmem;

/// Whether `needle` occurs; an empty one does.
pub(super) fn contains(text: &[u8], needle: &[u8]) -> bool {
    memmem::find(text, needle).is_some()
}

/// Whether `needle` occurs with no word character directly before or after it.
pub(super) fn contains_word(text: &[u8], needle: &[u8]) -> bool {
    if needle.is_empty() {
        return true;
    }
    let is_word = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    memmem::find_iter(text, needle).any(|at| {
        let before = at.checked_sub(1).and_then(|before| text.get(before));
        !is_word(before) && !is_word(text.get(at + needle.len()))
    })
}

/// Whether a `%` does not start two hexadecimal digits.
pub(super) fn has_broken_url_encoding(text: &[u8]) -> bool {
    crate::transform::has_broken_escape(text)
}
