//! One request as the detectors see it: what a line of the access log tells.
//!
//! Taking the log's own terms means that what a `RecordPolicy` hides was hidden before it came here, and that the same events
//! can be had live, from the record store and from a file.

/// A request that has ended.
#[derive(Clone, Copy, Debug, Default)]
pub struct Event<'a> {
    /// When its head was complete, in milliseconds since 1970.
    pub at_ms: u64,
    /// The request's id.
    pub id: &'a str,
    /// The consumer, once verified.
    pub consumer: Option<&'a str>,
    /// How the caller was identified.
    pub identified_by: Option<&'a str>,
    /// The public id of the credential, also of one that was refused.
    pub credential: Option<&'a str>,
    /// The client as the log shows it: whole, shortened or hashed.
    pub client: &'a str,
    /// The route.
    pub route: Option<&'a str>,
    /// The method.
    pub method: &'a str,
    /// The canonical path.
    pub path: &'a str,
    /// The query as the log shows it; masked values are not looked at.
    pub query: Option<&'a str>,
    /// The status that was sent; 0 when none was.
    pub status: u16,
    /// The stage that refused.
    pub stage: Option<&'a str>,
    /// Why it refused.
    pub reason: Option<&'a str>,
    /// Bytes of the request's body.
    pub request_bytes: u64,
    /// Bytes of the answer's body.
    pub response_bytes: u64,
    /// From head to end, in microseconds.
    pub duration_us: u64,
    /// The user agent.
    pub user_agent: Option<&'a str>,
}

/// What came of a request, as far as detectors care.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It was served.
    Good,
    /// A limit of ours refused it. That tells about the limit, not about the caller, and never teaches.
    Limited,
    /// No credential, a wrong one, or one that is not known.
    Credential,
    /// The caller may not.
    Forbidden,
    /// There is nothing of that name.
    Missing,
    /// The request was not understood, or an inspection refused it.
    Malformed,
    /// The service failed.
    Server,
    /// It ended before there was an answer.
    Abandoned,
}

impl Event<'_> {
    pub(crate) fn outcome(&self) -> Outcome {
        match (self.stage, self.reason, self.status) {
            (_, Some("TooManyFailures"), _) => Outcome::Credential,
            (Some("limit"), _, _) | (_, Some("AddressLimited" | "RateExceeded" | "QuotaExceeded"), _) => {
                Outcome::Limited
            }
            (_, Some("AddressDenied" | "OperationNotAllowed"), _) => Outcome::Forbidden,
            (_, Some("AttackDetected" | "PromptRefused" | "SchemaViolation"), _) => Outcome::Malformed,
            (_, _, 0 | 499) => Outcome::Abandoned,
            (_, _, 1..=399) => Outcome::Good,
            (_, _, 401 | 407) => Outcome::Credential,
            (_, _, 403) => Outcome::Forbidden,
            (_, _, 404 | 405 | 410) => Outcome::Missing,
            // A service's own limit is an answer about the caller's pace, like ours.
            (_, _, 429) => Outcome::Limited,
            (_, _, 500..) => Outcome::Server,
            _ => Outcome::Malformed,
        }
    }

    /// Whether the gateway passed it on, so that its endpoint is one that a service was asked for.
    pub(crate) fn was_forwarded(&self) -> bool {
        self.reason.is_none() && self.route.is_some()
    }
}

impl Outcome {
    /// The caller's own failure, of a kind that guessing and probing make.
    pub(crate) const fn is_failure(self) -> bool {
        matches!(self, Outcome::Credential | Outcome::Forbidden | Outcome::Missing | Outcome::Malformed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_follow_reason_before_status() {
        let cases = [
            (None, None, 200, Outcome::Good),
            (None, None, 304, Outcome::Good),
            (Some("limit"), Some("RateExceeded"), 429, Outcome::Limited),
            (Some("admit"), Some("AddressLimited"), 429, Outcome::Limited),
            (Some("identify"), Some("TooManyFailures"), 429, Outcome::Credential),
            (Some("identify"), Some("CredentialInvalid"), 401, Outcome::Credential),
            (None, None, 401, Outcome::Credential),
            (Some("authorize"), Some("NotAllowed"), 403, Outcome::Forbidden),
            (Some("inspect"), Some("AttackDetected"), 403, Outcome::Malformed),
            (Some("route"), Some("NoRoute"), 404, Outcome::Missing),
            (None, None, 503, Outcome::Server),
            (None, None, 0, Outcome::Abandoned),
        ];
        for (stage, reason, status, expected) in cases {
            let event = Event { stage, reason, status, ..Event::default() };
            assert_eq!(event.outcome(), expected, "{stage:?} {reason:?} {status}");
        }
    }
}
