//! What the management listener answers.
//!
//! Three paths, two methods, no bodies in. Everything else is refused as `application/problem+json` (RFC 9457).
//! Every answer forbids caching, framing and guessing its type, since browsers can reach loopback too.

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode,
    header::{ACCEPT, ALLOW, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING},
};
use http_body_util::Full;

use bartizan_telemetry::metrics::Format;

use crate::{
    host,
    state::{ManagementState, Phase},
};

/// Answers a request. Its body is never read.
pub fn answer<B>(request: &Request<B>, state: &ManagementState) -> Response<Full<Bytes>> {
    let mut response = match judge(request, state) {
        Ok(page) => serve(page, request.headers(), state),
        Err(problem) => problem.response(),
    };
    harden(response.headers_mut());
    response
}

/// What a caller of the API gets whose answer took too long.
pub(crate) fn too_slow() -> Response<axum::body::Body> {
    let json = "{\"type\":\"about:blank\",\"title\":\"The answer took too long.\",\"status\":503,\"code\":\"TooSlow\"}\n";
    content(StatusCode::SERVICE_UNAVAILABLE, "application/problem+json", json.to_owned())
        .map(axum::body::Body::new)
}

/// What whoever asks from elsewhere gets where nobody can be recognised.
pub(crate) fn unrecognised() -> Response<axum::body::Body> {
    let json = "{\"type\":\"about:blank\",\"title\":\"This is for loopback alone.\",\"status\":403,\"code\":\"NotAllowed\"}\n";
    content(StatusCode::FORBIDDEN, "application/problem+json", json.to_owned()).map(axum::body::Body::new)
}

/// Adds what every answer carries.
pub(crate) fn harden(headers: &mut HeaderMap) {
    for (name, value) in SECURITY_HEADERS {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
}

/// A path that exists.
#[derive(Clone, Copy, Debug)]
enum Page {
    Health,
    Metrics,
    Readiness,
}

/// Whether the request may be answered, and with which page.
fn judge<B>(request: &Request<B>, state: &ManagementState) -> Result<Page, Problem> {
    if !host::is_ours(request.uri(), request.headers(), &state.names) {
        return Err(Problem::WrongHost);
    }
    let page = match request.uri().path() {
        "/healthz" => Page::Health,
        "/metrics" => Page::Metrics,
        "/readyz" => Page::Readiness,
        _ => return Err(Problem::NoRoute),
    };
    if *request.method() != Method::GET && *request.method() != Method::HEAD {
        return Err(Problem::MethodNotAllowed);
    }
    if has_body(request.headers()) { Err(Problem::BodyTooLarge) } else { Ok(page) }
}

/// RFC 9112 §6: a request has a body when either of these says so.
fn has_body(headers: &HeaderMap) -> bool {
    headers.contains_key(TRANSFER_ENCODING)
        || headers.get_all(CONTENT_LENGTH).iter().any(|value| value.as_bytes() != b"0")
}

fn serve(page: Page, headers: &HeaderMap, state: &ManagementState) -> Response<Full<Bytes>> {
    match page {
        Page::Health => content(StatusCode::OK, TEXT, "ok\n".into()),
        Page::Readiness => {
            let phase = state.readiness.phase();
            let is_ready = phase == Phase::Ready;
            let status = if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
            let mut json = serde_json::json!({
                "ready": is_ready,
                "phase": phase.as_str(),
                "why": phase.meaning(),
            });
            let notices = state.notices.all();
            if let Some(fields) = json.as_object_mut().filter(|_| !notices.is_empty()) {
                fields.insert("notices".to_owned(), serde_json::json!(notices));
            }
            content(status, "application/json", format!("{json}\n"))
        }
        Page::Metrics => {
            if let Some(before_scrape) = &state.before_scrape {
                before_scrape(&state.metrics);
            }
            let accept = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
            let format = Format::accepted(&accept.collect::<Vec<_>>().join(","));
            content(StatusCode::OK, format.content_type(), state.metrics.expose(format))
        }
    }
}

fn content(status: StatusCode, media_type: &'static str, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}

/// Why a request is refused here.
#[derive(Clone, Copy, Debug)]
enum Problem {
    BodyTooLarge,
    MethodNotAllowed,
    NoRoute,
    WrongHost,
}

impl Problem {
    fn response(self) -> Response<Full<Bytes>> {
        let (status, code, title) = match self {
            Problem::BodyTooLarge => {
                (StatusCode::PAYLOAD_TOO_LARGE, "BodyTooLarge", "No request body is accepted here.")
            }
            Problem::MethodNotAllowed => {
                (StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", "Only GET and HEAD are answered here.")
            }
            Problem::NoRoute => (StatusCode::NOT_FOUND, "NoRoute", "There is nothing at this path."),
            Problem::WrongHost => {
                (StatusCode::MISDIRECTED_REQUEST, "WrongHost", "This listener is not called by that name.")
            }
        };
        let json = format!(
            "{{\"type\":\"about:blank\",\"title\":\"{title}\",\"status\":{},\"code\":\"{code}\"}}\n",
            status.as_u16()
        );
        let mut response = content(status, "application/problem+json", json);
        match self {
            Problem::MethodNotAllowed => {
                response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            }
            // What follows on this connection would be the body that nobody reads.
            Problem::BodyTooLarge => {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Problem::NoRoute | Problem::WrongHost => {}
        }
        response
    }
}

const TEXT: &str = "text/plain; charset=utf-8";

const SECURITY_HEADERS: [(&str, &str); 6] = [
    ("cache-control", "no-store"),
    ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
    ("cross-origin-resource-policy", "same-origin"),
    ("referrer-policy", "no-referrer"),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
];

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use bartizan_telemetry::Metrics;
    use http::header::HOST;
    use http_body_util::BodyExt;

    use super::*;

    fn state() -> ManagementState {
        ManagementState::new(Metrics::new("0.0.0", UNIX_EPOCH))
    }

    fn ask(
        method: &str,
        path: &str,
        headers: &[(&'static str, &str)],
        state: &ManagementState,
    ) -> Response<Full<Bytes>> {
        let mut request = Request::builder().method(method).uri(path).body(()).unwrap();
        request.headers_mut().insert(HOST, "127.0.0.1:9440".parse().unwrap());
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        answer(&request, state)
    }

    fn body(response: Response<Full<Bytes>>) -> String {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let bytes = runtime.block_on(response.into_body().collect()).unwrap().to_bytes();
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    #[test]
    fn each_request_has_its_status() {
        let state = state();
        for (method, path, header, status) in [
            ("GET", "/healthz", ("accept", "*/*"), 200),
            ("HEAD", "/healthz", ("accept", "*/*"), 200),
            ("GET", "/metrics?x=1", ("content-length", "0"), 200),
            ("GET", "/readyz", ("accept", "*/*"), 503),
            ("GET", "/", ("accept", "*/*"), 404),
            ("GET", "/metrics/", ("accept", "*/*"), 404),
            ("POST", "/unknown", ("accept", "*/*"), 404),
            ("POST", "/healthz", ("accept", "*/*"), 405),
            ("OPTIONS", "/metrics", ("accept", "*/*"), 405),
            ("GET", "/healthz", ("content-length", "1"), 413),
            ("GET", "/healthz", ("transfer-encoding", "chunked"), 413),
            ("GET", "/healthz", ("host", "evil.example"), 421),
        ] {
            let response = ask(method, path, &[header], &state);
            assert_eq!(response.status().as_u16(), status, "{method} {path} {header:?}");
            for (name, value) in SECURITY_HEADERS {
                assert_eq!(response.headers()[name], value);
            }
            if status >= 400 && status != 503 {
                assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json");
                let problem: serde_json::Value = serde_json::from_str(&body(response)).unwrap();
                assert_eq!(problem["status"].as_u64(), Some(status.into()));
            }
        }
    }

    #[test]
    fn readiness_says_why_not() {
        let state = state();
        let mut answers = Vec::new();
        let mut note = || {
            let response = ask("GET", "/readyz", &[], &state);
            let status = response.status().as_u16();
            let value: serde_json::Value = serde_json::from_str(&body(response)).unwrap();
            answers.push((
                status,
                value["ready"].as_bool().unwrap(),
                value["phase"].as_str().unwrap().to_owned(),
            ));
        };
        note();
        state.readiness.set_ready();
        note();
        state.readiness.set_draining();
        note();
        let expected = [(503, false, "starting"), (200, true, "ready"), (503, false, "draining")];
        assert_eq!(answers, expected.map(|(status, ready, phase)| (status, ready, phase.to_owned())));
        assert_eq!(ask("GET", "/healthz", &[], &state).status(), 200, "alive while it drains");
    }

    #[test]
    fn a_scrape_brings_figures_up_to_date_first_and_speaks_the_asked_format() {
        let mut state = state();
        state.before_scrape = Some(Box::new(|metrics| metrics.set_limit(7, 0, 0)));
        let plain = ask("GET", "/metrics", &[], &state);
        assert_eq!(plain.headers()[CONTENT_TYPE], "text/plain; version=0.0.4; charset=utf-8");
        assert!(body(plain).contains("bartizan_limit_cells 7\n"));
        let open =
            ask("GET", "/metrics", &[("accept", "application/openmetrics-text;version=1.0.0")], &state);
        assert!(open.headers()[CONTENT_TYPE].to_str().unwrap().starts_with("application/openmetrics-text"));
        assert!(body(open).ends_with("# EOF\n"));
    }

    #[test]
    fn a_refused_method_is_told_which_are_allowed() {
        assert_eq!(ask("DELETE", "/metrics", &[], &state()).headers()[ALLOW], "GET, HEAD");
    }
}
