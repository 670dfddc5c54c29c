//! Where large bodies are judged: a few threads beside the cores, so that a megabyte of somebody else's never stands
//! before a small request. The queue is short on purpose: what does not fit is refused as overload, not kept waiting.

use std::{
    num::NonZeroUsize,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    thread,
};

use bartizan_inspect::{Session, Step};
use bytes::Bytes;
use tokio::sync::oneshot;

/// Bodies above 128 KiB are judged here.
pub(crate) const LARGE_BYTES: usize = 128 << 10;
/// 64 bodies wait for a thread: at the default of 1 MiB each, what a moment of judging works off.
const QUEUE_MAX: usize = 64;
/// 1 MiB of work between two looks whether anybody still waits for the verdict.
const SLICE_WORK: u64 = 1 << 20;

/// Which body of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Half {
    Request,
    Response,
}

impl Half {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Half::Request => "request",
            Half::Response => "response",
        }
    }
}

/// A body as a session is given it.
#[derive(Clone, Debug)]
pub(crate) struct Piece {
    pub(crate) half: Half,
    pub(crate) bytes: Bytes,
    /// It is the start of a longer one.
    pub(crate) is_cut: bool,
}

impl Piece {
    /// Feeds the body and its end.
    pub(crate) fn feed(&self, session: &mut Session) {
        match self.half {
            Half::Request => {
                session.request_body(&self.bytes);
                if self.is_cut {
                    session.body_is_cut();
                }
                session.request_end();
            }
            Half::Response => {
                session.response_body(&self.bytes);
                if self.is_cut {
                    session.body_is_cut();
                }
                session.response_end();
            }
        }
    }
}

/// Why a session came back without a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// Too many large bodies are being judged.
    Full,
    /// The judge broke.
    Broken,
}

type Job = Box<dyn FnOnce() + Send>;

/// The threads; they start when the first large body comes and live as long as the process serves.
#[derive(Default)]
pub(crate) struct JudgePool {
    queue: OnceLock<Option<SyncSender<Job>>>,
}

impl JudgePool {
    /// Judges a body by a session; waits for the verdict.
    pub(crate) async fn judge(&self, session: Box<Session>, piece: Piece) -> Result<Box<Session>, Trouble> {
        self.run(move |is_left| judged(session, &piece, is_left)).await
    }

    /// Judges a body of this length: a small one here, a large one on a thread.
    pub(crate) async fn weigh<T: Send + 'static>(
        &self,
        length: usize,
        judge: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Trouble> {
        if length <= LARGE_BYTES { guarded(judge) } else { self.run(move |_| Some(judge())).await }
    }

    /// Runs a judge on a thread; it may ask whether nobody waits any more, and give up.
    async fn run<T: Send + 'static>(
        &self,
        judge: impl FnOnce(&dyn Fn() -> bool) -> Option<T> + Send + 'static,
    ) -> Result<T, Trouble> {
        let Some(queue) = self.queue.get_or_init(start) else { return Err(Trouble::Broken) };
        let (done, verdict) = oneshot::channel();
        let job = move || {
            // A judge that breaks drops its end, which tells who waits; who waited may have left meanwhile.
            if let Ok(Some(verdict)) = guarded(|| judge(&|| done.is_closed())) {
                let _ = done.send(verdict);
            }
        };
        match queue.try_send(Box::new(job)) {
            Ok(()) => verdict.await.map_err(|_| Trouble::Broken),
            Err(TrySendError::Full(_)) => Err(Trouble::Full),
            Err(TrySendError::Disconnected(_)) => Err(Trouble::Broken),
        }
    }
}

/// Half of the processors, one at least: the cores of the data plane need the others.
fn start() -> Option<SyncSender<Job>> {
    let threads = thread::available_parallelism().map_or(1, NonZeroUsize::get).div_ceil(2);
    let (sender, receiver) = sync_channel(QUEUE_MAX);
    let receiver = Arc::new(Mutex::new(receiver));
    let mut started = 0;
    for number in 0..threads {
        let receiver = Arc::clone(&receiver);
        let thread = thread::Builder::new().name(format!("judge-{number}"));
        match thread.spawn(move || work(&receiver)) {
            Ok(_) => started += 1,
            Err(error) => tracing::error!(%error, "a thread for large bodies could not be started"),
        }
    }
    (started > 0).then_some(sender)
}

fn work(queue: &Mutex<Receiver<Job>>) {
    loop {
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        // The sender is gone: so is the data plane.
        let Ok(job) = next else { return };
        job();
    }
}

/// `None` when nobody waits any more.
fn judged(mut session: Box<Session>, piece: &Piece, is_left: &dyn Fn() -> bool) -> Option<Box<Session>> {
    piece.feed(&mut session);
    while session.step(SLICE_WORK) == Step::More {
        if is_left() {
            return None;
        }
    }
    Some(session)
}

/// Runs a judge; what it leaves behind when it breaks is not used again.
pub(crate) fn guarded<T>(judge: impl FnOnce() -> T) -> Result<T, Trouble> {
    catch_unwind(AssertUnwindSafe(judge)).map_err(|_| {
        tracing::error!("a judge of an inspection broke");
        Trouble::Broken
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_judge_that_breaks_is_a_fault_and_not_the_end() {
        assert_eq!(guarded(|| panic!("on purpose")), Err::<(), _>(Trouble::Broken));
        assert_eq!(guarded(|| 7), Ok(7));
    }

    #[test]
    fn what_does_not_fit_into_the_queue_is_told_at_once() {
        use std::{
            future::Future,
            pin::pin,
            sync::Arc,
            task::{Context, Poll, Waker},
        };
        let files = bartizan_inspect::MemoryFiles::new();
        let rules = Arc::new(bartizan_inspect::Loader::new(&files).finish().unwrap());
        let session = || Box::new(Session::new(rules.clone(), None, bartizan_inspect::Exchange::default()));
        // Nobody takes anything out of this queue.
        let (sender, _receiver) = sync_channel(1);
        let pool = JudgePool { queue: OnceLock::from(Some(sender)) };
        let piece = Piece { half: Half::Request, bytes: Bytes::from_static(b"x"), is_cut: false };
        let mut cx = Context::from_waker(Waker::noop());
        let mut first = pin!(pool.judge(session(), piece.clone()));
        assert!(first.as_mut().poll(&mut cx).is_pending());
        let mut second = pin!(pool.judge(session(), piece));
        assert!(matches!(second.as_mut().poll(&mut cx), Poll::Ready(Err(Trouble::Full))));
        // A pool whose threads could not be started is a judge that broke.
        let none = JudgePool { queue: OnceLock::from(None) };
        let mut judged = pin!(none.judge(session(), nothing_of_the_request()));
        assert!(matches!(judged.as_mut().poll(&mut cx), Poll::Ready(Err(Trouble::Broken))));
    }

    fn nothing_of_the_request() -> Piece {
        Piece { half: Half::Request, bytes: Bytes::new(), is_cut: false }
    }

    #[test]
    fn a_session_can_cross_to_a_thread_of_the_pool() {
        fn is_send<T: Send>() {}
        is_send::<Job>();
    }
}
