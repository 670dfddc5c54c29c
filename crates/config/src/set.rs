//! A set of documents from its files to its snapshot, in one call.

use std::path::{Path, PathBuf};

use bartizan_model::{
    Reference,
    document::Document,
    node::Node,
    problem::{FileId, Problems},
};

use crate::{
    compile::{Compiled, Parsed, compile},
    parse,
    rules::RuleFiles,
    source::{self, LoadError, Sources},
};

/// A set that was read and compiled.
#[derive(Debug)]
pub struct Set {
    /// The texts, for showing problems in their places.
    pub sources: Sources,
    /// The documents that could be read.
    pub documents: Vec<Document>,
    /// All documents as trees: where each field stands.
    pub nodes: Vec<Node>,
    /// The snapshot, or why there is none.
    pub compiled: Compiled,
    /// Identifies the texts and the rule files they name: two sets with the same digest are the same set.
    pub digest: String,
}

impl Set {
    /// Reads files and directories and compiles what they say.
    ///
    /// # Errors
    ///
    /// Only when a path cannot be read; what is wrong inside a file is among the problems.
    pub fn open(paths: &[PathBuf]) -> Result<Self, LoadError> {
        source::load(paths).map(Self::from_sources)
    }

    /// Compiles texts that are in memory.
    pub fn from_sources(sources: Sources) -> Self {
        let mut problems = Problems::new();
        let nodes = parse::parse(&sources, &mut problems);
        let documents: Vec<Document> = nodes
            .iter()
            .filter_map(|node| {
                let stem = sources.get(node.at.file).and_then(|source| source.stem());
                Document::read(node, stem, &mut problems)
            })
            .collect();
        let digest = sources.digest_hex();
        let folders = Folders(&sources);
        let rules = RuleFiles::new();
        let set = Parsed { documents: &documents, nodes: &nodes, folders, digest: &digest, rules: &rules };
        let compiled = compile(&set, problems);
        let digest = rules.digest_with(&digest);
        Set { sources, documents, nodes, compiled, digest }
    }
}

/// Where files lie, so that relative references count from the document that makes them.
pub(crate) struct Folders<'s>(&'s Sources);

impl Folders<'_> {
    /// A path that a document in `file` names, as the process finds it: relative ones count from the document.
    pub(crate) fn path(&self, file: FileId, path: &str) -> String {
        if Path::new(path).is_absolute() {
            return path.to_owned();
        }
        let folder = self.0.get(file).and_then(|source| source.folder()).unwrap_or(Path::new(""));
        folder.join(path).to_string_lossy().into_owned()
    }

    /// The name that a document without one gets from its file.
    pub(crate) fn stem(&self, file: FileId) -> Option<&str> {
        self.0.get(file).and_then(|source| source.stem())
    }

    /// The reference with a relative path made absolute or relative to the process, as its document lies.
    pub(crate) fn locate(&self, file: FileId, reference: &Reference) -> Reference {
        match reference {
            Reference::File(path) if path.is_relative() => {
                let folder = self.0.get(file).and_then(|source| source.folder()).unwrap_or(Path::new(""));
                Reference::File(folder.join(path))
            }
            other => other.clone(),
        }
    }
}
