//! What is learned of models while they are asked, and outlives a snapshot: how far estimates of their input were off, and how
//! fast each target begins to answer.
//!
//! A moving ratio of told to estimated tokens, in fixed point. It corrects what a budget reserves; what is charged is
//! what the provider told, so a wrong ratio costs a refusal too early or a debt, never money.

use std::{
    collections::HashMap,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
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

/// An upstream, and the provider's name of the model.
type TargetKey = (Arc<str>, Arc<str>);

/// What is learned of all models.
#[derive(Debug, Default)]
pub(crate) struct ModelStates {
    /// By public name.
    models: RwLock<HashMap<Arc<str>, Arc<ModelState>>>,
    /// By upstream and the provider's name of the model.
    targets: RwLock<HashMap<TargetKey, Arc<TargetState>>>,
}

/// How fast a target begins to answer: a decayed mean for whole answers and one for streams, whose beginnings mean
/// different things. Each is one word: microseconds, and the second in which they were noted.
#[derive(Debug, Default)]
pub(crate) struct TargetState {
    whole: AtomicU64,
    streamed: AtomicU64,
}

/// After so many seconds without a call a target counts for half as slow: it is asked again some time.
const HALF_LIFE: u64 = 30;
/// What a failure counts for: a target that fails fast must not look fast.
const FAILED: Duration = Duration::from_secs(30);
/// The newest call counts for a quarter.
const NEWEST: u64 = 4;

impl TargetState {
    /// A call began to be answered after `took`, in second `now` of the process.
    pub(crate) fn note(&self, stream: bool, now: u64, took: Duration) {
        let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX).clamp(1, u64::from(u32::MAX));
        let next = |word: u64| {
            let before = word >> 32;
            let mean = if before == 0 { took } else { (before * (NEWEST - 1) + took) / NEWEST };
            Some((mean << 32) | (now & u64::from(u32::MAX)))
        };
        // Two calls that begin at once may both count for less; the next one makes up for it.
        let _ = self.word(stream).fetch_update(Relaxed, Relaxed, next);
    }

    /// A call failed.
    pub(crate) fn note_failure(&self, stream: bool, now: u64) {
        self.note(stream, now, FAILED);
    }

    /// How slow it is taken to be, in microseconds; 0 for one that nobody has asked yet, so that somebody does.
    pub(crate) fn slowness(&self, stream: bool, now: u64) -> u64 {
        let word = self.word(stream).load(Relaxed);
        let passed = (now & u64::from(u32::MAX)).saturating_sub(word & u64::from(u32::MAX));
        (word >> 32).checked_shr(u32::try_from(passed / HALF_LIFE).unwrap_or(u32::MAX)).unwrap_or(0)
    }

    fn word(&self, stream: bool) -> &AtomicU64 {
        if stream { &self.streamed } else { &self.whole }
    }
}

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
        if let Some(state) = self.models.read().unwrap_or_else(PoisonError::into_inner).get(name) {
            return state.clone();
        }
        let mut states = self.models.write().unwrap_or_else(PoisonError::into_inner);
        if states.len() >= MODELS_MAX {
            return Arc::default();
        }
        states.entry(name.clone()).or_default().clone()
    }
}

impl ModelStates {
    /// The state of a target.
    pub(crate) fn target(&self, upstream: &Arc<str>, model: &Arc<str>) -> Arc<TargetState> {
        let key = (upstream.clone(), model.clone());
        if let Some(state) = self.targets.read().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return state.clone();
        }
        let mut states = self.targets.write().unwrap_or_else(PoisonError::into_inner);
        if states.len() >= MODELS_MAX {
            return Arc::default();
        }
        states.entry(key).or_default().clone()
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
    fn a_target_is_as_slow_as_it_was_of_late_and_is_tried_again_some_time() {
        let (fast, slow) = (TargetState::default(), TargetState::default());
        assert_eq!(slow.slowness(true, 5), 0, "nobody has asked it");
        for _ in 0..20 {
            fast.note(true, 100, Duration::from_millis(100));
            slow.note(true, 100, Duration::from_millis(900));
        }
        assert!(fast.slowness(true, 100) < slow.slowness(true, 100));
        assert_eq!(slow.slowness(false, 100), 0, "streams say nothing of whole answers");
        assert!(slow.slowness(true, 100 + 4 * HALF_LIFE) < fast.slowness(true, 100));
        fast.note_failure(true, 100);
        assert!(fast.slowness(true, 100) > slow.slowness(true, 100));
        assert_eq!(slow.slowness(true, u64::from(u32::MAX)), 0);
    }

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
