//! What the outside wants of a running gateway: signals and changed files, in one queue that the main thread waits on.

use std::{
    io,
    sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    thread,
    time::{Duration, Instant},
};

use tokio::signal::unix::{SignalKind, signal};

/// More wishes than this need not be remembered: each kind says the same however often it is said.
const WISHES_MAX: usize = 64;

/// Quiet time after the last change of a file, so that a set that is written file by file is read once.
const QUIET: Duration = Duration::from_millis(200);

/// Longest time that changes are gathered, so that a directory that never rests is read too.
const GATHER_MAX: Duration = Duration::from_secs(2);

/// A wish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// Files of the set may have changed.
    FilesChanged,
    /// Another revision is active in the store.
    Revision,
    /// A trial of a candidate is to begin or to end.
    Rollout,
    /// SIGHUP: read everything anew.
    Reload,
    /// SIGTERM or SIGINT: end; said again, end at once.
    Stop,
}

/// The queue of wishes.
pub(crate) struct Wishes {
    sender: SyncSender<Wish>,
    queue: Receiver<Wish>,
}

impl Wishes {
    /// A queue that signals write to from now on.
    pub(crate) fn listen() -> io::Result<Self> {
        let (sender, queue) = sync_channel(WISHES_MAX);
        let signals = sender.clone();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (mut hangup, mut terminate, mut interrupt) = {
            let _inside = runtime.enter();
            (
                signal(SignalKind::hangup())?,
                signal(SignalKind::terminate())?,
                signal(SignalKind::interrupt())?,
            )
        };
        let wait = async move {
            loop {
                let wish = tokio::select! {
                    _ = hangup.recv() => Wish::Reload,
                    _ = terminate.recv() => Wish::Stop,
                    _ = interrupt.recv() => Wish::Stop,
                };
                // Blocking is right here: a wish to stop must not be lost, and this thread has nothing else to do.
                if signals.send(wish).is_err() {
                    return;
                }
            }
        };
        thread::Builder::new().name("signals".into()).spawn(move || runtime.block_on(wait))?;
        Ok(Wishes { sender, queue })
    }

    /// Where further wishes can be sent.
    pub(crate) fn sender(&self) -> SyncSender<Wish> {
        self.sender.clone()
    }

    /// The next wish. Changes of files are gathered until they rest; whatever else comes meanwhile goes first.
    pub(crate) fn next(&self) -> Wish {
        // The queue cannot end: this end holds a sender too.
        let first = self.queue.recv().unwrap_or(Wish::Stop);
        if first != Wish::FilesChanged {
            return first;
        }
        let gathered = Instant::now() + GATHER_MAX;
        while Instant::now() < gathered {
            match self.queue.recv_timeout(QUIET) {
                Ok(Wish::FilesChanged) => {}
                Ok(other) => return other,
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
            }
        }
        Wish::FilesChanged
    }

    /// The next wish, if one comes within `patience`.
    pub(crate) fn within(&self, patience: Duration) -> Option<Wish> {
        self.queue.recv_timeout(patience).ok()
    }

    /// Waits up to `patience` for a further wish to stop.
    pub(crate) fn stop_again(&self, patience: Duration) -> bool {
        matches!(self.queue.recv_timeout(patience), Ok(Wish::Stop))
    }
}
