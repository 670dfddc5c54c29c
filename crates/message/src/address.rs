//! Addresses: sets of networks, the key by which clients are counted, and the truncated form for privacy.
//!
//! An IPv4-mapped IPv6 address (`::ffff:192.0.2.1`, what a dual-stack socket reports) is the IPv4 address everywhere;
//! otherwise a rule written for one form would miss the other. `::/0` therefore means all of IPv6, not all of IPv4.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
    sync::Arc,
};

/// One network: an address and the number of leading bits that count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cidr {
    address: IpAddr,
    prefix: u8,
}

impl Cidr {
    /// The network of `address` with `prefix` leading bits, or `None` if it cannot have that many.
    pub const fn new(address: IpAddr, prefix: u8) -> Option<Self> {
        let most = match address {
            IpAddr::V4(_) => 32,
            IpAddr::V6(_) => 128,
        };
        if prefix > most { None } else { Some(Cidr { address, prefix }) }
    }
}

impl FromStr for Cidr {
    type Err = CidrError;

    /// Reads `192.0.2.0/24`, `2001:db8::/32`, or a single address. Host bits may be set; they do not count.
    fn from_str(text: &str) -> Result<Self, CidrError> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| CidrError::Address)?;
        let prefix = match prefix {
            None if address.is_ipv4() => 32,
            None => 128,
            // `u8::from_str` also reads `+8` and `008`; neither is a prefix length.
            Some(digits) if digits.len() > 1 && digits.starts_with('0') => return Err(CidrError::Prefix),
            Some(digits) if !digits.bytes().all(|b| b.is_ascii_digit()) => return Err(CidrError::Prefix),
            Some(digits) => digits.parse().map_err(|_| CidrError::Prefix)?,
        };
        Cidr::new(address, prefix).ok_or(CidrError::Prefix)
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// Why a text is not a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CidrError {
    /// The part before the slash is not an IPv4 or IPv6 address.
    Address,
    /// The part after the slash is not a number of bits that such an address has.
    Prefix,
}

impl fmt::Display for CidrError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            CidrError::Address => "not an IP address",
            CidrError::Prefix => "not a prefix length of that kind of address",
        })
    }
}

impl std::error::Error for CidrError {}

/// A set of networks. Membership is a binary search over sorted, merged ranges; a clone shares them.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct AddressSet {
    v4: Arc<[(u32, u32)]>,
    v6: Arc<[(u128, u128)]>,
}

impl AddressSet {
    /// The set of these networks.
    pub fn new(networks: impl IntoIterator<Item = Cidr>) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for Cidr { address, prefix } in networks {
            match address {
                IpAddr::V4(address) => v4.push(range4(address, prefix)),
                IpAddr::V6(address) => match (address.to_ipv4_mapped(), prefix.checked_sub(96)) {
                    (Some(mapped), Some(prefix)) => v4.push(range4(mapped, prefix)),
                    _ => v6.push(range6(address, prefix)),
                },
            }
        }
        AddressSet { v4: merge(v4, |end| end.checked_add(1)), v6: merge(v6, |end| end.checked_add(1)) }
    }

    /// Whether `address` lies in one of the networks.
    pub fn contains(&self, address: IpAddr) -> bool {
        match address.to_canonical() {
            IpAddr::V4(address) => holds(&self.v4, address.to_bits()),
            IpAddr::V6(address) => holds(&self.v6, address.to_bits()),
        }
    }

    /// Whether no address is in the set.
    pub fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty()
    }
}

impl From<Vec<(IpAddr, u8)>> for AddressSet {
    /// A prefix longer than the address has bits means that one address.
    fn from(networks: Vec<(IpAddr, u8)>) -> Self {
        AddressSet::new(networks.into_iter().map(|(address, prefix)| {
            let most = if address.is_ipv4() { 32 } else { 128 };
            Cidr { address, prefix: prefix.min(most) }
        }))
    }
}

impl FromIterator<Cidr> for AddressSet {
    fn from_iter<I: IntoIterator<Item = Cidr>>(networks: I) -> Self {
        AddressSet::new(networks)
    }
}

impl fmt::Debug for AddressSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let v4 =
            self.v4.iter().map(|(a, b)| (IpAddr::V4(Ipv4Addr::from(*a)), IpAddr::V4(Ipv4Addr::from(*b))));
        let v6 =
            self.v6.iter().map(|(a, b)| (IpAddr::V6(Ipv6Addr::from(*a)), IpAddr::V6(Ipv6Addr::from(*b))));
        f.debug_list().entries(v4.chain(v6).map(|(a, b)| format!("{a}-{b}"))).finish()
    }
}

/// The key by which a client is counted: one IPv4 address, or the /64 that one IPv6 subscriber holds at least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AddressBlock {
    /// One IPv4 address.
    V4(u32),
    /// The upper 64 bits of an IPv6 address.
    V6(u64),
}

impl AddressBlock {
    /// The block of an address.
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => AddressBlock::V4(address.to_bits()),
            IpAddr::V6(address) => AddressBlock::V6(upper64(address)),
        }
    }

    /// The /24 (IPv6: /48) around the block.
    pub const fn prefix24(self) -> AddressPrefix {
        match self {
            AddressBlock::V4(bits) => AddressPrefix::V4(bits & 0xffff_ff00),
            AddressBlock::V6(bits) => AddressPrefix::V6(bits & 0xffff_ffff_ffff_0000),
        }
    }
}

impl From<IpAddr> for AddressBlock {
    fn from(address: IpAddr) -> Self {
        AddressBlock::of(address)
    }
}

impl fmt::Display for AddressBlock {
    /// `192.0.2.7` or `2001:db8:0:1::/64`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            AddressBlock::V4(bits) => Ipv4Addr::from_bits(bits).fmt(f),
            AddressBlock::V6(bits) => write!(f, "{}/64", Ipv6Addr::from_bits(u128::from(bits) << 64)),
        }
    }
}

/// A neighbourhood of clients: an IPv4 /24 or an IPv6 /48. Its text is the truncated address of privacy-aware logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AddressPrefix {
    /// An IPv4 address whose last 8 bits are zero.
    V4(u32),
    /// The upper 64 bits of an IPv6 address, of which the last 16 are zero.
    V6(u64),
}

impl AddressPrefix {
    /// The neighbourhood of an address.
    pub fn of(address: IpAddr) -> Self {
        AddressBlock::of(address).prefix24()
    }
}

impl fmt::Display for AddressPrefix {
    /// `192.0.2.0/24` or `2001:db8::/48`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            AddressPrefix::V4(bits) => write!(f, "{}/24", Ipv4Addr::from_bits(bits)),
            AddressPrefix::V6(bits) => write!(f, "{}/48", Ipv6Addr::from_bits(u128::from(bits) << 64)),
        }
    }
}

fn upper64(address: Ipv6Addr) -> u64 {
    // The shift leaves 64 bits, so nothing is cut off.
    (address.to_bits() >> 64) as u64
}

/// First and last address of an IPv4 network.
fn range4(address: Ipv4Addr, prefix: u8) -> (u32, u32) {
    let rest = u32::MAX.checked_shr(u32::from(prefix)).unwrap_or(0);
    let first = address.to_bits() & !rest;
    (first, first | rest)
}

/// First and last address of an IPv6 network.
fn range6(address: Ipv6Addr, prefix: u8) -> (u128, u128) {
    let rest = u128::MAX.checked_shr(u32::from(prefix)).unwrap_or(0);
    let first = address.to_bits() & !rest;
    (first, first | rest)
}

/// Sorts the ranges and joins those that overlap or touch.
fn merge<T: Copy + Ord>(mut ranges: Vec<(T, T)>, next: impl Fn(T) -> Option<T>) -> Arc<[(T, T)]> {
    ranges.sort_unstable();
    let mut merged: Vec<(T, T)> = Vec::with_capacity(ranges.len());
    for (first, last) in ranges {
        match merged.last_mut() {
            Some(previous) if next(previous.1).is_none_or(|next| first <= next) => {
                previous.1 = previous.1.max(last);
            }
            _ => merged.push((first, last)),
        }
    }
    merged.into()
}

/// Whether one of the sorted, disjoint ranges holds `value`.
fn holds<T: Copy + Ord>(ranges: &[(T, T)], value: T) -> bool {
    let after = ranges.partition_point(|(first, _)| *first <= value);
    after.checked_sub(1).and_then(|at| ranges.get(at)).is_some_and(|(_, last)| value <= *last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn set(networks: &[&str]) -> AddressSet {
        networks.iter().map(|text| text.parse::<Cidr>().unwrap()).collect()
    }

    #[test]
    fn membership_ends_exactly_at_the_edges_of_a_network() {
        let cases: &[(&[&str], &str, bool)] = &[
            (&["192.0.2.0/24"], "192.0.2.0", true),
            (&["192.0.2.0/24"], "192.0.2.255", true),
            (&["192.0.2.0/24"], "192.0.3.0", false),
            (&["192.0.2.0/24"], "192.0.1.255", false),
            (&["192.0.2.77/24"], "192.0.2.1", true),
            (&["192.0.2.7"], "192.0.2.7", true),
            (&["192.0.2.7"], "192.0.2.8", false),
            (&["0.0.0.0/0"], "255.255.255.255", true),
            (&["0.0.0.0/0"], "::1", false),
            (&["::/0"], "192.0.2.1", false),
            (&["::/0"], "::ffff:192.0.2.1", false),
            (&["::/0"], "ffff::", true),
            (&["2001:db8::/32"], "2001:db8:ffff::1", true),
            (&["2001:db8::/32"], "2001:db9::", false),
            (&["192.0.2.0/24"], "::ffff:192.0.2.9", true),
            (&["::ffff:192.0.2.0/120"], "192.0.2.9", true),
            (&["::ffff:192.0.2.0/120"], "192.0.3.9", false),
            (&["10.0.0.0/9", "10.128.0.0/9", "10.1.0.0/16"], "10.255.255.255", true),
            (&["10.0.0.0/9", "10.128.0.0/9", "10.1.0.0/16"], "11.0.0.0", false),
            (&[], "127.0.0.1", false),
        ];
        for (networks, address, expected) in cases {
            assert_eq!(set(networks).contains(ip(address)), *expected, "{networks:?} {address}");
        }
    }

    #[test]
    fn touching_networks_become_one_range() {
        assert_eq!(set(&["10.0.0.0/9", "10.128.0.0/9"]), set(&["10.0.0.0/8"]));
        assert_ne!(set(&["10.0.0.0/9"]), set(&["10.0.0.0/8"]));
        assert_eq!(set(&["255.0.0.0/8", "255.255.255.255"]), set(&["255.0.0.0/8"]));
    }

    #[test]
    fn a_network_that_cannot_be_read_is_an_error() {
        let cases = [
            ("192.0.2.0/33", CidrError::Prefix),
            ("192.0.2.0/", CidrError::Prefix),
            ("192.0.2.0/+8", CidrError::Prefix),
            ("192.0.2.0/08", CidrError::Prefix),
            ("::/129", CidrError::Prefix),
            ("192.0.2/24", CidrError::Address),
            ("example.com", CidrError::Address),
            ("", CidrError::Address),
        ];
        for (text, error) in cases {
            assert_eq!(text.parse::<Cidr>(), Err(error), "{text}");
        }
    }

    #[test]
    fn a_set_from_pairs_equals_the_set_from_texts() {
        let pairs =
            AddressSet::from(vec![(ip("192.0.2.0"), 24), (ip("2001:db8::"), 32), (ip("198.51.100.1"), 99)]);
        assert_eq!(pairs, set(&["192.0.2.0/24", "2001:db8::/32", "198.51.100.1"]));
        assert!(!pairs.is_empty() && AddressSet::default().is_empty());
    }

    #[test]
    fn clients_are_counted_by_address_and_by_the_64_of_ipv6() {
        assert_eq!(AddressBlock::of(ip("2001:db8::1")), AddressBlock::of(ip("2001:db8::2")));
        assert_ne!(AddressBlock::of(ip("2001:db8:0:1::1")), AddressBlock::of(ip("2001:db8:0:2::1")));
        assert_ne!(AddressBlock::of(ip("192.0.2.1")), AddressBlock::of(ip("192.0.2.2")));
        assert_eq!(AddressBlock::of(ip("::ffff:192.0.2.1")), AddressBlock::of(ip("192.0.2.1")));
        assert_eq!(AddressBlock::of(ip("192.0.2.1")).to_string(), "192.0.2.1");
        assert_eq!(AddressBlock::of(ip("2001:db8:0:1::1")).to_string(), "2001:db8:0:1::/64");
    }

    #[test]
    fn a_truncated_address_keeps_the_24_or_48() {
        assert_eq!(AddressPrefix::of(ip("192.0.2.77")).to_string(), "192.0.2.0/24");
        assert_eq!(AddressPrefix::of(ip("::ffff:192.0.2.77")).to_string(), "192.0.2.0/24");
        assert_eq!(AddressPrefix::of(ip("2001:db8:1:2:3::4")).to_string(), "2001:db8:1::/48");
        assert_ne!(AddressPrefix::of(ip("192.0.2.1")), AddressPrefix::of(ip("192.0.3.1")));
    }

    #[test]
    fn debug_shows_ranges() {
        assert_eq!(format!("{:?}", set(&["192.0.2.0/24"])), r#"["192.0.2.0-192.0.2.255"]"#);
    }
}
