//! A compiled `AuthorizationPolicy`: the judge's rules, and how far they bite.

use std::sync::Arc;

use bartizan_access::Policy;

use super::policy::Bite;

/// Who may do what.
#[derive(Clone, Debug)]
pub struct AuthorizationPlan {
    /// `AuthorizationPolicy/name`.
    pub label: Arc<str>,
    /// How far it bites.
    pub bite: Bite,
    /// The judge.
    pub policy: Policy,
}
