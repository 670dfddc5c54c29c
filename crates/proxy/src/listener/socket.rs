//! An accepted socket of which some first bytes may have been read already.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Buf, Bytes};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf},
    net::TcpStream,
};

/// A TCP stream, and the bytes read from it that still have to be read by whoever comes next.
#[derive(Debug)]
pub(crate) struct Socket {
    stream: TcpStream,
    unread: Bytes,
}

impl Socket {
    pub(crate) fn new(stream: TcpStream) -> Self {
        Socket { stream, unread: Bytes::new() }
    }

    /// Reads until what arrived is `expected` or differs from it, and leaves all of it to be read again. Says whether
    /// it was `expected`; `begun` is called at the first byte.
    pub(crate) async fn starts_with(&mut self, expected: &[u8], begun: impl FnOnce()) -> io::Result<bool> {
        let mut seen = Vec::with_capacity(expected.len());
        let mut begun = Some(begun);
        while seen.len() < expected.len() && expected.starts_with(&seen) {
            let rest = (expected.len() - seen.len()) as u64;
            if (&mut self.stream).take(rest).read_buf(&mut seen).await? == 0 {
                break;
            }
            if let Some(begun) = begun.take() {
                begun();
            }
        }
        let found = seen == expected;
        self.unread = Bytes::from(seen);
        Ok(found)
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.unread.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buf);
        }
        let length = self.unread.len().min(buf.remaining());
        buf.put_slice(self.unread.get(..length).unwrap_or_default());
        self.unread.advance(length);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
