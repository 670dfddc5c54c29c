//! Why a rule set could not be loaded. Loading is all or nothing: an unknown word is an error with file and line,
//! because a rule that is silently dead is worse than a rule set that does not start.

use std::{fmt, sync::Arc};

/// A position in rule text.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Place {
    /// The name under which the file reader knows the file.
    pub file: Arc<str>,
    /// The line, counted from one.
    pub line: u32,
}

impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}", self.file, self.line)
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

/// A rule set was refused.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{place}: {problem}")]
pub struct LoadError {
    /// Where the text is wrong.
    pub place: Place,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What is wrong with a piece of rule text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// An argument of a directive, action or operator is not acceptable.
    #[error("{what}: `{value}` is not {expected}")]
    Argument {
        /// The directive, action or operator.
        what: String,
        /// What was written.
        value: String,
        /// What would be accepted.
        expected: &'static str,
    },
    /// A chain is not continued by a rule, or a chained rule says what only the first may say.
    #[error("chain: {0}")]
    Chain(&'static str),
    /// The same rule id occurs twice.
    #[error("rule id {0} is already used at {1}")]
    DuplicateId(u32, Place),
    /// A file could not be read.
    #[error("cannot read `{path}`: {reason}")]
    File {
        /// The path as written.
        path: String,
        /// Why it failed.
        reason: String,
    },
    /// Files include each other too deeply.
    #[error("files are included more than {0} levels deep")]
    IncludeDepth(usize),
    /// A marker that `skipAfter` names does not exist after the rule.
    #[error("skipAfter: no SecMarker `{0}` follows this rule")]
    MarkerMissing(String),
    /// Something that must be said is missing.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// A pattern is not a regular expression we run.
    #[error("pattern: {0}")]
    Pattern(String),
    /// A rule that is referred to does not exist.
    #[error("no rule has the id {0}")]
    RuleMissing(u32),
    /// The text cannot be divided into words.
    #[error("{0}")]
    Text(&'static str),
    /// A word is not in the language.
    #[error("unknown {kind} `{word}`")]
    Unknown {
        /// The kind of word.
        kind: &'static str,
        /// The word as written.
        word: String,
    },
    /// The word is in the language, but this engine refuses it.
    #[error("{kind} `{word}` is not supported: {reason}")]
    Unsupported {
        /// The kind of word.
        kind: &'static str,
        /// The word as written.
        word: String,
        /// Why not.
        reason: &'static str,
    },
}
