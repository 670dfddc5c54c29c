//! Values with their place, and values of which there may be several.

use std::ops::Deref;

use serde::{Serialize, Serializer};

use super::{Path, Read, values::items};
use crate::{
    node::{Node, Value},
    problem::{Code, Problems, Span},
    shape::Shape,
};

/// A value that remembers its place, for problems that are found after reading. Equal when the values are: where
/// something is written does not change what it says.
#[derive(Clone, Copy, Debug)]
pub struct Spanned<T> {
    /// The value.
    pub value: T,
    /// Where it is written; [`Span::SET`] for a default.
    pub at: Span,
}

impl<T> Spanned<T> {
    /// A value at a place.
    pub const fn new(value: T, at: Span) -> Self {
        Spanned { value, at }
    }

    /// A value that is not written anywhere, such as a default.
    pub const fn nowhere(value: T) -> Self {
        Spanned { value, at: Span::SET }
    }
}

impl<T> From<T> for Spanned<T> {
    /// See [`Spanned::nowhere`].
    fn from(value: T) -> Self {
        Spanned::nowhere(value)
    }
}

impl<T: Default> Default for Spanned<T> {
    fn default() -> Self {
        T::default().into()
    }
}

impl<T> Deref for Spanned<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: PartialEq> PartialEq for Spanned<T> {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl<T: Eq> Eq for Spanned<T> {}

impl<T: Serialize> Serialize for Spanned<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.value.serialize(serializer)
    }
}

impl<T: Read> Read for Spanned<T> {
    fn read(node: &Node, at: &mut Path, problems: &mut Problems) -> Option<Self> {
        T::read(node, at, problems).map(|value| Spanned { value, at: node.at })
    }

    fn shape() -> Shape {
        T::shape()
    }

    fn absent() -> Option<Self> {
        T::absent().map(Spanned::from)
    }

    fn is_absent(&self) -> bool {
        self.value.is_absent()
    }
}

/// One value or a list of them. An empty list is refused: where a list may be empty, `Vec` says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OneOrMany<T>(pub Vec<T>);

impl<T> Default for OneOrMany<T> {
    /// None at all: what a field that is not written may mean.
    fn default() -> Self {
        OneOrMany(Vec::new())
    }
}

impl<T> Deref for OneOrMany<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T: Serialize> Serialize for OneOrMany<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.as_slice() {
            [only] => only.serialize(serializer),
            all => all.serialize(serializer),
        }
    }
}

impl<T: Read> Read for OneOrMany<T> {
    fn read(node: &Node, at: &mut Path, problems: &mut Problems) -> Option<Self> {
        match &node.value {
            Value::List(nodes) if nodes.is_empty() => {
                problems.push(
                    at.problem(Code::EmptyList, node.at, "the list is empty")
                        .hint(format!("write at least one item: {}", T::shape().expected())),
                );
                None
            }
            Value::List(nodes) => items(nodes, at, problems).map(OneOrMany),
            _ => T::read(node, at, problems).map(|value| OneOrMany(vec![value])),
        }
    }

    fn shape() -> Shape {
        Shape::OneOf(vec![T::shape(), Shape::List { item: Box::new(T::shape()), min: 1 }])
    }
}
