//! `bartizan diff`: which documents and fields differ. For scripts: 0 none, 1 differences, 2 could not run.

use std::process::ExitCode;

use serde_json::json;

use super::{
    base::BaseArg,
    candidate::{Candidate, FilesArg},
    house::HouseArg,
    report,
};
use crate::command::print::{self, Format, Outcome};

/// What `diff` takes.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit code: 0 no differences, 1 differences, 2 could not run (also where the files have problems)."
)]
pub(crate) struct Args {
    #[command(flatten)]
    files: FilesArg,
    #[command(flatten)]
    base: BaseArg,
    #[command(flatten)]
    house: HouseArg,
    /// How the differences are printed.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// Compares and tells. That there is nothing to compare with is no difference, so it could not run.
pub(crate) fn run(args: &Args) -> ExitCode {
    print::exit(answer(args))
}

fn answer(args: &Args) -> Outcome {
    let read = Candidate::read_while(&args.files.paths, || args.base.open(&args.house));
    let (candidate, base) = match read? {
        Ok((candidate, base)) => (candidate, base?),
        Err(_) => return Ok(ExitCode::from(print::COULD_NOT_RUN)),
    };
    let comparison = base.compare(&candidate);
    match args.format {
        Format::Text => {
            let mut text = String::new();
            report::documents(&comparison, &mut text);
            print::data(text.strip_suffix('\n').unwrap_or(&text))?;
        }
        Format::Json => print::json(&json!({ "documents": comparison.documents }))?,
    }
    Ok(if comparison.documents.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(print::FOUND) })
}
