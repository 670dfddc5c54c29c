//! What the caller is told: `Cache-Status` (RFC 9211).

use std::fmt::Write;

use http::{HeaderName, HeaderValue, StatusCode};

use crate::{lookup::Missing, store::Refused};

/// RFC 9211 §2.
pub const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// What became of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handled {
    /// Answered from the cache; seconds for which the answer is still fresh.
    Hit {
        /// Negative for a stale one.
        ttl: i64,
    },
    /// Sent on.
    SentOn {
        /// Why.
        why: Missing,
        /// Whether the answer is kept, else why not; nothing where that was not asked.
        stored: Option<Result<(), Refused>>,
    },
    /// An equal request was on its way already, and its answer is this one too.
    Collapsed {
        /// Seconds for which it is still fresh.
        ttl: i64,
    },
    /// Sent on in vain, and answered by what is stale (RFC 5861 §4).
    Rescued {
        /// What the origin answered, if it did.
        status: Option<StatusCode>,
        /// Negative.
        ttl: i64,
    },
    /// Sent on to be validated.
    Validated {
        /// What the origin answered.
        status: StatusCode,
    },
}

/// The value of the field.
pub fn value(handled: Handled) -> HeaderValue {
    let mut text = String::from("bartizan");
    // Writing to a String cannot fail.
    let _ = match handled {
        Handled::Hit { ttl } => write!(text, "; hit; ttl={ttl}"),
        Handled::Collapsed { ttl } => write!(text, "; fwd=uri-miss; collapsed; ttl={ttl}"),
        Handled::Rescued { status, ttl } => {
            let _ = write!(text, "; fwd=stale");
            if let Some(status) = status {
                let _ = write!(text, "; fwd-status={}", status.as_u16());
            }
            write!(text, "; ttl={ttl}; detail=stale-if-error")
        }
        Handled::Validated { status } => write!(text, "; fwd=stale; fwd-status={}", status.as_u16()),
        Handled::SentOn { why, stored } => {
            let word = match why {
                Missing::Bypass | Missing::OnlyIfCached => "bypass",
                Missing::Uri => "uri-miss",
                Missing::Vary => "vary-miss",
                Missing::Stale => "stale",
                Missing::Request => "request",
            };
            let _ = write!(text, "; fwd={word}");
            match stored {
                Some(Ok(())) => write!(text, "; stored"),
                Some(Err(refused)) => write!(text, "; detail={}", refused.word()),
                None => Ok(()),
            }
        }
    };
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("bartizan"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_outcome_has_its_member_of_rfc_9211() {
        let forwarded = |why, stored| Handled::SentOn { why, stored };
        for (handled, expected) in [
            (Handled::Hit { ttl: 30 }, "bartizan; hit; ttl=30"),
            (Handled::Hit { ttl: -3 }, "bartizan; hit; ttl=-3"),
            (Handled::Validated { status: StatusCode::NOT_MODIFIED }, "bartizan; fwd=stale; fwd-status=304"),
            (Handled::Collapsed { ttl: 30 }, "bartizan; fwd=uri-miss; collapsed; ttl=30"),
            (
                Handled::Rescued { status: Some(StatusCode::BAD_GATEWAY), ttl: -3 },
                "bartizan; fwd=stale; fwd-status=502; ttl=-3; detail=stale-if-error",
            ),
            (
                Handled::Rescued { status: None, ttl: -3 },
                "bartizan; fwd=stale; ttl=-3; detail=stale-if-error",
            ),
            (forwarded(Missing::Uri, Some(Ok(()))), "bartizan; fwd=uri-miss; stored"),
            (
                forwarded(Missing::Vary, Some(Err(Refused::Private))),
                "bartizan; fwd=vary-miss; detail=private",
            ),
            (forwarded(Missing::Bypass, None), "bartizan; fwd=bypass"),
        ] {
            assert_eq!(value(handled), expected);
        }
    }
}
