//! Start, reload, drain, stop.

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, OnceLock, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use bartizan_config::{
    Set,
    render::{self, Style},
    snapshot::{AccessLogPlan, Snapshot},
};
use bartizan_identity::KeyTable;
use bartizan_manage::{
    Api, DocumentSource, Management, ManagementState, Tls,
    alert::{Feed, Watcher},
    notice::Sender,
};
use bartizan_model::{Reference, scalar::ByteSize};
use bartizan_proxy::{
    gate::{Candidate, Gate, GateOptions, PrepareProblem, ServedAddress},
    overload::Overload,
    rehearsal::PipelineRehearsal,
    runtime::Runtime,
};
use bartizan_store::{DataDir, GatewayLock, Revision, RevisionFile, RevisionNumber, SetDigest, Went};
use bartizan_telemetry::{
    AccessLog, Destination, FileOptions, LogOptions, Metrics, ProcessEvent, ProcessEvents, RecordOptions,
    Tap, records, tap, tap::TAP_LINES,
};

use super::{
    alerts::{Certificates, Findings, House, Standing},
    audit::{self, Auditing, Auditor},
    capture::Captures,
    desk::Desk,
    handover::{NamedPlace, Places},
    insight::{self, Insight},
    keys::{Following, Keys, chain},
    management::{self, Admin},
    memory::{self, Limit},
    notices,
    revisions::{self, Loaded, REVISION, RevisionWatch},
    rollout::{Order, RolloutWatch},
    rotation::Schedule,
    secrets,
    spending::{self, Spending},
    watch::FileWatch,
    wish::{Wish, Wishes},
};

/// Where the documents come from: there is one source of truth.
pub(crate) enum Documents {
    /// These files, watched.
    Files(Vec<PathBuf>),
    /// The active revision of the store in this data directory, followed.
    Store(DataDir),
}

/// How the process is to run.
pub(crate) struct Options {
    /// Where the documents come from.
    pub(crate) documents: Documents,
    /// The open data directory.
    pub(crate) data_dir: DataDir,
    /// Proof that no other gateway uses it.
    pub(crate) lock: GatewayLock,
    /// The open store with its keys; none where it is gone, and then every key is refused until it is back.
    pub(crate) keys: Option<Keys>,
    /// Where management listens.
    pub(crate) admin: Admin,
    /// How many cores serve.
    pub(crate) workers: usize,
    /// How long requests may finish when the process stops.
    pub(crate) drain: Duration,
    /// Where the access log goes when no document says so.
    pub(crate) access_log: Option<PathBuf>,
    /// How many requests are kept for `why` and `log`; `None` keeps none.
    pub(crate) records: Option<RecordLimits>,
    /// How often the set in force is audited; `None`: never.
    pub(crate) audit_every: Option<Duration>,
    /// Where successors of keys are left.
    pub(crate) deliver: Vec<NamedPlace>,
    /// Most memory that the process may take; `None`: what the system allows.
    pub(crate) memory: Option<ByteSize>,
}

/// How many requests are kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RecordLimits {
    /// Most bytes of all of them.
    pub(crate) bytes_max: u64,
    /// Share in percent that is kept of those in which nothing was refused and nothing failed.
    pub(crate) others_percent: u8,
}

impl Default for RecordLimits {
    fn default() -> Self {
        RecordLimits { bytes_max: 256 << 20, others_percent: 100 }
    }
}

/// Why the process could not run.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The documents are not fit to be served; the text shows why.
    Documents(String),
    /// Something outside of the documents.
    Process(String),
}

impl Failure {
    /// An error with its causes.
    pub(crate) fn of(error: &dyn std::error::Error) -> Self {
        Failure::Process(chain(error))
    }
}

/// A running gateway.
pub(crate) struct Service {
    gate: Gate,
    management: Management,
    admin: Admin,
    tls: Option<Arc<Tls>>,
    /// The link that makes the first user, where there is none.
    setup: Option<String>,
    state: Arc<ManagementState>,
    access_log: Arc<AccessLog>,
    insight: Option<Insight>,
    captures: Option<Captures>,
    source: Source,
    log_plan: AccessLogPlan,
    drain: Duration,
    data_dir: DataDir,
    following: Option<Following>,
    schedule: Option<Schedule>,
    sender: Option<Sender>,
    watcher: Option<Watcher>,
    happened: ProcessEvents,
    findings: Findings,
    auditor: Option<Auditor>,
    /// With a store: the rollout that is under way.
    rollout: Option<RolloutWatch>,
    /// The candidate that was prepared last.
    candidate: Option<(RevisionNumber, Candidate)>,
    spending: Option<Spending>,
    wishes: Wishes,
    _lock: GatewayLock,
}

/// What is watched for changes of the documents.
enum Source {
    Files {
        config: Vec<PathBuf>,
        digest: String,
        /// What serves, for management to show.
        set: Arc<Set>,
        /// Of the files that the documents in force name.
        secrets: [u8; 32],
        watch: notify::Result<FileWatch>,
    },
    Store {
        revisions: RevisionWatch,
        /// Of the files that the documents in force name.
        secrets: [u8; 32],
        watch: notify::Result<FileWatch>,
    },
}

impl Source {
    /// What serves, where it comes from files.
    fn set(&self) -> Option<Arc<Set>> {
        match self {
            Source::Files { set, .. } => Some(Arc::clone(set)),
            Source::Store { .. } => None,
        }
    }
}

/// The set to begin with.
struct First {
    snapshot: Arc<Snapshot>,
    /// What an audit of it finds.
    findings: Vec<String>,
    /// Which revision it is, where it is one.
    revision: Option<(RevisionNumber, SetDigest, Vec<RevisionFile>)>,
    /// Whether it is what the data directory kept and not what the store has.
    is_kept: bool,
    source: Source,
}

impl Service {
    /// Starts a gateway. It serves when this returns; `None` where it was told to stop before there was anything to
    /// serve. `waiting` is told where the management listener is, should there be nothing to serve yet.
    pub(crate) fn start(
        options: Options,
        waiting: impl Fn(SocketAddr, Option<&str>),
    ) -> Result<Option<Self>, Failure> {
        let Options {
            documents,
            data_dir,
            lock,
            keys,
            admin,
            workers,
            drain,
            access_log,
            records,
            audit_every,
            deliver,
            memory,
        } = options;
        let places = Places::open(deliver).map_err(Failure::Process)?;
        let limit = Limit::find(memory);
        if let Some(limit) = &limit {
            limit.refuse_too_little()?;
        }
        // Before anybody can be told that the gateway is ready: a signal is for us then, not for the process's default.
        let wishes = Wishes::listen().map_err(|error| Failure::Process(format!("no signals: {error}")))?;
        let metrics = Metrics::new(env!("CARGO_PKG_VERSION"), SystemTime::now());
        let data_plane: Arc<OnceLock<Arc<Runtime>>> = Arc::default();
        let overload: Arc<Overload> = Arc::default();
        let audited = match &documents {
            Documents::Files(paths) => audit::Place::Files(paths.clone()),
            Documents::Store(_) => audit::Place::Kept,
        };
        let (store_dir, source) = match &documents {
            Documents::Store(dir) => (dir.clone(), DocumentSource::Store),
            Documents::Files(_) => (data_dir.clone(), DocumentSource::Files),
        };
        let api = Api::new(store_dir.clone(), source, Arc::new(PipelineRehearsal));
        // Files are read before anything is bound; a store may have nothing yet, and management tells so.
        let files = match documents {
            Documents::Files(config) => Some(first_of_files(config, &wishes)?),
            Documents::Store(_) => None,
        };
        let tls = admin.tls()?;
        let listener = management::bind(admin.address)?;
        let no_listener =
            |error| Failure::Process(format!("the management listener cannot be started: {error}"));
        let bound = listener.local_addr().map_err(no_listener)?;
        let newest = insight::Newest::default();
        let folder = records.map(|_| data_dir.path().join(records::FOLDER));
        let mut state = management::state(
            metrics.clone(),
            (data_plane.clone(), overload.clone()),
            api,
            admin.names(),
            folder,
        );
        let told = newest.clone();
        state.insight = Some(Box::new(move || told.lock().unwrap_or_else(PoisonError::into_inner).clone()));
        state.openid = admin.openid(bound, &metrics)?;
        let state = Arc::new(state);
        // Before it answers anybody: who may come from elsewhere must be there already.
        let setup = management::settle(&admin, bound, keys.as_ref())?;
        let management = Management::serve(listener, state.clone(), tls.clone()).map_err(no_listener)?;
        let first = match files {
            Some(first) => Some(first),
            None => {
                let tell = || waiting(management.address(), setup.as_deref());
                first_of_store(&store_dir, &data_dir, &wishes, &state, tell)?
            }
        };
        let (events, watching) = Feed::new();
        let found = Findings::default();
        let Some(First { snapshot, findings, revision, is_kept, source }) = first else { return Ok(None) };
        let log_plan = snapshot.access_log.clone();
        let (tap, lines) = tap(TAP_LINES);
        let log = start_log(&log_plan, &data_dir, access_log, records, tap, &events)?;
        metrics.watch_log(log.counters());
        let quotas = spending::remembered(&store_dir);
        let session_keys = data_dir.session_keys(&lock).map_err(|error| Failure::of(&error))?;
        let gate_options = |keys: Option<&Keys>| GateOptions {
            overload: overload.clone(),
            quotas: quotas.clone(),
            cores: workers,
            lock_dir: Some(data_dir.path().to_path_buf()),
            metrics: metrics.clone(),
            access_log: Some(log.clone()),
            pepper: keys.map(|keys| keys.pepper.clone()),
            keys: keys.map_or_else(|| Arc::new(KeyTable::empty()), |keys| keys.table.clone()),
            read_secret: Box::new(secrets::read),
            session_keys: Some(Reference::File(session_keys.clone())),
            grace: drain,
        };
        let id = snapshot.revision.id.clone();
        let (gate, served) = match Gate::start(snapshot, gate_options(keys.as_ref())) {
            Ok(gate) => (gate, revision),
            Err(problems) => {
                let (Source::Store { revisions: watch, .. }, Some((number, digest, _)), false) =
                    (&source, &revision, is_kept)
                else {
                    return Err(Failure::Process(shown(&problems)));
                };
                let text = shown(&problems);
                watch.tell(*number, Went::Failed, &text);
                let kept = kept_instead(&data_dir, *number, *digest, &text, &state)?;
                let revision = (kept.number, kept.digest, kept.files);
                let gate = Gate::start(kept.snapshot, gate_options(keys.as_ref()))
                    .map_err(|problems| Failure::Process(shown(&problems)))?;
                (gate, Some(revision))
            }
        };
        memory::tell(limit.as_ref(), &gate.worst_case());
        memory::watch(&overload, limit)
            .map_err(|error| Failure::Process(format!("memory cannot be watched: {error}")))?;
        // A handle that was set before would be that of a gateway before this one; there is none.
        let _ = data_plane.set(gate.runtime().clone());
        metrics.config_applied(&id, SystemTime::now());
        let following = match keys {
            Some(keys) => keys.follow(gate.runtime().clone()),
            None => Following::once_back(store_dir.clone(), gate.runtime().clone()),
        }
        .map_err(|error| Failure::Process(format!("the keys cannot be followed: {error}")))?;
        let happened = ProcessEvents::default();
        found.set(findings);
        // Before anybody tells anything.
        let heard = happened.follow();
        let auditor = audit_every
            .map(|every| {
                Auditor::start(Auditing {
                    place: audited,
                    data_dir: data_dir.clone(),
                    store: store_dir.clone(),
                    data_plane: gate.runtime().clone(),
                    metrics: metrics.clone(),
                    events: happened.clone(),
                    grave: found.clone(),
                    every,
                })
            })
            .transpose()
            .map_err(|error| Failure::Process(format!("the set cannot be audited: {error}")))?;
        let rollout = match &source {
            Source::Store { .. } => Some(RolloutWatch::start(
                store_dir.clone(),
                &data_dir,
                gate.runtime().clone(),
                happened.clone(),
                wishes.sender(),
            )),
            Source::Files { .. } => None,
        };
        let rollout = rollout
            .transpose()
            .map_err(|error| Failure::Process(format!("rollouts cannot be followed: {error}")))?;
        let standing = Standing::default();
        let house = House {
            data_plane: gate.runtime().clone(),
            findings: found.clone(),
            keys: standing.clone(),
            certificates: Certificates::default(),
        };
        let watcher = Watcher::start(store_dir.clone(), &events, watching, heard, house)
            .map_err(|error| Failure::Process(format!("nothing can be watched: {error}")))?;
        let desk = Desk::open(store_dir.clone(), gate.runtime())
            .map_err(|error| Failure::Process(format!("owners of keys cannot be served: {error}")))?;
        gate.runtime().set_desk(desk);
        let channels = notices::channels(&gate.runtime().live().snapshot).map_err(Failure::Process)?;
        let sender = notices::start(store_dir.clone(), gate.runtime(), channels)
            .map_err(|error| Failure::Process(format!("notices cannot be sent: {error}")))?;
        let captures = Captures::start(data_dir.path().to_path_buf(), log.clone())
            .map_err(|error| Failure::Process(format!("captures cannot be taken: {error}")))?;
        let spending = Spending::start(store_dir.clone(), gate.runtime().clone())
            .map_err(|error| Failure::Process(format!("what is used cannot be followed: {error}")))?;
        let insight = Insight::start(insight::Given {
            lines,
            data_dir: data_dir.clone(),
            store: store_dir.clone(),
            data_plane: gate.runtime().clone(),
            metrics: metrics.clone(),
            learns_from_store: records.is_some_and(|limits| limits.others_percent == 100),
            newest,
        })
        .map_err(|error| Failure::Process(format!("nobody can look for unusual behaviour: {error}")))?;
        if state.notices.all().contains_key(REVISION) {
            // It was refused before anybody could hear it.
            happened.tell(&ProcessEvent::ReloadFailed { revision: "".into() });
        }
        let schedule = Schedule::start(store_dir, gate.runtime().clone(), places, standing)
            .map_err(|error| Failure::Process(format!("the lives of keys cannot be followed: {error}")))?;
        if let (Source::Store { revisions: watch, .. }, Some((number, digest, files)), false) =
            (&source, served, is_kept)
            && !state.notices.all().contains_key(REVISION)
        {
            watch.tell(number, Went::Live, "");
            revisions::keep(&data_dir, number, digest, files, &state);
        }
        state.served.set(management::serving(source.set(), &gate.addresses()));
        state.readiness.set_ready();
        let following = Some(following);
        Ok(Some(Service {
            gate,
            management,
            admin,
            tls,
            setup,
            state,
            access_log: log,
            insight: Some(insight),
            captures: Some(captures),
            source,
            log_plan,
            drain,
            data_dir,
            following,
            schedule: Some(schedule),
            sender,
            watcher: Some(watcher),
            happened,
            findings: found,
            auditor,
            rollout,
            candidate: None,
            spending: Some(spending),
            wishes,
            _lock: lock,
        }))
    }

    /// Every address that is served.
    pub(crate) fn addresses(&self) -> Vec<ServedAddress> {
        self.gate.addresses()
    }

    /// The first address of a listener.
    pub(crate) fn address_of(&self, listener: &str) -> Option<SocketAddr> {
        self.addresses().into_iter().find(|served| *served.listener == *listener).map(|served| served.address)
    }

    /// Where a browser finds management.
    pub(crate) fn admin_url(&self) -> String {
        self.admin.url(self.management.address())
    }

    /// The link that makes the first user; none where there is one.
    pub(crate) fn setup_link(&self) -> Option<&str> {
        self.setup.as_deref()
    }

    /// The management listener's address.
    pub(crate) fn admin(&self) -> SocketAddr {
        self.management.address()
    }

    /// Serves until a signal ends it: SIGHUP and changed files reload, SIGTERM and SIGINT drain, a second one ends at
    /// once.
    pub(crate) fn serve(mut self) -> Result<(), Failure> {
        if let Source::Files { watch: Err(error), .. } | Source::Store { watch: Err(error), .. } =
            &self.source
        {
            tracing::warn!(%error, "files cannot be watched; reload with SIGHUP");
        }
        loop {
            match self.wishes.next() {
                Wish::FilesChanged => self.reload(false),
                Wish::Revision => self.take_up(),
                Wish::Rollout => self.try_out(),
                Wish::Reload => {
                    self.access_log.reopen();
                    self.renew_admin();
                    self.reload(true);
                }
                Wish::Stop => break,
            }
        }
        self.stop();
        Ok(())
    }

    /// Reads the certificate of management again; one that cannot be used leaves the one before.
    fn renew_admin(&self) {
        let Some(tls) = &self.tls else { return };
        match self.admin.renew(tls) {
            Ok(()) => tracing::info!("the certificate of management was read again"),
            Err(Failure::Documents(text) | Failure::Process(text)) => {
                tracing::error!("the certificate of management stays as it was\n{text}");
            }
        }
    }

    /// Reads the files again and puts them into force, whole or not at all.
    fn reload(&mut self, asked: bool) {
        let Source::Files { config, digest: in_force, secrets: secrets_in_force, watch, .. } =
            &mut self.source
        else {
            return self.prepare_again(asked);
        };
        let (snapshot, set) = match load(config) {
            Ok(loaded) => loaded,
            Err(Failure::Documents(text) | Failure::Process(text)) => {
                self.refused("");
                tracing::error!("the changed documents are refused; the set in force stays\n{text}");
                return;
            }
        };
        let secrets = look_at_secrets(&snapshot, watch);
        let digest = set.digest.clone();
        if digest == *in_force && secrets == *secrets_in_force && !asked {
            return;
        }
        let findings = Findings::of(&set.documents, &snapshot);
        match self.publish(snapshot, findings) {
            Ok(revision) => {
                if let Source::Files { digest: in_force, secrets: secrets_in_force, set: serving, .. } =
                    &mut self.source
                {
                    (*in_force, *secrets_in_force, *serving) = (digest, secrets, Arc::new(set));
                }
                self.tell_what_serves();
                tracing::info!(%revision, "the changed documents are in force");
            }
            Err(text) => {
                tracing::error!("the changed documents are refused; the set in force stays\n{text}");
            }
        }
    }

    /// Prepares the revision in force once more, for certificates and secrets that have changed on the disk. Revisions
    /// themselves come without being asked for.
    fn prepare_again(&mut self, asked: bool) {
        if let Source::Store { secrets, watch, .. } = &mut self.source {
            let found = look_at_secrets(&self.gate.runtime().live().snapshot, watch);
            if std::mem::replace(secrets, found) == found && !asked {
                return;
            }
        }
        let id = self.gate.runtime().live().snapshot.revision.id.clone();
        let kept = revisions::last_good(&self.data_dir).filter(|kept| kept.digest.short() == *id);
        let Some(kept) = kept else {
            tracing::error!("the revision in force was not kept, so it cannot be prepared again");
            return;
        };
        let published = revisions::load(kept.number, kept.digest, kept.files)
            .inspect_err(|_| self.refused(&id))
            .and_then(|loaded| self.publish(loaded.snapshot, loaded.findings));
        match published {
            Ok(revision) => tracing::info!(%revision, "the revision was prepared again"),
            Err(text) => {
                tracing::error!("the revision could not be prepared again; what it read before stays\n{text}")
            }
        }
    }

    /// Puts the newest revision into force, whole or not at all, and says how it went.
    fn take_up(&mut self) {
        let Source::Store { revisions: watch, .. } = &self.source else { return };
        let Some(revision) = watch.take() else { return };
        let (number, digest) = (revision.row.number, revision.row.digest);
        let tag = revisions::tag(number, digest);
        let loaded = revisions::load(number, digest, revision.files).inspect_err(|_| self.refused(&tag));
        let published = loaded.and_then(|loaded| {
            let files = loaded.files;
            self.publish(loaded.snapshot, loaded.findings).map(|_| files)
        });
        let Source::Store { revisions: watch, .. } = &self.source else { return };
        match published {
            Ok(files) => {
                watch.tell(number, Went::Live, "");
                revisions::keep(&self.data_dir, number, digest, files, &self.state);
                self.tell_what_serves();
                self.state.notices.clear(REVISION);
                self.state.notices.clear(KEPT);
                tracing::info!(revision = %tag, "the revision is in force");
            }
            Err(text) => {
                watch.tell(number, Went::Failed, &text);
                self.state.notices.set(REVISION, format!("revision {tag} failed; the one before it serves"));
                tracing::error!(revision = %tag, "the revision is refused; the set in force stays\n{text}");
            }
        }
    }

    /// Begins or ends the trial of a candidate, and says how it went.
    fn try_out(&mut self) {
        let Some(order) = self.rollout.as_ref().and_then(RolloutWatch::take) else { return };
        let answer = match order {
            Order::End => {
                self.gate.end_trial();
                self.candidate = None;
                Ok(None)
            }
            Order::Try(revision, options) => self.candidate_of(*revision).map(|()| {
                let candidate = self.candidate.as_ref();
                candidate.map(|(_, candidate)| self.gate.begin_trial(candidate, options))
            }),
        };
        if let Some(rollout) = &self.rollout {
            rollout.answer(answer);
        }
    }

    /// Prepares a candidate, unless it is the one that was prepared last.
    fn candidate_of(&mut self, revision: Revision) -> Result<(), String> {
        let (number, digest) = (revision.row.number, revision.row.digest);
        if self.candidate.as_ref().is_some_and(|(known, _)| *known == number) {
            return Ok(());
        }
        let loaded = revisions::load(number, digest, revision.files)?;
        let candidate = self.gate.try_out(loaded.snapshot).map_err(|problems| shown(&problems))?;
        self.candidate = Some((number, candidate));
        Ok(())
    }

    /// Prepares and publishes a snapshot; the error is every reason why it cannot be.
    fn publish(&mut self, snapshot: Arc<Snapshot>, findings: Vec<String>) -> Result<Arc<str>, String> {
        if snapshot.access_log != self.log_plan {
            tracing::warn!("the access log's destination changes with the next start only");
        }
        let revision = snapshot.revision.id.clone();
        let channels = notices::channels(&snapshot).inspect_err(|_| self.refused(&revision))?;
        if let Source::Store { secrets, watch, .. } = &mut self.source {
            // Before they are read: a change between is then a change to the next look.
            *secrets = look_at_secrets(&snapshot, watch);
        }
        match self.gate.reload(snapshot) {
            Ok(()) => {
                self.findings.set(findings);
                if let Some(sender) = &self.sender {
                    sender.use_channels(channels);
                }
                self.state.metrics.config_applied(&revision, SystemTime::now());
                Ok(revision)
            }
            Err(problems) => {
                self.refused(&revision);
                Err(shown(&problems))
            }
        }
    }

    /// Counts and tells that a change was refused.
    fn refused(&self, revision: &str) {
        self.state.metrics.config_refused();
        self.happened.tell(&ProcessEvent::ReloadFailed { revision: revision.into() });
    }

    fn tell_what_serves(&self) {
        self.state.served.set(management::serving(self.source.set(), &self.gate.addresses()));
    }

    fn stop(mut self) {
        self.state.readiness.set_draining();
        tracing::info!(seconds = self.drain.as_secs(), "draining; a second signal ends at once");
        self.gate.drain(self.drain);
        let deadline = Instant::now() + self.drain + Duration::from_secs(1);
        while !self.gate.is_finished() && Instant::now() < deadline {
            if self.wishes.stop_again(Duration::from_millis(20)) {
                break;
            }
        }
        self.gate.stop();
        drop(self.rollout.take());
        drop(self.auditor.take());
        drop(self.schedule.take());
        drop(self.watcher.take());
        drop(self.sender.take());
        // The cores have ended, so everything is settled.
        drop(self.spending.take());
        drop(self.following.take());
        drop(self.captures.take());
        // The cores have ended, so every record is on its way; one second is enough for a disk that works.
        if self.access_log.stop(Duration::from_secs(1)) == bartizan_telemetry::Flushed::TimedOut {
            tracing::warn!("the access log could not be written in time");
        }
        drop(self.insight.take());
        self.management.stop(Duration::from_millis(200));
        tracing::info!("stopped");
    }
}

fn first_of_files(config: Vec<PathBuf>, wishes: &Wishes) -> Result<First, Failure> {
    // Watched before the files are read, so that no change between is missed.
    let mut watch = FileWatch::start(&config, wishes.sender());
    let (snapshot, set) = load(&config)?;
    // Before they are read: a change between is then a change to the next look.
    let secrets = look_at_secrets(&snapshot, &mut watch);
    let findings = Findings::of(&set.documents, &snapshot);
    let source = Source::Files { config, digest: set.digest.clone(), set: Arc::new(set), secrets, watch };
    Ok(First { snapshot, findings, revision: None, is_kept: false, source })
}

/// Watches the files that a snapshot is read from beside its documents, and tells their content apart.
fn look_at_secrets(snapshot: &Snapshot, watch: &mut notify::Result<FileWatch>) -> [u8; 32] {
    let named = secrets::files(snapshot);
    if let Ok(watch) = watch {
        // The content of rule files is part of the set's digest already.
        watch.follow(named.iter().copied().chain(snapshot.rule_files.iter().map(PathBuf::as_path)));
    }
    secrets::fingerprint(&named)
}

/// The active revision of the store; where that is gone or cannot be served, what the data directory kept. Where there
/// is neither, waits for the first revision; `None` where a signal ended that.
fn first_of_store(
    store_dir: &DataDir,
    data_dir: &DataDir,
    wishes: &Wishes,
    state: &Arc<ManagementState>,
    tell: impl Fn(),
) -> Result<Option<First>, Failure> {
    let watch = RevisionWatch::start(store_dir.clone(), wishes.sender(), state.clone())
        .map_err(|error| Failure::Process(format!("the revisions cannot be followed: {error}")))?;
    let mut kept = revisions::last_good(data_dir);
    let mut waited = Instant::now() + STORE_PATIENCE;
    let mut told = false;
    loop {
        match wishes.within(Duration::from_millis(50)) {
            Some(Wish::Stop) => return Ok(None),
            Some(Wish::Revision) => {
                let Some(revision) = watch.take() else { continue };
                let (number, digest) = (revision.row.number, revision.row.digest);
                match revisions::load(number, digest, revision.files) {
                    Ok(loaded) => {
                        state.notices.clear(REVISION);
                        return Ok(Some(first(loaded, false, watch, wishes)));
                    }
                    Err(text) => {
                        watch.tell(number, Went::Failed, &text);
                        tracing::error!(revision = %revisions::tag(number, digest), "the revision is refused\n{text}");
                        state
                            .notices
                            .set(REVISION, format!("revision {} failed", revisions::tag(number, digest)));
                        // What was kept serves at once: nothing better is to come.
                        waited = Instant::now();
                    }
                }
            }
            _ => {}
        }
        if Instant::now() < waited {
            continue;
        }
        if let Some(found) = kept.take() {
            let tag = revisions::tag(found.number, found.digest);
            match revisions::load(found.number, found.digest, found.files) {
                Ok(loaded) => {
                    tracing::error!(revision = %tag, "serving the last good revision from the data directory");
                    state
                        .notices
                        .set(KEPT, format!("revision {tag} serves as it was kept in the data directory"));
                    return Ok(Some(first(loaded, true, watch, wishes)));
                }
                Err(text) => {
                    tracing::error!(revision = %tag, "the last good revision cannot be served\n{text}")
                }
            }
        } else if !told {
            told = true;
            tracing::warn!("there is no revision to serve; waiting for one (`bartizan apply`)");
            tell();
        }
    }
}

fn first(loaded: Loaded, is_kept: bool, revisions: RevisionWatch, wishes: &Wishes) -> First {
    let Loaded { number, digest, files, snapshot, findings } = loaded;
    // No files of the set's own, only those that its documents name.
    let mut watch = FileWatch::start(&[], wishes.sender());
    let secrets = look_at_secrets(&snapshot, &mut watch);
    let source = Source::Store { revisions, secrets, watch };
    First { snapshot, findings, revision: Some((number, digest, files)), is_kept, source }
}

/// What the data directory kept, instead of an active revision that could not be prepared.
fn kept_instead(
    data_dir: &DataDir,
    number: RevisionNumber,
    digest: SetDigest,
    text: &str,
    state: &ManagementState,
) -> Result<Loaded, Failure> {
    let failed = revisions::tag(number, digest);
    tracing::error!(revision = %failed, "the active revision cannot be served\n{text}");
    let kept = revisions::last_good(data_dir).filter(|kept| kept.digest != digest);
    let Some(kept) = kept else { return Err(Failure::Process(text.to_owned())) };
    let loaded = revisions::load(kept.number, kept.digest, kept.files).map_err(Failure::Documents)?;
    state
        .notices
        .set(REVISION, format!("revision {failed} failed; the last good one, {}, serves", loaded.tag()));
    tracing::error!(revision = %loaded.tag(), "serving the last good revision from the data directory");
    Ok(loaded)
}

/// How long a start waits for the store before it serves what was kept.
const STORE_PATIENCE: Duration = Duration::from_secs(2);
/// The matter of the notice that the kept revision serves.
const KEPT: &str = "kept";

/// Reads and compiles the set. A set without a listener or a route can be checked, but an empty gate is never served.
fn load(config: &[PathBuf]) -> Result<(Arc<Snapshot>, Set), Failure> {
    let set = Set::open(config).map_err(|error| Failure::Process(chain(&error)))?;
    let text = || render::text(&set.compiled.problems, &set.sources, Style::Plain);
    let Some(snapshot) = set.compiled.snapshot.clone() else {
        return Err(Failure::Documents(text()));
    };
    if snapshot.listeners.is_empty() || snapshot.routes.is_empty() {
        return Err(Failure::Documents(format!(
            "{}the set has no Listener or no Route: there is nothing to serve, and an empty set never goes live\n",
            text()
        )));
    }
    Ok((snapshot, set))
}

fn start_log(
    plan: &AccessLogPlan,
    data_dir: &DataDir,
    default: Option<PathBuf>,
    records: Option<RecordLimits>,
    tap: Tap,
    events: &Feed,
) -> Result<Arc<AccessLog>, Failure> {
    let destination = match (plan, default) {
        (AccessLogPlan::File { path, max_bytes, keep }, _) => Destination::File(FileOptions {
            path: data_dir.path().join(path),
            bytes_max: *max_bytes,
            keep: *keep,
        }),
        (AccessLogPlan::Stdout, Some(path)) => {
            Destination::File(FileOptions { path, bytes_max: 100 << 20, keep: 5 })
        }
        (AccessLogPlan::Stdout, None) => Destination::Stdout,
    };
    let folder = data_dir.path().join(records::FOLDER);
    let records = records.map(|limits| RecordOptions {
        bytes_max: limits.bytes_max,
        others_percent: limits.others_percent,
        ..RecordOptions::new(folder)
    });
    let watch = Some(events.watch());
    AccessLog::start(LogOptions { records, tap: Some(tap), watch, ..LogOptions::new(destination) })
        .map(Arc::new)
        .map_err(|error| Failure::Process(format!("the access log cannot be started: {}", chain(&error))))
}

fn shown(problems: &[PrepareProblem]) -> String {
    problems.iter().map(|problem| format!("{}: {}\n", problem.document, problem.message)).collect()
}
