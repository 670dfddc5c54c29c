//! One core of the data plane: its connections upstream, its counters, its end of the log ring.
//!
//! Everything here belongs to one thread. What cores share lives in [`Runtime`].

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    future::Future,
    rc::Rc,
    sync::{Arc, Mutex, Weak},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use arc_swap::Cache;
use bartizan_config::rollout::Tally;
use bartizan_identity::jwt::{KeyRing, TokenCache};
use bartizan_limit::CellCache;
use bartizan_message::{AuthorityMemo, RequestId};
use bartizan_telemetry::{CoreMetrics, Protocol, Recorder, RequestRecord};
use http::{Request, Response, Version};
use http_body::Body as _;
use hyper::body::Incoming;

use crate::{
    answer::AnswerBody,
    body::{HELD_BYTES_MAX, HeldBytes, Inbound, RequestBody},
    capture,
    exchange::{Dress, Exchange, Received, Shared},
    listener::{ConnectionFacts, Serve},
    live::Live,
    overload::CoreGauge,
    pipeline,
    random::Random,
    rehearsal::Rehearsing,
    runtime::{Current, Runtime},
    stage::{CallerMemo, OpenRecord, SessionMemo},
    trial::{Assigned, Trial},
    upstream::{CorePools, Governor},
};
use bartizan_fetch::keys::CurrentRing;

/// How many limit cells a core remembers by itself: hot callers are found without the shared map.
const CELL_CACHE: usize = 1_024;

/// How long the monotonic clock stands in for the system's: a step of the latter shows within this time.
const CLOCK_TRUSTED: Duration = Duration::from_secs(1);

/// A trial, and the counts of one core.
type TrialCounts = (Weak<Trial>, Arc<Mutex<Tally>>);

/// One core.
pub struct Core {
    pub(crate) runtime: Arc<Runtime>,
    live: RefCell<Cache<Current, Arc<Live>>>,
    pub(crate) pools: Rc<CorePools<RequestBody>>,
    pub(crate) metrics: CoreMetrics,
    pub(crate) recorder: Option<Recorder>,
    pub(crate) cells: RefCell<CellCache>,
    /// The host asked for last.
    pub(crate) authority: RefCell<AuthorityMemo>,
    /// How hard it is pressed.
    pub(crate) gauge: Arc<CoreGauge>,
    /// Room for bodies that are held until they are judged.
    pub(crate) held: HeldBytes,
    /// Shared by every exchange that an inspection watches, so that they are counted.
    pub(crate) watched: Rc<()>,
    /// Shared by every refresh of a kept answer, so that they are counted.
    pub(crate) refreshing: Rc<()>,
    /// Shared by every copy of a request, so that they are counted.
    pub(crate) mirroring: Rc<()>,
    /// What UpstreamPolicies have under way; the process's, known here without its lock.
    governors: RefCell<HashMap<Arc<str>, Arc<Governor>>>,
    random: Random,
    keys: RefCell<Cache<crate::runtime::CurrentKeys, Arc<bartizan_identity::KeyTable>>>,
    ring: RefCell<Cache<CurrentRing, Arc<KeyRing>>>,
    /// Tokens judged before; made when the first one comes.
    pub(crate) tokens: RefCell<Option<TokenCache>>,
    /// What they meant.
    pub(crate) callers: RefCell<CallerMemo>,
    /// This core's counts of the trial that it served last.
    trial: RefCell<Option<TrialCounts>>,
    /// Sessions opened before.
    pub(crate) sessions: RefCell<SessionMemo>,
    served: Cell<u64>,
    /// When the system's clock was last read, and what it said in nanoseconds since 1970; 0 before the first time.
    read_clock: Cell<(Instant, u64)>,
}

impl Core {
    /// A core on the current thread.
    pub fn new(
        runtime: Arc<Runtime>,
        recorder: Option<Recorder>,
        gauge: Arc<CoreGauge>,
        seed: [u64; 2],
    ) -> Self {
        let random = Random::new(seed);
        Core {
            live: RefCell::new(Cache::new(runtime.current())),
            keys: RefCell::new(Cache::new(runtime.current_keys())),
            ring: RefCell::new(Cache::new(
                runtime.outside().map_or_else(CurrentRing::default, |outside| outside.key_sets.current()),
            )),
            tokens: RefCell::default(),
            callers: RefCell::default(),
            sessions: RefCell::default(),
            pools: CorePools::new(random.next()),
            metrics: runtime.metrics().core(),
            recorder,
            cells: RefCell::new(CellCache::new(CELL_CACHE)),
            authority: RefCell::default(),
            gauge,
            held: HeldBytes::of(HELD_BYTES_MAX),
            watched: Rc::new(()),
            refreshing: Rc::new(()),
            mirroring: Rc::new(()),
            governors: RefCell::default(),
            random,
            trial: RefCell::default(),
            served: Cell::new(0),
            read_clock: Cell::new((Instant::now(), 0)),
            runtime,
        }
    }

    /// The connections upstream.
    pub(crate) fn pools(&self) -> &Rc<CorePools<RequestBody>> {
        &self.pools
    }

    /// The snapshot that a request which begins now is judged by.
    pub(crate) fn live(&self) -> Arc<Live> {
        self.live.borrow_mut().load().clone()
    }

    /// The API keys as they are now.
    pub(crate) fn keys(&self) -> Arc<bartizan_identity::KeyTable> {
        self.keys.borrow_mut().load().clone()
    }

    /// The key sets of issuers as they are now.
    pub(crate) fn ring(&self) -> Arc<KeyRing> {
        self.ring.borrow_mut().load().clone()
    }

    /// What an UpstreamPolicy has under way.
    pub(crate) fn governor(&self, label: &Arc<str>) -> Arc<Governor> {
        if let Some(governor) = self.governors.borrow().get(label) {
            return governor.clone();
        }
        let governor = self.runtime.governor(label);
        self.governors.borrow_mut().insert(label.clone(), governor.clone());
        governor
    }

    /// A number that nobody has to be unable to guess: ids, shares of traffic.
    pub(crate) fn draw(&self) -> u64 {
        self.random.next()
    }

    /// Counts what came of a request in a trial, in this core's own table.
    pub(crate) fn settle(&self, assigned: Assigned, record: &RequestRecord) {
        let mut own = self.trial.borrow_mut();
        let trial = assigned.trial();
        let counts = match &*own {
            Some((of, counts)) if of.as_ptr() == Arc::as_ptr(trial) => counts.clone(),
            _ => {
                let counts = trial.counts_of_a_core();
                *own = Some((Arc::downgrade(trial), counts.clone()));
                counts
            }
        };
        assigned.settle(record, &counts);
    }

    /// Counts a record that is complete and hands it to the log.
    pub(crate) fn close(&self, record: Box<RequestRecord>) {
        self.metrics.close(&record);
        if let Some(recorder) = &self.recorder {
            recorder.submit(record);
        }
    }

    /// Requests served so far.
    pub fn served(&self) -> u64 {
        self.served.get()
    }

    fn receive(
        self: Rc<Self>,
        connection: Rc<ConnectionFacts>,
        request: Request<Incoming>,
    ) -> Exchange<Received> {
        let started = Instant::now();
        let unix_nanos = self.unix_nanos(started);
        self.open(connection, request.map(Inbound::Wire), (started, unix_nanos), None)
    }

    /// Opens the exchange of a request whose head was complete at this instant and unix time in nanoseconds.
    pub(crate) fn open(
        self: Rc<Self>,
        connection: Rc<ConnectionFacts>,
        request: Request<Inbound>,
        (started, unix_nanos): (Instant, u64),
        rehearsing: Option<Box<Rehearsing>>,
    ) -> Exchange<Received> {
        let mut live = self.live();
        // Chosen once: what it is judged by from here on is the one set or the other.
        let assigned = live.trial.as_ref().map(|trial| trial.assign(&live, &connection, &request));
        if let Some(assigned) = assigned.as_ref().filter(|assigned| assigned.is_candidate()) {
            live = assigned.trial().candidate().clone();
        }
        let listener = live.listener_index(&connection.listener.name);
        let protocol = match request.version() {
            Version::HTTP_2 => Protocol::Http2,
            Version::HTTP_10 => Protocol::Http10,
            _ => Protocol::Http11,
        };
        let plan = live.snapshot.record.clone();
        let mut record = match &self.recorder {
            Some(recorder) => recorder.open(unix_nanos, started, connection.client, protocol, plan),
            None => RequestRecord::open(unix_nanos, started, connection.client, protocol, plan),
        };
        record.tls = connection.tls.as_ref().map(|tls| tls.version);
        record.method = request.method().clone();
        record.listener_id = live.listener_id(listener);
        let random = (u128::from(self.draw()) << 64) | u128::from(self.draw());
        let id = RequestId::accept(request.headers(), random);
        let id_value = id.to_header_value();
        if live.logs {
            record.set_id(id.as_str());
            record.listener = Some(connection.listener.name.clone());
            record.revision = Some(live.snapshot.revision.id.clone());
        }
        let mut request = request;
        let mut assigned = assigned;
        if rehearsing.is_none()
            && let Some(recorder) = self.recorder.as_ref().filter(|recorder| recorder.samples(|| self.draw()))
        {
            let mut note = capture::note(&live, &self.runtime, &connection, &request, started);
            note.body = recorder.body().filter(|_| !request.body().is_end_stream());
            record.capture = Some(note);
        }
        let taken = record.capture.as_ref().and_then(|note| note.body.clone());
        // One copy serves both who ask for one.
        if let Some(tap) = assigned.as_mut().and_then(|assigned| assigned.body(taken.clone())).or(taken) {
            request = request.map(|body| body.copied(tap));
        }
        self.served.set(self.served.get().wrapping_add(1));
        let record = OpenRecord::new(Rc::clone(&self), record, assigned);
        let share = Cell::new(rehearsing.as_ref().and_then(|given| given.share));
        let shared = Box::new(Shared {
            core: self,
            live,
            listener,
            connection,
            record,
            id,
            id_value,
            dress: Dress::default(),
            reservation: None,
            permit: None,
            share,
            rehearsing,
        });
        Exchange { shared, proof: Received { request: Box::new(request) } }
    }

    /// The time of day at `now`. The system's clock is read once a second; between, the monotonic one goes on from
    /// there, so that a request costs one reading of a clock and not two.
    fn unix_nanos(&self, now: Instant) -> u64 {
        let (read_at, unix) = self.read_clock.get();
        let since = now.saturating_duration_since(read_at);
        if unix != 0 && since < CLOCK_TRUSTED {
            return unix.saturating_add(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX));
        }
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let unix = u64::try_from(unix.as_nanos()).unwrap_or(u64::MAX);
        self.read_clock.set((now, unix));
        unix
    }
}

impl Serve for Core {
    type Body = AnswerBody;

    fn serve(
        self: Rc<Self>,
        connection: Rc<ConnectionFacts>,
        request: Request<Incoming>,
    ) -> impl Future<Output = Response<AnswerBody>> + 'static {
        // hyper moves a request's future about before it polls it: a pointer is cheaper to move than the whole.
        Box::pin(pipeline::serve(self.receive(connection, request)))
    }
}
