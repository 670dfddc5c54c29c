//! The start of a gateway, in the order in which one thing needs the other.

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, OnceLock, PoisonError},
    time::SystemTime,
};

use bartizan_config::snapshot::AccessLogPlan;
use bartizan_identity::KeyTable;
use bartizan_manage::{Api, DocumentSource, Management, alert::Feed};
use bartizan_model::Reference;
use bartizan_proxy::{
    gate::{Gate, GateOptions},
    overload::Overload,
    rehearsal::PipelineRehearsal,
    runtime::Runtime,
};
use bartizan_store::{DataDir, Went};
use bartizan_telemetry::{
    AccessLog, Destination, FileOptions, LogOptions, Metrics, ProcessEvent, ProcessEvents, RecordOptions,
    Tap, records, tap, tap::TAP_LINES,
};

use super::{
    super::{
        alerts::Findings,
        audit,
        handover::Places,
        insight,
        keys::{Keys, chain},
        management,
        memory::{self, Limit},
        revisions::{self, REVISION},
        secrets, spending,
        wish::Wishes,
    },
    Documents, Failure, Options, RecordLimits, Service,
    companions::{Companions, Given},
    first::{First, Source, first_of_files, first_of_store, kept_instead},
    shown,
};

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
        let (gate, served, findings) = match Gate::start(snapshot, gate_options(keys.as_ref())) {
            Ok(gate) => (gate, revision, findings),
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
                let findings = Findings::of(&kept.documents, &kept.snapshot);
                let gate = Gate::start(kept.snapshot, gate_options(keys.as_ref()))
                    .map_err(|problems| Failure::Process(shown(&problems)))?;
                (gate, Some(revision), findings)
            }
        };
        memory::tell(limit.as_ref(), &gate.worst_case());
        memory::watch(&overload, limit)
            .map_err(|error| Failure::Process(format!("memory cannot be watched: {error}")))?;
        // A handle that was set before would be that of a gateway before this one; there is none.
        let _ = data_plane.set(gate.runtime().clone());
        metrics.config_applied(&gate.runtime().live().snapshot.revision.id, SystemTime::now());
        let happened = ProcessEvents::default();
        found.set(findings);
        let companions = Companions::start(Given {
            runtime: gate.runtime().clone(),
            follows_store: matches!(source, Source::Store { .. }),
            learns_from_store: records.is_some_and(|limits| limits.others_percent == 100),
            store_dir,
            data_dir: data_dir.clone(),
            keys,
            metrics,
            log: log.clone(),
            lines,
            newest,
            events,
            watching,
            happened: happened.clone(),
            findings: found.clone(),
            audited,
            audit_every,
            wishes: wishes.sender(),
            places,
        })?;
        if state.notices.all().contains_key(REVISION) {
            // It was refused before anybody could hear it.
            happened.tell(&ProcessEvent::ReloadFailed { revision: "".into() });
        }
        if let (Source::Store { revisions: watch, .. }, Some((number, digest, files)), false) =
            (&source, served, is_kept)
            && !state.notices.all().contains_key(REVISION)
        {
            watch.tell(number, Went::Live, "");
            revisions::keep(&data_dir, number, digest, files, &state);
        }
        state.served.set(management::serving(source.set(), &gate.addresses()));
        state.readiness.set_ready();
        Ok(Some(Service {
            gate,
            management,
            admin,
            tls,
            setup,
            state,
            access_log: log,
            source,
            log_plan,
            drain,
            data_dir,
            companions,
            happened,
            findings: found,
            candidate: None,
            wishes,
            _lock: lock,
        }))
    }
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
