//! The judge: what a policy says of a request.
//!
//! Three-valued, and closed: a request passes if a rule allows it and none denies it. What cannot be decided is
//! neither yes nor no; it becomes a [`Fault`] unless the rest of the policy decides without it. So one more rule that
//! denies can never let more pass, not even one whose condition fails.

use std::sync::Arc;

use bartizan_message::MethodSet;
use bartizan_model::{Fault, Stage};

use crate::{
    expression::{Condition, Undecided},
    grant::Roles,
    role::{RoleId, RoleSet},
    subject::{Asked, Subject},
};

/// What a rule does with requests that it applies to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// They are allowed, if no rule denies them.
    Allow,
    /// They are denied, whatever allows them.
    Deny,
}

/// A rule. It applies to a request if everything holds that it asks for.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Its name, for the record.
    pub name: Arc<str>,
    /// What it does.
    pub effect: Effect,
    /// The caller has one of these roles; `None`: it does not matter.
    pub any: Option<RoleSet>,
    /// The caller has all of these roles.
    pub all: RoleSet,
    /// A role of the caller permits the request.
    pub granted: bool,
    /// The method is one of these.
    pub methods: MethodSet,
    /// This holds.
    pub when: Option<Condition>,
}

/// A compiled policy.
#[derive(Clone, Debug)]
pub struct Policy {
    pub(crate) roles: Arc<Roles>,
    pub(crate) allow: Vec<Rule>,
    pub(crate) deny: Vec<Rule>,
}

/// What a policy says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Verdict {
    /// The request may go on.
    Allowed(Ground),
    /// The request may not.
    Denied(Refused),
}

/// Which rule decided, and by which role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ground {
    /// The rule's name.
    pub rule: Arc<str>,
    /// The caller's role that it applied by, if it asked for one.
    pub role: Option<Arc<str>>,
}

/// Why a policy denies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// A rule denies it.
    ByRule(Ground),
    /// No rule allows it.
    NothingAllows,
}

/// How a rule stands to a request: it does not apply, or it does, by a role or by none.
type Applies = Option<Option<RoleId>>;

impl Policy {
    /// A policy of these rules over these roles. Without a rule that allows it denies everything.
    pub fn new(roles: Arc<Roles>, rules: impl IntoIterator<Item = Rule>) -> Self {
        let (allow, deny) = rules.into_iter().partition(|rule: &Rule| rule.effect == Effect::Allow);
        Policy { roles, allow, deny }
    }

    /// Judges a request.
    ///
    /// # Errors
    ///
    /// A [`Fault`] when a condition that the decision hangs on cannot be decided.
    pub fn allows(&self, who: &Subject<'_>, asked: &Asked<'_>, now_ms: u64) -> Result<Verdict, Fault> {
        let mut meter = Meter::new(now_ms);
        let mut unsure = match self.first(&self.deny, who, asked, &mut meter) {
            Ok(Some(ground)) => return Ok(Verdict::Denied(Refused::ByRule(ground))),
            Ok(None) => None,
            Err(fault) => Some(fault),
        };
        let allowed = match self.first(&self.allow, who, asked, &mut meter) {
            Ok(allowed) => allowed,
            Err(fault) => return Err(unsure.take().unwrap_or(fault)),
        };
        match (allowed, unsure) {
            // Denied even if the rule that could not be decided does not deny.
            (None, _) => Ok(Verdict::Denied(Refused::NothingAllows)),
            (Some(_), Some(fault)) => Err(fault),
            (Some(ground), None) => Ok(Verdict::Allowed(ground)),
        }
    }

    /// The first rule that applies; a fault if none does and one could not be decided.
    fn first(
        &self,
        rules: &[Rule],
        who: &Subject<'_>,
        asked: &Asked<'_>,
        meter: &mut Meter,
    ) -> Result<Option<Ground>, Fault> {
        let mut fault = None;
        for rule in rules {
            match rule.applies(&self.roles, who, asked, meter) {
                Ok(Some(role)) => {
                    let role = role.and_then(|role| self.roles.name(role)).cloned();
                    return Ok(Some(Ground { rule: rule.name.clone(), role }));
                }
                Ok(None) => {}
                Err(why) => {
                    fault.get_or_insert_with(|| {
                        Fault::new(Stage::Authorize, format!("rule {}: {why}", rule.name))
                    });
                }
            }
        }
        fault.map_or(Ok(None), Err)
    }

    /// The rules: those that deny, then those that allow, each in their order.
    pub fn rules(&self) -> impl Iterator<Item = &Rule> {
        self.deny.iter().chain(&self.allow)
    }

    /// The table of roles.
    pub fn roles(&self) -> &Arc<Roles> {
        &self.roles
    }
}

impl Rule {
    fn applies(
        &self,
        roles: &Roles,
        who: &Subject<'_>,
        asked: &Asked<'_>,
        meter: &mut Meter,
    ) -> Result<Applies, Undecided> {
        let Some(mut role) = self.concerns(who.roles, asked.method) else { return Ok(None) };
        let granted = if self.granted { roles.permits(who, asked, meter).map(Some) } else { Ok(None) };
        if let Ok(Some(by)) = granted {
            match by {
                Some(by) => role = role.or(Some(by)),
                None => return Ok(None),
            }
        }
        match &self.when {
            // What does not apply anyhow needs no grant to be decided.
            Some(when) if !meter.holds(when, who, asked)? => Ok(None),
            _ => granted.map(|_| Some(role)),
        }
    }

    /// Whether method and roles are the rule's, and by which role.
    pub(crate) fn concerns(&self, roles: &RoleSet, method: &http::Method) -> Applies {
        if !self.methods.contains(method) || !roles.covers(&self.all) {
            return None;
        }
        match &self.any {
            Some(any) => any.first_common(roles).map(Some),
            None => Some(self.all.iter().next()),
        }
    }
}

impl Ground {
    /// As it is written in the record.
    pub fn describe(&self) -> String {
        match &self.role {
            Some(role) => format!("rule {} by role {role}", self.rule),
            None => format!("rule {}", self.rule),
        }
    }
}

impl Refused {
    /// As it is written in the record.
    pub fn describe(&self) -> String {
        match self {
            Refused::ByRule(ground) => format!("denied by {}", ground.describe()),
            Refused::NothingAllows => "no rule allows it".to_owned(),
        }
    }
}

/// What may still be spent on a request.
pub(crate) struct Meter {
    now_ms: u64,
    conditions: usize,
}

/// 256: the rules of the largest policy, or a caller with that many conditional roles. Each condition has its own
/// limit of steps, so together they end within milliseconds at the worst.
const CONDITIONS_MAX: usize = 256;

impl Meter {
    fn new(now_ms: u64) -> Self {
        Meter { now_ms, conditions: CONDITIONS_MAX }
    }

    /// Evaluates a condition, if there is something left to spend.
    pub(crate) fn holds(
        &mut self,
        when: &Condition,
        who: &Subject<'_>,
        asked: &Asked<'_>,
    ) -> Result<bool, Undecided> {
        let Some(left) = self.conditions.checked_sub(1) else {
            return Err(Undecided::new("too many conditions for one request"));
        };
        self.conditions = left;
        when.holds(who, asked, self.now_ms)
    }
}
