//! `bartizan keys`: create, list, show, rotate and revoke API keys.
//!
//! The commands open the same store as a running gateway, beside it; what they change is live there within a second.
//! A key is printed once, alone on standard output, so that `KEY=$(bartizan keys create …)` is all a script needs.
//! Every change stands in the audit trail, with the user of this machine who made it.

use std::{collections::HashMap, error::Error, fmt, path::PathBuf, process::ExitCode, sync::Arc};

use bartizan_identity::{KeyId, LifeTerms};
use bartizan_model::scalar::{Time, Wrong};
use bartizan_store::{KeyCursor, KeyFilter, KeyRow, NewKey, Store, key_row::KeyStanding};

use super::{
    author,
    data_dir::DataDirArg,
    deed::Deed,
    print::{self, BOLD, Format, Outcome, PLAIN, counted},
    set, when,
};

mod rotate;
mod show;

/// What `keys` takes.
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
    /// Make a key. It is shown once, alone on standard output.
    Create {
        /// Whose key it is: the name of a Consumer in the documents.
        #[arg(long, value_name = "NAME")]
        consumer: String,
        /// How long it is valid, for example `90d` or `12h` [default: until it is revoked].
        #[arg(long, value_name = "TIME", value_parser = time)]
        expires: Option<Time>,
        /// What it is for, in your words.
        #[arg(long, value_name = "TEXT")]
        label: Option<String>,
    },
    /// List keys, oldest first.
    List {
        /// Only this consumer's.
        #[arg(long, value_name = "NAME")]
        consumer: Option<String>,
        /// Also keys that ended so long ago that they count as removed.
        #[arg(long)]
        all: bool,
        #[command(flatten)]
        rules: Rules,
    },
    /// Show one key; everything but its secret.
    Show {
        /// Its id, as `keys list` shows it, or the key itself.
        #[arg(value_name = "ID")]
        id: KeyArg,
        #[command(flatten)]
        rules: Rules,
    },
    /// Make a key's successor; the old key works on through the overlap, then ends.
    Rotate(rotate::Args),
    /// Make a one-time link by which the owner of a key takes its successor over, within 72 hours. Older links of the
    /// key open nothing any more.
    Offer {
        /// The key's id, or the key itself.
        #[arg(value_name = "KEY")]
        id: KeyArg,
        /// The public address of a Listener's `keyEndpoints`, path included.
        #[arg(long, value_name = "URL")]
        url: bartizan_model::scalar::FetchUrl,
        #[command(flatten)]
        rules: Rules,
    },
    /// Withdraw a key for good because its text has become known, and have its owner told.
    Leaked {
        /// The key's id, or the key itself.
        #[arg(value_name = "KEY")]
        id: KeyArg,
    },
    /// Withdraw keys for good. Doing it again changes nothing.
    Revoke {
        /// The key's id, or the key itself.
        #[arg(value_name = "ID", required_unless_present = "all")]
        id: Option<KeyArg>,
        /// Withdraw all keys of `--consumer`.
        #[arg(long, requires = "consumer", conflicts_with = "id")]
        all: bool,
        /// With `--all`: whose.
        #[arg(long, value_name = "NAME", requires = "all")]
        consumer: Option<String>,
    },
}

/// The documents whose policies say when keys are due.
#[derive(Debug, clap::Args)]
struct Rules {
    /// Files and directories with documents, whose KeyRotationPolicies say when keys age and how long they overlap.
    #[arg(long = "config", num_args = 1.., value_name = "PATH")]
    paths: Vec<PathBuf>,
}

/// By consumer, the terms of the policies; keys of no policy live by the defaults.
#[derive(Default)]
struct Terms(HashMap<String, Arc<LifeTerms>>, Arc<LifeTerms>);

impl Terms {
    fn of(&self, row: &KeyRow) -> Arc<LifeTerms> {
        self.0.get(&row.consumer).unwrap_or(&self.1).clone()
    }
}

impl Rules {
    fn open(&self) -> Result<Terms, Box<dyn Error>> {
        if self.paths.is_empty() {
            return Ok(Terms::default());
        }
        let Ok(sound) = set::open_sound(&self.paths)? else {
            return Err("the documents have problems; keys are not judged by them".into());
        };
        let ruled = sound.snapshot.consumers.values().filter_map(|consumer| {
            let rotation = consumer.rotation.as_ref()?;
            Some((consumer.name.to_string(), Arc::clone(&rotation.terms)))
        });
        Ok(Terms(ruled.collect(), Arc::default()))
    }
}

/// What was given as a key's id. It may be a whole key, so it is not shown; a parser of arguments would repeat it.
#[derive(Clone)]
struct KeyArg(String);

impl KeyArg {
    fn id(&self) -> Result<KeyId, &'static str> {
        KeyId::recognise(&self.0).ok_or("this is neither a key's id (12 letters and digits) nor a whole key")
    }
}

impl From<String> for KeyArg {
    fn from(text: String) -> Self {
        KeyArg(text)
    }
}

impl fmt::Debug for KeyArg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyArg(…)")
    }
}

pub(super) fn time(text: &str) -> Result<Time, String> {
    text.parse().map_err(|wrong: Wrong| match wrong.hint {
        Some(hint) => format!("{}: {hint}", wrong.message),
        None => wrong.message,
    })
}

/// Works on keys.
pub(crate) fn run(args: &Args) -> ExitCode {
    match args.data_dir.on_store(async |store| work(args, store).await) {
        // What was asked for does not exist; the command itself could run.
        Err(error) if is_unknown(&*error) => {
            print::fault(&*error);
            ExitCode::from(print::FOUND)
        }
        outcome => print::exit(outcome),
    }
}

fn is_unknown(error: &(dyn Error + 'static)) -> bool {
    use bartizan_store::Error as Store;
    let found = |store: &Store| {
        matches!(store, Store::KeyUnknown { .. } | Store::KeyEnded { .. } | Store::KeyReplaced { .. })
    };
    error.downcast_ref().is_some_and(found)
}

async fn work(args: &Args, store: &Store) -> Outcome {
    let now = when::now_ms();
    match &args.what {
        What::Create { consumer, expires, label } => {
            let expires = expires.as_ref().map(|time| after(now, time));
            create(args.format, store, consumer, expires, label.as_deref(), now).await?;
        }
        What::List { consumer, all, rules } => {
            let terms = rules.open()?;
            list(args.format, store, consumer.as_deref(), *all, &terms, now).await?;
        }
        What::Offer { id, url, rules } => {
            let terms = rules.open()?;
            let row = store.keys().show(&id.id()?).await?;
            let terms = terms.of(&row);
            let deed =
                Deed { action: "key.offer", target: row.id.as_str(), before: "", reason: &row.consumer };
            let work = store.claims().issue(&row.id, &terms, now);
            let token = deed.record(store, work, |_| row.consumer.clone()).await?;
            print::data(&format!("{}/claim/{}\n", url.to_string().trim_end_matches('/'), token.expose()))?;
            print::note(&format!(
                "It opens once, within 72 hours, the successor of key {} of {}.",
                row.id, row.consumer
            ));
        }
        What::Leaked { id } => {
            let id = id.id()?;
            let deed = Deed { action: "key.leaked", target: id.as_str(), before: "", reason: "" };
            let work = store.keys().report_leak(&id, now);
            let row = deed.record(store, work, |row| row.consumer.clone()).await?;
            revoked(args.format, &[row], now)?;
        }
        What::Rotate(rotation) => rotate::run(args.format, store, rotation, now).await?,
        What::Show { id, rules } => {
            let terms = rules.open()?;
            let row = store.keys().show(&id.id()?).await?;
            match args.format {
                Format::Text => print::data(&show::one(&row, &terms.of(&row), now))?,
                Format::Json => print::json(&show::Key::of(&row, &terms.of(&row), now))?,
            }
        }
        What::Revoke { id: Some(id), .. } => {
            let id = id.id()?;
            let deed = Deed { action: "key.revoke", target: id.as_str(), before: "", reason: "" };
            let work = store.keys().revoke(&id, now);
            let revocation = deed.record(store, work, |gone| gone.row.consumer.clone()).await?;
            let rows = std::slice::from_ref(&revocation.row);
            match args.format {
                Format::Text if revocation.was_revoked => {
                    print::note(&format!(
                        "key {} was revoked before; nothing has changed",
                        revocation.row.id
                    ));
                }
                format => revoked(format, rows, now)?,
            }
        }
        What::Revoke { id: None, consumer, .. } => {
            // The arguments require a name with `--all`.
            let consumer = consumer.as_deref().unwrap_or_default();
            let deed = Deed { action: "key.revoke-all", target: consumer, before: "", reason: "" };
            let work = store.keys().revoke_all(consumer, now);
            let rows = deed.record(store, work, |rows| ids(rows)).await?;
            if rows.is_empty() {
                print::note(&format!("{consumer} has no key that is not revoked; nothing has changed"));
            }
            revoked(args.format, &rows, now)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn create(
    format: Format,
    store: &Store,
    consumer: &str,
    expires_at_ms: Option<u64>,
    label: Option<&str>,
    now: u64,
) -> Result<(), Box<dyn Error>> {
    let author = author::author();
    let new = NewKey { consumer, label, expires_at_ms, created_by: author.as_deref() };
    let deed = Deed { action: "key.create", target: consumer, before: "", reason: label.unwrap_or_default() };
    let work = store.keys().create(new, now);
    let (row, text) = deed.record(store, work, |(row, _)| row.id.to_string()).await?;
    match format {
        Format::Text => {
            print::data(&format!("{}\n", text.expose()))?;
            let end = match expires_at_ms {
                Some(_) => format!("expires {}", show::expiry(&row, now)),
                None => "never expires".to_owned(),
            };
            print::note(&format!("{BOLD}key {} of {consumer}{PLAIN}, {end}", row.id));
            print::note("It is shown this once: keep it where secrets are kept.");
            print::note(&format!(
                "A running gateway takes it within a second, if its documents have a Consumer named {consumer}."
            ));
        }
        Format::Json => {
            print::json(&show::NewKey { key: text.expose(), row: show::Key::unruled(&row, now) })?
        }
    }
    Ok(())
}

async fn list(
    format: Format,
    store: &Store,
    consumer: Option<&str>,
    all: bool,
    terms: &Terms,
    now: u64,
) -> Result<(), Box<dyn Error>> {
    let mut rows: Vec<KeyRow> = Vec::new();
    let mut after: Option<KeyCursor> = None;
    loop {
        let page = store.keys().list(KeyFilter { consumer, after, limit: 0 }).await?;
        rows.extend(page.rows.into_iter().filter(|row| all || !show::is_removed(row, &terms.of(row), now)));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    match format {
        Format::Text if rows.is_empty() => print::note("no keys"),
        Format::Text => {
            print::data(&show::many(&rows, terms, now))?;
            let active = rows.iter().filter(|row| row.standing(now) == KeyStanding::Active).count();
            let all = u64::try_from(rows.len()).unwrap_or(u64::MAX);
            print::note(&format!("{}, {active} active", counted(all, "key")));
        }
        Format::Json => {
            print::json(&rows.iter().map(|row| show::Key::of(row, &terms.of(row), now)).collect::<Vec<_>>())?;
        }
    }
    Ok(())
}

/// The ids of keys, as the audit trail names them.
fn ids(rows: &[KeyRow]) -> String {
    rows.iter().map(|row| row.id.to_string()).collect::<Vec<_>>().join(" ")
}

fn revoked(format: Format, rows: &[KeyRow], now: u64) -> std::io::Result<()> {
    match format {
        Format::Text => {
            for row in rows {
                print::note(&format!("key {} of {} is revoked", row.id, row.consumer));
            }
            Ok(())
        }
        Format::Json => print::json(&rows.iter().map(|row| show::Key::unruled(row, now)).collect::<Vec<_>>()),
    }
}

fn after(now: u64, time: &Time) -> u64 {
    now.saturating_add(u64::try_from(time.get().as_millis()).unwrap_or(u64::MAX))
}
