//! Compiled policies, and how far each one bites.

use std::{sync::Arc, time::Duration};

use bartizan_access::RoleSet;
use bartizan_message::AddressSet;
use bartizan_model::{Mode, OnFault};
use http::{HeaderName, HeaderValue};
use regex::Regex;

use super::authorization::AuthorizationPlan;

/// How far a policy bites: its mode, and the share of callers for whom `enforce` means enforce.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bite {
    /// The mode as written.
    pub mode: Mode,
    /// Share of callers it is enforced for, 0–100; for the others it is judged in shadow.
    pub percent: u8,
    /// What happens when it cannot be decided.
    pub on_fault: OnFault,
}

impl Bite {
    /// Enforced for everyone, closed on faults.
    pub const FULL: Bite = Bite { mode: Mode::Enforce, percent: 100, on_fault: OnFault::Deny };

    /// The mode that holds for a caller whose stable share is `share` (0–99).
    pub const fn for_share(self, share: u8) -> Mode {
        match self.mode {
            Mode::Enforce if share < self.percent => Mode::Enforce,
            Mode::Enforce => Mode::Shadow,
            other => other,
        }
    }
}

/// The policies of a settling kind on one target: at most one bites, any number may watch.
#[derive(Clone, Debug)]
pub struct Settled<T> {
    /// The one that bites.
    pub enforced: Option<Arc<T>>,
    /// Those in shadow.
    pub shadow: Vec<Arc<T>>,
}

impl<T> Default for Settled<T> {
    fn default() -> Self {
        Settled { enforced: None, shadow: Vec::new() }
    }
}

/// A compiled `CachePolicy`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CachePlan {
    /// `CachePolicy/name`.
    pub label: Arc<str>,
    /// What may be kept, and for whom.
    pub terms: bartizan_cache::Terms,
    /// How long equal requests wait for the answer to the first of them.
    pub collapse: Duration,
}

/// A compiled `HeaderPolicy`.
#[derive(Clone, Debug)]
pub struct HeaderPlan {
    /// `HeaderPolicy/name`.
    pub label: Arc<str>,
    /// How far it bites.
    pub bite: Bite,
    /// Conditions on request headers.
    pub checks: Vec<HeaderCheckPlan>,
    /// Request headers that must not be there.
    pub forbidden: Vec<HeaderName>,
    /// Changes to the request.
    pub request: HeaderChangesPlan,
    /// Changes to the answer.
    pub response: HeaderChangesPlan,
}

/// A condition on one header.
#[derive(Clone, Debug)]
pub struct HeaderCheckPlan {
    /// The header.
    pub name: HeaderName,
    /// Whether it must be there.
    pub required: bool,
    /// Each value must match as a whole (the pattern is anchored at both ends).
    pub pattern: Option<Regex>,
    /// Fewest bytes of each value.
    pub length_min: usize,
    /// Most bytes of each value.
    pub length_max: usize,
}

/// Changes to a header section: remove, then set, then add.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HeaderChangesPlan {
    /// Removed.
    pub remove: Vec<HeaderName>,
    /// Replaced or added.
    pub set: Vec<(HeaderName, HeaderValue)>,
    /// Added beside what is there.
    pub add: Vec<(HeaderName, HeaderValue)>,
}

impl HeaderChangesPlan {
    /// Whether nothing is changed.
    pub const fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.set.is_empty() && self.add.is_empty()
    }

    /// Carries the changes out.
    pub fn apply(&self, headers: &mut http::HeaderMap) {
        for name in &self.remove {
            headers.remove(name);
        }
        for (name, value) in &self.set {
            headers.insert(name.clone(), value.clone());
        }
        for (name, value) in &self.add {
            headers.append(name.clone(), value.clone());
        }
    }
}

/// A compiled `CorsPolicy`.
#[derive(Clone, Debug)]
pub struct CorsPlan {
    /// `CorsPolicy/name`.
    pub label: Arc<str>,
    /// How far it bites.
    pub bite: Bite,
    /// Which origins may call.
    pub origins: Vec<OriginPattern>,
    /// Methods that pages may use.
    pub methods: Vec<http::Method>,
    /// `Access-Control-Allow-Methods`.
    pub methods_value: HeaderValue,
    /// Request headers that pages may set, lower-case.
    pub headers: Vec<HeaderName>,
    /// `Access-Control-Allow-Headers`, if any are allowed.
    pub headers_value: Option<HeaderValue>,
    /// `Access-Control-Expose-Headers`, if any are exposed.
    pub expose_value: Option<HeaderValue>,
    /// `Access-Control-Max-Age`.
    pub max_age_value: HeaderValue,
    /// Whether pages may send cookies and credentials.
    pub credentials: bool,
}

/// An allowed origin. The origin `null` is never allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OriginPattern {
    /// Any origin; never together with credentials.
    Any,
    /// Exactly this origin, `scheme://host[:port]`, lower-case.
    Exact(Arc<str>),
    /// `scheme://*.suffix[:port]`.
    Wildcard {
        /// `https://`
        scheme: Arc<str>,
        /// `.example.com` or `.example.com:8443`
        suffix: Arc<str>,
    },
}

impl OriginPattern {
    /// Whether an `Origin` header's value is meant.
    pub fn matches(&self, origin: &str) -> bool {
        if origin == "null" {
            return false;
        }
        match self {
            OriginPattern::Any => true,
            OriginPattern::Exact(exact) => origin.eq_ignore_ascii_case(exact),
            OriginPattern::Wildcard { scheme, suffix } => {
                let origin = origin.to_ascii_lowercase();
                origin
                    .strip_prefix(&**scheme)
                    .and_then(|rest| rest.strip_suffix(&**suffix))
                    .is_some_and(|label| !label.is_empty() && label.bytes().all(is_host_byte))
            }
        }
    }
}

fn is_host_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.'
}

/// A compiled `Consumer` with the policies attached to it.
#[derive(Clone, Debug)]
pub struct ConsumerPlan {
    /// Its name.
    pub name: Arc<str>,
    /// Its roles.
    pub roles: Vec<Arc<str>>,
    /// `X-Consumer-Roles`, precomputed.
    pub roles_value: Option<HeaderValue>,
    /// `X-Consumer-Name`, precomputed.
    pub name_value: HeaderValue,
    /// Whether it may call at all.
    pub enabled: bool,
    /// Models it may use; none: all that its roles may.
    pub models: Vec<Arc<str>>,
    /// Client addresses it may call from.
    pub addresses: Option<AddressSet>,
    /// Those of its roles that documents define.
    pub role_set: RoleSet,
    /// Who may, attached to the consumer, in order of name.
    pub authorization: Vec<Arc<AuthorizationPlan>>,
    /// Limits attached to the consumer, in order of name.
    pub limits: Vec<Arc<bartizan_limit::Policy>>,
    /// Whom to tell about its keys.
    pub contacts: Vec<super::ContactPlan>,
    /// Inspections attached to the consumer, in order of name; they judge after those of the route.
    pub inspection: Vec<Arc<super::InspectionPlan>>,
    /// Its team.
    pub team: Option<Arc<TeamPlan>>,
    /// Quotas attached to the consumer, in order of name, and its team's budget.
    pub quotas: Vec<Arc<bartizan_limit::QuotaPolicy>>,
    /// How its keys age and are rotated.
    pub rotation: Option<Arc<RotationPlan>>,
}

/// A compiled `Team`.
#[derive(Clone, Debug)]
pub struct TeamPlan {
    /// Its name.
    pub name: Arc<str>,
    /// Models that its members may use; none: all that they may otherwise.
    pub models: Vec<Arc<str>>,
    /// What its members may use together.
    pub budget: Option<Arc<bartizan_limit::QuotaPolicy>>,
}

/// A compiled `KeyRotationPolicy`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RotationPlan {
    /// `KeyRotationPolicy/name`.
    pub label: Arc<str>,
    /// Whether callers are told that their key is ageing or replaced.
    pub announce: bool,
    /// When keys are due, and how they end.
    pub terms: Arc<bartizan_identity::LifeTerms>,
    /// The channels by which owners are told.
    pub notify: Vec<Arc<str>>,
    /// Below which address successors are claimed; none: they are not offered.
    pub claim_url: Option<bartizan_model::scalar::FetchUrl>,
    /// At which place of a gateway's the schedule leaves successors; none: it makes none.
    pub deliver_to: Option<Arc<str>>,
}

/// Time limits of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeoutsPlan {
    /// From the complete head to the last byte of the answer; `None`: no limit.
    pub request: Option<Duration>,
    /// From sending the request to the head of the upstream's answer.
    pub backend_request: Duration,
    /// Longest silence within the upstream's answer.
    pub idle: Duration,
}
