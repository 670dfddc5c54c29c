//! What must not be told, and how it is hidden.
//!
//! Header names are matched against a fixed table *and* a list of word parts, so that a header nobody thought of
//! (`x-internal-token`) is hidden too: hiding one too many costs a little insight, one too few costs a secret.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use aws_lc_rs::{
    hmac,
    rand::{SecureRandom, SystemRandom},
};

use crate::plan::AddressPrivacy;

/// What stands in place of a hidden value.
pub const MASK: &str = "***";

/// Headers that carry credentials or proofs of them.
pub const SECRET_HEADERS: [&str; 16] = [
    "api-key",
    "apikey",
    "authentication-info",
    "authorization",
    "client-cert",
    "client-cert-chain",
    "cookie",
    "dpop",
    "proxy-authenticate",
    "proxy-authorization",
    "set-cookie",
    "set-cookie2",
    "www-authenticate",
    "x-amz-security-token",
    "x-api-key",
    "x-goog-api-key",
];

/// Parts of a name that make any header a secret one.
const SECRET_PARTS: [&str; 12] = [
    "api-key",
    "apikey",
    "assertion",
    "auth",
    "cookie",
    "credential",
    "csrf",
    "passw",
    "secret",
    "session",
    "signature",
    "token",
];

/// Headers that tell a client's address.
const ADDRESS_HEADERS: [&str; 12] = [
    "cf-connecting-ip",
    "client-ip",
    "fastly-client-ip",
    "forwarded",
    "true-client-ip",
    "x-client-ip",
    "x-client-ipaddress",
    "x-cluster-client-ip",
    "x-envoy-external-address",
    "x-forwarded",
    "x-forwarded-for",
    "x-real-ip",
];

/// Whether the value of the header with this lower-case name is never written in clear.
pub fn is_secret_header(name: &str) -> bool {
    // `:authority` and `authority` name a host; they are the one ordinary word with `auth` in it.
    name != "authority"
        && (SECRET_HEADERS.contains(&name) || SECRET_PARTS.iter().any(|part| name.contains(part)))
}

/// Whether the header with this lower-case name tells a client's address.
pub fn is_address_header(name: &str) -> bool {
    ADDRESS_HEADERS.contains(&name)
}

/// Most bytes of a parameter's name that are shown: a longer one is more likely a value.
const NAME_BYTES_MAX: usize = 64;

/// Appends `query` with each value as `***`. A parameter without `=` is hidden whole: it may well be a secret.
pub fn mask_query(query: &[u8], out: &mut Vec<u8>) {
    for (index, pair) in query.split(|byte| *byte == b'&').enumerate() {
        if index > 0 {
            out.push(b'&');
        }
        match pair.iter().position(|byte| *byte == b'=') {
            Some(end) if end <= NAME_BYTES_MAX => {
                out.extend_from_slice(pair.get(..end).unwrap_or_default());
                out.push(b'=');
                out.extend_from_slice(MASK.as_bytes());
            }
            None if pair.is_empty() => {}
            _ => out.extend_from_slice(MASK.as_bytes()),
        }
    }
}

/// The key for hashed addresses. Without it, all four thousand million IPv4 addresses could be tried.
pub struct AddressKey(hmac::Key);

impl AddressKey {
    /// A key of this process; hashes of two runs cannot be compared. Fails when the system gives no randomness.
    pub fn random() -> Result<Self, NoRandomness> {
        let mut bytes = [0_u8; 32];
        SystemRandom::new().fill(&mut bytes).map_err(|_| NoRandomness)?;
        Ok(AddressKey::from_secret(&bytes))
    }

    /// A given key, so that hashes can be compared over time and between nodes.
    pub fn from_secret(secret: &[u8]) -> Self {
        AddressKey(hmac::Key::new(hmac::HMAC_SHA256, secret))
    }

    /// The first 64 bits of the address's HMAC-SHA-256.
    fn hash(&self, address: IpAddr) -> u64 {
        let tag = match address {
            IpAddr::V4(v4) => hmac::sign(&self.0, &v4.octets()),
            IpAddr::V6(v6) => hmac::sign(&self.0, &v6.octets()),
        };
        let mut head = [0_u8; 8];
        for (to, from) in head.iter_mut().zip(tag.as_ref()) {
            *to = *from;
        }
        u64::from_be_bytes(head)
    }
}

impl std::fmt::Debug for AddressKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AddressKey(…)")
    }
}

/// The system gave no random bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoRandomness;

impl std::fmt::Display for NoRandomness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the system gave no random bytes")
    }
}

impl std::error::Error for NoRandomness {}

/// An address as the access log may show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShownAddress {
    /// As it is, or with its last part zeroed.
    Address(IpAddr),
    /// 64 bits of its keyed hash.
    Hash(u64),
}

impl ShownAddress {
    /// What may be shown of `address`. An IPv4 address written as IPv6 is treated as IPv4.
    pub fn of(address: IpAddr, privacy: AddressPrivacy, key: &AddressKey) -> Self {
        let address = address.to_canonical();
        match privacy {
            AddressPrivacy::Full => ShownAddress::Address(address),
            AddressPrivacy::Truncated => ShownAddress::Address(truncated(address)),
            AddressPrivacy::Hashed => ShownAddress::Hash(key.hash(address)),
        }
    }
}

impl std::fmt::Display for ShownAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ShownAddress::Address(address) => address.fmt(f),
            ShownAddress::Hash(hash) => write!(f, "{hash:016x}"),
        }
    }
}

/// The address without its last octet (IPv4, a /24) or without its last 80 bits (IPv6, a /48).
fn truncated(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(v4) => IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() & (u32::MAX << 8))),
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 80))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credential_headers_are_secret_and_ordinary_ones_are_not() {
        for (name, secret) in [
            ("authorization", true),
            ("x-internal-token", true),
            ("x-my-api-key", true),
            ("x-auth-request-user", true),
            ("x-hub-signature-256", true),
            ("cookie", true),
            ("dpop", true),
            ("accept", false),
            ("user-agent", false),
            ("x-request-id", false),
            ("authority", false),
            ("idempotency-key", false),
            ("traceparent", false),
        ] {
            assert_eq!(is_secret_header(name), secret, "{name}");
        }
        assert!(SECRET_HEADERS.iter().all(|name| is_secret_header(name)));
    }

    #[test]
    fn query_values_are_masked_and_names_are_shown() {
        let long = "k".repeat(65);
        for (query, masked) in [
            ("", ""),
            ("a=1", "a=***"),
            ("a=1&b=2", "a=***&b=***"),
            ("a=", "a=***"),
            ("sk-secret", "***"),
            ("a=b=c", "a=***"),
            ("a=1&&b", "a=***&&***"),
            ("=v", "=***"),
            (&format!("{long}=1"), "***"),
            ("token=abc%26d", "token=***"),
        ] {
            let mut out = Vec::new();
            mask_query(query.as_bytes(), &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), masked, "{query}");
        }
    }

    #[test]
    fn an_address_is_shown_as_its_privacy_says() {
        let key = AddressKey::from_secret(b"key");
        for (address, full, truncated) in [
            ("192.0.2.77", "192.0.2.77", "192.0.2.0"),
            ("::ffff:192.0.2.77", "192.0.2.77", "192.0.2.0"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2:3:4:5:6", "2001:db8:1::"),
            ("::1", "::1", "::"),
        ] {
            let address: IpAddr = address.parse().unwrap();
            let shown = |privacy| ShownAddress::of(address, privacy, &key).to_string();
            assert_eq!(shown(AddressPrivacy::Full), full);
            assert_eq!(shown(AddressPrivacy::Truncated), truncated);
            assert_eq!(shown(AddressPrivacy::Hashed).len(), 16);
        }
    }

    #[test]
    fn hashes_are_equal_for_one_address_and_key_and_differ_otherwise() {
        let [a, b] = ["192.0.2.1", "192.0.2.2"].map(|text| text.parse::<IpAddr>().unwrap());
        let mapped: IpAddr = "::ffff:192.0.2.1".parse().unwrap();
        let [one, two] = [&b"one"[..], b"two"].map(AddressKey::from_secret);
        let hash = |address, key| ShownAddress::of(address, AddressPrivacy::Hashed, key);
        assert_eq!(hash(a, &one), hash(a, &one));
        assert_eq!(hash(a, &one), hash(mapped, &one));
        assert_ne!(hash(a, &one), hash(b, &one));
        assert_ne!(hash(a, &one), hash(a, &two));
        assert_ne!(
            hash(a, &AddressKey::random().unwrap()),
            hash(a, &AddressKey::random().unwrap()),
            "each process has its own key"
        );
    }

    #[test]
    fn a_hash_is_the_beginning_of_the_hmac() {
        // RFC 4231 has no four-byte message; this value was computed with `openssl dgst -sha256 -hmac key`.
        let key = AddressKey::from_secret(b"key");
        let shown = ShownAddress::of("192.0.2.1".parse().unwrap(), AddressPrivacy::Hashed, &key);
        assert_eq!(shown.to_string(), "f9abd5f08ec82598");
    }

    #[test]
    fn the_key_is_not_printed() {
        assert_eq!(format!("{:?}", AddressKey::from_secret(b"hunter2")), "AddressKey(…)");
    }
}
