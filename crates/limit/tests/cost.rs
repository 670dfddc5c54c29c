//! What a decision costs. Not a test of right and wrong, so it runs only when asked for:
//! `cargo test -p bartizan-limit --release --test cost -- --ignored --nocapture`.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test may fail, and says what it measured"
)]

mod common;

use std::{
    hash::RandomState,
    time::{Duration, Instant},
};

use bartizan_limit::{Action, Ask, Bite, CellCache, Cells, Nanos};
use common::{START, key, policy, rate};

const CALLS: usize = 1_000_000;

#[test]
#[ignore = "a measurement"]
fn cost_of_a_decision() {
    let cells = Cells::new(2_000_000, [RandomState::new(), RandomState::new()]);
    let policy = policy("p", &[rate(100, Duration::from_secs(60), 100)], Action::Reject);
    let mut cache = CellCache::default();
    let mut keys: Vec<u128> = (0..10).map(|n| key(&cells, &policy, &format!("caller-{n}"))).collect();
    let mut now = START.0;
    let mut run = |name: &str, keys: &[u128], order: &dyn Fn(usize) -> usize| {
        let mut quartiles: Vec<f64> = (0..9)
            .map(|_| {
                let start = Instant::now();
                for call in 0..CALLS {
                    now += 1_000;
                    let key = keys[order(call) % keys.len()];
                    let ask = Ask { policy: &policy, key, bite: Bite::Enforce, cost: 1, tokens: None };
                    std::hint::black_box(cells.reserve(&mut cache, Nanos(now), &[ask]));
                }
                start.elapsed().as_nanos() as f64 / CALLS as f64
            })
            .collect();
        quartiles.sort_by(f64::total_cmp);
        println!("{name:<48} {:>6.1} ns ({:.1} to {:.1})", quartiles[4], quartiles[2], quartiles[6]);
    };
    // A stride that meets each of a million keys once, far from the one before (the keys themselves are hashes).
    let scattered = |call: usize| call * 611_953;
    run("10 keys, 10 live", &keys, &|call| call);
    for n in 10..1_000_000 {
        keys.push(key(&cells, &policy, &format!("caller-{n}")));
    }
    run("1,000,000 keys in turn, 1,000,000 live", &keys, &scattered);
    let ten: Vec<u128> = keys.iter().copied().take(10).collect();
    run("10 keys, 1,000,000 live", &ten, &|call| call);

    let facts = bartizan_limit::KeyFacts {
        route: "orders",
        team: None,
        consumer: Some("caller-1"),
        client: 1,
        header: &|_, _| {},
    };
    let start = Instant::now();
    for _ in 0..CALLS {
        std::hint::black_box(cells.key_of(&policy, std::hint::black_box(&facts)));
    }
    println!(
        "{:<48} {:>6.1} ns",
        "the key of a call by consumer",
        start.elapsed().as_nanos() as f64 / CALLS as f64
    );
    println!("{cells:?}");
}
