//! The grammar of RFC 7239 §4 and of the nodes in it.
//!
//! Read strictly from left to right over the whole line: a quote that a client opens must not swallow what a proxy
//! appended behind it.

use std::{
    borrow::Cow,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use super::HOPS_MAX;

/// One hop's word. Texts are unquoted.
#[derive(Debug, Default)]
pub(super) struct Element<'a> {
    pub(super) node: Option<Cow<'a, [u8]>>,
    pub(super) by: Option<Cow<'a, [u8]>>,
    pub(super) proto: Option<Cow<'a, [u8]>>,
    pub(super) host: Option<Cow<'a, [u8]>>,
    extensions: bool,
}

impl<'a> Element<'a> {
    /// The address after `for=`; `None` also for `unknown` and obfuscated names.
    pub(super) fn address(&self) -> Option<IpAddr> {
        parse_node(self.node.as_deref()?, Bare::Refused)
    }

    fn is_empty(&self) -> bool {
        !self.extensions && [&self.node, &self.by, &self.proto, &self.host].iter().all(|part| part.is_none())
    }

    /// RFC 7239 §4: each parameter once per element.
    fn set(&mut self, name: &[u8], value: Cow<'a, [u8]>) -> Option<()> {
        let slot = match name {
            _ if name.eq_ignore_ascii_case(b"for") => &mut self.node,
            _ if name.eq_ignore_ascii_case(b"by") => &mut self.by,
            _ if name.eq_ignore_ascii_case(b"proto") => &mut self.proto,
            _ if name.eq_ignore_ascii_case(b"host") => &mut self.host,
            _ => {
                self.extensions = true;
                return Some(());
            }
        };
        slot.replace(value).is_none().then_some(())
    }
}

/// Appends the elements of one line; `None` if it is not in the grammar or has too many.
pub(super) fn parse_elements<'a>(mut rest: &'a [u8], elements: &mut Vec<Element<'a>>) -> Option<()> {
    let mut element = Element::default();
    loop {
        rest = rest.trim_ascii_start();
        if !matches!(rest, [] | [b',' | b';', ..]) {
            let (name, after) = take_token(rest)?;
            let (value, after) = take_value(after.strip_prefix(b"=")?)?;
            element.set(name, value)?;
            rest = after.trim_ascii_start();
        }
        let (separator, after) = match rest.split_first() {
            Some((separator, after)) => (Some(*separator), after),
            None => (None, rest),
        };
        match separator {
            Some(b';') => {}
            Some(b',') | None => {
                let complete = std::mem::take(&mut element);
                if !complete.is_empty() {
                    elements.push(complete);
                }
                // Even unwalked elements are bounded, as each costs memory.
                if elements.len() > 2 * HOPS_MAX {
                    return None;
                }
                if separator.is_none() {
                    return Some(());
                }
            }
            Some(_) => return None,
        }
        rest = after;
    }
}

fn take_token(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = text.iter().position(|b| !is_token(*b)).unwrap_or(text.len());
    if end == 0 { None } else { text.split_at_checked(end) }
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn take_value(text: &[u8]) -> Option<(Cow<'_, [u8]>, &[u8])> {
    let Some(quoted) = text.strip_prefix(b"\"") else {
        let (token, after) = take_token(text)?;
        return Some((Cow::Borrowed(token), after));
    };
    let end = quoted.iter().position(|b| matches!(b, b'"' | b'\\'))?;
    if let (plain, [b'"', after @ ..]) = quoted.split_at_checked(end)? {
        return Some((Cow::Borrowed(plain), after));
    }
    let mut value = Vec::new();
    let mut rest = quoted;
    loop {
        match rest {
            [b'"', after @ ..] => return Some((Cow::Owned(value), after)),
            [b'\\', escaped, after @ ..] => {
                value.push(*escaped);
                rest = after;
            }
            [b'\\'] | [] => return None,
            [byte, after @ ..] => {
                value.push(*byte);
                rest = after;
            }
        }
    }
}

/// Whether an IPv6 address may stand without brackets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bare {
    /// `X-Forwarded-For` has it so.
    Allowed,
    /// RFC 7239 §6 has brackets.
    Refused,
}

/// An address with an optional port, which is not looked at further.
pub(super) fn parse_node(node: &[u8], bare: Bare) -> Option<IpAddr> {
    let text = std::str::from_utf8(node).ok()?;
    let address = if let Some(rest) = text.strip_prefix('[') {
        let (address, after) = rest.split_once(']')?;
        check_port(after)?;
        IpAddr::V6(address.parse::<Ipv6Addr>().ok()?)
    } else if let Ok(address) = text.parse::<Ipv6Addr>() {
        (bare == Bare::Allowed).then_some(IpAddr::V6(address))?
    } else {
        let end = text.find(':').unwrap_or(text.len());
        let (address, after) = text.split_at_checked(end)?;
        check_port(after)?;
        IpAddr::V4(address.parse::<Ipv4Addr>().ok()?)
    };
    Some(address.to_canonical())
}

/// Nothing, or a colon and a port. RFC 7239 §6.3 allows an obfuscated port, too.
fn check_port(text: &str) -> Option<()> {
    match text.as_bytes() {
        [] => Some(()),
        [b':', b'_', name @ ..] => (!name.is_empty() && name.iter().all(|b| is_token(*b))).then_some(()),
        [b':', digits @ ..] => parse_port(digits).map(|_| ()),
        _ => None,
    }
}

/// 0 to 65535; a client's port may be anything.
pub(super) fn parse_port(digits: &[u8]) -> Option<u16> {
    if digits.is_empty() || digits.len() > 5 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(line: &str) -> Option<Vec<String>> {
        let mut elements = Vec::new();
        parse_elements(line.as_bytes(), &mut elements)?;
        let text = |part: &Option<Cow<'_, [u8]>>| {
            part.as_deref()
                .map_or_else(|| "-".to_owned(), |bytes| String::from_utf8_lossy(bytes).into_owned())
        };
        Some(
            elements
                .iter()
                .map(|e| format!("{} {} {}", text(&e.node), text(&e.proto), text(&e.host)))
                .collect(),
        )
    }

    #[test]
    fn lines_of_the_grammar_are_read() {
        let cases: &[(&str, &[&str])] = &[
            ("for=192.0.2.1", &["192.0.2.1 - -"]),
            ("For=\"[2001:db8::1]:4711\"", &["[2001:db8::1]:4711 - -"]),
            ("for=192.0.2.1;proto=https;by=203.0.113.1;host=example.com", &["192.0.2.1 https example.com"]),
            ("for=192.0.2.1; proto=https , for=198.51.100.1", &["192.0.2.1 https -", "198.51.100.1 - -"]),
            ("for=\"a\\\"b,c\", for=192.0.2.1", &["a\"b,c - -", "192.0.2.1 - -"]),
            ("for=192.0.2.1;;ext=1,,", &["192.0.2.1 - -"]),
            ("ext=1", &["- - -"]),
            ("", &[]),
        ];
        for (line, expected) in cases {
            assert_eq!(
                nodes(line).as_deref(),
                Some(&expected.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>()[..]),
                "{line}"
            );
        }
    }

    #[test]
    fn lines_outside_the_grammar_are_not() {
        let cases = [
            "for",
            "for=",
            "=192.0.2.1",
            "for=\"192.0.2.1",
            "for=\"192.0.2.1\"x",
            "for=192.0.2.1:80",
            "for =1",
            "for= 1",
            "for=1;for=2",
            "for=1 proto=http",
            "for=[::1]",
            "for=\"x, for=192.0.2.1",
            "for=\"x, for=\"192.0.2.1\"",
            "for=\"a\\",
        ];
        for line in cases {
            assert_eq!(nodes(line), None, "{line}");
        }
        assert_eq!(nodes(&vec!["for=192.0.2.1"; 65].join(",")), None);
    }

    #[test]
    fn a_node_is_an_address_with_an_optional_port() {
        let cases = [
            ("192.0.2.1", Some("192.0.2.1")),
            ("192.0.2.1:80", Some("192.0.2.1")),
            ("192.0.2.1:_x", Some("192.0.2.1")),
            ("[2001:db8::1]", Some("2001:db8::1")),
            ("[2001:db8::1]:4711", Some("2001:db8::1")),
            ("[::ffff:192.0.2.1]", Some("192.0.2.1")),
            ("2001:db8::1", Some("2001:db8::1")),
            ("192.0.2.1:", None),
            ("192.0.2.1:99999", None),
            ("192.0.2.01", None),
            ("192.0.2", None),
            ("[2001:db8::1", None),
            ("[192.0.2.1]", None),
            ("unknown", None),
            ("_hidden", None),
            ("", None),
            ("localhost", None),
        ];
        for (node, expected) in cases {
            assert_eq!(
                parse_node(node.as_bytes(), Bare::Allowed).map(|a| a.to_string()).as_deref(),
                expected,
                "{node}"
            );
        }
        assert_eq!(parse_node(b"2001:db8::1", Bare::Refused), None);
    }
}
