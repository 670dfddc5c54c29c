//! The set to begin with: from files, from the store, or what the data directory kept of it.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use bartizan_config::{
    Set,
    render::{self, Style},
    snapshot::Snapshot,
};
use bartizan_manage::ManagementState;
use bartizan_store::{DataDir, RevisionFile, RevisionNumber, SetDigest, Went};

use super::{
    super::{
        alerts::Findings,
        keys::chain,
        revisions::{self, Loaded, REVISION, RevisionWatch},
        secrets,
        watch::FileWatch,
        wish::{Wish, Wishes},
    },
    Failure,
};

/// What is watched for changes of the documents.
pub(super) enum Source {
    Files {
        config: Vec<PathBuf>,
        digest: String,
        /// What serves, for management to show.
        set: Arc<Set>,
        /// Of the files that the documents in force name.
        secrets: [u8; 32],
        watch: notify::Result<FileWatch>,
    },
    Store {
        revisions: RevisionWatch,
        /// Of the files that the documents in force name.
        secrets: [u8; 32],
        watch: notify::Result<FileWatch>,
    },
}

impl Source {
    /// What serves, where it comes from files.
    pub(super) fn set(&self) -> Option<Arc<Set>> {
        match self {
            Source::Files { set, .. } => Some(Arc::clone(set)),
            Source::Store { .. } => None,
        }
    }
}

/// The set to begin with.
pub(super) struct First {
    pub(super) snapshot: Arc<Snapshot>,
    /// What an audit of it finds.
    pub(super) findings: Vec<String>,
    /// Which revision it is, where it is one.
    pub(super) revision: Option<(RevisionNumber, SetDigest, Vec<RevisionFile>)>,
    /// Whether it is what the data directory kept and not what the store has.
    pub(super) is_kept: bool,
    pub(super) source: Source,
}

pub(super) fn first_of_files(config: Vec<PathBuf>, wishes: &Wishes) -> Result<First, Failure> {
    // Watched before the files are read, so that no change between is missed.
    let mut watch = FileWatch::start(&config, wishes.sender());
    let (snapshot, set) = load(&config)?;
    // Before they are read: a change between is then a change to the next look.
    let secrets = look_at_secrets(&snapshot, &mut watch);
    let findings = Findings::of(&set.documents, &snapshot);
    let source = Source::Files { config, digest: set.digest.clone(), set: Arc::new(set), secrets, watch };
    Ok(First { snapshot, findings, revision: None, is_kept: false, source })
}

/// Watches the files that a snapshot is read from beside its documents, and tells their content apart.
pub(super) fn look_at_secrets(snapshot: &Snapshot, watch: &mut notify::Result<FileWatch>) -> [u8; 32] {
    let named = secrets::files(snapshot);
    if let Ok(watch) = watch {
        // The content of rule files is part of the set's digest already.
        watch.follow(named.iter().copied().chain(snapshot.rule_files.iter().map(PathBuf::as_path)));
    }
    secrets::fingerprint(&named)
}

/// The active revision of the store; where that is gone or cannot be served, what the data directory kept. Where there
/// is neither, waits for the first revision; `None` where a signal ended that.
pub(super) fn first_of_store(
    store_dir: &DataDir,
    data_dir: &DataDir,
    wishes: &Wishes,
    state: &Arc<ManagementState>,
    tell: impl Fn(),
) -> Result<Option<First>, Failure> {
    let watch = RevisionWatch::start(store_dir.clone(), wishes.sender(), state.clone())
        .map_err(|error| Failure::Process(format!("the revisions cannot be followed: {error}")))?;
    let mut kept = revisions::last_good(data_dir);
    let mut waited = Instant::now() + STORE_PATIENCE;
    let mut told = false;
    loop {
        match wishes.within(Duration::from_millis(50)) {
            Some(Wish::Stop) => return Ok(None),
            Some(Wish::Revision) => {
                let Some(revision) = watch.take() else { continue };
                let (number, digest) = (revision.row.number, revision.row.digest);
                match revisions::load(number, digest, revision.files) {
                    Ok(loaded) => {
                        state.notices.clear(REVISION);
                        return Ok(Some(first(loaded, false, watch, wishes)));
                    }
                    Err(text) => {
                        watch.tell(number, Went::Failed, &text);
                        tracing::error!(revision = %revisions::tag(number, digest), "the revision is refused\n{text}");
                        state
                            .notices
                            .set(REVISION, format!("revision {} failed", revisions::tag(number, digest)));
                        // What was kept serves at once: nothing better is to come.
                        waited = Instant::now();
                    }
                }
            }
            _ => {}
        }
        if Instant::now() < waited {
            continue;
        }
        if let Some(found) = kept.take() {
            let tag = revisions::tag(found.number, found.digest);
            match revisions::load(found.number, found.digest, found.files) {
                Ok(loaded) => {
                    tracing::error!(revision = %tag, "serving the last good revision from the data directory");
                    state
                        .notices
                        .set(KEPT, format!("revision {tag} serves as it was kept in the data directory"));
                    return Ok(Some(first(loaded, true, watch, wishes)));
                }
                Err(text) => {
                    tracing::error!(revision = %tag, "the last good revision cannot be served\n{text}")
                }
            }
        } else if !told {
            told = true;
            tracing::warn!("there is no revision to serve; waiting for one (`bartizan apply`)");
            tell();
        }
    }
}

fn first(loaded: Loaded, is_kept: bool, revisions: RevisionWatch, wishes: &Wishes) -> First {
    let Loaded { number, digest, files, snapshot, documents } = loaded;
    let findings = Findings::of(&documents, &snapshot);
    // No files of the set's own, only those that its documents name.
    let mut watch = FileWatch::start(&[], wishes.sender());
    let secrets = look_at_secrets(&snapshot, &mut watch);
    let source = Source::Store { revisions, secrets, watch };
    First { snapshot, findings, revision: Some((number, digest, files)), is_kept, source }
}

/// What the data directory kept, instead of an active revision that could not be prepared.
pub(super) fn kept_instead(
    data_dir: &DataDir,
    number: RevisionNumber,
    digest: SetDigest,
    text: &str,
    state: &ManagementState,
) -> Result<Loaded, Failure> {
    let failed = revisions::tag(number, digest);
    tracing::error!(revision = %failed, "the active revision cannot be served\n{text}");
    let kept = revisions::last_good(data_dir).filter(|kept| kept.digest != digest);
    let Some(kept) = kept else { return Err(Failure::Process(text.to_owned())) };
    let loaded = revisions::load(kept.number, kept.digest, kept.files).map_err(Failure::Documents)?;
    state
        .notices
        .set(REVISION, format!("revision {failed} failed; the last good one, {}, serves", loaded.tag()));
    tracing::error!(revision = %loaded.tag(), "serving the last good revision from the data directory");
    Ok(loaded)
}

/// How long a start waits for the store before it serves what was kept.
const STORE_PATIENCE: Duration = Duration::from_secs(2);
/// The matter of the notice that the kept revision serves.
pub(super) const KEPT: &str = "kept";

/// Reads and compiles the set. A set without a listener or a route can be checked, but an empty gate is never served.
pub(super) fn load(config: &[PathBuf]) -> Result<(Arc<Snapshot>, Set), Failure> {
    let set = Set::open(config).map_err(|error| Failure::Process(chain(&error)))?;
    let text = || render::text(&set.compiled.problems, &set.sources, Style::Plain);
    let Some(snapshot) = set.compiled.snapshot.clone() else {
        return Err(Failure::Documents(text()));
    };
    if snapshot.listeners.is_empty() || snapshot.routes.is_empty() {
        return Err(Failure::Documents(format!(
            "{}the set has no Listener or no Route: there is nothing to serve, and an empty set never goes live\n",
            text()
        )));
    }
    Ok((snapshot, set))
}
