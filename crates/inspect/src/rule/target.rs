//! What a rule looks at: variables, selectors of names, counts, and what is left out.

use std::sync::Arc;

use crate::{
    pattern::Pattern,
    rule::variable::{Shape, Variable},
};

/// Which names of a collection are meant.
#[derive(Clone, Debug)]
pub enum Selector {
    /// Every value.
    All,
    /// The values of one name.
    Name(Arc<str>),
    /// The values whose name matches.
    Matching(Arc<Pattern>),
}

impl Selector {
    /// Whether `name` is meant, by the rules of the variable's names.
    #[must_use]
    pub fn admits(&self, variable: Variable, name: &[u8]) -> bool {
        match self {
            Self::All => true,
            Self::Name(wanted) if variable.shape() == Shape::Exact => wanted.as_bytes() == name,
            Self::Name(wanted) => wanted.as_bytes().eq_ignore_ascii_case(name),
            Self::Matching(pattern) => pattern.is_match(name),
        }
    }
}

/// Whether the values or their number is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `&NAME`: one value, the count.
    Count,
    /// `NAME`: each value.
    Values,
}

/// One thing a rule looks at.
#[derive(Clone, Debug)]
pub struct Target {
    /// The variable.
    pub variable: Variable,
    /// Which of its names.
    pub selector: Selector,
    /// The values, or how many there are.
    pub form: Form,
}

/// Something a rule does not look at.
#[derive(Clone, Debug)]
pub struct Exclusion {
    /// The variable.
    pub variable: Variable,
    /// Which of its names.
    pub selector: Selector,
}

impl Exclusion {
    /// Whether it leaves out the value `name` of `variable`. An exclusion of `ARGS` also covers its two halves, as
    /// an operator who writes `!ARGS:password` means the parameter wherever it came from.
    #[must_use]
    pub fn covers(&self, variable: Variable, name: &[u8]) -> bool {
        let same = self.variable == variable
            || matches!(
                (self.variable, variable),
                (Variable::Args, Variable::ArgsGet | Variable::ArgsPost)
                    | (Variable::ArgsNames, Variable::ArgsGetNames | Variable::ArgsPostNames)
            );
        same && self.selector.admits(variable, name)
    }
}

/// Everything a rule looks at.
#[derive(Clone, Debug, Default)]
pub struct Targets {
    /// What it looks at, in the order written.
    pub include: Vec<Target>,
    /// What it leaves out of that.
    pub exclude: Vec<Exclusion>,
}
