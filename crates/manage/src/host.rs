//! Which `Host` the management listener answers to.
//!
//! A page in a browser can point its own name at 127.0.0.1 and then read answers from here as its own (DNS
//! rebinding). Such a request carries the page's name. So only addresses, `localhost` and configured names are
//! answered; a page cannot own any of those.

use std::net::{Ipv4Addr, Ipv6Addr};

use http::{HeaderMap, Uri, header::HOST};

/// Whether a request for `uri` with these headers calls us by a name that is ours.
pub fn is_ours(uri: &Uri, headers: &HeaderMap, names: &[String]) -> bool {
    let mut hosts = headers.get_all(HOST).iter();
    // RFC 9112 §3.2: exactly one Host is needed. HTTP/1.0 may leave it out; we have no such callers.
    let (Some(host), None) = (hosts.next(), hosts.next()) else { return false };
    let Ok(host) = host.to_str() else { return false };
    // RFC 9112 §3.2.2: an authority in the target counts instead of Host; here both must be ours.
    is_own_name(host, names) && uri.authority().is_none_or(|authority| is_own_name(authority.as_str(), names))
}

fn is_own_name(authority: &str, names: &[String]) -> bool {
    let Some(host) = without_port(authority) else { return false };
    if let Some(literal) = host.strip_prefix('[') {
        return literal.strip_suffix(']').is_some_and(|text| text.parse::<Ipv6Addr>().is_ok());
    }
    let host = host.strip_suffix('.').unwrap_or(host);
    host.parse::<Ipv4Addr>().is_ok()
        || host.eq_ignore_ascii_case("localhost")
        || names.iter().any(|name| host.eq_ignore_ascii_case(name))
}

/// The host of `host[:port]`; `None` when what follows the colon is no port.
fn without_port(authority: &str) -> Option<&str> {
    let end = authority.rfind(']').map_or(0, |bracket| bracket + 1);
    let Some(colon) = authority.get(end..)?.find(':') else { return Some(authority) };
    let (host, port) = authority.split_at_checked(end + colon)?;
    let digits = port.strip_prefix(':')?;
    let is_port =
        digits.is_empty() || (digits.bytes().all(|b| b.is_ascii_digit()) && digits.parse::<u16>().is_ok());
    is_port.then_some(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_localhost_and_configured_names_are_ours_and_nothing_else() {
        let names = ["gateway.internal".to_owned()];
        for (host, ours) in [
            ("127.0.0.1", true),
            ("127.0.0.1:9440", true),
            ("10.0.0.7:9440", true),
            ("[::1]", true),
            ("[::1]:9440", true),
            ("localhost:9440", true),
            ("LOCALHOST", true),
            ("localhost.", true),
            ("gateway.internal:9440", true),
            ("Gateway.Internal", true),
            ("evil.example", false),
            ("evil.example:9440", false),
            ("localhost.evil.example", false),
            ("127.0.0.1.evil.example", false),
            ("gateway.internal.evil.example", false),
            ("user@localhost", false),
            ("localhost:9440:1", false),
            ("localhost:x", false),
            ("localhost:+1", false),
            ("localhost:99999", false),
            ("[::1", false),
            ("[::1]x", false),
            ("[localhost]", false),
            ("::1", false),
            ("0x7f.1", false),
            ("", false),
            (":9440", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, host.parse().unwrap());
            assert_eq!(is_ours(&Uri::from_static("/metrics"), &headers, &names), ours, "{host:?}");
        }
    }

    #[test]
    fn a_missing_or_second_host_and_a_foreign_target_are_not_ours() {
        let mut headers = HeaderMap::new();
        assert!(!is_ours(&Uri::from_static("/"), &headers, &[]));
        headers.append(HOST, "localhost".parse().unwrap());
        assert!(is_ours(&Uri::from_static("http://127.0.0.1/"), &headers, &[]));
        assert!(!is_ours(&Uri::from_static("http://evil.example/"), &headers, &[]));
        headers.append(HOST, "localhost".parse().unwrap());
        assert!(!is_ours(&Uri::from_static("/"), &headers, &[]));
    }
}
