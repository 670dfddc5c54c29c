//! Which endpoint a request goes to: four ways to choose among those that may be chosen.
//!
//! The balancers are pure: what is known of the endpoints comes in as a [`Field`], randomness as a function. An
//! endpoint that active checks call unhealthy is never chosen; an ejected one is not either, unless more are ejected
//! than the plan allows: then the ejections beyond (in document order) are ignored, because many endpoints failing
//! at once says more about the requests, or about us, than about the endpoints. Below its panic threshold an upstream's
//! endpoints are all asked, whatever is known of them. With a slow start an endpoint that comes into rotation begins with a
//! tenth of its weight.

mod least_request;
mod maglev;
mod power_of_two;
mod round_robin;

pub use least_request::least_request;
pub use maglev::{Maglev, hash_key};
pub use power_of_two::power_of_two;
pub use round_robin::RoundRobin;

use std::time::Instant;

use super::{
    prepare::{PreparedEndpoint, PreparedUpstream},
    state::{nanos, nanos_of},
};

/// A tenth, in hundredths: less would not warm anything up.
const SLOW_LEAST: u128 = 10;

/// The endpoints as one decision sees them.
#[derive(Clone, Copy, Debug)]
pub struct Field<'a> {
    endpoints: &'a [PreparedEndpoint],
    /// Whether active checks run; without them nothing they once said counts.
    is_checked: bool,
    now: u64,
    /// Ejections of endpoints from this index on are ignored.
    ignore_from: usize,
    /// An endpoint that was just tried in vain.
    except: Option<usize>,
    /// So few are well that nothing that is known of them counts.
    panics: bool,
    /// How long an endpoint that comes gets less than its share.
    slow_start: Option<u64>,
}

impl<'a> Field<'a> {
    /// Looks at the endpoints of `upstream` at `now`, leaving out `except`.
    pub fn new(upstream: &'a PreparedUpstream, now: Instant, except: Option<usize>) -> Self {
        let is_checked = upstream.plan.active.is_some();
        let slow_start = upstream.plan.slow_start.map(nanos_of);
        let endpoints = &upstream.endpoints;
        let mut field =
            Field { endpoints, is_checked, now: 0, ignore_from: 0, except, panics: false, slow_start };
        if slow_start.is_some() {
            field.now = nanos(now);
        }
        if let Some(passive) = &upstream.plan.passive {
            // The common case costs one load per endpoint and no clock arithmetic.
            if field.endpoints.iter().any(|endpoint| endpoint.state.was_ever_ejected()) {
                field.now = nanos(now);
                field.ignore_from = field.first_ignored(passive.ejected_percent_max);
            }
        }
        if upstream.plan.panic_percent > 0 {
            field.now = nanos(now);
            field.panics = field.is_below(upstream.plan.panic_percent);
        }
        field
    }

    /// Whether so few endpoints are well that all are asked.
    pub fn panics(&self) -> bool {
        self.panics
    }

    fn is_below(&self, percent: u8) -> bool {
        let is_well =
            |endpoint: &&PreparedEndpoint| self.is_healthy(endpoint) && !endpoint.state.is_ejected(self.now);
        let well = self.endpoints.iter().filter(is_well).count();
        well.saturating_mul(100) < self.endpoints.len().saturating_mul(usize::from(percent))
    }

    /// How many endpoints there are, chosen or not.
    pub fn len(&self) -> usize {
        self.endpoints.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.endpoints.is_empty()
    }

    /// Whether endpoint `index` may be chosen.
    pub fn is_available(&self, index: usize) -> bool {
        self.endpoints.get(index).is_some_and(|endpoint| {
            let is_well = || {
                self.is_healthy(endpoint)
                    && (index >= self.ignore_from || !endpoint.state.is_ejected(self.now))
            };
            self.except != Some(index) && (self.panics || is_well())
        })
    }

    /// Endpoints that may be chosen, in document order.
    pub fn available(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.endpoints.len()).filter(|index| self.is_available(*index))
    }

    /// The weight of endpoint `index`; 0 where there is none. With a slow start in hundredths, less for one that came a
    /// while ago: it grows from a tenth in a straight line.
    pub fn weight(&self, index: usize) -> u64 {
        let Some(endpoint) = self.endpoints.get(index) else { return 0 };
        let whole = u64::from(endpoint.plan.weight.get());
        let Some(window) = self.slow_start else { return whole };
        let since = endpoint.state.in_rotation_since(self.now);
        let passed = u128::from(self.now.saturating_sub(since));
        let grown = (passed * 100).checked_div(u128::from(window)).filter(|_| since != 0).unwrap_or(100);
        whole * u64::try_from(grown.clamp(SLOW_LEAST, 100)).unwrap_or(100)
    }

    /// Requests in flight at endpoint `index`, over all cores.
    pub fn in_flight(&self, index: usize) -> usize {
        self.endpoints.get(index).map_or(0, |endpoint| endpoint.state.in_flight())
    }

    /// Whether `left` carries less for its weight than `right`: `left/weight < right/weight` without division.
    fn is_less_loaded(&self, left: usize, right: usize) -> bool {
        self.load_times_weight(left, right) < self.load_times_weight(right, left)
    }

    fn load_times_weight(&self, loaded: usize, weighed: usize) -> u128 {
        u128::try_from(self.in_flight(loaded)).unwrap_or(u128::MAX) * u128::from(self.weight(weighed))
    }

    fn is_healthy(&self, endpoint: &PreparedEndpoint) -> bool {
        !self.is_checked || endpoint.state.is_healthy()
    }

    fn first_ignored(&self, percent: u8) -> usize {
        let allowed = ejected_max(self.endpoints.len(), percent);
        let mut ejected = 0;
        for (index, endpoint) in self.endpoints.iter().enumerate() {
            if endpoint.state.is_ejected(self.now) {
                ejected += 1;
                if ejected > allowed {
                    return index;
                }
            }
        }
        let is_left = (self.endpoints.iter())
            .any(|endpoint| self.is_healthy(endpoint) && !endpoint.state.is_ejected(self.now));
        // Where active checks took the others, ejection must not take the rest; all of them may only be ejected
        // where the operator said so.
        if is_left || percent >= 100 { self.endpoints.len() } else { 0 }
    }
}

/// How many of `count` endpoints `percent` lets be ejected at once.
pub(super) fn ejected_max(count: usize, percent: u8) -> usize {
    count.saturating_mul(usize::from(percent.min(100))) / 100
}

/// A cheap generator for choices that need no secrecy (SplitMix64); one per core, seeded by the caller.
#[derive(Debug)]
pub struct Dice(std::cell::Cell<u64>);

impl Dice {
    /// The same seed rolls the same numbers.
    pub fn new(seed: u64) -> Self {
        Dice(std::cell::Cell::new(seed))
    }

    /// The next number.
    pub fn roll(&self) -> u64 {
        let next = self.0.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.0.set(next);
        mix(next)
    }
}

/// Spreads the bits of `x` over all of the result.
fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests;
