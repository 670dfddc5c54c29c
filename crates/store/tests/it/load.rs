//! How long a gateway needs for many keys.

use std::{fs, time::Instant};

use bartizan_store::KeyFeed;
use sqlx::{ConnectOptions, sqlite::SqliteConnectOptions};

use super::{Place, create};

#[tokio::test]
#[ignore = "prints figures; run with --release on a quiet machine, BARTIZAN_TEST_KEYS says how many"]
async fn what_many_keys_cost() {
    let count: i64 =
        std::env::var("BARTIZAN_TEST_KEYS").ok().and_then(|text| text.parse().ok()).unwrap_or(100_000);
    let place = Place::new();
    let store = place.store().await;
    let mut connection =
        SqliteConnectOptions::new().filename(place.file("bartizan.db")).connect().await.unwrap();
    sqlx::query(
        "WITH RECURSIVE n (at) AS (SELECT 1 UNION ALL SELECT at + 1 FROM n WHERE at < $1)
         INSERT INTO api_key (id, consumer, hash, created_at_ms, change)
         SELECT substr(hex(randomblob(6)), 1, 12), 'consumer-' || (at % 1000), randomblob(32), at, 0 FROM n",
    )
    .bind(count)
    .execute(&mut connection)
    .await
    .unwrap();

    let before = resident_kib();
    let started = Instant::now();
    let mut feed = KeyFeed::open(&store).await.unwrap();
    println!("{} keys: read in {:?}", feed.table().len(), started.elapsed());
    println!("resident memory: {before} KiB before, {} KiB after", resident_kib());
    create(&store, "acme").await;
    let started = Instant::now();
    feed.poll().await.unwrap().unwrap();
    println!("one change: read in {:?}", started.elapsed());
    let started = Instant::now();
    feed.poll().await.unwrap();
    println!("a look without a change: {:?}", started.elapsed());
    let started = Instant::now();
    println!("{} uses saved in {:?}", feed.save_uses().await.unwrap(), started.elapsed());
}

/// 0 where the system does not tell.
fn resident_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}
