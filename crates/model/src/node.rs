//! A document as a tree: what was written, and where.
//!
//! The parser (`config/src/parse.rs`) builds it, [`Read`](crate::read::Read) turns it into typed documents.
//! Numbers stay text until a field says which number it wants, so nothing is rounded or reinterpreted on the way.
//! The parser's depth limit bounds every recursion over a tree, its `Drop` included.

use crate::problem::Span;

/// A value and its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Where it is written.
    pub at: Span,
    /// What is written.
    pub value: Value,
}

/// What can be written.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Nothing, `~` or `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// An integer, as it was written.
    Integer(Box<str>),
    /// A number with a point or an exponent, as it was written.
    Float(Box<str>),
    /// Text.
    Text {
        /// The text, escapes resolved.
        text: Box<str>,
        /// Whether it stood in quotes or in a block, so that nobody could take it for something else.
        quoted: bool,
    },
    /// Items in order.
    List(Vec<Node>),
    /// Fields in order; the parser keeps the first of two equal keys and reports the second.
    Map(Vec<(Key, Node)>),
}

/// The name of a field, and its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Key {
    /// The name.
    pub name: Box<str>,
    /// Where it is written.
    pub at: Span,
}

impl Node {
    /// The value of the field `name`, if this is a mapping that has it.
    pub fn get(&self, name: &str) -> Option<&Node> {
        match &self.value {
            Value::Map(entries) => entries.iter().find(|(key, _)| &*key.name == name).map(|(_, node)| node),
            _ => None,
        }
    }

    /// The text, if this is text.
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text { text, .. } => Some(text),
            _ => None,
        }
    }
}

impl Value {
    /// What it is, as a message calls it.
    pub fn found(&self) -> &'static str {
        match self {
            Value::Null => "nothing",
            Value::Bool(_) => "a boolean",
            Value::Integer(_) => "a number",
            Value::Float(_) => "a number with a fraction",
            Value::Text { .. } => "text",
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
        }
    }
}
