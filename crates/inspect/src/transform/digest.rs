//! MD5 and SHA-1 as rule sets use them: as names of values, never as protection. Written here because they are not
//! worth a cryptographic library in a judge.

/// RFC 1321.
pub(super) fn md5(input: &[u8], output: &mut Vec<u8>) -> bool {
    const SHIFTS: [[u32; 4]; 4] = [[7, 12, 17, 22], [5, 9, 14, 20], [4, 11, 16, 23], [6, 10, 15, 21]];
    let mut state: [u32; 4] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];
    for block in blocks(input, u64::to_le_bytes) {
        let word = |at: usize| {
            let bytes = block.get(at * 4..at * 4 + 4).and_then(|part| part.try_into().ok()).unwrap_or([0; 4]);
            u32::from_le_bytes(bytes)
        };
        let [mut a, mut b, mut c, mut d] = state;
        for step in 0..64_u32 {
            let (mix, at) = match step / 16 {
                0 => ((b & c) | (!b & d), step),
                1 => ((d & b) | (!d & c), 5 * step + 1),
                2 => (b ^ c ^ d, 3 * step + 5),
                _ => (c ^ (b | !d), 7 * step),
            };
            let shift = SHIFTS
                .get((step / 16) as usize)
                .and_then(|round| round.get((step % 4) as usize))
                .copied()
                .unwrap_or(0);
            // RFC 1321 §3.4: the table is the integer part of 4294967296 times abs(sin(i)).
            let sine = (f64::from(step + 1).sin().abs() * 4_294_967_296.0) as u32;
            let sum = a.wrapping_add(mix).wrapping_add(sine).wrapping_add(word((at % 16) as usize));
            (a, d, c, b) = (d, c, b, b.wrapping_add(sum.rotate_left(shift)));
        }
        let [s0, s1, s2, s3] = state;
        state = [s0.wrapping_add(a), s1.wrapping_add(b), s2.wrapping_add(c), s3.wrapping_add(d)];
    }
    output.extend(state.iter().flat_map(|word| word.to_le_bytes()));
    true
}

/// RFC 3174.
pub(super) fn sha1(input: &[u8], output: &mut Vec<u8>) -> bool {
    let mut state: [u32; 5] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0];
    for block in blocks(input, u64::to_be_bytes) {
        let mut words: Vec<u32> =
            block.chunks_exact(4).map(|part| u32::from_be_bytes(part.try_into().unwrap_or([0; 4]))).collect();
        for at in 16..80 {
            let word = |back: usize| words.get(at - back).copied().unwrap_or(0);
            words.push((word(3) ^ word(8) ^ word(14) ^ word(16)).rotate_left(1));
        }
        let [mut a, mut b, mut c, mut d, mut e] = state;
        for (at, word) in words.iter().enumerate() {
            let (mix, constant) = match at / 20 {
                0 => ((b & c) | (!b & d), 0x5a82_7999),
                1 => (b ^ c ^ d, 0x6ed9_eba1),
                2 => ((b & c) | (b & d) | (c & d), 0x8f1b_bcdc),
                _ => (b ^ c ^ d, 0xca62_c1d6_u32),
            };
            let sum =
                a.rotate_left(5).wrapping_add(mix).wrapping_add(e).wrapping_add(constant).wrapping_add(*word);
            (e, d, c, b, a) = (d, c, b.rotate_left(30), a, sum);
        }
        let [s0, s1, s2, s3, s4] = state;
        state = [
            s0.wrapping_add(a),
            s1.wrapping_add(b),
            s2.wrapping_add(c),
            s3.wrapping_add(d),
            s4.wrapping_add(e),
        ];
    }
    output.extend(state.iter().flat_map(|word| word.to_be_bytes()));
    true
}

/// The padded message in blocks of 64 bytes.
fn blocks(input: &[u8], length: fn(u64) -> [u8; 8]) -> Vec<[u8; 64]> {
    let mut padded = input.to_vec();
    padded.push(0x80);
    while padded.len() % 64 != 56 {
        padded.push(0);
    }
    padded.extend(length((input.len() as u64).wrapping_mul(8)));
    padded.chunks_exact(64).filter_map(|chunk| chunk.try_into().ok()).collect()
}
