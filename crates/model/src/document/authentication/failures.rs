//! How often callers may fail to identify.

use crate::{
    read::Spanned,
    scalar::{Count, Time},
};

crate::document! {
    /// How often callers may fail to identify before they must wait. Each list is a ladder: a short window lets a typing
    /// error pass, a long one makes the delay grow.
    pub struct Failures: Default {
        /// Whether failures are counted at all.
        pub enabled: bool = true,
        /// From one IPv4 address or IPv6 /64.
        pub per_address: Vec<Spanned<FailureRateSpec>> = ladder(&[(10, MINUTE), (60, HOUR), (300, DAY)]),
        /// From one IPv4 /24 or IPv6 /48.
        pub per_prefix: Vec<Spanned<FailureRateSpec>> = ladder(&[(100, MINUTE), (600, HOUR), (3_000, DAY)]),
        /// For one account (a key's id, a user's name) from one IPv4 address or IPv6 /64.
        pub per_account: Vec<Spanned<FailureRateSpec>> = ladder(&[(5, MINUTE), (20, HOUR), (60, DAY)]),
        /// For one account from everywhere. Beyond it, addresses that failed for it get one attempt at a time; an address
        /// that did not fail is never held by it.
        pub account: Spanned<FailureRateSpec> = rate(50, HOUR).into(),
        /// On one route from everywhere. Beyond it, addresses that failed there get one attempt at a time.
        pub route: Spanned<FailureRateSpec> = rate(1_000, HOUR).into(),
    }
}

crate::document! {
    /// So many failures in so much time.
    pub struct FailureRateSpec {
        /// How many.
        pub failures: Count,
        /// The time that `failures` counts for.
        pub time_window: Spanned<Time>,
    }
}

const MINUTE: u64 = 60;
const HOUR: u64 = 3_600;
const DAY: u64 = 86_400;

fn rate(failures: u64, seconds: u64) -> FailureRateSpec {
    FailureRateSpec { failures: Count::of(failures), time_window: Time::seconds(seconds).into() }
}

fn ladder(rates: &[(u64, u64)]) -> Vec<Spanned<FailureRateSpec>> {
    rates.iter().map(|(failures, seconds)| rate(*failures, *seconds).into()).collect()
}
