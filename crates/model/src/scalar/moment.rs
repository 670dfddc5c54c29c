//! A point in time, as people write it.

use std::{fmt, str::FromStr};

use super::{Wrong, scalar, text_shape};
use crate::{
    problem::{Code, shown},
    shape::Shape,
};

/// A point in time: `2026-01-31T09:30:00Z` (RFC 3339), to the millisecond, in milliseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(pub u64);

impl Moment {
    const SHAPE: Shape = text_shape(
        "date-time",
        "^\\d{4}-\\d{2}-\\d{2}T\\d{2}:\\d{2}:\\d{2}(\\.\\d{1,3})?(Z|[+-]\\d{2}:\\d{2})$",
        "2026-01-31T09:30:00Z",
    );

    /// Milliseconds since 1970-01-01T00:00:00Z.
    pub const fn unix_ms(self) -> u64 {
        self.0
    }
}

scalar!(Moment, super::from_text, Moment::SHAPE);

impl FromStr for Moment {
    type Err = Wrong;

    fn from_str(text: &str) -> Result<Self, Wrong> {
        parse(text).map(Moment).ok_or_else(|| {
            let message = format!("{} is not a point in time", shown(text));
            Wrong::new(Code::BadValue, message)
                .hint("write it as in RFC 3339, for example `2026-01-31T09:30:00Z`")
        })
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, ms) = (self.0 / DAY_MS, self.0 % DAY_MS);
        let (year, month, day) = date(days);
        let (hour, minute, second) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")?;
        match ms % 1000 {
            0 => f.write_str("Z"),
            rest => write!(f, ".{rest:03}Z"),
        }
    }
}

const DAY_MS: u64 = 86_400_000;

fn parse(text: &str) -> Option<u64> {
    let (date, time) = text.split_once(['T', 't'])?;
    let zone = time.find(['Z', 'z', '+', '-'])?;
    let (time, zone) = time.split_at_checked(zone)?;
    let mut date = date.split('-');
    let (year, month, day) = (digits(date.next()?, 4)?, digits(date.next()?, 2)?, digits(date.next()?, 2)?);
    let (whole, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let mut parts = whole.split(':');
    let (hour, minute, second) =
        (digits(parts.next()?, 2)?, digits(parts.next()?, 2)?, digits(parts.next()?, 2)?);
    let sound = date.next().is_none()
        && parts.next().is_none()
        && (1970..=9999).contains(&year)
        && (1..=12).contains(&month)
        && day >= 1
        && day <= days_in(year, month)
        && hour < 24
        && minute < 60
        && second < 60
        && (1..=3).contains(&fraction.len());
    if !sound {
        return None;
    }
    let millis = digits(fraction, fraction.len())? * [100, 10, 1].get(fraction.len() - 1)?;
    let local = days_since_1970(year, month, day) * DAY_MS
        + hour * 3_600_000
        + minute * 60_000
        + second * 1000
        + millis;
    shifted(local, zone)
}

/// A local time as UTC: `Z`, or hours and minutes that it is ahead or behind.
fn shifted(local: u64, zone: &str) -> Option<u64> {
    if zone.eq_ignore_ascii_case("z") {
        return Some(local);
    }
    let (hours, minutes) = zone.get(1..)?.split_once(':')?;
    let (hours, minutes) = (digits(hours, 2)?, digits(minutes, 2)?);
    let offset = (hours < 24 && minutes < 60).then_some(hours * 3_600_000 + minutes * 60_000)?;
    if zone.starts_with('+') { local.checked_sub(offset) } else { Some(local + offset) }
}

fn digits(text: &str, count: usize) -> Option<u64> {
    (text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit()))
        .then(|| text.parse().ok())
        .flatten()
}

const fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

const fn days_in(year: u64, month: u64) -> u64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

fn days_since_1970(year: u64, month: u64, day: u64) -> u64 {
    let before = year - 1;
    // Leap days up to the end of the year before; 477 of them lie before 1970.
    let leap_days = before / 4 - before / 100 + before / 400 - 477;
    (year - 1970) * 365 + leap_days + (1..month).map(|month| days_in(year, month)).sum::<u64>() + day - 1
}

fn date(days: u64) -> (u64, u64, u64) {
    // At most one year too far, because no year is shorter than 365 days.
    let mut year = 1970 + days / 366;
    while days_since_1970(year + 1, 1, 1) <= days {
        year += 1;
    }
    let mut left = days - days_since_1970(year, 1, 1);
    let mut month = 1;
    while month < 12 && left >= days_in(year, month) {
        left -= days_in(year, month);
        month += 1;
    }
    (year, month, left + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_read_and_written_the_same() {
        for (text, ms) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T23:59:59Z", 951_868_799_000),
            ("2026-01-01T00:00:00Z", 1_767_225_600_000),
            ("2026-12-31T12:34:56.789Z", 1_798_720_496_789),
            ("2100-03-01T00:00:00Z", 4_107_542_400_000),
        ] {
            assert_eq!(Moment::parse(text).map(Moment::unix_ms).ok(), Some(ms), "{text}");
            assert_eq!(Moment(ms).to_string(), text);
        }
        assert_eq!(Moment::parse("2026-01-01T01:00:00+01:00").unwrap().to_string(), "2026-01-01T00:00:00Z");
        assert_eq!(
            Moment::parse("2025-12-31T19:00:00.5-05:00").unwrap().to_string(),
            "2026-01-01T00:00:00.500Z"
        );
    }

    #[test]
    fn what_is_no_moment_is_refused() {
        for text in [
            "",
            "2026-01-01",
            "2026-01-01T00:00:00",
            "2026-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:60:00Z",
            "2026-01-01T00:00:60Z",
            "1969-12-31T00:00:00Z",
            "2026-01-01T00:00:00.1234Z",
            "2026-1-01T00:00:00Z",
            "2026-01-01T00:00:00+1:00",
            "1970-01-01T00:00:00+01:00",
        ] {
            assert!(Moment::parse(text).is_err(), "{text}");
        }
    }
}
