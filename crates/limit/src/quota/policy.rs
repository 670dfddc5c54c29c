//! A compiled quota: how much in a calendar window, and whose.

use std::{ops::Deref, sync::Arc};

use bartizan_model::{Mode, OnFault};

use super::calendar::Calendar;
use crate::policy::{Bite, share};

/// What a quota policy says, as compiled from its document.
#[derive(Clone, Debug)]
pub struct QuotaTerms {
    /// Kind and name, for example `QuotaPolicy/models-monthly`; part of the identity of its accounts.
    pub label: Arc<str>,
    /// Whether it bites.
    pub mode: Mode,
    /// The share of callers (0 to 100) for whom an enforced policy is enforced; it shadows the others.
    pub enforce_percent: u8,
    /// What happens when the judge cannot decide. Accounts in memory always can.
    pub on_fault: OnFault,
    /// Whose use is counted together.
    pub key: Vec<QuotaPart>,
    /// Whether it does not apply to a call that lacks a part of the key; else such a call is refused.
    pub skips_absent: bool,
    /// The quotas, all of which must hold; no two of the same unit and period.
    pub limits: Vec<QuotaLimit>,
}

/// A part of a quota's key. Only what has a name that may be kept for months: no header, no address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum QuotaPart {
    /// The verified consumer.
    Consumer,
    /// Everybody together.
    Gateway,
    /// The model that is asked.
    Model,
    /// The route that matched.
    Route,
    /// The consumer's team.
    Team,
}

/// What a quota counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum QuotaUnit {
    /// Calls.
    Requests,
    /// Tokens of models, input and output.
    Tokens,
    /// Picodollars.
    Cost,
}

impl QuotaUnit {
    /// The word in documents, records and the store.
    pub const fn as_str(self) -> &'static str {
        match self {
            QuotaUnit::Requests => "requests",
            QuotaUnit::Tokens => "tokens",
            QuotaUnit::Cost => "cost",
        }
    }
}

/// One quota of a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuotaLimit {
    /// What is counted.
    pub unit: QuotaUnit,
    /// How much of it a window allows.
    pub amount: u64,
    /// The windows.
    pub calendar: Calendar,
}

/// A compiled policy. It reads as its [`QuotaTerms`].
#[derive(Clone, Debug)]
pub struct QuotaPolicy(QuotaTerms);

impl QuotaPolicy {
    /// Compiles the terms.
    pub const fn new(terms: QuotaTerms) -> Self {
        QuotaPolicy(terms)
    }

    /// How the policy bears on a caller whose share is `caller_share` (0 to 99).
    pub fn bite(&self, caller_share: u8) -> Bite {
        match self.0.mode {
            Mode::Enforce if caller_share < self.0.enforce_percent => Bite::Enforce,
            Mode::Enforce | Mode::Shadow => Bite::Shadow,
            Mode::Off => Bite::Off,
        }
    }

    /// The same by a hash that stays the same for the caller.
    pub fn bite_by_hash(&self, caller_hash: u64) -> Bite {
        self.bite(share(caller_hash))
    }

    /// Whether one of its quotas counts this.
    pub fn counts(&self, unit: QuotaUnit) -> bool {
        self.0.limits.iter().any(|limit| limit.unit == unit)
    }

    /// Whose use a call counts as, in words that are the same for as long as the names are: `team shop, model qwen-plus`.
    /// `Err`: a part of the key is absent.
    pub fn bucket(&self, facts: &QuotaFacts<'_>) -> Result<String, QuotaPart> {
        let mut words = String::new();
        for &part in &self.0.key {
            let (word, value) = match part {
                QuotaPart::Consumer => ("consumer ", facts.consumer),
                QuotaPart::Gateway => ("all callers", Some("")),
                QuotaPart::Model => ("model ", facts.model),
                QuotaPart::Route => ("route ", Some(facts.route)),
                QuotaPart::Team => ("team ", facts.team),
            };
            let value = value.ok_or(part)?;
            if !words.is_empty() {
                words.push_str(", ");
            }
            words.push_str(word);
            words.push_str(value);
        }
        if words.is_empty() {
            words.push_str("all callers");
        }
        Ok(words)
    }
}

impl Deref for QuotaPolicy {
    type Target = QuotaTerms;

    fn deref(&self) -> &QuotaTerms {
        &self.0
    }
}

/// What is known of a call when its accounts are found. All are names of documents, so none holds a comma.
#[derive(Clone, Copy, Debug, Default)]
pub struct QuotaFacts<'a> {
    /// The route that matched.
    pub route: &'a str,
    /// The verified consumer.
    pub consumer: Option<&'a str>,
    /// Its team.
    pub team: Option<&'a str>,
    /// The model that is asked, once that is known.
    pub model: Option<&'a str>,
}
