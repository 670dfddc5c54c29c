//! The compact serialization of a signed token (RFC 7515 §3.1, §7.1), and nothing else.
//!
//! The JSON serialization is refused: RFC 7519 §1 knows tokens in the compact form only, and unprotected headers are
//! a second truth beside the signed one. Header members that bring a key or say where to fetch one (`jku`, `x5u`,
//! `jwk`, `x5c`) are ignored and not refused: RFC 7515 §4 has members that are not understood ignored, issuers in
//! good standing send them, and a key that comes with the token is never asked (RFC 8725 §3.10).

use crate::{
    algorithm::Algorithm,
    base64url,
    json::{Budget, Json, Object},
    jwk::KeySet,
    jwt::flaw::TokenFlaw,
};

/// A signed text by form; its signature is not verified yet.
pub struct Jws<'a> {
    header: Header,
    signed: &'a [u8],
    payload: Vec<u8>,
    signature: Vec<u8>,
}

/// What of the protected header is looked at.
#[derive(Debug)]
pub(crate) struct Header {
    pub(crate) algorithm: Algorithm,
    pub(crate) kid: Option<Box<str>>,
    pub(crate) typ: Option<Box<str>>,
}

impl<'a> Jws<'a> {
    /// Reads the form: three parts, each the one encoding of its bytes, and a header that asks for nothing we do not
    /// do.
    pub fn parse(token: &'a [u8]) -> Result<Self, TokenFlaw> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenFlaw::TooLarge);
        }
        let (header, rest) = cut(token, token.iter().position(is_dot))?;
        let (payload, signature) = cut(rest, rest.iter().rposition(is_dot))?;
        let signed = token.get(..header.len() + 1 + payload.len()).ok_or(TokenFlaw::Malformed)?;
        if header.len() > (HEADER_BYTES_MAX * 4).div_ceil(3) {
            return Err(TokenFlaw::TooLarge);
        }
        let header = base64url::decode(header).ok_or(TokenFlaw::Malformed)?;
        let payload = base64url::decode(payload).ok_or_else(|| misshapen(payload))?;
        let signature = base64url::decode(signature).ok_or(TokenFlaw::Malformed)?;
        let header = Header::read(&Object::parse(&header, HEADER_BUDGET)?)?;
        if signature.is_empty() {
            return Err(TokenFlaw::Signature);
        }
        Ok(Jws { header, signed, payload, signature })
    }

    /// The signed content, if one of `keys` signed it under an algorithm that is the key's own.
    ///
    /// This is the signature alone: no issuer, no audience, no time. Tokens go to
    /// [`TokenJudge`](super::TokenJudge), which asks for those too.
    pub fn verify(self, keys: &KeySet) -> Result<Vec<u8>, TokenFlaw> {
        if !keys.has(self.header.kid.as_deref(), self.header.algorithm) {
            return Err(TokenFlaw::KeyUnknown);
        }
        if self.is_signed_by(keys) { Ok(self.payload) } else { Err(TokenFlaw::Signature) }
    }

    pub(crate) fn header(&self) -> &Header {
        &self.header
    }

    /// Not to be believed before [`Jws::is_signed_by`] said yes.
    pub(crate) fn unverified_payload(&self) -> &[u8] {
        &self.payload
    }

    pub(crate) fn is_signed_by(&self, keys: &KeySet) -> bool {
        keys.verifies(self.header.kid.as_deref(), self.header.algorithm, self.signed, &self.signature)
    }
}

impl Header {
    fn read(header: &Object) -> Result<Self, TokenFlaw> {
        // RFC 7515 §4.1.11: an extension that is not understood must refuse the token, and we understand none; an
        // empty list is forbidden too. RFC 7797 §7: a JWT never has an unencoded payload.
        if header.get("crit").is_some() {
            return Err(TokenFlaw::Critical);
        }
        match header.get("b64") {
            None | Some(Json::Bool(true)) => {}
            Some(_) => return Err(TokenFlaw::Critical),
        }
        // Both belong to encrypted tokens (RFC 7516 §4.1); in a signed one they are a decoder's bait.
        if header.get("zip").is_some() || header.get("enc").is_some() {
            return Err(TokenFlaw::Encrypted);
        }
        let name = header.text("alg")?.ok_or(TokenFlaw::Malformed)?;
        let kid = header.text("kid")?.map(Box::from);
        let typ = header.text("typ")?.map(Box::from);
        let algorithm = Algorithm::parse(name).ok_or(TokenFlaw::Algorithm)?;
        Ok(Header { algorithm, kid, typ })
    }
}

fn is_dot(byte: &u8) -> bool {
    *byte == b'.'
}

/// What stands before and behind a dot.
fn cut(text: &[u8], dot: Option<usize>) -> Result<(&[u8], &[u8]), TokenFlaw> {
    let (before, after) = dot.and_then(|dot| text.split_at_checked(dot)).ok_or(TokenFlaw::Malformed)?;
    Ok((before, after.get(1..).unwrap_or_default()))
}

/// RFC 7516 §3.1: two more dots are an encrypted token.
fn misshapen(payload: &[u8]) -> TokenFlaw {
    if payload.iter().copied().filter(is_dot).count() == 2 {
        TokenFlaw::Encrypted
    } else {
        TokenFlaw::Malformed
    }
}

/// RFC 7515 §4.1.9: a media type, compared without regard to case, whose `application/` is usually left out.
pub(crate) fn is_same_type(one: &str, other: &str) -> bool {
    bare_type(one).eq_ignore_ascii_case(bare_type(other))
}

fn bare_type(text: &str) -> &str {
    match text.split_at_checked(PREFIX.len()) {
        Some((prefix, rest)) if prefix.eq_ignore_ascii_case(PREFIX) && !rest.contains('/') => rest,
        _ => text,
    }
}

const PREFIX: &str = "application/";

/// 8 KiB: more than any header of a sensible token, and what servers take as a header at all.
pub const TOKEN_BYTES_MAX: usize = 8 * 1024;

/// 1 KiB, decoded: room for an algorithm, a name and a type; certificates stay at home.
pub const HEADER_BYTES_MAX: usize = 1024;

const HEADER_BUDGET: Budget = Budget { depth: 4, members: 32, values: 96 };

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base64url::encode;

    fn flaw(header: &str) -> Option<TokenFlaw> {
        Jws::parse(format!("{}.e30.AA", encode(header.as_bytes())).as_bytes()).err()
    }

    #[test]
    fn a_header_asks_for_nothing_that_is_not_done() {
        use TokenFlaw::{Algorithm, Critical, Duplicate, Encrypted, Malformed, TooLarge};
        let padded = |len: usize| format!(r#"{{"alg":"RS256","x":"{}"}}"#, "x".repeat(len - 22));
        for (header, expected) in [
            (r#"{"alg":"RS256"}"#.to_owned(), None),
            (
                r#"{"alg":"RS256","jku":"https://evil.example/","x5c":["AA"],"jwk":{"kty":"oct"}}"#
                    .to_owned(),
                None,
            ),
            (r#"{"alg":"RS256","b64":true}"#.to_owned(), None),
            (r#"{"alg":"RS256","b64":false}"#.to_owned(), Some(Critical)),
            (r#"{"alg":"RS256","b64":"true"}"#.to_owned(), Some(Critical)),
            (r#"{"alg":"RS256","b64":true,"crit":["b64"]}"#.to_owned(), Some(Critical)),
            (r#"{"alg":"RS256","crit":[]}"#.to_owned(), Some(Critical)),
            (r#"{"alg":"RS256","crit":null}"#.to_owned(), Some(Critical)),
            (r#"{"alg":"RS256","crit":["exp"],"exp":1}"#.to_owned(), Some(Critical)),
            (r#"{"alg":"RS256","zip":"DEF"}"#.to_owned(), Some(Encrypted)),
            (r#"{"alg":"dir","enc":"A256GCM"}"#.to_owned(), Some(Encrypted)),
            (r#"{"alg":"none"}"#.to_owned(), Some(Algorithm)),
            (r#"{"alg":"nOnE"}"#.to_owned(), Some(Algorithm)),
            (r#"{"alg":""}"#.to_owned(), Some(Algorithm)),
            (r#"{"alg":null}"#.to_owned(), Some(Malformed)),
            (r#"{"alg":["RS256"]}"#.to_owned(), Some(Malformed)),
            (r#"{"alg":"RS256","kid":7}"#.to_owned(), Some(Malformed)),
            (r#"{"alg":"RS256","typ":null}"#.to_owned(), Some(Malformed)),
            (r#"{"alg":"none","alg":"RS256"}"#.to_owned(), Some(Duplicate)),
            (r#"{"alg":"RS256","\u0061lg":"none"}"#.to_owned(), Some(Duplicate)),
            (r#"{}"#.to_owned(), Some(Malformed)),
            (r#"[]"#.to_owned(), Some(Malformed)),
            ("".to_owned(), Some(Malformed)),
            (padded(1024), None),
            (padded(1025), Some(TooLarge)),
        ] {
            assert_eq!(flaw(&header), expected, "{header}");
        }
    }

    #[test]
    fn a_token_is_three_parts_and_nothing_around_them() {
        use TokenFlaw::{Encrypted, Malformed, Signature, TooLarge};
        let header = encode(br#"{"alg":"HS256"}"#);
        for (token, expected) in [
            (format!("{header}.e30.AA"), None),
            (format!("{header}..AA"), None),
            (format!("{header}.e30."), Some(Signature)),
            (format!("{header}.e30"), Some(Malformed)),
            (header.clone(), Some(Malformed)),
            (String::new(), Some(Malformed)),
            ("..".to_owned(), Some(Malformed)),
            (format!("{header}.e30.AA."), Some(Malformed)),
            (format!("{header}.e30.AA.AA"), Some(Malformed)),
            (format!("{header}.e30.AA.AA.AA"), Some(Encrypted)),
            (format!("{header}.e30.AA.AA.AA.AA"), Some(Malformed)),
            (format!(" {header}.e30.AA"), Some(Malformed)),
            (format!("{header}.e30.AA "), Some(Malformed)),
            (format!("{header}.e30.AA\n"), Some(Malformed)),
            (format!("{header}.e30.AA=="), Some(Malformed)),
            (format!("{header}.e30.AB"), Some(Malformed)),
            // Two tokens have as many dots as an encrypted one.
            (format!("{header}.e30.AA,{header}.e30.AA"), Some(Encrypted)),
            (format!("{header}.e30.AA {header}.e30.AA"), Some(Encrypted)),
            (format!("Bearer {header}.e30.AA"), Some(Malformed)),
            (format!("{header}.e30.{}", "A".repeat(1 << 20)), Some(TooLarge)),
            (r#"{"payload":"e30","protected":"","signature":"AA"}"#.to_owned(), Some(Malformed)),
        ] {
            assert_eq!(Jws::parse(token.as_bytes()).err(), expected, "{}", &token[..token.len().min(99)]);
        }
    }

    #[test]
    fn a_media_type_is_compared_without_case_and_prefix() {
        for (one, other, expected) in [
            ("JWT", "jwt", true),
            ("JWT", "application/JWT", true),
            ("Application/AT+JWT", "at+jwt", true),
            ("at+jwt", "jwt", false),
            ("text/plain", "plain", false),
            ("application/x/y", "x/y", false),
            ("", "", true),
            ("", "jwt", false),
        ] {
            assert_eq!(is_same_type(one, other), expected, "{one} {other}");
        }
    }
}
