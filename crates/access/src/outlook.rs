//! The judge's answer without a request: what a policy says of roles, a route and a method.
//!
//! `bartizan access` asks for every consumer or route at once and has no headers to show. What hangs on a condition
//! is therefore not guessed but listed with the condition's text, unless whoever asks knows enough to decide it.

use std::sync::Arc;

use http::Method;

use crate::{
    expression::{Condition, Expression},
    policy::{Ground, Policy, Rule},
    role::{RoleId, RoleSet},
};

/// What a policy says as far as it can be said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outlook {
    /// Every such request is allowed.
    Allowed(Ground),
    /// No such request is allowed; by a rule, or because nothing allows it.
    Denied(Option<Ground>),
    /// It hangs on conditions.
    Depends {
        /// Each of these allows it.
        allow: Vec<Way>,
        /// Unless one of these denies it.
        deny: Vec<Way>,
    },
}

/// A way to a decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Way {
    /// The rule and role.
    pub ground: Ground,
    /// The conditions that all must hold; none: always.
    pub when: Vec<Arc<str>>,
}

/// What is asked about.
#[derive(Clone, Copy)]
pub struct Prospect<'a> {
    /// The callers' roles.
    pub roles: &'a RoleSet,
    /// The route's name.
    pub route: &'a str,
    /// The method.
    pub method: &'a Method,
    /// What is known of a condition: its answer, or nothing.
    pub known: &'a dyn Fn(&dyn Expression) -> Option<bool>,
}

impl Policy {
    /// What the policy says of such callers and requests.
    pub fn outlook(&self, prospect: &Prospect<'_>) -> Outlook {
        let deny = self.ways(&self.deny, prospect);
        if let Some(certain) = deny.iter().find(|way| way.when.is_empty()) {
            return Outlook::Denied(Some(certain.ground.clone()));
        }
        let allow = self.ways(&self.allow, prospect);
        if allow.is_empty() {
            return Outlook::Denied(None);
        }
        match allow.iter().find(|way| way.when.is_empty()) {
            Some(certain) if deny.is_empty() => Outlook::Allowed(certain.ground.clone()),
            Some(certain) => Outlook::Depends { allow: vec![certain.clone()], deny },
            None => Outlook::Depends { allow, deny },
        }
    }

    fn ways(&self, rules: &[Rule], prospect: &Prospect<'_>) -> Vec<Way> {
        let Prospect { roles, route, method, known } = prospect;
        let mut ways = Vec::new();
        for rule in rules {
            let Some(role) = rule.concerns(roles, method) else { continue };
            let mut add = |role: Option<RoleId>, conditions: [Option<&Condition>; 2]| {
                let conditions = || conditions.into_iter().flatten();
                if conditions().any(|when| known(&**when) == Some(false)) {
                    return;
                }
                let open = conditions().filter(|when| known(&***when).is_none());
                let role = role.and_then(|role| self.roles().name(role)).cloned();
                ways.push(Way {
                    ground: Ground { rule: rule.name.clone(), role },
                    when: open.map(|when| when.text().into()).collect(),
                });
            };
            if rule.granted {
                for covering in self.roles().covering(roles, route, method) {
                    add(role.or(Some(covering.role)), [rule.when.as_ref(), covering.when]);
                }
            } else {
                add(role, [rule.when.as_ref(), None]);
            }
        }
        ways
    }
}
