//! Document sets in a directory, as an operator would have them.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::tmp::TempDir;

/// A directory of documents that vanishes with the test.
#[derive(Debug)]
pub struct Documents {
    directory: TempDir,
}

impl Documents {
    /// A set with these files, given as `(name, text)`.
    pub fn new<N: AsRef<Path>, T: AsRef<str>>(files: impl IntoIterator<Item = (N, T)>) -> Documents {
        let documents = Documents { directory: TempDir::new() };
        for (name, text) in files {
            documents.write(name, text);
        }
        documents
    }

    /// A set with the one file `gateway.yaml`.
    pub fn one(text: impl AsRef<str>) -> Documents {
        Documents::new([("gateway.yaml", text)])
    }

    /// The directory, for `--config`.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Writes or replaces one file at once (a rename), as careful tools do: a reader never sees half of it.
    pub fn write(&self, name: impl AsRef<Path>, text: impl AsRef<str>) -> PathBuf {
        let path = self.directory.join(&name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).expect("the folder of a document can be made");
        }
        // The name ends in neither `.yaml` nor `.json`, so that a watcher does not take it for a document.
        let partial = path.with_extension("partial");
        fs::write(&partial, text.as_ref()).expect("a document can be written");
        fs::rename(&partial, &path).expect("a document can be put in place");
        path
    }

    /// Removes one file.
    pub fn remove(&self, name: impl AsRef<Path>) {
        fs::remove_file(self.directory.join(name)).expect("a document can be removed");
    }
}
