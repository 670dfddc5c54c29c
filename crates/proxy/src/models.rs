//! What is learned of models while they are asked, and outlives a snapshot: how far estimates of their input were off.
//!
//! A moving ratio of told to estimated tokens, in fixed point. It corrects what a budget reserves; what is charged is
//! what the provider told, so a wrong ratio costs a refusal too early or a debt, never money.

use std::{
    collections::HashMap,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
};

/// One, in the fixed point of ratios.
const ONE: u32 = 1 << 12;
/// A ratio stays between a quarter and four: one odd call (a picture, a conversation that the provider keeps) must not
/// make every later estimate absurd.
const LEAST: u32 = ONE / 4;
const MOST: u32 = ONE * 4;
/// The newest call counts for an eighth.
const SHARE: u32 = 8;
/// Models that are learned of; names come from documents, so this only bounds endless reloads.
const MODELS_MAX: usize = 10_000;

/// What is learned of all models, by public name.
#[derive(Debug, Default)]
pub(crate) struct ModelStates(RwLock<HashMap<Arc<str>, Arc<ModelState>>>);

/// What is learned of one model.
#[derive(Debug)]
pub(crate) struct ModelState {
    /// Told to estimated input tokens.
    ratio: AtomicU32,
}

impl Default for ModelState {
    fn default() -> Self {
        ModelState { ratio: AtomicU32::new(ONE) }
    }
}

impl ModelStates {
    /// The state of a model.
    pub(crate) fn of(&self, name: &Arc<str>) -> Arc<ModelState> {
        if let Some(state) = self.0.read().unwrap_or_else(PoisonError::into_inner).get(name) {
            return state.clone();
        }
        let mut states = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if states.len() >= MODELS_MAX {
            return Arc::default();
        }
        states.entry(name.clone()).or_default().clone()
    }
}

impl ModelState {
    /// An estimate, corrected by what was told before.
    pub(crate) fn corrected(&self, estimate: u64) -> u64 {
        let corrected =
            (u128::from(estimate) * u128::from(self.ratio.load(Relaxed))).div_ceil(u128::from(ONE));
        u64::try_from(corrected).unwrap_or(u64::MAX)
    }

    /// A provider told how many tokens the input was that was estimated.
    pub(crate) fn learn(&self, estimate: u64, told: u64) {
        if estimate == 0 {
            return;
        }
        let seen = (u128::from(told) * u128::from(ONE) / u128::from(estimate)).min(u128::from(MOST));
        let seen = u32::try_from(seen).unwrap_or(MOST).max(LEAST);
        let next = |ratio: u32| Some(((ratio * (SHARE - 1)).saturating_add(seen)) / SHARE);
        // Two calls that end at once may both count for less; the next one makes up for it.
        let _ = self.ratio.fetch_update(Relaxed, Relaxed, next);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_estimate_follows_what_is_told_and_never_becomes_absurd() {
        let state = ModelState::default();
        assert_eq!(state.corrected(1_000), 1_000);
        for _ in 0..50 {
            state.learn(1_000, 1_500);
        }
        assert!((1_450..=1_500).contains(&state.corrected(1_000)), "{}", state.corrected(1_000));
        for _ in 0..50 {
            state.learn(1_000, u64::MAX);
        }
        assert!(state.corrected(1_000) <= 4_000);
        for _ in 0..100 {
            state.learn(1_000, 0);
        }
        assert!(state.corrected(1_000) >= 250);
        state.learn(0, 10);
        assert!(state.corrected(u64::MAX) > 0);
    }
}
