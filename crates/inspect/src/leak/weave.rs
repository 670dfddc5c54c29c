//! What a stream says in pieces. An event of a model's answer carries a few letters, and nothing is to be found in it; so
//! the texts that stand at the same place of consecutive events are joined and looked through as one. Events are held
//! back from the one on in which something begins that could be a secret, until it is one or is none.
//!
//! Only secrets are looked for here: a stack trace has whole lines, and a model may well explain one.

use std::ops::Range;

use super::{
    LeakClass, LeakGroup, LeakScanner,
    secret::{Opening, is_secret},
};

/// 128 places in events: what a model says, thinks and asks of tools, beside what else its events tell. Then the place
/// goes on of which nothing was heard for longest.
const THREADS_MAX: usize = 128;
/// 64 bytes stay when nothing is open: longer than the beginning of any secret, with what stands before it.
const TAIL_BYTES: usize = 64;
/// 32 levels: no event is nested deeper.
const DEPTH_MAX: usize = 32;

/// Something found: what (nothing where it goes on from what was found before), and where its bytes stand in the stream.
pub(super) struct Found {
    pub(super) class: Option<LeakClass>,
    pub(super) places: Vec<Range<u64>>,
}

/// The texts of a stream, by their place in events.
#[derive(Default)]
pub(super) struct Weave {
    threads: Vec<Thread>,
    /// How many texts came so far.
    heard: u64,
}

/// One text, as far as it is still of interest.
struct Thread {
    place: u64,
    text: Vec<u8>,
    pieces: Vec<Piece>,
    open: Option<Opening>,
    /// Whether it ends with a secret, so that what follows without a break belongs to it.
    ends_secret: bool,
    last_heard: u64,
}

/// A run of the text and where it is written: `len` bytes, of which each is written as it is, or all as one escape.
#[derive(Clone, Copy)]
struct Piece {
    at: usize,
    len: usize,
    written_at: u64,
    written_len: u64,
}

impl Piece {
    /// Where a part of the text that begins in this piece, and one that ends in it, is written.
    fn written(&self, part: &Range<usize>) -> Option<Range<u64>> {
        let end = self.at + self.len;
        if part.end <= self.at || part.start >= end {
            return None;
        }
        if self.len as u64 != self.written_len {
            return Some(self.written_at..self.written_at + self.written_len);
        }
        let from = part.start.max(self.at) - self.at;
        let to = part.end.min(end) - self.at;
        Some(self.written_at + from as u64..self.written_at + to as u64)
    }
}

impl Weave {
    /// Takes a line that stands at `at` in the stream; gives what is found now.
    pub(super) fn line(&mut self, scanner: &LeakScanner, line: &[u8], at: u64) -> Vec<Found> {
        let mut payload = line.trim_ascii_end();
        let mut start = at;
        let is_event = payload.starts_with(b"data:");
        if let Some(data) = payload.strip_prefix(b"data:") {
            payload = data.trim_ascii_start();
            start += (line.trim_ascii_end().len() - payload.len()) as u64;
        }
        let mut found = Vec::new();
        if matches!(payload.first(), Some(b'{' | b'[')) {
            each_text(payload, |place, part| {
                let text = payload.get(part.clone()).unwrap_or_default();
                self.add(scanner, place, text, (start + part.start as u64, true), &mut found);
            });
        } else if is_event && payload != b"[DONE]" {
            self.add(scanner, 0, payload, (start, false), &mut found);
        }
        found
    }

    fn add(
        &mut self,
        scanner: &LeakScanner,
        place: u64,
        text: &[u8],
        (at, is_escaped): (u64, bool),
        found: &mut Vec<Found>,
    ) {
        if text.is_empty() {
            return;
        }
        self.heard += 1;
        let Some(thread) = self.thread(place) else { return };
        let before = thread.text.len();
        if is_escaped {
            thread.append_escaped(text, at)
        } else {
            thread.append(text, (at, text.len() as u64))
        }
        thread.judge(scanner, before, found);
    }

    /// The text of a place; `None` where something is open at every other.
    fn thread(&mut self, place: u64) -> Option<&mut Thread> {
        let known = self.threads.iter().position(|thread| thread.place == place);
        let at = match known {
            Some(known) => known,
            None => {
                if self.threads.len() >= THREADS_MAX {
                    let silent = self.threads.iter().enumerate().filter(|(_, thread)| thread.open.is_none());
                    let (longest, _) = silent.min_by_key(|(_, thread)| thread.last_heard)?;
                    self.threads.swap_remove(longest);
                }
                let (text, pieces) = (Vec::new(), Vec::new());
                self.threads.push(Thread {
                    place,
                    text,
                    pieces,
                    open: None,
                    ends_secret: false,
                    last_heard: 0,
                });
                self.threads.len() - 1
            }
        };
        let thread = self.threads.get_mut(at)?;
        thread.last_heard = self.heard;
        Some(thread)
    }

    /// Where in the stream the first thing begins that could still become a secret.
    pub(super) fn open_from(&self) -> Option<u64> {
        let from = |thread: &Thread| {
            let open = thread.open?;
            thread
                .pieces
                .iter()
                .find_map(|piece| piece.written(&(open.start..open.start + 1)))
                .map(|at| at.start)
        };
        self.threads.iter().filter_map(from).min()
    }

    /// Nothing more comes, or no more is held: what is open is what there is of it.
    pub(super) fn close(&mut self, scanner: &LeakScanner) -> Vec<Found> {
        let mut found = Vec::new();
        for thread in &mut self.threads {
            if thread.open.take().is_some() {
                thread.take_found(scanner, usize::MAX, &mut found);
                thread.keep_from(thread.text.len());
            }
        }
        found
    }
}

impl Thread {
    fn append(&mut self, text: &[u8], (written_at, written_len): (u64, u64)) {
        if !text.is_empty() {
            self.pieces.push(Piece { at: self.text.len(), len: text.len(), written_at, written_len });
            self.text.extend_from_slice(text);
        }
    }

    /// Appends the inside of a JSON string.
    fn append_escaped(&mut self, mut text: &[u8], mut at: u64) {
        while !text.is_empty() {
            let plain = memchr::memchr(b'\\', text).unwrap_or(text.len());
            self.append(text.get(..plain).unwrap_or_default(), (at, plain as u64));
            text = text.get(plain..).unwrap_or_default();
            at += plain as u64;
            let mut letters = [0; 4];
            let (meant, written): (&[u8], usize) = match text.get(1) {
                None => return,
                Some(b'u') => match code_point(text.get(2..6)) {
                    Some(letter) => (letter.encode_utf8(&mut letters).as_bytes(), 6),
                    // Half of a pair, or broken: none of it belongs to a secret.
                    None => (b" ", 6),
                },
                Some(b'n') => (b"\n", 2),
                Some(b't') => (b"\t", 2),
                Some(b'r') => (b"\r", 2),
                Some(b'b' | b'f') => (b" ", 2),
                Some(_) => (text.get(1..2).unwrap_or_default(), 2),
            };
            let written = written.min(text.len());
            self.append(meant, (at, written as u64));
            text = text.get(written..).unwrap_or_default();
            at += written as u64;
        }
    }

    /// Judges after something was appended to a text of `before` bytes.
    fn judge(&mut self, scanner: &LeakScanner, before: usize, found: &mut Vec<Found>) {
        if self.ends_secret {
            let new = self.text.get(before..).unwrap_or_default();
            let more = new.iter().take_while(|byte| is_secret(**byte)).count();
            self.ends_secret = more == new.len();
            self.take(None, before..before + more, found);
        }
        if self.open.is_some_and(|open| open.goes_on(&self.text, before)) {
            return;
        }
        let key = scanner.opening(&self.text).filter(|open| open.is_key);
        self.take_found(scanner, key.map_or(usize::MAX, |key| key.start), found);
        self.open = scanner.opening(&self.text);
        let end = self.open.map_or(usize::MAX, |open| open.start);
        self.keep_from(end.min(self.text.len().saturating_sub(TAIL_BYTES)));
    }

    /// Takes what is found in front of `end`; it is found once only.
    fn take_found(&mut self, scanner: &LeakScanner, end: usize, found: &mut Vec<Found>) {
        for leak in scanner.scan(&self.text).found {
            if leak.class.group() == LeakGroup::Secret && leak.place.end <= end {
                self.ends_secret |= leak.place.end == self.text.len() && leak.class != LeakClass::PrivateKey;
                self.take(Some(leak.class), leak.place, found);
            }
        }
    }

    fn take(&mut self, class: Option<LeakClass>, part: Range<usize>, found: &mut Vec<Found>) {
        let places = self.pieces.iter().filter_map(|piece| piece.written(&part)).collect();
        found.push(Found { class, places });
        self.text.get_mut(part).into_iter().for_each(|bytes| bytes.fill(super::MASK));
    }

    fn keep_from(&mut self, from: usize) {
        self.text.drain(..from);
        self.pieces.retain_mut(|piece| {
            let gone = from.saturating_sub(piece.at);
            piece.at = piece.at.saturating_sub(from);
            if gone >= piece.len {
                return false;
            }
            if gone > 0 && piece.len as u64 == piece.written_len {
                piece.written_at += gone as u64;
                piece.written_len -= gone as u64;
            }
            piece.len -= gone;
            true
        });
        if let Some(open) = &mut self.open {
            open.start -= from.min(open.start);
        }
    }
}

fn code_point(digits: Option<&[u8]>) -> Option<char> {
    let digits = std::str::from_utf8(digits?).ok()?;
    char::from_u32(u32::from_str_radix(digits, 16).ok()?)
}

/// An object or array that is open, and where in it the walk is.
struct Level {
    place: u64,
    is_array: bool,
    index: u64,
    /// The place of the member whose value comes next.
    member: Option<u64>,
}

/// Tells every text of a JSON document that is a value: a number that stands for its place, and the part between its
/// quotes. Reads what is no JSON as far as it looks like it.
fn each_text(json: &[u8], mut tell: impl FnMut(u64, Range<usize>)) {
    let mut levels: Vec<Level> = Vec::new();
    let mut at = 0;
    while let Some(byte) = json.get(at).copied() {
        at += 1;
        match byte {
            b'{' | b'[' => {
                if levels.len() >= DEPTH_MAX {
                    return;
                }
                let place = levels.last().map_or(1, Level::here);
                levels.push(Level { place, is_array: byte == b'[', index: 0, member: None });
            }
            b'}' | b']' => drop(levels.pop()),
            b',' => {
                if let Some(level) = levels.last_mut() {
                    level.index += 1;
                    level.member = None;
                }
            }
            b'"' => {
                let start = at;
                while let Some(inside) = json.get(at) {
                    match inside {
                        b'"' => break,
                        b'\\' => at += 2,
                        _ => at += 1,
                    }
                }
                let part = start..at.min(json.len());
                at += 1;
                let Some(level) = levels.last_mut() else { continue };
                if level.is_array || level.member.is_some() {
                    tell(level.here(), part);
                } else {
                    level.member = Some(mixed(level.place, json.get(part).unwrap_or_default()));
                }
            }
            _ => {}
        }
    }
}

impl Level {
    fn here(&self) -> u64 {
        self.member.unwrap_or_else(|| mixed(self.place, &self.index.to_le_bytes()))
    }
}

/// FNV-1a. Places that fall together only join two texts.
fn mixed(start: u64, bytes: &[u8]) -> u64 {
    let start = start ^ 0xcbf2_9ce4_8422_2325;
    bytes.iter().fold(start, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3))
}
