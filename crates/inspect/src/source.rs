//! Where rule text comes from. The engine opens no files itself: whoever loads a set hands it a reader, so that a set
//! can come from a folder, a store, or a test.

use std::collections::BTreeMap;

/// Reads the files of a rule set.
pub trait Files {
    /// The content of `path`, which is as written in the rules when absolute, else joined to the folder of the file
    /// that names it.
    ///
    /// # Errors
    /// Why it could not be read.
    fn read(&self, path: &str) -> Result<Vec<u8>, String>;

    /// The paths a pattern with `*` stands for, sorted.
    ///
    /// # Errors
    /// Why the folder could not be listed.
    fn list(&self, pattern: &str) -> Result<Vec<String>, String>;
}

/// Files held in memory.
#[derive(Clone, Debug, Default)]
pub struct MemoryFiles {
    files: BTreeMap<String, Vec<u8>>,
}

impl MemoryFiles {
    /// No files.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a file.
    #[must_use]
    pub fn with(mut self, path: &str, content: impl Into<Vec<u8>>) -> Self {
        self.files.insert(path.to_owned(), content.into());
        self
    }
}

impl Files for MemoryFiles {
    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        self.files.get(path).cloned().ok_or_else(|| "no such file".to_owned())
    }

    fn list(&self, pattern: &str) -> Result<Vec<String>, String> {
        Ok(self.files.keys().filter(|path| matches_wildcard(pattern, path)).cloned().collect())
    }
}

/// Whether `path` is one that `pattern` stands for: `*` is any run of characters but `/`.
#[must_use]
pub fn matches_wildcard(pattern: &str, path: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == path,
        Some((start, rest)) => path.strip_prefix(start).is_some_and(|behind| {
            let limit = behind.find('/').unwrap_or(behind.len());
            (0..=limit).filter_map(|at| behind.get(at..)).any(|candidate| matches_wildcard(rest, candidate))
        }),
    }
}

/// Joins a path to the folder of the file that names it.
pub(crate) fn beside(file: &str, path: &str) -> String {
    match file.rsplit_once('/') {
        Some((folder, _)) if !path.starts_with('/') => format!("{folder}/{path}"),
        _ => path.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_stays_in_its_folder() {
        assert!(matches_wildcard("rules/*.conf", "rules/a.conf"));
        assert!(!matches_wildcard("rules/*.conf", "rules/a.data"));
        assert!(!matches_wildcard("*.conf", "rules/a.conf"));
        assert!(matches_wildcard("r*/R*-9.conf", "rules/REQUEST-9.conf"));
    }
}
