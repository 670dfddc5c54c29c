//! What every test of the judge needs: a policy in one line, a judge with one cache, a short name for an outcome.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail")]

use std::{
    hash::RandomState,
    num::{NonZeroU32, NonZeroU64},
    time::Duration,
};

use bartizan_limit::{
    Action, Ask, Bite, CellCache, Cells, Decision, Key, KeyFacts, KeyPart, Limit, Nanos, OnAbsent, Policy,
    Terms, Verdict,
};
use bartizan_model::{Mode, OnFault};

pub const SECOND: u64 = 1_000_000_000;
pub const MINUTE: Duration = Duration::from_secs(60);
/// Tests begin well after zero, as in a process that has been up for a while.
pub const START: Nanos = Nanos(1_000 * SECOND);

pub fn rate(requests: u64, window: Duration, burst: u64) -> Limit {
    let (requests, burst) = (NonZeroU64::new(requests).unwrap(), NonZeroU64::new(burst).unwrap());
    Limit::Rate { requests, window, burst }
}

pub fn concurrency(requests: u32) -> Limit {
    Limit::Concurrency { requests: NonZeroU32::new(requests).unwrap() }
}

pub fn throttle(max_retry: u32) -> Action {
    Action::Throttle { max_retry, max_wait: Duration::from_secs(30) }
}

pub fn terms(name: &str, limits: &[Limit], action: Action) -> Terms {
    Terms {
        name: name.into(),
        label: format!("RateLimitPolicy/{name}").into(),
        mode: Mode::Enforce,
        enforce_percent: 100,
        on_fault: OnFault::Deny,
        key: vec![KeyPart::Consumer],
        on_absent: OnAbsent::ClientAddress,
        limits: limits.to_vec(),
        action,
        legacy_headers: false,
    }
}

pub fn policy(name: &str, limits: &[Limit], action: Action) -> Policy {
    Policy::new(terms(name, limits, action))
}

/// A judge with the cache of one core.
pub struct Judge {
    pub cells: Cells,
    pub cache: CellCache,
}

impl Judge {
    pub fn new(cells_max: usize) -> Self {
        let cells = Cells::new(cells_max, [RandomState::new(), RandomState::new()]);
        Judge { cells, cache: CellCache::new(64) }
    }

    pub fn key(&self, policy: &Policy, consumer: &str) -> u128 {
        key(&self.cells, policy, consumer)
    }

    /// One consumer calls under policies that are all enforced.
    pub fn call(&mut self, now: Nanos, consumer: &str, policies: &[&Policy]) -> Verdict {
        let asks: Vec<_> = policies.iter().map(|policy| (*policy, Bite::Enforce)).collect();
        self.ask(now, consumer, &asks)
    }

    pub fn ask(&mut self, now: Nanos, consumer: &str, policies: &[(&Policy, Bite)]) -> Verdict {
        let asks: Vec<_> = policies
            .iter()
            .map(|&(policy, bite)| Ask {
                policy,
                key: self.key(policy, consumer),
                bite,
                cost: 1,
                tokens: None,
            })
            .collect();
        self.cells.reserve(&mut self.cache, now, &asks)
    }
}

pub fn key(cells: &Cells, policy: &Policy, consumer: &str) -> u128 {
    let facts =
        KeyFacts { route: "orders", consumer: Some(consumer), team: None, client: 1, header: &|_, _| {} };
    match cells.key_of(policy, &facts) {
        Key::Of(key) => key,
        other => panic!("{other:?}"),
    }
}

/// An outcome as text, dropping what it holds: `go`, `wait <ns>`, `no <ns>`.
pub fn outcome(now: Nanos, verdict: Verdict) -> String {
    match verdict.decision {
        Decision::Admit(_) => "go".to_owned(),
        Decision::Wait { until, .. } => format!("wait {}", until.since(now).as_nanos()),
        Decision::Refuse(refusal) => format!("no {}", refusal.retry_after.as_nanos()),
    }
}

pub fn is_admitted(verdict: &Verdict) -> bool {
    matches!(verdict.decision, Decision::Admit(_))
}

/// The wait of a verdict that says wait.
pub fn wait_of(now: Nanos, verdict: &Verdict) -> Option<Duration> {
    match &verdict.decision {
        Decision::Wait { until, .. } => Some(until.since(now)),
        _ => None,
    }
}

pub fn refusal_of(verdict: &Verdict) -> Option<bartizan_limit::Refusal> {
    match &verdict.decision {
        Decision::Refuse(refusal) => Some(*refusal),
        _ => None,
    }
}
