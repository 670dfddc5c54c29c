//! Changing a set of documents with care: `plan`, `diff`, `apply`, `get`, `history`, `rollback`.
//!
//! A candidate comes from files, what it is compared with from the store (or from other files); both are compiled here
//! by the code that a gateway uses, so what is shown is what would serve. Reading order: [`house`] (where revisions
//! live; [`remote`] where that is a gateway, [`wire`] the way to it), [`candidate`] (files that want to become one), [`report`] (the plan in words), then one file per
//! command. What else must hold before a set may be applied is asked of `bartizan_config::keep::reasons_against`.

pub(crate) mod apply;
pub(crate) mod diff;
pub(crate) mod get;
pub(crate) mod history;
pub(crate) mod plan;
pub(crate) mod rollback;

pub(crate) mod base;

mod candidate;
mod house;
mod remote;
mod report;
mod wire;

use std::process::ExitCode;

pub(crate) use self::{
    candidate::{Candidate, set_of},
    house::{HouseArg, Refused},
};
use super::print::{self, Outcome};

/// The exit code of a command about revisions. What was asked for and does not exist, and a revision that somebody else
/// has changed meanwhile, are findings; the command itself could run.
pub(crate) fn exit(outcome: Outcome) -> ExitCode {
    match outcome {
        Err(error) if is_finding(&*error) => {
            print::fault(&*error);
            ExitCode::from(print::FOUND)
        }
        outcome => print::exit(outcome),
    }
}

fn is_finding(error: &(dyn std::error::Error + 'static)) -> bool {
    use bartizan_store::Error::{RevisionConflict, RevisionNone, RevisionUnknown};
    let of_store = matches!(
        error.downcast_ref::<bartizan_store::Error>(),
        Some(RevisionConflict { .. } | RevisionNone | RevisionUnknown { .. })
    );
    of_store || error.downcast_ref::<Refused>().is_some()
}
