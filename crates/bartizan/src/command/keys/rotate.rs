//! `bartizan keys rotate`: a key's successor, handed over before anything is settled.
//!
//! The new key goes to standard output or into a file of its owner alone; where that fails, the rotation did not take
//! place, so the old key never begins to end for a successor that nobody has.

use std::{
    error::Error,
    fs, io,
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    process,
    sync::Arc,
};

use bartizan_identity::{KeyId, KeyText, Life, LifeState, LifeTerms, Retire};
use bartizan_model::scalar::Time;
use bartizan_store::{KeyFilter, KeyRow, Rotation, Store, Successor};

use super::{KeyArg, Rules, Terms, after, show, time};
use crate::command::{
    author,
    deed::Deed,
    print::{self, BOLD, Format, PLAIN},
    when::{away, span},
};

/// What `keys rotate` takes.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The key's id, or the key itself.
    #[arg(value_name = "KEY", required_unless_present = "consumer")]
    id: Option<KeyArg>,
    /// Instead of a key: the consumer whose only working key is to be rotated.
    #[arg(long, value_name = "NAME", conflicts_with = "id")]
    consumer: Option<String>,
    /// How long the old key works on [default: as the consumer's policy says, else 7d].
    #[arg(long, value_name = "TIME", value_parser = time)]
    overlap: Option<Time>,
    /// How the old key ends: with the overlap, or after it as soon as nobody uses it [default: as the consumer's policy
    /// says, else at-once].
    #[arg(long, value_enum)]
    retire: Option<RetireWord>,
    /// With `--retire when-unused`: how long the old key works on at most [default: as the policy says, else 30d].
    #[arg(long, value_name = "TIME", value_parser = time)]
    hard_limit: Option<Time>,
    /// How long the new key is valid [default: as long as the old one was].
    #[arg(long, value_name = "TIME", value_parser = time)]
    expires: Option<Time>,
    /// A new file for the new key, for its owner alone (mode 0600), instead of standard output.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// A command that is given the new key on its standard input, instead of standard output; where it fails, nothing has
    /// changed. Run by `sh -c`.
    #[arg(long, value_name = "COMMAND", conflicts_with = "out")]
    to: Option<String>,
    #[command(flatten)]
    rules: Rules,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum RetireWord {
    /// With the overlap.
    AtOnce,
    /// After the overlap, once nobody uses it.
    WhenUnused,
}

/// Rotates one key.
pub(super) async fn run(format: Format, store: &Store, args: &Args, now: u64) -> Result<(), Box<dyn Error>> {
    let ruled = args.rules.open()?;
    let row = match (&args.id, &args.consumer) {
        (Some(id), _) => store.keys().show(&id.id()?).await?,
        (None, consumer) => only_key(store, consumer.as_deref().unwrap_or_default(), &ruled, now).await?,
    };
    let terms = terms(args, &ruled.of(&row));
    let author = author::author();
    let rotation = Rotation {
        terms: &terms,
        expires_at_ms: args.expires.as_ref().map(|time| after(now, time)),
        created_by: author.as_deref(),
    };
    // Printed only when all is settled; a file is written before, so that a full disk costs nobody a key.
    let mut shown: Option<String> = None;
    let mut written = None;
    let deed = Deed { action: "key.rotate", target: row.id.as_str(), before: "", reason: &row.consumer };
    let work = store.keys().rotate(&row.id, rotation, now, |text| match (&args.out, &args.to) {
        (Some(path), _) => write_private(path, text).map(|()| written = Some(path)),
        (None, Some(command)) => hand_to(command, text),
        (None, None) => {
            shown = Some(text.expose().to_owned());
            Ok(())
        }
    });
    let outcome = deed.record(store, work, |made| made.new.id.to_string()).await;
    let successor = match outcome {
        Ok(successor) => successor,
        Err(error) => {
            // What was written there opens nothing.
            if let Some(path) = written {
                let _ = fs::remove_file(path);
            }
            return Err(error.into());
        }
    };
    tell(format, &successor, shown.as_deref(), args, &terms, now)?;
    Ok(())
}

/// What the arguments say, else the policy, else the defaults.
fn terms(args: &Args, ruled: &Arc<LifeTerms>) -> LifeTerms {
    let mut terms = LifeTerms::clone(ruled);
    let millis = |time: &Time| u64::try_from(time.get().as_millis()).unwrap_or(u64::MAX);
    if let Some(overlap) = &args.overlap {
        terms.overlap_ms = millis(overlap);
    }
    if let Some(limit) = &args.hard_limit {
        terms.hard_limit_ms = millis(limit);
    }
    match args.retire {
        Some(RetireWord::AtOnce) => terms.retire = Retire::AtOnce,
        Some(RetireWord::WhenUnused) => terms.retire = Retire::WhenUnused,
        None => {}
    }
    terms
}

/// The only key of a consumer that works and has no successor; of several, its owner must say which.
async fn only_key(store: &Store, consumer: &str, terms: &Terms, now: u64) -> Result<KeyRow, Box<dyn Error>> {
    let mut working: Vec<KeyRow> = Vec::new();
    let mut after = None;
    loop {
        let page = store.keys().list(KeyFilter { consumer: Some(consumer), after, limit: 0 }).await?;
        let is_working =
            |row: &KeyRow| Life::at(&row.facts(), &terms.of(row), now).state < LifeState::Overlapping;
        working.extend(page.rows.into_iter().filter(is_working));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    let ids: Vec<KeyId> = working.iter().map(|row| row.id).collect();
    match (working.pop(), ids.len()) {
        (Some(row), 1) => Ok(row),
        (None, _) => {
            Err(format!("{consumer} has no working key; make one with `bartizan keys create`").into())
        }
        (Some(_), _) => {
            let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
            Err(format!("{consumer} has several working keys, name one: {}", ids.join(", ")).into())
        }
    }
}

/// A file that was not there before, for its owner alone from its first moment, and on the disk when this returns.
fn write_private(path: &Path, text: &KeyText) -> io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let written = writeln!(file, "{}", text.expose()).and_then(|()| file.sync_all());
    if written.is_err() {
        let _ = fs::remove_file(path);
    }
    written
}

/// Gives the key to a command, on its standard input alone: arguments and environment are readable by others.
fn hand_to(command: &str, text: &KeyText) -> io::Result<()> {
    let mut child = process::Command::new("sh")
        .args(["-c", command])
        .stdin(process::Stdio::piped())
        .stdout(process::Stdio::null())
        .spawn()?;
    let written = match child.stdin.take() {
        Some(mut stdin) => writeln!(stdin, "{}", text.expose()),
        None => Err(io::ErrorKind::BrokenPipe.into()),
    };
    let status = child.wait()?;
    written?;
    if status.success() { Ok(()) } else { Err(io::Error::other(format!("the command ended with {status}"))) }
}

fn tell(
    format: Format,
    successor: &Successor,
    shown: Option<&str>,
    args: &Args,
    terms: &LifeTerms,
    now: u64,
) -> io::Result<()> {
    let Successor { old, new } = successor;
    if let Format::Json = format {
        return print::json(&show::Rotated {
            key: shown,
            new: show::Key::of(new, terms, now),
            old: show::Key::of(old, terms, now),
        });
    }
    if let Some(text) = shown {
        print::data(&format!("{text}\n"))?;
    }
    print::note(&format!("{BOLD}key {} of {}{PLAIN} replaces {}", new.id, new.consumer, old.id));
    match (&args.out, &args.to) {
        (Some(path), _) => print::note(&format!("It is in {}, which only you can read.", path.display())),
        (None, Some(_)) => print::note("The command has it."),
        (None, None) => print::note("It is shown this once: keep it where secrets are kept."),
    }
    let end = old.expires_at_ms.unwrap_or(now);
    match old.overlap_until_ms.filter(|until| *until < end) {
        Some(until) => print::note(&format!(
            "Both work. The old one ends when nobody has used it for {}, not before {} and at the latest {}.",
            span(terms.unused_for_ms),
            away(until, now),
            away(end, now)
        )),
        None => print::note(&format!("Both work; the old one ends {}.", away(end, now))),
    }
    Ok(())
}
