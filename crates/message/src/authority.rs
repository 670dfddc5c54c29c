//! The authority: which host a request is for.
//!
//! Parsed once into one spelling (lower-case, no trailing dot, IPv6 in its shortest form), so that routing, policy and
//! the TLS name can be compared as plain text. Anything that some server reads differently is refused: user
//! information, percent-encoding, empty or out-of-range ports, and numbers that only `inet_aton` takes for addresses.

use std::{
    fmt::{self, Write},
    hash::{Hash, Hasher},
    net::{Ipv4Addr, Ipv6Addr},
    rc::Rc,
};

use bartizan_model::Denial;

use crate::{facts::Scheme, inline::Inline, refuse::malformed};

/// A host and an optional port, in canonical spelling.
///
/// The text is shared: the one that [`AuthorityMemo`] keeps is handed to every request for that host.
#[derive(Clone)]
pub struct Authority {
    text: Rc<str>,
    host_len: u8,
    port: Option<u16>,
}

impl Authority {
    /// Reads `host` or `host:port`.
    ///
    /// # Errors
    ///
    /// `MalformedRequest` if it is anything else than a DNS name (A-labels for international ones), an IPv4 address in
    /// four decimal parts, or an IPv6 address in brackets, with a port of 1 to 65535.
    pub fn parse(raw: &[u8]) -> Result<Self, Denial> {
        let (host, port) = split(raw)?;
        let port = port.map(parse_port).transpose()?;
        match host {
            [b'[', literal @ .., b']'] => Self::of_ipv6(literal, port),
            _ => Self::of_name(host, port),
        }
    }

    /// The host: lower-case, without trailing dot; IPv6 in brackets.
    pub fn host(&self) -> &str {
        self.as_str().get(..usize::from(self.host_len)).unwrap_or_default()
    }

    /// The port, if one was given.
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// The port that is meant, given or by the scheme.
    pub fn port_or_default(&self, scheme: Scheme) -> u16 {
        self.port.unwrap_or(scheme.default_port())
    }

    /// Host and port as one text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// [`Authority::as_str`] as bytes.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.text.as_bytes()
    }

    /// Whether both mean the same place under `scheme`: `example.com` and `example.com:443` under https do.
    pub fn agrees_with(&self, other: &Authority, scheme: Scheme) -> bool {
        self.host() == other.host() && self.port_or_default(scheme) == other.port_or_default(scheme)
    }

    fn of_ipv6(literal: &[u8], port: Option<u16>) -> Result<Self, Denial> {
        // RFC 6874 zone identifiers mean something on one machine only, and `IPvFuture` means nothing yet.
        let address: Ipv6Addr = std::str::from_utf8(literal)
            .ok()
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| malformed("host is not an IPv6 address"))?;
        let mut host = Inline::<62>::EMPTY;
        write!(host, "[{address}]").map_err(|_| malformed("host is not an IPv6 address"))?;
        Self::assemble(host.as_bytes(), port)
    }

    fn of_name(raw: &[u8], port: Option<u16>) -> Result<Self, Denial> {
        // One trailing dot only says that the name is complete (RFC 3986 §3.2.2).
        let host = raw.strip_suffix(b".").unwrap_or(raw);
        check_name(host)?;
        Self::assemble(host, port)
    }

    /// `host` is checked and therefore ASCII; here it becomes lower-case and gets its port back.
    fn assemble(host: &[u8], port: Option<u16>) -> Result<Self, Denial> {
        let host_len = u8::try_from(host.len()).map_err(|_| malformed("host is too long"))?;
        let mut text =
            String::from_utf8(host.to_ascii_lowercase()).map_err(|_| malformed("host is not ASCII"))?;
        if let Some(port) = port {
            text.push(':');
            text.push_str(&port.to_string());
        }
        Ok(Authority { text: text.into(), host_len, port })
    }
}

/// The authorities read lately. Callers ask for the same hosts again and again; reading each once is enough.
#[derive(Clone, Debug, Default)]
pub struct AuthorityMemo {
    places: [Option<(Box<[u8]>, Authority)>; MEMO_PLACES],
}

/// Enough that a gateway for a few hosts reads none of them twice, and small enough to be of no use to an attacker.
const MEMO_PLACES: usize = 16;

impl AuthorityMemo {
    /// As [`Authority::parse`], without reading again what was read lately.
    ///
    /// # Errors
    ///
    /// As [`Authority::parse`].
    pub fn parse(&mut self, raw: &[u8]) -> Result<Authority, Denial> {
        // Hosts of one service differ in their length or their first letters.
        let mark = raw.iter().take(4).fold(raw.len(), |mark, byte| mark * 31 + usize::from(*byte));
        let place = self.places.get_mut(mark % MEMO_PLACES);
        if let Some(Some((known, authority))) = &place
            && **known == *raw
        {
            return Ok(authority.clone());
        }
        let authority = Authority::parse(raw)?;
        if let Some(place) = place {
            *place = Some((raw.into(), authority.clone()));
        }
        Ok(authority)
    }
}

/// Host and port text; a colon inside brackets belongs to the address.
fn split(raw: &[u8]) -> Result<(&[u8], Option<&[u8]>), Denial> {
    let after_host = match raw {
        [b'[', ..] => {
            raw.iter()
                .position(|b| *b == b']')
                .ok_or_else(|| malformed("host opens a bracket and never closes it"))?
                + 1
        }
        _ => raw.iter().position(|b| *b == b':').unwrap_or(raw.len()),
    };
    match raw.split_at_checked(after_host) {
        Some((host, [])) => Ok((host, None)),
        Some((host, [b':', port @ ..])) => Ok((host, Some(port))),
        _ => Err(malformed("host is followed by something that is not a port")),
    }
}

/// A port is 1 to 65535 without leading zeros. An empty one is legal by RFC 3986 and read differently by servers.
fn parse_port(digits: &[u8]) -> Result<u16, Denial> {
    let bad = || malformed("port is not a number from 1 to 65535");
    if digits.is_empty() || digits.len() > 5 || digits.starts_with(b"0") {
        return Err(bad());
    }
    let number = digits
        .iter()
        .try_fold(0u32, |sum, digit| digit.is_ascii_digit().then(|| sum * 10 + u32::from(digit - b'0')));
    number.and_then(|number| u16::try_from(number).ok()).ok_or_else(bad)
}

/// RFC 1123 labels, with the underscore that service names use in practice.
fn check_name(host: &[u8]) -> Result<(), Denial> {
    let bad = || malformed("host is not a DNS name or an address");
    if host.is_empty() || host.len() > 253 {
        return Err(malformed("host is empty or longer than 253 bytes"));
    }
    let mut label = 0;
    let mut previous = b'.';
    for byte in host.iter().chain(b".") {
        match byte {
            b'.' if label == 0 || label > 63 || previous == b'-' => return Err(bad()),
            b'.' => label = 0,
            b'-' if label == 0 => return Err(bad()),
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => label += 1,
            _ => return Err(bad()),
        }
        previous = *byte;
    }
    // A name whose last label is a number is taken for an address by every resolver (`127.1`, `0x7f.1`, `2130706433`),
    // and none agree on which; only four decimal parts are admitted.
    let last = host.rsplit(|b| *b == b'.').next().unwrap_or_default();
    if is_number(last)
        && std::str::from_utf8(host).ok().and_then(|text| text.parse::<Ipv4Addr>().ok()).is_none()
    {
        return Err(malformed("host looks like an IPv4 address and is none"));
    }
    Ok(())
}

/// A number to `inet_aton`: decimal, octal, or hexadecimal behind `0x`.
fn is_number(label: &[u8]) -> bool {
    match label {
        [b'0', b'x' | b'X', digits @ ..] => digits.iter().all(u8::is_ascii_hexdigit),
        _ => label.iter().all(u8::is_ascii_digit),
    }
}

impl PartialEq for Authority {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Authority {}

impl Hash for Authority {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
    }
}

impl PartialEq<str> for Authority {
    fn eq(&self, other: &str) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl PartialEq<&str> for Authority {
    fn eq(&self, other: &&str) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(raw: &str) -> Result<Authority, Denial> {
        Authority::parse(raw.as_bytes())
    }

    #[test]
    fn the_memo_answers_for_the_same_bytes_and_no_others() {
        let mut memo = AuthorityMemo::default();
        for raw in ["api.example", "api.example", "API.example:8443", "api.example", "a..b", "api.example"] {
            let read = Authority::parse(raw.as_bytes()).map(|authority| authority.as_str().to_owned());
            let remembered = memo.parse(raw.as_bytes()).map(|authority| authority.as_str().to_owned());
            assert_eq!(remembered.ok(), read.ok(), "{raw}");
        }
    }

    #[test]
    fn every_admitted_host_has_one_spelling() {
        let long = format!("{}.example.com", "a".repeat(63));
        let cases: &[(&str, &str, &str, Option<u16>)] = &[
            ("example.com", "example.com", "example.com", None),
            ("EXAMPLE.Com", "example.com", "example.com", None),
            ("example.com.", "example.com", "example.com", None),
            ("example.com.:8080", "example.com:8080", "example.com", Some(8080)),
            ("Example.com:8080", "example.com:8080", "example.com", Some(8080)),
            ("localhost", "localhost", "localhost", None),
            ("xn--bcher-kva.example", "xn--bcher-kva.example", "xn--bcher-kva.example", None),
            ("orders_service", "orders_service", "orders_service", None),
            ("192.0.2.1:1", "192.0.2.1:1", "192.0.2.1", Some(1)),
            ("[::1]", "[::1]", "[::1]", None),
            ("[0:0:0:0:0:0:0:1]:443", "[::1]:443", "[::1]", Some(443)),
            ("[2001:DB8::A]:65535", "[2001:db8::a]:65535", "[2001:db8::a]", Some(65535)),
            ("1.example", "1.example", "1.example", None),
            ("0xyz.example.0xg", "0xyz.example.0xg", "0xyz.example.0xg", None),
            (&long, &long, &long, None),
        ];
        for (raw, text, host, port) in cases {
            let authority = parse(raw).unwrap_or_else(|denial| panic!("{raw}: {denial}"));
            assert_eq!(authority, *text, "{raw}");
            assert_eq!(authority.host(), *host, "{raw}");
            assert_eq!(authority.port(), *port, "{raw}");
        }
    }

    #[test]
    fn a_host_that_servers_read_differently_is_refused() {
        let label = format!("{}.example", "a".repeat(64));
        let name = "a.".repeat(127) + "example";
        let cases = [
            "",
            ".",
            "..",
            "example..com",
            ".example.com",
            "example.com..",
            "user@example.com",
            "user:secret@example.com",
            "example.com@evil.example",
            "example.com/path",
            "example.com?query",
            "example.com#fragment",
            "example.com\\evil",
            "example.com evil",
            " example.com",
            "example.com ",
            "example.com\t",
            "example%2ecom",
            "example.com%00",
            "example.com:",
            "example.com:0",
            "example.com:080",
            "example.com:65536",
            "example.com:99999999999",
            "example.com:+80",
            "example.com:80:80",
            "example.com:http",
            "example.com: 80",
            ":80",
            "::1",
            "[::1",
            "[::1]x",
            "[::1]:",
            "[::1%25eth0]",
            "[::1%eth0]",
            "[v1.x]",
            "[192.0.2.1]",
            "[]",
            "127.1",
            "127.0.0.1.1",
            "127.0.0.01",
            "0x7f.0.0.1",
            "0x7f000001",
            "2130706433",
            "256.0.0.1",
            "example.0x1f",
            "-example.com",
            "example-.com",
            "exa mple.com",
            "exam,ple.com",
            "example.com,evil.example",
            "example;com",
            "exämple.com",
            "*",
            "*.example.com",
            "http://example.com",
            &label,
            &name,
        ];
        for raw in cases {
            assert!(parse(raw).is_err(), "{raw:?} was admitted");
        }
    }

    #[test]
    fn a_default_port_and_none_mean_the_same_place_under_one_scheme_only() {
        let (bare, https) = (parse("example.com").unwrap(), parse("example.com:443").unwrap());
        assert!(bare.agrees_with(&https, Scheme::Https));
        assert!(!bare.agrees_with(&https, Scheme::Http));
        assert!(!bare.agrees_with(&parse("example.org").unwrap(), Scheme::Https));
    }

    proptest! {
        #[test]
        fn parsing_is_idempotent_and_never_panics(raw in proptest::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(first) = Authority::parse(&raw) {
                prop_assert_eq!(&Authority::parse(first.as_str().as_bytes()).unwrap(), &first);
            }
        }

        #[test]
        fn host_like_text_parses_to_a_fixed_point(raw in r"[\[\]a-zA-Z0-9.:_@%-]{0,80}") {
            if let Ok(first) = Authority::parse(raw.as_bytes()) {
                prop_assert_eq!(&Authority::parse(first.as_str().as_bytes()).unwrap(), &first);
                prop_assert_eq!(first.as_str().to_ascii_lowercase(), first.as_str());
                prop_assert!(!first.host().ends_with('.') && !first.host().is_empty());
            }
        }
    }
}
