//! `Listener` → [`ListenerPlan`].

use std::{collections::HashMap, net::SocketAddr, sync::Arc, time::Duration};

use bartizan_message::{
    AddressSet, Cidr as Network, Tolerate, Trust,
    path::{DotSegments, EmptySegments, EncodedSlash, Parameters},
};
use bartizan_model::{
    document::{
        Document, Kind, Spec,
        listener::{
            AddressRate, Admission, AmbiguousPaths, ClientAuthentication, ClientAuthenticationMode, Hsts,
            KeyEndpoints, ListenerProtocol, ListenerSpec, ListenerTls, OnData, OnDotSegment, OnDoubt,
            OnEmptySegment, RevocationScope, TlsMinimum,
        },
    },
    problem::{Code, Problem, Problems, Span},
    read::Spanned,
    scalar::{Cidr, Count, HostText, Time},
};

use super::{
    index::{Index, spec_of},
    positive,
};
use crate::snapshot::{
    AdmissionPlan, CertificatePlan, ClientAuthenticationPlan, HostPattern, KeyEndpointsPlan, ListenerPlan,
    RevocationPlan, TlsPlan, TlsVersion,
};

/// webpki builds no longer path than this; a document that asks for more would promise what does not work.
const INTERMEDIATES_MAX: u16 = 6;

/// A body must keep its lowest rate only after this time: small bodies and slow starts are no attack.
const BODY_RATE_GRACE: Duration = Duration::from_secs(5);

/// Compiles all listeners, in order of name.
pub(super) fn compile_all(index: &Index<'_>, problems: &mut Problems) -> Vec<Arc<ListenerPlan>> {
    let mut plans = Vec::new();
    let mut taken: HashMap<SocketAddr, (Span, &str)> = HashMap::new();
    for document in index.of(Kind::Listener) {
        let Some(spec) = spec_of!(document, Listener) else { continue };
        // Port 0 is another port each time.
        for address in spec.addresses.iter().filter(|address| address.get().port() != 0) {
            let (socket, name) = (address.get(), document.name.as_str());
            if let Some((other, owner)) = taken.insert(socket, (address.at, name)) {
                let message = match owner == name {
                    true => format!("the address {socket} is written twice"),
                    false => format!("the address {socket} is used by two listeners"),
                };
                problems.push(
                    Problem::new(Code::AddressTwice, address.at, "spec.addresses", message)
                        .also(other, format!("Listener/{owner} has it already")),
                );
            }
        }
        plans.push(Arc::new(compile(index, document, spec, problems)));
    }
    plans
}

fn compile(
    index: &Index<'_>,
    document: &Document,
    spec: &ListenerSpec,
    problems: &mut Problems,
) -> ListenerPlan {
    if spec.addresses.is_empty() {
        problems.push(Problem::new(
            Code::EmptyList,
            document.name.at,
            "spec.addresses",
            "a listener needs an address",
        ));
    }
    let tls = tls(index, document, spec, problems);
    check(document, spec, problems);
    if spec.redirect_https.is_some() && spec.protocol == ListenerProtocol::Https {
        let message = "`redirectHttps` belongs on a listener with `protocol: HTTP`";
        problems.push(Problem::new(Code::FieldsClash, document.name.at, "spec.redirectHttps", message));
    }
    ListenerPlan {
        name: document.name.as_str().into(),
        addresses: spec.addresses.iter().map(|address| address.get()).collect(),
        tls,
        http2: spec.http2,
        hostnames: spec.hostnames.iter().map(|host| host_pattern(host)).collect(),
        redirect_https_port: spec.redirect_https.as_ref().map(|redirect| *redirect.port),
        hsts: spec.hsts.as_ref().map(hsts),
        trust: Trust { proxies: address_set(&spec.trusted_proxies) },
        proxy_protocol_from: spec.proxy_protocol.as_ref().map(|proxy| address_set(&proxy.from)),
        key_endpoints: spec.key_endpoints.as_ref().map(|desk| key_endpoints(desk, problems)),
        admission: admission(document.name.as_str(), &spec.admission, problems),
    }
}

fn key_endpoints(desk: &Spanned<KeyEndpoints>, problems: &mut Problems) -> KeyEndpointsPlan {
    let path = desk.path.as_str().trim_end_matches('/');
    if path.is_empty() || path.contains(['{', '}']) {
        let message = "the path of `keyEndpoints` is a plain one below `/`";
        problems.push(
            Problem::new(Code::BadPath, desk.path.at, "spec.keyEndpoints.path", message)
                .hint("write for example `/.well-known/keys`"),
        );
    }
    KeyEndpointsPlan { path: path.into(), requests_per_minute: desk.requests_per_minute.get().get() }
}

/// What contradicts itself, or admits nothing at all.
fn check(document: &Document, spec: &ListenerSpec, problems: &mut Problems) {
    if spec.hsts.is_some() && spec.protocol == ListenerProtocol::Http {
        // RFC 6797 §7.2: the field must not be sent over clear text.
        let message = "`hsts` has no meaning with `protocol: HTTP`";
        problems.push(
            Problem::new(Code::FieldsClash, document.name.at, "spec.hsts", message)
                .hint("write it on the listener with `protocol: HTTPS`"),
        );
    }
    if let Some(redirect) = spec.redirect_https.as_ref().filter(|redirect| *redirect.port == 0) {
        let message = "a redirect cannot lead to port 0";
        problems.push(Problem::new(Code::BadValue, redirect.port.at, "spec.redirectHttps.port", message));
    }
    if spec.proxy_protocol.as_ref().is_some_and(|proxy| proxy.from.is_empty()) {
        let message = "`proxyProtocol` needs the peers that send it";
        let path = "spec.proxyProtocol.from";
        problems.push(Problem::new(Code::EmptyList, document.name.at, path, message));
    }
    for (size, field) in
        [(&spec.admission.header_bytes, "headerBytes"), (&spec.admission.uri_bytes, "uriBytes")]
    {
        if size.get() == 0 {
            let message = "no request at all would be admitted";
            let path = format!("spec.admission.{field}");
            problems.push(Problem::new(Code::BadValue, size.at, path, message));
        }
    }
}

fn tls(
    index: &Index<'_>,
    document: &Document,
    spec: &ListenerSpec,
    problems: &mut Problems,
) -> Option<TlsPlan> {
    match (spec.protocol, &spec.tls) {
        (ListenerProtocol::Https, Some(tls)) => Some(tls_plan(index, document, tls, problems)),
        (ListenerProtocol::Https, None) => {
            problems.push(
                Problem::new(
                    Code::MissingField,
                    document.name.at,
                    "spec.tls",
                    "`protocol: HTTPS` needs `tls`",
                )
                .hint("write `tls: { certificates: [{ chainRef: file://…, keyRef: file://… }] }`"),
            );
            None
        }
        (ListenerProtocol::Http, Some(_)) => {
            problems.push(
                Problem::new(
                    Code::FieldsClash,
                    document.name.at,
                    "spec.tls",
                    "`tls` has no meaning with `protocol: HTTP`",
                )
                .hint("write `protocol: HTTPS`, or delete `tls`"),
            );
            None
        }
        (ListenerProtocol::Http, None) => None,
    }
}

fn tls_plan(index: &Index<'_>, document: &Document, tls: &ListenerTls, problems: &mut Problems) -> TlsPlan {
    if tls.certificates.is_empty() {
        let message = "`tls` needs a certificate";
        problems.push(Problem::new(Code::EmptyList, document.name.at, "spec.tls.certificates", message));
    }
    TlsPlan {
        certificates: tls
            .certificates
            .iter()
            .map(|certificate| CertificatePlan {
                hostnames: certificate.hostnames.iter().map(|host| host_pattern(host)).collect(),
                chain: index.locate(document, &certificate.chain_ref),
                key: index.locate(document, &certificate.key_ref),
            })
            .collect(),
        minimum: match tls.minimum_version {
            TlsMinimum::Tls12 => TlsVersion::Tls12,
            TlsMinimum::Tls13 => TlsVersion::Tls13,
        },
        clients: (tls.client_authentication.as_ref())
            .map(|clients| client_authentication(index, document, clients, problems)),
    }
}

fn client_authentication(
    index: &Index<'_>,
    document: &Document,
    spec: &Spanned<ClientAuthentication>,
    problems: &mut Problems,
) -> ClientAuthenticationPlan {
    const PATH: &str = "spec.tls.clientAuthentication";
    if spec.ca_certificates.is_empty() {
        let message = "`clientAuthentication` needs an authority: with none, no certificate could hold";
        problems.push(Problem::new(Code::EmptyList, spec.at, format!("{PATH}.caCertificates"), message));
    }
    if *spec.intermediates > INTERMEDIATES_MAX {
        let message =
            format!("{} intermediate certificates are more than {INTERMEDIATES_MAX}", *spec.intermediates);
        let path = format!("{PATH}.intermediates");
        problems.push(Problem::new(Code::BadValue, spec.intermediates.at, path, message));
    }
    let (whole_chain, allow_unknown, allow_expired) = (
        spec.revocation_of == RevocationScope::Chain,
        spec.unknown_revocation == OnDoubt::Allow,
        spec.expired_crl == OnDoubt::Allow,
    );
    if spec.crls.is_empty() && (!whole_chain || allow_unknown || allow_expired) {
        let message = "`revocationOf`, `unknownRevocation` and `expiredCrl` have no meaning without `crls`";
        problems.push(Problem::new(Code::FieldsClash, spec.at, PATH, message));
    }
    let locate = |reference: &Spanned<bartizan_model::Reference>| index.locate(document, reference);
    ClientAuthenticationPlan {
        required: spec.mode == ClientAuthenticationMode::Required,
        authorities: spec.ca_certificates.iter().map(locate).collect(),
        intermediates_max: usize::from(*spec.intermediates),
        revocation: (!spec.crls.is_empty()).then(|| RevocationPlan {
            lists: spec.crls.iter().map(locate).collect(),
            whole_chain,
            allow_unknown,
            allow_expired,
        }),
    }
}

fn hsts(hsts: &Hsts) -> Arc<str> {
    let mut value = format!("max-age={}", hsts.max_age.get().as_secs());
    if hsts.include_subdomains {
        value.push_str("; includeSubDomains");
    }
    if hsts.preload {
        value.push_str("; preload");
    }
    value.into()
}

fn admission(listener: &str, admission: &Admission, problems: &mut Problems) -> AdmissionPlan {
    let mut time =
        |time: &Spanned<Time>, field: &str| positive(time, &format!("spec.admission.{field}"), problems);
    let handshake_timeout = time(&admission.handshake_timeout, "handshakeTimeout");
    let header_timeout = time(&admission.header_timeout, "headerTimeout");
    let idle_timeout = time(&admission.idle_timeout, "idleTimeout");
    if let Some(rate) = &admission.rate_per_address {
        time(&rate.time_window, "ratePerAddress.timeWindow");
    }
    AdmissionPlan {
        allow: (!admission.allow.is_empty()).then(|| address_set(&admission.allow)),
        deny: address_set(&admission.deny),
        connections_max: size(&admission.connections),
        connections_per_address: count(&admission.connections_per_address),
        connections_per_prefix: count(&admission.connections_per_prefix),
        handshake_timeout,
        header_timeout,
        idle_timeout,
        header_bytes_max: usize::try_from(admission.header_bytes.get()).unwrap_or(usize::MAX),
        header_count_max: size(&admission.header_count),
        uri_bytes_max: usize::try_from(admission.uri_bytes.get()).unwrap_or(usize::MAX),
        body_bytes_max: admission.body_bytes.get(),
        body_rate_min: u32::try_from(admission.body_rate.get()).unwrap_or(u32::MAX),
        body_rate_grace: BODY_RATE_GRACE,
        streams_max: count(&admission.streams),
        resets_max: count(&admission.resets),
        rate_per_address: admission.rate_per_address.as_ref().map(|rate| rate_per_address(listener, rate)),
        tolerate: tolerate(&admission.ambiguous_paths),
    }
}

fn tolerate(paths: &AmbiguousPaths) -> Tolerate {
    Tolerate {
        dot_segments: match paths.dot_segments.value {
            OnDotSegment::Refuse => DotSegments::Refuse,
            OnDotSegment::Resolve => DotSegments::Resolve,
        },
        empty_segments: match paths.empty_segments.value {
            OnEmptySegment::Refuse => EmptySegments::Refuse,
            OnEmptySegment::Merge => EmptySegments::Merge,
        },
        encoded_slash: match paths.encoded_slash.value {
            OnData::Refuse => EncodedSlash::Refuse,
            OnData::Keep => EncodedSlash::Keep,
        },
        parameters: match paths.parameters.value {
            OnData::Refuse => Parameters::Refuse,
            OnData::Keep => Parameters::Keep,
        },
    }
}

fn rate_per_address(listener: &str, rate: &AddressRate) -> Arc<bartizan_limit::Policy> {
    super::limit::address_policy(
        listener,
        rate.requests.get(),
        rate.time_window.get(),
        rate.effective_burst(),
    )
}

/// The networks as a set.
pub(super) fn address_set(networks: &[Spanned<Cidr>]) -> AddressSet {
    // The prefix was checked when the document was read, so no network is lost here.
    AddressSet::new(networks.iter().filter_map(|network| Network::new(network.address, network.prefix)))
}

/// A host as a pattern.
pub(super) fn host_pattern(host: &HostText) -> HostPattern {
    match host.as_str().strip_prefix("*.") {
        Some(suffix) => HostPattern::Suffix(suffix.into()),
        None => HostPattern::Exact(host.as_str().into()),
    }
}

/// A count as `u32`; more than that means no limit in practice.
pub(super) fn count(count: &Count) -> u32 {
    u32::try_from(count.get().get()).unwrap_or(u32::MAX)
}

/// A count as `usize`.
pub(super) fn size(count: &Count) -> usize {
    usize::try_from(count.get().get()).unwrap_or(usize::MAX)
}
