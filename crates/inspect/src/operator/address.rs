//! `@ipMatch`: networks. A network that cannot be read is a load error; skipping it would shorten a block list
//! without a word.

use std::net::IpAddr;

/// A set of networks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddressSet {
    networks: Vec<(u128, u128, bool)>,
}

impl AddressSet {
    /// Adds `address` or `address/prefix`; false when it is neither.
    #[must_use]
    pub fn add(&mut self, text: &str) -> bool {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let Ok(address) = address.parse::<IpAddr>() else { return false };
        let (bits, value, is_v4) = number(address);
        let prefix = match prefix {
            Some(prefix) => match prefix.parse::<u32>() {
                Ok(prefix) if prefix <= bits => prefix,
                _ => return false,
            },
            None => bits,
        };
        let mask = if prefix == 0 { 0 } else { u128::MAX << (bits - prefix) };
        self.networks.push((value & mask, mask, is_v4));
        true
    }

    /// Whether the address is in one of the networks.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let (_, value, is_v4) = number(address);
        self.networks.iter().any(|(network, mask, v4)| *v4 == is_v4 && value & mask == *network)
    }

    /// As [`Self::contains`] for a text; what is no address is in no network.
    #[must_use]
    pub fn contains_text(&self, text: &[u8]) -> bool {
        std::str::from_utf8(text)
            .ok()
            .and_then(|text| text.parse().ok())
            .is_some_and(|address| self.contains(address))
    }
}

/// An IPv4 address written as IPv6 is the same address.
fn number(address: IpAddr) -> (u32, u128, bool) {
    match address.to_canonical() {
        IpAddr::V4(address) => (32, u128::from(address.to_bits()), true),
        IpAddr::V6(address) => (128, address.to_bits(), false),
    }
}
