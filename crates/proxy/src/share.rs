//! A caller's stable share: the number that `enforcePercent` compares.
//!
//! The same caller always falls on the same side, on every core, node and restart, and raising the percentage only
//! ever adds callers. The number chooses between enforce and shadow and grants nothing, so an unverified key id is
//! good enough; it must only be the same before and after the caller is identified.

use std::net::{IpAddr, Ipv4Addr};

use bartizan_config::snapshot::RoutePlan;
use bartizan_identity::KeyId;
use bartizan_message::{AddressBlock, AddressPrefix};
use http::{HeaderMap, HeaderName};

/// A hash that stays the same for a caller: of the id of the API key presented in one of the headers `names`, else of
/// the client's address block.
fn caller_hash<'n>(
    headers: &HeaderMap,
    mut names: impl Iterator<Item = &'n HeaderName>,
    client: IpAddr,
) -> u64 {
    match names.find_map(|name| KeyId::recognise(headers.get(name)?.to_str().ok()?)) {
        Some(id) => hash(id.as_str().as_bytes()),
        None => hash(&block_key(client).to_be_bytes()),
    }
}

/// The share (0–99) of a caller on a route: its key is looked for where the route's AuthenticationPolicies take keys.
pub fn share_on(route: Option<&RoutePlan>, headers: &HeaderMap, client: IpAddr) -> u8 {
    let plans = route.into_iter().flat_map(|route| {
        let settled = &route.authentication;
        settled.enforced.iter().chain(&settled.shadow)
    });
    let names = plans.flat_map(|plan| plan.api_key_headers());
    bartizan_limit::share(caller_hash(headers, names, client))
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
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
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
    fn shares_are_spread_evenly_and_do_not_change() {
        let below = (0..100_000_u32).filter(|n| bartizan_limit::share(hash(&n.to_be_bytes())) < 25).count();
        assert!((24_000..26_000).contains(&below), "{below}");
        assert_eq!(hash(b"bartizan"), hash(b"bartizan"));
    }
}
