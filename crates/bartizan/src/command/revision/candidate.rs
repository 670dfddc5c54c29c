//! Files that want to become a revision, and revisions read back as sets.

use std::{error::Error, path::PathBuf, process::ExitCode, thread};

use bartizan_config::{
    Set, keep,
    render::{self, Style},
    source::Sources,
};
use bartizan_model::problem::{Problems, Severity};
use bartizan_store::{Revision, RevisionFile, SetDigest};

use crate::command::{print, set};

/// `-f PATH…`
#[derive(Debug, clap::Args)]
pub(crate) struct FilesArg {
    /// Files and directories with documents; `-` is standard input.
    #[arg(short = 'f', long = "file", required = true, num_args = 1.., value_name = "PATH")]
    pub(super) paths: Vec<PathBuf>,
}

/// A sound set of documents, in the form in which a revision keeps it.
pub(crate) struct Candidate {
    /// Texts, documents and what was found.
    pub(crate) set: Set,
    /// The texts under the names of the revision.
    pub(crate) files: Vec<RevisionFile>,
    /// The digest that the revision has.
    pub(crate) digest: SetDigest,
}

impl Candidate {
    /// Reads files. Where they cannot become a revision, every reason is told and the exit code is returned.
    pub(crate) fn read(paths: &[PathBuf]) -> Result<Result<Self, ExitCode>, Box<dyn Error>> {
        Candidate::of(Set::open(paths)?, paths)
    }

    /// As [`Candidate::read`], with something else done meanwhile: both compile a set, and few machines have one core.
    pub(super) fn read_while<T>(
        paths: &[PathBuf],
        meanwhile: impl FnOnce() -> T,
    ) -> Result<Result<(Self, T), ExitCode>, Box<dyn Error>> {
        let (set, done) = thread::scope(|scope| {
            let set = scope.spawn(|| Set::open(paths));
            let done = meanwhile();
            (set.join(), done)
        });
        let set = set.map_err(|_| "the documents could not be read: a bug, please report it")??;
        Ok(Candidate::of(set, paths)?.map(|candidate| (candidate, done)))
    }

    fn of(set: Set, paths: &[PathBuf]) -> Result<Result<Self, ExitCode>, Box<dyn Error>> {
        let unkept = keep::problems(&set.sources);
        if set.compiled.snapshot.is_none() || unkept.is_refusing() {
            print::note(set::section(&set, Severity::Problem).trim_end());
            print::note(section(&unkept, &set.sources).trim_end());
            let mut all = Problems::new();
            all.extend(set.compiled.problems.clone());
            all.extend(unkept);
            print::note(&format!("\n{}", render::summary(&all)));
            return Ok(Err(ExitCode::from(print::FOUND)));
        }
        let kept = keep::kept(&set.sources, paths)?;
        let digest = SetDigest::new(Sources::kept(kept.iter().cloned()).digest());
        let files = kept.into_iter().map(|(name, text)| RevisionFile { name, text }).collect();
        Ok(Ok(Candidate { set, files, digest }))
    }
}

impl Candidate {
    /// Texts that were put together here. Where they are no sound set, every reason is told and the exit code is returned.
    pub(crate) fn of_texts(files: Vec<RevisionFile>) -> Result<Self, ExitCode> {
        let sources = Sources::kept(files.iter().map(|file| (file.name.clone(), file.text.clone())));
        let digest = SetDigest::new(sources.digest());
        let set = Set::from_sources(sources);
        if set.compiled.snapshot.is_none() {
            print::note(set::section(&set, Severity::Problem).trim_end());
            return Err(ExitCode::from(print::FOUND));
        }
        Ok(Candidate { set, files, digest })
    }
}

fn section(problems: &Problems, sources: &Sources) -> String {
    render::section(problems, Severity::Problem, sources, Style::Coloured)
}

/// A revision as a set. One that was stored by another version may not compile here; then there is no snapshot.
pub(crate) fn set_of(revision: &Revision) -> Result<Set, bartizan_store::Error> {
    let sources = Sources::kept(revision.files.iter().map(|file| (file.name.clone(), file.text.clone())));
    if sources.digest() != *revision.row.digest.bytes() {
        return Err(bartizan_store::Error::RevisionDamaged { number: revision.row.number });
    }
    Ok(Set::from_sources(sources))
}
