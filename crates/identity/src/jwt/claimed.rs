//! Whom a token claims to be about, before anything of it is verified.
//!
//! Only for what grants nothing: on which side of a percentage a caller falls. It must be the same for every token of a
//! caller, so it is the issuer and the subject, and not the token.

use super::{claims, compact::Jws};

/// `iss` and `sub` as the token says them; `None` where it has not the form of one, or lacks either.
pub fn claimed(token: &[u8]) -> Option<(Box<str>, Box<str>)> {
    let jws = Jws::parse(token).ok()?;
    let claims = claims::read(jws.unverified_payload()).ok()?;
    let text = |name: &str| claims::text(&claims, name).ok().flatten().map(Box::from);
    Some((text("iss")?, text("sub")?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base64url::encode;

    #[test]
    fn a_token_claims_to_be_about_somebody_or_nobody() {
        let token = |claims: &str| {
            format!("{}.{}.{}", encode(b"{\"alg\":\"RS256\"}"), encode(claims.as_bytes()), encode(&[1; 256]))
        };
        let found = claimed(token(r#"{"iss":"a","sub":"b","exp":1}"#).as_bytes()).unwrap();
        assert_eq!((&*found.0, &*found.1), ("a", "b"));
        for claims in [r#"{"iss":"a"}"#, r#"{"sub":"b"}"#, r#"{"iss":"a","sub":7}"#, "[]"] {
            assert_eq!(claimed(token(claims).as_bytes()), None, "{claims}");
        }
        assert_eq!(claimed(b"opaque"), None);
    }
}
