//! Exactness across cores: however many threads ask, no more goes through than one thread would have got.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail")]

mod common;

use std::{
    hash::RandomState,
    sync::{
        Barrier,
        atomic::{AtomicI64, AtomicU64, Ordering::SeqCst},
    },
    thread,
    time::{Duration, Instant},
};

use bartizan_limit::{Action, Ask, Bite, CellCache, Cells, Decision, Nanos, Policy};
use common::{MINUTE, START, concurrency, is_admitted, key, policy, rate, throttle};

fn cells(cells_max: usize) -> Cells {
    Cells::new(cells_max, [RandomState::new(), RandomState::new()])
}

fn enforced(policy: &Policy, key: u128) -> Ask<'_> {
    Ask { policy, key, bite: Bite::Enforce, cost: 1, tokens: None }
}

/// Runs `work` on so many threads at once and adds up what they return.
fn together(threads: usize, work: impl Fn(usize) -> u64 + Sync) -> u64 {
    let barrier = Barrier::new(threads);
    thread::scope(|scope| {
        let handles: Vec<_> = (0..threads)
            .map(|number| {
                let (barrier, work) = (&barrier, &work);
                scope.spawn(move || {
                    barrier.wait();
                    work(number)
                })
            })
            .collect();
        handles.into_iter().map(|handle| handle.join().unwrap()).sum()
    })
}

#[test]
fn a_burst_is_shared_exactly_by_any_number_of_threads() {
    for threads in [2, 3, 4, 8] {
        let cells = cells(100);
        let policy = policy("p", &[rate(5_000, MINUTE, 5_000)], Action::Reject);
        let key = key(&cells, &policy, "anna");
        let admitted = together(threads, |_| {
            let mut cache = CellCache::default();
            (0..5_000)
                .filter(|_| is_admitted(&cells.reserve(&mut cache, START, &[enforced(&policy, key)])))
                .count() as u64
        });
        assert_eq!(admitted, 5_000, "{threads} threads");
    }
}

#[test]
fn over_time_no_more_goes_through_than_the_burst_and_what_has_come_back() {
    for (threads, interval_ns) in [(2, 1_000_u64), (4, 200), (8, 50_000)] {
        let cells = cells(100);
        let burst = 100;
        let policy = policy("p", &[rate(1, Duration::from_nanos(interval_ns), burst)], Action::Reject);
        let key = key(&cells, &policy, "anna");
        let start = Instant::now();
        let now = || Nanos(START.0 + start.elapsed().as_nanos() as u64);
        let first = now();
        let admitted = together(threads, |_| {
            let mut cache = CellCache::default();
            (0..20_000)
                .filter(|_| is_admitted(&cells.reserve(&mut cache, now(), &[enforced(&policy, key)])))
                .count() as u64
        });
        let most = burst + (now().0 - first.0) / interval_ns;
        assert!(admitted <= most, "{threads} threads: {admitted} of {most}");
        assert!(admitted >= burst);
    }
}

#[test]
fn every_slot_is_given_to_one_caller() {
    let cells = cells(100);
    let policy = policy("p", &[rate(60, MINUTE, 1)], throttle(20));
    let key = key(&cells, &policy, "anna");
    let slots = std::sync::Mutex::new(Vec::new());
    together(4, |_| {
        let mut cache = CellCache::default();
        let mut held = Vec::new();
        for _ in 0..20 {
            if let Decision::Wait { until, reservation } =
                cells.reserve(&mut cache, START, &[enforced(&policy, key)]).decision
            {
                slots.lock().unwrap().push(until.since(START).as_secs());
                held.push(reservation);
            }
        }
        0
    });
    let mut slots = slots.into_inner().unwrap();
    slots.sort_unstable();
    assert_eq!(slots, (1..=20).collect::<Vec<_>>());
    assert_eq!(cells.waiters(), 0);
}

#[test]
fn several_limits_taken_in_any_order_admit_exactly_what_the_tightest_admits() {
    for round in 0..20 {
        let cells = cells(100);
        let wide = policy("wide", &[rate(3_000, MINUTE, 3_000)], Action::Reject);
        let tight = policy("tight", &[rate(1_000, MINUTE, 1_000)], Action::Reject);
        let keys = (key(&cells, &wide, "anna"), key(&cells, &tight, "anna"));
        let admitted = together(4, |number| {
            let mut cache = CellCache::default();
            let mut asks = [enforced(&wide, keys.0), enforced(&tight, keys.1)];
            if number % 2 == 1 {
                asks.reverse();
            }
            (0..1_000).filter(|_| is_admitted(&cells.reserve(&mut cache, START, &asks))).count() as u64
        });
        assert_eq!(admitted, 1_000, "round {round}");
        let state = cells.reserve(&mut CellCache::default(), START, &[enforced(&wide, keys.0)]).states;
        let left = state.iter().next().unwrap().remaining;
        // This call took one. Two refused calls that give back at the very same moment may lose one unit each; none
        // is ever gained.
        assert!((1_990..=1_999).contains(&left), "round {round}: {left}");
    }
}

#[test]
fn giving_back_under_way_never_opens_a_limit() {
    // Both limits bind in turn and their intervals pass while calls are being decided.
    let cells = cells(100);
    let shared = policy("shared", &[rate(1, Duration::from_nanos(900), 20)], Action::Reject);
    let own = policy("own", &[rate(1, Duration::from_nanos(1_100), 20)], Action::Reject);
    let keys = (key(&cells, &shared, "all"), key(&cells, &own, "all"));
    let start = Instant::now();
    let now = || Nanos(START.0 + start.elapsed().as_nanos() as u64);
    let first = now();
    let admitted = together(4, |number| {
        let mut cache = CellCache::default();
        let mut asks = [enforced(&shared, keys.0), enforced(&own, keys.1)];
        if number % 2 == 1 {
            asks.reverse();
        }
        (0..30_000).filter(|_| is_admitted(&cells.reserve(&mut cache, now(), &asks))).count() as u64
    });
    let most = 20 + (now().0 - first.0) / 1_100;
    assert!(admitted <= most, "{admitted} of {most}");
    assert!(admitted >= 20);
}

#[test]
fn calls_in_flight_never_exceed_the_concurrency_and_all_permits_come_back() {
    let cells = cells(100);
    let policy = policy("p", &[concurrency(3), rate(1_000_000, MINUTE, 1_000_000)], Action::Reject);
    let key = key(&cells, &policy, "anna");
    let (running, most) = (AtomicI64::new(0), AtomicI64::new(0));
    let admitted = together(4, |_| {
        let mut cache = CellCache::default();
        let mut admitted = 0;
        for _ in 0..5_000 {
            let verdict = cells.reserve(&mut cache, START, &[enforced(&policy, key)]);
            if is_admitted(&verdict) {
                most.fetch_max(running.fetch_add(1, SeqCst) + 1, SeqCst);
                std::hint::spin_loop();
                running.fetch_sub(1, SeqCst);
                admitted += 1;
            }
            drop(verdict);
        }
        admitted
    });
    assert!(most.into_inner() <= 3 && admitted > 0);
    let verdict = cells.reserve(&mut CellCache::default(), START, &[enforced(&policy, key)]);
    assert_eq!(verdict.states.iter().next().unwrap().remaining, 2);
}

#[test]
fn no_decision_is_lost_in_a_cell_that_is_being_evicted() {
    // In every round each key is idle at first, so that its cell may be evicted by any insertion while the caches of
    // all threads still point to it. In a round the clock stands still: exactly the burst of each key goes through.
    const KEYS: usize = 700;
    const BURST: u64 = 3;
    let cells = cells(100_000);
    let policy =
        policy("p", &[rate(BURST, Duration::from_millis(1), BURST), concurrency(50)], Action::Reject);
    let keys: Vec<u128> = (0..KEYS).map(|n| key(&cells, &policy, &format!("caller-{n}"))).collect();
    let strangers = AtomicU64::new(0);
    let caches: Vec<_> = (0..4).map(|_| std::sync::Mutex::new(CellCache::new(1024))).collect();
    for round in 1..=30_u64 {
        let now = Nanos(START.0 + round * 1_000_000_000);
        let counts: Vec<AtomicU64> = (0..KEYS).map(|_| AtomicU64::new(0)).collect();
        together(4, |number| {
            let mut cache = caches[number].lock().unwrap();
            for step in 0..KEYS * 3 {
                let index = (step * (2 * number + 3) + number * 101) % KEYS;
                if is_admitted(&cells.reserve(&mut cache, now, &[enforced(&policy, keys[index])])) {
                    counts[index].fetch_add(1, SeqCst);
                }
                if step % 4 == 0 {
                    // A key never seen again: its insertion looks at old cells.
                    let stranger = format!("stranger-{}", strangers.fetch_add(1, SeqCst));
                    let key = key(&cells, &policy, &stranger);
                    assert!(is_admitted(&cells.reserve(&mut cache, now, &[enforced(&policy, key)])));
                }
            }
            0
        });
        for (index, count) in counts.iter().enumerate() {
            assert_eq!(count.load(SeqCst), BURST, "round {round}, key {index}");
        }
    }
    assert!(cells.evicted() > 10_000, "{cells:?}");
    assert_eq!(cells.overflowed(), 0);
}

#[test]
fn a_full_table_stays_within_its_bound_under_a_flood_of_keys() {
    let cells = cells(500);
    let policy = policy("p", &[rate(10, MINUTE, 10)], Action::Reject);
    let own = together(4, |number| {
        let mut cache = CellCache::default();
        let mut admitted = 0;
        for n in 0..2_000 {
            let key = key(&cells, &policy, &format!("flood-{number}-{n}"));
            admitted += u64::from(is_admitted(&cells.reserve(&mut cache, START, &[enforced(&policy, key)])));
            assert!(cells.cells() <= 500);
        }
        admitted
    });
    // One call of each key that has a cell, and the burst of the cell that all others share.
    assert_eq!(own, 500 + 10);
    assert_eq!((cells.cells(), cells.overflowed()), (500, 8_000 - 500));
}
