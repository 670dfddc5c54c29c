//! Trailers: fields after the body, in either direction.
//!
//! RFC 9110 §6.5.1 forbids in them whatever is needed before the body, and servers that merge them into the headers turn
//! each into a smuggled header. So names that frame, route, authenticate or describe the message are dropped.

use http::{HeaderMap, HeaderName};

use crate::field;

/// Most fields of a trailer section; gRPC uses three or four.
const COUNT_MAX: usize = 64;

/// Most bytes of names and values, 4 more for each field: as the parser in front admits for chunked bodies.
const BYTES_MAX: usize = 16 * 1024;

/// Names that are dropped beside the families of [`crate::field`]; those of that table are dropped, too, except the
/// signatures and digests that RFC 9530 and RFC 9421 send here.
const DROPPED: &[&str] = &[
    "age",
    "authentication-info",
    "cache-control",
    "clear-site-data",
    "expires",
    "location",
    "pragma",
    "refresh",
    "retry-after",
    "set-cookie",
    "strict-transport-security",
    "trailer",
    "vary",
    "warning",
    "www-authenticate",
];

/// Starts of names that are dropped.
const DROPPED_FAMILIES: &[&str] = &["access-control-", "content-", "proxy-", "sec-"];

/// Removes what must not be in trailers and tells how many lines that were. A section beyond the limits is removed whole: half of
/// it could mean something else.
pub fn clean_trailers(trailers: &mut HeaderMap) -> usize {
    let bytes: usize = trailers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    let before = trailers.len();
    if before > COUNT_MAX || bytes > BYTES_MAX {
        trailers.clear();
        return before;
    }
    let forbidden: Vec<HeaderName> =
        trailers.keys().filter(|name| is_forbidden(name.as_str())).cloned().collect();
    for name in forbidden {
        trailers.remove(name);
    }
    before - trailers.len()
}

/// Whether a trailer of this lower-case name is dropped.
pub fn is_forbidden(name: &str) -> bool {
    if matches!(name, "content-digest" | "repr-digest" | "signature" | "signature-input") {
        return false;
    }
    field::is_alias_prone(name)
        || field::lookup(name).is_some()
        || field::family(name).is_some()
        || DROPPED.contains(&name)
        || DROPPED_FAMILIES.iter().any(|start| name.starts_with(start))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn what_frames_routes_authenticates_or_describes_is_dropped() {
        let dropped = [
            "content-length",
            "transfer-encoding",
            "host",
            "te",
            "trailer",
            "connection",
            "upgrade",
            "authorization",
            "x-api-key",
            "cookie",
            "set-cookie",
            "www-authenticate",
            "proxy-authorization",
            "x-forwarded-for",
            "forwarded",
            "x-client-ipaddress",
            "x-consumer-id",
            "x-real-ip",
            "content-type",
            "content-encoding",
            "content-range",
            "x-request-id",
            "cache-control",
            "expect",
            "range",
            "x_forwarded_for",
            "x-http-method-override",
            "location",
            "access-control-allow-origin",
            "content-security-policy",
            "max-forwards",
            "if-match",
            "x-forwarded-prefix",
        ];
        for name in dropped {
            assert!(is_forbidden(name), "{name}");
        }
        for name in [
            "grpc-status",
            "grpc-message",
            "grpc-status-details-bin",
            "x-checksum",
            "server-timing",
            "etag",
            "content-digest",
            "signature",
        ] {
            assert!(!is_forbidden(name), "{name}");
        }
    }

    #[test]
    fn the_rest_passes_and_the_dropped_lines_are_counted() {
        let mut trailers = HeaderMap::new();
        for name in ["grpc-status", "host", "content-length", "host"] {
            trailers.append(HeaderName::from_static(name), HeaderValue::from_static("0"));
        }
        assert_eq!(clean_trailers(&mut trailers), 3);
        assert_eq!(trailers.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["grpc-status"]);
        assert_eq!(clean_trailers(&mut trailers), 0);
    }

    #[test]
    fn a_section_beyond_the_limits_is_dropped_whole() {
        let section = |count: usize, length: usize| {
            let mut trailers = HeaderMap::new();
            for n in 0..count {
                let name = HeaderName::from_bytes(format!("x-{n}").as_bytes()).unwrap();
                trailers.append(name, HeaderValue::from_bytes(&vec![b'a'; length]).unwrap());
            }
            trailers
        };
        for (count, length, left) in
            [(COUNT_MAX, 1, COUNT_MAX), (COUNT_MAX + 1, 1, 0), (1, BYTES_MAX - 7, 1), (1, BYTES_MAX - 6, 0)]
        {
            let mut trailers = section(count, length);
            clean_trailers(&mut trailers);
            assert_eq!(trailers.len(), left, "{count} {length}");
        }
    }
}
