//! The cookies of a session: one, or several where one would be larger than browsers keep.

use http::{HeaderMap, HeaderValue};

use super::place::{cookies, crumb_names};

/// RFC 6265bis §5.7 has browsers keep 4,096 bytes of name and value.
const CHUNK_BYTES: usize = 3_800;

/// 15 KiB in all: more than that in every request is too much for many servers, and for the listener's own limit.
const CHUNKS_MAX: usize = 4;

/// What a request has of a session.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Kept {
    /// Nothing.
    Absent,
    /// Something that is not what was given out.
    Broken,
    /// The whole text.
    Text(Vec<u8>),
}

/// Puts the text in a request's cookies together. The first says how many there are.
pub(super) fn read(headers: &HeaderMap, name: &str) -> Kept {
    let single = |name: &str| {
        let mut values = cookies(headers, name);
        (values.next(), values.next().is_some())
    };
    let (first, twice) = single(name);
    let Some(first) = first else { return Kept::Absent };
    let Some((count, first)) = first.split_first() else { return Kept::Broken };
    let count = usize::from(count.wrapping_sub(b'0'));
    if twice || !(1..=CHUNKS_MAX).contains(&count) {
        return Kept::Broken;
    }
    let mut text = first.to_vec();
    for at in 1..count {
        match single(&chunk_name(name, at)) {
            (Some(chunk), false) => text.extend_from_slice(chunk),
            _ => return Kept::Broken,
        }
    }
    Kept::Text(text)
}

/// The `Set-Cookie` fields that make a browser keep `text`, and forget what the request has beyond it; `None` if it is
/// too large.
pub(super) fn write(headers: &HeaderMap, name: &str, text: &str, seconds: u64) -> Option<Vec<HeaderValue>> {
    // The text is Base64, so a byte is a character.
    let chunks: Vec<&[u8]> = text.as_bytes().chunks(CHUNK_BYTES).collect();
    if chunks.is_empty() || chunks.len() > CHUNKS_MAX {
        return None;
    }
    let mut fields = Vec::new();
    for (at, chunk) in chunks.iter().enumerate() {
        let chunk = std::str::from_utf8(chunk).ok()?;
        fields.push(match at {
            0 => set(name, &format!("{}{chunk}", chunks.len()), seconds)?,
            _ => set(&chunk_name(name, at), chunk, seconds)?,
        });
    }
    let is_left = |known: &str| (chunks.len()..CHUNKS_MAX).any(|at| *known == *chunk_name(name, at));
    fields.extend(crumb_names(headers).filter(|known| is_left(known)).filter_map(forget));
    Some(fields)
}

/// The `Set-Cookie` fields that make a browser forget everything of a method that the request has.
pub(super) fn forget_all(headers: &HeaderMap, owns: impl Fn(&[u8]) -> bool) -> Vec<HeaderValue> {
    crumb_names(headers)
        .filter(|known| owns(known.as_bytes()))
        .take(FORGOTTEN_MAX)
        .filter_map(forget)
        .collect()
}

/// Sixteen: what a browser can have of one method, and a bound for whoever sends more.
const FORGOTTEN_MAX: usize = 16;

/// Keeps one cookie: to this host, over TLS, out of the reach of scripts, and sent along when somebody follows a link
/// here but with nothing else that another site sends (RFC 6265bis §4.1.2, §4.1.3.2).
pub(super) fn set(name: &str, value: &str, seconds: u64) -> Option<HeaderValue> {
    let text = format!("{name}={value}; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age={seconds}");
    let mut value = HeaderValue::try_from(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// Forgets one cookie.
pub(super) fn forget(name: &str) -> Option<HeaderValue> {
    set(name, "", 0)
}

fn chunk_name(name: &str, at: usize) -> String {
    format!("{name}.{at}")
}

#[cfg(test)]
mod tests {
    use http::header;

    use super::*;

    const NAME: &str = "__Host-s";

    fn as_sent(fields: &[HeaderValue]) -> HeaderMap {
        let pairs: Vec<&str> = fields
            .iter()
            .map(|field| field.to_str().unwrap())
            .filter(|field| !field.ends_with("Max-Age=0"))
            .map(|field| field.split(';').next().unwrap())
            .collect();
        [(header::COOKIE, pairs.join("; ").parse().unwrap())].into_iter().collect()
    }

    #[test]
    fn a_session_of_any_size_reads_back_or_is_not_kept() {
        for (length, fields) in
            [(1, 1), (CHUNK_BYTES, 1), (CHUNK_BYTES + 1, 2), (CHUNK_BYTES * CHUNKS_MAX, CHUNKS_MAX)]
        {
            let text = "a".repeat(length);
            let set = write(&HeaderMap::new(), NAME, &text, 60).unwrap();
            assert_eq!(set.len(), fields, "{length}");
            assert!(set.iter().all(|field| field.len() < 4_096 && field.is_sensitive()));
            assert_eq!(read(&as_sent(&set), NAME), Kept::Text(text.into_bytes()));
        }
        assert_eq!(write(&HeaderMap::new(), NAME, &"a".repeat(CHUNK_BYTES * CHUNKS_MAX + 1), 60), None);
        assert_eq!(write(&HeaderMap::new(), NAME, "", 60), None);
    }

    #[test]
    fn what_was_not_given_out_is_broken_and_not_absent() {
        let sent =
            |cookie: &str| [(header::COOKIE, cookie.parse().unwrap())].into_iter().collect::<HeaderMap>();
        for (cookie, kept) in [
            ("a=b", Kept::Absent),
            ("__Host-s.1=b", Kept::Absent),
            ("__Host-s=1abc", Kept::Text(b"abc".to_vec())),
            ("__Host-s=2ab; __Host-s.1=c", Kept::Text(b"abc".to_vec())),
            ("__Host-s=1abc; __Host-s.1=left", Kept::Text(b"abc".to_vec())),
            ("__Host-s=", Kept::Broken),
            ("__Host-s=0abc", Kept::Broken),
            ("__Host-s=5abc", Kept::Broken),
            ("__Host-s=abc", Kept::Broken),
            ("__Host-s=2ab", Kept::Broken),
            ("__Host-s=2ab; __Host-s.1=c; __Host-s.1=d", Kept::Broken),
            ("__Host-s=1abc; __Host-s=1abc", Kept::Broken),
        ] {
            assert_eq!(read(&sent(cookie), NAME), kept, "{cookie}");
        }
    }

    #[test]
    fn a_smaller_session_leaves_nothing_of_the_larger_behind() {
        let large = as_sent(&write(&HeaderMap::new(), NAME, &"a".repeat(CHUNK_BYTES * 3), 60).unwrap());
        let fields = write(&large, NAME, "b", 60).unwrap();
        let fields: Vec<&str> = fields.iter().map(|field| field.to_str().unwrap()).collect();
        assert_eq!(fields.len(), 3);
        assert_eq!(fields[0], "__Host-s=1b; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=60");
        assert!(fields[1].starts_with("__Host-s.1=; ") && fields[1].ends_with("Max-Age=0"), "{fields:?}");
        assert_eq!(forget_all(&large, |name| name.starts_with(NAME.as_bytes())).len(), 3);
        assert_eq!(forget_all(&large, |name| name == b"x"), Vec::<HeaderValue>::new());
    }
}
