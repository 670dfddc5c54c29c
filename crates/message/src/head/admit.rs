//! How a head is admitted: one look at the target, one pass over the headers, then the cleaning.
//!
//! The order is: method, sizes, headers, framing, target, host, client. Nothing is changed before everything is judged.

use bartizan_model::{Denial, Reason};
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Version,
    header::{CONNECTION, COOKIE, HOST},
    request::Parts,
    uri::PathAndQuery,
};

use super::RequestHead;
use crate::{
    authority::{Authority, AuthorityMemo},
    connection::{Options, Upgrade},
    facts::{HeadLimits, PeerFacts, Scheme, Trust},
    field::{self, FieldSet, Treatment},
    forwarded::Forwarding,
    framing::Framing,
    path::CanonicalPath,
    query,
    refuse::{malformed, refused},
    request_id::RequestId,
};

pub(super) fn admit(
    parts: &mut Parts,
    facts: &PeerFacts,
    limits: &HeadLimits,
    trust: &Trust,
    id: RequestId,
    memo: &mut AuthorityMemo,
) -> Result<RequestHead, Denial> {
    check_method(&parts.method)?;
    check_version(parts.version)?;
    let trusted = trust.believes(facts.peer.ip());
    let mut census = Census::take(parts, limits, trusted, &id)?;
    let framing = Framing::of_request(parts.version, census.content_length, census.transfer_encoding)?;
    let upgrade = census.judge_connection(&parts.headers, parts.version, framing)?;
    let path = judge_path(parts, limits)?;
    let authority = judge_authority(parts, facts, census.host, trusted, memo)?;
    let forwarding = if trusted && census.forwarding {
        Forwarding::read(&parts.headers, facts.peer.ip(), trust)?
    } else {
        Forwarding::direct(facts.peer.ip())
    };

    let host = host_to_write(census.host, &authority)?;
    let cookies = census.cookies;
    let Census { remove, named, accepts_trailers, expects_continue, dropped_aliases, .. } = census;
    let mut headers = std::mem::take(&mut parts.headers);
    for name in remove.names() {
        headers.remove(name);
    }
    for name in named {
        headers.remove(name);
    }
    if let Some(host) = host {
        headers.insert(HOST, host);
    }
    if cookies > 1 {
        join_cookies(&mut headers);
    }
    Ok(RequestHead {
        method: parts.method.clone(),
        authority,
        path,
        version: parts.version,
        headers,
        id,
        forwarding,
        peer: *facts,
        framing,
        upgrade,
        accepts_trailers,
        expects_continue,
        dropped_aliases,
    })
}

fn check_method(method: &Method) -> Result<(), Denial> {
    match *method {
        Method::GET
        | Method::HEAD
        | Method::POST
        | Method::PUT
        | Method::PATCH
        | Method::DELETE
        | Method::OPTIONS => Ok(()),
        // TRACE echoes credentials; CONNECT asks for a tunnel through which nothing would be judged.
        Method::TRACE | Method::CONNECT => {
            Err(refused(Reason::MethodNotAllowed, "method is never published"))
        }
        _ => Err(refused(Reason::MethodUnknown, "method is not known")),
    }
}

fn check_version(version: Version) -> Result<(), Denial> {
    match version {
        Version::HTTP_10 | Version::HTTP_11 | Version::HTTP_2 => Ok(()),
        _ => Err(malformed("version is not spoken")),
    }
}

/// What one pass over the headers found.
#[derive(Default)]
struct Census<'a> {
    host: Option<&'a HeaderValue>,
    content_length: Option<&'a HeaderValue>,
    transfer_encoding: Option<&'a HeaderValue>,
    upgrade: Option<&'a HeaderValue>,
    connection: bool,
    forwarding: bool,
    accepts_trailers: bool,
    expects_continue: bool,
    cookies: u16,
    dropped_aliases: u16,
    /// Rows of the table to remove.
    remove: FieldSet,
    /// Names outside the table to remove.
    named: Vec<HeaderName>,
}

impl<'a> Census<'a> {
    fn take(parts: &'a Parts, limits: &HeadLimits, trusted: bool, id: &RequestId) -> Result<Self, Denial> {
        check_uri_length(parts, limits)?;
        let headers = &parts.headers;
        if headers.len() > limits.header_count {
            return Err(refused(Reason::HeaderTooLarge, "too many header fields"));
        }
        let h2 = parts.version == Version::HTTP_2;
        // RFC 9113 §6.5.2 counts 32 bytes for the bookkeeping of a field; HTTP/1 spends 4 on separators.
        let per_field = if h2 { 32 } else { 4 };
        let mut bytes = 0usize;
        let mut seen = FieldSet::default();
        let mut census = Census::default();
        for (name, value) in headers {
            bytes += name.as_str().len() + value.len() + per_field;
            if bytes > limits.header_bytes {
                return Err(refused(Reason::HeaderTooLarge, "header fields have too many bytes"));
            }
            check_value(value.as_bytes())?;
            let Some((at, field)) = field::lookup(name.as_str()) else {
                census.judge_unlisted(name, trusted);
                continue;
            };
            // Crumbs of one cookie are the way of HTTP/2.
            let repeatable = !field.singleton || (h2 && field.treatment == Treatment::Cookie);
            if !seen.insert(at) && !repeatable {
                return Err(malformed("a header that must be single is repeated"));
            }
            if census.judge(field.treatment, value, parts.version, trusted, id)? {
                census.remove.insert(at);
            }
        }
        Ok(census)
    }

    /// Reads one header of the table; tells whether it is to be removed.
    fn judge(
        &mut self,
        treatment: Treatment,
        value: &'a HeaderValue,
        version: Version,
        trusted: bool,
        id: &RequestId,
    ) -> Result<bool, Denial> {
        let h2 = version == Version::HTTP_2;
        match treatment {
            Treatment::Kept => return Ok(false),
            Treatment::Host => self.host = Some(value),
            Treatment::ContentLength => self.content_length = Some(value),
            Treatment::Cookie => self.cookies += 1,
            Treatment::RequestId => return Ok(value.as_bytes() != id.as_str().as_bytes()),
            Treatment::Identity => return Ok(!trusted),
            Treatment::Override => return Ok(true),
            Treatment::Forwarding => {
                self.forwarding = true;
                return Ok(true);
            }
            Treatment::Expect => {
                self.expects_continue = judge_expect(value, version)?;
                return Ok(true);
            }
            Treatment::Te => {
                self.accepts_trailers |= judge_te(value, h2)?;
                return Ok(true);
            }
            // RFC 9113 §8.2.2: connection-specific headers make an HTTP/2 request malformed.
            Treatment::Connection | Treatment::Hop | Treatment::Upgrade | Treatment::TransferEncoding
                if h2 =>
            {
                return Err(malformed("a connection-specific header is sent in HTTP/2"));
            }
            Treatment::Connection => {
                self.connection = true;
                return Ok(true);
            }
            Treatment::Hop => return Ok(true),
            Treatment::TransferEncoding => {
                self.transfer_encoding = Some(value);
                return Ok(true);
            }
            Treatment::Upgrade => {
                self.upgrade = Some(value);
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// A header outside the table: an alias, a member of a family, or none of our business.
    fn judge_unlisted(&mut self, name: &HeaderName, trusted: bool) {
        let text = name.as_str();
        let alias = field::is_alias_prone(text);
        self.dropped_aliases += u16::from(alias);
        let remove = alias
            || match field::family(text) {
                Some(Treatment::Identity) => !trusted,
                Some(_) => true,
                None => false,
            };
        if remove {
            self.named.push(name.clone());
        }
    }

    /// Reads the `Connection` lines, and with them what `Upgrade` means.
    fn judge_connection(
        &mut self,
        headers: &HeaderMap,
        version: Version,
        framing: Framing,
    ) -> Result<Option<Upgrade>, Denial> {
        let mut options = Options::default();
        if self.connection {
            for line in headers.get_all(CONNECTION) {
                options.read(line).ok_or_else(|| malformed("connection is not a list of names"))?;
            }
        }
        if options.guarded {
            return Err(malformed("connection names a header that must not be removed"));
        }
        self.named.append(&mut options.named);

        // RFC 9110 §7.8: without the option, and in HTTP/1.0, the header means nothing.
        let Some(value) = self.upgrade.filter(|_| options.upgrade && version == Version::HTTP_11) else {
            return Ok(None);
        };
        let upgrade = Upgrade::parse(value)?;
        if upgrade.is_some() && framing.announces_body() {
            // Whether the bytes are a body or the new protocol is up to who reads them (CVE-2026-2833).
            return Err(malformed("upgrade is asked for together with a body"));
        }
        Ok(upgrade)
    }
}

/// No control characters, and no blank at either end, which a parser of HTTP/1 would have cut off and RFC 9113 §8.2.1
/// forbids.
fn check_value(value: &[u8]) -> Result<(), Denial> {
    if field::has_control(value) {
        return Err(malformed("a header value contains a control character"));
    }
    let blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    if blank(value.first()) || blank(value.last()) {
        return Err(malformed("a header value begins or ends with a blank"));
    }
    Ok(())
}

fn check_uri_length(parts: &Parts, limits: &HeadLimits) -> Result<(), Denial> {
    let uri = &parts.uri;
    let length = uri.path_and_query().map_or(0, |target| target.as_str().len())
        + uri.authority().map_or(0, |authority| authority.as_str().len())
        + uri.scheme_str().map_or(0, |scheme| scheme.len() + 3);
    if length > limits.uri_bytes {
        return Err(refused(Reason::UriTooLong, "request target is too long"));
    }
    Ok(())
}

/// RFC 9110 §10.1.1: there is one expectation; in HTTP/1.0 it is ignored.
fn judge_expect(value: &HeaderValue, version: Version) -> Result<bool, Denial> {
    if !value.as_bytes().eq_ignore_ascii_case(b"100-continue") {
        return Err(refused(Reason::ExpectationUnknown, "expect is not 100-continue"));
    }
    Ok(version != Version::HTTP_10)
}

/// Whether trailers are accepted. RFC 9113 §8.2.2: HTTP/2 has no other value. HTTP/1 clients list codings, too, which
/// are between them and us and not used.
fn judge_te(value: &HeaderValue, h2: bool) -> Result<bool, Denial> {
    let text = value.as_bytes();
    if h2 && !text.eq_ignore_ascii_case(b"trailers") {
        return Err(malformed("te is not trailers"));
    }
    Ok(text.split(|b| *b == b',').any(|part| part.trim_ascii().eq_ignore_ascii_case(b"trailers")))
}

fn judge_path(parts: &Parts, limits: &HeadLimits) -> Result<CanonicalPath, Denial> {
    let target: &PathAndQuery =
        parts.uri.path_and_query().ok_or_else(|| malformed("request target has no path"))?;
    if let Some(raw) = target.query() {
        query::check(raw)?;
    }
    if target.path() == "*" {
        return match parts.method {
            Method::OPTIONS => Ok(CanonicalPath::asterisk()),
            _ => Err(malformed("only OPTIONS may ask for *")),
        };
    }
    CanonicalPath::of(target, &limits.tolerate)
}

/// The one host that the target, `:authority` and `Host` name.
fn judge_authority(
    parts: &Parts,
    facts: &PeerFacts,
    host: Option<&HeaderValue>,
    trusted: bool,
    memo: &mut AuthorityMemo,
) -> Result<Authority, Denial> {
    let h2 = parts.version == Version::HTTP_2;
    // RFC 9112 §3.2: a request without a Host is answered with 400; HTTP/1.0 gets no exception, as nothing could be routed.
    if host.is_none() && !h2 {
        return Err(malformed("host is missing"));
    }
    let Some(target) = parts.uri.authority() else {
        let host = host.ok_or_else(|| malformed("host is missing"))?;
        return memo.parse(host.as_bytes());
    };
    check_scheme(parts, facts, trusted)?;
    let authority = memo.parse(target.as_str().as_bytes())?;
    if let Some(host) = host
        && host.as_bytes() != target.as_str().as_bytes()
        && !Authority::parse(host.as_bytes())?.agrees_with(&authority, facts.scheme())
    {
        return Err(malformed("host differs from the authority of the target"));
    }
    Ok(authority)
}

/// The absolute-form and `:scheme` say what the connection is; a trusted proxy may say what the client used.
fn check_scheme(parts: &Parts, facts: &PeerFacts, trusted: bool) -> Result<(), Denial> {
    let scheme = match parts.uri.scheme_str() {
        Some("http") => Scheme::Http,
        Some("https") => Scheme::Https,
        // Without a scheme it is the authority-form of CONNECT.
        _ => return Err(malformed("request target has no scheme of ours")),
    };
    if scheme != facts.scheme() && !trusted {
        return Err(malformed("scheme of the target differs from the connection"));
    }
    Ok(())
}

/// The canonical `Host`, if it is not already there.
fn host_to_write(host: Option<&HeaderValue>, authority: &Authority) -> Result<Option<HeaderValue>, Denial> {
    let text = authority.as_bytes();
    if host.is_some_and(|host| host.as_bytes() == text) {
        return Ok(None);
    }
    HeaderValue::from_bytes(text).map(Some).map_err(|_| malformed("host is not a header value"))
}

/// RFC 9113 §8.2.3: crumbs are joined before anyone but HTTP/2 sees them.
fn join_cookies(headers: &mut HeaderMap) {
    let mut joined = Vec::new();
    for crumb in headers.get_all(COOKIE) {
        if !joined.is_empty() {
            joined.extend_from_slice(b"; ");
        }
        joined.extend_from_slice(crumb.as_bytes());
    }
    match HeaderValue::from_bytes(&joined) {
        Ok(value) => headers.insert(COOKIE, value),
        // Never taken: each crumb is a header value already. Without it no half of a cookie is passed on.
        Err(_) => headers.remove(COOKIE),
    };
}
