//! The usual level of a quantity, and how far from it a value is.
//!
//! An exponentially weighted mean and variance of logarithms: twice as much and half as much are equally far. Values are
//! winsorised before they teach, so that no single one moves a level far; whether one may teach at all is the gate's
//! decision ([`crate::engine`]).

/// Mean and variance with a bounded memory.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Level {
    mean: f32,
    variance: f32,
    seen: u32,
}

/// A value moves a level no further than this many deviations.
const WINSOR: f64 = 3.0;

/// So many values until deviations mean something.
const WARM: u32 = 8;

/// How strong the fleet's level is against a caller's own: after so many own values both weigh the same.
const PRIOR: f64 = 50.0;

impl Level {
    /// Teaches a value; `memory` is how many values the level remembers.
    pub(crate) fn learn(&mut self, value: f64, memory: f64) {
        self.seen = self.seen.saturating_add(1);
        let weight = (1.0 / f64::from(self.seen)).max(1.0 / memory);
        let mut step = value - f64::from(self.mean);
        if self.seen > WARM {
            let reach = WINSOR * self.deviation(0.1);
            step = step.clamp(-reach, reach);
        }
        self.mean += (weight * step) as f32;
        self.variance = ((1.0 - weight) * (f64::from(self.variance) + weight * step * step)) as f32;
    }

    /// How many values taught it.
    pub(crate) const fn seen(&self) -> u32 {
        self.seen
    }

    pub(crate) fn mean(&self) -> f64 {
        f64::from(self.mean)
    }

    /// The deviation, at least `floor`.
    pub(crate) fn deviation(&self, floor: f64) -> f64 {
        f64::from(self.variance).max(0.0).sqrt().max(floor)
    }

    /// How many deviations above the mean a value is; negative below.
    pub(crate) fn z(&self, value: f64, floor: f64) -> f64 {
        (value - self.mean()) / self.deviation(floor)
    }

    /// The value that is `z` deviations above the mean.
    pub(crate) fn at(&self, z: f64, floor: f64) -> f64 {
        self.mean() + z * self.deviation(floor)
    }

    /// This level, drawn towards the peers' as long as it knows little itself.
    pub(crate) fn with_prior(&self, peers: &Level) -> Level {
        let own = f64::from(self.seen) / (f64::from(self.seen) + PRIOR);
        if peers.seen == 0 {
            return *self;
        }
        let mix = |own_value: f32, theirs: f32| {
            (own * f64::from(own_value) + (1.0 - own) * f64::from(theirs)) as f32
        };
        // Between the two means there is spread as well.
        let between = (own * (1.0 - own) * (f64::from(self.mean) - peers.mean()).powi(2)) as f32;
        Level {
            mean: mix(self.mean, peers.mean),
            variance: mix(self.variance, peers.variance) + between,
            seen: self.seen.saturating_add(peers.seen),
        }
    }
}

/// How improbable it is to count `seen` or more where `expected` is usual, as −log10 p: Chernoff's bound of the Poisson tail,
/// widened by `spread`, the ratio of variance to mean. A bound never claims more than is true. Below the expectation it is the
/// same for the lower tail.
pub(crate) fn surprise(seen: f64, expected: f64, spread: f64) -> f64 {
    let expected = expected.max(0.1);
    let ratio = if seen > 0.0 { seen * (seen / expected).ln() } else { 0.0 };
    (ratio - seen + expected).max(0.0) / spread.max(1.0) / std::f64::consts::LN_10
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_learns_its_mean_and_one_wild_value_hardly_moves_it() {
        let mut level = Level::default();
        for turn in 0..200 {
            level.learn(5.0 + f64::from(turn % 3) * 0.1, 50.0);
        }
        assert!((level.mean() - 5.1).abs() < 0.05);
        assert!(level.z(9.0, 0.1) > 6.0 && level.z(5.2, 0.1) < 2.0);
        level.learn(1000.0, 50.0);
        assert!(level.mean() < 5.2, "{}", level.mean());
    }

    #[test]
    fn who_knows_little_is_drawn_to_the_peers() {
        let mut peers = Level::default();
        (0..1000).for_each(|_| peers.learn(2.0, 500.0));
        let mut own = Level::default();
        own.learn(8.0, 50.0);
        assert!(own.with_prior(&peers).mean() < 2.3);
        (0..500).for_each(|_| own.learn(8.0, 50.0));
        assert!(own.with_prior(&peers).mean() > 7.0);
    }

    #[test]
    fn surprise_grows_with_the_count_and_shrinks_with_the_spread() {
        assert!(surprise(10.0, 10.0, 1.0) < 0.01);
        assert!(surprise(40.0, 10.0, 1.0) > 10.0);
        assert!(surprise(0.0, 40.0, 1.0) > 17.0);
        assert!(surprise(40.0, 10.0, 4.0) < surprise(40.0, 10.0, 1.0) / 3.0);
    }
}
