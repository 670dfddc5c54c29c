//! `bartizan schema`: the JSON Schema of the documents, for editors, and the pages of `docs/kinds/`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use bartizan_config::{pages, schema};
use bartizan_model::document::Kind;
use clap::builder::PossibleValuesParser;
use serde_json::Value;

use super::print::{self, Outcome};

/// What `schema` takes.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Without KIND, the one schema that knows all kinds is printed: the one to give to an editor."
)]
pub(crate) struct Args {
    /// The kind of document.
    #[arg(value_name = "KIND", value_parser = kinds(), ignore_case = true)]
    kind: Option<String>,
    /// Write the schema of every kind, and the one of all kinds, into this directory.
    #[arg(long, value_name = "DIR", conflicts_with = "kind")]
    all: Option<PathBuf>,
    /// Print the page of the kind, or the list of all kinds, instead of its schema.
    #[arg(long, hide = true, conflicts_with = "all")]
    page: bool,
    /// Write the pages of every kind and their list into this directory.
    #[arg(long, hide = true, value_name = "DIR", conflicts_with_all = ["kind", "page"])]
    pages: Option<PathBuf>,
}

fn kinds() -> PossibleValuesParser {
    PossibleValuesParser::new(Kind::ALL.iter().map(|kind| kind.as_str()))
}

/// Prints or writes schemas.
pub(crate) fn run(args: &Args) -> ExitCode {
    print::exit(answer(args))
}

fn answer(args: &Args) -> Outcome {
    if let Some(folder) = &args.all {
        write_all(
            folder,
            Kind::ALL.iter().map(|kind| (*kind, json(&schema::of_kind(*kind)))),
            "json",
            || ("bartizan.json", json(&schema::combined())),
        )?;
    }
    if let Some(folder) = &args.pages {
        write_all(folder, Kind::ALL.iter().map(|kind| (*kind, pages::of_kind(*kind))), "md", || {
            ("README.md", pages::index())
        })?;
    }
    if args.all.is_some() || args.pages.is_some() {
        return Ok(ExitCode::SUCCESS);
    }
    let kind = args
        .kind
        .as_deref()
        .and_then(|word| Kind::ALL.iter().copied().find(|kind| kind.as_str().eq_ignore_ascii_case(word)));
    print::data(&match (kind, args.page) {
        (Some(kind), false) => json(&schema::of_kind(kind)),
        (None, false) => json(&schema::combined()),
        (Some(kind), true) => pages::of_kind(kind),
        (None, true) => pages::index(),
    })?;
    Ok(ExitCode::SUCCESS)
}

fn json(schema: &Value) -> String {
    // The alternate form of a value is its text with indentation.
    format!("{schema:#}\n")
}

/// Writes a file per kind and one for all of them.
fn write_all(
    folder: &Path,
    files: impl Iterator<Item = (Kind, String)>,
    ending: &str,
    whole: impl FnOnce() -> (&'static str, String),
) -> Result<(), WriteError> {
    let fault = |path: &Path| {
        let path = path.to_owned();
        move |source| WriteError { path, source }
    };
    fs::create_dir_all(folder).map_err(fault(folder))?;
    let (name, text) = whole();
    let files = files.map(|(kind, text)| (format!("{}.{ending}", kind.as_str()), text));
    for (name, text) in files.chain([(name.to_owned(), text)]) {
        let path = folder.join(name);
        fs::write(&path, text).map_err(fault(&path))?;
        print::note(&format!("wrote {}", path.display()));
    }
    Ok(())
}

/// A file could not be written.
#[derive(Debug, thiserror::Error)]
#[error("{} cannot be written", path.display())]
pub(crate) struct WriteError {
    pub(crate) path: PathBuf,
    pub(crate) source: std::io::Error,
}
