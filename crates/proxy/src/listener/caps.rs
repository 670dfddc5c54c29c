//! How many connections are open: per listener, per address and per network, counted across all cores.
//!
//! The counts live in 64 small maps, each behind its own lock that is held for one look-up at accept and one at close;
//! no request touches them. An entry exists only while a connection of that network is open, so the memory is bounded
//! by the connections themselves, and the keys are hashed with a random seed.

use std::{
    collections::{HashMap, hash_map::RandomState},
    hash::BuildHasher,
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use bartizan_config::snapshot::AdmissionPlan;
use bartizan_message::{AddressBlock, AddressPrefix};

use super::Refused;

/// The process's connection counts, shared by all cores and kept across reloads.
#[derive(Debug)]
pub struct ConnectionCaps {
    hasher: RandomState,
    shards: [Shard; SHARDS],
}

#[derive(Debug, Default)]
struct Shard(Mutex<HashMap<Key, u32>>);

/// A network on a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    listener: u64,
    network: Network,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Network {
    /// One address: an IPv4 address, or the /64 that one IPv6 customer holds at least.
    Address(AddressBlock),
    /// The neighbourhood: /24, or /48.
    Prefix(AddressPrefix),
}

/// The right to one open connection. Dropping it frees its place in every count.
#[derive(Debug)]
pub(crate) struct Permit {
    caps: Arc<ConnectionCaps>,
    listener: u64,
    total: Arc<AtomicUsize>,
    counted: Option<IpAddr>,
}

impl Permit {
    /// Counts a connection towards its listener only.
    pub(crate) fn open(
        caps: &Arc<ConnectionCaps>,
        listener: u64,
        total: &Arc<AtomicUsize>,
        limits: &AdmissionPlan,
    ) -> Result<Permit, Refused> {
        if total.fetch_add(1, Ordering::Relaxed) >= limits.connections_max {
            total.fetch_sub(1, Ordering::Relaxed);
            return Err(Refused::ListenerFull);
        }
        Ok(Permit { caps: Arc::clone(caps), listener, total: Arc::clone(total), counted: None })
    }

    /// Counts it towards its client's address and network too. Behind a proxy that declares the client this happens
    /// when the declaration has been read, because the proxy's own address would reach its cap at once.
    pub(crate) fn count_client(&mut self, client: IpAddr, limits: &AdmissionPlan) -> Result<(), Refused> {
        let (address, prefix) = networks(client);
        self.caps.add(self.key(address), limits.connections_per_address, Refused::AddressFull)?;
        if let Err(full) = self.caps.add(self.key(prefix), limits.connections_per_prefix, Refused::PrefixFull)
        {
            self.caps.remove(self.key(address));
            return Err(full);
        }
        self.counted = Some(client);
        Ok(())
    }

    fn key(&self, network: Network) -> Key {
        Key { listener: self.listener, network }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.total.fetch_sub(1, Ordering::Relaxed);
        if let Some(client) = self.counted {
            let (address, prefix) = networks(client);
            self.caps.remove(self.key(address));
            self.caps.remove(self.key(prefix));
        }
    }
}

impl Default for ConnectionCaps {
    fn default() -> Self {
        ConnectionCaps { hasher: RandomState::new(), shards: std::array::from_fn(|_| Shard::default()) }
    }
}

impl ConnectionCaps {
    fn add(&self, key: Key, most: u32, full: Refused) -> Result<(), Refused> {
        let mut shard = self.shard(&key);
        let count = shard.entry(key).or_insert(0);
        if *count >= most {
            // A cap of zero would otherwise leave an empty entry behind.
            if *count == 0 {
                shard.remove(&key);
            }
            return Err(full);
        }
        *count += 1;
        Ok(())
    }

    fn remove(&self, key: Key) {
        let mut shard = self.shard(&key);
        if let Some(count) = shard.get_mut(&key) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                shard.remove(&key);
            }
        }
    }

    fn shard(&self, key: &Key) -> MutexGuard<'_, HashMap<Key, u32>> {
        let index = self.hasher.hash_one(key) as usize % SHARDS;
        #[expect(clippy::indexing_slicing, reason = "the index is a remainder of the array's length")]
        let shard = &self.shards[index];
        // A panic cannot happen while the lock is held; were it poisoned, the counts would still be right.
        shard.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    fn entries(&self) -> usize {
        self.shards.iter().map(|shard| shard.0.lock().unwrap().len()).sum()
    }
}

fn networks(address: IpAddr) -> (Network, Network) {
    (Network::Address(AddressBlock::of(address)), Network::Prefix(AddressPrefix::of(address)))
}

const SHARDS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    use bartizan_message::AddressSet;

    fn limits(total: usize, address: u32, prefix: u32) -> AdmissionPlan {
        AdmissionPlan {
            allow: None,
            deny: AddressSet::default(),
            connections_max: total,
            connections_per_address: address,
            connections_per_prefix: prefix,
            handshake_timeout: Duration::ZERO,
            header_timeout: Duration::ZERO,
            idle_timeout: Duration::ZERO,
            header_bytes_max: 0,
            header_count_max: 0,
            uri_bytes_max: 0,
            body_bytes_max: 0,
            body_rate_min: 0,
            body_rate_grace: Duration::ZERO,
            streams_max: 0,
            resets_max: 0,
            rate_per_address: None,
            tolerate: Default::default(),
        }
    }

    struct Counts(Arc<ConnectionCaps>, Arc<AtomicUsize>);

    impl Counts {
        fn new() -> Self {
            Counts(Arc::default(), Arc::default())
        }

        fn open(&self, client: &str, limits: &AdmissionPlan) -> Result<Permit, Refused> {
            let mut permit = Permit::open(&self.0, 1, &self.1, limits)?;
            permit.count_client(client.parse().unwrap(), limits)?;
            Ok(permit)
        }
    }

    #[test]
    fn the_last_place_is_given_and_the_next_refused_until_one_is_freed() {
        let (counts, limits) = (Counts::new(), limits(10, 2, 10));
        let first = counts.open("192.0.2.1", &limits).unwrap();
        let _second = counts.open("192.0.2.1", &limits).unwrap();
        assert_eq!(counts.open("192.0.2.1", &limits).unwrap_err(), Refused::AddressFull);
        counts.open("192.0.2.2", &limits).unwrap();
        drop(first);
        counts.open("192.0.2.1", &limits).unwrap();
    }

    #[test]
    fn neighbours_share_the_cap_of_their_network() {
        let cases: [(&[&str], &str, Option<Refused>); 6] = [
            (&["192.0.2.1", "192.0.2.2"], "192.0.2.3", Some(Refused::PrefixFull)),
            (&["192.0.2.1", "192.0.2.2"], "192.0.3.3", None),
            (&["2001:db8::1", "2001:db8:0:1::1"], "2001:db8:0:2::1", Some(Refused::PrefixFull)),
            (&["2001:db8::1", "2001:db8:0:1::1"], "2001:db8:1::1", None),
            (&["2001:db8::1"], "2001:db8::ffff", Some(Refused::AddressFull)),
            (&["192.0.2.1"], "::ffff:192.0.2.1", Some(Refused::AddressFull)),
        ];
        for (open, next, expected) in cases {
            let (counts, limits) = (Counts::new(), limits(10, 1, 2));
            let held: Vec<_> = open.iter().map(|client| counts.open(client, &limits).unwrap()).collect();
            assert_eq!(counts.open(next, &limits).err(), expected, "{open:?} then {next}");
            drop(held);
        }
    }

    #[test]
    fn a_full_listener_refuses_any_address() {
        let (counts, limits) = (Counts::new(), limits(1, 9, 9));
        let held = counts.open("192.0.2.1", &limits).unwrap();
        assert_eq!(counts.open("198.51.100.1", &limits).unwrap_err(), Refused::ListenerFull);
        drop(held);
        counts.open("198.51.100.1", &limits).unwrap();
    }

    #[test]
    fn nothing_is_remembered_when_all_is_closed() {
        let (counts, none, limits) = (Counts::new(), limits(100, 0, 0), limits(100, 2, 2));
        let held: Vec<_> =
            (0..50).filter_map(|n| counts.open(&format!("192.0.{n}.1"), &limits).ok()).collect();
        assert_eq!((held.len(), counts.0.entries()), (50, 100));
        assert!(counts.open("192.0.2.1", &none).is_err());
        drop(held);
        assert_eq!((counts.0.entries(), counts.1.load(Ordering::Relaxed)), (0, 0));
    }
}
