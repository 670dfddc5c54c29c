//! In which way a token does not hold.
//!
//! For the record, never for the caller, who learns of expiry and of nothing else: which check failed is what an
//! attacker would like to know. A flaw carries no part of the token.

use std::{fmt, sync::Arc};

use bartizan_model::Reason;

use crate::json::JsonFlaw;

/// A token that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidToken {
    /// In which way.
    pub flaw: TokenFlaw,
    /// The configured issuer it names, once that was read. A fact only for flaws that [`TokenFlaw::is_proven`].
    pub issuer: Option<Arc<str>>,
}

/// In which way a token does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TokenFlaw {
    /// Its algorithm is unknown (`none` is), or not one its issuer may use.
    Algorithm,
    /// Genuine, and meant for somebody else.
    Audience,
    /// Genuine, and a claim is not of the kind it must be.
    ClaimKind,
    /// Genuine, and a claim that must be there is not.
    ClaimMissing,
    /// Its header asks for something that must be understood and is not (`crit`, `b64`).
    Critical,
    /// A name occurs twice in one object.
    Duplicate,
    /// It is encrypted or compressed.
    Encrypted,
    /// Genuine, and its time is over.
    Expired,
    /// Its issuer says that it is not active.
    Inactive,
    /// Its issuer is none of ours.
    Issuer,
    /// Its issuer has no such key.
    KeyUnknown,
    /// Not a signed token by form.
    Malformed,
    /// Genuine, and its time has not begun, or it was issued in the future.
    NotYetValid,
    /// Genuine, and withdrawn.
    Revoked,
    /// Its signature is not its issuer's.
    Signature,
    /// Beyond our caps on length, depth or number.
    TooLarge,
    /// Genuine, and issued longer ago than its issuer's tokens may be used.
    TooOld,
    /// Its `typ` is not one its issuer's tokens have.
    Type,
}

impl TokenFlaw {
    /// The word for records and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            TokenFlaw::Algorithm => "algorithm",
            TokenFlaw::Audience => "audience",
            TokenFlaw::ClaimKind => "claim_kind",
            TokenFlaw::ClaimMissing => "claim_missing",
            TokenFlaw::Critical => "critical",
            TokenFlaw::Duplicate => "duplicate",
            TokenFlaw::Encrypted => "encrypted",
            TokenFlaw::Expired => "expired",
            TokenFlaw::Inactive => "inactive",
            TokenFlaw::Issuer => "issuer",
            TokenFlaw::KeyUnknown => "key_unknown",
            TokenFlaw::Malformed => "malformed",
            TokenFlaw::NotYetValid => "not_yet_valid",
            TokenFlaw::Revoked => "revoked",
            TokenFlaw::Signature => "signature",
            TokenFlaw::TooLarge => "too_large",
            TokenFlaw::TooOld => "too_old",
            TokenFlaw::Type => "type",
        }
    }

    /// The reason to refuse with. Only that a genuine token's time is over is told, so that its owner fetches another.
    pub const fn reason(self) -> Reason {
        match self {
            TokenFlaw::Expired | TokenFlaw::TooOld => Reason::CredentialExpired,
            _ => Reason::CredentialInvalid,
        }
    }

    /// Whether the signature was right, so that the issuer is a fact and not only a claim.
    pub const fn is_proven(self) -> bool {
        matches!(
            self,
            TokenFlaw::Audience
                | TokenFlaw::ClaimKind
                | TokenFlaw::ClaimMissing
                | TokenFlaw::Expired
                | TokenFlaw::NotYetValid
                | TokenFlaw::Revoked
                | TokenFlaw::TooOld
        )
    }
}

impl fmt::Display for TokenFlaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl From<JsonFlaw> for TokenFlaw {
    fn from(flaw: JsonFlaw) -> Self {
        match flaw {
            JsonFlaw::Duplicate => TokenFlaw::Duplicate,
            JsonFlaw::Malformed => TokenFlaw::Malformed,
            JsonFlaw::TooLarge => TokenFlaw::TooLarge,
        }
    }
}
