//! `bartizan audit`: what a set of documents, its keys and its certificates leave open, weak or unkept.
//!
//! The rules are `bartizan_config::audit`; this command gathers the state around them and shows what they find. Nothing
//! is changed: a fix is a patch to read.

mod inventory;
mod report;
mod since;

use std::{collections::BTreeSet, path::PathBuf, process::ExitCode};

use bartizan_config::audit::{Finding, Gravity, RULES, audit};
use bartizan_store::RevisionRef;
use clap::Subcommand;

use super::{
    audit_state,
    print::{self, Outcome},
    revision::{HouseArg, base},
    sarif,
    set::Sound,
};

/// What `audit` takes.
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Exit code: 0 fine, 1 what --fail-on names was found, 2 could not run."
)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: Option<What>,
    #[command(flatten)]
    audit: Audit,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Write the policies in force down, route by route.
    Inventory(inventory::Args),
}

#[derive(Debug, clap::Args)]
struct Audit {
    /// Files and directories with documents; `-` is standard input [default, with `--since`: the active revision].
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// How the findings are printed.
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
    /// Fail when something of this gravity or more is found.
    #[arg(long, value_enum, value_name = "GRAVITY")]
    fail_on: Option<FailOn>,
    /// Show each finding with its reason and its fix as a patch.
    #[arg(long)]
    fixes: bool,
    /// Leave these rules out, by id or name.
    #[arg(long, value_delimiter = ',', value_name = "RULE")]
    skip: Vec<String>,
    /// A former report (`--format json`): only what is new since then is shown and counted.
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,
    /// Only what is new since this revision is shown and counted: its number or digest.
    #[arg(long, value_name = "REV", value_parser = base::revision, conflicts_with = "baseline")]
    since: Option<RevisionRef>,
    /// Look at the API keys in the data directory too.
    #[arg(long)]
    keys: bool,
    #[command(flatten)]
    house: HouseArg,
}

/// How findings are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// For people.
    Table,
    /// For programs.
    Json,
    /// SARIF 2.1.0, which code hosts show beside the lines.
    Sarif,
}

/// The least gravity that fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum FailOn {
    /// Anything.
    Low,
    /// Medium and high.
    Medium,
    /// High alone.
    High,
}

impl FailOn {
    const fn gravity(self) -> Gravity {
        match self {
            FailOn::Low => Gravity::Low,
            FailOn::Medium => Gravity::Medium,
            FailOn::High => Gravity::High,
        }
    }
}

/// Audits and tells.
pub(crate) fn run(args: &Args) -> ExitCode {
    print::exit(match &args.what {
        Some(What::Inventory(args)) => inventory::write(args),
        None => look(&args.audit),
    })
}

fn look(args: &Audit) -> Outcome {
    if args.paths.is_empty() && args.since.is_none() {
        return Err("say which documents to audit: `bartizan audit PATH…`".into());
    }
    let skipped = rules(&args.skip)?;
    let keys = match args.keys {
        true => audit_state::keys(&args.house.data_dir()?, usize::MAX)?,
        false => Vec::new(),
    };
    let known = match (&args.baseline, &args.since) {
        (Some(path), _) => Some(report::baseline(path)?),
        (None, Some(since)) => Some(since::findings(&args.house, since, &keys)?),
        (None, None) => None,
    };
    let tell = |sound: &Sound| {
        let (mut state, notes) = audit_state::gather(sound);
        notes.iter().for_each(|note| print::note(&format!("not audited: {note}")));
        state.keys.clone_from(&keys);
        let mut findings = audit(&sound.set.documents, &sound.snapshot, &state);
        findings.retain(|finding| !skipped.contains(finding.rule.id));
        if let Some(known) = &known {
            findings.retain(|finding| !known.contains(&finding.identity()));
        }
        match args.format {
            Format::Table => print::data(&report::text(sound, &findings, args.fixes))?,
            Format::Json => print::json(&report::json(sound, &findings))?,
            Format::Sarif => print::json(&sarif::log(&report::rules(), &report::sarif(sound, &findings)))?,
        }
        let fails = |finding: &Finding| args.fail_on.is_some_and(|least| finding.gravity >= least.gravity());
        Ok(if findings.iter().any(fails) { ExitCode::from(print::FOUND) } else { ExitCode::SUCCESS })
    };
    if args.paths.is_empty() {
        return tell(&since::sound(&args.house, &RevisionRef::Active)?.0);
    }
    Sound::with(&args.paths, tell)
}

/// The ids of rules that were named by id or name.
fn rules(named: &[String]) -> Result<BTreeSet<&'static str>, String> {
    named
        .iter()
        .map(|named| {
            let rule = RULES.iter().find(|rule| rule.id == named || rule.name == named);
            rule.map(|rule| rule.id)
                .ok_or_else(|| format!("there is no rule `{named}`; see docs/guides/audit-rules.md"))
        })
        .collect()
}
