//! How a client's certificate becomes a caller.

use crate::{read::Spanned, scalar::Name};

crate::choice! {
    /// A type of names in certificates.
    pub enum CertificateNameType {
        /// DNS names of the subject alternative names.
        Dns = "dns",
        /// URIs of the subject alternative names, for example SPIFFE IDs.
        Uri = "uri",
        /// E-mail addresses of the subject alternative names.
        Email = "email",
        /// The subject's common name, where there is exactly one.
        SubjectCommonName = "subjectCommonName",
    }
}

crate::document! {
    /// How the certificate that a listener verified becomes a consumer.
    pub struct ClientCertificateSource: Default {
        /// Which names count; without it any name or fingerprint that a consumer lists.
        pub from: Option<Spanned<CertificateNameType>>,
        /// The name's form, with the consumer's name in it: `spiffe://example.org/ns/{namespace}/sa/{consumer}`. Without
        /// it a certificate belongs to the consumer that lists one of its names.
        pub template: Option<Spanned<String>>,
        /// Whether the upstream gets the certificate in `Client-Cert` (RFC 9440).
        pub pass_on: bool = false,
        /// Roles of everyone who is known by this method, beside the consumer's own.
        pub roles: Vec<Spanned<Name>> = Vec::new(),
        /// Facts for conditions, as `identity.tags`: each `name=value`.
        pub tags: Vec<Spanned<CertificateTag>> = Vec::new(),
    }
}

crate::document! {
    /// A fact about whoever calls with a certificate.
    pub struct CertificateTag {
        /// Its name.
        pub name: Spanned<Name>,
        /// Its value.
        pub value: Spanned<String>,
    }
}
