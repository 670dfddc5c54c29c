//! `bartizan cache purge`: drops answers that a running gateway keeps, by URL, by its beginning, by tag.
//!
//! They lie in the memory of the process, so it is the gateway that is asked, by its management API.

use std::process::ExitCode;

use serde_json::json;

use super::{
    print::{self, Format, Outcome},
    revision::{HouseArg, exit},
};

/// What `cache` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Drop kept answers, of every caller.
    Purge(Purge),
}

#[derive(Debug, clap::Args)]
struct Purge {
    #[command(flatten)]
    which: Which,
    /// Why, for the audit trail.
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
    #[command(flatten)]
    house: HouseArg,
    /// How the data is printed.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct Which {
    /// Those of this URL: `https://api.example.com/orders?page=2`.
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Those whose URL begins so.
    #[arg(long, value_name = "URL")]
    prefix: Option<String>,
    /// Those with this tag.
    #[arg(long, value_name = "TAG")]
    tag: Option<String>,
    /// All of them.
    #[arg(long)]
    all: bool,
}

/// Works on the cache.
pub(crate) fn run(args: &Args) -> ExitCode {
    let What::Purge(purge) = &args.what;
    exit(answer(purge))
}

fn answer(purge: &Purge) -> Outcome {
    let Which { url, prefix, tag, all } = &purge.which;
    let body = json!({ "url": url, "prefix": prefix, "tag": tag, "all": all, "reason": purge.reason });
    let done = purge.house.purge(&body)?;
    match purge.format {
        Format::Json => print::json(&done)?,
        Format::Text => {
            let dropped = done.get("dropped").and_then(serde_json::Value::as_u64).unwrap_or(0);
            print::note(&format!("{dropped} answers dropped"));
        }
    }
    Ok(ExitCode::SUCCESS)
}
