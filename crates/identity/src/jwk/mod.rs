//! JSON Web Keys (RFC 7517): read once, judged, and kept ready to verify.
//!
//! Libraries take weak keys (short RSA moduli, the exponent 1, ROCA, short secrets, mixed sets), so the hygiene is
//! ours: a key that fails it is not in the set, and says why. [`key`] reads one key, `rsa` judges moduli, [`set`]
//! holds what an issuer publishes.

pub mod key;
mod rsa;
pub mod set;

pub use key::{Key, KeyFlaw, Origin};
pub use set::{KeySet, KeySetFlaw, Unusable};
