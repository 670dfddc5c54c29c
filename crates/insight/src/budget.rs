//! How many alerts a person is asked to read.
//!
//! The least surprise that is told rises with every alert and sinks with time, so that over a day about as many are told as
//! the settings say, and the more surprising ones win. What is not told is counted. Critical findings pass always: a budget
//! must not be a way to hide behind noise.

use crate::{
    alert::{Finding, Severity},
    settings::DAY_MS,
};

/// The least surprise that is ever told: one in a million.
const FLOOR: f64 = 6.0;

/// How much a told alert raises what is asked of the next one, when the day's budget is used up.
const STEP: f64 = 2.0;

/// The running budget.
#[derive(Debug)]
pub(crate) struct Budget {
    per_day: f64,
    /// Alerts of the last day, fading evenly.
    spent: f64,
    at_ms: u64,
    held_back: u64,
}

impl Budget {
    pub(crate) fn new(per_day: u32) -> Self {
        Budget { per_day: f64::from(per_day.max(1)), spent: 0.0, at_ms: 0, held_back: 0 }
    }

    /// Whether a finding is told; counts it either way.
    pub(crate) fn allows(&mut self, finding: &Finding, now_ms: u64) -> bool {
        let passed = now_ms.saturating_sub(self.at_ms);
        self.at_ms = self.at_ms.max(now_ms);
        self.spent = (self.spent - self.per_day * passed as f64 / DAY_MS as f64).max(0.0);
        if finding.severity < Severity::Critical && finding.surprise < self.threshold() {
            self.held_back += 1;
            return false;
        }
        if finding.severity < Severity::Critical {
            self.spent += 1.0;
        }
        true
    }

    /// The least surprise that is told now.
    pub(crate) fn threshold(&self) -> f64 {
        FLOOR + STEP * (self.spent - self.per_day / 2.0).max(0.0)
    }

    pub(crate) const fn held_back(&self) -> u64 {
        self.held_back
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::{Action, Detector};

    fn finding(severity: Severity, surprise: f64) -> Finding {
        Finding {
            detector: Detector::Volume,
            severity,
            sentence: String::new(),
            who: None,
            place: None,
            route: None,
            is_learning: false,
            surprise,
            features: Vec::new(),
            samples: Vec::new(),
            owasp: "",
            action: Action::default(),
        }
    }

    #[test]
    fn noise_is_held_back_and_the_critical_is_told() {
        let mut budget = Budget::new(10);
        let told = (0..1_000).filter(|_| budget.allows(&finding(Severity::Low, 9.0), 1_000)).count();
        assert!((5..=10).contains(&told), "{told}");
        assert_eq!(budget.held_back(), 1_000 - told as u64);
        assert!(budget.allows(&finding(Severity::Critical, 0.0), 1_000));
        assert!(budget.allows(&finding(Severity::Low, 40.0), 1_000), "what is more surprising still passes");
        assert!(budget.allows(&finding(Severity::Low, 9.0), 1_000 + DAY_MS), "a day later it is as before");
    }

    #[test]
    fn what_is_not_surprising_is_never_told() {
        assert!(!Budget::new(10).allows(&finding(Severity::High, 5.0), 1));
    }
}
