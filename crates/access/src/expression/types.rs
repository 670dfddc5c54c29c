//! The types of values, and how messages name them.

use std::fmt;

/// The type of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Type {
    Bool,
    Int,
    Text,
    Time,
    Span,
    Address,
    /// `None`: the empty list, which is a list of anything.
    List(Option<Box<Type>>),
}

impl Type {
    pub(super) fn texts() -> Type {
        Type::List(Some(Box::new(Type::Text)))
    }

    /// Whether values of both can be compared for equality.
    pub(super) fn meets(&self, other: &Type) -> bool {
        match (self, other) {
            (Type::List(None), Type::List(_)) | (Type::List(_), Type::List(None)) => true,
            (Type::List(Some(one)), Type::List(Some(other))) => one.meets(other),
            _ => self == other,
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Type::Bool => f.write_str("a bool"),
            Type::Int => f.write_str("an int"),
            Type::Text => f.write_str("a string"),
            Type::Time => f.write_str("a timestamp"),
            Type::Span => f.write_str("a duration"),
            Type::Address => f.write_str("an address"),
            Type::List(None) => f.write_str("an empty list"),
            Type::List(Some(of)) => match **of {
                Type::Text => f.write_str("a list of strings"),
                Type::Int => f.write_str("a list of ints"),
                _ => f.write_str("a list"),
            },
        }
    }
}
