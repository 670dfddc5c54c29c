//! What a candidate is compared with: the active revision, another one, or other files.

use std::path::PathBuf;

use bartizan_config::{
    Set,
    compare::{Comparison, Side, compare},
};
use bartizan_store::{RevisionRef, RevisionRow};

use super::{
    candidate::{Candidate, set_of},
    house::{House, HouseArg, Refused},
};

/// What to compare with.
#[derive(Debug, clap::Args)]
pub(crate) struct BaseArg {
    /// Compare with this revision: its number or digest [default: the active one].
    #[arg(long, value_name = "REV", value_parser = revision, conflicts_with = "base")]
    against: Option<RevisionRef>,
    /// Compare with these files instead of a revision; no store is needed then.
    #[arg(long, num_args = 1.., value_name = "PATH")]
    base: Vec<PathBuf>,
}

/// What a candidate was compared with.
pub(super) struct Base {
    /// The revision, where it is one.
    pub(super) row: Option<RevisionRow>,
    set: Option<Set>,
}

/// Reads the name of a revision.
pub(crate) fn revision(text: &str) -> Result<RevisionRef, String> {
    RevisionRef::parse(text)
        .ok_or_else(|| "write a revision's number, or at least seven digits of its digest".to_owned())
}

impl BaseArg {
    /// Reads what to compare with. Without any revision everything is new.
    pub(super) fn open(&self, house: &HouseArg) -> Result<Base, Box<dyn std::error::Error>> {
        if !self.base.is_empty() {
            return Base::of_set(None, Set::open(&self.base)?);
        }
        let house = house.open()?;
        match (&self.against, house.active()?) {
            (None, None) => Ok(Base { row: None, set: None }),
            (None, Some(row)) => Base::of_revision(&house, &RevisionRef::Number(row.number)),
            (Some(which), _) => Base::of_revision(&house, which),
        }
    }
}

impl Base {
    /// A revision of the store.
    pub(super) fn of_revision(
        house: &House,
        which: &RevisionRef,
    ) -> Result<Self, Box<dyn std::error::Error>> {
        let revision = house.get(which)?;
        let set = set_of(&revision)?;
        Base::of_set(Some(revision.row), set)
    }

    /// Nothing: everything will be new.
    pub(super) const fn none() -> Self {
        Base { row: None, set: None }
    }

    fn of_set(row: Option<RevisionRow>, set: Set) -> Result<Self, Box<dyn std::error::Error>> {
        if set.compiled.snapshot.is_none() {
            let what =
                row.as_ref().map_or_else(|| "the base".to_owned(), |row| format!("revision {}", row.number));
            return Err(Box::new(Refused(format!(
                "{what} has problems itself, so nothing can be compared with it"
            ))));
        }
        Ok(Base { row, set: Some(set) })
    }

    /// What it is, as a plan names it.
    pub(super) fn name(&self) -> String {
        match (&self.row, &self.set) {
            (Some(row), _) => format!("revision {}", row.tag()),
            (None, Some(_)) => "the given files".to_owned(),
            (None, None) => "nothing".to_owned(),
        }
    }

    /// What changes from here to the candidate.
    pub(super) fn compare(&self, candidate: &Candidate) -> Comparison {
        let before = self.set.as_ref().and_then(Side::of);
        // A candidate compiled, or it would not be one.
        Side::of(&candidate.set).map(|after| compare(before, after)).unwrap_or_default()
    }

    /// What changes from here to another revision.
    pub(super) fn compare_with(&self, other: &Base) -> Comparison {
        let before = self.set.as_ref().and_then(Side::of);
        other.set.as_ref().and_then(Side::of).map(|after| compare(before, after)).unwrap_or_default()
    }
}
