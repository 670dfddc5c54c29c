//! The request that is asked about: what a caller would send, and the listener it would come to.

use std::{
    error::Error,
    net::{IpAddr, SocketAddr},
};

use bartizan_config::snapshot::{HostPattern, PublishedListener, Snapshot};
use bartizan_message::{AuthorityMemo, HeadLimits, PeerFacts, RequestHead, RequestId, Scheme, Tolerate};
use bartizan_model::{Denial, Reason, problem::shown, read::nearest};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, header};

/// A request in words.
#[derive(Debug)]
pub(in crate::command) struct Ask {
    pub(in crate::command) method: String,
    /// As in the URL; `None` where a path alone was given.
    pub(in crate::command) scheme: Option<Scheme>,
    pub(in crate::command) authority: Option<String>,
    pub(in crate::command) target: String,
    pub(in crate::command) headers: HeaderMap,
    /// The consumer whose key is taken to be valid.
    pub(in crate::command) consumer: Option<String>,
    pub(in crate::command) from: IpAddr,
}

/// The listener that a request comes to, and what had to be assumed for it.
pub(in crate::command) struct Entered<'s> {
    pub(in crate::command) listener: &'s PublishedListener,
    /// The host asked for where the URL has none.
    pub(in crate::command) authority: String,
    /// The name that the connection was opened for.
    pub(in crate::command) server_name: Option<String>,
    /// What does not fit between the URL and the listener.
    pub(in crate::command) note: Option<String>,
}

impl Ask {
    /// Reads what was given on the command line. What a gateway would refuse is no error here.
    pub(in crate::command) fn read(
        method: &str,
        url: &str,
        headers: &[String],
        consumer: Option<&str>,
        from: IpAddr,
    ) -> Result<Self, Box<dyn Error>> {
        let (scheme, authority, target) = split(url)?;
        let mut map = HeaderMap::new();
        for text in headers {
            // The value may be a credential and is not repeated.
            let (name, value) =
                text.split_once(':').ok_or("a header is written `NAME: VALUE`, for example `Accept: */*`")?;
            let name = HeaderName::from_bytes(name.trim().as_bytes())
                .map_err(|_| format!("{} is not the name of a header", shown(name)))?;
            let value = HeaderValue::from_bytes(value.trim().as_bytes()).map_err(|_| {
                format!("the value of the header {name} has characters that no header can have")
            })?;
            map.append(name, value);
        }
        Ok(Ask {
            method: method.to_owned(),
            scheme,
            authority,
            target,
            headers: map,
            consumer: consumer.map(str::to_owned),
            from,
        })
    }

    /// The listener by name, else the first of those that fit best: by scheme, then port, then host, then one that
    /// does not only redirect.
    pub(in crate::command) fn enter<'s>(
        &self,
        snapshot: &'s Snapshot,
        name: Option<&str>,
    ) -> Result<Entered<'s>, Box<dyn Error>> {
        let mut best: Option<(_, &PublishedListener)> = None;
        for listener in &snapshot.listeners {
            let fit = self.fit(listener);
            let is_asked = name.is_none_or(|name| *listener.plan.name == *name);
            if is_asked && best.as_ref().is_none_or(|(known, _)| fit > *known) {
                best = Some((fit, listener));
            }
        }
        let Some((fit, listener)) = best else { return Err(no_listener(snapshot, name).into()) };
        let authority = self.authority.clone().unwrap_or_else(|| own_host(listener));
        Ok(Entered {
            listener,
            server_name: self.server_name(listener, &authority),
            note: self.mismatch(fit, listener),
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

    fn mismatch(&self, fit: (bool, bool, bool, bool), listener: &PublishedListener) -> Option<String> {
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
    fn server_name(&self, listener: &PublishedListener, authority: &str) -> Option<String> {
        listener.plan.tls.as_ref()?;
        let (host, _) = split_port(authority);
        let is_address = host.starts_with('[') || host.parse::<IpAddr>().is_ok();
        (!is_address).then(|| host.to_ascii_lowercase())
    }

    /// The head as the gateway would admit it, or why not.
    pub(in crate::command) fn admit(&self, entered: &Entered<'_>) -> Result<RequestHead, Denial> {
        let malformed = |detail: &str| Denial::new(Reason::MalformedRequest).because(detail);
        let method =
            Method::from_bytes(self.method.as_bytes()).map_err(|_| malformed("the method is not a word"))?;
        let uri: Uri = self.target.parse().map_err(|_| malformed("the request target cannot be read"))?;
        let mut headers = self.headers.clone();
        if !headers.contains_key(header::HOST) {
            let host = HeaderValue::from_str(&entered.authority)
                .map_err(|_| malformed("the host has characters that no header can have"))?;
            headers.insert(header::HOST, host);
        }
        let mut request = Request::new(());
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        let (mut parts, ()) = request.into_parts();
        parts.headers = headers;
        let plan = &entered.listener.plan;
        let facts = PeerFacts {
            // Any port: none is judged by it.
            peer: SocketAddr::new(self.from, 40_000),
            local: plan.addresses.first().copied().unwrap_or(SocketAddr::new(self.from, 0)),
            tls: plan.tls.is_some(),
        };
        let limits = HeadLimits {
            header_bytes: plan.admission.header_bytes_max,
            header_count: plan.admission.header_count_max,
            uri_bytes: plan.admission.uri_bytes_max,
            tolerate: Tolerate::default(),
        };
        let id = RequestId::accept(&parts.headers, 0);
        RequestHead::admit(&mut parts, &facts, &limits, &plan.trust, id, &mut AuthorityMemo::default())
    }

    /// The URL that was asked for, as it can be shown.
    pub(in crate::command) fn url(&self, entered: &Entered<'_>) -> String {
        let scheme = self.scheme.map_or(super::super::words::scheme(&entered.listener.plan), Scheme::as_str);
        format!("{scheme}://{}{}", entered.authority, self.target)
    }
}

/// Scheme, authority and target of a URL; a fragment never leaves a client.
fn split(url: &str) -> Result<(Option<Scheme>, Option<String>, String), String> {
    let url = url.split('#').next().unwrap_or_default();
    if url.starts_with('/') || url == "*" {
        return Ok((None, None, url.to_owned()));
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
        return Err("the URL has a user or password; say whose key it is with --as".to_owned());
    }
    let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
    Ok((Some(scheme), Some(authority.to_owned()), target))
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
            let (found_scheme, found_authority, found_target) = split(url).unwrap();
            assert_eq!(
                (found_scheme, found_authority.as_deref(), &*found_target),
                (scheme, authority, target),
                "{url}"
            );
        }
    }

    #[test]
    fn what_is_no_url_is_refused_without_repeating_a_password() {
        for url in ["a.example/x", "ftp://a/x", ""] {
            assert!(split(url).unwrap_err().contains("neither a URL nor a path"), "{url}");
        }
        assert!(!split("http://user:hunter2@a/x").unwrap_err().contains("hunter2"));
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
