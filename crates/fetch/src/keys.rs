//! The key sets of issuers: fetched before they are needed, kept while they are, fetched anew when a token asks.
//!
//! When to fetch and what to keep is decided by [`KeySetCache`]; this is the hand that does it, on the fetching
//! thread. Cores see a [`KeyRing`], one pointer, and wait only for a set that is not there or a key it lacks.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak, mpsc},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use arc_swap::ArcSwap;
use bartizan_identity::jwt::{Begin, Completion, FetchFlaw, Fetched, KeyRing, KeySetCache, Ticket, Timing};
use bartizan_model::scalar::FetchUrl;
use bartizan_telemetry::FetchPurpose;
use http::{HeaderMap, StatusCode};
use tokio::sync::Notify;

use super::{Answer, Ask, Client, Destination, FetchError, Fetcher, Flights, flight::Lost};

/// 2 s for one document, and the discovery of its address as long again.
const FETCH_MAX: Duration = Duration::from_secs(2);

/// 4 s: so long a request waits for a key set, discovery included.
const LOOKUP_MAX: Duration = Duration::from_secs(4);

/// One hour: so long the address from a discovery document is believed, unless fetching there fails.
const DISCOVERED_MAX: Duration = Duration::from_secs(3_600);

/// The pointer that a fetch swaps.
pub type CurrentRing = Arc<ArcSwap<KeyRing>>;

/// Where a key set comes from.
#[derive(Clone, Debug)]
pub struct KeySetSource {
    /// The key set, or the discovery document.
    pub at: Destination,
    /// The issuer that the discovery document must name; `None` where `at` is the key set.
    pub discovered_for: Option<Arc<str>>,
}

/// The key sets of a process.
pub struct KeySets {
    fetcher: Arc<Fetcher>,
    state: Mutex<State>,
    ring: CurrentRing,
    flights: Flights<Arc<str>, ()>,
    wake: Notify,
}

struct State {
    cache: KeySetCache,
    sources: HashMap<Arc<str>, KeySetSource>,
    discovered: HashMap<Arc<str>, (FetchUrl, Instant)>,
}

impl KeySets {
    /// Knows no set yet; keeps those it is told of fresh.
    pub fn start(fetcher: Arc<Fetcher>) -> Arc<Self> {
        let state = State {
            cache: KeySetCache::new(Timing::default()),
            sources: HashMap::new(),
            discovered: HashMap::new(),
        };
        let sets = Arc::new(KeySets {
            fetcher: Arc::clone(&fetcher),
            state: Mutex::new(state),
            ring: Arc::default(),
            flights: Flights::default(),
            wake: Notify::new(),
        });
        fetcher.spawn(keep_fresh(Arc::downgrade(&sets)));
        sets
    }

    /// From now on exactly these sets are wanted; those that were wanted before keep their keys.
    pub fn watch(&self, sources: HashMap<Arc<str>, KeySetSource>) {
        let mut state = self.state();
        state.cache.watch(sources.keys().cloned());
        state.discovered.retain(|name, _| sources.contains_key(name));
        state.sources = sources;
        self.ring.store(Arc::new(state.cache.ring()));
        drop(state);
        self.wake.notify_one();
    }

    /// Fetches what is wanted by `more` and not there, for at most `limit`, before [`KeySets::watch`] names it. Blocks.
    /// The answer names the sets that are not there then.
    pub fn prefetch(
        self: &Arc<Self>,
        more: &HashMap<Arc<str>, KeySetSource>,
        limit: Duration,
    ) -> Vec<Arc<str>> {
        let due = {
            let mut state = self.state();
            let wanted = state.sources.iter().chain(more);
            let wanted: HashMap<_, _> = wanted.map(|(name, one)| (name.clone(), one.clone())).collect();
            state.cache.watch(wanted.keys().cloned());
            state.sources = wanted;
            self.ring.store(Arc::new(state.cache.ring()));
            let due = state.cache.due(now_ms());
            due.into_iter().filter(|name| more.contains_key(name)).collect::<Vec<_>>()
        };
        let (tell, told) = mpsc::channel();
        for name in &due {
            let (sets, name, tell) = (Arc::clone(self), name.clone(), tell.clone());
            self.fetcher.spawn(async move {
                // The time is the caller's to keep, below.
                let _ = sets.look_up(name).await;
                let _ = tell.send(());
            });
        }
        drop(tell);
        let end = Instant::now() + limit;
        for _ in &due {
            if told.recv_timeout(end.saturating_duration_since(Instant::now())).is_err() {
                break;
            }
        }
        let (ring, now) = (self.ring.load(), now_ms());
        let is_there = |name: &str| {
            use bartizan_identity::jwt::{KeySource, Keys};
            matches!(ring.keys(name, now), Keys::Ready { .. })
        };
        more.keys().filter(|name| !is_there(name)).cloned().collect()
    }

    /// The sets as they are.
    pub fn current(&self) -> CurrentRing {
        Arc::clone(&self.ring)
    }

    /// Waits until a set was fetched, or until that failed.
    ///
    /// # Errors
    ///
    /// When neither happened in time.
    pub async fn look_up(self: &Arc<Self>, name: Arc<str>) -> Result<(), Lost> {
        let (sets, wanted) = (Arc::clone(self), name.clone());
        self.flights.join(&self.fetcher, name, LOOKUP_MAX, || sets.fetch(wanted)).await
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Fetches a set, if it may be fetched now.
    async fn fetch(self: Arc<Self>, name: Arc<str>) {
        let (ticket, source, known) = {
            let mut state = self.state();
            let Begin::Fetch(ticket) = state.cache.begin(&name, now_ms()) else { return };
            let known = state.discovered.get(&name).filter(|(_, at)| at.elapsed() < DISCOVERED_MAX);
            let known = known.map(|(url, _)| url.clone());
            (ticket, state.sources.get(&name).cloned(), known)
        };
        let fetched = match source {
            Some(source) => fetch_set(&self.fetcher.client(), &source, known).await,
            None => Err(Failure::Ended),
        };
        self.complete(&name, ticket, fetched);
    }

    fn complete(&self, name: &Arc<str>, ticket: Ticket, fetched: Result<Found, Failure>) {
        let mut state = self.state();
        let answer = fetched.as_ref().map_err(|_| FetchFlaw::Transport).map(|found| Fetched {
            body: &found.answer.body,
            fresh_ms: found
                .answer
                .fresh_for()
                .map(|fresh| u64::try_from(fresh.as_millis()).unwrap_or(u64::MAX)),
        });
        let completion = state.cache.complete(ticket, answer, now_ms());
        match &fetched {
            Ok(Found { discovered: Some(url), .. }) => {
                state.discovered.insert(name.clone(), (url.clone(), Instant::now()));
            }
            Ok(_) => {}
            // The address may be what is wrong.
            Err(_) => {
                state.discovered.remove(name);
            }
        }
        // Shown before anybody who waits is told.
        self.ring.store(Arc::new(state.cache.ring()));
        drop(state);
        self.wake.notify_one();
        match (completion, fetched) {
            (Completion::Installed { set, is_new: true }, _) => {
                let unusable: Vec<String> =
                    set.unusable().iter().map(|one| format!("[{}] {:?}", one.at, one.flaw)).collect();
                tracing::info!(set = %name, keys = set.keys().len(), ?unusable, "key set fetched");
            }
            (Completion::Kept(_), Err(error)) => tracing::warn!(set = %name, %error, "key set not fetched"),
            (Completion::Kept(flaw), Ok(_)) => tracing::warn!(set = %name, %flaw, "key set not fetched"),
            (Completion::Installed { .. } | Completion::Late, _) => {}
        }
    }
}

/// Fetches what is due, until the sets are dropped.
async fn keep_fresh(sets: Weak<KeySets>) {
    /// So long a change of the clock may go unseen.
    const SLEEP_MAX: Duration = Duration::from_secs(30);
    /// So often at most, however short answers say that they are fresh.
    const SLEEP_MIN: Duration = Duration::from_millis(500);
    loop {
        let Some(strong) = sets.upgrade() else { return };
        let now = now_ms();
        let (due, next) = {
            let state = strong.state();
            (state.cache.due(now), state.cache.next_due_unix_ms())
        };
        for name in due {
            let sets = Arc::clone(&strong);
            strong.fetcher.spawn(async move {
                // Told to the log by whoever fetches.
                let _ = sets.look_up(name).await;
            });
        }
        let sleep = next.map_or(SLEEP_MAX, |next| Duration::from_millis(next.saturating_sub(now)));
        tokio::time::sleep(SLEEP_MIN).await;
        let woken = strong.wake.notified();
        tokio::pin!(woken);
        // Waits on what it does not keep alive beyond the longest sleep.
        let _ = tokio::time::timeout(sleep.clamp(SLEEP_MIN, SLEEP_MAX), woken).await;
    }
}

/// What came.
struct Found {
    answer: Answer,
    discovered: Option<FetchUrl>,
}

/// Why nothing came; a sentence for the operator.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("the discovery document is not one of this issuer")]
    Discovery,
    #[error("nobody wants it any more")]
    Ended,
    #[error("{0}")]
    Fetch(#[from] FetchError),
    #[error("the discovery document names no usable jwks_uri")]
    NoAddress,
    #[error("status {0}")]
    Status(StatusCode),
}

async fn fetch_set(
    client: &Client,
    source: &KeySetSource,
    known: Option<FetchUrl>,
) -> Result<Found, Failure> {
    let ask = |purpose| Ask::get(purpose, HeaderMap::new());
    let Some(issuer) = &source.discovered_for else {
        let answer = ok(client.ask(&source.at, ask(FetchPurpose::KeySet), FETCH_MAX).await?)?;
        return Ok(Found { answer, discovered: None });
    };
    let url = match known {
        Some(url) => url,
        None => {
            let document = ok(client.ask(&source.at, ask(FetchPurpose::Discovery), FETCH_MAX).await?)?;
            discover(&document.body, issuer)?
        }
    };
    // The same rules as for the document that named it: an address in an answer opens no door that a document shut.
    let at = Destination { url: url.clone(), ..source.at.clone() };
    let answer = ok(client.ask(&at, ask(FetchPurpose::KeySet), FETCH_MAX).await?)?;
    Ok(Found { answer, discovered: Some(url) })
}

fn ok(answer: Answer) -> Result<Answer, Failure> {
    if answer.status == StatusCode::OK { Ok(answer) } else { Err(Failure::Status(answer.status)) }
}

/// OpenID Connect Discovery 1.0 §4.3, RFC 8414 §3.3: the document must name exactly the issuer it was asked for.
fn discover(document: &[u8], issuer: &str) -> Result<FetchUrl, Failure> {
    let document: serde_json::Value = serde_json::from_slice(document).map_err(|_| Failure::Discovery)?;
    let text = |name: &str| document.get(name).and_then(serde_json::Value::as_str);
    if text("issuer") != Some(issuer) {
        return Err(Failure::Discovery);
    }
    text("jwks_uri").and_then(|url| url.parse().ok()).ok_or(Failure::NoAddress)
}

fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_discovery_document_must_name_the_issuer_it_was_asked_for() {
        let document = |issuer: &str, uri: &str| format!(r#"{{"issuer":"{issuer}","jwks_uri":"{uri}"}}"#);
        let issuer = "https://id.example";
        let found = discover(document(issuer, "https://keys.example/k").as_bytes(), issuer).unwrap();
        assert_eq!(found.to_string(), "https://keys.example/k");
        for text in [
            document("https://id.example/", "https://keys.example/k"),
            document("https://other.example", "https://keys.example/k"),
            document(issuer, "file:///etc/passwd"),
            r#"{"issuer":"https://id.example"}"#.to_owned(),
            "[]".to_owned(),
            "<html>".to_owned(),
        ] {
            assert!(discover(text.as_bytes(), issuer).is_err(), "{text}");
        }
    }
}
