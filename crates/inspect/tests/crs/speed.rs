//! What an exchange costs at paranoia level 1, printed. Run with `--release -- --ignored --nocapture speed`.

use std::{fmt::Write, sync::Arc, time::Instant};

use bartizan_inspect::{EngineMode, RuleSet};

use crate::{
    folder,
    ftw::{self, Request},
};

fn headers(extra: &[(&str, &str)]) -> Vec<(Vec<u8>, Vec<u8>)> {
    [
        ("Host", "api.example.com"),
        ("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"),
        ("Accept", "application/json, text/plain, */*"),
        ("Accept-Language", "en-US,en;q=0.5"),
        ("Accept-Encoding", "gzip, deflate, br"),
        ("Authorization", "Bearer eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.c2lnbmF0dXJl"),
        ("Cookie", "session=4f6a1c0b9e8d7a6f5e4d3c2b1a09f8e7; theme=dark"),
    ]
    .iter()
    .chain(extra)
    .map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec()))
    .collect()
}

pub(crate) fn get() -> Request {
    Request {
        method: b"GET".to_vec(),
        target: b"/api/v1/orders?customer=12345&status=open&sort=created_at&page=2&q=blue+shoes".to_vec(),
        protocol: b"HTTP/1.1".to_vec(),
        headers: headers(&[]),
        body: Vec::new(),
    }
}

pub(crate) fn post() -> Request {
    let mut body = String::from(
        "{\"customer\":{\"id\":12345,\"name\":\"Jane Miller\",\"email\":\"jane@example.com\"},\"items\":[",
    );
    for number in 0..9 {
        let comma = if number > 0 { "," } else { "" };
        write!(
            body,
            "{comma}{{\"sku\":\"AB-{number}-991\",\"quantity\":{number},\"price\":19.99,\"title\":\"Blue running shoes, size 4{number}\"}}"
        )
        .unwrap();
    }
    body.push_str("],\"note\":\"Please leave the parcel at the back door, thank you.\",\"express\":true}");
    Request {
        method: b"POST".to_vec(),
        target: b"/api/v1/orders".to_vec(),
        protocol: b"HTTP/1.1".to_vec(),
        headers: headers(&[
            ("Content-Type", "application/json"),
            ("Content-Length", &body.len().to_string()),
        ]),
        body: body.into_bytes(),
    }
}

/// A body of about 1 MiB: one long value, or many.
fn large(values: usize, piece: &str) -> Request {
    let each = (1_000_000 / values / piece.len()).max(1);
    let values: Vec<String> = (0..values).map(|_| format!("\"{}\"", piece.repeat(each))).collect();
    Request { body: format!("[{}]", values.join(",")).into_bytes(), ..post() }
}

fn once(name: &str, set: &Arc<RuleSet>, request: &Request) {
    let start = Instant::now();
    let verdict = ftw::run(set, None, request);
    println!(
        "{name} ({} bytes): {} ms, {:?} {:?}",
        request.body.len(),
        start.elapsed().as_millis(),
        verdict.refusal.map(|refusal| refusal.rule),
        verdict.incomplete
    );
}

pub(crate) fn measure(name: &str, set: &Arc<RuleSet>, request: &Request) {
    let first = Instant::now();
    let verdict = ftw::run(set, None, request);
    let cold = first.elapsed();
    assert_eq!(verdict.refusal, None, "{:?}", verdict.matches);
    let mut times: Vec<u128> =
        (0..std::env::var("ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(5000))
            .map(|_| {
                let start = Instant::now();
                let _ = ftw::run(set, None, request);
                start.elapsed().as_nanos()
            })
            .collect();
    let mean = times.iter().sum::<u128>() / times.len() as u128;
    times.sort_unstable();
    println!(
        "{name} ({} bytes of body): first {} us, least {:.1} us, mean {:.1} us, p50 {:.1} us, p99 {:.1} us, {} matches",
        request.body.len(),
        cold.as_micros(),
        times[0] as f64 / 1000.0,
        mean as f64 / 1000.0,
        times[times.len() / 2] as f64 / 1000.0,
        times[times.len() * 99 / 100] as f64 / 1000.0,
        verdict.matches.len(),
    );
}

pub(crate) fn resident_kib() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("VmRSS:"));
    line.and_then(|line| line.split_whitespace().nth(1)).and_then(|number| number.parse().ok()).unwrap_or(0)
}

#[test]
#[ignore = "a measurement"]
fn speed_at_paranoia_level_one() {
    let Some(folder) = folder::crs() else { return };
    let before = resident_kib();
    let start = Instant::now();
    let set = folder::load(&folder, EngineMode::Enforce);
    println!("load {} ms, {} MiB", start.elapsed().as_millis(), (resident_kib() - before) / 1024);
    let start = Instant::now();
    set.warm().unwrap();
    println!("warm {} ms, {} MiB", start.elapsed().as_millis(), (resident_kib() - before) / 1024);
    measure("GET with query", &set, &get());
    measure("POST of JSON", &set, &post());
    once("one long plain value", &set, &large(1, "abcdefghi "));
    once("many values", &set, &large(900, "plain text, 5 words; "));
    for piece in ["'", "(", "a'b", "/*", "<a ", "\\u0000", "%25", "&#x", "; ", "1 or ", "../"] {
        once(piece, &set, &large(1, piece));
    }
    println!("after {} MiB", (resident_kib() - before) / 1024);
}

#[inline(never)]
fn judged_once(set: &Arc<RuleSet>, request: &Request) -> usize {
    ftw::run(set, None, request).matches.len()
}

/// For instruction counts, which repeat on a busy machine: `CASE=post ROUNDS=100 valgrind --tool=callgrind
/// --toggle-collect='*judged_once*' …/crs-… --ignored speed_of_one_case`, divided by the rounds.
#[test]
#[ignore = "a measurement"]
fn speed_of_one_case() {
    let Some(folder) = folder::crs() else { return };
    let set = folder::load(&folder, EngineMode::Enforce);
    set.warm().unwrap();
    let request = if std::env::var("CASE").is_ok_and(|case| case == "post") { post() } else { get() };
    let rounds = std::env::var("ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(100);
    // Automata fill their memory of states at first use.
    let _ = ftw::run(&set, None, &request);
    let matches: usize = (0..rounds).map(|_| judged_once(&set, &request)).sum();
    assert_eq!(matches, 0);
}
