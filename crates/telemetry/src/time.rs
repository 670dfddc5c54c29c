//! Moments as RFC 3339 text in UTC.
//!
//! Written by hand because it is one well-known calculation on the writer's hot loop; the day's and second's part
//! are remembered between lines.

use std::time::{SystemTime, UNIX_EPOCH};

const SECONDS_PER_DAY: u64 = 86_400;

/// The system's clock in nanoseconds since 1970; 0 when it is set before that.
pub fn unix_nanos(now: SystemTime) -> u64 {
    now.duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

/// Writes moments; remembers the text of the last second, because neighbouring lines share it.
#[derive(Debug, Default)]
pub struct Rfc3339 {
    second: Option<u64>,
    text: String,
}

impl Rfc3339 {
    /// Appends `2026-01-01T00:00:00.123456Z`.
    pub fn write(&mut self, unix_nanos: u64, out: &mut Vec<u8>) {
        let second = unix_nanos / 1_000_000_000;
        if self.second != Some(second) {
            self.second = Some(second);
            self.text = second_text(second);
        }
        out.extend_from_slice(self.text.as_bytes());
        out.push(b'.');
        let micros = unix_nanos % 1_000_000_000 / 1_000;
        let mut divisor = 100_000;
        while divisor > 0 {
            out.push(b'0' + u8::try_from(micros / divisor % 10).unwrap_or(0));
            divisor /= 10;
        }
        out.push(b'Z');
    }
}

fn second_text(second: u64) -> String {
    let (year, month, day) = civil(second / SECONDS_PER_DAY);
    let of_day = second % SECONDS_PER_DAY;
    let (hour, minute, rest) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{rest:02}")
}

/// Year, month and day of a day counted from 1970-01-01, in the proleptic Gregorian calendar. Years are counted
/// from 1 March, so that the leap day is the last of its year and months follow one formula.
fn civil(days: u64) -> (u64, u64, u64) {
    // 719,468 days lie between 0000-03-01 and 1970-01-01; 146,097 are in 400 years.
    let days = days + 719_468;
    let era = days / 146_097;
    let of_era = days % 146_097;
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_in_rfc_3339() {
        for (second, text) in [
            (0, "1970-01-01T00:00:00"),
            (951_782_399, "2000-02-28T23:59:59"),
            (951_782_400, "2000-02-29T00:00:00"),
            (951_868_800, "2000-03-01T00:00:00"),
            (1_767_225_600, "2026-01-01T00:00:00"),
            (1_709_251_199, "2024-02-29T23:59:59"),
            (4_107_542_400, "2100-03-01T00:00:00"),
            (4_107_542_399, "2100-02-28T23:59:59"),
        ] {
            let mut out = Vec::new();
            Rfc3339::default().write(second * 1_000_000_000 + 1_234_567, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), format!("{text}.001234Z"));
        }
    }

    #[test]
    fn every_day_of_eight_centuries_follows_the_one_before() {
        let mut expected = (1970, 1, 1);
        for day in 0..292_194 {
            assert_eq!(civil(day), expected, "day {day}");
            let (year, month, date) = expected;
            let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            let last = match month {
                2 if leap => 29,
                2 => 28,
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            };
            expected = match (date == last, month) {
                (false, _) => (year, month, date + 1),
                (true, 12) => (year + 1, 1, 1),
                (true, _) => (year, month + 1, 1),
            };
        }
    }

    #[test]
    fn the_remembered_second_is_not_used_for_another() {
        let mut clock = Rfc3339::default();
        let mut out = Vec::new();
        for nanos in [999_999_999, 1_000_000_000, 0] {
            clock.write(nanos, &mut out);
        }
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text, "1970-01-01T00:00:00.999999Z1970-01-01T00:00:01.000000Z1970-01-01T00:00:00.000000Z");
    }

    #[test]
    fn a_clock_before_1970_counts_as_1970() {
        assert_eq!(unix_nanos(UNIX_EPOCH - std::time::Duration::from_secs(1)), 0);
    }
}
