//! Reading rule sets from disk, as the binary does for the engine.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use bartizan_inspect::{EngineMode, Files, Loader, RuleSet, matches_wildcard};

pub(crate) struct Folder;

impl Files for Folder {
    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        fs::read(path).map_err(|error| error.to_string())
    }

    fn list(&self, pattern: &str) -> Result<Vec<String>, String> {
        let folder = Path::new(pattern).parent().ok_or("no folder")?;
        let entries = fs::read_dir(folder).map_err(|error| error.to_string())?;
        let mut paths: Vec<String> = entries
            .filter_map(|entry| Some(entry.ok()?.path().to_str()?.to_owned()))
            .filter(|path| matches_wildcard(pattern, path))
            .collect();
        paths.sort();
        Ok(paths)
    }
}

/// The folder of the rule set, or a line that says why a test is skipped.
pub(crate) fn crs() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/crs");
    let folder = std::env::var_os("BARTIZAN_CRS").map_or(beside, PathBuf::from);
    if folder.join("rules").is_dir() {
        return Some(folder);
    }
    eprintln!("skipped: no Core Rule Set at {} (BARTIZAN_CRS)", folder.display());
    None
}

/// The set with its setup file, in a mode.
pub(crate) fn load(folder: &Path, mode: EngineMode) -> Arc<RuleSet> {
    Arc::new(load_owned(folder, mode))
}

/// As [`load`], not shared yet.
pub(crate) fn load_owned(folder: &Path, mode: EngineMode) -> RuleSet {
    let mut loader = Loader::new(&Folder);
    loader
        .file(folder.join("crs-setup.conf.example").to_str().unwrap())
        .unwrap_or_else(|error| panic!("{error}"));
    loader.file(folder.join("rules/*.conf").to_str().unwrap()).unwrap_or_else(|error| panic!("{error}"));
    let set = loader.finish().unwrap_or_else(|error| panic!("{error}"));
    set.with_settings(|settings| settings.mode = mode)
}
