//! Runs the tests of the workspace and reads what they say: the sums, and whether anything moves at all.
//!
//! A test that waits for ever would hold CI until it is ended from outside, and nobody would learn which one it was.
//! So silence is bounded: then what still runs is named, ended, and the step fails.

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead, BufReader},
    os::unix::process::CommandExt,
    process::{Child, Command, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::Duration,
};

use crate::{
    Result,
    shell::{self, shown},
};

/// How long no test may end. The slowest one (compile-fail) takes about two minutes on a cold machine.
const SILENCE_MAX: Duration = Duration::from_secs(600);

/// Runs `command`, a `cargo test` that has been built before, passing its lines on.
pub(crate) fn run(command: &mut Command) -> Result<Sums> {
    run_within(command, SILENCE_MAX)
}

fn run_within(command: &mut Command, silence_max: Duration) -> Result<Sums> {
    // A group of its own, so that the test binaries end with cargo.
    command.stdout(Stdio::piped()).process_group(0);
    let mut child = command.spawn().map_err(|error| format!("{}: {error}", shown(command)))?;
    let (send, lines) = mpsc::channel();
    let Some(stdout) = child.stdout.take() else { return Err("no output to read".to_owned()) };
    thread::spawn(move || {
        for line in BufReader::new(stdout).split(b'\n').map_while(std::result::Result::ok) {
            if send.send(line).is_err() {
                break;
            }
        }
    });
    let (mut sums, mut slow) = (Sums::default(), BTreeSet::new());
    loop {
        match lines.recv_timeout(silence_max) {
            Ok(line) => {
                let line = String::from_utf8_lossy(&line);
                println!("{line}");
                sums.add(&line);
                note_slow(&line, &mut slow);
            }
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                let running = group(&child);
                end(&mut child);
                return Err(format!(
                    "{}: no test ended for {} s; unfinished: {}; running: {}",
                    sums.words(),
                    silence_max.as_secs(),
                    listed(slow),
                    listed(running),
                ));
            }
        }
    }
    let status = child.wait().map_err(|error| error.to_string())?;
    if !status.success() {
        return Err(format!("{}: `{}` failed", sums.words(), shown(command)));
    }
    if sums.passed == 0 {
        return Err("no test ran".to_owned());
    }
    Ok(sums)
}

/// Remembers the tests that libtest calls slow, until they end.
fn note_slow(line: &str, slow: &mut BTreeSet<String>) {
    let Some(rest) = line.strip_prefix("test ") else { return };
    if let Some((name, _)) = rest.split_once(" has been running for ") {
        slow.insert(name.to_owned());
    } else if let Some((name, _)) = rest.split_once(" ... ") {
        slow.remove(name);
    }
}

/// The processes of the child's group, by their command lines.
fn group(child: &Child) -> BTreeSet<String> {
    let leader = child.id().to_string();
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let of_group = processes.filter(|process| {
        let stat = fs::read_to_string(process.path().join("stat")).unwrap_or_default();
        // `pid (name) state parent group …`; a name may hold anything, so what follows its end is read.
        let group = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(2));
        group == Some(leader.as_str())
    });
    of_group
        .filter_map(|process| fs::read(process.path().join("cmdline")).ok())
        .map(|line| String::from_utf8_lossy(&line).replace('\0', " ").trim_end().to_owned())
        .collect()
}

/// Ends the child and all of its group.
fn end(child: &mut Child) {
    let group = format!("-{}", child.id());
    // It may just have ended by itself; then there is nothing to end.
    let _ = shell::program("kill").args(["-KILL", "--", &group]).status();
    let _ = child.wait();
}

fn listed(names: BTreeSet<String>) -> String {
    if names.is_empty() { "none named".to_owned() } else { Vec::from_iter(names).join(", ") }
}

/// What the closing lines of the test binaries say, added up.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Sums {
    passed: u64,
    failed: u64,
    ignored: u64,
}

impl Sums {
    /// Adds `test result: ok. 4 passed; 0 failed; 1 ignored; …`; other lines count nothing.
    fn add(&mut self, line: &str) {
        let Some((_, counts)) = line.strip_prefix("test result: ").and_then(|rest| rest.split_once(". "))
        else {
            return;
        };
        for part in counts.split("; ") {
            if let Some((Ok(count), word)) =
                part.split_once(' ').map(|(count, word)| (count.parse::<u64>(), word))
            {
                match word {
                    "passed" => self.passed += count,
                    "failed" => self.failed += count,
                    "ignored" => self.ignored += count,
                    _ => {}
                }
            }
        }
    }

    /// The words for the table of steps.
    pub(crate) fn words(&self) -> String {
        format!("{} passed; {} failed; {} ignored", self.passed, self.failed, self.ignored)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closing_lines_are_added_up() {
        let mut sums = Sums::default();
        sums.add(
            "test result: ok. 4 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s",
        );
        sums.add("test a_name ... ok");
        sums.add("test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.1s");
        assert_eq!(sums, Sums { passed: 5, failed: 2, ignored: 1 });
        assert_eq!(sums.words(), "5 passed; 2 failed; 1 ignored");
    }

    #[test]
    fn a_suite_that_stands_still_is_ended_and_what_hangs_is_named() {
        let script = "echo 'test a::quick ... ok'; echo 'test a::stuck has been running for over 60 seconds'; \
                      echo 'test a::late has been running for over 60 seconds'; echo 'test a::late ... ok'; sleep 60";
        let mut command = shell::program("sh");
        command.args(["-c", script]);
        let why = run_within(&mut command, Duration::from_millis(500)).unwrap_err();
        assert!(why.contains("no test ended for 0 s; unfinished: a::stuck; running: "), "{why}");
        assert!(why.contains("sleep 60"), "{why}");
    }

    #[test]
    fn a_suite_that_ends_is_added_up_and_one_without_tests_fails() {
        let run = |script: &str| {
            let mut command = shell::program("sh");
            run_within(command.args(["-c", script]), Duration::from_secs(30))
        };
        let line = "echo 'test result: ok. 4 passed; 0 failed; 1 ignored; 0 measured'";
        assert_eq!(run(line).unwrap(), Sums { passed: 4, failed: 0, ignored: 1 });
        assert!(run(&format!("{line}; exit 1")).unwrap_err().contains("failed"));
        assert_eq!(run("true").unwrap_err(), "no test ran");
    }
}
