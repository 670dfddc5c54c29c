//! The values that documents are made of, each with one rule, one message and one hint.
//!
//! A scalar is parsed where it is read and never checked again: who holds a [`HeaderName`] holds a valid one. All
//! of them read from text, print as the text that reads back to the same value, and say in [`Wrong`] what to write
//! instead. Values that may hold a secret (a header's value, a reference) are never quoted in a message.

use std::fmt;

use crate::{
    node::{Node, Value},
    problem::{Code, Problems},
    read::{self, Path, Read},
    shape::Shape,
};

mod access;
mod http;
mod model;
mod moment;
mod name;
mod net;
mod quantity;
mod rule;
mod url;
mod word;

pub use access::{Condition, RouteScope};
pub use http::{HeaderName, HeaderValue, Method, PathText};
pub use model::{Dollars, ModelName, Price};
pub use moment::Moment;
pub use name::{Name, Pattern};
pub use net::{Cidr, EndpointUrl, HostText, ListenAddress};
pub use quantity::{ByteSize, Count, Percent, Time};
pub use rule::{Paranoia, RuleRange};
pub use url::FetchUrl;

/// Why a text is not a value, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// What kind of problem.
    pub code: Code,
    /// What is wrong.
    pub message: String,
    /// The next step.
    pub hint: Option<String>,
}

impl Wrong {
    fn new(code: Code, message: impl Into<String>) -> Self {
        Wrong { code, message: message.into(), hint: None }
    }

    fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.hint {
            Some(hint) => write!(f, " ({hint})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Wrong {}

/// Reads a scalar from text alone; a number is told how to become text.
fn from_text<T: Read + std::str::FromStr<Err = Wrong>>(
    node: &Node,
    at: &Path,
    problems: &mut Problems,
) -> Option<T> {
    let text = read::text::<T>(node, at, problems)?;
    parsed(text, node, at, problems)
}

/// Reads a scalar from text or from a number as it is written.
fn from_text_or_number<T>(node: &Node, at: &Path, problems: &mut Problems) -> Option<T>
where
    T: Read + std::str::FromStr<Err = Wrong>,
{
    match &node.value {
        Value::Integer(text) | Value::Float(text) => parsed(text, node, at, problems),
        _ => from_text(node, at, problems),
    }
}

fn parsed<T>(text: &str, node: &Node, at: &Path, problems: &mut Problems) -> Option<T>
where
    T: std::str::FromStr<Err = Wrong>,
{
    match text.parse() {
        Ok(value) => Some(value),
        Err(Wrong { code, message, hint }) => {
            let mut problem = at.problem(code, node.at, message);
            problem.hint = hint;
            problems.push(problem);
            None
        }
    }
}

/// `Read` by `FromStr`, `Serialize` by `Display`.
macro_rules! scalar {
    ($type:ty, $read:path, $shape:expr) => {
        impl $type {
            /// Parses a text; the error says what to write instead.
            pub fn parse(text: &str) -> Result<Self, $crate::scalar::Wrong> {
                text.parse()
            }
        }

        impl $crate::read::Read for $type {
            fn read(
                node: &$crate::node::Node,
                at: &mut $crate::read::Path,
                problems: &mut $crate::problem::Problems,
            ) -> Option<Self> {
                $read(node, at, problems)
            }

            fn shape() -> $crate::shape::Shape {
                $shape
            }
        }

        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
    };
}
use scalar;

/// A text's shape with a pattern and an example.
const fn text_shape(format: &'static str, pattern: &'static str, example: &'static str) -> Shape {
    Shape::Text { format, pattern: Some(pattern), example: Some(example) }
}

#[cfg(test)]
mod tests;
