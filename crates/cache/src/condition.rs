//! What the caller has already: `If-None-Match` and `If-Modified-Since` against a kept answer (RFC 9111 §4.3.2).

use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{IF_MODIFIED_SINCE, IF_NONE_MATCH},
};

use crate::{
    entry::Entry,
    moment::{Moment, parse_date},
};

/// Whether the caller's copy is as good as the kept one, so that 304 answers.
pub fn is_not_modified(entry: &Entry, request: &HeaderMap) -> bool {
    if entry.status() != StatusCode::OK {
        return false;
    }
    if request.contains_key(IF_NONE_MATCH) {
        // RFC 9110 §13.1.3: If-Modified-Since does not count beside it.
        let lines = request.get_all(IF_NONE_MATCH).iter().filter_map(|line| line.to_str().ok());
        return lines.into_iter().any(|line| names(line, entry.etag()));
    }
    let mut since = request.get_all(IF_MODIFIED_SINCE).iter();
    let (Some(since), None) = (since.next(), since.next()) else { return false };
    // RFC 9111 §4.3.2: without Last-Modified the date of the answer is what counts.
    let changed =
        entry.last_modified().or_else(|| entry.headers().get(http::header::DATE).and_then(parse_date));
    matches!((parse_date(since), changed), (Some(since), Some(changed)) if changed <= since)
}

/// The fields of a 304 (RFC 9110 §15.4.5): those that a 200 would have and that guide caches, nothing of the content.
pub fn not_modified_headers(entry: &Entry, now: Moment) -> HeaderMap {
    let mut headers = entry.headers_at(now);
    for name in [
        http::header::CONTENT_LENGTH,
        http::header::CONTENT_TYPE,
        http::header::CONTENT_ENCODING,
        http::header::CONTENT_LANGUAGE,
        http::header::ACCEPT_RANGES,
    ] {
        headers.remove(name);
    }
    headers
}

/// Whether a list of entity tags names `etag`, compared weakly (RFC 9110 §8.8.3.2).
fn names(list: &str, etag: Option<&HeaderValue>) -> bool {
    if list.trim() == "*" {
        return true;
    }
    let Some(etag) = etag.and_then(|value| value.to_str().ok()).and_then(opaque) else { return false };
    let mut rest = list;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        if rest.is_empty() {
            return false;
        }
        let Some(tag) = rest.strip_prefix("W/").unwrap_or(rest).strip_prefix('"') else { return false };
        let Some((tag, after)) = tag.split_once('"') else { return false };
        if tag == etag {
            return true;
        }
        rest = after;
    }
}

/// What stands between the quotes.
fn opaque(etag: &str) -> Option<&str> {
    let etag = etag.trim();
    let tag = etag.strip_prefix("W/").unwrap_or(etag).strip_prefix('"')?.strip_suffix('"')?;
    (!tag.contains('"')).then_some(tag)
}

/// Whether two tags are the same and both strong (RFC 9110 §8.8.3.2).
pub(crate) fn is_strongly(one: &HeaderValue, other: &HeaderValue) -> bool {
    let is_strong = |tag: &HeaderValue| {
        tag.to_str().ok().is_some_and(|tag| tag.starts_with('"') && opaque(tag).is_some())
    };
    is_strong(one) && one == other
}
