//! The one exit: every response, refusals included, leaves through [`settle`].
//!
//! This is the only place that maps a reason to a status and a sentence, and the only one that writes a body of our
//! own. What callers see says nothing of our inside: a stable code, a sentence, and the request id.

use bartizan_config::snapshot::RoutePlan;
use bartizan_inspect::schema::Violation;
use bartizan_model::{Mode, Reason};
use bartizan_telemetry::escape;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header, response};
use hyper::upgrade::OnUpgrade;

pub use crate::body::AnswerBody;
use crate::{
    body::Flow,
    exchange::{Exchange, Shared, Stop, Why},
    stage::{Closing, Rest, Screened, ScreenedAnswer},
    tunnel,
};

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Where the page of an error code lies; the `type` of a problem document (RFC 9457 §3.1.1).
pub const ERROR_PAGES: &str = "https://bartizan.dev/docs/errors/";

/// Makes the response that leaves, and hands it the open record.
pub(crate) fn settle(outcome: Result<Exchange<Screened>, Stop>) -> Response<AnswerBody> {
    let (shared, answer) = match outcome {
        Ok(answer) => return settle_upstream(answer),
        Err(Stop { shared, why: Why::Answered(answer) }) => (shared, *answer),
        Err(Stop { shared, why: Why::Kept(mut answer) }) => {
            if let Some(route) = shared.dress.route.clone() {
                change(&shared, &route, answer.headers_mut());
            }
            (shared, *answer)
        }
        Err(Stop { mut shared, why: Why::Denied(stage, denial) }) => {
            let answer = match shared.dress.instead.take() {
                Some(answer) => *answer,
                None => refusal(&shared, denial.reason),
            };
            shared.record.refuse(stage, denial);
            (shared, answer)
        }
        Err(Stop { mut shared, why: Why::Faulted(policy, fault) }) => {
            let answer = refusal(&shared, Reason::JudgeUnavailable);
            shared.record.refuse_for_fault(policy, fault);
            (shared, answer)
        }
    };
    let (mut parts, body) = answer.into_parts();
    let mut shared = shared;
    dress(&mut shared, &mut parts);
    Response::from_parts(parts, body.closing(Closing::new(shared)))
}

fn settle_upstream(answer: Exchange<Screened>) -> Response<AnswerBody> {
    let Exchange { mut shared, proof } = answer;
    let (answer, rest) = proof.into_answer();
    let response = match answer {
        ScreenedAnswer::Flowing(response) => response,
        ScreenedAnswer::Judged(response) => {
            let (mut parts, body) = response.into_parts();
            finish(&mut shared, &mut parts);
            return Response::from_parts(parts, body.keeping(rest.keeping).closing(Closing::new(shared)));
        }
    };
    let (mut parts, body) = response.into_parts();
    finish(&mut shared, &mut parts);
    let Rest { upgrade, watch, origin, deadlines, keeping, .. } = rest;
    let upstream = parts.extensions.remove::<OnUpgrade>();
    let closing = Closing::new(shared);
    match (upgrade, upstream) {
        // The connection becomes another protocol after this answer.
        (Some(caller), Some(upgrade)) if parts.status == StatusCode::SWITCHING_PROTOCOLS => {
            let upstream = tunnel::UpstreamTunnel { upgrade, body };
            tunnel::open(tunnel::Ends { caller, upstream, end: deadlines.end }, closing);
            Response::from_parts(parts, AnswerBody::empty())
        }
        _ => {
            let body = AnswerBody::flowing(Flow::upstream(body, origin, deadlines, watch));
            Response::from_parts(parts, body.keeping(keeping).closing(closing))
        }
    }
}

/// What an upstream's answer gets at the exit.
fn finish(shared: &mut Shared, parts: &mut response::Parts) {
    if let Some(route) = shared.dress.route.take() {
        change(shared, &route, &mut parts.headers);
    }
    dress(shared, parts);
}

/// What the exit would set in an upstream's answer; for rehearsals, which get none.
pub(crate) fn rehearse(shared: &mut Shared) -> HeaderMap {
    let (mut parts, ()) = Response::new(()).into_parts();
    if let Some(route) = shared.dress.route.clone() {
        change(shared, &route, &mut parts.headers);
    }
    dress(shared, &mut parts);
    parts.headers
}

/// The route's changes to an answer of its upstream, wide → narrow, the route's own filters last.
pub(crate) fn change(shared: &Shared, route: &RoutePlan, headers: &mut HeaderMap) {
    for policy in &route.headers {
        // `forward` has worked the share out where a percentage needs it; without one the policy only watches.
        let mode = match (policy.bite.percent, shared.share.get()) {
            (100, _) => policy.bite.mode,
            (_, Some(share)) => policy.bite.for_share(share),
            (_, None) => Mode::Shadow,
        };
        if mode == Mode::Enforce && !policy.response.is_empty() {
            policy.response.apply(headers);
        }
    }
    if !route.response_headers.is_empty() {
        route.response_headers.apply(headers);
    }
    if shared.dress.owns_cors {
        for name in CORS_HEADERS {
            headers.remove(name);
        }
    }
}

/// An enforced CorsPolicy speaks alone: what the upstream says about origins could only loosen it.
const CORS_HEADERS: [HeaderName; 6] = [
    header::ACCESS_CONTROL_ALLOW_ORIGIN,
    header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
    header::ACCESS_CONTROL_ALLOW_METHODS,
    header::ACCESS_CONTROL_ALLOW_HEADERS,
    header::ACCESS_CONTROL_EXPOSE_HEADERS,
    header::ACCESS_CONTROL_MAX_AGE,
];

/// What every answer gets, whoever made it.
fn dress(shared: &mut Shared, parts: &mut response::Parts) {
    for (name, value) in shared.dress.headers.drain(..) {
        // RFC 9110 §11.6.1: each way that is open has a challenge of its own. RFC 6265 §3: each cookie has its own field.
        if matches!(name, header::VARY | header::WWW_AUTHENTICATE | header::SET_COOKIE) {
            parts.headers.append(name, value);
        } else {
            parts.headers.insert(name, value);
        }
    }
    if let (Some(hsts), Some(_)) = (&shared.listener_plan().hsts, &shared.connection.tls)
        && let Ok(value) = HeaderValue::from_str(hsts)
    {
        parts.headers.insert(header::STRICT_TRANSPORT_SECURITY, value);
    }
    parts.headers.insert(X_REQUEST_ID, shared.id_value.clone());
    shared.record.status = parts.status.as_u16();
}

/// The problem document of a refusal (RFC 9457).
fn refusal(shared: &Shared, reason: Reason) -> Response<AnswerBody> {
    if let Some(spoken) = &shared.dress.spoken {
        // Callers of models have clients that read the errors of their own dialect only.
        let mut answer = spoken.refusal(shared, reason);
        if closes(reason) && !shared.connection.http2 {
            answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        return answer;
    }
    let (status, sentence) = wording(reason);
    let title = status.canonical_reason().unwrap_or("Error");
    // Every part is a constant of ours but the id, which consists of characters that JSON does not escape.
    let mut text = format!(
        "{{\"type\":\"{ERROR_PAGES}{reason}.md\",\"title\":\"{title}\",\"status\":{},\"code\":\"{reason}\",\
         \"detail\":\"{sentence}\",\"requestId\":\"{}\"",
        status.as_u16(),
        shared.id.as_str()
    )
    .into_bytes();
    violations(&shared.dress.violations, &mut text);
    text.extend_from_slice(b"}\n");
    let length = HeaderValue::from(text.len());
    let body = if shared.dress.is_head { AnswerBody::empty() } else { AnswerBody::whole(Bytes::from(text)) };
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    headers.insert(header::CONTENT_LENGTH, length);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if closes(reason) && !shared.connection.http2 {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    answer
}

/// What is wrong with a body, by JSON pointers; what a schema asks for is told, what was sent is not repeated.
fn violations(violations: &[Violation], out: &mut Vec<u8>) {
    let mut separator: &[u8] = b",\"errors\":[";
    for violation in violations {
        out.extend_from_slice(separator);
        out.extend_from_slice(b"{\"pointer\":");
        escape::string(violation.pointer.as_bytes(), out);
        out.extend_from_slice(b",\"detail\":");
        escape::string(violation.message.as_bytes(), out);
        out.push(b'}');
        separator = b",";
    }
    if !violations.is_empty() {
        out.push(b']');
    }
}

/// After these nobody can be sure where the next request on the connection begins, or whether it is worth reading.
const fn closes(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::MalformedRequest
            | Reason::HeaderTooLarge
            | Reason::UriTooLong
            | Reason::MethodUnknown
            | Reason::RequestTimeout
            | Reason::BodyTooLarge
            | Reason::ExpectationUnknown
    )
}

/// The one mapping of a reason to a status and a sentence for the caller.
pub const fn wording(reason: Reason) -> (StatusCode, &'static str) {
    match reason {
        Reason::AddressDenied => (StatusCode::FORBIDDEN, "Requests from this address are not accepted."),
        Reason::AddressLimited => (StatusCode::TOO_MANY_REQUESTS, "Too many requests from this address."),
        Reason::AttackDetected => (StatusCode::FORBIDDEN, "The request was refused for security reasons."),
        Reason::BodyTooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "The request body is too large."),
        Reason::ConnectFailed => (StatusCode::BAD_GATEWAY, "The service could not be reached."),
        Reason::CredentialExpired => (StatusCode::UNAUTHORIZED, "The credential has expired."),
        Reason::CredentialInvalid => (StatusCode::UNAUTHORIZED, "The credential is not valid."),
        Reason::CredentialMissing => (StatusCode::UNAUTHORIZED, "A credential is required."),
        Reason::CrossSite => (StatusCode::FORBIDDEN, "The request came from a page of another site."),
        Reason::ExpectationUnknown => {
            (StatusCode::EXPECTATION_FAILED, "The expectation in the Expect header is not supported.")
        }
        Reason::HeaderRefused => {
            (StatusCode::BAD_REQUEST, "A request header is missing, forbidden or malformed.")
        }
        Reason::HeaderTooLarge => {
            (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "The request headers are too many or too large.")
        }
        Reason::InspectionIncomplete => {
            (StatusCode::FORBIDDEN, "The request could not be inspected completely.")
        }
        Reason::InternalError => (StatusCode::INTERNAL_SERVER_ERROR, "The gateway made an error."),
        Reason::JudgeUnavailable => {
            (StatusCode::SERVICE_UNAVAILABLE, "The request could not be judged and was therefore refused.")
        }
        Reason::MalformedRequest => (StatusCode::BAD_REQUEST, "The request is malformed."),
        Reason::MethodNotAllowed => {
            (StatusCode::METHOD_NOT_ALLOWED, "The method is not allowed for this path.")
        }
        Reason::MethodUnknown => (StatusCode::NOT_IMPLEMENTED, "The method is not known."),
        Reason::ModelFailed => (StatusCode::BAD_GATEWAY, "The model's provider did not serve the call."),
        Reason::ModelUnknown => (StatusCode::NOT_FOUND, "The model does not exist."),
        Reason::NoEndpoint => (StatusCode::SERVICE_UNAVAILABLE, "The service is not available."),
        Reason::NoRoute => (StatusCode::NOT_FOUND, "Nothing is published at this path."),
        Reason::NotAllowed => (StatusCode::FORBIDDEN, "The caller is not allowed to do this."),
        Reason::OperationNotAllowed => (StatusCode::FORBIDDEN, "The operation is not allowed."),
        Reason::OperationUnsupported => (StatusCode::BAD_REQUEST, "The model cannot be asked for this."),
        Reason::OutputUnbounded => {
            (StatusCode::BAD_REQUEST, "A budget applies: the call must bound the tokens of its answer.")
        }
        Reason::Overloaded => (StatusCode::SERVICE_UNAVAILABLE, "The service is over its capacity."),
        Reason::PriceUnknown => {
            (StatusCode::FORBIDDEN, "A budget applies, and the price of the model is not known.")
        }
        Reason::PromptRefused => (StatusCode::FORBIDDEN, "The prompt was refused."),
        Reason::QuotaExceeded => (StatusCode::TOO_MANY_REQUESTS, "The quota is used up."),
        Reason::RateExceeded => (StatusCode::TOO_MANY_REQUESTS, "Too many requests."),
        Reason::RequestTimeout => (StatusCode::REQUEST_TIMEOUT, "The request did not arrive in time."),
        Reason::ResponseRefused => (StatusCode::BAD_GATEWAY, "The service's answer was refused."),
        Reason::SchemaViolation => {
            (StatusCode::UNPROCESSABLE_ENTITY, "The request body does not have the required form.")
        }
        Reason::TooManyFailures => (StatusCode::TOO_MANY_REQUESTS, "Too many failed attempts."),
        Reason::UseUnknown => {
            (StatusCode::FORBIDDEN, "A budget applies, and what the call would use is not known.")
        }
        Reason::UpstreamMisbehaved => (StatusCode::BAD_GATEWAY, "The service's answer was not valid."),
        Reason::UpstreamTimeout => (StatusCode::GATEWAY_TIMEOUT, "The service did not answer in time."),
        Reason::UriTooLong => (StatusCode::URI_TOO_LONG, "The request target is too long."),
        Reason::WrongHost => (StatusCode::MISDIRECTED_REQUEST, "This host is not served on this connection."),
    }
}
