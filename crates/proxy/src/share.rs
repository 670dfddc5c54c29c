//! A caller's stable share: the number that `enforcePercent` compares.
//!
//! The same caller always falls on the same side, on every core, node and restart, and raising the percentage only
//! ever adds callers. The number chooses between enforce and shadow and grants nothing, so an unverified key id is
//! good enough; it must only be the same before and after the caller is identified.

use bartizan_config::snapshot::RoutePlan;
use bartizan_identity::KeyId;
use bartizan_message::{AddressBlock, AddressPrefix};
use http::{HeaderMap, HeaderName};

/// A hash that stays the same for a caller: of the id of the API key presented in one of the headers `names`, else of
/// the client's address block.
fn caller_hash<'n>(
    headers: &HeaderMap,
    mut names: impl Iterator<Item = &'n HeaderName>,
    client: std::net::IpAddr,
) -> u64 {
    match names.find_map(|name| KeyId::recognise(headers.get(name)?.to_str().ok()?)) {
        Some(id) => hash(id.as_str().as_bytes()),
        None => hash(&block_key(client).to_be_bytes()),
    }
}

/// The share (0–99) of a caller on a route: its key is looked for where the route's AuthenticationPolicies take keys.
pub fn share_on(route: Option<&RoutePlan>, headers: &HeaderMap, client: std::net::IpAddr) -> u8 {
    let plans = route.into_iter().flat_map(|route| {
        let settled = &route.authentication;
        settled.enforced.iter().chain(&settled.shadow)
    });
    let names = plans.flat_map(|plan| plan.api_key_headers());
    bartizan_limit::share(caller_hash(headers, names, client))
}

/// A client's address block as one number, for the keys of limits: equal for equal blocks, different for others.
pub fn block_key(client: std::net::IpAddr) -> u128 {
    match AddressBlock::of(client) {
        AddressBlock::V4(bits) => u128::from(bits),
        // The 65th bit keeps the two families apart.
        AddressBlock::V6(bits) => (1 << 64) | u128::from(bits),
    }
}

/// The /24 (IPv6: /48) around a client, as one number.
pub(crate) fn prefix_key(client: std::net::IpAddr) -> u128 {
    match AddressBlock::of(client).prefix24() {
        AddressPrefix::V4(bits) => u128::from(bits),
        AddressPrefix::V6(bits) => (1 << 64) | u128::from(bits),
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
    fn shares_are_spread_evenly_and_do_not_change() {
        let below = (0..100_000_u32).filter(|n| bartizan_limit::share(hash(&n.to_be_bytes())) < 25).count();
        assert!((24_000..26_000).contains(&below), "{below}");
        assert_eq!(hash(b"bartizan"), hash(b"bartizan"));
    }
}
