//! Whose cell it is: from a policy's key and the facts of a call to 128 bits.
//!
//! Callers choose much of what is hashed, so the hash is keyed with this process's randomness (two SipHash states of
//! the standard library): nobody can aim at another's cell, and 128 bits make an accident negligible (below 10⁻²⁶
//! with a million cells). Every part is tagged and carries its length, so that no two different keys are the
//! same bytes; all values of a header count, because one of several is the caller's choice.

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    net::Ipv6Addr,
};

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
    /// Its team.
    pub team: Option<&'a str>,
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

impl KeyFacts<'_> {
    /// The bucket that a call counts for, in words: `consumer anna, route orders`. Nothing if the policy skips or denies
    /// the call. A header's values are left out: they may be secrets.
    pub fn bucket_of(&self, policy: &Policy) -> Option<String> {
        let client = || format!("client {}", Ipv6Addr::from_bits(self.client).to_canonical());
        let mut words = Vec::new();
        for part in &policy.key {
            let present = match part {
                KeyPart::ClientAddress => Some(client()),
                KeyPart::Consumer => self.consumer.map(|name| format!("consumer {name}")),
                KeyPart::Gateway => Some("all callers".to_owned()),
                KeyPart::Header(name) => {
                    let mut found = false;
                    (self.header)(name, &mut |_| found = true);
                    found.then(|| format!("header {name}"))
                }
                KeyPart::Route => Some(format!("route {}", self.route)),
                KeyPart::Team => self.team.map(|name| format!("team {name}")),
            };
            words.push(match (present, policy.on_absent) {
                (Some(word), _) => word,
                (None, OnAbsent::ClientAddress) => client(),
                (None, OnAbsent::Deny | OnAbsent::Skip) => return None,
            });
        }
        Some(if words.is_empty() { "all callers".to_owned() } else { words.join(", ") })
    }
}

/// The keyed hash of keys.
pub(crate) struct KeyHasher([RandomState; 2]);

impl KeyHasher {
    pub(crate) const fn new(seeds: [RandomState; 2]) -> Self {
        KeyHasher(seeds)
    }

    /// The key of a call for `policy`.
    pub(crate) fn key_of(&self, policy: &Policy, facts: &KeyFacts<'_>) -> Key {
        let mut hash = self.begin(&policy.label);
        for part in &policy.key {
            let present = match part {
                KeyPart::ClientAddress => hash.part(b'A', &facts.client.to_be_bytes()),
                KeyPart::Consumer => facts.consumer.is_some_and(|name| hash.part(b'C', name.as_bytes())),
                KeyPart::Gateway => hash.part(b'G', b""),
                KeyPart::Header(name) => hash.values(name, facts.header),
                KeyPart::Route => hash.part(b'R', facts.route.as_bytes()),
                KeyPart::Team => facts.team.is_some_and(|name| hash.part(b'T', name.as_bytes())),
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

    /// A key of bytes that are named by their order alone.
    pub(crate) fn key_of_parts(&self, label: &str, parts: &[&[u8]]) -> u128 {
        let mut hash = self.begin(label);
        for part in parts {
            hash.part(b'B', part);
        }
        hash.finish()
    }

    /// The key under which all callers of a policy share one cell when there is no room.
    pub(crate) fn overflow_of(&self, label: &str) -> u128 {
        let mut hash = self.begin(label);
        hash.part(b'O', b"");
        hash.finish()
    }

    fn begin(&self, label: &str) -> Twin<impl Hasher> {
        let mut hash = Twin(self.0.each_ref().map(BuildHasher::build_hasher));
        // The kind belongs to it: two kinds may have a policy of the same name.
        hash.part(b'P', label.as_bytes());
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

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, num::NonZeroU32, sync::Arc};

    use bartizan_model::{Mode, OnFault};

    use super::*;
    use crate::policy::{Action, Limit, Terms};

    fn policy(label: &str, key: &[KeyPart], on_absent: OnAbsent) -> Policy {
        Policy::new(Terms {
            name: "p".into(),
            label: label.into(),
            mode: Mode::Enforce,
            enforce_percent: 100,
            on_fault: OnFault::Deny,
            key: key.to_vec(),
            on_absent,
            limits: vec![Limit::Concurrency { requests: NonZeroU32::MIN }],
            action: Action::Reject,
            legacy_headers: false,
        })
    }

    fn facts<'a>(consumer: Option<&'a str>, header: &'a HeaderValues<'a>) -> KeyFacts<'a> {
        KeyFacts { route: "orders", consumer, team: None, client: 7, header }
    }

    fn hasher() -> KeyHasher {
        KeyHasher::new([RandomState::new(), RandomState::new()])
    }

    #[test]
    fn no_two_different_keys_are_the_same_bytes() {
        let hasher = hasher();
        let two = [KeyPart::Header("x-a".into()), KeyPart::Header("x-b".into())];
        let policies = [
            policy("K/p", &two, OnAbsent::ClientAddress),
            policy("K/p", &[KeyPart::Header("x-a".into())], OnAbsent::ClientAddress),
            policy("K/q", &two, OnAbsent::ClientAddress),
        ];
        type Values<'a> = &'a [&'a [u8]];
        let values: [(Values<'_>, Values<'_>); 9] = [
            (&[b"ab", b"c"], &[b"d"]),
            (&[b"a", b"bc"], &[b"d"]),
            (&[b"abc"], &[b"d"]),
            (&[b"ab", b"c", b"d"], &[]),
            (&[b"c", b"ab"], &[b"d"]),
            (&[b"ab, c"], &[b"d"]),
            (&[b""], &[b"abcd"]),
            (&[], &[b"abcd"]),
            (&[b"", b""], &[b"abcd"]),
        ];
        let mut keys = HashSet::new();
        for policy in &policies {
            for (a, b) in values {
                let header = |name: &str, each: &mut dyn FnMut(&[u8])| {
                    (if name == "x-a" { a } else { b }).iter().for_each(|value| each(value));
                };
                let Key::Of(key) = hasher.key_of(policy, &facts(None, &header)) else { panic!() };
                keys.insert(key);
            }
        }
        assert_eq!(keys.len(), policies.len() * values.len());
    }

    #[test]
    fn all_values_of_a_header_count_and_other_headers_do_not() {
        let hasher = hasher();
        let policy = policy("K/p", &[KeyPart::Header("x-a".into())], OnAbsent::Deny);
        let key_of = |a: &[&[u8]], other: &[u8]| {
            let header = |name: &str, each: &mut dyn FnMut(&[u8])| match name {
                "x-a" => a.iter().for_each(|value| each(value)),
                _ => each(other),
            };
            hasher.key_of(&policy, &facts(None, &header))
        };
        assert_eq!(key_of(&[b"1", b"2"], b"x"), key_of(&[b"1", b"2"], b"y"));
        assert_ne!(key_of(&[b"1", b"2"], b"x"), key_of(&[b"1", b"3"], b"x"));
        assert_ne!(key_of(&[b"1"], b"x"), key_of(&[b"1", b"2"], b"x"));
        assert_eq!(key_of(&[], b"x"), Key::Deny);
    }

    #[test]
    fn an_absent_part_is_an_explicit_choice() {
        let hasher = hasher();
        let none: &HeaderValues<'_> = &|_, _| {};
        let consumer = [KeyPart::Consumer];
        let by_address = policy("K/p", &consumer, OnAbsent::ClientAddress);
        let Key::Of(address) = hasher.key_of(&by_address, &facts(None, none)) else { panic!() };
        let elsewhere = KeyFacts { client: 8, ..facts(None, none) };
        assert_ne!(hasher.key_of(&by_address, &elsewhere), Key::Of(address));
        assert_ne!(hasher.key_of(&by_address, &facts(Some(""), none)), Key::Of(address));
        assert_eq!(hasher.key_of(&policy("K/p", &consumer, OnAbsent::Deny), &facts(None, none)), Key::Deny);
        assert_eq!(hasher.key_of(&policy("K/p", &consumer, OnAbsent::Skip), &facts(None, none)), Key::Skip);
        // A consumer cannot take the name of an address.
        let forged = String::from_utf8(7_u128.to_be_bytes().to_vec()).unwrap();
        assert_ne!(hasher.key_of(&by_address, &facts(Some(&forged), none)), Key::Of(address));
    }

    #[test]
    fn each_part_tells_callers_apart_and_gateway_does_not() {
        let hasher = hasher();
        let none: &HeaderValues<'_> = &|_, _| {};
        let one = KeyFacts { route: "a", consumer: Some("c"), team: None, client: 1, header: none };
        let table = [
            (
                KeyPart::Gateway,
                KeyFacts { route: "b", consumer: Some("d"), team: None, client: 2, ..one },
                true,
            ),
            (KeyPart::Route, KeyFacts { consumer: Some("d"), client: 2, ..one }, true),
            (KeyPart::Route, KeyFacts { route: "b", ..one }, false),
            (KeyPart::Consumer, KeyFacts { route: "b", client: 2, ..one }, true),
            (KeyPart::Consumer, KeyFacts { consumer: Some("d"), ..one }, false),
            (KeyPart::ClientAddress, KeyFacts { route: "b", consumer: Some("d"), ..one }, true),
            (KeyPart::ClientAddress, KeyFacts { client: 2, ..one }, false),
        ];
        for (part, other, same) in table {
            let policy = policy("K/p", std::slice::from_ref(&part), OnAbsent::Deny);
            assert_eq!(hasher.key_of(&policy, &one) == hasher.key_of(&policy, &other), same, "{part:?}");
        }
        let empty = policy("K/p", &[], OnAbsent::Deny);
        assert!(matches!(hasher.key_of(&empty, &one), Key::Of(_)));
    }

    #[test]
    fn another_process_hashes_otherwise() {
        let policy = policy("K/p", &[KeyPart::Gateway], OnAbsent::Deny);
        let none: &HeaderValues<'_> = &|_, _| {};
        let (one, other) = (hasher(), hasher());
        assert_ne!(one.key_of(&policy, &facts(None, none)), other.key_of(&policy, &facts(None, none)));
        let name: Arc<str> = "K/p".into();
        assert_ne!(Key::Of(one.overflow_of(&name)), one.key_of(&policy, &facts(None, none)));
    }

    #[test]
    fn a_bucket_has_a_name_that_shows_no_header_value() {
        let header: &HeaderValues<'_> = &|name, each| {
            if name == "x-tenant" {
                each(b"secret");
            }
        };
        let call = KeyFacts { route: "orders", consumer: None, team: None, client: 0xFFFF_0A00_0007, header };
        let table: [(&[KeyPart], OnAbsent, Option<&str>); 6] = [
            (&[], OnAbsent::Deny, Some("all callers")),
            (
                &[KeyPart::Consumer, KeyPart::Route],
                OnAbsent::ClientAddress,
                Some("client 10.0.0.7, route orders"),
            ),
            (&[KeyPart::Consumer], OnAbsent::Deny, None),
            (&[KeyPart::Consumer], OnAbsent::Skip, None),
            (
                &[KeyPart::Header("x-tenant".into()), KeyPart::Gateway],
                OnAbsent::Deny,
                Some("header x-tenant, all callers"),
            ),
            (&[KeyPart::Header("x-other".into())], OnAbsent::ClientAddress, Some("client 10.0.0.7")),
        ];
        for (key, on_absent, bucket) in table {
            let policy = policy("K/p", key, on_absent);
            assert_eq!(call.bucket_of(&policy).as_deref(), bucket, "{key:?}");
            assert_eq!(matches!(hasher().key_of(&policy, &call), Key::Of(_)), bucket.is_some(), "{key:?}");
        }
        let anna = KeyFacts { consumer: Some("anna"), client: 0x2001_0db8 << 96, ..call };
        let both = policy("K/p", &[KeyPart::Consumer, KeyPart::ClientAddress], OnAbsent::Deny);
        assert_eq!(anna.bucket_of(&both).as_deref(), Some("consumer anna, client 2001:db8::"));
    }
}
