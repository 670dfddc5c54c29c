//! References that lead back to themselves without going into the value: `{"$ref": "#"}`, or two schemas that are each
//! `allOf` the other. Judging with them would never end. Local references are followed by their pointer or anchor;
//! whoever goes through `properties`, `items` and their kin goes deeper into a finite value and ends.

use std::collections::HashMap;

use serde_json::Value;

use super::SchemaError;

/// Keywords whose schemas judge the same value as the schema they stand in.
const SAME_PLACE: [&str; 8] = ["allOf", "anyOf", "oneOf", "not", "if", "then", "else", "dependentSchemas"];
/// As keywords of older drafts: members are schemas for the same value.
const SAME_PLACE_MEMBERS: [&str; 2] = ["dependentSchemas", "dependencies"];

/// Refuses a schema with such a circle.
pub(super) fn check(document: &Value) -> Result<(), SchemaError> {
    let mut names = Names::default();
    names.collect(document, &mut String::new());
    let mut walk = Walk { document, names, state: HashMap::new() };
    let pointers: Vec<String> = walk.names.pointers.clone();
    for pointer in pointers {
        walk.visit(&pointer)?;
    }
    Ok(())
}

/// Where schemas with references stand, and what anchors and ids mean.
#[derive(Default)]
struct Names {
    pointers: Vec<String>,
    anchors: HashMap<String, String>,
    /// Ids of schemas inside the document, with what their own fragments are relative to.
    ids: HashMap<String, String>,
}

impl Names {
    fn collect(&mut self, value: &Value, pointer: &mut String) {
        let length = pointer.len();
        match value {
            Value::Object(members) => {
                if ["$ref", "$dynamicRef", "$recursiveRef"]
                    .iter()
                    .any(|name| members.get(*name).is_some_and(Value::is_string))
                {
                    self.pointers.push(pointer.clone());
                }
                for name in ["$anchor", "$dynamicAnchor"] {
                    if let Some(anchor) = members.get(name).and_then(Value::as_str) {
                        self.anchors.insert(anchor.to_owned(), pointer.clone());
                    }
                }
                for name in ["$id", "id"] {
                    if let Some(id) = members.get(name).and_then(Value::as_str) {
                        match id.strip_prefix('#') {
                            Some(anchor) => self.anchors.insert(anchor.to_owned(), pointer.clone()),
                            None => self.ids.insert(id.trim_end_matches('#').to_owned(), pointer.clone()),
                        };
                    }
                }
                for (name, inner) in members {
                    pointer.push('/');
                    pointer.push_str(&name.replace('~', "~0").replace('/', "~1"));
                    self.collect(inner, pointer);
                    pointer.truncate(length);
                }
            }
            Value::Array(items) => {
                for (at, inner) in items.iter().enumerate() {
                    pointer.push('/');
                    pointer.push_str(&at.to_string());
                    self.collect(inner, pointer);
                    pointer.truncate(length);
                }
            }
            _ => {}
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Done,
}

struct Walk<'d> {
    document: &'d Value,
    names: Names,
    state: HashMap<String, State>,
}

impl Walk<'_> {
    /// Depth first over "judges the same value as"; bounded by the number of schemas, and in depth by a limit.
    fn visit(&mut self, start: &str) -> Result<(), SchemaError> {
        // (schema, the schemas it leads to, the next of them)
        let mut stack: Vec<(String, Vec<String>, usize)> = Vec::new();
        self.open(start.to_owned(), &mut stack);
        while let Some((pointer, next, at)) = stack.last_mut() {
            let Some(target) = next.get(*at).cloned() else {
                self.state.insert(pointer.clone(), State::Done);
                stack.pop();
                continue;
            };
            *at += 1;
            match self.state.get(&target) {
                Some(State::Done) => {}
                Some(State::Open) => {
                    return Err(SchemaError {
                        pointer: target,
                        problem: "it refers to itself without going deeper into the value".to_owned(),
                    });
                }
                None => self.open(target, &mut stack),
            }
        }
        Ok(())
    }

    fn open(&mut self, pointer: String, stack: &mut Vec<(String, Vec<String>, usize)>) {
        if self.state.contains_key(&pointer) {
            return;
        }
        self.state.insert(pointer.clone(), State::Open);
        let next = self.next(&pointer);
        stack.push((pointer, next, 0));
    }

    fn next(&self, pointer: &str) -> Vec<String> {
        let Some(Value::Object(members)) = self.document.pointer(pointer) else { return Vec::new() };
        let mut next = Vec::new();
        for name in ["$ref", "$dynamicRef", "$recursiveRef"] {
            if let Some(reference) = members.get(name).and_then(Value::as_str) {
                next.extend(self.resolve(reference));
            }
        }
        for name in SAME_PLACE {
            match members.get(name) {
                Some(Value::Array(items)) => {
                    next.extend((0..items.len()).map(|at| format!("{pointer}/{name}/{at}")))
                }
                Some(Value::Object(_)) if !SAME_PLACE_MEMBERS.contains(&name) => {
                    next.push(format!("{pointer}/{name}"))
                }
                _ => {}
            }
        }
        for name in SAME_PLACE_MEMBERS {
            if let Some(Value::Object(inner)) = members.get(name) {
                next.extend(
                    inner
                        .keys()
                        .map(|key| format!("{pointer}/{name}/{}", key.replace('~', "~0").replace('/', "~1"))),
                );
            }
        }
        next
    }

    /// Where a reference leads, if into this document; others are refused when the schema is compiled.
    fn resolve(&self, reference: &str) -> Option<String> {
        let (base, fragment) = reference.split_once('#').unwrap_or((reference, ""));
        let root = if base.is_empty() {
            String::new()
        } else {
            let end = |id: &str| id.rsplit('/').next().unwrap_or(id).to_owned();
            let same = |id: &String| *id == base || end(id) == end(base);
            self.names.ids.iter().find(|(id, _)| same(id)).map(|(_, pointer)| pointer.clone())?
        };
        if fragment.is_empty() {
            return Some(root);
        }
        if fragment.starts_with('/') {
            let mut out = Vec::new();
            let decoded = crate::transform::Transform::UrlDecode
                .apply(fragment.replace('+', "%2B").as_bytes(), &mut out)
                .then(|| String::from_utf8_lossy(&out).into_owned());
            return Some(format!("{root}{}", decoded.as_deref().unwrap_or(fragment)));
        }
        self.names.anchors.get(fragment).cloned()
    }
}
