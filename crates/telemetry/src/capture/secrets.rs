//! Whether a body may be kept in a capture that holds no secrets.
//!
//! Only bodies whose names can be seen are: JSON and forms. One with a member that is named like a secret is left out whole: a
//! judge that sees a mask instead of a value does not judge that request. What is doubtful is left out.

use crate::redact::is_secret_header;

/// Parts of names beside those of headers that carry secrets.
const MORE_PARTS: [&str; 7] = ["card", "cvc", "cvv", "iban", "otp", "pin", "ssn"];

/// Whether this body has no member that is named like a secret.
pub(super) fn is_free_of_secrets(content_type: Option<&[u8]>, body: &[u8]) -> bool {
    let essence = content_type.unwrap_or_default().split(|byte| *byte == b';').next().unwrap_or_default();
    let essence = essence.trim_ascii().to_ascii_lowercase();
    if essence == b"application/x-www-form-urlencoded" {
        return body.split(|byte| *byte == b'&').all(|pair| {
            let name = pair.split(|byte| *byte == b'=').next().unwrap_or_default();
            !is_secret(&decoded(name))
        });
    }
    (essence == b"application/json" || essence.ends_with(b"+json")) && json_is_free(body)
}

/// Looks at each string that a colon follows; one with an escape in it could be any name.
fn json_is_free(body: &[u8]) -> bool {
    let mut rest = body;
    while let Some(begin) = rest.iter().position(|byte| *byte == b'"') {
        let text = rest.get(begin + 1..).unwrap_or_default();
        let mut end = 0;
        loop {
            match text.get(end) {
                Some(b'"') => break,
                Some(b'\\') => end += 2,
                Some(_) => end += 1,
                // It does not end: no JSON, and nobody knows what it is.
                None => return false,
            }
        }
        let (name, after) = (text.get(..end).unwrap_or_default(), text.get(end + 1..).unwrap_or_default());
        let is_name = after.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b':');
        if is_name && (name.contains(&b'\\') || is_secret(name)) {
            return false;
        }
        rest = after;
    }
    true
}

fn is_secret(name: &[u8]) -> bool {
    let Ok(name) = std::str::from_utf8(name) else { return true };
    let lower = name.to_lowercase();
    // `apiKey` and `api_key` are as secret as `api-key`; `key` alone may be one.
    let dashed = lower.replace('_', "-");
    is_secret_header(&dashed)
        || dashed == "key"
        || dashed == "pwd"
        || dashed.split(['-', '.', '[', ']']).any(|word| MORE_PARTS.contains(&word))
}

/// `%41` and `+` in a form's name.
fn decoded(name: &[u8]) -> Vec<u8> {
    let digit = |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16));
    let (mut out, mut at) = (Vec::with_capacity(name.len()), 0);
    while let Some(byte) = name.get(at) {
        match (byte, digit(name.get(at + 1)), digit(name.get(at + 2))) {
            (b'%', Some(high), Some(low)) => {
                out.push(u8::try_from(high * 16 + low).unwrap_or_default());
                at += 3;
            }
            (b'+', ..) => {
                out.push(b' ');
                at += 1;
            }
            _ => {
                out.push(*byte);
                at += 1;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_bodies_whose_names_are_seen_and_none_a_secrets_are_kept() {
        let json = Some(&b"application/json; charset=utf-8"[..]);
        let form = Some(&b"application/x-www-form-urlencoded"[..]);
        for (kind, body, expected) in [
            (json, r#"{"name":"ada","note":"the password: x"}"#, true),
            (json, r#"[{"a":{"b":"token"}}]"#, true),
            (json, r#"{"user":"ada","Password":"x"}"#, false),
            (json, r#"{"a":[{"client_secret" : "x"}]}"#, false),
            (json, r#"{"accessToken":"x"}"#, false),
            (json, r#"{"api_key":"x"}"#, false),
            (json, r#"{"p\u0061ssword":"x"}"#, false),
            (json, r#"{"a":"\"password\":"}"#, true),
            (json, r#"{"card.number":"4111"}"#, false),
            (json, r#"{"shipping":"x","pinned":true}"#, true),
            (json, r#"{"a":"never ends"#, false),
            (form, "user=ada&page=1", true),
            (form, "user=ada&pass%77ord=x", false),
            (form, "login[passwd]=x", false),
            (Some(&b"application/problem+json"[..]), "{}", true),
            (Some(&b"text/plain"[..]), "hello", false),
            (None, "{}", false),
        ] {
            assert_eq!(is_free_of_secrets(kind, body.as_bytes()), expected, "{body}");
        }
    }
}
