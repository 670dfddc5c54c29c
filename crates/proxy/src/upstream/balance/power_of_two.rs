//! Power of two choices: of two endpoints drawn by weight, the one with fewer requests in flight for its weight.
//!
//! Nearly as even as looking at all of them, without every core rushing to the same least loaded endpoint at once.

use super::Field;

/// One of the endpoints of `field` that may be chosen, with numbers from `roll`.
pub fn power_of_two(field: &Field<'_>, mut roll: impl FnMut() -> u64) -> Option<usize> {
    let first = draw(field, roll(), None)?;
    let Some(second) = draw(field, roll(), Some(first)) else { return Some(first) };
    Some(if field.is_less_loaded(second, first) { second } else { first })
}

/// Draws by weight among the available endpoints other than `except`.
fn draw(field: &Field<'_>, number: u64, except: Option<usize>) -> Option<usize> {
    let candidates = || field.available().filter(move |index| Some(*index) != except);
    let total: u64 = candidates().map(|index| field.weight(index)).sum();
    // The bias of the remainder is below 2^-20 for any real sum of weights.
    let mut left = number.checked_rem(total)?;
    for index in candidates() {
        let weight = field.weight(index);
        if left < weight {
            return Some(index);
        }
        left -= weight;
    }
    // An endpoint's health changed between the two passes.
    candidates().next()
}
