//! Failed attempts on virtual time: who is held, for how long, and who is not.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what it expects by failing")]

use std::{hash::RandomState, num::NonZeroU64, time::Duration};

use bartizan_limit::{
    Cells, Nanos,
    failures::{Attempt, FailurePolicy, FailureRate, FailureTerms, Held, HeldBy},
};

const MINUTE: u64 = 60;
const HOUR: u64 = 3_600;
const DAY: u64 = 86_400;

fn rate(failures: u64, seconds: u64) -> FailureRate {
    FailureRate { failures: NonZeroU64::new(failures).unwrap(), window: Duration::from_secs(seconds) }
}

fn policy() -> FailurePolicy {
    FailurePolicy::new(FailureTerms {
        label: "AuthenticationPolicy/keys".into(),
        per_address: vec![rate(10, MINUTE), rate(60, HOUR), rate(300, DAY)],
        per_prefix: vec![rate(100, MINUTE), rate(600, HOUR)],
        per_account: vec![rate(5, MINUTE), rate(20, HOUR), rate(60, DAY)],
        account: rate(50, HOUR),
        route: rate(500, HOUR),
    })
}

struct House {
    cells: Cells,
    policy: FailurePolicy,
    seconds: f64,
}

fn from<'a>(address: u128, account: Option<&'a str>) -> Attempt<'a> {
    Attempt { address, prefix: address >> 8, account: account.map(str::as_bytes), route: "orders" }
}

impl House {
    fn new(cells: usize) -> House {
        House {
            cells: Cells::new(cells, [RandomState::new(), RandomState::new()]),
            policy: policy(),
            seconds: 1.0,
        }
    }

    fn now(&self) -> Nanos {
        Nanos((self.seconds * 1e9) as u64)
    }

    fn held(&self, attempt: &Attempt<'_>) -> Option<Held> {
        self.cells.held(&self.policy, attempt, self.now())
    }

    /// Tries a wrong credential: held, or counted.
    fn fail(&self, attempt: &Attempt<'_>) -> Result<Vec<HeldBy>, Held> {
        match self.held(attempt) {
            Some(held) => Err(held),
            None => Ok(self.cells.note_failure(&self.policy, attempt, self.now())),
        }
    }
}

#[test]
fn the_first_failures_are_free_and_then_the_delay_grows() {
    let mut house = House::new(10_000);
    let caller = from(0x0a00_0001, None);
    let mut waits = Vec::new();
    let mut tries = 0;
    let begun = house.seconds;
    while house.seconds < begun + DAY as f64 {
        match house.fail(&caller) {
            Ok(_) => tries += 1,
            Err(held) => {
                assert_eq!(held.by, HeldBy::Address);
                waits.push(held.retry_after.as_secs_f64());
                house.seconds += held.retry_after.as_secs_f64() + 1e-6;
            }
        }
    }
    assert!((waits[0] - 6.0).abs() < 0.1, "{:?}", &waits[..3]);
    assert!(waits.iter().any(|wait| (59.0..61.0).contains(wait)), "then a minute");
    assert!((waits.last().unwrap() - 288.0).abs() < 1.0, "then five minutes: {:?}", waits.last());
    // A burst of each rate and what comes back in a day: whoever never stops gets 600 tries a day, not a billion.
    assert!((550..=620).contains(&tries), "{tries}");
}

#[test]
fn an_account_is_held_at_the_address_that_failed_and_nowhere_else() {
    let house = House::new(10_000);
    let (thief, owner) = (from(0x0a00_0001, Some("anna")), from(0x0b00_0001, Some("anna")));
    for at in 0..5 {
        let filled = house.fail(&thief).unwrap();
        assert_eq!(filled.contains(&HeldBy::Account), at == 4, "{filled:?}");
    }
    assert_eq!(house.held(&thief).unwrap().by, HeldBy::Account);
    assert_eq!(house.held(&owner), None);
    // Another account from the same address has its own counter, within the address's.
    assert_eq!(house.held(&from(0x0a00_0001, Some("bert"))), None);
}

#[test]
fn an_account_under_attack_from_everywhere_gives_each_address_little_and_its_owner_everything() {
    let house = House::new(100_000);
    let mut told = 0;
    for bot in 0..60_u128 {
        if let Ok(filled) = house.fail(&from(bot << 8, Some("anna"))) {
            told += filled.iter().filter(|by| **by == HeldBy::AccountUnderAttack).count();
        }
    }
    assert_eq!(told, 1, "the attack is told once");
    // A bot that failed gets one more, then waits.
    let bot = from(7 << 8, Some("anna"));
    assert!(house.fail(&bot).is_ok());
    let held = house.held(&bot).unwrap();
    assert_eq!(held.by, HeldBy::AccountUnderAttack);
    assert!(held.retry_after > Duration::from_secs(10 * MINUTE), "{held:?}");
    // The owner, from an address that has not failed: never held, however long the attack goes on.
    assert_eq!(house.held(&from(0xffff << 8, Some("anna"))), None);
    // And the bot is not held for other accounts by that.
    assert_eq!(house.held(&from(7 << 8, Some("bert"))), None);
}

#[test]
fn stuffing_a_thousand_accounts_from_a_thousand_addresses_meets_the_routes_counter() {
    let house = House::new(100_000);
    let accounts: Vec<String> = (0..1_000).map(|at| format!("user{at}")).collect();
    let mut tries = 0;
    for round in 0..10_usize {
        for bot in 0..1_000_usize {
            let account = &accounts[(bot * 7 + round) % 1_000];
            tries += usize::from(house.fail(&from((bot as u128) << 16, Some(account))).is_ok());
        }
    }
    assert!(tries <= 2_100, "{tries} of 10,000 were looked at");
    assert_eq!(house.held(&from(0xabcd_ef00_0000, Some("user3"))), None, "who has not failed is heard");
}

#[test]
fn addresses_of_one_prefix_share_a_wider_counter() {
    let house = House::new(100_000);
    let mut tries = 0;
    for address in 0..256_u128 {
        tries += usize::from(house.fail(&from(0x0a00_0000 + address, None)).is_ok());
    }
    assert_eq!(tries, 100);
    assert_eq!(house.held(&from(0x0a00_00ff, None)).unwrap().by, HeldBy::Prefix);
    assert_eq!(house.held(&from(0x0a00_0100, None)), None);
}

#[test]
fn a_counter_forgets_with_time_and_a_full_table_holds_nobody_for_others() {
    let mut house = House::new(10_000);
    let caller = from(1, Some("anna"));
    while house.fail(&caller).is_ok() {}
    house.seconds += 2.0 * DAY as f64;
    assert_eq!(house.held(&caller), None);
    let small = House::new(16);
    for address in 0..1_000_u128 {
        let _ = small.fail(&from(address << 16, Some("anna")));
    }
    assert!(small.cells.overflowed() > 0);
    assert_eq!(small.held(&from(5_000 << 16, Some("anna"))), None);
    assert!(small.cells.cells() <= 64);
}
