//! **forward**: to which endpoint?
//!
//! What is sent is what was judged: the canonical path, the cleaned headers, the verified identity. Nothing of the
//! caller's decides where a request goes beyond what the route says.

mod again;
mod llm;
mod mirror;
mod rehearsed;

use std::{cell::Cell, pin::pin, sync::Arc, time::Instant};

use bartizan_config::snapshot::{
    Balancing, HashKey, MethodPlan, RouteAction, RoutePlan, TokenPlacePlan, UpstreamPlan,
};
use bartizan_identity::{Identity, Method};
use bartizan_message::{RfcForwarded, Tolerate, Upgrade};
use bartizan_model::{Denial, Mode, Reason, Stage};
use bartizan_telemetry::metrics::Outcome as Counted;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Uri, header};
use hyper::upgrade::OnUpgrade;

use super::{
    Fill, Keeping, Missed,
    identify::{remove_cookies, verified_token},
    inspect::{Bench, Sendable},
    route::mode_for,
};
use crate::{
    body::{BodyWatch, Deadlines, Origin, RequestBody},
    exchange::{Exchange, Shared, Stop, Why},
    patience::{TimeOver, within},
    share::block_key,
    upstream::{
        self, ForwardError, ForwardErrorKind, Pick, PreparedUpstream, Sent, Subject, UpstreamBody,
        balance::hash_key,
    },
};

const X_CONSUMER_NAME: HeaderName = HeaderName::from_static("x-consumer-name");
const X_CONSUMER_ROLES: HeaderName = HeaderName::from_static("x-consumer-roles");
const CLIENT_CERT: HeaderName = HeaderName::from_static("client-cert");
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

pub(crate) use rehearsed::rehearse;

/// The proof that an upstream answered.
#[must_use]
pub struct Forwarded {
    response: Box<Response<UpstreamBody<RequestBody>>>,
    rest: Rest,
}

/// What beside the response decides how it goes on.
pub(crate) struct Rest {
    /// The protocol that the caller asked to change to.
    pub(crate) asked: Option<Box<Upgrade>>,
    /// The caller's end of the connection for that.
    pub(crate) upgrade: Option<OnUpgrade>,
    /// How much of the request's body came.
    pub(crate) watch: BodyWatch,
    /// Which endpoint answers.
    pub(crate) origin: Origin,
    /// How long the answer may take.
    pub(crate) deadlines: Deadlines,
    /// Policies that judge the answer.
    pub(crate) bench: Option<Box<Bench>>,
    /// What the cache does with the answer, once it is screened.
    pub(crate) fill: Option<Box<Fill>>,
    /// What keeps it while it flows.
    pub(crate) keeping: Option<Box<Keeping>>,
}

impl Forwarded {
    /// Whether policies judge the answer.
    pub(super) fn is_judged(&self) -> bool {
        self.rest.bench.is_some()
    }

    /// The response and the rest, for `screen`.
    pub(super) fn into_response(self) -> (Box<Response<UpstreamBody<RequestBody>>>, Rest) {
        (self.response, self.rest)
    }
}

/// Sends the request to an endpoint and waits for the head of its answer.
///
/// What is sent is settled before the future begins: it has no room for what that was made from.
pub fn forward(x: Exchange<Missed>) -> impl Future<Output = Result<Exchange<Forwarded>, Stop>> {
    let Exchange { shared, proof } = x;
    let (inspected, fill) = proof.into_inspected();
    let mut sendable = inspected.into_sendable();
    let way = match sendable.asking.take() {
        Some(asking) => Err(Box::pin(llm::serve(shared, sendable, asking))),
        None => Ok(Asking::of(shared, sendable, fill)),
    };
    async move {
        match way {
            Ok(asking) => asking?.answered().await,
            Err(model) => Err(model.await),
        }
    }
}

fn choose(shared: &mut Shared, plan: &RoutePlan) -> Result<(usize, Arc<PreparedUpstream>), Denial> {
    let RouteAction::Forward(backends) = &plan.action else {
        // `route` answers redirects; reaching this is a bug of ours, and it refuses.
        return Err(Denial::new(Reason::InternalError).because("a redirect reached forward"));
    };
    let draw = shared.core.draw();
    if let Some(note) = &mut shared.record.capture {
        note.draw = Some(draw);
    }
    let index = backends.pick(draw);
    let Some(prepared) = shared.live.upstreams.at(index) else {
        return Err(Denial::new(Reason::NoEndpoint).because("the upstream is not prepared"));
    };
    if shared.live.logs {
        shared.record.upstream = Some(prepared.plan.name.clone());
    }
    shared.record.upstream_id = shared.live.upstream_id(index);
    Ok((index, prepared.clone()))
}

fn hash(prepared: &PreparedUpstream, sendable: &Sendable) -> Option<u64> {
    let Balancing::ConsistentHash(key) = &prepared.plan.balancing else { return None };
    let client = || hash_key(&block_key(sendable.head.client()).to_be_bytes());
    Some(match key {
        HashKey::ClientAddress => client(),
        HashKey::Path => hash_key(sendable.head.path().as_str().as_bytes()),
        HashKey::Consumer => match sendable.identity.consumer() {
            Some(consumer) => hash_key(consumer.as_bytes()),
            None => client(),
        },
        HashKey::Header(name) => match sendable.head.headers().get(&**name) {
            Some(value) => hash_key(value.as_bytes()),
            None => client(),
        },
    })
}

/// The caller's verified token, where the upstream exchanges it. A caller who was known in another way has none, and is
/// refused: the upstream would take the gateway for the caller.
fn subject(upstream: &UpstreamPlan, sendable: &Sendable) -> Result<Option<Box<Subject>>, Denial> {
    if !upstream.exchanges_tokens() {
        return Ok(None);
    }
    let policy = sendable.plan.authentication.enforced.as_ref();
    let token = sendable.identity.token().zip(policy).and_then(|(token, policy)| {
        verified_token(sendable.head.headers(), policy.methods.iter().map(MethodPlan::places), token.id())
    });
    match token {
        // Boxed: few upstreams exchange tokens, and every request's future would be larger.
        Some(token) => Ok(Some(Box::new(Subject::verified(token)))),
        None => Err(Denial::new(Reason::NotAllowed)
            .because("the upstream takes a token in exchange for the caller's, who was not known by one")),
    }
}

/// Makes the request that the upstream sees.
fn compose(shared: &Shared, sendable: Sendable, is_judged: bool) -> Result<Request<RequestBody>, Denial> {
    let Sendable { mut head, body, plan, prefix_bytes, consumer, granted, identity, .. } = sendable;
    if plan.headers.iter().any(|policy| policy.bite.percent < 100) {
        // Before its headers leave the head, because the caller's share is taken from them.
        shared.share(&head);
    }
    let mut headers = std::mem::take(head.headers_mut());
    // A credential meant for the gateway never reaches an upstream, whether or not it was asked for here.
    for name in shared.live.credential_headers() {
        headers.remove(name);
    }
    // Sessions are the gateway's, and browsers send their cookies to every route of a host.
    for plan in shared.live.sign_ins() {
        remove_cookies(&mut headers, |name| plan.owns_cookie(name));
    }
    if identity.method() == Method::Basic {
        // The password was for the gateway.
        headers.remove(header::AUTHORIZATION);
    }
    // Tokens were made for the gateway too, unless the policy says that they go on.
    for place in plan.authentication.enforced.iter().flat_map(|policy| policy.kept_places()) {
        match place {
            // Another scheme's credentials were not for this method.
            TokenPlacePlan::Bearer if !is_bearer(&headers) => {}
            TokenPlacePlan::Bearer => drop(headers.remove(header::AUTHORIZATION)),
            TokenPlacePlan::Header(name) => drop(headers.remove(name)),
            TokenPlacePlan::Cookie(name) => remove_cookies(&mut headers, |known| known == name.as_bytes()),
        }
    }
    for policy in &plan.headers {
        if !policy.request.is_empty() && mode_for(shared, policy.bite, &head) == Mode::Enforce {
            policy.request.apply(&mut headers);
        }
    }
    if !plan.request_headers.is_empty() {
        plan.request_headers.apply(&mut headers);
    }
    // After the changes: none of them can touch what the gateway vouches for.
    if let Some(consumer) = &consumer {
        headers.insert(X_CONSUMER_NAME, consumer.name_value.clone());
    }
    let roles = match (&granted, &consumer) {
        (Some(granted), _) => granted.roles_value.as_ref(),
        (None, consumer) => consumer.as_ref().and_then(|consumer| consumer.roles_value.as_ref()),
    };
    if let Some(roles) = roles {
        headers.insert(X_CONSUMER_ROLES, roles.clone());
    }
    if passes_certificate(&plan, &identity)
        && let Some(value) = super::identify::client_cert(shared)
    {
        headers.insert(CLIENT_CERT, value);
    }
    if shared.id.is_minted() {
        // One that was sent and accepted is in the headers already.
        headers.insert(X_REQUEST_ID, shared.id_value.clone());
    }
    head.write_forwarding(&mut headers, &shared.connection.address, RfcForwarded::Omit);
    if is_judged {
        // An answer is judged as a whole and as it is: in no coding, and not in pieces that each look harmless.
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        headers.remove(header::RANGE);
        headers.remove(header::IF_RANGE);
    }
    if let Some(host) = &plan.rewrite.host {
        headers.insert(header::HOST, host.clone());
    }
    if let Some(asked) = head.upgrade() {
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, asked.protocol().clone());
    }
    if head.accepts_trailers() && head.upgrade().is_none() {
        // RFC 9110 §10.1.4: TE is for this hop, and whoever sends it says so.
        headers.insert(header::CONNECTION, HeaderValue::from_static("te"));
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
    let mut request = Request::new(body);
    *request.method_mut() = head.method().clone();
    *request.uri_mut() = target(&head, &plan, prefix_bytes, &shared.listener_plan().admission.tolerate)?;
    *request.headers_mut() = headers;
    Ok(request)
}

/// Whether the route's policy passes on the certificate by which the caller was identified.
fn passes_certificate(plan: &RoutePlan, identity: &Identity) -> bool {
    let passes = |method: &MethodPlan| matches!(method, MethodPlan::ClientCertificate(plan) if plan.pass_on);
    identity.method() == Method::ClientCertificate
        && plan.authentication.enforced.as_ref().is_some_and(|policy| policy.methods.iter().any(passes))
}

fn is_bearer(headers: &HeaderMap) -> bool {
    let value = headers.get(header::AUTHORIZATION).map(HeaderValue::as_bytes);
    value.and_then(|value| value.get(..6)).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"bearer"))
}

/// The path that the upstream sees: the canonical one, or the rewritten one made canonical again. A rewrite that
/// would change under a second reading is refused (attack case 39), but for what the listener tolerates.
pub fn target(
    head: &bartizan_message::RequestHead,
    plan: &RoutePlan,
    prefix_bytes: usize,
    tolerate: &Tolerate,
) -> Result<Uri, Denial> {
    let Some(rewrite) = &plan.rewrite.path else { return Ok(Uri::from(head.path().target().clone())) };
    let path = rewrite.rewrite(head.path().as_str(), prefix_bytes);
    let rewritten = head.path().with_path(path.as_bytes(), tolerate)?;
    Ok(Uri::from(rewritten.target().clone()))
}

/// Why nothing came back.
enum Failure {
    Upstream(ForwardError),
    /// As many are with the upstreams as this policy lets be.
    Shed(Arc<str>),
    /// The head did not come in time; the endpoint that was asked, if one was.
    TooSlow(Option<usize>),
}

/// An upstream that is asked. Boxed, so that its future is moved as a pointer.
struct Asking {
    shared: Box<Shared>,
    plan: Arc<RoutePlan>,
    index: usize,
    prepared: Arc<PreparedUpstream>,
    subject: Option<Box<Subject>>,
    hash: Option<u64>,
    /// When it is asked.
    since: Instant,
    /// When the head of the answer must have come.
    head_by: Instant,
    /// When the whole request must be over.
    end: Option<Instant>,
    watch: BodyWatch,
    asked: Option<Box<Upgrade>>,
    upgrade: Option<OnUpgrade>,
    /// Policies that judge the answer.
    bench: Option<Box<Bench>>,
    /// What the cache does with the answer.
    fill: Option<Box<Fill>>,
    /// An endpoint that has just failed.
    except: Option<usize>,
    /// How often it was sent before.
    before: u16,
    /// In a slot, and passed on by reference, because every move of a request is a copy of a quarter of a kilobyte.
    request: Option<Request<RequestBody>>,
}

impl Asking {
    /// Chooses the upstream and makes what it is sent.
    fn of(
        mut shared: Box<Shared>,
        mut sendable: Sendable,
        mut fill: Option<Box<Fill>>,
    ) -> Result<Box<Self>, Stop> {
        let bench = sendable.bench.take();
        let (index, prepared) = match choose(&mut shared, &sendable.plan) {
            Ok(chosen) => chosen,
            Err(denial) => return Err(Exchange { shared, proof: () }.deny(Stage::Forward, denial)),
        };
        let subject = match subject(&prepared.plan, &sendable) {
            Ok(subject) => subject,
            Err(denial) => return Err(Exchange { shared, proof: () }.deny(Stage::Forward, denial)),
        };
        let hash = hash(&prepared, &sendable);
        let since = Instant::now();
        let watch = sendable.watch.clone();
        shared.record.asks_upstream(since, watch.clone());
        let asked = sendable.head.upgrade().cloned().map(Box::new);
        let upgrade = sendable.upgrade.take();
        let plan = sendable.plan.clone();
        let request = match compose(&shared, sendable, bench.is_some()) {
            Ok(request) => Some(request),
            Err(denial) => return Err(Exchange { shared, proof: () }.deny(Stage::Forward, denial)),
        };
        // The whole request's limit covers the wait for the head too.
        let end = plan.timeouts.request.map(|limit| shared.record.started + limit);
        let backend = since + plan.timeouts.backend_request;
        let head_by = end.map_or(backend, |end| end.min(backend));
        if let Some(fill) = &mut fill {
            fill.sent(&shared);
        }
        Ok(Box::new(Asking {
            shared,
            plan,
            index,
            prepared,
            subject,
            hash,
            since,
            head_by,
            end,
            watch,
            asked,
            upgrade,
            bench,
            fill,
            except: None,
            before: 0,
            request,
        }))
    }

    /// Asks, and makes the proof or the refusal of what comes back.
    async fn answered(mut self: Box<Self>) -> Result<Exchange<Forwarded>, Stop> {
        let outcome = match self.plan.patience.clone() {
            None => self.send().await,
            // Boxed: no other request pays for its room.
            Some(policy) => Box::pin(again::send(&mut self, policy)).await,
        };
        let Asking {
            mut shared,
            plan,
            index,
            prepared,
            end,
            watch,
            asked,
            upgrade,
            bench,
            mut fill,
            before,
            ..
        } = *self;
        match outcome {
            Ok(Sent { response, endpoint, index, attempts, .. }) => {
                shared.record.upstream_attempts = u16::from(attempts) + before;
                shared.record.endpoint = Some(endpoint);
                if let Some(fill) = &mut fill {
                    fill.came(response.status(), response.version(), response.headers());
                }
                let deadlines = Deadlines { idle: plan.timeouts.idle, end };
                let origin = Origin { upstream: prepared, endpoint: index };
                let rest = Rest { asked, upgrade, watch, origin, deadlines, bench, fill, keeping: None };
                Ok(Exchange { shared, proof: Forwarded { response, rest } })
            }
            Err(failure) => {
                let denial = failed(&mut shared, index, &watch, failure);
                shared.record.upstream_attempts += before;
                // A request that the cache knows has no body, so the failure is not its caller's.
                if let Some(answer) = fill.and_then(|fill| fill.rescue(&mut shared, None)) {
                    return Err(Stop { shared, why: Why::Kept(answer) });
                }
                Err(Exchange { shared, proof: () }.deny(Stage::Forward, denial))
            }
        }
    }

    async fn send(&mut self) -> Result<Sent<RequestBody>, Failure> {
        let Asking { shared, prepared, subject, watch, request, .. } = self;
        let tries = Tries::new(shared, self.index);
        tries.chosen.set(self.except.take());
        let pick = Pick {
            fetcher: shared.core.runtime.outside().map(|outside| &outside.fetcher),
            subject: subject.as_deref(),
            hash: self.hash,
            now: Some(self.since),
            chosen: Some(&tries.chosen),
            given_up: Some(&tries.given_up),
        };
        let sending = pin!(upstream::send(&shared.core.pools, prepared, &pick, request));
        let limit = self.head_by.saturating_duration_since(self.since);
        let sent = within(&shared.connection, limit, sending).await;
        let failure = match sent {
            Ok(Ok(sent)) => {
                if sent.response.status() == StatusCode::UNAUTHORIZED {
                    prepared.doubt_token(subject.as_deref(), Instant::now());
                }
                let is_error = sent.response.status().is_server_error();
                tries.over(if is_error { Counted::ServerError } else { Counted::Answered });
                return Ok(sent);
            }
            Ok(Err(error)) => {
                tries.over(counted(error.kind));
                Failure::Upstream(error)
            }
            Err(TimeOver) => {
                let chosen = tries.chosen.get();
                // A caller that does not send its body must not be able to make an endpoint look ill.
                if let Some(endpoint) = chosen.filter(|_| !watch.waits_for_caller()) {
                    upstream::report(prepared, endpoint, upstream::Outcome::Failed, Instant::now());
                }
                tries.over(if watch.waits_for_caller() { Counted::Cancelled } else { Counted::Timeout });
                Failure::TooSlow(chosen)
            }
        };
        Err(failure)
    }
}

/// Counts the endpoints that are tried, also when the caller leaves meanwhile.
struct Tries<'a> {
    shared: &'a Shared,
    upstream: usize,
    chosen: Cell<Option<usize>>,
    given_up: Cell<Option<(usize, ForwardErrorKind)>>,
    outcome: Cell<Counted>,
}

impl<'a> Tries<'a> {
    fn new(shared: &'a Shared, upstream: usize) -> Self {
        let (chosen, given_up) = Default::default();
        Tries { shared, upstream, chosen, given_up, outcome: Cell::new(Counted::Cancelled) }
    }

    fn over(&self, outcome: Counted) {
        self.outcome.set(outcome);
    }

    fn count(&self, endpoint: usize, outcome: Counted) {
        let plan = self.shared.snapshot().upstreams.get(self.upstream);
        if let Some(endpoint) = plan.and_then(|plan| plan.endpoints.get(endpoint)) {
            let id = self.shared.live.endpoint_id(self.upstream, &endpoint.authority);
            self.shared.core.metrics.upstream_attempt(id, outcome);
        }
    }
}

impl Drop for Tries<'_> {
    fn drop(&mut self) {
        if let Some((endpoint, kind)) = self.given_up.get() {
            self.count(endpoint, counted(kind));
            self.shared.core.metrics.retried(self.shared.live.upstream_id(self.upstream));
        }
        if let Some(endpoint) = self.chosen.get() {
            self.count(endpoint, self.outcome.get());
        }
    }
}

/// What a failure means for the caller.
fn failed(shared: &mut Shared, upstream: usize, watch: &BodyWatch, failure: Failure) -> Denial {
    use crate::body::Broken;
    let error = match failure {
        Failure::Shed(policy) => {
            shared.dress(header::RETRY_AFTER, HeaderValue::from_static("1"));
            let denial = Denial::new(Reason::Overloaded).by(policy);
            return denial.because("as many requests are with the upstreams as may be");
        }
        Failure::TooSlow(endpoint) => {
            let endpoint =
                endpoint.and_then(|at| shared.snapshot().upstreams.get(upstream)?.endpoints.get(at));
            let endpoint = endpoint.map(|endpoint| endpoint.authority.clone());
            shared.record.upstream_attempts = u16::from(endpoint.is_some());
            shared.record.endpoint = endpoint;
            return if watch.waits_for_caller() {
                Denial::new(Reason::RequestTimeout)
                    .because("the body did not come within the route's timeouts")
            } else {
                Denial::new(Reason::UpstreamTimeout).because("no answer within the route's timeouts")
            };
        }
        Failure::Upstream(error) => error,
    };
    shared.record.endpoint = error.endpoint.clone();
    shared.record.upstream_attempts = u16::from(error.attempts);
    match (error.kind, watch.broken()) {
        // The caller's body ended the exchange, not the upstream.
        (_, Some(Broken::Refused(reason))) => Denial::new(reason),
        (_, Some(Broken::Gone)) | (ForwardErrorKind::RequestBody, None) => {
            Denial::new(Reason::MalformedRequest).because("the body broke off")
        }
        (kind, None) => Denial::new(reason_of(kind)).because(error.detail),
    }
}

fn counted(kind: ForwardErrorKind) -> Counted {
    match kind {
        ForwardErrorKind::ConnectFailed | ForwardErrorKind::TlsFailed | ForwardErrorKind::Full => {
            Counted::ConnectFailed
        }
        ForwardErrorKind::Misbehaved => Counted::Misbehaved,
        ForwardErrorKind::Timeout => Counted::Timeout,
        ForwardErrorKind::NoEndpoint | ForwardErrorKind::Reset | ForwardErrorKind::Unsendable => {
            Counted::Reset
        }
        ForwardErrorKind::RequestBody => Counted::Cancelled,
    }
}

fn reason_of(kind: ForwardErrorKind) -> Reason {
    match kind {
        ForwardErrorKind::ConnectFailed | ForwardErrorKind::TlsFailed => Reason::ConnectFailed,
        ForwardErrorKind::Full => Reason::Overloaded,
        // An upstream that cannot be sent what a route lets through (a WebSocket over HTTP/2) is at odds with it.
        ForwardErrorKind::Misbehaved | ForwardErrorKind::Reset | ForwardErrorKind::Unsendable => {
            Reason::UpstreamMisbehaved
        }
        ForwardErrorKind::NoEndpoint => Reason::NoEndpoint,
        ForwardErrorKind::Timeout => Reason::UpstreamTimeout,
        ForwardErrorKind::RequestBody => Reason::MalformedRequest,
    }
}
