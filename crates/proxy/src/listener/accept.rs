//! From a socket's queue to HTTP: who may connect, on which core, and what is read before a request.
//!
//! The order is cheap before dear: the address lists and counts are judged before a byte is read, the core is chosen
//! before the handshake, and every step that reads has a deadline. What is refused is counted by its reason and closed
//! without an answer, because an answer would cost more than the attack.

use std::{
    cell::{Cell, RefCell},
    fs::File,
    future::poll_fn,
    io,
    net::{IpAddr, SocketAddr},
    rc::Rc,
    sync::{Arc, atomic::Ordering},
    task::Poll,
    time::{Duration, Instant},
};

use bartizan_config::snapshot::AdmissionPlan;
use bartizan_message::AddressValue;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::Notify,
    time::{sleep, timeout},
};

use super::{
    Ended, ListenerEvents, Refused, Serve, TlsFacts,
    balance::{HandedOver, Seat},
    bind::{BACKLOG, Group},
    caps::Permit,
    core::{Core, Listening, Setting},
    facts::ConnectionFacts,
    flow::{Flow, WatchedIo},
    http,
    proxy_protocol::{self, Declared, HeaderError},
    socket::Socket,
    tls,
    watch::{Order, Watch},
};
use crate::overload::{BEAT, Step};

/// What a connection holds as long as its transport lives, in whosever hands.
#[derive(Debug)]
pub(crate) struct Holding {
    permit: Permit,
    _seat: Seat,
    flow: Arc<Flow>,
}

impl Drop for Holding {
    fn drop(&mut self) {
        self.flow.set_closed();
    }
}

/// One address's accept loop on one core.
#[derive(Debug)]
pub(crate) struct Acceptor {
    pub(crate) group: Arc<Group>,
    pub(crate) closing: Rc<Notify>,
}

/// Accepts until told to close, then empties the queue: who was promised a connection by the kernel gets it.
pub(crate) async fn run<S: Serve>(
    core: Rc<Core<S>>,
    listening: Rc<Listening>,
    sockets: TcpListener,
    group: Arc<Group>,
    closing: Rc<Notify>,
) {
    let in_a_row = Cell::new(0);
    loop {
        tokio::select! {
            biased;
            () = closing.notified() => break,
            accepted = next(&core, &sockets, &in_a_row) => match accepted {
                Ok((stream, peer)) => admit(&core, &listening.setting(), stream, peer),
                Err(error) => failed(&core, &listening.setting(), &sockets, &error).await,
            },
        }
    }
    if let Ok(queue) = sockets.into_std() {
        while let Ok((stream, peer)) = queue.accept() {
            if stream.set_nonblocking(true).is_ok()
                && let Ok(stream) = TcpStream::from_std(stream)
            {
                admit(&core, &listening.setting(), stream, peer);
            }
        }
    }
    drop(group);
}

/// The next connection, once there is room for any. How many came in a row before the queue was empty says how full it
/// was.
async fn next<S>(
    core: &Core<S>,
    sockets: &TcpListener,
    in_a_row: &Cell<u32>,
) -> io::Result<(TcpStream, SocketAddr)> {
    if core.gauge.pressure().reaches(Step::StopAccepting) {
        core.gauge.took(Step::StopAccepting, 1);
        while core.gauge.pressure().reaches(Step::StopAccepting) {
            sleep(BEAT).await;
        }
    }
    let accepted = poll_fn(|cx| {
        let polled = sockets.poll_accept(cx);
        if polled.is_pending() {
            in_a_row.set(0);
        }
        polled
    });
    let accepted = accepted.await?;
    in_a_row.set(in_a_row.get().saturating_add(1));
    core.gauge.queued(in_a_row.get(), BACKLOG.unsigned_abs());
    Ok(accepted)
}

async fn failed<S: Serve>(core: &Core<S>, setting: &Setting, sockets: &TcpListener, error: &io::Error) {
    let events = &core.process.events;
    if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted) {
        return; // The client left while it was queued.
    }
    events.accept_failed(&setting.plan.name, error);
    // EMFILE, ENFILE: without a descriptor the queue would only grow. The reserve is given up to take connections and
    // close them, one after the other, so that clients see a refusal at once, and is then taken back.
    if core.reserve.release() {
        for _ in 0..SHED_AT_ONCE {
            let taken = poll_fn(|cx| Poll::Ready(sockets.poll_accept(cx))).await;
            match taken {
                Poll::Ready(Ok(_)) => events.refused(&setting.plan.name, Refused::DescriptorsExhausted),
                _ => break,
            }
        }
        core.reserve.restore();
    }
    sleep(BACK_OFF).await;
}

/// A spare file descriptor.
#[derive(Debug)]
pub(crate) struct Reserve(RefCell<Option<File>>);

impl Reserve {
    pub(crate) fn new() -> Self {
        Reserve(RefCell::new(File::open(RESERVE).ok()))
    }

    fn release(&self) -> bool {
        self.0.borrow_mut().take().is_some()
    }

    fn restore(&self) {
        *self.0.borrow_mut() = File::open(RESERVE).ok();
    }
}

/// Judges a fresh socket and sends it on its way: here, on another core, or nowhere.
fn admit<S: Serve>(core: &Rc<Core<S>>, setting: &Arc<Setting>, stream: TcpStream, peer: SocketAddr) {
    let refuse = |why| core.process.events.refused(&setting.plan.name, why);
    let admission = &setting.plan.admission;
    let address = peer.ip().to_canonical();
    let declared = setting.plan.proxy_protocol_from.as_ref().is_some_and(|from| from.contains(address));
    if !declared && !is_allowed(admission, address) {
        return refuse(Refused::AddressDenied);
    }
    let mut permit =
        match Permit::open(&core.process.caps, setting.shared.id, &setting.shared.open, admission) {
            Ok(permit) => permit,
            Err(why) => return refuse(why),
        };
    // A declared proxy opens many connections for many clients; it is its clients that are counted.
    if !declared && let Err(why) = permit.count_client(address, admission) {
        return refuse(why);
    }
    let mut fresh = Fresh { stream, peer, declared, permit, opened: Instant::now() };
    if let Some((target, seat)) = core.process.balance.better_core(core.id) {
        match hand_over(core, setting, fresh, target, seat) {
            Handed::Over => return,
            Handed::Back(back) => fresh = back,
            Handed::Lost => return refuse(Refused::SocketBroken),
        }
    }
    let seat = core.process.balance.seat(core.id);
    begin(core, Arc::clone(setting), fresh, seat);
}

/// An admitted socket that has not been read yet.
struct Fresh {
    stream: TcpStream,
    peer: SocketAddr,
    declared: bool,
    permit: Permit,
    opened: Instant,
}

/// What became of a socket that another core should have.
enum Handed {
    Over,
    /// The other core is behind with its queue: better here than not at all.
    Back(Fresh),
    Lost,
}

fn hand_over<S: Serve>(
    core: &Core<S>,
    setting: &Arc<Setting>,
    fresh: Fresh,
    target: usize,
    seat: Seat,
) -> Handed {
    let Fresh { stream, peer, declared, permit, opened } = fresh;
    // Leaves this runtime; registered again by the other one.
    let Ok(stream) = stream.into_std() else { return Handed::Lost };
    let handed = HandedOver { setting: Arc::clone(setting), stream, peer, declared, permit, seat, opened };
    match core.process.balance.send(target, handed) {
        Ok(()) => {
            core.process.events.handed_over(&setting.plan.name, core.id, target);
            Handed::Over
        }
        Err(back) => {
            let HandedOver { stream, peer, declared, permit, opened, .. } = *back;
            match TcpStream::from_std(stream) {
                Ok(stream) => Handed::Back(Fresh { stream, peer, declared, permit, opened }),
                Err(_) => Handed::Lost,
            }
        }
    }
}

/// Takes a socket that another core handed over.
pub(crate) fn take<S: Serve>(core: &Rc<Core<S>>, setting: Arc<Setting>, handed: HandedOver) {
    let HandedOver { stream, peer, declared, permit, seat, opened, .. } = handed;
    match TcpStream::from_std(stream) {
        Ok(stream) => begin(core, setting, Fresh { stream, peer, declared, permit, opened }, seat),
        Err(error) => core.process.events.accept_failed(&setting.plan.name, &error),
    }
}

fn begin<S: Serve>(core: &Rc<Core<S>>, setting: Arc<Setting>, fresh: Fresh, seat: Seat) {
    let watch = Watch::new(core.table.clock(), setting, Arc::clone(&core.gauge));
    let holding = Holding { permit: fresh.permit, _seat: seat, flow: Arc::clone(&watch.flow) };
    core.table.add(Rc::clone(&watch));
    if watch.setting.shared.removed.load(Ordering::Relaxed) {
        // From the queue of a listener that is going: answered once, and closed.
        watch.finish(Ended::ListenerChanged);
    }
    let opening =
        Opening { watch, holding, peer: fresh.peer, declared: fresh.declared, opened: fresh.opened };
    tokio::task::spawn_local(connection(Rc::clone(core), opening, fresh.stream));
}

/// A connection on its way to HTTP.
struct Opening {
    watch: Rc<Watch>,
    holding: Holding,
    peer: SocketAddr,
    declared: bool,
    opened: Instant,
}

async fn connection<S: Serve>(core: Rc<Core<S>>, opening: Opening, stream: TcpStream) {
    let name = Arc::clone(&opening.watch.setting.plan.name);
    if !cfg!(target_os = "linux") {
        // Linux hands the listening socket's option down. A failure only costs latency.
        let _ = stream.set_nodelay(true);
    }
    match open(&core, opening, stream).await {
        Ok(Ready::Clear(facts, io)) => serve(core, facts, io).await,
        Ok(Ready::Tls(facts, io)) => serve(core, facts, *io).await,
        Ok(Ready::Late(watch, io)) => {
            core.process.events.refused(&name, Refused::HeadTimeout);
            http::answer_timeout(io, &watch).await;
        }
        Err(why) => core.process.events.refused(&name, why),
    }
}

/// A connection whose first request may come.
enum Ready {
    Clear(Rc<ConnectionFacts>, WatchedIo<Socket>),
    Tls(Rc<ConnectionFacts>, Box<WatchedIo<tokio_rustls::server::TlsStream<Socket>>>),
    /// The first bytes did not come in time.
    Late(Rc<Watch>, WatchedIo<Socket>),
}

async fn serve<S: Serve, T>(core: Rc<Core<S>>, facts: Rc<ConnectionFacts>, io: WatchedIo<T>)
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let name = Arc::clone(&facts.listener.name);
    let events = Arc::clone(&core.process.events);
    events.opened(&name, facts.http2, facts.tls.is_some());
    let mut open = Open { events, name, ended: None };
    open.ended = Some(http::serve(Rc::clone(&core.service), facts, io).await);
}

/// Says that a connection ended, also when its task is dropped or panics.
struct Open {
    events: Arc<dyn ListenerEvents>,
    name: Arc<str>,
    ended: Option<Ended>,
}

impl Drop for Open {
    fn drop(&mut self) {
        let unfinished = if std::thread::panicking() { Ended::Failed } else { Ended::Drained };
        self.events.closed(&self.name, self.ended.unwrap_or(unfinished));
    }
}

async fn open<S: Serve>(core: &Core<S>, opening: Opening, mut stream: TcpStream) -> Result<Ready, Refused> {
    let Opening { watch, mut holding, peer, declared, opened } = opening;
    let setting = Arc::clone(&watch.setting);
    let admission = &setting.plan.admission;
    let local = stream.local_addr().map_err(|_| Refused::SocketBroken)?;
    let (client, local) = match declared {
        true => declared_client(&mut stream, &mut holding.permit, admission, peer, local).await?,
        false => (peer, local),
    };
    watch.client.set(Some(client.ip().to_canonical()));
    let facts = |tls: Option<TlsFacts>, http2| {
        Rc::new(ConnectionFacts {
            listener: Arc::clone(&setting.plan),
            peer,
            client,
            address: AddressValue::of(client.ip()),
            local,
            tls,
            http2,
            core: core.id,
            opened,
            requests: Cell::new(0),
            watch: Rc::clone(&watch),
        })
    };
    let mut socket = Socket::new(stream);
    if let Some(prepared) = &setting.tls {
        let begun = Instant::now();
        let (stream, tls) =
            tls::accept(prepared, &core.handshakes, socket, admission.handshake_timeout).await?;
        core.process.events.handshaken(&setting.plan.name, begun.elapsed());
        let http2 = tls.alpn == Some("h2");
        watch.opening.set(false);
        let io = WatchedIo::new(stream, Arc::clone(&watch.flow), holding);
        return Ok(Ready::Tls(facts(Some(tls), http2), Box::new(io)));
    }
    watch.opening.set(false);
    watch.http_begins(false);
    let mut http2 = false;
    if setting.plan.http2 {
        // RFC 9113 §3.3: prior knowledge begins with a fixed preface, which no HTTP/1.1 request can begin with.
        let begins = tokio::select! {
            biased;
            order = watch.ordered() => Err(order),
            begins = socket.starts_with(PREFACE, || watch.head_begun()) => Ok(begins),
        };
        http2 = match begins {
            Ok(Ok(is_preface)) => is_preface,
            Ok(Err(_)) => return Err(Refused::SocketBroken),
            Err(Order::Timeout) => {
                let flow = Arc::clone(&watch.flow);
                return Ok(Ready::Late(watch, WatchedIo::new(socket, flow, holding)));
            }
            Err(Order::Finish(Ended::Idle)) => return Err(Refused::Silent),
            Err(_) => return Err(Refused::Closing),
        };
    }
    Ok(Ready::Clear(facts(None, http2), WatchedIo::new(socket, Arc::clone(&watch.flow), holding)))
}

/// Reads whom a declared proxy speaks for, and judges that client like one that connected itself.
async fn declared_client(
    stream: &mut TcpStream,
    permit: &mut Permit,
    admission: &AdmissionPlan,
    peer: SocketAddr,
    local: SocketAddr,
) -> Result<(SocketAddr, SocketAddr), Refused> {
    let header = timeout(admission.handshake_timeout, proxy_protocol::read_header(stream))
        .await
        .map_err(|_| Refused::ProxyHeaderTimeout)?
        .map_err(|error| match error {
            HeaderError::Malformed | HeaderError::Read(_) | HeaderError::TooLarge => {
                Refused::ProxyHeaderInvalid
            }
        })?;
    let (client, local) = match header {
        Declared::Proxied { source, destination } => (source, destination),
        // Its own health check, or a client it cannot name: then it is judged as itself.
        Declared::Local => (peer, local),
    };
    let address = client.ip().to_canonical();
    if !is_allowed(admission, address) {
        return Err(Refused::AddressDenied);
    }
    if matches!(header, Declared::Proxied { .. }) {
        permit.count_client(address, admission)?;
    }
    Ok((client, local))
}

/// Whether a listener admits a client at all.
pub(crate) fn is_allowed(admission: &AdmissionPlan, client: IpAddr) -> bool {
    !admission.deny.contains(client) && admission.allow.as_ref().is_none_or(|allow| allow.contains(client))
}

/// RFC 9113 §3.4.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Any file that can always be opened.
const RESERVE: &str = "/dev/null";

/// Connections closed in one go when there are no descriptors.
const SHED_AT_ONCE: usize = 64;

/// Between attempts to accept when the system has nothing left to give.
const BACK_OFF: Duration = Duration::from_millis(50);
