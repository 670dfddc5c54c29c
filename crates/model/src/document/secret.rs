//! `Secret`: a name for a place where a secret lies.

use crate::secret::Reference;

crate::document! {
    /// A name for a place where a secret lies. A document never holds the secret itself.
    pub struct SecretSpec {
        /// `env://NAME` or `file:///path`.
        pub value_ref: Reference,
    }
}
