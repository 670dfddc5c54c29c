//! It has not changed: asking the origin, and taking over what a 304 says (RFC 9111 §4.3).

use http::{
    HeaderMap, StatusCode,
    header::{
        CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_MODIFIED_SINCE,
        IF_NONE_MATCH, LAST_MODIFIED,
    },
};

use crate::{
    condition::is_strongly,
    entry::Entry,
    lookup::Asked,
    moment::Moment,
    store::{Refused, may_store},
};

/// The fields that ask whether `entry` still holds; nothing if it has no validator (RFC 9111 §4.3.1).
pub fn conditions(entry: &Entry) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    if let Some(etag) = entry.etag() {
        headers.insert(IF_NONE_MATCH, etag.clone());
    }
    if let Some(changed) = entry.headers().get(LAST_MODIFIED).filter(|_| entry.last_modified().is_some()) {
        headers.insert(IF_MODIFIED_SINCE, changed.clone());
    }
    (!headers.is_empty()).then_some(headers)
}

/// What a 304 made of an entry.
#[derive(Debug)]
pub enum Merged {
    /// It holds; this replaces it.
    Kept(Entry),
    /// It holds for this request, but may not be kept further.
    Used(Entry, Refused),
    /// The 304 speaks of something else; the entry is of no use.
    Mismatch,
}

/// Takes over what a 304 says (RFC 9111 §4.3.4, §3.2).
pub fn merge(
    entry: &Entry,
    asked: &Asked<'_>,
    not_modified: &HeaderMap,
    (asked_at, now): (Moment, Moment),
) -> Merged {
    if !is_of(entry, not_modified) {
        return Merged::Mismatch;
    }
    let mut headers = entry.headers().clone();
    for name in not_modified.keys() {
        // §3.2: what describes the content as it lies here is not changed without it.
        if [CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE].contains(name) {
            continue;
        }
        headers.remove(name);
        for value in not_modified.get_all(name) {
            headers.append(name.clone(), value.clone());
        }
    }
    if !not_modified.contains_key(http::header::DATE) {
        // The old date would make the confirmed answer as old as before.
        headers.remove(http::header::DATE);
        if let Some(date) = crate::moment::write_date(now.unix_s) {
            headers.insert(http::header::DATE, date);
        }
    }
    match may_store(asked, (entry.status(), &headers), (asked_at, now)) {
        Ok(storable) => match storable.complete(entry.body().clone()) {
            Some(merged) => Merged::Kept(merged),
            None => Merged::Mismatch,
        },
        Err(refused) => Merged::Used(entry.clone(), refused),
    }
}

/// §4.3.4: by a strong tag, else by the validators that both have.
fn is_of(entry: &Entry, not_modified: &HeaderMap) -> bool {
    if entry.status() != StatusCode::OK {
        return false;
    }
    match (not_modified.get(ETAG), entry.etag()) {
        (Some(theirs), Some(ours)) => is_strongly(theirs, ours) || weak(theirs) == weak(ours),
        (Some(_), None) => false,
        (None, _) => match (not_modified.get(LAST_MODIFIED), entry.headers().get(LAST_MODIFIED)) {
            (Some(theirs), Some(ours)) => theirs == ours,
            (Some(_), None) => entry.etag().is_some(),
            // Nothing is said: it can only mean the one that was asked about.
            (None, _) => true,
        },
    }
}

fn weak(etag: &http::HeaderValue) -> &[u8] {
    etag.as_bytes().strip_prefix(b"W/").unwrap_or(etag.as_bytes())
}
