//! Smooth weighted round robin: exact shares over each cycle, spread as evenly as the weights allow.
//!
//! Each turn every endpoint gains its weight, the richest is chosen and pays the total. Weights 5, 1, 1 give
//! `a a b a c a a`, not five in a row.

use super::Field;

/// One core's position.
#[derive(Debug, Default)]
pub struct RoundRobin {
    gains: Vec<i64>,
}

impl RoundRobin {
    /// The next endpoint among those of `field` that may be chosen.
    pub fn next(&mut self, field: &Field<'_>) -> Option<usize> {
        self.next_of(field, |index| field.is_available(index))
    }

    /// The next endpoint among those of `field` for which `may` says so.
    pub(super) fn next_of(&mut self, field: &Field<'_>, may: impl Fn(usize) -> bool) -> Option<usize> {
        self.gains.resize(field.len(), 0);
        let mut total = 0;
        let mut best: Option<(usize, i64)> = None;
        for (index, gain) in self.gains.iter_mut().enumerate() {
            if !may(index) {
                continue;
            }
            let weight = i64::try_from(field.weight(index)).unwrap_or(i64::MAX >> 20);
            total += weight;
            *gain += weight;
            if best.is_none_or(|(_, most)| *gain > most) {
                best = Some((index, *gain));
            }
        }
        let (index, _) = best?;
        if let Some(gain) = self.gains.get_mut(index) {
            *gain -= total;
        }
        Some(index)
    }
}
