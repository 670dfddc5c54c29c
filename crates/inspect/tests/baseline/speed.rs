//! What an exchange costs with the baseline, printed. Run with `--release -- --ignored --nocapture baseline_speed`.

use std::{sync::Arc, time::Instant};

use crate::timing::{get, measure, post, resident_kib};

#[test]
#[ignore = "a measurement"]
fn baseline_speed() {
    let before = resident_kib();
    let start = Instant::now();
    let set = Arc::new(bartizan_inspect::baseline().unwrap());
    println!("load {} ms, {} MiB", start.elapsed().as_millis(), (resident_kib() - before) / 1024);
    let start = Instant::now();
    set.warm().unwrap();
    println!("warm {} ms, {} MiB", start.elapsed().as_millis(), (resident_kib() - before) / 1024);
    measure("GET with query", &set, &get());
    measure("POST of JSON", &set, &post());
    println!("after {} MiB", (resident_kib() - before) / 1024);
}
