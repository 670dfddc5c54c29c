//! Many ask, one fetches: the callers that need the same thing wait for the same answer.
//!
//! Waiting is runtime-neutral: a one-shot that the fetching thread fills, with a deadline kept by whoever waits. A
//! flight whose task ends without an answer tells everybody so at once.

use std::{
    collections::HashMap,
    future::Future,
    hash::Hash,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::sync::oneshot;

use super::Fetcher;

/// 1,024 callers wait for one answer; whoever comes after is told at once that it cannot be had.
const WAITERS_MAX: usize = 1_024;

/// The flights under way, by what they bring.
pub struct Flights<K, V> {
    waiting: Arc<Mutex<Waiting<K, V>>>,
}

type Waiting<K, V> = HashMap<K, Vec<oneshot::Sender<V>>>;

/// Nothing was brought: the time is over, too many wait, or the flight broke off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost;

impl<K, V> Default for Flights<K, V> {
    fn default() -> Self {
        Flights { waiting: Arc::default() }
    }
}

impl<K, V> Flights<K, V>
where
    K: Clone + Eq + Hash + Send + 'static,
    V: Clone + Send + 'static,
{
    /// Waits at most `limit` for what `key` names; `fetch` is begun on the fetching thread unless it is under way. It
    /// goes on when everybody who waits has left.
    ///
    /// # Errors
    ///
    /// [`Lost`], when there is no answer to wait for, or none in time.
    pub async fn join<F>(
        &self,
        fetcher: &Fetcher,
        key: K,
        limit: Duration,
        fetch: impl FnOnce() -> F,
    ) -> Result<V, Lost>
    where
        F: Future<Output = V> + Send + 'static,
    {
        let (tell, told) = oneshot::channel();
        if self.board(&key, tell)? {
            let landing = Landing { waiting: Arc::clone(&self.waiting), key, has_landed: false };
            let flight = fetch();
            fetcher.spawn(async move {
                let brought = flight.await;
                landing.tell(&brought);
            });
        }
        match tokio::time::timeout(limit, told).await {
            Ok(Ok(brought)) => Ok(brought),
            Ok(Err(_)) | Err(_) => Err(Lost),
        }
    }

    /// Joins those who wait; whether they are the first.
    fn board(&self, key: &K, tell: oneshot::Sender<V>) -> Result<bool, Lost> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        match waiting.get_mut(key) {
            Some(others) => {
                // Those who left make room.
                if others.len() >= WAITERS_MAX {
                    others.retain(|other| !other.is_closed());
                }
                if others.len() >= WAITERS_MAX {
                    return Err(Lost);
                }
                others.push(tell);
                Ok(false)
            }
            None => {
                waiting.insert(key.clone(), vec![tell]);
                Ok(true)
            }
        }
    }
}

/// Takes a flight off the board however it ends.
struct Landing<K: Eq + Hash, V> {
    waiting: Arc<Mutex<Waiting<K, V>>>,
    key: K,
    /// Whether it is off the board already: what stands there under its key is then another flight.
    has_landed: bool,
}

impl<K: Eq + Hash, V: Clone> Landing<K, V> {
    fn tell(mut self, brought: &V) {
        for waiter in self.take() {
            // Whoever waited may have left.
            let _ = waiter.send(brought.clone());
        }
    }
}

impl<K: Eq + Hash, V> Landing<K, V> {
    fn take(&mut self) -> Vec<oneshot::Sender<V>> {
        if std::mem::replace(&mut self.has_landed, true) {
            return Vec::new();
        }
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.remove(&self.key).unwrap_or_default()
    }
}

impl<K: Eq + Hash, V> Drop for Landing<K, V> {
    fn drop(&mut self) {
        // A task that was dropped lets those who wait know by dropping their ends.
        drop(self.take());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn run<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
    }

    const LONG: Duration = Duration::from_secs(10);

    #[test]
    fn many_who_ask_for_one_thing_make_one_flight() {
        let fetcher = Fetcher::start(Arc::default()).unwrap();
        let flights = Flights::<&str, usize>::default();
        let flown = Arc::new(AtomicUsize::new(0));
        run(async {
            let ask = || {
                let flown = Arc::clone(&flown);
                flights.join(&fetcher, "keys", LONG, || async move {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    flown.fetch_add(1, Ordering::Relaxed) + 7
                })
            };
            let (one, two, three) = tokio::join!(ask(), ask(), ask());
            assert_eq!((one, two, three), (Ok(7), Ok(7), Ok(7)));
            assert_eq!(flown.load(Ordering::Relaxed), 1);
            // The next one flies anew.
            assert_eq!(ask().await, Ok(8));
        });
    }

    /// Whoever was told may board anew before the flight that told has wholly ended.
    #[test]
    fn a_flight_that_has_told_leaves_the_next_one_on_the_board() {
        let flights = Flights::<&str, ()>::default();
        let waiting = Arc::clone(&flights.waiting);
        let mut first = Landing { waiting: Arc::clone(&waiting), key: "keys", has_landed: false };
        waiting.lock().unwrap().insert("keys", Vec::new());
        drop(first.take());
        waiting.lock().unwrap().insert("keys", Vec::new());
        drop(first);
        assert!(waiting.lock().unwrap().contains_key("keys"));
    }

    #[test]
    fn a_flight_that_breaks_off_is_told_at_once() {
        let fetcher = Fetcher::start(Arc::default()).unwrap();
        let flights = Flights::<&str, ()>::default();
        run(async {
            let asked = flights.join(&fetcher, "keys", LONG, || async { panic!("on purpose") });
            assert_eq!(asked.await, Err(Lost));
            assert_eq!(flights.join(&fetcher, "keys", LONG, || async {}).await, Ok(()));
        });
    }

    #[test]
    fn nobody_waits_longer_than_they_say_and_the_board_is_bounded() {
        let fetcher = Fetcher::start(Arc::default()).unwrap();
        let flights = Flights::<&str, ()>::default();
        run(async {
            let never = || async { std::future::pending::<()>().await };
            let short = Duration::from_millis(20);
            assert_eq!(flights.join(&fetcher, "keys", short, never).await, Err(Lost));
            let mut waiters = Vec::new();
            while waiters.len() < WAITERS_MAX {
                let (tell, told) = oneshot::channel();
                // The first attempt's place is free again: it has left.
                assert!(!flights.board(&"keys", tell).unwrap());
                waiters.push(told);
            }
            let (tell, _told) = oneshot::channel();
            assert_eq!(flights.board(&"keys", tell), Err(Lost));
        });
    }
}
