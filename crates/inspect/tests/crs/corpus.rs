//! The rule set loads whole and as it is.

use bartizan_inspect::EngineMode;

use crate::folder;

#[test]
fn the_core_rule_set_loads_unmodified_and_every_pattern_can_be_built() {
    let Some(folder) = folder::crs() else { return };
    let set = folder::load(&folder, EngineMode::Enforce);
    set.warm().unwrap_or_else(|error| panic!("{error}"));
    let links: usize = set.rules().map(|rule| rule.links.len()).sum();
    assert_eq!((set.rules().count(), links), (630, 703), "rules and links of v4.28.0 with its setup");
}

/// `BARTIZAN_CRS_33` names the folder in which the 3.3 set lies: `crs-setup.conf` and `rules/`.
#[test]
fn the_older_set_loads_too() {
    let Some(root) = std::env::var_os("BARTIZAN_CRS_33").map(std::path::PathBuf::from) else {
        eprintln!("skipped: no Core Rule Set 3.3 (BARTIZAN_CRS_33)");
        return;
    };
    let mut loader = bartizan_inspect::Loader::new(&folder::Folder);
    loader.tolerate_lookups();
    for path in ["crs-setup.conf", "rules/*.conf"] {
        loader.file(root.join(path).to_str().unwrap()).unwrap_or_else(|error| panic!("{error}"));
    }
    let set = loader.finish().unwrap_or_else(|error| panic!("{error}"));
    set.warm().unwrap_or_else(|error| panic!("{error}"));
    println!("{} rules; {:?}", set.rules().count(), set.notices());
}

/// `BARTIZAN_CRS_TAGS` names a folder with a folder for each published version: `crs-setup.conf.example` and `rules/`.
#[test]
fn every_published_version_loads_unmodified() {
    let Some(root) = std::env::var_os("BARTIZAN_CRS_TAGS").map(std::path::PathBuf::from) else {
        eprintln!("skipped: no published versions of the Core Rule Set (BARTIZAN_CRS_TAGS)");
        return;
    };
    let mut folders: Vec<_> = std::fs::read_dir(&root).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    let mut failed = Vec::new();
    for folder in &folders {
        let mut loader = bartizan_inspect::Loader::new(&folder::Folder);
        loader.tolerate_lookups();
        let loaded = ["crs-setup.conf.example", "rules/*.conf"]
            .iter()
            .try_for_each(|path| loader.file(folder.join(path).to_str().unwrap()).map(|_| ()))
            .and_then(|()| loader.finish());
        let name = folder.file_name().unwrap().to_string_lossy().into_owned();
        match loaded.map(|set| (set.rules().count(), set.warm())) {
            Ok((rules, Ok(()))) => println!("{name}: {rules} rules"),
            Ok((_, Err(error))) => failed.push(format!("{name}: {error}")),
            Err(error) => failed.push(format!("{name}: {error}")),
        }
    }
    println!("{} of {} versions load", folders.len() - failed.len(), folders.len());
    assert!(failed.is_empty(), "{failed:#?}");
}
