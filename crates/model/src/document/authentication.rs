//! `AuthenticationPolicy`: how callers prove who they are.

mod basic;
mod certificate;
mod failures;
mod sign_in;

pub use self::{
    basic::BasicSource,
    certificate::{CertificateNameType, CertificateTag, ClientCertificateSource},
    failures::{FailureRateSpec, Failures},
    sign_in::{OpenIdConnectMethod, SessionSpec},
};
use super::common::TargetRef;
use crate::{
    read::Spanned,
    scalar::{HeaderName, Name, Percent},
    verdict::{Mode, OnFault},
};
pub use token::*;

mod token;

crate::choice! {
    /// A way to prove who one is.
    pub enum AuthenticationType {
        /// An API key in a header.
        ApiKey = "ApiKey",
        /// A client's certificate, verified by the listener.
        ClientCertificate = "ClientCertificate",
        /// A name and a password.
        Basic = "Basic",
        /// A token that its issuer signed.
        Jwt = "Jwt",
        /// A token that its issuer is asked about.
        Introspection = "Introspection",
        /// A session that began with signing in at an OpenID provider.
        OpenIdConnect = "OpenIdConnect",
        /// No proof: callers without a credential pass as nobody. Stands last.
        Anonymous = "Anonymous",
    }
}

crate::document! {
    /// How callers prove who they are. The methods are tried in order; a credential that is present and invalid is
    /// refused, whatever comes after.
    pub struct AuthenticationPolicySpec {
        /// What it is attached to; none means the whole gateway.
        pub target_refs: Vec<Spanned<TargetRef>> = Vec::new(),
        /// The methods, in order.
        pub methods: Vec<Spanned<AuthenticationMethod>>,
        /// Whether a narrower AuthenticationPolicy may replace this one.
        pub allow_override: bool = false,
        /// How often callers may fail before they must wait.
        pub failures: Failures = Failures::default(),
        /// Whether it bites.
        pub mode: Mode = Mode::Enforce,
        /// Share of callers it bites, in percent; the rest is judged in shadow.
        pub enforce_percent: Percent = Percent::of(100),
        /// What happens when it cannot be decided.
        pub on_fault: OnFault = OnFault::Deny,
    }
}

crate::document! {
    /// One method.
    pub struct AuthenticationMethod {
        /// Which method.
        pub type_: AuthenticationType as "type",
        /// With `type: ApiKey`: where the key is.
        pub api_key: ApiKeySource = ApiKeySource::default(),
        /// With `type: ClientCertificate`: how it becomes a consumer.
        pub client_certificate: Option<Spanned<ClientCertificateSource>>,
        /// With `type: Basic`: whose names and passwords.
        pub basic: Option<Spanned<BasicSource>>,
        /// With `type: Jwt`: whose tokens, and what they mean.
        pub jwt: Option<Spanned<JwtMethod>>,
        /// With `type: Introspection`: whom to ask, and what the answer means.
        pub introspection: Option<Spanned<IntrospectionMethod>>,
        /// With `type: OpenIdConnect`: where browsers sign in, and what that means.
        pub open_id_connect: Option<Spanned<OpenIdConnectMethod>>,
    }
}

impl AuthenticationMethod {
    /// The roles that everyone has who is known by a certificate.
    pub fn certificate_roles(&self) -> impl Iterator<Item = &Spanned<Name>> {
        self.client_certificate.iter().flat_map(|source| &source.roles)
    }

    /// Whether callers may bring roles of their own.
    pub fn maps_roles(&self) -> bool {
        let of_jwt = self.jwt.iter().map(|jwt| &jwt.claims);
        let of_introspection = self.introspection.iter().map(|introspection| &introspection.claims);
        let of_sign_in = self.open_id_connect.iter().map(|sign_in| &sign_in.claims);
        of_jwt.chain(of_introspection).chain(of_sign_in).any(|claims| claims.roles.is_some())
    }
}

crate::document! {
    /// Where an API key is.
    pub struct ApiKeySource: Default {
        /// The header that carries the key. It is removed before the upstream. In `authorization` the key stands
        /// behind the word `Bearer`.
        pub header: Spanned<HeaderName> = HeaderName::known("x-api-key").into(),
    }
}
