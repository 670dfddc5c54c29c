//! HTTP/2 frame by frame, for what no client library would send: floods, broken field blocks, resets in bulk.
//!
//! Fields are written as HPACK literals without compression (RFC 7541 §6.2), and a peer is told to keep no table, so
//! that the few answers a test looks at can be read without a decoder of Huffman text; only the digits of a status are.

use std::{
    io,
    net::SocketAddr,
    time::{Duration, Instant},
};

use crate::raw::{Ending, Raw};

/// RFC 9113 §6: frame types.
pub mod kind {
    /// DATA.
    pub const DATA: u8 = 0;
    /// HEADERS.
    pub const HEADERS: u8 = 1;
    /// PRIORITY.
    pub const PRIORITY: u8 = 2;
    /// RST_STREAM.
    pub const RST_STREAM: u8 = 3;
    /// SETTINGS.
    pub const SETTINGS: u8 = 4;
    /// PUSH_PROMISE.
    pub const PUSH_PROMISE: u8 = 5;
    /// PING.
    pub const PING: u8 = 6;
    /// GOAWAY.
    pub const GOAWAY: u8 = 7;
    /// WINDOW_UPDATE.
    pub const WINDOW_UPDATE: u8 = 8;
    /// CONTINUATION.
    pub const CONTINUATION: u8 = 9;
}

/// RFC 9113 §6: flags.
pub mod flag {
    /// SETTINGS and PING: this is the answer.
    pub const ACK: u8 = 1;
    /// DATA and HEADERS: nothing follows on the stream.
    pub const END_STREAM: u8 = 1;
    /// HEADERS and CONTINUATION: the field block is complete.
    pub const END_HEADERS: u8 = 4;
}

/// A frame as it stood on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The type.
    pub kind: u8,
    /// The flags.
    pub flags: u8,
    /// The stream, 0 for the connection.
    pub stream: u32,
    /// What it carries.
    pub payload: Vec<u8>,
}

/// What became of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// An answer with this status and body.
    Answered(u16, Vec<u8>),
    /// The peer reset the stream with this code.
    Reset(u32),
    /// The peer said goodbye with this code.
    Goaway(u32),
    /// The connection ended without a word.
    Ended(Ending),
    /// Nothing within the time.
    Silence,
}

/// A connection on which a test writes and reads frames.
#[derive(Debug)]
pub struct Frames {
    raw: Raw,
}

impl Frames {
    /// Connects in clear text and says the preface with these settings; `HEADER_TABLE_SIZE` 0 is always among them.
    pub fn connect(address: SocketAddr, settings: &[(u16, u32)]) -> Frames {
        Frames::over(Raw::connect(address), settings)
    }

    /// Says the preface on a connection, which TLS may protect.
    pub fn over(raw: Raw, settings: &[(u16, u32)]) -> Frames {
        let mut frames = Frames { raw };
        let mut payload = vec![0, 1, 0, 0, 0, 0];
        for (name, value) in settings {
            payload.extend(name.to_be_bytes());
            payload.extend(value.to_be_bytes());
        }
        frames.raw.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        frames.send(kind::SETTINGS, 0, 0, &payload);
        frames
    }

    /// Sends a frame; false when the peer does not take it any more.
    pub fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> bool {
        self.try_write(&frame(kind, flags, stream, payload)).is_ok()
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// When the peer has ended, or takes nothing for long.
    pub fn try_write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.raw.try_send(bytes)
    }

    /// Sends a request's head in one HEADERS frame.
    pub fn request(&mut self, stream: u32, fields: &[(&[u8], &[u8])], end_stream: bool) -> bool {
        let flags = flag::END_HEADERS | if end_stream { flag::END_STREAM } else { 0 };
        self.send(kind::HEADERS, flags, stream, &block(fields))
    }

    /// The next frame.
    ///
    /// # Errors
    /// How the peer ended, or [`Ending::Open`] when nothing came in time.
    pub fn next(&mut self, within: Duration) -> Result<Frame, Ending> {
        let deadline = Instant::now() + within;
        let head = self.raw.try_bytes(9, deadline)?;
        let at = |index: usize| head.get(index).copied().unwrap_or_default();
        let length = usize::from(at(0)) << 16 | usize::from(at(1)) << 8 | usize::from(at(2));
        let payload = self.raw.try_bytes(length, deadline)?;
        let stream = u32::from_be_bytes([at(5) & 0x7f, at(6), at(7), at(8)]);
        Ok(Frame { kind: at(3), flags: at(4), stream, payload })
    }

    /// Reads until the stream is answered or ends, or the connection does. Settings and pings are answered meanwhile.
    pub fn outcome(&mut self, stream: u32, within: Duration) -> Outcome {
        let deadline = Instant::now() + within;
        let (mut status, mut body) = (None, Vec::new());
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let frame = match self.next(left) {
                Ok(frame) => frame,
                Err(Ending::Open) => return Outcome::Silence,
                Err(ending) => return Outcome::Ended(ending),
            };
            match frame.kind {
                kind::GOAWAY => return Outcome::Goaway(word(&frame.payload, 4)),
                kind::RST_STREAM if frame.stream == stream => {
                    // RFC 9113 §8.1: a whole answer may be followed by NO_ERROR, "send no more of the body".
                    return Outcome::Reset(word(&frame.payload, 0));
                }
                kind::HEADERS if frame.stream == stream => {
                    status = status_of(&frame.payload).or(status);
                }
                kind::DATA if frame.stream == stream => body.extend_from_slice(&frame.payload),
                _ => self.answer_control(&frame),
            }
            let ends = matches!(frame.kind, kind::HEADERS | kind::DATA)
                && frame.stream == stream
                && frame.flags & flag::END_STREAM != 0;
            if let (true, Some(status)) = (ends, status) {
                return Outcome::Answered(status, body);
            }
        }
    }

    /// Reads until the connection ends; the code of the GOAWAY before it, if one came, and how it ended.
    pub fn ending(&mut self, within: Duration) -> (Option<u32>, Ending) {
        let deadline = Instant::now() + within;
        let mut code = None;
        loop {
            match self.next(deadline.saturating_duration_since(Instant::now())) {
                Ok(frame) if frame.kind == kind::GOAWAY => code = Some(word(&frame.payload, 4)),
                Ok(_) => {}
                Err(ending) => return (code, ending),
            }
        }
    }

    /// Frames that have come and were not read, without waiting for more.
    pub fn drain(&mut self) -> Vec<Frame> {
        let mut frames = Vec::new();
        while let Ok(frame) = self.next(Duration::from_millis(1)) {
            frames.push(frame);
        }
        frames
    }

    fn answer_control(&mut self, frame: &Frame) {
        if frame.flags & flag::ACK != 0 {
            return;
        }
        match frame.kind {
            kind::SETTINGS => self.send(kind::SETTINGS, flag::ACK, 0, &[]),
            kind::PING => self.send(kind::PING, flag::ACK, 0, &frame.payload),
            _ => true,
        };
    }
}

/// The bytes of one frame; the length is always the payload's.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a frame is small").to_be_bytes();
    let mut bytes = Vec::with_capacity(9 + payload.len());
    bytes.extend(&length[1..]);
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// A field block of literals that are not indexed (RFC 7541 §6.2.2), names and values as given.
pub fn block(fields: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        string(name, &mut block);
        string(value, &mut block);
    }
    block
}

/// A literal that enters the peer's table (RFC 7541 §6.2.1); from then on one byte repeats it.
pub fn indexed_literal(name: &[u8], value: &[u8]) -> Vec<u8> {
    let mut block = vec![0x40];
    string(name, &mut block);
    string(value, &mut block);
    block
}

/// RFC 7541 §5.2, without Huffman.
fn string(text: &[u8], block: &mut Vec<u8>) {
    let mut left = text.len();
    if left < 127 {
        block.push(u8::try_from(left).expect("less than 127"));
    } else {
        block.push(127);
        left -= 127;
        while left >= 128 {
            block.push(u8::try_from(left % 128 + 128).expect("less than 256"));
            left /= 128;
        }
        block.push(u8::try_from(left).expect("less than 128"));
    }
    block.extend(text);
}

fn word(payload: &[u8], at: usize) -> u32 {
    payload.get(at..at + 4).and_then(|four| four.try_into().ok()).map_or(u32::MAX, u32::from_be_bytes)
}

/// The status at the start of an answer's field block: in the static table, or a literal of its name.
fn status_of(block: &[u8]) -> Option<u16> {
    let mut rest = block;
    // RFC 7541 §6.3: changes of the table's size stand first.
    while let Some((0x20..=0x3f, after)) = rest.split_first() {
        rest = after;
    }
    let (first, rest) = rest.split_first()?;
    match first {
        0x88..=0x8e => [200, 204, 206, 304, 400, 404, 500].get(usize::from(first - 0x88)).copied(),
        // A literal whose name is entry 8: added to the table, not added, or never to be.
        0x48 | 0x08 | 0x18 => {
            let (length, text) = rest.split_first()?;
            let text = text.get(..usize::from(length & 0x7f))?;
            if length & 0x80 == 0 { std::str::from_utf8(text).ok()?.parse().ok() } else { digits(text) }
        }
        _ => None,
    }
}

/// RFC 7541, appendix B, for the ten digits: `0` to `2` take five bits, the others six.
fn digits(text: &[u8]) -> Option<u16> {
    let mut bits = text.iter().flat_map(|byte| (0..8).rev().map(move |bit| u16::from(byte >> bit & 1)));
    let mut number = 0;
    for _ in 0..3 {
        let five = (0..5).try_fold(0, |code, _| Some(code * 2 + bits.next()?))?;
        let digit = match five {
            0..=2 => five,
            // `3` is 011001, so 25 stands for 3.
            12..=15 => (five * 2 + bits.next()?).checked_sub(22)?,
            _ => return None,
        };
        number = number * 10 + digit;
    }
    Some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_read_in_each_of_its_forms() {
        // Huffman: 401 is 011010 00000 00001, 431 is 011010 011001 00001, 502 is 011011 00000 00010.
        let cases: [(&[u8], u16); 7] = [
            (&[0x88], 200),
            (&[0x20, 0x8d, 0x01], 404),
            (b"\x08\x03421", 421),
            (&[0x48, 0x82, 0b0110_1000, 0b0000_0001], 401),
            (&[0x08, 0x83, 0b0110_1001, 0b1001_0000, 0b1111_1111], 431),
            (&[0x18, 0x82, 0b0110_1100, 0b0000_0010], 502),
            (&[0x08, 0x83, 0b0110_1001, 0b1001_0111, 0b1011_1111], 438),
        ];
        for (block, status) in cases {
            assert_eq!(status_of(block), Some(status), "{block:x?}");
        }
        for block in [&[][..], &[0x82], &[0x08, 0x83], &[0x08, 0x81, 0xff]] {
            assert_eq!(status_of(block), None, "{block:x?}");
        }
    }

    #[test]
    fn long_texts_are_written_with_their_length() {
        for (length, head) in [(126, vec![126]), (127, vec![127, 0]), (300, vec![127, 173, 1])] {
            let mut block = Vec::new();
            string(&vec![b'a'; length], &mut block);
            assert!(block.starts_with(&head) && block.len() == head.len() + length, "{length}");
        }
    }
}
