//! `bartizan rollout`: try a revision beside the active one, first watched, then on a growing share of callers.
//!
//! The commands write what is wanted into the store, here or through a gateway's API (`--server`); the gateways on it carry
//! it out, and stop by themselves when a guard trips. Everything that is done here stands in the audit trail.

mod report;

use std::process::ExitCode;

use bartizan_config::{
    keep,
    rollout::{Course, Guard, OnTrip, Phase, RolloutPlan, plan},
};
use bartizan_manage::rollout::{Order, RolloutTerms, RolloutView, standing, view};
use bartizan_model::scalar::Time;
use bartizan_proxy::rehearsal::PipelineRehearsal;
use bartizan_store::{
    Error, NewMove, NewRevision, NewRollout, RevisionFile, RevisionRef, RevisionRow, RolloutRow, Standing,
    Store,
};
use serde_json::{Value, json};

use super::{
    author,
    deed::Deed,
    keys::time,
    print::{self, BOLD, BOLD_RED, Format, Outcome, PLAIN, clean},
    revision::{Candidate, HouseArg, Refused, base, set_of},
    when,
};

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
    /// Tell what it would try and how, and what stands against it, without beginning it.
    Plan(Box<Start>),
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
    if args.house.is_remote() {
        return there(args);
    }
    let (runtime, store, followed) = args.house.open_here()?;
    let outcome = runtime.block_on(async {
        match &args.what {
            What::Start(start) => begin(args.format, &store, start, followed).await,
            What::Plan(start) => rehearse(args.format, &store, start).await,
            What::Status => status(args.format, &store).await,
            What::Promote(why) => change(&store, Order::Promote, why).await,
            What::Abort(why) => change(&store, Order::Abort, why).await,
            What::Resume(why) => change(&store, Order::Resume, why).await,
        }
    });
    runtime.block_on(store.close());
    outcome
}

/// Asks a gateway, which judges by itself what may be done.
fn there(args: &Args) -> Outcome {
    let house = args.house.open()?;
    let shown = |value: Value| -> Outcome {
        let view: RolloutView = serde_json::from_value(value)?;
        told(args.format, &view)
    };
    let moved = |order: &str, why: &Why| -> Outcome {
        house.rollout(&format!("rollout/{order}"), &json!({ "reason": why.reason }), None)?;
        done(order);
        Ok(ExitCode::SUCCESS)
    };
    match &args.what {
        What::Status => shown(house.rollout_status()?),
        What::Start(start) => {
            let active = house.active()?.ok_or(Error::RevisionNone)?;
            let body = match asked(start)? {
                Ok(body) => body,
                Err(code) => return Ok(code),
            };
            let begun = house.rollout("rollout", &body, Some(&active))?;
            if args.format == Format::Json {
                return shown(begun);
            }
            let view: RolloutView = serde_json::from_value(begun)?;
            begun_words(view.rollout, &view.candidate, true);
            Ok(ExitCode::SUCCESS)
        }
        What::Plan(start) => {
            let body = match asked(start)? {
                Ok(body) => body,
                Err(code) => return Ok(code),
            };
            let planned = house.rollout("rollout/plan", &body, None)?;
            let plan: RolloutPlan = serde_json::from_value(planned.get("plan").cloned().unwrap_or_default())?;
            let refused: Vec<String> =
                serde_json::from_value(planned.get("refused").cloned().unwrap_or_default())?;
            tell_plan(args.format, &plan, &refused, Some(planned))
        }
        What::Promote(why) => moved("promote", why),
        What::Abort(why) => moved("abort", why),
        What::Resume(why) => moved("resume", why),
    }
}

/// What a gateway is asked to try, in its words.
fn asked(start: &Start) -> Result<Result<Value, ExitCode>, Box<dyn std::error::Error>> {
    let mut body = json!({ "reason": start.reason, "terms": terms(start) });
    let Some(fields) = body.as_object_mut() else { return Ok(Ok(body)) };
    match &start.revision {
        Some(which) => fields.insert("revision".to_owned(), which.to_string().into()),
        None => {
            let read = match Candidate::read(&start.files)? {
                Ok(read) => read,
                Err(code) => return Ok(Err(code)),
            };
            let file = |file: &RevisionFile| json!({ "name": file.name, "text": file.text });
            fields.insert("files".to_owned(), read.files.iter().map(file).collect())
        }
    };
    if let Some(waiver) = &start.even_if_tests_fail {
        fields.insert("evenIfTestsFail".to_owned(), waiver.as_str().into());
    }
    Ok(Ok(body))
}

fn terms(start: &Start) -> RolloutTerms {
    let guards: Vec<String> = start.guards.iter().map(Guard::to_string).collect();
    RolloutTerms {
        shadow: Some(format!("{}ms", millis(&start.shadow))),
        steps: Some(start.steps.iter().copied().map(plan::percent).collect()),
        hold: Some(format!("{}ms", millis(&start.hold))),
        min_calls: Some(start.min_calls),
        guards: (!guards.is_empty()).then_some(guards),
        pause_on_trip: matches!(start.on_trip, OnTripWord::Pause),
        auto_promote: start.auto_promote,
    }
}

fn planned(start: &Start) -> Result<RolloutPlan, Box<dyn std::error::Error>> {
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
    match plan.problem() {
        Some(problem) => Err(problem.into()),
        None => Ok(plan),
    }
}

async fn begin(format: Format, store: &Store, start: &Start, followed: bool) -> Outcome {
    let plan = planned(start)?;
    let active = store.revisions().active().await?.ok_or(Error::RevisionNone)?;
    let candidate = match candidate(store, start).await? {
        Ok(candidate) => candidate,
        Err(code) => return Ok(code),
    };
    if candidate.digest == active.digest {
        return Err(Box::new(Refused(format!("revision {} has these documents already", active.tag()))));
    }
    let now = when::now_ms();
    let text = serde_json::to_string(&plan)?;
    let author = author::author_or_local();
    let new = NewRollout {
        candidate: candidate.number,
        base: active.number,
        plan: &text,
        standing: standing(&Course::first(&plan, now)),
        author: &author,
        reason: &start.reason,
    };
    let (target, before) = (candidate.tag(), active.tag());
    let deed = Deed { action: "rollout.start", target: &target, before: &before, reason: &start.reason };
    let work = store.rollouts().begin(new, now);
    let row = deed.record(store, work, |row| format!("rollout {}", row.number)).await?;
    if format == Format::Text {
        begun_words(row.number, &candidate.tag(), followed);
        return Ok(ExitCode::SUCCESS);
    }
    tell(format, store, &row).await
}

fn begun_words(number: u64, candidate: &str, followed: bool) {
    print::note(&format!("{BOLD}rollout {number} of revision {}{PLAIN} has begun", clean(candidate)));
    if !followed {
        print::note("no gateway runs on this store here; the first one that does carries it out");
    }
    print::note("`bartizan rollout status` shows where it stands");
}

/// What would be tried and how; nothing is written.
async fn rehearse(format: Format, store: &Store, start: &Start) -> Outcome {
    let plan = planned(start)?;
    let active = store.revisions().active().await?.ok_or(Error::RevisionNone)?;
    let (digest, against) = match &start.revision {
        Some(which) => {
            let revision = store.revisions().get(which).await?;
            (revision.row.digest, keep::reasons_against(&set_of(&revision)?, &PipelineRehearsal))
        }
        None => match Candidate::read(&start.files)? {
            Ok(read) => (read.digest, keep::reasons_against(&read.set, &PipelineRehearsal)),
            Err(code) => return Ok(code),
        },
    };
    let mut refused: Vec<String> = against.standing(false).map(str::to_owned).collect();
    if digest == active.digest {
        refused.push(format!("revision {} has these documents already", active.tag()));
    }
    let open = store.rollouts().latest().await?;
    let open = open.filter(|row| Phase::parse(&row.phase).is_some_and(|phase| !phase.is_over()));
    refused.extend(open.map(|row| Error::RolloutOpen { number: row.number }.to_string()));
    tell_plan(format, &plan, &refused, None)
}

fn tell_plan(format: Format, plan: &RolloutPlan, refused: &[String], whole: Option<Value>) -> Outcome {
    match format {
        Format::Json => print::json(&whole.unwrap_or_else(|| json!({ "plan": plan, "refused": refused })))?,
        Format::Text => {
            let seconds = |ms: u64| format!("{} s", ms.div_ceil(1_000));
            let mut out = String::new();
            if plan.shadow_ms > 0 {
                out.push_str(&format!("watched for {}\n", seconds(plan.shadow_ms)));
            }
            for step in &plan.steps {
                let (share, hold) = (plan::percent(*step), seconds(plan.hold_ms));
                out.push_str(&format!(
                    "{share} of callers, at least {hold} and {}\n",
                    print::counted(plan.calls_min, "call")
                ));
            }
            out.push_str(if plan.promote {
                "then the active revision\n"
            } else {
                "then waits for `promote`\n"
            });
            let guards: Vec<String> = plan.guards.iter().map(Guard::to_string).collect();
            let then = if plan.on_trip == OnTrip::Pause { "pauses" } else { "is rolled back" };
            out.push_str(&format!("{then} by {}\n", guards.join(", ")));
            print::data(&out)?;
        }
    }
    for reason in refused {
        print::note(&format!("{BOLD_RED}it could not be begun{PLAIN}: {}", clean(reason)));
    }
    Ok(if refused.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(print::FOUND) })
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
    let view = view(store, row, when::now_ms()).await?.ok_or("the rollout was begun by another version")?;
    told(format, &view)
}

fn told(format: Format, view: &RolloutView) -> Outcome {
    match format {
        Format::Text => print::data(&report::text(view))?,
        Format::Json => print::json(view)?,
    }
    Ok(if view.is_stopped { ExitCode::from(print::FOUND) } else { ExitCode::SUCCESS })
}

fn done(order: &str) {
    print::note(match order {
        "promote" => "the candidate is the active revision",
        "abort" => "the active revision serves everybody",
        _ => "the rollout goes on",
    });
}

async fn change(store: &Store, order: Order, why: &Why) -> Outcome {
    let row = store.rollouts().latest().await?.ok_or(Error::RolloutNone)?;
    let (phase, step) = order.next(&row).map_err(Refused)?;
    let actor = format!("local:{}", author::author_or_local());
    let to = Standing { phase: phase.as_str(), step };
    let next = NewMove { to, actor: &actor, why: &why.reason, activates: phase == Phase::Promoted };
    let target = format!("rollout {}", row.number);
    let deed = Deed { action: order.action(), target: &target, before: &row.phase, reason: &why.reason };
    let work = store.rollouts().advance(row.number, row.standing(), next, when::now_ms());
    let moved = deed
        .record(store, work, |moved| moved.as_ref().map_or_else(String::new, |row| row.phase.clone()))
        .await?;
    if moved.is_none() {
        return Err(Box::new(Refused(
            "the rollout has moved meanwhile; look at `bartizan rollout status`, then try again".to_owned(),
        )));
    }
    done(order.word());
    Ok(ExitCode::SUCCESS)
}

fn millis(time: &Time) -> u64 {
    u64::try_from(time.get().as_millis()).unwrap_or(u64::MAX)
}
