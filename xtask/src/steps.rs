//! Named steps with their times, and the table at the end.

use std::time::{Duration, Instant};

use crate::Result;

/// How a step ended well.
pub(crate) enum Done {
    /// It passed; perhaps with a few words for the table.
    Passed(String),
    /// It could not be run here, and why. A skipped step is not a passed one: the table says so.
    Skipped(String),
}

impl Done {
    /// Passed, with nothing to add.
    pub(crate) fn passed() -> Done {
        Done::Passed(String::new())
    }
}

/// Runs steps and remembers how they ended.
pub(crate) struct Steps {
    keep_going: bool,
    rows: Vec<Row>,
}

struct Row {
    name: &'static str,
    outcome: Outcome,
    took: Duration,
    words: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Passed,
    Skipped,
    Failed,
    NotRun,
}

impl Steps {
    /// With `keep_going`, a failed step does not stop those after it.
    pub(crate) fn new(keep_going: bool) -> Steps {
        Steps { keep_going, rows: Vec::new() }
    }

    /// Runs one step, unless an earlier failure stops it.
    pub(crate) fn step(&mut self, name: &'static str, work: impl FnOnce() -> Result<Done>) {
        let failed = self.rows.iter().any(|row| row.outcome == Outcome::Failed);
        if failed && !self.keep_going {
            self.rows.push(Row {
                name,
                outcome: Outcome::NotRun,
                took: Duration::ZERO,
                words: String::new(),
            });
            return;
        }
        println!("\n── {name}");
        let start = Instant::now();
        let (outcome, words) = match work() {
            Ok(Done::Passed(words)) => (Outcome::Passed, words),
            Ok(Done::Skipped(why)) => (Outcome::Skipped, why),
            Err(why) => (Outcome::Failed, why),
        };
        let took = start.elapsed();
        let separator = if words.is_empty() { "" } else { ": " };
        println!("── {name} {} in {}{separator}{words}", outcome.word(), seconds(took));
        self.rows.push(Row { name, outcome, took, words });
    }

    /// Prints the table; fails when a step failed.
    pub(crate) fn finish(self) -> Result {
        println!("\nstep          outcome  time");
        for row in &self.rows {
            let first = row.words.lines().next().unwrap_or_default();
            let line =
                format!("{:<13} {:<8} {:>7}  {first}", row.name, row.outcome.word(), seconds(row.took));
            println!("{}", line.trim_end());
        }
        let failed: Vec<&str> =
            self.rows.iter().filter(|row| row.outcome == Outcome::Failed).map(|row| row.name).collect();
        if failed.is_empty() { Ok(()) } else { Err(format!("failed: {}", failed.join(", "))) }
    }
}

impl Outcome {
    fn word(self) -> &'static str {
        match self {
            Outcome::Passed => "passed",
            Outcome::Skipped => "SKIPPED",
            Outcome::Failed => "FAILED",
            Outcome::NotRun => "not run",
        }
    }
}

fn seconds(took: Duration) -> String {
    format!("{:.1} s", took.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_failure_nothing_runs_unless_told_to_keep_going() {
        for (keep_going, expected) in [(false, 1), (true, 2)] {
            let (mut steps, mut ran) = (Steps::new(keep_going), 0);
            steps.step("first", || {
                ran += 1;
                Err("no".to_owned())
            });
            steps.step("second", || {
                ran += 1;
                Ok(Done::passed())
            });
            assert_eq!(ran, expected);
            assert_eq!(steps.finish(), Err("failed: first".to_owned()));
        }
    }

    #[test]
    fn a_skipped_step_fails_nothing() {
        let mut steps = Steps::new(false);
        steps.step("first", || Ok(Done::Skipped("no tool".to_owned())));
        assert_eq!(steps.finish(), Ok(()));
    }
}
