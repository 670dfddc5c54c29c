//! Equal requests on their way: the first asks, the others wait for its answer.
//!
//! The key holds whose answer it is, so that nobody waits for another's. Waiting ends when the answer is kept, when it is
//! clear that it will not be, and when its time is over; whoever waited then looks again, and asks for itself if nothing
//! is there. A flight on which somebody waited in vain is given up, so that a caller who reads slowly cannot hold up
//! those who come later; and a key whose answer turned out not to be shared is not waited for again for a while.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bartizan_cache::Key;
use tokio::sync::watch;

/// Cores look at once; more shards than that.
const SHARDS: usize = 16;

/// 10 s: long enough that callers of what is never kept do not wait for each other again and again.
const ALONE_MS: u64 = 10_000;

/// 1 s: while an upstream fails and stale answers are given, it is asked that often for each of them.
const FAILING_MS: u64 = 1_000;

/// 1,024 keys per shard are marked. With more, all marks are forgotten, and learned once more.
const MARKS_MAX: usize = 1_024;

/// All flights of the process.
#[derive(Debug)]
pub(crate) struct Flights {
    shards: Box<[Mutex<Shard>]>,
    hasher: RandomState,
}

#[derive(Debug, Default)]
struct Shard {
    flying: HashMap<Key, watch::Receiver<()>>,
    /// What is known of keys, until this millisecond of the steady clock.
    marks: HashMap<Key, (u64, Mark)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mark {
    /// The answer is not one that others may have.
    NotShared,
    /// The upstream failed.
    Failing,
}

/// What a request that found nothing is to do.
pub(crate) enum Joined {
    /// Ask, for others too.
    Leads(Lead),
    /// Wait for the one who asks.
    Waits(Flight),
    /// Ask, for itself.
    Alone,
    /// The upstream has just failed: whoever may use what is stale need not ask.
    Failing,
}

/// The one who asks. Those who wait look again when it is dropped.
#[derive(Debug)]
pub(crate) struct Lead {
    flights: Arc<Flights>,
    key: Key,
    ended: watch::Sender<()>,
}

/// An equal request that is on its way.
#[derive(Debug)]
pub(crate) struct Flight {
    flights: Arc<Flights>,
    key: Key,
    ended: watch::Receiver<()>,
}

impl Flights {
    pub(crate) fn new(hasher: RandomState) -> Arc<Self> {
        Arc::new(Flights { shards: (0..SHARDS).map(|_| Mutex::default()).collect(), hasher })
    }

    /// Joins the flight of `key`, or begins one if the request may.
    pub(crate) fn join(self: &Arc<Self>, key: &Key, may_lead: bool, now_ms: u64) -> Joined {
        let mut shard = self.shard(key);
        if let Some(ended) = shard.flying.get(key) {
            return Joined::Waits(Flight { flights: self.clone(), key: key.clone(), ended: ended.clone() });
        }
        match shard.marks.get(key) {
            Some((until, Mark::NotShared)) if now_ms < *until => return Joined::Alone,
            Some((until, Mark::Failing)) if now_ms < *until => return Joined::Failing,
            Some(_) => drop(shard.marks.remove(key)),
            None => {}
        }
        if !may_lead {
            return Joined::Alone;
        }
        let (sender, receiver) = watch::channel(());
        shard.flying.insert(key.clone(), receiver);
        Joined::Leads(Lead { flights: self.clone(), key: key.clone(), ended: sender })
    }

    fn shard(&self, key: &Key) -> MutexGuard<'_, Shard> {
        let at = usize::try_from(self.hasher.hash_one(key) % SHARDS as u64).unwrap_or_default();
        #[expect(clippy::indexing_slicing, reason = "a remainder by the number of shards")]
        self.shards[at].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lead {
    /// The answer is not one that others may have: for a while nobody waits for such a one.
    pub(crate) fn mark_unshared(self, now_ms: u64) {
        self.mark(Mark::NotShared, now_ms.saturating_add(ALONE_MS), now_ms);
    }

    /// The upstream failed, and something stale was given: for a moment it is not asked again.
    pub(crate) fn mark_failing(self, now_ms: u64) {
        self.mark(Mark::Failing, now_ms.saturating_add(FAILING_MS), now_ms);
    }

    fn mark(&self, mark: Mark, until: u64, now_ms: u64) {
        let mut shard = self.flights.shard(&self.key);
        if shard.marks.len() >= MARKS_MAX {
            shard.marks.retain(|_, (until, _)| now_ms < *until);
        }
        if shard.marks.len() >= MARKS_MAX {
            shard.marks.clear();
        }
        shard.marks.insert(self.key.clone(), (until, mark));
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        let mut shard = self.flights.shard(&self.key);
        // Given up meanwhile, the place may be another's.
        if shard.flying.get(&self.key).is_some_and(|ended| self.ended.subscribe().same_channel(ended)) {
            shard.flying.remove(&self.key);
        }
    }
}

impl Flight {
    /// Waits until the answer is kept or will not be; false if that took longer than `limit`.
    pub(crate) async fn ended(mut self, limit: Duration) -> bool {
        // Nothing is ever sent: the channel ends with the one who asks.
        if tokio::time::timeout(limit, self.ended.changed()).await.is_ok() {
            return true;
        }
        let mut shard = self.flights.shard(&self.key);
        if shard.flying.get(&self.key).is_some_and(|ended| self.ended.same_channel(ended)) {
            shard.flying.remove(&self.key);
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use bartizan_cache::{Class, Url};
    use http::Method;

    use super::*;

    fn key(path: &str) -> Key {
        let url = Url::new("http", "a.example", 80, path);
        Key::of(&Method::GET, url, Class::Anonymous, "r".into()).unwrap()
    }

    fn lead(flights: &Arc<Flights>, key: &Key, now_ms: u64) -> Lead {
        match flights.join(key, true, now_ms) {
            Joined::Leads(lead) => lead,
            Joined::Waits(_) => panic!("waits"),
            Joined::Alone | Joined::Failing => panic!("alone"),
        }
    }

    fn flight(flights: &Arc<Flights>, key: &Key) -> Flight {
        match flights.join(key, true, 0) {
            Joined::Waits(flight) => flight,
            _ => panic!("does not wait"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn equal_requests_wait_until_the_first_has_its_answer_and_others_do_not() {
        let flights = Flights::new(RandomState::new());
        let first = lead(&flights, &key("/a"), 0);
        let other = lead(&flights, &key("/b"), 0);
        let waiting = flight(&flights, &key("/a"));
        drop(first);
        assert!(waiting.ended(Duration::from_secs(5)).await);
        drop(lead(&flights, &key("/a"), 0));
        drop(other);
        assert!(flights.shards.iter().all(|shard| shard.lock().unwrap().flying.is_empty()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_flight_that_takes_too_long_is_given_up_for_those_who_come_later() {
        let flights = Flights::new(RandomState::new());
        let slow = lead(&flights, &key("/a"), 0);
        assert!(!flight(&flights, &key("/a")).ended(Duration::from_secs(5)).await);
        let next = lead(&flights, &key("/a"), 0);
        drop(slow);
        assert!(
            matches!(flights.join(&key("/a"), true, 0), Joined::Waits(_)),
            "the slow one took the next one's place"
        );
        drop(next);
    }

    #[test]
    fn what_mark_unshared_is_not_waited_for_for_a_while() {
        let flights = Flights::new(RandomState::new());
        lead(&flights, &key("/a"), 0).mark_unshared(0);
        assert!(matches!(flights.join(&key("/a"), true, ALONE_MS - 1), Joined::Alone));
        assert!(matches!(flights.join(&key("/a"), false, ALONE_MS), Joined::Alone));
        assert!(matches!(flights.join(&key("/a"), true, ALONE_MS), Joined::Leads(_)));
    }

    #[test]
    fn an_upstream_that_fails_is_asked_once_in_a_while() {
        let flights = Flights::new(RandomState::new());
        lead(&flights, &key("/a"), 0).mark_failing(0);
        assert!(matches!(flights.join(&key("/a"), true, FAILING_MS - 1), Joined::Failing));
        assert!(matches!(flights.join(&key("/b"), true, FAILING_MS - 1), Joined::Leads(_)));
        assert!(matches!(flights.join(&key("/a"), true, FAILING_MS), Joined::Leads(_)));
    }

    #[test]
    fn the_keys_that_are_marked_are_bounded() {
        let flights = Flights::new(RandomState::new());
        for number in 0..100_000 {
            lead(&flights, &key(&format!("/{number}")), 0).mark_unshared(0);
        }
        assert!(flights.shards.iter().all(|shard| shard.lock().unwrap().marks.len() <= MARKS_MAX));
    }
}
