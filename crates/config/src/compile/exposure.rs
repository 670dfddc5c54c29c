//! What the set leaves open, listed so that nobody can overlook it.
//!
//! An exposure is no mistake in a document: it is legal, works, and weakens security. `check` lists them, and fails on
//! them when asked to.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use bartizan_model::{
    Mode, OnFault,
    document::{
        Document, Kind, Spec,
        authorization::RuleEffect,
        inspection::{BodySpec, InspectionPhase, OnEncoded, OnOversize},
        listener::{ListenerProtocol, OnData, OnDotSegment, OnDoubt, OnEmptySegment},
    },
    problem::{Code, Problem, Problems, Span},
    scalar::RouteScope,
};

use super::{
    attach::Scoped,
    index::{Index, spec_of},
    inspection::InspectionTerms,
    policy::Policies,
};
use crate::snapshot::{Bite, RouteAction, RoutePlan};

/// Lists all exposures of a set. Routes are only looked at where all that could be attached to them was read.
pub(super) fn list(
    index: &Index<'_>,
    routes: Option<&[Arc<RoutePlan>]>,
    policies: &Policies<'_>,
    problems: &mut Problems,
) {
    let mut by_route: HashMap<&str, Vec<&RoutePlan>> = HashMap::new();
    for plan in routes.unwrap_or_default() {
        by_route.entry(&plan.route).or_default().push(plan);
    }
    for document in index.of(Kind::Route) {
        if let Some(plans) = by_route.get(document.name.as_str()) {
            of_route(document, plans, problems);
        }
    }
    for document in index.of(Kind::Listener) {
        of_listener(document, problems);
    }
    for document in index.of(Kind::Upstream) {
        of_upstream(document, problems);
    }
    for document in index.of(Kind::Role) {
        of_role(document, problems);
    }
    for document in index.of(Kind::AuthorizationPolicy) {
        of_authorization(document, problems);
    }
    for document in index.of(Kind::AuthenticationPolicy) {
        of_failures(document, problems);
        of_authentication(document, problems);
    }
    of_policies(&policies.authentication, problems);
    of_policies(&policies.authorization, problems);
    of_policies(&policies.cache, problems);
    of_policies(&policies.cors, problems);
    of_policies(&policies.headers, problems);
    of_policies(&policies.inspection, problems);
    of_policies(&policies.schemas, problems);
    of_inspection(&policies.inspection, problems);
    of_policies(&policies.limits, problems);
    of_policies(&policies.quotas, problems);
    of_policies(&policies.records, problems);
    of_policies(&policies.rotations, problems);
    of_policies(&policies.patience, problems);
}

fn of_authentication(document: &Document, problems: &mut Problems) {
    let Some(spec) = spec_of!(document, AuthenticationPolicy) else { return };
    let name = document.name.as_str();
    for method in &spec.methods {
        let fetches = method.jwt.iter().map(|one| &one.fetch);
        let fetches = fetches.chain(method.introspection.iter().map(|one| &one.fetch));
        let fetches = fetches.chain(method.open_id_connect.iter().map(|one| &one.fetch));
        if fetches.into_iter().any(|fetch| fetch.danger_allow_clear_text) {
            let message = format!(
                "AuthenticationPolicy/{name} may fetch keys or answers about tokens without TLS: whoever stands between can replace them"
            );
            problems.push(exposure(Code::FetchClearText, method.at, "spec.methods", message));
        }
        let any = method.introspection.iter().map(|one| &one.danger_allow_any_audience);
        for any in any.filter(|any| ***any) {
            let message =
                format!("AuthenticationPolicy/{name} takes tokens that were made for other services");
            problems.push(exposure(Code::AnyAudience, any.at, "spec.methods.introspection", message));
        }
    }
}

fn exposure(code: Code, at: Span, path: &str, message: String) -> Problem {
    Problem::new(code, at, path, message).exposure()
}

fn of_route(document: &Document, plans: &[&RoutePlan], problems: &mut Problems) {
    let is_open =
        |plan: &RoutePlan| !plan.authentication.enforced.as_ref().is_some_and(|one| bites(one.bite));
    let is_anonymous = |plan: &RoutePlan| {
        !is_open(plan) && plan.authentication.enforced.as_ref().is_some_and(|one| one.anonymous)
    };
    let is_unlimited = |plan: &RoutePlan| {
        !plan.limits.iter().any(|limit| limit.mode == Mode::Enforce && limit.enforce_percent > 0)
    };
    if let Some(subject) = subject(document, plans, is_open) {
        problems.push(
            exposure(Code::RouteOpen, document.name.at, "metadata.name", format!("{subject} no AuthenticationPolicy"))
                .hint("anyone who reaches the listener may call it; attach one, or say so with `{ type: Anonymous }`"),
        );
    }
    if let Some(subject) = subject(document, plans, is_anonymous) {
        let message = format!("{subject} an AuthenticationPolicy that admits callers without a credential");
        problems.push(exposure(Code::RouteAnonymous, document.name.at, "metadata.name", message));
    }
    if let Some(subject) = subject(document, plans, is_unlimited) {
        problems.push(
            exposure(
                Code::RouteUnlimited,
                document.name.at,
                "metadata.name",
                format!("{subject} no RateLimitPolicy"),
            )
            .hint("one caller can use up the upstream; attach a limit to the route or the whole gateway"),
        );
    }
}

const fn bites(bite: Bite) -> bool {
    matches!(bite.mode, Mode::Enforce) && bite.percent > 0
}

/// Who has the flaw: the route, or by name some of its rules. A redirect is answered before a policy could matter.
fn subject(document: &Document, plans: &[&RoutePlan], flaw: impl Fn(&RoutePlan) -> bool) -> Option<String> {
    let forwards = || plans.iter().filter(|plan| !matches!(plan.action, RouteAction::Redirect(_)));
    // One rule can have several plans, one per listener with policies of its own.
    let flawed: BTreeSet<&str> = forwards().filter(|plan| flaw(plan)).map(|plan| &*plan.label).collect();
    let name = document.name.as_str();
    if flawed.is_empty() {
        None
    } else if forwards().all(|plan| flaw(plan)) {
        Some(format!("Route/{name} has"))
    } else if forwards().all(|plan| flawed.contains(&*plan.label)) {
        Some(format!("Route/{name} has, on some of its listeners,"))
    } else {
        let rules: Vec<String> = flawed.iter().map(|label| format!("`{label}`")).collect();
        Some(format!(
            "in Route/{name} {} {}",
            rules.join(", "),
            if rules.len() == 1 { "has" } else { "have" }
        ))
    }
}

fn of_listener(document: &Document, problems: &mut Problems) {
    let Some(spec) = spec_of!(document, Listener) else { return };
    let name = document.name.as_str();
    let open = spec.addresses.iter().find(|address| !address.get().ip().to_canonical().is_loopback());
    if let Some(address) = open
        && spec.protocol == ListenerProtocol::Http
        && spec.redirect_https.is_none()
    {
        let message = format!("Listener/{name} serves clear text on {}", address.get());
        problems.push(
            exposure(Code::ListenerClearText, address.at, "spec.addresses", message)
                .hint("credentials can be read on the way; use `protocol: HTTPS`, or `redirectHttps`"),
        );
    }
    let clients = spec.tls.as_ref().and_then(|tls| tls.client_authentication.as_ref());
    for (field, doubt, what) in clients.iter().flat_map(|clients| {
        [
            ("unknownRevocation", clients.unknown_revocation, "that no revocation list speaks for"),
            ("expiredCrl", clients.expired_crl, "by revocation lists that are out of date"),
        ]
        .map(|(field, doubt, what)| (field, (doubt, clients.at), what))
    }) {
        if doubt.0 == OnDoubt::Allow {
            let message = format!("Listener/{name} accepts certificates {what}");
            let path = format!("spec.tls.clientAuthentication.{field}");
            problems.push(exposure(Code::RevocationOpen, doubt.1, &path, message));
        }
    }
    let paths = &spec.admission.ambiguous_paths;
    for (field, at, what) in [
        (paths.dot_segments.value != OnDotSegment::Refuse).then_some((
            "dotSegments",
            paths.dot_segments.at,
            "with dot segments",
        )),
        (paths.empty_segments.value != OnEmptySegment::Refuse).then_some((
            "emptySegments",
            paths.empty_segments.at,
            "with empty segments",
        )),
        (paths.encoded_slash.value != OnData::Refuse).then_some((
            "encodedSlash",
            paths.encoded_slash.at,
            "with encoded slashes",
        )),
        (paths.parameters.value != OnData::Refuse).then_some((
            "parameters",
            paths.parameters.at,
            "with semicolons",
        )),
    ]
    .into_iter()
    .flatten()
    {
        let message = format!("Listener/{name} admits paths {what}, which servers read in two ways");
        let path = format!("spec.admission.ambiguousPaths.{field}");
        problems.push(
            exposure(Code::PathsAmbiguous, at, &path, message)
                .hint("only where every server behind this listener reads them as the gateway does"),
        );
    }
    for network in spec.trusted_proxies.iter().filter(|network| network.prefix == 0) {
        let message = format!("Listener/{name} believes the forwarding headers of everyone");
        problems.push(exposure(Code::TrustsEveryone, network.at, "spec.trustedProxies", message));
    }
    let senders = spec.proxy_protocol.iter().flat_map(|proxy| &proxy.from);
    for network in senders.filter(|network| network.prefix == 0) {
        let message = format!("Listener/{name} believes the PROXY protocol of everyone");
        problems.push(exposure(Code::TrustsEveryone, network.at, "spec.proxyProtocol.from", message));
    }
}

fn of_upstream(document: &Document, problems: &mut Problems) {
    let Some(spec) = spec_of!(document, Upstream) else { return };
    let is_here = |host: &str| {
        let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
        host == "localhost" || address.is_ok_and(|address| address.to_canonical().is_loopback())
    };
    let clear = spec.endpoints.iter().find(|endpoint| !endpoint.url.tls && !is_here(&endpoint.url.host));
    if let (Some(_), Some(credential)) = (clear, &spec.credential) {
        let message = format!("Upstream/{} is sent its credential without TLS", document.name.as_str());
        problems.push(
            exposure(Code::CredentialClearText, credential.at, "spec.credential", message)
                .hint("whoever stands between can read it; write `https://` in the endpoints"),
        );
    }
    let forms = spec.credential.iter().flat_map(|credential| {
        let client = credential.client_credentials.as_ref();
        let exchange = credential.token_exchange.as_ref();
        [
            client.map(|form| (form.danger_allow_clear_text, form.at, "clientCredentials")),
            exchange.map(|form| (form.danger_allow_clear_text, form.at, "tokenExchange")),
        ]
    });
    for (_, at, form) in forms.flatten().filter(|(is_clear, ..)| *is_clear) {
        let message = format!("Upstream/{} may send its client secret without TLS", document.name.as_str());
        let path = format!("spec.credential.{form}.dangerAllowClearText");
        problems.push(exposure(Code::CredentialClearText, at, &path, message));
    }
    let unverified = spec.tls.as_ref().filter(|tls| tls.danger_accept_any_certificate);
    if let Some(tls) = unverified {
        let message = format!("Upstream/{} accepts any certificate", document.name.as_str());
        problems.push(exposure(
            Code::UpstreamUnverified,
            tls.at,
            "spec.tls.dangerAcceptAnyCertificate",
            message,
        ));
    }
}

fn of_failures(document: &Document, problems: &mut Problems) {
    let Some(spec) = spec_of!(document, AuthenticationPolicy) else { return };
    if !spec.failures.enabled {
        let message = format!(
            "AuthenticationPolicy/{} lets callers guess as often as they like",
            document.name.as_str()
        );
        let path = "spec.failures.enabled";
        problems.push(exposure(Code::FailuresUncounted, document.name.at, path, message));
    }
}

fn of_role(document: &Document, problems: &mut Problems) {
    let Some(spec) = spec_of!(document, Role) else { return };
    let routes = spec.grants.iter().flat_map(|grant| grant.routes.iter());
    if let Some(route) = routes.into_iter().find(|route| ***route == RouteScope::Every) {
        let message = format!("Role/{} permits something on every route", document.name.as_str());
        problems.push(exposure(Code::RoleWildcard, route.at, "spec.grants.routes", message));
    }
}

fn of_authorization(document: &Document, problems: &mut Problems) {
    let Some(spec) = spec_of!(document, AuthorizationPolicy) else { return };
    // Beside a rule that denies, one that allows everybody else is how a list of the denied is written.
    if spec.rules.iter().any(|rule| rule.effect == RuleEffect::Deny) {
        return;
    }
    for rule in spec.rules.iter() {
        let by_role = !rule.roles.is_empty() || !rule.all_roles.is_empty() || rule.granted;
        if !by_role && rule.methods.is_empty() && rule.when.is_none() {
            let name = document.name.as_str();
            let message = format!("a rule of AuthorizationPolicy/{name} allows every caller");
            problems.push(exposure(Code::RuleOpen, rule.at, "spec.rules", message));
        }
    }
}

fn of_inspection(policies: &[Scoped<'_, InspectionTerms>], problems: &mut Problems) {
    for policy in policies.iter().filter(|policy| policy.bite.mode == Mode::Enforce) {
        let Some(spec) = spec_of!(policy.document, InspectionPolicy) else { continue };
        let name = policy.document.name.as_str();
        let answer = spec.response.body();
        for (half, body) in [(InspectionPhase::Request, &spec.request), (InspectionPhase::Response, &answer)]
        {
            if spec.phases.contains(&half) {
                of_body(name, half, body, problems);
            }
        }
        if policy.plan.loosens() {
            let message = format!("rules of InspectionPolicy/{name} are off or only watch");
            problems.push(exposure(
                Code::RulesSwitchedOff,
                policy.document.name.at,
                "spec.ruleModes",
                message,
            ));
        }
    }
}

fn of_body(name: &str, half: InspectionPhase, body: &BodySpec, problems: &mut Problems) {
    let path = format!("spec.{half}");
    let what = match *body.on_oversize {
        OnOversize::Deny => None,
        OnOversize::JudgeStart => Some("judges only the start of"),
        OnOversize::Allow => Some("does not judge"),
    };
    if let Some(what) = what {
        let message = format!("InspectionPolicy/{name} {what} bodies larger than {}", *body.body_bytes);
        let path = format!("{path}.onOversize");
        problems.push(exposure(Code::BodyUnjudged, body.on_oversize.at, &path, message));
    }
    if *body.on_encoded == OnEncoded::Allow {
        let message = format!("InspectionPolicy/{name} does not judge compressed bodies");
        let path = format!("{path}.onEncoded");
        problems.push(exposure(Code::BodyUnjudged, body.on_encoded.at, &path, message));
    }
}

fn of_policies<P>(policies: &[Scoped<'_, P>], problems: &mut Problems) {
    for policy in policies {
        let name = format!("{}/{}", policy.document.kind().as_str(), policy.document.name.as_str());
        let at = policy.document.name.at;
        if policy.bite.on_fault == OnFault::Allow && policy.bite.mode == Mode::Enforce {
            let message = format!("{name} lets requests pass when it cannot decide");
            problems.push(exposure(Code::FailsOpen, at, "spec.onFault", message));
        }
        match policy.bite.mode {
            Mode::Shadow => {
                problems.push(exposure(
                    Code::InShadow,
                    at,
                    "spec.mode",
                    format!("{name} only watches (shadow)"),
                ));
            }
            Mode::Off => {
                problems.push(exposure(Code::SwitchedOff, at, "spec.mode", format!("{name} is off")))
            }
            Mode::Enforce if policy.bite.percent < 100 => {
                let message = format!("{name} is enforced for {} % of callers", policy.bite.percent);
                problems.push(exposure(Code::InShadow, at, "spec.enforcePercent", message));
            }
            Mode::Enforce => {}
        }
    }
}
