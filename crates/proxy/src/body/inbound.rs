//! A request's body as the stages get it: from the connection, or given to a rehearsal.

use std::{
    cell::Cell,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use bartizan_telemetry::capture::BodyTap;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

/// A body that no stage has judged yet.
#[derive(Debug)]
pub(crate) enum Inbound {
    /// It comes over the connection.
    Wire(Incoming),
    /// It comes over the connection, and is copied for whoever judges it once more.
    Copied(Incoming, BodyTap),
    /// It is known.
    Given(Bytes),
    /// There is one, and it is not known. Whoever asks for it is noted.
    Withheld(Rc<Cell<bool>>),
}

/// Why a body broke off.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InboundError {
    /// The connection or the stream ended, or the framing is broken.
    #[error(transparent)]
    Wire(hyper::Error),
    /// A rehearsal does not know it.
    #[error("the body is not known")]
    Withheld,
}

impl Inbound {
    /// The same, copied while it passes.
    pub(crate) fn copied(self, tap: BodyTap) -> Self {
        match self {
            Inbound::Wire(incoming) => Inbound::Copied(incoming, tap),
            other => other,
        }
    }
}

impl Body for Inbound {
    type Data = Bytes;
    type Error = InboundError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, InboundError>>> {
        match self.get_mut() {
            Inbound::Wire(incoming) => Pin::new(incoming)
                .poll_frame(cx)
                .map(|frame| frame.map(|frame| frame.map_err(InboundError::Wire))),
            Inbound::Copied(incoming, tap) => {
                let polled = std::task::ready!(Pin::new(&mut *incoming).poll_frame(cx));
                match &polled {
                    Some(Ok(frame)) => {
                        if let Some(data) = frame.data_ref() {
                            tap.add(data);
                        }
                        // Whoever reads us may stop here.
                        if incoming.is_end_stream() {
                            tap.end();
                        }
                    }
                    Some(Err(_)) => {}
                    None => tap.end(),
                }
                Poll::Ready(polled.map(|frame| frame.map_err(InboundError::Wire)))
            }
            Inbound::Given(bytes) if bytes.is_empty() => Poll::Ready(None),
            Inbound::Given(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Inbound::Withheld(asked) => {
                asked.set(true);
                Poll::Ready(Some(Err(InboundError::Withheld)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Inbound::Wire(incoming) | Inbound::Copied(incoming, _) => incoming.is_end_stream(),
            Inbound::Given(bytes) => bytes.is_empty(),
            Inbound::Withheld(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Inbound::Wire(incoming) | Inbound::Copied(incoming, _) => incoming.size_hint(),
            Inbound::Given(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Inbound::Withheld(_) => SizeHint::default(),
        }
    }
}
