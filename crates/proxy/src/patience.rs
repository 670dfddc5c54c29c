//! A time limit on something that nearly always ends long before it.
//!
//! A timer of the runtime per request costs as much as a small stage. Limits of a few seconds and more are therefore
//! kept by the connection's sweep, which looks once a second anyway; only shorter ones get a timer of their own.

use std::{
    future::Future,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::Sleep;

use crate::listener::{ConnectionFacts, Watch};

/// Limits from here on may be late by a sweep (a second): a tenth of the limit at most.
const COARSE_FROM: Duration = Duration::from_secs(10);

/// The time was over.
#[derive(Debug)]
pub(crate) struct TimeOver;

/// Waits for `work`, at most for `limit`. The caller pins it, so that its future has room for it once.
pub(crate) fn within<'a, F: Future>(
    connection: &ConnectionFacts,
    limit: Duration,
    work: Pin<&'a mut F>,
) -> Within<'a, F> {
    let clock = if limit < COARSE_FROM {
        Clock::Timer(Box::pin(tokio::time::sleep(limit)))
    } else {
        let limit = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
        Clock::Sweep(Place { watch: Rc::clone(&connection.watch), at: None, limit, deadline: None })
    };
    Within { work, clock }
}

/// Work with a time limit. Written out, because it is a part of every request's future.
pub(crate) struct Within<'a, F> {
    work: Pin<&'a mut F>,
    clock: Clock,
}

enum Clock {
    Timer(Pin<Box<Sleep>>),
    Sweep(Place),
}

/// A place among those whom the sweep wakes, given back however the wait ends.
struct Place {
    watch: Rc<Watch>,
    at: Option<usize>,
    /// In milliseconds of the coarse clock, as is the deadline.
    limit: u64,
    /// Known from the first wait on.
    deadline: Option<u64>,
}

impl<F: Future> Future for Within<'_, F> {
    type Output = Result<F::Output, TimeOver>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if let Poll::Ready(done) = this.work.as_mut().poll(cx) {
            return Poll::Ready(Ok(done));
        }
        match &mut this.clock {
            Clock::Timer(sleep) => sleep.as_mut().poll(cx).map(|()| Err(TimeOver)),
            Clock::Sweep(place) => place.poll(cx).map(Err),
        }
    }
}

impl Place {
    fn poll(&mut self, cx: &Context<'_>) -> Poll<TimeOver> {
        let now = self.watch.now();
        let deadline = *self.deadline.get_or_insert(now.saturating_add(self.limit));
        if now >= deadline {
            return Poll::Ready(TimeOver);
        }
        self.watch.wake_at(&mut self.at, deadline, cx.waker());
        Poll::Pending
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.watch.forget(&mut self.at);
    }
}
