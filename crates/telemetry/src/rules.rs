//! Rules of an inspection that matched, as a record tells them.
//!
//! What is told names the rule and the place, and shows the shape of what matched: never its letters and digits, which may
//! be a secret.

use std::sync::Arc;

use crate::metrics::RuleGroupId;

/// Most matched rules kept for one request; what is beyond is counted.
pub const RULES_MAX: usize = 64;

/// A rule that matched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleMatch {
    /// The policy, as `Kind/name`.
    pub policy: Arc<str>,
    /// The rule's number.
    pub rule: u32,
    /// Its group in the metrics.
    pub group: RuleGroupId,
    /// What its match meant.
    pub role: RuleRole,
    /// Whether request or answer matched: `request` or `response`.
    pub half: &'static str,
    /// File and line.
    pub at: Box<str>,
    /// The rule's own words.
    pub message: Box<str>,
    /// The variable, as `ARGS:name`.
    pub variable: Box<str>,
    /// The transformations before the test, `none` where there are none.
    pub transforms: Box<str>,
    /// The shape of what matched.
    pub excerpt: Box<str>,
    /// The exclusion of the policy that would let this pass, where there is one.
    pub exclusion: Option<Box<str>>,
}

/// Secrets of one class in an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeakCount {
    /// The policy, as `Kind/name`.
    pub policy: Arc<str>,
    /// The class.
    pub class: &'static str,
    /// How many there were.
    pub count: u64,
    /// What became of them: `masked`, `blocked` or `shadow`.
    pub action: &'static str,
}

/// What a match meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RuleRole {
    /// It refused the message.
    Decided,
    /// It counted towards a decision, or was only to be told.
    Matched,
    /// The rule only watches, or its policy does.
    Watched,
}

impl RuleRole {
    /// The word in the access log.
    pub const fn as_str(self) -> &'static str {
        match self {
            RuleRole::Decided => "decided",
            RuleRole::Matched => "matched",
            RuleRole::Watched => "shadow",
        }
    }
}

/// The rules that matched for one request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MatchedRules {
    kept: Vec<RuleMatch>,
    lost: u64,
}

impl MatchedRules {
    /// Notes a match; beyond [`RULES_MAX`] only their number.
    pub fn push(&mut self, found: RuleMatch) {
        if self.kept.len() < RULES_MAX {
            self.kept.push(found);
        } else {
            self.lost += 1;
        }
    }

    /// Those that are kept.
    pub fn iter(&self) -> impl Iterator<Item = &RuleMatch> {
        self.kept.iter()
    }

    /// Those that are kept, as a list.
    pub fn as_slice(&self) -> &[RuleMatch] {
        &self.kept
    }

    /// How many more matched.
    pub fn lost(&self) -> u64 {
        self.lost
    }
}
