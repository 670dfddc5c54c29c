//! What awaits a caller at a rule: whether it may, by which rules and roles, and on which conditions.

use bartizan_access::{Expression, Ground, Outlook, Prospect, RoleSet, Way};
use bartizan_config::snapshot::{AuthorizationPlan, ConsumerPlan, MethodPlan, RoutePlan};
use bartizan_model::Mode;
use bartizan_proxy::stage::judge;
use http::Method;
use serde::Serialize;

/// Whether a caller may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum May {
    Yes,
    Depends,
    No,
}

impl May {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            May::Yes => "yes",
            May::Depends => "depends",
            May::No => "no",
        }
    }
}

/// What awaits a caller.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Answer {
    pub(super) may: May,
    /// Whether the caller passes as nobody here, because the rule asks for no credential.
    pub(super) as_nobody: bool,
    /// The policies that decide, each with its rule and role.
    pub(super) by: Vec<By>,
    /// What the answer hangs on; all of it must be so.
    pub(super) conditions: Vec<String>,
}

/// A policy and what in it decides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct By {
    pub(super) policy: String,
    pub(super) rule: Option<String>,
    pub(super) role: Option<String>,
}

impl By {
    fn of(policy: &str, ground: Option<&Ground>) -> Self {
        By {
            policy: policy.to_owned(),
            rule: ground.map(|ground| ground.rule.to_string()),
            role: ground.and_then(|ground| ground.role.as_deref()).map(str::to_owned),
        }
    }

    /// For people.
    pub(super) fn text(&self) -> String {
        let role = self.role.as_ref().map_or(String::new(), |role| format!(", role {role}"));
        let what = match (&self.rule, self.policy.split_once('/')) {
            (Some(rule), _) => format!("rule {rule}{role}"),
            (None, Some(("Consumer", _))) => "it is disabled".to_owned(),
            (None, Some(("AuthenticationPolicy", _))) => "it asks for a credential".to_owned(),
            (None, _) => "nothing in it allows it".to_owned(),
        };
        format!("{}: {what}", self.policy)
    }
}

impl Answer {
    fn no(by: By) -> Self {
        Answer { may: May::No, as_nobody: false, by: vec![by], conditions: Vec::new() }
    }
}

/// Who the gateway takes a caller for at a rule: a route that asks for no credential knows nobody, and neither does one
/// whose tokens belong to no consumer, or to another.
pub(super) fn known_as<'c>(plan: &RoutePlan, consumer: Option<&'c ConsumerPlan>) -> Option<&'c ConsumerPlan> {
    let policy = plan.authentication.enforced.as_ref()?;
    consumer.filter(|consumer| policy.methods.iter().any(|method| method.may_know(&consumer.name)))
}

/// Whether the caller may come with a token, which may bring a subject of its own.
pub(super) fn may_have_token(plan: &RoutePlan) -> bool {
    plan.authentication
        .enforced
        .as_ref()
        .is_some_and(|policy| policy.methods.iter().any(MethodPlan::takes_tokens))
}

/// Whether the caller may come with a token or certificate that brings roles.
fn may_bring_roles(plan: &RoutePlan) -> bool {
    plan.authentication
        .enforced
        .as_ref()
        .is_some_and(|policy| policy.methods.iter().any(MethodPlan::maps_roles))
}

/// What of a caller may bring roles here.
fn bringing(plan: &RoutePlan) -> &'static str {
    let methods = plan.authentication.enforced.iter().flat_map(|policy| &policy.methods);
    let (tokens, others): (Vec<_>, Vec<_>) =
        methods.filter(|method| method.maps_roles()).partition(|method| method.takes_tokens());
    match (tokens.is_empty(), others.is_empty()) {
        (false, true) => "token",
        (true, _) => "certificate",
        (false, false) => "token or certificate",
    }
}

/// What awaits a caller at a rule. `known` tells what of a condition is known without a request.
pub(super) fn of(
    plan: &RoutePlan,
    caller: Option<&ConsumerPlan>,
    method: &Method,
    known: &dyn Fn(&dyn Expression) -> Option<bool>,
) -> Answer {
    let consumer = known_as(plan, caller);
    if consumer.is_none()
        && let Some(policy) = plan.authentication.enforced.as_ref().filter(|policy| !policy.anonymous)
    {
        // Somebody without a document may have a token that needs none.
        if caller.is_none() && policy.methods.iter().any(|method| method.knows_without_consumer()) {
            let conditions = vec!["it has a token, whose roles and claims decide".to_owned()];
            return Answer {
                may: May::Depends,
                as_nobody: false,
                by: vec![By::of(&policy.label, None)],
                conditions,
            };
        }
        return Answer::no(By::of(&policy.label, None));
    }
    let mut answer = Answer {
        may: May::Yes,
        as_nobody: caller.is_some() && consumer.is_none(),
        by: Vec::new(),
        conditions: Vec::new(),
    };
    if let Some(consumer) = consumer {
        if !consumer.enabled {
            return Answer::no(By::of(&format!("Consumer/{}", consumer.name), None));
        }
        if consumer.addresses.is_some() {
            answer.conditions.push("it calls from one of its allowedAddresses".to_owned());
        }
    }
    let roles = consumer.map_or(RoleSet::EMPTY, |consumer| &consumer.role_set);
    let prospect = Prospect { roles, route: &plan.route, method, known };
    for policy in judge::policies(plan, consumer).filter(|policy| policy.bite.mode == Mode::Enforce) {
        if let Some(denied) = add(&mut answer, policy, &policy.policy.outlook(&prospect)) {
            // What its document does not give it, its token or certificate may.
            let is_open = denied.by.iter().all(|by| by.rule.is_none());
            if consumer.is_some() && is_open && may_bring_roles(plan) {
                let condition = format!("its {} brings a role that {} allows", bringing(plan), policy.label);
                return Answer { may: May::Depends, conditions: vec![condition], ..denied };
            }
            return denied;
        }
    }
    if !answer.conditions.is_empty() {
        answer.may = May::Depends;
    }
    answer
}

/// Adds what a policy says; the answer if it ends there.
fn add(answer: &mut Answer, policy: &AuthorizationPlan, outlook: &Outlook) -> Option<Answer> {
    match outlook {
        Outlook::Allowed(ground) => answer.by.push(By::of(&policy.label, Some(ground))),
        Outlook::Denied(ground) if policy.bite.percent == 100 => {
            return Some(Answer {
                as_nobody: answer.as_nobody,
                ..Answer::no(By::of(&policy.label, ground.as_ref()))
            });
        }
        Outlook::Denied(ground) => {
            answer.by.push(By::of(&policy.label, ground.as_ref()));
            let share = format!("it is not among the {} % whom {} denies", policy.bite.percent, policy.label);
            answer.conditions.push(share);
        }
        Outlook::Depends { allow, deny } => {
            answer.by.extend(allow.iter().map(|way| By::of(&policy.label, Some(&way.ground))));
            let allowed: Vec<String> = allow.iter().map(conditions).collect();
            if !allowed.iter().any(String::is_empty) {
                answer.conditions.push(allowed.join("  or  "));
            }
            answer.conditions.extend(
                deny.iter().map(|way| format!("not ({}) [rule {}]", conditions(way), way.ground.rule)),
            );
        }
    }
    None
}

fn conditions(way: &Way) -> String {
    match way.when.as_slice() {
        [] => String::new(),
        [only] => only.to_string(),
        all => all.iter().map(|when| format!("({when})")).collect::<Vec<_>>().join(" && "),
    }
}
