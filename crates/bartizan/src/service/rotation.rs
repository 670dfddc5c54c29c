//! The schedule of keys: tells what comes in their lives, delivers successors, and retires replaced keys that nobody uses.
//!
//! On a thread of its own, of the control plane: what must hold to the moment (expiry, hard limits) is judged with each
//! request, so that a schedule that is late costs nobody anything. Any number of gateways on one store may run it; each
//! event is told by one of them.

use std::{
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use bartizan_config::snapshot::Snapshot;
use bartizan_identity::{KeyId, Life, LifeState, LifeTerms};
use bartizan_manage::{alert::Event, notice};
use bartizan_model::document::alert_policy::AlertSignal;
use bartizan_proxy::runtime::Runtime;
use bartizan_store::{Came, DataDir, KeyEvent, KeyRow, Rules, Store};

use super::{alerts::Standing, handover::Places, keys::chain};
use crate::command::when;

/// The thread. Dropping it ends it.
pub(crate) struct Schedule {
    stop: Option<mpsc::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Schedule {
    /// Begins to follow the keys of a store by the policies in force.
    pub(super) fn start(
        store: DataDir,
        data_plane: Arc<Runtime>,
        places: Places,
        standing: Standing,
    ) -> std::io::Result<Self> {
        let (stop, stopped) = mpsc::channel::<()>();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = thread::Builder::new().name("key-lives".into()).spawn(move || {
            let mut open = None;
            let mut failing = false;
            let mut round = Round { data_plane, places, standing, warned: None };
            let mut pause = FIRST_PAUSE;
            // A dropped sender means the same as a sent message.
            while let Err(mpsc::RecvTimeoutError::Timeout) = stopped.recv_timeout(pause) {
                let begun = Instant::now();
                let outcome = runtime.block_on(round.look(&mut open, &store));
                match outcome {
                    Ok(()) => failing = false,
                    Err(error) => {
                        // A connection that failed is not asked again: the file may be another one by then.
                        open = None;
                        if !failing {
                            tracing::warn!(error = %chain(&error), "the lives of keys cannot be followed; trying again");
                        }
                        failing = true;
                    }
                }
                pause = PAUSE.max(begun.elapsed().saturating_mul(REST));
            }
            if let Some(store) = open {
                runtime.block_on(store.close());
            }
        })?;
        Ok(Schedule { stop: Some(stop), thread: Some(thread) })
    }
}

/// What a look at all keys needs, and what it leaves.
struct Round {
    data_plane: Arc<Runtime>,
    places: Places,
    /// What alerts are judged by.
    standing: Standing,
    /// The set about whose places it was warned.
    warned: Option<Arc<str>>,
}

impl Round {
    async fn look(&mut self, open: &mut Option<Store>, dir: &DataDir) -> Result<(), bartizan_store::Error> {
        let store = match open {
            Some(store) => store,
            None => open.insert(Store::open_existing(dir).await?),
        };
        let data_plane = Arc::clone(&self.data_plane);
        let live = data_plane.live();
        let snapshot = &live.snapshot;
        self.warn(snapshot);
        let rules = |consumer: &str| -> Option<Rules> {
            let plan = snapshot.consumers.get(consumer)?.rotation.as_ref()?;
            Some(Rules { terms: Arc::clone(&plan.terms), by_link: plan.claim_url.is_some() })
        };
        let now = when::now_ms();
        let until = watched_before(snapshot).map(|before| now.saturating_add(before));
        let (mut ending, mut more, mut to_deliver) = (Vec::new(), 0_usize, Vec::new());
        let seen = |row: &KeyRow, terms: &LifeTerms| {
            if let Some(event) = ends(row, terms, now, until) {
                if ending.len() < STANDING_MAX { ending.push(event) } else { more += 1 }
            }
            if let Some(place) = self.place_of(snapshot, row)
                && to_deliver.len() < DELIVERED_MAX
                && Life::at(&row.facts(), terms, now).state == LifeState::Ageing
            {
                to_deliver.push((row.clone(), terms.clone(), place));
            }
        };
        let notices = |event: &KeyEvent| notice::keys::notices(snapshot, event, now);
        store.keys().advance(rules, now, seen, notices, |event| tell(&event)).await?;
        self.places.deliver(store, to_deliver, now).await;
        if more > 0 {
            let until = until.unwrap_or(now);
            ending.push(Event::Ends { what: OTHERS.to_owned(), at_ms: until });
        }
        let unclaimed = store.claims().unclaimed(now, UNCLAIMED_MAX).await?;
        let is_live = |row: &&KeyRow| {
            let terms = rules(&row.consumer).unwrap_or_default().terms;
            Life::at(&row.facts(), &terms, now).state < LifeState::Retired
        };
        let unhanded = unclaimed.iter().filter(is_live).map(|row| name_of(&row.id, &row.consumer));
        ending.extend(unhanded.map(|what| Event::Unhanded { what }));
        for id in self.places.failed() {
            let row = store.keys().show(id).await?;
            ending.push(Event::Unhanded { what: name_of(id, &row.consumer) });
        }
        self.standing.set(ending);
        Ok(())
    }

    /// The place of this process where a key's successor is to be left.
    fn place_of(&self, snapshot: &Snapshot, row: &KeyRow) -> Option<Arc<str>> {
        let place = snapshot.consumers.get(&*row.consumer)?.rotation.as_ref()?.deliver_to.as_ref()?;
        self.places.has(place).then(|| Arc::clone(place))
    }

    /// Says once for each set which places it names that this process has not.
    fn warn(&mut self, snapshot: &Snapshot) {
        if self.warned.as_ref() == Some(&snapshot.revision.id) {
            return;
        }
        self.warned = Some(Arc::clone(&snapshot.revision.id));
        let plans = snapshot.consumers.values().filter_map(|consumer| consumer.rotation.as_ref());
        let mut missing: Vec<_> = plans
            .filter_map(|plan| plan.deliver_to.as_deref().map(|place| (place, &*plan.label)))
            .filter(|(place, _)| !self.places.has(place))
            .collect();
        missing.sort_unstable();
        missing.dedup();
        for (place, policy) in missing {
            tracing::warn!(
                place,
                policy,
                "this gateway has no place of this name (`--deliver`); another one must have it"
            );
        }
    }
}

/// How long before their ends keys are to be told of, where any AlertPolicy asks for it.
fn watched_before(snapshot: &Snapshot) -> Option<u64> {
    let rules = snapshot.alerts.iter().flat_map(|policy| &policy.rules);
    let before = rules.filter(|rule| rule.signal == AlertSignal::Expiry).map(|rule| rule.before).max()?;
    Some(u64::try_from(before.as_millis()).unwrap_or(u64::MAX))
}

/// A key without a successor that works, and ends or reaches its maximum age before a moment.
fn ends(row: &KeyRow, terms: &LifeTerms, now_ms: u64, until_ms: Option<u64>) -> Option<Event> {
    let facts = row.facts();
    let due = facts.due_ms(terms).filter(|due| until_ms.is_some_and(|until| *due <= until))?;
    let is_live = row.revoked_at_ms.is_none()
        && row.replaced_by.is_none()
        && facts.ends_ms(terms).is_none_or(|ends| ends > now_ms);
    is_live.then(|| Event::Ends { what: name_of(&row.id, &row.consumer), at_ms: due })
}

fn name_of(id: &KeyId, consumer: &str) -> String {
    format!("API key {id} of {consumer}")
}

fn tell(event: &KeyEvent) {
    let KeyEvent { row, what } = event;
    let (key, consumer) = (row.id, &*row.consumer);
    let ends = || row.expires_at_ms.map(when::moment).unwrap_or_default();
    match what {
        Came::Due { due_ms, .. } => {
            let due = when::moment(*due_ms);
            tracing::warn!(%key, consumer, due, "the key is to be replaced");
        }
        Came::Leaked => tracing::warn!(%key, consumer, "the key was reported as leaked and is revoked"),
        Came::Offered { link, .. } => {
            tracing::info!(%key, consumer, link, "a successor of the key is offered by a link");
        }
        Came::Unclaimed { links } => {
            tracing::warn!(%key, consumer, links, "nobody took the key's successor over; another link is made");
        }
        Came::State(LifeState::Ageing) => tracing::info!(%key, consumer, "the key is ageing"),
        Came::State(LifeState::Overlapping) => {
            let by = row.replaced_by.map(|by| by.to_string()).unwrap_or_default();
            tracing::info!(%key, consumer, by, ends = ends(), "the key was replaced and works on");
        }
        Came::State(state) => tracing::info!(%key, consumer, state = state.as_str(), "the key has ended"),
    }
}

impl Drop for Schedule {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic there was logged by its thread; there is nothing to add at the end of the process.
            let _ = thread.join();
        }
    }
}

/// What is told one by one; a hundred keys are one matter.
const STANDING_MAX: usize = 100;
const OTHERS: &str = "more API keys";
const UNCLAIMED_MAX: u32 = 100;
/// At once: a policy that is new for ten thousand keys does not hold the schedule for an hour.
const DELIVERED_MAX: usize = 100;
/// Soon after the start, and not within it.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const PAUSE: Duration = Duration::from_secs(5);
/// A walk over a million keys takes seconds; with this rest after it, it costs 2 % of a core.
const REST: u32 = 50;
