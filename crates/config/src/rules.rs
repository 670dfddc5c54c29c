//! Rule files from disk, for the engine that opens none itself.
//!
//! What is read is counted and summed up in a digest, so that a set of documents is another set when the rules it
//! names are others. Only regular files are read: a pipe would hold a reload for ever.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeSet,
    fs,
    io::Read as _,
    path::{Path, PathBuf},
};

use aws_lc_rs::digest::{self, SHA256};
use bartizan_inspect::{Files, matches_wildcard};

/// 8 MiB: a hundred times the largest file of the Core Rule Set.
const RULE_FILE_BYTES_MAX: u64 = 8 << 20;
/// 64 MiB of rules for one set of documents.
const RULES_BYTES_MAX: u64 = 64 << 20;
/// The most files a pattern stands for.
const LISTED_MAX: usize = 10_000;

/// The rule files that a set of documents names.
pub(crate) struct RuleFiles {
    bytes: Cell<u64>,
    digest: RefCell<Option<digest::Context>>,
    read: RefCell<BTreeSet<PathBuf>>,
}

impl RuleFiles {
    /// Nothing read yet.
    pub(crate) fn new() -> Self {
        RuleFiles { bytes: Cell::new(0), digest: RefCell::new(None), read: RefCell::default() }
    }

    /// The digest of a set whose documents have `digest`, with everything that was read for it.
    pub(crate) fn digest_with(&self, digest: &str) -> String {
        match self.digest.borrow().clone() {
            None => digest.to_owned(),
            Some(mut context) => {
                context.update(digest.as_bytes());
                context.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
            }
        }
    }

    /// Every file that was read, and every one that was asked for and could not be.
    pub(crate) fn read_files(&self) -> Vec<PathBuf> {
        self.read.borrow().iter().cloned().collect()
    }

    fn sum(&self, path: &str, bytes: &[u8]) {
        let mut digest = self.digest.borrow_mut();
        let context = digest.get_or_insert_with(|| digest::Context::new(&SHA256));
        for part in [path.as_bytes(), bytes] {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
    }
}

impl Files for RuleFiles {
    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        let told = |error: std::io::Error| error.to_string();
        self.read.borrow_mut().insert(PathBuf::from(path));
        let file = fs::File::open(path).map_err(told)?;
        if !file.metadata().map_err(told)?.is_file() {
            return Err("it is not a file".to_owned());
        }
        let mut bytes = Vec::new();
        file.take(RULE_FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(told)?;
        let total = self.bytes.get() + bytes.len() as u64;
        if bytes.len() as u64 > RULE_FILE_BYTES_MAX {
            return Err(format!("it is larger than {} MiB", RULE_FILE_BYTES_MAX >> 20));
        }
        if total > RULES_BYTES_MAX {
            return Err(format!("all rules together are larger than {} MiB", RULES_BYTES_MAX >> 20));
        }
        self.bytes.set(total);
        self.sum(path, &bytes);
        Ok(bytes)
    }

    fn list(&self, pattern: &str) -> Result<Vec<String>, String> {
        let folder = Path::new(pattern).parent().ok_or("it has no folder")?;
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        let entries = fs::read_dir(folder).map_err(|error| error.to_string())?;
        let mut paths = Vec::new();
        for entry in entries {
            let path = entry.map_err(|error| error.to_string())?.path();
            // Joined as the pattern is written, so that both compare.
            let Some(path) = path.to_str().map(|path| path.strip_prefix("./").unwrap_or(path)) else {
                continue;
            };
            if matches_wildcard(pattern.strip_prefix("./").unwrap_or(pattern), path) {
                paths.push(path.to_owned());
            }
            if paths.len() > LISTED_MAX {
                return Err(format!("it stands for more than {LISTED_MAX} files"));
            }
        }
        paths.sort();
        if paths.is_empty() { Err("no file matches".to_owned()) } else { Ok(paths) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_lists_files_in_order_and_none_is_an_error() {
        let files = RuleFiles::new();
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src");
        let found = files.list(&format!("{folder}/s*.rs")).unwrap();
        assert!(found.is_sorted() && found.iter().any(|path| path.ends_with("/set.rs")), "{found:?}");
        assert!(files.list(&format!("{folder}/*.conf")).is_err());
        assert!(files.list(&format!("{folder}/absent/*.conf")).is_err());
    }

    #[test]
    fn the_digest_follows_what_was_read() {
        let files = RuleFiles::new();
        assert_eq!(files.digest_with("abc"), "abc");
        files.read(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")).unwrap();
        let with_rules = files.digest_with("abc");
        assert_eq!(with_rules.len(), 64);
        assert_eq!(files.read_files(), [Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))]);
        assert_ne!(with_rules, files.digest_with("abd"));
        assert!(files.read(env!("CARGO_MANIFEST_DIR")).is_err(), "a folder is no file");
    }
}
