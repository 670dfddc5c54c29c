//! The schedule of keys: tells what comes in their lives, and retires replaced keys that nobody uses.
//!
//! On a thread of its own, of the control plane: what must hold to the moment (expiry, hard limits) is judged with each
//! request, so that a schedule that is late costs nobody anything. Any number of gateways on one store may run it; each
//! event is told by one of them.

use std::{
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use bartizan_identity::LifeState;
use bartizan_manage::notice;
use bartizan_proxy::runtime::Runtime;
use bartizan_store::{Came, DataDir, KeyEvent, Rules, Store};

use super::keys::chain;
use crate::command::when;

/// The thread. Dropping it ends it.
pub(crate) struct Schedule {
    stop: Option<mpsc::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Schedule {
    /// Begins to follow the keys of a store by the policies in force.
    pub(crate) fn start(store: DataDir, data_plane: Arc<Runtime>) -> std::io::Result<Self> {
        let (stop, stopped) = mpsc::channel::<()>();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = thread::Builder::new().name("key-lives".into()).spawn(move || {
            let mut open = None;
            let mut failing = false;
            let mut pause = FIRST_PAUSE;
            // A dropped sender means the same as a sent message.
            while let Err(mpsc::RecvTimeoutError::Timeout) = stopped.recv_timeout(pause) {
                let begun = Instant::now();
                let outcome = runtime.block_on(look(&mut open, &store, &data_plane));
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

async fn look(
    open: &mut Option<Store>,
    dir: &DataDir,
    data_plane: &Arc<Runtime>,
) -> Result<(), bartizan_store::Error> {
    let store = match open {
        Some(store) => store,
        None => open.insert(Store::open_existing(dir).await?),
    };
    let live = data_plane.live();
    let rules = |consumer: &str| -> Option<Rules> {
        let plan = live.snapshot.consumers.get(consumer)?.rotation.as_ref()?;
        Some(Rules { terms: Arc::clone(&plan.terms), by_link: plan.claim_url.is_some() })
    };
    let now = when::now_ms();
    let notices = |event: &KeyEvent| notice::keys::notices(&live.snapshot, event, now);
    store.keys().advance(rules, now, notices, |event| tell(&event)).await
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

/// Soon after the start, and not within it.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const PAUSE: Duration = Duration::from_secs(5);
/// A walk over a million keys takes seconds; with this rest after it, it costs 2 % of a core.
const REST: u32 = 50;
