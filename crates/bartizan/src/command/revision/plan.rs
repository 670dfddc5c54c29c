//! `bartizan plan`: what applying a set would change, in plain words, without changing anything.

use std::process::ExitCode;

use bartizan_config::{
    compare::{Comparison, Direction, Weight},
    keep,
};
use bartizan_model::problem::Severity;
use bartizan_proxy::rehearsal::PipelineRehearsal;

use super::{
    base::BaseArg,
    candidate::{Candidate, FilesArg},
    house::HouseArg,
    report,
};
use crate::command::{
    print::{self, Format, Outcome},
    set,
};

/// What `plan` takes.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit code: 0 it could be applied, 1 it could not (or does what --deny names), 2 could not run."
)]
pub(crate) struct Args {
    #[command(flatten)]
    files: FilesArg,
    #[command(flatten)]
    base: BaseArg,
    #[command(flatten)]
    house: HouseArg,
    /// What counts as a failure.
    #[arg(long, value_enum, value_name = "WHAT")]
    deny: Option<Denied>,
    /// How the plan is printed.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// What can be denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Denied {
    /// Whatever becomes weaker and decides who gets in.
    Grave,
    /// Whatever becomes weaker.
    Weaker,
}

/// Plans and tells.
pub(crate) fn run(args: &Args) -> ExitCode {
    super::exit(answer(args))
}

fn answer(args: &Args) -> Outcome {
    let read = Candidate::read_while(&args.files.paths, || args.base.open(&args.house));
    let (candidate, base) = match read? {
        Ok((candidate, base)) => (candidate, base?),
        Err(code) => return Ok(code),
    };
    let comparison = base.compare(&candidate);
    match args.format {
        Format::Text => print::data(&report::plan(&comparison, &base))?,
        Format::Json => {
            print::json(&report::to_json(&comparison, base.row.as_ref(), &candidate.digest.hex()))?
        }
    }
    let exposures = candidate.set.compiled.problems.count(Severity::Exposure);
    if args.format == Format::Text && exposures > 0 {
        print::note(&format!(
            "{} in the set; `bartizan check` lists them",
            print::counted(exposures, "exposure")
        ));
    }
    let against = keep::reasons_against(&candidate.set, &PipelineRehearsal);
    for reason in against.standing(false) {
        print::note(&format!(
            "{}it could not be applied{}: {}",
            print::BOLD_RED,
            print::PLAIN,
            print::clean(reason)
        ));
    }
    let warnings = set::section(&candidate.set, Severity::Warning);
    if args.format == Format::Text && !warnings.is_empty() {
        print::note(warnings.trim_end());
    }
    let failed = against.standing(false).next().is_some() || is_denied(args.deny, &comparison);
    Ok(if failed { ExitCode::from(print::FOUND) } else { ExitCode::SUCCESS })
}

fn is_denied(denied: Option<Denied>, comparison: &Comparison) -> bool {
    let mut weaker = comparison.findings.iter().filter(|finding| finding.direction == Direction::Weaker);
    match denied {
        None => false,
        Some(Denied::Weaker) => weaker.next().is_some(),
        Some(Denied::Grave) => weaker.any(|finding| finding.weight == Weight::Grave),
    }
}
