//! `GET /events`: server-sent events, one each half second.
//!
//! The stream is a body polled by the connection, not a task that writes: when the client leaves, the connection
//! drops the body and the events end with it.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use hyper::body::{Body, Frame};
use tokio::time::{Interval, MissedTickBehavior};

/// A body of [`EVENTS`] events.
#[derive(Debug)]
pub(super) struct Events {
    interval: Interval,
    sent: u32,
    of: u32,
}

impl Events {
    /// The stream as the API serves it; the first event comes at once.
    pub(super) fn new() -> Events {
        Events::every(EVERY, EVENTS)
    }

    fn every(period: Duration, of: u32) -> Events {
        let mut interval = tokio::time::interval(period);
        // A reader that paused gets the next event, not a burst of those it missed.
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Events { interval, sent: 0, of }
    }
}

impl Body for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.sent >= self.of {
            return Poll::Ready(None);
        }
        ready!(self.interval.poll_tick(context));
        self.sent += 1;
        let (number, of) = (self.sent, self.of);
        let event = format!("id: {number}\nevent: tick\ndata: {{\"number\":{number},\"of\":{of}}}\n\n");
        Poll::Ready(Some(Ok(Frame::data(Bytes::from(event)))))
    }

    fn is_end_stream(&self) -> bool {
        self.sent >= self.of
    }
}

const EVENTS: u32 = 20;
const EVERY: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    #[test]
    fn the_stream_ends_after_its_last_event() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let text = runtime.block_on(async {
            Events::every(Duration::from_millis(1), 3).collect().await.unwrap().to_bytes()
        });
        let text = String::from_utf8(text.to_vec()).unwrap();
        assert_eq!(text.matches("event: tick\n").count(), 3);
        assert!(text.ends_with("id: 3\nevent: tick\ndata: {\"number\":3,\"of\":3}\n\n"), "{text}");
    }
}
