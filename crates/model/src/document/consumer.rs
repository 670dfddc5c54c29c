//! `Consumer`: a caller known by name.

use crate::{
    read::Spanned,
    scalar::{Cidr, Name},
};

crate::document! {
    /// A caller known by name. Its API keys live in the store, never in a document.
    pub struct ConsumerSpec {
        /// Roles that policies and upstreams can ask for.
        pub roles: Vec<Spanned<Name>> = Vec::new(),
        /// Whom to tell about its keys.
        pub contacts: Vec<Contact> = Vec::new(),
        /// Models it may use, by name; none means all that its roles may.
        pub models: Vec<Spanned<Name>> = Vec::new(),
        /// Client addresses it may call from; none means any.
        pub allowed_addresses: Vec<Spanned<Cidr>> = Vec::new(),
        /// Whether it may call at all.
        pub enabled: bool = true,
    }
}

crate::document! {
    /// Whom to tell.
    pub struct Contact {
        /// An e-mail address.
        pub email: Option<String>,
        /// Who that is.
        pub name: Option<String>,
    }
}
