//! Bodies on the downstream side: a request body that must keep its pace, a response body that is watched.
//!
//! The pace is a budget of silence. Waiting for the client spends it, bytes earn it back up to the grace period, and
//! when it is gone the body fails; time in which nobody asks for the body costs the client nothing. The sweep wakes a
//! body whose budget runs out, so no body has a timer of its own, and a body that is there at once costs one comparison.

use std::{
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::{
    facts::ConnectionFacts,
    watch::{Exchange, Watch},
};

/// Why a response body broke off.
pub type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// Why a request body broke off.
#[derive(Debug, thiserror::Error)]
pub enum PacedError<E> {
    /// The connection or the stream ended, or the framing is broken.
    #[error("the request body broke off: {0}")]
    Broken(#[source] E),
    /// More bytes than the limit.
    #[error("the request body is too large")]
    TooLarge,
    /// It came slower than the lowest rate admitted.
    #[error("the request body came too slowly")]
    TooSlow,
}

/// What a request body may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Most bytes.
    pub bytes_max: u64,
    /// Lowest rate in bytes per second; 0 sets none (for streams whose client may rightly be silent).
    pub rate_min: u32,
    /// Silence that is forgiven.
    pub grace: Duration,
}

impl Pace {
    /// The pace that the listener of `connection` sets.
    pub fn of(connection: &ConnectionFacts) -> Self {
        let admission = &connection.listener.admission;
        Pace {
            bytes_max: admission.body_bytes_max,
            rate_min: admission.body_rate_min,
            grace: admission.body_rate_grace,
        }
    }
}

/// What a paced body yields.
type Polled<B> = Option<Result<Frame<Bytes>, PacedError<<B as Body>::Error>>>;

/// A request body under a [`Pace`]. After an error it yields nothing more.
#[derive(Debug)]
pub struct Paced<B> {
    inner: B,
    watch: Rc<Watch>,
    pace: Pace,
    bytes: u64,
    /// Silence left, in milliseconds.
    budget: u64,
    /// Since when the client is waited for.
    waiting_since: Option<u64>,
    /// Our place among those the sweep wakes.
    place: Option<usize>,
    failed: bool,
}

impl<B: Body<Data = Bytes> + Unpin> Paced<B> {
    /// Puts `inner` under `pace`.
    pub fn new(inner: B, connection: &ConnectionFacts, pace: Pace) -> Self {
        Paced {
            inner,
            watch: Rc::clone(&connection.watch),
            pace,
            bytes: 0,
            budget: millis(pace.grace),
            waiting_since: None,
            place: None,
            failed: false,
        }
    }

    /// Bytes received so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Spends the silence since the last look; says whether any is left.
    fn spend(&mut self, now: u64) -> bool {
        let silent = self.waiting_since.take().map_or(0, |since| now.saturating_sub(since));
        let enough = silent <= self.budget || self.pace.rate_min == 0;
        self.budget = self.budget.saturating_sub(silent);
        enough
    }

    fn earn(&mut self, bytes: u64) {
        let earned = bytes.saturating_mul(1000).checked_div(u64::from(self.pace.rate_min)).unwrap_or(0);
        self.budget = self.budget.saturating_add(earned).min(millis(self.pace.grace));
    }

    fn fail(&mut self, error: PacedError<B::Error>) -> Poll<Polled<B>> {
        self.failed = true;
        self.watch.forget(&mut self.place);
        Poll::Ready(Some(Err(error)))
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Paced<B> {
    type Data = Bytes;
    type Error = PacedError<B::Error>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = &mut *self;
        if this.failed {
            return Poll::Ready(None);
        }
        // Before a byte is read: a length that is declared and too large needs no reading.
        if this.inner.size_hint().lower().saturating_add(this.bytes) > this.pace.bytes_max {
            return this.fail(PacedError::TooLarge);
        }
        match Pin::new(&mut this.inner).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                let length = frame.data_ref().map_or(0, Buf::remaining) as u64;
                this.bytes = this.bytes.saturating_add(length);
                this.watch.body_read(length);
                if this.bytes > this.pace.bytes_max {
                    return this.fail(PacedError::TooLarge);
                }
                if this.waiting_since.is_some() {
                    // What arrived ends the silence, even if the last of it was one too many: the sweep decides that.
                    this.spend(this.watch.past());
                }
                this.earn(length);
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => this.fail(PacedError::Broken(error)),
            Poll::Ready(None) => {
                this.watch.forget(&mut this.place);
                Poll::Ready(None)
            }
            Poll::Pending => {
                // Stamped and measured by one clock: silences add up, and many short ones must not each lose a tick. So the
                // grace as a whole may be a tick short.
                let now = this.watch.past();
                if !this.spend(now) {
                    return this.fail(PacedError::TooSlow);
                }
                this.waiting_since = Some(now);
                if this.pace.rate_min != 0 {
                    let deadline = now.saturating_add(this.budget).saturating_add(1);
                    this.watch.wake_at(&mut this.place, deadline, cx.waker());
                }
                Poll::Pending
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.failed || self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl<B> Drop for Paced<B> {
    fn drop(&mut self) {
        self.watch.forget(&mut self.place);
    }
}

pin_project! {
    /// A response body on its way to the client: it tells the connection when it ends and when it waits.
    pub struct Tracked<B> {
        #[pin]
        inner: B,
        exchange: Exchange,
    }
}

impl<B: Body<Data = Bytes>> Tracked<B> {
    /// `bodiless`: the response ends with its head whatever the body says (HEAD, 204, 304).
    pub(crate) fn new(inner: B, mut exchange: Exchange, bodiless: bool) -> Self {
        if bodiless || inner.is_end_stream() {
            exchange.complete();
        }
        Tracked { inner, exchange }
    }
}

impl<B: Body<Data = Bytes>> Body for Tracked<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let mut this = self.project();
        let polled = this.inner.as_mut().poll_frame(cx);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                // hyper comes back for the next frame when it is rid of this one.
                this.exchange.waiting(true);
                if frame.is_trailers() || this.inner.is_end_stream() {
                    this.exchange.complete();
                }
            }
            Poll::Ready(None) => this.exchange.complete(),
            Poll::Ready(Some(Err(_))) => {}
            Poll::Pending => this.exchange.waiting(false),
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
