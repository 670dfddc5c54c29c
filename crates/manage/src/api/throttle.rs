//! How often somebody may try to sign in: by account and by address, with a delay that grows.
//!
//! Three tries are free, then each failure doubles the wait. It ends at a minute for an account, so that a stranger cannot
//! lock its owner out, and at a quarter of an hour for an address. Kept in memory: a restart forgets, and costs a guesser
//! more than it gives. Time is an argument.

use std::{
    collections::HashMap,
    hash::Hash,
    net::{IpAddr, Ipv6Addr},
};

/// Who tried and failed.
#[derive(Debug, Default)]
pub(crate) struct Throttle {
    accounts: HashMap<String, Tries>,
    addresses: HashMap<IpAddr, Tries>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Tries {
    failed: u32,
    free_at_ms: u64,
}

impl Throttle {
    /// How long this account from this address has to wait, in milliseconds; 0 for not at all. A try that may go on
    /// counts as failed until [`Throttle::held`] says otherwise, so that many at once gain nothing.
    pub(crate) fn begin(&mut self, account: &str, address: IpAddr, now_ms: u64) -> u64 {
        let address = network(address);
        let account = key(account);
        let wait = wait(&self.accounts, &account, now_ms).max(wait(&self.addresses, &address, now_ms));
        if wait == 0 {
            fail(&mut self.accounts, account, ACCOUNT_WAIT_MAX_MS, now_ms);
            fail(&mut self.addresses, address, ADDRESS_WAIT_MAX_MS, now_ms);
        }
        wait
    }

    /// The try held: the account begins anew. Of the address only this try is forgotten, or somebody with one account
    /// could guess at others for free.
    pub(crate) fn held(&mut self, account: &str, address: IpAddr) {
        self.accounts.remove(&key(account));
        if let Some(tries) = self.addresses.get_mut(&network(address)) {
            tries.failed = tries.failed.saturating_sub(1);
            tries.free_at_ms = 0;
        }
    }
}

fn wait<K: Hash + Eq>(all: &HashMap<K, Tries>, key: &K, now_ms: u64) -> u64 {
    all.get(key).map_or(0, |tries| tries.free_at_ms.saturating_sub(now_ms))
}

fn fail<K: Hash + Eq + Clone>(all: &mut HashMap<K, Tries>, key: K, longest_ms: u64, now_ms: u64) {
    if all.len() >= ENTRIES_MAX && !all.contains_key(&key) {
        // What has waited out its time and some more is forgotten; failing that, whoever is free soonest.
        all.retain(|_, tries| tries.free_at_ms.saturating_add(FORGET_MS) > now_ms);
        if all.len() >= ENTRIES_MAX
            && let Some(first) =
                all.iter().min_by_key(|(_, tries)| tries.free_at_ms).map(|(key, _)| key.clone())
        {
            all.remove(&first);
        }
    }
    let tries = all.entry(key).or_default();
    if now_ms.saturating_sub(tries.free_at_ms) > FORGET_MS && tries.free_at_ms > 0 {
        tries.failed = 0;
    }
    tries.failed = tries.failed.saturating_add(1);
    let doubled = tries.failed.checked_sub(FREE + 1).map_or(0, |more| 1000_u64 << more.min(20));
    tries.free_at_ms = now_ms.saturating_add(doubled.min(longest_ms));
}

/// Accounts are told apart as the store does; a name of any length costs the same.
fn key(account: &str) -> String {
    account.chars().take(ACCOUNT_CHARS_MAX).collect()
}

/// Of IPv6 the /64: one customer has that many addresses.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
        v4 => v4,
    }
}

/// Tries before the first wait: people mistype.
const FREE: u32 = 3;
const ACCOUNT_WAIT_MAX_MS: u64 = 60_000;
const ADDRESS_WAIT_MAX_MS: u64 = 15 * 60_000;
/// After so long without a try, an account or address begins anew.
const FORGET_MS: u64 = 60 * 60_000;
/// Accounts and addresses that are remembered at once.
const ENTRIES_MAX: usize = 10_000;
const ACCOUNT_CHARS_MAX: usize = 253;

#[cfg(test)]
mod tests {
    use super::*;

    const HOME: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    fn away(n: u8) -> IpAddr {
        IpAddr::V4(std::net::Ipv4Addr::new(198, 51, 100, n))
    }

    #[test]
    fn the_wait_doubles_with_each_failure_and_ends_at_a_minute_for_an_account() {
        let mut throttle = Throttle::default();
        let mut now = 1_000_000;
        let mut waits = Vec::new();
        for n in 0..12 {
            assert_eq!(throttle.begin("ann", away(n), now), 0);
            let wait = throttle.begin("ann", away(n), now);
            waits.push(wait / 1000);
            now += wait;
            if wait == 0 {
                // The second call was a try of its own.
                waits.push(throttle.begin("ann", away(n), now) / 1000);
                now += 1000;
            }
        }
        assert!(waits.windows(2).all(|pair| pair[0] <= pair[1]), "{waits:?}");
        assert!(waits.contains(&1) && waits.contains(&32) && waits.last() == Some(&60), "{waits:?}");
    }

    #[test]
    fn an_address_that_tries_many_accounts_waits_and_others_do_not() {
        let mut throttle = Throttle::default();
        for n in 0..4 {
            assert_eq!(throttle.begin(&format!("user-{n}"), HOME, 1000), 0);
        }
        assert!(throttle.begin("user-9", HOME, 1000) > 0);
        assert_eq!(throttle.begin("user-9", away(1), 1000), 0);
        assert_eq!(throttle.begin("user-9", HOME, 1000 + 60 * 60_000), 0);
    }

    #[test]
    fn who_signs_in_begins_anew_but_their_address_does_not_get_free_guesses() {
        let mut throttle = Throttle::default();
        for _ in 0..20 {
            assert_eq!(throttle.begin("ann", HOME, 1000), 0);
            throttle.held("ann", HOME);
        }
        for n in 0..4 {
            assert_eq!(throttle.begin(&format!("user-{n}"), HOME, 1000), 0);
            throttle.begin("mine", away(n), 1000);
        }
        assert!(throttle.begin("user-9", HOME, 1000) > 0);
    }

    #[test]
    fn an_ipv6_customer_is_one_address() {
        let mut throttle = Throttle::default();
        for n in 0..4_u128 {
            let address = IpAddr::V6(Ipv6Addr::from_bits((0x2001_0db8_u128 << 96) | n));
            assert_eq!(throttle.begin(&format!("user-{n}"), address, 1000), 0);
        }
        let other = IpAddr::V6(Ipv6Addr::from_bits((0x2001_0db8_u128 << 96) | 99));
        assert!(throttle.begin("user-9", other, 1000) > 0);
    }
}
