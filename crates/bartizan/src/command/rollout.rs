//! `bartizan rollout`: try a revision beside the active one, first watched, then on a growing share of callers.
//!
//! The commands write what is wanted into the store; the gateways on it carry it out, and stop by themselves when a guard
//! trips. Everything that is done here stands in the audit trail.

mod report;

use std::process::ExitCode;

use bartizan_config::{
    keep,
    rollout::{Course, Guard, OnTrip, Phase, RolloutPlan, plan},
};
use bartizan_model::scalar::Time;
use bartizan_proxy::rehearsal::PipelineRehearsal;
use bartizan_store::{
    Error, NewMove, NewRevision, NewRollout, RevisionRef, RevisionRow, RolloutRow, Standing, Store,
};

use super::{
    author,
    deed::Deed,
    keys::time,
    print::{self, BOLD, BOLD_RED, Format, Outcome, PLAIN, clean},
    revision::{Candidate, HouseArg, Refused, base, set_of},
    when,
};
use crate::service::rollout::{course, seen};

/// What `rollout` takes.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit code: 0 done (status: it runs, or was promoted), 1 refused (status: it was stopped), 2 could not run."
)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
    #[command(flatten)]
    house: HouseArg,
    /// How the data is printed.
    #[arg(long, value_enum, default_value = "text", global = true)]
    format: Format,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Begin to try a revision beside the active one.
    Start(Box<Start>),
    /// Tell where it stands, what was seen, and by whom it was felt.
    Status,
    /// Make the candidate the active revision now.
    Promote(Why),
    /// End it: the active revision serves everybody.
    Abort(Why),
    /// Go on after a pause, with the step in which it paused.
    Resume(Why),
}

/// What a rollout is asked for.
#[derive(Debug, clap::Args)]
struct Start {
    /// The revision to try: its number or digest.
    #[arg(value_name = "REV", value_parser = base::revision, required_unless_present = "files")]
    revision: Option<RevisionRef>,
    /// Instead of a revision: files and directories with documents, kept as a revision that is not active yet.
    #[arg(short = 'f', long = "file", num_args = 1.., value_name = "PATH", conflicts_with = "revision")]
    files: Vec<std::path::PathBuf>,
    /// Why, for the history.
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// How long the candidate only watches before it serves anybody; 0s not at all.
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = time)]
    shadow: Time,
    /// The shares of callers it then serves, one after the other.
    #[arg(long, value_delimiter = ',', value_name = "SHARES", default_value = "1%,10%,50%,100%", value_parser = plan::share)]
    steps: Vec<plan::BasisPoints>,
    /// How long each share is held at least.
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = time)]
    hold: Time,
    /// How many calls the candidate must have judged in each step at least.
    #[arg(long, value_name = "N", default_value_t = 500)]
    min_calls: u64,
    /// What stops it, and how much worse it may be; again for each [default: refusals=+0.5% errors=+0.5% latency=+25%].
    #[arg(long = "guard", value_name = "WHAT=+MARGIN%")]
    guards: Vec<Guard>,
    /// What a guard that trips does.
    #[arg(long, value_enum, default_value = "rollback")]
    on_trip: OnTripWord,
    /// Make the candidate the active revision by itself once the last share was held.
    #[arg(long)]
    auto_promote: bool,
    /// Try it although its PolicyTests fail. The revision and the audit trail keep the reason.
    #[arg(long, value_name = "REASON")]
    even_if_tests_fail: Option<String>,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum OnTripWord {
    /// The rollout is over.
    Rollback,
    /// The rollout waits for somebody.
    Pause,
}

/// `--reason TEXT`
#[derive(Debug, clap::Args)]
struct Why {
    /// Why, for the history.
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

/// Works on rollouts.
pub(crate) fn run(args: &Args) -> ExitCode {
    match answer(args) {
        Err(error) if is_finding(&*error) => {
            print::fault(&*error);
            ExitCode::from(print::FOUND)
        }
        outcome => print::exit(outcome),
    }
}

fn is_finding(error: &(dyn std::error::Error + 'static)) -> bool {
    let of_store = matches!(
        error.downcast_ref::<Error>(),
        Some(
            Error::RevisionConflict { .. }
                | Error::RevisionNone
                | Error::RevisionUnknown { .. }
                | Error::RolloutNone
                | Error::RolloutOpen { .. }
        )
    );
    of_store || error.is::<Refused>()
}

fn answer(args: &Args) -> Outcome {
    let (runtime, store, followed) = args.house.open_here()?;
    let outcome = runtime.block_on(async {
        match &args.what {
            What::Start(start) => begin(args.format, &store, start, followed).await,
            What::Status => status(args.format, &store).await,
            What::Promote(why) => promote(&store, why).await,
            What::Abort(why) => abort(&store, why).await,
            What::Resume(why) => resume(&store, why).await,
        }
    });
    runtime.block_on(store.close());
    outcome
}

async fn begin(format: Format, store: &Store, start: &Start, followed: bool) -> Outcome {
    let plan = RolloutPlan {
        shadow_ms: millis(&start.shadow),
        steps: start.steps.clone(),
        hold_ms: millis(&start.hold),
        calls_min: start.min_calls,
        guards: if start.guards.is_empty() { RolloutPlan::usual_guards() } else { start.guards.clone() },
        on_trip: match start.on_trip {
            OnTripWord::Rollback => OnTrip::RollBack,
            OnTripWord::Pause => OnTrip::Pause,
        },
        promote: start.auto_promote,
    };
    if let Some(problem) = plan.problem() {
        return Err(problem.into());
    }
    let active = store.revisions().active().await?.ok_or(Error::RevisionNone)?;
    let candidate = match candidate(store, start).await? {
        Ok(candidate) => candidate,
        Err(code) => return Ok(code),
    };
    if candidate.digest == active.digest {
        return Err(Box::new(Refused(format!("revision {} has these documents already", active.tag()))));
    }
    let now = when::now_ms();
    let first = Course::first(&plan, now);
    let text = serde_json::to_string(&plan)?;
    let author = author::author_or_local();
    let new = NewRollout {
        candidate: candidate.number,
        base: active.number,
        plan: &text,
        standing: standing(&first),
        author: &author,
        reason: &start.reason,
    };
    let (target, before) = (candidate.tag(), active.tag());
    let deed = Deed { action: "rollout.start", target: &target, before: &before, reason: &start.reason };
    let work = store.rollouts().begin(new, now);
    let row = deed.record(store, work, |row| format!("rollout {}", row.number)).await?;
    if format == Format::Text {
        print::note(&format!(
            "{BOLD}rollout {} of revision {}{PLAIN} has begun",
            row.number,
            candidate.tag()
        ));
        if !followed {
            print::note("no gateway runs on this store here; the first one that does carries it out");
        }
        print::note("`bartizan rollout status` shows where it stands");
        return Ok(ExitCode::SUCCESS);
    }
    tell(format, store, &row).await
}

/// The revision to try, which must compile and keep its promises.
async fn candidate(
    store: &Store,
    start: &Start,
) -> Result<Result<RevisionRow, ExitCode>, Box<dyn std::error::Error>> {
    let waiver = start.even_if_tests_fail.as_deref();
    let is_refused = |set: &bartizan_config::Set| {
        let against = keep::reasons_against(set, &PipelineRehearsal);
        let mut refused = false;
        for reason in against.standing(waiver.is_some()) {
            print::note(&format!("{BOLD_RED}refused{PLAIN}: {}", clean(reason)));
            refused = true;
        }
        (refused, against)
    };
    if let Some(which) = &start.revision {
        let revision = store.revisions().get(which).await?;
        let (refused, _) = is_refused(&set_of(&revision)?);
        return Ok(if refused { Err(ExitCode::from(print::FOUND)) } else { Ok(revision.row) });
    }
    let read = match Candidate::read(&start.files)? {
        Ok(read) => read,
        Err(code) => return Ok(Err(code)),
    };
    let (refused, against) = is_refused(&read.set);
    if refused {
        return Ok(Err(ExitCode::from(print::FOUND)));
    }
    let author = author::author_or_local();
    let reason = against.reason(&start.reason, waiver);
    let new = NewRevision {
        files: &read.files,
        digest: read.digest,
        documents: read.set.documents.len() as u64,
        author: &author,
        reason: &reason,
    };
    let deed = Deed { action: "revision.propose", target: "revisions", before: "", reason: &reason };
    let work = store.revisions().propose(new, when::now_ms());
    Ok(Ok(deed.record(store, work, RevisionRow::tag).await?))
}

async fn status(format: Format, store: &Store) -> Outcome {
    let row = store.rollouts().latest().await?.ok_or(Error::RolloutNone)?;
    tell(format, store, &row).await
}

/// Shows a rollout.
async fn tell(format: Format, store: &Store, row: &RolloutRow) -> Outcome {
    let course = course(row).ok_or("the rollout was begun by a newer version")?;
    let plan: RolloutPlan = serde_json::from_str(&row.plan)?;
    let candidate = store.revisions().find(&RevisionRef::Number(row.candidate)).await?;
    let base = store.revisions().find(&RevisionRef::Number(row.base)).await?;
    let moves = store.rollouts().moves(row.number).await?;
    let seen = seen(store, row, &plan).await?;
    let shown = report::Shown {
        row,
        course: &course,
        plan: &plan,
        candidate,
        base,
        moves,
        seen,
        now: when::now_ms(),
    };
    match format {
        Format::Text => print::data(&shown.text())?,
        Format::Json => print::json(&shown.json())?,
    }
    let stopped = matches!(course.phase, Phase::Paused | Phase::RolledBack | Phase::Aborted);
    Ok(if stopped { ExitCode::from(print::FOUND) } else { ExitCode::SUCCESS })
}

async fn promote(store: &Store, why: &Why) -> Outcome {
    let row = open(store).await?;
    change(store, &row, "rollout.promote", (Phase::Promoted, row.step), why).await?;
    print::note(&format!("{BOLD}the candidate is the active revision{PLAIN}"));
    Ok(ExitCode::SUCCESS)
}

async fn abort(store: &Store, why: &Why) -> Outcome {
    let row = open(store).await?;
    change(store, &row, "rollout.abort", (Phase::Aborted, row.step), why).await?;
    print::note("the active revision serves everybody");
    Ok(ExitCode::SUCCESS)
}

async fn resume(store: &Store, why: &Why) -> Outcome {
    let row = open(store).await?;
    if row.phase != Phase::Paused.as_str() {
        return Err(Box::new(Refused(format!("rollout {} is not paused: {}", row.number, row.phase))));
    }
    let phase = if row.step.is_some() { Phase::Share } else { Phase::Shadow };
    change(store, &row, "rollout.resume", (phase, row.step), why).await?;
    print::note(&format!("rollout {} goes on", row.number));
    Ok(ExitCode::SUCCESS)
}

/// The rollout that is under way.
async fn open(store: &Store) -> Result<RolloutRow, Box<dyn std::error::Error>> {
    let row = store.rollouts().latest().await?.ok_or(Error::RolloutNone)?;
    match Phase::parse(&row.phase) {
        Some(phase) if !phase.is_over() => Ok(row),
        _ => Err(Box::new(Refused(format!("rollout {} is over: {}", row.number, row.phase)))),
    }
}

async fn change(
    store: &Store,
    row: &RolloutRow,
    action: &str,
    (phase, step): (Phase, Option<u32>),
    why: &Why,
) -> Result<(), Box<dyn std::error::Error>> {
    let actor = format!("local:{}", author::author_or_local());
    let to = Standing { phase: phase.as_str(), step };
    let next = NewMove { to, actor: &actor, why: &why.reason, activates: phase == Phase::Promoted };
    let target = format!("rollout {}", row.number);
    let deed = Deed { action, target: &target, before: &row.phase, reason: &why.reason };
    let work = store.rollouts().advance(row.number, row.standing(), next, when::now_ms());
    let moved = deed
        .record(store, work, |moved| moved.as_ref().map_or_else(String::new, |row| row.phase.clone()))
        .await?;
    if moved.is_none() {
        return Err(Box::new(Refused(
            "the rollout has moved meanwhile; look at `bartizan rollout status`, then try again".to_owned(),
        )));
    }
    Ok(())
}

fn standing(course: &Course) -> Standing<'static> {
    Standing { phase: course.phase.as_str(), step: course.step.and_then(|step| u32::try_from(step).ok()) }
}

fn millis(time: &Time) -> u64 {
    u64::try_from(time.get().as_millis()).unwrap_or(u64::MAX)
}
