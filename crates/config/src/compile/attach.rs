//! Which policies meet on which rule (design: "How policies meet").
//!
//! Adding kinds add up, wide → narrow and then by name, so that a narrower policy cannot loosen a wider one. Settling
//! kinds are single per target: a narrower one replaces a wider one only where the wider allows it, and whatever
//! would make the outcome depend on the order of documents is a problem.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use bartizan_model::{
    Mode,
    document::{
        Document, Kind,
        common::{TargetKind, TargetRef},
    },
    problem::{Code, Problem, Problems},
    read::Spanned,
};
use bartizan_telemetry::RecordPlan;

use super::{index::Index, inspection::InspectionTerms, label, policy::Policies, record};
use crate::snapshot::{
    AccessLogPlan, AuthenticationPlan, AuthorizationPlan, Bite, CachePlan, CorsPlan, HeaderPlan,
    PolicyMention, RotationPlan, SchemaPlan, Settled, UpstreamPolicyPlan,
};

/// A policy with what it is attached to.
pub(super) struct Scoped<'d, P> {
    pub(super) document: &'d Document,
    pub(super) plan: Arc<P>,
    pub(super) bite: Bite,
    pub(super) allow_override: bool,
    pub(super) targets: Vec<Target>,
}

/// What a policy is attached to, wide → narrow.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Target {
    Gateway,
    Listener(Arc<str>),
    Route(Arc<str>),
    Rule(Arc<str>, Arc<str>),
    Consumer(Arc<str>),
}

impl Target {
    pub(super) const fn is_consumer(&self) -> bool {
        matches!(self, Target::Consumer(_))
    }

    fn mention(&self) -> Arc<str> {
        match self {
            Target::Gateway => "Gateway".into(),
            Target::Listener(name) => label(Kind::Listener, name),
            Target::Route(name) => label(Kind::Route, name),
            Target::Rule(name, rule) => format!("Route/{name}/{rule}").into(),
            Target::Consumer(name) => label(Kind::Consumer, name),
        }
    }
}

/// The place of a rule among everything a policy can be attached to.
#[derive(Clone, Copy)]
pub(super) struct Place<'p> {
    pub(super) listener: Option<&'p str>,
    pub(super) route: &'p str,
    pub(super) rule: Option<&'p str>,
}

impl Place<'_> {
    fn targets(&self) -> impl Iterator<Item = Target> {
        [
            Some(Target::Gateway),
            self.listener.map(|name| Target::Listener(name.into())),
            Some(Target::Route(self.route.into())),
            self.rule.map(|rule| Target::Rule(self.route.into(), rule.into())),
        ]
        .into_iter()
        .flatten()
    }
}

/// Policies of one kind by target; each list is in order of name.
struct ByTarget<'p, 'd, P>(HashMap<Target, Vec<&'p Scoped<'d, P>>>);

impl<'p, 'd, P> ByTarget<'p, 'd, P> {
    fn build(policies: &'p [Scoped<'d, P>]) -> Self {
        let mut map: HashMap<Target, Vec<&Scoped<'d, P>>> = HashMap::new();
        for policy in policies.iter().filter(|policy| policy.bite.mode != Mode::Off) {
            for target in &policy.targets {
                map.entry(target.clone()).or_default().push(policy);
            }
        }
        ByTarget(map)
    }

    fn at(&self, target: &Target) -> &[&'p Scoped<'d, P>] {
        self.0.get(target).map_or(&[], Vec::as_slice)
    }

    fn has_listener(&self, name: &str) -> bool {
        self.0.contains_key(&Target::Listener(name.into()))
    }

    /// All that apply, wide → narrow; one that is attached twice applies once, at its widest.
    fn adding(&self, place: Place<'_>) -> Vec<Arc<P>> {
        let mut seen = HashSet::new();
        let mut plans = Vec::new();
        for target in place.targets() {
            for policy in self.at(&target) {
                if seen.insert(Arc::as_ptr(&policy.plan)) {
                    plans.push(policy.plan.clone());
                }
            }
        }
        plans
    }

    /// Reports policies that are enforced on one target, whatever rules it has.
    fn check_same(&self, clashes: &mut Clashes) {
        let mut targets: Vec<_> = self.0.iter().collect();
        // Which of several targets a clash is reported for must not depend on chance.
        targets.sort_by_key(|(target, _)| *target);
        for (target, policies) in targets {
            let mut enforced = policies.iter().filter(|policy| policy.bite.mode == Mode::Enforce);
            if let Some(first) = enforced.next() {
                enforced.for_each(|other| clashes.report_same(first.document, other.document, target));
            }
        }
    }

    /// The one that bites and those that watch.
    fn settle(&self, place: Place<'_>, clashes: &mut Clashes) -> Settled<P> {
        let mut winner: Option<&Scoped<'d, P>> = None;
        let mut settled = Settled::default();
        for target in place.targets() {
            for policy in self.at(&target).iter().filter(|policy| policy.bite.mode == Mode::Shadow) {
                if !settled.shadow.iter().any(|known| Arc::ptr_eq(known, &policy.plan)) {
                    settled.shadow.push(policy.plan.clone());
                }
            }
            let here = self.at(&target).iter().copied().find(|policy| policy.bite.mode == Mode::Enforce);
            match (winner, here) {
                (Some(wide), Some(narrow)) if Arc::ptr_eq(&wide.plan, &narrow.plan) => {}
                (Some(wide), Some(narrow)) if !wide.allow_override => {
                    clashes.report_forbidden(wide.document, narrow.document);
                }
                (Some(wide), Some(narrow)) if narrow.bite.percent < 100 => {
                    clashes.report_partial(wide.document, narrow.document);
                }
                (_, Some(narrow)) => winner = Some(narrow),
                (_, None) => {}
            }
        }
        settled.enforced = winner.map(|policy| policy.plan.clone());
        settled
    }
}

/// Collects clashes once each, however many rules they concern.
#[derive(Default)]
pub(super) struct Clashes {
    seen: HashSet<(Arc<str>, Arc<str>)>,
    problems: Vec<Problem>,
}

impl Clashes {
    fn is_new(&mut self, one: &Document, other: &Document) -> bool {
        self.seen.insert((label(one.kind(), one.name.as_str()), label(other.kind(), other.name.as_str())))
    }

    fn report_same(&mut self, first: &Document, second: &Document, target: &Target) {
        if self.is_new(first, second) {
            let kind = second.kind().as_str();
            let message = format!(
                "{kind}/{} and {kind}/{} are both enforced on {}",
                first.name.as_str(),
                second.name.as_str(),
                target.mention()
            );
            self.problems.push(
                Problem::new(Code::PoliciesClash, second.name.at, "spec.targetRefs", message)
                    .also(first.name.at, "the other one is here")
                    .hint(match second.kind() {
                        Kind::CachePolicy
                        | Kind::RecordPolicy
                        | Kind::KeyRotationPolicy
                        | Kind::UpstreamPolicy => "keep one of them, or set `mode: off`",
                        _ => "keep one of them, or set `mode: shadow` on the one you are trying",
                    }),
            );
        }
    }

    fn report_forbidden(&mut self, wide: &Document, narrow: &Document) {
        if self.is_new(wide, narrow) {
            let kind = narrow.kind().as_str();
            let message = format!(
                "{kind}/{} would replace {kind}/{}, which does not allow it",
                narrow.name.as_str(),
                wide.name.as_str()
            );
            self.problems.push(
                Problem::new(Code::OverrideForbidden, narrow.name.at, "spec.targetRefs", message)
                    .also(wide.name.at, "the wider policy is here")
                    .hint("set `allowOverride: true` on the wider policy, or delete the narrower one"),
            );
        }
    }
}

impl Clashes {
    /// Callers for whom a policy only watches would be left with neither policy: worse than before the rollout.
    fn report_partial(&mut self, wide: &Document, narrow: &Document) {
        if self.is_new(wide, narrow) {
            let kind = narrow.kind().as_str();
            let message = format!(
                "{kind}/{} would replace {kind}/{} for all callers, but be enforced for some",
                narrow.name.as_str(),
                wide.name.as_str()
            );
            self.problems.push(
                Problem::new(Code::OverrideForbidden, narrow.name.at, "spec.enforcePercent", message)
                    .also(wide.name.at, "the wider policy is here")
                    .hint("write `mode: shadow` to watch it beside the wider one, or `enforcePercent: 100`"),
            );
        }
    }
}

/// Every policy of the set by target.
pub(super) struct Attached<'p, 'd> {
    authorization: ByTarget<'p, 'd, AuthorizationPlan>,
    authentication: ByTarget<'p, 'd, AuthenticationPlan>,
    cache: ByTarget<'p, 'd, CachePlan>,
    cors: ByTarget<'p, 'd, CorsPlan>,
    headers: ByTarget<'p, 'd, HeaderPlan>,
    inspection: ByTarget<'p, 'd, InspectionTerms>,
    schemas: ByTarget<'p, 'd, SchemaPlan>,
    limits: ByTarget<'p, 'd, bartizan_limit::Policy>,
    quotas: ByTarget<'p, 'd, bartizan_limit::QuotaPolicy>,
    records: ByTarget<'p, 'd, RecordPlan>,
    rotations: ByTarget<'p, 'd, RotationPlan>,
    patience: ByTarget<'p, 'd, UpstreamPolicyPlan>,
    default_record: Arc<RecordPlan>,
    access_log: AccessLogPlan,
    pub(super) mentions: Vec<PolicyMention>,
}

impl<'p, 'd> Attached<'p, 'd> {
    pub(super) fn build(index: &Index<'d>, policies: &'p Policies<'d>, clashes: &mut Clashes) -> Self {
        let attached = Attached {
            authorization: ByTarget::build(&policies.authorization),
            authentication: ByTarget::build(&policies.authentication),
            cache: ByTarget::build(&policies.cache),
            cors: ByTarget::build(&policies.cors),
            headers: ByTarget::build(&policies.headers),
            inspection: ByTarget::build(&policies.inspection),
            schemas: ByTarget::build(&policies.schemas),
            limits: ByTarget::build(&policies.limits),
            quotas: ByTarget::build(&policies.quotas),
            records: ByTarget::build(&policies.records),
            rotations: ByTarget::build(&policies.rotations),
            patience: ByTarget::build(&policies.patience),
            default_record: Arc::new(RecordPlan::new("")),
            access_log: record::access_log(index),
            mentions: mentions(policies),
        };
        attached.authentication.check_same(clashes);
        attached.cache.check_same(clashes);
        attached.cors.check_same(clashes);
        attached.records.check_same(clashes);
        attached.rotations.check_same(clashes);
        attached.patience.check_same(clashes);
        attached
    }

    /// Whether a policy is attached to the listener, so that its rules need plans of their own.
    pub(super) fn concerns_listener(&self, name: &str) -> bool {
        self.authentication.has_listener(name)
            || self.authorization.has_listener(name)
            || self.cache.has_listener(name)
            || self.cors.has_listener(name)
            || self.headers.has_listener(name)
            || self.inspection.has_listener(name)
            || self.schemas.has_listener(name)
            || self.limits.has_listener(name)
            || self.quotas.has_listener(name)
            || self.records.has_listener(name)
            || self.patience.has_listener(name)
    }

    pub(super) fn authentication(
        &self,
        place: Place<'_>,
        clashes: &mut Clashes,
    ) -> Settled<AuthenticationPlan> {
        self.authentication.settle(place, clashes)
    }

    pub(super) fn cache(&self, place: Place<'_>, clashes: &mut Clashes) -> Option<Arc<CachePlan>> {
        self.cache.settle(place, clashes).enforced
    }

    pub(super) fn patience(
        &self,
        place: Place<'_>,
        clashes: &mut Clashes,
    ) -> Option<Arc<UpstreamPolicyPlan>> {
        self.patience.settle(place, clashes).enforced
    }

    pub(super) fn cors(&self, place: Place<'_>, clashes: &mut Clashes) -> Settled<CorsPlan> {
        self.cors.settle(place, clashes)
    }

    pub(super) fn authorization(&self, place: Place<'_>) -> Vec<Arc<AuthorizationPlan>> {
        self.authorization.adding(place)
    }

    pub(super) fn consumer_authorization(&self, consumer: &str) -> Vec<Arc<AuthorizationPlan>> {
        let policies = self.authorization.at(&Target::Consumer(consumer.into()));
        policies.iter().map(|policy| policy.plan.clone()).collect()
    }

    pub(super) fn headers(&self, place: Place<'_>) -> Vec<Arc<HeaderPlan>> {
        self.headers.adding(place)
    }

    pub(super) fn schemas(&self, place: Place<'_>) -> Vec<Arc<SchemaPlan>> {
        self.schemas.adding(place)
    }

    pub(super) fn inspection(&self, place: Place<'_>) -> Vec<Arc<InspectionTerms>> {
        self.inspection.adding(place)
    }

    pub(super) fn consumer_inspection(&self, consumer: &str) -> Vec<Arc<InspectionTerms>> {
        let policies = self.inspection.at(&Target::Consumer(consumer.into()));
        policies.iter().map(|policy| policy.plan.clone()).collect()
    }

    pub(super) fn limits(&self, place: Place<'_>) -> Vec<Arc<bartizan_limit::Policy>> {
        self.limits.adding(place)
    }

    pub(super) fn consumer_limits(&self, consumer: &str) -> Vec<Arc<bartizan_limit::Policy>> {
        self.limits.at(&Target::Consumer(consumer.into())).iter().map(|policy| policy.plan.clone()).collect()
    }

    pub(super) fn quotas(&self, place: Place<'_>) -> Vec<Arc<bartizan_limit::QuotaPolicy>> {
        self.quotas.adding(place)
    }

    pub(super) fn consumer_quotas(&self, consumer: &str) -> Vec<Arc<bartizan_limit::QuotaPolicy>> {
        self.quotas.at(&Target::Consumer(consumer.into())).iter().map(|policy| policy.plan.clone()).collect()
    }

    /// The policy about a consumer's keys: its own, where the gateway's allows that, else the gateway's.
    pub(super) fn consumer_rotation(
        &self,
        consumer: &str,
        clashes: &mut Clashes,
    ) -> Option<Arc<RotationPlan>> {
        let enforced = |target: Target| {
            self.rotations.at(&target).iter().copied().find(|policy| policy.bite.mode == Mode::Enforce)
        };
        let winner = match (enforced(Target::Gateway), enforced(Target::Consumer(consumer.into()))) {
            (Some(wide), Some(narrow)) => {
                if !wide.allow_override {
                    clashes.report_forbidden(wide.document, narrow.document);
                }
                Some(narrow)
            }
            (wide, narrow) => narrow.or(wide),
        };
        winner.map(|policy| policy.plan.clone())
    }

    pub(super) fn record(&self, place: Place<'_>, clashes: &mut Clashes) -> Arc<RecordPlan> {
        self.records.settle(place, clashes).enforced.unwrap_or_else(|| self.default_record.clone())
    }

    /// What is written down where no route is known, and where the log goes.
    pub(super) fn gateway_record(&self) -> (Arc<RecordPlan>, AccessLogPlan) {
        let mut enforced =
            self.records.at(&Target::Gateway).iter().filter(|policy| policy.bite.mode == Mode::Enforce);
        let wide = enforced.next().map(|policy| policy.plan.clone());
        (wide.unwrap_or_else(|| self.default_record.clone()), self.access_log.clone())
    }
}

impl Clashes {
    /// Hands over what was found.
    pub(super) fn into_problems(self, problems: &mut Problems) {
        for problem in self.problems {
            problems.push(problem);
        }
    }
}

fn mentions(policies: &Policies<'_>) -> Vec<PolicyMention> {
    fn of<'s, 'd, P>(policies: &'s [Scoped<'d, P>]) -> impl Iterator<Item = PolicyMention> + use<'s, 'd, P> {
        policies.iter().map(|policy| PolicyMention {
            kind: policy.document.kind(),
            name: policy.document.name.as_str().into(),
            bite: policy.bite,
            targets: policy
                .targets
                .iter()
                .filter(|target| **target != Target::Gateway)
                .map(Target::mention)
                .collect(),
        })
    }
    of(&policies.authentication)
        .chain(of(&policies.authorization))
        .chain(of(&policies.cache))
        .chain(of(&policies.cors))
        .chain(of(&policies.headers))
        .chain(of(&policies.inspection))
        .chain(of(&policies.schemas))
        .chain(of(&policies.limits))
        .chain(of(&policies.quotas))
        .chain(of(&policies.records))
        .chain(of(&policies.rotations))
        .chain(of(&policies.patience))
        .collect()
}

/// Resolves `targetRefs`; none means the whole gateway.
pub(super) fn targets(
    index: &Index<'_>,
    refs: &[Spanned<TargetRef>],
    allowed: &[TargetKind],
    problems: &mut Problems,
) -> Vec<Target> {
    if refs.is_empty() {
        return vec![Target::Gateway];
    }
    // What is written twice means the same once.
    let targets: BTreeSet<Target> =
        refs.iter().filter_map(|target| resolve(index, target, allowed, problems)).collect();
    targets.into_iter().collect()
}

fn resolve(
    index: &Index<'_>,
    target: &Spanned<TargetRef>,
    allowed: &[TargetKind],
    problems: &mut Problems,
) -> Option<Target> {
    const PATH: &str = "spec.targetRefs";
    if !allowed.contains(&target.kind) {
        let words: Vec<&str> = allowed.iter().map(|kind| kind.as_str()).collect();
        let message = format!("this kind of policy cannot be attached to a {}", target.kind.as_str());
        problems.push(
            Problem::new(Code::WrongTarget, target.at, PATH, message).hint(format!(
                "it is judged before that is known; it can be attached to: {}",
                words.join(", ")
            )),
        );
        return None;
    }
    let kind = match target.kind {
        TargetKind::Listener => Kind::Listener,
        TargetKind::Route => Kind::Route,
        TargetKind::Consumer => Kind::Consumer,
    };
    let found = index.find(kind, &target.name, PATH, problems)?;
    let name: Arc<str> = target.name.as_str().into();
    let Some(section) = &target.section_name else {
        return Some(match target.kind {
            TargetKind::Listener => Target::Listener(name),
            TargetKind::Route => Target::Route(name),
            TargetKind::Consumer => Target::Consumer(name),
        });
    };
    let rules = super::route::rule_names(found);
    if rules.iter().any(|rule| *rule == section.as_str()) {
        return Some(Target::Rule(name, section.as_str().into()));
    }
    let message = format!("{}/{} has no rule named `{}`", kind.as_str(), &*name, section.as_str());
    let problem = Problem::new(Code::UnknownReference, section.at, PATH, message);
    problems.push(match bartizan_model::read::nearest(section.as_str(), rules.iter().copied()) {
        Some(near) => problem.hint(format!("did you mean `{near}`?")),
        None => problem.hint("give the rule a `name`; only rules of a Route have one"),
    });
    None
}
