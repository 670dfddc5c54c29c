//! Counting in a sliding window, per policy, rule and group. Pure: time is an argument.
//!
//! Sixty slices a window: exact to a sixtieth of it, and of one size however much happens. Groups are bounded; what comes
//! beyond shares one, so that a flood of addresses costs neither memory nor silence.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use bartizan_config::snapshot::AlertPlan;

use super::event::Event;

/// Something that is so now.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Raised {
    pub(super) policy: Arc<AlertPlan>,
    pub(super) rule: usize,
    pub(super) group: String,
    pub(super) count: u64,
}

/// What was counted.
#[derive(Default)]
pub(super) struct Windows {
    policies: Vec<Arc<AlertPlan>>,
    counts: HashMap<(usize, usize, String), Slices>,
}

#[derive(Default)]
struct Slices {
    /// The number of a slice since 1970, and how many it holds.
    slices: VecDeque<(u64, u64)>,
    /// When it was last said to be too much.
    said_ms: Option<u64>,
}

impl Windows {
    /// Counts by these policies from now on; the counts of rules that stay as they are stay too.
    pub(super) fn use_policies(&mut self, policies: &[Arc<AlertPlan>]) {
        if self.policies != policies {
            self.policies = policies.to_vec();
            self.counts.clear();
        }
    }

    /// Counts an event; gives what is too much by it and was not said just now.
    pub(super) fn note(&mut self, event: &Event, now_ms: u64) -> Vec<Raised> {
        let mut raised = Vec::new();
        for (at, policy) in self.policies.iter().enumerate() {
            for (rule, plan) in policy.rules.iter().enumerate() {
                let Some(mut group) = event.group(plan, now_ms) else { continue };
                let groups_full = self.counts.len() >= GROUPS_MAX;
                if groups_full && !self.counts.contains_key(&(at, rule, group.clone())) {
                    group = OTHERS.to_owned();
                }
                let slice_ms = (u64::try_from(plan.window.as_millis()).unwrap_or(u64::MAX) / SLICES).max(1);
                let counted = self.counts.entry((at, rule, group.clone())).or_default();
                let count = counted.add(now_ms / slice_ms);
                let again_ms = if event.is_standing() { standing_again_ms(policy) } else { SAID_AGAIN_MS };
                let is_said = counted.said_ms.is_some_and(|said| now_ms.saturating_sub(said) < again_ms);
                if count >= plan.count && !is_said {
                    counted.said_ms = Some(now_ms);
                    raised.push(Raised { policy: Arc::clone(policy), rule, group, count });
                }
            }
        }
        raised
    }

    /// Forgets groups in which nothing happened for long.
    pub(super) fn tidy(&mut self, now_ms: u64) {
        let policies = &self.policies;
        self.counts.retain(|(at, rule, _), counted| {
            let window = policies.get(*at).and_then(|policy| policy.rules.get(*rule)).map(|rule| rule.window);
            let Some(window) = window else { return false };
            let window_ms = u64::try_from(window.as_millis()).unwrap_or(u64::MAX);
            let last = counted.slices.back().map_or(0, |(slice, _)| *slice);
            now_ms.saturating_sub(last.saturating_mul((window_ms / SLICES).max(1))) <= window_ms
        });
    }
}

impl Slices {
    /// One more in this slice; how many in the window that ends with it.
    fn add(&mut self, slice: u64) -> u64 {
        match self.slices.back_mut() {
            Some((last, count)) if *last == slice => *count += 1,
            _ => self.slices.push_back((slice, 1)),
        }
        while self.slices.front().is_some_and(|(first, _)| slice.saturating_sub(*first) >= SLICES) {
            self.slices.pop_front();
        }
        self.slices.iter().map(|(_, count)| count).sum()
    }
}

/// What stands is written down thrice within the time after which it would count as over, and no more often: a thousand
/// keys that end make a thousand rows.
fn standing_again_ms(policy: &AlertPlan) -> u64 {
    let recover_ms = u64::try_from(policy.recover_after.as_millis()).unwrap_or(u64::MAX);
    (recover_ms / 3).clamp(SAID_AGAIN_MS, STANDING_AGAIN_MAX_MS)
}

const SLICES: u64 = 60;
/// So soon at the latest after the end of a silence what goes on is told.
const STANDING_AGAIN_MAX_MS: u64 = 60_000;
/// Some 2 MB of counts; whoever comes from more addresses is one matter.
const GROUPS_MAX: usize = 10_000;
const OTHERS: &str = "others";
/// What goes on is written down once a second, not once a request.
const SAID_AGAIN_MS: u64 = 1_000;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bartizan_config::snapshot::AlertRulePlan;
    use bartizan_model::{
        Reason,
        document::alert_policy::{AlertGroup, AlertSignal},
    };
    use bartizan_telemetry::ProcessEvent;

    use super::*;

    fn policy(count: u64, group_by: AlertGroup) -> Arc<AlertPlan> {
        Arc::new(AlertPlan {
            name: "ops".into(),
            rules: vec![AlertRulePlan {
                signal: AlertSignal::FailedLogins,
                count,
                window: Duration::from_secs(60),
                group_by,
                reasons: Vec::new(),
                before: Duration::ZERO,
            }],
            channels: Vec::new(),
            repeat_after: Duration::from_secs(60),
            recover_after: Duration::from_secs(60),
        })
    }

    fn failed(client: &str, reason: Reason) -> Event {
        Event::Request {
            reason: Some(reason),
            is_fault: false,
            client: client.parse().unwrap(),
            consumer: None,
            route: None,
        }
    }

    #[test]
    fn so_many_within_the_window_are_too_much_and_one_less_or_later_is_not() {
        let wrong = failed("192.0.2.1", Reason::CredentialInvalid);
        for (apart_ms, expected) in [(1_000, true), (29_000, true), (31_000, false)] {
            let mut windows = Windows::default();
            windows.use_policies(&[policy(3, AlertGroup::Nothing)]);
            assert!(windows.note(&wrong, 1_000_000).is_empty());
            assert!(windows.note(&wrong, 1_000_000 + apart_ms).is_empty());
            let raised = windows.note(&wrong, 1_000_000 + 2 * apart_ms);
            assert_eq!(!raised.is_empty(), expected, "{apart_ms}");
        }
    }

    #[test]
    fn what_stands_is_said_again_thrice_in_the_time_of_its_recovery() {
        let mut plan = AlertPlan::clone(&policy(1, AlertGroup::Nothing));
        plan.rules[0].signal = AlertSignal::KeyHandover;
        let mut windows = Windows::default();
        windows.use_policies(&[Arc::new(plan)]);
        let stands = Event::Unhanded { what: "API key A of shop".into() };
        let said: Vec<u64> = (0..60)
            .map(|second| second * 1_000)
            .filter(|at| !windows.note(&stands, *at).is_empty())
            .collect();
        assert_eq!(said, [0, 20_000, 40_000]);
    }

    #[test]
    fn what_happens_to_the_process_is_an_event_and_findings_come_from_what_stands() {
        let stopped = ProcessEvent::RolloutStopped {
            rollout: 3,
            candidate: "r7-0a1b2c3d4e5f".into(),
            became: "rolled back",
            why: "more refusals".into(),
        };
        let Some(event @ Event::RolloutStopped { .. }) = Event::of_process(&stopped) else { panic!() };
        let mut plan = AlertPlan::clone(&policy(1, AlertGroup::Nothing));
        plan.rules[0].signal = AlertSignal::RolloutStopped;
        let mut windows = Windows::default();
        windows.use_policies(&[Arc::new(plan.clone())]);
        assert_eq!(windows.note(&event, 0)[0].group, "rollout 3 of r7-0a1b2c3d4e5f: rolled back");
        plan.rules[0].signal = AlertSignal::FailedReload;
        windows.use_policies(&[Arc::new(plan)]);
        assert!(windows.note(&event, 0).is_empty());
        let failed = Event::of_process(&ProcessEvent::ReloadFailed { revision: "".into() }).unwrap();
        assert_eq!(windows.note(&failed, 0).len(), 1);
        let finding = ProcessEvent::AuditFinding {
            rule: "BA-101",
            gravity: "high",
            document: "Route/a".into(),
            message: "open".into(),
            revision: "r1".into(),
        };
        assert!(Event::of_process(&finding).is_none());
    }

    #[test]
    fn only_failed_credentials_count_and_groups_are_counted_apart() {
        let mut windows = Windows::default();
        windows.use_policies(&[policy(2, AlertGroup::Address)]);
        assert!(windows.note(&failed("192.0.2.1", Reason::CredentialInvalid), 0).is_empty());
        assert!(windows.note(&failed("192.0.2.2", Reason::CredentialInvalid), 0).is_empty());
        assert!(windows.note(&failed("192.0.2.1", Reason::NoRoute), 0).is_empty());
        let raised = windows.note(&failed("192.0.2.1", Reason::CredentialExpired), 0);
        assert_eq!((raised[0].group.as_str(), raised[0].count), ("192.0.2.1", 2));
        assert!(
            windows.note(&failed("192.0.2.1", Reason::CredentialInvalid), 500).is_empty(),
            "said already"
        );
        assert_eq!(windows.note(&failed("192.0.2.1", Reason::CredentialInvalid), 1_000).len(), 1);
    }

    #[test]
    fn a_flood_of_groups_is_bounded_and_still_told() {
        let mut windows = Windows::default();
        windows.use_policies(&[policy(2, AlertGroup::Address)]);
        let mut raised = Vec::new();
        for n in 0..GROUPS_MAX as u32 + 10 {
            let client = std::net::Ipv4Addr::from(0x0a00_0000 + n).to_string();
            raised.extend(windows.note(&failed(&client, Reason::CredentialInvalid), 0));
        }
        assert_eq!(raised.iter().map(|one| one.group.as_str()).collect::<Vec<_>>(), [OTHERS]);
        assert!(windows.counts.len() <= GROUPS_MAX + 1);
        windows.tidy(1_000_000);
        assert!(windows.counts.is_empty());
    }
}
