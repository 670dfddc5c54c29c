//! What a genuine token says, and whether it may say it now and here.
//!
//! Dates become whole milliseconds once, in a range where adding a leeway cannot overflow; nothing is ever compared
//! as a fraction. A date that is no date refuses the token: libraries that let a string pass as `exp` made tokens
//! without end.

use crate::{
    json::{Budget, Json, Number, Object},
    jwt::{
        flaw::TokenFlaw,
        issuer::Issuer,
        source::{Revocations, TokenRef},
    },
};

/// The times between which a token may be used, in Unix milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    /// From here on, the leeway given.
    pub(super) from_ms: i64,
    /// Before here, the leeway given.
    pub(super) until_ms: i64,
}

/// Reads the claims; strict, and as text of unknown hands: it may come before the signature is verified.
pub(crate) fn read(payload: &[u8]) -> Result<Object, TokenFlaw> {
    Ok(Object::parse(payload, BUDGET)?)
}

/// Judges claims of a genuine token.
pub(super) fn judge(
    claims: &Object,
    issuer: &Issuer,
    revocations: &dyn Revocations,
    now_ms: i64,
) -> Result<Span, TokenFlaw> {
    judge_audience(claims, &issuer.audiences)?;
    let (span, issued_ms) = judge_dates(claims, issuer, now_ms)?;
    if issuer.required.iter().any(|path| path.find(claims).is_none()) {
        return Err(TokenFlaw::ClaimMissing);
    }
    let jti = text(claims, "jti")?;
    let subject = text(claims, "sub")?;
    if issuer.revocable {
        if jti.is_none() {
            return Err(TokenFlaw::ClaimMissing);
        }
        if revocations.is_revoked(&TokenRef { issuer: &issuer.name, jti, subject, issued_ms }) {
            return Err(TokenFlaw::Revoked);
        }
    }
    Ok(span)
}

/// A claim that is a string where it is there at all.
pub(crate) fn text<'a>(claims: &'a Object, name: &str) -> Result<Option<&'a str>, TokenFlaw> {
    claims.text(name).map_err(|_| TokenFlaw::ClaimKind)
}

/// RFC 7519 §4.1.3: a string or a list of strings, one of which is us. RFC 8725 §3.9: not being there is no match.
pub(crate) fn judge_audience(claims: &Object, audiences: &[Box<str>]) -> Result<(), TokenFlaw> {
    let is_ours = |audience: &str| audiences.iter().any(|ours| **ours == *audience);
    let found = match claims.get("aud") {
        None => return Err(TokenFlaw::ClaimMissing),
        Some(Json::Text(audience)) => is_ours(audience),
        Some(Json::List(audiences)) => {
            if audiences.iter().any(|audience| audience.as_text().is_none()) {
                return Err(TokenFlaw::ClaimKind);
            }
            audiences.iter().filter_map(Json::as_text).any(is_ours)
        }
        Some(_) => return Err(TokenFlaw::ClaimKind),
    };
    if found { Ok(()) } else { Err(TokenFlaw::Audience) }
}

fn judge_dates(claims: &Object, issuer: &Issuer, now_ms: i64) -> Result<(Span, Option<i64>), TokenFlaw> {
    let expires = date(claims, "exp")?.ok_or(TokenFlaw::ClaimMissing)?;
    let not_before = date(claims, "nbf")?;
    let issued = date(claims, "iat")?;
    let leeway = issuer.leeway_ms;
    let mut until = expires.saturating_add(leeway);
    // RFC 7519 §4.1.4: on or after `exp` it must not be accepted.
    if now_ms >= until {
        return Err(TokenFlaw::Expired);
    }
    let from = [not_before, issued].into_iter().flatten().max().unwrap_or(i64::MIN).saturating_sub(leeway);
    if now_ms < from {
        return Err(TokenFlaw::NotYetValid);
    }
    if let Some(age_max) = issuer.age_max_ms {
        let issued = issued.ok_or(TokenFlaw::ClaimMissing)?;
        let end = issued.saturating_add(age_max).saturating_add(leeway);
        if now_ms >= end {
            return Err(TokenFlaw::TooOld);
        }
        until = until.min(end);
    }
    Ok((Span { from_ms: from, until_ms: until }, issued))
}

/// RFC 7519 §2, NumericDate: seconds, possibly with a fraction. Rounded to the millisecond below.
pub(crate) fn date(claims: &Object, name: &str) -> Result<Option<i64>, TokenFlaw> {
    let Some(value) = claims.get(name) else {
        return Ok(None);
    };
    let Json::Number(number) = value else {
        return Err(TokenFlaw::ClaimKind);
    };
    let ms = match *number {
        Number::Unsigned(seconds) => {
            i64::try_from(seconds).ok().and_then(|seconds| seconds.checked_mul(1000))
        }
        // Some issuers write the year 1 for "never began". All ages before 1970 are the same to us.
        Number::Signed(seconds) => Some(seconds.saturating_mul(1000)),
        // Casting saturates; the number is finite.
        Number::Fraction(seconds) => Some((seconds * 1000.0).floor() as i64),
    };
    match ms {
        // Beyond the year 9999 lies no date but a mistake, or the wish for a token without end.
        Some(ms) if ms <= DATE_MS_MAX => Ok(Some(ms.max(DATE_MS_MIN))),
        _ => Err(TokenFlaw::ClaimKind),
    }
}

/// 9999-12-31T23:59:59Z.
const DATE_MS_MAX: i64 = 253_402_300_799_000;

/// As far back.
const DATE_MS_MIN: i64 = -DATE_MS_MAX;

/// Real tokens have dozens of values. Six deep holds what identity providers nest for roles per client.
const BUDGET: Budget = Budget { depth: 6, members: 128, values: 512 };

#[cfg(test)]
mod tests {
    use super::*;

    fn dated(exp: &str) -> Result<Option<i64>, TokenFlaw> {
        date(&read(format!("{{\"exp\":{exp}}}").as_bytes()).unwrap(), "exp")
    }

    #[test]
    fn a_date_is_a_number_before_the_year_10000() {
        let kind = Err(TokenFlaw::ClaimKind);
        for (text, expected) in [
            ("0", Ok(Some(0))),
            ("1", Ok(Some(1000))),
            ("1.5", Ok(Some(1500))),
            ("1.0009", Ok(Some(1000))),
            ("1e3", Ok(Some(1_000_000))),
            ("-1", Ok(Some(-1000))),
            ("-0", Ok(Some(0))),
            ("-0.0001", Ok(Some(-1))),
            ("-62135596800", Ok(Some(-62_135_596_800_000))),
            ("-9223372036854775808", Ok(Some(DATE_MS_MIN))),
            ("-1e300", Ok(Some(DATE_MS_MIN))),
            ("253402300799", Ok(Some(DATE_MS_MAX))),
            ("253402300800", kind),
            ("9223372036854775807", kind),
            ("18446744073709551615", kind),
            ("18446744073709551616", kind),
            ("1e20", kind),
            ("1e300", kind),
            ("\"1\"", kind),
            ("null", kind),
            ("true", kind),
            ("[1]", kind),
            ("{}", kind),
        ] {
            assert_eq!(dated(text), expected, "{text}");
        }
        assert_eq!(date(&Object::default(), "exp"), Ok(None));
    }
}
