//! Quotas under many threads, restarts and edges: what is spent never exceeds what is allowed by more than is said.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use bartizan_limit::{
    Amounts, Bite, Calendar, Period, QuotaAsk, QuotaFacts, QuotaLimit, QuotaPart, QuotaPolicy, QuotaTerms,
    QuotaUnit, Quotas, Used,
};
use bartizan_model::{Mode, OnFault};

/// 2026-10-25T00:00:00Z, the night in which Berlin's clocks go back.
const NIGHT_MS: u64 = 1_792_886_400_000;
const HOUR_MS: u64 = 3_600_000;

fn policy(name: &str, key: &[QuotaPart], limits: &[(QuotaUnit, u64, Calendar)]) -> QuotaPolicy {
    QuotaPolicy::new(QuotaTerms {
        label: format!("QuotaPolicy/{name}").into(),
        mode: Mode::Enforce,
        enforce_percent: 100,
        on_fault: OnFault::Deny,
        key: key.to_vec(),
        skips_absent: false,
        limits: limits
            .iter()
            .map(|(unit, amount, calendar)| QuotaLimit {
                unit: *unit,
                amount: *amount,
                calendar: calendar.clone(),
            })
            .collect(),
    })
}

fn month() -> Calendar {
    Calendar::utc(Period::Month)
}

fn asks<'a>(policies: &'a [(&'a QuotaPolicy, &'a str)]) -> Vec<QuotaAsk<'a>> {
    policies.iter().map(|(policy, bucket)| QuotaAsk { policy, bucket, bite: Bite::Enforce }).collect()
}

fn cost(amount: u64) -> Amounts {
    Amounts { cost: Some(amount), ..Amounts::default() }
}

fn used(cost: u64) -> Used {
    Used { tokens: 0, cost }
}

#[test]
fn many_calls_at_once_spend_no_more_than_a_budget_and_its_teams_allow() {
    let quotas = Quotas::default();
    let own = policy("own", &[QuotaPart::Consumer], &[(QuotaUnit::Cost, 10_000, month())]);
    let team = policy("team", &[QuotaPart::Team], &[(QuotaUnit::Cost, 25_000, month())]);
    let spent = [const { AtomicU64::new(0) }; 4];
    thread::scope(|scope| {
        for number in 0..8_usize {
            let (quotas, own, team, spent) = (&quotas, &own, &team, &spent);
            scope.spawn(move || {
                let bucket = format!("consumer {}", number % 4);
                for turn in 0..2_000_u64 {
                    let policies = [(own, bucket.as_str()), (team, "team shop")];
                    if let Ok(holds) = quotas.reserve(NIGHT_MS, &asks(&policies), &cost(100)).decision {
                        // Calls use less than they could, each another part of it.
                        let really = (turn * 7 + number as u64) % 100;
                        spent[number % 4].fetch_add(really, Relaxed);
                        holds.settle(NIGHT_MS, used(really));
                    }
                }
            });
        }
    });
    let spent: Vec<u64> = spent.iter().map(|spent| spent.load(Relaxed)).collect();
    assert!(spent.iter().all(|spent| *spent <= 10_000), "{spent:?}");
    let together: u64 = spent.iter().sum();
    assert!(together <= 25_000, "{together}");
    assert!(together > 24_800, "nearly all of it could be used: {together}");
    let saved = quotas.unsaved();
    assert_eq!(saved.iter().find(|one| one.key.contains("team")).unwrap().spent, together);
}

#[test]
fn one_quota_that_refuses_leaves_the_others_untouched() {
    let quotas = Quotas::default();
    let wide = policy("wide", &[], &[(QuotaUnit::Requests, 10, month()), (QuotaUnit::Cost, 1_000, month())]);
    let narrow = policy("narrow", &[], &[(QuotaUnit::Cost, 50, month())]);
    let policies = [(&wide, "all callers"), (&narrow, "all callers")];
    let amounts = Amounts { requests: 1, ..cost(60) };
    let verdict = quotas.reserve(NIGHT_MS, &asks(&policies), &amounts);
    let refusal = verdict.decision.unwrap_err();
    assert_eq!((refusal.ask, refusal.limit, refusal.asked, refusal.left), (1, 0, 60, 50));
    let states = quotas.reserve(NIGHT_MS, &asks(&policies), &Amounts::default()).states;
    let left: Vec<u64> = states.iter().map(|state| state.remaining).collect();
    assert_eq!(left, [1_000, 50], "of money; calls were not asked for");
    for _ in 0..10 {
        let one = Amounts { requests: 1, ..Amounts::default() };
        assert!(quotas.reserve(NIGHT_MS, &asks(&policies[..1]), &one).decision.is_ok());
    }
    let one = Amounts { requests: 1, ..Amounts::default() };
    assert!(
        quotas.reserve(NIGHT_MS, &asks(&policies[..1]), &one).decision.is_err(),
        "the call was given back once"
    );
}

#[test]
fn what_is_held_says_try_again_soon_and_what_is_spent_says_when_the_window_ends() {
    let quotas = Quotas::default();
    let policy = policy("p", &[], &[(QuotaUnit::Cost, 100, Calendar::utc(Period::Hour))]);
    let policies = [(&policy, "all callers")];
    let holds = quotas.reserve(NIGHT_MS, &asks(&policies), &cost(90)).decision.unwrap();
    let refusal = quotas.reserve(NIGHT_MS, &asks(&policies), &cost(20)).decision.unwrap_err();
    assert_eq!(refusal.retry_after, Duration::from_secs(1));
    holds.settle(NIGHT_MS, used(90));
    let refusal = quotas.reserve(NIGHT_MS, &asks(&policies), &cost(20)).decision.unwrap_err();
    assert_eq!(refusal.retry_after, Duration::from_secs(3_600));
}

#[test]
fn what_is_dropped_is_released_and_what_was_more_than_held_is_owed() {
    let quotas = Quotas::default();
    let policy = policy("p", &[], &[(QuotaUnit::Cost, 100, month()), (QuotaUnit::Tokens, 10, month())]);
    let policies = [(&policy, "all callers")];
    let amounts = Amounts { tokens: Some(10), ..cost(100) };
    drop(quotas.reserve(NIGHT_MS, &asks(&policies), &amounts).decision.unwrap());
    let holds = quotas.reserve(NIGHT_MS, &asks(&policies), &amounts).decision.unwrap();
    holds.settle(NIGHT_MS, Used { tokens: 4, cost: 250 });
    let refusal = quotas.reserve(NIGHT_MS, &asks(&policies), &Amounts::default()).decision.unwrap_err();
    assert_eq!((refusal.limit, refusal.left), (0, 0));
    let next_month = NIGHT_MS + 32 * 24 * HOUR_MS;
    let states = quotas.reserve(next_month, &asks(&policies), &Amounts::default()).states;
    assert_eq!(states[0].remaining, 0, "150 are owed: this window begins with them");
}

#[test]
fn a_restart_keeps_what_was_spent_and_a_changed_amount_or_zone_too() {
    let quotas = Quotas::default();
    let before = policy("p", &[QuotaPart::Consumer], &[(QuotaUnit::Cost, 100, month())]);
    let policies = [(&before, "consumer anna")];
    quotas.reserve(NIGHT_MS, &asks(&policies), &cost(70)).decision.unwrap().settle(NIGHT_MS, used(70));
    let saved = quotas.unsaved();
    assert!(quotas.unsaved().is_empty(), "once");
    quotas.unsaved_still(&saved);
    assert_eq!(quotas.unsaved(), saved, "a write that failed is made again");

    let after = Quotas::default();
    after.forget();
    assert!(!after.knows());
    after.restore(saved);
    assert!(after.knows());
    let berlin = Calendar::in_zone(Period::Month, "Europe/Berlin").unwrap();
    let changed = policy("p", &[QuotaPart::Consumer], &[(QuotaUnit::Cost, 90, berlin)]);
    for (bucket, left) in [("consumer anna", 20), ("consumer bert", 90)] {
        let policies = [(&changed, bucket)];
        let states = after.reserve(NIGHT_MS, &asks(&policies), &Amounts::default()).states;
        assert_eq!(states[0].remaining, left, "{bucket}");
    }
}

#[test]
fn a_day_of_twenty_five_hours_is_one_window() {
    let quotas = Quotas::default();
    let berlin = Calendar::in_zone(Period::Day, "Europe/Berlin").unwrap();
    let policy = policy("p", &[], &[(QuotaUnit::Cost, 100, berlin)]);
    let policies = [(&policy, "all callers")];
    // Local midnight is 22:00 UTC of the day before; the day ends 25 hours later.
    let (begin, end) = (NIGHT_MS - 2 * HOUR_MS, NIGHT_MS + 23 * HOUR_MS);
    quotas.reserve(begin, &asks(&policies), &cost(100)).decision.unwrap().settle(begin, used(100));
    for at in [begin, NIGHT_MS + HOUR_MS, NIGHT_MS + 22 * HOUR_MS, end - 1] {
        let refusal = quotas.reserve(at, &asks(&policies), &cost(1)).decision.unwrap_err();
        assert_eq!(refusal.retry_after, Duration::from_millis(end - at));
    }
    assert!(quotas.reserve(end, &asks(&policies), &cost(100)).decision.is_ok());
}

#[test]
fn a_shadow_counts_for_itself_and_begins_where_the_enforced_stands() {
    let quotas = Quotas::default();
    let policy = policy("p", &[], &[(QuotaUnit::Cost, 100, month())]);
    let ask = |bite| [QuotaAsk { policy: &policy, bucket: "all callers", bite }];
    quotas.reserve(NIGHT_MS, &ask(Bite::Enforce), &cost(60)).decision.unwrap().settle(NIGHT_MS, used(60));
    let verdict = quotas.reserve(NIGHT_MS, &ask(Bite::Shadow), &cost(50));
    assert_eq!(verdict.would.len(), 1, "as the enforced one would");
    assert!(verdict.decision.unwrap().is_empty());
    let verdict = quotas.reserve(NIGHT_MS, &ask(Bite::Shadow), &cost(40));
    assert!(verdict.would.is_empty());
    verdict.decision.unwrap().settle(NIGHT_MS, used(40));
    assert!(quotas.reserve(NIGHT_MS, &ask(Bite::Enforce), &cost(40)).decision.is_ok(), "its own account");
}

#[test]
fn where_there_is_no_room_callers_share_an_account_that_can_only_refuse_more() {
    let quotas = Quotas::new(2, std::hash::RandomState::new());
    let policy = Arc::new(policy("p", &[QuotaPart::Consumer], &[(QuotaUnit::Requests, 3, month())]));
    let one = Amounts { requests: 1, ..Amounts::default() };
    let call = |number: usize| {
        let bucket = format!("consumer {number}");
        let policies = [(&*policy, bucket.as_str())];
        quotas.reserve(NIGHT_MS, &asks(&policies), &one).decision.is_ok()
    };
    assert!((0..2).all(call));
    let admitted = (2..40).filter(|number| call(*number)).count();
    assert_eq!(admitted, 3);
    assert_eq!(quotas.accounts(), 2);
    assert!(quotas.overflowed() >= 38);
    assert!(call(0), "who has an account keeps it");
}

#[test]
fn a_bucket_is_named_by_all_parts_and_lacks_none() {
    let facts = QuotaFacts { route: "r", consumer: Some("anna"), team: None, model: Some("m") };
    let of = |key: &[QuotaPart]| policy("p", key, &[]).bucket(&facts);
    assert_eq!(of(&[QuotaPart::Consumer, QuotaPart::Model]).unwrap(), "consumer anna, model m");
    assert_eq!(of(&[QuotaPart::Gateway]).unwrap(), "all callers");
    assert_eq!(of(&[QuotaPart::Route]).unwrap(), "route r");
    assert_eq!(of(&[QuotaPart::Team]), Err(QuotaPart::Team));
}
