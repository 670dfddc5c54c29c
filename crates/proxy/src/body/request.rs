//! A request's body on its way to the upstream: capped, paced, and watched so that the record and the answer know how
//! it ended. The only body type that can be sent on is the capped one.

use std::{
    cell::Cell,
    fmt,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use bartizan_message::clean_trailers;
use bartizan_model::Reason;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::{BodyCopy, Held, Inbound, Whole};
use crate::listener::{BodyError, ConnectionFacts, Paced, PacedError, body::Pace};

/// A body that may be sent to an upstream.
#[derive(Debug)]
pub(crate) enum RequestBody {
    /// There is none.
    Empty,
    /// It was judged, and is here as a whole.
    Whole(Whole),
    /// Its start was judged, as its policy says; the rest passes as it comes.
    Started(Bytes, Box<Unjudged>),
    /// No policy of the route judges it: it passes as it comes, capped and paced.
    Unjudged(Box<Unjudged>),
}

/// A body that passes as it comes.
pub(crate) struct Unjudged {
    paced: Paced<Inbound>,
    watch: BodyWatch,
    copy: Option<BodyCopy>,
    /// The room that its start takes until that is handed on.
    held: Option<Held>,
}

impl RequestBody {
    /// A body that passes as it comes, at most `bytes_max` of it.
    pub(crate) fn unjudged(
        incoming: Inbound,
        connection: &ConnectionFacts,
        bytes_max: u64,
        watch: BodyWatch,
    ) -> Self {
        RequestBody::Unjudged(Unjudged::new(incoming, connection, bytes_max, watch))
    }
}

impl Unjudged {
    /// A body that is read as it comes, at most `bytes_max` of it.
    pub(crate) fn new(
        incoming: Inbound,
        connection: &ConnectionFacts,
        bytes_max: u64,
        watch: BodyWatch,
    ) -> Box<Self> {
        let pace = Pace { bytes_max, ..Pace::of(connection) };
        Box::new(Unjudged { paced: Paced::new(incoming, connection, pace), watch, copy: None, held: None })
    }

    /// The same, with a copy of what passes.
    pub(crate) fn copied(mut self: Box<Self>, copy: BodyCopy) -> Box<Self> {
        self.copy = Some(copy);
        self
    }

    /// The same, after a start that takes room.
    pub(crate) fn after(mut self: Box<Self>, start: Held) -> Box<Self> {
        self.held = Some(start);
        self
    }

    /// How it broke off.
    pub(super) fn broken(&self) -> Broken {
        self.watch.broken().unwrap_or(Broken::Gone)
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let polled = Pin::new(&mut self.paced).poll_frame(cx);
        self.watch.set_awaited(polled.is_pending());
        match std::task::ready!(polled) {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    self.watch.add(data.len());
                    if let Some(copy) = &self.copy {
                        copy.add(data);
                    }
                }
                if let Some(copy) = self.copy.as_ref().filter(|_| self.paced.is_end_stream()) {
                    // Whoever reads us may stop here.
                    copy.end();
                }
                Poll::Ready(Some(Ok(clean(frame))))
            }
            Some(Err(error)) => {
                self.watch.fail(&error);
                Poll::Ready(Some(Err(error.into())))
            }
            None => {
                if let Some(copy) = &self.copy {
                    copy.end();
                }
                Poll::Ready(None)
            }
        }
    }
}

impl fmt::Debug for Unjudged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unjudged").field("bytes", &self.watch.bytes()).finish_non_exhaustive()
    }
}

/// What is known of a body while somebody else reads it.
#[derive(Clone, Debug, Default)]
pub(crate) struct BodyWatch(Option<Rc<Watched>>);

#[derive(Debug, Default)]
struct Watched {
    bytes: Cell<u64>,
    broken: Cell<Option<Broken>>,
    /// The upstream asked for more, and the caller has not sent it yet.
    awaited: Cell<bool>,
}

/// How a request's body failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    /// A limit of ours ended it.
    Refused(Reason),
    /// The client went away, or its framing broke.
    Gone,
}

impl BodyWatch {
    /// A watch on a body that is there. The default watches none and costs nothing.
    pub(crate) fn new() -> Self {
        BodyWatch(Some(Rc::default()))
    }

    /// Bytes that came.
    pub(crate) fn bytes(&self) -> u64 {
        self.0.as_ref().map_or(0, |watched| watched.bytes.get())
    }

    /// How it failed, if it did.
    pub(crate) fn broken(&self) -> Option<Broken> {
        self.0.as_ref().and_then(|watched| watched.broken.get())
    }

    /// Whether the caller, not the upstream, is whom the exchange waits for.
    pub(crate) fn waits_for_caller(&self) -> bool {
        self.0.as_ref().is_some_and(|watched| watched.awaited.get())
    }

    fn set_awaited(&self, awaited: bool) {
        if let Some(watched) = &self.0 {
            watched.awaited.set(awaited);
        }
    }

    fn add(&self, bytes: usize) {
        if let Some(watched) = &self.0 {
            watched.bytes.set(watched.bytes.get().saturating_add(bytes as u64));
        }
    }

    fn fail<E>(&self, error: &PacedError<E>) {
        if let Some(watched) = &self.0 {
            watched.broken.set(Some(match error {
                PacedError::TooLarge => Broken::Refused(Reason::BodyTooLarge),
                PacedError::TooSlow => Broken::Refused(Reason::RequestTimeout),
                PacedError::Broken(_) => Broken::Gone,
            }));
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        match this {
            RequestBody::Unjudged(body) => body.poll(cx),
            RequestBody::Empty => Poll::Ready(None),
            RequestBody::Whole(_) | RequestBody::Started(..) => {
                let (start, rest) = match std::mem::replace(this, RequestBody::Empty) {
                    RequestBody::Started(start, mut rest) => {
                        rest.held = None;
                        (start, RequestBody::Unjudged(rest))
                    }
                    RequestBody::Whole(whole) => (whole.into_bytes(), RequestBody::Empty),
                    other => (Bytes::new(), other),
                };
                *this = rest;
                Poll::Ready(Some(Ok(Frame::data(start))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            RequestBody::Empty => true,
            RequestBody::Whole(_) | RequestBody::Started(..) => false,
            RequestBody::Unjudged(body) => body.paced.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            RequestBody::Empty => SizeHint::with_exact(0),
            RequestBody::Whole(whole) => SizeHint::with_exact(whole.bytes().len() as u64),
            RequestBody::Started(start, rest) => {
                let (start, rest) = (start.len() as u64, rest.paced.size_hint());
                let mut hint = SizeHint::new();
                hint.set_lower(start.saturating_add(rest.lower()));
                if let Some(upper) = rest.upper() {
                    hint.set_upper(start.saturating_add(upper));
                }
                hint
            }
            RequestBody::Unjudged(body) => body.paced.size_hint(),
        }
    }
}

/// RFC 9110 §6.5.1: trailers must not carry framing, routing, authentication or identity.
pub(super) fn clean(frame: Frame<Bytes>) -> Frame<Bytes> {
    match frame.into_trailers() {
        Ok(mut trailers) => {
            clean_trailers(&mut trailers);
            Frame::trailers(trailers)
        }
        Err(frame) => frame,
    }
}
