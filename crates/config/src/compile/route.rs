//! `Route` → [`RoutePlan`]s and the entries of the route tables.

use std::{collections::HashMap, sync::Arc};

use bartizan_model::{
    document::{
        Document, Kind, Spec,
        route::{
            BackendRef, FilterType, HeaderMatch, PathMatch, PathMatchType, PathRewrite, PathRewriteType,
            QueryMatch, RedirectScheme, RequestRedirect, RouteFilter, RouteMatch, RouteRule, RouteSpec,
            RouteTimeouts, UrlRewrite, ValueMatchType,
        },
    },
    problem::{Code, Problem, Problems, Span},
    read::Spanned,
    scalar::{PathText, Pattern},
};
use http::{HeaderValue, Method, StatusCode};

use super::{
    attach::{Attached, Clashes, Place},
    index::{Index, spec_of},
    listener::host_pattern,
    pattern,
    policy::{header_changes, header_name, method},
};
use crate::snapshot::{
    Backends, Engineless, HeaderChangesPlan, HostPattern, ListenerPlan, MethodSet, PathRewritePlan, PathTest,
    RedirectPlan, RewritePlan, RouteAction, RouteEntry, RoutePlan, TimeoutsPlan, UpstreamPlan, ValueTest,
};

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
    upstreams: &[Arc<UpstreamPlan>],
    attached: &Attached<'_, '_>,
    problems: &mut Problems,
) -> Routes {
    let mut compiler = Compiler {
        index,
        listeners,
        upstreams: upstreams.iter().enumerate().map(|(at, plan)| (plan.name.clone(), at)).collect(),
        attached,
        clashes: Clashes::default(),
        ties: Ties::default(),
        routes: Routes { plans: Vec::new(), entries: Vec::new() },
    };
    for document in index.of(Kind::Route) {
        if let Some(spec) = spec_of!(document, Route) {
            compiler.route(document, spec, problems);
        }
    }
    compiler.clashes.into_problems(problems);
    compiler.routes
}

struct Compiler<'c, 'd> {
    index: &'c Index<'d>,
    listeners: &'c [Arc<ListenerPlan>],
    upstreams: HashMap<Arc<str>, usize>,
    attached: &'c Attached<'c, 'd>,
    clashes: Clashes,
    ties: Ties,
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
        let hosts: Vec<Option<HostPattern>> = if spec.hostnames.is_empty() {
            vec![None]
        } else {
            spec.hostnames.iter().map(|host| Some(host_pattern(host))).collect()
        };
        for (number, rule) in spec.rules.iter().enumerate() {
            self.rule(document, number, rule, &listeners, &hosts, problems);
        }
    }

    /// The listeners a route is attached to, as indices.
    fn parents(&self, spec: &RouteSpec, problems: &mut Problems) -> Vec<usize> {
        if spec.parent_refs.is_empty() {
            return (0..self.listeners.len()).collect();
        }
        let mut found = Vec::new();
        for parent in &spec.parent_refs {
            if self.index.find(Kind::Listener, &parent.name, "spec.parentRefs", problems).is_some() {
                found.extend(
                    self.listeners.iter().position(|listener| *listener.name == *parent.name.as_str()),
                );
            }
        }
        found
    }

    fn rule(
        &mut self,
        document: &Document,
        number: usize,
        rule: &Spanned<RouteRule>,
        listeners: &[usize],
        hosts: &[Option<HostPattern>],
        problems: &mut Problems,
    ) {
        let everything = [Spanned::new(RouteMatch::default(), rule.at)];
        let matches = if rule.matches.is_empty() { &everything[..] } else { rule.matches.as_slice() };
        let ways: Vec<(Span, Way)> =
            matches.iter().filter_map(|one| Some((one.at, Way::compile(one, problems)?))).collect();
        let Some(parts) = self.parts(document, rule, matches, problems) else { return };
        // Without a policy on the listener, the rule's plan is the same everywhere.
        let mut shared: Option<Arc<RoutePlan>> = None;
        for &listener in listeners {
            let Some(name) = self.listeners.get(listener).map(|listener| listener.name.clone()) else {
                continue;
            };
            let own = self.attached.concerns_listener(&name);
            let plan = match shared.clone().filter(|_| !own) {
                Some(plan) => plan,
                None => self.plan(document, number, rule, own.then_some(&*name), &parts),
            };
            if !own {
                shared = Some(plan.clone());
            }
            for host in hosts {
                for (at, way) in &ways {
                    let entry = way.entry(host.clone(), plan.clone());
                    self.ties.check(listener, &entry, document, *at, problems);
                    self.routes.entries.push((listener, entry));
                }
            }
        }
    }

    /// What of a rule does not depend on policies.
    fn parts(
        &self,
        document: &Document,
        rule: &Spanned<RouteRule>,
        matches: &[Spanned<RouteMatch>],
        problems: &mut Problems,
    ) -> Option<Parts> {
        let mut parts = Parts::new();
        let mut redirect = None;
        let mut seen: Vec<FilterType> = Vec::new();
        for filter in &rule.filters {
            if seen.contains(&filter.type_) {
                let message = format!("the filter {} is written twice", filter.type_);
                problems.push(Problem::new(Code::FieldsClash, filter.at, "spec.rules.filters", message));
            }
            seen.push(filter.type_);
            parts.filter(document, filter, matches, &mut redirect, problems);
        }
        let action = match (redirect, rule.backend_refs.as_slice()) {
            (Some(redirect), []) => Some(RouteAction::Redirect(redirect)),
            (Some(_), [first, ..]) => {
                let message = "a rule that redirects sends nothing to an upstream";
                problems.push(Problem::new(Code::FieldsClash, first.at, "spec.rules.backendRefs", message));
                None
            }
            (None, backends) => self.backends(rule.at, backends, problems).map(RouteAction::Forward),
        };
        parts.action = action?;
        Some(parts)
    }

    fn backends(&self, at: Span, refs: &[Spanned<BackendRef>], problems: &mut Problems) -> Option<Backends> {
        const PATH: &str = "spec.rules.backendRefs";
        let mut shares = Vec::new();
        let mut total = 0_u64;
        let mut missing = false;
        for backend in refs {
            if self.index.find(Kind::Upstream, &backend.name, PATH, problems).is_none() {
                missing = true;
                continue;
            }
            if backend.weight > 0
                && let Some(upstream) = self.upstreams.get(backend.name.as_str())
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
        number: usize,
        rule: &RouteRule,
        listener: Option<&str>,
        parts: &Parts,
    ) -> Arc<RoutePlan> {
        let route: Arc<str> = document.name.as_str().into();
        let rule_name = rule.name.as_ref().map(|name| name.as_str());
        let label = match rule_name {
            Some(name) => format!("{route}/{name}").into(),
            None if number == 0 => route.clone(),
            None => format!("{route}/{number}").into(),
        };
        let place = Place { listener, route: &route, rule: rule_name };
        let plan = Arc::new(RoutePlan {
            index: self.routes.plans.len(),
            label,
            action: parts.action.clone(),
            rewrite: parts.rewrite.clone(),
            request_headers: parts.request_headers.clone(),
            response_headers: parts.response_headers.clone(),
            cors: self.attached.cors(place, &mut self.clashes),
            headers: self.attached.headers(place),
            authentication: self.attached.authentication(place, &mut self.clashes),
            authorization: Engineless::NoSuchPolicy,
            limits: self.attached.limits(place),
            inspection: Engineless::NoSuchPolicy,
            caching: Engineless::NoSuchPolicy,
            screening: Engineless::NoSuchPolicy,
            record: self.attached.record(place, &mut self.clashes),
            timeouts: timeouts(&rule.timeouts),
            body_bytes_max: rule.body_bytes.as_ref().map(|bytes| bytes.get()),
            route,
        });
        self.routes.plans.push(plan.clone());
        plan
    }
}

/// What of a rule does not depend on policies.
struct Parts {
    action: RouteAction,
    rewrite: RewritePlan,
    request_headers: HeaderChangesPlan,
    response_headers: HeaderChangesPlan,
}

impl Parts {
    fn new() -> Self {
        Parts {
            action: RouteAction::Forward(Backends { shares: Vec::new(), total: 0 }),
            rewrite: RewritePlan::default(),
            request_headers: HeaderChangesPlan::default(),
            response_headers: HeaderChangesPlan::default(),
        }
    }

    fn filter(
        &mut self,
        document: &Document,
        filter: &Spanned<RouteFilter>,
        matches: &[Spanned<RouteMatch>],
        redirect: &mut Option<RedirectPlan>,
        problems: &mut Problems,
    ) {
        const PATH: &str = "spec.rules.filters";
        let written = [
            (FilterType::RequestHeaderModifier, filter.request_header_modifier.is_some()),
            (FilterType::ResponseHeaderModifier, filter.response_header_modifier.is_some()),
            (FilterType::UrlRewrite, filter.url_rewrite.is_some()),
            (FilterType::RequestRedirect, filter.request_redirect.is_some()),
        ];
        if written.iter().any(|(type_, is_written)| *is_written != (*type_ == filter.type_)) {
            problems.push(
                Problem::new(
                    Code::NotExactlyOne,
                    filter.at,
                    PATH,
                    "a filter needs exactly the field named like its `type`",
                )
                .hint(format!("with `type: {}` write the field of that name and no other", filter.type_)),
            );
            return;
        }
        if let Some(changes) = &filter.request_header_modifier {
            self.request_headers = header_changes(changes, document, PATH, problems);
        }
        if let Some(changes) = &filter.response_header_modifier {
            self.response_headers = header_changes(changes, document, PATH, problems);
        }
        if let Some(rewrite) = &filter.url_rewrite {
            self.rewrite = rewrite_plan(rewrite, filter.at, matches, problems);
        }
        if let Some(spec) = &filter.request_redirect {
            *redirect = redirect_plan(spec, filter.at, matches, problems);
        }
    }
}

fn rewrite_plan(
    rewrite: &UrlRewrite,
    at: Span,
    matches: &[Spanned<RouteMatch>],
    problems: &mut Problems,
) -> RewritePlan {
    RewritePlan {
        host: rewrite.hostname.as_ref().and_then(|host| match host.as_str().starts_with("*.") {
            true => {
                let message = "a request cannot be sent to a wildcard host";
                problems.push(Problem::new(Code::BadValue, host.at, "spec.rules.filters", message));
                None
            }
            false => HeaderValue::from_str(host.as_str()).ok(),
        }),
        path: rewrite.path.as_ref().map(|path| path_rewrite(path, at, matches, problems)),
    }
}

fn path_rewrite(
    path: &PathRewrite,
    at: Span,
    matches: &[Spanned<RouteMatch>],
    problems: &mut Problems,
) -> PathRewritePlan {
    match path.type_ {
        PathRewriteType::ReplaceFullPath => PathRewritePlan::Full(path.value.as_str().into()),
        PathRewriteType::ReplacePrefixMatch => {
            if matches.iter().any(|one| one.path.type_ != PathMatchType::PathPrefix) {
                let message = "`ReplacePrefixMatch` needs `path.type: PathPrefix` in every match";
                problems.push(Problem::new(Code::FieldsClash, at, "spec.rules.filters", message));
            }
            PathRewritePlan::Prefix(path.value.as_str().trim_end_matches('/').into())
        }
    }
}

fn redirect_plan(
    spec: &RequestRedirect,
    at: Span,
    matches: &[Spanned<RouteMatch>],
    problems: &mut Problems,
) -> Option<RedirectPlan> {
    if !matches!(*spec.status_code, 301 | 302 | 303 | 307 | 308) {
        problems.push(
            Problem::new(
                Code::BadValue,
                spec.status_code.at,
                "spec.rules.filters",
                "this status does not redirect",
            )
            .hint("write 301, 302, 303, 307 or 308"),
        );
        return None;
    }
    Some(RedirectPlan {
        status: StatusCode::from_u16(*spec.status_code).ok()?,
        scheme: spec.scheme.map(RedirectScheme::as_str),
        host: spec.hostname.as_ref().map(|host| host.as_str().into()),
        port: spec.port,
        path: spec.path.as_ref().map(|path| path_rewrite(path, at, matches, problems)),
    })
}

/// A limit of zero means that there is none.
fn timeouts(timeouts: &RouteTimeouts) -> TimeoutsPlan {
    let request = timeouts.request.get();
    TimeoutsPlan {
        request: (!request.is_zero()).then_some(request),
        backend_request: timeouts.backend_request.get(),
        idle: timeouts.idle.get(),
    }
}

/// One of a rule's `matches`, compiled.
struct Way {
    path: PathTest,
    methods: MethodSet,
    headers: Vec<(http::HeaderName, ValueTest)>,
    query: Vec<(Arc<str>, ValueTest)>,
}

impl Way {
    fn compile(one: &RouteMatch, problems: &mut Problems) -> Option<Self> {
        let path = path_test(&one.path, problems);
        let headers: Vec<_> = one.headers.iter().map(|header| header_test(header, problems)).collect();
        let query: Vec<_> = one.query_params.iter().map(|param| query_test(param, problems)).collect();
        let methods: Vec<Method> = one.methods.iter().map(method).collect();
        Some(Way {
            path: path?,
            methods: if methods.is_empty() { MethodSet::ANY } else { MethodSet::of(&methods) },
            headers: headers.into_iter().collect::<Option<_>>()?,
            query: query.into_iter().collect::<Option<_>>()?,
        })
    }

    fn entry(&self, host: Option<HostPattern>, plan: Arc<RoutePlan>) -> RouteEntry {
        RouteEntry {
            host,
            path: self.path.clone(),
            methods: self.methods,
            headers: self.headers.clone(),
            query: self.query.clone(),
            plan,
        }
    }
}

const PATH_VALUE: &str = "spec.rules.matches.path.value";

fn path_test(path: &PathMatch, problems: &mut Problems) -> Option<PathTest> {
    match path.type_ {
        PathMatchType::RegularExpression => {
            pattern::whole(&path.value, PATH_VALUE, problems).map(PathTest::Matches)
        }
        PathMatchType::Exact => plain_path(&path.value, problems).map(|text| PathTest::Exact(text.into())),
        PathMatchType::PathPrefix => {
            plain_path(&path.value, problems).map(|text| PathTest::Prefix(text.trim_end_matches('/').into()))
        }
        PathMatchType::Template => template(&path.value, problems).map(PathTest::Template),
    }
}

/// A path in a document must be canonical, else no request could ever match it.
fn plain_path<'p>(value: &'p Spanned<String>, problems: &mut Problems) -> Option<&'p str> {
    match PathText::parse(value) {
        Ok(_) => Some(value.value.as_str()),
        Err(wrong) => {
            let problem = Problem::new(Code::BadPath, value.at, PATH_VALUE, wrong.message);
            problems.push(match wrong.hint {
                Some(hint) => problem.hint(hint),
                None => problem,
            });
            None
        }
    }
}

fn template(value: &Spanned<String>, problems: &mut Problems) -> Option<Vec<Option<Arc<str>>>> {
    // With each variable replaced by a plain segment the rest must be a canonical path.
    let mut plain = String::new();
    let mut parts = Vec::new();
    let Some(segments) = value.strip_prefix('/') else {
        return plain_path(value, problems).map(|_| Vec::new());
    };
    for segment in segments.split('/') {
        plain.push('/');
        match segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
            Some(name)
                if !name.is_empty()
                    && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b)) =>
            {
                plain.push('x');
                parts.push(None);
            }
            _ if segment.contains(['{', '}']) => {
                let message = format!("the segment `{segment}` is neither text nor a variable");
                problems.push(
                    Problem::new(Code::BadPath, value.at, PATH_VALUE, message)
                        .hint("a variable is a whole segment: `/orders/{id}/lines`"),
                );
                return None;
            }
            _ => {
                plain.push_str(segment);
                parts.push(Some(segment.into()));
            }
        }
    }
    plain_path(&Spanned::new(plain, value.at), problems)?;
    Some(parts)
}

fn header_test(
    header: &Spanned<HeaderMatch>,
    problems: &mut Problems,
) -> Option<(http::HeaderName, ValueTest)> {
    let test = value_test(
        header.type_,
        header.value.value.as_ref(),
        header.at,
        "spec.rules.matches.headers",
        problems,
    )?;
    Some((header_name(&header.name), test))
}

fn query_test(param: &Spanned<QueryMatch>, problems: &mut Problems) -> Option<(Arc<str>, ValueTest)> {
    let test = value_test(
        param.type_,
        param.value.value.as_ref(),
        param.at,
        "spec.rules.matches.queryParams",
        problems,
    )?;
    Some((param.name.as_str().into(), test))
}

fn value_test(
    type_: ValueMatchType,
    value: Option<&Spanned<Pattern>>,
    at: Span,
    path: &str,
    problems: &mut Problems,
) -> Option<ValueTest> {
    match (type_, value) {
        (ValueMatchType::Present, None) => Some(ValueTest::Present),
        (ValueMatchType::Exact, Some(value)) => Some(ValueTest::Exact(value.as_str().into())),
        (ValueMatchType::RegularExpression, Some(value)) => {
            pattern::whole(&Spanned::new(value.as_str().to_owned(), value.at), path, problems)
                .map(ValueTest::Matches)
        }
        (ValueMatchType::Present, Some(value)) => {
            let message = "`value` has no meaning with `type: Present`";
            problems.push(Problem::new(Code::FieldsClash, value.at, path, message));
            None
        }
        (_, None) => {
            problems.push(Problem::new(
                Code::MissingField,
                at,
                path,
                format!("`type: {type_}` needs a `value`"),
            ));
            None
        }
    }
}

/// Finds entries of which neither is more specific, so that documents' order would have to decide.
#[derive(Default)]
struct Ties {
    seen: HashMap<TieKey, Vec<Known>>,
}

type TieKey = (usize, Option<HostPattern>, String, usize, usize);

struct Known {
    entry: RouteEntry,
    at: Span,
    label: String,
}

impl Ties {
    fn check(
        &mut self,
        listener: usize,
        entry: &RouteEntry,
        document: &Document,
        at: Span,
        problems: &mut Problems,
    ) {
        let key =
            (listener, entry.host.clone(), path_key(&entry.path), entry.headers.len(), entry.query.len());
        let known = self.seen.entry(key).or_default();
        if let Some(other) = known.iter().find(|known| ties(&known.entry, entry)) {
            let message =
                format!("Route/{} and Route/{} match the same requests", document.name.as_str(), other.label);
            problems.push(
                Problem::new(Code::RouteTie, at, "spec.rules.matches", message)
                    .also(other.at, "the other one is here")
                    .hint("make one of them more specific: another host, path, method or condition"),
            );
            return;
        }
        known.push(Known { entry: entry.clone(), at, label: document.name.as_str().to_owned() });
    }
}

/// Same place, same number of conditions: a tie if one request can meet both and neither names its methods more
/// narrowly than the other.
fn ties(one: &RouteEntry, other: &RouteEntry) -> bool {
    let narrows = |entry: &RouteEntry| entry.methods != MethodSet::ANY;
    narrows(one) == narrows(other)
        && one.methods.overlaps(other.methods)
        && !disjoint(&one.headers, &other.headers)
        && !disjoint(&one.query, &other.query)
}

/// Whether some name must have two different exact values.
fn disjoint<N: PartialEq>(one: &[(N, ValueTest)], other: &[(N, ValueTest)]) -> bool {
    one.iter().any(|(name, test)| {
        other.iter().any(|(other_name, other_test)| match (test, other_test) {
            (ValueTest::Exact(a), ValueTest::Exact(b)) => name == other_name && a != b,
            _ => false,
        })
    })
}

fn path_key(path: &PathTest) -> String {
    match path {
        PathTest::Exact(text) => format!("={text}"),
        PathTest::Prefix(text) => format!("^{text}"),
        PathTest::Template(parts) => {
            // A template without variables is an exact path, and competes with one.
            let mut key = "=".to_owned();
            for part in parts {
                key.push('/');
                key.push_str(part.as_deref().unwrap_or("{}"));
            }
            key
        }
        PathTest::Matches(regex) => format!("~{}", regex.as_str()),
    }
}
