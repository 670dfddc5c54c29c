//! Opening a set of documents for a command that looks at it, and telling what is wrong with it.

use std::{error::Error, path::PathBuf, process::ExitCode, sync::Arc};

use bartizan_config::{
    Set,
    render::{self, Style},
    snapshot::Snapshot,
    source::{LoadError, Source},
};
use bartizan_model::{
    document::{Document, Kind},
    problem::{Severity, Span},
};

use super::print;

/// `--config PATH…`
#[derive(Debug, clap::Args)]
pub(crate) struct ConfigArg {
    /// Files and directories with documents; `-` is standard input.
    #[arg(long = "config", required = true, num_args = 1.., value_name = "PATH")]
    pub(crate) paths: Vec<PathBuf>,
}

/// A set that compiled.
pub(crate) struct Sound {
    /// Texts, documents and what was found.
    pub(crate) set: Set,
    /// What requests are judged by.
    pub(crate) snapshot: Arc<Snapshot>,
}

/// Opens a set that must be sound. Where it is not, its problems are told on standard error, and the exit code is
/// returned; warnings and exposures are `check`'s matter.
pub(crate) fn open_sound(paths: &[PathBuf]) -> Result<Result<Sound, ExitCode>, LoadError> {
    let mut set = Set::open(paths)?;
    match set.compiled.snapshot.take() {
        Some(snapshot) => Ok(Ok(Sound { set, snapshot })),
        None => {
            print::note(section(&set, Severity::Problem).trim_end());
            print::note(&format!("\n{}", render::summary(&set.compiled.problems)));
            Ok(Err(ExitCode::from(print::FOUND)))
        }
    }
}

/// The problems of one severity as text. Always with colour: whoever prints it takes it away where there is none.
pub(crate) fn section(set: &Set, severity: Severity) -> String {
    render::section(&set.compiled.problems, severity, &set.sources, Style::Coloured)
}

impl Sound {
    /// A set, if it compiled.
    pub(crate) fn of(mut set: Set) -> Option<Sound> {
        let snapshot = set.compiled.snapshot.take()?;
        Some(Sound { set, snapshot })
    }

    /// Runs `look` on the set at `paths`, if it is sound.
    pub(crate) fn with(
        paths: &[PathBuf],
        look: impl FnOnce(&Sound) -> Result<ExitCode, Box<dyn Error>>,
    ) -> print::Outcome {
        match open_sound(paths)? {
            Ok(sound) => look(&sound),
            Err(code) => Ok(code),
        }
    }

    /// A document by kind and name.
    pub(crate) fn document(&self, kind: Kind, name: &str) -> Option<&Document> {
        self.set.documents.iter().find(|document| document.kind() == kind && document.name.as_str() == name)
    }

    /// Where a document stands, as `file:line`.
    pub(crate) fn place_of(&self, kind: Kind, name: &str) -> Option<String> {
        self.document(kind, name).and_then(|document| self.place(document.at))
    }

    /// Where a span begins, as `file:line`.
    pub(crate) fn place(&self, at: Span) -> Option<String> {
        let name = self.set.sources.get(at.file).map(Source::name)?;
        Some(if at.is_place() { format!("{name}:{}", at.line) } else { name.to_owned() })
    }

    /// The document that a span lies in: the last one of its file that begins before it.
    pub(crate) fn document_at(&self, at: Span) -> Option<&Document> {
        self.set
            .documents
            .iter()
            .filter(|document| document.at.file == at.file && document.at.start <= at.start)
            .max_by_key(|document| document.at.start)
    }
}
