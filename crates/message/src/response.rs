//! The head of an upstream's answer: judged as strictly as a request, then cleaned for the way back.
//!
//! A badly framed answer poisons the connection it came on and the next caller's answer; it is refused (502) and the
//! connection must not be used again. Interim answers (1xx but 101) are the forwarder's business and do not come here.

use std::fmt;

use http::{
    HeaderMap, HeaderValue, Response, StatusCode, Version,
    header::{CONNECTION, CONTENT_LENGTH, UPGRADE},
};

use crate::{
    connection::{Options, Upgrade},
    field,
    framing::parse_length,
};

/// What an upstream did that HTTP does not allow. The connection it came on must be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Misbehaved {
    /// A body was announced where there is none (204, or an interim status).
    BodyNotAllowed,
    /// `Content-Length` and `Transfer-Encoding` were both sent.
    BothFramings,
    /// `Connection` could not be read, or names the framing.
    ConnectionInvalid,
    /// `Content-Length` was not one plain number.
    ContentLengthInvalid,
    /// The head has more bytes or fields than an upstream may send.
    HeadTooLarge,
    /// A header value contains a control character.
    HeaderInvalid,
    /// An interim status stood where the final one belongs.
    StatusUnexpected,
    /// `Transfer-Encoding` was not exactly `chunked`, or was sent in a version that has none.
    TransferEncodingInvalid,
    /// The protocol was changed without being asked for, or to another one.
    UpgradeUnasked,
}

impl Misbehaved {
    /// For the record; callers are not told.
    pub const fn as_str(self) -> &'static str {
        match self {
            Misbehaved::BodyNotAllowed => "announces a body where there is none",
            Misbehaved::BothFramings => "sends content-length and transfer-encoding",
            Misbehaved::ConnectionInvalid => "sends a connection header that cannot be obeyed",
            Misbehaved::ContentLengthInvalid => "sends a content-length that is not one plain number",
            Misbehaved::HeadTooLarge => "sends a head that is too large",
            Misbehaved::HeaderInvalid => "sends a control character in a header",
            Misbehaved::StatusUnexpected => "sends an interim status as the final one",
            Misbehaved::TransferEncodingInvalid => "sends a transfer-encoding that is not exactly chunked",
            Misbehaved::UpgradeUnasked => "changes to a protocol that was not asked for",
        }
    }
}

impl fmt::Display for Misbehaved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "upstream {}", self.as_str())
    }
}

impl std::error::Error for Misbehaved {}

/// What an upstream may send as a head: 64 KiB and 200 fields. Servers send more than browsers do (`Set-Cookie`, `Link`).
pub const RESPONSE_LIMITS: ResponseLimits = ResponseLimits { header_bytes: 64 * 1024, header_count: 200 };

/// How large the head of an answer may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponseLimits {
    /// Most bytes of names and values, 4 more for each field.
    pub header_bytes: usize,
    /// Most fields.
    pub header_count: usize,
}

/// Judges the head of a final answer (or of 101, if the request `asked` for a protocol) and removes what belongs to the upstream's hop. After a 101 that was
/// asked for, `Connection: upgrade` and `Upgrade` are set for the client.
///
/// # Errors
///
/// What the upstream did wrong; `response` is then unchanged and must not be used.
pub fn clean_response<B>(
    response: &mut Response<B>,
    asked: Option<&Upgrade>,
    limits: &ResponseLimits,
) -> Result<(), Misbehaved> {
    let census = Census::take(response.headers(), limits)?;
    let switched = judge_status(response, asked)?;
    check_framing(response, &census)?;
    let mut options = Options::default();
    if census.connection {
        for line in response.headers().get_all(CONNECTION) {
            options.read(line).ok_or(Misbehaved::ConnectionInvalid)?;
        }
    }
    if options.named.contains(&CONTENT_LENGTH) {
        return Err(Misbehaved::ConnectionInvalid);
    }

    let hops = census.hops;
    let status = response.status();
    let headers = response.headers_mut();
    for (at, name) in HOP_BY_HOP.iter().enumerate() {
        if hops & (1 << at) != 0 {
            headers.remove(*name);
        }
    }
    for name in options.named {
        headers.remove(name);
    }
    if status == StatusCode::NO_CONTENT {
        // Many servers add `Content-Length: 0`, which RFC 9110 §8.6 forbids here.
        headers.remove(CONTENT_LENGTH);
    }
    if let Some(upgrade) = switched {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, upgrade.protocol().clone());
    }
    Ok(())
}

/// Headers of the upstream's hop (RFC 9110 §7.6.1). `Trailer` stays: it announces to the client what follows.
const HOP_BY_HOP: &[&str] = &[
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authentication-info",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "transfer-encoding",
    "upgrade",
];

/// What one pass over the headers found.
#[derive(Default)]
struct Census<'a> {
    length: Found<'a>,
    coding: Found<'a>,
    connection: bool,
    /// The rows of [`HOP_BY_HOP`] that are there, as bits.
    hops: u16,
}

/// A header that may come once.
#[derive(Default)]
enum Found<'a> {
    #[default]
    Nowhere,
    Once(&'a HeaderValue),
    Repeated,
}

impl<'a> Found<'a> {
    fn note(&mut self, value: &'a HeaderValue) {
        *self = match self {
            Found::Nowhere => Found::Once(value),
            Found::Once(_) | Found::Repeated => Found::Repeated,
        };
    }
}

impl<'a> Census<'a> {
    fn take(headers: &'a HeaderMap, limits: &ResponseLimits) -> Result<Self, Misbehaved> {
        if headers.len() > limits.header_count {
            return Err(Misbehaved::HeadTooLarge);
        }
        let mut census = Census::default();
        let mut bytes = 0usize;
        for (name, value) in headers {
            let is_length = *name == CONTENT_LENGTH;
            let name = name.as_str();
            bytes += name.len() + value.len() + 4;
            if bytes > limits.header_bytes {
                return Err(Misbehaved::HeadTooLarge);
            }
            if field::has_control(value.as_bytes()) {
                return Err(Misbehaved::HeaderInvalid);
            }
            if is_length {
                census.length.note(value);
                continue;
            }
            match name {
                "transfer-encoding" => census.coding.note(value),
                "connection" => census.connection = true,
                _ => {}
            }
            // Only a few first letters begin a name of the upstream's hop.
            if matches!(name.as_bytes().first(), Some(b'c' | b'k' | b'p' | b't' | b'u'))
                && let Some(at) = HOP_BY_HOP.iter().position(|hop| *hop == name)
            {
                census.hops |= 1 << at;
            }
        }
        Ok(census)
    }
}

/// The upgrade that the answer carries out, if it does.
fn judge_status<'a, B>(
    response: &Response<B>,
    asked: Option<&'a Upgrade>,
) -> Result<Option<&'a Upgrade>, Misbehaved> {
    if !response.status().is_informational() {
        return Ok(None);
    }
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Err(Misbehaved::StatusUnexpected);
    }
    let upgrade = asked.ok_or(Misbehaved::UpgradeUnasked)?;
    let mut answers = response.headers().get_all(UPGRADE).iter();
    match (answers.next(), answers.next()) {
        (Some(answer), None) if upgrade.is_answered_by(answer) => Ok(Some(upgrade)),
        _ => Err(Misbehaved::UpgradeUnasked),
    }
}

/// RFC 9112 §6.3, without its repairs.
fn check_framing<B>(response: &Response<B>, census: &Census<'_>) -> Result<(), Misbehaved> {
    let length = match census.length {
        Found::Nowhere => None,
        Found::Once(value) => Some(parse_length(value.as_bytes()).ok_or(Misbehaved::ContentLengthInvalid)?),
        Found::Repeated => return Err(Misbehaved::ContentLengthInvalid),
    };
    let coding = match census.coding {
        Found::Nowhere => false,
        Found::Once(value) if value.as_bytes().eq_ignore_ascii_case(b"chunked") => true,
        Found::Once(_) | Found::Repeated => return Err(Misbehaved::TransferEncodingInvalid),
    };
    if coding && length.is_some() {
        return Err(Misbehaved::BothFramings);
    }
    if coding && response.version() != Version::HTTP_11 {
        return Err(Misbehaved::TransferEncodingInvalid);
    }
    // RFC 9110 §8.6 and RFC 9112 §6.1: neither header in 204 and 1xx.
    let status = response.status();
    let bodiless = status == StatusCode::NO_CONTENT || status.is_informational();
    if bodiless && (coding || length.is_some_and(|length| length > 0)) {
        return Err(Misbehaved::BodyNotAllowed);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use http::HeaderName;
    use proptest::prelude::*;

    use super::*;

    fn answer(status: u16, lines: &[(&str, &str)]) -> Response<()> {
        let mut response = Response::new(());
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        for (name, value) in lines {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            response.headers_mut().append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        response
    }

    fn clean(status: u16, lines: &[(&str, &str)]) -> Result<Vec<String>, Misbehaved> {
        let mut response = answer(status, lines);
        clean_response(&mut response, None, &RESPONSE_LIMITS)?;
        let mut left: Vec<_> = response
            .headers()
            .iter()
            .map(|(n, v)| format!("{n}: {}", String::from_utf8_lossy(v.as_bytes())))
            .collect();
        left.sort();
        Ok(left)
    }

    #[test]
    fn sound_answers_keep_what_is_for_the_client() {
        type Case = (u16, &'static [(&'static str, &'static str)], &'static [&'static str]);
        let cases: &[Case] = &[
            (200, &[("content-length", "5"), ("server", "x")], &["content-length: 5", "server: x"]),
            (200, &[("transfer-encoding", "Chunked"), ("trailer", "x-sum")], &["trailer: x-sum"]),
            (200, &[("connection", "close, X-Hop"), ("x-hop", "1"), ("keep-alive", "5")], &[]),
            (200, &[("proxy-connection", "close"), ("upgrade", "h2c"), ("te", "x")], &[]),
            (200, &[("set-cookie", "a=1"), ("set-cookie", "b=2")], &["set-cookie: a=1", "set-cookie: b=2"]),
            (204, &[("content-length", "0")], &[]),
            (304, &[("content-length", "5")], &["content-length: 5"]),
        ];
        for (status, lines, expected) in cases {
            assert_eq!(clean(*status, lines).unwrap(), *expected, "{status} {lines:?}");
        }
    }

    #[test]
    fn badly_framed_answers_are_refused() {
        type Case = (u16, &'static [(&'static str, &'static str)], Misbehaved);
        let cases: &[Case] = &[
            (200, &[("content-length", "5"), ("transfer-encoding", "chunked")], Misbehaved::BothFramings),
            (200, &[("content-length", "5"), ("content-length", "6")], Misbehaved::ContentLengthInvalid),
            (200, &[("content-length", "5"), ("content-length", "5")], Misbehaved::ContentLengthInvalid),
            (200, &[("content-length", "5, 5")], Misbehaved::ContentLengthInvalid),
            (200, &[("content-length", "+5")], Misbehaved::ContentLengthInvalid),
            (200, &[("content-length", "")], Misbehaved::ContentLengthInvalid),
            (200, &[("content-length", "18446744073709551616")], Misbehaved::ContentLengthInvalid),
            (200, &[("transfer-encoding", "gzip, chunked")], Misbehaved::TransferEncodingInvalid),
            (200, &[("transfer-encoding", "identity")], Misbehaved::TransferEncodingInvalid),
            (
                200,
                &[("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")],
                Misbehaved::TransferEncodingInvalid,
            ),
            (
                200,
                &[("connection", "content-length"), ("content-length", "5")],
                Misbehaved::ConnectionInvalid,
            ),
            (200, &[("connection", "a b")], Misbehaved::ConnectionInvalid),
            (204, &[("content-length", "5")], Misbehaved::BodyNotAllowed),
            (204, &[("transfer-encoding", "chunked")], Misbehaved::BodyNotAllowed),
            (100, &[], Misbehaved::StatusUnexpected),
            (103, &[], Misbehaved::StatusUnexpected),
            (101, &[("upgrade", "websocket"), ("connection", "upgrade")], Misbehaved::UpgradeUnasked),
        ];
        for (status, lines, expected) in cases {
            assert_eq!(clean(*status, lines), Err(*expected), "{status} {lines:?}");
        }
    }

    #[test]
    fn a_coding_outside_http_1_1_is_refused() {
        for version in [Version::HTTP_10, Version::HTTP_2] {
            let mut response = answer(200, &[("transfer-encoding", "chunked")]);
            *response.version_mut() = version;
            assert_eq!(
                clean_response(&mut response, None, &RESPONSE_LIMITS),
                Err(Misbehaved::TransferEncodingInvalid)
            );
        }
    }

    #[test]
    fn only_the_protocol_that_was_asked_for_is_changed_to() {
        let asked = Upgrade::parse(&HeaderValue::from_static("websocket")).unwrap().unwrap();
        let to = Some(&asked);
        let mut response =
            answer(101, &[("upgrade", "WebSocket"), ("connection", "Upgrade, x-hop"), ("x-hop", "1")]);
        clean_response(&mut response, to, &RESPONSE_LIMITS).unwrap();
        assert_eq!(response.headers().get(UPGRADE).unwrap(), "websocket");
        assert_eq!(response.headers().get(CONNECTION).unwrap(), "upgrade");
        assert!(!response.headers().contains_key("x-hop"));

        for lines in [&[("upgrade", "other")][..], &[], &[("upgrade", "websocket"), ("upgrade", "websocket")]]
        {
            let mut response = answer(101, lines);
            assert_eq!(
                clean_response(&mut response, to, &RESPONSE_LIMITS),
                Err(Misbehaved::UpgradeUnasked),
                "{lines:?}"
            );
        }
    }

    #[test]
    fn the_largest_head_passes_and_one_field_or_byte_more_does_not() {
        let name = |n: usize| format!("x-{n}");
        let with_fields = |count: usize| {
            let names: Vec<_> = (0..count).map(name).collect();
            clean(200, &names.iter().map(|n| (n.as_str(), "")).collect::<Vec<_>>()).map(|left| left.len())
        };
        assert_eq!(with_fields(200), Ok(200));
        assert_eq!(with_fields(201), Err(Misbehaved::HeadTooLarge));
        let value = "a".repeat(64 * 1024 - 5);
        assert!(clean(200, &[("a", &value)]).is_ok());
        assert_eq!(clean(200, &[("ab", &value)]), Err(Misbehaved::HeadTooLarge));
    }

    proptest! {
        #[test]
        fn what_passes_has_one_framing_and_no_hop_by_hop_header(
            lines in prop::collection::vec((
                prop::sample::select(vec!["content-length", "transfer-encoding", "connection", "upgrade", "te", "x", "keep-alive"]),
                prop::sample::select(vec!["5", "chunked", "close", "x", "content-length", "keep-alive, x", "", "5, 5"]),
            ), 0..6),
            status in prop::sample::select(vec![200u16, 204, 304, 101, 100]),
        ) {
            let mut response = answer(status, &lines);
            if clean_response(&mut response, None, &RESPONSE_LIMITS).is_ok() {
                prop_assert!(HOP_BY_HOP.iter().all(|name| !response.headers().contains_key(*name)));
                prop_assert!(response.headers().get_all(CONTENT_LENGTH).iter().count() <= 1);
            }
        }
    }
}
