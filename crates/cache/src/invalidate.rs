//! It has changed: what a successful unsafe request makes useless (RFC 9111 §4.4).

use http::{
    HeaderMap, Method, StatusCode,
    header::{CONTENT_LOCATION, LOCATION},
};

use crate::key::Url;

/// The URLs whose answers are dropped after `method` on `url` was answered so: the target, and what the answer names
/// on the same origin. §4.4: never another origin's, or one could empty another's part of the cache.
pub fn invalidated(method: &Method, url: &Url, status: StatusCode, headers: &HeaderMap) -> Vec<Url> {
    if method.is_safe() || !(status.is_success() || status.is_redirection()) {
        return Vec::new();
    }
    let mut urls = vec![url.clone()];
    for name in [LOCATION, CONTENT_LOCATION] {
        let named =
            headers.get(name).and_then(|value| value.to_str().ok()).and_then(|text| same_origin(url, text));
        if let Some(named) = named.filter(|named| !urls.contains(named)) {
            urls.push(named);
        }
    }
    urls
}

/// An absolute path, or a URL of the same origin. Relative ones are left alone: §4.4 asks for none of them.
fn same_origin(url: &Url, text: &str) -> Option<Url> {
    let target = if text.starts_with('/') && !text.starts_with("//") {
        text
    } else {
        let origin = url.origin();
        let (scheme, authority) = origin.split_once("://")?;
        let (given, rest) = text.split_once("://")?;
        let (authority_given, target) = rest.split_at_checked(rest.find('/')?)?;
        let default = if scheme == "https" { ":443" } else { ":80" };
        let is_same = authority_given.eq_ignore_ascii_case(authority)
            || authority.strip_suffix(default).is_some_and(|host| host.eq_ignore_ascii_case(authority_given));
        if !given.eq_ignore_ascii_case(scheme) || !is_same {
            return None;
        }
        target
    };
    let target = target.split('#').next().unwrap_or_default();
    Some(url.with_target(target))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dropped(method: Method, status: u16, location: &str) -> Vec<String> {
        let mut headers = HeaderMap::new();
        headers.insert(LOCATION, location.parse().unwrap());
        let url = Url::new("https", "a.example", 443, "/a");
        let status = StatusCode::from_u16(status).unwrap();
        invalidated(&method, &url, status, &headers).iter().map(|url| url.target().to_owned()).collect()
    }

    #[test]
    fn only_a_successful_unsafe_request_drops_answers() {
        for (method, status, expected) in [
            (Method::POST, 201, &["/a", "/b"][..]),
            (Method::DELETE, 204, &["/a", "/b"]),
            (Method::PUT, 303, &["/a", "/b"]),
            (Method::POST, 400, &[]),
            (Method::POST, 500, &[]),
            (Method::GET, 200, &[]),
            (Method::HEAD, 200, &[]),
            (Method::OPTIONS, 200, &[]),
        ] {
            assert_eq!(dropped(method.clone(), status, "/b"), expected, "{method} {status}");
        }
    }

    #[test]
    fn another_origin_is_never_touched() {
        for (location, expected) in [
            ("https://a.example/b", &["/a", "/b"][..]),
            ("https://A.example:443/b#x", &["/a", "/b"]),
            ("/a", &["/a"]),
            ("http://a.example/b", &["/a"]),
            ("https://a.example:444/b", &["/a"]),
            ("https://b.example/b", &["/a"]),
            ("https://a.example.b.example/b", &["/a"]),
            ("//b.example/b", &["/a"]),
            ("b", &["/a"]),
        ] {
            assert_eq!(dropped(Method::POST, 200, location), expected, "{location}");
        }
    }
}
