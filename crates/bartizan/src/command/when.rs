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

/// The Unix milliseconds of a moment as [`moment`] writes it: RFC 3339 in UTC.
pub(crate) fn unix_ms(moment: &str) -> Option<u64> {
    let number = |from: usize, to: usize| moment.get(from..to).and_then(|digits| digits.parse::<u64>().ok());
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let in_range = (1970..=9999).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day);
    if !in_range || hour > 23 || minute > 59 || second > 60 || !moment.ends_with('Z') {
        return None;
    }
    // Days since 1970-01-01 by the rule that counts years from March, so that a leap day is the last of its year.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1;
    let days = days.checked_sub(719_468)?;
    let millis = number(20, 23).unwrap_or(0);
    Some((days * 86_400 + hour * 3_600 + minute * 60 + second) * 1_000 + millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_reads_back_what_it_writes() {
        for unix_ms_of in
            [0, 951_782_399_999, 951_782_400_000, 1_709_164_800_123, 1_800_000_000_000, 4_102_444_800_001]
        {
            assert_eq!(unix_ms(&moment(unix_ms_of)), Some(unix_ms_of), "{}", moment(unix_ms_of));
        }
        for wrong in
            ["", "2027-01-15", "2027-13-15T08:00:00.000000Z", "2027-01-15T08:00:00.000000+01:00", "x"]
        {
            assert_eq!(unix_ms(wrong), None, "{wrong}");
        }
    }

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
