//! The data plane of a process: started, reloaded and stopped as one.
//!
//! A reload is two steps. **Prepare** reads certificates and secrets and binds new sockets; any failure drops the whole
//! set and nothing has changed. **Publish** swaps one pointer and then tells the cores which listeners to serve; nothing
//! can fail any more. Requests on their way keep the snapshot they began with.

use std::{
    cell::Cell,
    collections::{HashMap, HashSet},
    hash::{BuildHasher, RandomState},
    net::SocketAddr,
    path::PathBuf,
    rc::Rc,
    sync::{Arc, LazyLock, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use bartizan_config::snapshot::{ListenerPlan, PublishedListener, Snapshot};
use bartizan_identity::{BasicUsers, KeyTable, Pepper};
use bartizan_limit::Quotas;
use bartizan_model::{Reference, SecretValue};
use bartizan_telemetry::{AccessLog, Metrics};
use tokio::sync::oneshot;

use crate::{
    core::Core,
    events::Events,
    listener::{Bound, CoreOptions, CoreThreads, ReadyListener, TicketKeys, prepare_tls},
    live::{Live, LiveParts},
    overload::{self, Overload, worst::Worst},
    passwords::Passwords,
    runtime::{Outside, Runtime},
    tokens::TokenSet,
    trial::{Trial, TrialOptions},
    upstream::{UpstreamSet, run_checks},
};
use bartizan_fetch::{Fetcher, KeySets};

/// Reads a secret; the error is a sentence for the operator and holds nothing of the secret.
pub type ReadSecret = dyn Fn(&Reference) -> Result<SecretValue, String> + Send + Sync;

/// What a gate needs from the process.
pub struct GateOptions {
    /// Cores to serve on, at least one.
    pub cores: usize,
    /// Where lock files for addresses are kept; the data directory.
    pub lock_dir: Option<PathBuf>,
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// The access log; none writes none.
    pub access_log: Option<Arc<AccessLog>>,
    /// The pepper of API keys; without one every key is refused.
    pub pepper: Option<Arc<Pepper>>,
    /// The API keys as they are at start.
    pub keys: Arc<KeyTable>,
    /// The accounts of quotas, as far as they are known.
    pub quotas: Arc<Quotas>,
    /// How secrets are read.
    pub read_secret: Box<ReadSecret>,
    /// What seals the sessions of policies that name no key of their own; the data directory's.
    pub session_keys: Option<Reference>,
    /// How long connections of a removed or changed listener may finish.
    pub grace: Duration,
    /// How hard the process is pressed; whoever makes it also tells it of the memory.
    pub overload: Arc<Overload>,
}

/// Why a snapshot could not be put into force. Nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrepareProblem {
    /// The document concerned, as `Kind/name`.
    pub document: String,
    /// What is wrong, for the operator.
    pub message: String,
}

/// An address that is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServedAddress {
    /// The listener's name.
    pub listener: Arc<str>,
    /// The address, with the port that the system chose where it was left open.
    pub address: SocketAddr,
    /// Whether TLS is spoken.
    pub tls: bool,
}

/// A running data plane.
pub struct Gate {
    runtime: Arc<Runtime>,
    key_sets: Arc<KeySets>,
    cores: CoreThreads,
    count: usize,
    lock_dir: Option<PathBuf>,
    tickets: TicketKeys,
    passwords: Arc<Passwords>,
    read_secret: Box<ReadSecret>,
    session_keys: Option<Reference>,
    grace: Duration,
    overload: Arc<Overload>,
    /// The active health checks of the set in force; dropping the sender ends them.
    checks: Mutex<Option<oneshot::Sender<()>>>,
    /// The candidate that is tried beside the set in force; a reload keeps it.
    trial: Mutex<Option<Arc<Trial>>>,
}

/// A candidate whose certificates, secrets and upstreams are ready.
pub struct Candidate(Arc<Live>);

/// A snapshot whose sockets, certificates and upstreams are ready.
struct Prepared {
    live: Arc<Live>,
    listeners: Vec<ReadyListener>,
}

impl Gate {
    /// Prepares `snapshot` and serves it.
    ///
    /// # Errors
    ///
    /// Every problem found while preparing; nothing is served then.
    pub fn start(snapshot: Arc<Snapshot>, options: GateOptions) -> Result<Gate, Vec<PrepareProblem>> {
        let GateOptions {
            cores: count,
            lock_dir,
            metrics,
            access_log,
            pepper,
            keys,
            quotas,
            read_secret,
            session_keys,
            grace,
            overload,
        } = options;
        let tickets = TicketKeys::default();
        let lock = lock_dir.as_deref();
        let fetcher = Fetcher::start(Arc::clone(metrics.fetches())).map_err(|error| {
            vec![process_problem(format!("the fetching thread could not be started: {error}"))]
        })?;
        // Half of the cores: passwords must not be able to take the machine from the requests.
        let passwords = Passwords::new(count / 2)
            .map_err(|error| vec![process_problem(format!("passwords cannot be checked: {error}"))])?;
        let passwords = Arc::new(passwords);
        let key_sets = KeySets::start(fetcher.clone());
        let preparing = Preparing {
            count,
            lock,
            tickets: &tickets,
            passwords: &passwords,
            secrets: &*read_secret,
            session_keys: session_keys.as_ref(),
            metrics: &metrics,
            key_sets: &key_sets,
        };
        let prepared = preparing.prepare(snapshot, None, &|_| None)?;
        let runtime = Runtime::new(
            prepared.live.clone(),
            metrics.clone(),
            pepper,
            Some(Outside { fetcher, key_sets: key_sets.clone(), passwords: passwords.clone() }),
            quotas,
        );
        runtime.set_keys(keys);
        let events = Arc::new(Events::new(metrics));
        let options = CoreOptions { events, overload: overload.clone(), ..CoreOptions::default() };
        let for_cores = runtime.clone();
        let pressed = overload.clone();
        let cores = CoreThreads::start(count, options, move |id| {
            let recorder = access_log.as_ref().map(|log| log.recorder());
            let gauge = pressed.core(id.0);
            let core = Core::new(for_cores.clone(), recorder, gauge.clone(), seed());
            tokio::task::spawn_local(Rc::clone(core.pools()).keep_swept());
            tokio::task::spawn_local(overload::beat(pressed.clone(), gauge, core.held.clone()));
            core
        })
        .map_err(|error| vec![process_problem(format!("the cores could not be started: {error}"))])?;
        let checks = Mutex::new(None);
        let gate = Gate {
            runtime,
            key_sets,
            cores,
            count,
            lock_dir,
            tickets,
            passwords,
            read_secret,
            session_keys,
            grace,
            overload,
            checks,
            trial: Mutex::default(),
        };
        gate.publish(prepared)?;
        Ok(gate)
    }

    /// Prepares another snapshot and swaps it in.
    ///
    /// # Errors
    ///
    /// Every problem found while preparing; the snapshot in force stays in force then.
    pub fn reload(&self, snapshot: Arc<Snapshot>) -> Result<(), Vec<PrepareProblem>> {
        let preparing = self.preparing();
        let previous = self.runtime.live();
        let prepared = preparing.prepare(snapshot, Some(&previous), &|name| self.cores.bound(name))?;
        self.publish(prepared)
    }

    /// Prepares a candidate to be tried beside the set in force. It comes by the listeners that are there, so it must not
    /// change what they are bound and handshaken with.
    ///
    /// # Errors
    ///
    /// Every problem found while preparing; nothing has changed then.
    pub fn try_out(&self, snapshot: Arc<Snapshot>) -> Result<Candidate, Vec<PrepareProblem>> {
        let active = self.runtime.live();
        let mut problems: Vec<PrepareProblem> = other_listeners(&active.snapshot, &snapshot)
            .map(|name| PrepareProblem {
                document: format!("Listener/{name}"),
                message: "a candidate is tried on the listeners that are there: addresses, TLS and protocols must be \
                          those of the active set; change them by `bartizan apply` first"
                    .to_owned(),
            })
            .collect();
        let preparing = self.preparing();
        let ready = preparing.beside_listeners(&snapshot, Some(&active), &mut problems);
        match ready {
            Some((upstreams, users, tokens, secrets)) if problems.is_empty() => {
                let trust = |listener: &PublishedListener| {
                    active.trust_of(active.listener_index(&listener.plan.name))
                };
                let trusts = snapshot.listeners.iter().map(trust).collect();
                let parts = LiveParts { trusts, users, tokens, secrets };
                let live = Live::new(snapshot, upstreams, parts, self.runtime.metrics());
                Ok(Candidate(live.described()))
            }
            _ => Err(problems),
        }
    }

    /// Tries a candidate from now on, as `options` say; another trial ends with it.
    pub fn begin_trial(&self, candidate: &Candidate, options: TrialOptions) -> Arc<Trial> {
        let trial = Trial::new(candidate.0.clone(), options);
        self.set_trial(Some(trial.clone()));
        trial
    }

    /// The set in force serves everybody again.
    pub fn end_trial(&self) {
        self.set_trial(None);
    }

    fn set_trial(&self, trial: Option<Arc<Trial>>) {
        let mut own = self.trial.lock().unwrap_or_else(PoisonError::into_inner);
        let live = self.runtime.live();
        if let Some(before) = &*own
            && trial.as_ref().is_none_or(|trial| !Arc::ptr_eq(trial.candidate(), before.candidate()))
        {
            before.candidate().retire(&live, self.runtime.metrics());
        }
        (*own).clone_from(&trial);
        self.watch_key_sets(&live, trial.as_ref());
        self.runtime.publish(live.with_trial(trial));
    }

    /// Keeps the key sets of the set in force and of a candidate fresh.
    fn watch_key_sets(&self, live: &Live, trial: Option<&Arc<Trial>>) {
        let mut sources = live.prepared.tokens.sources.clone();
        for (name, source) in trial.iter().flat_map(|trial| &trial.candidate().prepared.tokens.sources) {
            sources.entry(name.clone()).or_insert_with(|| source.clone());
        }
        self.key_sets.watch(sources);
    }

    /// The state shared by the cores.
    pub fn runtime(&self) -> &Arc<Runtime> {
        &self.runtime
    }

    /// What everything that limits of the set in force allow would take of memory at once.
    pub fn worst_case(&self) -> Worst {
        Worst::of(&self.runtime.live().snapshot, self.count)
    }

    /// Every address that is served.
    pub fn addresses(&self) -> Vec<ServedAddress> {
        let live = self.runtime.live();
        let of_listener = |listener: &PublishedListener| {
            let plan = listener.plan.clone();
            self.cores.local_addresses(&plan.name).into_iter().map(move |address| ServedAddress {
                listener: plan.name.clone(),
                address,
                tls: plan.tls.is_some(),
            })
        };
        live.snapshot.listeners.iter().flat_map(of_listener).collect()
    }

    /// Stops accepting and lets requests finish, at most for `grace`. Returns at once; see [`Gate::is_finished`].
    pub fn drain(&self, grace: Duration) {
        self.end_checks();
        self.runtime.stops_at(Instant::now() + grace);
        self.cores.drain(grace);
    }

    /// Ends everything now.
    pub fn stop(&self) {
        self.end_checks();
        self.runtime.stop();
        self.cores.stop();
    }

    /// Whether every core has ended.
    pub fn is_finished(&self) -> bool {
        self.cores.is_finished()
    }

    fn preparing(&self) -> Preparing<'_> {
        Preparing {
            count: self.count,
            lock: self.lock_dir.as_deref(),
            tickets: &self.tickets,
            passwords: &self.passwords,
            secrets: &*self.read_secret,
            session_keys: self.session_keys.as_ref(),
            metrics: self.runtime.metrics(),
            key_sets: &self.key_sets,
        }
    }

    fn publish(&self, prepared: Prepared) -> Result<(), Vec<PrepareProblem>> {
        let Prepared { live, listeners } = prepared;
        let trial = self.trial.lock().unwrap_or_else(PoisonError::into_inner);
        let live = if trial.is_some() { live.with_trial(trial.clone()) } else { live };
        let upstreams = live.upstreams.clone();
        let names: Vec<Arc<str>> = listeners.iter().map(|listener| listener.plan.name.clone()).collect();
        let before = self.runtime.publish(live);
        if let Err(error) = self.cores.apply(listeners, self.grace) {
            // No descriptor was left for a new socket: the set before stays in force, as if nothing had happened.
            self.watch_key_sets(&before, trial.as_ref());
            self.runtime.publish(before);
            return Err(vec![process_problem(format!("the listeners could not be changed: {error}"))]);
        }
        self.watch_key_sets(&self.runtime.live(), trial.as_ref());
        before.retire(&self.runtime.live(), self.runtime.metrics());
        self.tickets.retain(|name| names.iter().any(|known| **known == *name));
        self.watch_health(upstreams);
        self.overload.note_worst(self.worst_case().total());
        Ok(())
    }

    /// Replaces the active health checks by those of `upstreams`.
    fn watch_health(&self, upstreams: Arc<UpstreamSet>) {
        self.end_checks();
        if upstreams.iter().all(|upstream| upstream.plan.active.is_none()) {
            return;
        }
        let (stop, stopped) = oneshot::channel::<()>();
        let run = move || {
            let options = tokio::runtime::LocalOptions::default();
            match tokio::runtime::Builder::new_current_thread().enable_all().build_local(options) {
                Ok(runtime) => runtime.block_on(run_checks(upstreams, async {
                    // A dropped sender means the same as a sent message.
                    let _ = stopped.await;
                })),
                Err(error) => tracing::error!(%error, "active health checks could not be started"),
            }
        };
        match thread::Builder::new().name("health".into()).spawn(run) {
            Ok(_) => *self.checks.lock().unwrap_or_else(PoisonError::into_inner) = Some(stop),
            Err(error) => tracing::error!(%error, "active health checks could not be started"),
        }
    }

    fn end_checks(&self) {
        drop(self.checks.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

/// What is read for a snapshot beside its listeners: upstreams, users, tokens, and a sum of the secrets.
type Beside = (Arc<UpstreamSet>, HashMap<Reference, Arc<BasicUsers>>, TokenSet, u64);

/// Sums up the secrets that upstreams are given, under keys of this process: nothing can be told from a sum.
static SECRETS_SEEN: LazyLock<RandomState> = LazyLock::new(RandomState::new);

/// What preparing a snapshot needs.
struct Preparing<'p> {
    count: usize,
    lock: Option<&'p std::path::Path>,
    tickets: &'p TicketKeys,
    passwords: &'p Passwords,
    secrets: &'p ReadSecret,
    session_keys: Option<&'p Reference>,
    metrics: &'p Metrics,
    key_sets: &'p Arc<KeySets>,
}

impl Preparing<'_> {
    /// Reads, binds and builds everything; all problems at once.
    fn prepare(
        &self,
        snapshot: Arc<Snapshot>,
        previous: Option<&Live>,
        bound: &dyn Fn(&str) -> Option<Bound>,
    ) -> Result<Prepared, Vec<PrepareProblem>> {
        let mut problems = Vec::new();
        let mut listeners = Vec::new();
        for listener in &snapshot.listeners {
            let plan = listener.plan.clone();
            let document = format!("Listener/{}", plan.name);
            let mut problem =
                |message: String| problems.push(PrepareProblem { document: document.clone(), message });
            let tls = match prepare_tls(&plan, self.tickets, &self.secrets) {
                Ok(tls) => tls,
                Err(found) => {
                    found.into_iter().for_each(&mut problem);
                    continue;
                }
            };
            match Bound::bind_keeping(bound(&plan.name).as_ref(), &plan.addresses, self.count, self.lock) {
                Ok(bound) => listeners.push(ReadyListener { plan, bound, tls }),
                Err(error) => problem(error.to_string()),
            }
        }
        let ready = self.beside_listeners(&snapshot, previous, &mut problems);
        match ready {
            Some((upstreams, users, tokens, secrets)) if problems.is_empty() => {
                // Without a problem each listener of the snapshot is here, in its order.
                let trusts =
                    listeners.iter().map(|ready| ready.tls.as_ref().map(|tls| tls.trust())).collect();
                let parts = LiveParts { trusts, users, tokens, secrets };
                Ok(Prepared { live: Live::new(snapshot, upstreams, parts, self.metrics), listeners })
            }
            _ => Err(problems),
        }
    }

    /// Reads and builds what does not hang on listeners.
    fn beside_listeners(
        &self,
        snapshot: &Snapshot,
        previous: Option<&Live>,
        problems: &mut Vec<PrepareProblem>,
    ) -> Option<Beside> {
        let tokens = TokenSet::prepare(
            snapshot,
            &self.secrets,
            self.session_keys,
            previous.map(|previous| &previous.prepared.tokens),
            &mut |document, message| {
                problems.push(PrepareProblem { document: document.to_owned(), message });
            },
        );
        let previous_upstreams = previous.map(|previous| &*previous.upstreams);
        // Answers that were kept with other credentials for the upstream are another caller's.
        let read = Cell::new(0);
        let secrets = |reference: &Reference| {
            let value = (self.secrets)(reference)?;
            let next = SECRETS_SEEN.hash_one((read.get(), reference, value.expose()));
            read.set(next);
            Ok(value)
        };
        let upstreams = match UpstreamSet::prepare(&snapshot.upstreams, &secrets, previous_upstreams) {
            Ok(set) => Some(Arc::new(set)),
            Err(found) => {
                problems.extend(found.into_iter().map(|error| PrepareProblem {
                    document: format!("Upstream/{}", error.upstream),
                    message: format!("{}: {}", error.field, error.message),
                }));
                None
            }
        };
        let users = self.users(snapshot, problems);
        problems.extend(warm(snapshot));
        let upstreams = upstreams.filter(|_| problems.is_empty())?;
        self.fetch_keys(&tokens);
        Some((upstreams, users, tokens, read.get()))
    }
}

impl Preparing<'_> {
    /// Reads the users of every policy, each file once.
    fn users(
        &self,
        snapshot: &Snapshot,
        problems: &mut Vec<PrepareProblem>,
    ) -> HashMap<Reference, Arc<BasicUsers>> {
        let mut users = HashMap::new();
        let mut seen = HashSet::new();
        let policies = snapshot.routes.iter().flat_map(|route| {
            let settled = &route.authentication;
            settled.enforced.iter().chain(&settled.shadow)
        });
        for (policy, plan) in policies.flat_map(|policy| policy.basic().map(move |plan| (policy, plan))) {
            if !seen.insert(&plan.users) {
                continue;
            }
            let read = match (self.secrets)(&plan.users) {
                Ok(text) => self.passwords.read_users(text.expose()),
                Err(message) => Err(vec![message]),
            };
            match read {
                Ok(read) => drop(users.insert(plan.users.clone(), Arc::new(read))),
                Err(found) => problems.extend(found.into_iter().map(|message| PrepareProblem {
                    document: policy.label.to_string(),
                    message: format!("{}: {message}", plan.users),
                })),
            }
        }
        users
    }
}

/// Builds the automata of all rules, so that none is built while a request waits. Rule sets are shared; each is built
/// once.
fn warm(snapshot: &Snapshot) -> Vec<PrepareProblem> {
    let mut seen = HashSet::new();
    snapshot
        .inspections()
        .filter(|plan| seen.insert(Arc::as_ptr(&plan.rules)))
        .filter_map(|plan| {
            let error = plan.rules.warm().err()?;
            Some(PrepareProblem { document: plan.label.to_string(), message: error.to_string() })
        })
        .collect()
}

impl Preparing<'_> {
    /// Fetches new key sets, so that the first token finds them. That an issuer does not answer now is no reason to
    /// refuse a set: its tokens cannot be judged until it does.
    fn fetch_keys(&self, tokens: &TokenSet) {
        for set in self.key_sets.prefetch(&tokens.sources, PREFETCH_MAX) {
            tracing::warn!(%set, "a key set is not there yet: tokens that need it are answered 503 until it is");
        }
    }
}

/// 5 s: so long a start or a reload waits for issuers.
const PREFETCH_MAX: Duration = Duration::from_secs(5);

/// The listeners of a candidate that are not bound and handshaken with as those in force, and those that it lacks.
fn other_listeners<'s>(active: &'s Snapshot, candidate: &'s Snapshot) -> impl Iterator<Item = &'s Arc<str>> {
    let same = |one: &ListenerPlan, other: &ListenerPlan| {
        one.name == other.name
            && one.addresses == other.addresses
            && one.tls == other.tls
            && one.http2 == other.http2
            && one.proxy_protocol_from == other.proxy_protocol_from
    };
    let lacks = move |snapshot: &Snapshot, plan: &ListenerPlan| {
        !snapshot.listeners.iter().any(|listener| same(&listener.plan, plan))
    };
    let plans = |snapshot: &'s Snapshot| snapshot.listeners.iter().map(|listener| &*listener.plan);
    let new = plans(candidate).filter(move |plan| lacks(active, plan));
    let gone = plans(active).filter(move |plan| !plans(candidate).any(|other| other.name == plan.name));
    new.chain(gone).map(|plan| &plan.name)
}

fn process_problem(message: String) -> PrepareProblem {
    PrepareProblem { document: "process".to_owned(), message }
}

/// A seed for ids and shares. Where the system's own randomness fails, time and address space still differ.
fn seed() -> [u64; 2] {
    use std::hash::{BuildHasher, RandomState};
    let now = Instant::now();
    [RandomState::new().hash_one(now), RandomState::new().hash_one(thread::current().id())]
}
