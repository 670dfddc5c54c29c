//! Which addresses the gateway may fetch from: the rules against server-side request forgery.
//!
//! A name is resolved once, every address that comes back is judged, and the connection goes to one that was judged,
//! so that a resolver which answers differently a moment later changes nothing. Addresses that are no public ones need
//! a document's word, and those of cloud metadata services are never fetched from.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// How far a document lets a fetch lead.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Access {
    /// Loopback, private and carrier-shared addresses too.
    pub private_network: bool,
    /// Without TLS, and then to those addresses only.
    pub clear_text: bool,
}

/// What kind of address it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// On the internet.
    Public,
    /// On this machine or in a network of one's own.
    Private,
    /// Never fetched from: link-local (cloud metadata), multicast, unspecified, reserved.
    Never,
}

impl Reach {
    /// What kind of address it is. An IPv6 address that stands for an IPv4 address is what that one is.
    pub fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => of_v4(address),
            IpAddr::V6(address) => of_v6(address),
        }
    }
}

impl Access {
    /// Whether a connection to `address` may be made.
    pub fn allows(self, address: IpAddr, is_tls: bool) -> bool {
        match Reach::of(address) {
            Reach::Public => is_tls,
            Reach::Private => self.private_network && (is_tls || self.clear_text),
            Reach::Never => false,
        }
    }
}

fn of_v4(address: Ipv4Addr) -> Reach {
    let [a, b, c, _] = address.octets();
    match (a, b, c) {
        // RFC 6890 and its registry, in order.
        (0, ..) => Reach::Never,
        (10, ..) | (127, ..) | (100, 64..=127, _) | (172, 16..=31, _) | (192, 168, _) => Reach::Private,
        (169, 254, _) => Reach::Never,
        (192, 0, 0 | 2) | (192, 88, 99) | (198, 18..=19, _) | (198, 51, 100) | (203, 0, 113) => Reach::Never,
        (224.., ..) => Reach::Never,
        _ => Reach::Public,
    }
}

fn of_v6(address: Ipv6Addr) -> Reach {
    if address.is_loopback() {
        return Reach::Private;
    }
    let [a, b, c, d, e, f, g, h] = address.segments();
    let v4 = |high: u16, low: u16| {
        let [[a, b], [c, d]] = [high.to_be_bytes(), low.to_be_bytes()];
        of_v4(Ipv4Addr::new(a, b, c, d))
    };
    match (a, b) {
        // IPv4-mapped; NAT64 (RFC 6052); 6to4 (RFC 3056).
        (0, 0) if [c, d, e] == [0, 0, 0] && f == 0xffff => v4(g, h),
        (0x64, 0xff9b) if [c, d, e, f] == [0, 0, 0, 0] => v4(g, h),
        (0x2002, _) => v4(b, c),
        // Unique local.
        (0xfc00..=0xfdff, _) if a == 0xfd00 && b == 0x0ec2 => Reach::Never,
        (0xfc00..=0xfdff, _) => Reach::Private,
        // Of what is left, only global unicast without Teredo, ORCHID and documentation.
        (0x2001, 0..=0x01ff | 0x0db8) | (0x3fff, 0..=0x0fff) => Reach::Never,
        (0x2000..=0x3fff, _) => Reach::Public,
        _ => Reach::Never,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_addresses_are_public() {
        for (address, reach) in [
            ("8.8.8.8", Reach::Public),
            ("2606:4700::1111", Reach::Public),
            ("172.15.0.1", Reach::Public),
            ("172.32.0.1", Reach::Public),
            ("127.0.0.1", Reach::Private),
            ("127.255.255.254", Reach::Private),
            ("10.1.2.3", Reach::Private),
            ("172.16.0.1", Reach::Private),
            ("192.168.1.1", Reach::Private),
            ("100.64.0.1", Reach::Private),
            ("::1", Reach::Private),
            ("fd12:3456::1", Reach::Private),
            ("::ffff:127.0.0.1", Reach::Private),
            ("::ffff:8.8.8.8", Reach::Public),
            ("64:ff9b::a00:1", Reach::Private),
            ("64:ff9b::808:808", Reach::Public),
            ("2002:7f00:1::", Reach::Private),
            ("169.254.169.254", Reach::Never),
            ("::ffff:169.254.169.254", Reach::Never),
            ("64:ff9b::a9fe:a9fe", Reach::Never),
            ("2002:a9fe:a9fe::", Reach::Never),
            ("fd00:ec2::254", Reach::Never),
            ("fe80::1", Reach::Never),
            ("fec0::1", Reach::Never),
            ("ff02::1", Reach::Never),
            ("0.0.0.0", Reach::Never),
            ("::", Reach::Never),
            ("::8.8.8.8", Reach::Never),
            ("224.0.0.1", Reach::Never),
            ("255.255.255.255", Reach::Never),
            ("192.0.2.1", Reach::Never),
            ("2001:db8::1", Reach::Never),
            ("2001::1", Reach::Never),
            ("64:ff9b:1::1", Reach::Never),
        ] {
            assert_eq!(Reach::of(address.parse().unwrap()), reach, "{address}");
        }
    }

    #[test]
    fn private_addresses_and_clear_text_need_the_documents_word() {
        let access = |private_network, clear_text| Access { private_network, clear_text };
        for (address, is_tls, access, allowed) in [
            ("8.8.8.8", true, access(false, false), true),
            ("8.8.8.8", false, access(true, true), false),
            ("127.0.0.1", true, access(false, true), false),
            ("127.0.0.1", true, access(true, false), true),
            ("127.0.0.1", false, access(true, false), false),
            ("127.0.0.1", false, access(false, true), false),
            ("127.0.0.1", false, access(true, true), true),
            ("169.254.169.254", true, access(true, true), false),
        ] {
            let address: IpAddr = address.parse().unwrap();
            assert_eq!(access.allows(address, is_tls), allowed, "{address} {access:?} {is_tls}");
        }
    }
}
