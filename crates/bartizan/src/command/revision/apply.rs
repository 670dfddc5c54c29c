//! `bartizan apply`: make a set of documents the active revision.
//!
//! Checks first, shows the plan, then swaps: only if the active revision still is the one that the plan was made
//! against (or the one that `--if-match` names). Where a gateway runs on the store, waits until it says how it went.

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use bartizan_config::keep::{self, Against};
use bartizan_proxy::rehearsal::PipelineRehearsal;
use bartizan_store::{NewRevision, Put, RevisionRef, RevisionRow, Went};
use serde_json::{Value, json};

use super::{
    base::{self, Base},
    candidate::{Candidate, FilesArg},
    house::{self, House, HouseArg},
    report,
};
use crate::command::{
    author,
    print::{self, BOLD, BOLD_GREEN, BOLD_RED, Format, Outcome, PLAIN},
};

/// What `apply` takes.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit code: 0 applied (or nothing to change), 1 refused or failed at the gateway, 2 could not run."
)]
pub(crate) struct Args {
    #[command(flatten)]
    files: FilesArg,
    /// Why, for the history.
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Apply it although its PolicyTests fail. The revision and the audit trail keep the reason.
    #[arg(long, value_name = "REASON")]
    even_if_tests_fail: Option<String>,
    #[command(flatten)]
    when: WhenArg,
    #[command(flatten)]
    house: HouseArg,
    /// How the plan and the outcome are printed.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// What must hold, and how long to wait afterwards.
#[derive(Debug, clap::Args)]
pub(super) struct WhenArg {
    /// Only if this revision is active: its number, tag or digest [default: the one that the plan is made against].
    #[arg(long, value_name = "REV", value_parser = base::revision)]
    pub(super) if_match: Option<RevisionRef>,
    /// Do not wait until a running gateway says how it went.
    #[arg(long)]
    pub(super) no_wait: bool,
}

/// Applies and tells.
pub(crate) fn run(args: &Args) -> ExitCode {
    super::exit(answer(args))
}

fn answer(args: &Args) -> Outcome {
    let candidate = match Candidate::read(&args.files.paths)? {
        Ok(candidate) => candidate,
        Err(code) => return Ok(code),
    };
    let waiver = args.even_if_tests_fail.as_deref();
    let against = keep::reasons_against(&candidate.set, &PipelineRehearsal);
    if is_refused(&against, waiver) {
        return Ok(ExitCode::from(print::FOUND));
    }
    let house = args.house.open()?;
    house.refuse_on_files()?;
    let active = house.active()?;
    if let Some(wanted) = &args.when.if_match {
        house::matches(active.as_ref(), wanted)?;
    }
    let base = match &active {
        Some(row) => Base::of_revision(&house, &RevisionRef::Number(row.number))?,
        None => Base::none(),
    };
    let comparison = base.compare(&candidate);
    if args.format == Format::Text {
        print::data(&report::plan(&comparison, &base))?;
    }
    let author = author::author_or_local();
    // A gateway judges a set itself, and writes the waiver down itself.
    let reason = if house.is_remote() { args.reason.clone() } else { against.reason(&args.reason, waiver) };
    let new = NewRevision {
        files: &candidate.files,
        digest: candidate.digest,
        documents: candidate.set.documents.len() as u64,
        author: &author,
        reason: &reason,
    };
    let put = house.put(new, active.as_ref(), waiver)?;
    let plan = report::to_json(&comparison, base.row.as_ref(), &candidate.digest.hex());
    finish(&house, &put, args.when.no_wait, args.format, plan)
}

/// Tells what stands against a set, and whether that refuses it.
fn is_refused(against: &Against, waiver: Option<&str>) -> bool {
    let mut refused = false;
    for reason in against.standing(waiver.is_some()) {
        print::note(&format!("{BOLD_RED}refused{PLAIN}: {}", print::clean(reason)));
        refused = true;
    }
    if refused {
        if waiver.is_none() && !against.failing.is_empty() {
            print::note(
                "look at them with `bartizan test`; `--even-if-tests-fail REASON` applies it all the same",
            );
        }
        return true;
    }
    match (waiver, against.failing.len()) {
        (Some(_), 0) => print::note("no test failed, so there was nothing to waive; nothing is written down"),
        (Some(why), failed) => print::note(&format!(
            "{BOLD_RED}{failed} of {} fail{PLAIN}; applied all the same: {}",
            print::counted(against.tests as u64, "test"),
            print::clean(why)
        )),
        (None, _) => {}
    }
    false
}

/// Says what became of it, and waits for the gateway.
pub(super) fn finish(house: &House, put: &Put, no_wait: bool, format: Format, plan: Value) -> Outcome {
    let row = match put {
        Put::Same(row) => {
            match format {
                Format::Text => {
                    print::note(&format!(
                        "revision {} has these documents already; nothing has changed",
                        row.tag()
                    ));
                }
                Format::Json => {
                    print::json(&json!({ "changed": false, "revision": revision(row), "plan": plan }))?
                }
            }
            return Ok(ExitCode::SUCCESS);
        }
        Put::Made(row) => row,
    };
    let runs = house.is_followed()?;
    let row = if runs && !no_wait { wait(house, row)? } else { row.clone() };
    let went = row.outcome.as_ref().map(|outcome| outcome.went);
    match format {
        Format::Json => print::json(&json!({ "changed": true, "revision": revision(&row), "plan": plan }))?,
        Format::Text => {
            let detail = row.outcome.as_ref().map_or("", |outcome| &*outcome.detail);
            print::note(&match went {
                Some(Went::Live) => format!("{BOLD_GREEN}revision {} is live{PLAIN}", row.tag()),
                Some(Went::Failed) => format!(
                    "{BOLD_RED}revision {} failed at the gateway, which serves the one before{PLAIN}\n{}",
                    row.tag(),
                    print::clean(detail)
                ),
                None if runs && !no_wait => format!(
                    "{BOLD}revision {} is active{PLAIN}; the gateway has not said yet how it went (`bartizan history`)",
                    row.tag()
                ),
                None => format!("{BOLD}revision {} is active{PLAIN}", row.tag()),
            });
        }
    }
    Ok(if went == Some(Went::Failed) { ExitCode::from(print::FOUND) } else { ExitCode::SUCCESS })
}

fn wait(house: &House, row: &RevisionRow) -> Result<RevisionRow, Box<dyn std::error::Error>> {
    let begun = Instant::now();
    loop {
        let now = house.find(&RevisionRef::Number(row.number))?;
        if now.outcome.is_some() || begun.elapsed() > PATIENCE {
            return Ok(now);
        }
        house.pause(LOOK);
    }
}

/// A revision for programs.
pub(super) fn revision(row: &RevisionRow) -> Value {
    super::history::to_json(row)
}

/// A gateway takes a revision up within a second, and large sets take another to compile.
const PATIENCE: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(50);
