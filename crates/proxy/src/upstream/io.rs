//! The byte stream under an upstream connection: TCP, or TLS over it, and a bound on what precedes a response.
//!
//! hyper skips interim (1xx) responses without a limit of its own. Counting them would need an allocation for each
//! request, and looking for them in the bytes would be a second parser; so the bytes read before the final head are
//! bounded instead: a flood of interim heads ends the connection like one head that is too long.

use std::{
    fmt,
    io::{self, IoSlice},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::Notify,
};
use tokio_rustls::client::TlsStream;

/// Largest response head, in bytes (docs: limits, upstream response header).
pub(super) const HEAD_BYTES_MAX: usize = 64 * 1024;

/// Most bytes read before the final head is handed over: one head's worth of interim heads, and the two buffers of
/// 128 KiB, with the final head and the body's begin, that hyper fills at most before the caller has taken the head.
const BEFORE_HEAD_BYTES_MAX: u32 = 5 * 64 * 1024;

/// No response is awaited, or its head has come: reads are not counted.
const UNBOUNDED: u32 = u32::MAX;

/// What is left of the bytes allowed before a response head. Shared by the stream and whoever sends on it; both live
/// on one core, and the atomic is only there because an upgraded stream must be able to move.
#[derive(Debug)]
pub(super) struct HeadWatch {
    left: AtomicU32,
    /// Told of each read, where someone wants to know.
    reads: Option<Notify>,
}

impl HeadWatch {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(HeadWatch { left: AtomicU32::new(UNBOUNDED), reads: None })
    }

    /// One whose reads can be waited for.
    pub(super) fn with_reads() -> Arc<Self> {
        Arc::new(HeadWatch { left: AtomicU32::new(UNBOUNDED), reads: Some(Notify::new()) })
    }

    /// Waits for bytes, the end or an error to be read, since the last time it was waited for.
    pub(super) async fn wait_for_read(&self) {
        match &self.reads {
            Some(reads) => reads.notified().await,
            None => std::future::pending().await,
        }
    }

    /// A request is about to be written.
    pub(super) fn arm(&self) {
        self.left.store(BEFORE_HEAD_BYTES_MAX, Relaxed);
    }

    /// The final head has come.
    pub(super) fn disarm(&self) {
        self.left.store(UNBOUNDED, Relaxed);
    }

    /// Whether not one byte has come since [`HeadWatch::arm`].
    pub(super) fn is_untouched(&self) -> bool {
        self.left.load(Relaxed) == BEFORE_HEAD_BYTES_MAX
    }

    fn check(&self) -> io::Result<()> {
        if self.left.load(Relaxed) == 0 { Err(io::Error::other(HeadOverrun)) } else { Ok(()) }
    }

    fn count(&self, bytes: usize) {
        let left = self.left.load(Relaxed);
        if left != UNBOUNDED {
            self.left.store(left.saturating_sub(u32::try_from(bytes).unwrap_or(u32::MAX)), Relaxed);
        }
    }
}

/// Too many bytes before a final response head.
#[derive(Debug)]
pub(super) struct HeadOverrun;

impl fmt::Display for HeadOverrun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "more than {BEFORE_HEAD_BYTES_MAX} bytes before a final response head")
    }
}

impl std::error::Error for HeadOverrun {}

/// TCP, or TLS over it.
#[derive(Debug)]
pub(super) enum Wire {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// A [`Wire`] whose reads are bounded while a response head is awaited.
#[derive(Debug)]
pub(super) struct Io {
    wire: Wire,
    watch: Arc<HeadWatch>,
}

impl Io {
    pub(super) fn new(wire: Wire, watch: Arc<HeadWatch>) -> Self {
        Io { wire, watch }
    }
}

impl AsyncRead for Io {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.watch.check()?;
        let before = buffer.filled().len();
        let polled = match &mut this.wire {
            Wire::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Wire::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        };
        this.watch.count(buffer.filled().len().saturating_sub(before));
        if let (Poll::Ready(_), Some(reads)) = (&polled, &this.watch.reads) {
            reads.notify_one();
        }
        polled
    }
}

impl AsyncWrite for Io {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().wire {
            Wire::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Wire::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().wire {
            Wire::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            Wire::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.wire {
            Wire::Plain(stream) => stream.is_write_vectored(),
            Wire::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().wire {
            Wire::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Wire::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().wire {
            Wire::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Wire::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
