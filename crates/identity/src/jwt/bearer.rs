//! The `Authorization` header's bearer token (RFC 6750 §2.1).
//!
//! Only the header: a token in a query string ends up in logs, and one in a form is read after the decision. Two
//! tokens are refused and not chosen from, since the origin might choose the other.

/// What the `Authorization` headers of a request hold.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Bearer<'a> {
    /// Nothing for this method: no header, or another scheme's.
    Absent,
    /// A bearer header that holds no token, or more than one header.
    Malformed,
    /// One token, not judged yet.
    Token(&'a [u8]),
}

/// Reads the values of all `Authorization` headers of one request.
pub fn bearer<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> Bearer<'a> {
    let mut values = values.into_iter();
    let Some(value) = values.next() else {
        return Bearer::Absent;
    };
    // RFC 9110 §11.6.2 and §5.3: the header is no list, so a second one is never right.
    if values.next().is_some() {
        return Bearer::Malformed;
    }
    // RFC 9110 §11.1: schemes have no case; §11.4: one or more spaces follow.
    let Some((scheme, rest)) = value.split_at_checked(SCHEME.len()) else {
        return Bearer::Absent;
    };
    if !scheme.eq_ignore_ascii_case(SCHEME) {
        return Bearer::Absent;
    }
    match rest.iter().position(|byte| *byte != b' ') {
        None => Bearer::Malformed,
        // `Bearerx` is another scheme.
        Some(0) if rest.first().is_some_and(u8::is_ascii_alphanumeric) => Bearer::Absent,
        Some(0) => Bearer::Malformed,
        Some(start) => match rest.get(start..) {
            Some(token) if token.iter().all(|byte| is_token68(*byte)) => Bearer::Token(token),
            _ => Bearer::Malformed,
        },
    }
}

/// RFC 9110 §11.2.
const fn is_token68(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'+' | b'/' | b'=')
}

const SCHEME: &[u8] = b"Bearer";

/// Shows which it is and nothing of the token.
impl std::fmt::Debug for Bearer<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Bearer::Absent => "Absent",
            Bearer::Malformed => "Malformed",
            Bearer::Token(_) => "Token(…)",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_header_with_one_token_is_a_bearer_token() {
        for (values, expected) in [
            (&[][..], Bearer::Absent),
            (&[&b"Bearer a.b.c"[..]], Bearer::Token(b"a.b.c")),
            (&[b"bearer a.b.c"], Bearer::Token(b"a.b.c")),
            (&[b"BEARER   a.b.c"], Bearer::Token(b"a.b.c")),
            (&[b"Basic YTpi"], Bearer::Absent),
            (&[b"Bearerx a.b.c"], Bearer::Absent),
            (&[b"Bear"], Bearer::Absent),
            (&[b""], Bearer::Absent),
            (&[b"Bearer"], Bearer::Malformed),
            (&[b"Bearer "], Bearer::Malformed),
            (&[b"Bearer\ta.b.c"], Bearer::Malformed),
            (&[b"Bearer=a.b.c"], Bearer::Malformed),
            (&[b"Bearer a.b.c "], Bearer::Malformed),
            (&[b"Bearer a.b.c, Bearer d.e.f"], Bearer::Malformed),
            (&[b"Bearer a.b.c d.e.f"], Bearer::Malformed),
            (&[b"Bearer a.b.c", b"Bearer a.b.c"], Bearer::Malformed),
            (&[b"Basic YTpi", b"Bearer a.b.c"], Bearer::Malformed),
            (&[b"Bearer \"a\""], Bearer::Malformed),
            (&[b"Bearer \xff"], Bearer::Malformed),
        ] {
            assert_eq!(bearer(values.iter().copied()), expected, "{values:?}");
        }
        assert_eq!(format!("{:?}", bearer([&b"Bearer secret"[..]])), "Token(…)");
    }
}
