//! From the words of a step to a request that a rehearsal can judge.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use bartizan_limit::Nanos;
use bartizan_model::document::policy_test::{PolicyTestSpec, TestRequest, TestStep};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, Version, header};

use super::who;
use crate::{
    entry::{Entered, Url},
    rehearsal::{Given, GivenBody, GivenTls, Moment, Readings},
    snapshot::Snapshot,
};

/// A request and how it reads.
pub(super) struct Asked {
    pub(super) given: Given,
    pub(super) words: String,
}

/// The clock of the limit cells does not begin at zero, where a cell would have no past.
const MONOTONIC_BEGIN: Duration = Duration::from_secs(365 * 86_400);

/// From the documentation's own network (RFC 5737), so that nobody mistakes it for a real one.
const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

/// The request of a step, `clock_ms` after the test began.
pub(super) fn given(
    test: &PolicyTestSpec,
    step: &TestStep,
    snapshot: &Snapshot,
    clock_ms: u64,
) -> Result<Asked, String> {
    let (base, own) = (&test.request, &step.request);
    let url = own.url.as_ref().or(base.url.as_ref()).map_or("/", |url| url.as_str());
    let url = Url::parse(url)?;
    let listener = own.listener.as_ref().or(base.listener.as_ref()).map(|name| name.as_str());
    let entered = url.enter(snapshot, listener)?;
    let method = own.method.as_ref().or(base.method.as_ref()).map_or("GET", |method| method.as_str());
    let method = Method::from_bytes(method.as_bytes()).map_err(|_| "the method is not a word".to_owned())?;
    let mut headers = headers(base, own)?;
    let body = own.body.as_ref().or(base.body.as_ref());
    if let Some(body) = body
        && !headers.contains_key(header::CONTENT_LENGTH)
        && !headers.contains_key(header::TRANSFER_ENCODING)
    {
        headers.insert(header::CONTENT_LENGTH, body.len().into());
    }
    let http2 = own.http2.or(base.http2).unwrap_or(false);
    let target = target(&url, &entered, http2, &mut headers)?;
    let client = match own.client.as_ref().or(base.client.as_ref()) {
        Some(text) => text.parse().map_err(|_| "the client is not an IP address".to_owned())?,
        None => CLIENT,
    };
    let unix_ms = test.time.unix_ms().saturating_add(clock_ms);
    let monotonic = Nanos(0) + (MONOTONIC_BEGIN + Duration::from_millis(clock_ms));
    let identity = step.identity.as_ref().or(test.identity.as_ref());
    let client_certificate = who::certificate(identity)?;
    let words = format!("{method} {}", shown(&url, &entered));
    let plan = &entered.listener.plan;
    Ok(Asked {
        given: Given {
            listener: plan.name.clone(),
            // Any port: none is judged by it.
            peer: SocketAddr::new(client, 40_000),
            local: plan.addresses.first().copied().unwrap_or(SocketAddr::new(client, 0)),
            tls: plan.tls.as_ref().map(|_| {
                let named = own.server_name.as_ref().or(base.server_name.as_ref());
                let name = named.map(|name| name.to_ascii_lowercase()).or(entered.server_name.clone());
                GivenTls { version: "TLSv1.3", server_name: name.map(Into::into), client: client_certificate }
            }),
            version: if http2 { Version::HTTP_2 } else { Version::HTTP_11 },
            method,
            target,
            headers,
            body: body.map_or(GivenBody::Absent, |body| GivenBody::Whole(Bytes::from(body.clone()))),
            received: Moment { unix_nanos: unix_ms.saturating_mul(1_000_000), monotonic },
            readings: Readings::default(),
            credential: who::credential(identity, unix_ms)?,
            share: step.share.as_ref().map(|share| share.value.min(99)),
            draw: None,
            cells: Vec::new(),
            keeps_running: step.keep_running,
        },
        words,
    })
}

fn shown(url: &Url, entered: &Entered<'_>) -> String {
    let own = if entered.listener.plan.tls.is_some() { "https" } else { "http" };
    let scheme = url.scheme.map_or(own, bartizan_message::Scheme::as_str);
    format!("{scheme}://{}{}", entered.authority, url.target)
}

/// HTTP/1 sends a path and a `Host`, HTTP/2 the whole.
fn target(url: &Url, entered: &Entered<'_>, http2: bool, headers: &mut HeaderMap) -> Result<Uri, String> {
    let unreadable = |_| "the request target cannot be read".to_owned();
    if http2 && url.target != "*" {
        let scheme = if entered.listener.plan.tls.is_some() { "https" } else { "http" };
        return format!("{scheme}://{}{}", entered.authority, url.target).parse().map_err(unreadable);
    }
    if !headers.contains_key(header::HOST) {
        let host = HeaderValue::from_str(&entered.authority)
            .map_err(|_| "the host has characters that no header can have".to_owned())?;
        headers.insert(header::HOST, host);
    }
    url.target.parse().map_err(unreadable)
}

/// The test's headers with the step's in their place.
fn headers(base: &TestRequest, own: &TestRequest) -> Result<HeaderMap, String> {
    let mut map = HeaderMap::new();
    let inherited = base
        .headers
        .iter()
        .filter(|(name, _)| !own.headers.keys().any(|replaced| replaced.eq_ignore_ascii_case(name)));
    for (name, values) in inherited.chain(&own.headers) {
        for value in values.iter().flat_map(|values| values.iter()) {
            let (name, value) = header(name, value)?;
            map.append(name, value);
        }
    }
    Ok(map)
}

fn header(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), String> {
    if let Some(problem) = header_problem(name, value) {
        return Err(problem);
    }
    match (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value)) {
        (Ok(name), Ok(value)) => Ok((name, value)),
        _ => Err("the header cannot be sent".to_owned()),
    }
}

/// Why a header cannot be sent; its value may be a credential and is not repeated.
pub(crate) fn header_problem(name: &str, value: &str) -> Option<String> {
    if HeaderName::from_bytes(name.as_bytes()).is_err() {
        return Some(format!("{} is not the name of a header", bartizan_model::problem::shown(name)));
    }
    HeaderValue::from_str(value)
        .is_err()
        .then(|| format!("the value of the header {name} has characters that no header can have"))
}
