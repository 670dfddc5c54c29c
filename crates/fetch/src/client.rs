//! One exchange: resolve, judge, connect, ask, read a small answer.
//!
//! A connection of its own for each: fetches are rare, and a kept connection would outlive the judgement of its
//! address. HTTP/1.1 only, no redirect is followed, no coding of the body is asked for.

use std::{error::Error as _, net::SocketAddr, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

use super::{Access, Ask, Destination, TrustError};

/// 64 KiB: key sets have a hundred keys at most, and answers about a token are smaller.
pub const BODY_BYTES_MAX: usize = 64 * 1024;

/// 32 KiB of response head.
const HEAD_BYTES_MAX: usize = 32 * 1024;

/// Most fields in a response head.
const HEADERS_MAX: usize = 100;

/// Most addresses tried for one name.
const ADDRESSES_MAX: usize = 4;

/// An answer, of whatever status.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status. A redirect is an answer that nobody follows.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

impl Answer {
    /// How long it says that it is fresh: `max-age` less `Age`, nothing with `no-store` or `no-cache` (RFC 9111 §5.2).
    pub fn fresh_for(&self) -> Option<Duration> {
        let control = self.headers.get_all(header::CACHE_CONTROL);
        let texts: Vec<&str> = control.iter().filter_map(|value| value.to_str().ok()).collect();
        let directives = || texts.iter().flat_map(|text| text.split(',')).map(str::trim);
        let is = |directive: &str, name: &str| directive.eq_ignore_ascii_case(name);
        if directives().any(|directive| is(directive, "no-store") || is(directive, "no-cache")) {
            return Some(Duration::ZERO);
        }
        let max_age = directives().find_map(|directive| {
            let (name, value) = directive.split_once('=')?;
            if is(name, "max-age") { value.trim_matches('"').parse::<u64>().ok() } else { None }
        })?;
        let age = self.headers.get(header::AGE).and_then(|value| value.to_str().ok()?.parse().ok());
        Some(Duration::from_secs(max_age.saturating_sub(age.unwrap_or(0))))
    }
}

/// Why nothing was fetched. Says what the operator needs and nothing of what was sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// Every address of the host is one that may not be fetched from.
    #[error("{0} is an address that may not be fetched from")]
    AddressRefused(std::net::IpAddr),
    /// No connection.
    #[error("no connection: {0}")]
    Connect(String),
    /// The fetching thread has ended.
    #[error("the gateway is stopping")]
    Ended,
    /// Not HTTP as it should be.
    #[error("the answer is broken: {0}")]
    Protocol(String),
    /// The host has no address.
    #[error("the name cannot be resolved: {0}")]
    Resolve(String),
    /// Nothing came in time.
    #[error("no answer in time")]
    TimedOut,
    /// TLS failed.
    #[error("TLS failed: {0}")]
    Tls(String),
    /// More than [`BODY_BYTES_MAX`].
    #[error("the answer is too large")]
    TooLarge,
    /// Nobody is trusted.
    #[error("nobody is trusted: {0}")]
    Trust(TrustError),
}

/// One exchange.
pub(super) struct Exchange<'a> {
    pub(super) at: &'a Destination,
    /// Set exactly for `https`.
    pub(super) tls: Option<Arc<ClientConfig>>,
    pub(super) ask: Ask,
}

impl Exchange<'_> {
    pub(super) async fn run(self) -> Result<Answer, FetchError> {
        let endpoint = self.at.url.endpoint();
        // RFC 9112 §3.2: the port only where it is not the scheme's own.
        let authority = endpoint.authority();
        let addresses = addresses(self.at).await?;
        let stream = connect(&addresses).await?;
        match &self.tls {
            None if endpoint.tls => Err(FetchError::Tls("no configuration".to_owned())),
            None => self.ask(stream, &authority).await,
            Some(config) => {
                let name = ServerName::try_from(endpoint.host.clone())
                    .map_err(|_| FetchError::Tls("the host cannot stand in a certificate".to_owned()))?;
                let connector = TlsConnector::from(Arc::clone(config));
                let stream = connector.connect(name, stream).await.map_err(|error| {
                    let source = error.source().map(|source| format!(": {source}")).unwrap_or_default();
                    FetchError::Tls(format!("{error}{source}"))
                })?;
                self.ask(stream, &authority).await
            }
        }
    }

    async fn ask(
        self,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        authority: &str,
    ) -> Result<Answer, FetchError> {
        let broken = |error: hyper::Error| FetchError::Protocol(error.to_string());
        let (mut sender, connection) = http1::Builder::new()
            .max_headers(HEADERS_MAX)
            .max_header_size(HEAD_BYTES_MAX)
            .max_buf_size(2 * HEAD_BYTES_MAX)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(broken)?;
        let request = self.request(authority)?;
        let exchange = async {
            let response = sender.send_request(request).await.map_err(broken)?;
            let (head, body) = response.into_parts();
            Ok(Answer { status: head.status, headers: head.headers, body: read(body).await? })
        };
        // The connection is driven here and dropped with the exchange: nothing of it outlives the deadline.
        tokio::pin!(connection, exchange);
        tokio::select! {
            answer = &mut exchange => answer,
            ended = &mut connection => {
                // What was read before the peer closed may still be the whole answer.
                match ended {
                    Ok(()) => exchange.await,
                    Err(error) => Err(broken(error)),
                }
            }
        }
    }

    fn request(self, authority: &str) -> Result<Request<Full<Bytes>>, FetchError> {
        let unsendable = |what: &str| FetchError::Protocol(format!("{what} cannot be sent"));
        let mut request = Request::new(Full::new(self.ask.body));
        *request.method_mut() = self.ask.method;
        *request.uri_mut() = self.at.url.target().parse().map_err(|_| unsendable("the path"))?;
        let headers = request.headers_mut();
        *headers = self.ask.headers;
        headers.insert(header::HOST, HeaderValue::from_str(authority).map_err(|_| unsendable("the host"))?);
        headers.insert(header::USER_AGENT, HeaderValue::from_static("bartizan"));
        headers.entry(header::ACCEPT).or_insert(HeaderValue::from_static("application/json"));
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        // RFC 9110 §12.5.3: nothing here can decode a body.
        headers.insert(HeaderName::from_static("accept-encoding"), HeaderValue::from_static("identity"));
        Ok(request)
    }
}

/// Reads a body, and stops where it becomes too large.
async fn read(mut body: Incoming) -> Result<Bytes, FetchError> {
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| FetchError::Protocol(error.to_string()))?;
        let Ok(data) = frame.into_data() else { continue };
        if whole.len().saturating_add(data.len()) > BODY_BYTES_MAX {
            return Err(FetchError::TooLarge);
        }
        whole.extend_from_slice(&data);
    }
    Ok(whole.freeze())
}

/// The judged addresses of a destination.
async fn addresses(at: &Destination) -> Result<Vec<SocketAddr>, FetchError> {
    let endpoint = at.url.endpoint();
    match endpoint.address() {
        Some(address) => judged(vec![SocketAddr::new(address, endpoint.port)], at.access, endpoint.tls),
        None => resolved(&endpoint.host, endpoint.port, at.access, endpoint.tls).await,
    }
}

/// The judged addresses of a host.
pub(super) async fn resolved(
    host: &str,
    port: u16,
    access: Access,
    is_tls: bool,
) -> Result<Vec<SocketAddr>, FetchError> {
    let found = match host.parse() {
        Ok(address) => vec![SocketAddr::new(address, port)],
        Err(_) => tokio::net::lookup_host((host, port))
            .await
            .map_err(|error| FetchError::Resolve(error.to_string()))?
            .collect(),
    };
    judged(found, access, is_tls)
}

/// One that may not be fetched from is left out; if none is left, that is the error.
fn judged(found: Vec<SocketAddr>, access: Access, is_tls: bool) -> Result<Vec<SocketAddr>, FetchError> {
    let (allowed, refused): (Vec<_>, Vec<_>) =
        found.into_iter().partition(|address| access.allows(address.ip(), is_tls));
    match (allowed.is_empty(), refused.first()) {
        (true, Some(address)) => Err(FetchError::AddressRefused(address.ip())),
        (true, None) => Err(FetchError::Resolve("the name has no addresses".to_owned())),
        (false, _) => Ok(allowed.into_iter().take(ADDRESSES_MAX).collect()),
    }
}

pub(super) async fn connect(addresses: &[SocketAddr]) -> Result<TcpStream, FetchError> {
    let mut last = FetchError::Connect("no address".to_owned());
    for address in addresses {
        match tokio::time::timeout(CONNECT_MAX, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                // Without Nagle a head and its body go out together; where that cannot be set, later.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Ok(Err(error)) => last = FetchError::Connect(format!("{address}: {error}")),
            Err(_) => last = FetchError::Connect(format!("{address}: no answer")),
        }
    }
    Err(last)
}

/// How long one address may take, so that one that swallows packets does not take the whole time with it.
const CONNECT_MAX: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_says_how_long_it_is_fresh_or_it_does_not() {
        for (control, age, expected) in [
            (None, None, None),
            (Some("max-age=60"), None, Some(60)),
            (Some("public, MAX-AGE=\"60\""), Some("20"), Some(40)),
            (Some("max-age=60"), Some("90"), Some(0)),
            (Some("no-store, max-age=60"), None, Some(0)),
            (Some("max-age=soon"), None, None),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(control) = control {
                headers.insert(header::CACHE_CONTROL, control.parse().unwrap());
            }
            if let Some(age) = age {
                headers.insert(header::AGE, HeaderValue::from_static(age));
            }
            let answer = Answer { status: StatusCode::OK, headers, body: Bytes::new() };
            assert_eq!(answer.fresh_for(), expected.map(Duration::from_secs), "{control:?} {age:?}");
        }
    }
}
