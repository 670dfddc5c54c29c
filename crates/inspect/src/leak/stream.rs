//! A body that arrives in pieces: masked as it passes, with only a tail held back. What was let go was judged whole,
//! wherever the pieces were cut.

use std::{collections::BTreeMap, sync::Arc};

use super::{LeakClass, LeakScanner, secret::PEM_BYTES_MAX};

/// The most bytes held back: as long as the longest thing that is looked for.
pub const STREAM_HELD_BYTES: usize = PEM_BYTES_MAX;

/// Masks a body piece by piece.
#[derive(Debug)]
pub struct LeakStream {
    scanner: Arc<LeakScanner>,
    held: Held,
    /// How many more bytes are looked at.
    left: u64,
    /// Whether whole lines pass as soon as they are there.
    by_line: bool,
    counts: BTreeMap<LeakClass, usize>,
    uninspected: u64,
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
            by_line: false,
            counts: BTreeMap::new(),
            uninspected: 0,
        }
    }

    /// The same for a body whose lines mean something by themselves (events, JSON by lines): a line passes when it is
    /// whole, so that nobody waits for a window to fill. Only a private key that began and did not end is held back over
    /// lines; a line that does not end is treated as any other body.
    #[must_use]
    pub fn by_line(self) -> Self {
        Self { by_line: true, ..self }
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
        if self.by_line && inspected.contains(&b'\n') {
            let cut = self.behind_last_line();
            if cut > 0 {
                return self.release(cut);
            }
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

    /// How far whole lines reach, of which nothing can go on in the next.
    fn behind_last_line(&self) -> usize {
        let held = &self.held.0;
        let mut cut = memchr::memrchr(b'\n', held).map_or(0, |at| at + 1);
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
        masked
    }
}
