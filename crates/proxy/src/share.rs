//! A caller's stable share: the number that `enforcePercent` compares.
//!
//! The same caller always falls on the same side, on every core, node and restart, and raising the percentage only
//! ever adds callers. The number chooses between enforce and shadow and grants nothing, so an unverified key id, or what
//! an unverified token claims, is good enough; it must only be the same before and after the caller is identified.

use std::net::{IpAddr, Ipv4Addr};

use bartizan_config::snapshot::{MethodPlan, RoutePlan};
use bartizan_identity::{KeyId, jwt::claimed};
use bartizan_message::{AddressBlock, AddressPrefix};
use http::{HeaderMap, HeaderName};

use crate::stage::{Found, find};

/// The share (0–99) of a caller on a route, by a hash that stays the same for it: of the id of its API key, else of the
/// issuer and subject that its token claims, else of the client's address block. Both are looked for where the route's
/// AuthenticationPolicies take them. A token is read for it only where a percentage asks.
pub fn share_on(route: Option<&RoutePlan>, headers: &HeaderMap, client: IpAddr) -> u8 {
    let plans = || {
        route.into_iter().flat_map(|route| {
            let settled = &route.authentication;
            settled.enforced.iter().chain(&settled.shadow)
        })
    };
    let key = |name: &HeaderName| KeyId::recognise(headers.get(name)?.to_str().ok()?);
    if let Some(id) = plans().flat_map(|plan| plan.api_key_headers()).find_map(key) {
        return bartizan_limit::share(hash(id.as_str().as_bytes()));
    }
    let token = |method: &MethodPlan| match find(headers, method.places()) {
        Found::Token(token) => claimed(token),
        Found::Absent | Found::Malformed(_) => None,
    };
    bartizan_limit::share(match plans().flat_map(|plan| &plan.methods).find_map(token) {
        // With its length in front, so that no issuer can run into a subject.
        Some((issuer, subject)) => hash(format!("{} {issuer} {subject}", issuer.len()).as_bytes()),
        None => hash(&block_key(client).to_be_bytes()),
    })
}

/// A client's address block as one number, for the keys of limits: the bits of an IPv4 address as mapped into IPv6, or
/// of an IPv6 prefix with zeros after it. Equal for equal blocks, different for others.
pub fn block_key(client: IpAddr) -> u128 {
    match AddressBlock::of(client) {
        AddressBlock::V4(bits) => mapped(bits),
        AddressBlock::V6(bits) => u128::from(bits) << 64,
    }
}

/// RFC 4291 §2.5.5.2. No IPv6 prefix with zeros after it looks like that.
fn mapped(bits: u32) -> u128 {
    Ipv4Addr::from_bits(bits).to_ipv6_mapped().to_bits()
}

/// The /24 (IPv6: /48) around a client, as one number.
pub(crate) fn prefix_key(client: IpAddr) -> u128 {
    match AddressBlock::of(client).prefix24() {
        AddressPrefix::V4(bits) => mapped(bits),
        AddressPrefix::V6(bits) => u128::from(bits) << 64,
    }
}

/// FNV-1a and a finisher: documented, stable for ever, spread well enough for percentages. A caller who chooses its
/// own key id or address can choose its share, which decides nothing but shadow or enforce for itself.
fn hash(bytes: &[u8]) -> u64 {
    hash_from(0, bytes)
}

/// The same, begun from another hash.
pub(crate) fn hash_from(seed: u64, bytes: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64 ^ seed;
    for byte in bytes {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_shown_as_the_address_it_is() {
        let shown =
            |text: &str| std::net::Ipv6Addr::from_bits(block_key(text.parse().unwrap())).to_canonical();
        for (client, block) in [
            ("192.0.2.1", "192.0.2.1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
            ("::1", "::"),
        ] {
            assert_eq!(shown(client).to_string(), block);
        }
    }

    #[test]
    fn a_callers_share_is_that_of_its_key_or_of_whom_its_token_claims_to_be_about() {
        let documents = r#"
apiVersion: management.v1
kind: Listener
metadata: { name: web }
spec: { addresses: ["127.0.0.1:0"] }
---
apiVersion: management.v1
kind: Upstream
metadata: { name: a }
spec: { endpoints: [{ url: "http://127.0.0.1:9" }] }
---
apiVersion: management.v1
kind: Route
metadata: { name: a }
spec: { rules: [{ backendRefs: [{ name: a }] }] }
---
apiVersion: management.v1
kind: AuthenticationPolicy
metadata: { name: a }
spec: { methods: [{ type: ApiKey }, { type: Jwt, jwt: { issuer: "https://id.example", audiences: [a] } }] }
"#;
        let sources = bartizan_config::source::Sources::from_texts([("a.yaml", documents)]);
        let snapshot = bartizan_config::Set::from_sources(sources).compiled.snapshot.unwrap();
        let plan = &snapshot.routes[0];
        // {"alg":"RS256"} and claims with another `exp` each; the signature is none.
        let token = |claims: &str| {
            let payload = bartizan_identity::base64url::encode(claims.as_bytes());
            format!("Bearer eyJhbGciOiJSUzI1NiJ9.{payload}.AAAA")
        };
        let share = |header: &str, value: &str, client: &str| {
            let name = HeaderName::try_from(header).unwrap();
            let headers = [(name, value.parse().unwrap())].into_iter().collect();
            share_on(Some(plan), &headers, client.parse().unwrap())
        };
        let (here, there) = ("192.0.2.1", "203.0.113.9");
        let subject =
            |number: u32, until: u32| token(&format!(r#"{{"iss":"i","sub":"s{number}","exp":{until}}}"#));
        for number in 0..20 {
            let (one, other) = (subject(number, 1), subject(number, 2));
            assert_eq!(share("authorization", &one, here), share("authorization", &other, there), "{number}");
        }
        let shares = (0..20).map(|number| share("authorization", &subject(number, 1), here));
        assert!(shares.collect::<std::collections::HashSet<_>>().len() > 10, "callers differ");
        let nobody = share("x-nothing", "a", here);
        for opaque in ["Bearer opaque", "Bearer a.b.c", "Basic YTpi"] {
            assert_eq!(share("authorization", opaque, here), nobody, "{opaque}");
        }
    }

    #[test]
    fn shares_are_spread_evenly_and_do_not_change() {
        let below = (0..100_000_u32).filter(|n| bartizan_limit::share(hash(&n.to_be_bytes())) < 25).count();
        assert!((24_000..26_000).contains(&below), "{below}");
        assert_eq!(hash(b"bartizan"), hash(b"bartizan"));
    }
}
