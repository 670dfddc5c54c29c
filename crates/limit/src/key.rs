//! Whose cell it is: from a policy's key and the facts of a call to 128 bits.
//!
//! Callers choose much of what is hashed, so the hash is keyed with this process's randomness (two SipHash states of
//! the standard library): nobody can aim at another's cell, and 128 bits make an accident negligible (below 10⁻²⁶
//! with a million cells). Every part is tagged and carries its length, so that no two different keys are the
//! same bytes; all values of a header count, because one of several is the caller's choice.

use std::hash::{BuildHasher, Hasher, RandomState};

use crate::policy::{KeyPart, OnAbsent, Policy};

/// Calls its second argument with every value of the named header, in order; with none if it is absent.
pub type HeaderValues<'a> = dyn Fn(&str, &mut dyn FnMut(&[u8])) + 'a;

/// What is known of a call when its key is made.
#[derive(Clone, Copy)]
pub struct KeyFacts<'a> {
    /// The name of the route that matched.
    pub route: &'a str,
    /// The verified consumer.
    pub consumer: Option<&'a str>,
    /// The client's block of addresses: an IPv4 address as mapped into IPv6, an IPv6 prefix with zeros after it.
    pub client: u128,
    /// The values of the call's headers.
    pub header: &'a HeaderValues<'a>,
}

/// The key of a call for one policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// The call counts for this key.
    Of(u128),
    /// The policy does not apply to the call.
    Skip,
    /// The call lacks a part of the key without which the policy refuses.
    Deny,
}

/// The keyed hash of keys.
pub(crate) struct KeyHasher([RandomState; 2]);

impl KeyHasher {
    pub(crate) const fn new(seeds: [RandomState; 2]) -> Self {
        KeyHasher(seeds)
    }

    /// The key of a call for `policy`.
    pub(crate) fn key_of(&self, policy: &Policy, facts: &KeyFacts<'_>) -> Key {
        let mut hash = self.begin(&policy.name);
        for part in &policy.key {
            let present = match part {
                KeyPart::ClientAddress => hash.part(b'A', &facts.client.to_be_bytes()),
                KeyPart::Consumer => facts.consumer.is_some_and(|name| hash.part(b'C', name.as_bytes())),
                KeyPart::Gateway => hash.part(b'G', b""),
                KeyPart::Header(name) => hash.values(name, facts.header),
                KeyPart::Route => hash.part(b'R', facts.route.as_bytes()),
            };
            if present {
                continue;
            }
            match policy.on_absent {
                // Tagged unlike a true client address: the two are different keys.
                OnAbsent::ClientAddress => hash.part(b'a', &facts.client.to_be_bytes()),
                OnAbsent::Deny => return Key::Deny,
                OnAbsent::Skip => return Key::Skip,
            };
        }
        Key::Of(hash.finish())
    }

    /// The key under which all callers of a policy share one cell when there is no room.
    pub(crate) fn overflow_of(&self, name: &str) -> u128 {
        let mut hash = self.begin(name);
        hash.part(b'O', b"");
        hash.finish()
    }

    fn begin(&self, name: &str) -> Twin<impl Hasher> {
        let mut hash = Twin(self.0.each_ref().map(BuildHasher::build_hasher));
        hash.part(b'P', name.as_bytes());
        hash
    }
}

/// Two hash states with different keys, fed alike.
struct Twin<H>([H; 2]);

impl<H: Hasher> Twin<H> {
    /// Adds one part; always `true`, which reads as "present".
    fn part(&mut self, tag: u8, bytes: &[u8]) -> bool {
        // The tag and the length in one word: fewer rounds. No part is longer than 2⁵⁶ bytes.
        self.word((u64::from(tag) << 56) | bytes.len() as u64);
        for state in &mut self.0 {
            state.write(bytes);
        }
        true
    }

    /// Adds all values of a header and then how many there were; says whether there was any.
    fn values(&mut self, name: &str, header: &HeaderValues<'_>) -> bool {
        let mut count = 0_u64;
        header(name, &mut |value| {
            if count == 0 {
                self.part(b'H', name.as_bytes());
            }
            count += 1;
            self.part(b'V', value);
        });
        self.word((u64::from(b'N') << 56) | count);
        count > 0
    }

    fn word(&mut self, word: u64) {
        for state in &mut self.0 {
            state.write_u64(word);
        }
    }

    fn finish(&self) -> u128 {
        let [high, low] = self.0.each_ref().map(Hasher::finish);
        (u128::from(high) << 64) | u128::from(low)
    }
}
