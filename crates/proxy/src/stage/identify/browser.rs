//! What a request tells of the browser that sent it: whether somebody navigates, and which page made it.

use bartizan_message::RequestHead;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};

const FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
const FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Whether somebody opens a page, so that sending the browser elsewhere shows them something. What a script asks for,
/// an image, a frame: none of them can sign anybody in.
pub(super) fn navigates(head: &RequestHead) -> bool {
    *head.method() == Method::GET && head.upgrade().is_none() && opens_page(head.headers())
}

fn opens_page(headers: &HeaderMap) -> bool {
    match single(headers, &FETCH_MODE) {
        // Fetch metadata (W3C) §2: only browsers can set it, and every one of today does over TLS.
        Some(mode) => {
            mode == "navigate" && single(headers, &FETCH_DEST).is_none_or(|dest| dest == "document")
        }
        None if headers.contains_key(&FETCH_MODE) => false,
        None => headers.get_all(header::ACCEPT).iter().any(names_html),
    }
}

/// RFC 9110 §12.5.1: a page is asked for by its own name; `*/*` is what every script and tool sends.
fn names_html(accept: &HeaderValue) -> bool {
    accept.to_str().is_ok_and(|text| {
        text.split(',').any(|range| {
            let kind = range.split(';').next().unwrap_or_default().trim();
            kind.eq_ignore_ascii_case("text/html") || kind.eq_ignore_ascii_case("application/xhtml+xml")
        })
    })
}

/// Whether a request could change something, or opens a channel that could.
pub(super) fn may_change(head: &RequestHead) -> bool {
    head.upgrade().is_some() || !matches!(*head.method(), Method::GET | Method::HEAD | Method::OPTIONS)
}

/// Whether a page of this origin, or of one that is trusted, made the request. Who does not say is not believed: the
/// session came along by itself, so nothing else tells that its owner meant this.
pub(super) fn is_own_page(headers: &HeaderMap, origin: &str, trusted: &[Box<str>]) -> bool {
    if headers.contains_key(header::ORIGIN) {
        // Sent with every such request by every browser. One that is trusted has been named whatever the site is.
        return single(headers, &header::ORIGIN)
            .is_some_and(|from| from == origin || trusted.iter().any(|one| **one == *from));
    }
    // `none`: somebody typed the address or opened a bookmark.
    single(headers, &FETCH_SITE).is_some_and(|site| matches!(site, "same-origin" | "none"))
}

fn single<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(HeaderName::from_static(name), value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn only_opening_a_page_is_a_navigation() {
        for (fields, expected) in [
            (&[("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")][..], true),
            (&[("sec-fetch-mode", "navigate")], true),
            (&[("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "iframe")], false),
            (&[("sec-fetch-mode", "cors"), ("accept", "text/html")], false),
            (&[("sec-fetch-mode", "no-cors"), ("sec-fetch-dest", "image")], false),
            (&[("sec-fetch-mode", "navigate"), ("sec-fetch-mode", "navigate")], false),
            (&[("accept", "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8")], true),
            (&[("accept", "application/json"), ("accept", "TEXT/HTML ;q=1")], true),
            (&[("accept", "*/*")], false),
            (&[("accept", "application/json")], false),
            (&[("accept", "text/htmlx")], false),
            (&[], false),
        ] {
            assert_eq!(opens_page(&headers(fields)), expected, "{fields:?}");
        }
    }

    #[test]
    fn a_change_is_taken_from_own_pages_only() {
        let own = "https://app.example";
        let trusted = [Box::from("https://admin.example")];
        for (fields, expected) in [
            (&[("sec-fetch-site", "same-origin")][..], true),
            (&[("sec-fetch-site", "none")], true),
            (&[("sec-fetch-site", "same-site")], false),
            (&[("sec-fetch-site", "cross-site")], false),
            (&[("sec-fetch-site", "same-origin"), ("sec-fetch-site", "cross-site")], false),
            (&[("origin", own)], true),
            (&[("origin", own), ("sec-fetch-site", "same-origin")], true),
            (&[("origin", "https://admin.example"), ("sec-fetch-site", "cross-site")], true),
            (&[("origin", "https://evil.example")], false),
            (&[("origin", "https://evil.example"), ("sec-fetch-site", "same-origin")], false),
            (&[("origin", "null")], false),
            (&[("origin", "http://app.example")], false),
            (&[("origin", "https://app.example:8443")], false),
            (&[("origin", own), ("origin", "https://evil.example")], false),
            (&[], false),
        ] {
            assert_eq!(is_own_page(&headers(fields), own, &trusted), expected, "{fields:?}");
        }
    }
}
