//! What the request path notes of a request that is captured: what its judges read and the access log does not have.
//!
//! Only a sampled request has a note; to all others it costs one comparison. Credentials are left out here, before anything
//! is copied: a caller is replayed by the facts of its credential, which are in the log's own line, and for tokens and
//! certificates here.

use std::{net::SocketAddr, sync::Arc};

use http::{HeaderMap, HeaderName, Version, header};

use super::{BodyEnd, BodyTap, json};

/// What judges read beside the access log's line.
#[derive(Clone, Debug)]
pub struct CaptureNote {
    /// The target as sent.
    pub target: Box<str>,
    /// The protocol version.
    pub version: Version,
    /// Our end of the connection.
    pub local: SocketAddr,
    /// The name that a TLS client asked for.
    pub server_name: Option<Arc<str>>,
    /// The headers as sent, without those that carry credentials.
    pub headers: HeaderMap,
    /// Whether a header was left out that is neither `Authorization` nor one in which API keys are taken.
    pub lacks_headers: bool,
    /// When the head was complete, on the clock of the limit cells.
    pub received_nanos: u64,
    /// What that clock showed when limits were asked.
    pub limit_nanos: Option<u64>,
    /// What decided between backends.
    pub draw: Option<u64>,
    /// What limit cells held before they were asked.
    pub cells: Vec<CellNote>,
    /// Where credentials came with it.
    pub presented: PresentedNote,
    /// What a genuine token says and how it was judged, as a JSON object.
    pub token: Option<Box<str>>,
    /// The client's certificate, verified: DER.
    pub certificate: Option<Box<[u8]>>,
    /// The caller's share, where it follows from neither key nor address.
    pub share: Option<u8>,
    /// Its body, where bodies are captured and there is one.
    pub body: Option<BodyTap>,
}

/// Where credentials came with a request; never what they were.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PresentedNote {
    /// Schemes of `Authorization`: `bearer`, `basic` or `other`.
    pub schemes: Vec<&'static str>,
    /// Other headers that carry secrets.
    pub headers: Vec<HeaderName>,
}

/// What one limit's cell held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CellNote {
    /// The policy, as `Kind/name`.
    pub policy: Arc<str>,
    /// Which of its limits.
    pub limit: usize,
    /// Whether it is the cell of the policy's shadow.
    pub shadow: bool,
    /// The word.
    pub word: u64,
    /// The bound of the rate that wrote it, where that was another than the policy's own.
    pub bound: Option<u64>,
}

impl CaptureNote {
    /// Writes the record: the log's line, and beside it what was given. Without `whole` the head is as the log shows it.
    /// Returns whether a body is missing that could have been there.
    pub(super) fn write(&self, line: &[u8], whole: bool, redacted: bool, out: &mut Vec<u8>) -> bool {
        out.clear();
        out.extend_from_slice(b"{\"log\":");
        out.extend_from_slice(line.trim_ascii_end());
        out.extend_from_slice(b",\"given\":{\"received\":");
        json::number(self.received_nanos, out);
        if let Some(nanos) = self.limit_nanos {
            json::field(b",\"limit\":", nanos, out);
        }
        if let Some(draw) = self.draw {
            json::field(b",\"draw\":", draw, out);
        }
        out.extend_from_slice(b",\"version\":");
        json::number(if self.version == Version::HTTP_2 { 2 } else { 1 }, out);
        out.extend_from_slice(b",\"local\":");
        json::text(self.local.to_string().as_bytes(), out);
        if let Some(name) = &self.server_name {
            out.extend_from_slice(b",\"serverName\":");
            json::text(name.as_bytes(), out);
        }
        self.write_cells(out);
        if whole {
            self.write_head(out);
            self.write_caller(out);
        }
        let lacks_body = whole && self.write_body(redacted, out);
        out.extend_from_slice(b"}}");
        lacks_body
    }

    /// Writes the body, if all of it is known and may be kept.
    fn write_body(&self, redacted: bool, out: &mut Vec<u8>) -> bool {
        let Some(body) = &self.body else { return false };
        let content_type = self.headers.get(header::CONTENT_TYPE).map(http::HeaderValue::as_bytes);
        body.look(|end, bytes| {
            let word: &[u8] = match end {
                BodyEnd::Whole if redacted && !super::secrets::is_free_of_secrets(content_type, bytes) => {
                    b",\"bodyLacks\":\"redacted\""
                }
                BodyEnd::Whole => {
                    out.extend_from_slice(b",\"body\":\"");
                    json::base64(bytes, out);
                    out.push(b'"');
                    return false;
                }
                BodyEnd::Cut => b",\"bodyLacks\":\"cut\"",
                // Who was refused before is judged without it.
                BodyEnd::Open => b",\"bodyLacks\":\"not read\"",
            };
            out.extend_from_slice(word);
            end != BodyEnd::Open
        })
    }

    fn write_caller(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b",\"presented\":{\"schemes\":[");
        for (index, scheme) in self.presented.schemes.iter().enumerate() {
            out.extend_from_slice(if index == 0 { b"" } else { b"," });
            json::text(scheme.as_bytes(), out);
        }
        out.extend_from_slice(b"],\"headers\":[");
        for (index, name) in self.presented.headers.iter().enumerate() {
            out.extend_from_slice(if index == 0 { b"" } else { b"," });
            json::text(name.as_str().as_bytes(), out);
        }
        out.extend_from_slice(b"]}");
        if let Some(token) = &self.token {
            out.extend_from_slice(b",\"token\":");
            out.extend_from_slice(token.as_bytes());
        }
        if let Some(der) = &self.certificate {
            out.extend_from_slice(b",\"certificate\":\"");
            json::base64(der, out);
            out.push(b'"');
        }
        if let Some(share) = self.share {
            json::field(b",\"share\":", share.into(), out);
        }
    }

    fn write_cells(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b",\"cells\":[");
        for (index, cell) in self.cells.iter().enumerate() {
            out.extend_from_slice(if index == 0 { b"{\"policy\":" } else { b",{\"policy\":" });
            json::text(cell.policy.as_bytes(), out);
            json::field(b",\"limit\":", cell.limit as u64, out);
            json::field(b",\"word\":", cell.word, out);
            if let Some(bound) = cell.bound {
                json::field(b",\"bound\":", bound, out);
            }
            out.extend_from_slice(if cell.shadow { b",\"shadow\":true}" } else { b"}" });
        }
        out.push(b']');
    }

    fn write_head(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b",\"target\":");
        json::text(self.target.as_bytes(), out);
        out.extend_from_slice(if self.lacks_headers { b",\"lacksHeaders\":true" } else { b"" });
        out.extend_from_slice(b",\"headers\":[");
        for (index, (name, value)) in self.headers.iter().enumerate() {
            out.extend_from_slice(if index == 0 { b"[" } else { b",[" });
            json::text(name.as_str().as_bytes(), out);
            out.push(b',');
            // Each byte as the character of its number, so that any value comes back as it was.
            let latin: String = value.as_bytes().iter().map(|byte| char::from(*byte)).collect();
            json::text(latin.as_bytes(), out);
            out.push(b']');
        }
        out.push(b']');
    }
}
