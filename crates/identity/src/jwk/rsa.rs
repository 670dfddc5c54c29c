//! What makes an RSA public key acceptable.
//!
//! Judged once, when a key is read; verifying never comes here. The library refuses a few of these itself, but only
//! at the first signature, and neither ROCA nor small factors at all.

use super::key::KeyFlaw;

/// The modulus and exponent, judged, without leading zeros.
#[derive(Debug)]
pub(super) struct Rsa<'a> {
    pub(super) modulus: &'a [u8],
    pub(super) exponent: &'a [u8],
}

impl<'a> Rsa<'a> {
    pub(super) fn new(modulus: &'a [u8], exponent: &'a [u8]) -> Result<Self, KeyFlaw> {
        let modulus = without_sign(modulus)?;
        let exponent = without_sign(exponent)?;
        if !(MODULUS_BITS_MIN..=MODULUS_BITS_MAX).contains(&bits(modulus)) {
            return Err(KeyFlaw::ModulusSize);
        }
        judge_exponent(exponent)?;
        judge_residues(modulus)?;
        Ok(Rsa { modulus, exponent })
    }
}

/// RFC 7518 §6.3.1.1 allows no leading zero, and says that some libraries write one: that one is taken off, because
/// it changes nothing; a second is no integer of any library.
fn without_sign(integer: &[u8]) -> Result<&[u8], KeyFlaw> {
    let integer = integer.strip_prefix(&[0]).unwrap_or(integer);
    match integer.first() {
        None | Some(0) => Err(KeyFlaw::Malformed),
        Some(_) => Ok(integer),
    }
}

fn bits(integer: &[u8]) -> usize {
    integer.first().map_or(0, |first| integer.len() * 8 - first.leading_zeros() as usize)
}

/// FIPS 186-5 §5.4 asks for an odd exponent above 2^16. 1 is no signature at all, and 3 has been forged under
/// careless padding checks too often. Above 32 bits verifying becomes a way to keep us busy.
fn judge_exponent(exponent: &[u8]) -> Result<(), KeyFlaw> {
    let value = match exponent.len() {
        1..=4 => exponent.iter().fold(0u64, |value, byte| value << 8 | u64::from(*byte)),
        _ => return Err(KeyFlaw::Exponent),
    };
    if value < 65_537 || value.is_multiple_of(2) { Err(KeyFlaw::Exponent) } else { Ok(()) }
}

/// Refuses moduli with a small factor, and those of the Infineon library (CVE-2017-15361, "ROCA"): its primes are
/// `k·M + 65537^a mod M` with M the product of the first primes, so the modulus is a power of 65537 modulo each of
/// them. A modulus drawn fairly looks so by chance in fewer than one of 2^27 cases.
fn judge_residues(modulus: &[u8]) -> Result<(), KeyFlaw> {
    let mut is_all_powers = true;
    for prime in SMALL_PRIMES {
        let residue = modulus.iter().fold(0u32, |rest, byte| (rest << 8 | u32::from(*byte)) % prime);
        if residue == 0 {
            return Err(KeyFlaw::ModulusFactor);
        }
        is_all_powers &= is_power_of_65537(residue, prime);
    }
    if is_all_powers { Err(KeyFlaw::Roca) } else { Ok(()) }
}

fn is_power_of_65537(residue: u32, prime: u32) -> bool {
    let generator = 65_537 % prime;
    let mut power = 1;
    loop {
        if power == residue {
            return true;
        }
        power = power * generator % prime;
        if power == 1 {
            return false;
        }
    }
}

/// NIST SP 800-131A: 2048 bits are the least that is still allowed.
const MODULUS_BITS_MIN: usize = 2048;

/// What the library verifies; larger keys only cost us time.
const MODULUS_BITS_MAX: usize = 8192;

/// 2 first: an even modulus is none. The primes up to 167 are in M for every key size the Infineon library made.
const SMALL_PRIMES: [u32; 39] = [
    2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101, 103,
    107, 109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167,
];

#[cfg(test)]
mod tests {
    use super::*;

    /// 2^(bits-1) + `low`: no key, but a number of a size.
    fn number(bits: usize, low: u8) -> Vec<u8> {
        let mut number = vec![0; bits.div_ceil(8)];
        number[0] = 1 << ((bits - 1) % 8);
        *number.last_mut().unwrap() |= low;
        number
    }

    /// The smallest odd number of this size without small factors.
    fn modulus(bits: usize) -> Vec<u8> {
        (1..=255u8)
            .step_by(2)
            .map(|low| number(bits, low))
            .find(|number| judge_residues(number) != Err(KeyFlaw::ModulusFactor))
            .unwrap()
    }

    #[test]
    fn a_modulus_has_2048_to_8192_bits() {
        for (bits, expected) in [
            (1024, Err(KeyFlaw::ModulusSize)),
            (2047, Err(KeyFlaw::ModulusSize)),
            (2048, Ok(())),
            (2049, Ok(())),
            (8192, Ok(())),
            (8193, Err(KeyFlaw::ModulusSize)),
        ] {
            assert_eq!(Rsa::new(&modulus(bits), &[1, 0, 1]).map(drop), expected, "{bits}");
        }
    }

    #[test]
    fn an_exponent_is_odd_and_at_least_65537_and_has_32_bits() {
        let modulus = modulus(2048);
        for (exponent, expected) in [
            (&[1][..], Err(KeyFlaw::Exponent)),
            (&[3], Err(KeyFlaw::Exponent)),
            (&[17], Err(KeyFlaw::Exponent)),
            (&[0xFF, 0xFF], Err(KeyFlaw::Exponent)),
            (&[1, 0, 0], Err(KeyFlaw::Exponent)),
            (&[1, 0, 1], Ok(())),
            (&[0, 1, 0, 1], Ok(())),
            (&[1, 0, 2], Err(KeyFlaw::Exponent)),
            (&[0xFF; 4], Ok(())),
            (&[1, 0, 0, 0, 1], Err(KeyFlaw::Exponent)),
            (&[0, 0, 1, 0, 1], Err(KeyFlaw::Malformed)),
            (&[], Err(KeyFlaw::Malformed)),
            (&[0], Err(KeyFlaw::Malformed)),
        ] {
            assert_eq!(Rsa::new(&modulus, exponent).map(drop), expected, "{exponent:?}");
        }
    }

    #[test]
    fn a_modulus_with_a_small_factor_is_refused() {
        for low in [0, 2] {
            assert_eq!(judge_residues(&number(2048, low)), Err(KeyFlaw::ModulusFactor));
        }
    }

    #[test]
    fn a_modulus_that_is_a_power_of_65537_modulo_every_small_prime_is_refused() {
        // 65537 itself and its square are such powers, whatever else they are.
        assert_eq!(judge_residues(&[1, 0, 1]), Err(KeyFlaw::Roca));
        assert_eq!(judge_residues(&(65_537u64 * 65_537).to_be_bytes()), Err(KeyFlaw::Roca));
        // A neighbour without small factors is not.
        assert_eq!(judge_residues(&65_539u32.to_be_bytes()), Ok(()));
    }
}
