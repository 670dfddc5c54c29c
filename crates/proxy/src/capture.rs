//! What is noted of a request that is captured (decision 0042), when it comes and before anything is taken off it.

use bartizan_telemetry::{capture::CaptureNote, redact};
use http::{HeaderMap, Request};

use crate::{body::Inbound, listener::ConnectionFacts, live::Live, runtime::Runtime};

/// The note of a request; `received` is its moment.
pub(crate) fn note(
    live: &Live,
    runtime: &Runtime,
    connection: &ConnectionFacts,
    request: &Request<Inbound>,
    received: std::time::Instant,
) -> Box<CaptureNote> {
    let mut headers = HeaderMap::with_capacity(request.headers().len());
    let mut lacks_headers = false;
    for (name, value) in request.headers() {
        if is_of_keys(live, name) {
            continue;
        }
        if redact::is_secret_header(name.as_str()) {
            lacks_headers = true;
            continue;
        }
        headers.append(name.clone(), value.clone());
    }
    Box::new(CaptureNote {
        target: request.uri().to_string().into(),
        version: request.version(),
        local: connection.local,
        server_name: connection.tls.as_ref().and_then(|tls| tls.server_name.clone()),
        headers,
        lacks_headers,
        received_nanos: runtime.nanos(received).0,
        limit_nanos: None,
        draw: None,
        cells: Vec::new(),
    })
}

/// Whether API keys are taken in this header on any route: a replay puts the key's public half there.
fn is_of_keys(live: &Live, name: &http::HeaderName) -> bool {
    let plans = live.snapshot.routes.iter().flat_map(|plan| {
        let settled = &plan.authentication;
        settled.enforced.iter().chain(&settled.shadow)
    });
    plans.flat_map(|plan| plan.api_key_headers()).any(|taken| taken == name)
}
