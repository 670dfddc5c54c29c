//! Failed attempts to identify: who must wait before the next one is even looked at.
//!
//! Failures are counted per block of addresses, per wider prefix, per account *and* address, per account and per route,
//! on the same cells as every other limit. Layered rates make the delay grow: the first failures cost nothing, the
//! next ones seconds, then minutes. Nobody is put to sleep; a held caller is told how long, and that is all.
//!
//! An attack on an account must not lock its owner out. So the counters of a whole account and of a whole route never
//! hold anybody by themselves: once full, they make the gateway strict with those addresses that have failed there
//! already. An address without failures always gets its first attempt, and successes reset nothing.

use std::{
    num::NonZeroU64,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use bartizan_model::{Mode, OnFault};

use crate::{
    cell::Answer,
    cells::Cells,
    clock::Nanos,
    gcra::{Bucket, NOW_MAX},
    policy::{Action, Bite, Gauge, KeyPart, Limit, Measure, OnAbsent, Policy, Terms},
    reserve::{cell_key, fresh},
};

/// So many failures in so much time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FailureRate {
    /// How many at once and per window.
    pub failures: NonZeroU64,
    /// The window.
    pub window: Duration,
}

/// What a policy says of failures.
#[derive(Clone, Debug, PartialEq)]
pub struct FailureTerms {
    /// The policy's kind and name; part of the identity of its cells.
    pub label: Arc<str>,
    /// From one block of addresses.
    pub per_address: Vec<FailureRate>,
    /// From one wider prefix.
    pub per_prefix: Vec<FailureRate>,
    /// For one account from one block of addresses.
    pub per_account: Vec<FailureRate>,
    /// For one account from everywhere: beyond it, addresses that failed for it are held sooner.
    pub account: FailureRate,
    /// On one route from everywhere: beyond it, addresses that failed there are held sooner.
    pub route: FailureRate,
}

/// The compiled form of [`FailureTerms`].
#[derive(Clone, Debug)]
pub struct FailurePolicy {
    terms: FailureTerms,
    address: Policy,
    prefix: Policy,
    account_at_address: Policy,
    account: Policy,
    route: Policy,
}

/// An attempt: from where, for whom, on what.
#[derive(Clone, Copy, Debug)]
pub struct Attempt<'a> {
    /// The client's block of addresses.
    pub address: u128,
    /// The wider prefix around it.
    pub prefix: u128,
    /// What the credential claims to be for: a key's public id, a user's name.
    pub account: Option<&'a [u8]>,
    /// The route.
    pub route: &'a str,
}

/// What a caller is held by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HeldBy {
    /// Its block of addresses failed too often.
    Address,
    /// Its wider prefix failed too often.
    Prefix,
    /// Its block of addresses failed too often for this account.
    Account,
    /// The account is under attack, and this address took part.
    AccountUnderAttack,
    /// The route is under attack, and this address took part.
    RouteUnderAttack,
}

impl HeldBy {
    /// All of them.
    pub const ALL: &'static [HeldBy] = &[
        HeldBy::Address,
        HeldBy::Prefix,
        HeldBy::Account,
        HeldBy::AccountUnderAttack,
        HeldBy::RouteUnderAttack,
    ];

    /// The word in records and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            HeldBy::Address => "address",
            HeldBy::Prefix => "prefix",
            HeldBy::Account => "account",
            HeldBy::AccountUnderAttack => "account_under_attack",
            HeldBy::RouteUnderAttack => "route_under_attack",
        }
    }
}

/// A caller whose attempt is not looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// By what.
    pub by: HeldBy,
    /// When it may try again.
    pub retry_after: Duration,
}

impl FailurePolicy {
    /// Compiles the terms.
    pub fn new(terms: FailureTerms) -> Self {
        let of = |what: &str, rates: &[FailureRate]| counter(&terms.label, what, rates);
        FailurePolicy {
            address: of("address", &terms.per_address),
            prefix: of("prefix", &terms.per_prefix),
            account_at_address: of("account-at-address", &terms.per_account),
            account: of("account", &[terms.account]),
            route: of("route", &[terms.route]),
            terms,
        }
    }

    /// What it was compiled from.
    pub fn terms(&self) -> &FailureTerms {
        &self.terms
    }
}

fn counter(label: &str, what: &str, rates: &[FailureRate]) -> Policy {
    Policy::new(Terms {
        name: what.into(),
        label: format!("{label}#failures/{what}").into(),
        mode: Mode::Enforce,
        enforce_percent: 100,
        on_fault: OnFault::Deny,
        key: vec![KeyPart::Gateway],
        on_absent: OnAbsent::Deny,
        limits: rates
            .iter()
            .map(|rate| Limit::Rate { requests: rate.failures, window: rate.window, burst: rate.failures })
            .collect(),
        action: Action::Reject,
        legacy_headers: false,
    })
}

/// The counters of one policy that an attempt meets.
struct Counters<'p> {
    address: Counter<'p>,
    prefix: Counter<'p>,
    /// At this address, and everywhere.
    account: Option<(Counter<'p>, Counter<'p>)>,
    route: Counter<'p>,
}

/// A counter: its rate and whose it is.
type Counter<'p> = (&'p Policy, u128);

impl Cells {
    /// Whether an attempt must wait before it is looked at. Takes nothing: only failures count.
    pub fn held(&self, policy: &FailurePolicy, attempt: &Attempt<'_>, now: Nanos) -> Option<Held> {
        let now = now.0.min(NOW_MAX);
        // Nobody has failed for long enough that any counter could still hold: the way of nearly every request.
        if self.failing_until.load(Relaxed) < now {
            return None;
        }
        let counters = self.counters(policy, attempt);
        let held =
            |by, retry: Option<u64>| retry.map(|nanos| Held { by, retry_after: Duration::from_nanos(nanos) });
        let direct = held(HeldBy::Prefix, self.full(counters.prefix, now, 1))
            .or_else(|| held(HeldBy::Address, self.full(counters.address, now, 1)));
        if direct.is_some() || !self.has_failed(counters.address, now) {
            return direct;
        }
        if let Some((here, everywhere)) = counters.account {
            if let Some(retry) = self.full(here, now, 1) {
                return held(HeldBy::Account, Some(retry));
            }
            if self.full(everywhere, now, 1).is_some()
                && let Some(retry) = self.nearly_empty(here, now)
            {
                return held(HeldBy::AccountUnderAttack, Some(retry));
            }
        }
        if self.full(counters.route, now, 1).is_some() {
            return held(HeldBy::RouteUnderAttack, self.nearly_empty(counters.address, now));
        }
        None
    }

    /// Counts a failed attempt. Says which counters it filled, so that each time one fills is told once.
    pub fn note_failure(&self, policy: &FailurePolicy, attempt: &Attempt<'_>, now: Nanos) -> Vec<HeldBy> {
        let now = now.0.min(NOW_MAX);
        let counters = self.counters(policy, attempt);
        let mut filled = Vec::new();
        let mut count = |counter, by| {
            if self.count(counter, now) {
                filled.push(by);
            }
        };
        count(counters.address, HeldBy::Address);
        count(counters.prefix, HeldBy::Prefix);
        if let Some((here, everywhere)) = counters.account {
            count(here, HeldBy::Account);
            count(everywhere, HeldBy::AccountUnderAttack);
        }
        count(counters.route, HeldBy::RouteUnderAttack);
        filled
    }

    fn counters<'p>(&self, policy: &'p FailurePolicy, attempt: &Attempt<'_>) -> Counters<'p> {
        let key =
            |counter: &'p Policy, parts: &[&[u8]]| (counter, self.hasher.key_of_parts(&counter.label, parts));
        let (address, prefix) = (attempt.address.to_be_bytes(), attempt.prefix.to_be_bytes());
        Counters {
            address: key(&policy.address, &[&address]),
            prefix: key(&policy.prefix, &[&prefix]),
            account: attempt.account.map(|account| {
                (key(&policy.account_at_address, &[account, &address]), key(&policy.account, &[account]))
            }),
            route: key(&policy.route, &[attempt.route.as_bytes()]),
        }
    }

    /// The longest time until `cost` further failures fit, if they do not fit now.
    fn full(&self, (policy, key): (&Policy, u128), now: u64, cost: u64) -> Option<u64> {
        rates(policy).filter_map(|(gauge, bucket, _)| self.retry(key, gauge, &bucket, now, cost)).max()
    }

    /// As [`Cells::full`], for an address that is given only one further failure, whatever its rates say.
    fn nearly_empty(&self, (policy, key): (&Policy, u128), now: u64) -> Option<u64> {
        let strict = |quota: u64| quota.saturating_sub(1).max(1);
        rates(policy)
            .filter_map(|(gauge, bucket, quota)| self.retry(key, gauge, &bucket, now, strict(quota)))
            .max()
    }

    fn retry(&self, key: u128, gauge: &Gauge, bucket: &Bucket, now: u64, cost: u64) -> Option<u64> {
        let cell = self.table.find(cell_key(key, gauge, Bite::Enforce))?;
        match cell.look(bucket, now, cost) {
            Answer::Refused { retry, .. } => Some(retry),
            // A sealed cell is one that means the same as none.
            _ => None,
        }
    }

    fn has_failed(&self, (policy, key): (&Policy, u128), now: u64) -> bool {
        rates(policy).any(|(gauge, _, _)| {
            self.table.find(cell_key(key, gauge, Bite::Enforce)).is_some_and(|cell| cell.word() > now)
        })
    }

    /// Counts one failure in all rates of a counter; says whether it filled one.
    fn count(&self, (policy, key): (&Policy, u128), now: u64) -> bool {
        let mut filled = false;
        for (gauge, bucket, _) in rates(policy) {
            let at = cell_key(key, gauge, Bite::Enforce);
            loop {
                let Some(cell) = self.table.find_or_begin(at, now, || fresh(gauge)) else {
                    // No room: who is counted nowhere is not held, but the credential itself still has to hold.
                    self.overflowed.fetch_add(1, Relaxed);
                    break;
                };
                match cell.take(&bucket, now, 1, false) {
                    Answer::Sealed => continue,
                    Answer::Taken { word, .. } => {
                        self.failing_until.fetch_max(word, Relaxed);
                        filled |= matches!(cell.look(&bucket, now, 1), Answer::Refused { .. });
                    }
                    // Attempts that were under way together: the counter is full already.
                    _ => {}
                }
                break;
            }
        }
        filled
    }
}

fn rates(policy: &Policy) -> impl Iterator<Item = (&Gauge, Bucket, u64)> {
    policy.gauges().iter().zip(&policy.limits).filter_map(|(gauge, limit)| match gauge.measure {
        Measure::Rate(bucket) => Some((gauge, bucket, limit.quota())),
        Measure::Permits(_) => None,
    })
}
