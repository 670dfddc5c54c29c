//! Sixteen bytes looked at at once.
//!
//! The checks of names and values run over every byte of every head. The compiler compares a block of fixed length in a
//! handful of instructions; it does so reliably only when blocks come one by one, each with its own way out. A loop over
//! single bytes costs two to five times as much, and a fold over all blocks can cost ten times as much.

const BLOCK: usize = 16;

/// Whether any byte is `odd`, which must not use `&&` or `||`. A letter `a` must not be odd: a short text is filled up
/// with it.
pub(crate) fn any(text: &[u8], odd: impl Fn(u8) -> bool + Copy) -> bool {
    let mut rest = text;
    while let Some((block, after)) = rest.split_first_chunk::<BLOCK>() {
        if any_of(block, odd) {
            return true;
        }
        rest = after;
    }
    if rest.is_empty() {
        return false;
    }
    // The last block overlaps the one before it.
    if let Some(last) = text.last_chunk::<BLOCK>() {
        return any_of(last, odd);
    }
    let mut block = [b'a'; BLOCK];
    for (to, from) in block.iter_mut().zip(rest) {
        *to = *from;
    }
    any_of(&block, odd)
}

fn any_of(block: &[u8; BLOCK], odd: impl Fn(u8) -> bool) -> bool {
    u128::from_ne_bytes(block.map(|byte| u8::from(odd(byte)))) != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_is_found_at_every_place_of_every_length() {
        for length in 0..=70 {
            let plain = vec![b'b'; length];
            assert!(!any(&plain, |byte| byte == b'!'), "{length}");
            for place in 0..length {
                let mut odd = plain.clone();
                odd[place] = b'!';
                assert!(any(&odd, |byte| byte == b'!'), "{place} of {length}");
            }
        }
    }
}
