//! `Read` for the types of the language and of std.

use std::collections::BTreeMap;

use super::{Path, Read, fields::duplicates, text, wrong_type};
use crate::{
    node::{Node, Value},
    problem::{Code, Problems, clipped, shown},
    shape::Shape,
};

impl Read for bool {
    fn read(node: &Node, at: &mut Path, problems: &mut Problems) -> Option<Self> {
        match &node.value {
            Value::Bool(value) => Some(*value),
            Value::Text { text, quoted } => {
                let meant = match text.to_ascii_lowercase().as_str() {
                    "true" | "yes" | "on" | "y" => Some(true),
                    "false" | "no" | "off" | "n" => Some(false),
                    _ => None,
                };
                let message = format!("{} is text, not `true` or `false`", shown(text));
                let problem = at.problem(Code::WrongType, node.at, message);
                problems.push(match meant {
                    Some(value) if *quoted => problem.hint(format!("write `{value}` without quotes")),
                    Some(value) => problem.hint(format!("write `{value}`")),
                    None => problem,
                });
                None
            }
            _ => {
                problems.push(wrong_type(node, &Self::shape(), at));
                None
            }
        }
    }

    fn shape() -> Shape {
        Shape::Bool
    }
}

impl Read for String {
    fn read(node: &Node, at: &mut Path, problems: &mut Problems) -> Option<Self> {
        text::<Self>(node, at, problems).map(str::to_owned)
    }

    fn shape() -> Shape {
        Shape::TEXT
    }
}

/// Reads a whole number from `min` to `max`, written as a number or as text of digits.
pub fn integer(node: &Node, min: u64, max: u64, at: &Path, problems: &mut Problems) -> Option<u64> {
    let shape = Shape::Integer { min, max };
    let (Value::Integer(text) | Value::Float(text) | Value::Text { text, .. }) = &node.value else {
        problems.push(wrong_type(node, &shape, at));
        return None;
    };
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let problem = || {
        let message = format!("{} is not {}", shown(text), shape.expected());
        at.problem(Code::BadNumber, node.at, message)
    };
    if !digits {
        problems.push(if text.starts_with("0x") || text.starts_with("0o") || text.contains('_') {
            problem().hint("write it in plain decimal digits")
        } else {
            problem()
        });
        return None;
    }
    // YAML 1.1 reads a leading zero as octal, YAML 1.2 as decimal; JSON forbids it. So it has no one meaning.
    if text.len() > 1 && text.starts_with('0') {
        let bare = text.trim_start_matches('0');
        problems.push(problem().hint(format!("write `{}` without leading zeros", clipped(bare))));
        return None;
    }
    match text.parse::<u64>() {
        Ok(value) if (min..=max).contains(&value) => Some(value),
        _ => {
            problems.push(problem());
            None
        }
    }
}

macro_rules! integers {
    ($($type:ty),+) => {$(
        impl Read for $type {
            fn read(node: &Node, at: &mut Path, problems: &mut Problems) -> Option<Self> {
                // `integer` admits nothing above the type's maximum, so the conversion cannot fail.
                integer(node, 0, u64::from(<$type>::MAX), at, problems).and_then(|value| value.try_into().ok())
            }

            fn shape() -> Shape {
                Shape::Integer { min: 0, max: u64::from(<$type>::MAX) }
            }
        }
    )+};
}

integers!(u8, u16, u32, u64);

impl<T: Read> Read for Option<T> {
    fn read(node: &Node, at: &mut Path, problems: &mut Problems) -> Option<Self> {
        match node.value {
            Value::Null => Some(None),
            _ => T::read(node, at, problems).map(Some),
        }
    }

    fn shape() -> Shape {
        T::shape()
    }

    fn absent() -> Option<Self> {
        Some(None)
    }

    fn is_absent(&self) -> bool {
        self.is_none()
    }
}

impl<T: Read> Read for Box<T> {
    fn read(node: &Node, at: &mut Path, problems: &mut Problems) -> Option<Self> {
        T::read(node, at, problems).map(Box::new)
    }

    fn shape() -> Shape {
        T::shape()
    }

    fn absent() -> Option<Self> {
        T::absent().map(Box::new)
    }

    fn is_absent(&self) -> bool {
        T::is_absent(self)
    }
}

/// Reads all items of a list, each with its problems; `None` when one of them cannot be read.
pub(super) fn items<T: Read>(nodes: &[Node], at: &mut Path, problems: &mut Problems) -> Option<Vec<T>> {
    let mut values = Vec::new();
    let mut complete = true;
    for (index, node) in nodes.iter().enumerate() {
        match at.index(index, |at| T::read(node, at, problems)) {
            Some(value) => values.push(value),
            None => complete = false,
        }
    }
    complete.then_some(values)
}

impl<T: Read> Read for Vec<T> {
    fn read(node: &Node, at: &mut Path, problems: &mut Problems) -> Option<Self> {
        match &node.value {
            Value::List(nodes) => items(nodes, at, problems),
            _ => {
                problems.push(wrong_type(node, &Self::shape(), at));
                None
            }
        }
    }

    fn shape() -> Shape {
        Shape::List { item: Box::new(T::shape()), min: 0 }
    }
}

impl<T: Read> Read for BTreeMap<String, T> {
    fn read(node: &Node, at: &mut Path, problems: &mut Problems) -> Option<Self> {
        let Value::Map(entries) = &node.value else {
            problems.push(wrong_type(node, &Self::shape(), at));
            return None;
        };
        duplicates(entries, at, problems);
        let mut values = BTreeMap::new();
        let mut complete = true;
        for (key, node) in entries {
            match at.field(&key.name, |at| T::read(node, at, problems)) {
                Some(value) => {
                    // The first of two equal keys stays, as everywhere; the second is reported above.
                    values.entry(String::from(&*key.name)).or_insert(value);
                }
                None => complete = false,
            }
        }
        complete.then_some(values)
    }

    fn shape() -> Shape {
        Shape::Map { value: Box::new(T::shape()) }
    }
}
