//! `bartizan check`: every problem of a set of documents at once, and what it leaves open.
//!
//! The findings are the data of this command, so they go to standard output. Nothing is bound, read from secrets or
//! changed.

use std::{path::PathBuf, process::ExitCode};

use bartizan_config::{Set, render};
use bartizan_model::problem::{Problem, Severity};
use serde_json::{Value, json};

use super::{
    print::{self, BOLD, Format, Outcome, PLAIN, counted},
    set,
};

/// What `check` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit code: 0 fine, 1 problems (or what --deny names) were found, 2 could not run.")]
pub(crate) struct Args {
    /// Files and directories with documents; `-` is standard input.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// How the findings are printed.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    /// What beside problems counts as a failure.
    #[arg(long, value_enum, value_delimiter = ',', value_name = "WHAT")]
    deny: Vec<Denied>,
}

/// What can be denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Denied {
    /// What is probably not meant so.
    Warnings,
    /// What leaves a door open.
    Exposures,
}

impl Denied {
    const fn severity(self) -> Severity {
        match self {
            Denied::Warnings => Severity::Warning,
            Denied::Exposures => Severity::Exposure,
        }
    }
}

/// Checks and tells.
pub(crate) fn run(args: &Args) -> ExitCode {
    print::exit(check(args))
}

fn check(args: &Args) -> Outcome {
    let set = Set::open(&args.paths)?;
    let is_denied = |severity| args.deny.iter().any(|denied| denied.severity() == severity);
    let failed = SEVERITIES.into_iter().any(|severity| {
        (severity == Severity::Problem || is_denied(severity)) && set.compiled.problems.count(severity) > 0
    });
    match args.format {
        Format::Text => print::data(&text(&set, is_denied))?,
        Format::Json => print::json(&report(&set, !failed))?,
    }
    Ok(if failed { ExitCode::from(print::FOUND) } else { ExitCode::SUCCESS })
}

const SEVERITIES: [Severity; 3] = [Severity::Problem, Severity::Warning, Severity::Exposure];

/// The findings, most grave last, so that they stand right above the summary.
fn text(set: &Set, is_denied: impl Fn(Severity) -> bool) -> String {
    let mut out = String::new();
    for severity in SEVERITIES.into_iter().rev() {
        out.push_str(&set::section(set, severity));
    }
    let problems = &set.compiled.problems;
    let of = |count: usize, word| counted(u64::try_from(count).unwrap_or(u64::MAX), word);
    // A document that could not be read is not counted, so a set with problems is told by its files.
    let what = match &set.compiled.snapshot {
        Some(_) => of(set.documents.len(), "document"),
        None => of(set.sources.len(), "file"),
    };
    let denied: Vec<String> = SEVERITIES
        .into_iter()
        .filter(|severity| is_denied(*severity) && problems.count(*severity) > 0)
        .map(|severity| format!("{severity}s are denied"))
        .collect();
    let denied = if denied.is_empty() { String::new() } else { format!(" ({})", denied.join(", ")) };
    out.push_str(&format!("{BOLD}{what}: {}{PLAIN}{denied}\n", render::summary(problems)));
    out
}

/// The findings for programs: one list per severity, their numbers (which count those beyond the lists too), and the
/// revision that the set would have.
fn report(set: &Set, ok: bool) -> Value {
    let problems = &set.compiled.problems;
    let of = |severity: Severity| -> Value {
        let is_wanted = |problem: &&Problem| problem.severity == severity;
        problems.iter().filter(is_wanted).map(|problem| render::json(problem, &set.sources)).collect()
    };
    let count = |severity: Severity| problems.count(severity);
    json!({
        "ok": ok,
        "revision": set.compiled.snapshot.as_ref().map(|snapshot| &*snapshot.revision.id),
        "files": set.sources.len(),
        "documents": set.documents.len(),
        "counts": {
            "problems": count(Severity::Problem),
            "warnings": count(Severity::Warning),
            "exposures": count(Severity::Exposure),
        },
        "problems": of(Severity::Problem),
        "warnings": of(Severity::Warning),
        "exposures": of(Severity::Exposure),
    })
}
