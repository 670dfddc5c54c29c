//! Where a problem of the compiler is: place and path, made exact by the tree of the document.
//!
//! Plans are compiled from typed values, most of which know their place but not their path (`spec.rules`, not
//! `spec.rules[2]`), and some of which know neither. The tree knows both, so it is asked once a problem exists;
//! carrying paths through every compiler would cost each set what only wrong ones need.

use std::collections::HashMap;

use bartizan_model::{
    node::{Node, Value},
    problem::{FileId, Problem, Problems, Span},
    read::Path,
};

/// Adds the problems to others, each with its exact path and place.
pub(super) fn refine(found: Problems, nodes: &[Node], into: &mut Problems) {
    if found.is_empty() {
        return;
    }
    let mut files: HashMap<FileId, Vec<&Node>> = HashMap::new();
    for node in nodes {
        files.entry(node.at.file).or_default().push(node);
    }
    into.extend(found.map(|problem| {
        let documents = files.get(&problem.at.file).map_or(&[][..], Vec::as_slice);
        match documents.iter().find(|node| contains(node.at, problem.at)) {
            Some(document) => refined(problem, document),
            None => problem,
        }
    }));
}

fn refined(problem: Problem, document: &Node) -> Problem {
    let mut found = Vec::new();
    paths_to(document, problem.at, &mut Path::root(), &mut found);
    // Several values can share a place (a list and its only item); the innermost one is meant.
    match found.iter().rev().find_map(|path| joined(path, &problem.path)) {
        Some(path) => Problem { path, ..problem },
        // The place is that of the document's name; the field may have one of its own.
        None => match place_of(document, &problem.path) {
            Some(at) => Problem { at, ..problem },
            None => problem,
        },
    }
}

fn contains(outer: Span, inner: Span) -> bool {
    outer.file == inner.file && outer.start <= inner.start && inner.end <= outer.end && inner.is_place()
}

/// The paths of all values at exactly this place, the outermost first; not the document's own.
fn paths_to(node: &Node, at: Span, path: &mut Path, found: &mut Vec<String>) {
    let mut visit = |path: &mut Path, child: &Node| {
        if child.at == at {
            found.push(path.as_str().to_owned());
        }
        if contains(child.at, at) {
            paths_to(child, at, path, found);
        }
    };
    match &node.value {
        Value::List(items) => {
            for (index, item) in items.iter().enumerate() {
                path.index(index, |path| visit(path, item));
            }
        }
        Value::Map(entries) => {
            for (key, value) in entries {
                path.field(&key.name, |path| visit(path, value));
            }
        }
        _ => {}
    }
}

/// The exact path, if it says the same as the one `given` without indices; what `given` says beyond it is kept.
fn joined(exact: &str, given: &str) -> Option<String> {
    let plain = without_indices(exact);
    let beyond = |long: &str, short: &str| {
        let rest = long.strip_prefix(short)?;
        (rest.is_empty() || rest.starts_with('.')).then(|| rest.to_owned())
    };
    if beyond(&plain, given).is_some() {
        return Some(exact.to_owned());
    }
    beyond(given, &plain).map(|rest| format!("{exact}{rest}"))
}

fn without_indices(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for part in path.split('[') {
        let after = part.split_once(']').filter(|(index, _)| index.bytes().all(|byte| byte.is_ascii_digit()));
        match after {
            Some((_, rest)) => out.push_str(rest),
            None => out.push_str(part),
        }
    }
    out
}

/// The place of a field that is below `spec` and not in a list.
fn place_of(document: &Node, path: &str) -> Option<Span> {
    let below = path.strip_prefix("spec.")?;
    let mut node = document.get("spec")?;
    for field in below.split('.') {
        node = node.get(field)?;
    }
    Some(node.at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exact_path_replaces_the_one_without_indices() {
        let cases = [
            ("spec.rules[2]", "spec.rules", Some("spec.rules[2]")),
            ("spec.rules[2].filters[0]", "spec.rules.filters", Some("spec.rules[2].filters[0]")),
            ("spec.limits[0].burst", "spec.limits", Some("spec.limits[0].burst")),
            ("spec.limits[0]", "spec.limits.burst", Some("spec.limits[0].burst")),
            ("metadata.name", "metadata.name", Some("metadata.name")),
            ("metadata.name", "spec.rules", None),
            ("spec.rule", "spec.rules", None),
            ("spec.rules[1]", "spec.rule", None),
        ];
        for (exact, given, expected) in cases {
            assert_eq!(joined(exact, given).as_deref(), expected, "{exact} {given}");
        }
    }
}
