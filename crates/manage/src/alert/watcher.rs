//! The thread that counts events, writes alerts down and ends them.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use bartizan_config::snapshot::Snapshot;
use bartizan_store::{DataDir, Error, Pulse, Store, Turn};
use bartizan_telemetry::{ProcessEvent, RecordWatch};

use super::{
    event::Event,
    window::{Raised, Windows},
    word,
};
use crate::api::now_ms;

/// Hands events over; never waits.
#[derive(Clone)]
pub struct Feed {
    events: SyncSender<Event>,
    lost: Arc<AtomicU64>,
}

impl Feed {
    /// A feed, and what is to be given to [`Watcher::start`].
    pub fn new() -> (Self, Watching) {
        let (events, queue) = sync_channel(EVENTS_MAX);
        (Feed { events, lost: Arc::default() }, Watching(queue))
    }

    /// Something happened. Where too much happens at once, the rest is counted as lost: what is told is then told by
    /// what came before.
    pub fn tell(&self, event: Event) {
        if self.events.try_send(event).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Looks at every record of the access log.
    pub fn watch(&self) -> RecordWatch {
        let feed = self.clone();
        RecordWatch(Box::new(move |record| {
            if let Some(event) = Event::of(record) {
                feed.tell(event);
            }
        }))
    }
}

/// The other end of a [`Feed`].
pub struct Watching(Receiver<Event>);

/// What the thread asks of the process.
pub trait Sources: Send + 'static {
    /// The snapshot in force.
    fn snapshot(&self) -> Arc<Snapshot>;
    /// What is so whether anything happens or not: ends of keys and certificates, findings.
    fn standing(&self) -> Vec<Event>;
}

/// The watcher of a gateway. Dropping it ends its thread.
pub struct Watcher {
    stop: Option<SyncSender<Event>>,
    is_over: Arc<std::sync::atomic::AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Watcher {
    /// Begins to watch requests, what happens to the process, and what stands.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub fn start(
        store: DataDir,
        feed: &Feed,
        watching: Watching,
        happened: Receiver<ProcessEvent>,
        sources: impl Sources,
    ) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let is_over: Arc<std::sync::atomic::AtomicBool> = Arc::default();
        let over = Arc::clone(&is_over);
        let thread = thread::Builder::new().name("alerts".into()).spawn(move || {
            let mut house = House {
                open: None,
                dir: store,
                windows: Windows::default(),
                unwritten: Vec::new(),
                failing: false,
                last_standing: None,
                last_settled: Instant::now(),
            };
            while !over.load(Ordering::Acquire) {
                let snapshot = sources.snapshot();
                house.windows.use_policies(&snapshot.alerts);
                let mut raised = house.gather(&watching.0);
                for event in happened.try_iter().filter_map(|event| Event::of_process(&event)) {
                    raised.extend(house.windows.note(&event, now_ms()));
                }
                if !snapshot.alerts.is_empty()
                    && house.last_standing.is_none_or(|at| at.elapsed() >= STANDING)
                {
                    house.last_standing = Some(Instant::now());
                    let now = now_ms();
                    for event in sources.standing() {
                        raised.extend(house.windows.note(&event, now));
                    }
                    house.windows.tidy(now);
                }
                runtime.block_on(house.write(&snapshot, raised));
            }
            if let Some(store) = house.open {
                runtime.block_on(store.close());
            }
        })?;
        Ok(Watcher { stop: Some(feed.events.clone()), is_over, thread: Some(thread) })
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Release);
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic there was logged by its thread; there is nothing to add at the end of the process.
            let _ = thread.join();
        }
    }
}

struct House {
    open: Option<Store>,
    dir: DataDir,
    windows: Windows,
    /// What could not be written yet.
    unwritten: Vec<Raised>,
    failing: bool,
    last_standing: Option<Instant>,
    last_settled: Instant,
}

impl House {
    /// Counts what comes within a round.
    fn gather(&mut self, events: &Receiver<Event>) -> Vec<Raised> {
        let mut raised = Vec::new();
        let end = Instant::now() + ROUND;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            match events.recv_timeout(left) {
                Ok(event) => raised.extend(self.windows.note(&event, now_ms())),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
            }
            if left.is_zero() {
                break;
            }
        }
        raised
    }

    async fn write(&mut self, snapshot: &Snapshot, raised: Vec<Raised>) {
        // Bounded: what fires again is raised again.
        self.unwritten.extend(raised);
        self.unwritten.truncate(UNWRITTEN_MAX);
        match self.work(snapshot).await {
            Ok(()) => self.failing = false,
            Err(error) => {
                self.open = None;
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::warn!(%error, "alerts cannot be written down; trying again");
                }
            }
        }
    }

    async fn work(&mut self, snapshot: &Snapshot) -> Result<(), Error> {
        let is_due = self.last_settled.elapsed() >= SETTLED;
        if self.unwritten.is_empty() && !is_due {
            return Ok(());
        }
        let store = match &self.open {
            Some(store) => store.clone(),
            None => self.open.insert(Store::open_existing(&self.dir).await?).clone(),
        };
        while let Some(raised) = self.unwritten.last() {
            pulse(&store, snapshot, raised).await?;
            self.unwritten.pop();
        }
        if is_due {
            let now = now_ms();
            let recover = |name: &str| {
                let policy = snapshot.alerts.iter().find(|policy| *policy.name == *name)?;
                Some(millis(policy.recover_after))
            };
            let recover = |row: &str| recover(row);
            let over = store.alerts().settle(recover, now, |row| {
                word::notices(snapshot, word::channels(&snapshot.alerts, &row.policy), row, Turn::Over, now)
            });
            for row in over.await? {
                tracing::info!(
                    policy = row.policy,
                    signal = row.signal,
                    group = row.group,
                    "an alert is over"
                );
            }
            self.last_settled = Instant::now();
        }
        Ok(())
    }
}

async fn pulse(store: &Store, snapshot: &Snapshot, raised: &Raised) -> Result<(), Error> {
    let Some(rule) = raised.policy.rules.get(raised.rule) else { return Ok(()) };
    let text = word::sentence(rule, &raised.group, raised.count);
    let pulse = Pulse {
        policy: raised.policy.name.to_string(),
        signal: rule.signal.to_string(),
        group: raised.group.clone(),
        text,
        count: raised.count,
    };
    let now = now_ms();
    let told = store.alerts().pulse(&pulse, millis(raised.policy.repeat_after), now, |row, turn| {
        word::notices(snapshot, &raised.policy.channels, row, turn, now)
    });
    if let Some(turn) = told.await? {
        let (policy, signal, group) = (&*pulse.policy, &*pulse.signal, &*pulse.group);
        let begins = turn == Turn::Began;
        tracing::warn!(policy, signal, group, count = pulse.count, begins, "alert: {}", pulse.text);
    }
    Ok(())
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Half a second, ten sending attempts within the ten seconds that are promised.
const ROUND: Duration = Duration::from_millis(500);
/// How often what stands is looked at: it is in memory, and is to be told within ten seconds.
const STANDING: Duration = Duration::from_secs(2);
/// How often alerts are ended.
const SETTLED: Duration = Duration::from_secs(1);
/// A flood of refusals is told by its beginning.
const EVENTS_MAX: usize = 16_384;
const UNWRITTEN_MAX: usize = 1_024;
