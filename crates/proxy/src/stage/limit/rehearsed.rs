//! What a rehearsal adds to `limit`: cells that stand where a record says, and where limits stand afterwards.

use bartizan_config::rehearsal::LimitState;
use bartizan_limit::{Ask, Bite, Few, Nanos, State};

use super::{Bearing, Call, key_facts, values_of};
use crate::exchange::Shared;

/// Puts cells where the rehearsed request found them.
pub(super) fn put_cells(shared: &Shared, now: Nanos, asks: &[Ask<'_>]) {
    let Some(given) = &shared.rehearsing else { return };
    let mut cache = shared.core.cells.borrow_mut();
    for reading in &given.cells {
        let is_meant = |ask: &&Ask<'_>| {
            *ask.policy.label == *reading.policy && (ask.bite == Bite::Shadow) == reading.shadow
        };
        if let Some(ask) = asks.iter().find(is_meant) {
            let word = (reading.word, reading.bound);
            shared.core.runtime.cells().put(&mut cache, now, ask, reading.limit, word);
        }
    }
}

/// Notes where the enforced limits stand.
pub(super) fn note(shared: &mut Shared, call: &Call<'_>, bearings: &[Bearing], states: &Few<State>) {
    let Some(given) = &mut shared.rehearsing else { return };
    let header = |name: &str, each: &mut dyn FnMut(&[u8])| values_of(call.head, name, each);
    let facts = key_facts(call, &header);
    for state in states.iter() {
        let Some(bearing) = bearings.get(state.ask) else { continue };
        given.limits.push(LimitState {
            policy: bearing.policy.label.clone(),
            limit: state.limit,
            bucket: facts.bucket_of(&bearing.policy),
            quota: state.quota,
            window_seconds: state.window_seconds,
            remaining: state.remaining,
            reset_seconds: state.reset_seconds,
        });
    }
}
