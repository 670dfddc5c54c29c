//! Documents by kind and name, and references from one to another.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use bartizan_model::{
    Reference,
    document::{Document, Kind},
    node::Node,
    problem::{Code, Problem, Problems, Severity, Span},
    read::{Spanned, nearest},
    scalar::Name,
};

use super::Parsed;
use crate::{rules::RuleFiles, set::Folders};

/// The documents of a set, found by kind and name.
pub(super) struct Index<'d> {
    by_kind: BTreeMap<Kind, BTreeMap<&'d str, &'d Document>>,
    /// Kind and name of documents that could not be read: they exist, so references to them are no mistake.
    unread: BTreeSet<(&'d str, &'d str)>,
    folders: &'d Folders<'d>,
    rules: &'d RuleFiles,
}

impl<'d> Index<'d> {
    /// Indexes the set; a name that is used twice is reported with both places.
    pub(super) fn build(set: &'d Parsed<'d>, problems: &mut Problems) -> Self {
        let mut by_kind: BTreeMap<Kind, BTreeMap<&str, &Document>> = BTreeMap::new();
        for document in set.documents {
            let names = by_kind.entry(document.kind()).or_default();
            if let Some(first) = names.get(document.name.as_str()) {
                let message = format!(
                    "there are two documents {}/{}",
                    document.kind().as_str(),
                    document.name.as_str()
                );
                problems.push(
                    Problem::new(Code::DuplicateName, document.name.at, "metadata.name", message)
                        .also(first.name.at, "the first one is here")
                        .hint("give one of them another name, or delete it"),
                );
            } else {
                names.insert(document.name.as_str(), document);
            }
        }
        Index { by_kind, unread: unread(set), folders: &set.folders, rules: set.rules }
    }

    /// A document's reference to a secret; relative paths count from the document's folder.
    pub(super) fn locate(&self, document: &Document, reference: &Reference) -> Reference {
        self.folders.locate(document.at.file, reference)
    }

    /// A path that a document names, as the process finds it.
    pub(super) fn path(&self, document: &Document, path: &str) -> String {
        self.folders.path(document.at.file, path)
    }

    /// The reader of rule files.
    pub(super) fn rule_files(&self) -> &'d RuleFiles {
        self.rules
    }

    /// The documents of a kind in order of name.
    pub(super) fn of(&self, kind: Kind) -> impl Iterator<Item = &'d Document> + use<'_, 'd> {
        self.by_kind.get(&kind).into_iter().flat_map(|names| names.values().copied())
    }

    /// Looks a reference up; an unknown name is reported with the nearest known one.
    pub(super) fn find(
        &self,
        kind: Kind,
        name: &Spanned<Name>,
        path: &str,
        problems: &mut Problems,
    ) -> Option<&'d Document> {
        let names = self.by_kind.get(&kind);
        if let Some(document) = names.and_then(|names| names.get(name.as_str())) {
            return Some(document);
        }
        if self.unread.contains(&(kind.as_str(), name.as_str())) {
            return None;
        }
        let message = format!("there is no {} named `{}`", kind.as_str(), name.as_str());
        let problem = Problem::new(Code::UnknownReference, name.at, path, message);
        // Comparing with all names costs; who has this many problems has one cause for most of them.
        let suggest = problems.count(Severity::Problem) < SUGGESTIONS_MAX;
        let unread = self.unread.iter().filter(|(of, _)| *of == kind.as_str()).map(|(_, name)| *name);
        let known = names.into_iter().flat_map(|names| names.keys().copied()).chain(unread);
        let known = known.filter(|_| suggest);
        problems.push(match nearest(name.as_str(), known) {
            Some(near) => problem.hint(format!("did you mean `{near}`?")),
            None => problem.hint(format!(
                "write a document of kind {} with this name, or correct the name",
                kind.as_str()
            )),
        });
        None
    }
}

/// A hundred unknown names are compared with the known ones; the rest get a general hint.
const SUGGESTIONS_MAX: u64 = 100;

/// Kind and name of the documents that are in the text and could not be read.
fn unread<'d>(set: &'d Parsed<'d>) -> BTreeSet<(&'d str, &'d str)> {
    if set.nodes.len() == set.documents.len() {
        return BTreeSet::new();
    }
    let read: HashSet<Span> = set.documents.iter().map(|document| document.at).collect();
    let unread = set.nodes.iter().filter(|node| !read.contains(&node.at));
    unread
        .filter_map(|node| {
            let name = node.get("metadata").and_then(|metadata| metadata.get("name"));
            let name = name.and_then(Node::text).or_else(|| set.folders.stem(node.at.file))?;
            Some((node.get("kind")?.text()?, name))
        })
        .collect()
}

/// Takes the `spec` of a kind out of a document that is known to be of that kind.
macro_rules! spec_of {
    ($document:expr, $kind:ident) => {
        match &$document.spec {
            Spec::$kind(spec) => Some(&**spec),
            _ => None,
        }
    };
}
pub(super) use spec_of;
