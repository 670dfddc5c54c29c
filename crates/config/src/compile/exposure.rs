//! What the set leaves open, listed so that nobody can overlook it.
//!
//! An exposure is no mistake in a document: it is legal, works, and weakens security. `check` lists them, and fails on
//! them when asked to.

use bartizan_model::{
    Mode, OnFault,
    document::{Document, Kind, Spec, listener::ListenerProtocol},
    problem::{Code, Problem, Problems, Span},
};

use super::{
    attach::Scoped,
    index::{Index, spec_of},
    policy::Policies,
    route::Routes,
};

/// Lists all exposures of a set.
pub(super) fn list(index: &Index<'_>, routes: &Routes, policies: &Policies<'_>, problems: &mut Problems) {
    for document in index.of(Kind::Route) {
        of_route(document, routes, problems);
    }
    for document in index.of(Kind::Listener) {
        of_listener(document, problems);
    }
    for document in index.of(Kind::Upstream) {
        of_upstream(document, problems);
    }
    of_policies(&policies.authentication, problems);
    of_policies(&policies.cors, problems);
    of_policies(&policies.headers, problems);
    of_policies(&policies.limits, problems);
}

fn exposure(code: Code, at: Span, path: &str, message: String) -> Problem {
    Problem::new(code, at, path, message).exposure()
}

fn of_route(document: &Document, routes: &Routes, problems: &mut Problems) {
    let name = document.name.as_str();
    let plans = || routes.plans.iter().filter(|plan| *plan.route == *name);
    if plans().any(|plan| plan.authentication.enforced.is_none()) {
        problems.push(
            exposure(Code::RouteOpen, document.name.at, "metadata.name", format!("Route/{name} has no AuthenticationPolicy"))
                .hint("anyone who reaches the listener may call it; attach one, or say so with `{ type: Anonymous }`"),
        );
    } else if plans().any(|plan| plan.authentication.enforced.as_ref().is_some_and(|policy| policy.anonymous))
    {
        let message = format!("Route/{name} admits callers without a credential");
        problems.push(exposure(Code::RouteAnonymous, document.name.at, "metadata.name", message));
    }
    if plans().any(|plan| plan.limits.is_empty()) {
        problems.push(
            exposure(
                Code::RouteUnlimited,
                document.name.at,
                "metadata.name",
                format!("Route/{name} has no RateLimitPolicy"),
            )
            .hint("one caller can use up the upstream; attach a limit to the route or the whole gateway"),
        );
    }
}

fn of_listener(document: &Document, problems: &mut Problems) {
    let Some(spec) = spec_of!(document, Listener) else { return };
    let name = document.name.as_str();
    let open = spec.addresses.iter().find(|address| !address.get().ip().is_loopback());
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
    for network in spec.trusted_proxies.iter().filter(|network| network.prefix == 0) {
        let message = format!("Listener/{name} believes the forwarding headers of everyone");
        problems.push(exposure(Code::TrustsEveryone, network.at, "spec.trustedProxies", message));
    }
}

fn of_upstream(document: &Document, problems: &mut Problems) {
    let Some(spec) = spec_of!(document, Upstream) else { return };
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
