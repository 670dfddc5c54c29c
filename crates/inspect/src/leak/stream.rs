//! A body that arrives in pieces: masked as it passes, with only a tail held back. What was let go was judged whole,
//! wherever the pieces were cut.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    LeakClass, LeakScanner,
    secret::PEM_BYTES_MAX,
    weave::{Found, Weave},
};

/// The most bytes held back: as long as the longest thing that is looked for.
pub const STREAM_HELD_BYTES: usize = PEM_BYTES_MAX;

/// 512 KiB of events held back while a secret could be among them: a private key of 4096 bits that comes in pieces of
/// two signs, in events of some two hundred bytes, is shorter.
pub const EVENTS_HELD_BYTES: usize = 512 << 10;

/// Masks a body piece by piece.
#[derive(Debug)]
pub struct LeakStream {
    scanner: Arc<LeakScanner>,
    held: Held,
    /// How many more bytes are looked at.
    left: u64,
    /// What lines say together, where they pass as soon as they are whole.
    lines: Option<Lines>,
    counts: BTreeMap<LeakClass, usize>,
    uninspected: u64,
}

/// A body that passes line by line.
#[derive(Default)]
struct Lines {
    weave: Weave,
    /// How many bytes passed in front of those that are held.
    passed: u64,
    /// How many of those that are held were read as lines.
    read: usize,
}

impl std::fmt::Debug for Lines {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "lines behind {} bytes", self.passed)
    }
}

/// Bytes of a body; not shown.
#[derive(Default)]
struct Held(Vec<u8>);

impl std::fmt::Debug for Held {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{} bytes", self.0.len())
    }
}

impl LeakStream {
    /// A stream of which the first `bytes_max` are looked at; the rest passes and is counted.
    #[must_use]
    pub fn new(scanner: Arc<LeakScanner>, bytes_max: u64) -> Self {
        Self {
            scanner,
            held: Held::default(),
            left: bytes_max,
            lines: None,
            counts: BTreeMap::new(),
            uninspected: 0,
        }
    }

    /// The same for a body whose lines mean something by themselves (events, JSON by lines): a line passes when it is
    /// whole, so that nobody waits for a window to fill. Held back over lines is only what began and could still become a
    /// secret: a private key that did not end, or a text that comes in pieces. A line that does not end is treated as
    /// any other body.
    #[must_use]
    pub fn by_line(self) -> Self {
        Self { lines: Some(Lines::default()), ..self }
    }

    /// Takes a piece and gives what may pass now, masked.
    #[must_use]
    pub fn push(&mut self, piece: &[u8]) -> Vec<u8> {
        let looked_at = usize::try_from(self.left).unwrap_or(usize::MAX).min(piece.len());
        let (inspected, rest) = piece.split_at_checked(looked_at).unwrap_or((piece, &[]));
        self.left -= inspected.len() as u64;
        self.held.0.extend_from_slice(inspected);
        if !rest.is_empty() {
            let mut out = self.finish();
            self.uninspected += rest.len() as u64;
            out.extend_from_slice(rest);
            return out;
        }
        if self.lines.is_some() && inspected.contains(&b'\n') {
            self.read_lines();
            let cut = self.behind_last_line(self.held_from().unwrap_or(usize::MAX));
            if cut > 0 {
                return self.release(cut);
            }
        }
        if self.held_from().is_some() && self.held.0.len() <= EVENTS_HELD_BYTES {
            return Vec::new();
        }
        // Looking again at every small piece would cost more than it is worth.
        if self.held.0.len() < 2 * STREAM_HELD_BYTES {
            return Vec::new();
        }
        let leaks = self.scanner.scan(&self.held.0);
        let mut cut = self.held.0.len() - STREAM_HELD_BYTES;
        // A finding that begins before the cut and might go on behind it stays whole.
        if let Some(across) = leaks.found.iter().find(|leak| leak.place.start < cut && leak.place.end > cut) {
            cut = if across.place.start > 0 { across.place.start } else { across.place.end };
        }
        self.release(cut)
    }

    /// Reads the lines that became whole, together with those before.
    fn read_lines(&mut self) {
        let Some(lines) = &mut self.lines else { return };
        let held = &mut self.held.0;
        let end = memchr::memrchr(b'\n', held).map_or(0, |at| at + 1);
        let mut found = Vec::new();
        let mut at = lines.read;
        for line in held.get(lines.read..end).unwrap_or_default().split_inclusive(|byte| *byte == b'\n') {
            found.extend(lines.weave.line(&self.scanner, line, lines.passed + at as u64));
            at += line.len();
        }
        lines.read = end.max(lines.read);
        if held.len() > EVENTS_HELD_BYTES {
            // What is not a secret by now is masked as far as it looks like one.
            found.extend(lines.weave.close(&self.scanner));
        }
        self.hide(found);
    }

    /// Masks what was found over several lines, as far as it did not pass.
    fn hide(&mut self, found: Vec<Found>) {
        let passed = self.lines.as_ref().map_or(0, |lines| lines.passed);
        for found in found {
            found.class.into_iter().for_each(|class| *self.counts.entry(class).or_default() += 1);
            for place in found.places {
                let [start, end] = [place.start, place.end]
                    .map(|at| usize::try_from(at.saturating_sub(passed)).unwrap_or(usize::MAX));
                self.held.0.get_mut(start..end).into_iter().for_each(|bytes| bytes.fill(super::MASK));
            }
        }
    }

    /// Where among the held bytes something begins that could still become a secret.
    fn held_from(&self) -> Option<usize> {
        let lines = self.lines.as_ref()?;
        let open = lines.weave.open_from()?;
        Some(usize::try_from(open.saturating_sub(lines.passed)).unwrap_or(0))
    }

    /// How far whole lines in front of `before` reach, of which nothing can go on in the next.
    fn behind_last_line(&self, before: usize) -> usize {
        let held = &self.held.0;
        let ended = held.get(..before.min(held.len())).unwrap_or_default();
        let mut cut = memchr::memrchr(b'\n', ended).map_or(0, |at| at + 1);
        if cut == 0 {
            return 0;
        }
        if let Some(begin) = memchr::memmem::rfind(held.get(..cut).unwrap_or_default(), b"-----BEGIN ")
            && memchr::memmem::find(held.get(begin..).unwrap_or_default(), b"-----END ").is_none()
            && held.len() - begin < STREAM_HELD_BYTES
        {
            cut = begin;
        }
        let leaks = self.scanner.scan(held);
        let across = leaks.found.iter().find(|leak| leak.place.start < cut && leak.place.end > cut);
        across.map_or(cut, |across| across.place.start)
    }

    /// The end of the body: gives what was held back, masked.
    #[must_use]
    pub fn finish(&mut self) -> Vec<u8> {
        if let Some(lines) = &mut self.lines {
            // The last line may lack its end.
            let (read, at) = (lines.read, lines.passed + lines.read as u64);
            let last = self.held.0.get(read..).unwrap_or_default();
            let mut found = lines.weave.line(&self.scanner, last, at);
            found.extend(lines.weave.close(&self.scanner));
            lines.read = self.held.0.len();
            self.hide(found);
        }
        self.release(self.held.0.len())
    }

    /// How many of each class passed so far, masked.
    #[must_use]
    pub fn counts(&self) -> &BTreeMap<LeakClass, usize> {
        &self.counts
    }

    /// How many bytes passed without being looked at.
    #[must_use]
    pub fn uninspected(&self) -> u64 {
        self.uninspected
    }

    fn release(&mut self, cut: usize) -> Vec<u8> {
        let mut masked = self.held.0.clone();
        let leaks = self.scanner.mask(&mut masked);
        for leak in leaks.found.iter().filter(|leak| leak.place.end <= cut) {
            *self.counts.entry(leak.class).or_default() += 1;
        }
        masked.truncate(cut);
        self.held.0.drain(..cut);
        if let Some(lines) = &mut self.lines {
            lines.passed += cut as u64;
            lines.read = lines.read.saturating_sub(cut);
        }
        masked
    }
}
