//! Recommendations: what the traffic of some time says about the documents, as patches with their evidence.
//!
//! R1 limit, R2 authentication, R3 unused key, R4 narrower role, R5 rotate key. Each says what it rests on and what it would
//! have refused; where too little is known it says that instead. Nothing is applied by itself.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{
    alert::{Feature, features},
    engine::Engine,
    patch,
    route::{OTHER, Use},
    settings::DAY_MS,
};

/// Days of traffic before a limit is proposed: a week has all its days.
const LIMIT_DAYS: u64 = 7;

/// Callers before a limit is proposed.
const LIMIT_CALLERS: u64 = 100;

/// Calls of a role's holders before "never used" means something.
const ROLE_CALLS: u64 = 1_000;

/// A key nobody used for so long is not needed.
const UNUSED_DAYS: u64 = 30;

/// The age at which a key is old where no policy says otherwise.
const KEY_DAYS: u64 = 365;

/// What the documents and the store say, as far as recommendations need it.
#[derive(Clone, Debug, Default)]
pub struct Posture {
    /// The keys that work.
    pub keys: Vec<Key>,
    /// The roles with what they permit.
    pub roles: Vec<Role>,
    /// Routes on which a credential is asked for.
    pub authenticated: BTreeSet<String>,
    /// Routes on which calls of a caller are limited.
    pub limited: BTreeSet<String>,
}

/// A key.
#[derive(Clone, Debug)]
pub struct Key {
    /// Its public id.
    pub id: String,
    /// Whose.
    pub consumer: String,
    /// When it was made, in milliseconds since 1970.
    pub created_ms: u64,
    /// When it was used last, if ever.
    pub used_ms: Option<u64>,
    /// When it ends, if ever.
    pub expires_ms: Option<u64>,
    /// The age at which it should have been replaced, by policy.
    pub age_max_ms: Option<u64>,
}

/// A role.
#[derive(Clone, Debug)]
pub struct Role {
    /// Its name.
    pub name: String,
    /// Who has it. A role that tokens or certificates may give has holders that nobody knows, and is left alone.
    pub consumers: Vec<String>,
    /// Routes and methods (none means all) that it permits without a condition.
    pub grants: Vec<(String, Vec<String>)>,
}

/// Something to change.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Recommendation {
    /// Stable: the rule and its target.
    pub id: String,
    /// `R1` … `R5`.
    pub rule: String,
    /// What to do, in one sentence.
    pub sentence: String,
    /// Whether there is enough to go by; where not, the sentence says what is missing.
    pub is_ready: bool,
    /// Route, key or role.
    pub target: String,
    /// The numbers it rests on.
    pub evidence: Vec<Feature>,
    /// The time they come from, in milliseconds since 1970.
    pub since_ms: u64,
    /// To.
    pub until_ms: u64,
    /// A document to plan and apply.
    pub document: Option<String>,
    /// A command, where it is not about documents.
    pub command: Option<String>,
    /// What it would have done to the calls that were seen.
    pub counterfactual: String,
    /// What can go wrong.
    pub risk: String,
    /// How to take it back.
    pub undo: String,
}

impl Engine {
    /// What should be changed, given what there is.
    pub fn recommend(&self, posture: &Posture) -> Vec<Recommendation> {
        let mut all = self.limits(posture);
        all.extend(self.authentications(posture));
        all.extend(posture.keys.iter().filter_map(|key| self.unused(key)));
        all.extend(posture.roles.iter().filter_map(|role| self.narrower(role)));
        all.extend(posture.keys.iter().filter_map(|key| self.rotation(key)));
        all
    }

    fn blank(&self, rule: &str, target: &str) -> Recommendation {
        Recommendation {
            id: format!("{rule}-{}", patch::name_of(target)),
            rule: rule.to_owned(),
            sentence: String::new(),
            is_ready: true,
            target: target.to_owned(),
            evidence: Vec::new(),
            since_ms: self.first_ms,
            until_ms: self.now_ms,
            document: None,
            command: None,
            counterfactual: String::new(),
            risk: String::new(),
            undo: String::new(),
        }
    }

    /// R1: a limit where there is none, or a wider one where good calls are refused.
    fn limits(&self, posture: &Posture) -> Vec<Recommendation> {
        let mut all = Vec::new();
        for (route, facts) in &self.routes {
            let has_limit = posture.limited.contains(&**route);
            let is_tight = has_limit && facts.limited * 1_000 >= facts.calls.max(1);
            if facts.good == 0 || (has_limit && !is_tight) {
                continue;
            }
            let (p999, p99, most) = (facts.rates.at(0.999), facts.rates.at(0.99), facts.rates.max());
            let limit = (1.5 * p999).max(2.0 * p99).max(10.0).ceil();
            let days = (facts.last_ms - facts.first_ms) as f64 / DAY_MS as f64;
            let mut one = self.blank("R1", route);
            one.since_ms = facts.first_ms;
            one.evidence = features(&[
                ("calls of a caller in a minute, 99.9 %", limit, p999, 2.0),
                ("calls of a caller in a minute, 99 %", limit, p99, 1.0),
                ("days observed", LIMIT_DAYS as f64, days, 0.5),
                ("callers", LIMIT_CALLERS as f64, facts.callers as f64, 0.5),
                ("calls refused by limits", 0.0, facts.limited as f64, if is_tight { 3.0 } else { 0.0 }),
            ]);
            one.is_ready =
                facts.last_ms - facts.first_ms >= LIMIT_DAYS * DAY_MS && facts.callers >= LIMIT_CALLERS;
            one.sentence = if !one.is_ready {
                format!(
                    "not enough is known to propose a limit for route {route}: {days:.1} of {LIMIT_DAYS} days, {} of \
                     {LIMIT_CALLERS} callers",
                    facts.callers
                )
            } else if is_tight {
                format!(
                    "widen the limit of route {route} to {limit:.0} calls a minute in its own document: {} of {} calls were \
                     refused by it",
                    facts.limited, facts.calls
                )
            } else {
                format!(
                    "limit each caller of route {route} to {limit:.0} calls a minute; nobody well-behaved needs more"
                )
            };
            let over = if most > limit { "some" } else { "none" };
            one.counterfactual = format!(
                "of {} caller-minutes {over} were above {limit:.0} calls (the most was {most:.0}); `bartizan replay` tells \
                 which calls",
                facts.rates.total()
            );
            // Policies add up: another one beside a limit that is too tight would loosen nothing.
            one.document = (one.is_ready && !is_tight)
                .then(|| patch::rate_limit(&format!("insight-{route}"), Some(route), limit as u64, "1m"));
            "a caller who grows is refused; it begins in shadow".clone_into(&mut one.risk);
            "delete the document, or `bartizan rollback`".clone_into(&mut one.undo);
            all.push(one);
        }
        all
    }

    /// R2: a credential where calls are served without one, on some routes or for some callers.
    fn authentications(&self, posture: &Posture) -> Vec<Recommendation> {
        let mut all = Vec::new();
        for (route, facts) in &self.routes {
            let siblings = posture.authenticated.iter().any(|other| **other != **route);
            let is_mixed = facts.identified > 0;
            if facts.anonymous == 0 || posture.authenticated.contains(&**route) || !(siblings || is_mixed) {
                continue;
            }
            let mut one = self.blank("R2", route);
            one.sentence = format!(
                "ask for a credential on route {route}: {} calls were served to callers whom nobody identified, and {}",
                facts.anonymous,
                if siblings { "other routes ask for one" } else { "others were identified there" }
            );
            one.evidence = features(&[
                ("calls served without identity", 0.0, facts.anonymous as f64, 2.0),
                ("calls served with identity", facts.good as f64, facts.identified as f64, 1.0),
            ]);
            one.counterfactual =
                format!("would have refused {} of {} good calls", facts.anonymous, facts.good);
            one.document = Some(patch::authentication(&format!("insight-{route}"), route));
            "who has no key yet is refused; it begins in shadow, and `would_deny` in the log names them"
                .clone_into(&mut one.risk);
            "delete the document, or `bartizan rollback`".clone_into(&mut one.undo);
            all.push(one);
        }
        all
    }

    /// R3: a key that nobody uses.
    fn unused(&self, key: &Key) -> Option<Recommendation> {
        let since = key.used_ms.unwrap_or(key.created_ms);
        let days = self.now_ms.saturating_sub(since) / DAY_MS;
        if days < UNUSED_DAYS {
            return None;
        }
        let mut one = self.blank("R3", &key.id);
        (one.since_ms, one.until_ms) = (since, self.now_ms);
        let used = if key.used_ms.is_some() { "was not used for" } else { "was never used in" };
        one.sentence = format!("revoke key {} of {}: it {used} {days} days", key.id, key.consumer);
        one.evidence = features(&[("days without use", UNUSED_DAYS as f64, days as f64, 1.0)]);
        one.command = Some(format!("bartizan keys revoke {}", key.id));
        "would have refused none of the calls of that time".clone_into(&mut one.counterfactual);
        "a job that runs once a quarter may need it".clone_into(&mut one.risk);
        one.undo = format!("none: `bartizan keys create` makes {} another one", key.consumer);
        Some(one)
    }

    /// R4: a role that permits what its holders do not use.
    fn narrower(&self, role: &Role) -> Option<Recommendation> {
        let holders: BTreeSet<&str> = role.consumers.iter().map(String::as_str).collect();
        let mut used: BTreeMap<&str, u8> = BTreeMap::new();
        let mut calls = 0;
        for one in self.uses.values() {
            if one.consumer.as_deref().is_some_and(|consumer| holders.contains(consumer)) {
                *used.entry(&one.route).or_default() |= one.methods;
                calls += one.calls;
            }
        }
        let permitted =
            |route: &str| role.grants.iter().any(|(granted, _)| granted == "*" || granted == route);
        let narrow: Vec<(&str, Vec<&str>)> = used
            .iter()
            .filter(|(route, _)| permitted(route))
            // A method that the language does not know by name cannot be listed: then all are permitted.
            .map(|(route, methods)| {
                let words = Use::words(*methods);
                (*route, if words.contains(&OTHER) { Vec::new() } else { words })
            })
            .collect();
        let is_wide = |(route, methods): &(String, Vec<String>)| {
            let bits = used.get(route.as_str()).copied().unwrap_or_default();
            route == "*" || bits == 0 || methods.is_empty() || methods.len() as u32 > bits.count_ones()
        };
        let wide = role.grants.iter().filter(|grant| is_wide(grant)).count();
        if wide == 0 || holders.is_empty() || self.now_ms - self.first_ms < LIMIT_DAYS * DAY_MS {
            return None;
        }
        let mut one = self.blank("R4", &role.name);
        // Wilson's bound for something that was never seen in so many calls.
        let bound = 3.84 / (calls as f64 + 3.84);
        one.is_ready = calls >= ROLE_CALLS && !narrow.is_empty();
        one.sentence = if one.is_ready {
            format!(
                "narrow role {} to the {} routes that its {} holders use; {wide} of {} grants are wider than that",
                role.name,
                narrow.len(),
                holders.len(),
                role.grants.len()
            )
        } else {
            format!("role {} may be too wide, but its holders made only {calls} calls", role.name)
        };
        one.evidence = features(&[
            ("grants wider than what is used", 0.0, wide as f64, 2.0),
            ("calls of its holders", ROLE_CALLS as f64, calls as f64, 1.0),
            ("share of calls that may need more, at most", 0.0, bound, 0.1),
        ]);
        one.document = one.is_ready.then(|| patch::role(&role.name, &narrow));
        one.counterfactual = format!(
            "would have refused none of {calls} calls, and at most {:.2} % of later ones",
            100.0 * bound
        );
        "a rare duty, as at the end of a year, is refused".clone_into(&mut one.risk);
        "`bartizan rollback`".clone_into(&mut one.undo);
        Some(one)
    }

    /// R5: a key that is too old.
    fn rotation(&self, key: &Key) -> Option<Recommendation> {
        let age = self.now_ms.saturating_sub(key.created_ms);
        let most = key.age_max_ms.unwrap_or(KEY_DAYS * DAY_MS);
        if age < most {
            return None;
        }
        let mut one = self.blank("R5", &key.id);
        (one.since_ms, one.until_ms) = (key.created_ms, self.now_ms);
        let endless = if key.expires_ms.is_none() { " and never ends" } else { "" };
        one.sentence = format!(
            "rotate key {} of {}: it is {} days old{endless}; {} is the most {}",
            key.id,
            key.consumer,
            age / DAY_MS,
            most / DAY_MS,
            if key.age_max_ms.is_some() { "that its policy wants" } else { "that is usual" }
        );
        one.evidence = features(&[("age in days", (most / DAY_MS) as f64, (age / DAY_MS) as f64, 1.0)]);
        one.command = Some(format!("bartizan keys rotate {}", key.id));
        "refuses nothing while both keys work".clone_into(&mut one.counterfactual);
        "who is not told in time is refused when the overlap ends".clone_into(&mut one.risk);
        "the old key works until the overlap ends".clone_into(&mut one.undo);
        Some(one)
    }
}
