//! Where a document or field stands, in lines that people can open.
//!
//! Typed documents know where they begin and not where each field is; the trees do, and are asked once a field differs.

use std::collections::HashMap;

use bartizan_model::{
    document::Document,
    node::{Node, Value},
    problem::Span,
};

use super::{Finding, Place, Side};
use crate::source::Sources;

/// The places of two sets.
pub(super) struct Places<'s> {
    before: Option<&'s Sources>,
    after: &'s Sources,
    nodes_before: Nodes<'s>,
    nodes_after: Nodes<'s>,
    known_before: Known<'s>,
    known_after: Known<'s>,
}

/// Documents as trees, by where they begin.
type Nodes<'s> = HashMap<Span, &'s Node>;

/// Where documents begin, by kind and name.
type Known<'s> = HashMap<(&'static str, &'s str), Span>;

impl<'s> Places<'s> {
    pub(super) fn new(before: Option<Side<'s>>, after: Side<'s>) -> Self {
        let nodes = |nodes: &'s [Node]| nodes.iter().map(|node| (node.at, node)).collect();
        Places {
            before: before.map(|side| side.sources),
            after: after.sources,
            nodes_before: nodes(before.map_or(&[][..], |side| side.nodes)),
            nodes_after: nodes(after.nodes),
            known_before: known(before.map_or(&[][..], |side| side.documents)),
            known_after: known(after.documents),
        }
    }

    pub(super) fn before(&self, at: Span) -> Option<Place> {
        place(self.before?, at)
    }

    pub(super) fn after(&self, at: Span) -> Option<Place> {
        place(self.after, at)
    }

    /// A field of a document of the first set, by its path.
    pub(super) fn field_before(&self, document: Span, path: &str) -> Option<Place> {
        place(self.before?, find(self.nodes_before.get(&document)?, path)?.at)
    }

    /// A field of a document of the second set, by its path.
    pub(super) fn field_after(&self, document: Span, path: &str) -> Option<Place> {
        place(self.after, find(self.nodes_after.get(&document)?, path)?.at)
    }

    /// Where a finding's field is written now, else its document, else where the document was.
    pub(super) fn of_finding(&self, finding: &Finding) -> Option<Place> {
        let key = finding.document.split_once('/')?;
        let Some(document) = self.known_after.get(&key).copied() else {
            return self.before(self.known_before.get(&key).copied()?);
        };
        let field = finding.path.as_deref().and_then(|path| self.field_after(document, path));
        field.or_else(|| self.after(document))
    }
}

fn known(documents: &[Document]) -> Known<'_> {
    documents.iter().map(|one| ((one.kind().as_str(), one.name.as_str()), one.at)).collect()
}

fn place(sources: &Sources, at: Span) -> Option<Place> {
    let file = sources.get(at.file)?.name().to_owned();
    Some(Place { file, line: at.line, column: at.column })
}

/// Follows a path such as `spec.rules[2].name` or `metadata.labels["a b"]`.
fn find<'n>(node: &'n Node, path: &str) -> Option<&'n Node> {
    let (mut node, mut rest) = (node, path);
    while !rest.is_empty() {
        if let Some(quoted) = rest.strip_prefix("[\"") {
            let (key, after) = quoted.split_once("\"]")?;
            (node, rest) = (node.get(key)?, after);
        } else if let Some(bracket) = rest.strip_prefix('[') {
            let (index, after) = bracket.split_once(']')?;
            let index: usize = index.parse().ok()?;
            node = match &node.value {
                Value::List(items) => items.get(index)?,
                // One value stands for a list of one.
                _ if index == 0 => node,
                _ => return None,
            };
            rest = after;
        } else {
            let key = rest.strip_prefix('.').unwrap_or(rest);
            let end = key.find(['.', '[']).unwrap_or(key.len());
            let (key, after) = key.split_at_checked(end)?;
            (node, rest) = (node.get(key)?, after);
        }
    }
    Some(node)
}
