//! A time limit on something that nearly always ends long before it.
//!
//! A timer of the runtime per request costs as much as a small stage. Limits of a few seconds and more are therefore
//! kept by the connection's sweep, which looks once a second anyway; only shorter ones get a timer of their own.

use std::{future::Future, pin::Pin, rc::Rc, task::Poll, time::Duration};

use crate::listener::{ConnectionFacts, Watch};

/// Limits from here on may be late by a sweep (a second): a tenth of the limit at most.
const COARSE_FROM: Duration = Duration::from_secs(10);

/// The time was over.
#[derive(Debug)]
pub(crate) struct TimeOver;

/// Waits for `work`, at most for `limit`. The caller pins it, so that its future has room for it once.
pub(crate) async fn within<T>(
    connection: &ConnectionFacts,
    limit: Duration,
    mut work: Pin<&mut impl Future<Output = T>>,
) -> Result<T, TimeOver> {
    if limit < COARSE_FROM {
        // Boxed, so that the future of those without a timer has no room for one.
        return Box::pin(tokio::time::timeout(limit, work)).await.map_err(|_| TimeOver);
    }
    let mut place = Place { watch: Rc::clone(&connection.watch), at: None };
    let limit = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
    let mut deadline = None;
    std::future::poll_fn(|cx| {
        if let Poll::Ready(done) = work.as_mut().poll(cx) {
            return Poll::Ready(Ok(done));
        }
        let now = place.watch.now();
        let deadline = *deadline.get_or_insert(now.saturating_add(limit));
        if now >= deadline {
            return Poll::Ready(Err(TimeOver));
        }
        place.watch.wake_at(&mut place.at, deadline, cx.waker());
        Poll::Pending
    })
    .await
}

/// A place among those whom the sweep wakes, given back however the wait ends.
struct Place {
    watch: Rc<Watch>,
    at: Option<usize>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.watch.forget(&mut self.at);
    }
}
