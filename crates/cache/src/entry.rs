//! What is kept: the head and the whole body of one answer, how old it was, and which policies it has passed.

use std::fmt;

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode,
    header::{AGE, CONTENT_LENGTH, ETAG, LAST_MODIFIED},
};

use crate::{
    moment::{Moment, parse_date},
    vary::Selecting,
};

/// Most tags of an entry that count, so that purging stays a short look.
const TAGS_MAX: usize = 64;

/// What an entry costs beside its texts: pointers, map slots, the queue's place.
const OVERHEAD: usize = 512;

/// What is known of an answer before its body has come.
#[derive(Clone)]
pub(crate) struct Origin {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) selecting: Selecting,
    pub(crate) passed: u64,
    pub(crate) kept_at: Moment,
    pub(crate) initial_age: u64,
    pub(crate) lifetime: u64,
    pub(crate) must_validate: bool,
    pub(crate) forbids_stale: bool,
    pub(crate) stale_while_revalidate: u64,
    pub(crate) stale_if_error: u64,
    pub(crate) tags: Box<[Box<str>]>,
}

/// One kept answer. Made by [`Storable::complete`](crate::Storable::complete) only.
#[derive(Clone)]
pub struct Entry {
    origin: Origin,
    body: Bytes,
}

/// What it says is for its callers.
impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("status", &self.origin.status)
            .field("bytes", &self.bytes())
            .finish_non_exhaustive()
    }
}

impl Entry {
    pub(crate) fn new(mut origin: Origin, body: Bytes) -> Self {
        if origin.status != StatusCode::NO_CONTENT {
            // A body that came in chunks is whole now.
            origin.headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
        }
        Entry { origin, body }
    }

    /// Its status.
    pub fn status(&self) -> StatusCode {
        self.origin.status
    }

    /// Its headers as kept, without `Age` and `Set-Cookie`.
    pub fn headers(&self) -> &HeaderMap {
        &self.origin.headers
    }

    /// Its headers as sent: with `Age` (RFC 9111 §5.1).
    pub fn headers_at(&self, now: Moment) -> HeaderMap {
        let mut headers = self.origin.headers.clone();
        headers.insert(AGE, HeaderValue::from(self.age(now)));
        headers
    }

    /// Its whole body.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// The fingerprint of the policies that it has passed.
    pub fn passed(&self) -> u64 {
        self.origin.passed
    }

    /// How old it is, in seconds (RFC 9111 §4.2.3).
    pub fn age(&self, now: Moment) -> u64 {
        self.origin.initial_age.saturating_add(now.seconds_since(self.origin.kept_at))
    }

    /// Seconds for which it is still fresh; negative once it is stale.
    pub fn ttl(&self, now: Moment) -> i64 {
        let signed = |seconds: u64| i64::try_from(seconds).unwrap_or(i64::MAX);
        signed(self.origin.lifetime).saturating_sub(signed(self.age(now)))
    }

    /// Whether it may be used without asking (RFC 9111 §4.2: fresh while the lifetime exceeds the age).
    pub fn is_fresh(&self, now: Moment) -> bool {
        !self.origin.must_validate && self.ttl(now) > 0
    }

    /// Whether it ever is fresh. What always has to be validated is of no use to those who would wait for it.
    pub fn can_be_fresh(&self) -> bool {
        !self.origin.must_validate && self.origin.lifetime > 0
    }

    /// Whether it may be used while it is being validated (RFC 5861 §3).
    pub fn may_serve_while_revalidating(&self, now: Moment) -> bool {
        self.is_stale_within(self.origin.stale_while_revalidate, now)
    }

    /// Whether it may be used because the origin fails (RFC 5861 §4).
    pub fn may_serve_on_error(&self, now: Moment) -> bool {
        self.is_stale_within(self.origin.stale_if_error, now)
    }

    fn is_stale_within(&self, seconds: u64, now: Moment) -> bool {
        let beyond = self.age(now).saturating_sub(self.origin.lifetime);
        !self.origin.forbids_stale && !self.origin.must_validate && seconds > 0 && beyond <= seconds
    }

    /// Its entity tag.
    pub fn etag(&self) -> Option<&HeaderValue> {
        self.origin.headers.get(ETAG)
    }

    /// When it last changed, in seconds since 1970.
    pub fn last_modified(&self) -> Option<u64> {
        self.origin.headers.get(LAST_MODIFIED).and_then(parse_date)
    }

    /// Whether it is the variant for a request.
    pub fn matches(&self, request: &HeaderMap) -> bool {
        self.origin.selecting.matches(request)
    }

    /// Its tags.
    pub fn tags(&self) -> impl Iterator<Item = &str> {
        self.origin.tags.iter().map(|tag| &**tag)
    }

    /// Bytes that it takes, roughly and never too few.
    pub fn bytes(&self) -> usize {
        let head: usize =
            self.origin.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 64).sum();
        let tags: usize = self.origin.tags.iter().map(|tag| tag.len() + 16).sum();
        OVERHEAD + head + tags + self.origin.selecting.bytes() + self.body.len()
    }

    pub(crate) fn selecting(&self) -> &Selecting {
        &self.origin.selecting
    }
}

/// The words of these fields, separated by commas or blanks.
pub(crate) fn tags(headers: &HeaderMap, fields: &[HeaderName]) -> Box<[Box<str>]> {
    let lines = fields.iter().flat_map(|name| headers.get_all(name)).filter_map(|line| line.to_str().ok());
    let words = lines.flat_map(|line| line.split([',', ' ', '\t'])).filter(|word| !word.is_empty());
    words.take(TAGS_MAX).map(Into::into).collect()
}
