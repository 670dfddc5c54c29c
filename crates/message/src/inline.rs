//! A short ASCII text that needs no heap.
//!
//! Host names and request identifiers are short and live for one request; keeping them inside the head saves an
//! allocation each. Longer ones go to the heap.

use std::fmt::{self, Write};

/// Up to `N` bytes of ASCII in place.
#[derive(Clone, Copy)]
pub(crate) struct Inline<const N: usize> {
    len: u8,
    bytes: [u8; N],
}

impl<const N: usize> Inline<N> {
    /// No text yet.
    pub(crate) const EMPTY: Self = Inline { len: 0, bytes: [0; N] };

    /// These ASCII bytes, all of them.
    pub(crate) fn filled(bytes: [u8; N]) -> Self {
        debug_assert!(bytes.is_ascii() && N <= 255, "only short ASCII is kept in place");
        Inline { len: N as u8, bytes }
    }

    /// Appends `text`, which is ASCII, if it fits; tells whether it did.
    pub(crate) fn push(&mut self, text: &[u8]) -> bool {
        let start = usize::from(self.len);
        let end = start + text.len();
        let (Some(room), Ok(len)) = (self.bytes.get_mut(start..end), u8::try_from(end)) else { return false };
        debug_assert!(text.is_ascii(), "only ASCII is kept in place");
        room.copy_from_slice(text);
        self.len = len;
        true
    }

    /// The bytes so far.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }

    /// The text so far; it is ASCII, so the conversion cannot fail.
    pub(crate) fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }
}

impl<const N: usize> Write for Inline<N> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.push(text.as_bytes()) { Ok(()) } else { Err(fmt::Error) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_that_fits_is_kept_and_text_that_does_not_leaves_what_was_there() {
        let mut text = Inline::<4>::EMPTY;
        assert!(text.push(b"abc"));
        assert!(!text.push(b"de"));
        assert!(text.push(b"D"));
        assert_eq!(text.as_str(), "abcD");
        assert_eq!(Inline::filled(*b"abcD").as_bytes(), text.as_bytes());
    }
}
