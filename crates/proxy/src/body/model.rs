//! A model's answer on its way to the caller: translated or passed, and counted.
//!
//! It pulls: nothing is read from the provider before the caller has taken what there is, so memory holds one piece
//! and what it became. After the end mark the provider's connection is looked at once and not waited for.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bartizan_ai::{
    Decoder, Dialect, Event, Failure, Source, StreamWriter, Usage,
    bound::tokens_of,
    json::Json,
    price::Price,
    spoken::{Told, error_event},
    stream::{FRAME_BYTES_MAX, Frame, Framer},
};
use bartizan_telemetry::{Exit, record::ModelRecord};
use bytes::Bytes;
use http_body::Frame as BodyFrame;
use tokio::time::Sleep;

use super::answer::{Polled, Streaming};

/// A silence after which a comment is sent: proxies and browsers cut connections after a minute or two.
const QUIET: Duration = Duration::from_secs(15);

/// Bytes of an answer that passes untouched which are kept to find its usage; a larger one is estimated.
const PASSED_BYTES_MAX: usize = 4 * 1024 * 1024;

/// A streaming answer of a model.
pub(crate) struct ModelBody {
    source: Option<Box<Streaming>>,
    turn: Turn,
    /// What is ready for the caller.
    ready: Vec<u8>,
    meter: Meter,
    /// An exit that is told after what is ready was taken.
    broken: Option<Exit>,
    quiet: Quiet,
}

/// Measures how long nothing left for the caller.
struct Quiet {
    /// When something last left.
    left: tokio::time::Instant,
    /// Made when the provider is silent for the first time.
    sleep: Option<Pin<Box<Sleep>>>,
}

/// What becomes of the provider's bytes.
pub(crate) enum Turn {
    /// They are translated into OpenAI's dialect.
    Translated(Box<Translation>),
    /// They pass; usage is read beside.
    Passed(Box<Passing>),
}

/// A stream that is translated.
pub(crate) struct Translation {
    decoder: Decoder,
    writer: StreamWriter,
    events: Vec<Event>,
}

/// An answer that passes.
pub(crate) struct Passing {
    dialect: Dialect,
    /// The parser of a stream; `None` for a whole answer.
    framer: Option<Framer>,
    frames: Vec<Frame>,
    kept: Vec<u8>,
    usage: Option<Usage>,
    bytes: u64,
    id: Box<str>,
}

/// What a call is charged by.
#[derive(Clone, Debug)]
pub(crate) struct Meter {
    /// When the head was complete.
    pub(crate) started: Instant,
    /// Input tokens as estimated.
    pub(crate) input: u64,
    /// Whether the call asks for a number of tokens and uses none.
    pub(crate) is_free: bool,
    /// What a token costs.
    pub(crate) price: Option<Price>,
    /// When the first content came.
    pub(crate) first: Option<Instant>,
}

impl Meter {
    /// Fills the record: what the provider told, else an estimate by bytes.
    pub(crate) fn settle(&self, usage: Option<Usage>, delivered: u64, whole: bool, record: &mut ModelRecord) {
        record.first_token = self.first.map(|first| first.saturating_duration_since(self.started));
        if self.is_free {
            return;
        }
        let told = usage.unwrap_or_default();
        // Absent is estimated; an explicit zero stays.
        let source = match usage {
            _ if !whole => Source::Partial,
            Some(usage) if usage.input.is_some() && usage.output.is_some() => usage.source,
            _ => Source::Estimated,
        };
        let output = match told.output {
            // The number at the beginning of a stream is a placeholder: what was delivered is charged at least.
            Some(output) if !whole => output.max(tokens_of(delivered)),
            Some(output) => output,
            None => tokens_of(delivered),
        };
        let input = told.input.unwrap_or(self.input);
        let usage = Usage { input: Some(input), output: Some(output), source, ..told };
        record.input_tokens = usage.input;
        record.output_tokens = usage.output;
        record.cached_tokens = usage.cached;
        record.reasoning_tokens = usage.reasoning;
        record.usage_source = source.word();
        record.cost_pico = self.price.map(|price| price.of(&usage).0);
    }
}

impl Translation {
    pub(crate) fn new(dialect: Dialect, writer: StreamWriter) -> Box<Self> {
        Box::new(Translation { decoder: Decoder::new(dialect), writer, events: Vec::new() })
    }

    /// Takes bytes of the provider; `None` is their end.
    pub(crate) fn take(&mut self, bytes: Option<&[u8]>, out: &mut Vec<u8>) {
        match bytes {
            Some(bytes) => self.decoder.push(bytes, &mut self.events),
            None => self.decoder.finish(&mut self.events),
        }
        for event in self.events.drain(..) {
            self.writer.event(event, out);
        }
        if bytes.is_none() {
            self.writer.finish(out);
        }
    }

    /// The writer, for what it knows of the stream.
    pub(crate) fn writer(&self) -> &StreamWriter {
        &self.writer
    }

    fn fail(&mut self, message: &str, out: &mut Vec<u8>) {
        self.writer.fail(Failure::broken(message), out);
    }
}

impl Passing {
    pub(crate) fn new(dialect: Dialect, is_stream: bool, id: &str) -> Box<Self> {
        Box::new(Passing {
            dialect,
            framer: is_stream.then(|| Framer::new(dialect.framing(), FRAME_BYTES_MAX)),
            frames: Vec::new(),
            kept: Vec::new(),
            usage: None,
            bytes: 0,
            id: id.into(),
        })
    }

    fn take(&mut self, bytes: &[u8]) {
        self.bytes = self.bytes.saturating_add(bytes.len() as u64);
        let Some(framer) = &mut self.framer else {
            if self.kept.len().saturating_add(bytes.len()) <= PASSED_BYTES_MAX {
                self.kept.extend_from_slice(bytes);
            }
            return;
        };
        // What cannot be framed passes all the same; its usage is estimated.
        let _ = framer.push(bytes, &mut self.frames);
        for frame in self.frames.drain(..) {
            note(self.dialect, &frame.data, &mut self.usage);
        }
    }

    fn finish(&mut self) {
        if let Some(frame) = self.framer.as_mut().and_then(Framer::finish) {
            note(self.dialect, &frame.data, &mut self.usage);
        }
        if !self.kept.is_empty() {
            note(self.dialect, &std::mem::take(&mut self.kept), &mut self.usage);
        }
    }

    fn error(&self) -> Vec<u8> {
        let told = Told {
            status: 502,
            message: "the provider's stream broke off",
            code: "provider_answer_broken",
            field: None,
            id: &self.id,
        };
        if self.framer.is_some() { error_event(self.dialect, &told) } else { Vec::new() }
    }
}

/// The last usage told counts. Most frames have none and are not parsed.
fn note(dialect: Dialect, data: &[u8], usage: &mut Option<Usage>) {
    let says = |word: &[u8]| data.windows(word.len()).any(|window| window == word);
    if !says(b"sage") && !says(b"eval_count") {
        return;
    }
    if let Some(told) = Json::read(data).ok().and_then(|body| dialect.usage(&body)) {
        *usage = Some(usage.unwrap_or_default().then(told));
    }
}

impl Quiet {
    fn new() -> Self {
        Quiet { left: tokio::time::Instant::now(), sleep: None }
    }

    /// Something left.
    fn broken(&mut self) {
        self.left = tokio::time::Instant::now();
    }

    /// Ready when nothing left for [`QUIET`]; then it begins anew.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let until = self.left + QUIET;
            let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until)));
            std::task::ready!(sleep.as_mut().poll(cx));
            // One timer serves many pieces: it is moved on when it fires, not with each of them.
            if until <= tokio::time::Instant::now() {
                self.sleep = None;
                self.broken();
                return Poll::Ready(());
            }
            sleep.as_mut().reset(until);
        }
    }
}

impl ModelBody {
    /// A body of which `ready` is already written.
    pub(crate) fn new(source: Box<Streaming>, turn: Turn, ready: Vec<u8>, meter: Meter) -> Self {
        ModelBody { source: Some(source), turn, ready, meter, broken: None, quiet: Quiet::new() }
    }

    /// Fills the record of the call. `whole`: the answer reached its end.
    pub(crate) fn settle(&mut self, whole: bool, record: &mut ModelRecord) {
        match &mut self.turn {
            Turn::Translated(translation) => {
                let writer = translation.writer();
                let whole = whole && writer.over() && writer.failure().is_none();
                record.lost.extend(writer.lost().iter().map(|lost| (*lost).to_owned()));
                if let Some(failure) = writer.failure() {
                    let upstream = record.target.clone().unwrap_or_else(|| "".into());
                    record.failed(upstream, failure.class.code());
                }
                self.meter.settle(writer.usage(), writer.delivered(), whole, record);
            }
            Turn::Passed(passing) => {
                passing.finish();
                self.meter.settle(passing.usage, passing.bytes, whole && self.broken.is_none(), record);
            }
        }
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Polled<BodyFrame<Bytes>> {
        loop {
            if !self.ready.is_empty() {
                let ready = Bytes::from(std::mem::take(&mut self.ready));
                self.quiet.broken();
                return Poll::Ready(Some(Ok(BodyFrame::data(ready))));
            }
            let is_over = match &self.turn {
                Turn::Translated(translation) => translation.writer.over(),
                Turn::Passed(_) => false,
            };
            let Some(source) = &mut self.source else { return Poll::Ready(None) };
            match source.poll(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    if let Some(data) = frame.data_ref() {
                        self.take(data);
                    }
                }
                Poll::Ready(None) => {
                    self.source = None;
                    if let Turn::Translated(translation) = &mut self.turn {
                        translation.take(None, &mut self.ready);
                    }
                }
                Poll::Ready(Some(Err((exit, _)))) => {
                    self.source = None;
                    self.broke(exit);
                }
                // The caller has everything; the provider need not be waited for.
                Poll::Pending if is_over => self.source = None,
                Poll::Pending => return self.poll_quiet(cx),
            }
        }
    }

    /// While the provider is silent, a comment keeps the caller's connection open: what stands between cuts silent ones. Only in
    /// streams that are written here, where no comment can fall into an event.
    fn poll_quiet(&mut self, cx: &mut Context<'_>) -> Polled<BodyFrame<Bytes>> {
        if !matches!(self.turn, Turn::Translated(_)) {
            return Poll::Pending;
        }
        std::task::ready!(self.quiet.poll(cx));
        Poll::Ready(Some(Ok(BodyFrame::data(Bytes::from_static(b": ping\n\n")))))
    }

    /// How it really ended, where the caller was told by an event.
    pub(super) fn exit(&self) -> Exit {
        self.broken.unwrap_or(Exit::Complete)
    }

    fn take(&mut self, data: &[u8]) {
        self.meter.first.get_or_insert_with(Instant::now);
        match &mut self.turn {
            Turn::Translated(translation) => translation.take(Some(data), &mut self.ready),
            Turn::Passed(passing) => {
                passing.take(data);
                self.ready.extend_from_slice(data);
            }
        }
    }

    fn broke(&mut self, exit: Exit) {
        match &mut self.turn {
            Turn::Translated(translation) if translation.writer.over() => {}
            Turn::Translated(translation) => {
                self.broken = Some(exit);
                translation.fail("the provider's stream broke off", &mut self.ready);
            }
            Turn::Passed(passing) => {
                self.broken = Some(exit);
                self.ready.extend_from_slice(&passing.error());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_comment_is_due_after_fifteen_seconds_of_silence_and_again_after_fifteen_more() {
        let begun = tokio::time::Instant::now();
        let mut quiet = Quiet::new();
        let second = Duration::from_secs(1);
        let due = async |quiet: &mut Quiet| {
            std::future::poll_fn(|cx| quiet.poll(cx)).await;
            begun.elapsed().as_secs()
        };
        // The timer is there already when something leaves: it is moved on.
        assert!(tokio::time::timeout(10 * second, std::future::poll_fn(|cx| quiet.poll(cx))).await.is_err());
        quiet.broken();
        assert_eq!(due(&mut quiet).await, 25);
        assert_eq!(due(&mut quiet).await, 40);
        assert!(tokio::time::timeout(14 * second, std::future::poll_fn(|cx| quiet.poll(cx))).await.is_err());
    }
}
