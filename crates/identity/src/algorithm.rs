//! The signature algorithms of JOSE that we know, symmetric and asymmetric apart.
//!
//! Two types, because whoever trusts a published key must not be able to write down an HMAC beside it (RFC 8725
//! §2.1, §3.1). `none` has no value in either, so no configuration and no token can mean it.

use std::fmt;

/// A message authentication code under a shared secret (RFC 7518 §3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MacAlgorithm {
    /// HMAC with SHA-256.
    Hs256,
    /// HMAC with SHA-384.
    Hs384,
    /// HMAC with SHA-512.
    Hs512,
}

/// A signature that a public key verifies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SignatureAlgorithm {
    /// Ed25519, written `EdDSA` (RFC 8037) or `Ed25519` (RFC 9864).
    Ed25519,
    /// ECDSA over P-256 with SHA-256.
    Es256,
    /// ECDSA over P-384 with SHA-384.
    Es384,
    /// ECDSA over P-521 with SHA-512.
    Es512,
    /// RSASSA-PSS with SHA-256.
    Ps256,
    /// RSASSA-PSS with SHA-384.
    Ps384,
    /// RSASSA-PSS with SHA-512.
    Ps512,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    Rs384,
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    Rs512,
}

/// What a token's header may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// Under a shared secret.
    Mac(MacAlgorithm),
    /// Under a key pair.
    Signature(SignatureAlgorithm),
}

impl MacAlgorithm {
    /// The shortest secret: as long as the hash (RFC 7518 §3.2).
    pub const fn secret_bytes_min(self) -> usize {
        match self {
            MacAlgorithm::Hs256 => 32,
            MacAlgorithm::Hs384 => 48,
            MacAlgorithm::Hs512 => 64,
        }
    }

    /// All of them.
    pub const ALL: [Self; 3] = [MacAlgorithm::Hs256, MacAlgorithm::Hs384, MacAlgorithm::Hs512];
}

impl SignatureAlgorithm {
    /// The RSA ones.
    pub const RSA: [Self; 6] = [
        SignatureAlgorithm::Rs256,
        SignatureAlgorithm::Rs384,
        SignatureAlgorithm::Rs512,
        SignatureAlgorithm::Ps256,
        SignatureAlgorithm::Ps384,
        SignatureAlgorithm::Ps512,
    ];
}

impl Algorithm {
    /// The algorithm that JOSE calls `name`. Names are compared exactly: RFC 7515 §4.1.1 makes them case-sensitive.
    pub fn parse(name: &str) -> Option<Self> {
        use MacAlgorithm::{Hs256, Hs384, Hs512};
        use SignatureAlgorithm::{Ed25519, Es256, Es384, Es512, Ps256, Ps384, Ps512, Rs256, Rs384, Rs512};
        Some(match name {
            "HS256" => Algorithm::Mac(Hs256),
            "HS384" => Algorithm::Mac(Hs384),
            "HS512" => Algorithm::Mac(Hs512),
            "EdDSA" | "Ed25519" => Algorithm::Signature(Ed25519),
            "ES256" => Algorithm::Signature(Es256),
            "ES384" => Algorithm::Signature(Es384),
            "ES512" => Algorithm::Signature(Es512),
            "PS256" => Algorithm::Signature(Ps256),
            "PS384" => Algorithm::Signature(Ps384),
            "PS512" => Algorithm::Signature(Ps512),
            "RS256" => Algorithm::Signature(Rs256),
            "RS384" => Algorithm::Signature(Rs384),
            "RS512" => Algorithm::Signature(Rs512),
            _ => return None,
        })
    }

    /// The name in documents and records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Algorithm::Mac(MacAlgorithm::Hs256) => "HS256",
            Algorithm::Mac(MacAlgorithm::Hs384) => "HS384",
            Algorithm::Mac(MacAlgorithm::Hs512) => "HS512",
            Algorithm::Signature(SignatureAlgorithm::Ed25519) => "EdDSA",
            Algorithm::Signature(SignatureAlgorithm::Es256) => "ES256",
            Algorithm::Signature(SignatureAlgorithm::Es384) => "ES384",
            Algorithm::Signature(SignatureAlgorithm::Es512) => "ES512",
            Algorithm::Signature(SignatureAlgorithm::Ps256) => "PS256",
            Algorithm::Signature(SignatureAlgorithm::Ps384) => "PS384",
            Algorithm::Signature(SignatureAlgorithm::Ps512) => "PS512",
            Algorithm::Signature(SignatureAlgorithm::Rs256) => "RS256",
            Algorithm::Signature(SignatureAlgorithm::Rs384) => "RS384",
            Algorithm::Signature(SignatureAlgorithm::Rs512) => "RS512",
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_the_exact_names_is_an_algorithm() {
        for name in [
            "none", "None", "NONE", "nOnE", "", "hs256", "HS256 ", "HS1", "RS1", "ES256K", "ES521", "Ed448",
            "dir", "A256GCM", "RSA1_5", "HS256\0",
        ] {
            assert_eq!(Algorithm::parse(name), None, "{name}");
        }
        for name in ["HS256", "HS384", "HS512", "RS256", "PS512", "ES384", "EdDSA"] {
            assert_eq!(Algorithm::parse(name).map(Algorithm::as_str), Some(name));
        }
        assert_eq!(Algorithm::parse("Ed25519"), Some(Algorithm::Signature(SignatureAlgorithm::Ed25519)));
    }
}
