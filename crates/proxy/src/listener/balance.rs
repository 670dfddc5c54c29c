//! Which core has a connection: counts, and the way of a fresh socket from one core to another.
//!
//! The kernel spreads connections over the cores' sockets by a hash and not by load, so a few long-lived connections
//! can all end on one core. A core that would have more than 1.25 times the mean gives a fresh socket away, before
//! anything was read from it. The queue between cores is bounded; a core that is behind gets nothing more.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use tokio::sync::mpsc;

use super::{caps::Permit, core::Setting};

/// How many connections each core has, and the way from one to another.
#[derive(Debug)]
pub(crate) struct Balance {
    open: Vec<AtomicUsize>,
    queues: Vec<mpsc::Sender<HandedOver>>,
}

/// A socket on its way to another core.
#[derive(Debug)]
pub(crate) struct HandedOver {
    /// The listener as the accepting core knew it.
    pub(crate) setting: Arc<Setting>,
    pub(crate) stream: std::net::TcpStream,
    pub(crate) peer: SocketAddr,
    pub(crate) declared: bool,
    pub(crate) permit: Permit,
    pub(crate) seat: Seat,
    pub(crate) opened: Instant,
}

/// A connection's place in its core's count.
#[derive(Debug)]
pub(crate) struct Seat {
    balance: Arc<Balance>,
    core: usize,
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(open) = self.balance.open.get(self.core) {
            open.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Balance {
    /// For so many cores, each with the end of its queue.
    pub(crate) fn new(cores: usize) -> (Arc<Balance>, Vec<mpsc::Receiver<HandedOver>>) {
        let (queues, ends) = (0..cores).map(|_| mpsc::channel(HANDED_OVER_MAX)).unzip();
        let open = (0..cores).map(|_| AtomicUsize::new(0)).collect();
        (Arc::new(Balance { open, queues }), ends)
    }

    /// Open connections per core.
    pub(crate) fn open_connections(&self) -> Vec<usize> {
        self.open.iter().map(|open| open.load(Ordering::Relaxed)).collect()
    }

    /// Counts a connection on a core.
    pub(crate) fn seat(self: &Arc<Self>, core: usize) -> Seat {
        if let Some(open) = self.open.get(core) {
            open.fetch_add(1, Ordering::Relaxed);
        }
        Seat { balance: Arc::clone(self), core }
    }

    /// The core that should have the next connection instead of `own`, and a seat there: when `own` would have more
    /// than 1.25 times the mean and another has fewer.
    pub(crate) fn better_core(self: &Arc<Self>, own: usize) -> Option<(usize, Seat)> {
        let count = |open: &AtomicUsize| open.load(Ordering::Relaxed);
        let mine = count(self.open.get(own)?);
        let total: usize = self.open.iter().map(count).sum();
        // (mine + 1) > 1.25 * (total + 1) / cores, in whole numbers.
        if 4 * (mine + 1) * self.open.len() <= 5 * (total + 1) {
            return None;
        }
        let (least, fewest) = self.open.iter().map(count).enumerate().min_by_key(|(_, open)| *open)?;
        (fewest < mine).then(|| (least, self.seat(least)))
    }

    /// Hands a socket over; gives it back when the other core's queue is full.
    pub(crate) fn send(&self, core: usize, socket: HandedOver) -> Result<(), Box<HandedOver>> {
        match self.queues.get(core) {
            Some(queue) => queue.try_send(socket).map_err(|full| Box::new(full.into_inner())),
            None => Err(Box::new(socket)),
        }
    }
}

/// Sockets waiting for a core that is behind.
const HANDED_OVER_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    fn place(balance: &Arc<Balance>, own: usize) -> Seat {
        match balance.better_core(own) {
            Some((_, seat)) => seat,
            None => balance.seat(own),
        }
    }

    #[test]
    fn four_connections_on_two_cores_never_all_sit_on_one() {
        // Whatever core the kernel chose for each of the four.
        for choices in 0..16 {
            let balance = Balance::new(2).0;
            let _seats: Vec<_> = (0..4).map(|bit| place(&balance, choices >> bit & 1)).collect();
            let open = balance.open_connections();
            assert_eq!(open.iter().sum::<usize>(), 4);
            assert!(open.iter().all(|open| *open > 0), "{choices:04b}: {open:?}");
        }
    }

    #[test]
    fn one_flooded_core_keeps_at_most_a_quarter_more_than_the_mean() {
        let balance = Balance::new(4).0;
        let _seats: Vec<_> = (0..1000).map(|_| place(&balance, 2)).collect();
        let open = balance.open_connections();
        assert!(open.iter().all(|open| *open <= 313), "{open:?}");
    }

    #[test]
    fn a_freed_seat_counts_no_more_and_one_core_hands_nothing_over() {
        let balance = Balance::new(1).0;
        let seats: Vec<_> = (0..10).map(|_| place(&balance, 0)).collect();
        assert_eq!(balance.open_connections(), [10]);
        drop(seats);
        assert_eq!(balance.open_connections(), [0]);
    }
}
