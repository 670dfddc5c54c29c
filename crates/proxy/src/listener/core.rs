//! The cores: one thread and one single-threaded runtime each, with its own sockets, connections and pipeline.
//!
//! The process speaks to its cores by commands over channels and waits for none of them; what cores share is behind
//! [`Process`] and is touched per connection, never per request.

use std::{
    cell::RefCell,
    collections::HashMap,
    io,
    net::SocketAddr,
    rc::Rc,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use bartizan_config::snapshot::ListenerPlan;
use tokio::{
    runtime::{Builder, LocalOptions, LocalRuntime},
    sync::{Notify, Semaphore, mpsc},
};

use super::{
    Bound, ConnectionCaps, ListenerEvents, NoEvents, PreparedTls, Serve,
    accept::{self, Acceptor, Reserve},
    balance::{Balance, HandedOver},
    bind::Group,
    drain,
    sweep::{self, Table},
    tls,
};
use crate::overload::{CoreGauge, Overload};

/// Which core.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CoreId(pub usize);

/// What all cores share and how they keep time.
#[derive(Clone)]
pub struct CoreOptions {
    /// How often connections are looked at: the granularity of every timeout on them.
    pub sweep: Duration,
    /// A response whose client takes nothing for this long is given up: 30 s by default (`security.md` D).
    pub write_stall: Duration,
    /// The connection counts, kept across reloads.
    pub caps: Arc<ConnectionCaps>,
    /// Who hears of what happens.
    pub events: Arc<dyn ListenerEvents>,
    /// How hard the process is pressed, core by core.
    pub overload: Arc<Overload>,
}

impl Default for CoreOptions {
    fn default() -> Self {
        CoreOptions {
            sweep: Duration::from_secs(1),
            write_stall: Duration::from_secs(30),
            caps: Arc::default(),
            events: Arc::new(NoEvents),
            overload: Arc::default(),
        }
    }
}

/// A listener that is bound and prepared: nothing can fail any more.
#[derive(Clone, Debug)]
pub struct ReadyListener {
    /// What is admitted and how.
    pub plan: Arc<ListenerPlan>,
    /// Its sockets. Whoever keeps a copy keeps them open.
    pub bound: Bound,
    /// Its TLS, where the plan asks for it.
    pub tls: Option<PreparedTls>,
}

/// The running cores. Dropping this without [`CoreThreads::drain`] ends them at once.
pub struct CoreThreads {
    process: Arc<Process>,
    commands: Vec<mpsc::UnboundedSender<Command>>,
    threads: Vec<thread::JoinHandle<()>>,
    listeners: Mutex<Listeners>,
    next_id: AtomicU64,
}

/// The listeners by name, as they were last applied.
type Listeners = HashMap<Arc<str>, (Arc<ListenerShared>, Bound)>;

/// What the cores share.
pub(crate) struct Process {
    pub(crate) caps: Arc<ConnectionCaps>,
    pub(crate) events: Arc<dyn ListenerEvents>,
    pub(crate) balance: Arc<Balance>,
    overload: Arc<Overload>,
}

/// What stays the same of a listener across reloads.
#[derive(Debug)]
pub(crate) struct ListenerShared {
    pub(crate) id: u64,
    pub(crate) open: Arc<AtomicUsize>,
    pub(crate) removed: AtomicBool,
}

/// A listener as connections accepted now find it.
#[derive(Debug)]
pub(crate) struct Setting {
    pub(crate) shared: Arc<ListenerShared>,
    pub(crate) plan: Arc<ListenerPlan>,
    pub(crate) tls: Option<PreparedTls>,
}

/// A socket of one group for one core; `None` where another core accepts for it.
type Sockets = Vec<(Arc<Group>, Option<std::net::TcpListener>)>;

pub(crate) enum Command {
    /// Accept on these sockets and no others, under this setting.
    Listen { setting: Arc<Setting>, sockets: Sockets, grace: Duration },
    /// Stop accepting; finish the connections within the grace.
    Remove { listener: u64, grace: Duration },
    /// Remove everything, then end.
    Drain { grace: Duration },
    /// End now.
    Stop,
}

impl CoreThreads {
    /// Starts the cores. `make` is called once on each, inside its runtime, and gives the service of that core.
    ///
    /// Fails when a thread or its runtime cannot be made.
    pub fn start<S: Serve>(
        cores: usize,
        options: CoreOptions,
        make: impl Fn(CoreId) -> S + Send + Sync + 'static,
    ) -> io::Result<CoreThreads> {
        let (balance, receivers) = Balance::new(cores);
        let CoreOptions { sweep, write_stall, caps, events, overload } = options;
        let process = Arc::new(Process { caps, events, balance, overload });
        let make = Arc::new(make);
        let mut started = CoreThreads {
            process: Arc::clone(&process),
            commands: Vec::new(),
            threads: Vec::new(),
            listeners: Mutex::default(),
            next_id: AtomicU64::new(0),
        };
        for (id, handed) in receivers.into_iter().enumerate() {
            let (command, commands) = mpsc::unbounded_channel();
            let (tell, told) = std::sync::mpsc::channel();
            let (process, make, interval) = (Arc::clone(&process), Arc::clone(&make), (sweep, write_stall));
            let thread = thread::Builder::new().name(format!("core-{id}")).spawn(move || {
                // A local runtime belongs to the thread that builds it.
                match Builder::new_current_thread().enable_all().build_local(LocalOptions::default()) {
                    Ok(runtime) => {
                        let _ = tell.send(Ok(()));
                        run(&runtime, id, process, interval, || make(CoreId(id)), commands, handed);
                    }
                    Err(error) => drop(tell.send(Err(error))),
                }
            })?;
            started.commands.push(command);
            started.threads.push(thread);
            told.recv().map_err(|_| io::Error::other("a core ended before it began"))??;
        }
        Ok(started)
    }

    /// Makes these the listeners: new ones begin to accept, changed ones are replaced, the others are removed.
    ///
    /// A kept listener's connections live on unless it no longer admits them, its TLS trust or its PROXY protocol
    /// peers changed; those, and a removed listener's, finish their requests and close within `grace`. Fails, before
    /// anything changed, when the process has no file descriptors left.
    pub fn apply(&self, listeners: Vec<ReadyListener>, grace: Duration) -> io::Result<()> {
        let mut known = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        let mut commands: Vec<Vec<Command>> = self.commands.iter().map(|_| Vec::new()).collect();
        let mut next = HashMap::with_capacity(listeners.len());
        for ReadyListener { plan, bound, tls } in listeners {
            let name = Arc::clone(&plan.name);
            let shared = match known.get(&name) {
                Some((shared, _)) => Arc::clone(shared),
                None => Arc::new(ListenerShared {
                    id: self.next_id.fetch_add(1, Ordering::Relaxed),
                    open: Arc::default(),
                    removed: AtomicBool::new(false),
                }),
            };
            let setting = Arc::new(Setting { shared: Arc::clone(&shared), plan, tls });
            for (core, commands) in commands.iter_mut().enumerate() {
                let sockets = bound
                    .groups()
                    .iter()
                    .map(|group| Ok((Arc::clone(group), group.socket(core)?)))
                    .collect::<io::Result<_>>()?;
                commands.push(Command::Listen { setting: Arc::clone(&setting), sockets, grace });
            }
            next.insert(name, (shared, bound));
        }
        for (name, (shared, _)) in known.iter() {
            if !next.contains_key(name) {
                shared.removed.store(true, Ordering::Relaxed);
                for commands in &mut commands {
                    commands.push(Command::Remove { listener: shared.id, grace });
                }
            }
        }
        *known = next;
        for (core, commands) in self.commands.iter().zip(commands) {
            for command in commands {
                // A core that has ended has nothing to be told.
                let _ = core.send(command);
            }
        }
        Ok(())
    }

    /// The sockets of a listener, to be kept by [`Bound::bind_keeping`].
    pub fn bound(&self, listener: &str) -> Option<Bound> {
        let known = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(listener).map(|(_, bound)| bound.clone())
    }

    /// The addresses of a listener as they are.
    pub fn local_addresses(&self, listener: &str) -> Vec<SocketAddr> {
        self.bound(listener).map(|bound| bound.local_addresses().collect()).unwrap_or_default()
    }

    /// Open connections per core.
    pub fn open_connections(&self) -> Vec<usize> {
        self.process.balance.open_connections()
    }

    /// Begins to drain: stops accepting, lets every connection finish within `grace`, then closes what is left; each
    /// core ends when its last connection has. Wait for that with [`CoreThreads::join`].
    pub fn drain(&self, grace: Duration) {
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.tell(|| Command::Drain { grace });
    }

    /// Ends all cores at once, also while they drain.
    pub fn stop(&self) {
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.tell(|| Command::Stop);
    }

    /// Whether every core has ended.
    pub fn is_finished(&self) -> bool {
        self.threads.iter().all(thread::JoinHandle::is_finished)
    }

    /// Blocks until every core has ended. Fails when one of them panicked.
    pub fn join(mut self) -> thread::Result<()> {
        self.threads.drain(..).try_for_each(thread::JoinHandle::join)
    }

    fn tell(&self, command: impl Fn() -> Command) {
        for core in &self.commands {
            let _ = core.send(command());
        }
    }
}

/// A core, as its tasks see it.
pub(crate) struct Core<S> {
    pub(crate) id: usize,
    pub(crate) service: Rc<S>,
    pub(crate) table: Rc<Table>,
    pub(crate) process: Arc<Process>,
    pub(crate) gauge: Arc<CoreGauge>,
    pub(crate) handshakes: Semaphore,
    pub(crate) reserve: Reserve,
    pub(crate) listeners: RefCell<HashMap<u64, Rc<Listening>>>,
}

/// A listener on one core.
#[derive(Debug)]
pub(crate) struct Listening {
    setting: RefCell<Arc<Setting>>,
    acceptors: RefCell<Vec<Acceptor>>,
}

impl Listening {
    pub(crate) fn setting(&self) -> Arc<Setting> {
        Arc::clone(&self.setting.borrow())
    }

    /// Every accept loop empties its queue and ends.
    pub(crate) fn close(&self) {
        for acceptor in self.acceptors.borrow_mut().drain(..) {
            acceptor.closing.notify_one();
        }
    }
}

fn run<S: Serve>(
    runtime: &LocalRuntime,
    id: usize,
    process: Arc<Process>,
    (interval, write_stall): (Duration, Duration),
    make: impl FnOnce() -> S,
    mut commands: mpsc::UnboundedReceiver<Command>,
    mut handed: mpsc::Receiver<HandedOver>,
) {
    runtime.block_on(async move {
        let gauge = process.overload.core(id);
        let core = Rc::new(Core {
            id,
            service: Rc::new(make()),
            table: Rc::new(Table::new(write_stall, interval, Arc::clone(&gauge))),
            gauge,
            process,
            handshakes: Semaphore::new(tls::HANDSHAKES_MAX),
            reserve: Reserve::new(),
            listeners: RefCell::default(),
        });
        let events = Arc::clone(&core.process.events);
        tokio::task::spawn_local(sweep::run(Rc::clone(&core.table), interval, events));
        loop {
            tokio::select! {
                command = commands.recv() => match command {
                    Some(Command::Listen { setting, sockets, grace }) => listen(&core, setting, sockets, grace),
                    Some(Command::Remove { listener, grace }) => remove(&core, listener, grace),
                    Some(Command::Drain { grace }) => {
                        return drain::drain(&core, &mut commands, &mut handed, grace).await;
                    }
                    Some(Command::Stop) | None => return,
                },
                Some(socket) = handed.recv() => take(&core, socket),
            }
        }
    });
}

/// Takes a socket over, under the listener's setting of now.
pub(crate) fn take<S: Serve>(core: &Rc<Core<S>>, handed: HandedOver) {
    let known = core.listeners.borrow().get(&handed.setting.shared.id).map(|listening| listening.setting());
    // The other core may have heard of the listener before this one did.
    let setting = known.unwrap_or_else(|| Arc::clone(&handed.setting));
    accept::take(core, setting, handed);
}

fn listen<S: Serve>(core: &Rc<Core<S>>, setting: Arc<Setting>, sockets: Sockets, grace: Duration) {
    let id = setting.shared.id;
    let known = core.listeners.borrow().get(&id).cloned();
    let listening = match known {
        Some(listening) => {
            let before = listening.setting.replace(Arc::clone(&setting));
            drain::changed(core, &before, &setting, grace);
            listening
        }
        None => {
            let listening = Rc::new(Listening {
                setting: RefCell::new(Arc::clone(&setting)),
                acceptors: RefCell::default(),
            });
            core.listeners.borrow_mut().insert(id, Rc::clone(&listening));
            listening
        }
    };
    let mut acceptors = listening.acceptors.borrow_mut();
    acceptors.retain(|acceptor| {
        let kept = sockets.iter().any(|(group, _)| Arc::ptr_eq(group, &acceptor.group));
        if !kept {
            acceptor.closing.notify_one();
        }
        kept
    });
    for (group, socket) in sockets {
        let Some(socket) = socket else { continue };
        if acceptors.iter().any(|acceptor| Arc::ptr_eq(&acceptor.group, &group)) {
            continue;
        }
        match tokio::net::TcpListener::from_std(socket) {
            Ok(socket) => {
                let closing = Rc::new(Notify::new());
                acceptors.push(Acceptor { group: Arc::clone(&group), closing: Rc::clone(&closing) });
                let (core, listening) = (Rc::clone(core), Rc::clone(&listening));
                tokio::task::spawn_local(accept::run(core, listening, socket, group, closing));
            }
            Err(error) => core.process.events.accept_failed(&setting.plan.name, &error),
        }
    }
}

fn remove<S: Serve>(core: &Rc<Core<S>>, listener: u64, grace: Duration) {
    let removed = core.listeners.borrow_mut().remove(&listener);
    if let Some(listening) = removed {
        listening.close();
        drain::removed(core, listener, grace);
    }
}
