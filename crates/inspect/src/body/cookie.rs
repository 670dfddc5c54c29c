//! The Cookie header as rules see it: names and values as sent, divided by `;`.

/// Adds the cookies of one header field; false when there are more than `max`.
pub(crate) fn cookies(field: &[u8], max: usize, into: &mut Vec<(Vec<u8>, Vec<u8>)>) -> bool {
    for cookie in field.split(|byte| *byte == b';') {
        let cookie = cookie.trim_ascii();
        if cookie.is_empty() {
            continue;
        }
        if into.len() >= max {
            return false;
        }
        let at = memchr::memchr(b'=', cookie).unwrap_or(cookie.len());
        let (name, value) = cookie.split_at(at);
        into.push((name.to_vec(), value.get(1..).unwrap_or_default().to_vec()));
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_keep_their_encoding_and_the_nameless_are_seen() {
        let mut found = Vec::new();
        assert!(cookies(b"a=1; b=x=y;c ; =d;", 10, &mut found));
        let names: Vec<&[u8]> = found.iter().map(|(name, _)| name.as_slice()).collect();
        assert_eq!(names, [&b"a"[..], b"b", b"c", b""]);
        assert_eq!(found[1].1, b"x=y");
        assert!(!cookies(b"a;b;c", 2, &mut Vec::new()));
    }
}
