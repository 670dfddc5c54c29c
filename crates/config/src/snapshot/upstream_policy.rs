//! A compiled `UpstreamPolicy`.

use std::{sync::Arc, time::Duration};

use http::HeaderName;

/// How patient the gateway is with the upstreams of a route, and how much it asks of them at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamPolicyPlan {
    /// `UpstreamPolicy/name`.
    pub label: Arc<str>,
    /// How long the head of an answer may take each time.
    pub first_byte: Option<Duration>,
    /// Tells the upstream how many milliseconds are left.
    pub deadline_header: Option<HeaderName>,
    /// When a request is sent again.
    pub retries: Option<RetriesPlan>,
    /// How many may be with the upstreams at once.
    pub concurrency: Option<ConcurrencyPlan>,
    /// Who gets a copy.
    pub mirror: Option<MirrorPlan>,
}

/// When a request is sent again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetriesPlan {
    /// How often at most.
    pub attempts: u8,
    /// After no connection.
    pub on_connect: bool,
    /// After one that ended before an answer.
    pub on_reset: bool,
    /// After [`UpstreamPolicyPlan::first_byte`].
    pub on_timeout: bool,
    /// After 502, 503 and 504.
    pub on_gateway_error: bool,
    /// Share of the requests, at most 20.
    pub budget_percent: u8,
    /// The longest pause before the first time.
    pub backoff: Duration,
}

/// How many requests may be with the upstreams at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConcurrencyPlan {
    /// The most.
    pub most: usize,
    /// The fewest, where the number follows how long answers take.
    pub adaptive_from: Option<usize>,
}

/// Who gets a copy of requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MirrorPlan {
    /// The upstream's name.
    pub upstream: Arc<str>,
    /// Share of the requests.
    pub percent: u8,
}
