//! An HTTP origin that answers as told and remembers what it was asked.
//!
//! It speaks HTTP/1.1 and HTTP/2 (prior knowledge, or by ALPN over TLS). What no HTTP library would answer comes from
//! [`RawOrigin`].

use std::{
    convert::Infallible,
    io,
    net::{Ipv4Addr, SocketAddr},
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Version};
use http_body_util::BodyExt;
use hyper::{
    body::{Body, Frame, Incoming},
    rt::{Read, Write},
    server::conn,
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::Sleep,
};
use tokio_rustls::TlsAcceptor;

pub use crate::raw_origin::{RawOrigin, Step};
use crate::{
    pki::{self, Identity},
    runtime::{self, Task},
};

/// A request as the origin received it.
#[derive(Clone, Debug)]
pub struct Received {
    /// The method.
    pub method: String,
    /// The target as sent: path and query.
    pub target: String,
    /// The HTTP version.
    pub version: Version,
    /// `Host`, or `:authority` in HTTP/2.
    pub authority: Option<String>,
    /// All header fields.
    pub headers: HeaderMap,
    /// The whole body; empty when it broke off.
    pub body: Bytes,
    /// The body broke off before its end: a server would not act on such a request.
    pub broke_off: bool,
    /// Trailer fields, if any came.
    pub trailers: Option<HeaderMap>,
    /// Which connection it came on, counted from 1.
    pub connection: u64,
}

impl Received {
    /// The one value of a header; `None` when it is absent.
    ///
    /// # Panics
    /// When it was sent several times or is not text: a test that asks for *the* value would be misled.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.get_all(name).iter();
        let value = values.next()?;
        assert!(values.next().is_none(), "{name} was sent several times: {:?}", self.headers);
        Some(value.to_str().expect("the header's value is text"))
    }
}

/// What the origin answers.
#[derive(Clone, Debug)]
pub struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    chunks: Vec<(Duration, Bytes)>,
    trailers: Option<HeaderMap>,
    delay: Duration,
    chunked: bool,
    breaks_off: bool,
    switches: bool,
}

impl Reply {
    /// An answer with a whole body, whose length is declared.
    pub fn new(status: u16, body: impl Into<Bytes>) -> Reply {
        let body = body.into();
        Reply {
            status: StatusCode::from_u16(status).expect("the status is one"),
            headers: HeaderMap::new(),
            chunks: if body.is_empty() { Vec::new() } else { vec![(Duration::ZERO, body)] },
            trailers: None,
            delay: Duration::ZERO,
            chunked: false,
            breaks_off: false,
            switches: false,
        }
    }

    /// 200 with this body.
    pub fn ok(body: impl Into<Bytes>) -> Reply {
        Reply::new(200, body)
    }

    /// 101: afterwards every byte is sent back, until the peer ends.
    pub fn switching(protocol: &str) -> Reply {
        let mut reply = Reply::new(101, "").with("connection", "upgrade").with("upgrade", protocol);
        reply.switches = true;
        reply
    }

    /// Adds a header field.
    pub fn with(mut self, name: &str, value: &str) -> Reply {
        let name = HeaderName::try_from(name).expect("the name is one of a header");
        self.headers.append(name, HeaderValue::try_from(value).expect("the value is one of a header"));
        self
    }

    /// Adds a piece of the body, sent after a pause; the length is not declared any more.
    pub fn then(mut self, pause: Duration, piece: impl Into<Bytes>) -> Reply {
        self.chunks.push((pause, piece.into()));
        self.chunked = true;
        self
    }

    /// Adds a trailer field; the length is not declared any more.
    pub fn with_trailer(mut self, name: &str, value: &str) -> Reply {
        let name = HeaderName::try_from(name).expect("the name is one of a header");
        let value = HeaderValue::try_from(value).expect("the value is one of a header");
        self.trailers.get_or_insert_default().append(name, value);
        self.chunked = true;
        self
    }

    /// Waits before it answers.
    pub fn after(mut self, delay: Duration) -> Reply {
        self.delay = delay;
        self
    }

    /// Ends the connection in the middle of the body, after the pieces given.
    pub fn breaking_off(mut self) -> Reply {
        self.breaks_off = true;
        self.chunked = true;
        self
    }
}

/// A running origin; ends with all its connections when dropped.
#[derive(Debug)]
pub struct Origin {
    address: SocketAddr,
    scheme: &'static str,
    shared: Arc<Shared>,
    _task: Task,
}

type Handler = Box<dyn Fn(&Received) -> Reply + Send + Sync>;

struct Shared {
    handler: Handler,
    received: Mutex<Vec<Received>>,
    connections: AtomicU64,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("connections", &self.connections).finish_non_exhaustive()
    }
}

impl Origin {
    /// Clear text on a free port of `127.0.0.1`.
    pub fn start(handler: impl Fn(&Received) -> Reply + Send + Sync + 'static) -> Origin {
        Origin::start_at(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), None, handler)
    }

    /// Answers every request with 200 and this body.
    pub fn answering(body: impl Into<Bytes>) -> Origin {
        let body = body.into();
        Origin::start(move |_| Reply::ok(body.clone()))
    }

    /// Over TLS, on a free port of `127.0.0.1`.
    pub fn start_tls(
        identity: &Identity,
        handler: impl Fn(&Received) -> Reply + Send + Sync + 'static,
    ) -> Origin {
        Origin::start_at(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), Some(identity), handler)
    }

    /// On this address, over TLS if an identity is given.
    pub fn start_at(
        address: SocketAddr,
        identity: Option<&Identity>,
        handler: impl Fn(&Received) -> Reply + Send + Sync + 'static,
    ) -> Origin {
        let listener = bind(address).expect("the origin's address is free");
        let address = listener.local_addr().expect("a bound socket has an address");
        let acceptor = identity.map(|identity| TlsAcceptor::from(pki::server_config(identity)));
        let scheme = if acceptor.is_some() { "https" } else { "http" };
        let shared = Arc::new(Shared {
            handler: Box::new(handler),
            received: Mutex::default(),
            connections: AtomicU64::new(0),
        });
        let task = Task::start(accept(listener, acceptor, Arc::clone(&shared)));
        Origin { address, scheme, shared, _task: task }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its base address, without a slash at the end.
    pub fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.address)
    }

    /// All requests so far, in the order in which their bodies were complete.
    pub fn received(&self) -> Vec<Received> {
        self.shared.received.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes the requests so far.
    pub fn take(&self) -> Vec<Received> {
        std::mem::take(&mut *self.shared.received.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes the only request since the last look.
    ///
    /// # Panics
    /// When there was none or more than one.
    pub fn take_one(&self) -> Received {
        let mut all = self.take();
        assert_eq!(all.len(), 1, "the origin was to receive one request: {all:#?}");
        all.remove(0)
    }

    /// How many connections were opened so far.
    pub fn connections(&self) -> u64 {
        self.shared.connections.load(Ordering::Relaxed)
    }

    /// Waits until `count` requests were received.
    ///
    /// # Panics
    /// When that takes longer than ten seconds.
    pub fn wait_for(&self, count: usize) -> Vec<Received> {
        let start = Instant::now();
        loop {
            let received = self.received();
            if received.len() >= count {
                return received;
            }
            assert!(start.elapsed() < Duration::from_secs(10), "{} of {count} requests came", received.len());
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    let _inside = runtime::handle().enter();
    TcpListener::from_std(listener)
}

async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, shared: Arc<Shared>) {
    // The set ends its tasks when it is dropped, and it is dropped with this task.
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let number = shared.connections.fetch_add(1, Ordering::Relaxed) + 1;
        let (shared, tls) = (Arc::clone(&shared), tls.clone());
        let _ = stream.set_nodelay(true);
        connections.spawn(async move {
            match tls {
                None => {
                    let http2 = speaks_http2(&stream).await;
                    serve(TokioIo::new(stream), http2, number, shared).await;
                }
                Some(acceptor) => {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                    serve(TokioIo::new(stream), http2, number, shared).await;
                }
            }
        });
        while connections.try_join_next().is_some() {}
    }
}

/// RFC 9113 §3.4: only HTTP/2 begins with `PRI`.
async fn speaks_http2(stream: &TcpStream) -> bool {
    let mut start = [0_u8; 3];
    loop {
        match stream.peek(&mut start).await {
            Ok(3) => return &start == b"PRI",
            Ok(1..) if start.starts_with(b"P") => tokio::time::sleep(Duration::from_millis(1)).await,
            _ => return false,
        }
    }
}

async fn serve<I>(io: I, http2: bool, connection: u64, shared: Arc<Shared>)
where
    I: Read + Write + Unpin + Send + 'static,
{
    let service = service_fn(move |request| {
        let shared = Arc::clone(&shared);
        async move { Ok::<_, Infallible>(answer(request, connection, &shared).await) }
    });
    // How a connection ends is the gateway's doing and judged there.
    if http2 {
        let _ = conn::http2::Builder::new(TokioExecutor::new()).serve_connection(io, service).await;
    } else {
        let _ = conn::http1::Builder::new().serve_connection(io, service).with_upgrades().await;
    }
}

async fn answer(mut request: Request<Incoming>, connection: u64, shared: &Shared) -> Response<Pieces> {
    let upgrade = hyper::upgrade::on(&mut request);
    let (head, body) = request.into_parts();
    let (trailers, body, broke_off) = match body.collect().await {
        Ok(whole) => (whole.trailers().cloned(), whole.to_bytes(), false),
        Err(_) => (None, Bytes::new(), true),
    };
    let host = head.headers.get(http::header::HOST).and_then(|host| host.to_str().ok()).map(str::to_owned);
    let received = Received {
        method: head.method.as_str().to_owned(),
        target: head.uri.path_and_query().map_or_else(|| head.uri.to_string(), ToString::to_string),
        version: head.version,
        authority: head.uri.authority().map(ToString::to_string).or(host),
        headers: head.headers,
        body,
        broke_off,
        trailers,
        connection,
    };
    let reply = (shared.handler)(&received);
    shared.received.lock().unwrap_or_else(PoisonError::into_inner).push(received);
    tokio::time::sleep(reply.delay).await;
    if reply.switches {
        runtime::handle().spawn(async move {
            if let Ok(upgraded) = upgrade.await {
                let (mut from, mut to) = tokio::io::split(TokioIo::new(upgraded));
                let _ = tokio::io::copy(&mut from, &mut to).await;
                let _ = tokio::io::AsyncWriteExt::shutdown(&mut to).await;
            }
        });
    }
    let mut response = Response::new(Pieces {
        declared: (!reply.chunked).then(|| reply.chunks.iter().map(|(_, piece)| piece.len() as u64).sum()),
        left: reply.chunks.into_iter(),
        next: None,
        trailers: reply.trailers,
        breaks_off: reply.breaks_off,
    });
    *response.status_mut() = reply.status;
    *response.headers_mut() = reply.headers;
    response
}

/// A reply's body: its pieces, each after its pause.
struct Pieces {
    declared: Option<u64>,
    left: std::vec::IntoIter<(Duration, Bytes)>,
    next: Option<(Pin<Box<Sleep>>, Bytes)>,
    trailers: Option<HeaderMap>,
    breaks_off: bool,
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if self.next.is_none() {
            self.next = self.left.next().map(|(pause, piece)| (Box::pin(tokio::time::sleep(pause)), piece));
        }
        if let Some((sleep, _)) = &mut self.next {
            std::task::ready!(sleep.as_mut().poll(context));
        }
        match self.next.take() {
            Some((_, piece)) => Poll::Ready(Some(Ok(Frame::data(piece)))),
            None if self.breaks_off => Poll::Ready(Some(Err(io::Error::other("the origin breaks off")))),
            None => Poll::Ready(self.trailers.take().map(|trailers| Ok(Frame::trailers(trailers)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.next.is_none() && self.left.as_slice().is_empty() && self.trailers.is_none() && !self.breaks_off
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        self.declared.map_or_else(hyper::body::SizeHint::default, hyper::body::SizeHint::with_exact)
    }
}
