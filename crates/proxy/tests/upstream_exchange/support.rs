//! Origins of our own, and plans that point at them.

use std::{
    cell::{Cell, RefCell},
    net::SocketAddr,
    num::NonZeroU32,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use bartizan_config::snapshot::upstream::{
    Balancing, EndpointAddress, EndpointPlan, UpstreamPlan, UpstreamProtocol,
};
use bartizan_proxy::upstream::{
    self, BoxError, CorePools, ForwardError, Pick, PreparedUpstream, Sent, UpstreamSet,
};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty, Full, combinators::UnsyncBoxBody};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    runtime::{Builder, LocalOptions},
};

pub type Body = UnsyncBoxBody<Bytes, BoxError>;
pub type Pools = Rc<CorePools<Body>>;

/// Sends a request that nobody wants back.
pub async fn send(
    pools: &CorePools<Body>,
    upstream: &PreparedUpstream,
    pick: &Pick<'_>,
    request: Request<Body>,
) -> Result<Sent<Body>, ForwardError> {
    upstream::send(pools, upstream, pick, &mut Some(request)).await
}

/// Runs a test on a runtime like a core's, with an end to its patience.
pub fn on_a_core(test: impl AsyncFnOnce()) {
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default()).unwrap();
    runtime.block_on(async {
        tokio::time::timeout(Duration::from_secs(20), test()).await.expect("the test hangs");
    });
}

pub fn pools() -> Pools {
    CorePools::new(1)
}

pub async fn pause(milliseconds: u64) {
    tokio::time::sleep(Duration::from_millis(milliseconds)).await;
}

/// Waits until `done`, at most two seconds.
pub async fn until(what: &str, mut done: impl FnMut() -> bool) {
    for _ in 0..200 {
        if done() {
            return;
        }
        pause(10).await;
    }
    panic!("never: {what}");
}

/// What an origin has seen.
#[derive(Default)]
pub struct Seen {
    pub connections: Cell<usize>,
    /// Connections that have ended, as the origin sees it.
    pub closed: Cell<usize>,
    pub heads: RefCell<Vec<String>>,
}

pub struct Origin {
    pub address: SocketAddr,
    pub seen: Rc<Seen>,
    task: tokio::task::AbortHandle,
}

impl Origin {
    /// An origin whose connections are each served by `serve`; the second argument counts them from 0.
    pub async fn raw<F>(serve: impl Fn(TcpStream, usize, Rc<Seen>) -> F + 'static) -> Origin
    where
        F: Future<Output = ()> + 'static,
    {
        Origin::raw_at("127.0.0.1:0".parse().unwrap(), serve).await
    }

    pub async fn raw_at<F>(
        at: SocketAddr,
        serve: impl Fn(TcpStream, usize, Rc<Seen>) -> F + 'static,
    ) -> Origin
    where
        F: Future<Output = ()> + 'static,
    {
        let listener = TcpListener::bind(at).await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Rc::<Seen>::default();
        let noted = Rc::clone(&seen);
        let task = tokio::task::spawn_local(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let number = noted.connections.replace(noted.connections.get() + 1);
                let served = serve(stream, number, Rc::clone(&noted));
                let noted = Rc::clone(&noted);
                tokio::task::spawn_local(async move {
                    served.await;
                    noted.closed.set(noted.closed.get() + 1);
                });
            }
        });
        Origin { address, seen, task: task.abort_handle() }
    }

    /// Answers every head with `answer`, keeping the connection until the peer closes it.
    pub async fn answering(answer: impl Into<Vec<u8>>) -> Origin {
        let answer: Rc<[u8]> = answer.into().into();
        Origin::raw(move |mut stream, _, seen| {
            let answer = Rc::clone(&answer);
            async move {
                while let Some(head) = read_head(&mut stream).await {
                    seen.heads.borrow_mut().push(head);
                    if stream.write_all(&answer).await.is_err() {
                        return;
                    }
                }
            }
        })
        .await
    }

    /// Stops listening; open connections stay.
    pub fn stop(&self) {
        self.task.abort();
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A head and, where it states a length, its body; nothing when the peer closed.
pub async fn read_head<S: tokio::io::AsyncRead + Unpin>(stream: &mut S) -> Option<String> {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        bytes.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(bytes).unwrap();
    let length =
        head.lines().find_map(|line| line.strip_prefix("content-length: ")).map(|n| n.parse().unwrap());
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body).await.ok()?;
    Some(head + &String::from_utf8(body).unwrap())
}

pub const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// A plan for these endpoints, without TLS and checks.
pub fn plan(endpoints: &[SocketAddr]) -> UpstreamPlan {
    UpstreamPlan {
        llm: None,
        name: "orders".into(),
        endpoints: endpoints.iter().map(|address| endpoint(*address, 1)).collect(),
        protocol: UpstreamProtocol::Http1,
        tls: None,
        balancing: Balancing::RoundRobin,
        active: None,
        passive: None,
        panic_percent: 0,
        slow_start: None,
        credential: None,
        connect_timeout: Duration::from_secs(1),
        idle_timeout: Duration::from_secs(10),
        connections_max: 100,
        idle_max: 100,
    }
}

pub fn endpoint(address: SocketAddr, weight: u32) -> EndpointPlan {
    EndpointPlan {
        authority: address.to_string().into(),
        address: EndpointAddress::Socket(address),
        weight: NonZeroU32::new(weight).unwrap(),
    }
}

pub fn prepare(plan: UpstreamPlan) -> Arc<PreparedUpstream> {
    let set = UpstreamSet::prepare(&[Arc::new(plan)], &|_| Err("no secrets here".to_owned()), None).unwrap();
    Arc::clone(set.at(0).unwrap())
}

/// An address nobody listens on.
pub async fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

pub fn get() -> Request<Body> {
    Request::get("/").header("host", "orders.test").body(empty()).unwrap()
}

pub fn post(body: Body) -> Request<Body> {
    Request::post("/").header("host", "orders.test").body(body).unwrap()
}

pub fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

pub fn full(bytes: &'static str) -> Body {
    Full::new(Bytes::from_static(bytes.as_bytes())).map_err(|never| match never {}).boxed_unsync()
}

/// A body that yields `first` and then nothing, without ending.
pub fn endless(first: &'static str) -> Body {
    struct Endless(Option<Bytes>);
    impl http_body::Body for Endless {
        type Data = Bytes;
        type Error = BoxError;
        fn poll_frame(
            mut self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, BoxError>>> {
            match self.0.take() {
                Some(bytes) => std::task::Poll::Ready(Some(Ok(http_body::Frame::data(bytes)))),
                None => std::task::Poll::Pending,
            }
        }
    }
    Endless(Some(Bytes::from_static(first.as_bytes()))).boxed_unsync()
}

/// A body that fails after `first`.
pub fn failing(first: &'static str, error: impl Into<BoxError>) -> Body {
    let frames = [Ok(Bytes::from_static(first.as_bytes())), Err(error.into())];
    struct Frames(std::vec::IntoIter<Result<Bytes, BoxError>>);
    impl http_body::Body for Frames {
        type Data = Bytes;
        type Error = BoxError;
        fn poll_frame(
            mut self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, BoxError>>> {
            std::task::Poll::Ready(self.0.next().map(|frame| frame.map(http_body::Frame::data)))
        }
    }
    Frames(Vec::from(frames).into_iter()).boxed_unsync()
}

pub async fn call(pools: &Pools, upstream: &PreparedUpstream) -> Result<Sent<Body>, ForwardError> {
    send(pools, upstream, &Pick::default(), get()).await
}

/// Calls and reads the answer whole.
pub async fn called(pools: &Pools, upstream: &PreparedUpstream) -> Sent<Body> {
    let sent = call(pools, upstream).await.unwrap();
    read(sent).await.0
}

/// Reads the answer whole; the `Sent` has an ended body.
pub async fn read(mut sent: Sent<Body>) -> (Sent<Body>, Bytes) {
    let mut read = Vec::new();
    while let Some(frame) = sent.response.body_mut().frame().await {
        read.extend_from_slice(&frame.unwrap().into_data().unwrap_or_default());
    }
    (sent, read.into())
}

pub fn answer(status: u16, body: &'static str) -> Response<Full<Bytes>> {
    Response::builder().status(status).body(Full::new(Bytes::from_static(body.as_bytes()))).unwrap()
}
