//! Regular expressions: PCRE notation in, a linear-time automaton out.
//!
//! A pattern is read and checked when the rules are loaded; its automaton is built at first use (or by
//! [`crate::RuleSet::warm`]), because a set holds hundreds and an exchange needs a few. Semantics are those of
//! ModSecurity 2: `.` matches line feeds, `$` only the very end. Backtracking engines were refused: they fail open
//! at their step limits.

mod joined;
mod require;
mod special;
mod translate;

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use regex_automata::{Input, PatternID, meta, util::captures::Captures as Groups};
use regex_syntax::hir::Hir;

pub(crate) use joined::SEPARATOR;
pub(crate) use require::{ByteSet, Requirement};

/// 4 MiB: the largest pattern of CRS needs about a quarter of it as an automaton.
const NFA_BYTES_MAX: usize = 4 << 20;
/// 512 KiB per pattern and core: the automaton's memory of states; when it is full it starts anew, and after too
/// many fresh starts the search goes on without it, still in linear time.
const CACHE_BYTES_MAX: usize = 512 << 10;
/// 64 KiB: longer patterns are refused.
const TEXT_BYTES_MAX: usize = 64 << 10;

/// A regular expression over bytes.
pub struct Pattern {
    text: Arc<str>,
    special: Option<special::Special>,
    requirement: Requirement,
    built: OnceLock<Option<meta::Regex>>,
    joined: OnceLock<joined::Joined>,
}

/// Where the groups of a match lie; group zero is the whole match.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Captures {
    /// The spans of groups 0 to 9.
    pub groups: Vec<Option<(usize, usize)>>,
}

/// The automaton could not be built or run; the caller must treat this as an inspection that was not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unusable;

impl Pattern {
    /// Reads a pattern in PCRE notation.
    ///
    /// # Errors
    /// When it is too long, malformed, or needs what a linear-time engine cannot do.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(format!("longer than {TEXT_BYTES_MAX} bytes"));
        }
        let special = special::Special::for_pattern(text);
        let requirement = match special {
            Some(_) => Requirement::default(),
            None => Requirement::of(&tree(text)?),
        };
        Ok(Self {
            text: Arc::from(text),
            special,
            requirement,
            built: OnceLock::new(),
            joined: OnceLock::new(),
        })
    }

    /// The pattern as written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Builds the automaton now.
    ///
    /// # Errors
    /// When it would be larger than the limit.
    pub fn warm(&self) -> Result<(), Unusable> {
        if self.special.is_some() {
            return Ok(());
        }
        self.automaton().ok_or(Unusable)?;
        self.joined();
        Ok(())
    }

    /// Whether any of several texts could contain a match, asked of all of them at once: they stand one behind the
    /// other with a [`SEPARATOR`] between two. Says "perhaps" too often, never too rarely.
    pub(crate) fn may_match_joined(&self, texts: &[u8]) -> bool {
        match self.joined() {
            joined::Joined::Same => self.automaton().is_none_or(|regex| regex.is_match(texts)),
            joined::Joined::Own(regex) => regex.is_match(texts),
            joined::Joined::Unknown => true,
        }
    }

    fn joined(&self) -> &joined::Joined {
        self.joined.get_or_init(|| match (self.special, tree(&self.text)) {
            (None, Ok(tree)) => joined::Joined::of(&tree),
            _ => joined::Joined::Unknown,
        })
    }

    /// Whether the text contains a match. An unusable automaton counts as a match: for a selector this widens what
    /// is looked at.
    #[must_use]
    pub fn is_match(&self, text: &[u8]) -> bool {
        self.find(text).unwrap_or(true)
    }

    /// Whether the text contains a match.
    ///
    /// # Errors
    /// When the automaton could not be built.
    pub fn find(&self, text: &[u8]) -> Result<bool, Unusable> {
        match self.special {
            Some(special) => Ok(special.find(text).is_some()),
            None => Ok(self.automaton().ok_or(Unusable)?.is_match(text)),
        }
    }

    /// The groups of the first match.
    ///
    /// # Errors
    /// When the automaton could not be built.
    pub fn captures(&self, text: &[u8]) -> Result<Option<Captures>, Unusable> {
        if let Some(special) = self.special {
            return Ok(special.find(text));
        }
        let regex = self.automaton().ok_or(Unusable)?;
        let mut groups = regex.create_captures();
        regex.search_captures(&Input::new(text), &mut groups);
        Ok(groups.is_match().then(|| spans(&groups)))
    }

    /// What any matching text must contain.
    pub(crate) fn requirement(&self) -> Requirement {
        self.requirement.clone()
    }

    fn automaton(&self) -> Option<&meta::Regex> {
        self.built
            .get_or_init(|| {
                // The tree is several times larger than the automaton, so it is read again instead of kept.
                let tree = tree(&self.text).ok()?;
                meta::Builder::new().configure(config()).build_from_hir(&tree).ok()
            })
            .as_ref()
    }
}

fn config() -> meta::Config {
    meta::Config::new()
        .utf8_empty(false)
        .nfa_size_limit(Some(NFA_BYTES_MAX))
        .onepass_size_limit(Some(64 << 10))
        .hybrid_cache_capacity(CACHE_BYTES_MAX)
}

fn tree(text: &str) -> Result<Hir, String> {
    let translated = translate::translate(text)?;
    regex_syntax::ParserBuilder::new()
        .unicode(false)
        .utf8(false)
        .dot_matches_new_line(true)
        .nest_limit(200)
        .build()
        .parse(&translated)
        .map_err(|error| first_line(&error))
}

impl fmt::Debug for Pattern {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "/{}/", self.text)
    }
}

fn spans(groups: &Groups) -> Captures {
    let count = groups.group_info().group_len(PatternID::ZERO).min(10);
    Captures {
        groups: (0..count).map(|group| groups.get_group(group).map(|at| (at.start, at.end))).collect(),
    }
}

fn first_line(error: &regex_syntax::Error) -> String {
    match error {
        regex_syntax::Error::Parse(error) => error.kind().to_string(),
        regex_syntax::Error::Translate(error) => error.kind().to_string(),
        _ => "not a regular expression".to_owned(),
    }
}

/// A word that is compared, or, when it is written with the signs of a pattern, a pattern that is searched.
#[derive(Debug)]
pub enum WordOrPattern {
    /// Searched.
    Pattern(Pattern),
    /// Compared.
    Word(Arc<str>),
}

impl WordOrPattern {
    /// Reads either.
    ///
    /// # Errors
    /// When it is a malformed pattern.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.contains(['^', '$', '*', '+', '?', '(', ')', '[', ']', '|', '\\']) {
            Pattern::parse(text).map(Self::Pattern)
        } else {
            Ok(Self::Word(Arc::from(text)))
        }
    }

    /// Whether `text` is meant.
    #[must_use]
    pub fn admits(&self, text: &str) -> bool {
        match self {
            Self::Pattern(pattern) => pattern.is_match(text.as_bytes()),
            Self::Word(word) => &**word == text,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, text: &[u8]) -> bool {
        Pattern::parse(pattern).unwrap().find(text).unwrap()
    }

    #[test]
    fn the_dollar_matches_only_the_very_end() {
        assert!(matches("a$", b"a"));
        assert!(!matches("a$", b"a\n"));
        assert!(matches("(?m)a$", b"a\nb"));
    }

    #[test]
    fn the_dot_matches_line_feeds_and_any_byte() {
        assert!(matches("^a.b$", b"a\nb"));
        assert!(matches("^a.b$", b"a\xffb"));
    }

    #[test]
    fn groups_are_reported_in_order() {
        let captures = Pattern::parse("(a)(x)?(b)").unwrap().captures(b"zab").unwrap().unwrap();
        assert_eq!(captures.groups, [Some((1, 3)), Some((1, 2)), None, Some((2, 3))]);
    }

    #[test]
    fn a_pattern_too_large_to_build_is_reported_and_never_a_silent_no_match() {
        let pattern = Pattern::parse(r"(?:[a-z]{1,1000}x){1,1000}").unwrap();
        assert_eq!(pattern.warm(), Err(Unusable));
        assert_eq!(pattern.find(b"a"), Err(Unusable));
        assert!(pattern.is_match(b"a"));
    }
}
