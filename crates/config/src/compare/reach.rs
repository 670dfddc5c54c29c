//! What is published, by what it is guarded, and how two such surfaces differ.
//!
//! An entry of the table of routes is known by listener, host, path and conditions. For a new one the old table is asked
//! who answered there before, with the least request that fits it: a narrower rule beside a wide one opens nothing, but
//! it may be guarded by less.

use std::collections::{BTreeMap, BTreeSet};

use bartizan_model::Mode;
use http::{HeaderMap, Method};

use super::{Direction, Finding, Reach, Weight};
use crate::snapshot::{
    Bite, HostPattern, Lookup, MethodSet, PathTest, PublishedListener, RouteAction, RouteAsk, RouteEntry,
    RoutePlan, Snapshot, ValueTest,
};

/// What a set publishes.
pub(super) struct Surface<'s> {
    pub(super) snapshot: &'s Snapshot,
    entries: BTreeMap<Key, Vec<(&'s PublishedListener, &'s RouteEntry)>>,
}

/// Listener, host, path and conditions.
type Key = (String, String, String, Vec<String>);

/// How two surfaces differ.
#[derive(Default)]
pub(super) struct Reached {
    pub(super) opened: Vec<Reach>,
    pub(super) closed: Vec<Reach>,
    pub(super) findings: Vec<Finding>,
}

impl<'s> Surface<'s> {
    pub(super) fn of(snapshot: &'s Snapshot) -> Self {
        let mut entries: BTreeMap<Key, Vec<_>> = BTreeMap::new();
        for listener in &snapshot.listeners {
            for entry in listener.routes.entries() {
                entries.entry(key(listener, entry)).or_default().push((listener, entry));
            }
        }
        Surface { snapshot, entries }
    }

    /// Every listener with the routes that it publishes, each pair once or more.
    pub(super) fn listened(&self) -> impl Iterator<Item = (&'s str, &'s str)> {
        self.entries.values().flatten().map(|(listener, entry)| (&*listener.plan.name, &*entry.plan.route))
    }

    /// The rule that answers the least request of an entry, and the listener.
    fn answering(
        &self,
        listener: &str,
        entry: &RouteEntry,
        method: &Method,
    ) -> Option<(&'s PublishedListener, &'s RoutePlan)> {
        let listener = self.snapshot.listeners.iter().find(|one| *one.plan.name == *listener)?;
        let host = match &entry.host {
            None => "any.invalid".to_owned(),
            Some(HostPattern::Exact(name)) => name.to_string(),
            Some(HostPattern::Suffix(suffix)) => format!("any.{suffix}"),
        };
        let path = match &entry.path {
            PathTest::Exact(path) => path.to_string(),
            PathTest::Prefix(path) if path.is_empty() => "/".to_owned(),
            PathTest::Prefix(path) => path.to_string(),
            PathTest::Template(segments) => {
                segments.iter().map(|segment| format!("/{}", segment.literal().unwrap_or("any"))).collect()
            }
            // No one path stands for an expression.
            PathTest::Matches(_) => return None,
        };
        let headers = HeaderMap::new();
        let ask = RouteAsk { host: &host, path: &path, method, headers: &headers, query: None };
        match listener.routes.find(&ask) {
            Lookup::Found(found) => Some((listener, found.plan)),
            Lookup::OtherMethods(_) | Lookup::Nothing => None,
        }
    }
}

/// Compares what two sets publish. Without a first one everything is opened and nothing is weaker.
pub(super) fn compare(before: Option<&Surface<'_>>, after: &Surface<'_>) -> Reached {
    let mut reached = Reached::default();
    let mut weighed = Weighed::default();
    for (key, entries) in &after.entries {
        let old = before.and_then(|before| before.entries.get(key));
        for (listener, entry) in entries {
            let opened = beyond(entry, old);
            if !opened.is_empty() {
                let was = before.and_then(|before| first(before, listener, entry, &opened));
                let other = was.map(|(_, plan)| plan.label.to_string());
                reached.opened.push(reach(after.snapshot, listener, entry, &opened, other));
                if let (Some(before), Some((old_listener, old_plan))) = (before, was) {
                    weighed.weigh(
                        (before.snapshot, old_listener, old_plan),
                        (after.snapshot, listener, &entry.plan),
                    );
                }
            }
            let kept = old
                .into_iter()
                .flatten()
                .find(|(_, one)| one.methods.iter().any(|method| entry.methods.contains(&method)));
            if let (Some(before), Some((old_listener, old))) = (before, kept) {
                weighed.weigh(
                    (before.snapshot, old_listener, &old.plan),
                    (after.snapshot, listener, &entry.plan),
                );
            }
        }
    }
    if let Some(before) = before {
        for (key, entries) in &before.entries {
            let new = after.entries.get(key);
            for (listener, entry) in entries {
                let closed = beyond(entry, new);
                if !closed.is_empty() {
                    let still =
                        first(after, listener, entry, &closed).map(|(_, plan)| plan.label.to_string());
                    reached.closed.push(reach(before.snapshot, listener, entry, &closed, still));
                }
            }
        }
    }
    reached.opened.sort();
    reached.closed.sort();
    reached.findings = weighed.finish();
    reached
}

/// The methods of an entry that no entry of the other set under the same key has.
fn beyond(entry: &RouteEntry, others: Option<&Vec<(&PublishedListener, &RouteEntry)>>) -> Vec<Method> {
    let known =
        |method: &Method| others.into_iter().flatten().any(|(_, other)| other.methods.contains(method));
    entry.methods.iter().filter(|method| !known(method)).collect()
}

/// Who answers an entry in another set, by the first of these methods that anybody answers.
fn first<'s>(
    surface: &Surface<'s>,
    listener: &PublishedListener,
    entry: &RouteEntry,
    methods: &[Method],
) -> Option<(&'s PublishedListener, &'s RoutePlan)> {
    methods.iter().find_map(|method| surface.answering(&listener.plan.name, entry, method))
}

fn key(listener: &PublishedListener, entry: &RouteEntry) -> Key {
    let path = format!("{} {}", entry.path.word(), entry.path);
    (listener.plan.name.to_string(), host(entry), path, conditions(entry))
}

fn host(entry: &RouteEntry) -> String {
    match &entry.host {
        None => "any".to_owned(),
        Some(HostPattern::Exact(name)) => name.to_string(),
        Some(HostPattern::Suffix(suffix)) => format!("*.{suffix}"),
    }
}

fn conditions(entry: &RouteEntry) -> Vec<String> {
    let test = |test: &ValueTest| match test {
        ValueTest::Exact(value) => format!(" = {value}"),
        ValueTest::Matches(regex) => format!(" ~ {}", regex.as_str()),
        ValueTest::Present => String::new(),
    };
    let headers = entry.headers.iter().map(|(name, value)| format!("header {name}{}", test(value)));
    let query = entry.query.iter().map(|(name, value)| format!("query {name}{}", test(value)));
    let mut all: Vec<String> = headers.chain(query).collect();
    all.sort();
    all
}

fn reach(
    snapshot: &Snapshot,
    listener: &PublishedListener,
    entry: &RouteEntry,
    methods: &[Method],
    other: Option<String>,
) -> Reach {
    let all = methods.len() == MethodSet::ANY.iter().count();
    Reach {
        listener: listener.plan.name.to_string(),
        host: host(entry),
        path: entry.path.to_string(),
        path_type: entry.path.word().to_owned(),
        methods: if all { Vec::new() } else { methods.iter().map(ToString::to_string).collect() },
        conditions: conditions(entry),
        route: entry.plan.label.to_string(),
        guards: Guards::of(snapshot, listener, &entry.plan).words(),
        other,
    }
}

/// How callers are admitted to a rule, the strongest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Proof {
    /// Every caller must prove who it is.
    Needed,
    /// Callers without a credential pass.
    Optional,
    /// Nobody is asked.
    None,
}

/// What stands between a caller and the upstream.
struct Guards<'s> {
    proof: Proof,
    authentication: Option<&'s str>,
    /// Everything else by kind: authorization, limits, headers, quotas, inspection, schemas.
    policies: [BTreeSet<&'s str>; 6],
    /// Whether one of each of these kinds bites.
    bites: [bool; 6],
    body_max: u64,
    upstreams: BTreeSet<&'s str>,
}

impl<'s> Guards<'s> {
    fn of(snapshot: &'s Snapshot, listener: &'s PublishedListener, plan: &'s RoutePlan) -> Self {
        let bites = |bite: Bite| bite.mode == Mode::Enforce && bite.percent > 0;
        let enforced = plan.authentication.enforced.as_ref().filter(|policy| bites(policy.bite));
        let proof = match enforced {
            None => Proof::None,
            Some(policy) if policy.anonymous => Proof::Optional,
            Some(_) => Proof::Needed,
        };
        let upstreams = match &plan.action {
            RouteAction::Forward(backends) => backends.shares.as_slice(),
            RouteAction::Models | RouteAction::Prompt(_) | RouteAction::Redirect(_) => &[],
        };
        Guards {
            proof,
            authentication: enforced.map(|policy| &*policy.label),
            policies: [
                plan.authorization.iter().map(|policy| &*policy.label).collect(),
                plan.limits.iter().map(|policy| &*policy.label).collect(),
                plan.headers.iter().map(|policy| &*policy.label).collect(),
                plan.quotas.iter().map(|policy| &*policy.label).collect(),
                plan.inspection.iter().map(|policy| &*policy.label).collect(),
                plan.schemas.iter().map(|policy| &*policy.label).collect(),
            ],
            bites: [
                plan.authorization.iter().any(|policy| bites(policy.bite)),
                plan.limits.iter().any(|limit| limit.mode == Mode::Enforce && limit.enforce_percent > 0),
                plan.headers.iter().any(|policy| bites(policy.bite)),
                plan.quotas.iter().any(|quota| quota.mode == Mode::Enforce && quota.enforce_percent > 0),
                plan.inspection.iter().any(|policy| bites(policy.bite)),
                plan.schemas.iter().any(|policy| bites(policy.bite)),
            ],
            body_max: plan.body_bytes_max.unwrap_or(listener.plan.admission.body_bytes_max),
            upstreams: upstreams
                .iter()
                .filter_map(|(_, upstream)| snapshot.upstreams.get(*upstream))
                .map(|upstream| &*upstream.name)
                .collect(),
        }
    }

    fn words(&self) -> Vec<String> {
        let mut words = vec![match (self.proof, self.authentication) {
            (Proof::Needed, Some(label)) => label.to_owned(),
            (Proof::Optional, Some(label)) => format!("{label} (callers without a credential pass)"),
            _ => "no authentication".to_owned(),
        }];
        for (policies, none) in self.policies.iter().zip(["no authorization", "no limit", "", "", "", ""]) {
            if policies.is_empty() && !none.is_empty() {
                words.push(none.to_owned());
            }
            words.extend(policies.iter().map(|label| (*label).to_owned()));
        }
        words
    }
}

/// Findings about rules, gathered: one cause and one effect are one finding, however many routes it concerns.
#[derive(Default)]
struct Weighed(BTreeMap<Cause, BTreeSet<String>>);

/// Direction, weight, code, document and message.
type Cause = (Direction, Weight, &'static str, String, String);

/// Direction, weight, code and message.
type Effect = (Direction, Weight, &'static str, String);

/// A rule where it is published.
type Published<'s> = (&'s Snapshot, &'s PublishedListener, &'s RoutePlan);

impl Weighed {
    fn add(
        &mut self,
        way: (Direction, Weight),
        code: &'static str,
        document: &str,
        message: String,
        route: &str,
    ) {
        let key = (way.0, way.1, code, document.to_owned(), message);
        self.0.entry(key).or_default().insert(route.to_owned());
    }

    fn weigh(&mut self, before: Published<'_>, after: Published<'_>) {
        let (old, new) = (Guards::of(before.0, before.1, before.2), Guards::of(after.0, after.1, after.2));
        let route = &*after.2.route;
        let own = format!("Route/{route}");
        self.proof(&old, &new, &own, route);
        const LAST: [(&str, Weight, &str, &str); 6] = [
            (
                "authorization",
                Weight::Grave,
                "everybody who is identified may call",
                "callers need permission",
            ),
            ("limit", Weight::Notable, "callers are no longer limited", "callers are limited"),
            ("headers", Weight::Slight, "headers are no longer judged", "headers are judged"),
            ("quota", Weight::Notable, "use is no longer counted", "use is counted"),
            ("inspection", Weight::Grave, "nothing looks for attacks any more", "attacks are looked for"),
            (
                "schema",
                Weight::Grave,
                "bodies are no longer judged by a schema",
                "bodies are judged by a schema",
            ),
        ];
        for (index, (code, weight, none, some)) in LAST.into_iter().enumerate() {
            let (Some(was), Some(is)) = (old.policies.get(index), new.policies.get(index)) else { continue };
            for label in was.difference(is) {
                self.add(
                    (Direction::Weaker, weight),
                    code,
                    label,
                    format!("{label} no longer applies"),
                    route,
                );
            }
            for label in is.difference(was) {
                self.add((Direction::Stronger, weight), code, label, format!("{label} applies"), route);
            }
            match (old.bites.get(index), new.bites.get(index)) {
                (Some(true), Some(false)) => {
                    self.add((Direction::Weaker, weight), code, &own, none.to_owned(), route)
                }
                (Some(false), Some(true)) => {
                    self.add((Direction::Stronger, weight), code, &own, some.to_owned(), route)
                }
                _ => {}
            }
        }
        if new.body_max != old.body_max {
            let larger = new.body_max > old.body_max;
            let direction = if larger { Direction::Weaker } else { Direction::Stronger };
            let message = format!(
                "{} bodies are admitted ({} → {} bytes)",
                if larger { "larger" } else { "only smaller" },
                old.body_max,
                new.body_max
            );
            self.add((direction, Weight::Slight), "body-size", &own, message, route);
        }
        if old.upstreams != new.upstreams && before.2.route != after.2.route {
            let message = "requests that another route answered go to other upstreams".to_owned();
            self.add((Direction::Different, Weight::Notable), "route-upstreams", &own, message, route);
        }
    }

    fn proof(&mut self, old: &Guards<'_>, new: &Guards<'_>, own: &str, route: &str) {
        let document = new.authentication.or(old.authentication).unwrap_or(own);
        let message = match (old.proof, new.proof) {
            (was, is) if was == is => match (old.authentication, new.authentication) {
                (Some(was), Some(is)) if was != is => {
                    format!("callers prove who they are by {is} instead of {was}")
                }
                _ => return,
            },
            (_, Proof::None) => "no credential is asked for any more: anyone may call".to_owned(),
            (_, Proof::Optional) if old.proof == Proof::Needed => {
                "callers without a credential are admitted".to_owned()
            }
            (_, Proof::Optional) => "credentials are verified where there are any".to_owned(),
            (_, Proof::Needed) => "every caller must prove who it is".to_owned(),
        };
        let direction = match new.proof.cmp(&old.proof) {
            std::cmp::Ordering::Greater => Direction::Weaker,
            std::cmp::Ordering::Less => Direction::Stronger,
            std::cmp::Ordering::Equal => Direction::Different,
        };
        self.add((direction, Weight::Grave), "authentication", document, message, route);
    }

    /// One finding per cause. Where the cause is the route itself, routes with the same effect are one finding.
    fn finish(self) -> Vec<Finding> {
        let mut merged: BTreeMap<Effect, (String, BTreeSet<String>)> = BTreeMap::new();
        let mut findings = Vec::new();
        for ((direction, weight, code, document, message), routes) in self.0 {
            if document.starts_with("Route/") {
                let entry = merged
                    .entry((direction, weight, code, message))
                    .or_insert_with(|| (document, BTreeSet::new()));
                entry.1.extend(routes);
            } else {
                findings.push((direction, weight, code, document, message, routes));
            }
        }
        findings.extend(merged.into_iter().map(
            |((direction, weight, code, message), (document, routes))| {
                (direction, weight, code, document, message, routes)
            },
        ));
        let finding =
            |(direction, weight, code, document, message, routes): (_, _, _, _, _, BTreeSet<String>)| {
                Finding {
                    direction,
                    weight,
                    code,
                    document,
                    path: None,
                    message,
                    routes: routes.into_iter().collect(),
                    place: None,
                }
            };
        findings.into_iter().map(finding).collect()
    }
}
