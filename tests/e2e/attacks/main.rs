//! The attack table: `cargo test -p bartizan-e2e --test attacks`, or with numbers of cases or ids behind `--`.
//!
//! Each file holds the cases of one subject as data. The runner needs the binary: `cargo build -p bartizan` comes first.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a test's summary is for its terminal")]

mod absent;
mod confusion;
mod flood;
mod framing;
mod identity;
mod incident;
mod inspection;
mod message;
mod slow;
mod stream;
mod upstream;

use std::{process::ExitCode, time::Instant};

use bartizan_e2e::{
    Case, House, Row, Standing, page,
    run::{self, Played},
};

/// The cases, as they are called.
const TITLES: &[(Case, &str)] = &[
    (Case::Number(1), "`Content-Length` beside `Transfer-Encoding`"),
    (Case::Number(2), "Two lengths"),
    (Case::Number(3), "A length that is not a plain number"),
    (Case::Number(4), "A coding that is not exactly `chunked`"),
    (Case::Number(5), "Chunks that servers read differently"),
    (Case::Number(6), "Expectations"),
    (Case::Number(7), "Upgrades"),
    (Case::Number(8), "An answer before the body was read"),
    (Case::Number(9), "Broken fields"),
    (Case::Number(10), "Which host"),
    (Case::Number(11), "Answers of upstreams that are none"),
    (Case::Number(12), "What HTTP/2 carries into HTTP/1.1"),
    (Case::Number(13), "HTTP/2 bodies that are not as long as they say"),
    (Case::Number(14), "HTTP/3 bodies that are not as long as they say"),
    (Case::Number(15), "A rewritten body toward an HTTP/2 upstream"),
    (Case::Number(16), "Trailers"),
    (Case::Number(17), "CONNECT"),
    (Case::Number(18), "Methods"),
    (Case::Number(19), "Rapid reset"),
    (Case::Number(20), "Made you reset"),
    (Case::Number(21), "CONTINUATION without end"),
    (Case::Number(22), "Field blocks that grow"),
    (Case::Number(23), "Floods of small frames"),
    (Case::Number(24), "Readers that do not read"),
    (Case::Number(25), "Slow heads and bodies"),
    (Case::Number(26), "Connections without end"),
    (Case::Number(27), "TLS"),
    (Case::Number(28), "QUIC"),
    (Case::Number(29), "Compression bombs"),
    (Case::Number(30), "Deep JSON and GraphQL"),
    (Case::Number(31), "XML"),
    (Case::Number(32), "Many arguments, cookies, fields"),
    (Case::Number(33), "Worst cases of regular expressions"),
    (Case::Number(34), "Colliding keys"),
    (Case::Number(35), "WebSocket frames"),
    (Case::Number(36), "Large opaque bodies at once"),
    (Case::Number(37), "Floods of the log"),
    (Case::Number(38), "Paths that servers read differently"),
    (Case::Number(39), "A prefix stripped after it matched"),
    (Case::Number(40), "A path taken for an authority"),
    (Case::Number(41), "Forged forwarding fields and their aliases"),
    (Case::Number(42), "One field, several values"),
    (Case::Number(43), "`Connection` names what judges decide by"),
    (Case::Number(44), "One argument, several values"),
    (Case::Number(45), "Forged certificates, consumers and PROXY headers"),
    (Case::Number(46), "Another host than the handshake's"),
    (Case::Number(47), "A session resumed elsewhere"),
    (Case::Number(48), "An upstream's connection under another trust"),
    (Case::Number(49), "Names in certificates"),
    (Case::Number(50), "Answers shared between callers"),
    (Case::Number(51), "Tokens"),
    (Case::Number(52), "Helpers that fail"),
    (Case::Number(53), "Routes that overlap"),
    (Case::Number(54), "Policies behind redirects, retries, upgrades"),
    (Case::Number(55), "Secrets in logs and errors"),
    (Case::Number(56), "Proofs of possession"),
    (Case::Number(57), "Stuffed logins"),
    (Case::Number(58), "Enumerated objects"),
    (Case::Number(59), "Key sets from elsewhere"),
    (Case::Number(60), "OAuth state"),
    (Case::Number(61), "The Core Rule Set's own tests"),
    (Case::Number(62), "Multipart"),
    (Case::Number(63), "Payload behind the limit of inspection"),
    (Case::Number(64), "Content types that lie"),
    (Case::Number(65), "Payload in parts"),
    (Case::Number(66), "Fast paths that judge otherwise"),
    (Case::Number(67), "Killed while it changes"),
    (Case::Number(68), "The store is gone"),
    (Case::Number(69), "The machine fails"),
    (Case::Number(70), "Upstreams fail"),
    (Case::Number(71), "Overload"),
    (Case::Number(72), "A panic"),
    (Case::Incident(1), "Half a configuration went live"),
    (Case::Incident(2), "Traffic before the first configuration"),
    (Case::Incident(3), "Administration reached through the data plane"),
    (Case::Incident(4), "Limits that many callers exceed together"),
    (Case::Incident(5), "Refusals without a reason"),
    (Case::Incident(6), "Large bodies that fail strangely"),
    (Case::Incident(7), "One reader slows its neighbours"),
    (Case::Incident(8), "Administration open to the world"),
];

fn table() -> Vec<Row> {
    let mut rows = Vec::new();
    for of in [
        framing::rows,
        message::rows,
        upstream::rows,
        stream::rows,
        flood::rows,
        slow::rows,
        confusion::rows,
        identity::rows,
        incident::rows,
        inspection::rows,
        absent::rows,
    ] {
        rows.extend(of());
    }
    rows
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // What only long runs ask for has nothing here; a list of tests is asked for by tools.
    if arguments.iter().any(|argument| argument == "--ignored") {
        return ExitCode::SUCCESS;
    }
    if arguments.iter().any(|argument| argument == "--list") {
        println!("attacks: test");
        return ExitCode::SUCCESS;
    }
    let wanted: Vec<&str> =
        arguments.iter().filter(|argument| !argument.starts_with('-')).map(String::as_str).collect();
    let mut rows = table();
    if let Err(why) = run::check_whole(&rows, TITLES.iter().map(|(case, _)| *case)) {
        eprintln!("the table: {why}");
        return ExitCode::FAILURE;
    }
    let whole = wanted.is_empty();
    rows.retain(|row| whole || wanted.iter().any(|name| row.id == *name || row.case.to_string() == *name));
    let planned = rows.len();
    let start = Instant::now();
    let house = House::build(upstream::origins());
    let played = run::play(&house, rows);
    let mut failures = report(&played);
    if played.len() != planned {
        failures.push(format!("{planned} rows were to be played and {} were", played.len()));
    }
    println!("\n{} rows in {:.1} s", played.len(), start.elapsed().as_secs_f64());
    if whole && failures.is_empty() {
        failures.extend(keep_page(&page::write(TITLES, &played)).err());
    }
    for failure in &failures {
        eprintln!("FAILED {failure}");
    }
    println!("{}", closing(&played, failures.len()));
    if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A line per case; returns what failed.
fn report(played: &[Played]) -> Vec<String> {
    let mut failures = Vec::new();
    for (case, title) in TITLES {
        let rows: Vec<&Played> = played.iter().filter(|one| one.row.case == *case).collect();
        if rows.is_empty() {
            continue;
        }
        let count =
            |wanted: fn(&Standing) -> bool| rows.iter().filter(|one| wanted(&one.row.standing)).count();
        let failed: Vec<String> = rows
            .iter()
            .filter_map(|one| Some(format!("{} {}: {}", one.row.id, one.row.name, one.failure()?)))
            .collect();
        let took: f64 = rows.iter().map(|one| one.took.as_secs_f64()).sum();
        println!(
            "{:>4}  {title:<52} {:>3} played {:>2} known {:>2} not yet {:>2} failed {took:>6.1} s",
            case.to_string(),
            rows.len(),
            count(|standing| matches!(standing, Standing::Known(_))),
            count(|standing| matches!(standing, Standing::NotYet(_))),
            failed.len(),
        );
        failures.extend(failed);
    }
    failures
}

/// The closing line as cargo's own harness writes it, for whoever adds them up.
fn closing(played: &[Played], failed: usize) -> String {
    let passed =
        played.iter().filter(|one| one.row.standing == Standing::Holds && one.result.is_ok()).count();
    let ignored = played.iter().filter(|one| one.row.standing != Standing::Holds).count();
    let word = if failed == 0 { "ok" } else { "FAILED" };
    format!(
        "test result: {word}. {passed} passed; {failed} failed; {ignored} ignored; 0 measured; 0 filtered out"
    )
}

fn keep_page(text: &str) -> Result<(), String> {
    let path = page::path();
    if std::env::var_os("BARTIZAN_REGENERATE").is_some() {
        return std::fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()));
    }
    match std::fs::read_to_string(&path) {
        Ok(old) if old == text => Ok(()),
        _ => Err("docs/attacks.md is not what this run saw; run it with BARTIZAN_REGENERATE=1".to_owned()),
    }
}
