//! What the management listener tells. The binary sets it; the listener only reads.

use std::{
    collections::BTreeMap,
    fmt,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU8, Ordering},
    },
};

use bartizan_config::Set;
use bartizan_identity::LifeTerms;
use bartizan_telemetry::Metrics;
use serde_json::Value;

use crate::api::{Api, OpenId};

/// Everything the listener needs to answer.
pub struct ManagementState {
    /// The metrics of the process.
    pub metrics: Arc<Metrics>,
    /// Whether the gateway serves.
    pub readiness: Readiness,
    /// Host names, besides addresses and `localhost`, under which the listener may be called.
    pub names: Vec<String>,
    /// What an operator should know though the gateway serves; told by `/readyz`.
    pub notices: Notices,
    /// The management API; none: its paths do not exist.
    pub api: Option<Arc<Api>>,
    /// By which rules the keys of a consumer are replaced: terms, and the address of claims.
    pub key_rules: Option<KeyRules>,
    /// The documents in force where they come from files, and the addresses that are served.
    pub served: Served,
    /// The OpenID provider by which administrators sign in; none: by password alone.
    pub openid: Option<Arc<OpenId>>,
    /// Looks up the last refusals; none where no requests are kept.
    pub refusals: Option<Refusals>,
    /// Drops kept answers; none: there is no cache to drop from.
    pub purge: Option<PurgeCache>,
    /// The report about unusual behaviour as JSON; none where nobody looks for it.
    pub insight: Option<InsightReport>,
    /// Called before each scrape to bring figures up to date that are not counted as they change.
    pub before_scrape: Option<BeforeScrape>,
}

/// Tells the rules of a consumer's keys, from the documents in force.
pub type KeyRules = Box<dyn Fn(&str) -> Option<(LifeTerms, Option<String>)> + Send + Sync>;

/// Gives the newest report about unusual behaviour, as JSON; none before there is one.
pub type InsightReport = Box<dyn Fn() -> Option<Arc<str>> + Send + Sync>;

/// Brings figures up to date; runs on the management thread and must not block for long.
pub type BeforeScrape = Box<dyn Fn(&Metrics) + Send + Sync>;

/// Looks up the last refusals, newest first, each as `why` tells it; reads files, so it is for a thread that may block.
pub type Refusals = Arc<dyn Fn(usize) -> Result<Vec<Value>, String> + Send + Sync>;

/// Drops kept answers, and says how many; nothing if what is meant is none.
pub type PurgeCache = Box<dyn Fn(&Purged<'_>) -> Option<usize> + Send + Sync>;

/// Which kept answers are dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purged<'a> {
    /// Those of a URL, of every caller.
    Url(&'a str),
    /// Those whose URL begins so.
    Prefix(&'a str),
    /// Those with a tag.
    Tag(&'a str),
    /// All.
    All,
}

impl ManagementState {
    /// A state that is starting, with these metrics, no names and no callback.
    pub fn new(metrics: Arc<Metrics>) -> Self {
        ManagementState {
            metrics,
            readiness: Readiness::default(),
            names: Vec::new(),
            notices: Notices::default(),
            api: None,
            key_rules: None,
            served: Served::default(),
            openid: None,
            refusals: None,
            purge: None,
            insight: None,
            before_scrape: None,
        }
    }
}

impl fmt::Debug for ManagementState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ManagementState")
            .field("readiness", &self.readiness.phase())
            .field("names", &self.names)
            .finish_non_exhaustive()
    }
}

/// Where the gateway is between its start and its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// No snapshot serves yet.
    #[default]
    Starting,
    /// A snapshot serves.
    Ready,
    /// The gateway ends: it finishes what it has and should get nothing new.
    Draining,
}

impl Phase {
    /// The word in the answer of `/readyz`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Phase::Starting => "starting",
            Phase::Ready => "ready",
            Phase::Draining => "draining",
        }
    }

    /// One sentence for a person.
    pub const fn meaning(self) -> &'static str {
        match self {
            Phase::Starting => "no set of documents serves yet",
            Phase::Ready => "requests are served",
            Phase::Draining => "the gateway stops and takes no new requests",
        }
    }
}

/// The phase, readable and settable from any thread.
#[derive(Debug, Default)]
pub struct Readiness(AtomicU8);

impl Readiness {
    /// The phase now.
    pub fn phase(&self) -> Phase {
        match self.0.load(Ordering::Acquire) {
            READY => Phase::Ready,
            DRAINING => Phase::Draining,
            _ => Phase::Starting,
        }
    }

    /// The first snapshot serves. A gateway that drains stays draining.
    pub fn set_ready(&self) {
        // Only from the start: a reload that finishes while the gateway stops must not call new requests in.
        let _ = self.0.compare_exchange(STARTING, READY, Ordering::AcqRel, Ordering::Acquire);
    }

    /// The gateway stops; there is no way back.
    pub fn set_draining(&self) {
        self.0.store(DRAINING, Ordering::Release);
    }
}

/// What is wrong though the gateway serves, at most one sentence about each matter.
#[derive(Debug, Default)]
pub struct Notices(Mutex<BTreeMap<&'static str, String>>);

impl Notices {
    /// Says what is wrong with a matter, instead of what was said before.
    pub fn set(&self, matter: &'static str, sentence: impl Into<String>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(matter, sentence.into());
    }

    /// Nothing is wrong with a matter any more.
    pub fn clear(&self, matter: &'static str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(matter);
    }

    /// All that is wrong, by matter.
    pub fn all(&self) -> BTreeMap<&'static str, String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// What serves now, as far as only the process can tell.
#[derive(Debug, Default)]
pub struct Served(Mutex<Serving>);

/// One set and the addresses at which it is served.
#[derive(Clone, Debug, Default)]
pub struct Serving {
    /// The set; none where revisions of a store are served.
    pub set: Option<Arc<Set>>,
    /// The addresses.
    pub listeners: Vec<ServedListener>,
}

/// An address that is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServedListener {
    /// The Listener's name.
    pub name: String,
    /// The address.
    pub address: SocketAddr,
    /// Whether TLS is spoken.
    pub tls: bool,
}

impl Served {
    /// Says what serves, instead of what served before.
    pub fn set(&self, serving: Serving) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = serving;
    }

    /// What serves.
    pub fn now(&self) -> Serving {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

const STARTING: u8 = 0;
const READY: u8 = 1;
const DRAINING: u8 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readiness_goes_one_way() {
        let readiness = Readiness::default();
        assert_eq!(readiness.phase(), Phase::Starting);
        readiness.set_ready();
        assert_eq!(readiness.phase(), Phase::Ready);
        readiness.set_draining();
        readiness.set_ready();
        assert_eq!(readiness.phase(), Phase::Draining);
    }
}
