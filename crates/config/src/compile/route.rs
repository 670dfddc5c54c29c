//! `Route` → [`RoutePlan`]s and the entries of the route tables.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use bartizan_model::{
    document::{
        Document, Kind, Spec,
        route::{BackendKind, BackendRef, RouteMatch, RoutePriority, RouteRule, RouteSpec, RouteTimeouts},
        upstream::UpstreamKind,
    },
    problem::{Code, Problem, Problems, Span},
    read::Spanned,
};

use super::{
    attach::{Attached, Clashes, Place},
    filter::Parts,
    index::{Index, spec_of},
    inspection::Binder,
    listener::host_pattern,
    positive,
    prompt::Prompts,
    tie::Ties,
    way::Way,
};
use crate::snapshot::{
    Backends, HostPattern, ListenerPlan, MethodSet, Priority, RouteAction, RouteEntry, RoutePlan,
    TimeoutsPlan, UpstreamPlan,
};

/// What `timeouts.backendRequest` is where a document does not say.
const ROUTE_HEAD_DEFAULT: Duration = Duration::from_secs(30);
/// A model that thinks and does not stream says nothing for minutes: what 30 seconds mean on a route to models.
const MODEL_HEAD_DEFAULT: Duration = Duration::from_secs(600);

/// All rules of all routes.
pub(super) struct Routes {
    pub(super) plans: Vec<Arc<RoutePlan>>,
    /// For which listener, and the way to a rule there.
    pub(super) entries: Vec<(usize, RouteEntry)>,
}

/// The names of a route's rules, for references to them.
pub(super) fn rule_names(document: &Document) -> Vec<&str> {
    let rules = spec_of!(document, Route).map_or(&[][..], |spec| spec.rules.as_slice());
    rules.iter().filter_map(|rule| rule.name.as_ref()).map(|name| name.as_str()).collect()
}

/// Compiles all routes, in order of name.
pub(super) fn compile_all(
    index: &Index<'_>,
    listeners: &[Arc<ListenerPlan>],
    (upstreams, prompts): (&[Arc<UpstreamPlan>], &Prompts),
    attached: &Attached<'_, '_>,
    clashes: &mut Clashes,
    problems: &mut Problems,
) -> Routes {
    let mut compiler = Compiler {
        index,
        listeners,
        prompts,
        upstreams: upstreams.iter().enumerate().map(|(at, plan)| (plan.name.clone(), at)).collect(),
        attached,
        clashes,
        ties: Ties::default(),
        binder: Binder::default(),
        routes: Routes { plans: Vec::new(), entries: Vec::new() },
    };
    for document in index.of(Kind::Route) {
        if let Some(spec) = spec_of!(document, Route) {
            compiler.route(document, spec, problems);
        }
    }
    compiler.routes
}

struct Compiler<'c, 'd> {
    index: &'c Index<'d>,
    listeners: &'c [Arc<ListenerPlan>],
    upstreams: HashMap<Arc<str>, usize>,
    prompts: &'c Prompts,
    attached: &'c Attached<'c, 'd>,
    clashes: &'c mut Clashes,
    ties: Ties,
    binder: Binder,
    routes: Routes,
}

impl Compiler<'_, '_> {
    fn route(&mut self, document: &Document, spec: &RouteSpec, problems: &mut Problems) {
        if spec.rules.is_empty() {
            problems.push(Problem::new(
                Code::EmptyList,
                document.name.at,
                "spec.rules",
                "a route needs a rule",
            ));
        }
        let mut names: HashMap<&str, Span> = HashMap::new();
        for name in spec.rules.iter().filter_map(|rule| rule.name.as_ref()) {
            if let Some(first) = names.insert(name.as_str(), name.at) {
                let message = format!("two rules of the route are named `{}`", name.as_str());
                problems.push(
                    Problem::new(Code::DuplicateName, name.at, "spec.rules", message)
                        .also(first, "the first one is here"),
                );
            }
        }
        let listeners = self.parents(spec, problems);
        // What is written twice means the same once.
        let hosts: BTreeSet<HostPattern> = spec.hostnames.iter().map(|host| host_pattern(host)).collect();
        let hosts: Vec<Option<HostPattern>> =
            if hosts.is_empty() { vec![None] } else { hosts.into_iter().map(Some).collect() };
        self.check_reach(document, &listeners, &hosts, problems);
        for (number, rule) in spec.rules.iter().enumerate() {
            self.rule(document, number, rule, &listeners, &hosts, problems);
        }
    }

    /// The listeners a route is attached to, as indices. In a set without listeners the route is checked as on one
    /// that publishes nothing, so that a part of a set can be checked alone.
    fn parents(&self, spec: &RouteSpec, problems: &mut Problems) -> Vec<Option<usize>> {
        if spec.parent_refs.is_empty() && self.listeners.is_empty() {
            return vec![None];
        }
        if spec.parent_refs.is_empty() {
            return (0..self.listeners.len()).map(Some).collect();
        }
        let mut found = BTreeSet::new();
        for parent in &spec.parent_refs {
            let known = self.index.find(Kind::Listener, &parent.name, "spec.parentRefs", problems);
            if known.is_some() {
                found.insert(
                    self.listeners.iter().position(|listener| *listener.name == *parent.name.as_str()),
                );
            }
        }
        found.into_iter().collect()
    }

    /// Warns of a route whose hosts none of its listeners serves: no request could ever reach it.
    fn check_reach(
        &self,
        document: &Document,
        listeners: &[Option<usize>],
        hosts: &[Option<HostPattern>],
        problems: &mut Problems,
    ) {
        let served = |listener: &Option<usize>| {
            let plan = listener.and_then(|at| self.listeners.get(at));
            plan.is_none_or(|plan| {
                plan.hostnames.is_empty()
                    || hosts.iter().any(|host| {
                        host.as_ref().is_none_or(|host| plan.hostnames.iter().any(|one| one.overlaps(host)))
                    })
            })
        };
        if !listeners.is_empty() && !listeners.iter().any(served) {
            let message = format!(
                "no request can reach Route/{}: none of its listeners serves its hosts",
                document.name.as_str()
            );
            problems.push(
                Problem::new(Code::RouteUnreachable, document.name.at, "spec.hostnames", message)
                    .warning()
                    .hint("add the host to the listener's `hostnames`, or correct it here"),
            );
        }
    }

    fn rule(
        &mut self,
        document: &Document,
        number: usize,
        rule: &Spanned<RouteRule>,
        listeners: &[Option<usize>],
        hosts: &[Option<HostPattern>],
        problems: &mut Problems,
    ) {
        let everything = [Spanned::new(RouteMatch::default(), rule.at)];
        let matches = if rule.matches.is_empty() { &everything[..] } else { rule.matches.as_slice() };
        let ways: Vec<(Span, Way)> =
            matches.iter().filter_map(|one| Some((one.at, Way::compile(one, problems)?))).collect();
        let parts = Parts::compile(rule, matches, problems);
        let mut timeouts = timeouts(&rule.timeouts, problems);
        let Some(action) = self.action(rule, &parts, problems) else { return };
        if action.asks_a_model() && timeouts.backend_request == ROUTE_HEAD_DEFAULT {
            timeouts.backend_request = MODEL_HEAD_DEFAULT;
        }
        let methods = ways.iter().fold(MethodSet::of([]), |methods, (_, way)| methods.union(way.methods()));
        let compiled = Compiled { rule, number, parts, action, timeouts, methods };
        // Without a policy on the listener, the rule's plan is the same everywhere.
        let mut shared: Option<Arc<RoutePlan>> = None;
        for &listener in listeners {
            let name = listener.and_then(|at| self.listeners.get(at)).map(|listener| listener.name.clone());
            let own = name.as_deref().filter(|name| self.attached.concerns_listener(name));
            let plan = match (&shared, own) {
                (Some(plan), None) => plan.clone(),
                _ => self.plan(document, own, &compiled),
            };
            if own.is_none() {
                shared = Some(plan.clone());
            }
            for host in hosts {
                for (at, way) in &ways {
                    let entry = way.entry(host.clone(), plan.clone());
                    self.ties.check(listener, &entry, document, *at, problems);
                    self.routes.entries.extend(listener.map(|listener| (listener, entry)));
                }
            }
        }
    }

    fn action(
        &self,
        rule: &Spanned<RouteRule>,
        parts: &Parts,
        problems: &mut Problems,
    ) -> Option<RouteAction> {
        if !parts.redirects {
            if let Some(models) = rule.backend_refs.iter().find(|backend| backend.kind == BackendKind::Models)
            {
                return self.models(models, rule, problems);
            }
            if let Some(prompt) =
                rule.backend_refs.iter().find(|backend| backend.kind == BackendKind::PromptTemplate)
            {
                return self.prompt(prompt, rule, problems);
            }
            return self.backends(rule.at, &rule.backend_refs, problems).map(RouteAction::Forward);
        }
        if let Some(first) = rule.backend_refs.first() {
            let message = "a rule that redirects sends nothing to an upstream";
            problems.push(Problem::new(Code::FieldsClash, first.at, "spec.rules.backendRefs", message));
            return None;
        }
        parts.redirect.clone().map(RouteAction::Redirect)
    }

    /// A rule that serves models serves nothing else: which upstream answers is the model's to say.
    fn models(
        &self,
        models: &Spanned<BackendRef>,
        rule: &Spanned<RouteRule>,
        problems: &mut Problems,
    ) -> Option<RouteAction> {
        const PATH: &str = "spec.rules.backendRefs";
        if rule.backend_refs.len() > 1 || models.name.is_some() {
            let message =
                "`kind: Models` stands alone and without a name: the caller's request names the model";
            problems.push(
                Problem::new(Code::FieldsClash, models.at, PATH, message).hint(
                    "write `backendRefs: [{ kind: Models }]`, and other backends in a rule of their own",
                ),
            );
            return None;
        }
        if self.index.of(Kind::Model).next().is_none() {
            let message = "the rule serves models, and the set has none";
            problems.push(
                Problem::new(Code::SetIncomplete, models.at, PATH, message)
                    .warning()
                    .hint("write a document of kind Model"),
            );
        }
        Some(RouteAction::Models)
    }

    /// A rule that is a prompt is nothing else.
    fn prompt(
        &self,
        prompt: &Spanned<BackendRef>,
        rule: &Spanned<RouteRule>,
        problems: &mut Problems,
    ) -> Option<RouteAction> {
        const PATH: &str = "spec.rules.backendRefs";
        let Some(name) = prompt.name.as_ref().filter(|_| rule.backend_refs.len() == 1) else {
            let message = "`kind: PromptTemplate` stands alone and names the prompt";
            problems.push(
                Problem::new(Code::FieldsClash, prompt.at, PATH, message)
                    .hint("write `backendRefs: [{ kind: PromptTemplate, name: … }]`"),
            );
            return None;
        };
        self.index.find(Kind::PromptTemplate, name, PATH, problems)?;
        self.prompts.get(name.as_str()).cloned().map(RouteAction::Prompt)
    }

    fn backends(&self, at: Span, refs: &[Spanned<BackendRef>], problems: &mut Problems) -> Option<Backends> {
        const PATH: &str = "spec.rules.backendRefs";
        let mut shares = Vec::new();
        let mut total = 0_u64;
        let mut missing = false;
        for backend in refs {
            let Some(name) = &backend.name else {
                let message = "a backend names its upstream";
                problems.push(Problem::new(Code::MissingField, backend.at, PATH, message));
                missing = true;
                continue;
            };
            let Some(found) = self.index.find(Kind::Upstream, name, PATH, problems) else {
                missing = true;
                continue;
            };
            if spec_of!(found, Upstream).is_some_and(|spec| spec.kind == UpstreamKind::Llm) {
                let message =
                    format!("Upstream/{} is a provider of models: only Models send to it", name.as_str());
                problems.push(
                    Problem::new(Code::FieldsClash, name.at, PATH, message)
                        .hint("write `backendRefs: [{ kind: Models }]`"),
                );
                missing = true;
                continue;
            }
            if backend.weight > 0
                && let Some(upstream) = self.upstreams.get(name.as_str())
            {
                total += u64::from(backend.weight);
                shares.push((total, *upstream));
            }
        }
        if missing {
            return None;
        }
        if total == 0 {
            let message = if refs.is_empty() {
                "the rule goes nowhere: it has no `backendRefs` and no redirect"
            } else {
                "the weights of all `backendRefs` are zero"
            };
            problems.push(Problem::new(Code::MissingField, at, PATH, message));
            return None;
        }
        Some(Backends { shares, total })
    }

    fn plan(
        &mut self,
        document: &Document,
        listener: Option<&str>,
        compiled: &Compiled<'_>,
    ) -> Arc<RoutePlan> {
        let Compiled { rule, number, parts, action, timeouts, methods } = compiled;
        let route: Arc<str> = document.name.as_str().into();
        let rule_name = rule.name.as_ref().map(|name| name.as_str());
        let label = match rule_name {
            Some(name) => format!("{route}/{name}").into(),
            None if *number == 0 => route.clone(),
            None => format!("{route}/{number}").into(),
        };
        let place = Place { listener, route: &route, rule: rule_name };
        let terms = self.attached.inspection(place);
        let inspection = terms.iter().map(|terms| self.binder.bind(terms, &route, *methods)).collect();
        let plan = Arc::new(RoutePlan {
            index: self.routes.plans.len(),
            label,
            action: action.clone(),
            rewrite: parts.rewrite.clone(),
            request_headers: parts.request_headers.clone(),
            response_headers: parts.response_headers.clone(),
            cors: self.attached.cors(place, self.clashes),
            headers: self.attached.headers(place),
            authentication: self.attached.authentication(place, self.clashes),
            authorization: self.attached.authorization(place),
            limits: self.attached.limits(place),
            quotas: self.attached.quotas(place),
            inspection,
            schemas: self.attached.schemas(place),
            caching: self.attached.cache(place, self.clashes),
            patience: self.attached.patience(place, self.clashes),
            record: self.attached.record(place, self.clashes),
            timeouts: *timeouts,
            body_bytes_max: rule.body_bytes.as_ref().map(|bytes| bytes.get()),
            priority: priority(rule.priority),
            route,
        });
        self.routes.plans.push(plan.clone());
        plan
    }
}

fn priority(priority: RoutePriority) -> Priority {
    match priority {
        RoutePriority::Critical => Priority::Critical,
        RoutePriority::High => Priority::High,
        RoutePriority::Normal => Priority::Normal,
        RoutePriority::Low => Priority::Low,
    }
}

/// What of a rule does not depend on policies.
struct Compiled<'r> {
    rule: &'r RouteRule,
    number: usize,
    parts: Parts,
    action: RouteAction,
    timeouts: TimeoutsPlan,
    /// What is published, whichever way.
    methods: MethodSet,
}

/// No limit on the whole request is written `0s`; the others must be there.
fn timeouts(timeouts: &RouteTimeouts, problems: &mut Problems) -> TimeoutsPlan {
    const PATH: &str = "spec.rules.timeouts";
    let request = timeouts.request.get();
    TimeoutsPlan {
        request: (!request.is_zero()).then_some(request),
        backend_request: positive(&timeouts.backend_request, PATH, problems),
        idle: positive(&timeouts.idle, PATH, problems),
    }
}
