//! **route**: which rule, and with it which policies?
//!
//! Only what a route names is reachable. The CORS preflight is answered here: it needs the route's policy and must
//! not need credentials. Header policies are judged here too, before a credential is looked at.

use std::sync::Arc;

use bartizan_config::snapshot::{
    Bite, Captures, CorsPlan, HeaderPlan, ListenerPlan, Lookup, RedirectPlan, RouteAction, RouteAsk,
    RouteMatch, RoutePlan, Segment,
};
use bartizan_message::RequestHead;
use bartizan_model::{Denial, Mode, Reason, Stage};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};

use super::Admitted;
use crate::{
    answer::AnswerBody,
    exchange::{Exchange, Shared, Stop, Why},
    overload::{Step, sheds},
    spoken::Spoken,
};

pub(crate) mod desk;
pub(crate) mod resource;

/// The proof that a rule publishes what the request asks for, and that its header policies hold.
#[must_use]
pub struct Routed {
    admitted: Admitted,
    plan: Arc<RoutePlan>,
    prefix_bytes: usize,
    template: Option<Arc<[Segment]>>,
}

impl Routed {
    /// The head.
    pub(crate) fn head(&self) -> &RequestHead {
        self.admitted.head()
    }

    /// The rule.
    pub(crate) fn plan(&self) -> &Arc<RoutePlan> {
        &self.plan
    }

    /// How many bytes of the path a prefix match covered.
    pub(crate) fn prefix_bytes(&self) -> usize {
        self.prefix_bytes
    }

    /// What stands in the path for the variables of the rule's template.
    pub(crate) fn captures(&self) -> Captures<'_> {
        Captures { template: self.template.as_deref(), path: self.head().path().as_str() }
    }

    /// The proof before this one, for whoever sends the request on.
    pub(super) fn into_admitted(self) -> Admitted {
        self.admitted
    }
}

/// Finds the rule, answers preflights and redirects, and judges the header policies.
pub fn route(x: Exchange<Admitted>) -> Result<Exchange<Routed>, Stop> {
    let mut x = x;
    // Before the redirect: a listener that names its hosts sends nobody to another one.
    if let Some(denial) = wrong_host(&x.shared, x.proof.head()) {
        return Err(x.deny(Stage::Route, denial));
    }
    if let Some(port) = x.shared.listener_plan().redirect_https_port {
        let answer = redirect_https(x.proof.head(), port);
        return Err(answered(x, answer));
    }
    if let Some(answer) = resource::metadata(&x.shared, x.proof.head()) {
        return Err(answered(x, answer));
    }
    let Found { plan, prefix_bytes, template } = match find(&mut x.shared, x.proof.head()) {
        Ok(found) => found,
        Err(denial) => return Err(x.deny(Stage::Route, denial)),
    };
    note(&mut x.shared, &plan, x.proof.head());
    match &plan.action {
        RouteAction::Models => x.shared.dress.spoken = Some(Spoken::of(x.proof.head(), prefix_bytes)),
        RouteAction::Prompt(_) => x.shared.dress.spoken = Some(Spoken::of_prompt(x.proof.head())),
        RouteAction::Forward(_) | RouteAction::Redirect(_) => {}
    }
    if let Some(answer) = cors(&mut x.shared, &plan, x.proof.head()) {
        return Err(answered(x, answer));
    }
    // After the preflight, and dressed for pages: a page is told, and asks again later.
    if let Some(denial) = shed(&mut x.shared, &plan) {
        return Err(x.deny(Stage::Route, denial));
    }
    if let Some(denial) = header_denial(&mut x.shared, &plan, x.proof.head()) {
        return Err(x.deny(Stage::Route, denial));
    }
    if let RouteAction::Redirect(redirect) = &plan.action {
        let answer = redirect_to(redirect, x.proof.head(), prefix_bytes);
        return Err(answered(x, answer));
    }
    Ok(x.prove(|admitted| Routed { admitted, plan, prefix_bytes, template }))
}

/// Refuses what matters least while the core is pressed: before a credential is looked at or a byte of a body is read.
fn shed(shared: &mut Shared, plan: &RoutePlan) -> Option<Denial> {
    let pressure = shared.core.gauge.pressure();
    // One comparison where nothing presses. A rehearsal is asked what documents say, not how things stand.
    if !pressure.reaches(Step::Shed) || shared.rehearsing.is_some() {
        return None;
    }
    let draw = shared.core.draw();
    if !sheds(pressure, plan.priority, draw >> 8) {
        return None;
    }
    shared.core.gauge.took(Step::Shed, 1);
    // One to four seconds, so that those who were refused together do not come again together.
    shared.dress(header::RETRY_AFTER, HeaderValue::from(1 + draw % 4));
    let detail = format!("{} is {} percent used", shared.core.gauge.cause(), pressure.percent());
    Some(Denial::new(Reason::Overloaded).because(detail))
}

fn answered<S>(x: Exchange<S>, answer: Response<AnswerBody>) -> Stop {
    Stop { shared: x.shared, why: Why::Answered(Box::new(answer)) }
}

fn wrong_host(shared: &Shared, head: &RequestHead) -> Option<Denial> {
    let name = shared.connection.tls.as_ref().and_then(|tls| tls.server_name.as_deref());
    judge_host(shared.listener_plan(), name, head)
}

/// A host that the listener does not serve, or another than the TLS name: RFC 9110 §15.5.20.
pub fn judge_host(listener: &ListenerPlan, server_name: Option<&str>, head: &RequestHead) -> Option<Denial> {
    let host = head.authority().host();
    if !listener.hostnames.is_empty() && !listener.hostnames.iter().any(|pattern| pattern.matches(host)) {
        return Some(Denial::new(Reason::WrongHost).because("the listener does not serve this host"));
    }
    // A connection opened for one name must not carry requests for another: the certificate, and later the trust in a
    // client's certificate, were settled for that name (CVE-2025-23419 and its like).
    (server_name? != host)
        .then(|| Denial::new(Reason::WrongHost).because("the connection was opened for another name"))
}

/// A rule that matches, and how.
struct Found {
    plan: Arc<RoutePlan>,
    prefix_bytes: usize,
    template: Option<Arc<[Segment]>>,
}

impl Found {
    fn of(found: &RouteMatch<'_>) -> Self {
        Found {
            plan: found.plan.clone(),
            prefix_bytes: found.prefix_bytes,
            template: found.template.cloned(),
        }
    }
}

/// Looks the request up.
fn find(shared: &mut Shared, head: &RequestHead) -> Result<Found, Denial> {
    // A preflight is looked up as the request that it asks for, but only where a policy answers it: otherwise OPTIONS
    // would pass to an upstream by a rule that does not publish it.
    if let Some(method) = preflight_method(head)
        && let Lookup::Found(found) = look_up(shared, head, &method)
        && let Some(cors) = &found.plan.cors.enforced
        && mode_for(shared, cors.bite, head) == Mode::Enforce
    {
        return Ok(Found::of(&found));
    }
    let methods = match look_up(shared, head, head.method()) {
        Lookup::Found(found) => return Ok(Found::of(&found)),
        Lookup::Nothing => return Err(Denial::new(Reason::NoRoute)),
        Lookup::OtherMethods(methods) => methods,
    };
    let allow: Vec<String> = methods.iter().map(|method| method.to_string()).collect();
    if let Ok(allow) = HeaderValue::try_from(allow.join(", ")) {
        shared.dress(header::ALLOW, allow);
    }
    Err(Denial::new(Reason::MethodNotAllowed))
}

fn look_up<'s>(shared: &'s Shared, head: &RequestHead, method: &Method) -> Lookup<'s> {
    let ask = RouteAsk {
        host: head.authority().host(),
        path: head.path().as_str(),
        method,
        headers: head.headers(),
        query: head.path().raw_query(),
    };
    // A listener that the snapshot does not know any more publishes nothing.
    shared.listener().map_or(Lookup::Nothing, |listener| listener.routes.find(&ask))
}

/// The method that a CORS preflight asks for, if the request is one.
pub fn preflight_method(head: &RequestHead) -> Option<Method> {
    if *head.method() != Method::OPTIONS || !head.headers().contains_key(header::ORIGIN) {
        return None;
    }
    Method::from_bytes(head.headers().get(header::ACCESS_CONTROL_REQUEST_METHOD)?.as_bytes()).ok()
}

fn note(shared: &mut Shared, plan: &Arc<RoutePlan>, head: &RequestHead) {
    if shared.is_described() {
        shared.record.route = Some(plan.route.clone());
    }
    shared.record.route_id = shared.live.route_id(plan);
    shared.record.plan = plan.record.clone();
    shared.record.take_headers(head.headers());
    shared.dress.route = Some(plan.clone());
}

/// The mode that a policy has for this caller. The caller's share is only worked out where a percentage asks for it.
pub(super) fn mode_for(shared: &Shared, bite: Bite, head: &RequestHead) -> Mode {
    match (bite.mode, bite.percent) {
        (Mode::Enforce, 0..=99) => bite.for_share(shared.share(head)),
        (mode, _) => mode,
    }
}

// === CORS ===

/// Answers a preflight, or dresses the answer to a request from a page. The Fetch standard, §3.2.
fn cors(shared: &mut Shared, plan: &RoutePlan, head: &RequestHead) -> Option<Response<AnswerBody>> {
    let origin = head.headers().get(header::ORIGIN);
    for policy in &plan.cors.shadow {
        watch_cors(shared, policy, origin);
    }
    let policy = plan.cors.enforced.as_ref()?;
    if mode_for(shared, policy.bite, head) != Mode::Enforce {
        watch_cors(shared, policy, origin);
        return None;
    }
    shared.dress.owns_cors = true;
    let any =
        policy.origins.iter().any(|pattern| matches!(pattern, bartizan_config::snapshot::OriginPattern::Any));
    if !any {
        // Also without an Origin: a cache must not give a page the answer that was made for somebody else.
        shared.dress(header::VARY, HeaderValue::from_static("Origin"));
    }
    // Browsers send one; of two, a judge behind us could believe the other.
    let single = head.headers().get_all(header::ORIGIN).iter().count() == 1;
    let allowed = origin.filter(|origin| single && is_allowed(policy, origin));
    if let Some(origin) = allowed {
        let value = if any { HeaderValue::from_static("*") } else { origin.clone() };
        shared.dress(header::ACCESS_CONTROL_ALLOW_ORIGIN, value);
        if policy.credentials {
            shared.dress(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
    }
    let Some(method) = preflight_method(head) else {
        if let (Some(_), Some(expose)) = (allowed, &policy.expose_value) {
            shared.dress(header::ACCESS_CONTROL_EXPOSE_HEADERS, expose.clone());
        }
        return None;
    };
    // A preflight that is not allowed gets an answer without permissions: the browser then refuses the page.
    if allowed.is_some() && policy.methods.contains(&method) && headers_allowed(policy, head.headers()) {
        shared.dress(header::ACCESS_CONTROL_ALLOW_METHODS, policy.methods_value.clone());
        if let Some(headers) = &policy.headers_value {
            shared.dress(header::ACCESS_CONTROL_ALLOW_HEADERS, headers.clone());
        }
        shared.dress(header::ACCESS_CONTROL_MAX_AGE, policy.max_age_value.clone());
    }
    let mut answer = Response::new(AnswerBody::empty());
    *answer.status_mut() = StatusCode::NO_CONTENT;
    Some(answer)
}

/// Whether a page of this origin may call.
pub fn is_allowed(policy: &CorsPlan, origin: &HeaderValue) -> bool {
    origin.to_str().is_ok_and(|origin| policy.origins.iter().any(|pattern| pattern.matches(origin)))
}

/// Whether a preflight asks for allowed headers only.
pub fn headers_allowed(policy: &CorsPlan, headers: &HeaderMap) -> bool {
    headers.get_all(header::ACCESS_CONTROL_REQUEST_HEADERS).iter().all(|value| {
        let Ok(text) = value.to_str() else { return false };
        text.split(',').map(str::trim).filter(|name| !name.is_empty()).all(|name| {
            HeaderName::from_bytes(name.as_bytes()).is_ok_and(|name| policy.headers.contains(&name))
        })
    })
}

fn watch_cors(shared: &mut Shared, policy: &CorsPlan, origin: Option<&HeaderValue>) {
    if origin.is_some_and(|origin| !is_allowed(policy, origin)) {
        let detail = Some("the origin would get no permission".into());
        shared.would_deny(Stage::Route, &policy.label, Reason::HeaderRefused, detail);
    }
}

// === header policies ===

fn header_denial(shared: &mut Shared, plan: &RoutePlan, head: &RequestHead) -> Option<Denial> {
    let mut first = None;
    for policy in &plan.headers {
        // After the first denial the policies in shadow still watch: their record must not depend on others.
        let mode = mode_for(shared, policy.bite, head);
        if first.is_some() && mode == Mode::Enforce {
            continue;
        }
        if let Some(denial) = judge_headers(policy, head.headers()) {
            first = first.or(shared.weigh(mode, Stage::Route, &policy.label, denial));
        }
    }
    first
}

/// Judges one policy: every value of every header, not the first.
pub fn judge_headers(policy: &HeaderPlan, headers: &HeaderMap) -> Option<Denial> {
    let refused = |name: &HeaderName, what: &str| {
        Some(Denial::new(Reason::HeaderRefused).because(format!("header {name}: {what}")))
    };
    for name in &policy.forbidden {
        if headers.contains_key(name) {
            return refused(name, "forbidden");
        }
    }
    for check in &policy.checks {
        let mut values = headers.get_all(&check.name).iter().peekable();
        if check.required && values.peek().is_none() {
            return refused(&check.name, "required and missing");
        }
        for value in values {
            if value.len() < check.length_min {
                return refused(&check.name, "too short");
            }
            if value.len() > check.length_max {
                return refused(&check.name, "too long");
            }
            let matches = |regex: &regex::Regex| value.to_str().is_ok_and(|text| regex.is_match(text));
            if !check.pattern.as_ref().is_none_or(matches) {
                return refused(&check.name, "does not match its pattern");
            }
        }
    }
    None
}

// === redirects ===

fn redirect_https(head: &RequestHead, port: u16) -> Response<AnswerBody> {
    redirect_to(&https_redirect(port), head, 0)
}

/// What a listener with `redirectHttps` does to every request. 308 keeps method and body: RFC 9110 §15.4.9.
pub const fn https_redirect(port: u16) -> RedirectPlan {
    RedirectPlan {
        status: StatusCode::PERMANENT_REDIRECT,
        scheme: Some("https"),
        host: None,
        port: Some(port),
        path: None,
    }
}

fn redirect_to(plan: &RedirectPlan, head: &RequestHead, prefix_bytes: usize) -> Response<AnswerBody> {
    let mut answer = Response::new(AnswerBody::empty());
    *answer.status_mut() = plan.status;
    // Authority and path are canonical, so this always is a header value; without one the answer stays a redirect
    // that leads nowhere.
    if let Ok(location) = HeaderValue::try_from(location(plan, head, prefix_bytes)) {
        answer.headers_mut().insert(header::LOCATION, location);
    }
    answer
}

/// Where a redirect leads.
pub fn location(plan: &RedirectPlan, head: &RequestHead, prefix_bytes: usize) -> String {
    let scheme = plan.scheme.unwrap_or(head.scheme().as_str());
    let host = plan.host.as_deref().unwrap_or(head.authority().host());
    // The request's own port only fits its own scheme.
    let port = plan.port.or(if plan.scheme.is_none() && plan.host.is_none() {
        head.authority().port()
    } else {
        None
    });
    let default = if scheme == "https" { 443 } else { 80 };
    let mut location = format!("{scheme}://{host}");
    if let Some(port) = port.filter(|port| *port != default) {
        location.push_str(&format!(":{port}"));
    }
    match &plan.path {
        Some(path) => location.push_str(&path.rewrite(head.path().as_str(), prefix_bytes)),
        None => location.push_str(head.path().as_str()),
    }
    if let Some(query) = head.path().raw_query() {
        location.push('?');
        location.push_str(query);
    }
    location
}
