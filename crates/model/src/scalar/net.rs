//! Places in a network: hosts, networks, addresses to listen on, URLs of endpoints.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str::FromStr,
};

use super::{Wrong, from_text, scalar, text_shape};
use crate::problem::{Code, clipped, shown};

/// A host as requests name it: `api.example.com`, `*.example.com`, `192.0.2.1` or `[2001:db8::1]`; in lower case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostText(String);

impl HostText {
    /// The host in lower case, an IPv6 address in brackets.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The part after `*.`, when it stands for all names below one.
    pub fn suffix(&self) -> Option<&str> {
        self.0.strip_prefix("*.")
    }
}

impl FromStr for HostText {
    type Err = Wrong;

    fn from_str(text: &str) -> Result<Self, Wrong> {
        let wrong = || Wrong::new(Code::BadHost, format!("{} is not a host", shown(text)));
        if let Some((_, rest)) = text.split_once("://") {
            let host = rest.split(['/', ':']).next().unwrap_or_default();
            return Err(wrong().hint(format!("write the host alone: `{}`", clipped(host))));
        }
        let bare = text.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(text);
        if let Ok(address) = bare.parse::<Ipv6Addr>() {
            return Ok(HostText(format!("[{address}]")));
        }
        if text.starts_with('[') {
            return Err(wrong().hint("write an IPv6 address between the brackets and nothing after them"));
        }
        if let Some((host, _)) = text.split_once(':') {
            return Err(wrong().hint(format!("write it without the port: `{}`", clipped(host))));
        }
        if text == "*" {
            return Err(wrong().hint("leave the field out to mean every host"));
        }
        let name = text.strip_prefix("*.").unwrap_or(text);
        check_domain(name, false).map_err(|hint| wrong().hint(hint))?;
        if name.len() != text.len() && name.parse::<Ipv4Addr>().is_ok() {
            return Err(wrong().hint("`*` stands for names, not for parts of an address"));
        }
        Ok(HostText(text.to_ascii_lowercase()))
    }
}

impl fmt::Display for HostText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

scalar!(HostText, from_text, text_shape("host", "^(\\*\\.)?[A-Za-z0-9.:\\[\\]-]+$", "api.example.com"));

/// RFC 1123 §2.1: labels of letters, digits and inner hyphens. A name that ends in a number is an IPv4 address or
/// nothing, because resolvers would take `127.1` for one. The error is the hint.
fn check_domain(name: &str, underscores: bool) -> Result<(), String> {
    if name.is_empty() || name.len() > 253 {
        return Err("write a name of 1 to 253 characters".to_owned());
    }
    if !name.is_ascii() {
        return Err("write an international name in its ASCII form (`xn--…`)".to_owned());
    }
    if let Some(bare) = name.strip_suffix('.') {
        return Err(format!("write `{}` without the final dot", clipped(bare)));
    }
    for label in name.split('.') {
        let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || (underscores && byte == b'_');
        let sound = (1..=63).contains(&label.len())
            && label.bytes().all(inner)
            && !label.starts_with('-')
            && !label.ends_with('-');
        if !sound {
            return Err(
                "write letters, digits and `-`, in parts of 1 to 63 characters joined by dots".to_owned()
            );
        }
    }
    let last = name.rsplit('.').next().unwrap_or_default();
    let hexadecimal = last.strip_prefix("0x").or(last.strip_prefix("0X"));
    let number = last.bytes().all(|byte| byte.is_ascii_digit())
        || hexadecimal.is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
    if number && name.parse::<Ipv4Addr>().is_err() {
        return Err("write an IPv4 address as four decimal numbers from 0 to 255".to_owned());
    }
    Ok(())
}

/// An IP network: `192.0.2.0/24`, `2001:db8::/32`; a plain address is a network of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cidr {
    /// The network's first address; all bits after the prefix are 0.
    pub address: IpAddr,
    /// How many leading bits count.
    pub prefix: u8,
}

impl Cidr {
    /// Whether the address lies in the network. An IPv4 address in IPv6 clothes (`::ffff:192.0.2.1`) is an IPv4
    /// address.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                (network.to_bits() ^ address.to_bits()).leading_zeros() >= u32::from(self.prefix)
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                (network.to_bits() ^ address.to_bits()).leading_zeros() >= u32::from(self.prefix)
            }
            _ => false,
        }
    }
}

/// The address with all bits after the prefix set to 0.
fn masked(address: IpAddr, prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32_u32.saturating_sub(prefix.into())).unwrap_or(0);
            Ipv4Addr::from_bits(v4.to_bits() & mask).into()
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128_u32.saturating_sub(prefix.into())).unwrap_or(0);
            Ipv6Addr::from_bits(v6.to_bits() & mask).into()
        }
    }
}

impl FromStr for Cidr {
    type Err = Wrong;

    fn from_str(text: &str) -> Result<Self, Wrong> {
        let wrong = || Wrong::new(Code::BadNetwork, format!("{} is not an IP network", shown(text)));
        let form = "write an address and a prefix length, for example `192.0.2.0/24` or `2001:db8::/32`";
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| wrong().hint(form))?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => longest,
            Some(digits) => {
                let plain = (1..=3).contains(&digits.len())
                    && digits.bytes().all(|byte| byte.is_ascii_digit())
                    && (digits == "0" || !digits.starts_with('0'));
                let length = digits.parse::<u8>().ok().filter(|length| plain && *length <= longest);
                length.ok_or_else(|| wrong().hint(format!("write a prefix length from 0 to {longest}")))?
            }
        };
        // Addresses of connections are compared in canonical form, so such a network would contain nothing.
        if let (IpAddr::V6(v6), IpAddr::V4(v4)) = (address, address.to_canonical())
            && prefix >= 96
        {
            let meant = Cidr { address: masked(v4.into(), prefix - 96), prefix: prefix - 96 };
            let message = format!("`{v6}` is an IPv4 address written as IPv6");
            return Err(Wrong::new(Code::BadNetwork, message).hint(format!("write `{meant}`")));
        }
        let network = Cidr { address: masked(address, prefix), prefix };
        if network.address != address {
            let message = format!("{} has bits set after its prefix", shown(text));
            return Err(Wrong::new(Code::BadNetwork, message)
                .hint(format!("the network is `{network}`; the address alone is `{address}`")));
        }
        Ok(network)
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

scalar!(Cidr, from_text, text_shape("IP network", "^[0-9A-Fa-f:.]+(/[0-9]{1,3})?$", "192.0.2.0/24"));

/// A socket address to listen on: `127.0.0.1:8080`, `[::1]:8443`. Port 0 lets the system choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ListenAddress(pub SocketAddr);

impl ListenAddress {
    /// The socket address.
    pub const fn get(self) -> SocketAddr {
        self.0
    }
}

impl FromStr for ListenAddress {
    type Err = Wrong;

    fn from_str(text: &str) -> Result<Self, Wrong> {
        if let Ok(address) = text.parse() {
            return Ok(ListenAddress(address));
        }
        let wrong = Wrong::new(Code::BadAddress, format!("{} is not an address to listen on", shown(text)));
        let form = "write address and port, for example `127.0.0.1:8080` or `[::1]:8443`";
        let port_of = |text: &str| text.parse::<u16>().ok();
        let (host, port) = text.rsplit_once(':').unwrap_or(("", text));
        Err(match (host, port_of(port)) {
            ("" | "*", Some(port)) => wrong.hint(format!(
                "say on which addresses: `127.0.0.1:{port}` for this machine only, `0.0.0.0:{port}` or `[::]:{port}` for all"
            )),
            ("localhost", Some(port)) => wrong.hint(format!("write `127.0.0.1:{port}` or `[::1]:{port}`")),
            (host, Some(port)) if host.parse::<Ipv6Addr>().is_ok() => {
                wrong.hint(format!("put the IPv6 address in brackets: `[{host}]:{port}`"))
            }
            _ if text.parse::<IpAddr>().is_ok() => wrong.hint("add a port, for example `:8080`"),
            _ => wrong.hint(form),
        })
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

scalar!(ListenAddress, from_text, text_shape("socket address", "^.+:[0-9]{1,5}$", "127.0.0.1:8080"));

/// Where a service answers: `http://orders.internal:8080`, `https://[2001:db8::1]:8443`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EndpointUrl {
    /// Whether TLS is spoken (`https`).
    pub tls: bool,
    /// The host in lower case; an IPv6 address without brackets.
    pub host: String,
    /// The port; where none is written, 80 or 443.
    pub port: u16,
}

impl EndpointUrl {
    /// The host as an address, when it is one.
    pub fn address(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }

    /// Host and port as in a `Host` header: an IPv6 address in brackets, the scheme's own port left out.
    pub fn authority(&self) -> String {
        let usual = if self.tls { 443 } else { 80 };
        let host = self.bracketed();
        if self.port == usual { host } else { format!("{host}:{}", self.port) }
    }

    fn bracketed(&self) -> String {
        if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() }
    }
}

impl FromStr for EndpointUrl {
    type Err = Wrong;

    fn from_str(text: &str) -> Result<Self, Wrong> {
        let form = "write scheme, host and port, for example `http://orders.internal:8080`";
        // Before anything else, so that no message quotes a password.
        if text.contains('@') {
            let message =
                "the URL has a user or password, and a secret's value does not belong in a document";
            return Err(Wrong::new(Code::SecretInDocument, message)
                .hint("remove the part before `@`; an upstream's `credential` refers to a secret"));
        }
        let wrong = || Wrong::new(Code::BadUrl, format!("{} is not the URL of an endpoint", shown(text)));
        let (scheme, rest) = text.split_once("://").ok_or_else(|| wrong().hint(form))?;
        let tls = match scheme.to_ascii_lowercase().as_str() {
            "http" => false,
            "https" => true,
            "ws" | "grpc" => {
                return Err(wrong().hint("write `http://`: upgrades and gRPC need no scheme of their own"));
            }
            "wss" | "grpcs" => {
                return Err(wrong().hint("write `https://`: upgrades and gRPC need no scheme of their own"));
            }
            _ => return Err(wrong().hint(form)),
        };
        let end = rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at_checked(end).unwrap_or((rest, ""));
        if !matches!(path, "" | "/") {
            return Err(wrong().hint(format!(
                "write `{}://{}`; paths are changed by a route's rewrite",
                scheme.to_ascii_lowercase(),
                clipped(authority)
            )));
        }
        let (host, port) = split_port(authority).ok_or_else(|| wrong().hint(form))?;
        let port = match port {
            None => {
                if tls {
                    443
                } else {
                    80
                }
            }
            Some(digits) => {
                decimal_port(digits).ok_or_else(|| wrong().hint("write a port from 1 to 65535"))?
            }
        };
        let host = match host.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')) {
            Some(inner) => {
                let address: Ipv6Addr = inner.parse().map_err(|_| wrong().hint(form))?;
                address.to_string()
            }
            None => {
                // Container networks name services with underscores, and resolvers answer for them.
                check_domain(host, true).map_err(|hint| wrong().hint(hint))?;
                host.to_ascii_lowercase()
            }
        };
        Ok(EndpointUrl { tls, host, port })
    }
}

/// Host and port of an authority; `None` where it cannot be told which is which.
fn split_port(authority: &str) -> Option<(&str, Option<&str>)> {
    if authority.starts_with('[') {
        let (inner, after) = authority.split_at_checked(authority.find(']')? + 1)?;
        return match after.strip_prefix(':') {
            Some(port) => Some((inner, Some(port))),
            None => after.is_empty().then_some((inner, None)),
        };
    }
    match authority.split_once(':') {
        Some((_, port)) if port.contains(':') => None,
        Some((host, port)) => Some((host, Some(port))),
        None => Some((authority, None)),
    }
}

fn decimal_port(digits: &str) -> Option<u16> {
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit()) && !digits.starts_with('0');
    digits.parse().ok().filter(|_| plain)
}

impl fmt::Display for EndpointUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}:{}", self.bracketed(), self.port)
    }
}

scalar!(
    EndpointUrl,
    from_text,
    text_shape("endpoint URL", "^[Hh][Tt][Tt][Pp][Ss]?://[^/?#@\\\\]+/?$", "http://orders.internal:8080")
);
