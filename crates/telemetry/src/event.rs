//! What happened to the process and not to a request: findings of an audit, a rollout that stopped, a failed reload.
//!
//! Few, and each one for a person. Whoever wants to pass them on (alerts, notices) follows the hub; the process's log has
//! them anyway. A follower that does not keep up loses the newest ones, counted, and holds nobody up.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
    mpsc::{Receiver, SyncSender, sync_channel},
};

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProcessEvent {
    /// An audit of what is in force found something that it had not found before.
    AuditFinding {
        /// The rule's id, `BA-101`.
        rule: &'static str,
        /// `low`, `medium` or `high`.
        gravity: &'static str,
        /// The document, as `Kind/name`; empty for what is of none.
        document: Arc<str>,
        /// What is so.
        message: Arc<str>,
        /// The set in force.
        revision: Arc<str>,
    },
    /// Changed documents, or what they refer to, were refused; the set in force stays.
    ReloadFailed {
        /// The revision, `r7-0a1b2c3d4e5f`; empty where the documents are files.
        revision: Arc<str>,
    },
    /// A rollout paused or was rolled back by itself.
    RolloutStopped {
        /// The rollout's number.
        rollout: u64,
        /// The candidate, `r7-0a1b2c3d4e5f`.
        candidate: Arc<str>,
        /// `paused` or `rolled back`.
        became: &'static str,
        /// Which guard tripped, and what it saw.
        why: Arc<str>,
    },
}

impl ProcessEvent {
    /// The stable words of its kind: `audit finding`, `reload failed`, `rollout stopped`.
    pub const fn name(&self) -> &'static str {
        match self {
            ProcessEvent::AuditFinding { .. } => "audit finding",
            ProcessEvent::ReloadFailed { .. } => "reload failed",
            ProcessEvent::RolloutStopped { .. } => "rollout stopped",
        }
    }
}

/// Where events are told and followed; a cheap handle, to be cloned.
#[derive(Clone, Debug, Default)]
pub struct ProcessEvents(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    followers: Mutex<Vec<SyncSender<ProcessEvent>>>,
    lost: AtomicU64,
}

impl ProcessEvents {
    /// Tells everybody who follows. Never waits.
    pub fn tell(&self, event: &ProcessEvent) {
        let mut followers = self.0.followers.lock().unwrap_or_else(PoisonError::into_inner);
        followers.retain(|follower| match follower.try_send(event.clone()) {
            Ok(()) => true,
            Err(std::sync::mpsc::TrySendError::Full(_)) => {
                self.0.lost.fetch_add(1, Ordering::Relaxed);
                true
            }
            Err(std::sync::mpsc::TrySendError::Disconnected(_)) => false,
        });
    }

    /// Everything that is told from now on.
    pub fn follow(&self) -> Receiver<ProcessEvent> {
        let (sender, receiver) = sync_channel(WAITING_MAX);
        self.0.followers.lock().unwrap_or_else(PoisonError::into_inner).push(sender);
        receiver
    }

    /// How many did not reach a follower that was too slow.
    pub fn lost(&self) -> u64 {
        self.0.lost.load(Ordering::Relaxed)
    }
}

/// An audit of a large set that was never looked at finds hundreds of things at once.
const WAITING_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn followers_get_what_is_told_later_and_a_slow_one_loses_the_newest() {
        let events = ProcessEvents::default();
        let event = |number| ProcessEvent::RolloutStopped {
            rollout: number,
            candidate: "r2".into(),
            became: "paused",
            why: "more refusals".into(),
        };
        events.tell(&event(0));
        let (slow, gone) = (events.follow(), events.follow());
        drop(gone);
        for number in 1..=WAITING_MAX as u64 + 3 {
            events.tell(&event(number));
        }
        assert_eq!(events.lost(), 3);
        let got: Vec<ProcessEvent> = slow.try_iter().collect();
        assert_eq!(
            (got.len(), got.first(), got.last()),
            (WAITING_MAX, Some(&event(1)), Some(&event(WAITING_MAX as u64)))
        );
        assert_eq!(event(1).name(), "rollout stopped");
    }
}
