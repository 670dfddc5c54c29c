//! An answer that is looked through for secrets while it passes. What a finding could still be part of is held back,
//! bounded by the screens themselves; a caller never gets the beginning of a secret whose end is refused.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use bartizan_inspect::leak::LeakStream;
use bartizan_telemetry::{Exit, LeakCount};
use bytes::Bytes;
use http_body::Frame;

use super::answer::{Polled, Streaming};

/// A streaming answer behind its screens.
pub(crate) struct ScreenedFlow {
    source: Option<Box<Streaming>>,
    screens: Vec<LeakScreen>,
    /// What may pass.
    ready: Bytes,
}

/// What one policy looks for.
pub(crate) struct LeakScreen {
    /// `InspectionPolicy/name`.
    pub(crate) label: Arc<str>,
    /// Whether secrets are masked; else the answer ends in front of the first.
    pub(crate) masks: bool,
    pub(crate) stream: LeakStream,
}

/// The answer told a secret.
#[derive(Debug, thiserror::Error)]
#[error("the answer tells a secret, and its policy refuses that")]
pub(crate) struct ToldSecret;

impl ScreenedFlow {
    /// An answer of which `start` was read already.
    pub(crate) fn new(source: Box<Streaming>, screens: Vec<LeakScreen>, start: Bytes) -> Box<Self> {
        let mut screened = ScreenedFlow { source: Some(source), screens, ready: Bytes::new() };
        if !start.is_empty() {
            screened.ready = screened.pass(start);
        }
        Box::new(screened)
    }

    /// What was found, as the record tells it.
    pub(crate) fn told(&self) -> Vec<LeakCount> {
        let of = |screen: &LeakScreen| {
            let (label, masks) = (screen.label.clone(), screen.masks);
            let counts: Vec<_> =
                screen.stream.counts().iter().map(|(class, count)| (*class, *count)).collect();
            counts.into_iter().map(move |(class, count)| LeakCount {
                policy: label.clone(),
                class: class.word(),
                count: count as u64,
                action: if masks { "masked" } else { "blocked" },
            })
        };
        self.screens.iter().flat_map(of).collect()
    }

    /// Whether a policy refuses what was found.
    fn is_refused(&self) -> bool {
        self.screens.iter().any(|screen| !screen.masks && !screen.stream.counts().is_empty())
    }

    fn pass(&mut self, piece: Bytes) -> Bytes {
        self.screens.iter_mut().fold(piece, |piece, screen| screen.stream.push(&piece).into())
    }

    /// What the screens held back, each passed through those behind it.
    fn finish(&mut self) -> Bytes {
        let mut rest: Vec<u8> = Vec::new();
        for screen in &mut self.screens {
            let mut passed = screen.stream.push(&rest);
            passed.extend(screen.stream.finish());
            rest = passed;
        }
        rest.into()
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Polled<Frame<Bytes>> {
        loop {
            if self.is_refused() {
                self.source = None;
                self.ready = Bytes::new();
                return Poll::Ready(Some(Err((Exit::Refused, ToldSecret.into()))));
            }
            if !self.ready.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut self.ready)))));
            }
            let Some(source) = &mut self.source else { return Poll::Ready(None) };
            match std::task::ready!(source.poll(cx)) {
                // Trailers follow what is held back, and nobody looks at them: they do not pass.
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.ready = self.pass(data);
                    }
                }
                Some(Err(error)) => {
                    self.source = None;
                    return Poll::Ready(Some(Err(error)));
                }
                None => {
                    self.source = None;
                    self.ready = self.finish();
                }
            }
        }
    }
}
