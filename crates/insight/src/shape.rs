//! How unusual the sizes and times of one call are for its endpoint.
//!
//! For each feature a fading histogram of logarithms; the score is the information in bits of finding the call there, summed
//! over the features. A histogram needs no assumption about a distribution (sizes have several peaks), and it can be told in
//! words: "a body of this size came in 1 of 50,000 calls". It is gated: a call whose score is far above that of calls
//! before it teaches nothing, so a burst of attacks never becomes normal (measured on KDD HTTP, see docs/insight.md).

use crate::level::Level;

/// Buckets of half a power of two: 64 of them reach over 4 billion.
const BUCKETS: usize = 64;

/// What is counted of a call.
pub const FEATURES: usize = 3;

/// Calls until the score means something.
pub(crate) const WARM: u32 = 200;

/// The gate is at so many deviations above the mean score of those that passed it.
const GATE_Z: f64 = 4.0;

/// When more than half of so many calls in a row were gated, the endpoint itself has changed: it is learned anew. A burst of
/// abuse is shorter, or it is most of what the endpoint does.
const RELEARN: u32 = 20_000;

/// A call that would not be remembered longer than so many others.
const MEMORY: f32 = 20_000.0;

/// The gate never closes below this score: what common values have.
const GATE_MIN: f64 = 8.0;

/// The histograms of an endpoint.
#[derive(Clone, Debug)]
pub struct Shape {
    counts: Box<[[f32; BUCKETS]; FEATURES]>,
    total: f32,
    /// What one call counts: it grows instead of every bucket fading.
    unit: f32,
    /// Scores of calls that taught.
    scores: Level,
    seen: u32,
    /// Calls since it was looked whether most are gated, and how many of them were.
    looked: u32,
    gated: u32,
}

/// What the score of a call is made of.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Unusual {
    /// Bits of each feature.
    pub bits: [f32; FEATURES],
    /// Above the gate: it teaches nothing.
    pub is_gated: bool,
}

impl Unusual {
    /// The sum of the features' bits.
    pub fn score(&self) -> f32 {
        self.bits.iter().sum()
    }
}

impl Default for Shape {
    fn default() -> Self {
        Shape {
            counts: Box::new([[0.0; BUCKETS]; FEATURES]),
            total: 0.0,
            unit: 1.0,
            scores: Level::default(),
            seen: 0,
            looked: 0,
            gated: 0,
        }
    }
}

impl Shape {
    /// Scores a call by `log2` of its features, then learns from it unless it is too unusual.
    pub fn observe(&mut self, features: [f32; FEATURES]) -> Unusual {
        let mut unusual = Unusual::default();
        for ((bits, counts), value) in unusual.bits.iter_mut().zip(self.counts.iter()).zip(features) {
            *bits = self.bits(counts, value);
        }
        let score = unusual.score();
        let is_warm = self.seen >= WARM;
        unusual.is_gated = is_warm && f64::from(score) > self.scores.at(GATE_Z, 0.5).max(GATE_MIN);
        self.looked += 1;
        self.gated += u32::from(unusual.is_gated);
        if self.looked >= RELEARN {
            if self.gated * 2 > self.looked {
                *self = Shape::default();
            }
            (self.looked, self.gated) = (0, 0);
        }
        if !unusual.is_gated {
            self.learn(features);
            if is_warm {
                self.scores.learn(f64::from(score), f64::from(MEMORY));
            }
        }
        unusual
    }

    /// Whether it has seen enough to judge.
    pub(crate) const fn is_warm(&self) -> bool {
        self.seen >= WARM
    }

    fn bits(&self, counts: &[f32; BUCKETS], value: f32) -> f32 {
        let at = bucket(value);
        let near = |offset: usize| counts.get(offset).copied().unwrap_or_default();
        // Neighbours count a little: a value between two common ones is not rare.
        let here = near(at) + 0.25 * (near(at.wrapping_sub(1)) + near(at + 1));
        let share = (here + 0.05 * self.unit) / (self.total * 1.5 + 0.05 * self.unit * BUCKETS as f32);
        -share.log2()
    }

    fn learn(&mut self, features: [f32; FEATURES]) {
        for (counts, value) in self.counts.iter_mut().zip(features) {
            if let Some(count) = counts.get_mut(bucket(value)) {
                *count += self.unit;
            }
        }
        self.total += self.unit;
        self.seen = self.seen.saturating_add(1);
        self.unit *= 1.0 + 1.0 / MEMORY;
        if self.unit > 1e6 {
            let scale = 1.0 / self.unit;
            self.counts.iter_mut().flatten().for_each(|count| *count *= scale);
            self.total *= scale;
            self.unit = 1.0;
        }
    }

    /// Bytes of its histograms.
    pub(crate) const fn heap_bytes() -> usize {
        size_of::<[[f32; BUCKETS]; FEATURES]>()
    }
}

fn bucket(log2: f32) -> usize {
    // Casting saturates: what is below zero, or no number, is in the first.
    ((log2 * 2.0) as usize).min(BUCKETS - 1)
}

/// `log2(value + 1)`.
pub fn log(value: u64) -> f32 {
    (value as f32 + 1.0).log2()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_of_unusual_calls_never_becomes_usual() {
        let mut shape = Shape::default();
        for turn in 0..5_000_u64 {
            shape.observe([log(20 + turn % 7), log(0), log(1_000 + turn % 300)]);
        }
        let usual = shape.observe([log(22), log(0), log(1_100)]);
        assert!(!usual.is_gated && usual.score() < 8.0, "{usual:?}");
        let first = shape.observe([log(22), log(0), log(5_000_000)]).score();
        let mut last = 0.0;
        for _ in 0..5_000 {
            let unusual = shape.observe([log(22), log(0), log(5_000_000)]);
            assert!(unusual.is_gated);
            last = unusual.score();
        }
        assert!(last > first - 1.0 && first > 12.0, "{first} {last}");
    }

    #[test]
    fn a_shape_that_saw_little_gates_nothing() {
        let mut shape = Shape::default();
        for turn in 0..u64::from(WARM) {
            assert!(!shape.observe([log(turn * 1_000), log(turn), log(turn * 77)]).is_gated);
        }
        assert!(shape.is_warm());
    }
}
