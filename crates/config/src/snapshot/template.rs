//! Templates of paths, and what stands in a path for their variables.

use std::{borrow::Cow, sync::Arc};

use bartizan_access::Variables;

use super::table::{decoded, segments};

/// A segment of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Segment {
    /// This text, decoded.
    Literal(Arc<str>),
    /// Any text but none, under this name.
    Variable(Arc<str>),
}

impl Segment {
    /// The text; `None` for a variable.
    pub fn literal(&self) -> Option<&str> {
        match self {
            Segment::Literal(text) => Some(text),
            Segment::Variable(_) => None,
        }
    }
}

/// What stands in a path for the variables of a template. Nothing is cut out before it is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Captures<'a> {
    /// The template that matched, if the rule has one.
    pub template: Option<&'a [Segment]>,
    /// The canonical path, still encoded.
    pub path: &'a str,
}

impl Variables for Captures<'_> {
    fn get(&self, name: &str) -> Option<Cow<'_, str>> {
        let at = self
            .template?
            .iter()
            .position(|one| matches!(one, Segment::Variable(known) if **known == *name))?;
        segments(self.path).nth(at).map(decoded)
    }
}
