//! A bounded copy of a request's body, taken while it passes.
//!
//! It changes nothing about how the body is read: what does not fit is not copied, and the copy says so. All copies of a
//! process together are bounded too, so that many large uploads at once cost no more memory than is said here.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

/// Most bytes of one body: two thirds of what a record holds, because base64 takes a third more.
pub const BODY_BYTES_MAX: usize = 512 << 10;

/// All copies of a process together.
const HELD_BYTES_MAX: usize = 64 << 20;

/// How many bytes the copies of a process hold.
#[derive(Clone, Debug, Default)]
pub struct HeldCopies(Arc<AtomicUsize>);

impl HeldCopies {
    fn take(&self, bytes: usize) -> bool {
        let taken = self.0.fetch_add(bytes, Ordering::Relaxed);
        let fits = taken.saturating_add(bytes) <= HELD_BYTES_MAX;
        if !fits {
            self.0.fetch_sub(bytes, Ordering::Relaxed);
        }
        fits
    }
}

/// A copy that grows while its body passes. Clones are the same copy.
#[derive(Clone)]
pub struct BodyTap(Arc<Tapped>);

struct Tapped {
    state: Mutex<State>,
    bytes_max: usize,
    held: HeldCopies,
}

#[derive(Default)]
struct State {
    bytes: Vec<u8>,
    end: BodyEnd,
}

/// How far a copy is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BodyEnd {
    /// The body has not ended; perhaps nobody read it.
    #[default]
    Open,
    /// This is the whole body.
    Whole,
    /// The body is longer than the copy may be, or there was no room for it.
    Cut,
}

impl BodyTap {
    /// An empty copy of at most `bytes_max`, paid for from `held`.
    pub fn new(bytes_max: usize, held: &HeldCopies) -> Self {
        let state = Mutex::default();
        BodyTap(Arc::new(Tapped { state, bytes_max: bytes_max.min(BODY_BYTES_MAX), held: held.clone() }))
    }

    /// Copies a piece.
    pub fn add(&self, piece: &[u8]) {
        let mut state = self.lock();
        if state.end != BodyEnd::Open {
            return;
        }
        let fits = state.bytes.len().saturating_add(piece.len()) <= self.0.bytes_max;
        if fits && self.0.held.take(piece.len()) {
            state.bytes.extend_from_slice(piece);
            return;
        }
        // A body that is not whole is worth nothing to a judge.
        self.0.held.0.fetch_sub(state.bytes.len(), Ordering::Relaxed);
        *state = State { bytes: Vec::new(), end: BodyEnd::Cut };
    }

    /// The body has ended.
    pub fn end(&self) {
        let mut state = self.lock();
        if state.end == BodyEnd::Open {
            state.end = BodyEnd::Whole;
        }
    }

    /// Shows how far it is, and the bytes if that is all of them.
    pub fn look<T>(&self, look: impl FnOnce(BodyEnd, &[u8]) -> T) -> T {
        let state = self.lock();
        look(state.end, &state.bytes)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Tapped {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        self.held.0.fetch_sub(state.bytes.len(), Ordering::Relaxed);
    }
}

/// Tells the size only: a body may hold anything.
impl fmt::Debug for BodyTap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.lock();
        write!(f, "BodyTap({:?}, {} bytes)", state.end, state.bytes.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(tap: &BodyTap) -> (BodyEnd, Vec<u8>) {
        tap.look(|end, bytes| (end, bytes.to_vec()))
    }

    #[test]
    fn a_copy_is_whole_open_or_cut_and_gives_back_what_it_held() {
        let held = HeldCopies::default();
        let tap = BodyTap::new(4, &held);
        tap.add(b"ab");
        tap.clone().add(b"cd");
        assert_eq!(seen(&tap), (BodyEnd::Open, b"abcd".to_vec()));
        tap.end();
        assert_eq!((seen(&tap), held.0.load(Ordering::Relaxed)), ((BodyEnd::Whole, b"abcd".to_vec()), 4));
        drop(tap);
        assert_eq!(held.0.load(Ordering::Relaxed), 0);

        let long = BodyTap::new(4, &held);
        long.add(b"abc");
        long.add(b"de");
        long.end();
        assert_eq!((seen(&long), held.0.load(Ordering::Relaxed)), ((BodyEnd::Cut, Vec::new()), 0));
    }

    #[test]
    fn all_copies_together_are_bounded() {
        let held = HeldCopies::default();
        let piece = vec![0; BODY_BYTES_MAX];
        let taps: Vec<BodyTap> =
            (0..=HELD_BYTES_MAX / BODY_BYTES_MAX).map(|_| BodyTap::new(BODY_BYTES_MAX, &held)).collect();
        taps.iter().for_each(|tap| tap.add(&piece));
        let cut = taps.iter().filter(|tap| seen(tap).0 == BodyEnd::Cut).count();
        assert_eq!(cut, 1);
        drop(taps);
        assert_eq!(held.0.load(Ordering::Relaxed), 0);
    }
}
