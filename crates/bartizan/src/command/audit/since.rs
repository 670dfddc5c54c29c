//! What an older revision left open: a finding that was there then is not new.
//!
//! It is judged by the clock, the keys and the certificates of now, so that what has only become due meanwhile is no
//! matter of the change.

use std::{collections::BTreeSet, error::Error};

use bartizan_config::audit::{Finding, Identity, KeyState, audit};
use bartizan_store::{RevisionRef, RevisionRow};

use crate::command::{
    audit_state,
    revision::{HouseArg, set_of},
    set::Sound,
};

/// The findings of a revision.
pub(super) fn findings(
    house: &HouseArg,
    which: &RevisionRef,
    keys: &[KeyState],
) -> Result<BTreeSet<Identity>, Box<dyn Error>> {
    let (sound, row) = sound(house, which)?;
    // Its certificates are those of now; what cannot be read is said for the newer set.
    let (mut state, _) = audit_state::gather(&sound);
    state.keys = keys.to_vec();
    state.changed_unix_ms = sound.set.sources.iter().map(|(file, _)| (file, row.created_at_ms)).collect();
    Ok(audit(&sound.set.documents, &sound.snapshot, &state).iter().map(Finding::identity).collect())
}

/// A revision as a set.
pub(super) fn sound(house: &HouseArg, which: &RevisionRef) -> Result<(Sound, RevisionRow), Box<dyn Error>> {
    let revision = house.open()?.get(which)?;
    let set = set_of(&revision)?;
    let number = revision.row.number;
    let sound = Sound::of(set)
        .ok_or_else(|| format!("revision {number} has problems itself, so it cannot be audited"))?;
    Ok((sound, revision.row))
}
