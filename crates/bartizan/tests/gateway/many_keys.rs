//! A million keys: how long a gateway starts, what it needs, how fast it looks one up and how soon a revocation is live.
//!
//! Ignored: it wants a release build (`BARTIZAN_BIN`), a quiet machine, and python3, which fills the database.

use std::{
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use bartizan_identity::KeyId;
use bartizan_testkit::{Client, Documents, Gateway, Origin, TempDir};

use crate::harness::{API_KEYS, document, key, now_ms, simple, with_store};

const FILL: &str = "import sqlite3, sys, os
database = sqlite3.connect(sys.argv[1])
letters = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'
rows = ((''.join(letters[b % 62] for b in os.urandom(12)), f'consumer-{n % 1000}', os.urandom(32), n) for n in range(int(sys.argv[2])))
database.executemany('INSERT OR IGNORE INTO api_key (id, consumer, hash, created_at_ms, change) VALUES (?, ?, ?, ?, 0)', rows)
database.commit()
";

fn fill(data: &Path, count: u32) {
    let database = data.join("bartizan.db");
    let filled = Command::new("python3").args(["-c", FILL]).arg(database).arg(count.to_string()).status();
    assert!(filled.expect("python3 runs").success());
}

/// The median of so many calls, in microseconds.
fn median_us(address: std::net::SocketAddr, key: &str) -> u128 {
    let client = Client::http1(address);
    let mut times: Vec<u128> = (0..4_000)
        .map(|_| {
            let begun = Instant::now();
            assert_eq!(client.get("/", &[("x-api-key", key)]).status.as_u16(), 200);
            begun.elapsed().as_micros()
        })
        .collect();
    times.sort_unstable();
    times[times.len() / 2]
}

#[test]
#[ignore = "prints figures; BARTIZAN_BIN names a release build, BARTIZAN_TEST_KEYS how many keys"]
fn a_gateway_with_a_million_keys_starts_in_three_seconds_and_forgets_a_key_within_one() {
    let count =
        std::env::var("BARTIZAN_TEST_KEYS").ok().and_then(|text| text.parse().ok()).unwrap_or(1_000_000);
    let origin = Origin::answering("ok");
    let documents = Documents::one(simple(&origin.url(), &[API_KEYS, &document("Consumer", "shop", "{}")]));
    let mut medians = Vec::new();
    for count in [10, count] {
        let (data, other) = (TempDir::new(), TempDir::new());
        let valid = key(data.path(), "shop", None);
        fill(data.path(), count);
        bartizan_testkit::gateway::command([
            "apply".as_ref(),
            "--reason".as_ref(),
            "a measurement".as_ref(),
            "-f".as_ref(),
            documents.path().as_os_str(),
            "--data-dir".as_ref(),
            data.path().as_os_str(),
        ]);
        let start = |own: &TempDir| {
            Gateway::starting("run")
                .arg("--store")
                .arg(format!("sqlite:{}", data.path().display()))
                .arg("--admin")
                .arg("127.0.0.1:0")
                .arg("--workers")
                .arg("1")
                .data_dir(own.path())
                .patiently(Duration::from_secs(120))
                .start()
        };
        let begun = Instant::now();
        let first = start(&data);
        let started = begun.elapsed();
        let status = std::fs::read_to_string(format!("/proc/{}/status", first.pid())).unwrap();
        let resident = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name)).unwrap();
            line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
        };
        println!(
            "{count} keys: ready in {started:?}, {} MiB resident, {} MiB at most",
            resident("VmRSS:"),
            resident("VmHWM:")
        );
        let second = start(&other);
        let median = median_us(first.address("web"), &valid);
        println!("{count} keys: a call takes {median} us (median of 4000)");
        medians.push(median);
        let id = KeyId::recognise(&valid).unwrap();
        let begun = Instant::now();
        with_store(data.path(), async |store| store.keys().revoke(&id, now_ms()).await.unwrap());
        for gateway in [&first, &second] {
            while Client::http1(gateway.address("web")).get("/", &[("x-api-key", &valid)]).status.as_u16()
                == 200
            {
                assert!(
                    begun.elapsed() < Duration::from_secs(1),
                    "a revocation was not live within a second"
                );
            }
        }
        println!("{count} keys: a revocation is live on both processes after {:?}", begun.elapsed());
    }
    println!("with many keys a call takes {:.2} of the time with ten", medians[1] as f64 / medians[0] as f64);
}
