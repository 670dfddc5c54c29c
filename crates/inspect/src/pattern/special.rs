//! Patterns of CRS 3.3 that need lookaround, matched natively by their exact text. Each entry says what the pattern
//! asks in words; any other pattern with lookaround is refused when it is loaded.

use memchr::memmem;

use super::Captures;

/// A pattern with a native matcher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Special {
    /// `<?` that does not begin an XML declaration (953120).
    PhpOpening,
}

impl Special {
    pub(super) fn for_pattern(text: &str) -> Option<Self> {
        match text {
            r"<\?(?!xml)" => Some(Self::PhpOpening),
            _ => None,
        }
    }

    pub(super) fn find(self, text: &[u8]) -> Option<Captures> {
        match self {
            Self::PhpOpening => memmem::find_iter(text, b"<?")
                .find(|at| !text.get(at + 2..).unwrap_or_default().starts_with(b"xml"))
                .map(|at| Captures { groups: vec![Some((at, at + 2))] }),
        }
    }
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
}
