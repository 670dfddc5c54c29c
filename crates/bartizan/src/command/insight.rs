//! `bartizan insight`: what is unusual, which endpoints there are, what to change.
//!
//! By default the report that the running gateway keeps below its data directory; with `--log`, or where there is none, the
//! same detectors run over what was recorded, from its beginning. `try` tells what a proposal would have done to recorded
//! requests, `accept` begins a rollout with it.

mod trial;

use std::{
    error::Error,
    fs::{self, File},
    io::{self, BufRead as _, BufReader, Read as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use bartizan_config::keep;
use bartizan_insight::{Alert, Posture, Recommendation, Report, Row, Settings};
use bartizan_store::RevisionRef;
use bartizan_telemetry::{RecordReader, records::FOLDER};

use super::{
    print::{self, BOLD, Format, NONE, Outcome, PLAIN, counted},
    revision::{self, HouseArg, Refused},
    rollout, when,
};
use crate::insight;

/// What `insight` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit code: 0 told, 1 the alert or recommendation does not exist, 2 could not run.")]
pub(crate) struct Args {
    /// What to tell; all of it in short where absent.
    #[arg(value_enum)]
    what: Option<What>,
    /// Only this alert (its number) or recommendation (its id), in full.
    #[arg(value_name = "ID", requires = "what")]
    id: Option<String>,
    /// Look through this access log (JSON lines; `-` is standard input) instead of asking the gateway's report.
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// Look through the record store anew instead of reading the gateway's report.
    #[arg(long, conflicts_with = "log")]
    again: bool,
    /// Write the documents of recommendations that are ready into this directory, for `plan` and `replay`.
    #[arg(long, value_name = "DIR")]
    write: Option<PathBuf>,
    /// With `try`: judge by what is in this access log or capture instead of the record store.
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
    /// The key of a capture.
    #[arg(long, value_name = "FILE", requires = "from")]
    key_file: Option<PathBuf>,
    /// With `try`: the documents in force, where the gateway takes them from files.
    #[arg(long, value_name = "PATH", num_args = 1..)]
    config: Vec<PathBuf>,
    /// With `accept`: why, for the history.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    #[command(flatten)]
    house: HouseArg,
    /// How it is printed.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// A part of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum What {
    /// What is unusual.
    Alerts,
    /// The endpoints that are called.
    Inventory,
    /// What to change.
    Recommendations,
    /// What the document of a recommendation or alert would have done to what was recorded.
    Try,
    /// Begin a rollout with that document beside those in force.
    Accept,
}

/// Tells.
pub(crate) fn run(args: &Args) -> ExitCode {
    revision::exit(tell(args))
}

fn tell(args: &Args) -> Outcome {
    let report = report(args)?;
    match (args.what, &args.id) {
        (Some(What::Try), Some(id)) => return attempt(&report, args, id),
        (Some(What::Accept), Some(id)) => return accept(&report, args, id),
        (Some(What::Try | What::Accept), None) => return Err("name the recommendation or alert".into()),
        _ => {}
    }
    if let Some(folder) = &args.write {
        write(&report, folder)?;
    }
    if let Some(id) = &args.id {
        return one(&report, args, id);
    }
    match (args.format, args.what) {
        (Format::Json, None) => print::json(&report)?,
        (Format::Json, Some(What::Alerts)) => print::json(&report.alerts)?,
        (Format::Json, Some(What::Inventory)) => print::json(&report.inventory)?,
        (Format::Json, Some(What::Recommendations | What::Try | What::Accept)) => {
            print::json(&report.recommendations)?
        }
        (Format::Text, None) => {
            print::data(&state(&report))?;
            print::data(&alerts(&report.alerts))?;
            print::data(&inventory(&report, INVENTORY_SHORT))?;
            print::data(&recommendations(&report.recommendations))?;
        }
        (Format::Text, Some(What::Alerts)) => print::data(&alerts(&report.alerts))?,
        (Format::Text, Some(What::Inventory)) => print::data(&inventory(&report, usize::MAX))?,
        (Format::Text, Some(What::Recommendations | What::Try | What::Accept)) => {
            print::data(&recommendations(&report.recommendations))?
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The report: kept, or made anew from what was recorded.
fn report(args: &Args) -> Result<Report, Box<dyn Error>> {
    if let Some(path) = &args.log {
        return of_log(path);
    }
    let dir = args.house.data_dir()?;
    if !args.again {
        if let Some(report) = insight::kept(dir.path())? {
            return Ok(report);
        }
        print::note("no gateway has kept a report here; looking through the record store");
    }
    let mut engine = insight::engine(Settings::default())?;
    RecordReader::open(dir.path().join(FOLDER)).in_order(|line| {
        insight::observe(&mut engine, line, u64::MAX);
        true
    })?;
    Ok(engine.report(&Posture::default()))
}

fn of_log(path: &Path) -> Result<Report, Box<dyn Error>> {
    let named = |error: io::Error| format!("{} cannot be read: {error}", path.display());
    let mut lines: Box<dyn io::BufRead> = if path.as_os_str() == "-" {
        Box::new(BufReader::new(io::stdin()))
    } else {
        Box::new(BufReader::with_capacity(1 << 20, File::open(path).map_err(named)?))
    };
    let mut engine = insight::engine(Settings::default())?;
    let mut line = Vec::new();
    loop {
        line.clear();
        // A line longer than any of ours is read in pieces, none of which is a request.
        if lines.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line).map_err(named)? == 0 {
            break;
        }
        insight::observe(&mut engine, &line, u64::MAX);
    }
    Ok(engine.report(&Posture::default()))
}

/// Writes the documents, one file each.
fn write(report: &Report, folder: &Path) -> Result<(), Box<dyn Error>> {
    fs::create_dir_all(folder).map_err(|error| format!("{} cannot be made: {error}", folder.display()))?;
    for one in &report.recommendations {
        let Some(document) = &one.document else { continue };
        let path = folder.join(format!("{}.yaml", one.id.to_ascii_lowercase()));
        fs::write(&path, document)
            .map_err(|error| format!("{} cannot be written: {error}", path.display()))?;
        print::note(&format!("wrote {}", path.display()));
    }
    Ok(())
}

fn one(report: &Report, args: &Args, id: &str) -> Outcome {
    if let (Some(What::Alerts), Some(alert)) =
        (args.what, report.alerts.iter().find(|alert| alert.id.to_string() == id))
    {
        match args.format {
            Format::Json => print::json(alert)?,
            Format::Text => {
                print::data(&alert_in_full(alert))?;
                // What it would have done belongs to it, where that can be told at once.
                if let Some(document) = &alert.action.document
                    && let Ok(effect) = effect(args, &format!("insight-alert-{id}"), document)
                {
                    print::data(&format!("\n{}", effect.text()))?;
                }
            }
        }
        return Ok(ExitCode::SUCCESS);
    }
    if let (Some(What::Recommendations), Some(one)) =
        (args.what, report.recommendations.iter().find(|one| one.id.eq_ignore_ascii_case(id)))
    {
        match args.format {
            Format::Json => print::json(one)?,
            Format::Text => {
                print::data(&recommendation_in_full(one))?;
                if let Some(document) = &one.document
                    && let Ok(effect) = effect(args, &file_of(id), document)
                {
                    print::data(&format!("\n{}", effect.text()))?;
                }
            }
        }
        return Ok(ExitCode::SUCCESS);
    }
    print::note(&format!("there is no {id} in the report"));
    Ok(ExitCode::from(print::FOUND))
}

/// The document of a recommendation, or of what is to be done about an alert.
fn proposal<'r>(report: &'r Report, id: &str) -> Result<&'r str, Refused> {
    let of_recommendation = report.recommendations.iter().find(|one| one.id.eq_ignore_ascii_case(id));
    let of_alert = report.alerts.iter().find(|alert| alert.id.to_string() == id);
    match (of_recommendation, of_alert) {
        (Some(Recommendation { document: Some(document), .. }), _) => Ok(document),
        (Some(Recommendation { command: Some(command), .. }), _) => {
            Err(Refused(format!("{id} is not about documents; do it by `{command}`")))
        }
        (Some(one), _) => Err(Refused(format!("{id} has no document: {}", one.sentence))),
        (None, Some(Alert { action, .. })) => action
            .document
            .as_deref()
            .ok_or_else(|| Refused(format!("alert {id} has no document: {}", action.sentence))),
        (None, None) => Err(Refused(format!("there is no {id} in the report"))),
    }
}

/// A name for the file of a proposal.
fn file_of(id: &str) -> String {
    let safe = id.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' });
    format!("insight-{}", safe.collect::<String>())
}

/// The documents in force: those named, else the active revision.
fn in_force(args: &Args) -> Result<trial::Texts, Box<dyn Error>> {
    if !args.config.is_empty() {
        let set = bartizan_config::Set::open(&args.config)?;
        return Ok(keep::kept(&set.sources, &args.config)?);
    }
    let (runtime, store, _) = args.house.open_here()?;
    let revision = runtime.block_on(store.revisions().get(&RevisionRef::Active));
    runtime.block_on(store.close());
    Ok(revision?.files.into_iter().map(|file| (file.name, file.text)).collect())
}

/// What a document would have done to what was recorded.
fn effect(args: &Args, name: &str, document: &str) -> Result<trial::Effect, Box<dyn Error>> {
    let tried = trial::Trial::of(&in_force(args)?, name, document)?;
    let records = args.house.data_dir()?.path().join(FOLDER);
    tried.effect(trial::recorded(args.from.as_ref(), args.key_file.as_ref(), records)?)
}

fn attempt(report: &Report, args: &Args, id: &str) -> Outcome {
    let document = proposal(report, id)?;
    let effect = effect(args, &file_of(id), document)?;
    match args.format {
        Format::Text => print::data(&effect.text())?,
        Format::Json => print::json(&effect.json())?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Begins a rollout: the proposal bites in it, watched first and then by shares of callers.
fn accept(report: &Report, args: &Args, id: &str) -> Outcome {
    let document = proposal(report, id)?;
    let reason = args.reason.as_deref().ok_or("say why by --reason; the history keeps it")?;
    let tried = trial::Trial::of(&in_force(args)?, &file_of(id), document)?;
    let files = tried.files();
    print::data(
        &tried
            .effect(trial::recorded(
                args.from.as_ref(),
                args.key_file.as_ref(),
                args.house.data_dir()?.path().join(FOLDER),
            )?)?
            .text(),
    )?;
    rollout::begin_with(&args.house, files, reason)
}

fn state(report: &Report) -> String {
    let learning = &report.learning;
    let figures = &report.figures;
    let held = if figures.held_back > 0 {
        format!(", {} held back by the budget", counted(figures.held_back, "finding"))
    } else {
        String::new()
    };
    let lost =
        if figures.lost > 0 { format!(", {} lost", counted(figures.lost, "request")) } else { String::new() };
    format!(
        "{BOLD}{}{PLAIN}: {}\n{} since {}, {}, {} kB of memory{held}{lost}\n\n",
        learning.state,
        learning.sentence,
        counted(learning.events, "request"),
        when::moment(learning.since_ms),
        counted(figures.consumers as u64, "consumer"),
        figures.memory_bytes / 1_000,
    )
}

fn alerts(alerts: &[Alert]) -> String {
    if alerts.is_empty() {
        return "no alerts\n\n".to_owned();
    }
    let rows = alerts.iter().map(|alert| {
        let learning = if alert.is_learning { " (learning)" } else { "" };
        vec![
            alert.id.to_string(),
            format!("{}{learning}", alert.severity.as_str()),
            alert.detector.as_str().to_owned(),
            when::moment(alert.first_ms),
            alert.sentence.clone(),
        ]
    });
    print::table(&["ALERT", "SEVERITY", "DETECTOR", "FIRST", "WHAT"], rows) + "\n"
}

fn alert_in_full(alert: &Alert) -> String {
    let clean = |text: &str| print::clean(text);
    let mut out = format!("{BOLD}{}{PLAIN}\n\n", clean(&alert.sentence));
    let learning = if alert.is_learning { ", while learning" } else { "" };
    let times = if alert.times > 1 {
        format!(", noticed {} times until {}", alert.times, when::moment(alert.last_ms))
    } else {
        String::new()
    };
    out += &format!("  severity  {}{learning}\n", alert.severity.as_str());
    out += &format!("  who       {}\n", clean(alert.who.as_deref().unwrap_or("no single caller")));
    out += &format!("  where     {}\n", clean(alert.place.as_deref().unwrap_or("all of its calls")));
    out += &format!("  when      {}{times}\n", when::moment(alert.first_ms));
    out += &format!("  chance    1 in 10^{:.0} at most\n", alert.surprise);
    out += &format!("  class     {}\n\n", alert.owasp);
    let rows = alert.features.iter().map(|feature| {
        vec![
            feature.name.clone(),
            format!("{}", feature.expected),
            format!("{}", feature.seen),
            format!("{:.0} %", 100.0 * feature.share),
        ]
    });
    out += &print::table(&["MEASURED", "EXPECTED", "SEEN", "WEIGHT"], rows);
    if !alert.samples.is_empty() {
        let rows = alert.samples.iter().map(|sample| {
            vec![
                sample.id.clone(),
                when::moment(sample.at_ms),
                sample.request.clone(),
                sample.status.to_string(),
            ]
        });
        out += "\n";
        out += &print::table(&["REQUEST", "TIME", "WHAT", "STATUS"], rows);
    }
    out += &format!("\nwhat to do: {}\n", clean(&alert.action.sentence));
    if let Some(document) = &alert.action.document {
        out += &format!("\n{document}");
    }
    out
}

fn inventory(report: &Report, most: usize) -> String {
    let rows = &report.inventory;
    if rows.is_empty() {
        return "no endpoint was called\n\n".to_owned();
    }
    // What nobody wrote down comes first: that is what the list is for.
    let mut sorted: Vec<&Row> = rows.iter().collect();
    sorted.sort_by_key(|row| (!row.is_new, row.is_documented));
    let cells = sorted.iter().take(most).map(|row| {
        let mut marks = Vec::new();
        if row.is_new {
            marks.push("new");
        }
        if report.knows_documents && !row.is_documented {
            marks.push("undocumented");
        }
        if row.anonymous > 0 {
            marks.push("without identity");
        }
        vec![
            format!("{} {}", row.method, row.path),
            row.route.clone().unwrap_or_else(|| NONE.to_owned()),
            row.calls.to_string(),
            row.callers.to_string(),
            (row.failed + row.server_errors).to_string(),
            if marks.is_empty() { NONE.to_owned() } else { marks.join(", ") },
        ]
    });
    let header = ["ENDPOINT", "ROUTE", "CALLS", "CALLERS", "FAILED", "MARKS"];
    let more = rows.len().saturating_sub(most);
    let rest = if more > 0 { format!("{more} more: bartizan insight inventory\n") } else { String::new() };
    print::table(&header, cells) + &rest + "\n"
}

fn recommendations(all: &[Recommendation]) -> String {
    if all.is_empty() {
        return "nothing to recommend\n".to_owned();
    }
    let rows = all.iter().map(|one| {
        let ready = if one.is_ready { "ready" } else { "not yet" };
        vec![one.id.clone(), ready.to_owned(), one.sentence.clone()]
    });
    print::table(&["RECOMMENDATION", "STATE", "WHAT"], rows)
}

fn recommendation_in_full(one: &Recommendation) -> String {
    let clean = |text: &str| print::clean(text);
    let mut out = format!("{BOLD}{}{PLAIN}\n\n", clean(&one.sentence));
    out += &format!(
        "  effect  {}\n  risk    {}\n  undo    {}\n",
        clean(&one.counterfactual),
        one.risk,
        clean(&one.undo)
    );
    out += &format!("  from    {} to {}\n\n", when::moment(one.since_ms), when::moment(one.until_ms));
    let rows = one.evidence.iter().map(|feature| {
        vec![feature.name.clone(), format!("{}", feature.expected), format!("{}", feature.seen)]
    });
    out += &print::table(&["EVIDENCE", "NEEDED OR PROPOSED", "SEEN"], rows);
    if let Some(command) = &one.command {
        out += &format!("\n$ {}\n", clean(command));
    }
    if let Some(document) = &one.document {
        out += &format!("\n{document}");
    }
    out
}

/// A line of ours is a few kilobytes.
const LINE_BYTES_MAX: u64 = 1 << 20;

/// Endpoints in the short report.
const INVENTORY_SHORT: usize = 10;
