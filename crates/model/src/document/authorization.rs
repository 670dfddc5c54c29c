//! `AuthorizationPolicy`: who may do what.

use super::common::TargetRef;
use crate::{
    read::{OneOrMany, Spanned},
    scalar::{Condition, Method, Name, Percent},
    verdict::{Mode, OnFault},
};

crate::document! {
    /// Who may do what. Where one is attached, everything is denied that it does not allow: without `roles`,
    /// `allRoles` and `rules` it asks that a role of the caller permits the request. Several policies must all allow.
    pub struct AuthorizationPolicySpec {
        /// What it is attached to; none means the whole gateway.
        pub target_refs: Vec<Spanned<TargetRef>> = Vec::new(),
        /// The caller must have one of these roles. Short for one rule; not with `rules`.
        pub roles: OneOrMany<Spanned<Name>> = OneOrMany::default(),
        /// The caller must have all of these roles. Short for one rule; not with `rules`.
        pub all_roles: OneOrMany<Spanned<Name>> = OneOrMany::default(),
        /// A request passes if a rule allows it and none denies it.
        pub rules: OneOrMany<Spanned<AuthorizationRule>> = OneOrMany::default(),
        /// Whether it bites.
        pub mode: Mode = Mode::Enforce,
        /// Share of callers it bites, in percent; the rest is judged in shadow.
        pub enforce_percent: Percent = Percent::of(100),
        /// What happens when it cannot be decided. Callers can bring that about, so `allow` opens the door to them.
        pub on_fault: OnFault = OnFault::Deny,
    }
}

crate::choice! {
    /// What a rule does.
    pub enum RuleEffect {
        /// Requests that it applies to are allowed, if no rule denies them.
        Allow = "Allow",
        /// Requests that it applies to are denied, whatever allows them.
        Deny = "Deny",
    }
}

crate::document! {
    /// A rule. It applies to requests for which everything holds that it asks for.
    pub struct AuthorizationRule {
        /// A name for the record and `explain`.
        pub name: Option<Spanned<Name>>,
        /// What it does.
        pub effect: RuleEffect = RuleEffect::Allow,
        /// The caller has one of these roles; whatever they permit.
        pub roles: OneOrMany<Spanned<Name>> = OneOrMany::default(),
        /// The caller has all of these roles; whatever they permit.
        pub all_roles: OneOrMany<Spanned<Name>> = OneOrMany::default(),
        /// A role of the caller permits the request by its grants.
        pub granted: bool = false,
        /// The method is one of these; none means every method.
        pub methods: Vec<Method> = Vec::new(),
        /// This CEL condition holds.
        pub when: Option<Spanned<Condition>>,
    }
}
