//! Under what an answer is kept: what is asked, and by whom.
//!
//! A [`Key`] cannot be made without saying whose answer it is ([`Class`]), so that a hit across callers cannot be
//! written by accident. Keys are compared as they are, never by a hash alone: two that differ in a byte are two. The
//! parts come from the message as the gateway judged it: canonical path, canonical authority, the query byte for byte,
//! because reordering or decoding it could merge what the origin tells apart (RFC 9111 §2 makes the URI the key).

use std::{fmt, sync::Arc};

use http::Method;

/// What is asked: scheme, authority, path and query as one text. Unsafe methods and purges name it without a caller.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Url(Arc<str>);

impl Url {
    /// Puts the text together. `host` and `target` must be canonical; `port` is the one meant, so that an
    /// authority with the scheme's own port and one without any are the same.
    pub fn new(scheme: &str, host: &str, port: u16, target: &str) -> Self {
        Url(format!("{scheme}://{host}:{port}{target}").into())
    }

    /// A URL as a person writes it; the scheme's own port where it names none. Nothing if it is none.
    pub fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let scheme = scheme.to_ascii_lowercase();
        let default = match scheme.as_str() {
            "http" => 80,
            "https" => 443,
            _ => return None,
        };
        let (authority, target) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let is_port = |port: &str| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if is_port(port) => (host, port.parse().ok()?),
            _ => (authority, default),
        };
        if host.is_empty() || host.contains(['@', '#', ' ']) || target.contains(['#', ' ']) {
            return None;
        }
        let slash = if target.starts_with('/') { "" } else { "/" };
        Some(Url::new(&scheme, &host.to_ascii_lowercase(), port, &format!("{slash}{target}")))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// `scheme://host:port`.
    pub fn origin(&self) -> &str {
        let authority = self.0.find("://").map_or(0, |at| at + 3);
        let end =
            self.0.get(authority..).and_then(|rest| rest.find('/')).map_or(self.0.len(), |at| authority + at);
        self.0.get(..end).unwrap_or_default()
    }

    /// Path and query.
    pub fn target(&self) -> &str {
        self.0.get(self.origin().len()..).unwrap_or_default()
    }

    /// Another target of the same origin.
    #[must_use]
    pub fn with_target(&self, target: &str) -> Self {
        Url(format!("{}{target}", self.origin()).into())
    }
}

/// A query may hold secrets.
impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.0.split('?').next().unwrap_or_default();
        write!(f, "Url({shown})")
    }
}

/// Whose answer it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// Of callers nobody identified.
    Anonymous,
    /// Of one identity: its consumer and, where the credential names one, its subject under an issuer. Two people
    /// behind one consumer are two.
    Of {
        /// The consumer.
        consumer: Arc<str>,
        /// Issuer and subject, where the credential names them.
        subject: Option<Arc<str>>,
    },
    /// Of every caller that the policy of this name lets share answers.
    Shared(Arc<str>),
}

/// Under what an answer is kept.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    url: Url,
    holder: Holder,
}

/// The part of a key beside the URL.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Holder {
    class: Class,
    route: Arc<str>,
}

impl Key {
    /// The key of a request; nothing for methods whose answers are not kept. HEAD shares GET's: it is answered from
    /// there (RFC 9111 §4, RFC 9110 §9.3.2).
    pub fn of(method: &Method, url: Url, class: Class, route: Arc<str>) -> Option<Self> {
        matches!(*method, Method::GET | Method::HEAD).then_some(Key { url, holder: Holder { class, route } })
    }

    /// What is asked.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// By whom.
    pub fn class(&self) -> &Class {
        &self.holder.class
    }

    pub(crate) fn holder(&self) -> &Holder {
        &self.holder
    }

    pub(crate) fn bytes(&self) -> usize {
        let class = match &self.holder.class {
            Class::Anonymous => 0,
            Class::Of { consumer, subject } => consumer.len() + subject.as_ref().map_or(0, |text| text.len()),
            Class::Shared(name) => name.len(),
        };
        self.url.0.len() + class + self.holder.route.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(target: &str) -> Url {
        Url::new("https", "a.example", 443, target)
    }

    fn of(consumer: &str, subject: Option<&str>) -> Class {
        Class::Of { consumer: consumer.into(), subject: subject.map(Into::into) }
    }

    #[test]
    fn keys_differ_in_every_part() {
        let key = |url: Url, class: Class, route: &str| Key::of(&Method::GET, url, class, route.into());
        let keys = [
            key(url("/a"), Class::Anonymous, "r"),
            key(url("/a?"), Class::Anonymous, "r"),
            key(url("/a?b=1"), Class::Anonymous, "r"),
            key(url("/A"), Class::Anonymous, "r"),
            key(url("/a"), Class::Anonymous, "s"),
            key(url("/a"), Class::Shared("anna".into()), "r"),
            key(url("/a"), of("anna", None), "r"),
            key(url("/a"), of("anna", Some("x")), "r"),
            key(url("/a"), of("ann", Some("ax")), "r"),
            key(Url::new("http", "a.example", 443, "/a"), Class::Anonymous, "r"),
            key(Url::new("https", "a.example", 444, "/a"), Class::Anonymous, "r"),
            key(Url::new("https", "b.example", 443, "/a"), Class::Anonymous, "r"),
        ];
        for (at, key) in keys.iter().enumerate() {
            assert!(keys.iter().skip(at + 1).all(|other| other != key), "{key:?}");
        }
    }

    #[test]
    fn a_url_that_a_person_writes_is_the_one_that_is_asked_for() {
        for (text, expected) in [
            ("https://A.example/a?b=1", Some("https://a.example:443/a?b=1")),
            ("HTTP://a.example:8080", Some("http://a.example:8080/")),
            ("http://[::1]/x", Some("http://[::1]:80/x")),
            ("http://[::1]:81/x", Some("http://[::1]:81/x")),
            ("https://a.example?x", Some("https://a.example:443/?x")),
            ("a.example/a", None),
            ("ftp://a.example/a", None),
            ("https://u@a.example/a", None),
            ("https://a.example/a#b", None),
            ("https:///a", None),
        ] {
            assert_eq!(Url::parse(text).as_ref().map(Url::as_str), expected, "{text}");
        }
    }

    #[test]
    fn head_shares_the_key_of_get_and_other_methods_have_none() {
        let key = |method| Key::of(&method, url("/a"), Class::Anonymous, "r".into());
        assert_eq!(key(Method::GET), key(Method::HEAD));
        for method in [Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS, Method::PATCH] {
            assert_eq!(key(method), None);
        }
    }

    #[test]
    fn a_url_is_taken_apart_again_and_hides_its_query_from_debug() {
        let url = url("/a/b?token=s3cret");
        assert_eq!((url.origin(), url.target()), ("https://a.example:443", "/a/b?token=s3cret"));
        assert_eq!(url.with_target("/c").as_str(), "https://a.example:443/c");
        assert!(!format!("{url:?}").contains("s3cret"));
    }
}
