//! The alerts that were told: a bounded list in which one that goes on is noticed again instead of being told again.

use std::collections::VecDeque;

use crate::alert::{Alert, Finding};

/// Told alerts, the newest last.
#[derive(Debug)]
pub(crate) struct Kept {
    alerts: VecDeque<(u64, Alert)>,
    max: usize,
    next: u64,
}

impl Kept {
    pub(crate) fn new(max: usize) -> Self {
        Kept { alerts: VecDeque::new(), max: max.max(1), next: 1 }
    }

    /// Whether the same was told less than `same_ms` ago; then it is noted there.
    pub(crate) fn again(&mut self, key: u64, finding: &Finding, now_ms: u64, same_ms: u64) -> bool {
        // The newest come first: what goes on is among them.
        let known = self.alerts.iter_mut().rev().find(|(known, _)| *known == key);
        let Some((_, alert)) = known.filter(|(_, alert)| now_ms.saturating_sub(alert.last_ms) < same_ms)
        else {
            return false;
        };
        alert.last_ms = now_ms;
        alert.times += 1;
        if finding.surprise > alert.surprise || finding.severity > alert.severity {
            alert.sentence.clone_from(&finding.sentence);
            alert.features.clone_from(&finding.features);
            alert.surprise = finding.surprise;
            alert.severity = alert.severity.max(finding.severity);
        }
        true
    }

    /// Tells a new one.
    pub(crate) fn add(&mut self, key: u64, finding: Finding, now_ms: u64) {
        if self.alerts.len() >= self.max {
            self.alerts.pop_front();
        }
        let Finding {
            detector,
            severity,
            sentence,
            who,
            place,
            route,
            is_learning,
            surprise,
            features,
            samples,
            owasp,
            action,
        } = finding;
        let alert = Alert {
            id: self.next,
            detector,
            severity,
            sentence,
            who,
            place,
            route,
            first_ms: now_ms,
            last_ms: now_ms,
            times: 1,
            is_learning,
            surprise: crate::alert::round(surprise),
            features,
            samples,
            owasp: owasp.to_owned(),
            action,
        };
        self.next += 1;
        self.alerts.push_back((key, alert));
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Alert> {
        self.alerts.iter().map(|(_, alert)| alert)
    }

    /// How many were told ever.
    pub(crate) const fn told(&self) -> u64 {
        self.next - 1
    }
}
