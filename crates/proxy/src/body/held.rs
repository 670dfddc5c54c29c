//! Bodies that are held in memory until they are judged, and the room there is for them.

use std::{cell::Cell, future::poll_fn, pin::Pin, rc::Rc};

use bartizan_telemetry::Exit;
use bytes::{Bytes, BytesMut};

use super::{
    RequestBody,
    answer::Streaming,
    request::{Broken, Unjudged},
};

/// 128 MiB of bodies in the memory of one core: a hundred of the largest that are judged by default. Who comes later is
/// refused as overload, before the process is out of memory.
pub(crate) const HELD_BYTES_MAX: usize = 128 << 20;

/// The room of a core for bodies that are held.
#[derive(Clone, Debug)]
pub(crate) struct HeldBytes(Rc<Cell<usize>>);

impl HeldBytes {
    /// Room for so many bytes.
    pub(crate) fn of(bytes: usize) -> Self {
        HeldBytes(Rc::new(Cell::new(bytes)))
    }

    /// A share of it that takes nothing yet.
    pub(crate) fn nothing(&self) -> Held {
        Held { room: Rc::clone(&self.0), bytes: 0 }
    }
}

/// A share of a core's room, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    room: Rc<Cell<usize>>,
    bytes: usize,
}

impl Held {
    /// Takes room for more bytes; false when there is none.
    pub(crate) fn take(&mut self, bytes: usize) -> bool {
        let Some(left) = self.room.get().checked_sub(bytes) else { return false };
        self.room.set(left);
        self.bytes += bytes;
        true
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.room.set(self.room.get() + self.bytes);
    }
}

/// A body that was read to be judged.
#[derive(Debug)]
pub(crate) enum Read<R> {
    /// All of it.
    Whole(Bytes),
    /// Its start, and the rest that has not come.
    Start(Bytes, R),
}

/// Why a body could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unread<E> {
    /// It broke off.
    Broken(E),
    /// There is no room for it.
    NoRoom,
}

/// Reads a request's body until it ends or is longer than `bytes_max`. Its trailers are dropped: they are not judged,
/// and what is forwarded is what was judged.
pub(crate) async fn read_request(
    mut body: Box<Unjudged>,
    bytes_max: usize,
    held: &mut Held,
) -> Result<Read<Box<Unjudged>>, Unread<Broken>> {
    let mut read = BytesMut::new();
    loop {
        let Some(frame) = poll_fn(|cx| Pin::new(&mut *body).poll(cx)).await else {
            return Ok(Read::Whole(read.freeze()));
        };
        let Ok(frame) = frame else { return Err(Unread::Broken(body.broken())) };
        let Ok(data) = frame.into_data() else { continue };
        if !held.take(data.len()) {
            return Err(Unread::NoRoom);
        }
        read.extend_from_slice(&data);
        if read.len() > bytes_max {
            return Ok(Read::Start(read.freeze(), body));
        }
    }
}

/// Reads an answer's body the same way.
pub(crate) async fn read_answer(
    mut flow: Box<Streaming>,
    bytes_max: usize,
    held: &mut Held,
) -> Result<Read<Box<Streaming>>, Unread<Exit>> {
    let mut read = BytesMut::new();
    loop {
        let frame = match poll_fn(|cx| flow.poll(cx)).await {
            None => return Ok(Read::Whole(read.freeze())),
            Some(Err((exit, _))) => return Err(Unread::Broken(exit)),
            Some(Ok(frame)) => frame,
        };
        let Ok(data) = frame.into_data() else { continue };
        if !held.take(data.len()) {
            return Err(Unread::NoRoom);
        }
        read.extend_from_slice(&data);
        if read.len() > bytes_max {
            return Ok(Read::Start(read.freeze(), flow));
        }
    }
}

impl RequestBody {
    /// A judged body.
    pub(crate) fn whole(bytes: Bytes) -> Self {
        if bytes.is_empty() { RequestBody::Empty } else { RequestBody::Whole(bytes) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_that_was_taken_is_given_back() {
        let room = HeldBytes::of(10);
        let mut first = room.nothing();
        assert!(first.take(8));
        let mut second = room.nothing();
        assert!(!second.take(3));
        drop(first);
        assert!(second.take(3));
    }
}
