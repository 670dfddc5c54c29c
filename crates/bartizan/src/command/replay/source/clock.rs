//! Moments as logs write them.

use crate::command::when;

/// RFC 3339, with any fraction and offset, in nanoseconds since 1970.
pub(super) fn rfc3339(text: &str) -> Option<u64> {
    let (whole, rest) = text.split_at_checked(19)?;
    let digits = rest.strip_prefix('.').unwrap_or_default();
    let digits = digits.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
    let zone = if rest.starts_with('.') { rest.get(1 + digits.len()..)? } else { rest };
    let fraction: u64 = format!("{:0<9}", digits.get(..9).unwrap_or(digits)).parse().ok()?;
    let seconds = when::unix_ms(&format!("{}Z", whole.replace(' ', "T")))? / 1_000;
    at(seconds, offset_seconds(zone)?)?.checked_add(fraction)
}

/// `10/Oct/2000:13:55:36 -0700`, in nanoseconds since 1970.
pub(super) fn common(text: &str) -> Option<u64> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (moment, zone) = text.split_once(' ')?;
    let mut parts = moment.splitn(3, '/');
    let (day, month, rest) = (parts.next()?, parts.next()?, parts.next()?);
    let month = MONTHS.iter().position(|name| name.eq_ignore_ascii_case(month))? + 1;
    let (year, time) = rest.split_once(':')?;
    let seconds = when::unix_ms(&format!("{year:0>4}-{month:02}-{day:0>2}T{time}Z"))? / 1_000;
    at(seconds, offset_seconds(zone)?)
}

fn at(seconds: u64, offset: i64) -> Option<u64> {
    seconds.checked_add_signed(offset.checked_neg()?)?.checked_mul(1_000_000_000)
}

/// `Z`, `+02:00` or `-0700`.
fn offset_seconds(zone: &str) -> Option<i64> {
    if zone.eq_ignore_ascii_case("z") {
        return Some(0);
    }
    let sign = match zone.get(..1)? {
        "+" => 1,
        "-" => -1,
        _ => return None,
    };
    let digits = zone.get(1..)?.replace(':', "");
    if digits.len() != 4 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number: i64 = digits.parse().ok()?;
    Some(sign * (number / 100 * 3_600 + number % 100 * 60))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_with_their_fraction_and_offset() {
        const SECOND: u64 = 1_000_000_000;
        let at = 1_800_000_000 * SECOND;
        for (text, expected) in [
            ("2027-01-15T08:00:00Z", Some(at)),
            ("2027-01-15T08:00:00.123456Z", Some(at + 123_456_000)),
            ("2027-01-15T09:00:00.5+01:00", Some(at + SECOND / 2)),
            ("2027-01-15T01:00:00-07:00", Some(at)),
            ("2027-01-15T08:00:00", None),
            ("2027-01-15T08:00:00.1234567891Z", Some(at + 123_456_789)),
            ("2027-13-15T08:00:00Z", None),
            ("ä", None),
        ] {
            assert_eq!(rfc3339(text), expected, "{text}");
        }
        for (text, expected) in [
            ("15/Jan/2027:08:00:00 +0000", Some(at)),
            ("15/Jan/2027:01:00:00 -0700", Some(at)),
            ("15/Jam/2027:08:00:00 +0000", None),
            ("15/Jan/2027:08:00:00", None),
            ("15/Jan/2027:08:00:00 0000", None),
        ] {
            assert_eq!(common(text), expected, "{text}");
        }
    }
}
