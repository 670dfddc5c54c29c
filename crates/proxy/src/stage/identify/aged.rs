//! Keys that are soon due or were replaced: their callers are told in the answer, by the policy about them.
//!
//! `Deprecation` (RFC 9745) says since when the key is deprecated, `Sunset` (RFC 8594) from when it opens no more. The
//! hard limit of a policy is judged here and not by the schedule, which may be slow or stand still.

use bartizan_config::snapshot::ConsumerPlan;
use bartizan_identity::{KeyFacts, Life, LifeState, LifeTerms};
use http::{HeaderName, HeaderValue};

use crate::exchange::Shared;

/// A key in use that its owner should replace, or has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Aged {
    life: Life,
    announce: bool,
}

/// How a key of this consumer stands; `Err` where its policy does not allow it any more, `Ok(None)` where there is nothing
/// to say.
pub(super) fn look(consumer: &ConsumerPlan, facts: &KeyFacts, now_ms: u64) -> Result<Option<Aged>, TooOld> {
    let life = match &consumer.rotation {
        Some(plan) => Life::at(facts, &plan.terms, now_ms),
        None if facts.replaced_ms.is_none() => return Ok(None),
        None => Life::at(facts, &LifeTerms::default(), now_ms),
    };
    let announce = consumer.rotation.as_ref().is_some_and(|plan| plan.announce);
    match life.state {
        LifeState::Created | LifeState::Active => Ok(None),
        LifeState::Ageing | LifeState::Overlapping => Ok(Some(Aged { life, announce })),
        LifeState::Retired | LifeState::Removed => Err(TooOld),
    }
}

/// The key is older than its policy allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooOld;

impl Aged {
    /// Writes it into the record and, where the policy says so, into the answer.
    pub(super) fn tell(self, shared: &mut Shared) {
        shared.record.key_state = Some(self.life.state.as_str());
        if !self.announce {
            return;
        }
        // RFC 9745 §2.1: a Date of structured fields, which is `@` and seconds.
        if let Ok(value) = HeaderValue::try_from(format!("@{}", self.life.since_ms / 1000)) {
            shared.dress(DEPRECATION, value);
        }
        if let Some(value) = self.life.ends_ms.and_then(|ends| HeaderValue::try_from(http_date(ends)).ok()) {
            shared.dress(SUNSET, value);
        }
    }
}

/// RFC 9110 §5.6.7: `Sun, 06 Nov 1994 08:49:37 GMT`; rounded down, so that nobody relies on a second that is not given.
fn http_date(unix_ms: u64) -> String {
    let seconds = (unix_ms / 1000).min(YEAR_9999_S);
    let (days, of_day) = (seconds / 86_400, seconds % 86_400);
    // Days are counted in years that begin in March, so that a leap day is the last of its year.
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let year = year_of_era + era * 400 + u64::from(month >= 10);
    let name = |names: &[&'static str], at: u64| {
        usize::try_from(at).ok().and_then(|at| names.get(at)).copied().unwrap_or_default()
    };
    format!(
        "{}, {day:02} {} {year:04} {:02}:{:02}:{:02} GMT",
        name(&WEEKDAYS, days % 7),
        name(&MONTHS, month),
        of_day / 3600,
        of_day / 60 % 60,
        of_day % 60
    )
}

const DEPRECATION: HeaderName = HeaderName::from_static("deprecation");
const SUNSET: HeaderName = HeaderName::from_static("sunset");
/// The first of January 1970 was a Thursday.
const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
/// From March on, as the years above are counted.
const MONTHS: [&str; 12] =
    ["Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec", "Jan", "Feb"];
/// The form has four digits for the year.
const YEAR_9999_S: u64 = 253_402_300_799;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_have_the_form_of_http() {
        let table = [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (784_111_777_999, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (951_782_400_000, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (1_709_251_199_000, "Thu, 29 Feb 2024 23:59:59 GMT"),
            (1_709_251_200_000, "Fri, 01 Mar 2024 00:00:00 GMT"),
            (4_107_542_399_000, "Sun, 28 Feb 2100 23:59:59 GMT"),
            (4_107_542_400_000, "Mon, 01 Mar 2100 00:00:00 GMT"),
            (u64::MAX, "Fri, 31 Dec 9999 23:59:59 GMT"),
        ];
        for (unix_ms, text) in table {
            assert_eq!(http_date(unix_ms), text);
        }
    }
}
