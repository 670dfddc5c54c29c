//! What the caller is told: `RateLimit-Policy`, `RateLimit`, `X-RateLimit-*`, `Retry-After`.
//!
//! draft-ietf-httpapi-ratelimit-headers-11: both fields are structured lists (RFC 9651) of quoted policy names with
//! `q` (quota), `w` (window) and `r` (remaining), `t` (reset) as parameters. A policy's items are rendered once, when
//! it is compiled. Only policies that are enforced for the caller belong here: a caller does not notice a shadow.

use std::{fmt::Write, time::Duration};

use crate::{
    few::Few,
    policy::{Gauge, Policy, Terms},
    reserve::State,
};

/// RFC 9651 §3.3.1: an Integer has at most fifteen digits.
const INTEGER_MAX: u64 = 999_999_999_999_999;
/// Bytes of `;r=…;t=…` and a comma at their longest.
const STATE_BYTES: usize = 40;

/// Appends the value of `RateLimit-Policy` for the given policies.
pub fn write_policies<'a>(out: &mut String, policies: impl Iterator<Item = &'a Policy> + Clone) {
    out.reserve(policies.clone().map(|policy| policy.stated().len() + 2).sum());
    for policy in policies.filter(|policy| !policy.stated().is_empty()) {
        separate(out);
        out.push_str(policy.stated());
    }
}

/// Appends the value of `RateLimit` for the states of a decision; `policy` finds the policy of an ask by its index.
pub fn write_states<'a>(out: &mut String, states: &Few<State>, policy: impl Fn(usize) -> Option<&'a Policy>) {
    let items = || {
        states.iter().filter_map(|state| {
            let gauge: &'a Gauge = policy(state.ask)?.gauges().get(state.limit)?;
            Some((&gauge.name, state))
        })
    };
    out.reserve(items().map(|(name, _)| name.len() + STATE_BYTES).sum());
    for (name, state) in items() {
        separate(out);
        out.push_str(name);
        write_integer(out, ";r=", state.remaining);
        if let Some(reset) = state.reset_seconds {
            write_integer(out, ";t=", reset);
        }
    }
}

/// What `X-RateLimit-Limit`, `-Remaining` and `-Reset` (seconds from now) say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Legacy {
    /// `X-RateLimit-Limit`.
    pub limit: u64,
    /// `X-RateLimit-Remaining`.
    pub remaining: u64,
    /// `X-RateLimit-Reset`.
    pub reset_seconds: u64,
}

/// The legacy fields can name one limit only: the rate with the least left, then the one that takes longest to come
/// back, among policies that ask for these fields.
pub fn legacy<'a>(states: &Few<State>, policy: impl Fn(usize) -> Option<&'a Policy>) -> Option<Legacy> {
    states
        .iter()
        .filter(|state| policy(state.ask).is_some_and(|policy| policy.legacy_headers))
        .filter_map(|state| {
            let reset_seconds = state.reset_seconds?;
            Some(Legacy { limit: state.quota, remaining: state.remaining, reset_seconds })
        })
        .min_by_key(|legacy| (legacy.remaining, u64::MAX - legacy.reset_seconds))
}

/// The value of `Retry-After`: whole seconds, rounded up, at least one.
pub fn retry_after(duration: Duration) -> u64 {
    seconds(duration)
}

/// Whole seconds, rounded up, at least one.
pub(crate) fn seconds(duration: Duration) -> u64 {
    duration.as_secs().saturating_add(u64::from(duration.subsec_nanos() > 0)).max(1)
}

/// A policy's items of `RateLimit-Policy`.
pub(crate) fn policy_items(terms: &Terms, gauges: &[Gauge]) -> String {
    let mut out = String::new();
    for (limit, gauge) in terms.limits.iter().zip(gauges) {
        separate(&mut out);
        out.push_str(&gauge.name);
        write_integer(&mut out, ";q=", limit.quota());
        match limit.window_seconds() {
            Some(window) => write_integer(&mut out, ";w=", window),
            None => out.push_str(";qu=\"concurrent-requests\""),
        }
    }
    out
}

/// A limit's quoted name: the policy's, and with several limits a slash and the number of the limit, because a name
/// stands for one quota. RFC 9651 §3.3.3: a String is printable ASCII.
pub(crate) fn item_name(policy: &str, index: usize, limits: usize) -> Box<str> {
    let mut out = String::with_capacity(policy.len() + 6);
    out.push('"');
    for letter in policy.chars() {
        match letter {
            '"' | '\\' => out.extend(['\\', letter]),
            ' '..='~' => out.push(letter),
            _ => out.push('_'),
        }
    }
    if limits > 1 {
        // Writing to a String cannot fail.
        let _ = write!(out, "/{}", index + 1);
    }
    out.push('"');
    out.into()
}

fn separate(out: &mut String) {
    if !out.is_empty() {
        out.push_str(", ");
    }
}

fn write_integer(out: &mut String, name: &str, number: u64) {
    // Writing to a String cannot fail.
    let _ = write!(out, "{name}{}", number.min(INTEGER_MAX));
}
