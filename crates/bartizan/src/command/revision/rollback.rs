//! `bartizan rollback`: a new revision that repeats the documents of an older one.

use std::process::ExitCode;

use bartizan_store::{RevisionRef, Rollback};

use super::{
    apply::{self, WhenArg},
    base::{self, Base},
    house::{self, HouseArg, Refused},
    report,
};
use crate::command::{
    author,
    print::{self, Format, Outcome},
};

/// What `rollback` takes.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit code: 0 rolled back (or nothing to change), 1 refused or failed at the gateway, 2 could not run."
)]
pub(crate) struct Args {
    /// The revision to repeat: its number or digest [default: the one before the active one].
    #[arg(value_name = "REV", value_parser = base::revision)]
    to: Option<RevisionRef>,
    /// Why, for the history.
    #[arg(long, value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    when: WhenArg,
    #[command(flatten)]
    house: HouseArg,
    /// How the plan and the outcome are printed.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// Rolls back and tells.
pub(crate) fn run(args: &Args) -> ExitCode {
    super::exit(answer(args))
}

fn answer(args: &Args) -> Outcome {
    let house = args.house.open()?;
    house.refuse_on_files()?;
    let active = house.active()?.ok_or(bartizan_store::Error::RevisionNone)?;
    if let Some(wanted) = &args.when.if_match {
        house::matches(Some(&active), wanted)?;
    }
    let to = match (&args.to, active.parent) {
        (Some(to), _) => to.clone(),
        (None, Some(parent)) => RevisionRef::Number(parent),
        (None, None) => {
            return Err(Box::new(Refused(format!(
                "revision {} is the first one: there is none before it",
                active.number
            ))));
        }
    };
    // One that does not compile any more (a newer version of the gateway is stricter) could not be served either.
    let (now, then) =
        (Base::of_revision(&house, &RevisionRef::Number(active.number)), Base::of_revision(&house, &to)?);
    // The active one may be the one that is broken; then there is nothing to compare, and all the more to go back.
    let now = now.unwrap_or_else(|_| Base::none());
    let comparison = now.compare_with(&then);
    if args.format == Format::Text {
        print::data(&report::plan(&comparison, &now))?;
    }
    let author = author::author_or_local();
    let rollback = Rollback { to: &to, author: &author, reason: &args.reason };
    let put = house.roll_back(rollback, Some(&active))?;
    let digest = put.row().digest.hex();
    let plan = report::to_json(&comparison, now.row.as_ref(), &digest);
    apply::finish(&house, &put, args.when.no_wait, args.format, plan)
}
