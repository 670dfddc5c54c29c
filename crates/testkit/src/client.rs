//! HTTP as a well-behaved caller speaks it: HTTP/1.1 or HTTP/2, in clear text or over TLS, on one connection.
//!
//! Blocking for the test; the connection is driven in the background, so pings and windows are answered while the
//! test does something else.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode, Version};
use http_body_util::{BodyExt, Full};
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
    rt::{Read, Write},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::{
    pki::{self, Identity},
    runtime,
};

/// An answer with its whole body.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The HTTP version.
    pub version: Version,
    /// Header fields.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
    /// Trailer fields, if any came.
    pub trailers: Option<HeaderMap>,
}

impl Answer {
    /// The one value of a header; `None` when it is absent.
    ///
    /// # Panics
    /// When it was sent several times or is not text.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.get_all(name).iter();
        let value = values.next()?;
        assert!(values.next().is_none(), "{name} was sent several times: {:?}", self.headers);
        Some(value.to_str().expect("the header's value is text"))
    }

    /// The body as text.
    ///
    /// # Panics
    /// When it is not UTF-8.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the body is text")
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// When it is not JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// An answer whose body is read piece by piece.
#[derive(Debug)]
pub struct Streaming {
    /// The status.
    pub status: StatusCode,
    /// Header fields.
    pub headers: HeaderMap,
    body: Option<Incoming>,
}

impl Streaming {
    /// The next piece of the body; `None` at its end.
    ///
    /// # Errors
    /// When the body breaks off.
    pub fn piece(&mut self) -> Result<Option<Bytes>, hyper::Error> {
        let Some(mut body) = self.body.take() else { return Ok(None) };
        let (frame, body) = runtime::wait(TIMEOUT, async move { (body.frame().await, body) });
        match frame {
            None => Ok(None),
            Some(Err(error)) => Err(error),
            Some(Ok(frame)) => {
                self.body = Some(body);
                // Trailers are no piece of the body; the call after it gives the end.
                frame.into_data().map_or_else(|_| Ok(None), |data| Ok(Some(data)))
            }
        }
    }
}

/// One connection to a server. Clones share it.
#[derive(Clone, Debug)]
pub struct Client {
    sender: Sender,
    authority: String,
    scheme: &'static str,
    timeout: Duration,
}

/// How TLS is spoken.
struct Tls<'a> {
    name: &'a str,
    ca: &'a str,
    identity: Option<&'a Identity>,
}

#[derive(Clone, Debug)]
enum Sender {
    // HTTP/1.1 carries one request at a time.
    Http1(std::sync::Arc<tokio::sync::Mutex<http1::SendRequest<Full<Bytes>>>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

impl Client {
    /// HTTP/1.1 in clear text.
    pub fn http1(address: SocketAddr) -> Client {
        Client::connect(address, None, false).expect("the server can be reached")
    }

    /// HTTP/2 with prior knowledge in clear text.
    pub fn http2(address: SocketAddr) -> Client {
        Client::connect(address, None, true).expect("the server can be reached")
    }

    /// HTTP/1.1 over TLS to `name`, trusting the authorities in `ca` (PEM).
    ///
    /// # Errors
    /// When the handshake fails.
    pub fn https1(address: SocketAddr, name: &str, ca: &str) -> std::io::Result<Client> {
        Client::connect(address, Some(Tls { name, ca, identity: None }), false)
    }

    /// HTTP/2 over TLS to `name`, trusting the authorities in `ca` (PEM).
    ///
    /// # Errors
    /// When the handshake fails or the server does not choose HTTP/2.
    pub fn https2(address: SocketAddr, name: &str, ca: &str) -> std::io::Result<Client> {
        Client::connect(address, Some(Tls { name, ca, identity: None }), true)
    }

    /// As [`Client::https1`], or [`Client::https2`] with `h2`, showing a certificate of its own.
    ///
    /// # Errors
    /// When the handshake fails. In TLS 1.3 a refused certificate shows only at the first call.
    pub fn https_as(
        address: SocketAddr,
        name: &str,
        ca: &str,
        identity: &Identity,
        h2: bool,
    ) -> std::io::Result<Client> {
        Client::connect(address, Some(Tls { name, ca, identity: Some(identity) }), h2)
    }

    fn connect(address: SocketAddr, tls: Option<Tls<'_>>, h2: bool) -> std::io::Result<Client> {
        let (host, scheme) =
            tls.as_ref().map_or((address.ip().to_string(), "http"), |tls| (tls.name.to_owned(), "https"));
        let bracketed = if host.contains(':') { format!("[{host}]") } else { host.clone() };
        let alpn: &[&str] = if h2 { &["h2"] } else { &["http/1.1"] };
        let tls = tls.map(|tls| pki::client_config(tls.ca, tls.identity, alpn));
        let sender = runtime::wait(TIMEOUT, async move {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            let Some(config) = tls else { return handshake(TokioIo::new(stream), h2).await };
            let name = ServerName::try_from(host).map_err(std::io::Error::other)?;
            let stream = TlsConnector::from(config).connect(name, stream).await?;
            if h2 && stream.get_ref().1.alpn_protocol() != Some(b"h2") {
                return Err(std::io::Error::other("the server does not speak HTTP/2"));
            }
            handshake(TokioIo::new(stream), h2).await
        })?;
        let authority = format!("{bracketed}:{}", address.port());
        Ok(Client { sender, authority, scheme, timeout: TIMEOUT })
    }

    /// Names another host in `Host` or `:authority` than the address connected to.
    pub fn with_authority(mut self, authority: &str) -> Client {
        authority.clone_into(&mut self.authority);
        self
    }

    /// A request to build on, with the target's path and query and the authority set.
    pub fn request(&self, method: &str, target: &str) -> http::request::Builder {
        let builder = Request::builder().method(method);
        match &self.sender {
            Sender::Http1(_) => builder.uri(target).header(http::header::HOST, &self.authority),
            Sender::Http2(_) => builder.uri(format!("{}://{}{target}", self.scheme, self.authority)),
        }
    }

    /// `GET` with these header fields.
    ///
    /// # Panics
    /// When no answer comes.
    pub fn get(&self, target: &str, headers: &[(&str, &str)]) -> Answer {
        self.call("GET", target, headers, "")
    }

    /// A call with these header fields and this body.
    ///
    /// # Panics
    /// When no answer comes.
    pub fn call(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Answer {
        let builder =
            headers.iter().fold(self.request(method, target), |b, (name, value)| b.header(*name, *value));
        let request = builder.body(Full::new(body.into())).expect("the request is one");
        self.send(request).unwrap_or_else(|error| panic!("{method} {target}: {error}"))
    }

    /// Sends a request and reads the whole answer.
    ///
    /// # Errors
    /// When the connection ends before the answer does.
    pub fn send(&self, request: Request<Full<Bytes>>) -> Result<Answer, hyper::Error> {
        let sender = self.sender.clone();
        runtime::wait(self.timeout, async move { sender.whole(request).await })
    }

    /// Sends several requests at the same time (one after the other in HTTP/1.1); answers in the order given.
    pub fn send_all(&self, requests: Vec<Request<Full<Bytes>>>) -> Vec<Result<Answer, hyper::Error>> {
        let sender = self.sender.clone();
        runtime::wait(self.timeout, async move {
            let tasks: Vec<_> = requests
                .into_iter()
                .map(|request| {
                    let sender = sender.clone();
                    tokio::spawn(async move { sender.whole(request).await })
                })
                .collect();
            let mut answers = Vec::with_capacity(tasks.len());
            for task in tasks {
                answers.push(task.await.expect("the task ends by itself"));
            }
            answers
        })
    }

    /// Sends a request and leaves the answer's body to be read piece by piece.
    ///
    /// # Errors
    /// When the connection ends before the head does.
    pub fn open(&self, request: Request<Full<Bytes>>) -> Result<Streaming, hyper::Error> {
        let sender = self.sender.clone();
        let response = runtime::wait(self.timeout, async move { sender.head(request).await })?;
        let (head, body) = response.into_parts();
        Ok(Streaming { status: head.status, headers: head.headers, body: Some(body) })
    }
}

async fn handshake<I: Read + Write + Unpin + Send + 'static>(io: I, h2: bool) -> std::io::Result<Sender> {
    // The connection's own error reaches the test through the request that met it.
    if h2 {
        let (sender, connection) =
            http2::handshake(TokioExecutor::new(), io).await.map_err(std::io::Error::other)?;
        tokio::spawn(connection);
        Ok(Sender::Http2(sender))
    } else {
        let (sender, connection) = http1::handshake(io).await.map_err(std::io::Error::other)?;
        tokio::spawn(connection.with_upgrades());
        Ok(Sender::Http1(std::sync::Arc::new(tokio::sync::Mutex::new(sender))))
    }
}

impl Sender {
    async fn head(self, request: Request<Full<Bytes>>) -> Result<http::Response<Incoming>, hyper::Error> {
        match self {
            Sender::Http1(sender) => {
                let mut sender = sender.lock().await;
                sender.ready().await?;
                sender.send_request(request).await
            }
            Sender::Http2(mut sender) => {
                sender.ready().await?;
                sender.send_request(request).await
            }
        }
    }

    async fn whole(self, request: Request<Full<Bytes>>) -> Result<Answer, hyper::Error> {
        let (head, body) = self.head(request).await?.into_parts();
        let whole = body.collect().await?;
        let trailers = whole.trailers().cloned();
        let (status, version, headers) = (head.status, head.version, head.headers);
        Ok(Answer { status, version, headers, body: whole.to_bytes(), trailers })
    }
}

/// Longer than any limit a test waits for.
const TIMEOUT: Duration = Duration::from_secs(30);
