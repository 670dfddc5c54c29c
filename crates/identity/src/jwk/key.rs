//! One key: read, judged, and parsed for every algorithm it may verify.
//!
//! The type of a key decides the algorithms (RFC 8725 §3.1), and its own `alg` narrows them to one; a token's header
//! only chooses among what is left. Each algorithm has its own parsed key, so verifying parses nothing.

use std::fmt;

use aws_lc_rs::{
    digest, hmac,
    signature::{self, ParsedPublicKey, RsaParameters, RsaPublicKeyComponents, VerificationAlgorithm},
};

use super::rsa::Rsa;
use crate::{
    algorithm::{Algorithm, MacAlgorithm, SignatureAlgorithm},
    base64url,
    json::{Json, Object},
};

/// Where a key comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Fetched from where an issuer publishes its keys: a private or symmetric key there is a secret no more.
    Published,
    /// Given by the operator.
    Given,
}

/// Why a key is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyFlaw {
    /// Its `alg` is none that we verify, or not one for its type or curve.
    Algorithm,
    /// Another key of the set has the same `kid`, and an algorithm in common or a flaw: which is meant is unknown.
    Ambiguous,
    /// Its curve is none that we verify.
    Curve,
    /// Its RSA exponent is even, below 65537 or above 32 bits.
    Exponent,
    /// A member is missing, or not as RFC 7517 and RFC 7518 say.
    Malformed,
    /// Its RSA modulus is divisible by a small prime.
    ModulusFactor,
    /// Its RSA modulus has fewer than 2048 or more than 8192 bits.
    ModulusSize,
    /// Its `use` or `key_ops` does not allow verifying.
    NotForVerifying,
    /// Its point is not on its curve, or is one of those that every signature fits.
    Point,
    /// A published key with its private part.
    Private,
    /// Its RSA modulus was made by the library of CVE-2017-15361.
    Roca,
    /// Its secret is shorter than the hash.
    SecretTooShort,
    /// Its `kty` is none that we verify.
    Type,
}

impl KeyFlaw {
    /// Whether the key is for something else altogether, and not a bad key for what we do.
    pub(super) const fn is_elsewhere(self) -> bool {
        matches!(self, KeyFlaw::Algorithm | KeyFlaw::Curve | KeyFlaw::NotForVerifying | KeyFlaw::Type)
    }

    /// The word for records and problems.
    pub const fn as_str(self) -> &'static str {
        match self {
            KeyFlaw::Algorithm => "algorithm",
            KeyFlaw::Ambiguous => "ambiguous",
            KeyFlaw::Curve => "curve",
            KeyFlaw::Exponent => "exponent",
            KeyFlaw::Malformed => "malformed",
            KeyFlaw::ModulusFactor => "modulus_factor",
            KeyFlaw::ModulusSize => "modulus_size",
            KeyFlaw::NotForVerifying => "not_for_verifying",
            KeyFlaw::Point => "point",
            KeyFlaw::Private => "private",
            KeyFlaw::Roca => "roca",
            KeyFlaw::SecretTooShort => "secret_too_short",
            KeyFlaw::Type => "type",
        }
    }
}

impl fmt::Display for KeyFlaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A key that passed.
pub struct Key {
    kid: Option<Box<str>>,
    verifiers: Box<[(Algorithm, Verifier)]>,
    print: [u8; 32],
}

/// A parsed key for one algorithm.
enum Verifier {
    Public(ParsedPublicKey),
    Secret(Box<hmac::Key>),
}

impl Key {
    /// Reads one JWK.
    pub(super) fn read(jwk: &Object, origin: Origin) -> Result<Self, KeyFlaw> {
        judge_use(jwk)?;
        let kid = text(jwk, "kid")?.map(Box::from);
        if kid.as_deref().is_some_and(|kid: &str| kid.len() > KID_BYTES_MAX) {
            return Err(KeyFlaw::Malformed);
        }
        let alg = named_algorithm(jwk)?;
        let kty = text(jwk, "kty")?.ok_or(KeyFlaw::Malformed)?;
        // A published secret is refused with its whole set (`KeySet::parse`), which sees `kty` first.
        if origin == Origin::Published && kty != "oct" && jwk.get("d").is_some() {
            return Err(KeyFlaw::Private);
        }
        let mut print = digest::Context::new(&digest::SHA256);
        let verifiers = match kty {
            "RSA" => rsa(jwk, alg, &mut print)?,
            "EC" => elliptic(jwk, alg, &mut print)?,
            "OKP" => edwards(jwk, alg, &mut print)?,
            "oct" => {
                let secret = bytes(jwk, "k")?;
                let alg = match alg {
                    None => None,
                    Some(Algorithm::Mac(alg)) => Some(alg),
                    Some(Algorithm::Signature(_)) => return Err(KeyFlaw::Algorithm),
                };
                return Key::of_secret(kid, &secret, alg);
            }
            _ => return Err(KeyFlaw::Type),
        };
        Ok(Key::of(kid, verifiers, print))
    }

    /// A shared secret, for one algorithm or for all that it is long enough for.
    pub(super) fn of_secret(
        kid: Option<Box<str>>,
        secret: &[u8],
        alg: Option<MacAlgorithm>,
    ) -> Result<Self, KeyFlaw> {
        let verifiers: Vec<_> = MacAlgorithm::ALL
            .into_iter()
            .filter(|one| alg.is_none_or(|alg| alg == *one) && secret.len() >= one.secret_bytes_min())
            .map(|one| {
                let key = hmac::Key::new(hash_of(one), secret);
                (Algorithm::Mac(one), Verifier::Secret(Box::new(key)))
            })
            .collect();
        if verifiers.is_empty() {
            return Err(KeyFlaw::SecretTooShort);
        }
        let mut print = digest::Context::new(&digest::SHA256);
        print.update(secret);
        Ok(Key::of(kid, verifiers, print))
    }

    fn of(kid: Option<Box<str>>, verifiers: Vec<(Algorithm, Verifier)>, mut print: digest::Context) -> Self {
        for (algorithm, _) in &verifiers {
            print.update(algorithm.as_str().as_bytes());
        }
        let print = print.finish().as_ref().try_into().unwrap_or_default();
        Key { kid, verifiers: verifiers.into(), print }
    }

    /// The name that tokens call it by.
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// What it may verify.
    pub fn algorithms(&self) -> impl Iterator<Item = Algorithm> {
        self.verifiers.iter().map(|(algorithm, _)| *algorithm)
    }

    /// Whether it is a shared secret.
    pub(super) fn is_secret(&self) -> bool {
        self.algorithms().any(|algorithm| matches!(algorithm, Algorithm::Mac(_)))
    }

    /// A hash over what it verifies with; equal for equal keys of equal use.
    pub(super) const fn print(&self) -> &[u8; 32] {
        &self.print
    }

    /// Whether `signature` is the key's own for `message` under `algorithm`.
    pub(crate) fn verifies(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        let verifier = self.verifiers.iter().find(|(known, _)| *known == algorithm).map(|(_, key)| key);
        match verifier {
            None => false,
            Some(Verifier::Public(key)) => key.verify_sig(message, signature).is_ok(),
            // Compares in constant time, and refuses a shortened code.
            Some(Verifier::Secret(key)) => hmac::verify(key, message, signature).is_ok(),
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let algorithms: Vec<_> = self.algorithms().collect();
        f.debug_struct("Key").field("kid", &self.kid).field("algorithms", &algorithms).finish_non_exhaustive()
    }
}

/// RFC 7517 §4.2, §4.3: where a key says what it is for, that is respected.
fn judge_use(jwk: &Object) -> Result<(), KeyFlaw> {
    match text(jwk, "use")? {
        None | Some("sig") => {}
        Some(_) => return Err(KeyFlaw::NotForVerifying),
    }
    match jwk.get("key_ops") {
        None => Ok(()),
        Some(Json::List(operations)) => {
            let names: Option<Vec<&str>> = operations.iter().map(Json::as_text).collect();
            let names = names.ok_or(KeyFlaw::Malformed)?;
            let repeats = |at: usize, name: &&str| names.iter().take(at).any(|earlier| earlier == name);
            if names.iter().enumerate().any(|(at, name)| repeats(at, name)) {
                return Err(KeyFlaw::Malformed);
            }
            if names.contains(&"verify") { Ok(()) } else { Err(KeyFlaw::NotForVerifying) }
        }
        Some(_) => Err(KeyFlaw::Malformed),
    }
}

/// The key's `alg`, which must be one that we verify.
fn named_algorithm(jwk: &Object) -> Result<Option<Algorithm>, KeyFlaw> {
    match text(jwk, "alg")? {
        None => Ok(None),
        Some(name) => Algorithm::parse(name).map(Some).ok_or(KeyFlaw::Algorithm),
    }
}

type Verifiers = Vec<(Algorithm, Verifier)>;

fn rsa(jwk: &Object, alg: Option<Algorithm>, print: &mut digest::Context) -> Result<Verifiers, KeyFlaw> {
    let (modulus, exponent) = (bytes(jwk, "n")?, bytes(jwk, "e")?);
    let rsa = Rsa::new(&modulus, &exponent)?;
    print.update(rsa.modulus);
    print.update(rsa.exponent);
    let components = RsaPublicKeyComponents { n: rsa.modulus, e: rsa.exponent };
    let algorithms = SignatureAlgorithm::RSA
        .into_iter()
        .filter(|one| alg.is_none_or(|alg| alg == Algorithm::Signature(*one)));
    let mut verifiers = Vec::new();
    for (algorithm, parameters) in algorithms.filter_map(|one| Some((one, rsa_parameters(one)?))) {
        let key = components.to_parsed_public_key(parameters).map_err(|_| KeyFlaw::Malformed)?;
        verifiers.push((Algorithm::Signature(algorithm), Verifier::Public(key)));
    }
    if verifiers.is_empty() { Err(KeyFlaw::Algorithm) } else { Ok(verifiers) }
}

fn elliptic(jwk: &Object, alg: Option<Algorithm>, print: &mut digest::Context) -> Result<Verifiers, KeyFlaw> {
    let (algorithm, parameters, width): (_, &'static dyn VerificationAlgorithm, _) =
        match text(jwk, "crv")?.ok_or(KeyFlaw::Malformed)? {
            "P-256" => (SignatureAlgorithm::Es256, &signature::ECDSA_P256_SHA256_FIXED, 32),
            "P-384" => (SignatureAlgorithm::Es384, &signature::ECDSA_P384_SHA384_FIXED, 48),
            "P-521" => (SignatureAlgorithm::Es512, &signature::ECDSA_P521_SHA512_FIXED, 66),
            _ => return Err(KeyFlaw::Curve),
        };
    let (x, y) = (bytes(jwk, "x")?, bytes(jwk, "y")?);
    // RFC 7518 §6.2.1.2: the full size of a coordinate, leading zeros included.
    if x.len() != width || y.len() != width {
        return Err(KeyFlaw::Malformed);
    }
    let point = [&[4], x.as_slice(), y.as_slice()].concat();
    one_algorithm(algorithm, parameters, &point, alg, print)
}

fn edwards(jwk: &Object, alg: Option<Algorithm>, print: &mut digest::Context) -> Result<Verifiers, KeyFlaw> {
    if text(jwk, "crv")?.ok_or(KeyFlaw::Malformed)? != "Ed25519" {
        return Err(KeyFlaw::Curve);
    }
    let point = bytes(jwk, "x")?;
    let mut y = <[u8; 32]>::try_from(point.as_slice()).map_err(|_| KeyFlaw::Malformed)?;
    if let Some(last) = y.last_mut() {
        *last &= 0x7F;
    }
    if SMALL_ORDER.contains(&y) {
        return Err(KeyFlaw::Point);
    }
    one_algorithm(SignatureAlgorithm::Ed25519, &signature::ED25519, &point, alg, print)
}

fn one_algorithm(
    algorithm: SignatureAlgorithm,
    parameters: &'static dyn VerificationAlgorithm,
    point: &[u8],
    alg: Option<Algorithm>,
    print: &mut digest::Context,
) -> Result<Verifiers, KeyFlaw> {
    let algorithm = Algorithm::Signature(algorithm);
    if alg.is_some_and(|alg| alg != algorithm) {
        return Err(KeyFlaw::Algorithm);
    }
    print.update(point);
    // The library refuses points that are not on the curve.
    let key = ParsedPublicKey::new(parameters, point).map_err(|_| KeyFlaw::Point)?;
    Ok(vec![(algorithm, Verifier::Public(key))])
}

fn rsa_parameters(algorithm: SignatureAlgorithm) -> Option<&'static RsaParameters> {
    Some(match algorithm {
        SignatureAlgorithm::Rs256 => &signature::RSA_PKCS1_2048_8192_SHA256,
        SignatureAlgorithm::Rs384 => &signature::RSA_PKCS1_2048_8192_SHA384,
        SignatureAlgorithm::Rs512 => &signature::RSA_PKCS1_2048_8192_SHA512,
        SignatureAlgorithm::Ps256 => &signature::RSA_PSS_2048_8192_SHA256,
        SignatureAlgorithm::Ps384 => &signature::RSA_PSS_2048_8192_SHA384,
        SignatureAlgorithm::Ps512 => &signature::RSA_PSS_2048_8192_SHA512,
        SignatureAlgorithm::Ed25519
        | SignatureAlgorithm::Es256
        | SignatureAlgorithm::Es384
        | SignatureAlgorithm::Es512 => return None,
    })
}

const fn hash_of(algorithm: MacAlgorithm) -> hmac::Algorithm {
    match algorithm {
        MacAlgorithm::Hs256 => hmac::HMAC_SHA256,
        MacAlgorithm::Hs384 => hmac::HMAC_SHA384,
        MacAlgorithm::Hs512 => hmac::HMAC_SHA512,
    }
}

fn text<'a>(jwk: &'a Object, name: &str) -> Result<Option<&'a str>, KeyFlaw> {
    jwk.text(name).map_err(|_| KeyFlaw::Malformed)
}

fn bytes(jwk: &Object, name: &str) -> Result<zeroize::Zeroizing<Vec<u8>>, KeyFlaw> {
    let text = text(jwk, name)?.ok_or(KeyFlaw::Malformed)?;
    base64url::decode(text.as_bytes()).map(zeroize::Zeroizing::new).ok_or(KeyFlaw::Malformed)
}

/// Longer names are nobody's; the cap keeps records and tables small.
const KID_BYTES_MAX: usize = 256;

/// The points of Ed25519 whose order divides 8, without the sign bit, and the two that are written unreduced. Under
/// such a key a signature can be made that fits many messages.
const SMALL_ORDER: [[u8; 32]; 7] = [
    [0; 32],
    {
        let mut one = [0; 32];
        one[0] = 1;
        one
    },
    [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5,
        0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
    ],
    [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f, 0x2a,
        0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
    ],
    near_the_prime(0xec),
    near_the_prime(0xed),
    near_the_prime(0xee),
];

/// 2^255 - 256 + `low`, in little-endian bytes.
const fn near_the_prime(low: u8) -> [u8; 32] {
    let mut bytes = [0xFF; 32];
    bytes[0] = low;
    bytes[31] = 0x7F;
    bytes
}
