//! Watches the files of a set and says when they may have changed.
//!
//! Directories are watched, not files: editors replace files, and Kubernetes swaps a symlink beside them.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::mpsc::SyncSender,
};

use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};

use super::wish::Wish;

/// A watch on the files of a set, and on those that its documents name.
pub(crate) struct FileWatch {
    watcher: RecommendedWatcher,
    /// Folders of the set itself.
    own: BTreeSet<PathBuf>,
    /// Folders of files that documents name, beside those.
    named: BTreeSet<PathBuf>,
}

impl FileWatch {
    /// Watches everything that `paths` name, and wishes for a reload when something happens there.
    pub(crate) fn start(paths: &[PathBuf], wishes: SyncSender<Wish>) -> notify::Result<Self> {
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            // An error may hide a change, so it counts as one; the digest decides whether there is something to do.
            let concerns = event.map_or(true, |event| !matches!(event.kind, EventKind::Access(_)));
            if concerns {
                // A full channel holds a wish like this one already.
                let _ = wishes.try_send(Wish::FilesChanged);
            }
        })?;
        let mut own = BTreeSet::new();
        for (folder, mode) in folders(paths) {
            watcher.watch(&folder, mode)?;
            own.insert(folder);
        }
        Ok(FileWatch { watcher, own, named: BTreeSet::new() })
    }

    /// Also watches the folders of these files, and no longer those of earlier ones. A folder that cannot be watched is
    /// told once; SIGHUP reads its files all the same.
    pub(crate) fn follow<'f>(&mut self, files: impl Iterator<Item = &'f Path>) {
        let around = |file: &Path| file.parent().map(Path::to_path_buf);
        let wanted: BTreeSet<PathBuf> =
            files.filter_map(around).filter(|folder| !self.own.contains(folder)).collect();
        for folder in self.named.difference(&wanted) {
            // It may be gone already, and then nothing is left to forget.
            let _ = self.watcher.unwatch(folder);
        }
        let mut watched: BTreeSet<PathBuf> = self.named.intersection(&wanted).cloned().collect();
        for folder in wanted.difference(&self.named) {
            match self.watcher.watch(folder, RecursiveMode::NonRecursive) {
                Ok(()) => drop(watched.insert(folder.clone())),
                Err(error) => {
                    tracing::warn!(folder = %folder.display(), %error, "a folder of files that documents name cannot be watched; reload with SIGHUP");
                }
            }
        }
        self.named = watched;
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
