//! Calendar windows: the hour, day, week or month of a moment in a named time zone.
//!
//! A day is from midnight to midnight where the operator lives, so it has 23 or 25 hours twice a year; that is asked of
//! the zone's own rules and never of a count of seconds. Zones and their rules are compiled in (decision 0045), so
//! that two machines agree about an edge whatever their systems ship. Wall-clock time is an argument.

use std::fmt;

use jiff::{
    Timestamp, ToSpan, Zoned,
    tz::{TimeZone, TimeZoneDatabase},
};

/// How long a window is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Period {
    /// From full hour to full hour.
    Hour,
    /// From midnight to midnight.
    Day,
    /// From Monday to Monday.
    Week,
    /// From the first to the first.
    Month,
}

impl Period {
    /// The word in documents, records and the store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Period::Hour => "hour",
            Period::Day => "day",
            Period::Week => "week",
            Period::Month => "month",
        }
    }

    /// The longest that such a window can be, in milliseconds: what a debt is paid off by at least.
    const fn longest_ms(self) -> u64 {
        match self {
            Period::Hour => HOUR_MS,
            Period::Day => 26 * HOUR_MS,
            Period::Week => 7 * 24 * HOUR_MS + 2 * HOUR_MS,
            Period::Month => 31 * 24 * HOUR_MS + 2 * HOUR_MS,
        }
    }
}

/// A window, in milliseconds since 1970: the first one in it and the first one after it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Window {
    /// The first moment in it.
    pub begin_ms: u64,
    /// The first moment after it.
    pub end_ms: u64,
}

/// Windows of one length in one zone.
#[derive(Clone)]
pub struct Calendar {
    period: Period,
    zone: TimeZone,
}

/// There is no such zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ZoneUnknown;

impl fmt::Display for ZoneUnknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("there is no such time zone")
    }
}

impl std::error::Error for ZoneUnknown {}

impl Calendar {
    /// Windows by UTC.
    pub fn utc(period: Period) -> Self {
        Calendar { period, zone: TimeZone::UTC }
    }

    /// Windows in a zone of the IANA database, by its name.
    ///
    /// # Errors
    /// The database that is compiled in has no zone of this name.
    pub fn in_zone(period: Period, zone: &str) -> Result<Self, ZoneUnknown> {
        let zone = TimeZoneDatabase::bundled().get(zone).map_err(|_| ZoneUnknown)?;
        Ok(Calendar { period, zone })
    }

    /// How long the windows are.
    pub const fn period(&self) -> Period {
        self.period
    }

    /// The zone's name.
    pub fn zone(&self) -> &str {
        self.zone.iana_name().unwrap_or("UTC")
    }

    /// The window that a moment lies in.
    pub fn window(&self, unix_ms: u64) -> Window {
        let at = Timestamp::from_millisecond(i64::try_from(unix_ms).unwrap_or(i64::MAX));
        let at = at.unwrap_or(Timestamp::MAX).to_zoned(self.zone.clone());
        let bounds = match self.period {
            Period::Hour => Some(hour(&at)),
            Period::Day => whole(&at, 0, 1.days()),
            Period::Week => whole(&at, i64::from(at.weekday().to_monday_zero_offset()), 7.days()),
            Period::Month => whole(&at, i64::from(at.day()) - 1, 1.month()),
        };
        match bounds {
            Some((begin, end)) => Window { begin_ms: millis(begin), end_ms: millis(end) },
            // Beyond the end of the calendar (the year 9999): a window that never ends refuses in time.
            None => Window { begin_ms: unix_ms, end_ms: u64::MAX },
        }
    }

    /// How many whole windows lie between two moments at least.
    pub(crate) fn windows_between(&self, from_ms: u64, to_ms: u64) -> u64 {
        to_ms.saturating_sub(from_ms) / self.period.longest_ms()
    }
}

impl fmt::Debug for Calendar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {}", self.period.as_str(), self.zone())
    }
}

impl PartialEq for Calendar {
    fn eq(&self, other: &Self) -> bool {
        self.period == other.period && self.zone == other.zone
    }
}

impl Eq for Calendar {}

/// A full hour as clocks there show it: zones may be half an hour off.
fn hour(at: &Zoned) -> (Timestamp, Timestamp) {
    const SECONDS: i64 = 3_600;
    let offset = i64::from(at.offset().seconds());
    let local = at.timestamp().as_second().saturating_add(offset);
    let begin = local.div_euclid(SECONDS) * SECONDS - offset;
    let second = |second| Timestamp::from_second(second).unwrap_or(Timestamp::MAX);
    (second(begin), second(begin.saturating_add(SECONDS)))
}

/// The days from `back` days ago for `length`, from the first moment of a day to the first moment of another.
fn whole(at: &Zoned, back: i64, length: jiff::Span) -> Option<(Timestamp, Timestamp)> {
    let first = at.date().checked_sub(back.days()).ok()?;
    let last = first.checked_add(length).ok()?;
    let midnight = |date: jiff::civil::Date| {
        // Where clocks jump over midnight, a day begins where they land.
        Some(date.to_zoned(at.time_zone().clone()).ok()?.start_of_day().ok()?.timestamp())
    };
    Some((midnight(first)?, midnight(last)?))
}

fn millis(at: Timestamp) -> u64 {
    u64::try_from(at.as_millisecond()).unwrap_or(0)
}

const HOUR_MS: u64 = 3_600_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(text: &str) -> u64 {
        millis(text.parse().unwrap())
    }

    #[test]
    fn a_window_is_the_zones_own_also_where_clocks_are_changed() {
        use Period::{Day, Hour, Month, Week};
        let table = [
            // period, zone, moment, begin, end
            (Day, "UTC", "2026-03-29T12:00:00Z", "2026-03-29T00:00:00Z", "2026-03-30T00:00:00Z"),
            // Clocks forward: a day of 23 hours.
            (Day, "Europe/Berlin", "2026-03-29T12:00:00Z", "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z"),
            // Clocks back: a day of 25 hours, and both moments called 02:30 are in it.
            (Day, "Europe/Berlin", "2026-10-25T00:30:00Z", "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z"),
            (Day, "Europe/Berlin", "2026-10-25T01:30:00Z", "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z"),
            (Day, "Europe/Berlin", "2026-10-25T22:59:59Z", "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z"),
            (Day, "Europe/Berlin", "2026-10-25T23:00:00Z", "2026-10-25T23:00:00Z", "2026-10-26T23:00:00Z"),
            // Clocks jump over midnight: the day begins at one.
            (Day, "Africa/Cairo", "2026-04-24T12:00:00Z", "2026-04-23T22:00:00Z", "2026-04-24T21:00:00Z"),
            (Hour, "Europe/Berlin", "2026-10-25T00:30:00Z", "2026-10-25T00:00:00Z", "2026-10-25T01:00:00Z"),
            (Hour, "Europe/Berlin", "2026-10-25T01:30:00Z", "2026-10-25T01:00:00Z", "2026-10-25T02:00:00Z"),
            (Hour, "Asia/Kolkata", "2026-01-01T00:10:00Z", "2025-12-31T23:30:00Z", "2026-01-01T00:30:00Z"),
            (
                Week,
                "America/New_York",
                "2026-11-01T12:00:00Z",
                "2026-10-26T04:00:00Z",
                "2026-11-02T05:00:00Z",
            ),
            (Week, "UTC", "2026-11-02T00:00:00Z", "2026-11-02T00:00:00Z", "2026-11-09T00:00:00Z"),
            (Month, "Asia/Shanghai", "2026-02-28T15:59:59Z", "2026-01-31T16:00:00Z", "2026-02-28T16:00:00Z"),
            (Month, "Europe/Berlin", "2026-03-15T12:00:00Z", "2026-02-28T23:00:00Z", "2026-03-31T22:00:00Z"),
            (Month, "UTC", "2028-02-29T23:59:59Z", "2028-02-01T00:00:00Z", "2028-03-01T00:00:00Z"),
        ];
        for (period, zone, at, begin, end) in table {
            let calendar = Calendar::in_zone(period, zone).unwrap();
            let want = Window { begin_ms: ms(begin), end_ms: ms(end) };
            assert_eq!(calendar.window(ms(at)), want, "{period:?} {zone} {at}");
        }
    }

    #[test]
    fn windows_follow_each_other_without_gap_or_overlap_for_twenty_years() {
        for zone in
            ["UTC", "Europe/Berlin", "America/Sao_Paulo", "Africa/Cairo", "Pacific/Apia", "Asia/Kathmandu"]
        {
            for period in [Period::Day, Period::Week, Period::Month] {
                let calendar = Calendar::in_zone(period, zone).unwrap();
                let mut window = calendar.window(ms("2015-01-01T00:00:00Z"));
                while window.end_ms < ms("2035-01-01T00:00:00Z") {
                    let next = calendar.window(window.end_ms);
                    assert_eq!(next.begin_ms, window.end_ms, "{zone} {period:?}");
                    assert_eq!(calendar.window(window.end_ms - 1), window, "{zone} {period:?}");
                    assert!(next.end_ms - next.begin_ms <= period.longest_ms(), "{zone} {next:?}");
                    window = next;
                }
            }
        }
    }

    #[test]
    fn a_zone_that_does_not_exist_is_refused_and_the_end_of_time_is_no_panic() {
        assert_eq!(Calendar::in_zone(Period::Day, "Europe/Atlantis"), Err(ZoneUnknown));
        assert_eq!(Calendar::in_zone(Period::Day, "../../etc/passwd"), Err(ZoneUnknown));
        for period in [Period::Hour, Period::Day, Period::Week, Period::Month] {
            let window = Calendar::utc(period).window(u64::MAX);
            assert!(window.begin_ms <= window.end_ms, "{window:?}");
            assert_eq!(Calendar::utc(period).window(0).begin_ms, 0, "a moment before 1970 is 1970");
        }
        assert_eq!(Calendar::in_zone(Period::Day, "Europe/Berlin").unwrap().zone(), "Europe/Berlin");
    }
}
