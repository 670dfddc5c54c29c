//! Why an exchange with an upstream failed, whose fault it was, and whether the request may be sent again.
//!
//! One place reads hyper's and h2's errors, so that nothing else depends on how they are worded.

use std::{error::Error as _, fmt, io, sync::Arc};

use super::{BoxError, io::HeadOverrun};

/// A request that got no usable answer.
#[derive(Debug)]
pub struct ForwardError {
    /// What went wrong.
    pub kind: ForwardErrorKind,
    /// The endpoint tried last; none where no endpoint could be chosen.
    pub endpoint: Option<Arc<str>>,
    /// Whether the same request may be sent again.
    pub retry: Retry,
    /// Endpoints and fresh connections tried.
    pub attempts: u8,
    /// For the log only; names addresses and may quote the peer's TLS error, never a header or a body.
    pub detail: String,
    /// The cause; for [`ForwardErrorKind::RequestBody`] the chain ends in the body's own error.
    pub source: Option<BoxError>,
}

/// What went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ForwardErrorKind {
    /// No connection: refused, unreachable, or the name did not resolve.
    ConnectFailed,
    /// Every connection the endpoint may have is in use and none came free in time.
    Full,
    /// The endpoint's answer is not one we understand or believe.
    Misbehaved,
    /// No endpoint is healthy.
    NoEndpoint,
    /// The request's own body failed, or was ended by a policy: not the upstream's fault.
    RequestBody,
    /// The connection ended before a response head.
    Reset,
    /// The connect timeout passed, TLS included.
    Timeout,
    /// The TLS handshake failed or the certificate was not accepted.
    TlsFailed,
    /// The request cannot be put into the protocol this upstream speaks.
    Unsendable,
}

/// Whether a request may be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Retry {
    /// Bytes may have been acted upon: sending again could do a thing twice.
    Never,
    /// A kept connection ended without a response byte, or the peer announced its end (GOAWAY) meanwhile: most likely
    /// nothing was done, and RFC 9110 §9.2.2 lets an idempotent request be sent again.
    IfReused,
    /// The request provably never left: any request may be sent again.
    Yes,
}

impl ForwardErrorKind {
    /// A stable name for logs and metric labels.
    pub fn as_str(self) -> &'static str {
        match self {
            ForwardErrorKind::ConnectFailed => "connect_failed",
            ForwardErrorKind::Full => "full",
            ForwardErrorKind::Misbehaved => "misbehaved",
            ForwardErrorKind::NoEndpoint => "no_endpoint",
            ForwardErrorKind::RequestBody => "request_body",
            ForwardErrorKind::Reset => "reset",
            ForwardErrorKind::Timeout => "timeout",
            ForwardErrorKind::TlsFailed => "tls_failed",
            ForwardErrorKind::Unsendable => "unsendable",
        }
    }

    /// Whether the endpoint's health is judged by it.
    pub(super) fn is_the_endpoints(self) -> bool {
        !matches!(
            self,
            ForwardErrorKind::Full
                | ForwardErrorKind::NoEndpoint
                | ForwardErrorKind::RequestBody
                | ForwardErrorKind::Unsendable
        )
    }
}

impl fmt::Display for ForwardError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind.as_str(), self.detail)
    }
}

impl std::error::Error for ForwardError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

/// A failure before it is known which attempt it belongs to.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) kind: ForwardErrorKind,
    pub(super) retry: Retry,
    pub(super) detail: String,
    pub(super) source: Option<BoxError>,
}

impl Failure {
    /// Nothing was sent.
    pub(super) fn unsent(kind: ForwardErrorKind, detail: impl Into<String>) -> Self {
        Failure { kind, retry: Retry::Yes, detail: detail.into(), source: None }
    }

    /// The endpoint answered, but not acceptably.
    pub(super) fn misbehaved(detail: impl Into<String>) -> Self {
        let kind = ForwardErrorKind::Misbehaved;
        Failure { kind, retry: Retry::Never, detail: detail.into(), source: None }
    }

    /// hyper gave an error instead of a response and kept the request.
    pub(super) fn of_exchange(error: hyper::Error, reused: bool) -> Self {
        let (kind, retry) = judge(&error, reused);
        let detail = match error.source() {
            Some(source) if kind != ForwardErrorKind::RequestBody => format!("{error}: {source}"),
            _ => error.to_string(),
        };
        Failure { kind, retry, detail, source: Some(error.into()) }
    }

    pub(super) fn into_error(self, endpoint: Arc<str>, attempts: u8) -> ForwardError {
        let Failure { kind, retry, detail, source } = self;
        ForwardError { kind, endpoint: Some(endpoint), retry, attempts, detail, source }
    }
}

/// What an error of hyper's says about the endpoint and the request.
fn judge(error: &hyper::Error, reused: bool) -> (ForwardErrorKind, Retry) {
    if error.is_user() {
        return match is_task_gone(error) {
            true => (ForwardErrorKind::Reset, Retry::Never),
            false => (ForwardErrorKind::RequestBody, Retry::Never),
        };
    }
    if error.is_parse() {
        return (ForwardErrorKind::Misbehaved, Retry::Never);
    }
    // Only a connection that ended cleanly, without one byte of an answer, is the idle-close race of RFC 9112 §9.3.1.
    let ended = if reused { Retry::IfReused } else { Retry::Never };
    if error.is_incomplete_message() {
        return (ForwardErrorKind::Reset, ended);
    }
    match cause(error) {
        Cause::Http2(cause) => judge_http2(cause, ended),
        Cause::Io(cause) => (of_io(cause), ended_by(cause, ended)),
        Cause::Other => (ForwardErrorKind::Reset, Retry::Never),
    }
}

/// hyper files the end of its connection's task under the user's errors, and tells it from a failed body by its words
/// alone.
fn is_task_gone(error: &hyper::Error) -> bool {
    error.to_string() == "dispatch task is gone"
}

/// A reset on a reused connection is the same race as a clean end; anything else may have been acted upon.
fn ended_by(cause: &io::Error, ended: Retry) -> Retry {
    match cause.kind() {
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof => ended,
        _ => Retry::Never,
    }
}

fn judge_http2(cause: &h2::Error, ended: Retry) -> (ForwardErrorKind, Retry) {
    // RFC 9113 §8.7: a refused stream was not processed at all.
    if cause.is_remote() && cause.is_reset() && cause.reason() == Some(h2::Reason::REFUSED_STREAM) {
        return (ForwardErrorKind::Reset, Retry::Yes);
    }
    // RFC 9113 §6.8: streams above the one GOAWAY names were not processed. h2 gives the same error to those below it
    // when the connection ends before their answers, so this is likely and not proven.
    if cause.is_remote() && cause.is_go_away() && cause.reason() == Some(h2::Reason::NO_ERROR) {
        return (ForwardErrorKind::Reset, Retry::IfReused);
    }
    if let Some(io) = cause.get_io() {
        return (of_io(io), ended_by(io, ended));
    }
    if cause.is_remote() {
        return (ForwardErrorKind::Reset, Retry::Never);
    }
    // What our side found wrong in the frames.
    (ForwardErrorKind::Misbehaved, Retry::Never)
}

/// What an I/O error on an established connection says about the endpoint.
fn of_io(error: &io::Error) -> ForwardErrorKind {
    match error.get_ref() {
        Some(inner) if inner.is::<HeadOverrun>() => ForwardErrorKind::Misbehaved,
        Some(inner) if inner.is::<rustls::Error>() => ForwardErrorKind::TlsFailed,
        _ => ForwardErrorKind::Reset,
    }
}

enum Cause<'a> {
    Http2(&'a h2::Error),
    Io(&'a io::Error),
    Other,
}

/// The first cause in the chain that says something. Chains are short; the bound is against a cycle.
fn cause(error: &hyper::Error) -> Cause<'_> {
    let mut next = error.source();
    for _ in 0..8 {
        let Some(source) = next else { break };
        if let Some(http2) = source.downcast_ref() {
            return Cause::Http2(http2);
        }
        if let Some(io) = source.downcast_ref() {
            return Cause::Io(io);
        }
        next = source.source();
    }
    Cause::Other
}
