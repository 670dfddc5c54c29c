//! A compiled rate-limit policy: what a document asks for, ready to be judged.
//!
//! [`Terms`] are what the compiler fills in; [`Policy::new`] adds what is worth computing once (intervals, cell tags,
//! header text) and makes the whole immutable. A limit's cell does not depend on its rate, only on its unit and on its
//! place among the limits of that unit ordered by window, so that changing a number or reordering a list in a
//! document keeps the state.

use std::{
    num::{NonZeroU32, NonZeroU64},
    ops::Deref,
    sync::Arc,
    time::Duration,
};

use bartizan_model::{Mode, OnFault};

use crate::{gcra::Bucket, header};

/// What a policy says, as compiled from its document.
#[derive(Clone, Debug)]
pub struct Terms {
    /// The policy's name, for example `orders-per-consumer`; callers see it in `RateLimit`.
    pub name: Arc<str>,
    /// Kind and name, for example `RateLimitPolicy/orders-per-consumer`, for records and metrics; part of the identity
    /// of the policy's cells.
    pub label: Arc<str>,
    /// Whether the policy bites.
    pub mode: Mode,
    /// The share of callers (0 to 100) for whom an enforced policy is enforced; it shadows the others.
    pub enforce_percent: u8,
    /// What happens when the judge cannot decide. Local cells always can; a shared store may not.
    pub on_fault: OnFault,
    /// Whose calls are counted together. Empty means the same as `[Gateway]`.
    pub key: Vec<KeyPart>,
    /// What happens to a call that lacks a part of the key.
    pub on_absent: OnAbsent,
    /// The limits, all of which must admit a call.
    pub limits: Vec<Limit>,
    /// What happens to a call beyond a rate.
    pub action: Action,
    /// Whether answers also carry `X-RateLimit-*`.
    pub legacy_headers: bool,
}

/// One part of a policy's key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum KeyPart {
    /// The block of addresses the client belongs to.
    ClientAddress,
    /// The verified consumer.
    Consumer,
    /// Everybody together.
    Gateway,
    /// All values of a request header, by lower-case name.
    Header(Arc<str>),
    /// The route that matched.
    Route,
    /// The consumer's team.
    Team,
}

/// What stands for a part of the key that a call does not have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum OnAbsent {
    /// The client's address takes its place.
    #[default]
    ClientAddress,
    /// The call is refused.
    Deny,
    /// The policy does not apply to the call.
    Skip,
}

/// What a limit counts. Money is counted by quotas only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Unit {
    /// Calls over time.
    Requests,
    /// Calls at the same time.
    Concurrency,
    /// Tokens of models over time.
    Tokens,
}

impl Unit {
    /// The unit's word in documents and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Unit::Requests => "requests",
            Unit::Concurrency => "concurrency",
            Unit::Tokens => "tokens",
        }
    }
}

/// One limit of a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Limit {
    /// Calls over time.
    Rate {
        /// How many calls a window admits in the long run.
        requests: NonZeroU64,
        /// The window.
        window: Duration,
        /// How many calls may come at once after a pause.
        burst: NonZeroU64,
    },
    /// Calls at the same time.
    Concurrency {
        /// How many.
        requests: NonZeroU32,
    },
    /// Tokens of models over time.
    Tokens {
        /// How many a window admits in the long run.
        tokens: NonZeroU64,
        /// The window.
        window: Duration,
        /// How many may be used at once after a pause.
        burst: NonZeroU64,
    },
}

impl Limit {
    /// What the limit counts.
    pub const fn unit(&self) -> Unit {
        match self {
            Limit::Rate { .. } => Unit::Requests,
            Limit::Concurrency { .. } => Unit::Concurrency,
            Limit::Tokens { .. } => Unit::Tokens,
        }
    }

    /// The limit's number, as answers state it (`q`).
    pub const fn quota(&self) -> u64 {
        match *self {
            Limit::Rate { requests, .. } => requests.get(),
            Limit::Concurrency { requests } => requests.get() as u64,
            Limit::Tokens { tokens, .. } => tokens.get(),
        }
    }

    /// The limit's window in whole seconds, rounded up and at least one, as answers state it (`w`).
    pub fn window_seconds(&self) -> Option<u64> {
        match *self {
            Limit::Rate { window, .. } | Limit::Tokens { window, .. } => Some(header::seconds(window).max(1)),
            Limit::Concurrency { .. } => None,
        }
    }
}

/// What happens to a call beyond a rate. A call beyond a concurrency is always refused: nobody knows when a place
/// will be free.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// It is refused.
    Reject,
    /// It waits for its own slot.
    Throttle {
        /// It may take one of the next so many slots; 0 is the same as [`Action::Reject`].
        max_retry: u32,
        /// It never waits longer than this.
        max_wait: Duration,
    },
}

/// How a policy bears on one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Bite {
    /// Its decision is carried out.
    Enforce,
    /// It judges against its own state and only the record knows.
    Shadow,
    /// It is not looked at.
    Off,
}

/// A compiled policy. It reads as its [`Terms`].
#[derive(Clone, Debug)]
pub struct Policy {
    terms: Terms,
    gauges: Vec<Gauge>,
    stated: String,
}

impl Policy {
    /// Compiles the terms.
    pub fn new(terms: Terms) -> Self {
        let gauges = gauges(&terms);
        let stated = header::policy_items(&terms, &gauges);
        Policy { terms, gauges, stated }
    }

    /// How the policy bears on a caller, given a hash that stays the same for that caller.
    pub fn bite(&self, caller_hash: u64) -> Bite {
        match self.terms.mode {
            Mode::Enforce if share(caller_hash) < self.terms.enforce_percent => Bite::Enforce,
            Mode::Enforce | Mode::Shadow => Bite::Shadow,
            Mode::Off => Bite::Off,
        }
    }

    /// The policy's items of the `RateLimit-Policy` field, for example `"name";q=100;w=60`.
    pub fn stated(&self) -> &str {
        &self.stated
    }

    /// Whether one of its limits counts this.
    pub fn counts(&self, unit: Unit) -> bool {
        self.terms.limits.iter().any(|limit| limit.unit() == unit)
    }

    pub(crate) fn gauges(&self) -> &[Gauge] {
        &self.gauges
    }
}

impl Deref for Policy {
    type Target = Terms;

    fn deref(&self) -> &Terms {
        &self.terms
    }
}

/// The share (0 to 99) that a caller falls into. A caller below `enforcePercent` is enforced, so that raising the
/// percentage only ever adds callers.
pub fn share(caller_hash: u64) -> u8 {
    // The product of a 64-bit number and 100, without its low 64 bits, is below 100.
    ((u128::from(caller_hash) * 100) >> 64) as u8
}

/// One limit, ready to be judged.
#[derive(Clone, Debug)]
pub(crate) struct Gauge {
    /// Tells the limit's cell from those of the policy's other limits.
    pub(crate) tag: u32,
    /// How to judge.
    pub(crate) measure: Measure,
    /// What is counted.
    pub(crate) unit: Unit,
    /// The limit's name in the `RateLimit` field, already quoted.
    pub(crate) name: Box<str>,
}

/// How a limit is judged.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Measure {
    Rate(Bucket),
    Permits(u64),
}

fn gauges(terms: &Terms) -> Vec<Gauge> {
    let mut order: Vec<usize> = (0..terms.limits.len()).collect();
    order.sort_by_key(|&index| terms.limits.get(index).map(window_of));
    terms
        .limits
        .iter()
        .enumerate()
        .map(|(index, limit)| {
            let same_unit = |&&other: &&usize| terms.limits.get(other).map(Limit::unit) == Some(limit.unit());
            let rank = order.iter().filter(same_unit).position(|&other| other == index).unwrap_or(index);
            Gauge {
                unit: limit.unit(),
                tag: ((rank as u32) << 8) | limit.unit() as u32,
                measure: match *limit {
                    Limit::Rate { requests, window, burst } => {
                        Measure::Rate(Bucket::new(requests, window, burst, terms.action))
                    }
                    Limit::Tokens { tokens, window, burst } => {
                        Measure::Rate(Bucket::new(tokens, window, burst, terms.action))
                    }
                    Limit::Concurrency { requests } => Measure::Permits(u64::from(requests.get())),
                },
                name: header::item_name(&terms.name, index, terms.limits.len()),
            }
        })
        .collect()
}

fn window_of(limit: &Limit) -> Duration {
    match *limit {
        Limit::Rate { window, .. } | Limit::Tokens { window, .. } => window,
        Limit::Concurrency { .. } => Duration::ZERO,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(mode: Mode, enforce_percent: u8) -> Policy {
        Policy::new(Terms {
            name: "p".into(),
            label: "RateLimitPolicy/p".into(),
            mode,
            enforce_percent,
            on_fault: OnFault::Deny,
            key: vec![KeyPart::Gateway],
            on_absent: OnAbsent::Deny,
            limits: Vec::new(),
            action: Action::Reject,
            legacy_headers: false,
        })
    }

    #[test]
    fn a_share_is_below_a_hundred_and_even() {
        assert_eq!((share(0), share(u64::MAX)), (0, 99));
        let mut counts = [0_u32; 100];
        for number in 0..100_000_u64 {
            counts[usize::from(share(number.wrapping_mul(0x9E37_79B9_7F4A_7C15)))] += 1;
        }
        assert!(counts.iter().all(|count| (900..1100).contains(count)), "{counts:?}");
    }

    #[test]
    fn a_policy_bites_callers_below_its_percentage_and_shadows_the_others() {
        let third = u64::MAX / 100 * 33;
        let table = [
            (Mode::Enforce, 100, u64::MAX, Bite::Enforce),
            (Mode::Enforce, 0, 0, Bite::Shadow),
            (Mode::Enforce, 32, third, Bite::Shadow),
            (Mode::Enforce, 34, third, Bite::Enforce),
            (Mode::Shadow, 100, 0, Bite::Shadow),
            (Mode::Off, 100, 0, Bite::Off),
        ];
        for (mode, percent, hash, bite) in table {
            assert_eq!(policy(mode, percent).bite(hash), bite, "{mode:?} {percent}");
        }
    }

    #[test]
    fn raising_the_percentage_only_adds_callers() {
        for number in 0..1000_u64 {
            let hash = number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
            let enforced = |percent| policy(Mode::Enforce, percent).bite(hash) == Bite::Enforce;
            assert!((0..100).all(|percent| !enforced(percent) || enforced(percent + 1)));
        }
    }
}
