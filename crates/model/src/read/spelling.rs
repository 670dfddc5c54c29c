//! How a Rust name is spelled in documents.

/// The length of [`camel`]'s result.
#[doc(hidden)]
pub const fn camel_length(name: &str) -> usize {
    let mut rest = name.as_bytes();
    let mut length = 0;
    while let [byte, tail @ ..] = rest {
        if *byte != b'_' {
            length += 1;
        }
        rest = tail;
    }
    length
}

/// A Rust name (`backend_refs`, `ApiKey`) as documents spell it (`backendRefs`, `apiKey`), at compile time.
#[doc(hidden)]
#[expect(clippy::indexing_slicing, reason = "runs at compile time, where a wrong index is a compile error")]
pub const fn camel<const LENGTH: usize>(name: &str) -> [u8; LENGTH] {
    let mut out = [0; LENGTH];
    let mut rest = name.as_bytes();
    let (mut at, mut raise) = (0, false);
    while let [byte, tail @ ..] = rest {
        if *byte == b'_' {
            raise = at > 0;
        } else {
            out[at] = match (at, raise) {
                (0, _) => byte.to_ascii_lowercase(),
                (_, true) => byte.to_ascii_uppercase(),
                (_, false) => *byte,
            };
            at += 1;
            raise = false;
        }
        rest = tail;
    }
    out
}
