//! What is said about an alert.

use std::collections::BTreeMap;

use bartizan_config::snapshot::{AlertPlan, AlertRulePlan, Snapshot};
use bartizan_model::document::alert_policy::AlertSignal;
use bartizan_store::{AlertRow, NewNotice, Turn};

use crate::notice::message::{Message, Standing};

/// What is so, in a sentence.
pub(super) fn sentence(rule: &AlertRulePlan, group: &str, count: u64) -> String {
    let seconds = rule.window.as_secs();
    let of = if group.is_empty() { String::new() } else { format!(" of {group}") };
    match rule.signal {
        AlertSignal::FailedLogins => format!("{count} failed logins{of} within {seconds} s"),
        AlertSignal::Refusals => format!("{count} refused requests{of} within {seconds} s"),
        AlertSignal::Faults => {
            format!("{count} requests{of} that a judge could not decide within {seconds} s")
        }
        AlertSignal::FailedReload => "changed documents were refused; the set in force stays".to_owned(),
        AlertSignal::Expiry => format!("{group} ends or is due before long"),
        AlertSignal::KeyHandover => {
            format!("nobody has the successor of {group}: its link was not used, or its delivery failed")
        }
        AlertSignal::RolloutStopped => format!("{group}; `bartizan rollout status` tells why"),
        AlertSignal::AuditFinding => format!("an audit finds: {group}"),
    }
}

/// The notices of an alert, by each channel of its policy.
pub(super) fn notices(
    snapshot: &Snapshot,
    channels: &[std::sync::Arc<str>],
    row: &AlertRow,
    turn: Turn,
    now_unix_ms: u64,
) -> Vec<NewNotice> {
    let (standing, word) = match turn {
        Turn::Began => (Standing::Firing, "began"),
        Turn::GoesOn => (Standing::Firing, "goes on"),
        Turn::Over => (Standing::Resolved, "is over"),
    };
    let facts = BTreeMap::from([
        ("policy".to_owned(), row.policy.clone()),
        ("signal".to_owned(), row.signal.clone()),
        ("group".to_owned(), row.group.clone()),
        ("count".to_owned(), row.count.to_string()),
        ("startedAtMs".to_owned(), row.started_at_ms.to_string()),
    ]);
    let message = Message {
        event: "alert".to_owned(),
        standing,
        subject: format!("{} of {} {word}: {}", row.signal, row.policy, row.text),
        text: format!(
            "{}. AlertPolicy/{} tells this; `bartizan alerts list` shows what goes on.",
            row.text, row.policy
        ),
        facts,
        at_ms: now_unix_ms,
        recipient: String::new(),
    };
    // A repeat is another occasion; the same turn seen by two gateways is one.
    let occasion = match turn {
        Turn::GoesOn => format!("{} {} {word} {now_unix_ms}", row.id, row.round),
        Turn::Began | Turn::Over => format!("{} {} {word}", row.id, row.round),
    };
    let plans = channels.iter().filter_map(|name| snapshot.channels.get(name));
    plans
        .flat_map(|plan| plan.recipients().into_iter().map(|to| (plan.name.to_string(), to)))
        .map(|(channel, to)| message.notice(&channel, &to, &row.id, &occasion))
        .collect()
}

/// The channels of a policy; of one that is gone, none.
pub(super) fn channels<'p>(
    policies: &'p [std::sync::Arc<AlertPlan>],
    name: &str,
) -> &'p [std::sync::Arc<str>] {
    policies.iter().find(|policy| *policy.name == *name).map_or(&[], |policy| &policy.channels)
}
