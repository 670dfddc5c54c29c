//! What is remembered of a route, and of each caller on it: what recommendations rest on.

use std::sync::Arc;

use crate::{
    event::{Event, Outcome},
    quantile::Quantiles,
};

/// A route.
#[derive(Debug, Default)]
pub(crate) struct RouteFacts {
    pub(crate) first_ms: u64,
    pub(crate) last_ms: u64,
    pub(crate) calls: u64,
    pub(crate) good: u64,
    /// Served without anyone being identified.
    pub(crate) anonymous: u64,
    /// Served to someone who was identified.
    pub(crate) identified: u64,
    /// Refused by our own limits.
    pub(crate) limited: u64,
    /// Callers ever, as far as they are remembered.
    pub(crate) callers: u64,
    pub(crate) endpoints: usize,
    /// Calls of one caller in a minute with calls.
    pub(crate) rates: Quantiles,
}

impl RouteFacts {
    pub(crate) fn new(now_ms: u64) -> Self {
        RouteFacts { first_ms: now_ms, ..RouteFacts::default() }
    }

    pub(crate) fn note(&mut self, event: &Event<'_>, outcome: Outcome, now_ms: u64) {
        self.last_ms = now_ms;
        self.calls += 1;
        match outcome {
            Outcome::Limited => self.limited += 1,
            Outcome::Good => {
                self.good += 1;
                let is_identified = event.identified_by.is_some() || event.consumer.is_some();
                *(if is_identified { &mut self.identified } else { &mut self.anonymous }) += 1;
            }
            _ => {}
        }
    }
}

/// Methods as bits, in this order; what is none of them is the last.
const METHODS: [&str; 8] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", OTHER];

/// A method that is none of those known by name.
pub(crate) const OTHER: &str = "other";

/// A caller on a route.
#[derive(Debug)]
pub(crate) struct Use {
    /// The consumer; none for an address.
    pub(crate) consumer: Option<Arc<str>>,
    pub(crate) route: Arc<str>,
    pub(crate) methods: u8,
    pub(crate) calls: u64,
    pub(crate) last_ms: u64,
    minute: u64,
    minute_calls: u32,
}

impl Use {
    pub(crate) fn new(consumer: Option<Arc<str>>, route: Arc<str>) -> Self {
        Use { consumer, route, methods: 0, calls: 0, last_ms: 0, minute: 0, minute_calls: 0 }
    }

    /// Notes a call; the calls of the minute that ended by it.
    pub(crate) fn note(&mut self, method: &str, minute: u64, now_ms: u64) -> Option<u32> {
        let bit = METHODS.iter().position(|known| *known == method).unwrap_or(METHODS.len() - 1);
        self.methods |= 1 << bit;
        self.calls += 1;
        self.last_ms = now_ms;
        let ended = (minute != self.minute && self.minute_calls > 0).then_some(self.minute_calls);
        if minute != self.minute {
            (self.minute, self.minute_calls) = (minute, 0);
        }
        self.minute_calls = self.minute_calls.saturating_add(1);
        ended
    }

    /// The methods in words.
    pub(crate) fn words(methods: u8) -> Vec<&'static str> {
        METHODS
            .iter()
            .enumerate()
            .filter(|(bit, _)| methods & (1 << bit) != 0)
            .map(|(_, word)| *word)
            .collect()
    }
}
