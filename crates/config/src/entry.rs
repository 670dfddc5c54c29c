//! Where a request that is only spoken of would come in: a URL, and the listener that fits it.
//!
//! `explain` and tests name requests by URLs; live traffic comes by a socket and needs none of this.

use std::net::IpAddr;

use bartizan_message::Scheme;
use bartizan_model::{problem::shown, read::nearest};

use crate::snapshot::{HostPattern, PublishedListener, Snapshot};

/// A URL, or a path alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    /// As in the URL; `None` where a path alone was given.
    pub scheme: Option<Scheme>,
    /// Host and port as written.
    pub authority: Option<String>,
    /// Path and query as written.
    pub target: String,
}

/// The listener that a request comes to, and what had to be assumed for it.
#[derive(Debug)]
pub struct Entered<'s> {
    /// The listener.
    pub listener: &'s PublishedListener,
    /// The host asked for where the URL has none.
    pub authority: String,
    /// The name that the connection was opened for.
    pub server_name: Option<String>,
    /// What does not fit between the URL and the listener.
    pub note: Option<String>,
}

impl Url {
    /// Scheme, authority and target; a fragment never leaves a client.
    ///
    /// # Errors
    ///
    /// What is neither a URL nor a path, in a sentence that repeats no password.
    pub fn parse(url: &str) -> Result<Self, String> {
        let url = url.split('#').next().unwrap_or_default();
        if url.starts_with('/') || url == "*" {
            return Ok(Url { scheme: None, authority: None, target: url.to_owned() });
        }
        let wrong =
            || format!("{} is neither a URL nor a path; write `https://host/path` or `/path`", shown(url));
        let (scheme, rest) = url.split_once("://").ok_or_else(wrong)?;
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            _ => return Err(wrong()),
        };
        let (authority, target) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        if authority.contains('@') {
            return Err("the URL has a user or password; say by name whose key it is".to_owned());
        }
        let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
        Ok(Url { scheme: Some(scheme), authority: Some(authority.to_owned()), target })
    }

    /// The listener by name, else the first of those that fit best: by scheme, then port, then host, then one that
    /// does not only redirect.
    ///
    /// # Errors
    ///
    /// There is no such listener, or none at all.
    pub fn enter<'s>(&self, snapshot: &'s Snapshot, name: Option<&str>) -> Result<Entered<'s>, String> {
        let mut best: Option<(_, &PublishedListener)> = None;
        for listener in &snapshot.listeners {
            let fit = self.fit(listener);
            let is_asked = name.is_none_or(|name| *listener.plan.name == *name);
            if is_asked && best.as_ref().is_none_or(|(known, _)| fit > *known) {
                best = Some((fit, listener));
            }
        }
        let Some((fit, listener)) = best else { return Err(no_listener(snapshot, name)) };
        let authority = self.authority.clone().unwrap_or_else(|| own_host(listener));
        Ok(Entered {
            listener,
            server_name: server_name(listener, &authority),
            note: mismatch(fit, listener),
            authority,
        })
    }

    /// Scheme, port, host, and whether it serves.
    fn fit(&self, listener: &PublishedListener) -> (bool, bool, bool, bool) {
        let plan = &listener.plan;
        let tls = plan.tls.is_some();
        let scheme = self.scheme.is_none_or(|scheme| (scheme == Scheme::Https) == tls);
        let asked = self.authority.as_deref().map(split_port);
        let port = asked.and_then(|(_, port)| port).or(self.scheme.map(Scheme::default_port));
        let has_port = |port: u16| plan.addresses.iter().any(|address| address.port() == port);
        let host = asked.is_none_or(|(host, _)| {
            let host = host.to_ascii_lowercase();
            plan.hostnames.is_empty() || plan.hostnames.iter().any(|pattern| pattern.matches(&host))
        });
        (scheme, port.is_none_or(has_port), host, plan.redirect_https_port.is_none())
    }
}

fn mismatch(fit: (bool, bool, bool, bool), listener: &PublishedListener) -> Option<String> {
    let name = &listener.plan.name;
    match fit {
        (false, ..) => {
            Some(format!("no listener that fits speaks the URL's scheme; shown for Listener/{name}"))
        }
        // Behind a port that is mapped, the URL's is another than the listener's.
        (_, false, ..) => {
            Some(format!("no listener that fits has the URL's port; shown for Listener/{name}"))
        }
        _ => None,
    }
}

/// What a client names in the TLS handshake: the URL's host, unless that is an address (RFC 6066 §3).
fn server_name(listener: &PublishedListener, authority: &str) -> Option<String> {
    listener.plan.tls.as_ref()?;
    let (host, _) = split_port(authority);
    let is_address = host.starts_with('[') || host.parse::<IpAddr>().is_ok();
    (!is_address).then(|| host.to_ascii_lowercase())
}

/// Host and port as written; an address in brackets keeps them.
fn split_port(authority: &str) -> (&str, Option<u16>) {
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()),
        _ => (authority, None),
    }
}

/// A host that the listener serves.
fn own_host(listener: &PublishedListener) -> String {
    let exact = listener.plan.hostnames.iter().find_map(|pattern| match pattern {
        HostPattern::Exact(name) => Some(name.to_string()),
        HostPattern::Suffix(_) => None,
    });
    exact.unwrap_or_else(|| "localhost".to_owned())
}

fn no_listener(snapshot: &Snapshot, name: Option<&str>) -> String {
    let Some(name) = name else { return "the set has no Listener, so no request can come in".to_owned() };
    let known = snapshot.listeners.iter().map(|listener| &*listener.plan.name);
    match nearest(name, known) {
        Some(near) => format!("there is no Listener named {}; did you mean `{near}`?", shown(name)),
        None => format!("there is no Listener named {}", shown(name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_apart_and_a_path_stands_alone() {
        for (url, scheme, authority, target) in [
            ("/orders/7?x=1", None, None, "/orders/7?x=1"),
            ("*", None, None, "*"),
            ("HTTPS://a.example:8443/x#frag", Some(Scheme::Https), Some("a.example:8443"), "/x"),
            ("http://a.example", Some(Scheme::Http), Some("a.example"), "/"),
            ("http://[::1]:80?x", Some(Scheme::Http), Some("[::1]:80"), "/?x"),
        ] {
            let found = Url::parse(url).unwrap();
            assert_eq!(
                (found.scheme, found.authority.as_deref(), &*found.target),
                (scheme, authority, target),
                "{url}"
            );
        }
    }

    #[test]
    fn what_is_no_url_is_refused_without_repeating_a_password() {
        for url in ["a.example/x", "ftp://a/x", ""] {
            assert!(Url::parse(url).unwrap_err().contains("neither a URL nor a path"), "{url}");
        }
        assert!(!Url::parse("http://user:hunter2@a/x").unwrap_err().contains("hunter2"));
    }

    #[test]
    fn a_port_is_told_from_an_address() {
        for (authority, expected) in [
            ("a.example", ("a.example", None)),
            ("a.example:80", ("a.example", Some(80))),
            ("[::1]", ("[::1]", None)),
            ("[::1]:8443", ("[::1]", Some(8443))),
        ] {
            assert_eq!(split_port(authority), expected);
        }
    }
}
