//! Watches the files of a set and says when they may have changed.
//!
//! Directories are watched, not files: editors replace files, and Kubernetes swaps a symlink beside them. Events are
//! gathered until nothing happened for a moment, so that a set that is written file by file is read once.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    time::Duration,
};

use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};

/// Quiet time after the last event.
const QUIET: Duration = Duration::from_millis(200);

/// Longest time that events are gathered, so that a directory that never rests is read too.
const GATHER_MAX: Duration = Duration::from_secs(2);

/// A watch on the files of a set.
pub(crate) struct FileWatch {
    _watcher: RecommendedWatcher,
    events: Receiver<()>,
}

impl FileWatch {
    /// Watches everything that `paths` name.
    pub(crate) fn start(paths: &[PathBuf]) -> notify::Result<Self> {
        let (sender, events) = channel();
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            // An error may hide a change, so it counts as one; the digest decides whether there is something to do.
            let concerns = event.map_or(true, |event| !matches!(event.kind, EventKind::Access(_)));
            if concerns {
                // Nobody listens any more when the process ends.
                let _ = sender.send(());
            }
        })?;
        for (folder, mode) in folders(paths) {
            watcher.watch(&folder, mode)?;
        }
        Ok(FileWatch { _watcher: watcher, events })
    }

    /// Waits up to `patience` for a change, and then until the files rest.
    pub(crate) fn changed(&self, patience: Duration) -> bool {
        if self.events.recv_timeout(patience).is_err() {
            return false;
        }
        let rounds = GATHER_MAX.as_millis() / QUIET.as_millis().max(1);
        for _ in 0..rounds {
            match self.events.recv_timeout(QUIET) {
                Ok(()) => {}
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
            }
        }
        true
    }
}

fn folders(paths: &[PathBuf]) -> Vec<(PathBuf, RecursiveMode)> {
    let mut folders = BTreeSet::new();
    let mut watched = Vec::new();
    for path in paths.iter().filter(|path| path.as_os_str() != "-") {
        let mode = if path.is_dir() { RecursiveMode::Recursive } else { RecursiveMode::NonRecursive };
        // The folder around a directory too: the directory itself may be a symlink that is swapped.
        let around = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if path.is_dir() && folders.insert(path.clone()) {
            watched.push((path.clone(), mode));
        }
        if folders.insert(around.to_path_buf()) {
            watched.push((around.to_path_buf(), RecursiveMode::NonRecursive));
        }
    }
    watched
}
