//! What a policy allows beyond, or instead of, what answers say of themselves.
//!
//! Every default is the closed one: nothing is kept that the origin did not mark, and nothing of an identified caller
//! is given to another.

use http::HeaderName;

/// What origins usually call them.
const TAG_FIELDS: [&str; 2] = ["cache-tag", "surrogate-key"];

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
    /// Whether answers of every final status are kept that say themselves how long they are fresh (RFC 9111 §3), and
    /// not only of those that outlast their cause.
    pub any_status: bool,
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
    /// Seconds for which an answer that does not say how long may be used while it is validated; 0: not at all.
    pub stale_while_revalidate_s: u64,
    /// Seconds for which an answer that does not say how long may be used when the origin fails; 0: not at all.
    pub stale_if_error_s: u64,
    /// The fields of an answer that hold its tags, by which it can be purged.
    pub tag_fields: Vec<HeaderName>,
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
            any_status: false,
            heuristic_percent: 0,
            heuristic_max_s: 86_400,
            negative_s: 0,
            lifetime_max_s: 7 * 86_400,
            stale_max_s: 86_400,
            stale_while_revalidate_s: 0,
            stale_if_error_s: 0,
            tag_fields: TAG_FIELDS.map(HeaderName::from_static).into(),
            heed_callers: false,
            body_bytes_max: 1 << 20,
        }
    }
}
