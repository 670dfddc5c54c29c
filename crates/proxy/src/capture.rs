//! What is noted of a request that is captured (decisions 0042, 0074): when it comes and before anything is taken off it, and
//! once its caller is known. Never a credential: where one was, and what a genuine one says.

use std::sync::Arc;

use bartizan_config::{rehearsal::GivenToken, snapshot::AuthenticationPlan};
use bartizan_identity::{
    Identity, Method,
    jwt::{HeaderFacts, TokenFacts, TokenIdentity},
};
use bartizan_message::RequestHead;
use bartizan_telemetry::{
    capture::{CaptureNote, PresentedNote},
    redact,
};
use http::{HeaderMap, HeaderName, Request, header};

use crate::{
    body::Inbound,
    exchange::Shared,
    listener::ConnectionFacts,
    live::Live,
    runtime::Runtime,
    share::share_on,
    stage::{Found, find},
};

/// The note of a request; `received` is its moment.
pub(crate) fn note(
    live: &Live,
    runtime: &Runtime,
    connection: &ConnectionFacts,
    request: &Request<Inbound>,
    received: std::time::Instant,
) -> Box<CaptureNote> {
    let mut headers = HeaderMap::with_capacity(request.headers().len());
    let mut presented = PresentedNote::default();
    let mut lacks_headers = false;
    for (name, value) in request.headers() {
        if name == header::AUTHORIZATION {
            presented.schemes.push(scheme(value.as_bytes()));
        } else if is_of_keys(live, name) {
            presented.headers.push(name.clone());
        } else if redact::is_secret_header(name.as_str()) {
            presented.headers.push(name.clone());
            lacks_headers = true;
        } else {
            headers.append(name.clone(), value.clone());
        }
    }
    let tls = connection.tls.as_ref();
    Box::new(CaptureNote {
        target: request.uri().to_string().into(),
        version: request.version(),
        local: connection.local,
        server_name: tls.and_then(|tls| tls.server_name.clone()),
        headers,
        lacks_headers,
        received_nanos: runtime.nanos(received).0,
        limit_nanos: None,
        draw: None,
        cells: Vec::new(),
        presented,
        token: None,
        certificate: tls.and_then(|tls| tls.client.as_ref()).map(|client| client.der().into()),
        share: None,
        body: None,
    })
}

/// The scheme of `Authorization`, which is no secret.
pub(crate) fn scheme(value: &[u8]) -> &'static str {
    let word = value.split(|byte| *byte == b' ').next().unwrap_or_default();
    match () {
        () if word.eq_ignore_ascii_case(b"bearer") => "bearer",
        () if word.eq_ignore_ascii_case(b"basic") => "basic",
        () => "other",
    }
}

/// Whether API keys are taken in this header on any route: a replay puts the key's public half there.
fn is_of_keys(live: &Live, name: &HeaderName) -> bool {
    let plans = live.snapshot.routes.iter().flat_map(|plan| {
        let settled = &plan.authentication;
        settled.enforced.iter().chain(&settled.shadow)
    });
    plans.flat_map(|plan| plan.api_key_headers()).any(|taken| taken == name)
}

/// Notes what a genuine token says, for a request that is captured or judged again.
pub(crate) fn note_caller(
    shared: &mut Shared,
    head: &RequestHead,
    policy: &AuthenticationPlan,
    identity: &Identity,
) {
    let Some(token) = identity.token() else {
        if identity.method() == Method::ClientCertificate {
            note_share(shared, head);
        }
        return;
    };
    let header = match token.method() {
        Method::OpenIdConnect => None,
        _ => presented_header(policy, head),
    };
    let claims = token.claims().to_json();
    if shared.record.wants_token() {
        let facts = TokenFacts::read(&claims, header.clone());
        let given = facts.map(|facts| GivenToken {
            means: Some(token.method()),
            is_signed_form: header.is_some(),
            facts,
        });
        shared.record.note_token(given.map(Arc::new));
    }
    if let Some(note) = &mut shared.record.capture {
        note.token = Some(written(token, header.as_ref(), &claims));
    }
    note_share(shared, head);
}

fn note_share(shared: &mut Shared, head: &RequestHead) {
    let share = share_on(shared.dress.route.as_deref(), head.headers(), head.client());
    if let Some(note) = &mut shared.record.capture {
        note.share = Some(share);
    }
}

/// The header of the one token in the places of the policy's methods.
fn presented_header(policy: &AuthenticationPlan, head: &RequestHead) -> Option<HeaderFacts> {
    policy.methods.iter().find_map(|method| match find(head.headers(), method.places()) {
        Found::Token(token) => HeaderFacts::of(token),
        Found::Absent | Found::Malformed(_) => None,
    })
}

fn written(token: &TokenIdentity, header: Option<&HeaderFacts>, claims: &str) -> Box<str> {
    let text = |text: &str| serde_json::Value::from(text).to_string();
    let mut out = format!("{{\"method\":{}", text(token.method().as_str()));
    if let Some(HeaderFacts { algorithm, typ, has_kid }) = header {
        out.push_str(&format!(",\"alg\":{},\"kid\":{has_kid}", text(algorithm)));
        if let Some(typ) = typ {
            out.push_str(&format!(",\"typ\":{}", text(typ)));
        }
    }
    out.push_str(",\"claims\":");
    out.push_str(claims);
    out.push('}');
    out.into()
}
