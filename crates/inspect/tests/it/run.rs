//! A rule text and a request in, a session or its matches out.

use std::sync::Arc;

use bartizan_inspect::{Exchange, Loader, MemoryFiles, Overlay, RequestHead, ResponseHead, RuleSet, Session};

pub(crate) fn set(rules: &str) -> Arc<RuleSet> {
    let files = MemoryFiles::new();
    let mut loader = Loader::new(&files);
    loader.text("t.conf", rules).unwrap_or_else(|error| panic!("{error}"));
    Arc::new(loader.finish().unwrap_or_else(|error| panic!("{error}")))
}

#[derive(Clone, Copy)]
pub(crate) struct Ask<'a> {
    pub(crate) method: &'a str,
    pub(crate) target: &'a str,
    pub(crate) protocol: &'a str,
    pub(crate) headers: &'a [(&'a str, &'a str)],
    pub(crate) body: &'a str,
    pub(crate) response: (u16, &'a [(&'a str, &'a str)], &'a str),
}

pub(crate) const GET: Ask<'_> = Ask {
    method: "GET",
    target: "/",
    protocol: "HTTP/1.1",
    headers: &[],
    body: "",
    response: (200, &[("Content-Type", "text/html")], ""),
};

pub(crate) fn form(body: &str) -> Ask<'_> {
    Ask { method: "POST", headers: &[("Content-Type", "application/x-www-form-urlencoded")], body, ..GET }
}

pub(crate) fn json(body: &str) -> Ask<'_> {
    Ask { method: "POST", headers: &[("Content-Type", "application/json")], body, ..GET }
}

pub(crate) fn get(target: &str) -> Ask<'_> {
    Ask { target, ..GET }
}

fn pairs<'a>(headers: &'a [(&'a str, &'a str)]) -> Vec<(&'a [u8], &'a [u8])> {
    headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect()
}

/// Runs all phases that the decisions allow.
pub(crate) fn session(set: &Arc<RuleSet>, overlay: Option<Overlay>, ask: Ask<'_>) -> Session {
    let exchange = Exchange { client: Some([192, 0, 2, 1].into()), ..Exchange::default() };
    let mut session = Session::new(Arc::clone(set), overlay.map(Arc::new), exchange);
    let headers = pairs(ask.headers);
    session.request_head(&RequestHead {
        method: ask.method.as_bytes(),
        target: ask.target.as_bytes(),
        protocol: ask.protocol.as_bytes(),
        headers: &headers,
    });
    let _ = session.run();
    if !session.decision().is_refusal() {
        session.request_body(ask.body.as_bytes());
        session.request_end();
        let _ = session.run();
    }
    if !session.decision().is_refusal() {
        let (status, headers, body) = ask.response;
        session.response_head(&ResponseHead { status, protocol: b"HTTP/1.1", headers: &pairs(headers) });
        let _ = session.run();
        session.response_body(body.as_bytes());
        session.response_end();
        let _ = session.run();
    }
    session.end();
    let _ = session.run();
    session
}

/// The ids that matched, in order.
pub(crate) fn ids(rules: &str, ask: Ask<'_>) -> Vec<u32> {
    session(&set(rules), None, ask).verdict().matches.iter().map(|found| found.rule).collect()
}

/// A variable of TX after everything ran.
pub(crate) fn tx(rules: &str, ask: Ask<'_>, name: &str) -> Option<String> {
    session(&set(rules), None, ask).variable(name).map(|text| String::from_utf8_lossy(text).into_owned())
}
