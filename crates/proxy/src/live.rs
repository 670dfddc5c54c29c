//! A snapshot that serves: compiled documents, prepared upstreams, and the numbers under which all of it is counted.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use bartizan_config::snapshot::{
    ConsumerPlan, InspectionPlan, NameMap, OpenIdConnectPlan, RoutePlan, Snapshot,
};
use bartizan_identity::BasicUsers;
use bartizan_model::Reference;
use bartizan_telemetry::{
    Metrics,
    metrics::{EndpointId, ListenerId, OVERFLOW, PolicyId, RouteId, RuleGroupId, UpstreamId},
};

use http::{HeaderName, HeaderValue};

use crate::{
    listener::TlsTrust,
    tokens::TokenSet,
    trial::Trial,
    upstream::{EndpointState, UpstreamSet},
};

/// What one pointer swap puts into force.
pub struct Live {
    /// The compiled documents.
    pub snapshot: Arc<Snapshot>,
    /// The upstreams, ready to be asked; indices are the snapshot's.
    pub upstreams: Arc<UpstreamSet>,
    /// Whether a route publishes which tokens it takes.
    pub(crate) publishes_resources: bool,
    /// Tells it from every other one of the process.
    pub(crate) id: u64,
    /// Whether any plan writes an access log: if none does, requests are not described for it.
    pub(crate) logs: bool,
    /// Headers that carry credentials for the gateway on any route; no upstream gets them.
    credential_headers: Vec<HeaderName>,
    /// Where browsers sign in, on any route; no upstream gets cookies of theirs.
    sign_ins: Vec<Arc<OpenIdConnectPlan>>,
    /// What was read for it.
    pub(crate) prepared: Arc<LiveParts>,
    ids: Arc<Ids>,
    /// A candidate that is tried beside it.
    pub(crate) trial: Option<Arc<Trial>>,
}

/// What is known of a limit policy beside its terms.
#[derive(Clone)]
pub(crate) struct LimitMark {
    /// Its number in the metrics.
    pub(crate) id: PolicyId,
    /// What `RateLimit-Policy` says where it is the only one; made once and shared.
    pub(crate) stated: HeaderValue,
}

/// What was read for a snapshot beside its upstreams.
#[derive(Default)]
pub struct LiveParts {
    /// What each listener's handshakes prove, in the snapshot's order.
    pub trusts: Vec<Option<TlsTrust>>,
    /// The users of files that policies name.
    pub users: HashMap<Reference, Arc<BasicUsers>>,
    /// Stands for the secrets that upstreams were given.
    pub(crate) secrets: u64,
    /// Judges and endpoints of token methods.
    pub(crate) tokens: TokenSet,
}

struct Ids {
    listeners: Vec<ListenerId>,
    routes: Vec<RouteId>,
    route_limits: Vec<Vec<LimitMark>>,
    policies: HashMap<Arc<str>, PolicyId>,
    caching: Vec<PolicyId>,
    inspection: HashMap<Arc<str>, InspectionIds>,
    consumer_limits: NameMap<Vec<LimitMark>>,
    upstreams: Vec<UpstreamId>,
    endpoints: Vec<Vec<(Arc<str>, EndpointId)>>,
}

/// The numbers of an inspection policy.
#[derive(Debug, Default)]
pub(crate) struct InspectionIds {
    pub(crate) policy: PolicyId,
    groups: HashMap<u32, RuleGroupId>,
    /// Groups beyond the first share one.
    overflow: RuleGroupId,
}

/// 64 groups of rules of one policy are told apart in the metrics; the Core Rule Set has 24.
const RULE_GROUPS_MAX: usize = 64;

impl InspectionIds {
    fn register(plan: &InspectionPlan, metrics: &Metrics) -> Self {
        let mut ids = InspectionIds {
            policy: metrics.policy(&plan.label),
            groups: HashMap::new(),
            overflow: metrics.rule_group(&plan.label, OVERFLOW),
        };
        for rule in plan.rules.rules() {
            let group = rule.id / 1000;
            if ids.groups.len() < RULE_GROUPS_MAX {
                let number = || metrics.rule_group(&plan.label, &group.to_string());
                ids.groups.entry(group).or_insert_with(number);
            }
        }
        ids
    }

    /// The group of a rule.
    pub(crate) fn group(&self, rule: u32) -> RuleGroupId {
        self.groups.get(&(rule / 1000)).copied().unwrap_or(self.overflow)
    }
}

/// For what is not registered: counted under no name.
static UNREGISTERED: std::sync::LazyLock<InspectionIds> = std::sync::LazyLock::new(InspectionIds::default);

impl Live {
    /// Puts a snapshot and its prepared upstreams together and registers what is counted.
    pub(crate) fn new(
        snapshot: impl Into<Arc<Snapshot>>,
        upstreams: Arc<UpstreamSet>,
        prepared: LiveParts,
        metrics: &Metrics,
    ) -> Arc<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        let snapshot = snapshot.into();
        let mut marks: NameMap<LimitMark> = NameMap::default();
        let mut marks_of = |limits: &[Arc<bartizan_limit::Policy>]| {
            let mut mark_of = |policy: &Arc<bartizan_limit::Policy>| {
                marks.entry(policy.label.clone()).or_insert_with(|| mark(policy, metrics)).clone()
            };
            limits.iter().map(&mut mark_of).collect::<Vec<_>>()
        };
        let ids = Ids {
            listeners: (snapshot.listeners.iter())
                .map(|listener| metrics.listener(&listener.plan.name))
                .collect(),
            routes: snapshot.routes.iter().map(|plan| metrics.route(&plan.route)).collect(),
            route_limits: snapshot.routes.iter().map(|plan| marks_of(&plan.limits)).collect(),
            caching: (snapshot.routes.iter())
                .map(|plan| {
                    plan.caching.as_ref().map_or(PolicyId::NONE, |policy| metrics.policy(&policy.label))
                })
                .collect(),
            policies: faulting(&snapshot).map(|label| (label.clone(), metrics.policy(label))).collect(),
            inspection: inspection_ids(&snapshot, metrics),
            consumer_limits: snapshot
                .consumers
                .values()
                .filter(|consumer| !consumer.limits.is_empty())
                .map(|consumer| (consumer.name.clone(), marks_of(&consumer.limits)))
                .collect(),
            upstreams: snapshot.upstreams.iter().map(|upstream| metrics.upstream(&upstream.name)).collect(),
            endpoints: snapshot
                .upstreams
                .iter()
                .map(|upstream| {
                    let id = |authority: &Arc<str>| metrics.endpoint(&upstream.name, authority);
                    upstream.endpoints.iter().map(|one| (one.authority.clone(), id(&one.authority))).collect()
                })
                .collect(),
        };
        let logs = logs(&snapshot);
        let credential_headers = credential_headers(&snapshot);
        let sign_ins = sign_ins(&snapshot);
        let enforced = snapshot.routes.iter().filter_map(|plan| plan.authentication.enforced.as_ref());
        let publishes_resources = enforced.into_iter().any(|policy| policy.publishes());
        Arc::new(Live {
            snapshot,
            upstreams,
            publishes_resources,
            id,
            credential_headers,
            sign_ins,
            prepared: Arc::new(prepared),
            logs,
            ids: Arc::new(ids),
            trial: None,
        })
    }

    /// The same set with another trial beside it, or with none. Requests are described while there is one: whoever reads
    /// about it wants to know whom it concerns.
    pub(crate) fn with_trial(&self, trial: Option<Arc<Trial>>) -> Arc<Self> {
        Arc::new(Live {
            snapshot: self.snapshot.clone(),
            upstreams: self.upstreams.clone(),
            publishes_resources: self.publishes_resources,
            id: self.id,
            logs: trial.is_some() || logs(&self.snapshot),
            credential_headers: self.credential_headers.clone(),
            sign_ins: self.sign_ins.clone(),
            prepared: self.prepared.clone(),
            ids: self.ids.clone(),
            trial,
        })
    }

    /// The same set, described request by request: a candidate in a trial.
    pub(crate) fn described(&self) -> Arc<Self> {
        let mut live = self.with_trial(None);
        if let Some(live) = Arc::get_mut(&mut live) {
            live.logs = true;
        }
        live
    }

    /// What handshakes on a listener of the snapshot prove; nothing for clear text.
    pub(crate) fn trust_of(&self, listener: usize) -> Option<TlsTrust> {
        self.prepared.trusts.get(listener).copied().flatten()
    }

    /// The users of a file that a policy names.
    pub(crate) fn users(&self, file: &Reference) -> Option<&Arc<BasicUsers>> {
        self.prepared.users.get(file)
    }

    /// Headers that carry credentials for the gateway on any route.
    pub(crate) fn credential_headers(&self) -> &[HeaderName] {
        &self.credential_headers
    }

    /// Where browsers sign in on any route, each cookie once.
    pub(crate) fn sign_ins(&self) -> &[Arc<OpenIdConnectPlan>] {
        &self.sign_ins
    }

    pub(crate) fn listener_id(&self, listener: usize) -> ListenerId {
        self.ids.listeners.get(listener).copied().unwrap_or(ListenerId::NONE)
    }

    /// Tells the metrics which endpoints are asked now.
    pub fn report_health(&self, metrics: &Metrics) {
        let now = Instant::now();
        self.for_each_endpoint(|id, state| {
            metrics.set_endpoint_healthy(id, Some(state.is_in_rotation(now)));
            let (active, idle) = state.connections();
            metrics.set_endpoint_connections(id, Some((active as u64, idle as u64)));
        });
    }

    /// Takes endpoints that `next` does not have out of the metrics.
    pub(crate) fn retire(&self, next: &Live, metrics: &Metrics) {
        let mut kept = std::collections::HashSet::new();
        next.for_each_endpoint(|id, _| {
            kept.insert(id);
        });
        self.for_each_endpoint(|id, _| {
            if !kept.contains(&id) {
                metrics.set_endpoint_healthy(id, None);
                metrics.set_endpoint_connections(id, None);
            }
        });
    }

    fn for_each_endpoint(&self, mut each: impl FnMut(EndpointId, &EndpointState)) {
        for (at, upstream) in self.upstreams.iter().enumerate() {
            for endpoint in &upstream.endpoints {
                each(self.endpoint_id(at, &endpoint.plan.authority), &endpoint.state);
            }
        }
    }

    /// Where a listener is in the snapshot; past the end if it is not there.
    pub(crate) fn listener_index(&self, name: &str) -> usize {
        let listeners = &self.snapshot.listeners;
        listeners.iter().position(|listener| *listener.plan.name == *name).unwrap_or(listeners.len())
    }

    pub(crate) fn route_id(&self, plan: &RoutePlan) -> RouteId {
        self.ids.routes.get(plan.index).copied().unwrap_or(RouteId::NONE)
    }

    pub(crate) fn upstream_id(&self, index: usize) -> UpstreamId {
        self.ids.upstreams.get(index).copied().unwrap_or(UpstreamId::NONE)
    }

    pub(crate) fn endpoint_id(&self, upstream: usize, authority: &str) -> EndpointId {
        let endpoints = self.ids.endpoints.get(upstream).map_or(&[][..], Vec::as_slice);
        endpoints.iter().find(|(known, _)| **known == *authority).map_or(EndpointId::NONE, |(_, id)| *id)
    }

    /// The number of a policy about identity or authorization, asked for only when one could not decide; or of a quota.
    pub(crate) fn policy_id(&self, label: &str) -> PolicyId {
        self.ids.policies.get(label).copied().unwrap_or(PolicyId::NONE)
    }

    /// The number of a rule's CachePolicy.
    pub(crate) fn cache_id(&self, plan: &RoutePlan) -> PolicyId {
        self.ids.caching.get(plan.index).copied().unwrap_or(PolicyId::NONE)
    }

    /// What tells answers that were kept under a rule as it is now from others.
    pub(crate) fn kept_under(&self, plan: &RoutePlan) -> u64 {
        match self.snapshot.kept_under.get(plan.index) {
            Some(documents) => documents ^ self.prepared.secrets,
            // Nothing tells them apart: only this snapshot's are used.
            None => self.id,
        }
    }

    /// The numbers of an inspection policy.
    pub(crate) fn inspection_ids(&self, label: &str) -> &InspectionIds {
        self.ids.inspection.get(label).unwrap_or(&UNREGISTERED)
    }

    pub(crate) fn route_limit_marks(&self, plan: &RoutePlan) -> &[LimitMark] {
        self.ids.route_limits.get(plan.index).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn consumer_limit_marks(&self, consumer: &ConsumerPlan) -> &[LimitMark] {
        self.ids.consumer_limits.get(&consumer.name).map_or(&[], Vec::as_slice)
    }
}

/// Whether any plan writes an access log.
fn logs(snapshot: &Snapshot) -> bool {
    snapshot.record.access_log || snapshot.routes.iter().any(|plan| plan.record.access_log)
}

fn mark(policy: &bartizan_limit::Policy, metrics: &Metrics) -> LimitMark {
    // The items consist of visible ASCII (RFC 9651), so they always are a header value.
    let stated = HeaderValue::from_str(policy.stated()).unwrap_or(HeaderValue::from_static(""));
    LimitMark { id: metrics.policy(&policy.label), stated }
}

/// `X-API-Key`, and what any AuthenticationPolicy of the set names: a caller that sends its key to the wrong route must
/// not hand it to an upstream.
fn credential_headers(snapshot: &Snapshot) -> Vec<HeaderName> {
    let mut names = vec![HeaderName::from_static("x-api-key")];
    for route in &snapshot.routes {
        for policy in route.authentication.enforced.iter().chain(&route.authentication.shadow) {
            for name in policy.credential_headers() {
                if !names.contains(name) {
                    names.push(name.clone());
                }
            }
        }
    }
    names
}

fn inspection_ids(snapshot: &Snapshot, metrics: &Metrics) -> HashMap<Arc<str>, InspectionIds> {
    let mut ids: HashMap<Arc<str>, InspectionIds> = HashMap::new();
    for plan in snapshot.inspections() {
        ids.entry(plan.label.clone()).or_insert_with(|| InspectionIds::register(plan, metrics));
    }
    for plan in snapshot.routes.iter().flat_map(|route| &route.schemas) {
        let policy = || InspectionIds { policy: metrics.policy(&plan.label), ..InspectionIds::default() };
        ids.entry(plan.label.clone()).or_insert_with(policy);
    }
    ids
}

/// Where browsers sign in, each cookie once.
fn sign_ins(snapshot: &Snapshot) -> Vec<Arc<OpenIdConnectPlan>> {
    let mut plans: Vec<Arc<OpenIdConnectPlan>> = Vec::new();
    for route in &snapshot.routes {
        for policy in route.authentication.enforced.iter().chain(&route.authentication.shadow) {
            let is_new =
                |plan: &&Arc<OpenIdConnectPlan>| plans.iter().all(|known| known.cookie != plan.cookie);
            plans.extend(policy.sign_in().filter(is_new).cloned().into_iter().collect::<Vec<_>>());
        }
    }
    plans
}

/// The policies whose judges may fail to decide, and quotas, by label.
fn faulting(snapshot: &Snapshot) -> impl Iterator<Item = &Arc<str>> {
    let authentication = snapshot.routes.iter().flat_map(|route| {
        let settled = &route.authentication;
        settled.enforced.iter().chain(&settled.shadow).map(|plan| &plan.label)
    });
    let of_routes = snapshot.routes.iter().flat_map(|route| &route.authorization);
    let of_consumers = snapshot.consumers.values().flat_map(|consumer| &consumer.authorization);
    let quotas = snapshot.routes.iter().flat_map(|route| &route.quotas);
    let quotas = quotas.chain(snapshot.consumers.values().flat_map(|consumer| &consumer.quotas));
    let authorization = of_routes.chain(of_consumers).map(|plan| &plan.label);
    authentication.chain(authorization).chain(quotas.map(|plan| &plan.label))
}
