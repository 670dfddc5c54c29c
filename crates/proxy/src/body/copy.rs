//! A bounded copy of a body that passes, for policies that only watch. It changes nothing about how the body is read:
//! what does not fit is not copied, and the copy says so.

use std::{cell::RefCell, rc::Rc};

use bytes::Bytes;

use super::Held;

/// A copy that grows while its body passes. Clones are the same copy.
#[derive(Clone, Debug)]
pub(crate) struct BodyCopy(Rc<RefCell<Copied>>);

#[derive(Debug)]
struct Copied {
    bytes: Vec<u8>,
    bytes_max: usize,
    held: Held,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// More may come.
    Open,
    /// The body has ended.
    Whole,
    /// The body is longer than the copy may be, or there was no room for it.
    Cut,
}

/// What came of a copy.
#[derive(Clone, Debug)]
pub(crate) enum Copy {
    /// The whole body.
    Whole(Bytes),
    /// The start of a longer one.
    Start(Bytes),
    /// A body that did not end.
    Unfinished,
}

impl BodyCopy {
    /// An empty copy of at most `bytes_max`, paid for from `held`.
    pub(crate) fn new(bytes_max: usize, held: Held) -> Self {
        BodyCopy(Rc::new(RefCell::new(Copied { bytes: Vec::new(), bytes_max, held, state: State::Open })))
    }

    /// Copies a piece.
    pub(crate) fn add(&self, piece: &[u8]) {
        let mut copied = self.0.borrow_mut();
        if copied.state != State::Open {
            return;
        }
        let room = copied.bytes_max.saturating_sub(copied.bytes.len());
        let fits = piece.get(..room).unwrap_or(piece);
        if !copied.held.take(fits.len()) {
            copied.state = State::Cut;
            return;
        }
        copied.bytes.extend_from_slice(fits);
        if fits.len() < piece.len() {
            copied.state = State::Cut;
        }
    }

    /// The body has ended.
    pub(crate) fn end(&self) {
        let mut copied = self.0.borrow_mut();
        if copied.state == State::Open {
            copied.state = State::Whole;
        }
    }

    /// What was copied; the copy is empty after it. Its bytes stay paid for until the copy is dropped.
    pub(crate) fn take(&self) -> Copy {
        let mut copied = self.0.borrow_mut();
        let bytes = Bytes::from(std::mem::take(&mut copied.bytes));
        match copied.state {
            State::Open => Copy::Unfinished,
            State::Whole => Copy::Whole(bytes),
            State::Cut => Copy::Start(bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body::HeldBytes;

    fn copied(pieces: &[&str], bytes_max: usize, room: usize, ends: bool) -> Copy {
        let copy = BodyCopy::new(bytes_max, HeldBytes::of(room).nothing());
        pieces.iter().for_each(|piece| copy.add(piece.as_bytes()));
        if ends {
            copy.end();
        }
        copy.take()
    }

    #[test]
    fn a_copy_is_whole_only_when_all_of_a_body_that_ended_is_in_it() {
        assert!(matches!(copied(&["ab", "cd"], 4, 9, true), Copy::Whole(bytes) if bytes == "abcd"));
        assert!(matches!(copied(&["ab", "cd"], 3, 9, true), Copy::Start(bytes) if bytes == "abc"));
        assert!(matches!(copied(&["ab", "cd"], 4, 3, true), Copy::Start(bytes) if bytes == "ab"));
        assert!(matches!(copied(&["ab", "cd"], 4, 9, false), Copy::Unfinished));
        assert!(matches!(copied(&[], 4, 9, true), Copy::Whole(bytes) if bytes.is_empty()));
    }
}
