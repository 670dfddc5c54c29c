//! The pipeline without sockets: what [`bartizan_config::rehearsal`] promises, by the stages of live traffic.
//!
//! A stage set up here is a core like any other with cells, counters and a clock of its own, over the given snapshot;
//! requests run through [`pipeline::judge`] and stop where an upstream would be asked. Nothing is opened or read.

mod story;

use std::{
    cell::Cell,
    future::Future,
    pin::pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
    time::{Duration, Instant, SystemTime},
};

use bartizan_config::{
    rehearsal::{
        CellReading, Credential, Decision, End, Given, GivenBody, LimitState, Moment, Outcome, Props,
        Readings, Rehearsal, Rehearse, Told,
    },
    snapshot::{ListenerPlan, Snapshot},
};
use bartizan_identity::ClientCertificate;
use bartizan_limit::{CellCache, Reservation};
use bartizan_model::Stage;
use bartizan_telemetry::Metrics;
use bytes::Bytes;
use http::{HeaderMap, Request, Version};

use self::story::Story;
use crate::{
    answer,
    body::Inbound,
    core::Core,
    exchange::{Exchange, Received, Shared, Stop, Why},
    listener::{ConnectionFacts, TlsFacts, TlsTrust, rehearsed_connection},
    live::{Live, LiveParts},
    pipeline,
    runtime::Runtime,
    stage,
    tokens::TokenSet,
    upstream::UpstreamSet,
};

/// Sets stages up over the pipeline of this crate.
#[derive(Clone, Copy, Debug, Default)]
pub struct PipelineRehearsal;

impl Rehearsal for PipelineRehearsal {
    fn set_up(&self, snapshot: Arc<Snapshot>, props: Props) -> Box<dyn Rehearse> {
        Box::new(Theatre::new(snapshot, props))
    }
}

/// What a rehearsed request carries instead of clocks and credentials, and what is noted of it on its way.
pub(crate) struct Rehearsing {
    /// What the clock of the limit cells shows in `limit`.
    pub(crate) limit_at: Instant,
    /// The caller's credential.
    pub(crate) credential: Credential,
    /// The caller's share.
    pub(crate) share: Option<u8>,
    /// What decides between backends.
    pub(crate) draw: Option<u64>,
    /// What limit cells held.
    pub(crate) cells: Vec<CellReading>,
    /// Where limits stand after the decision.
    pub(crate) limits: Vec<LimitState>,
    received: Moment,
    readings: Readings,
}

impl Rehearsing {
    /// What the wall clock shows for `stage`.
    pub(crate) fn unix_ms(&self, stage: Stage) -> u64 {
        let reading = match stage {
            Stage::Identify => self.readings.identify_unix_ms,
            Stage::Authorize => self.readings.authorize_unix_ms,
            _ => None,
        };
        reading.unwrap_or(self.received.unix_nanos / 1_000_000)
    }
}

/// A stage: a core that no socket leads to.
struct Theatre {
    core: Rc<Core>,
    live: Arc<Live>,
    /// The connection of the last request: most come on one like it.
    connection: Option<Rc<ConnectionFacts>>,
    /// What calls that are still running hold.
    held: Vec<Reservation>,
}

/// What a rehearsed handshake proves: no certificates are read, so none of a client's is known.
fn rehearsed_trust(listener: &ListenerPlan) -> Option<TlsTrust> {
    listener.tls.as_ref().map(|tls| TlsTrust { minimum: tls.minimum, clients: None })
}

impl Theatre {
    fn new(snapshot: Arc<Snapshot>, props: Props) -> Self {
        let metrics = Metrics::new("rehearsal", SystemTime::UNIX_EPOCH);
        let trusts = snapshot.listeners.iter().map(|listener| rehearsed_trust(&listener.plan)).collect();
        let tokens = TokenSet::without_keys(&snapshot);
        let parts = LiveParts { trusts, tokens, ..LiveParts::default() };
        let live = Live::new(snapshot, Arc::new(UpstreamSet::default()), parts, &metrics);
        let (table, pepper) = props.keys.unzip();
        let runtime = Runtime::new(live.clone(), metrics, pepper, None, Arc::default());
        if let Some(table) = table {
            runtime.set_keys(table);
        }
        // Nothing secret is drawn, and the same requests shall have the same outcome.
        let core = Rc::new(Core::new(runtime, None, Arc::default(), [1, 2]));
        Theatre { core, live, connection: None, held: Vec::new() }
    }

    /// The connection of a request; `None` where the snapshot does not have its listener.
    fn connection(&mut self, given: &Given) -> Option<Rc<ConnectionFacts>> {
        let is_same = |known: &&Rc<ConnectionFacts>| {
            let tls = known.tls.as_ref().map(|tls| (tls.version, &tls.server_name));
            let client =
                |known: &Option<Arc<ClientCertificate>>| known.as_ref().map(|one| *one.fingerprint());
            *known.listener.name == *given.listener
                && (known.peer, known.local) == (given.peer, given.local)
                && known.http2 == (given.version == Version::HTTP_2)
                && tls == given.tls.as_ref().map(|tls| (tls.version, &tls.server_name))
                // What was shown to a listener that asks for none is not seen, so equal means equal here too.
                && known.tls.as_ref().and_then(|tls| client(&tls.client))
                    == given.tls.as_ref().and_then(|tls| client(&tls.client))
        };
        if let Some(known) = self.connection.as_ref().filter(is_same) {
            return Some(known.clone());
        }
        let http2 = given.version == Version::HTTP_2;
        let listener = self.live.snapshot.listeners.get(self.live.listener_index(&given.listener))?;
        let trust = rehearsed_trust(&listener.plan);
        let asks_clients = listener.plan.tls.as_ref().is_some_and(|tls| tls.clients.is_some());
        let tls = given.tls.as_ref().zip(trust).map(|(tls, trust)| TlsFacts {
            version: tls.version,
            server_name: tls.server_name.clone(),
            alpn: http2.then_some("h2"),
            cipher: "",
            resumed: false,
            client: tls.client.clone().filter(|_| asks_clients),
            trust,
        });
        let ends = (given.peer, given.local);
        let connection = rehearsed_connection(listener.plan.clone(), ends, tls, http2, Instant::now());
        self.connection = Some(connection.clone());
        Some(connection)
    }

    /// The exchange of a request, and whether somebody asked for a body that is not known.
    fn receive(&mut self, given: Given) -> Option<(Exchange<Received>, Rc<Cell<bool>>)> {
        let connection = self.connection(&given)?;
        let asked = Rc::new(Cell::new(false));
        let body = match given.body {
            GivenBody::Absent => Inbound::Given(Bytes::new()),
            GivenBody::Whole(bytes) => Inbound::Given(bytes),
            GivenBody::Withheld => Inbound::Withheld(asked.clone()),
        };
        let mut request = Request::new(body);
        *request.method_mut() = given.method;
        *request.uri_mut() = given.target;
        *request.version_mut() = given.version;
        *request.headers_mut() = given.headers;
        let runtime = &self.core.runtime;
        let started = runtime.instant(given.received.monotonic);
        let rehearsing = Rehearsing {
            limit_at: given.readings.limit.map_or(started, |reading| runtime.instant(reading)),
            credential: given.credential,
            share: given.share,
            draw: given.draw,
            cells: given.cells,
            limits: Vec::new(),
            received: given.received,
            readings: given.readings,
        };
        let at = (started, given.received.unix_nanos);
        Some((self.core.clone().open(connection, request, at, Some(Box::new(rehearsing))), asked))
    }
}

impl Rehearse for Theatre {
    fn run(&mut self, given: Given) -> Outcome {
        let keeps_running = given.keeps_running;
        let mut story = Story::new();
        let Some((x, asked)) = self.receive(given) else { return not_judgeable(story) };
        let judged = match finish(pipeline::judge(x, &mut story)) {
            // What was judged without the body is no judgement.
            Some(judged) if !asked.get() => judged,
            _ => return not_judgeable(story),
        };
        let sent = judged.and_then(stage::rehearse);
        match sent {
            Ok((mut shared, sending)) => {
                story.passed(Stage::Forward, Told::Upstream(sending.upstream.clone()));
                let mut seen = Seen::of(&mut shared);
                seen.headers = answer::rehearse(&mut shared);
                let now_ms = shared.unix_ms(Stage::Forward);
                let tokens = shared.record.take_charges().map(|charges| charges.spend(now_ms));
                if keeps_running {
                    self.held.extend(shared.reservation.take().into_iter().chain(tokens));
                }
                seen.outcome(Decision::Forwarded(Box::new(sending)), story)
            }
            Err(stop) => stopped(stop, story),
        }
    }

    fn reset(&mut self) {
        self.held.clear();
        self.core.runtime.cells().clear();
        self.core.runtime.quotas().clear();
        *self.core.cells.borrow_mut() = CellCache::default();
    }
}

/// The outcome of a request whose next stage cannot be told.
fn not_judgeable(mut story: Story) -> Outcome {
    let stage = story.next();
    story.ends(End::NotJudgeable, Told::Nothing);
    Seen::default().outcome(Decision::NotJudgeable(stage), story)
}

/// The outcome of a request that ended early.
fn stopped(mut stop: Stop, mut story: Story) -> Outcome {
    let mut seen = Seen::of(&mut stop.shared);
    let decision = match &stop.why {
        Why::Denied(stage, denial) => {
            story.ends_in(*stage, End::Denied, Told::Reason(denial.reason));
            Decision::Refused(*stage, denial.clone())
        }
        Why::Faulted(policy, fault) => {
            story.ends_in(fault.stage, End::Faulted, Told::Nothing);
            Decision::Faulted(policy.clone(), fault.clone())
        }
        Why::Answered(_) | Why::Kept(_) => {
            story.ends(End::Answered, Told::Nothing);
            Decision::Answered
        }
    };
    let (parts, _body) = answer::settle(Err(stop)).into_parts();
    seen.status = parts.status.as_u16();
    seen.headers = parts.headers;
    seen.outcome(decision, story)
}

/// What is taken from an exchange before it ends.
#[derive(Default)]
struct Seen {
    status: u16,
    headers: HeaderMap,
    route: Option<Arc<str>>,
    consumer: Option<Arc<str>>,
    limits: Vec<LimitState>,
    waited: Duration,
    would_deny: Vec<bartizan_telemetry::WouldDeny>,
    faults: Vec<bartizan_telemetry::PassedFault>,
}

impl Seen {
    fn of(shared: &mut Shared) -> Self {
        Seen {
            status: 0,
            headers: HeaderMap::new(),
            route: shared.record.route.clone(),
            consumer: shared.record.consumer.clone(),
            limits: shared
                .rehearsing
                .as_mut()
                .map(|given| std::mem::take(&mut given.limits))
                .unwrap_or_default(),
            waited: shared.record.waited,
            would_deny: std::mem::take(&mut shared.record.would_deny),
            faults: std::mem::take(&mut shared.record.faults),
        }
    }

    fn outcome(self, decision: Decision, story: Story) -> Outcome {
        let Seen { status, headers, route, consumer, limits, waited, would_deny, faults } = self;
        let stages = story.into_stages();
        Outcome { decision, stages, status, headers, route, consumer, limits, waited, would_deny, faults }
    }
}

/// Longest time that a judge may work elsewhere: bodies are judged on other threads, everything else at once.
const PATIENCE: Duration = Duration::from_secs(10);

/// Runs to the end on this thread; `None` when it waits for what does not come.
fn finish<T>(work: impl Future<Output = T>) -> Option<T> {
    let mut work = pin!(work);
    if let Poll::Ready(done) = work.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        return Some(done);
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let until = Instant::now() + PATIENCE;
    loop {
        if let Poll::Ready(done) = work.as_mut().poll(&mut Context::from_waker(&waker)) {
            return Some(done);
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return None;
        }
        thread::park_timeout(left);
    }
}

/// Wakes the thread that waits.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

#[cfg(test)]
mod tests;
