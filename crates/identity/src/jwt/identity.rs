//! What a valid token says about its caller.
//!
//! Mapped once, when the token is judged; a token from the cache brings the same facts without reading anything.

use std::{fmt, sync::Arc};

use crate::{
    claim::Method,
    json::{Json, Number, Object},
    jwt::{flaw::TokenFlaw, issuer::ConsumerRule, path::ClaimPath},
};

/// Proof that a token was presented that its issuer signed for us and that is in force; only the judge makes one.
///
/// It says whose name the token bears, not that such a consumer exists: documents define consumers.
#[derive(Clone, PartialEq)]
#[must_use]
pub struct TokenIdentity(Arc<Facts>);

#[derive(PartialEq)]
struct Facts {
    issuer: Arc<str>,
    consumer: Option<Arc<str>>,
    roles: Box<[Arc<str>]>,
    tags: Box<[(Arc<str>, Box<str>)]>,
    claims: Object,
    id: TokenId,
    until_ms: u64,
    method: Method,
}

/// What the claims of an issuer's tokens mean.
#[derive(Clone, Copy)]
pub(crate) struct Mapping<'a> {
    pub(crate) issuer: &'a Arc<str>,
    pub(crate) consumer: Option<&'a ConsumerRule>,
    pub(crate) roles: Option<&'a ClaimPath>,
    pub(crate) tags: &'a [(Arc<str>, ClaimPath)],
    /// How the token was judged.
    pub(crate) method: Method,
}

impl TokenIdentity {
    /// Maps the claims of a genuine token.
    pub(crate) fn map(
        claims: Object,
        mapping: Mapping<'_>,
        id: TokenId,
        until_ms: u64,
    ) -> Result<Self, TokenFlaw> {
        let consumer = match mapping.consumer {
            None => None,
            Some(ConsumerRule::Fixed(name)) => Some(Arc::clone(name)),
            Some(ConsumerRule::Claim(path)) => Some(consumer(&claims, path)?),
        };
        let roles = mapping.roles.map(|path| roles(&claims, path)).transpose()?.unwrap_or_default();
        let tags = mapping.tags.iter().filter_map(|(name, path)| {
            let value = path.find(&claims)?;
            Some(scalar(value).map(|text| (Arc::clone(name), text)))
        });
        let tags = tags.collect::<Result<_, _>>()?;
        let (issuer, method) = (Arc::clone(mapping.issuer), mapping.method);
        Ok(TokenIdentity(Arc::new(Facts { issuer, consumer, roles, tags, claims, id, until_ms, method })))
    }

    /// The issuer's configured name.
    pub fn issuer(&self) -> &Arc<str> {
        &self.0.issuer
    }

    /// The consumer it belongs to, where its issuer's tokens belong to one.
    pub fn consumer(&self) -> Option<&Arc<str>> {
        self.0.consumer.as_ref()
    }

    /// `sub`.
    pub fn subject(&self) -> Option<&str> {
        self.0.claims.get("sub").and_then(Json::as_text)
    }

    /// The roles it brings.
    pub fn roles(&self) -> &[Arc<str>] {
        &self.0.roles
    }

    /// The tags it brings, by name.
    pub fn tags(&self) -> &[(Arc<str>, Box<str>)] {
        &self.0.tags
    }

    /// All claims.
    pub fn claims(&self) -> &Object {
        &self.0.claims
    }

    /// Names the token in logs.
    pub fn id(&self) -> TokenId {
        self.0.id
    }

    /// How it was judged.
    pub fn method(&self) -> Method {
        self.0.method
    }

    /// Whether both are what one judgement brought: the same token, judged once.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Until when it may be used, leeway included, in Unix milliseconds. A stream that outlives it must end.
    pub fn until_unix_ms(&self) -> u64 {
        self.0.until_ms
    }
}

/// Shows what records may hold. Claims are about people.
impl fmt::Debug for TokenIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenIdentity")
            .field("issuer", &self.0.issuer)
            .field("consumer", &self.0.consumer)
            .field("id", &self.0.id)
            .finish_non_exhaustive()
    }
}

/// Names a token in a log line: the first eight bytes of its SHA-256, from which it cannot be made again.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenId([u8; 8]);

impl TokenId {
    pub(crate) fn of(digest: &[u8; 32]) -> Self {
        TokenId(*digest.first_chunk().unwrap_or(&[0; 8]))
    }
}

impl TokenId {
    /// Its bits, spread evenly.
    pub const fn bits(self) -> u64 {
        u64::from_be_bytes(self.0)
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", u64::from_be_bytes(self.0))
    }
}

impl fmt::Debug for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenId({self})")
    }
}

fn consumer(claims: &Object, path: &ClaimPath) -> Result<Arc<str>, TokenFlaw> {
    match path.find(claims) {
        None => Err(TokenFlaw::ClaimMissing),
        Some(Json::Text(name)) if !name.is_empty() && name.len() <= NAME_BYTES_MAX => Ok((&**name).into()),
        Some(_) => Err(TokenFlaw::ClaimKind),
    }
}

/// A list of strings, or one string whose words are the roles (as `scope` is written, RFC 8693 §4.2). Anything else
/// is a misunderstanding between us and the issuer, and refuses the token rather than dropping a role.
fn roles(claims: &Object, path: &ClaimPath) -> Result<Box<[Arc<str>]>, TokenFlaw> {
    match path.find(claims) {
        None => Ok(Box::default()),
        Some(Json::Text(words)) => {
            Ok(words.split(' ').filter(|word| !word.is_empty()).map(Arc::from).collect())
        }
        Some(Json::List(names)) => {
            names.iter().map(|name| name.as_text().map(Arc::from).ok_or(TokenFlaw::ClaimKind)).collect()
        }
        Some(_) => Err(TokenFlaw::ClaimKind),
    }
}

fn scalar(value: &Json) -> Result<Box<str>, TokenFlaw> {
    match value {
        Json::Text(text) => Ok(text.clone()),
        Json::Bool(value) => Ok(value.to_string().into()),
        Json::Number(Number::Unsigned(value)) => Ok(value.to_string().into()),
        Json::Number(Number::Signed(value)) => Ok(value.to_string().into()),
        Json::Number(Number::Fraction(value)) => Ok(value.to_string().into()),
        Json::Null | Json::List(_) | Json::Object(_) => Err(TokenFlaw::ClaimKind),
    }
}

/// Longer is no name of a document.
const NAME_BYTES_MAX: usize = 256;
