//! `bartizan capture`: record live traffic of a running gateway for `replay`, sampled, bounded and encrypted.
//!
//! The command leaves an order in the gateway's data directory and waits until it is taken. What is recorded is what judges
//! read: heads as the access log shows them (or with `--whole` as sent, with what genuine tokens say), clock readings, what
//! limits held, and with `--bodies` bodies; never a credential.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

use bartizan_model::scalar::{ByteSize, Time};
use bartizan_telemetry::capture::{BODY_BYTES_MAX, CaptureKey};

use super::{
    data_dir::DataDirArg,
    now_ms,
    print::{self, Format, Outcome},
};
use crate::capture::{self, Bodies, Order, State};

/// What `capture` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit code: 0 taken, 1 it could not begin or ended early, 2 could not run.")]
pub(crate) struct Args {
    /// The new file; without it, tell how the last capture goes.
    #[arg(value_name = "FILE", requires = "key_file")]
    out: Option<PathBuf>,
    /// The key of the file: 32 bytes, mode 0600; made where there is none.
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// Share of requests in percent.
    #[arg(long, value_name = "PERCENT", default_value = "1", value_parser = percent)]
    sample: f64,
    /// How long.
    #[arg(long = "for", value_name = "TIME", default_value = "10m", value_parser = time)]
    long: Time,
    /// Heads as they are sent, query values and addresses too, and what genuine tokens and certificates say, but never
    /// credentials. Without it, as the access log shows them.
    #[arg(long)]
    whole: bool,
    /// Bodies too: `redacted` takes JSON and forms in which no member is named like a secret, `whole` all of them.
    #[arg(long, value_enum, default_value = "none", requires = "whole", value_name = "WHICH")]
    bodies: Bodies,
    /// Most bytes of a body; longer ones are left out.
    #[arg(long, value_name = "SIZE", default_value = "64KiB", value_parser = body_size)]
    body_bytes: ByteSize,
    /// Most bytes of the file.
    #[arg(long, value_name = "SIZE", default_value = "1GiB", value_parser = size)]
    bytes: ByteSize,
    /// End the capture that goes on.
    #[arg(long, conflicts_with = "out")]
    stop: bool,
    #[command(flatten)]
    data_dir: DataDirArg,
    /// How it is printed.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

fn percent(text: &str) -> Result<f64, String> {
    let share: f64 = text.trim_end_matches('%').parse().map_err(|_| format!("`{text}` is no percentage"))?;
    if share > 0.0 && share <= 100.0 {
        Ok(share)
    } else {
        Err("a share is above 0 and at most 100".to_owned())
    }
}

fn time(text: &str) -> Result<Time, String> {
    Time::parse(text).map_err(|wrong| wrong.to_string())
}

fn size(text: &str) -> Result<ByteSize, String> {
    text.parse().map_err(|wrong: bartizan_model::scalar::Wrong| wrong.to_string())
}

fn body_size(text: &str) -> Result<ByteSize, String> {
    let size = size(text)?;
    if size.get() <= BODY_BYTES_MAX as u64 {
        Ok(size)
    } else {
        Err(format!("a record of a capture holds at most {} KiB of a body", BODY_BYTES_MAX >> 10))
    }
}

/// Orders or tells.
pub(crate) fn run(args: &Args) -> ExitCode {
    print::exit(order(args))
}

fn order(args: &Args) -> Outcome {
    let dir = args.data_dir.open()?;
    let dir = dir.path();
    let state = match (&args.out, &args.key_file, args.stop) {
        (Some(out), Some(key_file), _) => {
            if !key_file.exists() {
                CaptureKey::create(key_file)
                    .map_err(|error| format!("{} cannot be made: {error}", key_file.display()))?;
                print::note(&format!(
                    "made the key {}; whoever has it can read the capture",
                    key_file.display()
                ));
            }
            let whole_path = |path: &Path| std::path::absolute(path);
            let millis = u64::try_from(args.long.get().as_millis()).unwrap_or(u64::MAX);
            give(dir, args, Some(whole_path(out)?), whole_path(key_file)?, now_ms().saturating_add(millis))?
        }
        (_, _, true) => give(dir, args, None, PathBuf::new(), 0)?,
        _ => capture::state(dir).ok_or("no capture was ordered here")?,
    };
    match args.format {
        Format::Json => print::json(&state)?,
        Format::Text => print::data(&text(&state))?,
    }
    Ok(if state.ended_by.is_some() { ExitCode::from(print::FOUND) } else { ExitCode::SUCCESS })
}

/// Leaves an order and waits until the gateway has taken it.
fn give(
    dir: &Path,
    args: &Args,
    out: Option<PathBuf>,
    key_file: PathBuf,
    until_ms: u64,
) -> Result<State, Box<dyn std::error::Error>> {
    let id = format!("{}-{}", now_ms(), std::process::id());
    let order = Order {
        id: id.clone(),
        out,
        key_file,
        percent: args.sample,
        whole: args.whole,
        bodies: args.bodies,
        body_bytes_max: args.body_bytes.get(),
        until_ms,
        bytes_max: args.bytes.get(),
    };
    capture::give(dir, &order)?;
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until {
        if let Some(state) = capture::state(dir).filter(|state| state.id == id) {
            return Ok(state);
        }
        thread::park_timeout(Duration::from_millis(20));
    }
    Err("no gateway took the order: is one running on this data directory?".into())
}

fn text(state: &State) -> String {
    let file = state.out.as_ref().map_or_else(|| "no capture".to_owned(), |out| out.display().to_string());
    let how = match (&state.ended_by, state.is_taking) {
        (Some(why), _) => format!("ended: {why}"),
        (None, true) => "being taken".to_owned(),
        (None, false) => "ended".to_owned(),
    };
    let left_out = if state.left_out > 0 { format!(", {} too large", state.left_out) } else { String::new() };
    let bodies = if state.bodies_left_out > 0 {
        format!(", {} without body", state.bodies_left_out)
    } else {
        String::new()
    };
    format!("{file}: {how}, {}{left_out}{bodies}\n", print::counted(state.records, "request"))
}

/// The gateway looks a few times a second.
const PATIENCE: Duration = Duration::from_secs(5);
