//! What comes out of judging a credential.
//!
//! Three outcomes with three names. There is no default identity: a failed check has no way to become an empty
//! principal, and anonymity is written out by whoever grants it.

use std::{fmt, sync::Arc};

use bartizan_model::Reason;

use crate::{
    api_key::KeyId, basic::BasicIdentity, certificate::CertificateIdentity, jwt::TokenIdentity,
    key_life::KeyFacts, usage::Slot,
};

/// What became of the credential a caller presented, or did not: for API keys as it stands, for tokens as
/// [`TokenClaim`](crate::jwt::TokenClaim).
#[derive(Debug)]
#[must_use]
pub enum Claim<V = ApiKeyIdentity, I = Invalid> {
    /// No credential was presented at all.
    Absent,
    /// The credential is genuine and in force.
    Valid(V),
    /// A credential was presented and does not hold. Never to be treated like [`Claim::Absent`].
    Invalid(I),
}

/// A credential that does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Invalid {
    /// In which way, for the record; callers are told the [`Reason`] only.
    pub kind: InvalidKind,
    /// The id it claims, where its form held. Only for [`InvalidKind::is_proven`] kinds does it say who called.
    pub key: Option<KeyId>,
}

/// In which way a credential does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum InvalidKind {
    /// Genuine, and its time is over.
    Expired,
    /// Not a key of ours by form or checksum.
    Malformed,
    /// Genuine, and its time has not begun.
    NotYetValid,
    /// Genuine, and withdrawn.
    Revoked,
    /// No key has this id.
    Unknown,
    /// The id exists and the secret is another.
    WrongSecret,
}

impl InvalidKind {
    /// The word for records and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            InvalidKind::Expired => "expired",
            InvalidKind::Malformed => "malformed",
            InvalidKind::NotYetValid => "not_yet_valid",
            InvalidKind::Revoked => "revoked",
            InvalidKind::Unknown => "unknown",
            InvalidKind::WrongSecret => "wrong_secret",
        }
    }

    /// The reason to refuse with. Unknown, wrong and withdrawn are one to the caller: no oracle for key ids, and a
    /// thief is not told that the theft was noticed. Expiry is told, so that the owner knows what to do.
    pub const fn reason(self) -> Reason {
        match self {
            InvalidKind::Expired => Reason::CredentialExpired,
            InvalidKind::Malformed
            | InvalidKind::NotYetValid
            | InvalidKind::Revoked
            | InvalidKind::Unknown
            | InvalidKind::WrongSecret => Reason::CredentialInvalid,
        }
    }

    /// Whether the secret was right, so that the key id is a fact and not only a claim.
    pub const fn is_proven(self) -> bool {
        matches!(self, InvalidKind::Expired | InvalidKind::NotYetValid | InvalidKind::Revoked)
    }
}

impl fmt::Display for InvalidKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Proof that a key was presented with its secret while it was in force; only the table's judge makes one.
///
/// It says whose name the key bears, not that such a consumer exists: documents define consumers, and the stage
/// refuses a key of a consumer they do not know.
#[derive(Debug)]
#[must_use]
pub struct ApiKeyIdentity {
    pub(crate) consumer: Arc<str>,
    pub(crate) key: KeyId,
    pub(crate) slot: Slot,
    pub(crate) facts: KeyFacts,
}

impl ApiKeyIdentity {
    /// The consumer the key was made for.
    pub fn consumer(&self) -> &Arc<str> {
        &self.consumer
    }

    /// The key's public id.
    pub const fn key(&self) -> KeyId {
        self.key
    }

    /// What is known of the key's life in memory; when it was last used is not.
    pub const fn facts(&self) -> &KeyFacts {
        &self.facts
    }
}

/// Who calls, as all later stages and the record see it.
#[derive(Clone, Debug, PartialEq)]
pub struct Identity {
    consumer: Option<Arc<str>>,
    method: Method,
    credential: Option<CredentialId>,
    token: Option<TokenIdentity>,
}

impl Identity {
    /// A caller who presented nothing, on a route whose policy allows that.
    pub const fn anonymous() -> Self {
        Identity { consumer: None, method: Method::Anonymous, credential: None, token: None }
    }

    /// The consumer's name; `None` for an anonymous caller, and for a token of an issuer whose tokens name none.
    pub const fn consumer(&self) -> Option<&Arc<str>> {
        self.consumer.as_ref()
    }

    /// How the caller was identified.
    pub const fn method(&self) -> Method {
        self.method
    }

    /// Which credential it was, for logs; never the secret. A token is named by [`TokenIdentity::id`].
    pub const fn credential(&self) -> Option<CredentialId> {
        self.credential
    }

    /// What the caller's token says, if it was one.
    pub const fn token(&self) -> Option<&TokenIdentity> {
        self.token.as_ref()
    }
}

impl Identity {
    /// The identity of an API key whose judgement is a given fact instead of a proof. For rehearsals alone, where nothing
    /// is sent to anybody; `cargo xtask tidy` holds the one place that may call it.
    pub const fn rehearsed_api_key(consumer: Arc<str>, key: KeyId) -> Self {
        let credential = Some(CredentialId::ApiKey(key));
        Identity { consumer: Some(consumer), method: Method::ApiKey, credential, token: None }
    }
}

impl From<ApiKeyIdentity> for Identity {
    fn from(key: ApiKeyIdentity) -> Self {
        let credential = Some(CredentialId::ApiKey(key.key));
        Identity { consumer: Some(key.consumer), method: Method::ApiKey, credential, token: None }
    }
}

impl From<BasicIdentity> for Identity {
    fn from(user: BasicIdentity) -> Self {
        Identity { consumer: Some(user.consumer), method: Method::Basic, credential: None, token: None }
    }
}

impl From<CertificateIdentity> for Identity {
    fn from(certificate: CertificateIdentity) -> Self {
        Identity {
            consumer: Some(certificate.consumer),
            method: Method::ClientCertificate,
            credential: Some(CredentialId::Certificate(certificate.fingerprint.first())),
            token: None,
        }
    }
}

impl From<TokenIdentity> for Identity {
    fn from(token: TokenIdentity) -> Self {
        let consumer = token.consumer().cloned();
        Identity { consumer, method: token.method(), credential: None, token: Some(token) }
    }
}

/// How a caller was identified.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    /// Not at all, and the policy allows that.
    Anonymous,
    /// By an API key.
    ApiKey,
    /// By a name and a password.
    Basic,
    /// By a certificate that TLS verified.
    ClientCertificate,
    /// By a signed token.
    Jwt,
    /// By a token that its issuer was asked about.
    Introspection,
    /// By a session that began with signing in at an OpenID provider.
    OpenIdConnect,
}

impl Method {
    /// The word for records and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Method::Anonymous => "anonymous",
            Method::ApiKey => "api_key",
            Method::Basic => "basic",
            Method::ClientCertificate => "client_certificate",
            Method::Jwt => "jwt",
            Method::Introspection => "introspection",
            Method::OpenIdConnect => "openid_connect",
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Names the credential in a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CredentialId {
    /// An API key's public id.
    ApiKey(KeyId),
    /// The first 12 bytes of a certificate's SHA-256: enough to tell all certificates apart, and no longer than a key's
    /// id, because every request carries it.
    Certificate([u8; 12]),
}

impl fmt::Display for CredentialId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CredentialId::ApiKey(id) => write!(f, "{id}"),
            CredentialId::Certificate(bytes) => bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_expiry_is_told_apart_to_the_caller() {
        for (kind, reason, proven) in [
            (InvalidKind::Expired, Reason::CredentialExpired, true),
            (InvalidKind::Malformed, Reason::CredentialInvalid, false),
            (InvalidKind::NotYetValid, Reason::CredentialInvalid, true),
            (InvalidKind::Revoked, Reason::CredentialInvalid, true),
            (InvalidKind::Unknown, Reason::CredentialInvalid, false),
            (InvalidKind::WrongSecret, Reason::CredentialInvalid, false),
        ] {
            assert_eq!((kind.reason(), kind.is_proven()), (reason, proven), "{kind}");
        }
    }

    #[test]
    fn an_anonymous_caller_has_neither_consumer_nor_credential() {
        let identity = Identity::anonymous();
        assert_eq!(identity.consumer(), None);
        assert_eq!(identity.credential(), None);
        assert_eq!(identity.method(), Method::Anonymous);
    }
}
