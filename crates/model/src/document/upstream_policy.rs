//! `UpstreamPolicy`: how patient the gateway is with upstreams, and how much it asks of them at once.

use super::common::TargetRef;
use crate::{
    read::Spanned,
    scalar::{Count, HeaderName, Name, Percent, Time},
    verdict::Mode,
};

crate::choice! {
    /// A failure after which a request may be sent again.
    pub enum RetryOn {
        /// No connection could be made, or its certificate was not accepted.
        ConnectFailed = "connectFailed",
        /// The connection ended before an answer.
        Reset = "reset",
        /// `firstByteTimeout` passed.
        Timeout = "timeout",
        /// The answer is 502, 503 or 504.
        GatewayError = "gatewayError",
    }
}

crate::document! {
    /// How patient the gateway is with the upstreams of a route, how much it asks of them at once, and who gets a copy.
    pub struct UpstreamPolicySpec {
        /// What it is attached to; none means the whole gateway.
        pub target_refs: Vec<Spanned<TargetRef>> = Vec::new(),
        /// How long the head of an answer may take, each time it is asked for. The route's `backendRequest` bounds all
        /// times together.
        pub first_byte_timeout: Option<Spanned<Time>>,
        /// A header that tells the upstream how many milliseconds are left for its answer.
        pub deadline_header: Option<Spanned<HeaderName>>,
        /// When a request is sent again. Only what does no harm twice is: GET, HEAD, OPTIONS, PUT and DELETE, without a
        /// body or with one that was held to be judged.
        pub retries: Option<RetriesSpec>,
        /// How many requests may be with the upstreams at once.
        pub concurrency: Option<ConcurrencySpec>,
        /// A second upstream that gets a copy of requests.
        pub mirror: Option<MirrorSpec>,
        /// Whether a narrower UpstreamPolicy may replace this one.
        pub allow_override: bool = false,
        /// Whether it is used. It has no shadow.
        pub mode: Mode = Mode::Enforce,
    }
}

crate::document! {
    /// When a request is sent again.
    pub struct RetriesSpec {
        /// How often at most, 5 at most.
        pub attempts: Spanned<Count> = Spanned::from(Count::of(1)),
        /// After which failures.
        pub on: Vec<RetryOn> = vec![RetryOn::ConnectFailed, RetryOn::Reset, RetryOn::GatewayError],
        /// Share of the requests that may be sent again, 20 at most: what is more makes an outage worse.
        pub budget_percent: Spanned<Percent> = Spanned::from(Percent::of(20)),
        /// The pause before the first time is drawn up to this; it doubles each time.
        pub backoff: Time = Time::millis(25),
    }
}

crate::document! {
    /// How many requests may be with the upstreams at once, in this process. More are refused as overload.
    pub struct ConcurrencySpec {
        /// The most.
        pub requests: Spanned<Count>,
        /// With it, the number follows how long answers take, between this and `requests`.
        pub adaptive_from: Option<Spanned<Count>>,
    }
}

crate::document! {
    /// A second upstream that gets a copy of requests. Its answers are dropped.
    pub struct MirrorSpec {
        /// Its name. It must add no credential.
        pub upstream: Spanned<Name>,
        /// Share of the requests that are copied.
        pub percent: Percent = Percent::of(100),
    }
}
