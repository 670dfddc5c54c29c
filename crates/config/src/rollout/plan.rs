//! What a rollout was asked for: how long it watches, which shares it takes, and what stops it.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Hundredths of a percent; 10,000 are all callers.
pub type BasisPoints = u32;

/// All callers.
pub const ALL: BasisPoints = 10_000;

/// Most steps: each one spends a part of the error rate, and nobody needs more.
pub const STEPS_MAX: usize = 16;

/// What was asked for. It never changes while the rollout runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RolloutPlan {
    /// How long the candidate is only watched, in milliseconds; 0: not at all.
    pub shadow_ms: u64,
    /// The shares of callers, in basis points, each larger than the one before.
    pub steps: Vec<BasisPoints>,
    /// How long each share is held at least, in milliseconds.
    pub hold_ms: u64,
    /// How many calls the candidate must have judged before a step counts as held.
    pub calls_min: u64,
    /// What stops it.
    pub guards: Vec<Guard>,
    /// What happens then.
    pub on_trip: OnTrip,
    /// Whether the candidate becomes the active revision by itself once the last share was held.
    pub promote: bool,
}

/// What is compared between the candidate's callers and the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Watched {
    /// The share of calls that the gateway refused.
    Refusals,
    /// The share of calls that failed: 5xx answers, the gateway's and the upstream's.
    Errors,
    /// The share of calls that were slower than nearly all of the others.
    Latency,
}

impl Watched {
    /// All of them.
    pub const ALL: [Watched; 3] = [Watched::Refusals, Watched::Errors, Watched::Latency];

    /// The word in arguments and reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Watched::Refusals => "refusals",
            Watched::Errors => "errors",
            Watched::Latency => "latency",
        }
    }
}

/// What is watched, and how much worse it may be.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Guard {
    /// What.
    pub watched: Watched,
    /// Refusals and errors: how much larger the share may be, 0.005 for half a percentage point. Latency: how much longer
    /// the slowest twentieth may take, 0.25 for a quarter.
    pub margin: f64,
}

/// What a guard that trips does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum OnTrip {
    /// The active set serves everybody again; the rollout is over.
    #[default]
    RollBack,
    /// The active set serves everybody again until somebody resumes or aborts.
    Pause,
}

impl RolloutPlan {
    /// Refusals and errors may be half a percentage point more, the slowest twentieth a quarter slower.
    pub fn usual_guards() -> Vec<Guard> {
        let guard = |watched, margin| Guard { watched, margin };
        vec![guard(Watched::Refusals, 0.005), guard(Watched::Errors, 0.005), guard(Watched::Latency, 0.25)]
    }

    /// What is wrong with it, in a sentence; nothing where it can be carried out.
    pub fn problem(&self) -> Option<String> {
        if self.steps.is_empty() || self.steps.len() > STEPS_MAX {
            return Some(format!("a rollout has 1 to {STEPS_MAX} steps"));
        }
        if self.steps.iter().any(|share| *share == 0 || *share > ALL) {
            return Some("a share is more than 0% and at most 100%".to_owned());
        }
        if self.steps.windows(2).any(|pair| matches!(pair, [one, next] if next <= one)) {
            return Some(
                "each share must be larger than the one before: callers are only ever added".to_owned(),
            );
        }
        if self.steps.as_slice() == [ALL] {
            return Some(
                "100% alone leaves no callers to compare with: take a smaller share before it".to_owned(),
            );
        }
        if self.guards.is_empty() {
            return Some("a rollout that nothing can stop is `bartizan apply`".to_owned());
        }
        let twice = |guard: &Guard| self.guards.iter().filter(|one| one.watched == guard.watched).count() > 1;
        if let Some(guard) = self.guards.iter().find(|guard| twice(guard)) {
            return Some(format!("{} is guarded twice", guard.watched.as_str()));
        }
        None
    }

    /// In how many parts the error rate is spent: each guard at each step, and in the shadow.
    pub fn tests(&self) -> usize {
        self.guards.len().max(1) * (self.steps.len() + usize::from(self.shadow_ms > 0))
    }
}

impl FromStr for Guard {
    type Err = String;

    /// Reads `refusals=+0.5%`.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("{text:?} is no guard; write `refusals=+0.5%`, `errors=+0.5%` or `latency=+25%`");
        let (word, margin) = text.split_once('=').ok_or_else(wrong)?;
        let watched = Watched::ALL.into_iter().find(|one| one.as_str() == word).ok_or_else(wrong)?;
        let number = margin.trim_start_matches('+').strip_suffix('%').ok_or_else(wrong)?;
        let percent: f64 = number.parse().map_err(|_| wrong())?;
        // Latency may double and more; a share cannot grow by more than all of it.
        let most = if watched == Watched::Latency { 1_000.0 } else { 100.0 };
        if !(0.0..=most).contains(&percent) {
            return Err(wrong());
        }
        Ok(Guard { watched, margin: percent / 100.0 })
    }
}

impl fmt::Display for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}=+{}%", self.watched.as_str(), (self.margin * 10_000.0).round() / 100.0)
    }
}

/// Reads `1%,10%,50%,100%`.
///
/// # Errors
///
/// In words, when a share is none.
pub fn share(text: &str) -> Result<BasisPoints, String> {
    let wrong = || format!("{text:?} is no share; write for example `1%` or `0.5%`");
    let percent: f64 = text.trim().strip_suffix('%').ok_or_else(wrong)?.parse().map_err(|_| wrong())?;
    if !(0.01..=100.0).contains(&percent) {
        return Err(wrong());
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "0.01 to 100, times a hundred"
    )]
    Ok((percent * 100.0).round() as BasisPoints)
}

/// A share as people write it.
pub fn percent(share: BasisPoints) -> String {
    format!("{}%", f64::from(share) / 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guards_and_shares_read_what_they_write_and_nothing_else() {
        for (text, watched, margin) in [
            ("refusals=+0.5%", Watched::Refusals, 0.005),
            ("errors=+1%", Watched::Errors, 0.01),
            ("latency=+25%", Watched::Latency, 0.25),
            ("latency=+0%", Watched::Latency, 0.0),
        ] {
            let guard: Guard = text.parse().unwrap();
            assert_eq!((guard.watched, guard.margin), (watched, margin), "{text}");
            assert_eq!(guard.to_string(), text);
        }
        for wrong in
            ["refusals", "refusals=5", "refusals=-1%", "refusals=101%", "speed=+1%", "latency=+x%", ""]
        {
            assert!(wrong.parse::<Guard>().is_err(), "{wrong}");
        }
        for (text, points) in [("1%", 100), ("0.5%", 50), ("100%", 10_000), (" 12.34% ", 1_234)] {
            assert_eq!(share(text), Ok(points), "{text}");
        }
        for wrong in ["0%", "101%", "1", "x%", "-1%", "0.001%"] {
            assert!(share(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_plan_that_cannot_be_carried_out_says_why() {
        let plan = |steps: &[BasisPoints], guards: &[&str]| RolloutPlan {
            shadow_ms: 0,
            steps: steps.to_vec(),
            hold_ms: 1,
            calls_min: 1,
            guards: guards.iter().map(|guard| guard.parse().unwrap()).collect(),
            on_trip: OnTrip::RollBack,
            promote: false,
        };
        let one = &["refusals=+1%"][..];
        for (plan, why) in [
            (plan(&[100, 10_000], one), None),
            (plan(&[], one), Some("1 to 16 steps")),
            (plan(&[10_000], one), Some("no callers to compare with")),
            (plan(&[100; 17], one), Some("1 to 16 steps")),
            (plan(&[100, 100], one), Some("larger")),
            (plan(&[1_000, 100], one), Some("larger")),
            (plan(&[10_001], one), Some("at most 100%")),
            (plan(&[100], &[]), Some("nothing can stop")),
            (plan(&[100], &["errors=+1%", "errors=+2%"]), Some("twice")),
        ] {
            match (plan.problem(), why) {
                (None, None) => {}
                (Some(problem), Some(why)) => assert!(problem.contains(why), "{problem}"),
                (found, _) => panic!("{plan:?}: {found:?}"),
            }
        }
    }
}
