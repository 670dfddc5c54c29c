//! `bartizan alerts`: list what fires, silence it for a while; `bartizan notices`: what was sent, and what was not.

use std::{error::Error, process::ExitCode};

use bartizan_model::scalar::Time;
use bartizan_store::{AlertRow, NoticeRow, NoticeState, SilenceRow, Store};
use serde_json::{Value, json};

use super::{
    author,
    data_dir::DataDirArg,
    keys::time,
    print::{self, Format, Outcome},
    when,
};

/// What `alerts` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
    #[command(flatten)]
    data_dir: DataDirArg,
    /// How the data is printed.
    #[arg(long, value_enum, default_value = "text", global = true)]
    format: Format,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// List alerts, the latest first. Ends with 1 where any goes on.
    List {
        /// Also those that are over.
        #[arg(long)]
        all: bool,
    },
    /// Tell nothing of what matches for a while. It is still listed.
    Silence {
        /// The AlertPolicy [default: every one].
        #[arg(long, value_name = "NAME")]
        policy: Option<String>,
        /// What is watched, for example `FailedLogins` [default: everything].
        #[arg(long, value_name = "SIGNAL")]
        signal: Option<String>,
        /// Which group [default: every one].
        #[arg(long, value_name = "GROUP")]
        group: Option<String>,
        /// For how long.
        #[arg(long = "for", value_name = "TIME", value_parser = time, default_value = "1h")]
        time: Time,
        /// Why.
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
    /// List the silences that hold.
    Silences,
    /// End a silence.
    Unsilence {
        /// Its id, as `alerts silences` shows it.
        #[arg(value_name = "ID")]
        id: String,
    },
}

/// What `notices` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct NoticeArgs {
    #[command(subcommand)]
    what: NoticeWhat,
    #[command(flatten)]
    data_dir: DataDirArg,
    /// How the data is printed.
    #[arg(long, value_enum, default_value = "text", global = true)]
    format: Format,
}

#[derive(Debug, clap::Subcommand)]
enum NoticeWhat {
    /// List notices, the latest first, without what they say.
    List {
        /// Only those that are `waiting`, `sent` or `dead`.
        #[arg(long, value_name = "STATE")]
        state: Option<String>,
    },
    /// Try a notice again that was given up.
    Retry {
        /// Its id, as `notices list` shows it.
        #[arg(value_name = "ID")]
        id: String,
    },
}

/// Works on alerts.
pub(crate) fn run(args: &Args) -> ExitCode {
    print::exit(on_store(&args.data_dir, async |store| alerts(args, store).await))
}

/// Works on notices.
pub(crate) fn run_notices(args: &NoticeArgs) -> ExitCode {
    print::exit(on_store(&args.data_dir, async |store| notices(args, store).await))
}

fn on_store(data_dir: &DataDirArg, work: impl AsyncFnOnce(&Store) -> Outcome) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let store = Store::open(&data_dir.open()?).await?;
        let outcome = work(&store).await;
        store.close().await;
        outcome
    })
}

async fn alerts(args: &Args, store: &Store) -> Outcome {
    let now = when::now_ms();
    match &args.what {
        What::List { all } => {
            let rows = store.alerts().list(!all, ROWS_MAX).await?;
            let fires = rows.iter().any(|row| row.is_firing);
            match args.format {
                Format::Json => print::json(&rows.iter().map(shown).collect::<Vec<_>>())?,
                Format::Text if rows.is_empty() => print::note("no alerts"),
                Format::Text => print::data(&rows.iter().map(|row| line(row, now)).collect::<String>())?,
            }
            return Ok(if fires { ExitCode::from(print::FOUND) } else { ExitCode::SUCCESS });
        }
        What::Silence { policy, signal, group, time, reason } => {
            let field = |given: &Option<String>| given.clone().unwrap_or_default();
            let millis = u64::try_from(time.get().as_millis()).unwrap_or(u64::MAX);
            let wanted = SilenceRow {
                id: String::new(),
                policy: field(policy),
                signal: field(signal),
                group: field(group),
                until_ms: now.saturating_add(millis),
                reason: reason.clone(),
                created_by: author::author().unwrap_or_else(|| "unknown".to_owned()),
            };
            let row = store.alerts().silence(&wanted, now).await?;
            silences(args.format, &[row], now)?;
        }
        What::Silences => silences(args.format, &store.alerts().silences(now).await?, now)?,
        What::Unsilence { id } => {
            if !store.alerts().unsilence(id, now).await? {
                return Err(found("there is no silence of this id that holds"));
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn notices(args: &NoticeArgs, store: &Store) -> Outcome {
    let now = when::now_ms();
    match &args.what {
        NoticeWhat::List { state } => {
            let state = match state.as_deref() {
                None => None,
                Some(word) => Some(
                    NoticeState::parse(word)
                        .ok_or_else(|| found("a notice is `waiting`, `sent` or `dead`"))?,
                ),
            };
            let rows = store.outbox().list(state, ROWS_MAX).await?;
            match args.format {
                Format::Json => print::json(&rows.iter().map(notice).collect::<Vec<_>>())?,
                Format::Text if rows.is_empty() => print::note("no notices"),
                Format::Text => {
                    print::data(&rows.iter().map(|row| notice_line(row, now)).collect::<String>())?
                }
            }
        }
        NoticeWhat::Retry { id } => {
            if !store.outbox().retry(id, now).await? {
                return Err(found("there is no notice of this id that was given up"));
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn found(text: &str) -> Box<dyn Error> {
    text.into()
}

fn silences(format: Format, rows: &[SilenceRow], now: u64) -> std::io::Result<()> {
    match format {
        Format::Json => print::json(
            &rows
                .iter()
                .map(|row| {
                    json!({
                        "id": row.id, "policy": row.policy, "signal": row.signal, "group": row.group,
                        "until": when::moment(row.until_ms), "reason": row.reason, "createdBy": row.created_by,
                    })
                })
                .collect::<Vec<_>>(),
        ),
        Format::Text if rows.is_empty() => {
            print::note("no silences");
            Ok(())
        }
        Format::Text => print::data(
            &rows
                .iter()
                .map(|row| {
                    let any = |text: &str| if text.is_empty() { "any".to_owned() } else { print::clean(text).to_string() };
                    format!(
                        "{}  policy {}  signal {}  group {}  ends {}  {}\n",
                        row.id,
                        any(&row.policy),
                        any(&row.signal),
                        any(&row.group),
                        when::away(row.until_ms, now),
                        print::clean(&row.reason)
                    )
                })
                .collect::<String>(),
        ),
    }
}

fn line(row: &AlertRow, now: u64) -> String {
    let state = match (row.is_firing, row.told_at_ms) {
        (true, Some(_)) => "firing",
        (true, None) => "silenced",
        (false, _) => "over",
    };
    format!(
        "{state:<8}  {}  {}  since {}  {}\n",
        row.policy,
        row.signal,
        when::away(row.started_at_ms, now),
        print::clean(&row.text)
    )
}

fn shown(row: &AlertRow) -> Value {
    json!({
        "id": row.id, "policy": row.policy, "signal": row.signal, "group": row.group, "text": row.text,
        "firing": row.is_firing, "count": row.count, "round": row.round,
        "startedAt": when::moment(row.started_at_ms), "lastAt": when::moment(row.last_at_ms),
        "toldAt": row.told_at_ms.map(when::moment), "endedAt": row.ended_at_ms.map(when::moment),
    })
}

fn notice_line(row: &NoticeRow, now: u64) -> String {
    let next = match row.state {
        NoticeState::Waiting => format!("next {}", when::away(row.next_at_ms, now)),
        NoticeState::Sent | NoticeState::Dead => {
            row.ended_at_ms.map(|at| when::away(at, now)).unwrap_or_default()
        }
    };
    format!(
        "{}  {:<7}  {}  {}  by {}  tried {}  {next}  {}\n",
        row.id,
        row.state.as_str(),
        row.event,
        print::clean(&row.about),
        row.channel,
        row.attempts,
        print::clean(&row.error)
    )
}

fn notice(row: &NoticeRow) -> Value {
    json!({
        "id": row.id, "channel": row.channel, "event": row.event, "about": row.about, "state": row.state.as_str(),
        "attempts": row.attempts, "error": row.error, "createdAt": when::moment(row.created_at_ms),
        "nextAt": when::moment(row.next_at_ms), "endedAt": row.ended_at_ms.map(when::moment),
    })
}

/// A screen; `--format json` says where it was cut by its length.
const ROWS_MAX: u32 = 1000;
