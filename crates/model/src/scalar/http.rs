//! Words of HTTP: names and values of headers, methods, paths.

use std::{fmt, str::FromStr, sync::Arc};

use super::{Wrong, from_text, scalar, text_shape};
use crate::{
    problem::{Code, clipped, shown},
    shape::Shape,
};

/// RFC 9110 §5.6.2: the characters of a token.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// A header's name: a token, kept in lower case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HeaderName(Arc<str>);

impl HeaderName {
    /// 128 bytes: real names are below 50.
    const LENGTH_MAX: usize = 128;

    /// A name that our own code writes; must be a lower-case token without underscore.
    pub fn known(name: &'static str) -> Self {
        debug_assert!(name.parse() == Ok(HeaderName(Arc::from(name))), "not a header name: {name}");
        HeaderName(Arc::from(name))
    }

    /// The name in lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name in lower case, shared.
    pub fn shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }
}

impl FromStr for HeaderName {
    type Err = Wrong;

    fn from_str(text: &str) -> Result<Self, Wrong> {
        let wrong = || Wrong::new(Code::BadHeaderName, format!("{} is not a header name", shown(text)));
        if text.is_empty() {
            return Err(Wrong::new(Code::BadHeaderName, "a header name cannot be empty"));
        }
        if text.len() > HeaderName::LENGTH_MAX {
            return Err(wrong().hint(format!("write at most {} characters", HeaderName::LENGTH_MAX)));
        }
        if let Some(name) = text.strip_suffix(':') {
            return Err(wrong().hint(format!("write `{}` without the colon", clipped(name))));
        }
        if text.starts_with(':') {
            return Err(
                wrong().hint("`:method` and its like are not headers; match on the method, host or path")
            );
        }
        if !text.bytes().all(is_token) {
            return Err(wrong().hint("write letters, digits and `-`, for example `x-tenant`"));
        }
        // Servers behind us may read `x_tenant` as `x-tenant`; such fields are dropped from requests, so a rule
        // about one would never see anything.
        if text.contains('_') {
            let meant = text.replace('_', "-").to_ascii_lowercase();
            let message = format!("{} has an underscore, and the gateway drops such headers", shown(text));
            return Err(Wrong::new(Code::BadHeaderName, message).hint(format!("write `{meant}`")));
        }
        Ok(HeaderName(Arc::from(text.to_ascii_lowercase())))
    }
}

impl fmt::Display for HeaderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

scalar!(HeaderName, from_text, text_shape("header name", "^[A-Za-z0-9!#$%&'*+.^`|~-]{1,128}$", "x-tenant"));

/// A header's value: visible ASCII, spaces and tabs. Its text is never quoted in a message.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HeaderValue(Arc<str>);

impl HeaderValue {
    /// 8 KiB: what the most generous servers take in one field.
    const LENGTH_MAX: usize = 8 * 1024;

    /// The value.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for HeaderValue {
    type Err = Wrong;

    fn from_str(text: &str) -> Result<Self, Wrong> {
        if text.len() > HeaderValue::LENGTH_MAX {
            let message = format!("the header value is longer than {} bytes", HeaderValue::LENGTH_MAX);
            return Err(Wrong::new(Code::BadHeaderValue, message));
        }
        // RFC 9110 §5.5: CR, LF and NUL are dangerous, other controls and bytes above 0x7f have no agreed meaning.
        let bad = text.chars().position(|c| !(c.is_ascii_graphic() || c == ' ' || c == '\t'));
        if let Some(index) = bad {
            let what = match text.chars().nth(index) {
                Some('\r' | '\n') => "a line break",
                Some('\0') => "a NUL",
                Some(c) if c.is_control() => "a control character",
                _ => "a character outside ASCII",
            };
            let message = format!("the header value has {what} at character {}", index + 1);
            return Err(
                Wrong::new(Code::BadHeaderValue, message).hint("write visible ASCII characters and spaces")
            );
        }
        if text.starts_with([' ', '\t']) || text.ends_with([' ', '\t']) {
            let message = "the header value begins or ends with a space, which does not belong to a value";
            return Err(Wrong::new(Code::BadHeaderValue, message).hint("remove the outer spaces"));
        }
        Ok(HeaderValue(Arc::from(text)))
    }
}

impl fmt::Display for HeaderValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

scalar!(
    HeaderValue,
    from_text,
    Shape::Text { format: "header value", pattern: Some("^[\\x20-\\x7e\\t]*$"), example: None }
);

/// A method that the gateway lets pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Method(&'static str);

impl Method {
    /// All of them.
    pub const ALL: [Method; 7] = [
        Method("GET"),
        Method("HEAD"),
        Method("POST"),
        Method("PUT"),
        Method("PATCH"),
        Method("DELETE"),
        Method("OPTIONS"),
    ];

    /// A method that our own code writes; must be one of [`Method::ALL`].
    pub fn known(name: &'static str) -> Self {
        debug_assert!(Method::ALL.contains(&Method(name)), "not a method: {name}");
        Method(name)
    }

    /// The method in upper case.
    pub const fn as_str(self) -> &'static str {
        self.0
    }
}

impl FromStr for Method {
    type Err = Wrong;

    fn from_str(text: &str) -> Result<Self, Wrong> {
        if let Some(method) = Method::ALL.into_iter().find(|method| method.0 == text) {
            return Ok(method);
        }
        let wrong = Wrong::new(
            Code::BadMethod,
            format!("{} is not a method that the gateway lets pass", shown(text)),
        );
        let upper = text.to_ascii_uppercase();
        Err(match upper.as_str() {
            "CONNECT" => wrong.hint("CONNECT asks for a tunnel, and the gateway is no forward proxy"),
            "TRACE" => {
                wrong.hint("TRACE sends a request back with its credentials, so no request with it is served")
            }
            "*" | "ANY" | "ALL" => wrong.hint("leave the field out to mean every method"),
            known if Method::ALL.iter().any(|method| method.0 == known) => {
                wrong.hint(format!("write `{known}`"))
            }
            _ => wrong.hint("the methods are GET, HEAD, POST, PUT, PATCH, DELETE and OPTIONS"),
        })
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

scalar!(Method, from_text, text_shape("method", "^(GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS)$", "GET"));

/// A path as it is compared with canonical paths: absolute, without query, empty or dot segments. Braces are
/// admitted because templates (`/orders/{id}`) are written as paths.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PathText(Arc<str>);

impl PathText {
    /// 2 KiB: a path of a document, not of a request.
    const LENGTH_MAX: usize = 2 * 1024;

    /// A path that our own code writes; must be valid.
    pub fn known(path: &'static str) -> Self {
        debug_assert!(path.parse::<PathText>().is_ok(), "not a path: {path}");
        PathText(Arc::from(path))
    }

    /// The path.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The path, shared.
    pub fn shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }
}

impl FromStr for PathText {
    type Err = Wrong;

    fn from_str(text: &str) -> Result<Self, Wrong> {
        let wrong = |why: &str| Wrong::new(Code::BadPath, format!("{} {why}", shown(text)));
        if text.len() > PathText::LENGTH_MAX {
            return Err(wrong("is longer than a path may be"));
        }
        if !text.starts_with('/') {
            let hint = if text.contains("://") {
                "write the path alone; the host belongs into `hostnames`".to_owned()
            } else {
                format!("write `/{}`", clipped(text))
            };
            return Err(wrong("does not begin with `/`").hint(hint));
        }
        if let Some(part) = text.chars().find(|c| matches!(c, '?' | '#')) {
            let hint = if part == '?' { "a query is matched by `queryParams`" } else { "remove it" };
            return Err(wrong(&format!("has a `{part}`, which is not part of a path")).hint(hint));
        }
        if text.contains("//") {
            return Err(wrong("has an empty segment, which no canonical path has").hint("write one `/`"));
        }
        check_bytes(text)?;
        let dots = |segment: &str| matches!(segment, "." | "..");
        if text.split('/').any(dots) {
            return Err(
                wrong("has a dot segment, which no canonical path has").hint("write the path without it")
            );
        }
        Ok(PathText(Arc::from(text)))
    }
}

/// RFC 3986 §3.3: the characters of a segment; encodings must be those of the canonical form (§6.2.2).
fn check_bytes(text: &str) -> Result<(), Wrong> {
    let wrong = |why: String| Wrong::new(Code::BadPath, format!("{} {why}", shown(text)));
    let mut rest = text.chars();
    while let Some(character) = rest.next() {
        if character == '%' {
            let code: String = rest.by_ref().take(2).collect();
            let byte = match code.as_bytes() {
                [high, low] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                    u8::from_str_radix(&code, 16)
                }
                _ => {
                    return Err(wrong("has a `%` that is not followed by two hexadecimal digits".to_owned()));
                }
            };
            let upper = code.to_ascii_uppercase();
            match byte {
                Ok(byte) if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => {
                    let plain = char::from(byte);
                    return Err(wrong("encodes a character that needs no encoding".to_owned())
                        .hint(format!("write `{plain}` instead of `%{code}`")));
                }
                _ if upper != code => {
                    let hint = format!("write `%{upper}`");
                    return Err(wrong("has an encoding in lower case".to_owned()).hint(hint));
                }
                _ => {}
            }
        } else if !(character.is_ascii_alphanumeric() || "/-._~!$&'()*+,;=:@{}".contains(character)) {
            let mut buffer = [0; 4];
            let encoded: String =
                character.encode_utf8(&mut buffer).bytes().map(|b| format!("%{b:02X}")).collect();
            let hint = if character == '\\' { "write `/`".to_owned() } else { format!("write `{encoded}`") };
            return Err(wrong(format!(
                "has a character that a path cannot have: {}",
                character.escape_debug()
            ))
            .hint(hint));
        }
    }
    Ok(())
}

impl fmt::Display for PathText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

scalar!(PathText, from_text, text_shape("path", "^/[^?#\\\\]*$", "/orders"));
