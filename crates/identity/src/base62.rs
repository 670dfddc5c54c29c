//! Numbers as text over `0-9A-Za-z`, most significant digit first and always of a fixed width.
//!
//! Base 62 because a double click selects a whole key and no shell, URL or header needs it quoted.

use zeroize::Zeroizing;

/// `value` in exactly `N` digits; higher digits are cut off.
pub(crate) fn encode<const N: usize>(mut value: u128) -> [u8; N] {
    let mut text = [b'0'; N];
    for place in text.iter_mut().rev() {
        *place = digit((value % 62) as u8);
        value /= 62;
    }
    text
}

/// 256 bits in 43 digits (62^43 is just above 2^256), wiped when dropped.
pub(crate) fn encode_256(bytes: &[u8; 32]) -> Zeroizing<[u8; 43]> {
    let mut limbs = Zeroizing::new([0u32; 8]);
    let (words, _) = bytes.as_chunks::<4>();
    for (limb, word) in limbs.iter_mut().zip(words) {
        *limb = u32::from_be_bytes(*word);
    }
    let mut text = Zeroizing::new([b'0'; 43]);
    for place in text.iter_mut().rev() {
        // Schoolbook division of the whole number by 62; the remainder is the next digit from the right.
        let mut remainder = 0u64;
        for limb in limbs.iter_mut() {
            let dividend = remainder << 32 | u64::from(*limb);
            *limb = (dividend / 62) as u32;
            remainder = dividend % 62;
        }
        *place = digit(remainder as u8);
    }
    text
}

/// Whether every byte is a digit of this alphabet.
pub(crate) fn is_text(bytes: &[u8]) -> bool {
    bytes.iter().all(u8::is_ascii_alphanumeric)
}

const fn digit(value: u8) -> u8 {
    match value {
        0..=9 => b'0' + value,
        10..=35 => b'A' + (value - 10),
        _ => b'a' + (value - 36),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_in_fixed_width() {
        for (value, text) in
            [(0, "000000"), (9, "000009"), (10, "00000A"), (36, "00000a"), (61, "00000z"), (62, "000010")]
        {
            assert_eq!(encode::<6>(value), text.as_bytes(), "{value}");
        }
        assert_eq!(&encode::<6>(u128::from(u32::MAX)), b"4gfFC3");
    }

    #[test]
    fn the_wide_and_the_narrow_encoding_agree() {
        let mut bytes = [0u8; 32];
        assert_eq!(*encode_256(&bytes), [b'0'; 43]);
        bytes[16..].copy_from_slice(&0x0123_4567_89ab_cdef_fedc_ba98_7654_3210u128.to_be_bytes());
        assert_eq!(encode_256(&bytes)[21..], encode::<22>(0x0123_4567_89ab_cdef_fedc_ba98_7654_3210));
    }

    #[test]
    fn the_largest_secret_fits_and_neighbours_differ() {
        let mut bytes = [0xff; 32];
        let largest = encode_256(&bytes);
        bytes[31] = 0xfe;
        let below = encode_256(&bytes);
        assert_ne!(largest[0], b'0', "43 digits are just enough");
        assert_eq!(largest[..42], below[..42]);
        assert_ne!(largest[42], below[42]);
    }
}
