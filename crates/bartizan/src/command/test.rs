//! `bartizan test`: run the PolicyTests of a set, before anything of it is in force.
//!
//! The requests run through the stages of live traffic, without a socket and on a clock of their own. The report is the
//! data of this command, so it goes to standard output.

mod junit;
mod report;

use std::{
    collections::HashMap,
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use bartizan_config::{
    Set,
    policy_test::{Case, Report, run_tests},
    render::{self, Style},
    snapshot::Snapshot,
};
use bartizan_model::{
    document::{Document, Kind},
    problem::{Problem, Severity},
    read::nearest,
};
use bartizan_proxy::rehearsal::PipelineRehearsal;

use super::{
    print::{self, Outcome},
    sarif,
};

/// What `test` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit code: 0 every test passed, 1 tests failed, 2 could not run.")]
pub(crate) struct Args {
    /// Files and directories with documents; `-` is standard input.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Run the tests against these documents instead of those beside them.
    #[arg(long, num_args = 1.., value_name = "PATH")]
    against: Vec<PathBuf>,
    /// Run only the tests of these names; `*` stands for any text.
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    only: Vec<String>,
    /// How the report is printed.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// How a report is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// For people.
    Text,
    /// JUnit XML, which CI servers show.
    Junit,
    /// For programs.
    Json,
    /// SARIF 2.1.0, which code hosts show beside the lines.
    Sarif,
}

/// Runs and tells.
pub(crate) fn run(args: &Args) -> ExitCode {
    print::exit(test(args))
}

/// The tests, and what they are run against.
struct Opened {
    tests: Set,
    snapshot: Arc<Snapshot>,
}

fn test(args: &Args) -> Outcome {
    let opened = match open(args)? {
        Ok(opened) => opened,
        Err(code) => return Ok(code),
    };
    let tests = || opened.tests.documents.iter().filter(|document| document.kind() == Kind::PolicyTest);
    if let Some(error) = nothing_to_run(args, tests()) {
        return Err(error.into());
    }
    let is_wanted = |name: &str| is_wanted(&args.only, name);
    let begun = Instant::now();
    let mut times: HashMap<Arc<str>, Duration> = HashMap::new();
    let mut last = begun;
    let mut told: io::Result<()> = Ok(());
    let report =
        run_tests(&opened.tests.documents, &opened.snapshot, &PipelineRehearsal, is_wanted, |case| {
            let took = last.elapsed();
            times.insert(case.name.clone(), took);
            // Each as it is done: a long run shows how far it is.
            if args.format == Format::Text && told.is_ok() {
                told = print::data(&report::text(case, &opened.tests, took));
            }
            last = Instant::now();
        });
    told?;
    let told = Timed { report: &report, set: &opened.tests, times: &times, took: begun.elapsed() };
    match args.format {
        Format::Text => print::data(&report::summary(&told))?,
        Format::Junit => out(&junit::xml(&told))?,
        Format::Json => print::json(&report::json(&told))?,
        Format::Sarif => print::json(&sarif::log(&report::RULES, &report::findings(&told)))?,
    }
    Ok(if report.passed() { ExitCode::SUCCESS } else { ExitCode::from(print::FOUND) })
}

fn out(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush())
}

/// A report with its set and its times.
struct Timed<'r> {
    report: &'r Report,
    set: &'r Set,
    times: &'r HashMap<Arc<str>, Duration>,
    took: Duration,
}

impl Timed<'_> {
    fn time_of(&self, case: &Case) -> Duration {
        self.times.get(&case.name).copied().unwrap_or_default()
    }
}

/// Reads the tests and what they are run against. Sets that are not sound cannot be run: that is told, with the code.
fn open(args: &Args) -> Result<Result<Opened, ExitCode>, Box<dyn std::error::Error>> {
    let mut tests = Set::open(&args.paths)?;
    if args.against.is_empty() {
        let snapshot = tests.compiled.snapshot.take();
        return Ok(match snapshot {
            Some(snapshot) => Ok(Opened { tests, snapshot }),
            None => Err(unsound(&tests, |_| true)),
        });
    }
    // Tests may stand alone: that they name documents of the other set is no problem, that they cannot be read is one.
    let is_unread = |problem: &Problem| problem.code.as_str() < "BZ-3";
    if tests
        .compiled
        .problems
        .iter()
        .any(|problem| problem.severity == Severity::Problem && is_unread(problem))
    {
        return Ok(Err(unsound(&tests, is_unread)));
    }
    let mut against = Set::open(&args.against)?;
    Ok(match against.compiled.snapshot.take() {
        Some(snapshot) => Ok(Opened { tests, snapshot }),
        None => Err(unsound(&against, |_| true)),
    })
}

fn unsound(set: &Set, is_told: impl Fn(&Problem) -> bool) -> ExitCode {
    let mut told = bartizan_model::problem::Problems::new();
    let problems = set.compiled.problems.iter();
    for problem in problems.filter(|problem| problem.severity == Severity::Problem && is_told(problem)) {
        told.push(problem.clone());
    }
    print::note(render::section(&told, Severity::Problem, &set.sources, Style::Coloured).trim_end());
    print::note(&format!("\n{}: the tests could not run", render::summary(&told)));
    ExitCode::from(print::COULD_NOT_RUN)
}

/// A run that tests nothing is a mistake in the call, and must not look like one that passed.
fn nothing_to_run<'d>(args: &Args, tests: impl Iterator<Item = &'d Document> + Clone) -> Option<String> {
    let names = tests.map(|document| document.name.as_str());
    if names.clone().next().is_none() {
        return Some("the set has no PolicyTest; see docs/guides/testing-policies.md".to_owned());
    }
    if names.clone().any(|name| is_wanted(&args.only, name)) {
        return None;
    }
    let asked = args.only.first().map(String::as_str).unwrap_or_default();
    Some(match nearest(asked, names) {
        Some(near) => format!("no PolicyTest is named `{asked}`; did you mean `{near}`?"),
        None => format!("no PolicyTest is named `{asked}`"),
    })
}

fn is_wanted(only: &[String], name: &str) -> bool {
    only.is_empty() || only.iter().any(|pattern| matches(pattern, name))
}

/// Whether a name fits a pattern in which `*` stands for any text.
fn matches(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        let Some(at) = rest.find(part) else { return false };
        rest = rest.get(at + part.len()..).unwrap_or_default();
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_text_and_nothing_else_does() {
        for (pattern, name, expected) in [
            ("orders", "orders", true),
            ("orders", "orders-2", false),
            ("orders*", "orders-2", true),
            ("*-2", "orders-2", true),
            ("o*r*2", "orders-2", true),
            ("o*x*2", "orders-2", false),
            ("*", "", true),
            ("or?ers", "orders", false),
            ("a*a", "a", false),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }
}
