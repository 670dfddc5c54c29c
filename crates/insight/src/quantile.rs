//! Quantiles of a quantity over many callers or calls: a histogram of logarithms.
//!
//! Buckets grow by a tenth, so a quantile is exact to about five percent, in 800 bytes, whatever the values are. Old values
//! fade by halving, so that a change of habits is followed within two halvings.

/// Growth from one bucket to the next.
const GROWTH: f64 = 1.1;

/// Enough for values up to 1.1^199, about 170 million; larger ones are in the last bucket.
const BUCKETS: usize = 200;

/// When so many values are in, all counts are halved.
const HALVE: u64 = 1 << 20;

/// A histogram of values of one or more.
#[derive(Clone, Debug)]
pub(crate) struct Quantiles {
    buckets: Box<[u32; BUCKETS]>,
    total: u64,
    max: f64,
}

impl Default for Quantiles {
    fn default() -> Self {
        Quantiles { buckets: Box::new([0; BUCKETS]), total: 0, max: 0.0 }
    }
}

impl Quantiles {
    /// Counts a value.
    pub(crate) fn add(&mut self, value: f64) {
        let index = (value.max(1.0).ln() / GROWTH.ln()) as usize;
        if let Some(bucket) = self.buckets.get_mut(index.min(BUCKETS - 1)) {
            *bucket = bucket.saturating_add(1);
        }
        self.total += 1;
        self.max = self.max.max(value);
        if self.total >= HALVE {
            self.buckets.iter_mut().for_each(|bucket| *bucket /= 2);
            self.total = self.buckets.iter().map(|bucket| u64::from(*bucket)).sum();
        }
    }

    /// How many values there were.
    pub(crate) const fn total(&self) -> u64 {
        self.total
    }

    /// The largest value ever.
    pub(crate) const fn max(&self) -> f64 {
        self.max
    }

    /// The upper end of the bucket in which the share `q` of all values is reached; 0 where there are none.
    pub(crate) fn at(&self, q: f64) -> f64 {
        if self.total == 0 {
            return 0.0;
        }
        let wanted = (q * self.total as f64).ceil().max(1.0) as u64;
        let mut passed = 0;
        for (index, bucket) in self.buckets.iter().enumerate() {
            passed += u64::from(*bucket);
            if passed >= wanted {
                return GROWTH.powi(index as i32 + 1).min(self.max.max(1.0));
            }
        }
        self.max
    }

    /// Bytes of its buckets.
    pub(crate) const fn heap_bytes() -> usize {
        size_of::<[u32; BUCKETS]>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_near_the_truth() {
        let mut quantiles = Quantiles::default();
        (1..=10_000).for_each(|value| quantiles.add(f64::from(value)));
        for (q, truth) in [(0.5, 5000.0), (0.9, 9000.0), (0.99, 9900.0), (1.0, 10_000.0)] {
            let told = quantiles.at(q);
            assert!((told / truth - 1.0).abs() < 0.11, "{q}: {told}");
        }
        assert!((Quantiles::default().at(0.5)).abs() < f64::EPSILON);
    }
}
