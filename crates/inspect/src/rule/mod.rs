//! Our own typed form of a rule. SecLang is lowered into it and nothing behind the parser knows SecLang, so that a
//! second notation (CRS's coming YAML form) is a second front door and not a second engine.

pub mod effect;
pub mod target;
pub mod template;
pub mod variable;

use std::sync::Arc;

pub use effect::{Change, Control, Effect, Removal, SetVar};
pub use target::{Exclusion, Form, Selector, Target, Targets};
pub use template::{Macro, Part, Template};
pub use variable::{Shape, Variable};

use crate::{error::Place, operator::Operator, transform::Transform};

/// When a rule runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Phase {
    /// Phase 1.
    RequestHeaders = 1,
    /// Phase 2.
    RequestBody = 2,
    /// Phase 3.
    ResponseHeaders = 3,
    /// Phase 4.
    ResponseBody = 4,
    /// Phase 5; always runs, decides nothing.
    Logging = 5,
}

impl Phase {
    /// All phases in order.
    pub const ALL: [Self; 5] =
        [Self::RequestHeaders, Self::RequestBody, Self::ResponseHeaders, Self::ResponseBody, Self::Logging];

    /// Its place in tables: zero for the first.
    #[must_use]
    pub fn index(self) -> usize {
        usize::from(self as u8) - 1
    }

    /// Reads `1`..`5`, `request`, `response`, `logging`.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Some(match word.to_ascii_lowercase().as_str() {
            "1" => Self::RequestHeaders,
            "2" | "request" => Self::RequestBody,
            "3" => Self::ResponseHeaders,
            "4" | "response" => Self::ResponseBody,
            "5" | "logging" => Self::Logging,
            _ => return None,
        })
    }
}

/// How bad a match is, by the syslog scale.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Severity {
    /// 0
    Emergency,
    /// 1
    Alert,
    /// 2
    Critical,
    /// 3
    Error,
    /// 4
    Warning,
    /// 5
    Notice,
    /// 6
    Info,
    /// 7
    Debug,
}

impl Severity {
    const WORDS: [(&'static str, Self); 8] = [
        ("EMERGENCY", Self::Emergency),
        ("ALERT", Self::Alert),
        ("CRITICAL", Self::Critical),
        ("ERROR", Self::Error),
        ("WARNING", Self::Warning),
        ("NOTICE", Self::Notice),
        ("INFO", Self::Info),
        ("DEBUG", Self::Debug),
    ];

    /// Reads a word or a number.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::WORDS
            .iter()
            .enumerate()
            .find(|(number, (name, _))| name.eq_ignore_ascii_case(word) || number.to_string() == word)
            .map(|(_, (_, severity))| *severity)
    }

    /// The word of the rule language.
    #[must_use]
    pub fn word(self) -> &'static str {
        Self::WORDS.get(usize::from(self as u8)).map_or("DEBUG", |(name, _)| name)
    }
}

/// What a match decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Disruption {
    /// Stop judging: everything, the phase, or the request phases.
    Allow(AllowScope),
    /// Refuse.
    Deny,
    /// Refuse by closing the connection.
    Drop,
    /// Go on.
    Pass,
    /// Refuse by sending elsewhere.
    Redirect(Arc<str>),
}

/// How much an `allow` skips.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AllowScope {
    /// Everything but logging.
    Exchange,
    /// The rest of this phase.
    Phase,
    /// The rest of the request phases.
    Request,
}

/// One link of a chain: one test and what happens when it holds.
#[derive(Clone, Debug)]
pub struct Link {
    /// Where it is written.
    pub place: Place,
    /// What it looks at; empty for an unconditional link.
    pub targets: Targets,
    /// How each value is changed before the test.
    pub transforms: Vec<Transform>,
    /// Whether the test runs after each change too.
    pub multi_match: bool,
    /// The test; absent for `SecAction`.
    pub operator: Option<Operator>,
    /// Whether the test is turned around.
    pub negated: bool,
    /// Whether groups of the pattern are kept as `TX.0`..`TX.9`.
    pub capture: bool,
    /// What happens at each match.
    pub effects: Vec<Effect>,
}

/// A rule: a chain of links of which the first carries the words.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Its number; unique in a set.
    pub id: u32,
    /// Where it is written.
    pub place: Place,
    /// When it runs.
    pub phase: Phase,
    /// The chain; never empty.
    pub links: Vec<Link>,
    /// What a match decides.
    pub disruption: Disruption,
    /// The status a refusal would use.
    pub status: Option<u16>,
    /// Whether a match is reported.
    pub log: bool,
    /// Whether a match makes the exchange one for the audit log.
    pub audit: bool,
    /// The message.
    pub message: Option<Template>,
    /// What to report of the matched text.
    pub log_data: Option<Template>,
    /// Labels.
    pub tags: Vec<Arc<str>>,
    /// How bad a match is.
    pub severity: Option<Severity>,
    /// The version of the set it belongs to.
    pub version: Option<Arc<str>>,
    /// Where to go on in the same phase after a match.
    pub skip_after: Option<Arc<str>>,
    /// How many rules of the same phase a match passes over.
    pub skip: u32,
}

impl Rule {
    /// Every text of the rule that may contain macros.
    pub(crate) fn templates(&self) -> impl Iterator<Item = &Template> {
        let of_links = self.links.iter().flat_map(|link| {
            let effects = link.effects.iter().flat_map(Effect::templates);
            effects.chain(link.operator.as_ref().and_then(Operator::template))
        });
        of_links.chain(&self.message).chain(&self.log_data)
    }
}
