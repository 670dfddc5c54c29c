//! Framing of streams: bytes, cut anywhere, become frames.
//!
//! Two framings are in use: server-sent events (all but one) and a line of JSON each (Ollama). Both hold at most one
//! unfinished frame, and that is capped.

mod ndjson;
mod sse;

use std::fmt;

pub use ndjson::Lines;
pub use sse::Events;

/// Bytes that one unfinished frame may take: 16 MiB, because Gemini sends a whole image in one frame.
pub const FRAME_BYTES_MAX: usize = 16 * 1024 * 1024;

/// One whole frame.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frame {
    /// The event's name; empty where none was given.
    pub event: String,
    /// The data, lines joined by a line feed.
    pub data: Vec<u8>,
}

/// A frame is larger than the cap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLarge;

impl fmt::Display for TooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a frame of the stream is larger than the cap")
    }
}

impl std::error::Error for TooLarge {}

/// How a provider frames its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// `text/event-stream`.
    Events,
    /// One line of JSON per frame.
    Lines,
}

/// A parser of either framing.
#[derive(Debug)]
pub enum Framer {
    /// Server-sent events.
    Events(Events),
    /// Lines of JSON.
    Lines(Lines),
}

impl Framer {
    /// A parser with a cap on one frame.
    pub fn new(framing: Framing, frame_bytes_max: usize) -> Framer {
        match framing {
            Framing::Events => Framer::Events(Events::new(frame_bytes_max)),
            Framing::Lines => Framer::Lines(Lines::new(frame_bytes_max)),
        }
    }

    /// Takes bytes and appends the frames that they complete.
    pub fn push(&mut self, bytes: &[u8], frames: &mut Vec<Frame>) -> Result<(), TooLarge> {
        match self {
            Framer::Events(events) => events.push(bytes, frames),
            Framer::Lines(lines) => lines.push(bytes, frames),
        }
    }

    /// The end of the bytes: the frame that lacks only its end mark, if there is one.
    pub fn finish(&mut self) -> Option<Frame> {
        match self {
            Framer::Events(events) => events.finish(),
            Framer::Lines(lines) => lines.finish(),
        }
    }
}
