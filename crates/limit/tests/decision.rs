//! What RateLimitPolicy promises, call by call, on a clock that stands still unless told.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail")]

mod common;

use std::{sync::Arc, time::Duration};

use bartizan_limit::{
    Action, Ask, Bite, Cause, CellCache, Decision, Nanos, Policy, WAITERS_PER_KEY, WAITERS_PER_PROCESS, Would,
};
use common::{
    Judge, MINUTE, SECOND, START, concurrency, is_admitted, outcome, policy, rate, refusal_of, terms,
    throttle, wait_of,
};

const DAY: u64 = 86_400;

/// How many calls go at once, and how long the one after must wait for the same to be true of it.
fn burst_and_retry(judge: &mut Judge, policy: &Policy, most: u64) -> (u64, u64) {
    for admitted in 0..=most {
        let verdict = judge.call(START, "anna", &[policy]);
        if let Some(refusal) = refusal_of(&verdict) {
            return (admitted, u64::try_from(refusal.retry_after.as_nanos()).unwrap());
        }
    }
    panic!("never refused")
}

#[test]
fn a_burst_goes_at_once_and_then_one_call_per_interval() {
    // requests, window, burst, calls at once, nanoseconds until the next
    let table: [(u64, Duration, u64, u64, u64); 9] = [
        (100, MINUTE, 100, 100, 600_000_000), // the mission's policy
        (100, MINUTE, 1, 1, 600_000_000),
        (100, MINUTE, 250, 250, 600_000_000),
        (7, MINUTE, 7, 7, 8_571_428_572), // rounded up: never more than seven a minute
        (1, Duration::from_secs(365 * DAY), 1, 1, 365 * DAY * SECOND),
        (1, Duration::from_secs(365 * DAY), 3, 3, 365 * DAY * SECOND),
        (1_000_000_000, Duration::from_secs(1), 5, 5, 1),
        (3_000_000_000, Duration::from_secs(1), 5, 5, 1), // limited to one a nanosecond
        (3, Duration::from_millis(10), 3, 3, 3_333_334),
    ];
    for (row, (requests, window, burst, at_once, next)) in table.into_iter().enumerate() {
        let mut judge = Judge::new(100);
        let policy = policy("table", &[rate(requests, window, burst)], throttle(0));
        assert_eq!(burst_and_retry(&mut judge, &policy, burst + 1), (at_once, next), "row {row}");
        let before = Nanos(START.0 + next - 1);
        assert!(!is_admitted(&judge.call(before, "anna", &[&policy])), "row {row}: too early");
        let after = Nanos(START.0 + next);
        assert!(is_admitted(&judge.call(after, "anna", &[&policy])), "row {row}: in time");
        assert!(!is_admitted(&judge.call(after, "anna", &[&policy])), "row {row}: one only");
    }
}

#[test]
fn the_extremes_of_every_number_neither_panic_nor_admit_without_end() {
    let numbers = [1, 2, u64::MAX / 2, u64::MAX];
    let windows = [Duration::ZERO, Duration::from_nanos(1), Duration::from_secs(u64::MAX), Duration::MAX];
    let longest = Action::Throttle { max_retry: u32::MAX, max_wait: Duration::MAX };
    let mut policies = Vec::new();
    for requests in numbers {
        for burst in numbers {
            for window in windows {
                for action in [Action::Reject, throttle(3), longest] {
                    policies.push(policy("extreme", &[rate(requests, window, burst)], action));
                }
            }
        }
    }
    let times = [0, 1, START.0, u64::MAX / 4, u64::MAX / 4 + 1, u64::MAX - 1, u64::MAX];
    for policy in &policies {
        let mut judge = Judge::new(10);
        for now in times.iter().chain(times.iter().rev()) {
            for cost in [0, 1, u64::MAX] {
                let ask =
                    Ask { policy, key: judge.key(policy, "anna"), bite: Bite::Enforce, cost, tokens: None };
                let verdict = judge.cells.reserve(&mut judge.cache, Nanos(*now), &[ask]);
                assert!(cost < u64::MAX || refusal_of(&verdict).is_some(), "{policy:?} admits every cost");
            }
        }
    }
    assert_eq!(policies.len(), 192);
}

#[test]
fn another_consumer_has_a_bucket_of_its_own() {
    let mut judge = Judge::new(100);
    let policy = policy("p", &[rate(1, MINUTE, 1)], Action::Reject);
    assert!(is_admitted(&judge.call(START, "anna", &[&policy])));
    assert!(!is_admitted(&judge.call(START, "anna", &[&policy])));
    assert!(is_admitted(&judge.call(START, "boris", &[&policy])));
}

#[test]
fn throttled_calls_wait_for_their_own_slots_and_the_one_beyond_is_refused() {
    let mut judge = Judge::new(100);
    let policy = policy("p", &[rate(60, MINUTE, 2)], throttle(3));
    let mut held = Vec::new();
    let mut seen = Vec::new();
    for _ in 0..6 {
        let verdict = judge.call(START, "anna", &[&policy]);
        seen.push(
            wait_of(START, &verdict).map_or_else(|| is_admitted(&verdict).to_string(), |w| format!("{w:?}")),
        );
        held.push(verdict);
    }
    assert_eq!(seen, ["true", "true", "1s", "2s", "3s", "false"]);
    // Half an interval later the first of the next three slots is half an interval away; all three are taken until
    // then, and the refused call learns when one is free.
    let half = Nanos(START.0 + SECOND / 2);
    assert_eq!(outcome(half, judge.call(half, "anna", &[&policy])), "no 500000000");
    let next = Nanos(START.0 + SECOND);
    assert_eq!(outcome(next, judge.call(next, "anna", &[&policy])), "wait 3000000000");
}

#[test]
fn max_retry_zero_refuses_at_once() {
    let mut judge = Judge::new(100);
    let policy = policy("p", &[rate(60, MINUTE, 1)], throttle(0));
    assert_eq!(outcome(START, judge.call(START, "anna", &[&policy])), "go");
    assert_eq!(outcome(START, judge.call(START, "anna", &[&policy])), "no 1000000000");
}

#[test]
fn nobody_waits_longer_than_the_longest_wait() {
    let mut judge = Judge::new(100);
    let action = Action::Throttle { max_retry: 10, max_wait: Duration::from_secs(30) };
    let policy = policy("p", &[rate(4, MINUTE, 1)], action);
    let held: Vec<_> = (0..3).map(|_| judge.call(START, "anna", &[&policy])).collect();
    assert_eq!(wait_of(START, &held[2]), Some(Duration::from_secs(30)));
    assert_eq!(outcome(START, judge.call(START, "anna", &[&policy])), "no 15000000000");
}

#[test]
fn a_caller_that_leaves_does_not_return_its_slot_but_its_place() {
    let mut judge = Judge::new(100);
    let policy = policy("p", &[rate(60, MINUTE, 1)], throttle(2));
    assert_eq!(outcome(START, judge.call(START, "anna", &[&policy])), "go");
    let first = judge.call(START, "anna", &[&policy]);
    assert_eq!(judge.cells.waiters(), 1);
    drop(first);
    assert_eq!(judge.cells.waiters(), 0);
    assert_eq!(outcome(START, judge.call(START, "anna", &[&policy])), "wait 2000000000");
    assert_eq!(outcome(START, judge.call(START, "anna", &[&policy])), "no 1000000000");
}

#[test]
fn a_call_that_starts_leaves_its_place_and_keeps_its_permit() {
    let mut judge = Judge::new(100);
    let policy = policy("p", &[rate(60, MINUTE, 1), concurrency(2)], throttle(5));
    let first = judge.call(START, "anna", &[&policy]);
    let Decision::Wait { reservation, .. } = judge.call(START, "anna", &[&policy]).decision else {
        panic!("the second call waits")
    };
    assert_eq!(judge.cells.waiters(), 1);
    let running = reservation.start();
    assert_eq!((judge.cells.waiters(), running.permits()), (0, 1));
    let refusal = refusal_of(&judge.call(START, "anna", &[&policy])).unwrap();
    assert_eq!((refusal.limit, refusal.cause), (1, Cause::Concurrency));
    drop((first, running));
    assert!(wait_of(START, &judge.call(START, "anna", &[&policy])).is_some());
}

#[test]
fn a_key_has_so_many_waiting_places_and_the_process_more() {
    let mut judge = Judge::new(1000);
    let policy = policy("p", &[rate(1_000, Duration::from_secs(1), 1)], throttle(10_000));
    let mut held = Vec::new();
    held.push(judge.call(START, "anna", &[&policy]));
    for place in 0..WAITERS_PER_KEY {
        let verdict = judge.call(START, "anna", &[&policy]);
        assert!(wait_of(START, &verdict).is_some(), "place {place}");
        held.push(verdict);
    }
    let refusal = refusal_of(&judge.call(START, "anna", &[&policy])).unwrap();
    assert_eq!(refusal.cause, Cause::Waiters);
    assert_eq!(refusal.retry_after, Duration::from_millis(u64::from(WAITERS_PER_KEY) + 1));
    // A refused call took no slot: the next free one is still the one after the waiting calls.
    held.pop();
    let verdict = judge.call(START, "anna", &[&policy]);
    assert_eq!(wait_of(START, &verdict), Some(Duration::from_millis(u64::from(WAITERS_PER_KEY) + 1)));
    held.push(verdict);

    let mut others = 0;
    while judge.cells.waiters() < WAITERS_PER_PROCESS {
        held.push(judge.call(START, &format!("other-{}", others / 60), &[&policy]));
        others += 1;
    }
    let late = judge.call(START, "late", &[&policy]);
    assert!(is_admitted(&late), "who need not wait needs no place");
    assert_eq!(refusal_of(&judge.call(START, "late", &[&policy])).unwrap().cause, Cause::Waiters);
    drop(held);
    assert_eq!(judge.cells.waiters(), 0);
    assert!(wait_of(START, &judge.call(START, "late", &[&policy])).is_some());
}

#[test]
fn several_limits_all_reserve_or_none() {
    let mut judge = Judge::new(100);
    let two = policy("two", &[rate(10, MINUTE, 10), rate(3, Duration::from_secs(1), 3)], Action::Reject);
    let wide = policy("wide", &[rate(100, MINUTE, 100)], Action::Reject);
    for _ in 0..3 {
        assert!(is_admitted(&judge.call(START, "anna", &[&wide, &two])));
    }
    for _ in 0..50 {
        let verdict = judge.call(START, "anna", &[&wide, &two]);
        let refusal = refusal_of(&verdict).unwrap();
        assert_eq!((refusal.ask, refusal.limit), (1, 1));
        let left: Vec<_> = verdict.states.iter().map(|state| state.remaining).collect();
        assert_eq!(left, [97, 7, 0], "a refused call takes nothing anywhere");
    }
}

#[test]
fn the_first_policy_that_refuses_is_named_and_the_longest_time_is_told() {
    let mut judge = Judge::new(100);
    let first = policy("a", &[rate(60, MINUTE, 1)], Action::Reject);
    let second = policy("b", &[rate(1, MINUTE, 1)], Action::Reject);
    assert!(is_admitted(&judge.call(START, "anna", &[&first, &second])));
    let refusal = refusal_of(&judge.call(START, "anna", &[&first, &second])).unwrap();
    assert_eq!((refusal.ask, refusal.retry_after), (0, MINUTE));
    let refusal = refusal_of(&judge.call(START, "anna", &[&second, &first])).unwrap();
    assert_eq!((refusal.ask, refusal.retry_after), (0, MINUTE));
}

#[test]
fn a_call_waits_for_the_latest_of_its_slots() {
    let mut judge = Judge::new(100);
    let quick = policy("quick", &[rate(60, MINUTE, 1)], throttle(5));
    let slow = policy("slow", &[rate(6, MINUTE, 1)], throttle(2));
    assert!(is_admitted(&judge.call(START, "anna", &[&quick, &slow])));
    let verdict = judge.call(START, "anna", &[&quick, &slow]);
    assert_eq!(wait_of(START, &verdict), Some(Duration::from_secs(10)));
    assert_eq!(judge.cells.waiters(), 1, "one call is one waiter");
}

#[test]
fn a_permit_is_held_until_the_reservation_is_dropped_also_on_another_thread() {
    let mut judge = Judge::new(100);
    let policy = policy("p", &[concurrency(2)], Action::Reject);
    let Decision::Admit(one) = judge.call(START, "anna", &[&policy]).decision else { panic!() };
    let Decision::Admit(two) = judge.call(START, "anna", &[&policy]).decision else { panic!() };
    assert_eq!(outcome(START, judge.call(START, "anna", &[&policy])), "no 1000000000");
    std::thread::spawn(move || drop(one)).join().unwrap();
    let Decision::Admit(three) = judge.call(START, "anna", &[&policy]).decision else { panic!() };
    assert!(!is_admitted(&judge.call(START, "anna", &[&policy])));
    drop((two, three));
    assert!(is_admitted(&judge.call(START, "anna", &[&policy])));
}

#[test]
fn a_refusal_by_a_later_rate_gives_the_permit_back() {
    let mut judge = Judge::new(100);
    let policy = policy("p", &[concurrency(1), rate(1, MINUTE, 1)], Action::Reject);
    assert!(is_admitted(&judge.call(START, "anna", &[&policy])));
    for _ in 0..3 {
        assert_eq!(refusal_of(&judge.call(START, "anna", &[&policy])).unwrap().cause, Cause::Rate);
    }
    assert!(is_admitted(&judge.call(START + MINUTE, "anna", &[&policy])));
}

#[test]
fn a_shadow_counts_for_itself_and_neither_refuses_nor_waits() {
    let mut judge = Judge::new(100);
    let enforced = policy("wide", &[rate(100, MINUTE, 100)], Action::Reject);
    let deny = policy("deny", &[rate(1, MINUTE, 1)], Action::Reject);
    let slow = policy("slow", &[rate(60, MINUTE, 1)], throttle(1));
    let all = [(&enforced, Bite::Enforce), (&deny, Bite::Shadow), (&slow, Bite::Shadow)];
    let first = judge.ask(START, "anna", &all);
    assert!(is_admitted(&first) && first.would.is_empty());
    let second = judge.ask(START, "anna", &all);
    assert!(is_admitted(&second));
    assert!(
        matches!(second.would[0], Would::Deny(refusal) if refusal.ask == 1 && refusal.retry_after == MINUTE)
    );
    assert_eq!(second.would[1], Would::Throttle { ask: 2, wait: Duration::from_secs(1) });
    assert_eq!(judge.cells.waiters(), 0);
    assert_eq!(second.states.len(), 1, "answers state enforced limits only");
    // The shadow's cells are its own: the same policy, enforced, still has its whole burst.
    assert!(is_admitted(&judge.call(START, "anna", &[&deny])));
}

#[test]
fn a_shadow_is_judged_also_when_an_enforced_policy_refuses() {
    let mut judge = Judge::new(100);
    let enforced = policy("a", &[rate(1, MINUTE, 1)], Action::Reject);
    let shadow = policy("b", &[rate(2, MINUTE, 2)], Action::Reject);
    let all = [(&enforced, Bite::Enforce), (&shadow, Bite::Shadow)];
    let would: Vec<_> = (0..3).map(|_| judge.ask(START, "anna", &all).would.len()).collect();
    assert_eq!(would, [0, 0, 1]);
}

#[test]
fn a_shadow_begins_as_a_copy_of_the_enforced_cell() {
    let mut judge = Judge::new(100);
    let active = policy("p", &[rate(10, MINUTE, 10)], Action::Reject);
    for _ in 0..9 {
        assert!(is_admitted(&judge.call(START, "anna", &[&active])));
    }
    assert!(judge.ask(START, "anna", &[(&active, Bite::Shadow)]).would.is_empty());
    assert_eq!(judge.ask(START, "anna", &[(&active, Bite::Shadow)]).would.len(), 1);
    assert!(is_admitted(&judge.call(START, "anna", &[&active])), "the shadow's calls are not counted twice");
}

#[test]
fn a_shadows_permits_end_with_the_call() {
    let mut judge = Judge::new(100);
    let policy = policy("p", &[concurrency(1)], Action::Reject);
    let enforced = judge.call(START, "anna", &[&policy]);
    let first = judge.ask(START, "anna", &[(&policy, Bite::Shadow)]);
    assert!(first.would.is_empty(), "permits of enforced calls are not copied: they would never come back");
    assert_eq!(judge.ask(START, "anna", &[(&policy, Bite::Shadow)]).would.len(), 1);
    drop((first, enforced));
    assert!(judge.ask(START, "anna", &[(&policy, Bite::Shadow)]).would.is_empty());
}

#[test]
fn a_policy_that_is_off_is_not_looked_at() {
    let mut judge = Judge::new(100);
    let policy = policy("p", &[rate(1, MINUTE, 1)], Action::Reject);
    for _ in 0..3 {
        let verdict = judge.ask(START, "anna", &[(&policy, Bite::Off)]);
        assert!(is_admitted(&verdict) && verdict.states.is_empty() && verdict.would.is_empty());
    }
    assert_eq!(judge.cells.cells(), 0);
}

#[test]
fn a_changed_rate_keeps_the_cell_and_clamps_it_to_the_new_burst() {
    let mut judge = Judge::new(100);
    let slow = policy("p", &[rate(1, MINUTE, 1)], Action::Reject);
    let fast = policy("p", &[rate(10, Duration::from_secs(1), 5)], Action::Reject);
    assert!(is_admitted(&judge.call(START, "anna", &[&slow])));
    // Under the higher rate the caller is as empty as it can be, not a minute in debt.
    assert_eq!(outcome(START, judge.call(START, "anna", &[&fast])), "no 100000000");
    let later = Nanos(START.0 + SECOND / 10);
    assert_eq!(outcome(later, judge.call(later, "anna", &[&fast])), "go");
    assert_eq!(outcome(later, judge.call(later, "anna", &[&fast])), "no 100000000");
    // Under the lower rate what was used stays used: half a second is nearly nothing of a minute.
    assert_eq!(outcome(later, judge.call(later, "anna", &[&slow])), "no 500000000");
    assert_eq!(judge.cells.cells(), 1, "one cell all the time");
}

#[test]
fn a_reload_to_a_lower_burst_does_not_give_a_fresh_burst() {
    let mut judge = Judge::new(100);
    let before = policy("p", &[rate(100, MINUTE, 100)], Action::Reject);
    let after = policy("p", &[rate(50, MINUTE, 50)], Action::Reject);
    for _ in 0..100 {
        assert!(is_admitted(&judge.call(START, "anna", &[&before])));
    }
    assert_eq!(outcome(START, judge.call(START, "anna", &[&after])), "no 1200000000");
}

#[test]
fn reordering_the_limits_of_a_policy_keeps_their_cells() {
    let mut judge = Judge::new(100);
    let (short, long) = (rate(5, Duration::from_secs(1), 5), rate(20, MINUTE, 20));
    let one = policy("p", &[short, long, concurrency(9)], Action::Reject);
    let other = policy("p", &[concurrency(9), long, short], Action::Reject);
    let held: Vec<_> = (0..4).map(|_| judge.call(START, "anna", &[&one])).collect();
    let verdict = judge.call(START, "anna", &[&other]);
    let left: Vec<_> = verdict.states.iter().map(|state| state.remaining).collect();
    assert_eq!(left, [4, 15, 0]);
    assert!(is_admitted(&verdict) && held.len() == 4);
}

#[test]
fn a_cost_takes_several_units_or_none() {
    let mut judge = Judge::new(100);
    let policy = policy("p", &[rate(10, MINUTE, 10)], Action::Reject);
    let key = judge.key(&policy, "anna");
    let mut batch = |cost| {
        let ask = Ask { policy: &policy, key, bite: Bite::Enforce, cost, tokens: None };
        outcome(START, judge.cells.reserve(&mut judge.cache, START, &[ask]))
    };
    assert_eq!(batch(7), "go");
    assert_eq!(batch(4), "no 6000000000");
    assert_eq!(batch(3), "go");
    assert_eq!(batch(0), "go");
    assert_eq!(batch(1), "no 6000000000");
}

#[test]
fn a_clock_that_goes_back_neither_panics_nor_opens_the_limit() {
    let mut judge = Judge::new(100);
    let policy = policy("p", &[rate(60, MINUTE, 2)], Action::Reject);
    for now in [START, Nanos(0), Nanos(START.0 - 1), START, Nanos(1)] {
        let admitted = is_admitted(&judge.call(now, "anna", &[&policy]));
        assert_eq!(admitted, now == START, "{now:?}");
    }
}

#[test]
fn without_room_the_callers_of_a_policy_share_one_cell_and_it_is_counted() {
    let mut judge = Judge::new(2);
    let policy = policy("p", &[rate(2, MINUTE, 2)], Action::Reject);
    for name in ["anna", "boris"] {
        assert!(is_admitted(&judge.call(START, name, &[&policy])));
    }
    assert_eq!((judge.cells.cells(), judge.cells.overflowed()), (2, 0));
    // Two more between all the others, then none, whoever asks.
    let admitted =
        (0..10).filter(|n| is_admitted(&judge.call(START, &format!("new-{n}"), &[&policy]))).count();
    assert_eq!((admitted, judge.cells.overflowed(), judge.cells.cells()), (2, 10, 2));
    // Who has a cell is not touched by it.
    assert!(is_admitted(&judge.call(START, "anna", &[&policy])));
    // When a cell is idle again it makes room.
    let later = START + MINUTE + MINUTE;
    for n in 0..10 {
        let now = later + MINUTE * n;
        assert!(is_admitted(&judge.call(now, &format!("new-{n}"), &[&policy])));
    }
    assert!(judge.cells.evicted() >= 8, "{:?}", judge.cells);
    assert!(judge.cells.cells() <= 2 && judge.cells.overflowed() == 10, "{:?}", judge.cells);
}

#[test]
fn an_evicted_cell_that_a_core_still_remembers_is_looked_up_again() {
    let mut judge = Judge::new(1);
    let mut other_core = CellCache::default();
    let policy = policy("p", &[rate(1, MINUTE, 1)], Action::Reject);
    let (anna, boris) = (judge.key(&policy, "anna"), judge.key(&policy, "boris"));
    let ask = |key| [Ask { policy: &policy, key, bite: Bite::Enforce, cost: 1, tokens: None }];
    assert!(is_admitted(&judge.cells.reserve(&mut other_core, START, &ask(anna))));
    let later = START + MINUTE;
    assert!(is_admitted(&judge.cells.reserve(&mut judge.cache, later, &ask(boris))));
    assert_eq!(judge.cells.evicted(), 1);
    // There is no room for anna now, so she shares the overflow cell, and her old cell is not written to.
    assert!(is_admitted(&judge.cells.reserve(&mut other_core, later, &ask(anna))));
    assert!(!is_admitted(&judge.cells.reserve(&mut other_core, later, &ask(anna))));
    assert_eq!(judge.cells.overflowed(), 2);
}

#[test]
fn idle_cells_go_about_as_fast_as_new_ones_come() {
    let mut judge = Judge::new(100_000);
    let policy = policy("p", &[rate(1, Duration::from_millis(1), 1)], Action::Reject);
    for n in 0..20_000_u64 {
        // At any time about a thousand keys are live.
        let now = Nanos(START.0 + n * 1_000);
        assert!(is_admitted(&judge.call(now, &format!("caller-{n}"), &[&policy])));
    }
    assert!(judge.cells.cells() < 4_000, "{:?}", judge.cells);
}

#[test]
fn a_reservation_can_be_moved_between_threads() {
    fn is_send<T: Send + 'static>() {}
    is_send::<bartizan_limit::Reservation>();
    is_send::<bartizan_limit::Waiting>();
    is_send::<bartizan_limit::Verdict>();
    fn is_shared<T: Send + Sync>(_: &T) {}
    is_shared(&Arc::new(Judge::new(1).cells));
    is_shared(&Policy::new(terms("p", &[], Action::Reject)));
}

#[test]
fn what_cells_held_before_gives_each_call_its_decision_again_in_any_order() {
    let mine = policy("mine", &[rate(3, MINUTE, 3), rate(5, Duration::from_secs(3600), 5)], throttle(1));
    let all = policy("all", &[rate(4, MINUTE, 4)], throttle(0));
    let asked = [(&mine, Bite::Enforce), (&all, Bite::Enforce)];
    let mut live = Judge::new(100);
    let mut taken = Vec::new();
    for turn in 0..12_u64 {
        let now = Nanos(START.0 + turn * 7 * SECOND);
        let asks: Vec<_> = asked
            .iter()
            .map(|&(policy, bite)| Ask { policy, key: live.key(policy, "anna"), bite, cost: 1, tokens: None })
            .collect();
        let mut seen = Vec::new();
        let verdict = live.cells.reserve_noting(&mut live.cache, now, &asks, Some(&mut seen));
        assert_eq!(seen.len(), 3, "a cell for each limit");
        taken.push((now, seen, outcome(now, verdict)));
    }
    let kinds: std::collections::HashSet<_> = taken.iter().map(|(.., told)| told.clone()).collect();
    assert!(kinds.len() > 2, "admitted, waiting and refused: {kinds:?}");
    let mut again = Judge::new(100);
    for (now, seen, told) in taken.iter().rev() {
        let asks: Vec<_> = asked
            .iter()
            .map(|&(policy, bite)| Ask {
                policy,
                key: again.key(policy, "anna"),
                bite,
                cost: 1,
                tokens: None,
            })
            .collect();
        for one in seen {
            let ask = &asks[one.ask];
            again.cells.put(&mut again.cache, *now, ask, one.limit, (one.word, one.bound));
        }
        let verdict = again.cells.reserve(&mut again.cache, *now, &asks);
        assert_eq!(outcome(*now, verdict), *told, "at {now:?}");
    }
}
