//! A gateway without a pipeline, and clients that do as they like.

use std::{
    collections::HashMap,
    net::SocketAddr,
    rc::Rc,
    sync::{Arc, Mutex},
    time::Duration,
};

use bartizan_config::snapshot::{AdmissionPlan, ListenerPlan};
use bartizan_message::{AddressSet, Trust};
use bartizan_model::{Reference, SecretValue};
use bartizan_proxy::listener::{
    BodyError, Bound, ConnectionFacts, CoreOptions, CoreThreads, Ended, ListenerEvents, Pace, Paced,
    PacedError, PreparedTls, ReadyListener, Refused, Serve, TicketKeys, prepare_tls,
};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::{Request, Response, StatusCode, body::Incoming, header::HeaderValue};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{sleep, timeout},
};

/// What a test waits for at most.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Answers by path.
pub(crate) struct Echo;

impl Serve for Echo {
    type Body = UnsyncBoxBody<Bytes, BodyError>;

    async fn serve(
        self: Rc<Self>,
        connection: Rc<ConnectionFacts>,
        request: Request<Incoming>,
    ) -> Response<Self::Body> {
        let (status, text) = match request.uri().path() {
            "/slow" => {
                sleep(Duration::from_millis(400)).await;
                (StatusCode::OK, "slow".to_owned())
            }
            "/never" => std::future::pending().await,
            "/upload" => upload(&connection, request.into_body()).await,
            "/big" => (StatusCode::OK, "x".repeat(32 * 1024 * 1024)),
            "/upgrade" => {
                // Echoes one byte at a time, for as long as it may.
                tokio::task::spawn_local(async move {
                    let mut io = TokioIo::new(hyper::upgrade::on(request).await.unwrap());
                    while let Ok(byte) = io.read_u8().await {
                        if io.write_u8(byte).await.is_err() {
                            break;
                        }
                    }
                });
                (StatusCode::SWITCHING_PROTOCOLS, String::new())
            }
            "/panic" => panic!("as asked"),
            "/facts" => (StatusCode::OK, facts(&connection)),
            path => (StatusCode::OK, path.to_owned()),
        };
        let body = Full::new(Bytes::from(text)).map_err(|never| match never {}).boxed_unsync();
        let mut response = Response::new(body);
        *response.status_mut() = status;
        if status == StatusCode::SWITCHING_PROTOCOLS {
            response.headers_mut().insert("connection", HeaderValue::from_static("upgrade"));
            response.headers_mut().insert("upgrade", HeaderValue::from_static("echo"));
        }
        response
    }
}

async fn upload(connection: &ConnectionFacts, body: Incoming) -> (StatusCode, String) {
    let mut body = Paced::new(body, connection, Pace::of(connection));
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(_) => {}
            Err(PacedError::TooLarge) => return (StatusCode::PAYLOAD_TOO_LARGE, String::new()),
            Err(PacedError::TooSlow) => return (StatusCode::REQUEST_TIMEOUT, String::new()),
            Err(error) => return (StatusCode::BAD_REQUEST, error.to_string()),
        }
    }
    (StatusCode::OK, body.bytes().to_string())
}

fn facts(connection: &ConnectionFacts) -> String {
    let tls = connection.tls.as_ref().map_or(String::from("clear"), |tls| {
        format!(
            "{} {} {:?} {}",
            tls.version,
            tls.server_name.as_deref().unwrap_or("-"),
            tls.alpn,
            tls.resumed
        )
    });
    let certificate = connection.tls.as_ref().and_then(|tls| tls.client.as_ref());
    let certificate = certificate.map_or("none".to_owned(), |certificate| certificate.names()[0].to_string());
    format!(
        "certificate={certificate} client={} local={} core={} requests={} http2={} tls={tls}",
        connection.client,
        connection.local,
        connection.core,
        connection.requests.get(),
        connection.http2,
    )
}

/// Counts what happens.
#[derive(Default)]
pub(crate) struct Counted(Mutex<HashMap<&'static str, usize>>);

impl Counted {
    fn count(&self, what: &'static str) {
        *self.0.lock().unwrap().entry(what).or_default() += 1;
    }

    pub(crate) fn of(&self, what: &str) -> usize {
        self.0.lock().unwrap().get(what).copied().unwrap_or_default()
    }

    /// Waits until something has happened.
    pub(crate) async fn wait(&self, what: &str) {
        self.wait_beyond(what, 0).await;
    }

    /// Waits until something has happened more often than that.
    pub(crate) async fn wait_beyond(&self, what: &str, before: usize) {
        let seen = async {
            while self.of(what) <= before {
                sleep(Duration::from_millis(5)).await;
            }
        };
        if timeout(PATIENCE, seen).await.is_err() {
            panic!("{what} did not happen: {:?}", self.0.lock().unwrap());
        }
    }
}

impl ListenerEvents for Counted {
    fn refused(&self, _: &str, why: Refused) {
        self.count(why.as_str());
    }

    fn opened(&self, _: &str, _: bool, _: bool) {
        self.count("opened");
    }

    fn closed(&self, _: &str, how: Ended) {
        self.count(how.as_str());
    }

    fn streams_stalled(&self, _: &str, _: usize) {
        self.count("streams_stalled");
    }

    fn accept_failed(&self, _: &str, error: &std::io::Error) {
        match error.raw_os_error() {
            Some(24) => self.count("accept_failed"), // EMFILE
            _ => panic!("{error}"),
        }
    }

    fn handed_over(&self, _: &str, _: usize, _: usize) {
        self.count("handed_over");
    }
}

pub(crate) fn plan() -> ListenerPlan {
    ListenerPlan {
        name: Arc::from("test"),
        addresses: vec![SocketAddr::from(([127, 0, 0, 1], 0))],
        tls: None,
        http2: true,
        hostnames: Vec::new(),
        redirect_https_port: None,
        hsts: None,
        trust: Trust::default(),
        proxy_protocol_from: None,
        key_endpoints: None,
        admission: AdmissionPlan {
            allow: None,
            deny: AddressSet::default(),
            connections_max: 1000,
            connections_per_address: 256,
            connections_per_prefix: 2048,
            handshake_timeout: Duration::from_secs(5),
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
            header_bytes_max: 64 * 1024,
            header_count_max: 100,
            uri_bytes_max: 8 * 1024,
            body_bytes_max: 1024 * 1024,
            body_rate_min: 500,
            body_rate_grace: Duration::from_secs(5),
            streams_max: 100,
            resets_max: 100,
            rate_per_address: None,
            tolerate: Default::default(),
        },
    }
}

pub(crate) fn loopback() -> AddressSet {
    AddressSet::from(vec![("127.0.0.1".parse().unwrap(), 32)])
}

/// A running gateway with one listener.
pub(crate) struct Gateway {
    pub cores: CoreThreads,
    pub events: Arc<Counted>,
    pub address: SocketAddr,
    pub tickets: TicketKeys,
    pub secrets: HashMap<Reference, Vec<u8>>,
    count: usize,
}

impl Gateway {
    pub(crate) fn start(cores: usize, plan: ListenerPlan) -> Gateway {
        Gateway::start_with(cores, plan, HashMap::new())
    }

    pub(crate) fn start_with(
        count: usize,
        plan: ListenerPlan,
        secrets: HashMap<Reference, Vec<u8>>,
    ) -> Gateway {
        let events = Arc::new(Counted::default());
        let options = CoreOptions {
            sweep: Duration::from_millis(20),
            write_stall: Duration::from_millis(500),
            events: Arc::clone(&events) as _,
            ..CoreOptions::default()
        };
        let cores = CoreThreads::start(count, options, |_| Echo).unwrap();
        let address = SocketAddr::from(([0, 0, 0, 0], 0));
        let mut gateway = Gateway { cores, events, address, tickets: TicketKeys::default(), secrets, count };
        gateway.apply(plan);
        gateway.address = gateway.cores.local_addresses("test")[0];
        gateway
    }

    /// Replaces the listener.
    pub(crate) fn apply(&self, plan: ListenerPlan) {
        let before = self.cores.bound(&plan.name);
        let bound = Bound::bind_keeping(before.as_ref(), &plan.addresses, self.count, None).unwrap();
        let tls = self.prepare(&plan).unwrap();
        let ready = ReadyListener { plan: Arc::new(plan), bound, tls };
        self.cores.apply(vec![ready], Duration::from_millis(300)).unwrap();
    }

    pub(crate) fn prepare(&self, plan: &ListenerPlan) -> Result<Option<PreparedTls>, Vec<String>> {
        prepare_tls(plan, &self.tickets, &|reference| {
            self.secrets.get(reference).map(|pem| SecretValue::new(pem.clone())).ok_or("not found".to_owned())
        })
    }

    pub(crate) async fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    }

    /// Drains and waits on a thread of its own.
    pub(crate) async fn join(self) {
        tokio::task::spawn_blocking(move || self.cores.join().unwrap()).await.unwrap();
    }
}

/// Sends bytes and reads one response with a `content-length`.
pub(crate) async fn exchange(stream: &mut TcpStream, request: &str) -> String {
    stream.write_all(request.as_bytes()).await.unwrap();
    response(stream).await
}

pub(crate) fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: a.test\r\n\r\n")
}

/// Reads exactly one response.
pub(crate) async fn response(stream: &mut TcpStream) -> String {
    let read = async {
        let mut seen = Vec::new();
        loop {
            let text = String::from_utf8_lossy(&seen).into_owned();
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let length = head
                    .lines()
                    .find_map(|line| {
                        line.to_ascii_lowercase().strip_prefix("content-length: ").map(str::to_owned)
                    })
                    .map_or(0, |length| length.parse().unwrap());
                if body.len() >= length {
                    return text;
                }
            }
            match stream.read_u8().await {
                Ok(byte) => seen.push(byte),
                Err(_) => return text,
            }
        }
    };
    timeout(PATIENCE, read).await.expect("a response in time")
}

/// Reads to the end, or fails when it does not come.
pub(crate) async fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut seen = Vec::new();
    let mut buffer = [0; 4096];
    let read = async {
        while let Ok(length) = stream.read(&mut buffer).await {
            if length == 0 {
                break;
            }
            seen.extend_from_slice(&buffer[..length]);
        }
    };
    timeout(PATIENCE, read).await.expect("the connection ends in time");
    seen
}
