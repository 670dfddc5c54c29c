//! `Consumer`: a caller known by name.

use super::authentication::CertificateTag;
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
        /// Certificates it calls with, for policies with `type: ClientCertificate`.
        pub certificates: Vec<Spanned<ConsumerCertificate>> = Vec::new(),
    }
}

crate::document! {
    /// A certificate that a consumer calls with, by one of its names or by itself.
    pub struct ConsumerCertificate {
        /// A DNS name of the subject alternative names.
        pub dns: Option<Spanned<String>>,
        /// A URI of the subject alternative names.
        pub uri: Option<Spanned<String>>,
        /// An e-mail address of the subject alternative names.
        pub email: Option<Spanned<String>>,
        /// The subject's common name.
        pub subject_common_name: Option<Spanned<String>>,
        /// The SHA-256 of the certificate, 64 hexadecimal digits.
        pub fingerprint: Option<Spanned<String>>,
        /// Only certificates that this listener verified; none means any listener.
        pub listener: Option<Spanned<Name>>,
        /// Roles that the consumer has only with this certificate, beside its own.
        pub roles: Vec<Spanned<Name>> = Vec::new(),
        /// Facts for conditions that hold only with this certificate, as `identity.tags`: each `name=value`.
        pub tags: Vec<Spanned<CertificateTag>> = Vec::new(),
    }
}

crate::document! {
    /// Whom to tell.
    pub struct Contact {
        /// An e-mail address.
        pub email: Option<Spanned<String>>,
        /// Who that is.
        pub name: Option<String>,
        /// The NoticeChannel by which they are told; where absent, `email` is told by those of the KeyRotationPolicy.
        pub channel: Option<Spanned<Name>>,
    }
}
