//! What travels how: listeners and upstreams.

use std::net::IpAddr;

use bartizan_model::document::{
    Document, Kind, Spec,
    listener::{ListenerProtocol, ListenerSpec, TlsMinimum},
    upstream::UpstreamSpec,
};

use super::{
    House,
    fix::{Fix, noted},
    label,
    rule::{
        ANY_HOST, CLEAR_TEXT, CREDENTIAL_CLEAR_TEXT, NO_HSTS, TLS_OLD, TRUSTS_EVERYONE, UPSTREAM_CLEAR_TEXT,
        UPSTREAM_UNVERIFIED,
    },
};
use crate::snapshot::EndpointAddress;

pub(super) fn audit(house: &mut House<'_>) {
    for document in house.of(Kind::Listener) {
        if let Spec::Listener(spec) = &document.spec {
            listener(house, document, spec);
        }
    }
    for document in house.of(Kind::Upstream) {
        if let Spec::Upstream(spec) = &document.spec {
            upstream(house, document, spec);
        }
    }
}

/// Whether others than this machine can connect.
pub(super) fn is_public(spec: &ListenerSpec) -> bool {
    spec.addresses.iter().any(|address| !address.get().ip().to_canonical().is_loopback())
}

fn listener(house: &mut House<'_>, document: &Document, spec: &ListenerSpec) {
    let target = label(document);
    let https = spec.protocol == ListenerProtocol::Https;
    if is_public(spec) && !https && spec.redirect_https.is_none() {
        let message = format!("{target} serves clear text beyond this machine");
        let fix = Fix::merge(
            &target,
            "protocol: HTTPS\ntls: { certificates: [{ chainRef: \"file://tls/chain.pem\", keyRef: \"file://tls/key.pem\" }] }",
        );
        house.find(
            &CLEAR_TEXT,
            document,
            message,
            noted(fix, "or `redirectHttps: {}` beside a listener with TLS"),
        );
    }
    if https && spec.tls.as_ref().is_some_and(|tls| tls.minimum_version == TlsMinimum::Tls12) {
        let fix = Fix::merge(&target, "tls: { minimumVersion: \"1.3\" }");
        let note = "look in the access log for clients that still speak 1.2";
        house.find(&TLS_OLD, document, format!("{target} still speaks TLS 1.2"), noted(fix, note));
    }
    if https && is_public(spec) && spec.hsts.is_none() {
        let message = format!("{target} sends no Strict-Transport-Security");
        house.find(&NO_HSTS, document, message, Fix::merge(&target, "hsts: {}"));
    }
    if https && is_public(spec) && spec.hostnames.is_empty() {
        let message = format!("{target} serves every host name");
        let fix = noted(Fix::merge(&target, "hostnames: [api.example.com]"), "write your own names");
        house.find(&ANY_HOST, document, message, fix);
    }
    let senders = spec.proxy_protocol.iter().flat_map(|proxy| &proxy.from);
    for network in spec.trusted_proxies.iter().chain(senders).filter(|network| network.prefix == 0) {
        let message = format!("{target} believes everyone who says whose request it is");
        let fix = noted(
            Fix::merge(&target, "trustedProxies: [10.0.0.0/8]"),
            "write the networks of your own proxies",
        );
        house.find_at(&TRUSTS_EVERYONE, document, network.at, message, fix);
    }
}

fn upstream(house: &mut House<'_>, document: &Document, spec: &UpstreamSpec) {
    let target = label(document);
    if let Some(tls) = spec.tls.as_ref().filter(|tls| tls.danger_accept_any_certificate) {
        let fix = Fix::merge(
            &target,
            "tls: { dangerAcceptAnyCertificate: false, authoritiesRef: \"file://tls/upstream-ca.pem\" }",
        );
        let message = format!("{target} accepts any certificate");
        house.find_at(
            &UPSTREAM_UNVERIFIED,
            document,
            tls.at,
            message,
            noted(fix, "with the authority of your own"),
        );
    }
    let plan = house.snapshot.upstreams.iter().find(|plan| *plan.name == *document.name.as_str());
    let Some(plan) = plan.filter(|plan| plan.tls.is_none()) else { return };
    let Some(remote) = plan.endpoints.iter().find(|endpoint| !is_here(&endpoint.address)) else { return };
    let fix = || Fix::merge(&target, &format!("endpoints: [{{ url: \"https://{}\" }}]", remote.authority));
    if let Some(credential) = &spec.credential {
        let message = format!("{target} sends its credential to {} in clear text", remote.authority);
        house.find_at(
            &CREDENTIAL_CLEAR_TEXT,
            document,
            credential.at,
            message,
            noted(fix(), "all of its endpoints"),
        );
    } else {
        let message = format!("requests go to {} in clear text", remote.authority);
        house.find(&UPSTREAM_CLEAR_TEXT, document, message, noted(fix(), "all of its endpoints"));
    }
}

/// Whether an endpoint is on this machine.
fn is_here(address: &EndpointAddress) -> bool {
    match address {
        EndpointAddress::Socket(socket) => socket.ip().to_canonical().is_loopback(),
        EndpointAddress::Name(name, _) => {
            **name == *"localhost"
                || name.ends_with(".localhost")
                || name.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
        }
    }
}
