//! What a policy allows beyond, or instead of, what answers say of themselves.
//!
//! Every default is the closed one: nothing is kept that the origin did not mark, and nothing of an identified caller
//! is given to another.

/// Between whom answers to identified callers are shared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sharing {
    /// Between nobody: each identity has its own.
    #[default]
    PerConsumer,
    /// Between all callers that the route lets through.
    Shared,
}

/// Which answers to requests with credentials are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Authorized {
    /// Those that say so by `public`, `s-maxage` or `must-revalidate` (RFC 9111 §3.5).
    #[default]
    Marked,
    /// All that may be kept at all; only where each identity has its own.
    Own,
}

/// The terms of one policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Between whom answers are shared.
    pub sharing: Sharing,
    /// Which answers to requests with credentials are kept.
    pub authorized: Authorized,
    /// Whether `CDN-Cache-Control` (RFC 9213) goes before `Cache-Control`.
    pub targeted: bool,
    /// Whether an answer with `Set-Cookie` is kept, without that field. Otherwise it is not kept.
    pub drop_set_cookie: bool,
    /// Percent of the time since `Last-Modified` for which an answer that says nothing counts as fresh; 0: never.
    pub heuristic_percent: u8,
    /// Most seconds that this may become. RFC 9111 §4.2.2 asks for a bound; a day is the usual one.
    pub heuristic_max_s: u64,
    /// Seconds for which 404, 405, 410, 414 and 501 that say nothing count as fresh; 0: not kept.
    pub negative_s: u64,
    /// Most seconds for which an answer counts as fresh, whatever it says. A week: a mistake of an origin ends.
    pub lifetime_max_s: u64,
    /// Most seconds of `stale-while-revalidate` and `stale-if-error` (RFC 5861) that are honoured.
    pub stale_max_s: u64,
    /// Whether callers' `Cache-Control` counts. It is advice (RFC 9111 §5.2.1), and one that lets any caller ask the
    /// origin again and again.
    pub heed_callers: bool,
    /// Most bytes of a body that is kept: 1 MiB, so that one answer cannot push hundreds out.
    pub body_bytes_max: usize,
}

impl Default for Terms {
    fn default() -> Self {
        Terms {
            sharing: Sharing::PerConsumer,
            authorized: Authorized::Marked,
            targeted: false,
            drop_set_cookie: false,
            heuristic_percent: 0,
            heuristic_max_s: 86_400,
            negative_s: 0,
            lifetime_max_s: 7 * 86_400,
            stale_max_s: 86_400,
            heed_callers: false,
            body_bytes_max: 1 << 20,
        }
    }
}
