//! `@pm`: many phrases at once, without regard to ASCII case.

use std::fmt;

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};

use crate::pattern::{ByteSet, Requirement};

/// A set of phrases.
pub struct Phrases {
    words: Vec<Vec<u8>>,
    automaton: AhoCorasick,
}

impl Phrases {
    /// Builds the set; at least one phrase, none empty.
    ///
    /// # Errors
    /// When there is no phrase, or they are too many for one automaton.
    pub fn new(words: Vec<Vec<u8>>) -> Result<Self, String> {
        if words.is_empty() || words.iter().any(Vec::is_empty) {
            return Err("a list of phrases needs at least one, none of them empty".to_owned());
        }
        let automaton = AhoCorasick::builder()
            .ascii_case_insensitive(true)
            .match_kind(MatchKind::LeftmostFirst)
            .kind(Some(AhoCorasickKind::ContiguousNFA))
            .build(&words)
            .map_err(|error| error.to_string())?;
        Ok(Self { words, automaton })
    }

    /// The first phrase found, as it stands in the text.
    #[must_use]
    pub fn find<'t>(&self, text: &'t [u8]) -> Option<&'t [u8]> {
        self.automaton.find(text).and_then(|found| text.get(found.start()..found.end()))
    }

    pub(crate) fn requirement(&self) -> Requirement {
        Requirement {
            literals: self.words.iter().map(|word| word.to_ascii_lowercase()).collect(),
            sets: ByteSet::of_some(&self.words).into_iter().collect(),
            length_min: self.words.iter().map(Vec::len).min().unwrap_or(0),
        }
    }
}

impl fmt::Debug for Phrases {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} phrases", self.words.len())
    }
}
