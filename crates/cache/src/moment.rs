//! Time as the cache sees it: the wall clock for dates in messages, a steady clock for ages.
//!
//! Dates of origins can only be compared with the wall clock, but that clock jumps; how long an answer has lain here is
//! therefore counted on the steady one (RFC 9111 §4.2.3 asks for `now - response_time`, which a jump would falsify).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::HeaderValue;

/// One reading of both clocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// Seconds since 1970, by the wall clock.
    pub unix_s: u64,
    /// Milliseconds on a clock that never goes back.
    pub steady_ms: u64,
}

impl Moment {
    /// Whole seconds on the steady clock since `earlier`.
    pub fn seconds_since(self, earlier: Moment) -> u64 {
        self.steady_ms.saturating_sub(earlier.steady_ms) / 1_000
    }
}

/// An HTTP-date (RFC 9110 §5.6.7, all three forms) as seconds since 1970; nothing for anything else or before 1970.
pub fn parse_date(value: &HeaderValue) -> Option<u64> {
    let text = value.to_str().ok()?.trim();
    let at =
        httpdate::parse_http_date(text).or_else(|_| httpdate::parse_http_date(&in_its_case(text))).ok()?;
    at.duration_since(UNIX_EPOCH).ok().map(|since| since.as_secs())
}

/// RFC 9111 §4.2: names in dates should be matched in any case.
fn in_its_case(text: &str) -> String {
    let mut is_within = false;
    let cased = text.chars().map(|letter| {
        let cased = if is_within { letter.to_ascii_lowercase() } else { letter.to_ascii_uppercase() };
        is_within = letter.is_ascii_alphabetic();
        cased
    });
    cased.collect::<String>().replace("Gmt", "GMT")
}

/// Seconds since 1970 as an HTTP-date; nothing beyond the year 9999, which the form cannot say.
pub fn write_date(unix_s: u64) -> Option<HeaderValue> {
    /// 9999-12-31T23:59:59Z.
    const LAST: u64 = 253_402_300_799;
    if unix_s > LAST {
        return None;
    }
    let at: SystemTime = UNIX_EPOCH.checked_add(Duration::from_secs(unix_s))?;
    HeaderValue::from_str(&httpdate::fmt_http_date(at)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_three_forms_of_a_date_are_read_and_others_are_not() {
        for text in
            ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"]
        {
            assert_eq!(parse_date(&HeaderValue::from_static(text)), Some(784_111_777), "{text}");
        }
        for text in ["SUN, 06 nov 1994 08:49:37 gMt", "sunday, 06-NOV-94 08:49:37 GMT"] {
            assert_eq!(parse_date(&HeaderValue::from_static(text)), Some(784_111_777), "{text}");
        }
        for text in ["0", "-1", "", "now", "Sun, 06 Nov 1994 08:49:37 +0100", "Sun, 36 Nov 1994 08:49:37 GMT"]
        {
            assert_eq!(parse_date(&HeaderValue::from_static(text)), None, "{text}");
        }
    }

    #[test]
    fn a_date_that_is_written_is_read_again() {
        assert_eq!(write_date(784_111_777).as_ref().and_then(parse_date), Some(784_111_777));
        assert_eq!(write_date(u64::MAX), None);
    }

    #[test]
    fn a_steady_clock_that_goes_back_counts_as_standing_still() {
        let earlier = Moment { unix_s: 0, steady_ms: 5_000 };
        assert_eq!(Moment { unix_s: 0, steady_ms: 6_999 }.seconds_since(earlier), 1);
        assert_eq!(Moment { unix_s: 0, steady_ms: 1_000 }.seconds_since(earlier), 0);
    }
}
