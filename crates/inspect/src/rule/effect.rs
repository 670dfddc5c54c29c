//! What a matching link changes: variables, and how the rest of the rules run.

use std::sync::Arc;

use crate::{
    body::Processor,
    rule::{target::Exclusion, template::Template, variable::Variable},
    ruleset::EngineMode,
};

/// A change that happens each time a link's test holds.
#[derive(Clone, Debug)]
pub enum Effect {
    /// `ctl`.
    Control(Control),
    /// `expirevar`: the variable is forgotten after so many seconds.
    Expire {
        /// The collection.
        collection: Variable,
        /// The variable's name.
        name: Template,
        /// The seconds.
        seconds: Template,
    },
    /// `initcol`: opens a collection that outlives an exchange.
    Open {
        /// The collection.
        collection: Variable,
        /// Whose record it is.
        key: Template,
    },
    /// `setvar`.
    Set(SetVar),
}

/// A change of a variable.
#[derive(Clone, Debug)]
pub struct SetVar {
    /// The collection.
    pub collection: Variable,
    /// The name in it.
    pub name: Template,
    /// What happens to it.
    pub change: Change,
}

/// What happens to a variable.
#[derive(Clone, Debug)]
pub enum Change {
    /// Adds a whole number.
    Add(Template),
    /// Takes a new value.
    Assign(Template),
    /// Is removed.
    Remove,
    /// Loses a whole number.
    Subtract(Template),
}

/// A change to how this exchange is judged.
#[derive(Clone, Debug)]
pub enum Control {
    /// Whether the exchange goes to the audit log.
    Audit(bool),
    /// Whether the raw body is kept as `REQUEST_BODY` whatever its type.
    ForceRequestBody(bool),
    /// How matches are treated from now on.
    Mode(EngineMode),
    /// Which reader the body gets.
    Processor(Processor),
    /// Rules are taken out.
    RemoveRules(Removal),
    /// A target is taken out of rules.
    RemoveTargets(Removal, Exclusion),
    /// Whether the request body is read.
    RequestBodyAccess(bool),
    /// Whether the response body is read.
    ResponseBodyAccess(bool),
    /// Accepted and without effect here: what concerns only log formats.
    Unobserved,
}

/// Which rules are meant.
#[derive(Clone, Debug)]
pub enum Removal {
    /// Those with ids in one of the ranges.
    Ids(Vec<(u32, u32)>),
    /// Those whose message is or matches this.
    Message(Arc<crate::pattern::WordOrPattern>),
    /// Those with a tag that is or matches this.
    Tag(Arc<crate::pattern::WordOrPattern>),
}

impl Effect {
    /// Its texts that may contain macros.
    pub(crate) fn templates(&self) -> impl Iterator<Item = &Template> {
        let (one, two) = match self {
            Self::Control(_) => (None, None),
            Self::Expire { name, seconds, .. } => (Some(name), Some(seconds)),
            Self::Open { key, .. } => (Some(key), None),
            Self::Set(SetVar { name, change, .. }) => (
                Some(name),
                match change {
                    Change::Add(text) | Change::Assign(text) | Change::Subtract(text) => Some(text),
                    Change::Remove => None,
                },
            ),
        };
        one.into_iter().chain(two)
    }
}
