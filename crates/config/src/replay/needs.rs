//! What the policies of a set look at, so that a judgement is not trusted where that was not recorded.
//!
//! Found once from the plans. It errs towards "cannot be judged": a condition whose text names headers needs headers.

mod credential;

use std::{collections::HashMap, sync::Arc};

use bartizan_limit::{KeyPart, Limit, OnAbsent};
use bartizan_model::{Mode, Stage};
use http::{HeaderName, Method};

use super::recording::{Cause, Recording};
use crate::snapshot::{
    AuthenticationPlan, AuthorizationPlan, Bite, HostPattern, PathTest, PublishedListener, RouteEntry,
    RoutePlan, Segment, Snapshot,
};

/// What each rule, consumer and listener of a set needs to be judged.
#[derive(Debug)]
pub struct Needs {
    rules: HashMap<Arc<str>, Vec<Need>>,
    consumers: HashMap<Arc<str>, Vec<Need>>,
    listeners: HashMap<Arc<str>, ListenerNeeds>,
    /// Policies that are enforced for a share of callers only.
    partial: Vec<Arc<str>>,
    /// Policies that limit how many calls run at once.
    running: Arc<[Arc<str>]>,
    /// Headers that carry API keys.
    key_headers: Vec<HeaderName>,
}

#[derive(Debug, Default)]
struct ListenerNeeds {
    address: bool,
    has_cors: bool,
    /// Entries whose rule is found by headers or query values.
    conditional: Vec<RouteEntry>,
}

/// Something that a policy looks at.
#[derive(Clone, Debug)]
struct Need {
    stage: Stage,
    what: What,
    policy: Arc<str>,
}

#[derive(Clone, Debug)]
enum What {
    Always(Cause),
    Headers,
    Query,
    Client,
    /// The client, for callers without a consumer.
    ClientOfNobody,
    /// The credential, by this policy.
    Credential(Arc<AuthenticationPlan>),
}

impl Needs {
    /// What the set needs.
    pub fn of(snapshot: &Snapshot) -> Self {
        let mut needs = Needs {
            rules: HashMap::new(),
            consumers: HashMap::new(),
            listeners: HashMap::new(),
            partial: Vec::new(),
            running: Arc::default(),
            key_headers: Vec::new(),
        };
        for plan in &snapshot.routes {
            let found = needs.of_rule(plan);
            needs.rules.insert(plan.label.clone(), found);
        }
        for (name, consumer) in &snapshot.consumers {
            let mut found = Vec::new();
            if consumer.addresses.is_some() {
                let policy = format!("Consumer/{name}").into();
                found.push(Need { stage: Stage::Authorize, what: What::Client, policy });
            }
            for plan in &consumer.authorization {
                needs.note_bite(plan.bite, &plan.label);
                of_conditions(plan, &mut found);
            }
            for policy in consumer.inspection.iter().filter(|policy| policy.request.is_some()) {
                needs.note_bite(policy.bite, &policy.label);
                for what in [What::Headers, What::Query] {
                    found.push(Need { stage: Stage::Inspect, what, policy: policy.label.clone() });
                }
            }
            for policy in &consumer.limits {
                needs.note_share(policy.mode, policy.enforce_percent, &policy.label);
                of_limit(policy, &mut found);
            }
            for policy in &consumer.quotas {
                needs.note_share(policy.mode, policy.enforce_percent, &policy.label);
            }
            needs.consumers.insert(name.clone(), found);
        }
        for listener in &snapshot.listeners {
            needs.listeners.insert(listener.plan.name.clone(), ListenerNeeds::of(listener));
        }
        let of_rules = snapshot.routes.iter().flat_map(|plan| &plan.limits);
        let limits = of_rules.chain(snapshot.consumers.values().flat_map(|consumer| &consumer.limits));
        let mut running: Vec<Arc<str>> = limits
            .filter(|policy| policy.limits.iter().any(|limit| matches!(limit, Limit::Concurrency { .. })))
            .map(|policy| policy.label.clone())
            .collect();
        running.sort();
        running.dedup();
        needs.running = running.into();
        needs.partial.sort();
        needs.partial.dedup();
        needs
    }

    /// The policies that limit how many calls run at once.
    pub(super) const fn running(&self) -> &Arc<[Arc<str>]> {
        &self.running
    }

    /// The headers in which a rule of the set takes API keys.
    pub(super) fn key_headers(&self) -> &[HeaderName] {
        &self.key_headers
    }

    /// Whether the policy is enforced for a share of callers only.
    pub(super) fn is_partial(&self, policy: &str) -> bool {
        self.partial.iter().any(|known| **known == *policy)
    }

    /// What `admit` and `route` need on this listener, and was not recorded.
    pub(super) fn missing_at(&self, listener: &str, asked: &Recording, host: &str) -> Option<(Stage, Cause)> {
        let needs = self.listeners.get(listener)?;
        if needs.address && asked.lacks.client {
            return Some((Stage::Admit, Cause::ClientAddress));
        }
        if needs.has_cors && asked.lacks.headers && asked.method == Method::OPTIONS {
            return Some((Stage::Route, Cause::Headers));
        }
        if needs.conditional.is_empty() || !(asked.lacks.headers || asked.lacks.query) {
            return None;
        }
        let path = asked.target.split('?').next().unwrap_or_default();
        let path = crate::snapshot::table::decoded(path);
        let hit = needs.conditional.iter().find(|entry| {
            let is_missing = (asked.lacks.headers && !entry.headers.is_empty())
                || (asked.lacks.query && !entry.query.is_empty());
            is_missing
                && entry.methods.contains(&asked.method)
                && entry.host.as_ref().is_none_or(|pattern: &HostPattern| pattern.matches(host))
                && leads_to(&entry.path, &path)
        })?;
        let by_headers = asked.lacks.headers && !hit.headers.is_empty();
        Some((Stage::Route, if by_headers { Cause::Headers } else { Cause::Query }))
    }

    /// What `route` needs on any rule of a route whose rule is not told, and was not recorded.
    pub(super) fn missing_on_route(
        &self,
        route: &str,
        asked: &Recording,
    ) -> Option<(Stage, Cause, Arc<str>)> {
        let is_of = |label: &str| {
            label.strip_prefix(route).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let rules = self.rules.iter().filter(|(label, _)| is_of(label)).flat_map(|(_, needs)| needs);
        rules
            .filter(|need| need.stage == Stage::Route)
            .find_map(|need| Some((need.stage, need.what.missing(asked)?, need.policy.clone())))
    }

    /// What stages up to `last` need on this rule, and was not recorded.
    pub(super) fn missing(
        &self,
        rule: &str,
        consumer: Option<&str>,
        last: Stage,
        asked: &Recording,
    ) -> Option<(Stage, Cause, Arc<str>)> {
        let of_rule = self.rules.get(rule).into_iter().flatten();
        let of_consumer = consumer.and_then(|name| self.consumers.get(name)).into_iter().flatten();
        of_rule
            .chain(of_consumer)
            .filter(|need| need.stage <= last)
            .filter_map(|need| Some((need.stage, need.what.missing(asked)?, need.policy.clone())))
            .min_by_key(|(stage, ..)| *stage)
    }

    fn of_rule(&mut self, plan: &RoutePlan) -> Vec<Need> {
        let mut found = Vec::new();
        for policy in &plan.headers {
            self.note_bite(policy.bite, &policy.label);
            if !policy.checks.is_empty() || !policy.forbidden.is_empty() {
                found.push(Need { stage: Stage::Route, what: What::Headers, policy: policy.label.clone() });
            }
        }
        for policy in plan.authentication.enforced.iter().chain(&plan.authentication.shadow) {
            self.note_bite(policy.bite, &policy.label);
            for header in policy.api_key_headers() {
                if !self.key_headers.contains(header) {
                    self.key_headers.push(header.clone());
                }
            }
        }
        // What those in shadow say of a caller who is not known is left out later: it decides nothing.
        if let Some(policy) = &plan.authentication.enforced {
            let what = What::Credential(policy.clone());
            found.push(Need { stage: Stage::Identify, what, policy: policy.label.clone() });
        }
        for policy in &plan.authorization {
            self.note_bite(policy.bite, &policy.label);
            of_conditions(policy, &mut found);
        }
        for policy in &plan.limits {
            self.note_share(policy.mode, policy.enforce_percent, &policy.label);
            of_limit(policy, &mut found);
        }
        for policy in &plan.quotas {
            self.note_share(policy.mode, policy.enforce_percent, &policy.label);
        }
        for policy in plan.inspection.iter().filter(|policy| policy.request.is_some()) {
            self.note_bite(policy.bite, &policy.label);
            for what in [What::Headers, What::Query] {
                found.push(Need { stage: Stage::Inspect, what, policy: policy.label.clone() });
            }
        }
        for policy in &plan.schemas {
            self.note_bite(policy.bite, &policy.label);
        }
        if plan.action.asks_a_model() {
            let what = What::Always(Cause::Model);
            found.push(Need { stage: Stage::Inspect, what, policy: plan.label.clone() });
        }
        found
    }

    fn note_bite(&mut self, bite: Bite, label: &Arc<str>) {
        self.note_share(bite.mode, bite.percent, label);
    }

    fn note_share(&mut self, mode: Mode, percent: u8, label: &Arc<str>) {
        if mode == Mode::Enforce && percent > 0 && percent < 100 {
            self.partial.push(label.clone());
        }
    }
}

impl ListenerNeeds {
    fn of(listener: &PublishedListener) -> Self {
        let plan = &listener.plan;
        let admission = &plan.admission;
        let entries = listener.routes.entries();
        ListenerNeeds {
            address: admission.allow.is_some()
                || !admission.deny.is_empty()
                || admission.rate_per_address.is_some(),
            has_cors: entries.iter().any(|entry| entry.plan.cors.enforced.is_some()),
            conditional: entries
                .into_iter()
                .filter(|entry| !entry.headers.is_empty() || !entry.query.is_empty())
                .cloned()
                .collect(),
        }
    }
}

impl What {
    fn missing(&self, asked: &Recording) -> Option<Cause> {
        match self {
            What::Always(cause) => Some(*cause),
            What::Headers => asked.lacks.headers.then_some(Cause::Headers),
            What::Query => asked.lacks.query.then_some(Cause::Query),
            What::Client => asked.lacks.client.then_some(Cause::ClientAddress),
            What::ClientOfNobody => {
                (asked.lacks.client && asked.caller.consumer().is_none()).then_some(Cause::ClientAddress)
            }
            What::Credential(policy) => {
                let taken = asked.taken.as_ref();
                let is_known = match taken.and_then(|taken| Some((taken.presented.as_ref()?, taken))) {
                    Some((presented, taken)) => {
                        let shown = (presented, taken.certificate.is_some());
                        credential::is_known(policy, shown, &asked.caller)
                    }
                    None => credential::is_known_by_log(policy, &asked.caller),
                };
                (!is_known).then_some(Cause::Credential)
            }
        }
    }
}

fn of_conditions(plan: &AuthorizationPlan, found: &mut Vec<Need>) {
    for condition in plan.policy.rules().filter_map(|rule| rule.when.as_ref()) {
        let text = condition.text();
        // A word in a quoted text is taken for the name too: rather one too few judged than one wrongly.
        for (word, what) in [("headers", What::Headers), ("query", What::Query), ("client", What::Client)] {
            if text.contains(word) {
                found.push(Need { stage: Stage::Authorize, what, policy: plan.label.clone() });
            }
        }
    }
}

fn of_limit(policy: &bartizan_limit::Policy, found: &mut Vec<Need>) {
    let mut need = |what| found.push(Need { stage: Stage::Limit, what, policy: policy.label.clone() });
    for part in &policy.key {
        match part {
            KeyPart::ClientAddress => need(What::Client),
            KeyPart::Header(_) => need(What::Headers),
            KeyPart::Consumer | KeyPart::Team if policy.on_absent == OnAbsent::ClientAddress => {
                need(What::ClientOfNobody);
            }
            KeyPart::Consumer | KeyPart::Gateway | KeyPart::Route | KeyPart::Team => {}
        }
    }
}

/// Whether a decoded path is one that the test lets pass.
fn leads_to(test: &PathTest, path: &str) -> bool {
    match test {
        PathTest::Exact(exact) => **exact == *path,
        PathTest::Prefix(prefix) => {
            path.strip_prefix(&**prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        }
        PathTest::Template(parts) => {
            let mut segments = path.split('/').skip(1);
            let fits = parts.iter().all(|part| match (part, segments.next()) {
                (Segment::Literal(text), Some(segment)) => **text == *segment,
                (Segment::Variable(_), Some(segment)) => !segment.is_empty(),
                (_, None) => false,
            });
            fits && segments.next().is_none()
        }
        PathTest::Matches(regex) => regex.is_match(path),
    }
}
