//! A provider's keys: a pool, in which a key that the provider refuses rests while another one serves.
//!
//! A key is a header's value that is marked sensitive, made once in `prepare`, and goes to the endpoint of its own
//! upstream only. What callers, records and metrics see of it is its number in the document.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use http::{HeaderName, HeaderValue};

/// The keys of one upstream.
#[derive(Debug)]
pub struct ProviderKeys {
    header: HeaderName,
    keys: Vec<Key>,
}

#[derive(Debug)]
struct Key {
    value: HeaderValue,
    /// Until when it rests, in milliseconds since 1970; 0: it does not.
    rests_until: AtomicU64,
}

impl ProviderKeys {
    /// A pool of ready header values.
    pub(super) fn new(header: HeaderName, values: Vec<HeaderValue>) -> ProviderKeys {
        let key = |value| Key { value, rests_until: AtomicU64::new(0) };
        ProviderKeys { header, keys: values.into_iter().map(key).collect() }
    }

    /// The header that carries a key.
    pub fn header(&self) -> &HeaderName {
        &self.header
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The first key, in document order, that does not rest and was not tried. Where all others rest, the one that
    /// rests least: an outage at the provider must not outlast itself here.
    pub fn pick(&self, now_ms: u64, tried: &[usize]) -> Option<(usize, &HeaderValue)> {
        let fresh = || self.keys.iter().enumerate().filter(|(at, _)| !tried.contains(at));
        let awake = fresh().find(|(_, key)| key.rests_until.load(Relaxed) <= now_ms);
        let found = awake.or_else(|| fresh().min_by_key(|(_, key)| key.rests_until.load(Relaxed)));
        found.map(|(at, key)| (at, &key.value))
    }

    /// Lets a key rest.
    pub fn rest(&self, at: usize, until_ms: u64) {
        if let Some(key) = self.keys.get(at) {
            key.rests_until.store(until_ms, Relaxed);
        }
    }

    /// Whether a text contains one of the keys: it must not leave the gateway.
    pub fn shows_in(&self, text: &[u8]) -> bool {
        self.keys.iter().any(|key| {
            let value = key.value.as_bytes();
            let secret = value.strip_prefix(b"Bearer ").unwrap_or(value);
            secret.len() >= 8 && text.windows(secret.len()).any(|window| window == secret)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(count: usize) -> ProviderKeys {
        let values = (0..count).map(|at| HeaderValue::try_from(format!("Bearer secret-{at}")).unwrap());
        ProviderKeys::new(HeaderName::from_static("authorization"), values.collect())
    }

    #[test]
    fn a_resting_key_is_passed_over_until_nothing_else_is_left() {
        let pool = pool(2);
        assert_eq!(pool.pick(100, &[]).unwrap().0, 0);
        pool.rest(0, 200);
        assert_eq!(pool.pick(100, &[]).unwrap().0, 1);
        pool.rest(1, 300);
        assert_eq!(pool.pick(100, &[]).unwrap().0, 0, "the one that rests least");
        assert_eq!(pool.pick(100, &[0]).unwrap().0, 1);
        assert!(pool.pick(100, &[0, 1]).is_none());
        assert_eq!(pool.pick(250, &[]).unwrap().0, 0);
    }

    #[test]
    fn a_key_is_found_in_a_text_and_not_shown_by_debug() {
        let mut value = HeaderValue::from_static("Bearer canary-key-1");
        value.set_sensitive(true);
        let pool = ProviderKeys::new(HeaderName::from_static("authorization"), vec![value]);
        assert!(pool.shows_in(b"wrong key: canary-key-1!"));
        assert!(!pool.shows_in(b"wrong key: canary-key-2!"));
        assert!(!format!("{pool:?}").contains("canary"));
    }
}
