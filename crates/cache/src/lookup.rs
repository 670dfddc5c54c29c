//! May a kept answer be used? RFC 9111 §4.

use std::sync::Arc;

use http::{
    HeaderMap, Method,
    header::{IF_MATCH, IF_UNMODIFIED_SINCE},
};

use crate::{
    control::RequestControl, entry::Entry, key::Key, moment::Moment, shelf::Shelf, terms::Terms, validate,
};

/// What is asked, by whom, and under which terms.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    /// Under what its answer is kept.
    pub key: &'a Key,
    /// GET or HEAD.
    pub method: &'a Method,
    /// The caller's fields.
    pub headers: &'a HeaderMap,
    /// Whether the gateway knows who asks.
    pub is_identified: bool,
    /// The fingerprint of the policies that the request has passed and the answer will.
    pub passed: u64,
    /// The policy's terms.
    pub terms: &'a Terms,
}

/// What was found.
#[derive(Clone, Debug)]
pub enum Found {
    /// A fresh answer.
    Fresh(Arc<Entry>),
    /// A stale answer that may be used while the origin is asked (RFC 5861 §3).
    Stale(Arc<Entry>),
    /// An answer that may be used once the origin has confirmed it; these fields ask it. Where they are empty nothing
    /// can be asked, and the answer is of use only if the origin fails (RFC 5861 §4).
    Validate(Arc<Entry>, HeaderMap),
    /// Nothing that may be used.
    Miss(Missing),
}

/// Why nothing was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// The request cannot be answered by a cache.
    Bypass,
    /// The caller wants an answer from the cache only (RFC 9111 §5.2.1.7), and there is none.
    OnlyIfCached,
    /// Nothing is kept for it.
    Uri,
    /// Only other variants are kept.
    Vary,
    /// It is stale and nothing validates it.
    Stale,
    /// The caller does not want what is kept.
    Request,
}

/// Whether a request can be answered from the cache at all. RFC 9110 §13.1.1 and §13.1.4: `If-Match` and
/// `If-Unmodified-Since` are for the origin.
pub fn is_answerable(headers: &HeaderMap) -> bool {
    !headers.contains_key(IF_MATCH) && !headers.contains_key(IF_UNMODIFIED_SINCE)
}

/// Whether a stale answer may be used because the origin fails (RFC 5861 §4). A caller that is heeded and wants none
/// that is not validated gets none.
pub fn may_rescue(asked: &Asked<'_>, entry: &Entry, now: Moment) -> bool {
    let refuses = || asked.terms.heed_callers && RequestControl::of_request(asked.headers).no_cache;
    entry.may_serve_on_error(now) && !refuses()
}

/// Looks for an answer.
pub fn lookup(shelf: &Shelf, asked: &Asked<'_>, now: Moment) -> Found {
    if !is_answerable(asked.headers) {
        return Found::Miss(Missing::Bypass);
    }
    let wishes = if asked.terms.heed_callers {
        RequestControl::of_request(asked.headers)
    } else {
        RequestControl::default()
    };
    let missing = |why: Missing| Found::Miss(if wishes.only_if_cached { Missing::OnlyIfCached } else { why });
    let entry = match shelf.find(asked.key, asked.headers, asked.passed) {
        Ok(entry) => entry,
        Err(why) => return missing(why),
    };
    let fresh_enough = wishes.max_age.is_none_or(|max| entry.age(now) <= max)
        && wishes.min_fresh.is_none_or(|min| entry.ttl(now) >= i64::try_from(min).unwrap_or(i64::MAX));
    let accepts = !wishes.no_cache && fresh_enough;
    if accepts && entry.is_fresh(now) {
        return Found::Fresh(entry);
    }
    if wishes.only_if_cached {
        return Found::Miss(Missing::OnlyIfCached);
    }
    if accepts && entry.may_serve_while_revalidating(now) {
        return Found::Stale(entry);
    }
    match validate::conditions(&entry) {
        Some(conditions) => Found::Validate(entry, conditions),
        None if accepts && entry.may_serve_on_error(now) => Found::Validate(entry, HeaderMap::new()),
        None if accepts => Found::Miss(Missing::Stale),
        None => Found::Miss(Missing::Request),
    }
}
