//! Where a token is in a request: `Authorization`, another header, a cookie.
//!
//! RFC 6750 §2: one token in one place. Several are refused and not chosen from, since the server behind us might
//! choose another.

use bartizan_config::snapshot::TokenPlacePlan;
use bartizan_identity::{
    introspection::TokenDigest,
    jwt::{Bearer, TokenId, bearer},
};
use http::{HeaderMap, HeaderName, HeaderValue, header};

/// What stands in the places of a method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found<'a> {
    /// Nothing.
    Absent,
    /// More than one, or none where one must be; why.
    Malformed(&'static str),
    /// One token, not judged yet.
    Token(&'a [u8]),
}

/// Looks for a token in all `places`.
pub(crate) fn find<'a>(headers: &'a HeaderMap, places: &[TokenPlacePlan]) -> Found<'a> {
    let mut found = Found::Absent;
    for place in places {
        let here = match place {
            TokenPlacePlan::Bearer => match bearer(values(headers, &header::AUTHORIZATION)) {
                Bearer::Absent => Found::Absent,
                Bearer::Malformed => Found::Malformed("the Authorization header holds no one token"),
                Bearer::Token(token) => Found::Token(token),
            },
            TokenPlacePlan::Header(name) => alone(values(headers, name)),
            TokenPlacePlan::Cookie(name) => alone(cookies(headers, name)),
        };
        found = match (found, here) {
            (Found::Absent, here) => here,
            (found, Found::Absent) => found,
            (Found::Malformed(why), _) | (_, Found::Malformed(why)) => Found::Malformed(why),
            (Found::Token(_), Found::Token(_)) => Found::Malformed("more than one token"),
        };
    }
    found
}

/// The token in one of these places that was judged under this id: what was verified, not what merely stands there.
pub(crate) fn verified_token<'a, 'p>(
    headers: &'a HeaderMap,
    places: impl Iterator<Item = &'p [TokenPlacePlan]>,
    id: TokenId,
) -> Option<&'a [u8]> {
    places
        .filter_map(|places| match find(headers, places) {
            Found::Token(token) => Some(token),
            Found::Absent | Found::Malformed(_) => None,
        })
        .find(|token| TokenDigest::of(token).id() == id)
}

/// Takes the cookies of these names out of a request, and leaves the others.
pub(crate) fn remove_cookies(headers: &mut HeaderMap, is_ours: impl Fn(&[u8]) -> bool) {
    // A crumb without a name is a name without a value to some servers.
    let is_other = |crumb: &&[u8]| !is_ours(split(crumb).map_or(crumb, |(known, _)| known));
    if crumbs(headers).all(|crumb| is_other(&crumb)) {
        return;
    }
    let others: Vec<&[u8]> = crumbs(headers).filter(is_other).collect();
    let line = others.join(&b"; "[..]);
    headers.remove(header::COOKIE);
    if let (false, Ok(value)) = (line.is_empty(), HeaderValue::from_bytes(&line)) {
        headers.insert(header::COOKIE, value);
    }
}

fn values<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> {
    headers.get_all(name).into_iter().map(HeaderValue::as_bytes)
}

fn alone<'a>(mut values: impl Iterator<Item = &'a [u8]>) -> Found<'a> {
    match (values.next(), values.next()) {
        (None, _) => Found::Absent,
        (Some([]), None) => Found::Malformed("the token is empty"),
        (Some(value), None) => Found::Token(value),
        (Some(_), Some(_)) => Found::Malformed("more than one token"),
    }
}

/// The values of all cookies of this name (RFC 6265 §4.2.1); names have a case.
pub(super) fn cookies<'a>(headers: &'a HeaderMap, name: &str) -> impl Iterator<Item = &'a [u8]> {
    crumbs(headers)
        .filter_map(move |crumb| split(crumb).filter(|(known, _)| *known == name.as_bytes()))
        .map(|(_, value)| value)
}

/// The names of all cookies that are text.
pub(super) fn crumb_names(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    crumbs(headers).filter_map(|crumb| std::str::from_utf8(split(crumb)?.0).ok())
}

/// The pairs of all `Cookie` fields; HTTP/2 may send each in its own (RFC 9113 §8.2.3).
fn crumbs(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    let fields = headers.get_all(header::COOKIE).into_iter();
    fields
        .flat_map(|field| field.as_bytes().split(|byte| *byte == b';'))
        .map(<[u8]>::trim_ascii)
        .filter(|crumb| !crumb.is_empty())
}

fn split(crumb: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = crumb.iter().position(|byte| *byte == b'=')?;
    let (name, value) = crumb.split_at_checked(at)?;
    Some((name.trim_ascii_end(), value.get(1..)?.trim_ascii()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        fields.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    #[test]
    fn a_token_is_in_one_place_once() {
        let places = [
            TokenPlacePlan::Bearer,
            TokenPlacePlan::Header(HeaderName::from_static("x-token")),
            TokenPlacePlan::Cookie("token".into()),
        ];
        let more = Found::Malformed("more than one token");
        for (fields, expected) in [
            (&[][..], Found::Absent),
            (&[("authorization", "Basic YTpi")], Found::Absent),
            (&[("authorization", "Bearer a.b.c")], Found::Token(b"a.b.c")),
            (&[("x-token", "a.b.c")], Found::Token(b"a.b.c")),
            (&[("cookie", "a=b; token=a.b.c; Token=x")], Found::Token(b"a.b.c")),
            (&[("cookie", "a=b"), ("cookie", "token=a.b.c")], Found::Token(b"a.b.c")),
            (&[("cookie", "tokens=a; xtoken=b; token")], Found::Absent),
            (&[("cookie", "token=a; token=a")], more),
            (&[("x-token", "a"), ("x-token", "a")], more),
            (&[("x-token", "")], Found::Malformed("the token is empty")),
            (&[("authorization", "Bearer a"), ("cookie", "token=a")], more),
            (&[("authorization", "Bearer a"), ("x-token", "a")], more),
        ] {
            assert_eq!(find(&headers(fields), &places), expected, "{fields:?}");
        }
        let two = headers(&[("authorization", "Bearer a"), ("authorization", "Bearer a")]);
        assert!(matches!(find(&two, &places), Found::Malformed(_)));
    }

    #[test]
    fn a_cookie_that_ends_here_is_taken_out_and_no_other() {
        for (fields, left) in [
            (&[("cookie", "a=b; token=x; c=d")][..], Some("a=b; c=d")),
            (&[("cookie", "token=x")], None),
            (&[("cookie", "token=x"), ("cookie", "a=b")], Some("a=b")),
            (&[("cookie", "a=b;c=d")], Some("a=b;c=d")),
            (&[("cookie", "xtoken=1; token =2")], Some("xtoken=1")),
            (&[("cookie", "token; a=b")], Some("a=b")),
        ] {
            let mut headers = headers(fields);
            remove_cookies(&mut headers, |name| name == b"token");
            assert_eq!(headers.get("cookie").map(|value| value.to_str().unwrap()), left, "{fields:?}");
        }
    }
}
