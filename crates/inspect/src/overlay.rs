//! What a policy changes about a rule set for the requests it applies to, compiled once: variables set beforehand
//! (paranoia, thresholds), rules taken out, targets left out, rules that only watch, the mode.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use crate::{
    error::Problem,
    gate::Row,
    rule::{Exclusion, Removal},
    ruleset::{EngineMode, RuleSet},
    seclang::exclusion,
    session::Start,
};

/// A policy's changes to a set.
#[derive(Clone, Debug, Default)]
pub struct Overlay {
    pub(crate) mode: Option<EngineMode>,
    pub(crate) variables: Vec<(Arc<str>, Arc<[u8]>)>,
    pub(crate) removed: Vec<Row>,
    pub(crate) excluded: Vec<(Row, Exclusion)>,
    pub(crate) shadowed: Vec<Row>,
    /// How an exchange with these changes begins.
    pub(crate) start: OnceLock<Arc<Start>>,
}

/// A change that means nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OverlayError {
    /// No rule of the set is meant.
    #[error("no rule of the set is meant by {0}")]
    NoRule(String),
    /// The target is not readable.
    #[error(transparent)]
    Target(#[from] Problem),
}

/// Which rules a change is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rules {
    /// Those with ids in a range, both ends included.
    Ids(u32, u32),
    /// Those with this tag.
    Tag(String),
}

impl fmt::Display for Rules {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ids(first, last) if first == last => write!(out, "`{first}`"),
            Self::Ids(first, last) => write!(out, "`{first}-{last}`"),
            Self::Tag(tag) => write!(out, "the tag `{tag}`"),
        }
    }
}

impl Overlay {
    /// No changes.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets how matches are treated.
    #[must_use]
    pub fn mode(mut self, mode: EngineMode) -> Self {
        self.start = OnceLock::new();
        self.mode = Some(mode);
        self
    }

    /// Sets a variable of the `TX` collection before the first rule, as a setup file would: for CRS
    /// `blocking_paranoia_level`, `detection_paranoia_level`, `inbound_anomaly_score_threshold` and so on.
    #[must_use]
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.start = OnceLock::new();
        self.variables.push((Arc::from(name.to_ascii_lowercase()), Arc::from(value.as_bytes())));
        self
    }

    /// Takes rules out.
    ///
    /// # Errors
    /// When no rule is meant.
    pub fn remove(mut self, set: &RuleSet, rules: &Rules) -> Result<Self, OverlayError> {
        self.start = OnceLock::new();
        self.removed.push(row(set, rules)?);
        Ok(self)
    }

    /// Leaves a target, such as `ARGS:password`, out of rules.
    ///
    /// # Errors
    /// When no rule is meant or the target is not readable.
    pub fn exclude(mut self, set: &RuleSet, rules: &Rules, target: &str) -> Result<Self, OverlayError> {
        self.start = OnceLock::new();
        self.excluded.push((row(set, rules)?, exclusion(target)?));
        Ok(self)
    }

    /// Lets rules only watch: they are recorded, and change, score and decide nothing.
    ///
    /// # Errors
    /// When no rule is meant.
    pub fn shadow(mut self, set: &RuleSet, rules: &Rules) -> Result<Self, OverlayError> {
        self.start = OnceLock::new();
        self.shadowed.push(row(set, rules)?);
        Ok(self)
    }
}

fn row(set: &RuleSet, rules: &Rules) -> Result<Row, OverlayError> {
    let removal = match rules {
        Rules::Ids(from, to) => Removal::Ids(vec![(*from, *to)]),
        Rules::Tag(tag) => {
            Removal::Tag(Arc::new(crate::pattern::WordOrPattern::Word(Arc::from(tag.as_str()))))
        }
    };
    let row = set.row(&removal);
    if row.iter().all(|word| *word == 0) {
        return Err(OverlayError::NoRule(rules.to_string()));
    }
    Ok(row)
}
