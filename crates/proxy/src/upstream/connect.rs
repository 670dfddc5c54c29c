//! Opening a connection: name, TCP, TLS, and hyper's limits for what the peer may send.
//!
//! All addresses of a name are tried in turn, each with its share of the time that is left, so that one address
//! that swallows packets does not take the whole connect timeout with it.

use std::{error::Error as _, io, net::SocketAddr, sync::Arc, time::Duration};

use bartizan_config::snapshot::upstream::EndpointAddress;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::TokioTimer;
use tokio::{
    net::TcpStream,
    time::{Instant, timeout, timeout_at},
};
use tokio_rustls::TlsConnector;

use super::{
    error::{Failure, ForwardErrorKind},
    io::{HEAD_BYTES_MAX, HeadWatch, Io, Wire},
    prepare::{PreparedEndpoint, PreparedUpstream, is_http2},
    resolve::Resolver,
};

/// Most fields in a response head. Up to this many hyper keeps its parser's table on the stack.
const HEADERS_MAX: usize = 100;
/// Streams one HTTP/2 connection carries at most, whatever the peer allows.
pub(super) const STREAMS_MAX: usize = 100;

/// Connects to `endpoint`, TLS included, within the plan's connect timeout.
pub(super) async fn connect(
    resolver: &Resolver,
    upstream: &PreparedUpstream,
    endpoint: &PreparedEndpoint,
    watch: Arc<HeadWatch>,
) -> Result<Io, Failure> {
    let deadline = Instant::now() + upstream.plan.connect_timeout;
    let opened = timeout_at(deadline, async {
        let stream = tcp(resolver, &endpoint.plan.address, deadline).await?;
        match (&upstream.tls, &endpoint.server_name) {
            (Some(tls), Some(name)) => {
                let connector = TlsConnector::from(Arc::clone(&tls.config));
                let stream = connector.connect(name.clone(), stream).await.map_err(tls_failure)?;
                let alpn = stream.get_ref().1.alpn_protocol();
                check_alpn(upstream, alpn)?;
                Ok(Wire::Tls(Box::new(stream)))
            }
            (None, None) => Ok(Wire::Plain(stream)),
            // Preparing sets both or none; half of it must never mean clear text.
            _ => Err(Failure::unsent(ForwardErrorKind::TlsFailed, "the endpoint's TLS is half prepared")),
        }
    });
    let opened = match opened.await {
        Ok(opened) => opened,
        Err(_) => Err(timed_out()),
    };
    match &opened {
        Ok(_) => endpoint.state.connected(),
        Err(_) => endpoint.state.connect_failed(),
    }
    Ok(Io::new(opened?, watch))
}

/// hyper's HTTP/1.1 client with every limit stated.
pub(super) fn http1() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .max_headers(HEADERS_MAX)
        .max_header_size(HEAD_BYTES_MAX)
        // The buffer also paces bodies; a head is bounded by the line above.
        .max_buf_size(2 * HEAD_BYTES_MAX);
    builder
}

/// hyper's HTTP/2 client with every limit stated.
pub(super) fn http2() -> http2::Builder<LocalExecutor> {
    let mut builder = http2::Builder::new(LocalExecutor);
    builder
        .timer(TokioTimer::new())
        .initial_stream_window_size(256 * 1024)
        .initial_connection_window_size(1024 * 1024)
        // None before the peer's SETTINGS say how many.
        .initial_max_send_streams(0)
        .max_header_list_size(64 * 1024)
        .max_send_buf_size(256 * 1024)
        .max_concurrent_reset_streams(STREAMS_MAX)
        .max_local_error_reset_streams(STREAMS_MAX)
        // A peer that vanished without a word is noticed while streams wait for it.
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(10))
        .keep_alive_while_idle(false);
    builder
}

/// Runs hyper's tasks on the core they belong to.
#[derive(Clone, Copy, Debug)]
pub(super) struct LocalExecutor;

impl<F: Future<Output: 'static> + 'static> hyper::rt::Executor<F> for LocalExecutor {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}

async fn tcp(
    resolver: &Resolver,
    address: &EndpointAddress,
    deadline: Instant,
) -> Result<TcpStream, Failure> {
    let failed = |error: io::Error| Failure::unsent(ForwardErrorKind::ConnectFailed, error.to_string());
    match address {
        EndpointAddress::Socket(socket) => first_of(&[*socket], deadline).await,
        EndpointAddress::Name(name, port) => {
            let addresses = resolver.resolve(name, *port).await.map_err(failed)?;
            first_of(&addresses, deadline).await
        }
    }
}

/// The first of `addresses` that answers.
async fn first_of(addresses: &[SocketAddr], deadline: Instant) -> Result<TcpStream, Failure> {
    let mut last = Failure::unsent(ForwardErrorKind::ConnectFailed, "no address");
    for (tried, address) in addresses.iter().enumerate() {
        let left = u32::try_from(addresses.len() - tried).unwrap_or(u32::MAX);
        let share = deadline.saturating_duration_since(Instant::now()) / left;
        match timeout(share, TcpStream::connect(address)).await {
            // RFC 9293 §3.7.4: without Nagle, or a head and its body's first bytes wait for an acknowledgement.
            Ok(Ok(stream)) if stream.set_nodelay(true).is_ok() => return Ok(stream),
            Ok(Ok(_)) => {
                last = Failure::unsent(ForwardErrorKind::ConnectFailed, format!("{address}: already gone"))
            }
            Ok(Err(error)) => {
                last = Failure::unsent(ForwardErrorKind::ConnectFailed, format!("{address}: {error}"))
            }
            Err(_) => last = timed_out(),
        }
    }
    Err(last)
}

/// The connect timeout passed.
pub(super) fn timed_out() -> Failure {
    Failure::unsent(ForwardErrorKind::Timeout, "the connect timeout passed")
}

fn tls_failure(error: io::Error) -> Failure {
    let detail = match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    };
    Failure { source: Some(error.into()), ..Failure::unsent(ForwardErrorKind::TlsFailed, detail) }
}

/// The peer must have agreed to the protocol we are about to speak. HTTP/1.1 may go unnamed: many origins do no ALPN.
fn check_alpn(upstream: &PreparedUpstream, alpn: Option<&[u8]>) -> Result<(), Failure> {
    let is_agreed = match alpn {
        Some(b"h2") => is_http2(upstream),
        Some(b"http/1.1") | None => !is_http2(upstream),
        Some(_) => false,
    };
    if is_agreed {
        return Ok(());
    }
    Err(Failure::unsent(ForwardErrorKind::TlsFailed, "the endpoint did not agree to the protocol (ALPN)"))
}
