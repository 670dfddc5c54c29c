//! What can happen that a policy may watch.

use std::{
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
};

use bartizan_config::snapshot::AlertRulePlan;
use bartizan_model::{
    Reason,
    document::alert_policy::{AlertGroup, AlertSignal},
};
use bartizan_telemetry::{
    ProcessEvent,
    record::{RequestRecord, Why},
};

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// A request was refused, or a judge could not decide about it.
    Request {
        /// Why it was refused, if it was.
        reason: Option<Reason>,
        /// Whether a judge could not decide.
        is_fault: bool,
        /// The client.
        client: IpAddr,
        /// The consumer, once known.
        consumer: Option<Arc<str>>,
        /// The route, once known.
        route: Option<Arc<str>>,
    },
    /// Changed documents were refused.
    FailedReload,
    /// A rollout paused or was rolled back by itself.
    RolloutStopped {
        /// Which one, and what it became.
        what: String,
    },
    /// A successor of a key that nobody has.
    Unhanded {
        /// Of which key.
        what: String,
    },
    /// A key or certificate that ends or is due.
    Ends {
        /// Which one.
        what: String,
        /// When, in Unix milliseconds.
        at_ms: u64,
    },
    /// A finding of an audit.
    Finding {
        /// Rule and document.
        what: String,
    },
}

impl Event {
    /// What of a record is worth an event; `None` for a request that was simply served.
    pub fn of(record: &RequestRecord) -> Option<Self> {
        let is_fault = !record.faults.is_empty()
            || record.refusal.as_ref().is_some_and(|refusal| matches!(refusal.why, Why::Faulted { .. }));
        let reason = record.refusal.as_ref().map(|refusal| refusal.reason());
        if reason.is_none() && !is_fault {
            return None;
        }
        Some(Event::Request {
            reason,
            is_fault,
            client: record.client,
            consumer: record.consumer.clone(),
            route: record.route.clone(),
        })
    }

    /// What of a process's event is worth an alert. Findings of an audit are not here: they are so until they are mended,
    /// and whoever asks for what stands gets them.
    pub fn of_process(event: &ProcessEvent) -> Option<Self> {
        match event {
            ProcessEvent::ReloadFailed { .. } => Some(Event::FailedReload),
            ProcessEvent::RolloutStopped { rollout, candidate, became, .. } => {
                Some(Event::RolloutStopped { what: format!("rollout {rollout} of {candidate}: {became}") })
            }
            _ => None,
        }
    }

    /// Whether it is so for a while, and is told again and again by whoever looks.
    pub(super) const fn is_standing(&self) -> bool {
        matches!(self, Event::Ends { .. } | Event::Finding { .. } | Event::Unhanded { .. })
    }

    /// Whether a rule counts it, and in which group.
    pub(super) fn group(&self, rule: &AlertRulePlan, now_unix_ms: u64) -> Option<String> {
        match (self, rule.signal) {
            (Event::Request { reason, is_fault, .. }, signal) => {
                let counts = match signal {
                    AlertSignal::FailedLogins => reason.is_some_and(is_login),
                    AlertSignal::Refusals if rule.reasons.is_empty() => {
                        reason.is_some_and(|reason| !is_login(reason))
                    }
                    AlertSignal::Refusals => reason.is_some_and(|reason| rule.reasons.contains(&reason)),
                    AlertSignal::Faults => *is_fault,
                    _ => false,
                };
                counts.then(|| self.of_request(rule.group_by))
            }
            (Event::FailedReload, AlertSignal::FailedReload) => Some(String::new()),
            (Event::Ends { what, at_ms }, AlertSignal::Expiry) => {
                let before = u64::try_from(rule.before.as_millis()).unwrap_or(u64::MAX);
                (at_ms.saturating_sub(now_unix_ms) <= before).then(|| what.clone())
            }
            (Event::Finding { what }, AlertSignal::AuditFinding)
            | (Event::RolloutStopped { what }, AlertSignal::RolloutStopped)
            | (Event::Unhanded { what }, AlertSignal::KeyHandover) => Some(what.clone()),
            _ => None,
        }
    }

    fn of_request(&self, group: AlertGroup) -> String {
        let Event::Request { client, consumer, route, .. } = self else { return String::new() };
        let name = |name: &Option<Arc<str>>| name.as_deref().unwrap_or("none").to_owned();
        match group {
            AlertGroup::Nothing => String::new(),
            AlertGroup::Consumer => name(consumer),
            AlertGroup::Route => name(route),
            AlertGroup::Address => match client {
                IpAddr::V4(_) => client.to_string(),
                IpAddr::V6(address) => {
                    let [a, b, c, d, ..] = address.segments();
                    format!("{}/64", Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
                }
            },
        }
    }
}

/// A credential that does not hold, or a caller who failed with too many.
const fn is_login(reason: Reason) -> bool {
    matches!(reason, Reason::CredentialInvalid | Reason::CredentialExpired | Reason::TooManyFailures)
}
