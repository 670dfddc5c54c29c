//! The paths of the sample API and what each answers.
//!
//! One match over the path's segments is the whole routing: eleven paths need no router. Every answer is JSON and
//! ends in a newline, so that it reads well in a terminal.

use std::{
    convert::Infallible,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited, combinators::UnsyncBoxBody};
use hyper::body::{Body as _, Incoming};
use serde_json::{Map, Value, json};

use super::{
    events::Events,
    model,
    shop::{Shop, Unacceptable},
    websocket,
};

/// The body of every answer.
pub(super) type Body = UnsyncBoxBody<Bytes, Infallible>;

/// What the paths share.
#[derive(Debug)]
pub(super) struct Api {
    shop: Shop,
    flaky_calls: AtomicU64,
}

impl Api {
    /// The API with its seeded shop.
    pub(super) fn new() -> Api {
        Api { shop: Shop::seeded(), flaky_calls: AtomicU64::new(0) }
    }

    /// Answers one request; never fails, because a refusal is also an answer.
    pub(super) async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let path = request.uri().path().to_owned();
        let segments: Vec<&str> = path.split('/').skip(1).collect();
        match segments.as_slice() {
            ["echo", ..] => echo(request).await,
            ["orders"] if request.method() == Method::POST => self.create_order(request).await,
            ["orders"] => {
                reading(&request, "GET, HEAD, POST", || json_answer(StatusCode::OK, &self.shop.orders()))
            }
            ["orders", id] => reading(&request, "GET, HEAD", || found("order", id, |id| self.shop.order(id))),
            ["users"] => reading(&request, "GET, HEAD", || json_answer(StatusCode::OK, &self.shop.users())),
            ["users", id] => reading(&request, "GET, HEAD", || found("user", id, |id| self.shop.user(id))),
            ["slow"] if is_reading(&request) => slow(request.uri().query()).await,
            ["slow"] => method_not_allowed("GET, HEAD"),
            ["flaky"] => reading(&request, "GET, HEAD", || self.flaky()),
            ["events"] => reading(&request, "GET, HEAD", events),
            ["ws"] if request.method() == Method::GET => websocket::answer(request),
            ["ws"] => method_not_allowed("GET"),
            ["v1", "chat", "completions"] if request.method() == Method::POST => {
                match whole_body(request.into_body()).await {
                    Ok(body) => model::answer(&body),
                    Err(refusal) => refusal,
                }
            }
            ["v1", "chat", "completions"] => method_not_allowed("POST"),
            ["healthz"] => {
                reading(&request, "GET, HEAD", || json_answer(StatusCode::OK, &json!({ "status": "ok" })))
            }
            _ => error(StatusCode::NOT_FOUND, &format!("the sample API has no path {path}")),
        }
    }

    async fn create_order(&self, request: Request<Incoming>) -> Response<Body> {
        let body = match whole_body(request.into_body()).await {
            Ok(body) => body,
            Err(refusal) => return refusal,
        };
        match self.shop.take(&body) {
            Ok((id, stored)) => {
                let mut answer = json_answer(StatusCode::CREATED, &stored);
                if let Ok(location) = HeaderValue::from_str(&format!("/orders/{id}")) {
                    answer.headers_mut().insert(header::LOCATION, location);
                }
                answer
            }
            Err(Unacceptable::Invalid(why)) => error(StatusCode::BAD_REQUEST, &why),
            Err(Unacceptable::Full) => error(
                StatusCode::INSUFFICIENT_STORAGE,
                "the sample shop holds no more orders; restart the demo",
            ),
        }
    }

    /// Every third call fails, which makes retries and ejection visible.
    fn flaky(&self) -> Response<Body> {
        let call = self.flaky_calls.fetch_add(1, Ordering::Relaxed) + 1;
        if call.is_multiple_of(3) {
            error(StatusCode::SERVICE_UNAVAILABLE, &format!("call {call}: every third call fails"))
        } else {
            json_answer(StatusCode::OK, &json!({ "call": call, "status": "ok" }))
        }
    }
}

/// Answers what it received: a header sent once is a text, one sent several times a list in the order received.
async fn echo(request: Request<Incoming>) -> Response<Body> {
    let (head, body) = request.into_parts();
    let body = match whole_body(body).await {
        Ok(body) => body,
        Err(refusal) => return refusal,
    };
    let received = json!({
        "method": head.method.as_str(),
        "path": head.uri.path(),
        "query": head.uri.query(),
        "version": format!("{:?}", head.version),
        "authority": head.uri.authority().map(|authority| authority.as_str()),
        "headers": headers_json(&head.headers),
        "body": String::from_utf8_lossy(&body),
    });
    json_answer(StatusCode::OK, &received)
}

fn headers_json(headers: &HeaderMap) -> Value {
    let text = |value: &HeaderValue| Value::from(String::from_utf8_lossy(value.as_bytes()));
    let mut all = Map::new();
    for name in headers.keys() {
        let mut values: Vec<Value> = headers.get_all(name).iter().map(text).collect();
        let value = if values.len() == 1 { values.remove(0) } else { Value::Array(values) };
        all.insert(name.as_str().to_owned(), value);
    }
    Value::Object(all)
}

/// Waits `ms` milliseconds before it answers.
async fn slow(query: Option<&str>) -> Response<Body> {
    let asked = query.unwrap_or_default().split('&').find_map(|pair| pair.strip_prefix("ms="));
    let Ok(ms) = asked.map_or(Ok(SLOW_MS_DEFAULT), str::parse::<u64>) else {
        return error(StatusCode::BAD_REQUEST, "`ms` must be a whole number of milliseconds");
    };
    let waited_ms = ms.min(SLOW_MS_MAX);
    tokio::time::sleep(Duration::from_millis(waited_ms)).await;
    json_answer(StatusCode::OK, &json!({ "waitedMs": waited_ms }))
}

fn events() -> Response<Body> {
    let mut answer = Response::new(Events::new().boxed_unsync());
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

fn found(kind: &str, id: &str, find: impl Fn(u64) -> Option<Value>) -> Response<Body> {
    // Digits only: `parse` alone would also take `+7`, and one order would have two paths.
    let number = id.bytes().all(|byte| byte.is_ascii_digit()).then(|| id.parse().ok()).flatten();
    match number.and_then(find) {
        Some(value) => json_answer(StatusCode::OK, &value),
        None => error(StatusCode::NOT_FOUND, &format!("there is no {kind} {id}")),
    }
}

fn is_reading(request: &Request<Incoming>) -> bool {
    request.method() == Method::GET || request.method() == Method::HEAD
}

fn reading(
    request: &Request<Incoming>,
    allow: &'static str,
    answer: impl FnOnce() -> Response<Body>,
) -> Response<Body> {
    if is_reading(request) { answer() } else { method_not_allowed(allow) }
}

fn method_not_allowed(allow: &'static str) -> Response<Body> {
    let mut answer = error(StatusCode::METHOD_NOT_ALLOWED, &format!("this path answers to {allow}"));
    answer.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allow));
    answer
}

async fn whole_body(body: Incoming) -> Result<Bytes, Response<Body>> {
    let too_large =
        || error(StatusCode::PAYLOAD_TOO_LARGE, &format!("the sample reads at most {BODY_BYTES_MAX} bytes"));
    // A declared length above the limit is refused before the body is waited for.
    if body.size_hint().lower() > BODY_BYTES_MAX as u64 {
        return Err(too_large());
    }
    match Limited::new(body, BODY_BYTES_MAX).collect().await {
        Ok(whole) => Ok(whole.to_bytes()),
        Err(failure) if failure.is::<LengthLimitError>() => Err(too_large()),
        Err(_) => Err(error(StatusCode::BAD_REQUEST, "the body broke off")),
    }
}

/// An answer that says what was wrong with the request.
pub(super) fn error(status: StatusCode, why: &str) -> Response<Body> {
    json_answer(status, &json!({ "error": why }))
}

fn json_answer(status: StatusCode, value: &Value) -> Response<Body> {
    let text = format!("{value:#}\n");
    let mut answer = Response::new(Full::new(Bytes::from(text)).boxed_unsync());
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

/// 1 MiB: more than any call of the demonstration sends.
const BODY_BYTES_MAX: usize = 1024 * 1024;
const SLOW_MS_DEFAULT: u64 = 800;
const SLOW_MS_MAX: u64 = 10_000;
