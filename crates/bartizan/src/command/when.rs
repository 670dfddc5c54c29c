//! Moments and spans as commands show them.

use std::time::{SystemTime, UNIX_EPOCH};

use bartizan_model::scalar::Time;
use bartizan_telemetry::time::Rfc3339;

/// Now, in Unix milliseconds.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// A moment seen from now: `5m ago`, `in 89d`.
pub(crate) fn away(at: u64, now: u64) -> String {
    if at > now { format!("in {}", span(at - now)) } else { format!("{} ago", span(now - at)) }
}

/// A time in its largest unit, rounded down, so that nothing seems to last longer than it does.
pub(crate) fn span(millis: u64) -> String {
    const UNITS: [u64; 4] = [86_400_000, 3_600_000, 60_000, 1_000];
    let unit = UNITS.into_iter().find(|unit| millis >= *unit).unwrap_or(1_000);
    Time::millis(millis / unit * unit).to_string()
}

/// A moment in RFC 3339.
pub(crate) fn moment(unix_ms: u64) -> String {
    let mut out = Vec::with_capacity(30);
    Rfc3339::default().write(unix_ms.saturating_mul(1_000_000), &mut out);
    String::from_utf8(out).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_rounded_down_to_their_largest_unit() {
        for (millis, text) in [
            (0, "0s"),
            (999, "0s"),
            (59_999, "59s"),
            (60_000, "1m"),
            (3_599_999, "59m"),
            (25 * 3_600_000, "1d"),
            (400 * 86_400_000, "400d"),
        ] {
            assert_eq!(span(millis), text);
        }
    }
}
