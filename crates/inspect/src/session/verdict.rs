//! What a session says: the words of a decision and the records behind it.

use std::sync::Arc;

use crate::{
    error::Place,
    rule::{Disruption, Phase, Severity},
};

/// A rule refused the exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Which rule.
    pub rule: u32,
    /// In which phase.
    pub phase: Phase,
    /// The status the rule asks for.
    pub status: u16,
    /// How.
    pub disruption: Disruption,
}

/// Something was not judged.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Incomplete {
    /// A body could not be read to its end, or not in one way only.
    BodyUnreadable(&'static str),
    /// A body is longer than its limit.
    BodyTooLong,
    /// More matches than are recorded.
    Matches,
    /// Transformed texts need more memory than one exchange may use.
    Memory,
    /// More arguments, cookies or headers than the limit.
    Values,
    /// The pattern of a rule could not be built.
    Pattern(u32),
    /// The exchange causes more work than one may.
    Work,
}

/// What to do now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Go on.
    Continue,
    /// Refuse: the exchange could not be judged and the session enforces.
    Incomplete(Incomplete),
    /// Refuse: a rule says so and the session enforces.
    Refuse(Refusal),
}

impl Decision {
    /// Whether it stops the exchange.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        !matches!(self, Self::Continue)
    }
}

/// How far a step came.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Step {
    /// The phase is judged.
    Done(Decision),
    /// The budget is used up; call again.
    More,
}

/// A rule that matched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MatchRecord {
    /// The rule's number.
    pub rule: u32,
    /// Where it is written.
    pub place: Place,
    /// When it ran.
    pub phase: Phase,
    /// Its message, macros replaced.
    pub message: String,
    /// Its own words about the match, with values masked.
    pub log_data: String,
    /// Its labels.
    pub tags: Vec<Arc<str>>,
    /// How bad it says the match is.
    pub severity: Option<Severity>,
    /// The variable, as `ARGS:name`.
    pub variable: String,
    /// The chain of transformations its first link applies.
    pub transforms: Vec<&'static str>,
    /// The shape of the matched text: letters as `a`, digits as `9`, signs as they are; nothing of a secret.
    pub excerpt: String,
    /// Whether the rule asks to be reported.
    pub log: bool,
    /// Whether it only watched.
    pub shadow: bool,
}

/// Everything a session found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// The rules that matched, in order.
    pub matches: Vec<MatchRecord>,
    /// The refusal, also when the session only detects.
    pub refusal: Option<Refusal>,
    /// What was not judged.
    pub incomplete: Vec<Incomplete>,
    /// The inbound anomaly score, where the rule set keeps one as CRS does.
    pub inbound_score: i64,
    /// The outbound anomaly score.
    pub outbound_score: i64,
    /// Whether the start of a body stands for the whole, as the settings ask.
    pub body_cut: bool,
    /// Whether the rules want the exchange in the audit log.
    pub audit: bool,
}
