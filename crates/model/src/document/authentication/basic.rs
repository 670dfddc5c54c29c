//! Names and passwords.

use crate::{read::Spanned, scalar::Name, secret::Reference};

crate::document! {
    /// Names and passwords, RFC 7617.
    pub struct BasicSource {
        /// A file with lines `name:$argon2id$…`, or `name:$argon2id$…:consumer`.
        pub users_ref: Option<Reference>,
        /// The name of a `Secret` document, instead of `usersRef`.
        pub secret_name: Option<Spanned<Name>>,
        /// What callers are told they sign in to.
        pub realm: Spanned<String> = Spanned::from("gateway".to_owned()),
    }
}
