//! Least request: the endpoint with the fewest requests in flight for its weight, over all cores.
//!
//! Equals take turns by weight, so that an idle upstream is not served by its first endpoint alone.

use super::{Field, RoundRobin};

/// The least loaded endpoint of `field` that may be chosen; `turns` decides between equals.
pub fn least_request(field: &Field<'_>, turns: &mut RoundRobin) -> Option<usize> {
    let least = field.available().reduce(
        |least, index| {
            if field.is_less_loaded(index, least) { index } else { least }
        },
    )?;
    // The load changes under us, but an endpoint that became less loaded meanwhile is as good a choice.
    turns
        .next_of(field, |index| field.is_available(index) && !field.is_less_loaded(least, index))
        .or(Some(least))
}
