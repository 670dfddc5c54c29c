//! Who is it: judges that turn what a caller presents into an [`Identity`] or a named refusal.
//!
//! Pure: no sockets, no clock, no random source; time and randomness are arguments. Nothing here prints a secret.
//! An API key can always be decided from memory. A token may first need its issuer's keys: its judge then answers
//! with the look-up it needs and is asked again. What an issuer answers about a token is judged here too. Failed attempts
//! are counted by the limit crate.
//!
//! Reading order: [`api_key`] (the format), [`pepper`] (the keyed hash), [`claim`] (what may come out),
//! [`key_table`] (the judge), [`key_life`] (its life and rotation), [`certificate`] (what TLS proved of a client), [`basic`] (names and passwords), [`password`] (which ones people may have), [`usage`]
//! (when a key was last used); [`algorithm`], [`jwk`] (keys of issuers), [`jwt`] (tokens and their judge),
//! [`introspection`] (answers about tokens), [`oidc`] (signing in by an OpenID provider), [`json`] (how strictly both are read).

pub mod algorithm;
pub mod api_key;
mod base62;
pub mod base64;
pub mod base64url;
pub mod basic;
pub mod certificate;
pub mod claim;
pub mod introspection;
pub mod json;
pub mod jwk;
pub mod jwt;
pub mod key_life;
pub mod key_table;
pub mod oidc;
pub mod password;
pub mod pepper;
mod shard;
pub mod usage;

pub use algorithm::{Algorithm, MacAlgorithm, SignatureAlgorithm};
pub use api_key::{KeyId, KeyText, MintedKey, PREFIX as KEY_PREFIX};
pub use basic::{BasicCredentials, BasicIdentity, BasicUsers, Verified};
pub use certificate::{
    CertificateFlaw, CertificateGrants, CertificateIdentity, CertificateName, CertificateRule,
    CertificateTable, ClientCertificate, Fingerprint, NameTemplate, NameType, Owner,
};
pub use claim::{ApiKeyIdentity, Claim, CredentialId, Identity, Invalid, InvalidKind, Method};
pub use key_life::{KeyFacts, Life, LifeState, LifeTerms, Retire, Step};
pub use key_table::{KeyChange, KeyRecord, KeyState, KeyTable, KeyTableBuilder};
pub use pepper::{KeyHash, Pepper};
pub use usage::KeyUse;
