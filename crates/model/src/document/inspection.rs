//! `InspectionPolicy`: is it an attack.

use super::common::TargetRef;
use crate::{
    node::{Node, Value},
    problem::Problems,
    read::{OneOrMany, Path, Read, Spanned},
    scalar::{ByteSize, Count, Name, Paranoia, Percent, RuleRange},
    shape::Shape,
    verdict::{Mode, OnFault},
};

crate::document! {
    /// Whether requests and answers are attacks, by rules in SecLang. Several policies must all let a request pass.
    pub struct InspectionPolicySpec {
        /// What it is attached to; none means the whole gateway.
        pub target_refs: Vec<Spanned<TargetRef>> = Vec::new(),
        /// What is judged with, loaded in this order as one set.
        pub rule_sets: OneOrMany<Spanned<RuleSetSpec>>,
        /// How suspicious the rules are: 1 has few false alarms, 4 has many. What a rule set's own setup file says wins.
        pub paranoia: Paranoia = Paranoia::LOWEST,
        /// From which score on a message is refused, where rules keep a score.
        pub thresholds: Thresholds = Thresholds::default(),
        /// What rules do not look at, or which rules do not run.
        pub exclusions: Vec<Spanned<ExclusionSpec>> = Vec::new(),
        /// Single rules that only watch, or are off.
        pub rule_modes: Vec<Spanned<RuleModeSpec>> = Vec::new(),
        /// Which half of an exchange is judged.
        pub phases: OneOrMany<InspectionPhase> = OneOrMany(vec![InspectionPhase::Request]),
        /// How bodies of requests are read.
        pub request: BodySpec = BodySpec::default(),
        /// How bodies of answers are read.
        pub response: AnswerSpec = AnswerSpec::default(),
        /// Whether it bites.
        pub mode: Mode = Mode::Enforce,
        /// Share of callers it bites, in percent; the rest is judged in shadow.
        pub enforce_percent: Percent = Percent::of(100),
        /// What happens when it cannot be decided, or not within the limits of the engine (arguments, work, memory).
        /// Callers can bring that about, so `allow` opens the door to them.
        pub on_fault: OnFault = OnFault::Deny,
    }
}

crate::choice! {
    /// A rule set that comes with the gateway.
    pub enum OwnRuleSet {
        /// Rules of the gateway's own, made for APIs.
        Baseline = "baseline",
    }
}

crate::document! {
    /// The OWASP Core Rule Set, version 3.3 or 4, as it is published or packaged.
    pub struct CoreRuleSet {
        /// Its folder, in which `rules/` lies; relative paths count from this document. Debian's package has it in
        /// `/usr/share/modsecurity-crs`.
        pub crs: String,
        /// Its setup file. Where absent: `crs-setup.conf` in the folder, then in `/etc/modsecurity/crs` for a folder below
        /// `/usr/share`, then `crs-setup.conf.example` in the folder.
        pub setup: Option<String>,
    }
}

crate::document! {
    /// Rule files of your own.
    pub struct RuleFilesSpec {
        /// Paths, with `*` for any run of characters but `/`; relative paths count from this document.
        pub files: OneOrMany<Spanned<String>>,
    }
}

/// A rule set: `baseline`, `{ crs: FOLDER }`, or `{ files: PATHS }`.
#[derive(Debug, Clone, PartialEq)]
pub enum RuleSetSpec {
    /// One that comes with the gateway.
    Own(OwnRuleSet),
    /// The Core Rule Set.
    Crs(CoreRuleSet),
    /// Files.
    Files(RuleFilesSpec),
}

impl Read for RuleSetSpec {
    fn read(node: &Node, at: &mut Path, problems: &mut Problems) -> Option<Self> {
        match &node.value {
            Value::Map(_) if node.get("files").is_some() => {
                RuleFilesSpec::read(node, at, problems).map(RuleSetSpec::Files)
            }
            Value::Map(_) => CoreRuleSet::read(node, at, problems).map(RuleSetSpec::Crs),
            _ => OwnRuleSet::read(node, at, problems).map(RuleSetSpec::Own),
        }
    }

    fn shape() -> Shape {
        Shape::OneOf(vec![OwnRuleSet::shape(), CoreRuleSet::shape(), RuleFilesSpec::shape()])
    }
}

impl serde::Serialize for RuleSetSpec {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            RuleSetSpec::Own(word) => word.serialize(serializer),
            RuleSetSpec::Crs(crs) => crs.serialize(serializer),
            RuleSetSpec::Files(files) => files.serialize(serializer),
        }
    }
}

crate::document! {
    /// From which score on a message is refused.
    pub struct Thresholds: Default {
        /// For requests; a critical match counts 5.
        pub inbound: Count = Count::of(5),
        /// For answers; an error counts 4.
        pub outbound: Count = Count::of(4),
    }
}

crate::document! {
    /// What rules do not look at. Without `targets` they do not run at all.
    pub struct ExclusionSpec {
        /// Rules by number.
        pub rules: Vec<Spanned<RuleRange>> = Vec::new(),
        /// Rules by tag.
        pub tags: Vec<Spanned<String>> = Vec::new(),
        /// Variables they do not look at, such as `ARGS:comment` or `REQUEST_COOKIES:/^_ga/`.
        pub targets: Vec<Spanned<String>> = Vec::new(),
        /// Routes it holds for; none means all that the policy is attached to.
        pub routes: Vec<Spanned<Name>> = Vec::new(),
    }
}

crate::choice! {
    /// What becomes of a single rule.
    pub enum RuleModeWord {
        /// It is recorded, and changes, scores and decides nothing.
        Shadow = "shadow",
        /// It does not run.
        Off = "off",
    }
}

crate::document! {
    /// Rules that only watch, or are off.
    pub struct RuleModeSpec {
        /// Rules by number.
        pub rules: Vec<Spanned<RuleRange>> = Vec::new(),
        /// Rules by tag.
        pub tags: Vec<Spanned<String>> = Vec::new(),
        /// What becomes of them.
        pub mode: RuleModeWord,
    }
}

crate::choice! {
    /// A half of an exchange.
    pub enum InspectionPhase {
        /// The request.
        Request = "request",
        /// The answer. Answers whose bodies rules want to see are held back until they are judged.
        Response = "response",
    }
}

crate::choice! {
    /// What happens to a body that is larger than what is judged of it.
    pub enum OnOversize {
        /// It is refused.
        Deny = "deny",
        /// Its start is judged and all of it passes: whoever pads a body hides its end.
        JudgeStart = "judgeStart",
        /// It passes unjudged.
        Allow = "allow",
    }
}

crate::choice! {
    /// What happens to a body in a `Content-Encoding`, which is not read.
    pub enum OnEncoded {
        /// It is refused.
        Deny = "deny",
        /// It passes unjudged.
        Allow = "allow",
    }
}

crate::document! {
    /// How bodies are read.
    pub struct BodySpec: Default {
        /// How much of a body is judged. It is held in memory until then.
        pub body_bytes: Spanned<ByteSize> = ByteSize::mib(1).into(),
        /// What happens to a larger one.
        pub on_oversize: Spanned<OnOversize> = OnOversize::Deny.into(),
        /// What happens to a compressed one.
        pub on_encoded: Spanned<OnEncoded> = OnEncoded::Deny.into(),
    }
}

crate::choice! {
    /// What happens to an answer that tells a secret.
    pub enum OnLeak {
        /// Nobody looks.
        Off = "off",
        /// Every byte of the secret becomes `*`; the rest passes.
        Mask = "mask",
        /// The answer is refused.
        Block = "block",
    }
}

crate::document! {
    /// How bodies of answers are read.
    pub struct AnswerSpec: Default {
        /// How much of a body is judged. It is held in memory until then.
        pub body_bytes: Spanned<ByteSize> = ByteSize::mib(1).into(),
        /// What happens to a larger one.
        pub on_oversize: Spanned<OnOversize> = OnOversize::Deny.into(),
        /// What happens to a compressed one.
        pub on_encoded: Spanned<OnEncoded> = OnEncoded::Deny.into(),
        /// What happens to keys, tokens, private keys, stack traces and database errors in text.
        pub leaks: Spanned<OnLeak> = OnLeak::Off.into(),
    }
}

impl AnswerSpec {
    /// What it says of bodies as such.
    pub fn body(&self) -> BodySpec {
        BodySpec { body_bytes: self.body_bytes, on_oversize: self.on_oversize, on_encoded: self.on_encoded }
    }
}
