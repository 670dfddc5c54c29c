//! Words of authorization: conditions, and the routes that a role names.

use std::{fmt, str::FromStr, sync::Arc};

use super::{Wrong, from_text, name::Name, scalar};
use crate::{problem::Code, shape::Shape};

/// A condition in CEL; names and types are checked where it is compiled.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Condition(Arc<str>);

impl Condition {
    /// 4 KiB: the longest condition anybody can still read, and nothing longer is ever parsed.
    const LENGTH_MAX: usize = 4 * 1024;

    /// The condition.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Condition {
    type Err = Wrong;

    fn from_str(text: &str) -> Result<Self, Wrong> {
        if text.trim().is_empty() {
            let wrong = Wrong::new(Code::BadCondition, "the condition is empty");
            return Err(wrong.hint("leave the field out where nothing is to be asked"));
        }
        if text.len() > Condition::LENGTH_MAX {
            let message = format!("the condition is longer than {} bytes", Condition::LENGTH_MAX);
            return Err(Wrong::new(Code::BadCondition, message).hint("split it into several rules"));
        }
        Ok(Condition(Arc::from(text)))
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

scalar!(
    Condition,
    from_text,
    Shape::Text { format: "CEL condition", pattern: None, example: Some("path.customer == identity.sub") }
);

/// A route by name, or `*` for all of them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RouteScope {
    /// Every route, also those that come later.
    Every,
    /// The route of this name.
    Named(Name),
}

impl FromStr for RouteScope {
    type Err = Wrong;

    fn from_str(text: &str) -> Result<Self, Wrong> {
        if text == "*" { Ok(RouteScope::Every) } else { text.parse().map(RouteScope::Named) }
    }
}

impl fmt::Display for RouteScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RouteScope::Every => f.write_str("*"),
            RouteScope::Named(name) => name.fmt(f),
        }
    }
}

scalar!(
    RouteScope,
    from_text,
    Shape::Text {
        format: "route name or `*`",
        pattern: Some("^(\\*|[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?)$"),
        example: Some("orders"),
    }
);
