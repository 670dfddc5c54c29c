//! After a 101: bytes both ways until one side ends. WebSocket and whatever else was switched to pass through here.
//!
//! The connection upstream is the tunnel's alone and counts as a request in flight there. Limits on bodies do not
//! apply. A tunnel ends as a whole: when one side breaks, when nothing passed either way for [`IDLE`], when one side
//! has ended and the other is silent for [`LINGER`], and when the route's time limit for requests is over.

use std::{cell::Cell, time::Duration};

use bartizan_telemetry::Exit;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::Instant,
};

use crate::{body::RequestBody, stage::Closing, upstream::UpstreamBody};

/// Silence both ways after which a tunnel is closed: applications that keep one open send pings well within an hour.
const IDLE: Duration = Duration::from_secs(3_600);

/// The same once one side has said that it sends no more: what the other still has to say is on its way.
const LINGER: Duration = Duration::from_secs(30);

/// Time for both connections to be handed over once the 101 is on its way.
const HANDOVER: Duration = Duration::from_secs(10);

/// Bytes held per direction.
const BUFFER: usize = 16 * 1024;

/// The two ends.
pub(crate) struct Ends {
    pub(crate) caller: OnUpgrade,
    pub(crate) upstream: UpstreamTunnel,
    /// When the route wants the request to be over.
    pub(crate) end: Option<std::time::Instant>,
}

/// The upstream's end, and what counts it there.
pub(crate) struct UpstreamTunnel {
    pub(crate) upgrade: OnUpgrade,
    pub(crate) body: UpstreamBody<RequestBody>,
}

/// Runs the tunnel in a task of its own; the record is closed when it ends.
pub(crate) fn open(ends: Ends, closing: Closing) {
    tokio::task::spawn_local(run(ends, closing));
}

async fn run(ends: Ends, mut closing: Closing) {
    let Ends { caller, upstream: UpstreamTunnel { upgrade, mut body }, end } = ends;
    let _in_flight = body.take_tunnel();
    let both = async { tokio::try_join!(caller, upgrade) };
    let Ok(Ok((caller, upstream))) = tokio::time::timeout(HANDOVER, both).await else {
        return closing.close(Exit::ClientGone);
    };
    let passage = Passage::new(end.map(Instant::from_std));
    let exit = passage.run(TokioIo::new(caller), TokioIo::new(upstream)).await;
    closing.count_tunnel(passage.up.get(), passage.down.get());
    closing.close(exit);
}

/// What both directions know of each other.
struct Passage {
    up: Cell<u64>,
    down: Cell<u64>,
    last: Cell<Instant>,
    patience: Cell<Duration>,
    end: Option<Instant>,
}

enum Broken {
    Read,
    Write,
}

impl Passage {
    fn new(end: Option<Instant>) -> Self {
        let (up, down) = Default::default();
        Passage { up, down, last: Cell::new(Instant::now()), patience: Cell::new(IDLE), end }
    }

    async fn run(
        &self,
        caller: impl AsyncRead + AsyncWrite + Unpin,
        upstream: impl AsyncRead + AsyncWrite + Unpin,
    ) -> Exit {
        let (caller_read, caller_write) = tokio::io::split(caller);
        let (upstream_read, upstream_write) = tokio::io::split(upstream);
        let upward = async {
            self.pump(caller_read, upstream_write, &self.up).await.map_err(|broken| match broken {
                Broken::Read => Exit::ClientGone,
                Broken::Write => Exit::UpstreamReset,
            })
        };
        let downward = async {
            self.pump(upstream_read, caller_write, &self.down).await.map_err(|broken| match broken {
                Broken::Read => Exit::UpstreamReset,
                Broken::Write => Exit::ClientGone,
            })
        };
        tokio::select! {
            // One direction that breaks ends both: its peer would otherwise wait for somebody who is gone.
            passed = async { tokio::try_join!(upward, downward) } => passed.map_or_else(|exit| exit, |_| Exit::Complete),
            () = self.silence() => Exit::Timeout,
        }
    }

    /// Resolves when nothing has passed for too long, or the time is over.
    async fn silence(&self) {
        loop {
            let silent = self.last.get() + self.patience.get();
            let until = self.end.map_or(silent, |end| end.min(silent));
            if until <= Instant::now() {
                return;
            }
            // Never longer than the shorter patience, which may come into force while this sleeps.
            let look = until.min(Instant::now() + LINGER);
            tokio::time::sleep_until(look).await;
        }
    }

    /// Copies until the reader ends, then ends the writer.
    async fn pump(
        &self,
        mut reader: impl AsyncRead + Unpin,
        mut writer: impl AsyncWrite + Unpin,
        bytes: &Cell<u64>,
    ) -> Result<(), Broken> {
        let mut buffer = vec![0; BUFFER];
        loop {
            let read = reader.read(&mut buffer).await.map_err(|_| Broken::Read)?;
            if read == 0 {
                break;
            }
            self.last.set(Instant::now());
            let chunk = buffer.get(..read).unwrap_or_default();
            writer.write_all(chunk).await.map_err(|_| Broken::Write)?;
            writer.flush().await.map_err(|_| Broken::Write)?;
            bytes.set(bytes.get().saturating_add(read as u64));
        }
        self.patience.set(LINGER);
        self.last.set(Instant::now());
        writer.shutdown().await.map_err(|_| Broken::Write)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{DuplexStream, duplex};

    use super::*;

    fn ends() -> ((DuplexStream, DuplexStream), (DuplexStream, DuplexStream)) {
        (duplex(64), duplex(64))
    }

    #[tokio::test(start_paused = true)]
    async fn a_tunnel_that_is_silent_one_way_only_goes_on() {
        let ((caller, near), (far, mut upstream)) = ends();
        let passage = Passage::new(None);
        let mut caller = caller;
        let talk = async {
            for _ in 0..4 {
                tokio::time::sleep(IDLE * 2 / 3).await;
                upstream.write_all(b"x").await.unwrap();
                assert_eq!(caller.read_u8().await.unwrap(), b'x');
            }
            drop((caller, upstream));
        };
        let (exit, ()) = tokio::join!(passage.run(near, far), talk);
        assert_eq!(exit, Exit::Complete);
        assert_eq!((passage.up.get(), passage.down.get()), (0, 4));
    }

    #[tokio::test(start_paused = true)]
    async fn silence_both_ways_ends_a_tunnel() {
        let ((_caller, near), (far, _upstream)) = ends();
        let begun = Instant::now();
        assert_eq!(Passage::new(None).run(near, far).await, Exit::Timeout);
        assert!(begun.elapsed() >= IDLE && begun.elapsed() < IDLE + LINGER, "{:?}", begun.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn an_upstream_that_does_not_answer_an_end_is_not_waited_for_long() {
        let ((caller, near), (far, _upstream)) = ends();
        drop(caller);
        let begun = Instant::now();
        assert_eq!(Passage::new(None).run(near, far).await, Exit::Timeout);
        assert!(begun.elapsed() <= LINGER * 2, "{:?}", begun.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn the_time_limit_of_the_route_ends_a_tunnel() {
        let ((_caller, near), (far, _upstream)) = ends();
        let passage = Passage::new(Some(Instant::now()));
        assert_eq!(passage.run(near, far).await, Exit::Timeout);
    }
}
