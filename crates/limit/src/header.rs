//! What the caller is told: `RateLimit-Policy`, `RateLimit`, `X-RateLimit-*`, `Retry-After`.
//!
//! draft-ietf-httpapi-ratelimit-headers-11: both fields are structured lists (RFC 9651) of quoted policy names with
//! `q` (quota), `w` (window) and `r` (remaining), `t` (reset) as parameters. A policy's items are rendered once, when
//! it is compiled. Only policies that are enforced for the caller belong here: a caller does not notice a shadow.

use std::{fmt::Write, time::Duration};

use crate::{
    few::Few,
    policy::{Gauge, Limit, Policy, Terms},
    verdict::State,
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
    seconds(duration).max(1)
}

/// Whole seconds, rounded up.
pub(crate) fn seconds(duration: Duration) -> u64 {
    duration.as_secs().saturating_add(u64::from(duration.subsec_nanos() > 0))
}

/// A policy's items of `RateLimit-Policy`.
pub(crate) fn policy_items(terms: &Terms, gauges: &[Gauge]) -> String {
    let mut out = String::new();
    for (limit, gauge) in terms.limits.iter().zip(gauges) {
        separate(&mut out);
        out.push_str(&gauge.name);
        write_integer(&mut out, ";q=", limit.quota());
        match limit.window_seconds() {
            Some(window) => {
                write_integer(&mut out, ";w=", window);
                if matches!(limit, Limit::Tokens { .. }) {
                    out.push_str(";qu=\"tokens\"");
                }
            }
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

/// Appends the decimal digits, without the formatting machinery: this runs twice per request and limit.
fn write_integer(out: &mut String, name: &str, number: u64) {
    out.push_str(name);
    let mut rest = number.min(INTEGER_MAX);
    let mut digits = [0_u8; 15];
    let mut first = digits.len();
    for (place, digit) in digits.iter_mut().enumerate().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
        first = place;
        if rest == 0 {
            break;
        }
    }
    // Digits are text; the alternative is never taken.
    out.push_str(digits.get(first..).and_then(|digits| std::str::from_utf8(digits).ok()).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use std::num::{NonZeroU32, NonZeroU64};

    use bartizan_model::{Mode, OnFault};

    use super::*;
    use crate::policy::{Action, KeyPart, OnAbsent};

    fn policy(name: &str, limits: &[Limit], legacy_headers: bool) -> Policy {
        Policy::new(Terms {
            name: name.into(),
            label: format!("RateLimitPolicy/{name}").into(),
            mode: Mode::Enforce,
            enforce_percent: 100,
            on_fault: OnFault::Deny,
            key: vec![KeyPart::Gateway],
            on_absent: OnAbsent::Deny,
            limits: limits.to_vec(),
            action: Action::Reject,
            legacy_headers,
        })
    }

    fn rate(requests: u64, window: Duration) -> Limit {
        let requests = NonZeroU64::new(requests).unwrap();
        Limit::Rate { requests, window, burst: requests }
    }

    fn state(ask: usize, limit: usize, remaining: u64, reset_seconds: Option<u64>) -> State {
        State { ask, limit, quota: 100, window_seconds: None, remaining, reset_seconds }
    }

    #[test]
    fn the_policy_field_states_quota_and_window() {
        let minute = Duration::from_secs(60);
        let busy = Limit::Concurrency { requests: NonZeroU32::new(8).unwrap() };
        let table: [(&str, &[Limit], &str); 6] = [
            ("name", &[rate(100, minute)], r#""name";q=100;w=60"#),
            (
                "both",
                &[rate(5, Duration::from_millis(1500)), busy],
                r#""both/1";q=5;w=2, "both/2";q=8;qu="concurrent-requests""#,
            ),
            ("fast", &[rate(5, Duration::from_millis(1))], r#""fast";q=5;w=1"#),
            (r#"a"b\c"#, &[rate(1, minute)], r#""a\"b\\c";q=1;w=60"#),
            ("grün\r\n", &[rate(1, minute)], r#""gr_n__";q=1;w=60"#),
            ("vast", &[rate(u64::MAX, Duration::MAX)], r#""vast";q=999999999999999;w=999999999999999"#),
        ];
        for (name, limits, field) in table {
            assert_eq!(policy(name, limits, false).stated(), field);
        }
    }

    #[test]
    fn fields_of_several_policies_are_one_list() {
        let minute = Duration::from_secs(60);
        let policies = [
            policy("a", &[rate(100, minute)], false),
            policy("empty", &[], false),
            policy("b", &[rate(7, minute), rate(9, minute)], false),
        ];
        let mut out = String::new();
        write_policies(&mut out, policies.iter());
        assert_eq!(out, r#""a";q=100;w=60, "b/1";q=7;w=60, "b/2";q=9;w=60"#);

        let mut states = Few::new();
        states.push(state(0, 0, 50, Some(30)));
        states.push(state(2, 1, 0, None));
        states.push(state(9, 0, 1, None));
        let mut out = String::new();
        write_states(&mut out, &states, |ask| policies.get(ask));
        assert_eq!(out, r#""a";r=50;t=30, "b/2";r=0"#);
    }

    #[test]
    fn a_field_is_written_with_one_allocation() {
        let policies: Vec<_> =
            (0..9).map(|n| policy(&format!("policy-{n}"), &[rate(u64::MAX, Duration::MAX)], false)).collect();
        let mut states = Few::new();
        (0..9).for_each(|ask| states.push(state(ask, 0, u64::MAX, Some(u64::MAX))));
        let mut out = String::new();
        write_states(&mut out, &states, |ask| policies.get(ask));
        let asked: usize = policies.iter().map(|p| p.name.len() + 2 + STATE_BYTES).sum();
        assert!(out.len() <= asked, "{} of {asked}", out.len());
        let mut out = String::new();
        write_policies(&mut out, policies.iter());
        assert!(out.len() <= policies.iter().map(|p| p.stated().len() + 2).sum());
    }

    #[test]
    fn the_legacy_fields_name_the_tightest_rate_that_asks_for_them() {
        let minute = Duration::from_secs(60);
        let policies = [
            policy("a", &[rate(1, minute)], true),
            policy("b", &[rate(1, minute)], false),
            policy("c", &[], true),
        ];
        let find = |ask| policies.get(ask);
        let mut states = Few::new();
        states.push(state(1, 0, 0, Some(9)));
        assert_eq!(legacy(&states, find), None);
        states.push(state(0, 0, 5, Some(10)));
        states.push(state(2, 0, 3, None));
        states.push(state(2, 0, 5, Some(20)));
        assert_eq!(legacy(&states, find), Some(Legacy { limit: 100, remaining: 5, reset_seconds: 20 }));
    }

    #[test]
    fn retry_after_is_rounded_up_and_at_least_one() {
        let table =
            [(0, 1), (1, 1), (999_999_999, 1), (1_000_000_000, 1), (1_000_000_001, 2), (59_400_000_000, 60)];
        for (nanos, seconds) in table {
            assert_eq!(retry_after(Duration::from_nanos(nanos)), seconds, "{nanos}");
        }
        assert_eq!(retry_after(Duration::MAX), u64::MAX);
    }
}
