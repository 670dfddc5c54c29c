//! From nodes to typed documents, collecting problems without stopping at the first.
//!
//! [`Read`] is what `serde::Deserialize` cannot be: it knows the place of every value, reports everything that is
//! wrong in one run, and describes itself ([`Shape`]). Structs and enums get it from [`document!`](crate::document!),
//! [`choice!`](crate::choice) and [`union!`](crate::union); what those share lives in [`Fields`].

use std::fmt::Write as _;

use crate::{
    node::{Node, Value},
    problem::{Code, Problem, Problems, Span, clipped},
    shape::Shape,
};

mod fields;
mod spelling;
mod values;
mod word;
mod wrapped;

pub use fields::{Fields, check_fields, duplicate};
#[doc(hidden)]
pub use fields::{field_shape, unknown, write_field};
#[doc(hidden)]
pub use spelling::{camel, camel_length};
pub use values::integer;
pub use word::{nearest, word};
pub use wrapped::{OneOrMany, Spanned};

/// A type that can be read from a document.
pub trait Read: Sized {
    /// Reads a value. `None` means that at least one problem was pushed; `Some` does not mean that none was (an
    /// unknown field is reported and the rest is read), so whether a set is accepted is asked of `problems` alone.
    fn read(node: &Node, at: &mut Path, problems: &mut Problems) -> Option<Self>;

    /// What a valid value looks like.
    fn shape() -> Shape;

    /// What a field of this type holds when it is not written; `None` when it must be written.
    fn absent() -> Option<Self> {
        None
    }

    /// Whether this value would not be written.
    fn is_absent(&self) -> bool {
        false
    }
}

/// Types whose fields may always be left out.
pub trait Optional {
    /// The value of a field that is not written.
    fn unwritten() -> Self;
}

impl<T> Optional for Option<T> {
    fn unwritten() -> Self {
        None
    }
}

// === Path ===

/// The path from a document's root to a value, as `spec.limits[0].timeWindow`.
#[derive(Clone, Debug, Default)]
pub struct Path(String);

impl Path {
    /// The root of a document.
    pub fn root() -> Self {
        Path::default()
    }

    /// Runs `inside` with the path of the field `name`.
    pub fn field<R>(&mut self, name: &str, inside: impl FnOnce(&mut Path) -> R) -> R {
        let length = self.0.len();
        self.push(name);
        let result = inside(self);
        self.0.truncate(length);
        result
    }

    /// The path of the field `name`, as text.
    pub fn child(&self, name: &str) -> String {
        let mut child = self.clone();
        child.push(name);
        child.0
    }

    /// Lengthens the path by a field, for those who do not descend by closures.
    pub fn push(&mut self, name: &str) {
        let plain = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c));
        if !plain {
            // Writing to a String cannot fail.
            let _ = write!(self.0, "[\"{}\"]", clipped(name));
        } else {
            if !self.0.is_empty() {
                self.0.push('.');
            }
            self.0.push_str(&clipped(name));
        }
    }

    /// Runs `inside` with the path of item `index`.
    pub fn index<R>(&mut self, index: usize, inside: impl FnOnce(&mut Path) -> R) -> R {
        let length = self.0.len();
        self.push_index(index);
        let result = inside(self);
        self.0.truncate(length);
        result
    }

    /// Lengthens the path by an item, for those who do not descend by closures.
    pub fn push_index(&mut self, index: usize) {
        // Writing to a String cannot fail.
        let _ = write!(self.0, "[{index}]");
    }

    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A problem at this path.
    pub fn problem(&self, code: Code, at: Span, message: impl Into<String>) -> Problem {
        Problem::new(code, at, self.0.as_str(), message)
    }
}

// === What readers share ===

/// The problem that a value of another type was found, with a hint where the cause is plain.
pub fn wrong_type(node: &Node, shape: &Shape, at: &Path) -> Problem {
    let problem = at.problem(
        Code::WrongType,
        node.at,
        format!("expected {}, found {}", shape.expected(), node.value.found()),
    );
    match (&node.value, shape) {
        (Value::Integer(text) | Value::Float(text), Shape::Text { .. } | Shape::Choice { .. }) => {
            problem.hint(format!("put it in quotes if text is meant: `\"{}\"`", clipped(text)))
        }
        (Value::Bool(value), Shape::Text { .. } | Shape::Choice { .. }) => {
            problem.hint(format!("put it in quotes if text is meant: `\"{value}\"`"))
        }
        (Value::Text { .. } | Value::Map(_) | Value::Integer(_), Shape::List { .. }) => {
            problem.hint("put it in brackets, or write `- ` before it")
        }
        _ => problem,
    }
}

/// The text of a node, or a problem that something else was found.
pub fn text<'n, T: Read>(node: &'n Node, at: &Path, problems: &mut Problems) -> Option<&'n str> {
    match &node.value {
        Value::Text { text, .. } => Some(text),
        _ => {
            problems.push(wrong_type(node, &T::shape(), at));
            None
        }
    }
}

#[cfg(test)]
mod tests;
