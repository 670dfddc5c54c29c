//! `Connection` and `Upgrade`: what a message says about the hop it came over.
//!
//! RFC 9110 §7.6.1 lets `Connection` name further headers to remove. Attackers use it to make a proxy drop what a server
//! decides by (`Connection: authorization`), so naming such a header refuses the request; other names are removed as
//! the RFC says.

use bartizan_model::Denial;
use http::{HeaderName, HeaderValue};

use crate::{field, refuse::malformed};

/// The options of all `Connection` lines of one message.
#[derive(Debug, Default)]
pub(crate) struct Options {
    /// `upgrade` is among them.
    pub(crate) upgrade: bool,
    /// Names to remove beyond the well-known hop-by-hop ones.
    pub(crate) named: Vec<HeaderName>,
    /// A name that must not be removed in this way.
    pub(crate) guarded: bool,
}

impl Options {
    /// Reads one line; `None` if it is not a list of tokens.
    pub(crate) fn read(&mut self, line: &HeaderValue) -> Option<()> {
        for option in line.as_bytes().split(|b| *b == b',') {
            let option = option.trim_ascii();
            // RFC 9110 §5.6.1.2: empty list elements are ignored.
            if option.is_empty() || is_any(option, &[b"close", b"keep-alive", b"te"]) {
                continue;
            }
            if option.eq_ignore_ascii_case(b"upgrade") {
                self.upgrade = true;
                continue;
            }
            let name = HeaderName::from_bytes(option).ok()?;
            self.guarded |= field::is_guarded(name.as_str());
            self.named.push(name);
        }
        Some(())
    }
}

fn is_any(option: &[u8], words: &[&[u8]]) -> bool {
    words.iter().any(|word| option.eq_ignore_ascii_case(word))
}

/// A protocol that the client asks to change to, and that the upstream may accept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upgrade {
    protocol: HeaderValue,
}

impl Upgrade {
    /// Reads `Upgrade`. `None` for `h2c`: RFC 9110 §7.8 allows to ignore an upgrade, HTTP/2 in clear text comes by prior
    /// knowledge, and tunnelling it would pass requests that nobody judged. Some clients offer it with every request.
    ///
    /// # Errors
    ///
    /// `MalformedRequest` if it is not one protocol: what the upstream would choose from a list is not known here.
    pub(crate) fn parse(value: &HeaderValue) -> Result<Option<Self>, Denial> {
        let text = value.as_bytes();
        if text.eq_ignore_ascii_case(b"h2c") {
            return Ok(None);
        }
        let sound = text.split(|b| *b == b'/').count() <= 2
            && text.split(|b| *b == b'/').all(|part| HeaderName::from_bytes(part).is_ok());
        if sound {
            Ok(Some(Upgrade { protocol: value.clone() }))
        } else {
            Err(malformed("upgrade is not one protocol"))
        }
    }

    /// The protocol as sent, such as `websocket`.
    pub fn protocol(&self) -> &HeaderValue {
        &self.protocol
    }

    /// Whether it is WebSocket.
    pub fn is_websocket(&self) -> bool {
        self.protocol.as_bytes().eq_ignore_ascii_case(b"websocket")
    }

    /// Whether a response's `Upgrade` names this protocol.
    pub(crate) fn is_answered_by(&self, value: &HeaderValue) -> bool {
        self.protocol.as_bytes().eq_ignore_ascii_case(value.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_from_tokens_only() {
        let read = |line: &str| {
            let mut options = Options::default();
            options.read(&HeaderValue::from_bytes(line.as_bytes()).unwrap()).map(|()| options)
        };
        for line in ["", "close", "Keep-Alive", "close, TE", ", ,close,"] {
            let options = read(line).unwrap();
            assert!(!options.upgrade && !options.guarded && options.named.is_empty(), "{line}");
        }
        assert!(read("keep-alive, Upgrade").unwrap().upgrade);
        assert_eq!(read("close, X-Custom").unwrap().named, ["x-custom"]);
        for line in [
            "Authorization",
            "close, host",
            "x-consumer-id",
            "content-length",
            "Forwarded",
            "Transfer-Encoding",
        ] {
            assert!(read(line).unwrap().guarded, "{line}");
        }
        for line in ["x custom", "close; x", "\"close\"", "a/b", "é"] {
            assert!(read(line).is_none(), "{line}");
        }
    }

    #[test]
    fn an_upgrade_is_one_protocol() {
        let parse = |text: &str| Upgrade::parse(&HeaderValue::from_bytes(text.as_bytes()).unwrap());
        assert!(parse("websocket").unwrap().unwrap().is_websocket());
        assert!(parse("WebSocket").unwrap().unwrap().is_websocket());
        assert!(!parse("foo/1.0").unwrap().unwrap().is_websocket());
        assert_eq!(parse("h2c"), Ok(None));
        for text in ["", "websocket, h2c", "websocket,", "web socket", "a/b/c", "/", "foo/"] {
            assert!(parse(text).is_err(), "{text:?} was admitted");
        }
    }
}
