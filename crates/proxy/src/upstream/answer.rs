//! Which response heads are believed.
//!
//! hyper already refuses what it cannot parse, differing lengths and `Transfer-Encoding` in HTTP/1.0. What it lets
//! pass and a gateway must not, is refused here: a head that could be framed in two ways by whoever reads it next.

use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Version, header};

/// What a believed head says about the connection it came on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Connection {
    /// May serve again once the exchange is complete.
    Reusable,
    /// Bytes may follow that belong to no response.
    Suspect,
}

/// What of the request decides how its response is read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) is_head: bool,
    pub(super) is_upgrade: bool,
}

impl Asked {
    pub(super) fn of<B>(request: &http::Request<B>) -> Self {
        Asked {
            is_head: request.method() == Method::HEAD,
            is_upgrade: request.headers().contains_key(header::UPGRADE),
        }
    }
}

/// Judges a head; the error is for the log.
pub(super) fn judge<B>(response: &Response<B>, asked: Asked) -> Result<Connection, &'static str> {
    let status = response.status();
    if status.as_u16() >= 600 {
        return Err("a status above 599");
    }
    // RFC 9110 §7.8: a server switches only to what the client asked for; HTTP/2 has no such switch (RFC 9113 §8.6).
    if status == StatusCode::SWITCHING_PROTOCOLS
        && (!asked.is_upgrade || response.version() == Version::HTTP_2)
    {
        return Err("a switch of protocols that was not asked for");
    }
    let Framing { length, is_chunked } = framing(response.headers())?;
    if is_chunked && length.is_some() {
        // RFC 9112 §6.3: "ought to be handled as an error"; a gateway that forwards it invites response splitting.
        return Err("content-length beside transfer-encoding");
    }
    // RFC 9110 §6.4.1: these have no content. An origin that announces some anyway may send it.
    let has_no_content = matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let announces =
        is_chunked || (status == StatusCode::NO_CONTENT && length.is_some_and(|length| length > 0));
    if has_no_content && announces && !asked.is_head {
        return Ok(Connection::Suspect);
    }
    Ok(Connection::Reusable)
}

/// Where the body ends, as far as the head says.
#[derive(Default)]
struct Framing {
    length: Option<u64>,
    is_chunked: bool,
}

/// Reads both fields in one pass. hyper accepts several equal lengths (also as a list); RFC 9110 §8.6 lets us refuse
/// them. Codings other than chunked, which hyper would read until the connection ends, are refused.
fn framing(headers: &HeaderMap) -> Result<Framing, &'static str> {
    let mut framing = Framing::default();
    for (name, value) in headers {
        if *name == header::CONTENT_LENGTH {
            if framing.length.is_some() {
                return Err("more than one content-length");
            }
            framing.length = Some(parse_length(value).ok_or("a content-length that is not a number")?);
        } else if *name == header::TRANSFER_ENCODING {
            if framing.is_chunked || !value.as_bytes().eq_ignore_ascii_case(b"chunked") {
                return Err("a transfer-encoding other than chunked");
            }
            framing.is_chunked = true;
        }
    }
    Ok(framing)
}

/// RFC 9110 §8.6: `1*DIGIT`, nothing else.
fn parse_length(value: &HeaderValue) -> Option<u64> {
    let bytes = value.as_bytes();
    if bytes.is_empty() || bytes.len() > 19 || !bytes.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(bytes.iter().fold(0, |sum: u64, digit| sum * 10 + u64::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GET: Asked = Asked { is_head: false, is_upgrade: false };

    fn judged(
        status: u16,
        headers: &[(&'static str, &'static str)],
        asked: Asked,
    ) -> Result<Connection, &'static str> {
        let mut response = Response::builder().status(status).body(()).unwrap();
        for (name, value) in headers {
            response.headers_mut().append(*name, HeaderValue::from_static(value));
        }
        judge(&response, asked)
    }

    #[test]
    fn a_response_that_could_be_framed_in_two_ways_is_refused() {
        let cases: &[(&[(&str, &str)], bool)] = &[
            (&[], true),
            (&[("content-length", "5")], true),
            (&[("transfer-encoding", "chunked")], true),
            (&[("transfer-encoding", "Chunked")], true),
            (&[("content-length", "5"), ("transfer-encoding", "chunked")], false),
            (&[("content-length", "5"), ("content-length", "5")], false),
            (&[("content-length", "5, 5")], false),
            (&[("content-length", "+5")], false),
            (&[("content-length", "")], false),
            (&[("content-length", "18446744073709551616")], false),
            (&[("transfer-encoding", "gzip")], false),
            (&[("transfer-encoding", "gzip, chunked")], false),
            (&[("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")], false),
        ];
        for (headers, is_believed) in cases {
            assert_eq!(judged(200, headers, GET).is_ok(), *is_believed, "{headers:?}");
        }
    }

    #[test]
    fn a_switch_of_protocols_must_have_been_asked_for() {
        assert!(judged(101, &[], GET).is_err());
        assert!(judged(101, &[], Asked { is_upgrade: true, ..GET }).is_ok());
        assert!(judged(600, &[], GET).is_err());
        assert!(judged(599, &[], GET).is_ok());
    }

    #[test]
    fn a_connection_is_suspect_after_an_empty_answer_that_announces_content() {
        assert_eq!(judged(204, &[], GET), Ok(Connection::Reusable));
        assert_eq!(judged(204, &[("content-length", "0")], GET), Ok(Connection::Reusable));
        assert_eq!(judged(204, &[("content-length", "1")], GET), Ok(Connection::Suspect));
        assert_eq!(judged(304, &[("content-length", "1")], GET), Ok(Connection::Reusable));
        assert_eq!(judged(304, &[("transfer-encoding", "chunked")], GET), Ok(Connection::Suspect));
        assert_eq!(
            judged(200, &[("content-length", "1")], Asked { is_head: true, ..GET }),
            Ok(Connection::Reusable)
        );
    }
}
