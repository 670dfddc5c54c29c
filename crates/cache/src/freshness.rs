//! How long an answer is fresh, and how old it is (RFC 9111 §4.2).

use http::{
    HeaderMap, StatusCode,
    header::{AGE, DATE, EXPIRES, LAST_MODIFIED},
};

use crate::{
    control::{Control, DELTA_MAX, delta},
    moment::{Moment, parse_date},
    terms::Terms,
};

/// How long an answer is fresh, and who says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifetime {
    /// The answer says it, in seconds.
    Explicit(u64),
    /// The policy's guess, in seconds.
    Guessed(u64),
    /// Nobody says anything.
    Unknown,
}

impl Lifetime {
    /// The seconds; none where nobody says anything.
    pub const fn seconds(self) -> u64 {
        match self {
            Lifetime::Explicit(seconds) | Lifetime::Guessed(seconds) => seconds,
            Lifetime::Unknown => 0,
        }
    }
}

/// RFC 9111 §4.2.1, in its order; bounded by the policy.
pub fn lifetime(
    status: StatusCode,
    headers: &HeaderMap,
    control: &Control,
    terms: &Terms,
    now: Moment,
) -> Lifetime {
    let bounded = |seconds: u64| seconds.min(terms.lifetime_max_s);
    if control.is_malformed {
        // §4.2.1: with invalid freshness information an answer counts as stale.
        return Lifetime::Explicit(0);
    }
    if let Some(seconds) = control.s_maxage.or(control.max_age) {
        return Lifetime::Explicit(bounded(seconds));
    }
    if !control.is_targeted && headers.contains_key(EXPIRES) {
        return Lifetime::Explicit(bounded(expires(headers, now)));
    }
    if terms.negative_s > 0 && is_negative(status) {
        return Lifetime::Guessed(bounded(terms.negative_s));
    }
    match heuristic(headers, terms, now) {
        Some(seconds) if is_heuristic(status) || control.public => Lifetime::Guessed(bounded(seconds)),
        _ => Lifetime::Unknown,
    }
}

/// RFC 9111 §5.3: several values or no date mean the past, `0` above all.
fn expires(headers: &HeaderMap, now: Moment) -> u64 {
    let mut lines = headers.get_all(EXPIRES).iter();
    let (Some(line), None) = (lines.next(), lines.next()) else { return 0 };
    parse_date(line).map_or(0, |at| at.saturating_sub(date(headers, now)))
}

/// RFC 9111 §4.2.2: a share of the time since the last change, if the policy guesses at all.
fn heuristic(headers: &HeaderMap, terms: &Terms, now: Moment) -> Option<u64> {
    if terms.heuristic_percent == 0 {
        return None;
    }
    let changed = headers.get(LAST_MODIFIED).and_then(parse_date)?;
    let since = date(headers, now).checked_sub(changed)?;
    Some((since.saturating_mul(u64::from(terms.heuristic_percent)) / 100).min(terms.heuristic_max_s))
}

/// When the answer was made; when it came, if it does not say (RFC 9110 §6.6.1).
pub(crate) fn date(headers: &HeaderMap, now: Moment) -> u64 {
    headers.get(DATE).and_then(parse_date).unwrap_or(now.unix_s)
}

/// RFC 9111 §4.2.3: the age when it came. `asked` is when the request was sent.
pub fn initial_age(headers: &HeaderMap, asked: Moment, now: Moment) -> u64 {
    let apparent = now.unix_s.saturating_sub(date(headers, now));
    // §5.1: of several the first; what is no number counts for nothing, and the apparent age remains.
    let stated = headers
        .get(AGE)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| delta(text.split(',').next().unwrap_or_default().trim()));
    let corrected = stated.unwrap_or(0).saturating_add(now.seconds_since(asked));
    apparent.max(corrected).min(DELTA_MAX)
}

/// RFC 9110 §15.1: heuristically cacheable, without 206, which is never kept here.
pub fn is_heuristic(status: StatusCode) -> bool {
    matches!(status.as_u16(), 200 | 203 | 204 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 501)
}

fn is_negative(status: StatusCode) -> bool {
    matches!(status.as_u16(), 404 | 405 | 410 | 414 | 501)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::moment::write_date;

    const NOW: Moment = Moment { unix_s: 1_000_000, steady_ms: 0 };

    fn headers(rows: &[(&'static str, &str)]) -> HeaderMap {
        rows.iter()
            .map(|(name, value)| (http::HeaderName::from_static(name), value.parse().unwrap()))
            .collect()
    }

    fn at(unix_s: u64) -> String {
        write_date(unix_s).unwrap().to_str().unwrap().to_owned()
    }

    fn judged(rows: &[(&'static str, &str)], terms: &Terms, status: u16) -> Lifetime {
        let headers = headers(rows);
        let control = Control::of_response(&headers, terms.targeted);
        lifetime(StatusCode::from_u16(status).unwrap(), &headers, &control, terms, NOW)
    }

    #[test]
    fn lifetimes_come_in_the_order_of_section_4_2_1() {
        let (expires, date) = (at(1_000_030), at(1_000_000));
        let rows: &[(&[(&str, &str)], Lifetime)] = &[
            (&[("cache-control", "max-age=5, s-maxage=9"), ("expires", "0")], Lifetime::Explicit(9)),
            (&[("cache-control", "max-age=5"), ("expires", &expires)], Lifetime::Explicit(5)),
            (&[("expires", &expires), ("date", &date)], Lifetime::Explicit(30)),
            (&[("expires", &expires)], Lifetime::Explicit(30)),
            (&[("expires", "0")], Lifetime::Explicit(0)),
            (&[("expires", &date), ("date", &expires)], Lifetime::Explicit(0)),
            (&[("cache-control", "max-age=x"), ("expires", &expires)], Lifetime::Explicit(0)),
            (&[("last-modified", &date)], Lifetime::Unknown),
            (&[("cache-control", "max-age=2147483648")], Lifetime::Explicit(7 * 86_400)),
        ];
        for (given, expected) in rows {
            let given: Vec<(&'static str, &str)> = given
                .iter()
                .map(|(name, value)| (HEADERS.iter().find(|known| *known == name).copied().unwrap(), *value))
                .collect();
            assert_eq!(judged(&given, &Terms::default(), 200), *expected, "{given:?}");
        }
    }

    const HEADERS: [&str; 4] = ["cache-control", "expires", "date", "last-modified"];

    #[test]
    fn two_expires_are_in_the_past() {
        let mut headers = headers(&[("expires", &at(2_000_000))]);
        headers.append("expires", at(2_000_000).parse().unwrap());
        let life = lifetime(StatusCode::OK, &headers, &Control::default(), &Terms::default(), NOW);
        assert_eq!(life, Lifetime::Explicit(0));
    }

    #[test]
    fn guesses_are_bounded_and_only_made_where_the_policy_says_so() {
        let changed = at(999_000);
        let guessing = Terms { heuristic_percent: 10, ..Terms::default() };
        assert_eq!(judged(&[("last-modified", &changed)], &guessing, 200), Lifetime::Guessed(100));
        assert_eq!(judged(&[("last-modified", &changed)], &guessing, 302), Lifetime::Unknown);
        assert_eq!(judged(&[("last-modified", &at(1_000_001))], &guessing, 200), Lifetime::Unknown);
        let bounded = Terms { heuristic_max_s: 7, ..guessing };
        assert_eq!(judged(&[("last-modified", &changed)], &bounded, 200), Lifetime::Guessed(7));
        let negative = Terms { negative_s: 3, ..Terms::default() };
        assert_eq!(judged(&[], &negative, 404), Lifetime::Guessed(3));
        assert_eq!(judged(&[], &negative, 200), Lifetime::Unknown);
        assert_eq!(judged(&[], &negative, 500), Lifetime::Unknown);
    }

    #[test]
    fn the_age_is_the_greater_of_both_reckonings_of_section_4_2_3() {
        let asked = Moment { unix_s: 999_998, steady_ms: 0 };
        let now = Moment { unix_s: 1_000_000, steady_ms: 2_000 };
        let old = at(999_950);
        for (rows, age) in [
            (vec![("date", old.as_str())], 50),
            (vec![("age", "7")], 9),
            (vec![("date", old.as_str()), ("age", "90")], 92),
            (vec![("age", "-3")], 2),
            (vec![("age", "4, 900")], 6),
            (vec![("age", "99999999999999999999")], DELTA_MAX),
        ] {
            assert_eq!(initial_age(&headers(&rows), asked, now), age, "{rows:?}");
        }
    }
}
