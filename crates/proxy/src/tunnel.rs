//! After a 101: bytes both ways until one side ends. WebSocket and whatever else was switched to pass through here.
//!
//! The connection upstream is the tunnel's alone and counts as a request in flight there. Limits on bodies do not
//! apply; a tunnel without a byte either way for [`IDLE`] is closed.

use std::time::Duration;

use bartizan_telemetry::Exit;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::{body::RequestBody, stage::Closing, upstream::UpstreamBody};

/// Silence both ways after which a tunnel is closed: applications that keep one open send pings well within an hour.
const IDLE: Duration = Duration::from_secs(3_600);

/// Bytes held per direction.
const BUFFER: usize = 16 * 1024;

/// The two ends.
pub(crate) struct Ends {
    pub(crate) caller: OnUpgrade,
    pub(crate) upstream: UpstreamTunnel,
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
    let Ends { caller, upstream: UpstreamTunnel { upgrade, mut body } } = ends;
    let _in_flight = body.take_tunnel();
    let (Ok(caller), Ok(upstream)) = tokio::join!(caller, upgrade) else {
        return closing.close(Exit::ClientGone);
    };
    let (mut caller_read, mut caller_write) = tokio::io::split(TokioIo::new(caller));
    let (mut upstream_read, mut upstream_write) = tokio::io::split(TokioIo::new(upstream));
    let (mut up, mut down) = (0, 0);
    let exit = {
        let upward = pump(&mut caller_read, &mut upstream_write, &mut up);
        let downward = pump(&mut upstream_read, &mut caller_write, &mut down);
        let (upward, downward) = tokio::join!(upward, downward);
        match (upward, downward) {
            (Ok(()), Ok(())) => Exit::Complete,
            (Err(Broken::Idle), _) | (_, Err(Broken::Idle)) => Exit::Timeout,
            (_, Err(Broken::Read)) | (Err(Broken::Write), _) => Exit::UpstreamReset,
            (Err(Broken::Read), _) | (_, Err(Broken::Write)) => Exit::ClientGone,
        }
    };
    closing.count_tunnel(up, down);
    closing.close(exit);
}

enum Broken {
    Idle,
    Read,
    Write,
}

/// Copies until the reader ends, then ends the writer.
async fn pump(
    reader: &mut (impl AsyncRead + Unpin),
    writer: &mut (impl AsyncWrite + Unpin),
    bytes: &mut u64,
) -> Result<(), Broken> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let read = match tokio::time::timeout(IDLE, reader.read(&mut buffer)).await {
            Err(_) => return Err(Broken::Idle),
            Ok(Err(_)) => return Err(Broken::Read),
            Ok(Ok(0)) => break,
            Ok(Ok(read)) => read,
        };
        let chunk = buffer.get(..read).unwrap_or_default();
        writer.write_all(chunk).await.map_err(|_| Broken::Write)?;
        writer.flush().await.map_err(|_| Broken::Write)?;
        *bytes += read as u64;
    }
    writer.shutdown().await.map_err(|_| Broken::Write)
}
