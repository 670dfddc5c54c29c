//! A response body, and with it the decision whether its connection may serve again.
//!
//! An HTTP/1.1 connection goes back to the pool only after a proven-complete exchange: the response has ended, and
//! hyper says it is ready for another request, which it is only once the request has been written whole. Anything
//! else closes the connection, so that bytes nobody read are never taken for the next message (CVE-2025-4366).

use std::{
    fmt,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::{
    RequestBody,
    endpoint::EndpointPool,
    line::{Http1, Http2},
};

/// Counts one exchange at an endpoint from before it is begun until this is dropped.
pub struct InFlight<B> {
    pub(super) pool: Rc<EndpointPool<B>>,
}

impl<B> InFlight<B> {
    pub(super) fn count(pool: Rc<EndpointPool<B>>) -> Self {
        pool.state.begin();
        InFlight { pool }
    }
}

impl<B> Drop for InFlight<B> {
    fn drop(&mut self) {
        self.pool.state.end();
    }
}

impl<B> fmt::Debug for InFlight<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("InFlight").field(&self.pool.authority).finish()
    }
}

/// The connection of a running exchange. Dropped before [`Lease::settle`] it ends the exchange: an HTTP/1.1
/// connection is closed, an HTTP/2 stream given up.
pub(super) struct Lease<B: RequestBody> {
    line: Option<Line<B>>,
    /// Most idle connections the pool may keep; 0 when this one must not be kept.
    pub(super) idle_max: usize,
    in_flight: Option<InFlight<B>>,
}

pub(super) enum Line<B> {
    Http1(Http1<B>),
    Http2(Http2<B>),
}

impl<B: RequestBody> Lease<B> {
    pub(super) fn new(line: Line<B>, in_flight: InFlight<B>, idle_max: usize) -> Self {
        Lease { line: Some(line), idle_max, in_flight: Some(in_flight) }
    }

    pub(super) fn line(&mut self) -> Option<&mut Line<B>> {
        self.line.as_mut()
    }

    /// The response has ended.
    fn settle(mut self) {
        let Some(in_flight) = &self.in_flight else { return };
        match self.line.take() {
            Some(Line::Http1(line)) if self.idle_max > 0 && line.sender.is_ready() => {
                in_flight.pool.give_back(line, self.idle_max);
            }
            line => self.line = line,
        }
    }

    /// The connection is no longer HTTP: it is whoever took the upgrade's.
    fn detach(mut self) -> Option<InFlight<B>> {
        self.line = None;
        self.in_flight.take()
    }
}

impl<B: RequestBody> Drop for Lease<B> {
    fn drop(&mut self) {
        match self.line.take() {
            Some(Line::Http1(line)) => line.task.abort(),
            Some(Line::Http2(line)) => {
                line.streams.end();
                if let Some(in_flight) = &self.in_flight {
                    in_flight.pool.stream_ended();
                }
            }
            None => {}
        }
    }
}

/// A response body: frames as they came, trailers included.
pub struct UpstreamBody<B: RequestBody> {
    incoming: Incoming,
    lease: Option<Lease<B>>,
    is_tunnel: bool,
}

impl<B: RequestBody> UpstreamBody<B> {
    pub(super) fn new(incoming: Incoming, lease: Lease<B>, is_tunnel: bool) -> Self {
        let mut body = UpstreamBody { incoming, lease: Some(lease), is_tunnel };
        if !is_tunnel && body.incoming.is_end_stream() {
            body.settle();
        }
        body
    }

    /// After a 101: what keeps the exchange counted at its endpoint while the tunnel runs.
    pub fn take_tunnel(&mut self) -> Option<InFlight<B>> {
        if self.is_tunnel { self.lease.take().and_then(Lease::detach) } else { None }
    }

    fn settle(&mut self) {
        if let Some(lease) = self.lease.take() {
            lease.settle();
        }
    }
}

impl<B: RequestBody> Drop for UpstreamBody<B> {
    fn drop(&mut self) {
        match self.lease.take() {
            Some(lease) if self.is_tunnel => drop(lease.detach()),
            Some(lease) if self.incoming.is_end_stream() => lease.settle(),
            // Not at its end: the lease closes the connection or gives up the stream.
            lease => drop(lease),
        }
    }
}

impl<B: RequestBody> Body for UpstreamBody<B> {
    type Data = Bytes;
    type Error = UpstreamBodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UpstreamBodyError>>> {
        let this = self.get_mut();
        match Pin::new(&mut this.incoming).poll_frame(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Some(Ok(frame))) => {
                // Nothing follows trailers, and whoever passes them on does not ask for more.
                if frame.is_trailers() || this.incoming.is_end_stream() {
                    this.settle();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                this.lease = None;
                Poll::Ready(Some(Err(UpstreamBodyError(error))))
            }
            Poll::Ready(None) => {
                this.settle();
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

impl<B: RequestBody> fmt::Debug for UpstreamBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpstreamBody").field("is_end_stream", &self.is_end_stream()).finish_non_exhaustive()
    }
}

/// The response ended before it was complete, or its framing was wrong. What was passed on must be cut off visibly.
#[derive(Debug, thiserror::Error)]
#[error("the upstream's response body failed")]
pub struct UpstreamBodyError(#[source] hyper::Error);
