//! What the structs of the language share: opening a mapping, taking its fields, describing and writing them.

use std::collections::BTreeMap;

use serde::{Serialize, ser::SerializeMap};

use super::{Path, Read, nearest, wrong_type};
use crate::{
    node::{Key, Node, Value},
    problem::{Code, Problem, Problems, Span, shown},
    shape::{self, one_of},
};

/// The fields of a mapping while a struct is read from it.
pub struct Fields<'n> {
    node: &'n Node,
    entries: &'n [(Key, Node)],
}

impl<'n> Fields<'n> {
    /// Opens a mapping whose fields are `known`; reports another type, unknown fields and duplicate ones.
    pub fn open<T: Read>(
        node: &'n Node,
        known: &[&str],
        at: &mut Path,
        problems: &mut Problems,
    ) -> Option<Self> {
        let Value::Map(entries) = &node.value else {
            problems.push(wrong_type(node, &T::shape(), at));
            return None;
        };
        check_fields(entries, known, at, problems);
        Some(Fields { node, entries })
    }

    /// Reads the field `name`; where it is not written or null, the default, else what the type holds when absent,
    /// else a problem.
    pub fn take<T: Read>(
        &self,
        name: &str,
        default: Option<fn() -> T>,
        at: &mut Path,
        problems: &mut Problems,
    ) -> Option<T> {
        let entry = self.entries.iter().find(|(key, _)| &*key.name == name);
        if let Some((_, node)) = entry.filter(|(_, node)| node.value != Value::Null) {
            return at.field(name, |at| T::read(node, at, problems));
        }
        if let Some(value) = default.map(|default| default()).or_else(T::absent) {
            return Some(value);
        }
        let (place, message) = match entry {
            Some((key, _)) => (key.at, format!("the field `{name}` has no value")),
            None => (self.node.at, format!("the field `{name}` is missing")),
        };
        let problem = Problem::new(Code::MissingField, place, at.child(name), message);
        problems.push(problem.hint(format!("`{name}` is {}", T::shape().expected())));
        None
    }

    /// The only field of a [`union!`](crate::union), its key and value; anything but exactly one is reported.
    pub fn only(&self, known: &[&str], at: &Path, problems: &mut Problems) -> Option<&'n (Key, Node)> {
        let mut written = self
            .entries
            .iter()
            .filter(|(key, node)| known.contains(&&*key.name) && node.value != Value::Null);
        let (first, second) = (written.next(), written.next());
        let names = one_of(known.iter().copied());
        match (first, second) {
            (Some(first), None) => return Some(first),
            (Some((one, _)), Some((two, _))) => problems.push(
                at.problem(
                    Code::NotExactlyOne,
                    two.at,
                    format!("`{}` and `{}` exclude each other", one.name, two.name),
                )
                .also(one.at, format!("`{}` is written here", one.name))
                .hint("keep one of them"),
            ),
            (None, _) => problems.push(
                at.problem(
                    Code::NotExactlyOne,
                    self.node.at,
                    "exactly one field must be written here".to_owned(),
                )
                .hint(format!("write {names}")),
            ),
        }
        None
    }
}

/// Reports the fields that are not among `known` and those that are written twice.
pub fn check_fields(entries: &[(Key, Node)], known: &[&str], at: &Path, problems: &mut Problems) {
    duplicates(entries, at, problems);
    for (key, _) in entries.iter().filter(|(key, _)| !known.contains(&&*key.name)) {
        let problem = unknown(key, at);
        problems.push(match nearest(&key.name, known.iter().copied()) {
            Some(name) => problem.hint(format!("did you mean `{name}`?")),
            None if known.is_empty() => problem,
            None => problem.hint(format!("the fields here are {}", listed(known))),
        });
    }
}

/// The shape of a field of [`document!`](crate::document!).
#[doc(hidden)]
pub fn field_shape<T: Read + Serialize>(
    name: &'static str,
    doc: &'static str,
    default: Option<fn() -> T>,
) -> shape::Field {
    let absent = T::absent().is_some();
    match default {
        // A default that cannot be written as JSON would be a map with keys that are not text; there is none.
        Some(default) => shape::Field::optional(name, doc, serde_json::to_value(default()).ok(), T::shape()),
        None if absent => shape::Field::optional(name, doc, None, T::shape()),
        None => shape::Field::required(name, doc, T::shape()),
    }
}

/// Writes a field of [`document!`](crate::document!) unless leaving it out says the same.
#[doc(hidden)]
pub fn write_field<T: Read + Serialize + PartialEq, M: SerializeMap>(
    map: &mut M,
    name: &'static str,
    value: &T,
    default: Option<fn() -> T>,
) -> Result<(), M::Error> {
    let unsaid = match default {
        Some(default) => *value == default(),
        None => value.is_absent(),
    };
    if unsaid { Ok(()) } else { map.serialize_entry(name, value) }
}

/// The problem that there is no field of this name.
#[doc(hidden)]
pub fn unknown(key: &Key, at: &Path) -> Problem {
    let message = format!("there is no field {} here", shown(&key.name));
    Problem::new(Code::UnknownField, key.at, at.child(&key.name), message)
}

/// Reports every key that is written again. The parser already does and drops the second; a tree that does not come
/// from the parser is held to the same rule.
pub(super) fn duplicates(entries: &[(Key, Node)], at: &Path, problems: &mut Problems) {
    let mut first: BTreeMap<&str, Span> = BTreeMap::new();
    for (key, _) in entries {
        match first.get(&*key.name) {
            Some(place) => problems.push(duplicate(key, *place, at)),
            None => {
                first.insert(&key.name, key.at);
            }
        }
    }
}

/// The problem that `key` was already written at `first`; one wording for the parser and the readers.
pub fn duplicate(key: &Key, first: Span, at: &Path) -> Problem {
    let message = format!("the field {} is written twice", shown(&key.name));
    Problem::new(Code::DuplicateKey, key.at, at.child(&key.name), message)
        .also(first, "first written here")
        .hint("keep one of the two")
}

fn listed(known: &[&str]) -> String {
    const LISTED: usize = 16;
    let mut names: Vec<String> = known.iter().take(LISTED).map(|name| format!("`{name}`")).collect();
    if known.len() > LISTED {
        names.push("…".to_owned());
    }
    names.join(", ")
}
