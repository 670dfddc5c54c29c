//! Compiled token methods: where a token is, whose it may be, what its claims mean.
//!
//! Nothing here was fetched or read: secrets, files and key sets are named, and the data plane's `prepare` gets them.

use std::{sync::Arc, time::Duration};

use bartizan_identity::{
    Algorithm, MacAlgorithm, SignatureAlgorithm,
    jwk::KeySet,
    jwt::{ClaimPath, ConsumerRule},
};
use bartizan_model::{Reference, scalar::FetchUrl};
use http::{HeaderName, HeaderValue};

/// Signed tokens that are found at the same places: all their issuers, so that the token says whose it is.
#[derive(Clone, Debug)]
pub struct JwtPlan {
    /// Unique in the snapshot, counted from 0.
    pub index: usize,
    /// Where a token may be.
    pub places: Vec<TokenPlacePlan>,
    /// Whose tokens.
    pub issuers: Vec<IssuerPlan>,
    /// Whether a token without the form of a signed one is left to a later method at the same place.
    pub leaves_opaque: bool,
    /// Whether the token goes on to the upstream.
    pub forward: bool,
    /// What callers without a valid token are told.
    pub challenge: ChallengePlan,
}

/// Where a token may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenPlacePlan {
    /// In `Authorization`, behind `Bearer`.
    Bearer,
    /// Alone in this header.
    Header(HeaderName),
    /// In the cookie of this name.
    Cookie(Arc<str>),
}

/// An issuer, as documents trust it.
#[derive(Clone, Debug)]
pub struct IssuerPlan {
    /// What `iss` must be.
    pub name: Arc<str>,
    /// One of these must be in `aud`.
    pub audiences: Vec<Box<str>>,
    /// Whose signatures count.
    pub keys: KeysPlan,
    /// What `typ` may be.
    pub types: Vec<Box<str>>,
    /// Whether `typ` may be left out.
    pub allow_untyped: bool,
    /// Whether the header must name its key.
    pub require_kid: bool,
    /// How far clocks may differ.
    pub leeway: Duration,
    /// How long after `iat` a token may be used.
    pub age_max: Option<Duration>,
    /// Claims that must be there.
    pub required: Vec<ClaimPath>,
    /// What the claims mean.
    pub mapping: MappingPlan,
}

/// Whose signatures count.
#[derive(Clone, Debug)]
pub enum KeysPlan {
    /// Those of a key set that is fetched.
    Fetched(KeySetPlan, Vec<SignatureAlgorithm>),
    /// Those of keys that stand in the document.
    Given(Arc<KeySet>, Vec<SignatureAlgorithm>),
    /// Those of keys that lie in a file.
    GivenRef(Reference, Vec<SignatureAlgorithm>),
    /// Those of shared secrets.
    Secrets(Vec<Reference>, MacAlgorithm),
}

impl KeysPlan {
    /// What tokens may be signed with.
    pub fn taken(&self) -> Vec<Algorithm> {
        match self {
            KeysPlan::Fetched(_, algorithms)
            | KeysPlan::Given(_, algorithms)
            | KeysPlan::GivenRef(_, algorithms) => {
                algorithms.iter().copied().map(Algorithm::Signature).collect()
            }
            KeysPlan::Secrets(_, algorithm) => vec![Algorithm::Mac(*algorithm)],
        }
    }
}

/// A key set that is fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySetPlan {
    /// Tells it from all others: the address, and how it may be fetched.
    pub name: Arc<str>,
    /// The address: of the key set, or of the discovery document that says where it is.
    pub url: FetchUrl,
    /// The issuer that the discovery document must name; `None` where `url` is the key set's own.
    pub discovered_for: Option<Arc<str>>,
    /// How it may be fetched.
    pub fetch: FetchPlan,
}

/// How something may be fetched.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct FetchPlan {
    /// From private networks too.
    pub private_network: bool,
    /// Without TLS, and then only from there.
    pub clear_text: bool,
    /// PEM bundle of the authorities trusted; the system's where absent.
    pub authorities: Option<Reference>,
}

/// What claims mean.
#[derive(Clone, Debug, Default)]
pub struct MappingPlan {
    /// Which consumer a token belongs to; `None` for none.
    pub consumer: Option<ConsumerRule>,
    /// Whether a consumer without a document may call.
    pub allows_unknown: bool,
    /// Where the roles stand.
    pub roles: Option<ClaimPath>,
    /// Facts for conditions.
    pub tags: Vec<(Arc<str>, ClaimPath)>,
}

/// What callers without a valid token are told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChallengePlan {
    /// The realm, already fit to stand in quotes.
    pub realm: Option<Arc<str>>,
    /// The scope that is needed.
    pub scope: Option<Arc<str>>,
    /// Whether the resource's metadata is published.
    pub metadata: bool,
}

/// Tokens that their issuer is asked about.
#[derive(Clone, Debug)]
pub struct IntrospectionPlan {
    /// Unique in the snapshot, counted from 0.
    pub index: usize,
    /// The endpoint.
    pub url: FetchUrl,
    /// The gateway's name there.
    pub client_id: Arc<str>,
    /// The gateway's secret there.
    pub client_secret: Reference,
    /// How it may be asked.
    pub fetch: FetchPlan,
    /// What `iss` must be where the answer says one.
    pub issuer: Option<Arc<str>>,
    /// One of these must be in `aud`.
    pub audiences: Vec<Box<str>>,
    /// Where a token may be.
    pub places: Vec<TokenPlacePlan>,
    /// How long an active token is kept.
    pub cache_for: Duration,
    /// How long one that is not active is kept.
    pub cache_inactive_for: Duration,
    /// Longest time for an answer.
    pub timeout: Duration,
    /// How far clocks may differ.
    pub leeway: Duration,
    /// What the answer's members mean.
    pub mapping: MappingPlan,
    /// Whether the token goes on to the upstream.
    pub forward: bool,
    /// What callers without a valid token are told.
    pub challenge: ChallengePlan,
}

impl TokenPlacePlan {
    /// The header that carries the token for the gateway alone. Not `Authorization` and not `Cookie`: on other routes
    /// they are the upstream's.
    pub fn own_header(&self) -> Option<&HeaderName> {
        match self {
            TokenPlacePlan::Header(name) => Some(name),
            TokenPlacePlan::Bearer | TokenPlacePlan::Cookie(_) => None,
        }
    }
}

impl KeysPlan {
    /// The key set that must be fetched for it.
    pub fn fetched(&self) -> Option<&KeySetPlan> {
        match self {
            KeysPlan::Fetched(set, _) => Some(set),
            KeysPlan::Given(..) | KeysPlan::GivenRef(..) | KeysPlan::Secrets(..) => None,
        }
    }

    /// What they are read from beside their document.
    pub fn references(&self) -> Vec<&Reference> {
        match self {
            KeysPlan::Fetched(set, _) => set.fetch.authorities.iter().collect(),
            KeysPlan::Given(..) => Vec::new(),
            KeysPlan::GivenRef(reference, _) => vec![reference],
            KeysPlan::Secrets(references, _) => references.iter().collect(),
        }
    }

    /// Names of the algorithms, for people.
    pub fn algorithms(&self) -> Vec<&'static str> {
        use bartizan_identity::Algorithm;
        match self {
            KeysPlan::Fetched(_, algorithms)
            | KeysPlan::Given(_, algorithms)
            | KeysPlan::GivenRef(_, algorithms) => {
                algorithms.iter().map(|algorithm| Algorithm::Signature(*algorithm).as_str()).collect()
            }
            KeysPlan::Secrets(_, algorithm) => vec![Algorithm::Mac(*algorithm).as_str()],
        }
    }
}

impl ChallengePlan {
    /// RFC 6750 §3: the challenge, with an error where a token was there and did not hold, and the address of the
    /// resource's metadata (RFC 9728 §5.1) where it is published.
    pub fn header(&self, error: Option<&str>, metadata: Option<&str>) -> Option<HeaderValue> {
        let parameters = [
            ("realm", self.realm.as_deref()),
            ("error", error),
            ("scope", self.scope.as_deref()),
            ("resource_metadata", metadata),
        ];
        let given = parameters.iter().filter_map(|(name, value)| Some(format!("{name}=\"{}\"", (*value)?)));
        let text = given.collect::<Vec<_>>().join(", ");
        HeaderValue::try_from(format!("Bearer {text}").trim_end()).ok()
    }
}
