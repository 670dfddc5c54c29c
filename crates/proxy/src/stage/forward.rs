//! **forward**: to which endpoint?
//!
//! What is sent is what was judged: the canonical path, the cleaned headers, the verified identity. Nothing of the
//! caller's decides where a request goes beyond what the route says.

use std::{cell::Cell, sync::Arc, time::Instant};

use bartizan_config::snapshot::{Balancing, HashKey, RouteAction, RoutePlan};
use bartizan_message::{RfcForwarded, Tolerate, Upgrade};
use bartizan_model::{Denial, Mode, Reason, Stage};
use bartizan_telemetry::metrics::Outcome as Counted;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, Uri, header};
use hyper::upgrade::OnUpgrade;

use super::{Missed, inspect::Sendable, route::mode_for};
use crate::{
    body::{BodyWatch, Deadlines, Origin, RequestBody},
    exchange::{Exchange, Shared, Stop},
    patience::{TimeOver, within},
    share::block_key,
    upstream::{
        self, ForwardError, ForwardErrorKind, Pick, PreparedUpstream, Sent, UpstreamBody, balance::hash_key,
    },
};

const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");
const X_CONSUMER_NAME: HeaderName = HeaderName::from_static("x-consumer-name");
const X_CONSUMER_ROLES: HeaderName = HeaderName::from_static("x-consumer-roles");
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The proof that an upstream answered.
#[must_use]
pub struct Forwarded {
    response: Response<UpstreamBody<RequestBody>>,
    plan: Arc<RoutePlan>,
    rest: Rest,
}

/// What beside the response decides how it goes on.
pub(crate) struct Rest {
    /// The protocol that the caller asked to change to.
    pub(crate) asked: Option<Upgrade>,
    /// The caller's end of the connection for that.
    pub(crate) upgrade: Option<OnUpgrade>,
    /// How much of the request's body came.
    pub(crate) watch: BodyWatch,
    /// When the upstream was asked.
    pub(crate) since: Instant,
    /// Which endpoint answers.
    pub(crate) origin: Origin,
    /// How long the answer may take.
    pub(crate) deadlines: Deadlines,
}

impl Forwarded {
    /// The rule.
    pub(crate) fn plan(&self) -> &Arc<RoutePlan> {
        &self.plan
    }

    /// The response and the rest, for `screen`.
    pub(super) fn into_response(self) -> (Response<UpstreamBody<RequestBody>>, Rest) {
        (self.response, self.rest)
    }
}

/// Sends the request to an endpoint and waits for the head of its answer.
pub async fn forward(x: Exchange<Missed>) -> Result<Exchange<Forwarded>, Stop> {
    let Exchange { mut shared, proof } = x;
    let sendable = proof.into_inspected().into_sendable();
    let plan = sendable.plan.clone();
    let (index, prepared) = match choose(&mut shared, &plan) {
        Ok(chosen) => chosen,
        Err(denial) => return Err(Exchange { shared, proof: () }.deny(Stage::Forward, denial)),
    };
    let hash = hash(&prepared, &sendable);
    let since = Instant::now();
    let watch = sendable.watch.clone();
    let (request, asked, upgrade) = match compose(&shared, sendable) {
        Ok(composed) => composed,
        Err(denial) => return Err(Exchange { shared, proof: () }.deny(Stage::Forward, denial)),
    };
    let outcome = send(&shared, &prepared, hash, &plan, request).await;
    match outcome {
        Ok(sent) => {
            note(&mut shared, index, &sent);
            let end = plan.timeouts.request.map(|limit| shared.record.started + limit);
            let deadlines = Deadlines { idle: plan.timeouts.idle, end };
            let origin = Origin { upstream: prepared, endpoint: sent.index };
            let rest = Rest { asked, upgrade, watch, since, origin, deadlines };
            Ok(Exchange { shared, proof: Forwarded { response: sent.response, plan, rest } })
        }
        Err(failure) => {
            shared.record.upstream_time = Some(since.elapsed());
            shared.record.request_bytes = watch.bytes();
            let denial = failed(&mut shared, index, &watch, failure);
            Err(Exchange { shared, proof: () }.deny(Stage::Forward, denial))
        }
    }
}

fn choose(shared: &mut Shared, plan: &RoutePlan) -> Result<(usize, Arc<PreparedUpstream>), Denial> {
    let RouteAction::Forward(backends) = &plan.action else {
        // `route` answers redirects; reaching this is a bug of ours, and it refuses.
        return Err(Denial::new(Reason::InternalError).because("a redirect reached forward"));
    };
    let index = backends.pick(shared.core.draw());
    let Some(prepared) = shared.live.upstreams.at(index) else {
        return Err(Denial::new(Reason::NoEndpoint).because("the upstream is not prepared"));
    };
    shared.record.upstream = Some(prepared.plan.name.clone());
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

type Composed = (Request<RequestBody>, Option<Upgrade>, Option<OnUpgrade>);

/// Makes the request that the upstream sees.
fn compose(shared: &Shared, sendable: Sendable) -> Result<Composed, Denial> {
    let Sendable { mut head, body, upgrade, plan, prefix_bytes, consumer, .. } = sendable;
    let mut headers = std::mem::take(head.headers_mut());
    strip_credentials(&mut headers, &plan);
    for policy in &plan.headers {
        if !policy.request.is_empty() && mode_for(policy.bite, &head) == Mode::Enforce {
            policy.request.apply(&mut headers);
        }
    }
    if !plan.request_headers.is_empty() {
        plan.request_headers.apply(&mut headers);
    }
    // After the changes: none of them can touch what the gateway vouches for.
    if let Some(consumer) = &consumer {
        headers.insert(X_CONSUMER_NAME, consumer.name_value.clone());
        if let Some(roles) = &consumer.roles_value {
            headers.insert(X_CONSUMER_ROLES, roles.clone());
        }
    }
    if shared.id.is_minted() {
        // One that was sent and accepted is in the headers already.
        headers.insert(X_REQUEST_ID, shared.id_value.clone());
    }
    head.write_forwarding(&mut headers, RfcForwarded::Omit);
    if let Some(host) = &plan.rewrite.host {
        headers.insert(header::HOST, host.clone());
    }
    let asked = head.upgrade().cloned();
    if let Some(asked) = &asked {
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, asked.protocol().clone());
    }
    if head.accepts_trailers() {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
    let mut request = Request::new(body);
    *request.method_mut() = head.method().clone();
    *request.uri_mut() = target(&head, &plan, prefix_bytes)?;
    *request.headers_mut() = headers;
    Ok((request, asked, upgrade))
}

/// A credential meant for the gateway never reaches an upstream, whether or not it was asked for here.
fn strip_credentials(headers: &mut HeaderMap, plan: &RoutePlan) {
    headers.remove(X_API_KEY);
    for policy in plan.authentication.enforced.iter().chain(&plan.authentication.shadow) {
        for name in &policy.api_key_headers {
            headers.remove(name);
        }
    }
}

/// The path that the upstream sees: the canonical one, or the rewritten one made canonical again. A rewrite that
/// would change under a second reading is refused (attack case 39).
pub fn target(
    head: &bartizan_message::RequestHead,
    plan: &RoutePlan,
    prefix_bytes: usize,
) -> Result<Uri, Denial> {
    let Some(rewrite) = &plan.rewrite.path else { return Ok(Uri::from(head.path().target().clone())) };
    let path = rewrite.rewrite(head.path().as_str(), prefix_bytes);
    let rewritten = head.path().with_path(path.as_bytes(), &Tolerate::default())?;
    Ok(Uri::from(rewritten.target().clone()))
}

/// Why nothing came back.
enum Failure {
    Upstream(ForwardError),
    /// The head did not come in time; the endpoint that was asked.
    TooSlow(Option<usize>),
}

async fn send(
    shared: &Shared,
    prepared: &PreparedUpstream,
    hash: Option<u64>,
    plan: &RoutePlan,
    request: Request<RequestBody>,
) -> Result<Sent<RequestBody>, Failure> {
    let chosen = Cell::new(None);
    let pick = Pick { hash, chosen: Some(&chosen) };
    let sending = upstream::send(&shared.core.pools, prepared, &pick, request);
    match within(&shared.connection, plan.timeouts.backend_request, sending).await {
        Ok(sent) => sent.map_err(Failure::Upstream),
        Err(TimeOver) => {
            if let Some(endpoint) = chosen.get() {
                upstream::report(prepared, endpoint, upstream::Outcome::Failed, Instant::now());
            }
            Err(Failure::TooSlow(chosen.get()))
        }
    }
}

fn note(shared: &mut Shared, upstream: usize, sent: &Sent<RequestBody>) {
    shared.record.upstream_attempts = u16::from(sent.attempts);
    let endpoint = shared.live.endpoint_id(upstream, &sent.endpoint);
    let server_error = sent.response.status().is_server_error();
    let outcome = if server_error { Counted::ServerError } else { Counted::Answered };
    shared.core.metrics.upstream_attempt(endpoint, outcome);
    if sent.attempts > 1 {
        shared.core.metrics.retried(shared.live.upstream_id(upstream));
    }
    shared.record.endpoint = Some(sent.endpoint.clone());
}

/// What a failure means for the caller.
fn failed(shared: &mut Shared, upstream: usize, watch: &BodyWatch, failure: Failure) -> Denial {
    use crate::body::Broken;
    let error = match failure {
        Failure::TooSlow(endpoint) => {
            let endpoint =
                endpoint.and_then(|at| shared.snapshot().upstreams.get(upstream)?.endpoints.get(at));
            shared.record.endpoint = endpoint.map(|endpoint| endpoint.authority.clone());
            shared.record.upstream_attempts = 1;
            return Denial::new(Reason::UpstreamTimeout).because("no head within `timeouts.backendRequest`");
        }
        Failure::Upstream(error) => error,
    };
    shared.record.endpoint = error.endpoint.clone();
    shared.record.upstream_attempts = u16::from(error.attempts);
    if let Some(endpoint) = &error.endpoint {
        let id = shared.live.endpoint_id(upstream, endpoint);
        shared.core.metrics.upstream_attempt(id, counted(error.kind));
    }
    match (error.kind, watch.broken()) {
        // The caller's body ended the exchange, not the upstream.
        (ForwardErrorKind::RequestBody, Some(Broken::Refused(reason))) => Denial::new(reason),
        (ForwardErrorKind::RequestBody, _) => {
            Denial::new(Reason::MalformedRequest).because("the body broke off")
        }
        (kind, _) => Denial::new(reason_of(kind)).because(error.detail),
    }
}

fn counted(kind: ForwardErrorKind) -> Counted {
    match kind {
        ForwardErrorKind::ConnectFailed | ForwardErrorKind::TlsFailed | ForwardErrorKind::Full => {
            Counted::ConnectFailed
        }
        ForwardErrorKind::Misbehaved => Counted::Misbehaved,
        ForwardErrorKind::Timeout => Counted::Timeout,
        ForwardErrorKind::NoEndpoint
        | ForwardErrorKind::RequestBody
        | ForwardErrorKind::Reset
        | ForwardErrorKind::Unsendable => Counted::Reset,
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
