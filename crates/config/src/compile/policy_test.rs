//! `PolicyTest`: nothing of it goes into the snapshot; what it names must exist, and what it expects must be possible.

use bartizan_model::{
    document::{
        Document, Kind, Spec,
        policy_test::{PolicyTestSpec, TestDecision, TestExpectation, TestIdentity, TestRequest},
    },
    problem::{Code, Problem, Problems, Span, shown},
    read::{Spanned, nearest},
};

use super::index::{Index, spec_of};
use crate::{entry::Url, policy_test::header_problem};

/// Checks every test of the set.
pub(super) fn check(index: &Index<'_>, problems: &mut Problems) {
    for document in index.of(Kind::PolicyTest) {
        if let Some(spec) = spec_of!(document, PolicyTest) {
            one(index, document, spec, problems);
        }
    }
}

fn one(index: &Index<'_>, document: &Document, test: &PolicyTestSpec, problems: &mut Problems) {
    request(index, document.at, &test.request, "spec.request", problems);
    identity(index, test.identity.as_ref(), "spec.identity", problems);
    for (at, step) in test.steps.iter().enumerate() {
        let path = |field: &str| format!("spec.steps[{at}].{field}");
        request(index, step.at, &step.request, &path("request"), problems);
        identity(index, step.identity.as_ref(), &path("identity"), problems);
        if let Some(share) = step.share.as_ref().filter(|share| share.value > 99) {
            let problem =
                Problem::new(Code::BadNumber, share.at, path("share"), "a share is a number from 0 to 99");
            problems.push(problem);
        }
        expectation(index, &step.expect, &path("expect"), problems);
    }
}

fn request(index: &Index<'_>, at: Span, request: &TestRequest, path: &str, problems: &mut Problems) {
    let mut problem = |at, field: &str, message: String| {
        problems.push(Problem::new(Code::BadValue, at, format!("{path}.{field}"), message));
    };
    if let Some(url) = &request.url
        && let Err(message) = Url::parse(url)
    {
        problem(url.at, "url", message);
    }
    if let Some(method) = &request.method
        && http::Method::from_bytes(method.as_bytes()).is_err()
    {
        problem(method.at, "method", format!("{} is not a method", shown(method)));
    }
    if let Some(client) = &request.client
        && client.parse::<std::net::IpAddr>().is_err()
    {
        problem(client.at, "client", format!("{} is not an IP address", shown(client)));
    }
    for (name, values) in &request.headers {
        let values = values.iter().flat_map(|values| values.iter().map(String::as_str)).chain([""]);
        if let Some(message) = values.filter_map(|value| header_problem(name, value)).next() {
            problem(at, "headers", message);
        }
    }
    if let Some(listener) = &request.listener {
        index.find(Kind::Listener, listener, &format!("{path}.listener"), problems);
    }
}

fn identity(index: &Index<'_>, identity: Option<&TestIdentity>, path: &str, problems: &mut Problems) {
    if let Some(consumer) = identity.and_then(|identity| identity.consumer.as_ref()) {
        index.find(Kind::Consumer, consumer, &format!("{path}.consumer"), problems);
    }
}

fn expectation(index: &Index<'_>, expect: &Spanned<TestExpectation>, path: &str, problems: &mut Problems) {
    let field = |name: &str| format!("{path}.{name}");
    if is_empty(expect) {
        let problem =
            Problem::new(Code::MissingField, expect.at, path, "nothing is expected, so nothing is tested");
        problems.push(problem.hint("write at least `decision: forward` or `decision: refuse`"));
    }
    let asks_refusal = expect.reason.is_some() || expect.policy.is_some() || expect.detail.is_some();
    let asks_sending =
        expect.upstream.is_some() || expect.path.is_some() || !expect.upstream_headers.is_empty();
    let clash = match expect.decision {
        Some(TestDecision::Forward) if asks_refusal => Some("a reason, policy or detail of a refusal"),
        Some(TestDecision::Forward) if expect.status.is_some() => Some("a status of the gateway's own"),
        Some(TestDecision::Refuse | TestDecision::Answer) if asks_sending => {
            Some("something that an upstream is sent")
        }
        None if asks_refusal && asks_sending => Some("both a refusal and something that an upstream is sent"),
        _ => None,
    };
    if let Some(what) = clash {
        let message = format!("this can never hold: the step also expects {what}");
        problems.push(Problem::new(Code::FieldsClash, expect.at, field("decision"), message));
    }
    for (kind, name, what) in [
        (Kind::Route, &expect.route, "route"),
        (Kind::Consumer, &expect.consumer, "consumer"),
        (Kind::Upstream, &expect.upstream, "upstream"),
    ] {
        if let Some(name) = name {
            index.find(kind, name, &field(what), problems);
        }
    }
    for limit in &expect.limits {
        // Quotas stand in the same list. A listener's own limit per address has no document and no state here.
        let is_quota = [Kind::QuotaPolicy, Kind::Team]
            .into_iter()
            .any(|kind| index.of(kind).any(|document| document.name.as_str() == limit.policy.as_str()));
        if !is_quota {
            index.find(Kind::RateLimitPolicy, &limit.policy, &field("limits"), problems);
        }
    }
    if let Some(label) = &expect.policy {
        policy(index, label, &field("policy"), problems);
    }
    for would in expect.would_deny.iter().flatten() {
        policy(index, &would.policy, &field("wouldDeny"), problems);
    }
    for name in expect.upstream_headers.keys().chain(expect.headers.keys()) {
        if let Some(message) = header_problem(name, "") {
            problems.push(Problem::new(Code::BadHeaderName, expect.at, path, message));
        }
    }
}

fn is_empty(expect: &TestExpectation) -> bool {
    *expect
        == TestExpectation {
            decision: None,
            status: None,
            reason: None,
            stage: None,
            policy: None,
            detail: None,
            route: None,
            consumer: None,
            upstream: None,
            path: None,
            upstream_headers: Default::default(),
            headers: Default::default(),
            wait: None,
            limits: Vec::new(),
            would_deny: None,
        }
}

/// A label `Kind/name`: a policy of the set, or a document that refuses by itself (a Listener's or Consumer's own).
fn policy(index: &Index<'_>, label: &Spanned<String>, path: &str, problems: &mut Problems) {
    let kinds = || Kind::ALL.iter().map(|kind| kind.as_str());
    let wrong = |message: String| Problem::new(Code::UnknownReference, label.at, path, message);
    let Some((kind, name)) = label.split_once('/') else {
        problems.push(wrong(format!("{} is not a policy", shown(label))).hint("write `Kind/name`"));
        return;
    };
    let Some(kind) = Kind::ALL.iter().find(|known| known.as_str() == kind) else {
        let problem = wrong(format!("there is no kind {}", shown(kind)));
        problems.push(match nearest(kind, kinds()) {
            Some(near) => problem.hint(format!("did you mean `{near}`?")),
            None => problem,
        });
        return;
    };
    // What comes after a further slash is a part of the document.
    let name = name.split('/').next().unwrap_or_default();
    match bartizan_model::scalar::Name::parse(name) {
        Ok(name) => {
            index.find(*kind, &Spanned::new(name, label.at), path, problems);
        }
        Err(_) => problems.push(wrong(format!("{} is not the name of a document", shown(name)))),
    }
}
