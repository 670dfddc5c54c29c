//! Documents of the same name, field by field, with their defaults filled in.
//!
//! The shape of a kind says what a field holds that is not written, so that writing a default out is no change, and
//! taking away a value shows what holds instead. Items of lists that are named are matched by name, others by being
//! equal; what then remains is paired in order.

use std::collections::HashMap;

use bartizan_model::{
    document::{Document, Kind},
    read::Path,
    shape::{Field, Shape},
};
use serde_json::{Map, Value};

use super::{Finding, rules};

/// A field that differs.
pub(super) struct Difference {
    pub(super) path_before: Option<String>,
    pub(super) path_after: Option<String>,
    pub(super) before: Option<Value>,
    pub(super) after: Option<Value>,
}

/// The shapes of kinds, made once.
#[derive(Default)]
pub(super) struct Shapes(HashMap<Kind, Shape>);

/// What differs between two documents of one kind and name; what it means goes to `findings`.
pub(super) fn differences(
    before: &Document,
    after: &Document,
    shapes: &mut Shapes,
    findings: &mut Vec<Finding>,
) -> Vec<Difference> {
    let kind = after.kind();
    let shape = shapes.0.entry(kind).or_insert_with(|| kind.spec_shape());
    let mut walk = Walk {
        kind,
        document: format!("{}/{}", kind.as_str(), after.name.as_str()),
        before: Path::root(),
        after: Path::root(),
        plain: String::new(),
        differences: Vec::new(),
        findings,
    };
    let (spec_before, spec_after) = (value(&before.spec), value(&after.spec));
    walk.field("spec", |walk| walk.compare(&spec_before, &spec_after, shape));
    for (name, one, other) in [
        ("labels", &before.metadata.labels, &after.metadata.labels),
        ("annotations", &before.metadata.annotations, &after.metadata.annotations),
    ] {
        let free = Shape::Map { value: Box::new(Shape::TEXT) };
        walk.field("metadata", |walk| {
            walk.field(name, |walk| walk.compare(&value(one), &value(other), &free));
        });
    }
    walk.differences
}

/// A document's part as JSON. Documents have no map whose keys are not text, so this cannot fail.
fn value(part: &impl serde::Serialize) -> Value {
    serde_json::to_value(part).unwrap_or_default()
}

struct Walk<'f> {
    kind: Kind,
    document: String,
    before: Path,
    after: Path,
    /// The path without indices and keys of items: what rules are written for.
    plain: String,
    differences: Vec<Difference>,
    findings: &'f mut Vec<Finding>,
}

impl Walk<'_> {
    fn field(&mut self, name: &str, inside: impl FnOnce(&mut Self)) {
        let (before, after, plain) = (self.before.clone(), self.after.clone(), self.plain.len());
        self.before.push(name);
        self.after.push(name);
        if !self.plain.is_empty() {
            self.plain.push('.');
        }
        self.plain.push_str(name);
        inside(self);
        (self.before, self.after) = (before, after);
        self.plain.truncate(plain);
    }

    fn item(&mut self, before: usize, after: usize, inside: impl FnOnce(&mut Self)) {
        let paths = (self.before.clone(), self.after.clone());
        self.before.push_index(before);
        self.after.push_index(after);
        inside(self);
        (self.before, self.after) = paths;
    }

    fn compare(&mut self, before: &Value, after: &Value, shape: &Shape) {
        if before == after {
            return;
        }
        let path = self.after.as_str();
        rules::judge(self.kind, &self.document, &self.plain, path, before, after, self.findings);
        self.look(before, after, shape);
    }

    /// As `compare`, without asking what the difference as a whole means: the list that an item is of was asked.
    fn look(&mut self, before: &Value, after: &Value, shape: &Shape) {
        match (shape, before, after) {
            (Shape::Object(object) | Shape::Union(object), Value::Object(one), Value::Object(other)) => {
                for field in &object.fields {
                    let (one, other) = (filled(one, field), filled(other, field));
                    self.field(field.name, |walk| walk.compare(&one, &other, &field.shape));
                }
            }
            (Shape::Map { value }, Value::Object(one), Value::Object(other)) => {
                let mut keys: Vec<&String> = one.keys().chain(other.keys()).collect();
                keys.sort();
                keys.dedup();
                for key in keys {
                    let of = |map: &Map<String, Value>| map.get(key).cloned().unwrap_or_default();
                    let (one, other) = (of(one), of(other));
                    self.field(key, |walk| walk.compare(&one, &other, value));
                }
            }
            (Shape::List { item, .. }, Value::Array(one), Value::Array(other)) => self.list(one, other, item),
            (Shape::OneOf(shapes), _, _) => self.one_of(before, after, shapes),
            _ => self.leaf(before, after),
        }
    }

    /// One value or a list of them is compared as a list; else both must fit the same shape to be looked into.
    fn one_of(&mut self, before: &Value, after: &Value, shapes: &[Shape]) {
        let list = shapes.iter().find_map(|shape| match shape {
            Shape::List { item, .. } => Some(&**item),
            _ => None,
        });
        let object = shapes.iter().find(|shape| matches!(shape, Shape::Object(_)));
        match (list, object) {
            (Some(item), _) => self.list(&listed(before), &listed(after), item),
            (None, Some(object)) if before.is_object() && after.is_object() => {
                self.look(before, after, object)
            }
            _ => self.leaf(before, after),
        }
    }

    fn list(&mut self, before: &[Value], after: &[Value], item: &Shape) {
        let pairs = matched(before, after);
        if pairs.iter().all(|(one, other)| match (one, other) {
            (Some(one), Some(other)) => before.get(*one) == after.get(*other),
            _ => false,
        }) {
            // The same items in another order.
            return self.leaf(&Value::Array(before.to_vec()), &Value::Array(after.to_vec()));
        }
        for (one, other) in pairs {
            let at = (one.unwrap_or_default(), other.unwrap_or_default());
            let of = |list: &[Value], index: Option<usize>| index.and_then(|index| list.get(index).cloned());
            let (old, new) = (of(before, one), of(after, other));
            self.item(at.0, at.1, |walk| match (old, new) {
                (Some(old), Some(new)) if old == new => {}
                (Some(old), Some(new)) => walk.look(&old, &new, item),
                (old, new) => walk.leaf(&old.unwrap_or_default(), &new.unwrap_or_default()),
            });
        }
    }

    fn leaf(&mut self, before: &Value, after: &Value) {
        let some = |value: &Value| (!value.is_null()).then(|| value.clone());
        let (before, after) = (some(before), some(after));
        self.differences.push(Difference {
            path_before: before.as_ref().map(|_| self.before.as_str().to_owned()),
            path_after: after.as_ref().map(|_| self.after.as_str().to_owned()),
            before,
            after,
        });
    }
}

/// What a field holds: what is written, else its default.
fn filled(map: &Map<String, Value>, field: &Field) -> Value {
    let written = map.get(field.name).cloned();
    let value = written.or_else(|| field.default.clone()).unwrap_or_default();
    // `OneOrMany` writes one item alone, and none as an empty list.
    let is_list_or_one = matches!(&field.shape, Shape::OneOf(shapes) if shapes.iter().any(|one| matches!(one, Shape::List { .. })));
    if is_list_or_one { Value::Array(listed(&value)) } else { value }
}

fn listed(value: &Value) -> Vec<Value> {
    match value {
        Value::Null => Vec::new(),
        Value::Array(items) => items.clone(),
        one => vec![one.clone()],
    }
}

/// Which item of one list corresponds to which of the other, in the order of the second, then what is gone.
fn matched(before: &[Value], after: &[Value]) -> Vec<(Option<usize>, Option<usize>)> {
    let mut free: Vec<bool> = vec![true; before.len()];
    let mut found: Vec<Option<usize>> = vec![None; after.len()];
    let mut pair = |found: &mut Vec<Option<usize>>, fits: &dyn Fn(&Value, &Value) -> bool| {
        for (index, item) in after.iter().enumerate() {
            if found.get(index).is_some_and(Option::is_some) {
                continue;
            }
            let partner = before
                .iter()
                .enumerate()
                .find(|(one, old)| free.get(*one).copied().unwrap_or(false) && fits(old, item))
                .map(|(one, _)| one);
            if let Some(partner) = partner {
                if let Some(place) = free.get_mut(partner) {
                    *place = false;
                }
                if let Some(place) = found.get_mut(index) {
                    *place = Some(partner);
                }
            }
        }
    };
    pair(&mut found, &|old, new| old == new);
    pair(&mut found, &|old, new| named(old).is_some() && named(old) == named(new));
    // Of what remains, only mappings without a name are worth looking into: the one for the other.
    pair(&mut found, &|old, new| {
        old.is_object() && new.is_object() && named(old).is_none() && named(new).is_none()
    });
    let gone = free.iter().enumerate().filter(|(_, free)| **free).map(|(index, _)| (Some(index), None));
    found.iter().enumerate().map(|(index, partner)| (*partner, Some(index))).chain(gone).collect()
}

/// What names an item among its siblings.
fn named(item: &Value) -> Option<&str> {
    ["name", "url", "type"].into_iter().find_map(|key| item.get(key)).and_then(Value::as_str)
}
