//! Eight bytes looked at at once, in one ordinary register.
//!
//! The checks of header values run over every byte of every request. Left to the compiler they become one comparison
//! per byte, or something worse, depending on what stands around them; written like this they cost two operations per
//! byte everywhere. In every answer the top bit of a lane says yes.

/// Eight bytes, each in its lane.
#[derive(Clone, Copy)]
pub(crate) struct Lanes(u64);

/// The answer that is yes in every lane; what is negated must be cut to it.
pub(crate) const ALL: u64 = TOP;

const TOP: u64 = 0x8080_8080_8080_8080;
const ONES: u64 = 0x0101_0101_0101_0101;

impl Lanes {
    /// Which bytes are at least `limit`, which is 1 to 0x80.
    pub(crate) const fn at_least(self, limit: u8) -> u64 {
        // Without their top bits the lanes cannot carry into each other.
        (((self.0 & !TOP) + (0x80 - limit as u64) * ONES) | self.0) & TOP
    }

    /// Which bytes are `byte`.
    pub(crate) const fn equal(self, byte: u8) -> u64 {
        let differing = Lanes(self.0 ^ (byte as u64 * ONES));
        !differing.at_least(1) & TOP
    }

    /// Which bytes are from `first` to `last`, which is below 0x7f.
    pub(crate) const fn within(self, first: u8, last: u8) -> u64 {
        self.at_least(first) & !self.at_least(last + 1)
    }
}

/// Whether `odd` says yes to any byte. A letter `a` must not be odd: short texts are filled up with it.
pub(crate) fn any(text: &[u8], odd: impl Fn(Lanes) -> u64) -> bool {
    let look = |block: &[u8; 8]| odd(Lanes(u64::from_le_bytes(*block)));
    let Some(last) = text.last_chunk::<8>() else {
        let mut block = [b'a'; 8];
        if let Some(start) = block.get_mut(..text.len()) {
            start.copy_from_slice(text);
        }
        return look(&block) != 0;
    };
    // The last block overlaps the one before it where the length is no multiple of eight.
    text.as_chunks::<8>().0.iter().fold(look(last), |found, block| found | look(block)) != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_compared_rightly_in_every_lane() {
        for byte in 0..=u8::MAX {
            for lane in 0..8 {
                let mut block = [b'a'; 8];
                block[lane] = byte;
                let lanes = Lanes(u64::from_le_bytes(block));
                let says = |answer: u64| answer.to_le_bytes()[lane] == 0x80;
                for limit in 1..=0x80 {
                    assert_eq!(says(lanes.at_least(limit)), byte >= limit, "{byte} >= {limit} in {lane}");
                }
                for other in 0..=u8::MAX {
                    assert_eq!(says(lanes.equal(other)), byte == other, "{byte} == {other} in {lane}");
                }
                assert_eq!(says(lanes.within(b'0', b'9')), byte.is_ascii_digit(), "{byte} in {lane}");
            }
        }
    }

    #[test]
    fn a_byte_is_found_at_every_place_of_every_length() {
        for length in 0..=70 {
            let plain = vec![b'b'; length];
            assert!(!any(&plain, |lanes| lanes.equal(b'!')), "{length}");
            for place in 0..length {
                let mut odd = plain.clone();
                odd[place] = b'!';
                assert!(any(&odd, |lanes| lanes.equal(b'!')), "{place} of {length}");
            }
        }
    }
}
