//! A condition after its names and types are settled: what is left to do for a request.

use std::sync::Arc;

use bartizan_message::AddressSet;
use regex::Regex;

use super::{parse::Operator, time::Part};

/// A step of evaluation. The checker made sure that every operand has the type that the step expects.
#[derive(Debug)]
pub(super) enum Code {
    Constant(Constant),
    List(Vec<Code>),
    Fact(Fact),
    /// A variable of an enclosing `all`, `exists` or `exists_one`, counted from the outermost.
    Local(usize),
    /// The entry of a table; undecided where there is none.
    Lookup(Table, Box<Code>),
    /// Whether a table has an entry.
    Known(Table, Box<Code>),
    /// Whether a fact is there.
    Has(Fact),
    /// An item of a list.
    Item(Box<[Code; 2]>),
    Not(Box<Code>),
    Negate(Box<Code>),
    And(Vec<Code>),
    Or(Vec<Code>),
    Choose(Box<[Code; 3]>),
    /// Whether both are equal, or are not.
    Equal(Box<[Code; 2]>, bool),
    Order(Operator, Box<[Code; 2]>),
    In(Box<[Code; 2]>),
    Math(Operator, Box<[Code; 2]>),
    Call(Function, Vec<Code>),
    /// A list and what is asked of its items.
    Each(Each, Box<[Code; 2]>),
}

#[derive(Debug)]
pub(super) enum Constant {
    Bool(bool),
    Int(i64),
    Text(Arc<str>),
    /// Nanoseconds since 1970.
    Time(i64),
    /// Nanoseconds.
    Span(i64),
}

/// Something that is known of every request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fact {
    Consumer,
    Sub,
    Roles,
    Tags,
    IdentityMethod,
    Method,
    Path,
    Host,
    Address,
    Now,
}

/// Something that is looked up by a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Table {
    Claims,
    Headers,
    Query,
    Variables,
}

impl Table {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Table::Claims => "identity.claims",
            Table::Headers => "request.headers",
            Table::Query => "request.query",
            Table::Variables => "path",
        }
    }
}

/// The quantifiers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Each {
    All,
    Exists,
    ExistsOne,
}

#[derive(Debug)]
pub(super) enum Function {
    Contains,
    EndsWith,
    InCidr(AddressSet),
    LowerAscii,
    Matches(Regex),
    Only,
    Size,
    StartsWith,
    /// A part of a time, in a zone that is this many seconds east.
    TimePart(Part, i64),
    ToInt,
    ToText,
    UpperAscii,
}
