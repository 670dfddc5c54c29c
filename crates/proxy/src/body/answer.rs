//! An answer's body on its way to the caller. It holds the open record, and closes it when it ends, however it ends.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bartizan_telemetry::Exit;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::Sleep;

use super::{BodyWatch, Broken, ModelBody, RequestBody, ScreenedFlow, request::clean};
use crate::{
    listener::BodyError,
    stage::{Closing, Keeping},
    upstream::{self, Outcome, PreparedUpstream, UpstreamBody},
};

/// The body of every answer.
pub struct AnswerBody {
    flow: Flow,
    closing: Option<Closing>,
    /// The cache's copy; gone as soon as it cannot be kept.
    keeping: Option<Box<Keeping>>,
}

/// Where the bytes come from.
pub(crate) enum Flow {
    /// Nowhere.
    Empty,
    /// From memory.
    Whole(Bytes),
    /// From an upstream, within time limits.
    Upstream(Box<Streaming>),
    /// From a model.
    Model(Box<ModelBody>),
    /// From an upstream, looked through for secrets on its way.
    Screened(Box<ScreenedFlow>),
    /// A judged start from memory, the rest from an upstream.
    Started(Bytes, Box<Streaming>),
}

pub(crate) struct Streaming {
    body: UpstreamBody<RequestBody>,
    origin: Origin,
    deadlines: Deadlines,
    /// The request's body, which may still be on its way.
    watch: BodyWatch,
    /// Made when the upstream is waited for the first time, so that an answer that is there costs no timer.
    sleep: Option<Pin<Box<Sleep>>>,
    /// Whether the timer measures a wait that goes on. A caller that reads slowly is no silence of the upstream.
    is_waiting: bool,
}

/// Which endpoint answers, so that its health hears of an answer that breaks off.
pub(crate) struct Origin {
    pub(crate) upstream: Arc<PreparedUpstream>,
    pub(crate) endpoint: usize,
}

impl Origin {
    fn failed(&self) {
        upstream::report(&self.upstream, self.endpoint, Outcome::Failed, Instant::now());
    }
}

/// How long an upstream's answer may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadlines {
    /// Longest silence.
    pub(crate) idle: Duration,
    /// When it must be over.
    pub(crate) end: Option<Instant>,
}

impl Flow {
    /// An upstream's answer.
    pub(crate) fn upstream(
        body: UpstreamBody<RequestBody>,
        origin: Origin,
        deadlines: Deadlines,
        watch: BodyWatch,
    ) -> Self {
        Flow::Upstream(Streaming::new(body, origin, deadlines, watch))
    }
}

/// The upstream took too long within its answer.
#[derive(Debug, thiserror::Error)]
#[error("the upstream's answer did not go on in time")]
struct TooSlow;

impl AnswerBody {
    /// A body without bytes and without a record; the exit gives it one.
    pub(crate) const fn empty() -> Self {
        AnswerBody { flow: Flow::Empty, closing: None, keeping: None }
    }

    /// A body from memory.
    pub(crate) const fn whole(bytes: Bytes) -> Self {
        AnswerBody { flow: Flow::Whole(bytes), closing: None, keeping: None }
    }

    /// A body from an upstream.
    pub(crate) const fn flowing(flow: Flow) -> Self {
        AnswerBody { flow, closing: None, keeping: None }
    }

    /// The same body, closing this record when it ends.
    pub(crate) fn closing(mut self, closing: Closing) -> Self {
        self.closing = Some(closing);
        self
    }

    /// The same body, kept by the cache when it ends as it should.
    pub(crate) fn keeping(mut self, keeping: Option<Box<Keeping>>) -> Self {
        self.keeping = keeping;
        self
    }

    /// What is sent is counted and copied.
    fn sends(&mut self, piece: &[u8]) {
        if let Some(closing) = &mut self.closing {
            closing.count(piece.len());
            closing.copy(piece);
        }
        if let Some(keeping) = &mut self.keeping
            && !keeping.add(piece)
        {
            self.keeping = None;
        }
    }

    fn end(&mut self, exit: Exit) {
        let flow = std::mem::replace(&mut self.flow, Flow::Empty);
        if let Some(keeping) = self.keeping.take().filter(|_| exit == Exit::Complete) {
            keeping.complete();
        }
        if let Some(mut closing) = self.closing.take() {
            let mut exit = exit;
            match flow {
                Flow::Model(mut model) => {
                    if exit == Exit::Complete {
                        exit = model.exit();
                    }
                    closing.settle(&mut model, exit == Exit::Complete);
                }
                Flow::Screened(screened) => closing.leaks(screened.told()),
                Flow::Empty | Flow::Whole(_) | Flow::Upstream(_) | Flow::Started(..) => {}
            }
            closing.close(exit);
        }
    }
}

/// A frame, the end, or how and why it broke off.
pub(super) type Polled<T> = Poll<Option<Result<T, (Exit, BodyError)>>>;

impl Streaming {
    /// An upstream's answer within time limits.
    pub(crate) fn new(
        body: UpstreamBody<RequestBody>,
        origin: Origin,
        deadlines: Deadlines,
        watch: BodyWatch,
    ) -> Box<Self> {
        Box::new(Streaming { body, origin, deadlines, watch, sleep: None, is_waiting: false })
    }

    /// The next piece of data; `None` at the end.
    pub(crate) async fn next(&mut self) -> Option<Result<Bytes, Exit>> {
        loop {
            let frame = std::future::poll_fn(|cx| self.poll(cx)).await?;
            match frame.map(Frame::into_data) {
                Ok(Ok(data)) => return Some(Ok(data)),
                // Trailers of a model's answer mean nothing.
                Ok(Err(_)) => {}
                Err((exit, _)) => return Some(Err(exit)),
            }
        }
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Polled<Frame<Bytes>> {
        match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                self.is_waiting = false;
                Poll::Ready(Some(Ok(clean(frame))))
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err((self.broken(), error.into())))),
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => self.poll_time(cx),
        }
    }

    /// Whose fault it is that the answer broke off. A caller whose own body ends the exchange must not be able to
    /// make an endpoint look ill.
    fn broken(&self) -> Exit {
        match self.watch.broken() {
            Some(Broken::Gone) => Exit::ClientGone,
            Some(Broken::Refused(_)) => Exit::Refused,
            None => {
                self.origin.failed();
                Exit::UpstreamReset
            }
        }
    }

    fn poll_time<T>(&mut self, cx: &mut Context<'_>) -> Polled<T> {
        let next = |deadlines: &Deadlines| deadlines.next().into();
        let sleep = match &mut self.sleep {
            Some(sleep) => {
                if !self.is_waiting {
                    sleep.as_mut().reset(next(&self.deadlines));
                }
                sleep
            }
            none => none.insert(Box::pin(tokio::time::sleep_until(next(&self.deadlines)))),
        };
        self.is_waiting = true;
        std::task::ready!(sleep.as_mut().poll(cx));
        if !self.watch.waits_for_caller() {
            self.origin.failed();
        }
        Poll::Ready(Some(Err((Exit::Timeout, TooSlow.into()))))
    }
}

impl Deadlines {
    fn next(&self) -> Instant {
        let silent = Instant::now() + self.idle;
        self.end.map_or(silent, |end| end.min(silent))
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        let polled = match &mut this.flow {
            Flow::Empty => Poll::Ready(None),
            Flow::Whole(bytes) => {
                let bytes = std::mem::take(bytes);
                this.sends(&bytes);
                this.end(Exit::Complete);
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
            Flow::Upstream(streaming) => streaming.poll(cx),
            Flow::Model(model) => model.poll(cx),
            Flow::Screened(screened) => screened.poll(cx),
            Flow::Started(..) => {
                let (start, rest) = match std::mem::replace(&mut this.flow, Flow::Empty) {
                    Flow::Started(start, streaming) => (start, Flow::Upstream(streaming)),
                    other => (Bytes::new(), other),
                };
                this.flow = rest;
                this.sends(&start);
                return Poll::Ready(Some(Ok(Frame::data(start))));
            }
        };
        match std::task::ready!(polled) {
            Some(Ok(frame)) => {
                match frame.data_ref() {
                    Some(data) => this.sends(data),
                    // Fields after the body are not kept, and neither is an answer that has some.
                    None => this.keeping = None,
                }
                // Whoever reads us may stop here, because `is_end_stream` says so now.
                if frame.is_trailers() || this.is_end_stream() {
                    this.end(Exit::Complete);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err((exit, error))) => {
                this.end(exit);
                Poll::Ready(Some(Err(error)))
            }
            None => {
                this.end(Exit::Complete);
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.flow {
            Flow::Empty => true,
            Flow::Whole(bytes) => bytes.is_empty(),
            Flow::Upstream(streaming) => streaming.body.is_end_stream(),
            Flow::Model(_) | Flow::Screened(_) | Flow::Started(..) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.flow {
            Flow::Empty => SizeHint::with_exact(0),
            Flow::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Flow::Upstream(streaming) => streaming.body.size_hint(),
            // Its length is the head's to say, or nobody's.
            Flow::Model(_) | Flow::Screened(_) | Flow::Started(..) => SizeHint::default(),
        }
    }
}

impl Drop for AnswerBody {
    /// An end that is reached without being asked for (no body to send), or one that is not reached at all.
    fn drop(&mut self) {
        let exit = if self.is_end_stream() { Exit::Complete } else { Exit::ClientGone };
        self.end(exit);
    }
}

impl fmt::Debug for AnswerBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnswerBody").field("size", &self.size_hint()).finish_non_exhaustive()
    }
}
