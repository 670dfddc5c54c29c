//! JSON Web Tokens: who calls, as an issuer that we trust signed it.
//!
//! Our own verification over `aws-lc-rs`, because what goes wrong around tokens is never the arithmetic: it is the
//! algorithm taken from the token, the audience checked only when present, the second of two equal claims, the weak
//! key. RFC 8725 is the list of those, and each is a refusal here. Everything fails closed: a check that finds
//! nothing to check refuses.
//!
//! Reading order: [`compact`] (the form), [`issuer`] (what is trusted), `claims` (what is said), [`judge`] (the
//! decision), [`identity`] (what comes out), [`cache`] (tokens judged before), [`source`] (what the judge is told),
//! [`key_ring`] (the life of fetched keys), `bearer` (the header).

pub mod bearer;
pub mod cache;
mod claimed;
pub(crate) mod claims;
pub mod compact;
pub mod flaw;
pub mod identity;
pub mod issuer;
pub mod judge;
pub mod key_ring;
pub mod path;
pub mod rehearsed;
pub mod source;

#[cfg(test)]
mod tests;

pub use bearer::{Bearer, bearer};
pub use cache::TokenCache;
pub use claimed::claimed;
pub use compact::Jws;
pub use flaw::{InvalidToken, TokenFlaw};
pub use identity::{TokenId, TokenIdentity};
pub use issuer::{ConsumerRule, Issuer, IssuerFlaw, IssuerSpec, Trust};
pub use judge::{Outcome, TokenClaim, TokenJudge};
pub use key_ring::{Begin, Completion, FetchFlaw, Fetched, KeyRing, KeySetCache, Ticket, Timing};
pub use path::ClaimPath;
pub use rehearsed::{HeaderFacts, TokenFacts};
pub use source::{KeySource, Keys, Lookup, NoRevocations, Revocations, Sources, TokenRef};
