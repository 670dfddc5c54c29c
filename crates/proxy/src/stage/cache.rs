//! **cache**: is the answer known?
//!
//! The stage stands behind authorization, so that a hit will be authorized like any other answer. Its engine comes
//! later; until then every lookup is a miss.

use bartizan_config::snapshot::Engineless;
use bartizan_model::{Denial, Reason, Stage};

use super::Inspected;
use crate::exchange::{Exchange, Stop};

/// The proof that no stored answer may be used.
#[must_use]
pub struct Missed {
    inspected: Inspected,
}

impl Missed {
    /// The proof before this one, for `forward`.
    pub(super) fn into_inspected(self) -> Inspected {
        self.inspected
    }
}

/// What a lookup found.
pub enum Looked {
    /// Nothing: the upstream is asked.
    Miss(Exchange<Missed>),
}

/// Looks for a stored answer.
pub fn cache(x: Exchange<Inspected>) -> Result<Looked, Stop> {
    if x.proof.plan().caching != Engineless::NoSuchPolicy {
        let denial = Denial::new(Reason::JudgeUnavailable);
        return Err(
            x.deny(Stage::Cache, denial.because("the route asks for a cache that this build does not have"))
        );
    }
    Ok(Looked::Miss(x.prove(|inspected| Missed { inspected })))
}
