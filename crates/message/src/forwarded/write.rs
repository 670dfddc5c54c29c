//! What the upstream is told about the way a request came.
//!
//! Only what is believed is written, from our own values: `X-Forwarded-For` begins with the client that was found and
//! ends with our peer, so an upstream that trusts us may take its first entry.

use std::{
    fmt::{self, Write},
    net::IpAddr,
};

use http::{HeaderMap, HeaderName, HeaderValue};

use super::{
    FORWARDED, Forwarding, X_CLIENT_IPADDRESS, X_FORWARDED_FOR, X_FORWARDED_HOST, X_FORWARDED_PORT,
    X_FORWARDED_PROTO,
};
use crate::{authority::Authority, facts::Scheme, inline::Inline};

/// Whether the upstream also gets the standard header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RfcForwarded {
    /// Only the `X-` headers, which nearly all servers read.
    #[default]
    Omit,
    /// `Forwarded` (RFC 7239), too.
    Write,
}

/// An address and its text as a header's value, made once per connection and shared by its requests.
#[derive(Clone, Debug)]
pub struct AddressValue {
    address: IpAddr,
    value: HeaderValue,
}

impl AddressValue {
    /// The value for an address; one that is IPv4 in an IPv6 socket is written as IPv4.
    pub fn of(address: IpAddr) -> Self {
        let address = address.to_canonical();
        // Digits and separators are a header value; the alternative is never taken.
        let value = address_value(address).unwrap_or(HeaderValue::from_static("unknown"));
        AddressValue { address, value }
    }
}

impl Forwarding {
    /// Sets `X-Forwarded-For`, `-Proto`, `-Host`, `X-Client-IPAddress` (and `-Port`, if known; and `Forwarded`, if asked) in the
    /// headers for the upstream, replacing whatever is there. `scheme` and `authority` are those of the request as it
    /// reached us; what a trusted proxy told goes first. `peer` is the connection's other end, which is the client
    /// wherever no proxy stands between.
    pub fn write(
        &self,
        headers: &mut HeaderMap,
        scheme: Scheme,
        authority: &Authority,
        peer: &AddressValue,
        rfc: RfcForwarded,
    ) {
        let scheme = self.scheme.unwrap_or(scheme);
        let authority = self.host.as_ref().unwrap_or(authority);

        let client =
            if self.client == peer.address { Some(peer.value.clone()) } else { address_value(self.client) };
        let chain = if self.hops.is_empty() { client.clone() } else { self.chain() };
        set(headers, &X_CLIENT_IPADDRESS, client);
        set(headers, &X_FORWARDED_FOR, chain);
        set(headers, &X_FORWARDED_PROTO, Some(HeaderValue::from_static(scheme.as_str())));
        // On the usual way `Host` is the same text already and is shared.
        let host = match headers.get(http::header::HOST) {
            Some(host) if host.as_bytes() == authority.as_bytes() => Some(host.clone()),
            _ => value(authority.as_bytes()),
        };
        set(headers, &X_FORWARDED_HOST, host);
        set(headers, &X_FORWARDED_PORT, self.port.map(HeaderValue::from));
        let standard = match rfc {
            RfcForwarded::Write => self.standard(scheme, authority),
            RfcForwarded::Omit => None,
        };
        set(headers, &FORWARDED, standard);
    }

    /// Client and hops as a list.
    fn chain(&self) -> Option<HeaderValue> {
        let mut text = String::with_capacity(16 * (self.hops.len() + 1));
        write_address(&mut text, self.client);
        for hop in &self.hops {
            text.push_str(", ");
            write_address(&mut text, *hop);
        }
        value(text.as_bytes())
    }

    /// The same in the words of RFC 7239.
    fn standard(&self, scheme: Scheme, authority: &Authority) -> Option<HeaderValue> {
        let mut text = String::with_capacity(64);
        write_node(&mut text, self.client).ok()?;
        write!(text, ";host=\"{authority}\";proto={}", scheme.as_str()).ok()?;
        for hop in &self.hops {
            text.push_str(", ");
            write_node(&mut text, *hop).ok()?;
        }
        value(text.as_bytes())
    }
}

fn write_node(text: &mut String, address: IpAddr) -> fmt::Result {
    match address {
        IpAddr::V4(address) => write!(text, "for={address}"),
        // RFC 7239 §6: in brackets, and therefore quoted.
        IpAddr::V6(address) => write!(text, "for=\"[{address}]\""),
    }
}

/// An address never outgrows its buffer: 39 bytes at most.
fn write_address(text: &mut impl Write, address: IpAddr) {
    let written = match address {
        IpAddr::V4(address) => write_v4(text, address.octets()),
        IpAddr::V6(address) => write!(text, "{address}"),
    };
    debug_assert!(written.is_ok(), "the buffer holds any address");
}

/// Decimal digits without the formatting machinery: this runs once per forwarded request.
fn write_v4(text: &mut impl Write, octets: [u8; 4]) -> fmt::Result {
    for (place, octet) in octets.into_iter().enumerate() {
        if place > 0 {
            text.write_char('.')?;
        }
        for (least, digit) in [(100, octet / 100), (10, octet / 10 % 10), (0, octet % 10)] {
            if octet >= least {
                text.write_char(char::from(b'0' + digit))?;
            }
        }
    }
    Ok(())
}

fn value(text: &[u8]) -> Option<HeaderValue> {
    HeaderValue::from_bytes(text).ok()
}

fn address_value(address: IpAddr) -> Option<HeaderValue> {
    let mut text = Inline::<40>::EMPTY;
    write_address(&mut text, address);
    value(text.as_bytes())
}

/// Sets the header, or makes sure it is not there.
fn set(headers: &mut HeaderMap, name: &'static HeaderName, value: Option<HeaderValue>) {
    match value {
        Some(value) => {
            headers.insert(name, value);
        }
        None => {
            headers.remove(name);
        }
    }
}
