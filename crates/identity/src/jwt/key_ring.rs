//! The life of fetched key sets: when to fetch, what to keep, what to tell the judge.
//!
//! Pure: it fetches nothing and reads no clock. One [`KeySetCache`] per process decides, on whatever runs the fetches;
//! after each change it is shown to the cores as a [`KeyRing`], which never waits. What it holds to:
//!
//! - one fetch at a time per set, however many ask ([`Ticket`]);
//! - an unknown key asks again at most every 30 s, so invented names cost nothing; a set's first fetch does not count,
//!   so a key that changes soon after the start is found at once;
//! - a set that cannot be fetched again is kept for 24 h, since an issuer's outage must not become ours;
//! - without any set, asking in vain is remembered: 2 s, then doubling up to 30 s;
//! - an unchanged set keeps its generation, so tokens verified before stay so.

use std::{collections::HashMap, fmt, sync::Arc};

use crate::{
    jwk::{KeySet, KeySetFlaw, Origin},
    jwt::source::{KeySource, Keys},
};

/// How long things last, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// How long a set counts as fresh where its answer does not say.
    pub fresh_ms: u64,
    /// The least that an answer may say.
    pub fresh_ms_min: u64,
    /// The most that an answer may say.
    pub fresh_ms_max: u64,
    /// How long a set that is no longer fresh is kept if no newer can be had.
    pub stale_ms: u64,
    /// The least time between two fetches of a set that is there.
    pub refresh_ms_min: u64,
    /// After how long a first vain fetch may be repeated.
    pub retry_ms_min: u64,
    /// After how long a fetch is given up whose end nobody told.
    pub flight_ms_max: u64,
}

impl Default for Timing {
    fn default() -> Self {
        Timing {
            fresh_ms: 600_000,
            fresh_ms_min: 60_000,
            fresh_ms_max: 3_600_000,
            stale_ms: 86_400_000,
            refresh_ms_min: 30_000,
            retry_ms_min: 2_000,
            flight_ms_max: 10_000,
        }
    }
}

/// Decides when key sets are fetched, and keeps them.
#[derive(Debug)]
pub struct KeySetCache {
    entries: HashMap<Arc<str>, Entry>,
    timing: Timing,
    generation: u64,
    flights: u64,
}

#[derive(Debug, Default)]
struct Entry {
    held: Option<Held>,
    flight: Option<Flight>,
    /// Vain fetches since the last good one.
    failures: u32,
    /// When a token may ask.
    ask_ms: u64,
    /// When it is fetched without being asked for.
    due_ms: u64,
}

#[derive(Clone, Debug)]
struct Held {
    set: Arc<KeySet>,
    generation: u64,
    until_ms: u64,
}

#[derive(Clone, Copy, Debug)]
struct Flight {
    number: u64,
    until_ms: u64,
}

/// The right and the duty to fetch a set: hand it back with [`KeySetCache::complete`].
#[derive(Debug)]
#[must_use]
pub struct Ticket {
    issuer: Arc<str>,
    number: u64,
}

impl Ticket {
    /// Which set.
    pub fn issuer(&self) -> &Arc<str> {
        &self.issuer
    }
}

/// What [`KeySetCache::begin`] answers.
#[derive(Debug)]
pub enum Begin {
    /// Fetch it.
    Fetch(Ticket),
    /// Somebody does: wait for that.
    InFlight,
    /// Not now: judge with what is known.
    NotNow,
    /// No issuer has a set of this name.
    Unknown,
}

/// A fetched answer.
#[derive(Clone, Copy)]
pub struct Fetched<'a> {
    /// The text, at most [`KeySet::BYTES_MAX`] bytes of it.
    pub body: &'a [u8],
    /// How long the answer says it is fresh.
    pub fresh_ms: Option<u64>,
}

/// Why a fetch was in vain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FetchFlaw {
    /// What came is no key set that we take.
    Set(KeySetFlaw),
    /// Nothing came: connection, status, time. Whoever fetches says more.
    Transport,
}

impl fmt::Display for FetchFlaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FetchFlaw::Set(flaw) => write!(f, "key set refused: {flaw}"),
            FetchFlaw::Transport => f.write_str("key set not fetched"),
        }
    }
}

/// What became of a fetch.
#[derive(Clone, Debug)]
pub enum Completion {
    /// A set came. Keys that were left out are in it.
    Installed {
        /// The set in force.
        set: Arc<KeySet>,
        /// Whether it verifies otherwise than the one before.
        is_new: bool,
    },
    /// None came. The one before stays for its time, if there is one.
    Kept(FetchFlaw),
    /// The ticket was given up before, or nobody wants the set any more: nothing changed.
    Late,
}

impl KeySetCache {
    /// Knows no set yet.
    pub fn new(timing: Timing) -> Self {
        KeySetCache { entries: HashMap::new(), timing, generation: 0, flights: 0 }
    }

    /// From now on exactly these sets are wanted; those that were wanted before keep their keys.
    pub fn watch(&mut self, issuers: impl IntoIterator<Item = Arc<str>>) {
        let mut before = std::mem::take(&mut self.entries);
        self.entries = issuers
            .into_iter()
            .map(|issuer| {
                let entry = before.remove(&issuer).unwrap_or_default();
                (issuer, entry)
            })
            .collect();
    }

    /// The sets to fetch without being asked: new ones, and those no longer fresh.
    pub fn due(&self, now_unix_ms: u64) -> Vec<Arc<str>> {
        let is_due = |entry: &Entry| {
            !entry.is_in_flight(now_unix_ms) && has_come(entry.due_ms, now_unix_ms, self.timing.fresh_ms_max)
        };
        self.entries.iter().filter(|(_, entry)| is_due(entry)).map(|(issuer, _)| Arc::clone(issuer)).collect()
    }

    /// When the next set is due; `None` if there is none to wait for.
    pub fn next_due_unix_ms(&self) -> Option<u64> {
        self.entries
            .values()
            .map(|entry| entry.flight.map_or(entry.due_ms, |flight| flight.until_ms.max(entry.due_ms)))
            .min()
    }

    /// Asks for a fetch: because it is due, or because a token needs it.
    pub fn begin(&mut self, issuer: &str, now_unix_ms: u64) -> Begin {
        let Some((name, entry)) = self.entries.get_key_value(issuer) else {
            return Begin::Unknown;
        };
        if entry.is_in_flight(now_unix_ms) {
            return Begin::InFlight;
        }
        let may_ask = has_come(entry.ask_ms, now_unix_ms, self.timing.refresh_ms_min);
        let is_due = has_come(entry.due_ms, now_unix_ms, self.timing.fresh_ms_max);
        if !may_ask && !is_due {
            return Begin::NotNow;
        }
        let name = Arc::clone(name);
        self.flights += 1;
        let number = self.flights;
        let until_ms = now_unix_ms.saturating_add(self.timing.flight_ms_max);
        if let Some(entry) = self.entries.get_mut(issuer) {
            entry.flight = Some(Flight { number, until_ms });
        }
        Begin::Fetch(Ticket { issuer: name, number })
    }

    /// Takes back a ticket with what came of it.
    pub fn complete(
        &mut self,
        ticket: Ticket,
        fetched: Result<Fetched<'_>, FetchFlaw>,
        now_unix_ms: u64,
    ) -> Completion {
        let timing = self.timing;
        let Some(entry) = self.entries.get_mut(&ticket.issuer) else {
            return Completion::Late;
        };
        if entry.flight.is_none_or(|flight| flight.number != ticket.number) {
            return Completion::Late;
        }
        entry.flight = None;
        let read = fetched.and_then(|fetched| {
            let set = KeySet::parse(fetched.body, Origin::Published).map_err(FetchFlaw::Set)?;
            Ok((set, fetched.fresh_ms))
        });
        let (set, fresh_ms) = match read {
            Ok(read) => read,
            Err(flaw) => {
                entry.fail(timing, now_unix_ms);
                return Completion::Kept(flaw);
            }
        };
        let fresh_ms = fresh_ms.unwrap_or(timing.fresh_ms).clamp(timing.fresh_ms_min, timing.fresh_ms_max);
        entry.failures = 0;
        entry.due_ms = now_unix_ms.saturating_add(fresh_ms);
        // The first set brings no waiting: what it lacks may have come since.
        entry.ask_ms =
            if entry.held.is_some() { now_unix_ms.saturating_add(timing.refresh_ms_min) } else { 0 };
        let until_ms = entry.due_ms.saturating_add(timing.stale_ms);
        let is_new = entry.held.as_ref().is_none_or(|held| held.set.print() != set.print());
        if is_new {
            self.generation += 1;
        }
        let generation = match &entry.held {
            Some(held) if !is_new => held.generation,
            _ => self.generation,
        };
        let set = Arc::new(set);
        entry.held = Some(Held { set: Arc::clone(&set), generation, until_ms });
        Completion::Installed { set, is_new }
    }

    /// What the cores are shown. Show it anew after every [`KeySetCache::complete`] and [`KeySetCache::watch`].
    pub fn ring(&self) -> KeyRing {
        let standings = self.entries.iter().map(|(issuer, entry)| {
            (Arc::clone(issuer), Standing { held: entry.held.clone(), ask_ms: entry.ask_ms })
        });
        KeyRing { standings: standings.collect(), ask_ms_max: self.timing.refresh_ms_min }
    }
}

impl Entry {
    fn is_in_flight(&self, now_unix_ms: u64) -> bool {
        self.flight.is_some_and(|flight| now_unix_ms < flight.until_ms)
    }

    fn fail(&mut self, timing: Timing, now_unix_ms: u64) {
        let doubled = timing.retry_ms_min.saturating_mul(1 << self.failures.min(16));
        self.failures = self.failures.saturating_add(1);
        let is_held = self.held.as_ref().is_some_and(|held| now_unix_ms < held.until_ms);
        let wait = if is_held { timing.refresh_ms_min } else { doubled.min(timing.refresh_ms_min) };
        self.ask_ms = now_unix_ms.saturating_add(wait);
        self.due_ms = self.ask_ms;
    }
}

/// The key sets as they are at one moment, for all cores.
#[derive(Clone, Debug, Default)]
pub struct KeyRing {
    standings: HashMap<Arc<str>, Standing>,
    ask_ms_max: u64,
}

#[derive(Clone, Debug)]
struct Standing {
    held: Option<Held>,
    ask_ms: u64,
}

impl KeySource for KeyRing {
    fn keys(&self, issuer: &str, now_unix_ms: u64) -> Keys<'_> {
        let Some(standing) = self.standings.get(issuer) else {
            return Keys::Unavailable;
        };
        let may_ask = has_come(standing.ask_ms, now_unix_ms, self.ask_ms_max);
        match &standing.held {
            Some(held) if now_unix_ms < held.until_ms => {
                Keys::Ready { set: &held.set, generation: held.generation, may_ask }
            }
            _ if may_ask => Keys::Missing,
            _ => Keys::Unavailable,
        }
    }
}

/// Whether a time has come. One that lies further ahead than any wait lasts was set by a clock that has been turned
/// back since.
const fn has_come(at_ms: u64, now_ms: u64, wait_ms_max: u64) -> bool {
    now_ms >= at_ms || at_ms - now_ms > wait_ms_max
}

#[cfg(test)]
mod tests;
