//! Addresses that the gateway itself fetches from: key sets, discovery, introspection.

use std::{fmt, str::FromStr};

use super::{EndpointUrl, Wrong, from_text, scalar, text_shape};
use crate::problem::{Code, shown};

/// The URL of a document to fetch, with a path: `https://id.example.com/keys`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FetchUrl {
    endpoint: EndpointUrl,
    target: String,
}

impl FetchUrl {
    /// 2 KiB: longer URLs are data.
    const LENGTH_MAX: usize = 2 * 1024;

    /// Scheme, host and port.
    pub fn endpoint(&self) -> &EndpointUrl {
        &self.endpoint
    }

    /// Path and query, at least `/`.
    pub fn target(&self) -> &str {
        &self.target
    }

    /// Whether TLS is spoken.
    pub fn is_https(&self) -> bool {
        self.endpoint.tls
    }
}

impl FromStr for FetchUrl {
    type Err = Wrong;

    fn from_str(text: &str) -> Result<Self, Wrong> {
        let wrong = |text: &str| {
            Wrong::new(Code::BadUrl, format!("{} is not a URL to fetch from", shown(text)))
                .hint("write scheme, host and path, for example `https://id.example.com/keys`")
        };
        if text.len() > Self::LENGTH_MAX {
            let message = format!("the URL is longer than {} bytes", Self::LENGTH_MAX);
            return Err(Wrong::new(Code::BadUrl, message));
        }
        let start = text.find("://").map_or(0, |at| at + "://".len());
        let (_, rest) = text.split_at_checked(start).ok_or_else(|| wrong(text))?;
        let end = rest.find(['/', '?', '#', '\\']).map_or(text.len(), |at| start + at);
        let (endpoint, target) = text.split_at_checked(end).ok_or_else(|| wrong(text))?;
        let endpoint: EndpointUrl = endpoint.parse().map_err(|flaw: Wrong| match flaw.code {
            // Says nothing of the password that stood there.
            Code::SecretInDocument => flaw,
            _ => wrong(text),
        })?;
        // RFC 3986 §3.3, §3.4: visible characters of a path and a query; a fragment is never sent.
        let is_plain =
            |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'#' | b'\\' | b'"' | b'<' | b'>');
        if !target.bytes().all(is_plain) || !(target.is_empty() || target.starts_with('/')) {
            return Err(wrong(text));
        }
        let target = if target.is_empty() { "/".to_owned() } else { target.to_owned() };
        Ok(FetchUrl { endpoint, target })
    }
}

impl fmt::Display for FetchUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.endpoint.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.endpoint.authority(), self.target)
    }
}

scalar!(
    FetchUrl,
    from_text,
    text_shape("URL", "^[Hh][Tt][Tt][Pp][Ss]?://[^/?#@\\\\]+(/[^#\\\\]*)?$", "https://id.example.com/keys")
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_to_fetch_from_has_one_spelling_or_is_refused() {
        for (text, shown) in [
            ("https://id.example.com/keys", "https://id.example.com/keys"),
            ("HTTPS://ID.example.com:443/Keys?a=b", "https://id.example.com/Keys?a=b"),
            ("https://id.example.com", "https://id.example.com/"),
            ("http://127.0.0.1:8080/", "http://127.0.0.1:8080/"),
            ("https://[2001:db8::1]:8443/k", "https://[2001:db8::1]:8443/k"),
        ] {
            assert_eq!(text.parse::<FetchUrl>().unwrap().to_string(), shown);
        }
        for text in [
            "",
            "id.example.com/keys",
            "ftp://id.example.com/keys",
            "file:///etc/passwd",
            "https:///keys",
            "https://id.example.com?x",
            "https://id.example.com/keys#one",
            "https://id.example.com/ke ys",
            "https://id.example.com\\@other/keys",
            "https://user:word@id.example.com/keys",
        ] {
            assert!(text.parse::<FetchUrl>().is_err(), "{text}");
        }
        let wrong = "https://user:word@id.example.com/keys".parse::<FetchUrl>().unwrap_err();
        assert!(!wrong.message.contains("word@"), "{}", wrong.message);
    }
}
