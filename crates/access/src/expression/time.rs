//! Times and durations of conditions: nanoseconds in an `i64`, which reach from 1677 to 2262.

/// A part of a time that a condition can ask for, as CEL names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// The day of the month from 1.
    Date,
    /// The day of the month from 0.
    DayOfMonth,
    /// The day of the week from 0, Sunday.
    DayOfWeek,
    /// The day of the year from 0.
    DayOfYear,
    FullYear,
    Hours,
    Milliseconds,
    Minutes,
    /// From 0, January.
    Month,
    Seconds,
}

impl Part {
    pub(super) fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "getDate" => Part::Date,
            "getDayOfMonth" => Part::DayOfMonth,
            "getDayOfWeek" => Part::DayOfWeek,
            "getDayOfYear" => Part::DayOfYear,
            "getFullYear" => Part::FullYear,
            "getHours" => Part::Hours,
            "getMilliseconds" => Part::Milliseconds,
            "getMinutes" => Part::Minutes,
            "getMonth" => Part::Month,
            "getSeconds" => Part::Seconds,
            _ => return None,
        })
    }

    /// The part of a time in a zone that is `zone` seconds east.
    pub(super) fn of(self, nanos: i64, zone: i64) -> i64 {
        let seconds = nanos.div_euclid(SECOND) + zone;
        let days = seconds.div_euclid(DAY_SECONDS);
        let (year, month, day) = civil(days);
        match self {
            Part::Date => day,
            Part::DayOfMonth => day - 1,
            // 1970-01-01 was a Thursday.
            Part::DayOfWeek => (days + 4).rem_euclid(7),
            Part::DayOfYear => days - day_number(year, 1, 1),
            Part::FullYear => year,
            Part::Hours => seconds.rem_euclid(DAY_SECONDS) / 3_600,
            Part::Milliseconds => nanos.rem_euclid(SECOND) / 1_000_000,
            Part::Minutes => seconds.rem_euclid(3_600) / 60,
            Part::Month => month - 1,
            Part::Seconds => seconds.rem_euclid(60),
        }
    }
}

const SECOND: i64 = 1_000_000_000;
const DAY_SECONDS: i64 = 86_400;

/// Days since 1970 of a date in the Gregorian calendar, counted in years that begin with March, so that the leap day
/// is the last of its year.
fn day_number(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// The date of a day: the reverse of [`day_number`].
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

/// RFC 3339: `2027-01-31T08:00:00.5+02:00`. Leap seconds are not told apart from the next one.
pub(super) fn timestamp(text: &str) -> Option<i64> {
    let (date, clock) = text.split_once(['T', 't'])?;
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let (clock, zone) = split_zone(clock)?;
    let (clock, fraction) = clock.split_once('.').map_or((clock, None), |(clock, rest)| (clock, Some(rest)));
    let [hours, minutes, seconds] = numbers(clock, ':', [2, 2, 2])?;
    let days = day_number(year, month, day);
    if !(1..=12).contains(&month) || day < 1 || civil(days) != (year, month, day) {
        return None;
    }
    if hours > 23 || minutes > 59 || seconds > 59 {
        return None;
    }
    let seconds = days * DAY_SECONDS + hours * 3_600 + minutes * 60 + seconds - zone;
    seconds.checked_mul(SECOND)?.checked_add(fraction.map_or(Some(0), nanos)?)
}

fn split_zone(clock: &str) -> Option<(&str, i64)> {
    if let Some(clock) = clock.strip_suffix(['Z', 'z']) {
        return Some((clock, 0));
    }
    let at = clock.rfind(['+', '-'])?;
    Some((clock.get(..at)?, offset(clock.get(at..)?)?))
}

/// A zone: `UTC` or a distance from it.
pub(super) fn zone(text: &str) -> Option<i64> {
    if text == "UTC" { Some(0) } else { offset(text) }
}

/// `+02:00` in seconds.
fn offset(text: &str) -> Option<i64> {
    let (sign, rest) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+')?),
    };
    let [hours, minutes] = numbers(rest, ':', [2, 2])?;
    (hours <= 23 && minutes <= 59).then_some(sign * (hours * 3_600 + minutes * 60))
}

/// Numbers of exactly these many digits.
fn numbers<const N: usize>(text: &str, separator: char, digits: [usize; N]) -> Option<[i64; N]> {
    let mut parts = text.split(separator);
    let mut out = [0; N];
    for (number, digits) in out.iter_mut().zip(digits) {
        let part = parts.next().filter(|part| part.len() == digits && is_digits(part))?;
        *number = part.parse().ok()?;
    }
    parts.next().is_none().then_some(out)
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// The digits behind a decimal point of seconds, in nanoseconds.
fn nanos(fraction: &str) -> Option<i64> {
    if !is_digits(fraction) || fraction.len() > 9 {
        return None;
    }
    format!("{fraction:0<9}").parse().ok()
}

/// `1h30m`, `-45s`, `1.5s`, `100ms`.
pub(super) fn duration(text: &str) -> Option<i64> {
    const UNITS: [(&str, i64); 6] = [
        ("ms", 1_000_000),
        ("us", 1_000),
        ("ns", 1),
        ("h", 3_600 * SECOND),
        ("m", 60 * SECOND),
        ("s", SECOND),
    ];
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text),
    };
    if rest.is_empty() {
        return None;
    }
    let mut total: i64 = 0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !(c.is_ascii_digit() || c == '.'))?;
        let (number, after) = rest.split_at(end);
        let (unit, nanos) = UNITS.into_iter().find(|(unit, _)| after.starts_with(unit))?;
        total = total.checked_add(scaled(number, nanos)?)?;
        rest = after.get(unit.len()..)?;
    }
    total.checked_mul(sign)
}

/// A decimal number of a unit, in nanoseconds; what is below one is cut off.
fn scaled(number: &str, unit: i64) -> Option<i64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    if !is_digits(whole) || !is_digits(fraction) || fraction.len() > 9 {
        return None;
    }
    let part =
        fraction.parse::<i128>().ok()? * i128::from(unit) / 10_i128.pow(u32::try_from(fraction.len()).ok()?);
    whole.parse::<i64>().ok()?.checked_mul(unit)?.checked_add(i64::try_from(part).ok()?)
}
